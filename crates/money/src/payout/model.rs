//! Destinations and withdrawals.

use std::fmt;
use std::str::FromStr;

use kernel::id::kinds::{Destination as DestinationKindOfId, User, Withdrawal as WithdrawalKind};
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
use platform::db::{Column, FromColumn};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ledger::Code;
use crate::provider::{DestinationKind, ProviderName};

/// A destination that a user has saved, without what is sealed.
#[derive(Debug, Clone)]
pub struct Saved {
    pub id: Id<DestinationKindOfId>,
    pub owner: Id<User>,
    pub provider: ProviderName,
    pub kind: DestinationKind,
    pub asset: Asset,
    /// What tells it from the owner's others: the last digits.
    pub mask: String,
    pub usable_at: Timestamp,
    pub created_at: Timestamp,
    pub(super) account: String,
    pub(super) bank: Option<String>,
    pub(super) name: Option<String>,
}

/// A destination about to be saved.
#[derive(Debug, Clone)]
pub struct NewDestination {
    pub kind: DestinationKind,
    pub asset: Asset,
    pub account: String,
    pub bank: Option<String>,
    pub name: Option<String>,
}

/// Out of which of the owner's accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WithdrawalSource)]
pub enum Source {
    Wallet,
    /// What a verifier has earned and nobody can dispute any more.
    Earnings,
}

impl Source {
    pub const ALL: [Self; 2] = [Self::Wallet, Self::Earnings];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::Earnings => "earnings",
        }
    }

    pub const fn code(self) -> Code {
        match self {
            Self::Wallet => Code::WALLET,
            Self::Earnings => Code::EARN,
        }
    }
}

impl FromColumn for Source {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

impl FromColumn for DestinationKind {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What has become of a withdrawal. The states and their order: see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WithdrawalState)]
pub enum State {
    /// An admin looks at it.
    Requested,
    /// It is about to be sent.
    Approved,
    /// The provider is being asked.
    Submitting,
    /// Nobody knows whether the provider has it: it is being looked for.
    Unknown,
    /// The provider has it.
    Submitted,
    Settled,
    /// It was not paid; the money is back.
    Failed,
    /// It was paid and came back; the money is back.
    Returned,
    Cancelled,
    Rejected,
}

impl State {
    pub const ALL: [Self; 10] = [
        Self::Requested,
        Self::Approved,
        Self::Submitting,
        Self::Unknown,
        Self::Submitted,
        Self::Settled,
        Self::Failed,
        Self::Returned,
        Self::Cancelled,
        Self::Rejected,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approved => "approved",
            Self::Submitting => "submitting",
            Self::Unknown => "unknown",
            Self::Submitted => "submitted",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::Returned => "returned",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }

    /// Whether the provider has or may have heard of it and nothing is conclusive.
    pub const fn is_in_flight(self) -> bool {
        matches!(self, Self::Submitting | Self::Unknown | Self::Submitted)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::field("/status", "unknown", "a state of withdrawals"))
    }
}

impl FromColumn for State {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        text.parse().ok()
    }
}

/// What a user wants to have paid out.
#[derive(Debug, Clone)]
pub struct NewWithdrawal {
    pub source: Source,
    /// Whole minor units, without the fee.
    pub amount: i64,
    pub currency: Option<Asset>,
    pub destination: Id<DestinationKindOfId>,
}

/// A withdrawal, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Withdrawal {
    pub id: Id<WithdrawalKind>,
    pub owner: Id<User>,
    pub provider: ProviderName,
    pub source: Source,
    /// What arrives.
    #[serde(with = "crate::kept")]
    pub amount: Money,
    /// What the platform takes for it, on top.
    #[serde(with = "crate::kept")]
    pub fee: Money,
    pub destination: Id<DestinationKindOfId>,
    pub mask: String,
    pub state: State,
    /// Why an admin was asked; none when nobody was.
    pub review: Option<String>,
    /// Why it failed, was returned or rejected.
    pub reason: Option<String>,
    pub provider_ref: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub(super) version: i64,
}

impl Withdrawal {
    /// The reference under which the provider knows it.
    pub fn reference(&self) -> String {
        reference(self.id)
    }
}

/// A withdrawal's reference is its id, in the letters that every provider takes.
pub(crate) fn reference(id: Id<WithdrawalKind>) -> String {
    id.to_string().replace('_', "-")
}

/// The id behind a reference.
pub(crate) fn parse_reference(text: &str) -> Option<Id<WithdrawalKind>> {
    text.strip_prefix("wd-").and_then(|rest| format!("wd_{rest}").parse().ok())
}
