//! What a reader believes beforehand, and how far that carries a key found in a file.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::credential::jcs;
use crate::jose::es256;
use crate::jose::jws::Key;
use crate::jose::x5c::Anchor;
use crate::key::did::{self, DidError};
use crate::key::multikey::PublicKey;
use crate::log::note::VerifierKey;

/// Keys that the reader has from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    did_documents: Vec<Value>,
    keys: Vec<PublicKey>,
    log_keys: Vec<VerifierKey>,
    witnesses: Vec<VerifierKey>,
    issuers: Vec<Value>,
    anchors: Vec<Anchor>,
    /// What the reader knows to have been signed, by its digest, and when.
    recorded: BTreeMap<[u8; 32], i64>,
}

/// A text that is none of the forms of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPin;

impl fmt::Display for NotAPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a pin is a did.json, JWT VC issuer metadata, an Ed25519 Multikey (z6Mk...), a PEM \
             certificate, or vkeys of logs and witnesses",
        )
    }
}

impl std::error::Error for NotAPin {}

impl Trust {
    /// Adds what a text holds: a `did.json`, JWT VC issuer metadata, an issuer's Multikey, PEM
    /// certificates, or vkeys of logs and of witnesses, one a line.
    pub fn pin(&mut self, text: &str) -> Result<(), NotAPin> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NotAPin);
        }
        if text.starts_with('{') {
            let document = jcs::parse(text).map_err(|_| NotAPin)?;
            if document["issuer"].is_string() && document["jwks"]["keys"].is_array() {
                self.issuers.push(document);
                return Ok(());
            }
            if !document["id"].is_string() || !document["verificationMethod"].is_array() {
                return Err(NotAPin);
            }
            self.did_documents.push(document);
        } else if text.starts_with("-----BEGIN CERTIFICATE-----") {
            const END: &str = "-----END CERTIFICATE-----";
            for block in text.split_inclusive(END) {
                let anchor = Anchor::parse(block.trim().as_bytes()).map_err(|_| NotAPin)?;
                self.anchors.push(anchor);
            }
        } else if let Ok(key) = PublicKey::parse(text) {
            self.keys.push(key);
        } else {
            // After a rotation a log publishes several, one a line.
            for line in text.lines() {
                let key = VerifierKey::parse(line.trim()).map_err(|_| NotAPin)?;
                let known = if key.is_witness() { &mut self.witnesses } else { &mut self.log_keys };
                known.push(key);
            }
        }
        Ok(())
    }

    /// Notes that what has this [digest](super::signed_digest) was signed by its issuer at this
    /// time, in seconds since the Unix epoch. It outlives a later compromise of the key: a thief
    /// can write any date, but not into the reader's own records.
    pub fn record(&mut self, digest: [u8; 32], at: i64) {
        self.recorded.insert(digest, at);
    }

    /// When this was signed, if the reader knows that it was.
    pub(super) fn recorded(&self, digest: &[u8; 32]) -> Option<i64> {
        self.recorded.get(digest).copied()
    }

    /// Since when a token's key must not be used, by the pinned documents. It is known by itself
    /// and not by its name or its issuer's, which are whoever's who writes a token.
    pub(super) fn token_key_revoked(&self, key: &Key) -> Option<i64> {
        let is_it = |jwk: &Value| {
            es256::PublicKey::from_jwk(jwk).is_ok_and(|known| &Key::P256(known) == key)
        };
        let methods =
            self.did_documents.iter().filter_map(|it| it["verificationMethod"].as_array());
        let of_did = methods
            .flatten()
            .filter(|method| is_it(&method["publicKeyJwk"]))
            .filter_map(did::revocation);
        // Keys that are good for nothing stand apart, so that nobody takes them for good ones.
        let sets = self.issuers.iter().flat_map(|it| [&it["jwks"], &it["revoked_jwks"]]);
        let keys = sets.filter_map(|set| set["keys"].as_array()).flatten();
        let of_set = keys.filter(|jwk| is_it(jwk)).filter_map(jwk_revocation);
        of_did.chain(of_set).min()
    }

    /// The logs' keys.
    pub(super) fn log_keys(&self) -> &[VerifierKey] {
        &self.log_keys
    }

    /// Those whose word the reader takes for it that a log has one history.
    pub(super) fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    fn names_issuers(&self) -> bool {
        !self.did_documents.is_empty() || !self.keys.is_empty()
    }

    /// The issuers' Multikeys.
    pub(super) fn bare_keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Whether this very key was pinned.
    pub(super) fn pins(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// The pinned document of a DID.
    pub(super) fn did_document(&self, did: &str) -> Option<&Value> {
        self.did_documents.iter().find(|document| document["id"] == did)
    }

    /// The certificates that end a chain.
    pub(super) fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// Whether anything was pinned by which the issuer of a token could be known.
    pub(super) fn names_token_issuers(&self) -> bool {
        !self.issuers.is_empty() || !self.anchors.is_empty() || !self.did_documents.is_empty()
    }

    /// The pinned key of a token's issuer: an https issuer's by its `kid` in the JWKS, a DID's by
    /// the identifier of its verification method.
    pub(super) fn token_key(&self, issuer: &str, kid: Option<&str>) -> Option<Key> {
        if issuer.starts_with("did:") {
            let kid = kid.filter(|kid| did::controller(kid) == Some(issuer))?;
            let mut own = self.did_documents.iter().filter(|document| document["id"] == issuer);
            return own.find_map(|document| did::assertion_jwk(document, kid)).map(Key::P256);
        }
        let own = self.issuers.iter().filter(|metadata| metadata["issuer"] == issuer);
        let mut keys = own.filter_map(|metadata| metadata["jwks"]["keys"].as_array()).flatten();
        let jwk = keys.find(|jwk| kid.is_some_and(|kid| jwk["kid"] == kid))?;
        es256::PublicKey::from_jwk(jwk).ok().map(Key::P256)
    }
}

