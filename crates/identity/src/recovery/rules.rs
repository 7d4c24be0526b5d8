//! Whose password may be set anew, and when a link or a change is refused.

use kernel::Error;
use rpc::users::Status;

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The link was used, has expired, or was never given out.
    LinkSpent,
    WrongPassword,
    /// The account signs in by other means.
    NoPassword,
    /// An admin looks through the owner's eyes.
    Impersonating,
    ChangedMeanwhile,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LinkSpent => {
                Self::gone("token_spent", "This link was used or has expired. Ask for a new one.")
            }
            // Not 401: the session is good, and clients sign out when they hear that.
            Refusal::WrongPassword => {
                Self::field("/currentPassword", "wrong", "not the current password")
            }
            Refusal::NoPassword => Self::conflict(
                "no_password",
                "The account has no password yet. Set one by the link of a forgotten password.",
            ),
            Refusal::Impersonating => Self::forbidden(
                "impersonating",
                "The password of another person can only be changed by that person.",
            ),
            Refusal::ChangedMeanwhile => Self::conflict(
                "changed_meanwhile",
                "The account was changed at the same time. Try again.",
            ),
        }
    }
}

/// A suspension is for a while and its owner may prepare for its end; a ban is for good.
pub(super) const fn may_recover(status: Status) -> bool {
    match status {
        Status::Active | Status::Suspended => true,
        Status::Banned | Status::Closed => false,
    }
}
