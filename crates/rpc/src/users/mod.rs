//! The user service: who is presenting this token, and what may others know of a user.
//!
//! The in-process end is `identity::Identity`; the remote one is [`Remote`], which asks a listener
//! that serves any `Arc<dyn Users>`, by `proto/verza/users.proto`.

mod client;
mod memory;
mod server;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::id::kinds::{Session, User};
use kernel::{Error, Id, Principal, Result, Role, Secret, Timestamp};
use serde::{Deserialize, Serialize};

pub use client::Remote;
pub(crate) use server::Served;

/// The cookie that carries a session's opaque token.
pub const SESSION_COOKIE: &str = "verza_session";
/// The same token under the name that it has in the API below `/api/users`.
pub const SESSION_KEY_COOKIE: &str = "session_key";
/// The cookie by which a device is known to the account that last signed in on it.
pub const DEVICE_COOKIE: &str = "verza_device";

/// The cookie that carries a session of Ory Kratos.
pub const KRATOS_COOKIE: &str = "ory_kratos_session";

/// Whether a presented text is one that only Ory Kratos can judge: its cookie, presented as the
/// whole pair of name and value, or one of its session tokens. Asking about it costs a request.
pub fn is_kratos(presented: &str) -> bool {
    // Session tokens were 32 bare letters and digits before Kratos 1.0; nothing of ours is.
    presented.starts_with("ory_") || presented.len() == 32
}

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AccountStatus)]
pub enum Status {
    Active,
    /// Locked out by an admin for a while.
    Suspended,
    /// Locked out by an admin for good.
    Banned,
    /// Given up by its owner.
    Closed,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Active, Self::Suspended, Self::Banned, Self::Closed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Banned => "banned",
            Self::Closed => "closed",
        }
    }
}

impl std::str::FromStr for Status {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            Error::field("/status", "invalid", "one of active, suspended, banned, closed")
        })
    }
}

/// What other contexts may know of a user. The mail address is for sending to, and is shown to
/// the user and to admins only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub id: Id<User>,
    pub name: String,
    pub email: String,
    pub role: Role,
    pub status: Status,
    /// Verifiers and enterprises act for others only after an admin has approved them.
    pub approved: bool,
}

/// A new access token in the place of one that is over, and who presents it.
#[derive(Debug, Clone)]
pub struct Reissued {
    pub principal: Arc<Principal>,
    pub token: Secret<String>,
}

/// The user service.
pub trait Users: Send + Sync {
    /// Who presents this text, when memory alone can tell: no I/O, no waiting, no allocation.
    /// `None` says nothing about the text; ask [`Users::authenticate`] then.
    fn cached(&self, presented: &str, now: Timestamp) -> Option<Arc<Principal>>;

    /// The same, and for how long from now on it may be believed by another process that forgets
    /// what is told of this user; nothing from an end that cannot tell.
    fn believable(&self, _: &str) -> Option<(Arc<Principal>, Duration)> {
        None
    }

    /// Who presents this text: the opaque token of the cookie, an access token, a session token of
    /// Ory Kratos, or its cookie as `ory_kratos_session=..`. Whoever it is has a live session and
    /// an active account.
    ///
    /// # Errors
    /// `Unauthenticated`: `invalid_token`, `expired_token`, `session_ended`. For what only Kratos
    /// can judge also `Forbidden` `second_factor_required`, `email_not_verified`, and `Unavailable`
    /// `kratos_unavailable` while it cannot be asked.
    fn authenticate<'a>(&'a self, presented: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>>;

    /// A new access token in the place of one that is over, where the cookie of the same session
    /// stands beside it.
    ///
    /// # Errors
    /// `Unauthenticated`: `expired_token`, where the cookie is worth nothing either, and from an
    /// end that does not do this; `session_mismatch`, `superseded_token`, `invalid_token`.
    fn reissue<'a>(&'a self, _expired: &'a str, _: &'a str) -> BoxFuture<'a, Result<Reissued>> {
        let refusal = Error::unauthenticated("expired_token", "The access token has expired.");
        Box::pin(std::future::ready(Err(refusal)))
    }

    /// Whether a session that ends anywhere is refused here within milliseconds. While it is not,
    /// that takes up to a second, and what must not go wrong asks [`Users::confirm`].
    fn is_prompt(&self) -> bool {
        true
    }

    /// As [`Users::authenticate`], of the store and not of memory.
    ///
    /// # Errors
    /// Those, and `Unavailable` when the store does not answer.
    fn confirm<'a>(&'a self, presented: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        self.authenticate(presented)
    }

    /// Who is on a session, as the store has it at this moment: for what stays open longer than
    /// the token that opened it. To look is not to use: the session is no less idle for it.
    ///
    /// # Errors
    /// `Unauthenticated`: `session_ended`, `session_expired`, also from an end that does not know;
    /// `Unavailable` when the store does not answer.
    fn session(&self, _: Id<User>, _: Id<Session>) -> BoxFuture<'_, Result<Arc<Principal>>> {
        let refusal = Error::unauthenticated("session_ended", "This session has ended.");
        Box::pin(std::future::ready(Err(refusal)))
    }

    /// One user.
    ///
    /// # Errors
    /// `NotFound`.
    fn profile(&self, user: Id<User>) -> BoxFuture<'_, Result<Profile>>;

    /// With what a user could show once more who they are: `password`, `totp`, `recovery_code`,
    /// `passkey`. For refusals that ask for it; an end that does not know says nothing.
    fn ways_to_prove(&self, _: Id<User>) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// What a user is called in the order API: `admin`, `dev` or `guest`, or the role where they
    /// have none of these names. An end that does not know the names says the role.
    fn order_role<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, Result<String>> {
        Box::pin(std::future::ready(Ok(principal.role.as_str().to_owned())))
    }

    /// Several users, in the order asked for; those that do not exist are left out.
    fn profiles<'a>(&'a self, users: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>>;
}
