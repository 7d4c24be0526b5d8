//! Inclusion in one text file, C2SP tlog-proof: index, hashes and the checkpoint they lead to.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError};
use super::merkle::{self, Hash, MerkleError};
use super::note::{Note, NoteError, VerifierKey};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest path in a tree whose size fits 64 bits.
const HASHES_MAX: usize = 64;

/// That an entry is in a log, in a form that is checked without the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Bytes for the reader's convenience. Nothing vouches for them.
    pub extra: Option<Vec<u8>>,
    /// The entry's position.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint that the hashes lead to.
    pub checkpoint: Note,
}

/// Why a proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InclusionError {
    /// Not the specification's text.
    Malformed,
    /// The note at its end was refused.
    Note(NoteError),
    /// The checkpoint was refused.
    Checkpoint(CheckpointError),
    /// The hashes do not lead from the entry to the checkpoint's root.
    Merkle(MerkleError),
}

impl fmt::Display for InclusionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a tlog-proof"),
            Self::Note(error) => error.fmt(f),
            Self::Checkpoint(error) => error.fmt(f),
            Self::Merkle(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InclusionError {}

impl InclusionProof {
    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, InclusionError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(InclusionError::Malformed)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(InclusionError::Malformed);
        }
        let extra = lines
            .next_if(|line| line.starts_with("extra "))
            .map(|line| STANDARD.decode(&line["extra ".len()..]))
            .transpose()
            .map_err(|_| InclusionError::Malformed)?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(parse_decimal)
            .ok_or(InclusionError::Malformed)?;
        let hashes: Vec<Hash> = lines
            .take(HASHES_MAX + 1)
            .map(|line| parse_hash(line).ok_or(InclusionError::Malformed))
            .collect::<Result<_, _>>()?;
        if hashes.len() > HASHES_MAX {
            return Err(InclusionError::Malformed);
        }
        let checkpoint = Note::parse(checkpoint).map_err(InclusionError::Note)?;
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// Confirms that `entry` is in the log whose key is among `known`, and returns the checkpoint.
    pub fn verify(
        &self,
        entry: &[u8],
        known: &[VerifierKey],
    ) -> Result<Checkpoint, InclusionError> {
        let checkpoint =
            Checkpoint::open(&self.checkpoint, known).map_err(InclusionError::Checkpoint)?;
        self.leads_to(entry, &checkpoint)?;
        Ok(checkpoint)
    }

    /// Confirms the path alone, against a checkpoint that the caller believes.
    pub fn leads_to(&self, entry: &[u8], checkpoint: &Checkpoint) -> Result<(), InclusionError> {
        let leaf = merkle::leaf_hash(entry);
        let Checkpoint { size, root, .. } = checkpoint;
        merkle::verify_inclusion(&leaf, self.index, *size, &self.hashes, root)
            .map_err(InclusionError::Merkle)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn parse_hash(line: &str) -> Option<Hash> {
    STANDARD.decode(line).ok()?.try_into().ok()
}
