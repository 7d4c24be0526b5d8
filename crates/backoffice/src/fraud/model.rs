//! The nouns.

use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::live::Live;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FraudRule)]
pub enum Rule {
    /// The same bytes in another account.
    DuplicateDocument,
    /// Many credentials, requests or deposits in an hour.
    Velocity,
    /// Several people have flagged the same thing.
    Flagged,
    /// Money or the password is touched soon after a sign-in from a network and a device that were
    /// never seen before.
    Takeover,
    /// A verifier and a user who are more of one mind than strangers are.
    Collusion,
    /// Two sign-ins of one account farther apart than anybody travels in the time between them.
    Travel,
}

impl Rule {
    pub const ALL: [Self; 6] = [
        Self::DuplicateDocument,
        Self::Velocity,
        Self::Flagged,
        Self::Takeover,
        Self::Collusion,
        Self::Travel,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateDocument => "duplicate_document",
            Self::Velocity => "velocity",
            Self::Flagged => "flagged",
            Self::Takeover => "takeover",
            Self::Collusion => "collusion",
            Self::Travel => "travel",
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == text)
    }
}

/// What a rule may be set to.
pub const MODES: &[&str] = &["off", "monitor", "enforce"];

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Off,
    Monitor,
    Enforce,
}

/// How the rules are set; each may change while the platform runs.
#[derive(Debug, Clone)]
pub struct Modes {
    pub duplicate_document: Live<String>,
    pub velocity: Live<String>,
    pub flagged: Live<String>,
    pub takeover: Live<String>,
    pub collusion: Live<String>,
    pub travel: Live<String>,
    /// Of one kind and one person in an hour, beyond which the velocity rule raises an alert.
    pub velocity_per_hour: Live<i64>,
}

impl Default for Modes {
    /// Everything is watched, and nothing is done by itself.
    fn default() -> Self {
        let monitor = || Live::from("monitor".to_owned());
        Self {
            duplicate_document: monitor(),
            velocity: monitor(),
            flagged: monitor(),
            takeover: monitor(),
            collusion: monitor(),
            travel: monitor(),
            velocity_per_hour: 30.into(),
        }
    }
}

impl Modes {
    pub(super) fn of(&self, rule: Rule) -> Mode {
        let live = match rule {
            Rule::DuplicateDocument => &self.duplicate_document,
            Rule::Velocity => &self.velocity,
            Rule::Flagged => &self.flagged,
            Rule::Takeover => &self.takeover,
            Rule::Collusion => &self.collusion,
            Rule::Travel => &self.travel,
        };
        match live.get().as_str() {
            "off" => Mode::Off,
            "enforce" => Mode::Enforce,
            _ => Mode::Monitor,
        }
    }
}

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    Open,
    /// Somebody looks into it.
    Escalated,
    Dismissed,
}

impl AlertState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Escalated => "escalated",
            Self::Dismissed => "dismissed",
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        [Self::Open, Self::Escalated, Self::Dismissed].into_iter().find(|it| it.as_str() == text)
    }
}

/// What a rule has found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    pub(super) rule: Rule,
    /// What is the same again: a second finding with this key is the same alert.
    pub(super) key: String,
    /// The thing in which it was found.
    pub(super) subject: String,
    pub(super) person: Option<Id<kinds::User>>,
    pub(super) other: Option<Id<kinds::User>>,
    /// From 0 to 100.
    pub(super) score: i64,
    pub(super) reasons: Vec<String>,
}

/// An alert as stored.
#[derive(Debug, Clone)]
pub struct Alert {
    pub id: Id<kinds::Alert>,
    pub rule: Rule,
    pub subject: String,
    pub person: Option<Id<kinds::User>>,
    pub other: Option<Id<kinds::User>>,
    pub score: i64,
    /// Sentences.
    pub reasons: Json,
    /// Whether the wallet was frozen.
    pub enforced: bool,
    /// How often the rule has found it.
    pub seen: i64,
    pub state: AlertState,
    pub note: Option<String>,
    pub decided_by: Option<Id<kinds::User>>,
    pub decided_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
