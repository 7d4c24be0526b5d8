//! The state machine, and the other pure decisions.

use std::time::Duration;

use kernel::{Caller, Error, Money, Timestamp};

use super::model::{Command, State, Verification};

/// What somebody is to a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    Owner,
    /// The verifier whom it is addressed to.
    Verifier,
    Admin,
    /// The platform itself, when time has run out.
    Timer,
    Stranger,
}

impl Relation {
    pub const ALL: [Self; 5] =
        [Self::Owner, Self::Verifier, Self::Admin, Self::Timer, Self::Stranger];

    pub fn of(caller: &Caller, verification: &Verification) -> Self {
        let Some(principal) = caller.principal.as_deref() else { return Self::Stranger };
        if principal.user == verification.owner {
            Self::Owner
        } else if principal.user == verification.verifier_user() {
            Self::Verifier
        } else if caller.is_admin() {
            Self::Admin
        } else {
            Self::Stranger
        }
    }
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not theirs to know of.
    NoSuchThing,
    /// They know it, and this is for somebody else to do.
    NotTheirs,
    /// What the verifier has earned is theirs for good.
    WindowOver,
    WrongState {
        is: State,
        wanted: Command,
    },
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchThing => Self::not_found("verification"),
            Refusal::NotTheirs => {
                Self::forbidden("not_yours_to_do", "This is for another party to do.")
            }
            Refusal::WindowOver => {
                let message = "The time in which this verdict could be contested is over.";
                Self::conflict("window_over", message)
            }
            Refusal::WrongState { is, wanted } => Self::conflict(
                "wrong_state",
                format!("This verification is {is}: it cannot be {} now.", wanted.done()),
            ),
        }
    }
}

/// The state that follows, if this party may give this command in this state.
pub const fn step(state: State, by: Relation, command: Command) -> Result<State, Refusal> {
    match (by, doer(command)) {
        (Relation::Stranger, _) => Err(Refusal::NoSuchThing),
        (Relation::Owner, Relation::Owner)
        | (Relation::Verifier, Relation::Verifier)
        | (Relation::Admin, Relation::Admin)
        | (Relation::Timer, Relation::Timer) => match next(state, command) {
            Some(next) => Ok(next),
            None => Err(Refusal::WrongState { is: state, wanted: command }),
        },
        (Relation::Owner | Relation::Verifier | Relation::Admin | Relation::Timer, _) => {
            Err(Refusal::NotTheirs)
        }
    }
}

/// Whose command it is.
const fn doer(command: Command) -> Relation {
    match command {
        Command::Cancel | Command::ProvideInfo | Command::Dispute => Relation::Owner,
        Command::Accept
        | Command::Decline
        | Command::Start
        | Command::RequestInfo
        | Command::Note
        | Command::Verify
        | Command::Reject => Relation::Verifier,
        Command::ForceCancel => Relation::Admin,
        // What an admin decides about a dispute is the dispute's own; this is what follows.
        Command::Expire | Command::Uphold | Command::Overturn | Command::Revoke => Relation::Timer,
    }
}

/// The edges. Every pair is named: a new state or command does not compile until it is here.
const fn next(state: State, command: Command) -> Option<State> {
    use Command as C;
    use State as S;
    match (state, command) {
        (S::Pending, C::Accept) => Some(S::InReview),
        (S::Pending, C::Decline) => Some(S::Declined),
        (S::Pending, C::Cancel) => Some(S::Cancelled),
        (
            S::Pending,
            C::Start | C::RequestInfo | C::ProvideInfo | C::Note | C::Verify | C::Reject,
        ) => None,

        (S::InReview, C::Start | C::Note) => Some(S::InReview),
        (S::InReview, C::RequestInfo) => Some(S::NeedsInfo),
        (S::InReview, C::Verify) => Some(S::Verified),
        (S::InReview, C::Reject) => Some(S::Rejected),
        (S::InReview, C::Accept | C::Decline | C::ProvideInfo | C::Cancel) => None,

        (S::NeedsInfo, C::Start | C::ProvideInfo) => Some(S::InReview),
        (S::NeedsInfo, C::Note) => Some(S::NeedsInfo),
        (
            S::NeedsInfo,
            C::Accept | C::Decline | C::RequestInfo | C::Verify | C::Reject | C::Cancel,
        ) => None,

        (S::Pending | S::InReview | S::NeedsInfo, C::Expire) => Some(S::Expired),
        (S::Pending | S::InReview | S::NeedsInfo, C::ForceCancel) => Some(S::ForceCancelled),

        (
            S::Pending | S::InReview | S::NeedsInfo,
            C::Dispute | C::Uphold | C::Overturn | C::Revoke,
        ) => None,

        (S::Verified | S::Rejected, C::Dispute) => Some(S::Disputed),
        (S::Disputed, C::Uphold) => Some(S::Upheld),
        (S::Disputed, C::Overturn) => Some(S::Overturned),
        (S::Verified | S::Upheld, C::Revoke) => Some(S::Revoked),
        (S::Verified, C::Uphold | C::Overturn)
        | (S::Rejected | S::Overturned | S::Revoked, C::Uphold | C::Overturn | C::Revoke)
        | (S::Disputed, C::Dispute | C::Revoke)
        | (S::Upheld, C::Dispute | C::Uphold | C::Overturn)
        | (S::Overturned | S::Revoked, C::Dispute)
        | (
            S::Declined | S::Cancelled | S::Expired | S::ForceCancelled,
            C::Dispute | C::Uphold | C::Overturn | C::Revoke,
        ) => None,

        (
            S::Verified
            | S::Rejected
            | S::Declined
            | S::Cancelled
            | S::Expired
            | S::ForceCancelled
            | S::Disputed
            | S::Upheld
            | S::Overturned
            | S::Revoked,
            C::Accept
            | C::Decline
            | C::Start
            | C::RequestInfo
            | C::ProvideInfo
            | C::Note
            | C::Verify
            | C::Reject
            | C::Cancel
            | C::ForceCancel
            | C::Expire,
        ) => None,
    }
}

