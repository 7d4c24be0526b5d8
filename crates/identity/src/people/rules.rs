//! Who may become an admin, and who may stop being one.

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Role};
use rpc::users::Status;

use crate::account::Account;

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There has to be somebody who can administer the platform.
    LastAdmin,
    AlreadyAdmin,
    /// Verifiers and enterprises have dealings in their role.
    WrongRole(Role),
    WrongStatus(Status),
    /// Nobody has shown yet that the address is theirs.
    AddressNotProved,
    /// A link is of use only where there is no password.
    HasPassword,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LastAdmin => {
                Self::conflict("last_admin", "This is the last admin. Make another one first.")
            }
            Refusal::AlreadyAdmin => {
                Self::conflict("already_admin", "This account is an admin already.")
            }
            Refusal::WrongRole(role) => Self::conflict(
                "wrong_role",
                format!("This is an account of the role {role}: only a user becomes an admin."),
            ),
            Refusal::WrongStatus(status) => Self::conflict(
                "wrong_state",
                format!("The account is {}: that cannot be done to it now.", status.as_str()),
            ),
            Refusal::AddressNotProved => Self::conflict(
                "email_not_verified",
                "The mail address of this account has not been confirmed.",
            ),
            Refusal::HasPassword => {
                Self::conflict("has_password", "The owner of this account has a password.")
            }
        }
    }
}

/// Whether a caller may see and change an account at all.
pub(super) fn may_see(caller: &Caller, id: Id<User>) -> bool {
    caller.is_admin() || caller.user().is_ok_and(|user| user == id)
}

/// Whether an account may become an admin.
pub(super) fn may_become_admin(account: &Account) -> Result<(), Refusal> {
    match (account.role, account.status) {
        (Role::Admin, _) => Err(Refusal::AlreadyAdmin),
        (role @ (Role::Verifier | Role::Enterprise), _) => Err(Refusal::WrongRole(role)),
        (Role::User, Status::Active) if account.email_verified_at.is_none() => {
            Err(Refusal::AddressNotProved)
        }
        (Role::User, Status::Active) => Ok(()),
        (Role::User, status) => Err(Refusal::WrongStatus(status)),
    }
}

/// Whether a link to set a password may be sent.
pub(super) fn may_invite(account: &Account) -> Result<(), Refusal> {
    match account.status {
        Status::Active if account.password.is_none() => Ok(()),
        Status::Active => Err(Refusal::HasPassword),
        status => Err(Refusal::WrongStatus(status)),
    }
}
