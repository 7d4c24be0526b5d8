//! The Merkle tree of RFC 6962 section 2.1 (kept by RFC 9162): hashes, roots, and proofs.
//!
//! Everything is derived from the hashes of complete subtrees. Such a hash never changes once its
//! leaves exist, which is what makes tiles cacheable forever.

use std::fmt;

use sha2::{Digest, Sha256};

/// A SHA-256 value: of a leaf, a node or a root.
pub type Hash = [u8; 32];

/// The root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The hash of a leaf. The prefix keeps leaves and nodes apart, else a node could be shown as a
/// leaf.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0x00]).chain_update(entry).finalize().into()
}

/// The hash of a node with two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}

/// A complete subtree: that over the leaves `index * 2^level .. (index + 1) * 2^level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// The subtree's height; 0 for a leaf.
    pub level: u8,
    /// Its position among those of its height.
    pub index: u64,
}

/// Where hashes of complete subtrees come from.
pub trait HashReader {
    /// The hash of a subtree, or nothing when it is not held.
    fn hash(&self, node: Node) -> Option<Hash>;
}

/// Why a proof could not be made or did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MerkleError {
    /// The leaf or the smaller tree lies outside of the tree.
    OutOfRange,
    /// The reader does not hold this subtree.
    Missing(Node),
    /// The proof has too few or too many hashes for these sizes.
    ProofLength,
    /// The proof leads to another root.
    OtherRoot,
    /// The number of hashes does not fit the size.
    Edge,
}

impl fmt::Display for MerkleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("the position lies outside of the tree"),
            Self::Missing(Node { level, index }) => {
                write!(f, "the hash of subtree {index} at level {level} is missing")
            }
            Self::ProofLength => f.write_str("the proof's length does not fit the tree's size"),
            Self::OtherRoot => f.write_str("the proof leads to another root"),
            Self::Edge => f.write_str("the right edge does not fit the tree's size"),
        }
    }
}

impl std::error::Error for MerkleError {}

/// The right edge of a tree: the hashes of the complete subtrees that its size decomposes into,
/// largest first. It is all that appending needs, and is at most 64 hashes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    hashes: Vec<Hash>,
}

impl Edge {
    /// The edge of the empty tree.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Restores an edge from storage; there is one hash for each set bit of the size.
    pub fn restore(size: u64, hashes: Vec<Hash>) -> Result<Self, MerkleError> {
        if hashes.len() != size.count_ones() as usize {
            return Err(MerkleError::Edge);
        }
        Ok(Self { size, hashes })
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes to keep in storage, largest subtree first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends a leaf and returns every subtree that it completes, the leaf itself first.
    pub fn append(&mut self, leaf: Hash) -> Vec<(Node, Hash)> {
        let mut node = Node { level: 0, index: self.size };
        let mut hash = leaf;
        let mut completed = vec![(node, hash)];
        // As in binary counting: a carry for each trailing one of the size.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.hashes.pop() else { break };
            hash = node_hash(&left, &hash);
            node = Node { level: node.level + 1, index: node.index / 2 };
            completed.push((node, hash));
        }
        self.hashes.push(hash);
        self.size += 1;
        completed
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        fold(self.hashes.iter().copied()).unwrap_or_else(empty_root)
    }
}

/// The subtrees from which the root of a tree is computed.
pub fn root_nodes(size: u64) -> Vec<Node> {
    Span { start: 0, end: size }.nodes()
}

/// The root of the tree of this size.
pub fn root(reader: &impl HashReader, size: u64) -> Result<Hash, MerkleError> {
    if size == 0 {
        return Ok(empty_root());
    }
    Span { start: 0, end: size }.hash(reader)
}

/// The subtrees that [`inclusion_proof`] will ask for, so that they can be fetched at once.
pub fn inclusion_nodes(index: u64, size: u64) -> Result<Vec<Node>, MerkleError> {
    Ok(inclusion_spans(index, size)?.iter().flat_map(Span::nodes).collect())
}

