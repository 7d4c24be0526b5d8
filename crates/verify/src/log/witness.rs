//! Witnesses: C2SP tlog-cosignature and tlog-witness, without the network between.
//!
//! A witness remembers the last tree that it saw of a log and signs a newer one only when the log
//! proves that the old one is its beginning. Two people who ask for the same witness's signature
//! cannot be shown two histories.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::Checkpoint;
use super::merkle::{self, Hash};
use super::note::{Note, VerifierKey};

/// The most hashes of a consistency proof (tlog-witness).
const HASHES_MAX: usize = 63;

/// The media type of a size, which is what 409 answers.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// The body of `add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the log believes the witness to have seen last.
    pub old_size: u64,
    /// That the old tree is the beginning of the new one.
    pub proof: Vec<Hash>,
    /// The new checkpoint.
    pub checkpoint: Note,
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a witness does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body cannot be read.
    Malformed,
    /// A log that the witness does not watch.
    UnknownLog,
    /// Not signed by the log.
    Signature,
    /// The witness has last seen another size, this one; or it has seen another tree of this very
    /// size, which is a fork.
    Conflict(u64),
    /// The new tree does not begin with the old one: somebody rewrote the past.
    Inconsistent,
}

impl Refusal {
    /// The status that tlog-witness gives it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::UnknownLog => 404,
            Self::Signature => 403,
            Self::Conflict(_) => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the request cannot be read"),
            Self::UnknownLog => f.write_str("this log is not watched here"),
            Self::Signature => f.write_str("the checkpoint is not signed by its log"),
            Self::Conflict(size) => writeln!(f, "{size}"),
            Self::Inconsistent => f.write_str("the tree does not begin with the one seen before"),
        }
    }
}

impl std::error::Error for Refusal {}

/// The last tree that was seen of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub size: u64,
    pub root: Hash,
}

impl Seen {
    /// What every witness has seen of a log of which it has seen nothing.
    fn nothing() -> Self {
        Self { size: 0, root: merkle::empty_root() }
    }
}

impl AddCheckpoint {
    /// Reads the body.
    pub fn parse(body: &str) -> Result<Self, Refusal> {
        let (head, checkpoint) = body.split_once("\n\n").ok_or(Refusal::Malformed)?;
        let mut lines = head.split('\n');
        let size = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size: u64 = size.and_then(|size| size.parse().ok()).ok_or(Refusal::Malformed)?;
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let proof: Option<Vec<Hash>> = lines.take(HASHES_MAX + 1).map(hash).collect();
        let proof = proof.filter(|proof| proof.len() <= HASHES_MAX).ok_or(Refusal::Malformed)?;
        let checkpoint = Note::parse(checkpoint).map_err(|_| Refusal::Malformed)?;
        let read = Self { old_size, proof, checkpoint };
        // Writing it again settles leading zeros and signs.
        if body.starts_with(&format!("old {old_size}\n")) {
            Ok(read)
        } else {
            Err(Refusal::Malformed)
        }
    }

