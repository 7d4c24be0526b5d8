//! Payment providers: one port, and an adapter for each of them.
//!
//! What holds for every adapter:
//!
//! - It speaks HTTP to a configured base URL, with the provider's API version pinned, so that a
//!   simulator can stand in for the provider.
//! - Every failure is one of four classes ([`Failure`]). *Unknown* is the one that loses money
//!   where it is missing: after it nobody asks for a second payment or payout, we look for the
//!   first by our own reference. Not every provider knows one request from its repetition, so
//!   that only one of us asks for a refund or a payout at a time ([`asking`]).
//! - Amounts are converted in the adapter and nowhere else; what a provider cannot write down is
//!   refused ([`Capabilities::represent`]).
//! - A webhook is believed to be the provider's only by its signature over the raw body, and even
//!   then it is a hint: what counts is what the provider answers when it is asked.
//! - Every call is recorded without secrets and without personal data ([`calls`]), and a provider
//!   that fails again and again is left alone for a while.

pub(crate) mod asking;
pub mod calls;
pub mod crypto;
pub(crate) mod finality;
#[cfg(test)]
mod judged;
pub mod paypal;
pub mod paystack;
mod port;
mod signature;
pub mod stripe;
#[cfg(test)]
mod tests;
mod transport;

pub use port::{
    Answer, Arrival, Arrivals, Capabilities, Checkout, Destination, DestinationKind, DisputeStage,
    Event, Failure, Known, Order, Payout, PayoutState, Provider, ProviderName, RefundState, Seen,
    SeenDispute, SeenPayout, SeenRefund, SeenState, Webhook,
};
pub(crate) use signature::{hmac_sha256_hex, hmac_sha512_hex, is_same};

use std::time::Duration;

use platform::db::Db;
use platform::jobs::Registry;

const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Registers what happens by itself: old records of calls go.
pub(crate) fn jobs(db: &Db, registry: &mut Registry) {
    let db = db.clone();
    registry.every("provider_call.sweep", SWEEP_EVERY, move || {
        let db = db.clone();
        async move { calls::sweep(&db).await }
    });
}

/// The HTTP client of whoever speaks to a provider, or as one.
pub(crate) fn client() -> kernel::Result<reqwest::Client> {
    platform::outbound::client(transport::TIMEOUT)
}
