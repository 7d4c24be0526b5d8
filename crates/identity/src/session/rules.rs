//! Whether a session may be used, and what a refresh token means.

use std::time::Duration;

use kernel::{Error, Timestamp};
use rpc::users::Status;

use super::model::{Policy, Session};

/// How long the refresh token before the current one is answered with the current one.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// Why a session cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Ended,
    /// Unused for too long, or too old.
    Lapsed,
    /// The account is suspended, banned or closed.
    Locked,
    /// The session was renewed since this was issued.
    Superseded,
    /// An access token and a cookie that show two sessions.
    Mismatch,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Ended | Refusal::Locked => {
                Self::unauthenticated("session_ended", "The session has ended. Sign in again.")
            }
            Refusal::Lapsed => {
                Self::unauthenticated("session_expired", "The session has expired. Sign in again.")
            }
            Refusal::Superseded => Self::unauthenticated(
                "superseded_token",
                "The session was renewed since this token was issued. Use the newer one.",
            ),
            Refusal::Mismatch => Self::unauthenticated(
                "session_mismatch",
                "The access token has expired, and the cookie is of another session.",
            ),
        }
    }
}

pub(super) fn usable(
    session: &Session,
    status: Status,
    policy: Policy,
    now: Timestamp,
) -> Result<(), Refusal> {
    if session.ended_at.is_some() {
        return Err(Refusal::Ended);
    }
    if session.expires_at <= now || now.since(session.last_seen_at) > policy.idle {
        return Err(Refusal::Lapsed);
    }
    match status {
        Status::Active => Ok(()),
        Status::Suspended | Status::Banned | Status::Closed => Err(Refusal::Locked),
    }
}

/// What a refresh token that we made means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The current one: the next generation begins.
    Current,
    /// The one before, of the same client and so shortly after that its reply may have been lost: the
    /// same answer again.
    Repeated,
    /// An old one: two parties hold tokens of this session.
    Reused,
}

/// `client` is the one that presents it, where that matters.
pub(super) fn meaning(
    session: &Session,
    generation: i64,
    client: Option<[u8; 32]>,
    now: Timestamp,
) -> Meaning {
    let is_same =
        client.is_none() || session.refreshed_by.is_none() || client == session.refreshed_by;
    let is_lately = now.since(session.refreshed_at) <= GRACE;
    if generation == session.generation {
        Meaning::Current
    } else if generation + 1 == session.generation && is_lately && is_same {
        Meaning::Repeated
    } else {
        Meaning::Reused
    }
}
