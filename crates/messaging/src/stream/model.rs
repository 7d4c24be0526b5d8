//! What streams tell, and why they end.

use std::sync::Arc;

use kernel::Id;
use kernel::id::kinds::{Conversation, User};
use platform::journal::Recorded;

use crate::notification::Notification;

/// What a stream is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The facts that concern its user.
    Events,
    /// What its user is told of them.
    Notifications,
    /// The conversations of its user; with support's, also all of those.
    Chat { support: bool },
}

impl Topic {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Notifications => "notifications",
            Self::Chat { .. } => "chat",
        }
    }

    /// Whether something that concerns the user is of this topic.
    pub(super) fn wants(self, thing: &Thing) -> bool {
        match (self, thing) {
            (Self::Events, Thing::Fact(_))
            | (Self::Notifications, Thing::Notification(..))
            | (Self::Chat { .. }, Thing::Signal(_)) => true,
            (Self::Chat { .. }, Thing::Fact(fact)) => is_of_chat(fact),
            _ => false,
        }
    }

    pub(super) const fn source(self) -> Source {
        match self {
            Self::Events | Self::Chat { .. } => Source::Facts,
            Self::Notifications => Source::Notifications,
        }
    }
}

/// Whether a fact is one of a conversation.
fn is_of_chat(fact: &Recorded) -> bool {
    fact.verb.starts_with("conversation.") || fact.verb.starts_with("message.")
}

/// Whether a fact is one of a conversation with support, which concerns all who look after them.
pub(super) fn is_of_support(fact: &Recorded) -> bool {
    is_of_chat(fact) && fact.data.get("type").is_some_and(|kind| kind == "support")
}

/// Where what is told comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Facts,
    Notifications,
}

impl Source {
    pub(super) const ALL: [Self; 2] = [Self::Facts, Self::Notifications];
}

/// One thing that is told. Cheap to clone: many streams may tell the same.
#[derive(Debug, Clone)]
pub enum Thing {
    Fact(Arc<Recorded>),
    /// With the place of the fact that it is about.
    Notification(i64, Arc<Notification>),
    /// What is so at this moment, and kept nowhere.
    Signal(Signal),
}

/// What is so at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Typing {
        conversation: Id<Conversation>,
        user: Id<User>,
    },
    /// Somebody may have begun, or ceased, to listen to their conversations.
    Presence {
        user: Id<User>,
    },
}

impl Thing {
    /// Its place in the journal: the cursor. Nothing for what is kept nowhere.
    pub fn seq(&self) -> Option<i64> {
        match self {
            Self::Fact(fact) => fact.seq,
            Self::Notification(seq, _) => Some(*seq),
            Self::Signal(_) => None,
        }
    }
}

/// Why a stream ends on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its session has ended, or its account is locked: to sign in again is what helps.
    SessionEnded,
    /// Its reader is too slow for what is told: to resume is what helps.
    SlowReader,
    /// This process stops: to resume elsewhere, or here in a moment.
    Shutdown,
    /// The store does not answer: to resume in a moment.
    Unavailable,
}

impl End {
    /// For programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionEnded => "session_ended",
            Self::SlowReader => "slow_reader",
            Self::Shutdown => "shutdown",
            Self::Unavailable => "unavailable",
        }
    }

    /// For people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::SessionEnded => "The session has ended. Sign in again.",
            Self::SlowReader => "What is told was not read in time. Resume behind the last event.",
            Self::Shutdown => "This server stops. Resume behind the last event.",
            Self::Unavailable => "The store does not answer. Resume behind the last event.",
        }
    }

    /// The close code of a WebSocket (RFC 6455 section 7.4): 4001 is ours, the others are those of
    /// the registry for a service that restarts and for one that is to be tried again.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::SessionEnded => 4001,
            Self::Shutdown => 1012,
            Self::SlowReader | Self::Unavailable => 1013,
        }
    }
}
