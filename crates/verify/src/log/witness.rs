//! Witnesses: C2SP tlog-cosignature and tlog-witness, without the network between.
//!
//! A witness remembers the last tree that it saw of a log and signs a newer one only when the log
//! proves that the old one is its beginning. Two people who ask for the same witness's signature
//! cannot be shown two histories.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

use super::checkpoint::Checkpoint;
use super::merkle::{self, Hash};
use super::note::{Note, NoteError, Signature, VerifierKey};
use crate::key::multikey::PublicKey;

/// The signature type of a timestamped Ed25519 cosignature.
const COSIGNATURE: u8 = 0x04;
/// The most hashes of a consistency proof (tlog-witness).
const HASHES_MAX: usize = 63;

/// The key of a witness, as those who rely on it write it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    key: PublicKey,
}

impl WitnessKey {
    /// The key of this name.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, NoteError> {
        // The rules of names are those of every note's key.
        VerifierKey::new(name, key)?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// Reads `name+hex(id)+base64(0x04 || key)`; the id must be that of name and key.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&COSIGNATURE, point)) = bytes.split_first() else { return Err(NoteError::Key) };
        let point = point.try_into().map_err(|_| NoteError::Key)?;
        let parsed = Self::new(name, PublicKey::from_bytes(point).map_err(|_| NoteError::Key)?)?;
        if id == hex::encode(parsed.id()) { Ok(parsed) } else { Err(NoteError::Key) }
    }

    /// The witness's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', COSIGNATURE])
            .chain_update(self.key.to_bytes())
            .finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// When this witness signed the note, in seconds since the Unix epoch; nothing where it did
    /// not. A signature that claims to be its and does not fit is an error.
    pub fn signed_at(&self, note: &Note) -> Result<Option<u64>, NoteError> {
        let own = |one: &&Signature| one.name == self.name && one.id == self.id();
        let Some(found) = note.signatures().iter().find(own) else { return Ok(None) };
        let (time, signature) = found.bytes.split_first_chunk().ok_or(NoteError::Signature)?;
        let time = u64::from_be_bytes(*time);
        let signature = signature.try_into().map_err(|_| NoteError::Signature)?;
        let fits = self.key.verify(message(note.text(), time).as_bytes(), signature);
        if fits { Ok(Some(time)) } else { Err(NoteError::Signature) }
    }
}

impl fmt::Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[COSIGNATURE][..], &self.key.to_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(bytes))
    }
}

fn message(checkpoint: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{checkpoint}")
}

/// The signature line of a witness over a checkpoint at a time.
pub fn cosign(
    checkpoint: &Note,
    name: &str,
    key: &SigningKey,
    time: u64,
) -> Result<Signature, NoteError> {
    let own = WitnessKey::new(name, PublicKey::of(key))?;
    let signature = key.sign(message(checkpoint.text(), time).as_bytes()).to_bytes();
    let bytes = [&time.to_be_bytes()[..], &signature].concat();
    Ok(Signature { id: own.id(), name: own.name, bytes })
}

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
    /// The witness has last seen another size, this one.
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
            Self::Conflict(size) => write!(f, "{size}"),
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

impl AddCheckpoint {
    /// Reads the body.
    pub fn parse(body: &str) -> Result<Self, Refusal> {
        let (head, checkpoint) = body.split_once("\n\n").ok_or(Refusal::Malformed)?;
        let mut lines = head.split('\n');
        let size = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size: u64 = size.and_then(|size| size.parse().ok()).ok_or(Refusal::Malformed)?;
        let hash = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let proof: Option<Vec<Hash>> = lines.map(hash).collect();
        let proof = proof.filter(|proof| proof.len() <= HASHES_MAX).ok_or(Refusal::Malformed)?;
        let checkpoint = Note::parse(checkpoint).map_err(|_| Refusal::Malformed)?;
        Ok(Self { old_size, proof, checkpoint })
    }

    /// Whether a witness that knows these keys of logs, and has seen this of the log, may sign.
    /// What it answers must be kept before the signature is handed out.
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
        let seen = seen(&new.origin);
        let last = seen.map_or(0, |seen| seen.size);
        if last != self.old_size {
            return Err(Refusal::Conflict(last));
        }
        match seen {
            Some(old) if old.size > 0 => {
                let Seen { size, root } = old;
                merkle::verify_consistency(size, &root, new.size, &new.root, &self.proof)
                    .map_err(|_| Refusal::Inconsistent)?;
            }
            _ if !self.proof.is_empty() => return Err(Refusal::Inconsistent),
            _ => {}
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::merkle::{Edge, Node};
    use crate::sample;
    use std::collections::HashMap;

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
        assert_eq!(same.decide(&logs(), |_| seen(3, 0)), Err(Refusal::Inconsistent));
        assert_eq!(request.decide(&logs(), |_| seen(5, 0)), Err(Refusal::Conflict(5)));
        assert_eq!(request.decide(&[], |_| None), Err(Refusal::UnknownLog));
        let stranger = PublicKey::of(&SigningKey::from_bytes(&[7; 32]));
        let other = [VerifierKey::new(ORIGIN, stranger).unwrap()];
        assert_eq!(request.decide(&other, |_| seen(3, 0)), Err(Refusal::Signature));
        for body in ["", "old 1", "old x\n\n", "old 1\n!\n\nx"] {
            assert_eq!(AddCheckpoint::parse(body), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn a_cosignature_says_when_and_is_of_one_checkpoint() {
        let key = SigningKey::from_bytes(&[8; 32]);
        let own = WitnessKey::new(WITNESS, PublicKey::of(&key)).unwrap();
        assert_eq!(WitnessKey::parse(&own.to_string()), Ok(own.clone()));
        let (edge, _) = tree(7, 0);
        let note = checkpoint(&edge);
        assert_eq!(own.signed_at(&note), Ok(None));
        let line = cosign(&note, WITNESS, &key, 1_795_341_600).unwrap();
        let signed = Note::parse(&format!("{note}{line}")).unwrap();
        assert_eq!(own.signed_at(&signed), Ok(Some(1_795_341_600)));
        assert!(Checkpoint::open(&signed, &logs()).is_ok(), "the log's own signature still counts");
        let (edge, _) = tree(8, 0);
        let moved = Note::parse(&format!("{}{line}", checkpoint(&edge))).unwrap();
        assert_eq!(own.signed_at(&moved), Err(NoteError::Signature));
    }
}
