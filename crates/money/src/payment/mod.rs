//! Payments: money that users pay in through a provider.
//!
//! ```text
//! created -> pending -> settled       the wallet is credited, once
//!                    -> suspended     money came, and not what was asked for, or its owner's
//!                                     account is not active: an admin decides
//!                    -> failed  ----> settled     the provider is right, also when it is late
//!                    -> expired ----> settled
//! ```
//!
//! A payment may be one of an invoice: its money pays that in the transaction in which it is
//! credited. What the invoice does not ask for (any more) stays in the wallet.
//!
//! A settled payment may be wanted back by the payer's bank: see [`crate::chargeback`].
//!
//! A payment is stored before the provider hears of it, under a reference of ours; asking twice
//! with one reference makes one payment at the provider. Nothing is ever credited because
//! somebody says so: a webhook, the payer's return and the sweeper are hints, and each makes us
//! *fetch* the payment from the provider and compare amount, currency and reference. The
//! ledger's key `dep:{id}:settle` makes the credit happen once, whoever comes first.

mod arrivals;
mod decisions;
mod http;
mod invoices;
mod jobs;
mod model;
mod rules;
mod service;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use decisions::{load, lock, received, take};
pub use http::routes;
pub(crate) use jobs::register as jobs;
pub(crate) use model::{CHARGED_BACK, REFUNDING, parse_email, reference};
pub use model::{NewCheckout, NewDeposit, Payment, State};
pub(crate) use service::Others;
pub use service::Service;
