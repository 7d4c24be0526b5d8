//! Holds, transfers and balances.

use kernel::id::kinds::{Hold as HoldKind, Transaction, User};
use kernel::{Asset, Id, Money, Timestamp};
use serde::{Deserialize, Serialize};

/// Money set aside for a purpose.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub id: Id<HoldKind>,
    pub owner: Id<User>,
    pub amount: Money,
    pub purpose: String,
    pub subject: String,
}

/// What a payee has earned by a captured hold and cannot spend yet.
#[derive(Debug, Clone)]
pub(super) struct Earning {
    pub hold: Id<HoldKind>,
    pub payee: Id<User>,
    pub net: Money,
    pub purpose: String,
    pub subject: String,
}

/// What became of captured money: `amount = fee + net`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captured {
    /// What was held.
    pub amount: Money,
    /// What the platform keeps of it.
    pub fee: Money,
    /// What the payee earns.
    pub net: Money,
}

/// What became of captured money that was contested: `refunded + left.amount` is what was held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub refunded: Money,
    pub left: Captured,
}

/// What an owner has of one asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balances {
    /// Free to be spent.
    pub available: Money,
    /// Reserved for open holds.
    pub held: Money,
    /// On its way out.
    pub pending_withdrawal: Money,
    /// All of it together.
    pub total: Money,
}

/// Why a wallet is frozen, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Freeze {
    pub reason: String,
    pub since: Timestamp,
}

/// A transfer about to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewTransfer {
    pub to: Id<User>,
    pub amount: Money,
}

/// A transfer that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transfer {
    pub id: Id<Transaction>,
    pub to: Id<User>,
    pub amount: i64,
    pub currency: Asset,
    /// What the sender has left to spend, right after.
    pub available: i64,
    pub at: Timestamp,
}
