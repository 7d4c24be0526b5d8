//! The nouns.

use std::str::FromStr;

use kernel::id::kinds;
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// With whom a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ConversationType)]
pub enum Kind {
    Support,
    Verifier,
}

/// How far a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ConversationStatus)]
pub enum Status {
    /// Of support: nobody looks after it yet.
    Open,
    /// Of support: an admin looks after it.
    Assigned,
    Closed,
}

/// What somebody is in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ConversationPart)]
pub enum Part {
    /// Who opened it.
    Owner,
    Verifier,
    /// An admin.
    Staff,
}

macro_rules! words {
    ($kind:ident, $noun:literal, $($variant:ident = $word:literal),*) => {
        impl $kind {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
        impl FromStr for $kind {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(Error::internal(format!("{text} is no {}", $noun))),
                }
            }
        }
    };
}
words!(Kind, "kind of conversation", Support = "support", Verifier = "verifier");
words!(Status, "status of a conversation", Open = "open", Assigned = "assigned", Closed = "closed");
words!(Part, "part in a conversation", Owner = "owner", Verifier = "verifier", Staff = "staff");

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    pub id: Id<kinds::Conversation>,
    pub kind: Kind,
    pub status: Status,
    pub opened_by: Id<kinds::User>,
    /// Of the kind with one.
    pub verifier: Option<Id<kinds::User>>,
    /// As stored: sealed for who opened it.
    pub subject: String,
    /// The admin who looks after it.
    pub assigned_to: Option<Id<kinds::User>>,
    /// How many there are; the number of the last one.
    pub messages: i64,
    pub created_at: Timestamp,
    /// When it was opened or last written in.
    pub active_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

/// Somebody in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    pub user: Id<kinds::User>,
    pub part: Part,
    /// The number of the last message that they have read; zero for none.
    pub has_read: i64,
    pub read_at: Option<Timestamp>,
}

/// A conversation as one of those sees it who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub conversation: Conversation,
    /// In the clear; nothing where it was erased.
    pub subject: Option<String>,
    pub participants: Vec<(Participant, String)>,
    /// Messages that the viewer has not read.
    pub unread: i64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: Id<kinds::Message>,
    pub conversation: Id<kinds::Conversation>,
    /// From 1, without gaps.
    pub number: i64,
    pub sender: Id<kinds::User>,
    /// Nothing where it was erased with its sender.
    pub text: Option<String>,
    pub sent_at: Timestamp,
}

/// What somebody writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// In characters.
    pub const LEN_MAX: usize = 4000;

    /// # Errors
    /// `Invalid`: empty, too long, or with control characters that are neither a new line nor a
    /// tab.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text, "/body", Self::LEN_MAX, |letter| matches!(letter, '\n' | '\r' | '\t')).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a conversation is about, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// In characters.
    pub const LEN_MAX: usize = 120;

    /// # Errors
    /// `Invalid`: empty, too long, or with control characters.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text, "/subject", Self::LEN_MAX, |_| false).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn parse(
    text: &str,
    pointer: &'static str,
    max: usize,
    also: impl Fn(char) -> bool,
) -> Result<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::field(pointer, "required", "say something"));
    }
    if text.chars().count() > max {
        return Err(Error::field(pointer, "too_long", format!("at most {max} characters")));
    }
    if text.chars().any(|letter| letter.is_control() && !also(letter)) {
        return Err(Error::field(pointer, "invalid", "no control characters"));
    }
    Ok(text.to_owned())
}
