//! Passwords: what may be one, and how it is kept and checked.
//!
//! Kept as Argon2id in PHC text (RFC 9106; 19 MiB, two passes, one lane by default). A check
//! costs tens of milliseconds and megabytes on purpose, so only a few run at once, on memory that
//! is used again, and only a bounded number wait, each for a bounded time. Whoever does not fit
//! is told at once to come back: a flood of logins must not starve the rest of the platform.
//!
//! A check for an account that does not exist does the same work as one that does.

mod model;
mod service;

pub use model::Password;
pub use service::{Hasher, Hashing, Phc};

#[cfg(test)]
mod tests;
