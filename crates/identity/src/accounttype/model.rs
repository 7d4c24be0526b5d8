//! Account types and what they are made of.

use kernel::error::Fields;
use kernel::id::kinds::AccountType as Kind;
use kernel::{Error, Id, Result, Timestamp};

/// The number by which older clients name a type: 1 to 2147483647.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(i32);

impl Number {
    /// The type of somebody who only listens.
    pub const USER: Self = Self(1);

    /// # Errors
    /// A field error `out_of_range` on `/number`.
    pub fn parse(number: i64) -> Result<Self> {
        match i32::try_from(number) {
            Ok(number) if number >= 1 => Ok(Self(number)),
            _ => Err(Error::field("/number", "out_of_range", "from 1 to 2147483647")),
        }
    }

    pub const fn get(self) -> i32 {
        self.0
    }

    pub(super) fn stored(number: i64) -> Option<Self> {
        i32::try_from(number).ok().map(Self)
    }
}

/// What a type is called: 2 to 40 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeName(String);

impl TypeName {
    /// # Errors
    /// A field error `invalid` on `/name`.
    pub fn parse(text: &str) -> Result<Self> {
        let name = text.trim();
        if !(2..=40).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(Error::field("/name", "invalid", "2 to 40 characters"));
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A sentence or two about a type: at most 500 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description(String);

impl Description {
    /// # Errors
    /// A field error `too_long` on `/description`.
    pub fn parse(text: &str) -> Result<Self> {
        if text.chars().count() > 500 {
            return Err(Error::field("/description", "too_long", "at most 500 characters"));
        }
        Ok(Self(text.trim().to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What accounts of a type may do: at most 50 different words of 1 to 64 characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(Vec<String>);

impl Permissions {
    const COUNT_MAX: usize = 50;

    /// # Errors
    /// A field error on `/permissions`: `too_many`, `invalid`, `repeated`.
    pub fn parse(words: Vec<String>) -> Result<Self> {
        let wrong = |code, message: &str| Err(Error::field("/permissions", code, message));
        if words.len() > Self::COUNT_MAX {
            return wrong("too_many", "at most 50 permissions");
        }
        for (index, word) in words.iter().enumerate() {
            let fits = (1..=64).contains(&word.chars().count())
                && word.trim() == word
                && !word.chars().any(char::is_control);
            if !fits {
                return wrong("invalid", "each 1 to 64 characters, such as \"Upload Songs\"");
            }
            if words[..index].contains(word) {
                return wrong("repeated", "each permission once");
            }
        }
        Ok(Self(words))
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// As it is stored, and as older clients are shown it: a JSON list.
    pub fn to_json(&self) -> String {
        serde_json::Value::from(self.0.clone()).to_string()
    }

    /// # Errors
    /// A field error `invalid` on `/permissions`: no JSON list of texts.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |_| Error::field("/permissions", "invalid", "a JSON list of texts");
        Self::parse(serde_json::from_str(text).map_err(wrong)?)
    }
}

/// A type as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountType {
    pub id: Id<Kind>,
    pub number: Number,
    pub name: String,
    pub description: String,
    pub permissions: Permissions,
    /// Grows with every change.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A type about to exist.
#[derive(Debug, Clone)]
pub struct New {
    pub number: Number,
    pub name: TypeName,
    pub description: Description,
    pub permissions: Permissions,
}

impl New {
    /// # Errors
    /// Field errors, all at once.
    pub fn parse(
        number: i64,
        name: &str,
        description: &str,
        permissions: Vec<String>,
    ) -> Result<Self> {
        let mut fields = Fields::new();
        let number = fields.take(Number::parse(number));
        let name = fields.take(TypeName::parse(name));
        let description = fields.take(Description::parse(description));
        let permissions = fields.take(Permissions::parse(permissions));
        match (number, name, description, permissions) {
            (Some(number), Some(name), Some(description), Some(permissions)) => {
                Ok(Self { number, name, description, permissions })
            }
            _ => Err(fields.into_error()),
        }
    }
}

/// What changes about a type. What is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub name: Option<TypeName>,
    pub description: Option<Description>,
    pub permissions: Option<Permissions>,
    /// The version that was looked at; a type that has changed since is not changed.
    pub version: Option<i64>,
}
