//! The state machine of disputes.

use std::time::Duration;

use kernel::{Caller, Error, Timestamp};

use super::model::{Dispute, Resolution, Ruling, State};
use crate::verification::contest::Ending;

/// What somebody is to a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// The owner or the verifier.
    Side,
    /// An admin who is neither.
    Judge,
    /// The platform itself, when the time to appeal is over.
    Timer,
    Stranger,
}

impl Party {
    pub const ALL: [Self; 4] = [Self::Side, Self::Judge, Self::Timer, Self::Stranger];

    pub fn of(caller: &Caller, dispute: &Dispute) -> Self {
        let Some(principal) = caller.principal.as_deref() else { return Self::Stranger };
        let user = principal.user;
        if user == dispute.owner || user == dispute.verifier.same_as() {
            Self::Side
        } else if caller.is_admin() {
            Self::Judge
        } else {
            Self::Stranger
        }
    }
}

/// What can be done to a dispute that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    AddEvidence,
    Assign,
    Resolve,
    Appeal,
    Close,
}

impl Command {
    pub const ALL: [Self; 5] =
        [Self::AddEvidence, Self::Assign, Self::Resolve, Self::Appeal, Self::Close];

    /// What a client asks for, where one does.
    const fn word(self) -> Option<&'static str> {
        match self {
            Self::AddEvidence => Some("add_evidence"),
            Self::Assign => Some("assign"),
            Self::Resolve => Some("resolve"),
            Self::Appeal => Some("appeal"),
            Self::Close => None,
        }
    }

    /// The past participle: "it cannot be appealed now".
    const fn done(self) -> &'static str {
        match self {
            Self::AddEvidence => "added to",
            Self::Assign => "assigned",
            Self::Resolve => "resolved",
            Self::Appeal => "appealed",
            Self::Close => "closed",
        }
    }
}

/// What nobody does in a case but its sides, and those who act for them.
pub(super) const OF_SIDES: &[&str] = &[
    "verification.requested",
    "verification.cancelled",
    "verification.info_provided",
    "dispute.opened",
    "dispute.evidence_added",
    "dispute.appealed",
];

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NoSuchThing,
    NotTheirs,
    /// They have acted in the case for one of its sides.
    TookPart,
    /// The decision can be appealed no more, whether it has been carried out yet or not.
    WindowOver,
    WrongState {
        is: State,
        by: Party,
        wanted: Command,
    },
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchThing => Self::not_found("dispute"),
            Refusal::NotTheirs => {
                Self::forbidden("not_yours_to_do", "This is for another party to do.")
            }
            Refusal::TookPart => {
                let message = "You have acted in this case for one of its sides. Another admin \
                               assigns and decides it.";
                Self::forbidden("not_yours_to_do", message)
            }
            Refusal::WindowOver => {
                let message = "The time in which this decision could be appealed is over.";
                Self::conflict("window_over", message)
            }
            Refusal::WrongState { is, by, wanted } => {
                let message = format!("This dispute is {is}: it cannot be {} now.", wanted.done());
                wrong_state(is, by, message)
            }
        }
    }
}

/// Tells a party where a dispute stands and what they may do instead, for programs.
pub(super) fn wrong_state(is: State, by: Party, message: impl Into<String>) -> Error {
    let may = |command: &Command| step(is, by, *command).is_ok();
    let allowed: Vec<_> = Command::ALL.into_iter().filter(may).filter_map(Command::word).collect();
    Error::conflict("wrong_state", message.into())
        .with_member("state", is.as_str())
        .with_member("allowed", allowed)
}

/// The state that follows, if this party may give this command in this state.
pub const fn step(state: State, by: Party, command: Command) -> Result<State, Refusal> {
    let is_theirs = match (by, command) {
        (Party::Stranger, _) => return Err(Refusal::NoSuchThing),
        // At the sides' own door an admin is a stranger as well.
        (Party::Judge, Command::AddEvidence | Command::Appeal) => {
            return Err(Refusal::NoSuchThing);
        }
        (Party::Side, Command::AddEvidence | Command::Appeal)
        | (Party::Judge, Command::Assign | Command::Resolve)
        | (Party::Timer, Command::Close) => true,
        (Party::Side | Party::Judge | Party::Timer, _) => false,
    };
    if !is_theirs {
        return Err(Refusal::NotTheirs);
    }
    match next(state, command) {
        Some(next) => Ok(next),
        None => Err(Refusal::WrongState { is: state, by, wanted: command }),
    }
}

