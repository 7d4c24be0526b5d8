//! Reconciliation: what providers say is there, against what the books say.
//!
//! A difference is not always a defect: webhooks may be on their way, and what a provider keeps
//! in another currency is booked by hand. It is always to be explained, so each is named, with
//! everything that may explain it: payments and payouts whose outcome is open, money in suspense,
//! and events that fit nothing. It reads, and changes nothing.

mod http;
mod jobs;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub use http::routes;
pub(crate) use jobs::register as jobs;
pub use service::{Line, Report, Service};
