//! Payouts: money that leaves the platform.
//!
//! ```text
//! requested -> approved -> submitting -> submitted -> settled -> returned
//!   |   |         |         |    |  \        |           (it came back afterwards)
//!   |   |         |         |  unknown -> submitted | settled | failed
//!   |   rejected  |         `--------------- failed
//!   `-------- cancelled
//! ```
//!
//! What always holds:
//!
//! - The money leaves the wallet when a withdrawal is requested: with its fee it stands in
//!   `li.withdraw` until the outcome is conclusive, and then it is gone, or back where it came
//!   from, once.
//! - A withdrawal is stored as `submitting` before the provider hears of it, under a reference
//!   that is its id. After an unknown outcome the provider is asked about that reference; what
//!   it does not know is asked for again *under the same reference*, of which a provider makes
//!   one payout. A second one cannot come to be.
//! - Money goes to saved destinations only, each usable some time after it was saved. What is
//!   large, or asked for on a session that is hardly older than the request, waits for an admin.
//! - The owner can cancel until it is approved; nobody approves a withdrawal of their own.

mod http;
mod jobs;
mod model;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub(crate) use jobs::register as jobs;
pub use model::{NewDestination, NewWithdrawal, Saved, Source, State, Withdrawal};
pub(crate) use model::{parse_reference, reference};
pub use rules::{Fee, Policy};
pub use service::Service;
