//! What has come of somebody's verifications over a while: the owner's dashboard and analytics, the
//! verifier's earnings and analytics.
//!
//! Invariants:
//! - Every figure of a period is a sum of days. A day is what its verifications count as, by the
//!   instants of their requests and verdicts, and can be counted again at any time ([`rollup`]): a
//!   percentage is that of two sums that can be recomputed. It follows the journal, so it is a
//!   moment behind.
//! - How many verifications stand where now is asked of the verifications themselves.
//! - A period is a number of whole days in UTC (`30d`), today among them; it is compared with as many
//!   days before it.
//! - Money is summed in each currency by itself. What a dispute gave back was not earned.

pub mod http;
pub mod model;
mod part;
pub mod rollup;
pub mod rules;
pub mod service;
pub(crate) mod store;
#[cfg(test)]
mod tests;

pub use service::Service;
