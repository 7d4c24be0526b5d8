//! What Verza vouches for, in forms that anyone can check without asking Verza.
//!
//! Five rooms. [`key`] holds the issuer's identity, [`issuance`] the signed verdict, [`status`] the
//! list through which a verdict is taken back, [`log`] the append-only record that shows tampering,
//! and [`verify`] the reader that trusts none of the others and judges a file offline.
//!
//! The formats are small, published and deterministic, so they are written here on top of the
//! cryptographic primitives; each one is checked against vectors or software nobody here wrote.

pub mod issuance;
pub mod key;
pub mod log;
pub mod status;
pub mod verify;

mod context;
mod personal;

pub use context::{Trust, TrustOptions};
pub use personal::Held;

use platform::db::{Migration, Migrations};

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "trust",
    files: &[Migration { name: "0001_trust", sql: include_str!("../migrations/0001_trust.sql") }],
};

#[cfg(test)]
mod sample;
