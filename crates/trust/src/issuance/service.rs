//! Verdicts become signed credentials, and are taken back.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{Credential, Issued as IssuedKind, User, Verification};
use kernel::{Caller, Error, Id, Result, Timestamp};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;
use serde_json::Value as Json;

use super::badge::{Achievement, Check, Issuer, StatusEntry, VerdictCredential};
use super::proof::{self, Statement};
use super::rdfc::Template;
use super::store;
use crate::key::service::{Purpose, Service as Keys};
use crate::log::entry::credential_digest;
use crate::log::service::Service as Log;
use crate::status::service::{Place, Service as Lists};
use crate::verify::bundle::Bundle;

/// What a verdict says, before it is signed.
#[derive(Debug, Clone)]
pub struct VerdictClaim {
    pub verification: Id<Verification>,
    pub credential: Id<Credential>,
    pub holder: Id<User>,
    /// The document's title, as its owner wrote it.
    pub title: String,
    /// Education, Employment and so on.
    pub kind: String,
    /// Who is said to have issued the document.
    pub issuer_name: String,
    pub verifier_name: String,
    /// The document that was looked at; none where the claim was checked without a file.
    pub file_sha256: Option<[u8; 32]>,
    pub verified_at: Timestamp,
}

/// A verdict credential that was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    pub id: Id<IssuedKind>,
    pub holder: Id<User>,
    /// The credential with its proofs.
    pub document: Json,
    /// SHA-256 over the canonical text of the document: what the log commits to.
    pub sha256: [u8; 32],
    /// With it the holder can show which file was checked.
    pub document_salt: [u8; 32],
    pub status: Place,
    pub valid_from: Timestamp,
    pub valid_until: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub revocation_reason: Option<String>,
}

/// Issues and revokes. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    keys: Keys,
    lists: Lists,
    log: Log,
    issuer_name: String,
    achievement_url: String,
    validity: Duration,
}

impl Service {
    /// `validity` bounds how long a key or a list must be kept, and what a stolen key is worth.
    pub fn new(
        keys: Keys,
        lists: Lists,
        log: Log,
        public_url: &str,
        issuer_name: &str,
        validity: Duration,
    ) -> Self {
        let achievement_url = achievement_url(public_url);
        let issuer_name = portable(issuer_name);
        Self(Arc::new(Inner { keys, lists, log, issuer_name, achievement_url, validity }))
    }

    /// Signs a verdict and gives it its place in a revocation list, within the transaction that
    /// decides the verdict.
    pub async fn issue(&self, tx: &Tx, claim: &VerdictClaim) -> Result<Issued> {
        let Inner { keys, lists, validity, .. } = &*self.0;
        let status = lists.allocate(tx).await?;
        let document_salt: [u8; 32] = tx.world().random();
        let (valid_from, valid_until) = (claim.verified_at, claim.verified_at + *validity);
        let unsigned = self.unsigned(tx, claim, status, &document_salt, valid_until)?;
        let signer = keys.signer(Purpose::Credential, tx.now())?;
        let says = Statement { verification_method: &signer.method, created: tx.now().seconds() };
        let document = proof::sign(Template::Verdict, unsigned, &signer.key, says)
            .map_err(|error| Error::internal("a verdict cannot be signed").because(error))?;
        let sha256 = credential_digest(&document)
            .map_err(|error| Error::internal("a verdict cannot be hashed").because(error))?;
        let issued = Issued {
            id: tx.world().id(),
            holder: claim.holder,
            document,
            sha256,
            document_salt,
            status,
            valid_from,
            valid_until,
            revoked_at: None,
            revocation_reason: None,
        };
        store::insert(tx, claim, &issued).await?;
        let fact = Fact::by(&Caller::nobody(), "credential.issued").on(issued.id);
        tx.record(
            fact.about(claim.holder)
                .with("credential", claim.credential)
                .with("verification", claim.verification)
                .with("credentialSha256", hex::encode(sha256))
                .with("validUntil", valid_until),
        );
        Ok(issued)
    }

