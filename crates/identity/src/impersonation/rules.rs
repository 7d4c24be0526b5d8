//! As whom an admin may look at the platform.

use kernel::{Error, Result, Role};
use rpc::users::Status;

use crate::account::Account;

/// Why an admin looks at the platform as somebody else: 1 to 500 characters, for those who ask
/// later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// # Errors
    /// A field error `invalid` on `/reason`.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let is_plain = text.chars().all(|letter| !letter.is_control() || letter == '\n');
        if !(1..=500).contains(&text.chars().count()) || !is_plain {
            return Err(Error::field("/reason", "invalid", "1 to 500 characters"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Admin,
    WrongStatus(Status),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Admin => {
                Self::forbidden("admin_protected", "Nobody acts in the name of an admin.")
            }
            Refusal::WrongStatus(status) => Self::conflict(
                "wrong_state",
                format!("The account is {}: nobody can be signed in to it.", status.as_str()),
            ),
        }
    }
}

pub(super) fn may_be_looked_through(account: &Account) -> Result<(), Refusal> {
    match (account.role, account.status) {
        (Role::Admin, _) => Err(Refusal::Admin),
        (_, Status::Active) => Ok(()),
        (_, status) => Err(Refusal::WrongStatus(status)),
    }
}