/// The edges. Every pair is named: a new state or command does not compile until it is here.
const fn next(state: State, command: Command) -> Option<State> {
    use Command as C;
    use State as S;
    match (state, command) {
        (S::Open, C::AddEvidence) => Some(S::Open),
        (S::Open, C::Assign) => Some(S::InReview),
        (S::InReview, C::AddEvidence | C::Assign) => Some(S::InReview),
        (S::Open | S::InReview, C::Resolve) => Some(S::Resolved),
        (S::Open | S::InReview, C::Appeal | C::Close) => None,
        (S::Resolved, C::Appeal) => Some(S::Appealed),
        (S::Resolved, C::Close) => Some(S::Closed),
        (S::Resolved, C::AddEvidence | C::Assign | C::Resolve) => None,
        (S::Appealed, C::AddEvidence | C::Assign) => Some(S::Appealed),
        (S::Appealed, C::Resolve) => Some(S::Closed),
        (S::Appealed, C::Appeal | C::Close) => None,
        (S::Closed, C::AddEvidence | C::Assign | C::Resolve | C::Appeal | C::Close) => None,
    }
}

/// [`step`] by the clock: a decision is final when its time is over, also before the timer has come
/// by to carry it out.
pub fn step_at(
    dispute: &Dispute,
    by: Party,
    command: Command,
    now: Timestamp,
) -> Result<State, Refusal> {
    let next = step(dispute.state, by, command)?;
    if command == Command::Appeal && is_final(dispute, now) {
        return Err(Refusal::WindowOver);
    }
    Ok(next)
}

/// Writes a decision down; the first one can be appealed for a while.
pub fn decide(dispute: &mut Dispute, ruling: &Ruling, now: Timestamp, appeal_window: Duration) {
    dispute.resolution = Some(ruling.resolution);
    dispute.refund_bps = Some(ruling.refund_bps);
    dispute.reasoning = Some(ruling.reasoning.as_str().to_owned());
    dispute.decided_at = Some(now);
    if dispute.state == State::Closed {
        dispute.closed_at = Some(now);
    } else {
        dispute.final_at = Some(now + appeal_window);
    }
}

/// What the decision that stands does to the verification; none before there is one.
pub(crate) const fn ending(dispute: &Dispute) -> Option<Ending> {
    let (Some(resolution), Some(refund_bps)) = (dispute.resolution, dispute.refund_bps) else {
        return None;
    };
    let overturned = match resolution {
        Resolution::RefundUser => true,
        Resolution::PayVerifier | Resolution::Split | Resolution::Reject => false,
    };
    Some(Ending { overturned, refund_bps })
}

/// Whether the time to appeal is over.
pub fn is_final(dispute: &Dispute, now: Timestamp) -> bool {
    dispute.state == State::Resolved && dispute.final_at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn every_state_party_and_command_has_the_answer_written_down() {
        let mut grid = String::new();
        for state in State::ALL {
            writeln!(grid, "{state}").unwrap();
            for command in Command::ALL {
                let answers = Party::ALL.map(|by| match step(*state, by, command) {
                    Ok(next) => format!("-> {next}"),
                    Err(Refusal::NoSuchThing) => "404".to_owned(),
                    Err(Refusal::NotTheirs) => "403".to_owned(),
                    Err(Refusal::WindowOver | Refusal::TookPart) => {
                        unreachable!("not a matter of states")
                    }
                    Err(Refusal::WrongState { .. }) => "409".to_owned(),
                });
                let [side, judge, timer, stranger] = answers;
                let command = format!("{command:?}");
                writeln!(
                    grid,
                    "  {command:<11} side {side:<12} judge {judge:<12} timer {timer:<9} \
                     stranger {stranger}"
                )
                .unwrap();
            }
        }
        insta::assert_snapshot!(grid);
    }

    #[test]
    fn every_dispute_can_be_brought_to_its_end_and_is_appealed_once() {
        let ways = |state: State| {
            let tries = Command::ALL.into_iter().flat_map(|c| Party::ALL.map(|by| (by, c)));
            tries.filter_map(|(by, command)| step(state, by, command).ok()).collect::<Vec<_>>()
        };
        for state in State::ALL {
            let moves_on = ways(*state).into_iter().any(|next| next != *state);
            assert_eq!(moves_on, *state != State::Closed, "{state}");
        }
        assert!(!ways(State::Appealed).contains(&State::Resolved), "an appeal is the last word");
    }
}