    fn unsigned(
        &self,
        tx: &Tx,
        claim: &VerdictClaim,
        status: Place,
        salt: &[u8; 32],
        valid_until: Timestamp,
    ) -> Result<Json> {
        let Inner { keys, lists, issuer_name, achievement_url, .. } = &*self.0;
        let index = u32::try_from(status.place)
            .map_err(|error| Error::internal("a place is no index").because(error))?;
        // A claim without a file names the claim itself, so that the evidence has a name of its
        // own all the same.
        let document_sha256 = claim
            .file_sha256
            .unwrap_or_else(|| platform::crypto::sha256(claim.credential.to_string()));
        let method = if claim.file_sha256.is_some() {
            "comparison of the submitted document with its source"
        } else {
            "enquiry at the source"
        };
        VerdictCredential {
            id: tx.world().id::<IssuedKind>().uuid(),
            issuer: Issuer { did: keys.did(), name: issuer_name },
            valid_from: claim.verified_at.seconds(),
            valid_until: valid_until.seconds(),
            subject: tx.world().id::<User>().uuid(),
            achievement: Achievement::verified_document(achievement_url),
            check: Check {
                document_sha256: &document_sha256,
                salt,
                title: &portable(&claim.title),
                genre: &portable(&claim.kind),
                verifier: &portable(&claim.verifier_name),
                method,
                checked_at: claim.verified_at.seconds(),
            },
            status: StatusEntry { list: &lists.url(status.list), index },
        }
        .to_json()
        .map_err(|error| Error::internal("a verdict's time has no written form").because(error))
    }

    /// Takes a verdict back for good.
    pub async fn revoke(
        &self,
        tx: &Tx,
        id: Id<IssuedKind>,
        caller: &Caller,
        reason: &str,
    ) -> Result<()> {
        let issued = self.get(tx, id).await?;
        if !store::revoke(tx, id, reason).await? {
            return Err(Error::conflict("already_revoked", "It has been revoked already."));
        }
        self.0.lists.revoke(tx, issued.status).await?;
        let fact = Fact::by(caller, "credential.revoked").on(id);
        // The reason is words of a person's, and stays with the row.
        tx.record(fact.about(issued.holder));
        Ok(())
    }

    pub async fn get(&self, db: &impl Read, id: Id<IssuedKind>) -> Result<Issued> {
        store::get(db, id).await?.ok_or_else(|| Error::not_found("issued credential"))
    }

    /// Everything that judging the verdict takes, in one file; see [`crate::verify`].
    pub async fn bundle(&self, db: &Db, id: Id<IssuedKind>) -> Result<Json> {
        let Inner { keys, lists, log, .. } = &*self.0;
        let issued = self.get(db, id).await?;
        let now = db.world().now();
        let status_list = lists.edition(issued.status.list).await?;
        let bundle = Bundle {
            credential: issued.document,
            did_document: keys.did_document(),
            status_list: (*status_list).clone(),
            document_salt: Some(issued.document_salt),
            log: log.evidence(&id.to_string(), "credential.issued").await?,
            exported_at: now.seconds(),
        };
        let signer = keys.signer(Purpose::Credential, now)?;
        bundle
            .seal(&signer.key, &signer.method)
            .map_err(|error| Error::internal("a bundle cannot be sealed").because(error))
    }
}

/// The URL of the one kind of statement that verdicts make.
pub fn achievement_url(public_url: &str) -> String {
    format!("{}/v1/achievements/verified-document", public_url.trim_end_matches('/'))
}

/// Text as every deployed canonicalizer writes it alike: control characters become spaces. What
/// people typed years before must not keep a verdict from being issued.
fn portable(text: &str) -> String {
    text.chars()
        .map(|letter| {
            let mut buffer = [0; 4];
            if super::rdfc::is_portable_text(letter.encode_utf8(&mut buffer)) {
                letter
            } else {
                ' '
            }
        })
        .collect()
}
