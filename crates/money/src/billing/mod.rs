//! Billing: the plans of enterprises, and their bills.
//!
//! ```text
//! subscription  active -> past_due -> suspended -> cancelled -> active  (a plan is chosen)
//!                  ^---------'-------------'  paid
//! invoice       open -> paid | void | uncollectible
//! ```
//!
//! What always holds:
//!
//! - An invoice has the number after the last one's: none is left out and none is given twice.
//! - What was billed and not yet served stands in `li.deferred`; it becomes income as time goes
//!   by, and what was recognised, credited and is still deferred is together what was billed.
//! - A dearer plan starts at once: what was not served of the old one is credited, to the wallet
//!   where it was paid for, else against the open invoice. A cheaper one starts with the next
//!   period.
//! - An invoice is paid once, out of the owner's wallet. When there is not enough in it, it is
//!   tried again after 1, 3, 5 and 7 days; after that the subscription is suspended. What comes
//!   through a provider for an invoice passes through the wallet in one transaction; where the
//!   invoice was paid meanwhile, it stays there.
//! - A subscription that was cancelled goes on until its period is over, and what was used beyond the
//!   plan is billed then. A bill that is void is as if it had not been written; of one that is
//!   uncollectible what was served is a loss (`ex.baddebt`), and the subscription ends.

mod ending;
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
pub use model::{Invoice, InvoiceState, Line, Subscription, SubscriptionState};
pub use rules::{Plan, Policy};
pub use service::Service;
