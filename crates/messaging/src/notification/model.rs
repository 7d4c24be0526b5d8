//! The noun.

use std::str::FromStr;

use kernel::id::kinds::Notification as NotificationKind;
use kernel::{Error, Id, Timestamp};
use serde::Serialize;

/// How a notification is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NotificationType)]
pub enum Kind {
    Success,
    Info,
    Warning,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Success, Self::Info, Self::Warning];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Info => "info",
            Self::Warning => "warning",
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::internal(format!("{text} is no kind of notification")))
    }
}

/// A notification, as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub id: Id<NotificationKind>,
    pub kind: Kind,
    pub title: String,
    pub description: String,
    /// What it is about: an id in its text form.
    pub subject: String,
    /// When that happened.
    pub at: Timestamp,
    pub read_at: Option<Timestamp>,
}
