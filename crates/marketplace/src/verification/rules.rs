//! The state machine, and the other pure decisions.

use std::time::Duration;

use kernel::{Caller, Error, Money, Role, Timestamp};

use super::model::{Command, State, Verification};

/// What somebody is to a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    Owner,
    /// The verifier whom it is addressed to, or who has claimed it.
    Verifier,
    /// Any other verifier, of a request that is or was on the board. Whether the board offers it
    /// to them is for [`super::board`] to see.
    Candidate,
    Admin,
    /// The platform itself, when time has run out.
    Timer,
    Stranger,
}

impl Relation {
    pub const ALL: [Self; 6] =
        [Self::Owner, Self::Verifier, Self::Candidate, Self::Admin, Self::Timer, Self::Stranger];

    pub fn of(caller: &Caller, verification: &Verification) -> Self {
        let Some(principal) = caller.principal.as_deref() else { return Self::Stranger };
        if principal.user == verification.owner {
            Self::Owner
        } else if verification.verifier_user() == Some(principal.user) {
            Self::Verifier
        } else if caller.is_admin() {
            Self::Admin
        } else if principal.role == Role::Verifier && verification.is_of_board() {
            Self::Candidate
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
            // Of the platform's own steps; a party's are told more by [`wrong_state`].
            Refusal::WrongState { is, wanted } => {
                Self::conflict("wrong_state", cannot(is, wanted)).with_member("state", is.as_str())
            }
        }
    }
}

pub(crate) fn cannot(is: State, wanted: Command) -> String {
    format!("This verification is {is}: it cannot be {} now.", wanted.done())
}

/// What somebody may do to a verification as it stands, in the words of clients.
pub fn allowed(verification: &Verification, by: Relation) -> Vec<&'static str> {
    let may = |command: &Command| {
        let mut tried = verification.clone();
        act(&mut tried, by, *command, verification.requested_at).is_ok()
    };
    let mut words: Vec<_> =
        Command::ALL.into_iter().filter(may).filter_map(Command::word).collect();
    words.dedup();
    words
}

/// Tells a party where a verification stands and what they may do instead, for programs.
pub(crate) fn wrong_state(of: &Verification, by: Relation, message: impl Into<String>) -> Error {
    Error::conflict("wrong_state", message.into())
        .with_member("state", of.state.as_str())
        .with_member("allowed", allowed(of, by))
}

/// The state that follows, if this party may give this command in this state.
pub const fn step(state: State, by: Relation, command: Command) -> Result<State, Refusal> {
    if matches!(by, Relation::Stranger) {
        return Err(Refusal::NoSuchThing);
    }
    if matches!(by, Relation::Candidate) {
        // All that they know of it is that it is, or was, to be had.
        if !matches!(command, Command::Accept) {
            return Err(Refusal::NoSuchThing);
        }
    } else if !is_theirs(by, state, command) {
        return Err(Refusal::NotTheirs);
    }
    match next(state, command) {
        // A request to another verifier was never theirs to have.
        Some(_) if matches!((by, state), (Relation::Candidate, State::Pending)) => {
            Err(Refusal::NoSuchThing)
        }
        Some(next) => Ok(next),
        None => Err(Refusal::WrongState { is: state, wanted: command }),
    }
}

/// Whose command it is.
const fn is_theirs(by: Relation, state: State, command: Command) -> bool {
    match command {
        Command::Cancel | Command::ProvideInfo => matches!(by, Relation::Owner),
        // A verifier contests their own verdict, where they have learned that it was mistaken.
        Command::Dispute => matches!(by, Relation::Owner | Relation::Verifier),
        Command::Accept if matches!(state, State::Open) => matches!(by, Relation::Candidate),
        Command::Accept
        | Command::Decline
        | Command::Release
        | Command::Start
        | Command::RequestInfo
        | Command::Note
        | Command::Verify
        | Command::Reject => matches!(by, Relation::Verifier),
        Command::ForceCancel => matches!(by, Relation::Admin),
        // What an admin decides about a dispute is the dispute's own; this is what follows.
        Command::Lapse
        | Command::Expire
        | Command::Uphold
        | Command::Overturn
        | Command::Revoke => matches!(by, Relation::Timer),
    }
}

