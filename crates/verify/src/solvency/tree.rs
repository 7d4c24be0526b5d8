//! The Merkle sum tree: every node has a hash and the sum of all leaves below it.
//!
//! Leaves are `SHA-256(0x00 || blind || amount || holder)` and nodes
//! `SHA-256(0x01 || hash || sum || hash || sum)`, left before right, sums as eight bytes, big end
//! first. A node without a neighbour moves up as it is. The blind, 32 bytes that only the holder is
//! told, keeps others from trying out who a leaf belongs to.

use sha2::{Digest, Sha256};

use super::SolvencyError;
use crate::log::merkle::Hash;

/// A hash, and the sum of what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    pub hash: Hash,
    /// Whole minor units; what a ledger can hold, so at most `i64::MAX`.
    pub sum: u64,
}

impl Node {
    /// The leaf of a part of a holder's balance.
    pub fn leaf(blind: &[u8; 32], amount: u64, holder: &str) -> Self {
        let hash = Sha256::new()
            .chain_update([0])
            .chain_update(blind)
            .chain_update(amount.to_be_bytes())
            .chain_update(holder)
            .finalize();
        Self { hash: hash.into(), sum: amount }
    }

    /// The node above two.
    ///
    /// # Errors
    /// [`SolvencyError::Overflow`] when the sum is larger than a ledger can hold: a sum that comes
    /// round would hide what is owed.
    pub fn above(left: &Self, right: &Self) -> Result<Self, SolvencyError> {
        let sum = left.sum.checked_add(right.sum).filter(|sum| *sum <= i64::MAX.unsigned_abs());
        let hash = Sha256::new()
            .chain_update([1])
            .chain_update(left.hash)
            .chain_update(left.sum.to_be_bytes())
            .chain_update(right.hash)
            .chain_update(right.sum.to_be_bytes())
            .finalize();
        Ok(Self { hash: hash.into(), sum: sum.ok_or(SolvencyError::Overflow)? })
    }
}

/// One level up: half as many nodes, the odd one as it is.
///
/// # Errors
/// As of [`Node::above`].
pub fn level_above(nodes: &[Node]) -> Result<Vec<Node>, SolvencyError> {
    nodes
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => Node::above(left, right),
            rest => rest.first().copied().ok_or(SolvencyError::Malformed("an empty level")),
        })
        .collect()
}

/// The root over these leaves; none over no leaves.
///
/// # Errors
/// As of [`Node::above`].
pub fn root(leaves: &[Node]) -> Result<Option<Node>, SolvencyError> {
    let mut nodes = leaves.to_vec();
    while nodes.len() > 1 {
        nodes = level_above(&nodes)?;
    }
    Ok(nodes.first().copied())
}

/// The neighbours on the way from a leaf to the root over `leaves`, from below. No leaf has any
/// that is not there.
///
/// # Errors
/// As of [`Node::above`].
pub fn path(leaves: &[Node], place: usize) -> Result<Vec<Node>, SolvencyError> {
    let (mut nodes, mut place, mut path) = (leaves.to_vec(), place, Vec::new());
    while nodes.len() > 1 {
        path.extend(nodes.get(place ^ 1).copied());
        nodes = level_above(&nodes)?;
        place /= 2;
    }
    Ok(path)
}

/// Whether a leaf is at its place in a tree of `size` leaves with this root.
///
/// # Errors
/// [`SolvencyError::Path`] where it is not; [`SolvencyError::Overflow`].
pub fn check(
    leaf: Node,
    place: u64,
    size: u64,
    path: &[Node],
    root: &Node,
) -> Result<(), SolvencyError> {
    let refused = SolvencyError::Path(place);
    if place >= size {
        return Err(refused);
    }
    let (mut node, mut at, mut width) = (leaf, place, size);
    let mut path = path.iter();
    while width > 1 {
        if at ^ 1 < width {
            let next = path.next().ok_or(refused.clone())?;
            let (left, right) = if at % 2 == 0 { (&node, next) } else { (next, &node) };
            node = Node::above(left, right)?;
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    if path.next().is_some() || node != *root {
        return Err(refused);
    }
    Ok(())
}
