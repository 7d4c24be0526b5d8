//! A review is what an owner says of a verifier's work: stars and a few words, once for each
//! verdict, and the verifier's answer to it.
//!
//! Invariants:
//! - Only who has paid for a verdict reviews it, and not while it is contested.
//! - One review a verification, one answer a review; neither is changed afterwards.
//! - The verifier's rating is made of the stars of all reviews, in the same transaction.
//! - Readers of the marketplace see no name with a review.

pub mod http;
pub mod model;
pub mod service;
pub(crate) mod store;
#[cfg(test)]
mod tests;

pub use model::Review;
pub use service::Service;
