//! The nouns.

use kernel::id::kinds;
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const REASON_MAX: usize = 1000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PrivacyRequestKind)]
pub enum Kind {
    Export,
    Erasure,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PrivacyRequestState)]
pub enum State {
    Pending,
    /// An export that may be fetched.
    Approved,
    Done,
    Rejected,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Erasure => "erasure",
        }
    }
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Done => "done",
            Self::Rejected => "rejected",
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Approved, Self::Done, Self::Rejected];
        all.into_iter().find(|state| state.as_str() == text)
    }
}

/// A request about to be begun by an admin.
#[derive(Debug, Clone)]
pub struct Asked {
    pub person: Id<kinds::User>,
    pub kind: Kind,
    /// How the person has asked, and how it is known that it was them.
    pub reason: String,
}

impl Asked {
    /// # Errors
    /// A field error at `/reason`.
    pub fn parse(person: Id<kinds::User>, kind: Kind, reason: &str) -> Result<Self> {
        Ok(Self { person, kind, reason: words(reason, 3)? })
    }
}

/// Text for other admins, at `/reason`.
pub(super) fn words(text: &str, least: usize) -> Result<String> {
    let text = text.trim();
    if !(least..=REASON_MAX).contains(&text.chars().count()) || text.contains('\0') {
        let words = format!("text of {least} to {REASON_MAX} characters");
        return Err(Error::field("/reason", "invalid", words));
    }
    Ok(text.to_owned())
}

/// A request as stored.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: Id<kinds::PrivacyRequest>,
    pub person: Id<kinds::User>,
    pub kind: Kind,
    pub state: State,
    pub reason: String,
    /// The person, or an admin.
    pub requested_by: Id<kinds::User>,
    pub decided_by: Option<Id<kinds::User>>,
    /// Why it was rejected.
    pub note: String,
    pub created_at: Timestamp,
    pub decided_at: Option<Timestamp>,
}
