//! The ledger: double-entry bookkeeping that cannot be out of balance.
//!
//! A *posting* moves an amount from one account to another; a *transaction* is a list of
//! postings that exist together or not at all. Debits equal credits by construction: there is
//! no way to write one without the other.
//!
//! What always holds, and what [`check`] proves on a running store:
//!
//! - L1 of every asset, the debits of all accounts equal the credits;
//! - L2 a balance is the sum of its postings;
//! - L3 a guarded account is never below zero: the CHECK of its row refuses, in any race;
//! - L4 an account's entries count 1, 2, 3 ... and each one's balance follows from the last;
//! - H1 what is left of a user's open holds is the balance of their `li.held`;
//! - H2 a hold never gives out more than it holds, and is final once it is closed.
//!
//! - C1 what stands there is what was booked, by its hash;
//! - C2 every [`Seal`] follows from the one before and the transactions that it covers.
//!
//! Transactions, postings and entries are never changed: a correction is a new transaction that
//! [`reverse`]s an old one. A transaction has a key of the event that caused it
//! (`dep:{id}:settle`); the same event posted twice is posted once, for ever.

mod chart;
mod check;
mod model;
mod rules;
mod seal;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use chart::{Account, Code, Side};
pub use check::{Check, Report, check};
pub use model::{Entry, NewTransaction, Posted, Posting, Transaction, TrialLine};
pub use seal::{Seal, seal};
pub use service::{
    balance, balance_at, balances, by_key, entries, entries_after, has_account, history, owners,
    place_at, post, reverse, statement, take, trial_balance,
};
