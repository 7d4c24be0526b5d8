//! Whom an identity of Kratos becomes here, which of its sessions are believed, and which may
//! begin without it.

use kernel::{Error, Timestamp};
use rpc::users::Status;

use super::model::{Identity, Mode, Session};
use crate::account::Account;
use crate::session::{Method, Proof};

/// Why a session of Kratos is not believed, or an identity gets no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not a session, or none any more, or of an identity that is switched off.
    Inactive,
    /// Kratos wants a second factor first.
    SecondFactorDue,
    /// Kratos has not seen the address proved.
    Unproved,
    /// There is no mail address in the identity that an account could have.
    NoAddress,
    /// People sign in at Kratos, and nowhere else.
    Elsewhere,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Inactive => Self::unauthenticated(
                "session_ended",
                "The session is not active. Sign in again at the identity provider.",
            ),
            Refusal::SecondFactorDue => Self::forbidden(
                "second_factor_required",
                "This session needs its second factor first. Complete it at the identity provider.",
            ),
            // The same whether or not there is an account: this is no place to ask.
            Refusal::Unproved => Self::forbidden(
                "email_not_verified",
                "The identity provider has not seen your mail address confirmed. Confirm it there \
                 first.",
            ),
            Refusal::NoAddress => Self::forbidden(
                "email_missing",
                "Your identity has no mail address. Add one at the identity provider.",
            ),
            Refusal::Elsewhere => Self::forbidden(
                "sign_in_elsewhere",
                "On this platform one signs in at its identity provider.",
            ),
        }
    }
}

/// Whether Kratos's word on a session is enough to act on it now.
pub(super) fn believe<'a>(
    session: &Session,
    identity: Option<&'a Identity>,
    now: Timestamp,
) -> Result<&'a Identity, Refusal> {
    let alive = session.active && session.expires_at > now;
    match identity {
        Some(identity) if alive && identity.active => Ok(identity),
        _ => Err(Refusal::Inactive),
    }
}

/// What is done with an identity that has no account yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Nobody has the address: a new account.
    Create,
    /// The account's owner and the identity's have both proved the address: the same person.
    Join,
    /// An account that an admin has made or imported, and whose owner comes for the first time: the
    /// address is proved, and all else stays.
    Prove,
    /// An account that somebody began with an address which they never proved: it becomes the
    /// account of whoever has, and nothing of what was set stays.
    Claim,
}

/// `account` is the one with the identity's address, and whether it gives way to whoever proves that:
/// see [`crate::account::store::gives_way`].
pub(super) fn link(
    identity: &Identity,
    account: Option<(&Account, bool)>,
) -> Result<Link, Refusal> {
    let Some((_, proved)) = &identity.address else { return Err(Refusal::NoAddress) };
    if !proved {
        return Err(Refusal::Unproved);
    }
    Ok(match account {
        None => Link::Create,
        Some((account, _)) if account.email_verified_at.is_some() => Link::Join,
        // A locked account stays what it is; whoever signs in on it is told so.
        Some((account, _)) if account.status != Status::Active => Link::Join,
        Some((_, false)) => Link::Prove,
        Some((_, true)) => Link::Claim,
    })
}

/// Whether a session may begin by what was proved here. Looking through somebody's eyes is not
/// signing in.
pub(crate) fn may_start(mode: Mode, proof: &Proof) -> Result<(), Refusal> {
    match mode {
        Mode::Native | Mode::Both => Ok(()),
        Mode::Kratos if proof.methods.contains(&Method::Impersonation) => Ok(()),
        Mode::Kratos => Err(Refusal::Elsewhere),
    }
}