    /// Whether a witness that knows these keys of logs, and has seen this of the log, may sign.
    /// What it answers must be kept before the signature is handed out, and nothing else may be
    /// decided about the log in between.
    pub fn decide(
        &self,
        logs: &[VerifierKey],
        seen: impl FnOnce(&str) -> Option<Seen>,
    ) -> Result<Checkpoint, Refusal> {
        let unchecked =
            Checkpoint::parse(self.checkpoint.text()).map_err(|_| Refusal::Malformed)?;
        if logs.iter().all(|key| key.name() != unchecked.origin) {
            return Err(Refusal::UnknownLog);
        }
        let new = Checkpoint::open(&self.checkpoint, logs).map_err(|_| Refusal::Signature)?;
        if self.old_size > new.size {
            return Err(Refusal::Malformed);
        }
        let old = seen(&new.origin).unwrap_or_else(Seen::nothing);
        if old.size != self.old_size || (old.size == new.size && old.root != new.root) {
            return Err(Refusal::Conflict(old.size));
        }
        // The empty tree is the beginning of every other, and no proof says so.
        let follows = match old.size {
            0 => self.proof.is_empty(),
            size => merkle::verify_consistency(size, &old.root, new.size, &new.root, &self.proof)
                .is_ok(),
        };
        if follows { Ok(new) } else { Err(Refusal::Inconsistent) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::key::multikey::PublicKey;
    use crate::log::checkpoint::CheckpointError;
    use crate::log::merkle::{Edge, Node};
    use crate::log::note::{NoteError, Signature};
    use crate::sample;

    const ORIGIN: &str = "verza.example/audit/2026";
    const WITNESS: &str = "witness.example";

    struct Tree(HashMap<Node, Hash>);

    impl merkle::HashReader for Tree {
        fn hash(&self, node: Node) -> Option<Hash> {
            self.0.get(&node).copied()
        }
    }

    /// A tree of this many leaves, and every hash in it.
    fn tree(size: u64, salt: u8) -> (Edge, Tree) {
        let (mut edge, mut nodes) = (Edge::empty(), HashMap::new());
        for leaf in 0..size {
            let leaf = merkle::leaf_hash(&[leaf as u8, if leaf < 3 { salt } else { 0 }]);
            nodes.extend(edge.append(leaf));
        }
        (edge, Tree(nodes))
    }

    fn checkpoint(edge: &Edge) -> Note {
        let checkpoint =
            Checkpoint { origin: ORIGIN.to_owned(), size: edge.size(), root: edge.root() };
        checkpoint.sign(&sample::key()).unwrap()
    }

    fn logs() -> Vec<VerifierKey> {
        vec![VerifierKey::new(ORIGIN, PublicKey::of(&sample::key())).unwrap()]
    }

    fn add(from: u64, to: u64) -> AddCheckpoint {
        let (edge, nodes) = tree(to, 0);
        let proof = match from {
            0 => Vec::new(),
            _ => merkle::consistency_proof(&nodes, from, to).unwrap(),
        };
        AddCheckpoint { old_size: from, proof, checkpoint: checkpoint(&edge) }
    }

    fn seen(size: u64, salt: u8) -> Option<Seen> {
        let (edge, _) = tree(size, salt);
        (size > 0).then(|| Seen { size, root: edge.root() })
    }

    #[test]
    fn a_log_that_only_grows_is_signed() {
        for (from, to) in [(0, 1), (0, 7), (1, 1), (3, 7), (4, 8), (7, 20), (20, 20)] {
            let request = add(from, to);
            let read = AddCheckpoint::parse(&request.to_string()).unwrap();
            assert_eq!(read, request);
            let decided = read.decide(&logs(), |_| seen(from, 0)).unwrap();
            assert_eq!(decided.size, to, "{from} to {to}");
        }
    }

    #[test]
    fn a_rewritten_past_is_not_signed() {
        let request = add(3, 7);
        assert_eq!(request.decide(&logs(), |_| seen(3, 1)), Err(Refusal::Inconsistent));
        let (edge, _) = tree(3, 1);
        let same = AddCheckpoint { old_size: 3, proof: vec![], checkpoint: checkpoint(&edge) };
        assert_eq!(
            same.decide(&logs(), |_| seen(3, 0)),
            Err(Refusal::Conflict(3)),
            "two of a size"
        );
        assert_eq!(request.decide(&logs(), |_| seen(5, 0)), Err(Refusal::Conflict(5)));
        assert_eq!(request.decide(&[], |_| None), Err(Refusal::UnknownLog));
        let stranger = PublicKey::of(&SigningKey::from_bytes(&[7; 32]));
        let other = [VerifierKey::new(ORIGIN, stranger).unwrap()];
        assert_eq!(request.decide(&other, |_| seen(3, 0)), Err(Refusal::Signature));
        let good = add(0, 1).to_string();
        let spelled = |old: &str| good.replace("old 0", old);
        for body in
            ["", "old 1", "old x\n\n", "old 1\n!\n\nx", &spelled("old +0"), &spelled("old 00")]
        {
            assert_eq!(AddCheckpoint::parse(body), Err(Refusal::Malformed), "{body}");
        }
        let (edge, _) = tree(0, 0);
        let mut empty = Checkpoint { origin: ORIGIN.to_owned(), size: 0, root: edge.root() };
        let mut asked = add(0, 1);
        asked.checkpoint = empty.sign(&sample::key()).unwrap();
        assert!(asked.decide(&logs(), |_| None).is_ok());
        empty.root = [1; 32];
        asked.checkpoint = empty.sign(&sample::key()).unwrap();
        assert_eq!(asked.decide(&logs(), |_| None), Err(Refusal::Conflict(0)), "no empty tree");
    }

    #[test]
    fn a_cosignature_says_when_and_is_of_one_checkpoint() {
        let key = SigningKey::from_bytes(&[8; 32]);
        let own = VerifierKey::witness(WITNESS, PublicKey::of(&key)).unwrap();
        assert_eq!(VerifierKey::parse(&own.to_string()), Ok(own.clone()));
        assert!(own.is_witness());
        let (edge, _) = tree(7, 0);
        let mut note = checkpoint(&edge);
        assert_eq!(note.cosigned_at(&own), Ok(None));
        let line = note.cosign(WITNESS, &key, 1_795_341_600).unwrap();
        assert_eq!(Signature::parse(line.to_string().trim_end()), Ok(line.clone()));
        let signed = Note::parse(&note.to_string()).unwrap();
        assert_eq!(signed.cosigned_at(&own), Ok(Some(1_795_341_600)));
        assert!(Checkpoint::open(&signed, &logs()).is_ok(), "the log's own signature still counts");
        let both = [logs(), vec![own.clone()]].concat();
        assert!(Checkpoint::open(&signed, &both).is_ok());
        let (edge, _) = tree(8, 0);
        let moved = Note::parse(&format!("{}{line}", checkpoint(&edge))).unwrap();
        assert_eq!(moved.cosigned_at(&own), Err(NoteError::Signature));
        assert!(Checkpoint::open(&moved, &both).is_err());
    }

    #[test]
    fn a_witness_of_the_logs_own_name_is_not_the_log() {
        let key = SigningKey::from_bytes(&[8; 32]);
        let (edge, _) = tree(7, 0);
        let own = Checkpoint { origin: ORIGIN.to_owned(), size: 7, root: edge.root() };
        let mut note = Note::new(own.text()).unwrap();
        note.cosign(ORIGIN, &key, 1).unwrap();
        let known = [VerifierKey::witness(ORIGIN, PublicKey::of(&key)).unwrap()];
        assert!(note.verify(&known).is_ok());
        assert_eq!(Checkpoint::open(&note, &known), Err(CheckpointError::OtherOrigin));
    }
}
