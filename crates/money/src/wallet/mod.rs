//! Wallets: what a user has, what of it is reserved, and how it gets to others.
//!
//! A wallet is an account of the ledger in each currency (`li.wallet`), so it can never be
//! overdrawn. Money that is promised moves to `li.held` and has a *hold*, which says what for:
//!
//! ```text
//! open --capture--> captured     the payee earns it, less the platform's fee
//!      --release--> released     the owner has it back
//! ```
//!
//! A hold is closed once and then final. There is at most one hold for a purpose and subject
//! (`job`, `vrf_...`); asking for the same hold again answers the first one. What is captured
//! stands in the payee's `li.earn.pending` until the dispute window is over, then in `li.earn`.
//! While it is contested it stays pending, until it is decided how much of it goes back.

mod contest;
mod debts;
mod freezes;
mod http;
mod jobs;
mod model;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use http::ReasonRequest;
pub use http::routes;
pub(crate) use jobs::register as jobs;
pub use model::{Balances, Captured, NewTransfer, Settled, Transfer};
pub(crate) use rules::{at_least, reason};
pub use service::{Payees, Service};
pub(crate) use service::{refuse_frozen, thaw_if_even};
