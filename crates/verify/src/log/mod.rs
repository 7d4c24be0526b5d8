//! The Merkle tree of the transparency log: hashes, tiles, signed notes, proofs.
//!
//! A leaf holds no personal data. It commits to a row through a random salt, so that deleting the
//! row and its salt answers an erasure request while the tree stays provable.

pub mod checkpoint;
pub mod entry;
pub mod export;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod tile;
pub mod witness;

#[cfg(test)]
mod tests;
