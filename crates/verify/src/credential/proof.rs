//! Data Integrity proofs by Ed25519: `eddsa-jcs-2022` and `eddsa-rdfc-2022`, W3C Data Integrity
//! EdDSA Cryptosuites 1.0 sections 3.2 and 3.3.
//!
//! Both suites sign 64 bytes: the hash of the canonical proof options, then the hash of the
//! canonical document. They differ in the canonical form alone. In a proof set (Data Integrity 1.0
//! section 2.1.1) each proof is over the document without any proof, so either can be dropped.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::jcs::{self, JsonError};
use super::rdfc::{self, RdfcError, Template};
use super::timestamp::{self, TimestampError};
use crate::key::multikey::PublicKey;

/// Longer text than any multibase form of 64 bytes.
const PROOF_VALUE_LEN_MAX: usize = 96;

/// How a document and a proof's options become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `eddsa-jcs-2022`: JCS, RFC 8785.
    Jcs,
    /// `eddsa-rdfc-2022`: RDFC-1.0, here for the documents of one template.
    Rdfc(Template),
}

impl Suite {
    /// The suite's registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jcs => "eddsa-jcs-2022",
            Self::Rdfc(_) => "eddsa-rdfc-2022",
        }
    }
}

/// Why a proof could not be made, read or confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// The document is not a JSON object, or already has a proof.
    Document,
    /// A member of the proof is missing, unknown or of another shape.
    Malformed(&'static str),
    /// The proof is by another cryptosuite than the one asked for.
    OtherSuite,
    /// The proof names other contexts than the document.
    OtherContext,
    /// The document or the options have no canonical JSON form.
    Json(JsonError),
    /// The document or the options are outside of the template.
    Rdf(RdfcError),
    /// The time has no signed form.
    Time(TimestampError),
    /// The signature is not this key's over this document.
    Signature,
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => f.write_str("the document is not an object without proof"),
            Self::Malformed(member) => write!(f, "the proof has no acceptable `{member}`"),
            Self::OtherSuite => f.write_str("the proof is by another cryptosuite"),
            Self::OtherContext => f.write_str("the proof names other contexts than the document"),
            Self::Json(error) => error.fmt(f),
            Self::Rdf(error) => error.fmt(f),
            Self::Time(error) => error.fmt(f),
            Self::Signature => f.write_str("the signature does not fit the document and the key"),
        }
    }
}

impl std::error::Error for ProofError {}

impl From<JsonError> for ProofError {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl From<RdfcError> for ProofError {
    fn from(error: RdfcError) -> Self {
        Self::Rdf(error)
    }
}

impl From<TimestampError> for ProofError {
    fn from(error: TimestampError) -> Self {
        Self::Time(error)
    }
}

/// What a proof says besides the signature.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a> {
    /// The absolute identifier of the signing key, `did:web:...#fragment`.
    pub verification_method: &'a str,
    /// When the proof was made, in seconds since the Unix epoch.
    pub created: i64,
}

/// A proof that lacks its signature. Where the private key lives elsewhere, its keeper signs
/// [`Draft::message`].
#[derive(Clone, Debug)]
pub struct Draft {
    options: Map<String, Value>,
    message: [u8; 64],
}

impl Draft {
    /// Prepares a proof over a document that carries none.
    pub fn new(suite: Suite, document: &Value, says: Statement<'_>) -> Result<Self, ProofError> {
        if document.as_object().is_none_or(|members| members.contains_key("proof")) {
            return Err(ProofError::Document);
        }
        let mut options = Map::new();
        options.insert("type".into(), "DataIntegrityProof".into());
        options.insert("cryptosuite".into(), suite.name().into());
        options.insert("created".into(), timestamp::format(says.created)?.into());
        options.insert("verificationMethod".into(), says.verification_method.into());
        options.insert("proofPurpose".into(), "assertionMethod".into());
        // The jcs suite binds the contexts through a copy of them; rdfc binds what they mean.
        if let (Suite::Jcs, Some(context)) = (suite, document.get("@context")) {
            options.insert("@context".into(), context.clone());
        }
        let message = hash_data(suite, document, &options)?;
        Ok(Self { options, message })
    }

    /// The 64 bytes that the key signs.
    pub fn message(&self) -> &[u8; 64] {
        &self.message
    }

    /// The finished proof.
    pub fn finish(self, signature: &[u8; 64]) -> Value {
        let mut proof = self.options;
        let proof_value = format!("z{}", bs58::encode(signature).into_string());
        proof.insert("proofValue".into(), proof_value.into());
        Value::Object(proof)
    }

    fn sign(self, key: &SigningKey) -> Value {
        let signature = key.sign(&self.message).to_bytes();
        self.finish(&signature)
    }
}

/// Secures a credential with a proof set of both suites, `eddsa-rdfc-2022` first.
pub fn sign(
    template: Template,
    document: Value,
    key: &SigningKey,
    says: Statement<'_>,
) -> Result<Value, ProofError> {
    let rdfc = Draft::new(Suite::Rdfc(template), &document, says)?.sign(key);
    let jcs = Draft::new(Suite::Jcs, &document, says)?.sign(key);
    attach(document, json!([rdfc, jcs]))
}

