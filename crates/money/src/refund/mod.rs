//! Refunds: money that goes back to where a payment came from.
//!
//! ```text
//! requested -> submitting -> submitted -> settled -> failed
//!                |    |  \      |   `---> failed
//!                |  unknown -> submitted | settled | failed
//!                `----------------------> failed
//! ```
//!
//! What always holds:
//!
//! - An admin asks for it, and never for a payment of their own.
//! - The money leaves the wallet, or the suspense account where nobody's money waits, when the
//!   refund is requested: it stands in `li.refund` until the outcome is conclusive, and then it is
//!   gone, or back where it came from, once.
//! - What is refunded of a payment is never more than came with it.
//! - A payer's bank may send a refund back: what a provider calls failed after it was settled is
//!   back where it came from, as if it had never gone.
//! - A refund is stored as `submitting` before the provider hears of it, under a reference that is
//!   its id: after an unknown outcome it is looked for, and asked for again under that reference.

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
pub(crate) use model::parse_reference;
pub use model::{NewRefund, Refund, Source, State};
pub use service::Service;
