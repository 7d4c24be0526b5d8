//! What the older APIs call things.

use kernel::id::kinds::User;
use kernel::{Error, Id, Result};
use uuid::Uuid;

/// What happens to who registers here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Registration {
    /// Signed in at once, as somebody whose address is not proved.
    #[default]
    Immediate,
    /// Told to look into their mail, as everywhere else.
    Confirmed,
}

/// How the older APIs behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    pub registration: Registration,
    /// Whether `GET /api/users/extUserId/{token}` is there. A token in an address ends up in the
    /// logs of everything on the way.
    pub token_in_path: bool,
}

/// The order API's roles, but `admin`: nobody makes themselves one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OrderRole {
    Dev,
    Guest,
}

impl OrderRole {
    pub(super) const ALL: [Self; 2] = [Self::Dev, Self::Guest];

    /// # Errors
    /// A field error on `/role`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |code, message| Err(Error::field("/role", code, message));
        match text {
            "dev" => Ok(Self::Dev),
            "guest" => Ok(Self::Guest),
            "admin" => wrong("not_allowed", "nobody becomes an admin by registering"),
            _ => wrong("invalid", "one of dev, guest"),
        }
    }

    /// The name of the role, and of its tag.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Guest => "guest",
        }
    }
}

/// Whose account is to be deleted: `me`, or a UUID as these APIs show it. What is neither names
/// nobody.
///
/// # Errors
/// `NotFound`.
pub(super) fn parse_target(text: &str, me: Id<User>) -> Result<Id<User>> {
    match text {
        "me" => Ok(me),
        _ if text.len() == uuid::fmt::Hyphenated::LENGTH => {
            let uuid = Uuid::try_parse(text).map_err(|_| Error::not_found("user"))?;
            Ok(Id::from_uuid(uuid))
        }
        _ => Err(Error::not_found("user")),
    }
}
