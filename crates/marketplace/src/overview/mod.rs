//! What has come of somebody's verifications over a while: the owner's dashboard and analytics, the
//! verifier's earnings and analytics.
//!
//! Invariants:
//! - Nothing is stored here: every figure is counted from the verifications, by the instant of
//!   their verdicts, and can be counted again.
//! - A period is a number of whole days (`30d`) that ends now; it is compared with as many days
//!   before it.
//! - Money is summed in each currency by itself. What a dispute gave back was not earned.

pub mod http;
pub mod model;
pub mod rules;
pub mod service;
pub(crate) mod store;
#[cfg(test)]
mod tests;

pub use service::Service;
