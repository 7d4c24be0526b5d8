//! What an admin may do to an account, and when.

use kernel::{Error, Role};
use rpc::users::Status;

/// What an admin does to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Approve,
    Suspend,
    Unsuspend,
    Ban,
    Unban,
}

impl Command {
    pub const ALL: [Self; 5] =
        [Self::Approve, Self::Suspend, Self::Unsuspend, Self::Ban, Self::Unban];

    /// What is recorded when it is done.
    pub const fn fact(self) -> &'static str {
        match self {
            Self::Approve => "user.approved",
            Self::Suspend => "user.suspended",
            Self::Unsuspend => "user.unsuspended",
            Self::Ban => "user.banned",
            Self::Unban => "user.unbanned",
        }
    }
}

/// What of an account the rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub role: Role,
    pub status: Status,
    pub approved: bool,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Admins do not lock out admins, themselves included.
    Admin,
    NeedsNoApproval,
    WrongStatus(Status),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Admin => {
                let message = "An admin cannot be suspended or banned.";
                Self::forbidden("admin_protected", message)
            }
            Refusal::NeedsNoApproval => {
                Self::conflict("needs_no_approval", "The account is approved already.")
            }
            Refusal::WrongStatus(status) => Self::conflict(
                "wrong_state",
                format!("The account is {}: that cannot be done to it now.", status.as_str()),
            ),
        }
    }
}

/// What becomes of an account.
pub(super) fn step(standing: Standing, command: Command) -> Result<Standing, Refusal> {
    use Status::{Active, Banned, Closed, Suspended};
    let Standing { role, status, approved } = standing;
    let becomes = |status| Ok(Standing { status, ..standing });
    match (command, status) {
        (Command::Approve, Banned | Closed) => Err(Refusal::WrongStatus(status)),
        (Command::Approve, Active | Suspended) if approved => Err(Refusal::NeedsNoApproval),
        (Command::Approve, Active | Suspended) => Ok(Standing { approved: true, ..standing }),
        (Command::Suspend | Command::Ban, _) if role == Role::Admin => Err(Refusal::Admin),
        (Command::Suspend, Active) => becomes(Suspended),
        (Command::Ban, Active | Suspended) => becomes(Banned),
        (Command::Unsuspend, Suspended) | (Command::Unban, Banned) => becomes(Active),
        (Command::Suspend, Suspended | Banned | Closed)
        | (Command::Ban, Banned | Closed)
        | (Command::Unsuspend, Active | Banned | Closed)
        | (Command::Unban, Active | Suspended | Closed) => Err(Refusal::WrongStatus(status)),
    }
}

/// Whether an account of this role is approved without an admin's doing.
pub(crate) const fn starts_approved(role: Role) -> bool {
    match role {
        Role::User | Role::Admin => true,
        Role::Verifier | Role::Enterprise => false,
    }
}

/// The roles that one may register as.
pub(super) const fn may_register_as(role: Role) -> bool {
    match role {
        Role::User | Role::Verifier | Role::Enterprise => true,
        Role::Admin => false,
    }
}
