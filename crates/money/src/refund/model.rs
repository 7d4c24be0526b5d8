//! Refunds.

use std::fmt;
use std::str::FromStr;

use kernel::id::kinds::{Payment as PaymentKind, Refund as RefundKind, User};
use kernel::{Error, Id, Money, Result, Timestamp};
use platform::db::{Column, FromColumn};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::provider::ProviderName;

/// What has become of a refund. The states and their order: see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RefundState)]
pub enum State {
    /// It is about to be sent.
    Requested,
    /// The provider is being asked.
    Submitting,
    /// Nobody knows whether the provider has it: it is being looked for.
    Unknown,
    /// The provider has it.
    Submitted,
    Settled,
    /// It was not paid; the money is back where it came from.
    Failed,
}

impl State {
    pub const ALL: [Self; 6] = [
        Self::Requested,
        Self::Submitting,
        Self::Unknown,
        Self::Submitted,
        Self::Settled,
        Self::Failed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Submitting => "submitting",
            Self::Unknown => "unknown",
            Self::Submitted => "submitted",
            Self::Settled => "settled",
            Self::Failed => "failed",
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
            .ok_or_else(|| Error::field("/status", "unknown", "a state of refunds"))
    }
}

impl FromColumn for State {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        text.parse().ok()
    }
}

/// Whose money goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RefundSource)]
pub enum Source {
    /// What was credited to the payer's wallet.
    Wallet,
    /// What came, and was credited to nobody.
    Suspense,
}

impl Source {
    pub const ALL: [Self; 2] = [Self::Wallet, Self::Suspense];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::Suspense => "suspense",
        }
    }
}

impl FromColumn for Source {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

/// What an admin wants to have refunded.
#[derive(Debug, Clone)]
pub struct NewRefund {
    pub payment: Id<PaymentKind>,
    /// Whole minor units; all that is left of the payment without it.
    pub amount: Option<i64>,
    pub reason: String,
}

/// A refund, as it is stored.
#[derive(Debug, Clone)]
pub struct Refund {
    pub id: Id<RefundKind>,
    pub payment: Id<PaymentKind>,
    pub owner: Id<User>,
    pub provider: ProviderName,
    pub source: Source,
    pub amount: Money,
    pub state: State,
    pub reason: String,
    /// Why it was not paid.
    pub failure: Option<String>,
    pub requested_by: Id<User>,
    pub provider_ref: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub(super) version: i64,
}

impl Refund {
    /// The reference under which the provider knows it: its id, in letters that every provider
    /// takes.
    pub fn reference(&self) -> String {
        self.id.to_string().replace('_', "-")
    }
}

/// The refund whose reference at a provider this is.
pub(crate) fn parse_reference(text: &str) -> Option<Id<RefundKind>> {
    text.strip_prefix("rf-").and_then(|rest| format!("rf_{rest}").parse().ok())
}
