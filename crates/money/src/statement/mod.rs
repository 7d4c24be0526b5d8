//! Receipts and statements: what the books say of a wallet, on paper.
//!
//! - A receipt is one transaction; a statement is one month of one currency, from the first instant
//!   of the month (UTC) to the last, or to now.
//! - Both say what the ledger says and nothing else: the opening balance, the entries with the
//!   balance after each, what came in and went out in all, the closing balance. A statement whose
//!   sums do not come out breaks off instead of ending.
//! - A statement is written while the entries are read, however many there are: its first and last
//!   entry are known before, and entries are never changed.

mod http;
mod model;
mod print;
mod service;
#[cfg(test)]
mod tests;

pub use http::routes;
pub use model::{Format, Month, Span};
pub use service::Service;