/// Secures any JSON object with one `eddsa-jcs-2022` proof.
pub fn seal(document: Value, key: &SigningKey, says: Statement<'_>) -> Result<Value, ProofError> {
    let proof = Draft::new(Suite::Jcs, &document, says)?.sign(key);
    attach(document, proof)
}

/// Puts a finished proof, or an array of them, into the document it was made over.
pub fn attach(mut document: Value, proof: Value) -> Result<Value, ProofError> {
    let members = document.as_object_mut().ok_or(ProofError::Document)?;
    members.insert("proof".into(), proof);
    Ok(document)
}

/// Takes a secured document apart: the document without `proof`, and its proofs.
pub fn split(secured: &Value) -> Result<(Value, Vec<Proof>), ProofError> {
    let mut members = secured.as_object().ok_or(ProofError::Document)?.clone();
    let proofs = match members.remove("proof") {
        Some(Value::Array(proofs)) => proofs.iter().map(Proof::read).collect::<Result<_, _>>()?,
        Some(proof) => vec![Proof::read(&proof)?],
        None => Vec::new(),
    };
    Ok((Value::Object(members), proofs))
}

/// A proof as found in a document. Nothing in it is known to be true before [`Proof::verify`].
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    options: Map<String, Value>,
    cryptosuite: String,
    verification_method: String,
    created: i64,
    signature: [u8; 64],
}

impl Proof {
    /// Reads a proof of type `DataIntegrityProof` for the purpose `assertionMethod`.
    ///
    /// Members beyond those that this module writes are refused. Each has a meaning that a
    /// verifier would have to honour (`expires`, `domain`, `challenge`, `previousProof`).
    pub fn read(proof: &Value) -> Result<Self, ProofError> {
        const KNOWN: [&str; 6] =
            ["@context", "type", "cryptosuite", "created", "verificationMethod", "proofPurpose"];
        let mut options = proof.as_object().ok_or(ProofError::Malformed("proof"))?.clone();
        let proof_value = options.remove("proofValue");
        if options.keys().any(|name| !KNOWN.contains(&name.as_str())) {
            return Err(ProofError::Malformed("proof"));
        }
        if text(&options, "type")? != "DataIntegrityProof" {
            return Err(ProofError::Malformed("type"));
        }
        if text(&options, "proofPurpose")? != "assertionMethod" {
            return Err(ProofError::Malformed("proofPurpose"));
        }
        let created = timestamp::parse(text(&options, "created")?)?;
        let signature = proof_value.as_ref().and_then(Value::as_str).and_then(decode_signature);
        Ok(Self {
            cryptosuite: text(&options, "cryptosuite")?.to_owned(),
            verification_method: text(&options, "verificationMethod")?.to_owned(),
            created,
            signature: signature.ok_or(ProofError::Malformed("proofValue"))?,
            options,
        })
    }

    /// The suite's name as the proof gives it.
    pub fn cryptosuite(&self) -> &str {
        &self.cryptosuite
    }

    /// The identifier of the key that is said to have signed.
    pub fn verification_method(&self) -> &str {
        &self.verification_method
    }

    /// When the proof says it was made, in seconds since the Unix epoch.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// Confirms that `key` made this proof over `document`, which carries no `proof` member.
    ///
    /// A proof by `eddsa-jcs-2022` must name exactly the document's contexts. The standard would
    /// accept a document with further contexts appended, and verify it as if they were not there;
    /// a reader that honours them would then see statements nobody signed.
    pub fn verify(
        &self,
        suite: Suite,
        document: &Value,
        key: &PublicKey,
    ) -> Result<(), ProofError> {
        if self.cryptosuite != suite.name() {
            return Err(ProofError::OtherSuite);
        }
        if suite == Suite::Jcs && self.options.get("@context") != document.get("@context") {
            return Err(ProofError::OtherContext);
        }
        let message = hash_data(suite, document, &self.options)?;
        if key.verify(&message, &self.signature) { Ok(()) } else { Err(ProofError::Signature) }
    }
}

/// The hash of the canonical options followed by that of the canonical document, sections 3.2.4
/// and 3.3.4.
fn hash_data(
    suite: Suite,
    document: &Value,
    options: &Map<String, Value>,
) -> Result<[u8; 64], ProofError> {
    let options = Value::Object(options.clone());
    Ok(match suite {
        Suite::Jcs => join_hashes(&jcs::canonicalize(&options)?, &jcs::canonicalize(document)?),
        Suite::Rdfc(template) => join_hashes(
            &rdfc::canonicalize_proof_options(&options)?,
            &rdfc::canonicalize(template, document)?,
        ),
    })
}

/// SHA-256 of the proof options, then SHA-256 of the document: in this order.
pub(super) fn join_hashes(canonical_options: &str, canonical_document: &str) -> [u8; 64] {
    let mut joined = [0; 64];
    joined[..32].copy_from_slice(&Sha256::digest(canonical_options));
    joined[32..].copy_from_slice(&Sha256::digest(canonical_document));
    joined
}

fn text<'a>(options: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, ProofError> {
    options.get(name).and_then(Value::as_str).ok_or(ProofError::Malformed(name))
}

fn decode_signature(proof_value: &str) -> Option<[u8; 64]> {
    let base58 = proof_value.strip_prefix('z').filter(|text| text.len() <= PROOF_VALUE_LEN_MAX)?;
    bs58::decode(base58).into_vec().ok()?.try_into().ok()
}
