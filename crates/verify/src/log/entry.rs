//! Leaves: commitments to audit rows, without personal data.
//!
//! An entry is the JCS text of `{"commitment", "hour", "type", "v"}`. The commitment is SHA-256
//! over a random salt followed by the JCS text of the whole row. Type and hour are coarse on
//! purpose: an entry is public, and says no more than that something of a kind happened.

use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::tile::ENTRY_LEN_MAX;
use crate::credential::jcs::{self, JsonError};
use crate::credential::timestamp::{self, TimestampError};

/// The version of the entry's form.
const VERSION: u64 = 1;

/// The type of the entry that records an issued credential.
pub const CREDENTIAL_ISSUED: &str = "credential.issued";

/// Where a row of type [`CREDENTIAL_ISSUED`] holds the hexadecimal [`credential_digest`], as a
/// JSON Pointer.
pub const CREDENTIAL_DIGEST_POINTER: &str = "/data/credentialSha256";

/// Random bytes that hide a row in its commitment. Deleting them erases the row from the log.
pub type Salt = [u8; 32];

/// One leaf of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// See [`commitment`].
    pub commitment: [u8; 32],
    /// What kind of thing happened: the verb of the row, such as `credential.issued`.
    pub kind: String,
    /// When, to the hour: `2026-11-22T10Z`.
    pub hour: String,
}

/// Why an entry could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryError {
    /// The row or the entry is not JSON of one meaning.
    Json(JsonError),
    /// The time has no written form.
    Time(TimestampError),
    /// Not an entry of this version in its one spelling, or too long for a tile.
    Malformed,
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Time(error) => error.fmt(f),
            Self::Malformed => f.write_str("not a log entry"),
        }
    }
}

impl std::error::Error for EntryError {}

impl From<JsonError> for EntryError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

/// SHA-256 over the salt and the canonical text of the row.
pub fn commitment(salt: &Salt, row: &Value) -> Result<[u8; 32], JsonError> {
    let row = jcs::canonicalize(row)?;
    Ok(Sha256::new().chain_update(salt).chain_update(row).finalize().into())
}

/// The hash by which a row names a credential: SHA-256 over the canonical text of the whole
/// credential, proofs included, so that it stands for one signed thing and no other.
pub fn credential_digest(secured: &Value) -> Result<[u8; 32], JsonError> {
    jcs::digest(secured)
}

impl Entry {
    /// The leaf for a row of this kind that was written at this time.
    pub fn new(
        salt: &Salt,
        row: &Value,
        kind: &str,
        unix_seconds: i64,
    ) -> Result<Self, EntryError> {
        let time = timestamp::format(unix_seconds).map_err(EntryError::Time)?;
        let (hour, _) = time.split_once(':').ok_or(EntryError::Malformed)?;
        Ok(Self {
            commitment: commitment(salt, row)?,
            kind: kind.to_owned(),
            hour: format!("{hour}Z"),
        })
    }

    /// The bytes that are hashed into the tree and served in bundles.
    pub fn encode(&self) -> Result<String, EntryError> {
        // Its members in JCS order; JCS escapes texts as this serializer does (RFC 8785, 3.2.2.2).
        let quoted = |text: &str| Value::from(text).to_string();
        let text = format!(
            r#"{{"commitment":"{}","hour":{},"type":{},"v":{VERSION}}}"#,
            hex::encode(self.commitment),
            quoted(&self.hour),
            quoted(&self.kind),
        );
        if text.len() <= ENTRY_LEN_MAX { Ok(text) } else { Err(EntryError::Malformed) }
    }

    /// Reads an entry, in no other spelling than [`Entry::encode`] gives it.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        let value = jcs::parse(text)?;
        let member = |name: &str| value[name].as_str().ok_or(EntryError::Malformed);
        let mut commitment = [0; 32];
        hex::decode_to_slice(member("commitment")?, &mut commitment)
            .map_err(|_| EntryError::Malformed)?;
        let entry = Self { commitment, kind: member("type")?.into(), hour: member("hour")?.into() };
        if entry.encode()? == text { Ok(entry) } else { Err(EntryError::Malformed) }
    }
}