/// The edges. Every pair is named: a new state or command does not compile until it is here.
const fn next(state: State, command: Command) -> Option<State> {
    use Command as C;
    use State as S;
    match (state, command) {
        (S::Open | S::Pending, C::Accept) => Some(S::InReview),
        (S::Open | S::Pending, C::Cancel) => Some(S::Cancelled),
        (S::Pending, C::Decline) => Some(S::Declined),
        (S::Open, C::Decline) => None,
        (
            S::Open | S::Pending,
            C::Release
            | C::Lapse
            | C::Start
            | C::RequestInfo
            | C::ProvideInfo
            | C::Note
            | C::Verify
            | C::Reject,
        ) => None,

        // Of requests that came from the board; see [`act`].
        (S::InReview | S::NeedsInfo, C::Release) | (S::InReview, C::Lapse) => Some(S::Open),
        (S::InReview, C::Start | C::Note) => Some(S::InReview),
        (S::InReview, C::RequestInfo) => Some(S::NeedsInfo),
        (S::InReview, C::Verify) => Some(S::Verified),
        (S::InReview, C::Reject) => Some(S::Rejected),
        (S::InReview, C::Accept | C::Decline | C::ProvideInfo | C::Cancel) => None,

        (S::NeedsInfo, C::Start | C::ProvideInfo) => Some(S::InReview),
        (S::NeedsInfo, C::Note) => Some(S::NeedsInfo),
        (
            S::NeedsInfo,
            C::Accept | C::Decline | C::Lapse | C::RequestInfo | C::Verify | C::Reject | C::Cancel,
        ) => None,

        (S::Open | S::Pending | S::InReview | S::NeedsInfo, C::Expire) => Some(S::Expired),
        (S::Open | S::Pending | S::InReview | S::NeedsInfo, C::ForceCancel) => {
            Some(S::ForceCancelled)
        }

        (
            S::Open | S::Pending | S::InReview | S::NeedsInfo,
            C::Dispute | C::Uphold | C::Overturn | C::Revoke,
        ) => None,

        // Whoever revoked it: what was paid for the verdict can still be contested.
        (S::Verified | S::Rejected | S::Revoked, C::Dispute) => Some(S::Disputed),
        (S::Disputed, C::Uphold) => Some(S::Upheld),
        (S::Disputed, C::Overturn) => Some(S::Overturned),
        (S::Verified | S::Upheld, C::Revoke) => Some(S::Revoked),
        (S::Verified, C::Uphold | C::Overturn)
        | (S::Rejected | S::Overturned | S::Revoked, C::Uphold | C::Overturn | C::Revoke)
        | (S::Disputed, C::Dispute | C::Revoke)
        | (S::Upheld, C::Dispute | C::Uphold | C::Overturn)
        | (S::Overturned, C::Dispute)
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
            | C::Release
            | C::Start
            | C::RequestInfo
            | C::ProvideInfo
            | C::Note
            | C::Verify
            | C::Reject
            | C::Cancel
            | C::ForceCancel
            | C::Lapse
            | C::Expire,
        ) => None,
    }
}

/// One edge of the state machine, with all that belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    pub from: State,
    pub command: Command,
    pub by: Relation,
    pub to: State,
    pub guard: Option<&'static str>,
    /// What becomes of the price.
    pub money: Option<&'static str>,
}

/// All edges, in the order of states and commands.
pub fn edges() -> Vec<Edge> {
    let mut edges = Vec::new();
    for (from, command) in State::ALL.into_iter().flat_map(|s| Command::ALL.map(|c| (s, c))) {
        for by in Relation::ALL.into_iter().filter(|by| is_theirs(*by, from, command)) {
            if let Ok(to) = step(from, by, command) {
                let (guard, money) = (guard(from, command), money(command));
                edges.push(Edge { from, command, by, to, guard, money });
            }
        }
    }
    edges
}

