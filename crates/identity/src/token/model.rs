//! What a token says.

use std::time::Duration;

use kernel::id::kinds::{Session, User};
use kernel::{Error, Id, Role, Timestamp};
use serde::{Deserialize, Serialize};

use super::paseto;

/// The form in which a session is shown as an access token.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = TokenFormat)]
pub enum Format {
    /// A signed JSON Web Token.
    #[default]
    Jwt,
    /// A signed PASETO of version 4.
    PasetoPublic,
    /// An encrypted PASETO of version 4, which only this platform reads.
    PasetoLocal,
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Jwt, Self::PasetoPublic, Self::PasetoLocal];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::PasetoPublic => "paseto_public",
            Self::PasetoLocal => "paseto_local",
        }
    }

    /// The form that a text would have, if it is a token of ours at all. Other versions of PASETO
    /// are no JWTs, and are refused as broken ones.
    pub fn of(presented: &str) -> Self {
        if presented.starts_with(paseto::PUBLIC) {
            Self::PasetoPublic
        } else if presented.starts_with(paseto::LOCAL) {
            Self::PasetoLocal
        } else {
            Self::Jwt
        }
    }
}

/// What a client wants its access token to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    pub format: Format,
    /// How long it lives, where that is not the policy's lifetime. A day at most.
    pub lifetime: Option<Duration>,
}

impl From<Format> for Wish {
    fn from(format: Format) -> Self {
        Self { format, lifetime: None }
    }
}

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
    /// The session's epoch: what was issued before the session was renewed is worth nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: i64,
    pub role: Role,
    /// Who acts in the subject's name (RFC 8693 section 4.1): an admin, for a quarter of an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// Seconds since 1970.
    pub iat: i64,
    /// Seconds since 1970: before this second it is not good yet. We issue none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Seconds since 1970: from this second on it is over.
    pub exp: i64,
    pub jti: String,
}

/// Who acts in somebody else's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub sub: Id<User>,
}

// Serde hands over references.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Claims {
    pub const fn expires_at(&self) -> Timestamp {
        Timestamp::from_seconds(self.exp)
    }
}

/// The same claims in a PASETO, whose times are texts (PASETO's `Claims.md`: ISO 8601).
#[derive(Serialize, Deserialize)]
pub(super) struct PasetoClaims {
    iss: String,
    aud: String,
    sub: Id<User>,
    sid: Id<Session>,
    #[serde(default, skip_serializing_if = "is_zero")]
    epoch: i64,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Actor>,
    iat: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<Timestamp>,
    exp: Timestamp,
    jti: String,
}

impl From<Claims> for PasetoClaims {
    fn from(claims: Claims) -> Self {
        let Claims { iss, aud, sub, sid, epoch, role, act, iat, nbf, exp, jti } = claims;
        let at = Timestamp::from_seconds;
        let (iat, nbf, exp) = (at(iat), nbf.map(at), at(exp));
        Self { iss, aud, sub, sid, epoch, role, act, iat, nbf, exp, jti }
    }
}

impl From<PasetoClaims> for Claims {
    fn from(claims: PasetoClaims) -> Self {
        let PasetoClaims { iss, aud, sub, sid, epoch, role, act, iat, nbf, exp, jti } = claims;
        let (iat, nbf, exp) = (iat.seconds(), nbf.map(Timestamp::seconds), exp.seconds());
        Self { iss, aud, sub, sid, epoch, role, act, iat, nbf, exp, jti }
    }
}

/// How tokens are made.
#[derive(Debug, Clone)]
pub struct Policy {
    pub issuer: String,
    pub audience: String,
    /// How long an access token lives, where nothing else is said. A day at most: retired keys are
    /// believed for that long.
    pub lifetime: Duration,
    /// How old a signing key may become.
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
