//! Checkpoints: what a log signs, C2SP tlog-checkpoint.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;

use super::merkle::Hash;
use super::note::{Note, NoteError, VerifierKey};

/// A tree head: the log's name, how many leaves it has and their root.
///
/// The extension lines of the specification are neither written nor read here: nobody audits them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's unique name: a URL without scheme, such as `verza.example/audit/2026`.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root hash of the tree of that size.
    pub root: Hash,
}

/// Why a checkpoint was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// Not exactly origin, size and root, each in its one spelling.
    Malformed,
    /// The note around it was refused.
    Note(NoteError),
    /// The note is signed, but not by a key of the log's own name.
    OtherOrigin,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a checkpoint of origin, size and root"),
            Self::Note(error) => error.fmt(f),
            Self::OtherOrigin => f.write_str("the checkpoint is not signed by its own log"),
        }
    }
}

impl std::error::Error for CheckpointError {}

impl From<NoteError> for CheckpointError {
    fn from(error: NoteError) -> Self {
        Self::Note(error)
    }
}

impl Checkpoint {
    /// The text to be signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads a note's text.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Malformed);
        };
        let root = STANDARD.decode(root).map_err(|_| CheckpointError::Malformed)?;
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| CheckpointError::Malformed)?,
            root: root.try_into().map_err(|_| CheckpointError::Malformed)?,
        };
        // Writing it again settles leading zeros, signs and further lines at once.
        if checkpoint.text() == text && !origin.is_empty() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Malformed)
        }
    }

    /// The checkpoint as the log publishes it, signed under the log's own name.
    pub fn sign(&self, key: &SigningKey) -> Result<Note, CheckpointError> {
        let text = self.text();
        // An origin with a newline in it would put its own size and root before the real ones.
        Self::parse(&text)?;
        let mut note = Note::new(text)?;
        note.sign(&self.origin, key)?;
        Ok(note)
    }

    /// Opens a published checkpoint. One of the keys must have signed it and bear the name of the
    /// origin; witnesses that are known as well must be right.
    pub fn open(note: &Note, known: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let signers = note.verify(known)?;
        let checkpoint = Self::parse(note.text())?;
        let is_own =
            |signer: &VerifierKey| signer.name() == checkpoint.origin && !signer.is_witness();
        if signers.iter().any(|signer| is_own(signer)) {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::OtherOrigin)
        }
    }
}