/// What must be so besides state and party.
const fn guard(from: State, command: Command) -> Option<&'static str> {
    match command {
        Command::Accept if matches!(from, State::Open) => Some("the board offers it to them"),
        Command::Release => Some("it came from the board"),
        Command::Lapse => Some("time is up, and the board's is not"),
        Command::Expire => Some("time is up"),
        Command::Dispute => Some("the earning is not free yet"),
        Command::Uphold | Command::Overturn => Some("the dispute is over"),
        Command::Revoke => Some("the signed credential was revoked"),
        Command::Accept
        | Command::Decline
        | Command::Start
        | Command::RequestInfo
        | Command::ProvideInfo
        | Command::Note
        | Command::Verify
        | Command::Reject
        | Command::Cancel
        | Command::ForceCancel => None,
    }
}

const fn money(command: Command) -> Option<&'static str> {
    match command {
        Command::Decline | Command::Cancel | Command::ForceCancel | Command::Expire => {
            Some("back to the owner")
        }
        Command::Verify | Command::Reject => Some("to the verifier, less the fee"),
        Command::Dispute => Some("the earning stands still"),
        Command::Uphold => Some("as decided"),
        Command::Overturn => Some("back to the owner; the bond is slashed"),
        Command::Accept
        | Command::Release
        | Command::Start
        | Command::RequestInfo
        | Command::ProvideInfo
        | Command::Note
        | Command::Lapse
        | Command::Revoke => None,
    }
}

/// Takes a step, if it may be taken: the verification's state, and the times that follow from it.
pub fn act(
    verification: &mut Verification,
    by: Relation,
    command: Command,
    now: Timestamp,
) -> Result<(), Refusal> {
    let is = verification.state;
    let next = step(is, by, command)?;
    let is_back = matches!(command, Command::Release | Command::Lapse);
    let Some(board_until) = verification.board_until.filter(|_| is_back) else {
        if is_back {
            return Err(Refusal::WrongState { is, wanted: command });
        }
        follow(verification, next, command, now);
        return Ok(());
    };
    // As if nobody had claimed it, but for what was said.
    verification.state = next;
    (verification.verifier, verification.service) = (None, None);
    verification.verifier_name.clear();
    verification.service_title.clear();
    (verification.accepted_at, verification.started_at) = (None, None);
    verification.due_at = board_until;
    Ok(())
}

