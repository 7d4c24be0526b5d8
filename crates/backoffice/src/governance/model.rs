//! The nouns.

use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::moderation::text;
use crate::setting::Changes;

/// A proposal about to be made.
#[derive(Debug, Clone)]
pub struct NewProposal {
    pub title: String,
    /// May be empty.
    pub description: String,
    pub changes: Changes,
}

impl NewProposal {
    /// # Errors
    /// Field errors at `/title` and `/description`.
    pub fn parse(title: &str, description: &str, changes: Changes) -> Result<Self> {
        let mut fields = Fields::new();
        let title = title.trim();
        let length = title.chars().count();
        if !(3..=140).contains(&length) || title.chars().any(char::is_control) {
            fields.add("/title", "invalid", "one line of 3 to 140 characters");
        }
        let description = fields.take(text("/description", description, 0));
        fields.check()?;
        let description = description.unwrap_or_default();
        Ok(Self { title: title.to_owned(), description, changes })
    }
}

/// What somebody says to a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ProposalVote)]
pub enum Vote {
    #[serde(alias = "yes")]
    For,
    #[serde(alias = "no")]
    Against,
    Abstain,
}

impl Vote {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::For => "for",
            Self::Against => "against",
            Self::Abstain => "abstain",
        }
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        [Self::For, Self::Against, Self::Abstain].into_iter().find(|it| it.as_str() == text)
    }
}

/// How the votes stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProposalTally)]
pub struct Tally {
    pub r#for: i64,
    pub against: i64,
    pub abstain: i64,
}

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ProposalStatus)]
pub enum Status {
    /// Is voted on.
    Open,
    /// Waits to be executed.
    Passed,
    Rejected,
    Executed,
}

/// A proposal as stored, with its votes.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub id: Id<kinds::Proposal>,
    pub title: String,
    pub description: String,
    pub changes: Changes,
    pub proposer: Id<kinds::User>,
    pub quorum: i64,
    pub closes_at: Timestamp,
    /// The version of the settings that its execution has made.
    pub settings_version: Option<i64>,
    pub executed_by: Option<Id<kinds::User>>,
    pub executed_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub tally: Tally,
}

/// What a list of proposals is narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    All,
    Open,
    /// Passed or rejected, and not executed.
    Closed,
    Executed,
}

impl std::str::FromStr for Among {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "" | "all" => Self::All,
            "open" => Self::Open,
            "closed" => Self::Closed,
            "executed" => Self::Executed,
            _ => {
                let words = "one of open, closed, executed, all";
                return Err(Error::field("/status", "invalid", words));
            }
        })
    }
}
