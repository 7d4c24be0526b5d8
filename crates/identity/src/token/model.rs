//! What a token says.

use std::time::Duration;

use kernel::id::kinds::{Session, User};
use kernel::{Error, Id, Role, Timestamp};
use serde::{Deserialize, Serialize};

/// The claims of an access token (RFC 9068 section 2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it: the configured issuer.
    pub iss: String,
    /// Whom it is for: this platform.
    pub aud: String,
    /// Whom it speaks of.
    pub sub: Id<User>,
    /// The session that it shows.
    pub sid: Id<Session>,
    pub role: Role,
    /// Seconds since 1970.
    pub iat: i64,
    /// Seconds since 1970: from this second on it is over.
    pub exp: i64,
    pub jti: String,
}

impl Claims {
    pub const fn expires_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.exp)
    }
}

/// How tokens are made.
#[derive(Debug, Clone)]
pub struct Policy {
    pub issuer: String,
    pub audience: String,
    /// How long an access token lives.
    pub lifetime: Duration,
    /// How old the signing key may become.
    pub key_age_max: Duration,
}

impl Policy {
    /// The usual policy of the platform at a public address.
    pub fn at(public_url: &str) -> Self {
        Self {
            issuer: public_url.to_owned(),
            audience: public_url.to_owned(),
            lifetime: Duration::from_secs(15 * 60),
            key_age_max: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// Why a token is not believed. What is wrong with it in detail helps only whoever forged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not in the one form that is accepted.
    Malformed,
    /// Signed by a key that is not known, or no longer.
    UnknownKey,
    BadSignature,
    /// From another issuer, or for somebody else, or from the future.
    Foreign,
    Expired,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Expired => {
                Self::unauthenticated("expired_token", "The access token has expired.")
            }
            _ => Self::unauthenticated("invalid_token", "The token is not valid."),
        }
    }
}
