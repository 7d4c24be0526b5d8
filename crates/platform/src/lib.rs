//! What every context stands on: storage, the fleet, journal, jobs, HTTP, blobs, mail, cryptography,
//! limits, calls to other services.
//!
//! Nothing here knows what Verza is for. A context names `platform`; `platform` names no context.

pub mod blob;
pub mod breaker;
pub mod certificates;
pub mod crypto;
pub mod db;
pub mod fleet;
pub mod http;
pub mod jobs;
pub mod journal;
pub mod limits;
pub mod live;
pub mod load;
pub mod mail;
pub mod network;
pub mod outbound;
pub mod privacy;
pub mod qr;
pub mod retry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;
pub mod world;

use db::{Migration, Migrations};

/// The tables of the platform itself.
pub const MIGRATIONS: Migrations = Migrations {
    context: "platform",
    files: &[
        Migration {
            name: "0001_consequences",
            sql: include_str!("../migrations/0001_consequences.sql"),
        },
        Migration { name: "0002_mail", sql: include_str!("../migrations/0002_mail.sql") },
        Migration { name: "0003_fleet", sql: include_str!("../migrations/0003_fleet.sql") },
        Migration { name: "0004_privacy", sql: include_str!("../migrations/0004_privacy.sql") },
        Migration { name: "0075_trace", sql: include_str!("../migrations/0075_trace.sql") },
        Migration { name: "0076_turns", sql: include_str!("../migrations/0076_turns.sql") },
    ],
};
