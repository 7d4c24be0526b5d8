//! Tiles: the tree as static files, C2SP tlog-tiles.
//!
//! A tile holds up to 256 consecutive hashes of one eighth level, 8,192 bytes when full. A full
//! tile never changes. From the tiles that a checkpoint's size calls for, anybody derives every
//! proof, and the server computes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::merkle::{Edge, Hash, HashReader, Node, node_hash};

/// Hashes in a full tile, entries in a full bundle.
pub const WIDTH: u16 = 256;

/// Levels of the tree that one tile spans.
const HEIGHT: u8 = 8;

/// The longest entry that the two length bytes of a bundle can announce.
pub const ENTRY_LEN_MAX: usize = u16::MAX as usize;

/// The highest level that a path may name.
const LEVEL_MAX: u8 = 63;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// The log entries themselves.
    Entries,
    /// Hashes; those of level `l` are of complete subtrees over `256^l` leaves.
    Hashes(u8),
}

/// One resource below the log's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// What it holds.
    pub level: Level,
    /// Its position within the level.
    pub index: u64,
    /// How many hashes or entries it holds, 1 to 256; fewer than 256 make it a partial tile.
    pub width: u16,
}

/// Why a path, a tile or a bundle was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileError {
    /// The path is not one that the specification gives to a tile.
    Path,
    /// The bytes are not as many as the tile's width says.
    Length,
    /// An entry is longer than [`ENTRY_LEN_MAX`].
    EntryTooLong,
    /// The partial tile that the tree's size calls for is not held.
    Missing(Tile),
}

impl fmt::Display for TileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("not a tile's path"),
            Self::Length => f.write_str("the bytes do not fit the tile's width"),
            Self::EntryTooLong => f.write_str("a log entry is longer than 65,535 bytes"),
            Self::Missing(tile) => write!(f, "the tile {} is missing", tile.path()),
        }
    }
}

impl std::error::Error for TileError {}

impl Tile {
    /// Whether it holds fewer than 256 hashes or entries.
    pub fn is_partial(&self) -> bool {
        self.width < WIDTH
    }

    /// The path below the log's prefix, such as `tile/0/x001/x234/067.p/112`.
    pub fn path(&self) -> String {
        let mut groups = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups = format!("x{:03}/{groups}", rest % 1000);
            rest /= 1000;
        }
        let level = match self.level {
            Level::Entries => "entries".to_owned(),
            Level::Hashes(level) => level.to_string(),
        };
        match self.is_partial() {
            true => format!("tile/{level}/{groups}.p/{}", self.width),
            false => format!("tile/{level}/{groups}"),
        }
    }

    /// Reads a path, in no other spelling than [`Tile::path`] gives it.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let rest = path.strip_prefix("tile/").ok_or(TileError::Path)?;
        let (level, rest) = rest.split_once('/').ok_or(TileError::Path)?;
        let (groups, width) = match rest.split_once(".p/") {
            Some((groups, width)) => (groups, width.parse().map_err(|_| TileError::Path)?),
            None => (rest, WIDTH),
        };
        let level = match level {
            "entries" => Level::Entries,
            level => Level::Hashes(level.parse().map_err(|_| TileError::Path)?),
        };
        let mut index: u64 = 0;
        for group in groups.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            let value: u64 = digits.parse().map_err(|_| TileError::Path)?;
            index = index
                .checked_mul(1000)
                .and_then(|index| index.checked_add(value))
                .ok_or(TileError::Path)?;
        }
        let tile = Self { level, index, width };
        let in_range = (1..=WIDTH).contains(&width)
            && !matches!(level, Level::Hashes(level) if level > LEVEL_MAX);
        // Writing it again settles leading zeros, misplaced x, signs and a `.p/256` at once.
        if in_range && tile.path() == path { Ok(tile) } else { Err(TileError::Path) }
    }

    /// Whether a tree of this size has exactly this tile.
    pub fn belongs_to(&self, size: u64) -> bool {
        let level = match self.level {
            Level::Entries => 0,
            Level::Hashes(level) => level,
        };
        width_at(level, self.index, size) == self.width
    }
}

/// The hash tiles of a tree: at each level the full ones, then the partial one if there is any.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..HEIGHT).flat_map(move |level| {
        let hashes = hashes_at(level, size);
        (0..hashes.div_ceil(u64::from(WIDTH))).map(move |index| Tile {
            level: Level::Hashes(level),
            index,
            width: width_at(level, index, size),
        })
    })
}

/// The partial hash tiles of a tree, at most one at each level.
pub fn partial_tiles(size: u64) -> Vec<Tile> {
    (0..HEIGHT)
        .map(|level| {
            let index = hashes_at(level, size) / u64::from(WIDTH);
            Tile { level: Level::Hashes(level), index, width: width_at(level, index, size) }
        })
        .filter(|tile| tile.width > 0)
        .collect()
}

/// The tiles of a tree of this size from which the hashes of these subtrees are derived.
pub fn tiles_of(nodes: &[Node], size: u64) -> BTreeSet<Tile> {
    nodes.iter().map(|node| Place::of(*node).tile(size)).collect()
}

