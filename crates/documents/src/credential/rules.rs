//! What may be done with a credential in which state.

use kernel::{Error, Result, Timestamp};

use super::model::{Credential, Date, Status};

/// How a stored status reads at `now`.
pub(crate) fn status_at(
    stored: Status,
    valid_until: Option<Timestamp>,
    expiry_date: Option<Date>,
    now: Timestamp,
) -> Status {
    let over = valid_until.is_some_and(|until| until <= now)
        || expiry_date.is_some_and(|last_day| last_day < Date::of(now));
    if stored == Status::Verified && over { Status::Expired } else { stored }
}

/// What somebody wants to do with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Edit,
    Delete,
    Verify,
    Revoke,
    Share,
}

impl Act {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 5] =
        [Self::Edit, Self::Delete, Self::Verify, Self::Revoke, Self::Share];

    const fn verb(self) -> &'static str {
        match self {
            Self::Edit => "changed",
            Self::Delete => "deleted",
            Self::Verify => "verified",
            Self::Revoke => "revoked",
            Self::Share => "shared",
        }
    }
}

/// Whether the state allows it: the machine at one glance.
pub(crate) const fn allows(status: Status, act: Act) -> bool {
    match (status, act) {
        (Status::Draft | Status::Rejected, Act::Edit) => true,
        (_, Act::Edit) => false,
        // A verifier is at work, and the price is held: cancel the verification first.
        (Status::Pending, Act::Delete) => false,
        (_, Act::Delete) => true,
        (Status::Draft | Status::Rejected | Status::Expired, Act::Verify) => true,
        (_, Act::Verify) => false,
        (Status::Verified | Status::Expired, Act::Revoke) => true,
        (_, Act::Revoke) => false,
        (Status::Revoked, Act::Share) => false,
        (_, Act::Share) => true,
    }
}

/// The status in which revoking leaves a credential. What was signed of it before can be taken back
/// whatever has become of it since; what is going on with it now is another matter.
pub(crate) const fn revoked(status: Status) -> Status {
    match status {
        Status::Verified | Status::Expired | Status::Revoked => Status::Revoked,
        Status::Draft | Status::Pending | Status::Rejected => status,
    }
}

pub(crate) fn check(credential: &Credential, act: Act) -> Result<()> {
    if allows(credential.status, act) {
        return Ok(());
    }
    let (verb, status) = (act.verb(), credential.status);
    Err(wrong_state(format!("A credential that is {status} cannot be {verb}.")))
}

pub(crate) fn wrong_state(message: String) -> Error {
    Error::conflict("wrong_state", message)
}

/// The status in which a verification without a verdict leaves a credential. `earlier` is whether
/// the verdict that it had before stands, where it had one; `from` is where it was found.
pub(crate) const fn withdrawn(earlier: Option<bool>, from: Status) -> Status {
    match (earlier, from) {
        // It had been verified before and had expired: the earlier verdict stands as it was.
        (Some(true), _) => Status::Verified,
        // It was revoked while the verification ran, and that is for good.
        (Some(false), _) => Status::Revoked,
        // Nobody has looked at it since it was rejected.
        (None, Status::Rejected) => Status::Rejected,
        (None, _) => Status::Draft,
    }
}
