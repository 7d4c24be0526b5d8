//! Who asks, from where, and under which idempotency key: the first argument of every verb.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::PRECONDITION_FAILED;
use crate::id::kinds::{ApiKey, Session, User};
use crate::{Error, Id, Permission, Permissions, Result, Timestamp};

/// What a user is on this platform. One user has one role.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    User,
    Verifier,
    Enterprise,
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::User, Self::Verifier, Self::Enterprise, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Verifier => "verifier",
            Self::Enterprise => "enterprise",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            Error::field("/role", "invalid", "one of user, verifier, enterprise, admin")
        })
    }
}

/// How sure we are of who is there: the authenticator assurance level (NIST SP 800-63B, 4).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub enum Level {
    /// One factor.
    #[serde(rename = "aal1")]
    One,
    /// Two distinct factors, or one authenticator that holds both (a passkey with its PIN).
    #[serde(rename = "aal2")]
    Two,
}

impl Level {
    pub const ALL: [Self; 2] = [Self::One, Self::Two];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "aal1",
            Self::Two => "aal2",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who acts where the user of a [`Principal`] is an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// A person of its team.
    Member(Id<User>),
    Key(Id<ApiKey>),
}

/// Somebody or something that acts for an organization, and what they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acting {
    pub by: Actor,
    pub may: Permissions,
}

/// A signed-in user, as the session says; or an organization, for which a member or a key acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose things are meant: an organization's where somebody acts for it.
    pub user: Id<User>,
    pub role: Role,
    pub session: Id<Session>,
    pub email_verified: bool,
    /// Verifiers and enterprises act for others only after an admin has approved them.
    pub approved: bool,
    pub level: Level,
    /// When the person last showed who they are on this session: at the login, or since.
    pub proven_at: Timestamp,
    /// The admin who looks at the platform as this user.
    pub impersonator: Option<Id<User>>,
    /// Set on routes of enterprises only, and there for everybody but the account itself.
    pub acting: Option<Acting>,
}

impl Principal {
    /// Somebody with a confirmed address and every approval, signed in with one factor long ago.
    pub const fn new(user: Id<User>, role: Role, session: Id<Session>) -> Self {
        Self {
            user,
            role,
            session,
            email_verified: true,
            approved: true,
            level: Level::One,
            proven_at: Timestamp::from_micros(0),
            impersonator: None,
            acting: None,
        }
    }

    /// The person who is there. Where a key acts there is none, and it is the organization.
    pub const fn person(&self) -> Id<User> {
        match self.acting {
            Some(Acting { by: Actor::Member(person), .. }) => person,
            Some(Acting { by: Actor::Key(_), .. }) | None => self.user,
        }
    }

    /// Whether this may be done. The account itself may do all that its role does.
    pub fn may(&self, permission: Permission) -> bool {
        self.acting.is_none_or(|acting| acting.may.contains(permission))
    }
}

/// Where a request came from. Kept beside facts as their private origin.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Sixteen random bytes, or the id that a trusted proxy sent.
    pub request_id: RequestId,
    pub ip: Option<IpAddr>,
    /// Kept for requests that change something; reads leave it out.
    pub user_agent: Option<Arc<str>>,
    /// What a device shows of itself where somebody signs in; recorded nowhere.
    pub device: Option<Arc<str>>,
}

/// The id of one request, the same in every log line, error and fact that it causes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RequestId {
    #[default]
    None,
    Ours(Uuid),
    Theirs(Arc<str>),
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Ours(uuid) => fmt::Display::fmt(&uuid.simple(), f),
            Self::Theirs(text) => f.write_str(text),
        }
    }
}

/// A request that may be sent twice and must act once.
#[derive(Debug)]
pub struct Idempotency {
    /// SHA-256 over principal, method, route and the client's key.
    pub scope: [u8; 32],
    /// SHA-256 over what was asked for.
    pub fingerprint: [u8; 32],
    replayed: Arc<AtomicBool>,
}

impl Idempotency {
    pub fn new(scope: [u8; 32], fingerprint: [u8; 32]) -> Self {
        Self { scope, fingerprint, replayed: Arc::default() }
    }

    /// The same request, with more of its content in the fingerprint.
    #[must_use]
    pub fn with_fingerprint(&self, fingerprint: [u8; 32]) -> Self {
        Self { scope: self.scope, fingerprint, replayed: Arc::clone(&self.replayed) }
    }

    /// Notes that the answer is the remembered one; the edge says so in a header.
    pub fn mark_replayed(&self) {
        self.replayed.store(true, Ordering::Relaxed);
    }

    pub fn is_replayed(&self) -> bool {
        self.replayed.load(Ordering::Relaxed)
    }
}

/// The versions of a thing that a request was made for: what its sender has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(Arc<[i64]>);

impl Expected {
    /// Any of these will do; where there is none, nothing does.
    pub fn one_of(versions: impl IntoIterator<Item = i64>) -> Self {
        Self(versions.into_iter().collect())
    }
}

/// The asker of a verb. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    pub principal: Option<Arc<Principal>>,
    pub origin: Origin,
    pub idempotency: Option<Arc<Idempotency>>,
    /// Of the thing that the request is about, where its sender names any.
    pub expected: Option<Expected>,
}

impl Caller {
    /// Nobody in particular: a public page, or the platform itself in a job.
    pub fn nobody() -> Self {
        Self::default()
    }

    pub fn of(principal: Principal) -> Self {
        Self { principal: Some(Arc::new(principal)), ..Self::default() }
    }

    /// The signed-in user, or the error that asks for signing in.
    pub fn principal(&self) -> Result<&Principal> {
        self.principal.as_deref().ok_or_else(|| {
            Error::unauthenticated("missing_auth", "Sign in first: send a token or the cookie.")
        })
    }

    pub fn user(&self) -> Result<Id<User>> {
        self.principal().map(|principal| principal.user)
    }

    pub fn role(&self) -> Option<Role> {
        self.principal.as_ref().map(|principal| principal.role)
    }

    pub fn is_admin(&self) -> bool {
        self.role() == Some(Role::Admin)
    }

    /// Refuses a request that was made for another version of a thing than the one that is there.
    /// Verbs ask in the transaction in which they decide, and after they have seen that the thing
    /// is the caller's to know of.
    ///
    /// # Errors
    /// `Conflict` [`PRECONDITION_FAILED`] with the member `version`, which is the present one.
    pub fn expect(&self, version: i64) -> Result<()> {
        if self.expected.as_ref().is_none_or(|Expected(versions)| versions.contains(&version)) {
            return Ok(());
        }
        let message = "It has changed since it was read. Read it again.";
        Err(Error::conflict(PRECONDITION_FAILED, message).with_member("version", version))
    }
}
