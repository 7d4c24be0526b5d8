//! The transparency log: an append-only Merkle tree over commitments to audit rows, published as
//! C2SP tiles under signed checkpoints.
//!
//! What it gives: whoever holds an older checkpoint can tell that the past was rewritten. What it
//! does not give by itself: two people may be shown two trees, until an outside witness signs too.
//!
//! A leaf holds no personal data. It commits to a row through a random salt, so that deleting the
//! row and its salt answers an erasure request while the tree stays provable.
//!
//! A log is named after the year in which it began, and another one follows it in the next year.
//! So does one where something turns up that this platform has signed and this log does not
//! continue, as after a restore: going on under the old name would be a fork. The fact
//! `log.succeeded` is among the first of the new log and says where the old one ended.
//!
//! Invariants: an index is given once and never reused; a checkpoint is signed only over a tree of
//! which every earlier checkpoint's tree is a prefix.

mod check;
pub mod http;
mod jobs;
mod memory;
mod patrol;
mod rules;
pub mod service;
mod store;
mod succession;
#[cfg(test)]
mod tests;
mod watch;

pub use check::{LogReport, check, head, unsequenced_since};
pub(crate) use jobs::register;
pub use memory::Memory;
pub(crate) use memory::replace;
pub use rules::{Continuity, follows};
pub use watch::Witness;
