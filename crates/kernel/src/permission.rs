//! What may be done for an organization: by its members, as their role says, and by its API keys,
//! as their scopes say. One vocabulary for both, checked by the gateway from the route's row.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// One thing that may be done for an organization.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub enum Permission {
    #[serde(rename = "verifications:read")]
    VerificationsRead,
    /// Asks for verifications: spends from the organization's wallet.
    #[serde(rename = "verifications:write")]
    VerificationsWrite,
    #[serde(rename = "presentations:read")]
    PresentationsRead,
    #[serde(rename = "presentations:write")]
    PresentationsWrite,
    /// Looks at the organization: profile, team, figures, bills.
    #[serde(rename = "organization:read")]
    OrganizationRead,
    /// Changes the organization: team, keys, webhooks, plan.
    #[serde(rename = "organization:manage")]
    OrganizationManage,
}

impl Permission {
    pub const ALL: [Self; 6] = [
        Self::VerificationsRead,
        Self::VerificationsWrite,
        Self::PresentationsRead,
        Self::PresentationsWrite,
        Self::OrganizationRead,
        Self::OrganizationManage,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerificationsRead => "verifications:read",
            Self::VerificationsWrite => "verifications:write",
            Self::PresentationsRead => "presentations:read",
            Self::PresentationsWrite => "presentations:write",
            Self::OrganizationRead => "organization:read",
            Self::OrganizationManage => "organization:manage",
        }
    }

    /// Whether an API key may have it. A program does an organization's work; it does not decide
    /// who belongs to it.
    pub const fn is_for_keys(self) -> bool {
        !matches!(self, Self::OrganizationRead | Self::OrganizationManage)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Error::field("/scopes", "invalid", format!("one of {known}"))
        })
    }
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    pub const NONE: Self = Self(0);

    pub const fn of(list: &[Permission]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < list.len() {
            bits |= list[at].bit();
            at += 1;
        }
        Self(bits)
    }

    pub const fn contains(self, one: Permission) -> bool {
        self.0 & one.bit() != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |one| self.contains(*one))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(list: I) -> Self {
        Self(list.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for one in Permission::ALL {
            let set = Permissions::of(&[one]);
            assert_eq!(set.iter().collect::<Vec<_>>(), [one]);
            assert_eq!(one.as_str().parse::<Permission>().unwrap(), one);
            let json = serde_json::to_value(one).unwrap();
            assert_eq!(json, one.as_str());
        }
        let all: Permissions = Permission::ALL.into_iter().collect();
        assert_eq!(all.iter().count(), Permission::ALL.len());
        assert_eq!(Permissions::NONE.iter().count(), 0);
    }
}