/// Takes a step, if it may be taken: the verification's state, and the times that follow from it.
pub fn act(
    verification: &mut Verification,
    by: Relation,
    command: Command,
    now: Timestamp,
) -> Result<(), Refusal> {
    verification.state = step(verification.state, by, command)?;
    if !verification.state.is_open() {
        verification.ended_at.get_or_insert(now);
    }
    match command {
        Command::Accept => {
            verification.accepted_at = Some(now);
            verification.due_at = now + verification.sla();
        }
        Command::Start => {
            verification.started_at.get_or_insert(now);
        }
        // The owner's answer gives the verifier their whole time anew. Asking does not: a
        // verifier could keep the owner's money held for ever by asking again and again.
        Command::ProvideInfo => verification.due_at = now + verification.sla(),
        Command::Decline
        | Command::RequestInfo
        | Command::Note
        | Command::Verify
        | Command::Reject
        | Command::Cancel
        | Command::ForceCancel
        | Command::Expire
        | Command::Dispute
        | Command::Uphold
        | Command::Overturn
        | Command::Revoke => {}
    }
    Ok(())
}

/// Whether time has run out. A party who acts before the timer has come by is still in time.
pub fn is_due(verification: &Verification, now: Timestamp) -> bool {
    verification.state.is_open() && verification.due_at <= now
}

/// The platform's part of a price, rounded down: what is left over stays with the verifier.
pub fn fee(price: Money, fee_bps: u16) -> Money {
    price.share(fee_bps)
}

/// How soon a job wants to be answered.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Less than a day is left.
    High,
    Normal,
}

/// What is due before this instant is urgent.
pub fn urgent_until(now: Timestamp) -> Timestamp {
    now + Duration::from_secs(24 * 3600)
}

pub fn urgency(verification: &Verification, now: Timestamp) -> Urgency {
    if verification.due_at <= urgent_until(now) { Urgency::High } else { Urgency::Normal }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// The whole machine at a glance: each state's commands, and for each party what comes of it.
    #[test]
    fn every_state_party_and_command_has_the_answer_written_down() {
        let mut grid = String::new();
        for state in State::ALL {
            writeln!(grid, "{state}").unwrap();
            for command in Command::ALL {
                let answers = Relation::ALL.map(|by| match step(state, by, command) {
                    Ok(next) => format!("-> {next}"),
                    Err(Refusal::NoSuchThing) => "404".to_owned(),
                    Err(Refusal::NotTheirs) => "403".to_owned(),
                    Err(Refusal::WindowOver) => unreachable!("not a matter of states"),
                    Err(Refusal::WrongState { is, wanted }) => {
                        assert_eq!((is, wanted), (state, command));
                        "409".to_owned()
                    }
                });
                let [owner, verifier, admin, timer, stranger] = answers;
                let command = format!("{command:?}");
                writeln!(
                    grid,
                    "  {command:<12} owner {owner:<13} verifier {verifier:<13} \
                     admin {admin:<18} timer {timer:<10} stranger {stranger}"
                )
                .unwrap();
            }
        }
        insta::assert_snapshot!(grid);
    }

    #[test]
    fn an_open_verification_can_always_be_ended_and_one_without_a_verdict_never_changes() {
        for state in State::ALL {
            let expired = step(state, Relation::Timer, Command::Expire);
            let forced = step(state, Relation::Admin, Command::ForceCancel);
            assert_eq!(expired.is_ok(), state.is_open(), "{state}");
            assert_eq!(forced.is_ok(), state.is_open(), "{state}");
            if !state.is_open() && !state.has_verdict() {
                for command in Command::ALL {
                    let steps = Relation::ALL.map(|by| step(state, by, command));
                    assert!(steps.iter().all(Result::is_err), "{state} {command:?}");
                }
            }
        }
    }

    #[test]
    fn only_the_words_of_the_check_are_states() {
        let sql = include_str!("../../migrations/0011_disputes.sql");
        let (_, check) = sql.split_once("CHECK (state IN").unwrap();
        let (check, _) = check.split_once("))").unwrap();
        let words: Vec<&str> = check.split('\'').skip(1).step_by(2).collect();
        assert_eq!(words, State::ALL.map(State::as_str));
    }
}
