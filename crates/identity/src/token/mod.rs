//! Access tokens: a session shown as an EdDSA JWT that anybody can check with the public keys.
//!
//! - One algorithm, one type, known keys (RFC 8725): the header must be exactly
//!   `{"alg":"EdDSA","typ":"at+jwt","kid":..}` (RFC 9068), whatever else it says is a refusal.
//! - A token names its session. It is worth something only while that session lives: the
//!   signature is necessary and never sufficient here.
//! - One key signs at a time. A retired key is published and believed for a day longer, which is
//!   longer than any token lives and longer than any replica takes to notice.
//! - Signing keys are in the database, sealed under the master key.

pub mod jws;
mod model;
mod store;

pub mod http;
mod service;

pub use model::{Claims, Policy, Refusal};
pub use service::Service;

#[cfg(test)]
mod tests;
