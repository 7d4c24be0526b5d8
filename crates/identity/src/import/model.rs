//! A row that may be imported.

use kernel::error::Fields;
use kernel::{Error, Result, Role, Timestamp};

use crate::account::{Email, Name};
use crate::password::Phc;

/// What an import may bring.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub allow_admin: bool,
    /// No account is from later than this.
    pub now: Timestamp,
}

/// A row as it was read: texts, of which any may be missing.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) email: Option<String>,
    pub(super) name: Option<String>,
    pub(super) role: Option<String>,
    pub(super) password_hash: Option<String>,
    pub(super) email_verified: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) external_id: Option<String>,
}

/// The columns, as both forms name them.
pub(super) const COLUMNS: [&str; 8] = [
    "email",
    "name",
    "role",
    "passwordHash",
    "emailVerified",
    "createdAt",
    "externalId",
    // The same as externalId.
    "id",
];

impl Raw {
    /// Where the value of a column goes; `None` for one that is not known.
    pub(super) fn column(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "email" => &mut self.email,
            "name" => &mut self.name,
            "role" => &mut self.role,
            "passwordHash" => &mut self.password_hash,
            "emailVerified" => &mut self.email_verified,
            "createdAt" => &mut self.created_at,
            "externalId" | "id" => &mut self.external_id,
            _ => return None,
        })
    }
}

/// An account from elsewhere.
#[derive(Debug, Clone)]
pub struct Row {
    pub email: Email,
    pub name: Name,
    pub role: Role,
    /// Without it the owner sets a password by the link of a forgotten one.
    pub password: Option<Phc>,
    pub email_verified: bool,
    pub created_at: Timestamp,
    /// What the account is called where it comes from.
    pub external_id: Option<String>,
}

impl Row {
    /// # Errors
    /// Field errors, all at once.
    pub(super) fn parse(raw: Raw, policy: &Policy) -> Result<Self> {
        let mut fields = Fields::new();
        let email = match raw.email {
            Some(text) => fields.take(Email::parse(&text)),
            None => fields.take(Err(Error::field("/email", "missing", "an address is needed"))),
        };
        // An address says as much of a name as there is where none is given.
        let local = email.as_ref().and_then(|email| email.shown().split('@').next());
        let name = raw.name.as_deref().or(local);
        let name = name.and_then(|name| fields.take(Name::parse(name)));
        let role = fields.take(role(raw.role.as_deref(), policy));
        let password = raw.password_hash.map(|text| Phc::from_elsewhere("/passwordHash", &text));
        let password = password.and_then(|parsed| fields.take(parsed));
        let email_verified = fields.take(truth(raw.email_verified.as_deref()));
        let created_at = fields.take(time(raw.created_at.as_deref(), policy.now));
        let external_id = raw.external_id.and_then(|text| fields.take(external_id(text)));
        fields.check()?;
        match (email, name, role, email_verified, created_at) {
            (Some(email), Some(name), Some(role), Some(email_verified), Some(created_at)) => {
                Ok(Self { email, name, role, password, email_verified, created_at, external_id })
            }
            _ => Err(Error::internal("a row is neither right nor wrong")),
        }
    }
}

fn role(text: Option<&str>, policy: &Policy) -> Result<Role> {
    let role = text.map_or(Ok(Role::User), str::parse)?;
    if role == Role::Admin && !policy.allow_admin {
        let message = "an admin only with --allow-admin";
        return Err(Error::field("/role", "not_allowed", message));
    }
    Ok(role)
}

fn truth(text: Option<&str>) -> Result<bool> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0" | "no" | "f") => Ok(false),
        Some("true" | "1" | "yes" | "t") => Ok(true),
        Some(_) => Err(Error::field("/emailVerified", "invalid", "true or false")),
    }
}

fn time(text: Option<&str>, now: Timestamp) -> Result<Timestamp> {
    let Some(text) = text else { return Ok(now) };
    let at: Timestamp = text.parse().map_err(|_| {
        Error::field("/createdAt", "invalid", "a time such as 2024-05-01T12:00:00Z")
    })?;
    if at > now {
        return Err(Error::field("/createdAt", "invalid", "not in the future"));
    }
    Ok(at)
}

fn external_id(text: String) -> Result<String> {
    if !(1..=200).contains(&text.len()) || text.chars().any(char::is_control) {
        let message = "1 to 200 bytes without control characters";
        return Err(Error::field("/externalId", "invalid", message));
    }
    Ok(text)
}
