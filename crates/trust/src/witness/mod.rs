//! A witness: watches logs and signs what only ever grows (C2SP tlog-witness, tlog-cosignature).
//!
//! It is run by somebody else than the log: an auditor, a customer. It keeps one checkpoint of
//! each log, the last that it signed, and signs another one when that continues it. Two people who
//! ask for its signature cannot be shown two histories, and a log that was set back is refused.
//!
//! Invariants: what it signs is on disk before the signature leaves; of each log it has signed one
//! line of trees, each the beginning of the next.

mod server;
mod store;
#[cfg(test)]
pub(crate) mod tests;

pub use server::Witness;

use sha2::{Digest, Sha256};

/// Where a witness of ours shows the checkpoint of a log that it has signed last. The
/// specification leaves open how monitors are answered.
pub(crate) fn monitoring_path(origin: &str) -> String {
    format!("/checkpoint/{}", log_name(origin))
}

/// A log's origin as a name that every file system and address can hold.
fn log_name(origin: &str) -> String {
    hex::encode(Sha256::digest(origin))
}
