//! The signed manifest of an exported list: what file it speaks of, and how the log stood then.
//!
//! ```text
//! verza.example/exports
//! /v1/admin/audit-logs?to=2026-11-01T00:00:00Z
//! jsonl
//! 2026-11-22T10:00:00Z
//! 1234 345678 kHzR...=
//! verza.example/audit/2026 70000 aBcD...=
//! ```
//!
//! Name, list with its filter and range, format, time; rows, bytes and SHA-256 of the file; and the
//! newest checkpoint of the log. It is a C2SP signed note by the log's key under a name of its own,
//! so that neither is ever taken for the other: whoever knows the log's vkey knows this one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::checkpoint::Checkpoint;
use super::note::{Note, NoteError, VerifierKey};

/// The last part of the name under which manifests are signed.
const NAME: &str = "exports";

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// `host/exports`.
    pub origin: String,
    /// The list's path, with the query that narrows it.
    pub list: String,
    /// `csv` or `jsonl`.
    pub format: String,
    /// RFC 3339, in UTC.
    pub made_at: String,
    /// Without a header.
    pub rows: u64,
    pub bytes: u64,
    pub sha256: [u8; 32],
    /// The log as it stood when the file was written; nothing before its first leaf.
    pub log: Option<Checkpoint>,
}

/// Why a manifest was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Not the lines of a manifest, each in its one spelling.
    Malformed,
    /// The note around it was refused.
    Note(NoteError),
    /// It is signed, but not by a key of a log of the same platform that the reader knows.
    Stranger,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not the manifest of an export"),
            Self::Note(error) => error.fmt(f),
            Self::Stranger => {
                f.write_str("the manifest is not signed by a log's key that is known")
            }
        }
    }
}

impl std::error::Error for ManifestError {}

impl From<NoteError> for ManifestError {
    fn from(error: NoteError) -> Self {
        Self::Note(error)
    }
}

/// The name under which the exports of a platform are signed, by its log's.
pub fn origin_beside(log: &str) -> Option<String> {
    let (host, _) = log.split_once("/audit/")?;
    Some(format!("{host}/{NAME}"))
}

impl Manifest {
    /// The text to be signed.
    pub fn text(&self) -> String {
        let Self { origin, list, format, made_at, rows, bytes, sha256, log } = self;
        let hash = STANDARD.encode(sha256);
        let log = log
            .as_ref()
            .map_or_else(|| "-".to_owned(), |log| log.text().trim_end().replace('\n', " "));
        format!("{origin}\n{list}\n{format}\n{made_at}\n{rows} {bytes} {hash}\n{log}\n")
    }

