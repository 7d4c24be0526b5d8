//! Subscriptions and invoices.

use kernel::id::kinds::{Invoice as InvoiceKind, Subscription as SubscriptionKind, User};
use kernel::{Id, Money, Result, Timestamp};
use platform::db::{Column, FromColumn};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionState {
    Active,
    /// An invoice could not be paid; it is tried again.
    PastDue,
    /// It was tried often enough.
    Suspended,
    Cancelled,
}

impl SubscriptionState {
    pub const ALL: [Self; 4] = [Self::Active, Self::PastDue, Self::Suspended, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Suspended => "suspended",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromColumn for SubscriptionState {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// An enterprise's plan.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub id: Id<SubscriptionKind>,
    pub owner: Id<User>,
    pub plan: String,
    /// What starts with the next period.
    pub next_plan: Option<String>,
    /// Whether it ends with the period.
    pub ends: bool,
    pub state: SubscriptionState,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
    pub(super) version: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InvoiceState {
    Open,
    Paid,
    /// It should not have been written.
    Void,
    /// It was given up.
    Uncollectible,
}

impl InvoiceState {
    pub const ALL: [Self; 4] = [Self::Open, Self::Paid, Self::Void, Self::Uncollectible];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Void => "void",
            Self::Uncollectible => "uncollectible",
        }
    }
}

impl FromColumn for InvoiceState {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InvoiceLine)]
pub struct Line {
    pub description: String,
    pub quantity: i64,
    /// Whole minor units, for all of them.
    pub amount: i64,
}

/// A bill.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invoice {
    pub id: Id<InvoiceKind>,
    pub owner: Id<User>,
    /// Counted from one, without gaps.
    pub number: i64,
    #[serde(with = "crate::kept")]
    pub net: Money,
    /// The part of the net that was used before it was billed.
    #[serde(with = "crate::kept")]
    pub(super) used: Money,
    #[serde(with = "crate::kept")]
    pub tax: Money,
    /// Taken off again, tax included.
    #[serde(with = "crate::kept")]
    pub credited: Money,
    pub lines: Vec<Line>,
    pub state: InvoiceState,
    pub period_start: Timestamp,
    pub period_end: Timestamp,
    pub issued_at: Timestamp,
    pub due_at: Timestamp,
    pub paid_at: Option<Timestamp>,
    #[serde(with = "crate::kept")]
    pub(super) recognised: Money,
    pub(super) attempts: i64,
    pub(super) version: i64,
}

impl Invoice {
    /// What is asked for.
    ///
    /// # Errors
    /// Internal when it does not fit.
    pub fn total(&self) -> Result<Money> {
        self.net.plus(self.tax)
    }

    /// What is still to be paid.
    pub(super) fn due(&self) -> Result<Money> {
        self.total()?.minus(self.credited)
    }

    /// The number, as it is printed.
    pub fn label(&self) -> String {
        format!("INV-{:06}", self.number)
    }
}
