//! What a type may be allowed, and why a verb is refused.

use kernel::Error;

use super::model::{AccountType, Number, Permissions};

/// Permissions to upload begin so.
const UPLOAD: &str = "Upload";

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Accounts of type 1 never upload.
    UserCannotUpload,
    NumberTaken,
    NameTaken,
    /// Accounts are of this type.
    InUse,
    ChangedMeanwhile,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UserCannotUpload => Self::field(
                "/permissions",
                "not_allowed",
                "accounts of type 1 cannot upload: leave out permissions that begin with Upload",
            ),
            Refusal::NumberTaken => {
                Self::conflict("number_taken", "There is an account type with this number.")
            }
            Refusal::NameTaken => {
                Self::conflict("name_taken", "There is an account type with this name.")
            }
            Refusal::InUse => Self::conflict(
                "account_type_in_use",
                "Accounts are of this type. It can be deleted when there are none.",
            ),
            Refusal::ChangedMeanwhile => Self::conflict(
                "changed_meanwhile",
                "The account type was changed at the same time. Read it again.",
            ),
        }
    }
}

fn is_upload(permission: &str) -> bool {
    permission.get(..UPLOAD.len()).is_some_and(|start| start.eq_ignore_ascii_case(UPLOAD))
}

/// Whether these permissions may be given to the type of this number.
pub(super) fn check(number: Number, permissions: &Permissions) -> Result<(), Refusal> {
    let uploads = permissions.as_slice().iter().any(|permission| is_upload(permission));
    if number == Number::USER && uploads { Err(Refusal::UserCannotUpload) } else { Ok(()) }
}

/// Whether accounts of a type may upload anything.
pub fn may_upload(kind: &AccountType) -> bool {
    kind.number != Number::USER
        && kind.permissions.as_slice().iter().any(|permission| is_upload(permission))
}