/// The proof that leaf `index` is in the tree of `size` leaves: `PATH(index, D[size])` of RFC 6962
/// section 2.1.1, from the leaf's sibling up.
pub fn inclusion_proof(
    reader: &impl HashReader,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, MerkleError> {
    inclusion_spans(index, size)?.iter().map(|span| span.hash(reader)).collect()
}

/// The subtrees that [`consistency_proof`] will ask for.
pub fn consistency_nodes(old_size: u64, new_size: u64) -> Result<Vec<Node>, MerkleError> {
    Ok(consistency_spans(old_size, new_size)?.iter().flat_map(Span::nodes).collect())
}

/// The proof that the tree of `old_size` leaves is a prefix of that of `new_size`:
/// `PROOF(old_size, D[new_size])` of RFC 6962 section 2.1.2. It is empty for equal sizes. The empty
/// tree is a prefix of every tree; a proof from it would say nothing, so there is none.
pub fn consistency_proof(
    reader: &impl HashReader,
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Hash>, MerkleError> {
    consistency_spans(old_size, new_size)?.iter().map(|span| span.hash(reader)).collect()
}

/// Confirms that a leaf is in a tree, RFC 9162 section 2.1.3.2.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), MerkleError> {
    if index >= size {
        return Err(MerkleError::OutOfRange);
    }
    let mut walk = Walk { node: index, last: size - 1 };
    let mut hash = *leaf;
    for sibling in proof {
        hash = match walk.step()? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    walk.finish()?;
    if hash == *root { Ok(()) } else { Err(MerkleError::OtherRoot) }
}

/// Confirms that one tree is a prefix of another, RFC 9162 section 2.1.4.2.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), MerkleError> {
    if old_size == 0 || old_size > new_size {
        return Err(MerkleError::OutOfRange);
    }
    if old_size == new_size {
        return match (proof, old_root == new_root) {
            ([], true) => Ok(()),
            ([], false) => Err(MerkleError::OtherRoot),
            _ => Err(MerkleError::ProofLength),
        };
    }
    let mut walk = Walk { node: old_size - 1, last: new_size - 1 };
    walk.climb_while_right();
    // An old tree that is one complete subtree of the new one is not repeated in the proof.
    let (seed, rest) = match proof.split_first() {
        _ if old_size.is_power_of_two() => (old_root, proof),
        Some((seed, rest)) => (seed, rest),
        None => return Err(MerkleError::ProofLength),
    };
    let (mut old_hash, mut new_hash) = (*seed, *seed);
    for sibling in rest {
        match walk.step()? {
            Side::Left => {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
            }
            Side::Right => new_hash = node_hash(&new_hash, sibling),
        }
    }
    walk.finish()?;
    if old_hash == *old_root && new_hash == *new_root {
        Ok(())
    } else {
        Err(MerkleError::OtherRoot)
    }
}

/// On which side of the walked node its sibling stands.
enum Side {
    Left,
    Right,
}

/// The way from a node to the root: the node's position in its level, and the last position there.
struct Walk {
    node: u64,
    last: u64,
}

impl Walk {
    /// Goes up by one hash of the proof.
    fn step(&mut self) -> Result<Side, MerkleError> {
        if self.last == 0 {
            return Err(MerkleError::ProofLength);
        }
        let side = if self.node % 2 == 1 || self.node == self.last {
            // A last node without sibling rises unchanged until it is a right child.
            while self.node.is_multiple_of(2) && self.node != 0 {
                self.up();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.up();
        Ok(side)
    }

    fn climb_while_right(&mut self) {
        while self.node % 2 == 1 {
            self.up();
        }
    }

    fn up(&mut self) {
        self.node /= 2;
        self.last /= 2;
    }

    fn finish(&self) -> Result<(), MerkleError> {
        if self.last == 0 { Ok(()) } else { Err(MerkleError::ProofLength) }
    }
}

/// A run of leaves whose subtree the standard names `D[start:end]`. `start` is a multiple of the
/// smallest power of two that is not below the run's length.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    /// The complete subtrees that make up the run, from left to right.
    fn nodes(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut start = self.start;
        while start < self.end {
            let level = (self.end - start).ilog2();
            nodes.push(Node { level: level as u8, index: start >> level });
            start += 1 << level;
        }
        nodes
    }

    fn hash(&self, reader: &impl HashReader) -> Result<Hash, MerkleError> {
        let nodes = self.nodes();
        let hashes: Vec<Hash> = nodes
            .iter()
            .map(|node| reader.hash(*node).ok_or(MerkleError::Missing(*node)))
            .collect::<Result<_, _>>()?;
        fold(hashes.into_iter()).ok_or(MerkleError::OutOfRange)
    }
}

/// Joins complete subtrees, largest first, into the hash of the run they make up.
fn fold(hashes: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    hashes.rev().reduce(|right, left| node_hash(&left, &right))
}

fn inclusion_spans(index: u64, size: u64) -> Result<Vec<Span>, MerkleError> {
    if index >= size {
        return Err(MerkleError::OutOfRange);
    }
    let (mut start, mut end) = (0, size);
    let mut spans = Vec::new();
    while end - start > 1 {
        let split = start + largest_power_below(end - start);
        if index < split {
            spans.push(Span { start: split, end });
            end = split;
        } else {
            spans.push(Span { start, end: split });
            start = split;
        }
    }
    spans.reverse();
    Ok(spans)
}

fn consistency_spans(old_size: u64, new_size: u64) -> Result<Vec<Span>, MerkleError> {
    if old_size == 0 || old_size > new_size {
        return Err(MerkleError::OutOfRange);
    }
    let (mut start, mut end) = (0, new_size);
    let mut spans = Vec::new();
    while old_size != end {
        let split = start + largest_power_below(end - start);
        if old_size <= split {
            spans.push(Span { start: split, end });
            end = split;
        } else {
            spans.push(Span { start, end: split });
            start = split;
        }
    }
    // The verifier knows the old root; the last subtree is sent only where it is another one.
    if start != 0 {
        spans.push(Span { start, end });
    }
    spans.reverse();
    Ok(spans)
}

/// The largest power of two below `n`, which is at least 2.
fn largest_power_below(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}
