//! A verifier is a user who judges documents for money: a profile, what they offer, and how they
//! have done so far.
//!
//! Invariants:
//! - A verifier has the UUID of their user. They become known by the journal's facts about users
//!   (`marketplace.verifiers`), or by the first profile or service they save, whichever is first.
//! - The marketplace shows who is listed, approved and not suspended; nobody else takes requests.
//! - Prices are whole minor units with their currency. What a list sorts by (`verifier_prices`,
//!   `rating_rank`, `search_text`) is written together with what it is made of.
//! - Reputation follows one stated rule ([`rules::reputation`]), from verdicts that stand and those that
//!   were overturned; nobody sets it.
//! - Whoever offers a service has a name: the one they chose, or their account's.

pub mod http;
pub mod jobs;
pub mod model;
pub mod office;
pub mod reader;
pub mod rules;
pub mod service;
pub mod stake;
pub(crate) mod store;
#[cfg(test)]
mod tests;

pub use model::{Offer, Verifier};
pub use service::Service;
