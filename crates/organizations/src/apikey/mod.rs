//! An API key lets a program act for an organization, within the key's scopes.
//!
//! A key reads `vz_PREFIX_SECRET`: ten hexadecimal digits by which it is found and told apart, and
//! 256 random bits. It is shown once, when it is made. What is kept is the prefix and an
//! HMAC-SHA-256 under a key of the platform's own: there is nothing in 256 random bits to guess, so a
//! slow hash would only let strangers keep our processors busy (`docs/decisions/0100`), and without
//! the platform's key the table says nothing about which texts would be accepted.
//!
//! ```text
//! live --revoke--> revoked
//!   +---- its time passes: expired
//! ```
//!
//! Invariants:
//! - The secret is in no table, log, fact or list.
//! - A key has only scopes that are for keys ([`kernel::Permission::is_for_keys`]), and gets to the
//!   routes that name one of them.
//! - What is remembered of keys is forgotten as sessions are: a revoked key is refused by every
//!   process within a second, and by routes of money at once. So are the keys of an organization
//!   whose account is suspended, banned or closed.
//! - `lastUsedAt` is right to the minute, and written once a minute and process at most.

mod cache;
pub mod http;
pub mod model;
pub mod service;
mod store;
#[cfg(test)]
mod tests;

pub use model::{ApiKey, is_key};
pub use service::Service;