fn follow(verification: &mut Verification, next: State, command: Command, now: Timestamp) {
    verification.state = next;
    if !next.is_open() {
        verification.ended_at.get_or_insert(now);
    }
    match command {
        Command::Accept => {
            verification.accepted_at = Some(now);
            verification.due_at = now + verification.sla();
        }
        // Who has begun has more than the lease of a claim.
        Command::Start | Command::RequestInfo => {
            if command == Command::Start {
                verification.started_at.get_or_insert(now);
            }
            if let Some(accepted) = verification.accepted_at {
                let due = accepted + verification.sla();
                verification.due_at = verification.due_at.max(due);
            }
        }
        // The owner's answer gives the verifier their whole time anew. Asking does not: a
        // verifier could keep the owner's money held for ever by asking again and again.
        Command::ProvideInfo => verification.due_at = now + verification.sla(),
        Command::Decline
        | Command::Release
        | Command::Lapse
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
}

/// What comes of time having run out, if it has: a claim that lies still goes back to the board
/// while that offers it, everything else expires. A party who acts before the timer has come by is
/// still in time.
pub fn overdue(verification: &Verification, now: Timestamp) -> Option<Command> {
    if !verification.state.is_open() || verification.due_at > now {
        return None;
    }
    let is_offered = verification.board_until.is_some_and(|until| until > now);
    let is_claim = verification.state == State::InReview;
    Some(if is_offered && is_claim { Command::Lapse } else { Command::Expire })
}

/// The platform's part of a price, rounded down: what is left over stays with the verifier.
pub fn fee(price: Money, fee_bps: u16) -> Money {
    price.share(fee_bps)
}

/// What an overturned verdict costs of a bond, rounded down.
pub fn slashed(bond: Money, slash_bps: u16) -> Money {
    bond.share(slash_bps)
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
                let [owner, verifier, candidate, admin, timer, stranger] = answers;
                let command = format!("{command:?}");
                writeln!(
                    grid,
                    "  {command:<12} owner {owner:<13} verifier {verifier:<13} \
                     candidate {candidate:<13} admin {admin:<18} timer {timer:<13} \
                     stranger {stranger}"
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

    /// The state machine as the guide shows it.
    fn shown() -> String {
        let mut text = "```mermaid\nstateDiagram-v2\n".to_owned();
        writeln!(text, "    [*] --> open: request to nobody").unwrap();
        writeln!(text, "    [*] --> pending: request to a verifier").unwrap();
        let word = |command: Command| {
            let (_, word) = command.fact().split_once('.').unwrap();
            word.replace('_', " ")
        };
        let mut drawn = edges();
        // Two parties may take the same step.
        drawn.dedup_by_key(|edge| (edge.from, edge.command));
        for Edge { from, to, command, .. } in drawn.iter().filter(|edge| edge.from != edge.to) {
            writeln!(text, "    {from} --> {to}: {}", word(*command)).unwrap();
        }
        let is_left = |state: &State| edges().iter().any(|edge| edge.from == *state);
        for state in State::ALL.into_iter().filter(|state| !is_left(state)) {
            writeln!(text, "    {state} --> [*]").unwrap();
        }
        text.push_str(
            "```\n\n| from | fact | by | to | if | the price |\n|---|---|---|---|---|---|\n",
        );
        for edge in edges() {
            let Edge { from, command, by, to, guard, money } = edge;
            let by = match by {
                Relation::Timer => "the platform".to_owned(),
                by => format!("{by:?}").to_lowercase(),
            };
            let fact = command.fact();
            let (guard, money) = (guard.unwrap_or_default(), money.unwrap_or_default());
            writeln!(text, "| {from} | `{fact}` | {by} | {to} | {guard} | {money} |").unwrap();
        }
        text
    }

    #[test]
    fn the_guide_shows_the_state_machine_as_it_is() {
        let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/verification.md");
        let text = std::fs::read_to_string(guide).unwrap();
        let (before, rest) = text.split_once("<!-- generated -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- /generated -->").unwrap();
        let fresh =
            format!("{before}<!-- generated -->\n\n{}\n<!-- /generated -->{after}", shown());
        if std::env::var_os("VERZA_WRITE_GUIDE").is_some() {
            std::fs::write(guide, &fresh).unwrap();
        }
        let message = "stale: run the tests of marketplace once with VERZA_WRITE_GUIDE=1";
        assert_eq!(std::fs::read_to_string(guide).unwrap(), fresh, "{message}");
    }

    #[test]
    fn the_edges_of_the_check_are_the_edges_of_the_rules() {
        let sql = include_str!("../../migrations/0030_revoked_is_disputed.sql");
        let (_, check) = sql.split_once("CHECK (was || '>' || state IN").unwrap();
        let (check, _) = check.split_once("))").unwrap();
        let mut listed: Vec<&str> = check.split('\'').skip(1).step_by(2).collect();
        listed.sort_unstable();
        let mut edges = vec![">open".to_owned(), ">pending".to_owned()];
        for (state, command) in State::ALL.into_iter().flat_map(|s| Command::ALL.map(|c| (s, c))) {
            edges.extend(next(state, command).map(|next| format!("{state}>{next}")));
        }
        edges.sort_unstable();
        edges.dedup();
        assert_eq!(listed, edges);
    }

    #[test]
    fn only_the_words_of_the_check_are_states() {
        let sql = include_str!("../../migrations/0030_revoked_is_disputed.sql");
        let (_, check) = sql.split_once("CHECK (state IN").unwrap();
        let (check, _) = check.split_once("))").unwrap();
        let words: Vec<&str> = check.split('\'').skip(1).step_by(2).collect();
        assert_eq!(words, State::ALL.map(State::as_str));
    }
}