    /// Reads a note's text.
    ///
    /// # Errors
    /// [`ManifestError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let lines: Vec<&str> = text.lines().collect();
        let [origin, list, format, made_at, file, log] = lines[..] else {
            return Err(ManifestError::Malformed);
        };
        let read = || {
            let words: Vec<&str> = file.split(' ').collect();
            let [rows, bytes, hash] = words[..] else { return None };
            let log = match log {
                "-" => None,
                log => Some(Checkpoint::parse(&format!("{}\n", log.replace(' ', "\n"))).ok()?),
            };
            Some(Self {
                origin: origin.to_owned(),
                list: list.to_owned(),
                format: format.to_owned(),
                made_at: made_at.to_owned(),
                rows: rows.parse().ok()?,
                bytes: bytes.parse().ok()?,
                sha256: STANDARD.decode(hash).ok()?.try_into().ok()?,
                log,
            })
        };
        // Writing it again settles leading zeros and signs.
        let manifest = read().filter(|manifest| manifest.text() == text);
        manifest.ok_or(ManifestError::Malformed)
    }

    /// Opens a manifest that one of the logs' keys has signed under the manifest's own name.
    ///
    /// # Errors
    /// Any of them.
    pub fn open(note: &str, logs: &[VerifierKey]) -> Result<Self, ManifestError> {
        let note = Note::parse(note)?;
        let manifest = Self::parse(note.text())?;
        let own = logs.iter().filter(|log| !log.is_witness());
        let own = own.filter(|log| origin_beside(log.name()).as_ref() == Some(&manifest.origin));
        let keys = own.map(|log| VerifierKey::new(&manifest.origin, *log.public_key()));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(ManifestError::Stranger);
        }
        match note.verify(&keys) {
            Ok(signers) if signers.is_empty() => Err(ManifestError::Stranger),
            Ok(_) => Ok(manifest),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file is the one that the manifest speaks of: the first thing that differs.
    ///
    /// # Errors
    /// What differs, in words.
    pub fn check(&self, file: &[u8]) -> Result<(), String> {
        if file.len() as u64 != self.bytes {
            return Err(format!("the file has {} bytes, and not {}", file.len(), self.bytes));
        }
        let hash: [u8; 32] = Sha256::digest(file).into();
        if hash != self.sha256 {
            return Err("the file has another SHA-256".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;
    use crate::key::multikey::PublicKey;

    const LOG: &str = "verza.example/audit/2026";

    fn manifest() -> Manifest {
        Manifest {
            origin: "verza.example/exports".into(),
            list: "/v1/admin/audit-logs?to=2026-11-01T00%3A00%3A00Z".into(),
            format: "jsonl".into(),
            made_at: "2026-11-22T10:00:00Z".into(),
            rows: 2,
            bytes: 6,
            sha256: Sha256::digest(b"{}\n{}\n").into(),
            log: Some(Checkpoint { origin: LOG.into(), size: 70_000, root: [7; 32] }),
        }
    }

    fn signed(manifest: &Manifest, name: &str, key: &SigningKey) -> String {
        let mut note = Note::new(manifest.text()).unwrap();
        note.sign(name, key).unwrap();
        note.to_string()
    }

    #[test]
    fn a_manifest_is_opened_with_the_logs_key_and_speaks_of_one_file() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let log = VerifierKey::new(LOG, PublicKey::of(&key)).unwrap();
        let mut without = manifest();
        without.log = None;
        for manifest in [manifest(), without] {
            let note = signed(&manifest, "verza.example/exports", &key);
            let opened = Manifest::open(&note, std::slice::from_ref(&log)).unwrap();
            assert_eq!(opened, manifest);
            assert_eq!(opened.check(b"{}\n{}\n"), Ok(()));
            assert!(opened.check(b"{}\n{ }\n").is_err() && opened.check(b"{}\n[]\n").is_err());
            for place in 0..note.len() {
                let mut bytes = note.clone().into_bytes();
                bytes[place] ^= 1;
                let Ok(altered) = String::from_utf8(bytes) else { continue };
                assert!(Manifest::open(&altered, std::slice::from_ref(&log)).is_err(), "{place}");
            }
        }
        // Neither another platform's log, nor another key, nor the log's signature itself.
        let note = signed(&manifest(), "verza.example/exports", &key);
        let other = VerifierKey::new("b.example/audit/2026", PublicKey::of(&key)).unwrap();
        assert_eq!(Manifest::open(&note, &[other]), Err(ManifestError::Stranger));
        let stranger = PublicKey::of(&SigningKey::from_bytes(&[6; 32]));
        let other = VerifierKey::new(LOG, stranger).unwrap();
        assert!(Manifest::open(&note, &[other]).is_err());
        let as_log = signed(&manifest(), LOG, &key);
        assert!(Manifest::open(&as_log, std::slice::from_ref(&log)).is_err());
        assert!(Manifest::open(&note, &[]).is_err());
        let checkpoint = Checkpoint { origin: LOG.into(), size: 1, root: [1; 32] };
        let checkpoint = checkpoint.sign(&key).unwrap().to_string();
        assert!(Manifest::open(&checkpoint, &[log]).is_err(), "a checkpoint is no manifest");
    }
}
