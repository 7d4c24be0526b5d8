//! Who may what.

use kernel::{Error, Role};
use rpc::users::{Profile, Status as Account};

use super::model::{Conversation, Kind, Participant, Status};

/// Why something in a conversation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Whoever asks must not know that there is one.
    NotThere,
    Closed,
    /// Whoever looks after others' questions does not open conversations.
    NotForRole,
    NoSuchVerifier,
    NotSupport,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotThere => Self::not_found("conversation"),
            Refusal::Closed => {
                let message = "The conversation is closed. Open a new one.";
                Self::conflict("conversation_closed", message)
            }
            Refusal::NotForRole => {
                let message = "Accounts of your role do not open such conversations.";
                Self::forbidden("forbidden", message)
            }
            Refusal::NoSuchVerifier => Self::not_found("verifier"),
            Refusal::NotSupport => {
                let message = "Only conversations with support are assigned.";
                Self::conflict("not_support", message)
            }
        }
    }
}

/// Whether somebody may see a conversation.
pub(super) fn see(
    conversation: &Conversation,
    own: Option<&Participant>,
    role: Option<Role>,
) -> Result<(), Refusal> {
    let looks_after = role == Some(Role::Admin) && conversation.kind == Kind::Support;
    if own.is_some() || looks_after { Ok(()) } else { Err(Refusal::NotThere) }
}

/// Whether an account of a role opens conversations of a kind.
pub(super) fn open(kind: Kind, role: Option<Role>) -> Result<(), Refusal> {
    match (kind, role) {
        (Kind::Support, Some(Role::User | Role::Enterprise | Role::Verifier))
        | (Kind::Verifier, Some(Role::User | Role::Enterprise)) => Ok(()),
        (Kind::Support, Some(Role::Admin) | None)
        | (Kind::Verifier, Some(Role::Verifier | Role::Admin) | None) => Err(Refusal::NotForRole),
    }
}

/// Whether users may write to somebody as to a verifier: to every one who may take jobs, since
/// questions come before commissions.
pub(super) fn is_verifier(profile: &Profile) -> Result<(), Refusal> {
    let takes_jobs =
        profile.role == Role::Verifier && profile.approved && profile.status == Account::Active;
    if takes_jobs { Ok(()) } else { Err(Refusal::NoSuchVerifier) }
}

/// What becomes of a conversation that is assigned.
pub(super) fn assign(conversation: &Conversation) -> Result<Status, Refusal> {
    match (conversation.kind, conversation.status) {
        (Kind::Verifier, _) => Err(Refusal::NotSupport),
        (Kind::Support, Status::Open | Status::Assigned) => Ok(Status::Assigned),
        (Kind::Support, Status::Closed) => Err(Refusal::Closed),
    }
}

/// What a viewer has not read. An admin who is no participant has read nothing.
pub(super) fn unread(conversation: &Conversation, own: Option<&Participant>) -> i64 {
    conversation.messages - own.map_or(0, |own| own.has_read)
}
