//! The verdict credential: VC Data Model 2.0 in the shape of an Open Badge 3.0.
//!
//! A badge is shown whole or not at all, so it holds the least that makes it useful: no name of the
//! holder, no copy of the document, no digest by which two holders of one file could be linked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::rdfc::Template;
use super::timestamp::{self, TimestampError};

/// Everything a verdict credential says. It exists for the outcome "verified" only.
#[derive(Clone, Debug)]
pub struct VerdictCredential<'a> {
    /// The credential's own identifier, written `urn:uuid:`.
    pub id: Uuid,
    /// Who signs.
    pub issuer: Issuer<'a>,
    /// From when the credential holds, in seconds since the Unix epoch.
    pub valid_from: i64,
    /// Until when it holds; it bounds how long a key or a status list must be kept.
    pub valid_until: i64,
    /// The holder under a name of one use: a fresh UUID for each credential.
    pub subject: Uuid,
    /// What kind of statement this is.
    pub achievement: Achievement<'a>,
    /// The check that took place.
    pub check: Check<'a>,
    /// Where its revocation would show.
    pub status: StatusEntry<'a>,
}

/// The platform, as the signer of a credential.
#[derive(Clone, Copy, Debug)]
pub struct Issuer<'a> {
    /// Its `did:web` identifier.
    pub did: &'a str,
    /// Its name for people.
    pub name: &'a str,
}

/// A kind of statement. Its identifiers are URLs that are the same for every holder: one for each
/// person would tell the host who is being checked.
#[derive(Clone, Debug)]
pub struct Achievement<'a> {
    /// The URL of this kind of statement.
    pub id: &'a str,
    /// Its short name.
    pub name: &'a str,
    /// What it does and does not mean.
    pub description: &'a str,
    /// When it is granted; its identifier is the achievement's with `#criteria`.
    pub criteria: &'a str,
}

impl<'a> Achievement<'a> {
    /// "This document was checked": the only statement a verdict makes.
    pub fn verified_document(id: &'a str) -> Self {
        Self {
            id,
            name: "Verified document",
            description: "A document was checked by the verifier named in the evidence and found \
                          genuine. This is a statement about the document and the check; it does \
                          not grant the qualification that the document describes.",
            criteria: "Granted when a verifier compared the document with its source, by the \
                       method named in the evidence, and reached the outcome \"verified\".",
        }
    }
}

/// One check of one document.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// SHA-256 of the document's bytes.
    pub document_sha256: &'a [u8; 32],
    /// 32 random bytes of this credential alone, kept by the holder; see [`evidence_id`].
    pub salt: &'a [u8; 32],
    /// What the document is, without naming its holder: "Bachelor's diploma".
    pub title: &'a str,
    /// The document's kind in one word: "diploma".
    pub genre: &'a str,
    /// Who checked it.
    pub verifier: &'a str,
    /// How: "enquiry at the issuing registry".
    pub method: &'a str,
    /// When, in seconds since the Unix epoch.
    pub checked_at: i64,
}

/// A place in a revocation list, Bitstring Status List 1.0 section 2.1.
#[derive(Clone, Copy, Debug)]
pub struct StatusEntry<'a> {
    /// The URL of the list, which is also the list credential's identifier.
    pub list: &'a str,
    /// The position in the list, chosen at random and never used again.
    pub index: u32,
}

impl VerdictCredential<'_> {
    /// The unsigned credential, ready for [`super::proof::sign`].
    pub fn to_json(&self) -> Result<Value, TimestampError> {
        let Achievement { id: achievement, name, description, criteria } = &self.achievement;
        Ok(json!({
            "@context": Template::Verdict.contexts(),
            "id": urn(self.id),
            "type": ["VerifiableCredential", "OpenBadgeCredential"],
            "issuer": { "id": self.issuer.did, "type": ["Profile"], "name": self.issuer.name },
            "validFrom": timestamp::format(self.valid_from)?,
            "validUntil": timestamp::format(self.valid_until)?,
            "credentialSubject": {
                "id": urn(self.subject),
                "type": ["AchievementSubject"],
                "achievement": {
                    "id": achievement,
                    "type": ["Achievement"],
                    "name": name,
                    "description": description,
                    "criteria": { "id": format!("{achievement}#criteria"), "narrative": criteria },
                },
            },
            "evidence": [self.check.to_json()?],
            "credentialStatus": {
                "id": format!("{}#{}", self.status.list, self.status.index),
                "type": "BitstringStatusListEntry",
                "statusPurpose": "revocation",
                "statusListIndex": self.status.index.to_string(),
                "statusListCredential": self.status.list,
            },
        }))
    }
}

impl Check<'_> {
    fn to_json(self) -> Result<Value, TimestampError> {
        let narrative = format!(
            "Checked by {} on {}. Method: {}. Outcome: verified.",
            self.verifier,
            timestamp::format(self.checked_at)?,
            self.method,
        );
        Ok(json!({
            "id": evidence_id(self.salt, self.document_sha256),
            "type": ["Evidence"],
            "name": self.title,
            "narrative": narrative,
            "genre": self.genre,
        }))
    }
}

/// The name of a checked document: `ni:///sha-256;` (RFC 6920) of the salt followed by the
/// document's SHA-256.
///
/// Without the salt, people with the same file would share the name, and a document with few
/// possible contents could be guessed from it. The holder keeps the salt and can show with it
/// which file was checked.
pub fn evidence_id(salt: &[u8; 32], document_sha256: &[u8; 32]) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update(document_sha256).finalize();
    format!("ni:///sha-256;{}", URL_SAFE_NO_PAD.encode(digest))
}

fn urn(id: Uuid) -> String {
    format!("urn:uuid:{}", id.hyphenated())
}
