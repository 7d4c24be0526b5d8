//! Accounts that users hold, and what they are made of.

use kernel::id::kinds::{AccountType as TypeKind, Holding as Kind, User};
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::account::{Avatar, Name};
use crate::accounttype::AccountType;

/// Whether an account is shown to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = HeldAccountStatus)]
pub enum Status {
    Active,
    Inactive,
}

impl Status {
    pub const ALL: [Self; 2] = [Self::Active, Self::Inactive];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }

    /// # Errors
    /// A field error `invalid` on `/status`.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Error::field("/status", "invalid", "active or inactive"))
    }
}

/// What its owner says of themselves: at most 1000 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bio(String);

impl Bio {
    /// # Errors
    /// A field error on `/bio`: `too_long`, `invalid`.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.chars().count() > 1000 {
            return Err(Error::field("/bio", "too_long", "at most 1000 characters"));
        }
        if text.chars().any(|letter| letter.is_control() && letter != '\n') {
            return Err(Error::field("/bio", "invalid", "no control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The plan that an account is on, by number: 0 to 100, where 0 costs nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan(i32);

impl Plan {
    /// # Errors
    /// A field error `out_of_range` on `/plan`.
    pub fn parse(number: i64) -> Result<Self> {
        match i32::try_from(number) {
            Ok(number) if (0..=100).contains(&number) => Ok(Self(number)),
            _ => Err(Error::field("/plan", "out_of_range", "from 0 to 100")),
        }
    }

    pub const fn get(self) -> i32 {
        self.0
    }
}

/// An account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub id: Id<Kind>,
    pub owner: Id<User>,
    pub kind: AccountType,
    pub name: String,
    pub bio: String,
    pub status: Status,
    pub plan: i32,
    pub avatar: Option<String>,
    pub plays: i64,
    pub likes: i64,
    pub follows: i64,
    pub shares: i64,
    /// Grows with every change.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An account about to exist.
#[derive(Debug, Clone)]
pub struct New {
    pub kind: Id<TypeKind>,
    pub name: Name,
    pub bio: Bio,
    pub plan: Plan,
    pub avatar: Option<Avatar>,
}

/// What its owner changes about an account. What is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub name: Option<Name>,
    pub bio: Option<Bio>,
    pub status: Option<Status>,
    pub plan: Option<Plan>,
    /// `Some(None)` takes the picture away.
    pub avatar: Option<Option<Avatar>>,
    /// The version that was looked at; an account that has changed since is not changed.
    pub version: Option<i64>,
}

/// Which accounts are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub owner: Option<Id<User>>,
    pub kind: Option<Id<TypeKind>>,
}
