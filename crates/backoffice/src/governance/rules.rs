//! Pure decisions: what has passed.

use kernel::{Error, Timestamp};

use super::model::{Proposal, Status, Tally};

/// Where a proposal stands at an instant.
pub(super) fn status(proposal: &Proposal, now: Timestamp) -> Status {
    if proposal.executed_at.is_some() {
        Status::Executed
    } else if now < proposal.closes_at {
        Status::Open
    } else if has_passed(proposal.tally, proposal.quorum) {
        Status::Passed
    } else {
        Status::Rejected
    }
}

/// Enough have voted, and more for it than against it. Who abstains counts towards the quorum.
fn has_passed(Tally { r#for, against, abstain }: Tally, quorum: i64) -> bool {
    r#for + against + abstain >= quorum && r#for > against
}

pub(super) fn may_execute(status: Status) -> Result<(), Error> {
    match status {
        Status::Passed => Ok(()),
        Status::Open => {
            Err(Error::conflict("proposal_open", "It is still voted on. Wait for the deadline."))
        }
        Status::Rejected => Err(Error::conflict("proposal_rejected", "It has not passed.")),
        Status::Executed => Err(Error::conflict("wrong_state", "It has been executed.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_a_quorum_passes() {
        let passed = |r#for, against, abstain| has_passed(Tally { r#for, against, abstain }, 3);
        assert!(passed(2, 1, 0));
        assert!(passed(1, 0, 2), "who abstains is there");
        assert!(!passed(2, 0, 0), "too few");
        assert!(!passed(2, 2, 0), "a tie is no majority");
        assert!(!passed(0, 0, 3));
    }
}
