//! Who may, and why not.

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Level, Result, Role};

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is somebody else's, or there is none: the difference is nobody's business.
    Unknown,
    /// Somebody else's account can be made by an admin only.
    NotYours,
    /// The owner holds an account of this type.
    TypeTaken,
    ChangedMeanwhile,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown => Self::not_found("account"),
            Refusal::NotYours => {
                Self::forbidden("forbidden", "Accounts are made by their owner or by an admin.")
            }
            Refusal::TypeTaken => {
                Self::conflict("account_exists", "There is an account of this type already.")
                    .with_field("/type", "taken", "one account of a type for each owner")
            }
            Refusal::ChangedMeanwhile => Self::conflict(
                "changed_meanwhile",
                "The account was changed at the same time. Read it again.",
            ),
        }
    }
}

/// Whether the caller is an admin, and as sure to be one as admins have to be.
pub(super) fn administers(caller: &Caller, second_factor: bool) -> bool {
    let principal = caller.principal.as_deref();
    principal.is_some_and(|principal| {
        let is_sure = !second_factor || principal.level == Level::Two;
        principal.role == Role::Admin && principal.impersonator.is_none() && is_sure
    })
}

/// Whether the caller may see and change what this user owns.
pub(super) fn may(caller: &Caller, owner: Id<User>, second_factor: bool) -> Result<bool> {
    Ok(caller.user()? == owner || administers(caller, second_factor))
}
