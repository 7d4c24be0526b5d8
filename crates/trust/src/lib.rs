//! What Verza vouches for, in forms that anyone can check without asking Verza.
//!
//! Six rooms. [`key`] holds the issuer's identity, [`issuance`] the signed verdict, [`status`] the
//! list through which a verdict is taken back, [`compromise`] what follows when somebody else has a
//! key, [`log`] the append-only record that shows tampering,
//! [`witness`] those who watch it, which is a process of somebody else's.
//! The formats, and the reader that judges a file without trusting any of these rooms, are the
//! `verify` crate's.

pub mod authority;
pub mod casefile;
pub mod compromise;
pub mod issuance;
pub mod judging;
pub mod key;
pub mod log;
pub mod pickup;
pub mod presentation;
pub mod status;
pub mod witness;

mod context;
mod personal;

pub use context::{Trust, TrustOptions};
pub use personal::Held;

use platform::db::{Migration, Migrations};

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "trust",
    files: &[
        Migration { name: "0001_trust", sql: include_str!("../migrations/0001_trust.sql") },
        Migration { name: "0002_portable", sql: include_str!("../migrations/0002_portable.sql") },
        Migration { name: "0003_witnesses", sql: include_str!("../migrations/0003_witnesses.sql") },
        Migration {
            name: "0004_compromises",
            sql: include_str!("../migrations/0004_compromises.sql"),
        },
    ],
};
