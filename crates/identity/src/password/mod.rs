//! Passwords: what may be one, and how it is kept and checked.
//!
//! Kept as Argon2id in PHC text (RFC 9106; 19 MiB, two passes, one lane by default). A check
//! costs tens of milliseconds and megabytes on purpose, so only a few run at once, on memory that
//! is used again, and only a bounded number wait, each for a bounded time. Whoever does not fit
//! is told at once to come back: a flood of logins must not starve the rest of the platform. Turns go
//! round from address to address, so that a flood from one does not starve the others.
//!
//! Hashes that were made elsewhere are checked as they are (see [`scheme`]) and made anew, by
//! today's algorithm, when their owner signs in. Bcrypt can be chosen for new ones; passwords
//! beyond its 72 bytes are then refused rather than cut.
//!
//! A check for an account that does not exist does the same work as one that does.

mod common;
mod line;
mod model;
mod scheme;
mod service;

pub use model::Password;
pub use service::{Hasher, Hashing, OnBehalf, Phc};

#[cfg(test)]
mod tests;
