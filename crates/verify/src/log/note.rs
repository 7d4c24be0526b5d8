//! Signed notes, C2SP signed-note: text, and lines by keys that a reader knows or ignores.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

use crate::key::multikey::PublicKey;

/// What a key signs, by the byte that stands in its vkey and goes into its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The text itself, plain Ed25519: a log's signature.
    Plain = 0x01,
    /// The text under a time, C2SP tlog-cosignature: a witness's.
    Cosignature = 0x04,
}

/// The most signature lines that are read. The specification asks for 16 at the least.
const SIGNATURES_MAX: usize = 100;

/// A key in the form `name+id+key` ("vkey") by which a log's or witness's signatures are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: Kind,
    key: PublicKey,
}

/// Why a key, a text or a note was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// Not a usable Ed25519 vkey.
    Key,
    /// A key name is empty or has a space or plus sign in it.
    Name,
    /// The text does not end in a newline or has control characters in it.
    Text,
    /// Not text, blank line and signature lines.
    Malformed,
    /// A known key's signature does not fit the text.
    Signature,
    /// No known key has signed.
    NoKnownKey,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "not an Ed25519 verifier key",
            Self::Name => "a key name must not be empty nor contain spaces or plus signs",
            Self::Text => "a note's text must end in a newline and have no control characters",
            Self::Malformed => "not a signed note",
            Self::Signature => "a known key's signature does not fit the note",
            Self::NoKnownKey => "the note is not signed by a known key",
        })
    }
}

impl std::error::Error for NoteError {}

impl VerifierKey {
    /// The key of a log, or of whoever else signs notes as they stand.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, NoteError> {
        Self::of(name, Kind::Plain, key)
    }

    /// The key of a witness.
    pub fn witness(name: &str, key: PublicKey) -> Result<Self, NoteError> {
        Self::of(name, Kind::Cosignature, key)
    }

    fn of(name: &str, kind: Kind, key: PublicKey) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        Ok(Self { name: name.to_owned(), kind, key })
    }

    /// Reads `name+hex(id)+base64(type || key)`; the id must be that of name and key.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let (kind, point) = bytes.split_first().ok_or(NoteError::Key)?;
        let mut kinds = [Kind::Plain, Kind::Cosignature].into_iter();
        let kind = kinds.find(|one| *one as u8 == *kind).ok_or(NoteError::Key)?;
        let point = point.try_into().map_err(|_| NoteError::Key)?;
        let key = PublicKey::from_bytes(point).map_err(|_| NoteError::Key)?;
        let parsed = Self::of(name, kind, key)?;
        if id == hex::encode(parsed.id()) { Ok(parsed) } else { Err(NoteError::Key) }
    }

    /// The key's name; a log's is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether it is a witness's: its signature says when a tree was seen, not whose it is.
    pub fn is_witness(&self) -> bool {
        self.kind == Kind::Cosignature
    }

    /// The first four bytes of SHA-256 over name, newline, type and key. A hint, not a proof.
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', self.kind as u8])
            .chain_update(self.key.to_bytes())
            .finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Whether a line claims to be this key's.
    fn is_named_by(&self, signature: &Signature) -> bool {
        self.name == signature.name && self.id() == signature.id
    }

    /// Whether the bytes are this key's signature over the text; a witness's says when, in seconds
    /// since the Unix epoch.
    fn check(&self, text: &str, bytes: &[u8]) -> Result<Option<u64>, NoteError> {
        let refused = NoteError::Signature;
        let (message, time, signature) = match self.kind {
            Kind::Plain => (text.to_owned(), None, bytes),
            Kind::Cosignature => {
                let (time, signature) = bytes.split_first_chunk().ok_or(refused)?;
                let time = u64::from_be_bytes(*time);
                // The time is signed in decimal, and the specification ends it at 2^63 - 1.
                i64::try_from(time).map_err(|_| refused)?;
                (cosigned(text, time), Some(time), signature)
            }
        };
        let signature = signature.try_into().map_err(|_| refused)?;
        if self.key.verify(message.as_bytes(), signature) { Ok(time) } else { Err(refused) }
    }
}

