//! When what goes, and what keeps somebody from going.

use std::time::Duration;

use kernel::{Error, Principal, Timestamp};
use platform::privacy::Stake;

/// A session proved within this time needs no password to close the account.
pub(super) const FRESH: Duration = Duration::from_secs(5 * 60);

/// How long what is held stays after an account was closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// From closing to erasing; an admin may open the account again until then.
    pub grace: Duration,
    /// From erasing the person to erasing the records about their documents.
    pub retention: Duration,
}

pub(super) fn is_fresh(principal: &Principal, now: Timestamp) -> bool {
    principal.impersonator.is_none() && now.since(principal.proven_at) <= FRESH
}

pub(super) fn proof_needed() -> Error {
    let message = "Send your password, or show who you are once more: with a code of your \
                   authenticator app, if you have one, or by signing in again.";
    Error::forbidden("proof_needed", message)
}

/// Somebody else's account is closed by who has just shown who they are, and no password of theirs
/// stands for that.
pub(super) fn step_up_required() -> Error {
    let message = "Show once more who you are, with POST /v1/auth/step-up, and try again.";
    Error::forbidden("step_up_required", message)
}

/// The refusal that lists what is open.
pub(super) fn refuse(stakes: Vec<Stake>) -> Result<(), Error> {
    if stakes.is_empty() {
        return Ok(());
    }
    let message = "Something is still open in this account. Settle it first.";
    let error = Error::conflict("account_in_use", message);
    Err(stakes.into_iter().fold(error, |error, stake| {
        error.with_field(format!("/{}", stake.subject), stake.code, stake.message)
    }))
}
