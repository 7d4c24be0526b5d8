//! What an admin says of an account that is to be.

use kernel::error::Fields;
use kernel::{Result, Role};

use crate::account::{Email, Name};

/// An account about to be made for somebody.
#[derive(Debug, Clone)]
pub struct NewPerson {
    pub name: Name,
    pub email: Email,
    /// Any but admin.
    pub role: Role,
    /// Whether a verifier or an enterprise may act for others at once. Users always may.
    pub approved: bool,
}

impl NewPerson {
    /// # Errors
    /// Field errors, all at once.
    pub fn parse(name: &str, email: &str, role: Role, approved: bool) -> Result<Self> {
        let mut fields = Fields::new();
        if role == Role::Admin {
            fields.add("/role", "not_allowed", "one of user, verifier, enterprise");
        }
        let name = fields.take(Name::parse(name));
        let email = fields.take(Email::parse(email));
        match (name, email) {
            (Some(name), Some(email)) if role != Role::Admin => {
                Ok(Self { name, email, role, approved: approved || role == Role::User })
            }
            _ => Err(fields.into_error()),
        }
    }
}