/// Since when a key of a JWK set must not be used (`revoked`, OpenID Federation 1.0 section 8.7.2).
pub(super) fn jwk_revocation(jwk: &Value) -> Option<i64> {
    let revoked = jwk.get("revoked")?;
    Some(revoked["revoked_at"].as_i64().unwrap_or(i64::MIN))
}

/// A key, and whether the reader had it beforehand.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundKey {
    pub(super) key: PublicKey,
    pub(super) pinned: bool,
    /// Since when it must not be used, by the file's document or the reader's.
    pub(super) revoked: Option<i64>,
}

/// Why no key was found.
#[derive(Clone, Debug)]
pub(super) enum KeyProblem {
    /// Neither the file nor the reader has a document of this issuer.
    NoSource,
    /// The issuer's document does not have it.
    Document(DidError),
    /// The file and the reader have different keys under one name.
    Conflict,
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSource => f.write_str("there is no DID document to find the issuer's key in"),
            Self::Document(error) => error.fmt(f),
            Self::Conflict => f.write_str("the file gives another key than the pinned did.json"),
        }
    }
}

/// Where keys are looked up: the file's DID document under the control of the reader's pins.
pub(super) struct Keyring<'a> {
    enclosed: Option<&'a Value>,
    trust: &'a Trust,
}

impl<'a> Keyring<'a> {
    pub(super) fn new(enclosed: Option<&'a Value>, trust: &'a Trust) -> Self {
        Self { enclosed, trust }
    }

    /// Whether the reader brought anything by which an issuer could be known.
    pub(super) fn names_issuers(&self) -> bool {
        self.trust.names_issuers()
    }

    /// The keys that may stand behind an identifier: one by the documents, or without any document
    /// each of the pinned bare keys.
    pub(super) fn find(&self, method: &str) -> Result<Vec<FoundKey>, KeyProblem> {
        let pinned = self.pinned_key(method);
        let revoked = self.revoked(method);
        let found = |key, pinned| FoundKey { key, pinned, revoked };
        if let Some(key) = did::key_of(method).map_err(KeyProblem::Document)? {
            return Ok(vec![found(key, self.trust.keys.contains(&key))]);
        }
        let Some(document) = self.enclosed else {
            return match pinned {
                Some(key) => Ok(vec![found(key, true)]),
                None if revoked.is_some() => Err(KeyProblem::Document(DidError::Revoked)),
                None if self.trust.keys.is_empty() => Err(KeyProblem::NoSource),
                None => Ok(self.trust.keys.iter().map(|key| found(*key, true)).collect()),
            };
        };
        let key = did::assertion_key(document, method).map_err(KeyProblem::Document)?;
        match pinned {
            Some(pinned) if pinned != key => Err(KeyProblem::Conflict),
            Some(_) => Ok(vec![found(key, true)]),
            None => Ok(vec![found(key, self.trust.keys.contains(&key))]),
        }
    }

    /// Since when the key of this identifier must not be used, by whichever document says so first.
    fn revoked(&self, method: &str) -> Option<i64> {
        let documents = self.enclosed.into_iter().chain(&self.trust.did_documents);
        documents.filter_map(|document| did::revoked_since(document, method)).min()
    }

    /// The key of this identifier in a pinned document of its DID.
    fn pinned_key(&self, method: &str) -> Option<PublicKey> {
        let did = did::controller(method)?;
        let mut documents =
            self.trust.did_documents.iter().filter(|document| document["id"] == did);
        documents.find_map(|document| did::assertion_key(document, method).ok())
    }
}
