//! Verdicts become signed credentials, and are taken back.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{Credential, Issued as IssuedKind, Key, User, Verification};
use kernel::{Caller, Error, Id, Result, Timestamp};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;
use serde_json::{Value as Json, json};

use super::store;
use crate::authority::service::{Purpose as Certified, Service as Authority};
use crate::key::service::{Purpose, Service as Keys, Signer};
use crate::log::service::Service as Log;
use crate::status::service::{Place, Service as Lists};
use verify::credential::badge::{Achievement, Check, Issuer, StatusEntry, VerdictCredential};
use verify::credential::proof::{self, Statement};
use verify::credential::rdfc::{self, Template};
use verify::credential::timestamp;
use verify::jose::es256::PublicKey;
use verify::jose::jws;
use verify::jose::sdjwt::{self, Hidden};
use verify::judge::{self, bundle::Bundle};
use verify::log::entry::credential_digest;

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
    /// When the document itself ends, where it says so: no verdict on it holds for longer.
    pub document_ends: Option<Timestamp>,
}

/// A verdict credential that was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    pub id: Id<IssuedKind>,
    pub verification: Id<Verification>,
    pub credential: Id<Credential>,
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
    /// The verdict on the same credential whose place this one has taken.
    pub supersedes: Option<Id<IssuedKind>>,
    /// The verdict that has taken the place of this one; then it is revoked.
    pub superseded_by: Option<Id<IssuedKind>>,
    /// What a holder may show one by one: see [`CLAIMS`].
    pub claims: Json,
    /// The key of the proofs; not noted of what is older than the note.
    pub signed_by: Option<Id<Key>>,
    pub signed_at: Option<Timestamp>,
    /// Whether this is what was signed of a verdict before it was signed anew. The verdict keeps
    /// its id, and is what supersedes this.
    pub is_former: bool,
}

/// The claims of a verdict that a holder shows or withholds, with their names for people.
pub const CLAIMS: [(&str, &str); 7] = [
    ("title", "Title of the document"),
    ("kind", "Kind of the document"),
    ("issued_by", "Who issued the document"),
    ("verified_by", "Who checked the document"),
    ("verified_at", "When it was checked"),
    ("method", "How it was checked"),
    ("document", "Salted name of the file that was checked"),
];

/// Issues and revokes. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    keys: Keys,
    authority: Authority,
    lists: Lists,
    log: Log,
    issuer_name: String,
    type_url: String,
    achievement_url: String,
    validity: Duration,
}

impl Service {
    /// `validity` bounds how long a key or a list must be kept, and what a stolen key is worth.
    pub fn new(
        keys: Keys,
        authority: Authority,
        lists: Lists,
        log: Log,
        public_url: &str,
        issuer_name: &str,
        validity: Duration,
    ) -> Self {
        let achievement_url = achievement_url(public_url);
        let type_url = type_url(public_url);
        let issuer_name = portable(issuer_name);
        Self(Arc::new(Inner {
            keys,
            authority,
            lists,
            log,
            issuer_name,
            type_url,
            achievement_url,
            validity,
        }))
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.0.authority
    }

