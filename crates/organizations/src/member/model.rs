//! The nouns.

use std::fmt;
use std::str::FromStr;

use kernel::error::Fields;
use kernel::id::kinds::{Invitation as InvitationKind, Organization as OrganizationKind, User};
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};

const EMAIL_BYTES_MAX: usize = 254;

/// What somebody is in a team.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = TeamRole)]
pub enum MemberRole {
    /// Looks, and changes nothing.
    Viewer,
    /// Does the organization's work. Also read as `editor`.
    #[serde(alias = "editor")]
    Member,
    /// Looks after the team and the keys.
    Admin,
    Owner,
}

impl MemberRole {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Admin, Self::Owner];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for MemberRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MemberRole {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Error::field("/role", "invalid", "one of owner, admin, member, viewer"))
    }
}

/// An organization as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// The same UUID as its account's.
    pub id: Id<OrganizationKind>,
    pub name: String,
    pub website: String,
    /// Two letters of ISO 3166-1; empty where it is not said.
    pub country: String,
    pub registration_number: String,
    pub version: i64,
    pub created_at: Timestamp,
}

impl Organization {
    pub const fn account(&self) -> Id<User> {
        self.id.same_as()
    }
}

/// Somebody of a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub person: Id<User>,
    pub organization: Id<OrganizationKind>,
    pub role: MemberRole,
    /// None of the account itself.
    pub invited_by: Option<Id<User>>,
    pub joined_at: Timestamp,
}

/// A place in a team that waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub id: Id<InvitationKind>,
    pub organization: Id<OrganizationKind>,
    pub email: String,
    pub role: MemberRole,
    pub invited_by: Id<User>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What changes of an organization's description; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub(super) name: Option<String>,
    pub(super) website: Option<String>,
    pub(super) country: Option<String>,
    pub(super) registration_number: Option<String>,
}

impl Change {
    /// Empty texts clear what they stand for, but the name.
    pub fn parse(
        name: Option<&str>,
        website: Option<&str>,
        country: Option<&str>,
        registration_number: Option<&str>,
    ) -> Result<Self> {
        let mut fields = Fields::new();
        let mut text = |pointer: &str, text: Option<&str>, (min, max): (usize, usize)| {
            let text = text.map(str::trim)?;
            let length = text.chars().count();
            if !(min..=max).contains(&length) || text.chars().any(char::is_control) {
                let message = format!("one line of {min} to {max} characters");
                fields.add(pointer, "invalid", message);
            }
            Some(text.to_owned())
        };
        let name = text("/name", name, (2, 100));
        let website = text("/website", website, (0, 300));
        let registration_number = text("/registrationNumber", registration_number, (0, 60));
        let country = text("/country", country, (0, 2));
        if website.as_deref().is_some_and(|url| !url.is_empty() && !url.starts_with("https://")) {
            fields.add("/website", "invalid", "an address that begins with https://");
        }
        let is_code = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
        if country.as_deref().is_some_and(|text| !text.is_empty() && !is_code(text)) {
            fields.add("/country", "invalid", "two capital letters, such as DE");
        }
        fields.check()?;
        Ok(Self { name, website, country, registration_number })
    }

    pub(super) fn apply(&self, to: &mut Organization) {
        let pairs = [
            (&self.name, &mut to.name),
            (&self.website, &mut to.website),
            (&self.country, &mut to.country),
            (&self.registration_number, &mut to.registration_number),
        ];
        for (new, old) in pairs {
            if let Some(new) = new {
                old.clone_from(new);
            }
        }
    }
}

/// A mail address as it is compared: in lower case. Whether mail gets there is seen when it is sent.
pub fn email(text: &str) -> Result<String> {
    let text = text.trim().to_lowercase();
    let plain = text.len() <= EMAIL_BYTES_MAX
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty() && domain.contains('.') && !domain.contains('@')
        });
    if plain { Ok(text) } else { Err(Error::field("/email", "invalid", "not an e-mail address")) }
}
