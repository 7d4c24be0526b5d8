//! The nouns.

use std::fmt;
use std::str::FromStr;

use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Characters that a text of somebody's may have.
const TEXT_MAX: usize = 1000;

/// What a flag is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Credential(Id<kinds::Credential>),
    Verifier(Id<kinds::Verifier>),
    Review(Id<kinds::Review>),
    Message(Id<kinds::Message>),
}

impl Subject {
    pub const fn kind(self) -> Kind {
        match self {
            Self::Credential(_) => Kind::Credential,
            Self::Verifier(_) => Kind::Verifier,
            Self::Review(_) => Kind::Review,
            Self::Message(_) => Kind::Message,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(id) => id.fmt(f),
            Self::Verifier(id) => id.fmt(f),
            Self::Review(id) => id.fmt(f),
            Self::Message(id) => id.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Credential(id));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Verifier(id));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Review(id));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Message(id));
        }
        let words = "the id of a credential, a verifier, a review or a message";
        Err(Error::field("/subject", "invalid", words))
    }
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = FlagKind)]
pub enum Kind {
    Credential,
    Verifier,
    Review,
    Message,
}

/// Why somebody flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FlagReason)]
pub enum Reason {
    Spam,
    Abuse,
    FalseInformation,
    Impersonation,
    Fraud,
    Privacy,
    Other,
}

/// Where a flag stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = FlagState)]
pub enum State {
    Open,
    /// Something was done.
    Upheld,
    /// Nothing had to be done.
    Dismissed,
}

/// What an admin does about what was flagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ModerationAction)]
pub enum Action {
    /// Nothing: it stays as it is. `approve` is the same.
    #[serde(alias = "approve")]
    Dismiss,
    /// Whoever it is of is told.
    Warn,
    /// The review goes, and its stars with it; of a message the words. `delete` is the same.
    #[serde(alias = "delete")]
    Remove,
    /// The verdict about the credential is taken back.
    Revoke,
    /// The account of whoever it is of is suspended.
    Suspend,
}

macro_rules! words {
    ($($name:ident { $($variant:ident = $word:literal),* })*) => {
        $(impl $name {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// As a row has it; what no row has is the first of them.
            pub(super) fn of(text: &str) -> Option<Self> {
                match text { $($word => Some(Self::$variant),)* _ => None }
            }
        })*
    };
}

words! {
    Kind { Credential = "credential", Verifier = "verifier", Review = "review",
        Message = "message" }
    Reason {
        Spam = "spam", Abuse = "abuse", FalseInformation = "false_information",
        Impersonation = "impersonation", Fraud = "fraud", Privacy = "privacy", Other = "other"
    }
    State { Open = "open", Upheld = "upheld", Dismissed = "dismissed" }
    Action {
        Dismiss = "dismiss", Warn = "warn", Remove = "remove", Revoke = "revoke",
        Suspend = "suspend"
    }
}

/// A flag about to be raised.
#[derive(Debug, Clone)]
pub struct NewFlag {
    pub subject: Subject,
    pub reason: Reason,
    /// May be empty.
    pub details: String,
}

impl NewFlag {
    /// # Errors
    /// Field errors at `/subject` and `/details`.
    pub fn parse(subject: &str, reason: Reason, details: &str) -> Result<Self> {
        let mut fields = Fields::new();
        let subject = fields.take(subject.parse());
        let details = fields.take(text("/details", details, 0));
        match (subject, details) {
            (Some(subject), Some(details)) => Ok(Self { subject, reason, details }),
            _ => Err(fields.into_error()),
        }
    }
}

/// Text of somebody's, which may run over several lines.
pub(crate) fn text(pointer: &str, text: &str, least: usize) -> Result<String> {
    let text = text.trim();
    let length = text.chars().count();
    if !(least..=TEXT_MAX).contains(&length) || text.contains('\0') {
        let words = format!("text of {least} to {TEXT_MAX} characters");
        return Err(Error::field(pointer.to_owned(), "invalid", words));
    }
    Ok(text.to_owned())
}

/// A flag as stored. It is also what an idempotent request remembers, hence the derives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    pub id: Id<kinds::Flag>,
    /// The thing's id, in its text form.
    pub subject: String,
    pub kind: Kind,
    /// Whose the thing is.
    pub holder: Id<kinds::User>,
    /// What could be read of the thing when it was flagged; may be empty.
    pub excerpt: String,
    pub reporter: Id<kinds::User>,
    pub reason: Reason,
    pub details: String,
    pub state: State,
    pub action: Option<Action>,
    /// Why the admin has decided so.
    pub resolution: Option<String>,
    pub resolved_by: Option<Id<kinds::User>>,
    pub created_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
}
