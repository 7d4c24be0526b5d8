//! Signed notes, C2SP signed-note: text, and lines by keys that a reader knows or ignores.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

use crate::key::multikey::PublicKey;

/// The signature type of plain Ed25519.
const ED25519: u8 = 0x01;

/// The most signature lines that are read. The specification asks for 16 at the least.
const SIGNATURES_MAX: usize = 100;

/// A key in the form `name+id+key` ("vkey") by which a log's or witness's signatures are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
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
    /// The key of this name.
    pub fn new(name: &str, key: PublicKey) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// Reads `name+hex(id)+base64(type || key)`; the id must be that of name and key.
    pub fn parse(vkey: &str) -> Result<Self, NoteError> {
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&ED25519, point)) = bytes.split_first() else { return Err(NoteError::Key) };
        let point = point.try_into().map_err(|_| NoteError::Key)?;
        let key = PublicKey::from_bytes(point).map_err(|_| NoteError::Key)?;
        let parsed = Self::new(name, key)?;
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

    /// The first four bytes of SHA-256 over name, newline, type and key. A hint, not a proof.
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.to_bytes())
            .finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(&self.key.to_bytes());
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
        let signature = key.sign(self.text.as_bytes()).to_bytes();
        self.add(VerifierKey::new(name, PublicKey::of(key))?, &signature)
    }

    /// Adds an Ed25519 signature made elsewhere over [`Note::text`].
    pub fn add(&mut self, key: VerifierKey, signature: &[u8; 64]) -> Result<(), NoteError> {
        if !key.key.verify(self.text.as_bytes(), signature) {
            return Err(NoteError::Signature);
        }
        let id = key.id();
        self.signatures.push(Signature { name: key.name, id, bytes: signature.to_vec() });
        Ok(())
    }

    /// The known keys that signed, each once.
    ///
    /// Signatures of unknown keys are ignored. One that claims a known key and does not fit fails
    /// the whole note.
    pub fn verify<'k>(&self, known: &'k [VerifierKey]) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signers: Vec<&VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let claims =
                |key: &&VerifierKey| key.name == signature.name && key.id() == signature.id;
            let Some(key) = known.iter().find(claims) else { continue };
            let bytes = signature.bytes.as_slice().try_into().map_err(|_| NoteError::Signature)?;
            if !key.key.verify(self.text.as_bytes(), bytes) {
                return Err(NoteError::Signature);
            }
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::NoKnownKey) } else { Ok(signers) }
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