/// How many hashes a tree of this size has at a tile level: its complete subtrees of 256^level.
fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(HEIGHT)).unwrap_or(0)
}

fn width_at(level: u8, index: u64, size: u64) -> u16 {
    let before = index.saturating_mul(u64::from(WIDTH));
    let width = hashes_at(level, size).saturating_sub(before).min(u64::from(WIDTH));
    // At most 256.
    width as u16
}

/// Where a subtree's hash is found: in the run of `1 << height` hashes that begins at `offset`.
struct Place {
    level: u8,
    index: u64,
    offset: usize,
    height: u8,
}

impl Place {
    fn of(node: Node) -> Self {
        let height = node.level % HEIGHT;
        let first = node.index << height;
        Self {
            level: node.level / HEIGHT,
            index: first / u64::from(WIDTH),
            offset: (first % u64::from(WIDTH)) as usize,
            height,
        }
    }

    fn tile(&self, size: u64) -> Tile {
        let width = width_at(self.level, self.index, size);
        Tile { level: Level::Hashes(self.level), index: self.index, width }
    }
}

/// Fetched tiles as a source of hashes.
#[derive(Clone, Debug, Default)]
pub struct TileSet {
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl TileSet {
    /// Adds a tile of hashes. Of two tiles at one place the wider is kept.
    pub fn insert(&mut self, tile: Tile, bytes: &[u8]) -> Result<(), TileError> {
        let Level::Hashes(level) = tile.level else { return Err(TileError::Path) };
        let hashes = split_hashes(tile, bytes)?;
        let held = self.tiles.entry((level, tile.index)).or_default();
        if held.len() < hashes.len() {
            *held = hashes;
        }
        Ok(())
    }
}

impl HashReader for TileSet {
    fn hash(&self, node: Node) -> Option<Hash> {
        let place = Place::of(node);
        let tile = self.tiles.get(&(place.level, place.index))?;
        let mut hashes = tile.get(place.offset..place.offset + (1 << place.height))?.to_vec();
        while hashes.len() > 1 {
            hashes = hashes.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
        }
        hashes.pop()
    }
}

fn split_hashes(tile: Tile, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if hashes.len() != usize::from(tile.width) || !rest.is_empty() {
        return Err(TileError::Length);
    }
    Ok(hashes.to_vec())
}

/// Appends leaves and collects the tiles that come of it.
///
/// It starts from a tree's right edge and partial tiles, and ends in the new edge and every tile
/// that is new or wider, so that a store writes each of them once in the same transaction.
#[derive(Clone, Debug)]
pub struct Growth {
    edge: Edge,
    partial: BTreeMap<u8, Vec<u8>>,
    changed: BTreeSet<u8>,
    full: Vec<(Tile, Vec<u8>)>,
}

impl Growth {
    /// Takes up a tree where it ended. `read` gives the bytes of each of [`partial_tiles`].
    pub fn resume(
        edge: Edge,
        mut read: impl FnMut(Tile) -> Option<Vec<u8>>,
    ) -> Result<Self, TileError> {
        let mut partial = BTreeMap::new();
        for tile in partial_tiles(edge.size()) {
            let bytes = read(tile).ok_or(TileError::Missing(tile))?;
            split_hashes(tile, &bytes)?;
            if let Level::Hashes(level) = tile.level {
                partial.insert(level, bytes);
            }
        }
        Ok(Self { edge, partial, changed: BTreeSet::new(), full: Vec::new() })
    }

    /// The number of leaves so far, which is the index that the next one gets.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Appends one leaf and returns its index.
    pub fn append(&mut self, leaf: Hash) -> u64 {
        let index = self.edge.size();
        for (node, hash) in self.edge.append(leaf) {
            if !node.level.is_multiple_of(HEIGHT) {
                continue;
            }
            let place = Place::of(node);
            let bytes = self.partial.entry(place.level).or_default();
            bytes.extend_from_slice(&hash);
            self.changed.insert(place.level);
            if place.offset + 1 == usize::from(WIDTH) {
                let level = Level::Hashes(place.level);
                let tile = Tile { level, index: place.index, width: WIDTH };
                self.full.push((tile, std::mem::take(bytes)));
            }
        }
        index
    }

    /// The grown tree's right edge, and every tile that is new or wider than before.
    pub fn finish(self) -> (Edge, Vec<(Tile, Vec<u8>)>) {
        let mut written = self.full;
        for tile in partial_tiles(self.edge.size()) {
            let Level::Hashes(level) = tile.level else { continue };
            if let Some(bytes) = self.partial.get(&level).filter(|_| self.changed.contains(&level))
            {
                written.push((tile, bytes.clone()));
            }
        }
        (self.edge, written)
    }
}

/// The bytes of `tile/entries/<N>`: each entry after its length in two bytes, big-endian.
pub fn encode_bundle<'a>(
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLong)?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// Reads a bundle of `width` entries.
pub fn decode_bundle(mut bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).ok_or(TileError::Length)?;
        entries.push(entry);
        bundle = rest;
    }
    if !bundle.is_empty() || entries.len() != usize::from(width) {
        return Err(TileError::Length);
    }
    Ok(entries)
}
