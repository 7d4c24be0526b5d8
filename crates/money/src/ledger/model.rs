//! Transactions, as they are asked for and as they stand in the books.

use kernel::id::kinds;
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
use serde_json::{Map, Value as Json};

use super::chart::{Account, Code};
use super::rules;

/// One movement: `amount` is debited to one account and credited to another. Both are in the
/// amount's asset, so a posting that mixes assets cannot be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    pub debit: Account,
    pub credit: Account,
    pub amount: Money,
}

/// A transaction about to be posted.
#[derive(Debug, Clone)]
pub struct NewTransaction {
    pub(super) kind: &'static str,
    pub(super) key: String,
    pub(super) subject: String,
    pub(super) postings: Vec<Posting>,
    pub(super) meta: Map<String, Json>,
    pub(super) reverses: Option<Id<kinds::Transaction>>,
}

impl NewTransaction {
    /// `kind` says what happened (`deposit`); `key` names the one event that causes it
    /// (`dep:{id}:settle`), for ever; `subject` is the thing that it is about, in its text form.
    pub fn new(kind: &'static str, key: String, subject: impl ToString) -> Self {
        Self {
            kind,
            key,
            subject: subject.to_string(),
            postings: Vec::new(),
            meta: Map::new(),
            reverses: None,
        }
    }

    /// Adds a posting, in the asset of all others.
    #[must_use]
    pub fn post(mut self, debit: Account, credit: Account, amount: Money) -> Self {
        self.postings.push(Posting { debit, credit, amount });
        self
    }

    /// Adds a posting unless the amount is zero: a fee that is not taken, a share of nothing.
    #[must_use]
    pub fn post_some(self, debit: Account, credit: Account, amount: Money) -> Self {
        if amount.minor == 0 { self } else { self.post(debit, credit, amount) }
    }

    /// Whether nothing is posted by it.
    pub fn is_empty(&self) -> bool {
        self.postings.is_empty()
    }

    /// A note beside it. No part of the content: posting again with another note is no conflict.
    #[must_use]
    pub fn note(mut self, key: &str, value: impl Into<Json>) -> Self {
        self.meta.insert(key.to_owned(), value.into());
        self
    }

    /// Refuses what must never reach the books, before anything is written.
    pub(super) fn check(&self) -> Result<()> {
        if self.postings.is_empty() {
            return Err(Error::internal("a transaction without postings"));
        }
        if self.postings.len() > rules::POSTINGS_MAX {
            let most = rules::POSTINGS_MAX;
            return Err(Error::internal(format!("more than {most} postings in a transaction")));
        }
        let asset = self.postings[0].amount.asset;
        for posting in &self.postings {
            if posting.amount.asset != asset {
                let other = posting.amount.asset;
                return Err(Error::internal(format!("{asset} and {other} in one transaction")));
            }
            Money::requested(posting.amount.minor, posting.amount.asset)?;
            if posting.debit == posting.credit {
                return Err(Error::internal("a posting from an account to itself"));
            }
        }
        Ok(())
    }
}

/// What became of a transaction that was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    pub id: Id<kinds::Transaction>,
    /// False when the same transaction stood in the books already.
    pub is_new: bool,
    pub recorded_at: Timestamp,
    /// The balances right after, of the accounts with one balance row.
    pub(super) after: Vec<(Id<kinds::Account>, Money)>,
}

impl Posted {
    /// The balance of a guarded account right after; none when nothing was posted to it now.
    pub fn balance_after(&self, account: Account, asset: Asset) -> Option<Money> {
        let id = account.id(asset);
        self.after.iter().find(|(touched, _)| *touched == id).map(|(_, balance)| *balance)
    }
}

/// A transaction in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub id: Id<kinds::Transaction>,
    pub kind: String,
    pub subject: String,
    pub reverses: Option<Id<kinds::Transaction>>,
    pub recorded_at: Timestamp,
    pub postings: Vec<Posting>,
}

/// One line of an account's statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub transaction: Id<kinds::Transaction>,
    pub account: Id<kinds::Account>,
    /// Counts from one in each account.
    pub version: i64,
    /// The change of the balance: positive when the account grew.
    pub delta: Money,
    pub balance_after: Money,
    pub recorded_at: Timestamp,
    pub kind: String,
    pub subject: String,
    /// The account on the other side: its code, and its owner where that is a user.
    pub other_code: Code,
    pub other_owner: Option<Id<kinds::User>>,
}

/// All that was debited and credited to one line of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLine {
    pub code: Code,
    pub asset: Asset,
    pub debits: i64,
    pub credits: i64,
}
