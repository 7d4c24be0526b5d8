//! How sure a way of showing who one is makes us, what is asked for beside it, and what counts as
//! showing it once more. Levels are those of NIST SP 800-63B, section 4.

use kernel::{Error, Level};

use super::model::Enrolled;
use crate::session::Method;

/// What has been shown is worth, and what is wanted beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assurance {
    pub level: Level,
    /// Any one of these before a session starts; empty where it may.
    pub asks: Vec<Method>,
}

/// How sure the methods that were used make us, taken together.
pub fn level(methods: &[Method]) -> Level {
    let used = |method| methods.contains(&method);
    // Somebody else's eyes are sure of nothing.
    if used(Method::Impersonation) {
        return Level::One;
    }
    let knows = used(Method::Password) || used(Method::Kratos);
    let has = used(Method::Totp) || used(Method::RecoveryCode);
    // A passkey is had, and is unlocked by something known or by a finger: two factors in one.
    if used(Method::Passkey) || (knows && has) { Level::Two } else { Level::One }
}

/// Whether a method shows more than a password does.
pub(crate) const fn is_second(method: Method) -> bool {
    match method {
        Method::Totp | Method::RecoveryCode | Method::Passkey => true,
        Method::Password | Method::Kratos | Method::Impersonation => false,
    }
}

/// What becomes of a login by these methods.
///
/// A password of an account with an authenticator app is half of a login. Kratos asks for second
/// factors itself where it is told to, and has no place for ours: its sessions start, at level one,
/// and prove more when more is needed.
pub fn assure(methods: &[Method], enrolled: &Enrolled) -> Assurance {
    let level = level(methods);
    let is_half = level == Level::One && methods == [Method::Password] && enrolled.totp;
    let asks = if is_half { second_factors(enrolled) } else { Vec::new() };
    Assurance { level, asks }
}

/// With what an account shows once more who it is: by a second factor where there is an
/// authenticator app, else by whatever opens its doors.
pub fn ways_to_prove(enrolled: &Enrolled) -> Vec<Method> {
    if enrolled.totp {
        return second_factors(enrolled);
    }
    let mut ways = Vec::new();
    if enrolled.password {
        ways.push(Method::Password);
    }
    if enrolled.passkeys > 0 {
        ways.push(Method::Passkey);
    }
    ways
}

/// Whether a login at Kratos, of this level, is a fresh proof: of an account with an authenticator
/// app one factor is none there either.
pub(crate) const fn is_proof(level: Level, enrolled: &Enrolled) -> bool {
    match level {
        Level::One => !enrolled.totp,
        Level::Two => true,
    }
}

fn second_factors(enrolled: &Enrolled) -> Vec<Method> {
    let mut ways = vec![Method::Totp];
    if enrolled.recovery_codes > 0 {
        ways.push(Method::RecoveryCode);
    }
    if enrolled.passkeys > 0 {
        ways.push(Method::Passkey);
    }
    ways
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotEnrolled,
    /// The role is of no use without a second factor, and this is the last one.
    Needed,
    /// Another one is added by who has shown one that is there.
    OneFactorOnly,
    /// Kratos vouches for one factor, and the role needs two.
    OneFactorElsewhere,
    /// There is a better way to prove it, and that is wanted.
    NotEnough,
    /// Of a code, a password or a passkey of whoever is signed in already.
    Wrong,
    /// The secret that was shown is no longer waiting for its first code.
    NothingPending,
    /// The login took too long, was tried too often, or was finished.
    Spent,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotEnrolled => {
                Self::conflict("not_enrolled", "There is no authenticator app on this account.")
            }
            Refusal::Needed => Self::conflict(
                "second_factor_needed",
                "An admin needs a second factor. Enrol the next one before this one goes.",
            ),
            Refusal::OneFactorOnly => Self::forbidden(
                "second_factor_required",
                "This account has a second factor. Show it with POST /v1/auth/step-up before you \
                 add another one.",
            ),
            Refusal::OneFactorElsewhere => Self::forbidden(
                "second_factor_required",
                "An admin who signs in at the identity provider shows a second factor there before \
                 one is added here.",
            ),
            Refusal::NotEnough => Self::forbidden(
                "proof_not_enough",
                "This account has a second factor. Show that, not the password.",
            ),
            Refusal::Wrong => {
                Self::forbidden("wrong_proof", "That is not right, or it was used before.")
            }
            Refusal::NothingPending => Self::conflict(
                "nothing_pending",
                "No authenticator app waits to be confirmed. Start with POST /v1/auth/mfa/enroll.",
            ),
            Refusal::Spent => Self::unauthenticated(
                "challenge_spent",
                "This login took too long, failed too often or was finished. Sign in again.",
            ),
        }
    }
}

/// Whether a session of this level may add a factor. Where an account needs a second one and has
/// it, who knows no more than the password would otherwise bring one of their own. Where it has none
/// here and Kratos vouches for the session, it may have one there, and shows that.
pub(crate) fn may_add(
    enrolled: &Enrolled,
    is_required: bool,
    level: Level,
    is_vouched: bool,
) -> Result<(), Refusal> {
    let has_second = enrolled.totp || enrolled.passkeys > 0;
    match (is_required && level < Level::Two, has_second, is_vouched) {
        (true, true, _) => Err(Refusal::OneFactorOnly),
        (true, false, true) => Err(Refusal::OneFactorElsewhere),
        (true, false, false) | (false, _, _) => Ok(()),
    }
}

/// Whether an account that needs a second factor could spare the authenticator app.
pub(super) const fn may_remove_totp(enrolled: &Enrolled, is_required: bool) -> Result<(), Refusal> {
    match (enrolled.totp, is_required && enrolled.passkeys == 0) {
        (false, _) => Err(Refusal::NotEnrolled),
        (true, true) => Err(Refusal::Needed),
        (true, false) => Ok(()),
    }
}

/// Whether an account that needs a second factor could spare a passkey.
pub(super) const fn may_remove_passkey(
    enrolled: &Enrolled,
    is_required: bool,
) -> Result<(), Refusal> {
    if is_required && !enrolled.totp && enrolled.passkeys <= 1 {
        return Err(Refusal::Needed);
    }
    Ok(())
}