    pub(super) fn lists(&self) -> &Lists {
        &self.0.lists
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    /// Signs a verdict and gives it its place in a revocation list, within the transaction that
    /// decides the verdict. It supersedes what was signed of the same credential before: of two
    /// verdicts that both stand, the holder could show the one that suits them.
    pub async fn issue(&self, tx: &Tx, id: Id<IssuedKind>, claim: &VerdictClaim) -> Result<Issued> {
        let Inner { keys, lists, validity, .. } = &*self.0;
        let status = lists.allocate(tx).await?;
        let document_salt: [u8; 32] = tx.world().random();
        let (valid_from, valid_until) = (claim.verified_at, valid_until(claim, *validity));
        let unsigned = self.unsigned(tx, claim, status, &document_salt, valid_until)?;
        let claims = claims_of(claim, &unsigned)?;
        let signer = keys.signer(Purpose::Credential, tx.now())?;
        let (document, sha256) = signed(unsigned, &signer, tx.now())?;
        let older = store::standing(tx, claim.credential, claim.holder).await?;
        let issued = Issued {
            id,
            verification: claim.verification,
            credential: claim.credential,
            holder: claim.holder,
            document,
            sha256,
            document_salt,
            status,
            valid_from,
            valid_until,
            revoked_at: None,
            revocation_reason: None,
            supersedes: older.first().map(|older| older.id),
            superseded_by: None,
            claims,
            signed_by: Some(signer.id),
            signed_at: Some(tx.now()),
            is_former: false,
        };
        store::insert(tx, &issued).await?;
        tx.record(fact_of(&issued));
        for older in &older {
            self.supersede(tx, older, issued.id).await?;
        }
        Ok(issued)
    }

    /// Another verdict takes the place of this one, for good: what was made of it is revoked, and
    /// does not come back when the other is revoked too.
    async fn supersede(&self, tx: &Tx, older: &Issued, by: Id<IssuedKind>) -> Result<()> {
        if !store::supersede(tx, older.id, by).await? {
            return Err(Error::conflict("already_revoked", "It has been revoked already."));
        }
        self.take_back(tx, older).await?;
        let fact = Fact::by(&Caller::nobody(), "credential.superseded").on(older.id);
        tx.record(fact.about(older.holder).with("supersededBy", by));
        Ok(())
    }

    /// A newer verification has found against the credential: what was signed of it before is taken
    /// back, with nothing in its place. The verification behind it was right when it was made and
    /// keeps its state, as when a better one follows: the fact is not that of a revocation.
    pub async fn overrule(
        &self,
        tx: &Tx,
        credential: Id<Credential>,
        holder: Id<User>,
    ) -> Result<()> {
        for older in store::standing(tx, credential, holder).await? {
            store::revoke(tx, older.id, "rejected").await?;
            self.take_back(tx, &older).await?;
            let fact = Fact::by(&Caller::nobody(), "credential.superseded").on(older.id);
            tx.record(fact.about(older.holder).with("outcome", "rejected"));
        }
        Ok(())
    }

    /// Sets the bits of a verdict and of every token that was made of it.
    pub(super) async fn take_back(&self, tx: &Tx, issued: &Issued) -> Result<()> {
        self.0.lists.revoke(tx, issued.status).await?;
        for place in store::revoke_tokens(tx, issued.id).await? {
            self.0.lists.revoke(tx, place).await?;
        }
        Ok(())
    }

    /// Everything that was signed of a credential of this holder, the newest first.
    pub async fn all_of(
        &self,
        db: &impl Read,
        credential: Id<Credential>,
        holder: Id<User>,
    ) -> Result<Vec<Issued>> {
        store::all_of(db, credential, holder).await
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
                method: method(claim),
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
        self.take_back(tx, &issued).await?;
        let fact = Fact::by(caller, "credential.revoked").on(id);
        // The reason is words of a person's, and stays with the row.
        tx.record(fact.about(issued.holder));
        Ok(())
    }

    /// Takes back for good whatever stands of what was signed of a holder's credential; `false`
    /// where nothing does.
    pub async fn revoke_standing(
        &self,
        tx: &Tx,
        credential: Id<Credential>,
        holder: Id<User>,
        caller: &Caller,
        reason: &str,
    ) -> Result<bool> {
        let standing = store::standing(tx, credential, holder).await?;
        for issued in &standing {
            self.revoke(tx, issued.id, caller, reason).await?;
        }
        Ok(!standing.is_empty())
    }

    pub async fn get(&self, db: &impl Read, id: Id<IssuedKind>) -> Result<Issued> {
        store::get(db, id).await?.ok_or_else(|| Error::not_found("issued credential"))
    }

    /// The verdict as an SD-JWT VC, bound to a wallet's key where there is one. Each has a place
    /// of its own in the status lists, so that two presentations are not tied by it.
    ///
    /// 409 `revoked` once the verdict was taken back.
    pub async fn sd_jwt(
        &self,
        tx: &Tx,
        issued: &Issued,
        holder_key: Option<&PublicKey>,
    ) -> Result<String> {
        let Inner { authority, lists, type_url, .. } = &*self.0;
        if issued.revoked_at.is_some() {
            return Err(Error::conflict("revoked", "The verdict has been taken back."));
        }
        let status = lists.allocate(tx).await?;
        let signer = authority.signer(Certified::Credential, tx.now())?;
        let mut open = json!({
            "iss": authority.issuer(),
            "vct": type_url,
            "nbf": issued.valid_from.seconds(),
            "exp": issued.valid_until.seconds(),
            "status": { "status_list": { "idx": status.place, "uri": lists.url(status.list) } },
        });
        if let Some(key) = holder_key {
            open["cnf"] = json!({ "jwk": key.to_jwk() });
        }
        let hidden: Vec<Hidden> = CLAIMS
            .into_iter()
            .filter_map(|(name, _)| {
                let value = issued.claims.get(name)?.clone();
                Some(Hidden { name, value, salt: tx.world().random() })
            })
            .collect();
        let decoys = [tx.world().random(), tx.world().random()];
        let Json::Object(open) = open else {
            return Err(Error::internal("the claims of a token are an object"));
        };
        let header = signer.header(sdjwt::TYPE);
        let text = sdjwt::issue(header, open, &hidden, &decoys, &signer.key);
        let sha256 = platform::crypto::sha256(&text);
        let signed_sha256 = judge::signed_digest(text.as_bytes())
            .ok_or_else(|| Error::internal("a token has no digest"))?;
        let token = store::Token {
            status,
            sha256,
            signed_sha256,
            signed_by: signer.id,
            holder_key: holder_key.map(PublicKey::thumbprint),
        };
        store::insert_token(tx, issued, &token).await?;
        let fact = Fact::by(&Caller::nobody(), "credential.delivered").on(issued.id);
        tx.record(fact.about(issued.holder).with("tokenSha256", hex::encode(sha256)));
        Ok(text)
    }

    /// The verdict as a JWT of the same document (VC-JOSE-COSE, `vc+jwt`).
    pub fn vc_jwt(&self, issued: &Issued, now: Timestamp) -> Result<String> {
        let Inner { keys, authority, .. } = &*self.0;
        let signer = authority.signer(Certified::Credential, now)?;
        let mut document = issued.document.clone();
        if let Some(members) = document.as_object_mut() {
            members.remove("proof");
        }
        let mut header = signer.header("vc+jwt");
        header["cty"] = "vc".into();
        header["iss"] = keys.did().into();
        header["kid"] = verify::key::did::method_id(keys.did(), &signer.id.to_string()).into();
        Ok(jws::sign(header, &document, &signer.key))
    }

    /// Everything that judging the verdict takes, in one file; see [`verify::judge`].
    pub async fn bundle(&self, db: &Db, id: Id<IssuedKind>) -> Result<Json> {
        self.bundle_of(db, id, true).await
    }

    /// [`Self::bundle`] for others than the holder: without what a document is compared by, which
    /// is the holder's to show.
    pub async fn shown_bundle(&self, db: &Db, id: Id<IssuedKind>) -> Result<Json> {
        self.bundle_of(db, id, false).await
    }

    async fn bundle_of(&self, db: &Db, id: Id<IssuedKind>, with_salt: bool) -> Result<Json> {
        let Inner { keys, lists, log, .. } = &*self.0;
        let issued = self.get(db, id).await?;
        let now = db.world().now();
        let status_list = lists.edition(issued.status.list).await?;
        let bundle = Bundle {
            credential: issued.document,
            did_document: keys.did_document(),
            status_list: (*status_list).clone(),
            document_salt: with_salt.then_some(issued.document_salt),
            log: log.evidence(&id.to_string(), "credential.issued").await?,
            exported_at: now.seconds(),
        };
        let signer = keys.signer(Purpose::Credential, now)?;
        bundle
            .seal(&signer.key, &signer.method)
            .map_err(|error| Error::internal("a bundle cannot be sealed").because(error))
    }
}

/// A document with both proofs, and the hash that the log commits to.
pub(super) fn signed(unsigned: Json, signer: &Signer, now: Timestamp) -> Result<(Json, [u8; 32])> {
    let says = Statement { verification_method: &signer.method, created: now.seconds() };
    let document = proof::sign(Template::Verdict, unsigned, &signer.key, says)
        .map_err(|error| Error::internal("a verdict cannot be signed").because(error))?;
    let sha256 = credential_digest(&document)
        .map_err(|error| Error::internal("a verdict cannot be hashed").because(error))?;
    Ok((document, sha256))
}

/// That a verdict was signed.
pub(super) fn fact_of(issued: &Issued) -> Fact {
    let fact = Fact::by(&Caller::nobody(), "credential.issued")
        .on(issued.id)
        .about(issued.holder)
        .with("credential", issued.credential)
        .with("verification", issued.verification)
        .with("credentialSha256", hex::encode(issued.sha256))
        .with("validUntil", issued.valid_until);
    match issued.supersedes {
        Some(supersedes) => fact.with("supersedes", supersedes),
        None => fact,
    }
}

/// A verdict ends with its document. One on a document that had ended before it was looked at, whose
/// genuineness is all that is asked, holds for as long as any.
fn valid_until(claim: &VerdictClaim, validity: Duration) -> Timestamp {
    let usual = claim.verified_at + validity;
    let ends = claim.document_ends.filter(|ends| *ends > claim.verified_at);
    ends.map_or(usual, |ends| ends.min(usual))
}

fn method(claim: &VerdictClaim) -> &'static str {
    if claim.file_sha256.is_some() {
        "comparison of the submitted document with its source"
    } else {
        "enquiry at the source"
    }
}

/// What a holder shows or withholds: the same words as in the document.
fn claims_of(claim: &VerdictClaim, unsigned: &Json) -> Result<Json> {
    let verified_at = timestamp::format(claim.verified_at.seconds())
        .map_err(|error| Error::internal("a verdict's time has no written form").because(error))?;
    Ok(json!({
        "title": portable(&claim.title),
        "kind": portable(&claim.kind),
        "issued_by": portable(&claim.issuer_name),
        "verified_by": portable(&claim.verifier_name),
        "verified_at": verified_at,
        "method": method(claim),
        "document": unsigned["evidence"][0]["id"],
    }))
}

/// The URL of the type of SD-JWT credentials, `vct`.
pub fn type_url(public_url: &str) -> String {
    format!("{}/v1/credential-types/verified-document", public_url.trim_end_matches('/'))
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
            if rdfc::is_portable_text(letter.encode_utf8(&mut buffer)) { letter } else { ' ' }
        })
        .collect()
}