/// What a witness signs: tlog-cosignature, "Ed25519 signed message".
fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.kind as u8][..], &self.key.to_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(bytes))
    }
}

/// One signature line, whoever made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: [u8; 4],
    /// What follows the id: 64 bytes for plain Ed25519, else whatever the type says.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// Reads a line, without its newline.
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        parse_signature(line).ok_or(NoteError::Malformed)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_slice(), &self.bytes].concat();
        writeln!(f, "\u{2014} {} {}", self.name, STANDARD.encode(bytes))
    }
}

/// A text with its signatures. [`Note::verify`] tells whether to believe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// An unsigned note, to be signed before it is shown.
    pub fn new(text: String) -> Result<Self, NoteError> {
        if !is_text(&text) {
            return Err(NoteError::Text);
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note. The text is whatever stands before the last blank line.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        if !is_text(text) || !lines.ends_with('\n') {
            return Err(NoteError::Malformed);
        }
        let signatures: Vec<Signature> = lines
            .split_terminator('\n')
            .take(SIGNATURES_MAX + 1)
            .map(|line| parse_signature(line).ok_or(NoteError::Malformed))
            .collect::<Result<_, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Malformed);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The signed text, with its final newline. Not to be trusted before [`Note::verify`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, known and unknown.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Signs with a key held here.
    pub fn sign(&mut self, name: &str, key: &SigningKey) -> Result<(), NoteError> {
        let bytes = key.sign(self.text.as_bytes()).to_bytes().to_vec();
        self.add(&VerifierKey::new(name, PublicKey::of(key))?, bytes)
    }

    /// Signs as a witness that sees this note at `time`, in seconds since the Unix epoch, and
    /// answers the line that it adds.
    pub fn cosign(
        &mut self,
        name: &str,
        key: &SigningKey,
        time: u64,
    ) -> Result<Signature, NoteError> {
        let signature = key.sign(cosigned(&self.text, time).as_bytes()).to_bytes();
        let bytes = [&time.to_be_bytes()[..], &signature].concat();
        let own = VerifierKey::witness(name, PublicKey::of(key))?;
        self.add(&own, bytes.clone())?;
        Ok(Signature { id: own.id(), name: own.name, bytes })
    }

    /// Adds a signature made elsewhere over [`Note::text`]: what follows the id in its line.
    pub fn add(&mut self, key: &VerifierKey, bytes: Vec<u8>) -> Result<(), NoteError> {
        key.check(&self.text, &bytes)?;
        self.signatures.push(Signature { name: key.name.clone(), id: key.id(), bytes });
        Ok(())
    }

    /// The known keys that signed, each once.
    ///
    /// Signatures of unknown keys are ignored. One that claims a known key and does not fit fails
    /// the whole note.
    pub fn verify<'k>(&self, known: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signers: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let Some(key) = known.iter().find(|key| key.is_named_by(signature)) else { continue };
            key.check(&self.text, &signature.bytes)?;
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::NoKnownKey) } else { Ok(signers) }
    }

    /// When this witness last signed the note, in seconds since the Unix epoch; nothing where it
    /// did not. A signature that claims to be its and does not fit is an error.
    pub fn cosigned_at(&self, witness: &VerifierKey) -> Result<Option<u64>, NoteError> {
        let own = self.signatures.iter().filter(|signature| witness.is_named_by(signature));
        let times = own.map(|signature| witness.check(&self.text, &signature.bytes));
        Ok(times.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().max())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

fn is_text(text: &str) -> bool {
    text.ends_with('\n') && !text.contains(|c: char| c < ' ' && c != '\n')
}

fn parse_signature(line: &str) -> Option<Signature> {
    let (name, base64) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = STANDARD.decode(base64).ok()?;
    let (id, bytes) = bytes.split_first_chunk()?;
    if !is_name(name) || bytes.is_empty() {
        return None;
    }
    Some(Signature { name: name.to_owned(), id: *id, bytes: bytes.to_vec() })
}
