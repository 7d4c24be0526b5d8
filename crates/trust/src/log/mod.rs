//! The transparency log: an append-only Merkle tree over commitments to audit rows, published as
//! C2SP tiles under signed checkpoints.
//!
//! What it gives: whoever holds an older checkpoint can tell that the past was rewritten. What it
//! does not give by itself: two people may be shown two trees, until an outside witness signs too.
//!
//! A leaf holds no personal data. It commits to a row through a random salt, so that deleting the
//! row and its salt answers an erasure request while the tree stays provable.
//!
//! Invariants: an index is given once and never reused; a checkpoint is signed only over a tree of
//! which every earlier checkpoint's tree is a prefix.

mod check;
pub mod http;
pub mod service;
mod store;

pub use check::{Continuity, LogReport, check, head};
