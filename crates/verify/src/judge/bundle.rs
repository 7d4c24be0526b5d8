//! The bundle: one JSON file with everything that judging a verdict takes.
//!
//! ```json
//! {
//!   "format": "verza-bundle/1",
//!   "exportedAt": "2026-11-22T10:00:00Z",
//!   "credential": {}, "didDocument": {}, "statusList": {},
//!   "documentSalt": "64 hexadecimal digits, where the holder may show the document",
//!   "logProof": "c2sp.org/tlog-proof@v1 ...", "logEntry": "{...}", "logKey": "name+id+key",
//!   "logCommitment": { "salt": "64 hexadecimal digits", "row": {} },
//!   "proof": {}
//! }
//! ```
//!
//! The four `log` members stand together or not at all. The proof (`eddsa-jcs-2022`, by a key of
//! the credential's issuer) is over the whole file: most parts are signed on their own, but not
//! the DID document, nor that these parts belong together.

use std::fmt;

use ed25519_dalek::SigningKey;
use serde_json::{Map, Value, json};

use crate::credential::proof::{self, ProofError, Statement};
use crate::credential::timestamp::{self, TimestampError};

/// The value of `format`.
pub const FORMAT: &str = "verza-bundle/1";

/// The parts of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// The verdict credential with its proofs.
    pub credential: Value,
    /// The issuer's DID document as of the export.
    pub did_document: Value,
    /// The newest edition of the status list that the credential names.
    pub status_list: Value,
    /// The salt of the evidence's name, by which a document is compared.
    pub document_salt: Option<[u8; 32]>,
    /// Where the issuance stands in the transparency log, once it does.
    pub log: Option<LogEvidence>,
    /// When the bundle was put together, in seconds since the Unix epoch.
    pub exported_at: i64,
}

/// That a credential's issuance was logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEvidence {
    /// The text of a C2SP tlog-proof.
    pub proof: String,
    /// The leaf's bytes, which are text.
    pub entry: String,
    /// What opens the leaf's commitment.
    pub salt: [u8; 32],
    /// The row that the leaf commits to.
    pub row: Value,
    /// The log's key as a vkey.
    pub key: String,
}

/// Why a bundle could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// A member is missing, unknown, or of another shape.
    Member(String),
    /// The seal could not be made.
    Proof(ProofError),
    /// The time of export has no written form.
    Time(TimestampError),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(name) => write!(f, "the bundle's member `{name}` is not as it must be"),
            Self::Proof(error) => error.fmt(f),
            Self::Time(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BundleError {}

impl Bundle {
    /// The finished file, sealed at `exported_at` by the issuer's key of this identifier.
    pub fn seal(&self, key: &SigningKey, verification_method: &str) -> Result<Value, BundleError> {
        let says = Statement { verification_method, created: self.exported_at };
        proof::seal(self.to_json().map_err(BundleError::Time)?, key, says)
            .map_err(BundleError::Proof)
    }

    fn to_json(&self) -> Result<Value, TimestampError> {
        let mut bundle = json!({
            "format": FORMAT,
            "exportedAt": timestamp::format(self.exported_at)?,
            "credential": self.credential,
            "didDocument": self.did_document,
            "statusList": self.status_list,
        });
        if let Some(salt) = &self.document_salt {
            bundle["documentSalt"] = hex::encode(salt).into();
        }
        if let Some(log) = &self.log {
            bundle["logProof"] = log.proof.as_str().into();
            bundle["logEntry"] = log.entry.as_str().into();
            bundle["logKey"] = log.key.as_str().into();
            bundle["logCommitment"] = json!({ "salt": hex::encode(log.salt), "row": log.row });
        }
        Ok(bundle)
    }

    /// Reads the parts; the seal is checked apart.
    pub fn parse(bundle: &Value) -> Result<Self, BundleError> {
        let mut members = Members::of(bundle);
        if members.text("format")? != FORMAT {
            return Err(refuse("format"));
        }
        members.object("proof")?;
        let parsed = Self {
            credential: members.object("credential")?,
            did_document: members.object("didDocument")?,
            status_list: members.object("statusList")?,
            document_salt: match members.0.contains_key("documentSalt") {
                true => Some(members.salt("documentSalt")?),
                false => None,
            },
            exported_at: timestamp::parse(&members.text("exportedAt")?)
                .map_err(|_| refuse("exportedAt"))?,
            log: match members.0.contains_key("logProof") {
                true => Some(members.log()?),
                false => None,
            },
        };
        members.finish()?;
        Ok(parsed)
    }
}

pub(super) fn refuse(name: &str) -> BundleError {
    BundleError::Member(name.to_owned())
}

/// The members of an object that have not been read yet.
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// Of what is no object there are none.
    pub(super) fn of(value: &Value) -> Self {
        Self(value.as_object().cloned().unwrap_or_default())
    }

    pub(super) fn maybe_text(&mut self, name: &str) -> Result<Option<String>, BundleError> {
        if self.0.contains_key(name) { self.text(name).map(Some) } else { Ok(None) }
    }

    /// A SHA-256 in lower case hexadecimal.
    pub(super) fn maybe_digest(&mut self, name: &str) -> Result<Option<String>, BundleError> {
        if !self.0.contains_key(name) {
            return Ok(None);
        }
        self.salt(name).map(|digest| Some(hex::encode(digest)))
    }

    /// A whole number that is not negative.
    pub(super) fn number(&mut self, name: &str) -> Result<i64, BundleError> {
        let number = self.0.remove(name).and_then(|value| value.as_i64());
        number.filter(|number| *number >= 0).ok_or_else(|| refuse(name))
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, BundleError> {
        match self.0.remove(name) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(refuse(name)),
        }
    }

    /// An object that need not be there.
    pub(super) fn maybe<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, BundleError>,
    ) -> Result<Option<T>, BundleError> {
        if !self.0.contains_key(name) {
            return Ok(None);
        }
        read(self.object(name)?).map(Some)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String, BundleError> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(refuse(name)),
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Value, BundleError> {
        self.0.remove(name).filter(Value::is_object).ok_or_else(|| refuse(name))
    }

    pub(super) fn salt(&mut self, name: &str) -> Result<[u8; 32], BundleError> {
        let text = self.text(name)?;
        let mut salt = [0; 32];
        hex::decode_to_slice(&text, &mut salt).map_err(|_| refuse(name))?;
        // Upper case digits would be a second spelling of the same salt.
        if hex::encode(salt) == text { Ok(salt) } else { Err(refuse(name)) }
    }

    fn log(&mut self) -> Result<LogEvidence, BundleError> {
        let Value::Object(commitment) = self.object("logCommitment")? else {
            return Err(refuse("logCommitment"));
        };
        let mut commitment = Self(commitment);
        let log = LogEvidence {
            proof: self.text("logProof")?,
            entry: self.text("logEntry")?,
            key: self.text("logKey")?,
            salt: commitment.salt("salt")?,
            row: commitment.object("row")?,
        };
        commitment.finish()?;
        Ok(log)
    }

    pub(super) fn finish(&self) -> Result<(), BundleError> {
        self.0.keys().next().map_or(Ok(()), |name| Err(refuse(name)))
    }
}
