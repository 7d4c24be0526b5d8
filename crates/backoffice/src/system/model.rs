//! The nouns.

use kernel::id::kinds::LogLine;
use kernel::{Id, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use utoipa::ToSchema;

/// How a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ComponentState)]
pub enum State {
    /// None is configured.
    Off,
    Up,
    /// It works, and somebody should look.
    Degraded,
    Down,
}

/// Something that the platform stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    pub name: &'static str,
    pub state: State,
    /// What is behind the state: figures, and a word where something is wrong.
    pub details: Map<String, Json>,
}

impl Component {
    pub fn new(name: &'static str, state: State) -> Self {
        Self { name, state, details: Map::new() }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Json>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }
}

/// How serious a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LogLevel)]
pub enum Level {
    Warn,
    Error,
}

impl Level {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A warning or an error of this process that is not written down yet. Whoever makes it has taken
/// out what looks like a secret.
#[derive(Debug, Clone)]
pub struct NewLine {
    pub at: Timestamp,
    pub level: Level,
    /// The module that said it.
    pub target: String,
    pub message: String,
    pub fields: Map<String, Json>,
}

/// One that is written down.
#[derive(Debug, Clone)]
pub struct Line {
    pub id: Id<LogLine>,
    pub at: Timestamp,
    /// What part of the platform the process is: `all`, `gateway`, `users`, `orders`, `worker`.
    pub service: String,
    pub level: Level,
    pub target: String,
    pub message: String,
    pub fields: Json,
}

/// What a list of lines is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    pub service: Option<String>,
    pub level: Option<Level>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}
