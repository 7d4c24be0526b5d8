//! What an account has enrolled, and what somebody presents.

use kernel::{Error, Level, Result, Secret, Timestamp};

use super::recovery_code;
use crate::session::Method;

/// With what an account can show who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Enrolled {
    pub password: bool,
    /// An authenticator app, confirmed.
    pub totp: bool,
    /// Recovery codes that are left.
    pub recovery_codes: i64,
    pub passkeys: i64,
}

/// What an account has enrolled, and what the asking session has shown.
#[derive(Debug, Clone)]
pub struct Standing {
    pub enrolled: Enrolled,
    /// Whether this account's role is of no use without a second factor.
    pub is_required: bool,
    pub level: Level,
    pub proven_at: Timestamp,
    /// With what its owner could show once more who they are.
    pub ways: Vec<Method>,
}

/// A secret to be put into an authenticator app, which is yet to be confirmed.
#[derive(Debug)]
pub struct Enrolment {
    /// In base32 (RFC 4648 section 6), for typing.
    pub secret: Secret<String>,
    /// `otpauth://totp/...`, for the app.
    pub uri: Secret<String>,
    /// The URI as a QR code, in SVG.
    pub qr: Secret<String>,
    pub expires_at: Timestamp,
}

/// What somebody presents as a second factor.
#[derive(Debug, Clone)]
pub enum Code {
    /// Six digits of an authenticator app.
    Totp(Secret<String>),
    /// Ten letters of a recovery code, in the one form in which it is compared.
    Recovery(Secret<String>),
}

impl Code {
    /// The code of a request that may have either.
    ///
    /// # Errors
    /// Field errors: `invalid`; `too_many` on `/recoveryCode` beside a `/totp`.
    pub fn parse(
        totp: Option<Secret<String>>,
        recovery: Option<Secret<String>>,
    ) -> Result<Option<Self>> {
        match (totp, recovery) {
            (None, None) => Ok(None),
            (Some(totp), None) => Self::totp(&totp).map(Some),
            (None, Some(recovery)) => Self::recovery(&recovery).map(Some),
            (Some(_), Some(_)) => {
                Err(Error::field("/recoveryCode", "too_many", "one of totp and recoveryCode"))
            }
        }
    }

    fn totp(text: &Secret<String>) -> Result<Self> {
        // Apps show the digits in two groups, and people copy the space.
        let digits: String = text.expose().chars().filter(|letter| *letter != ' ').collect();
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::field("/totp", "invalid", "six digits"));
        }
        Ok(Self::Totp(Secret::new(digits)))
    }

    fn recovery(text: &Secret<String>) -> Result<Self> {
        recovery_code::normal(text.expose()).map(Self::Recovery).ok_or_else(|| {
            Error::field("/recoveryCode", "invalid", "ten letters and digits, as they were shown")
        })
    }

    pub const fn method(&self) -> Method {
        match self {
            Self::Totp(_) => Method::Totp,
            Self::Recovery(_) => Method::RecoveryCode,
        }
    }
}
