//! What a compromised key has signed is taken back, piece by piece.
//!
//! What is left to do is what still stands: a piece that was interrupted leaves no trace, and
//! whoever begins anew goes on behind the last whole one.

use kernel::id::kinds::Key;
use kernel::{Caller, Error, Id, Result, Timestamp};
use platform::db::Tx;
use platform::journal::Fact;
use verify::credential::timestamp;
use verify::key::did;

use super::service::{Issued, Service, fact_of, signed};
use super::store::{self, Delivered};
use crate::authority::service::Purpose as Certified;
use crate::key::service::Purpose;

/// Verdicts or tokens of one transaction: each writes about ten rows, and signing a verdict anew
/// takes a millisecond.
const PIECE: i64 = 100;
/// What is said of what is not signed anew.
const REASON: &str = "key compromise";

/// What one piece has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) revoked: i64,
    pub(crate) reissued: i64,
    /// Whether there may be more.
    pub(crate) more: bool,
}

impl Service {
    /// Takes back a piece of what a key has signed since a time. With `reissue` a verdict that is
    /// still held is signed anew; else it is revoked with every token that was made of it.
    pub(crate) async fn withdraw(
        &self,
        tx: &Tx,
        key: Id<Key>,
        since: Timestamp,
        reissue: bool,
    ) -> Result<Piece> {
        if self.name_signers(tx, since).await? {
            return Ok(Piece { more: true, ..Piece::default() });
        }
        let verdicts = store::standing_under(tx, key, since, PIECE).await?;
        let mut piece = Piece { more: !verdicts.is_empty(), ..Piece::default() };
        for verdict in verdicts {
            // Of an erased one there are no words left that could be signed.
            if reissue && verdict.document.get("proof").is_some() {
                piece.reissued += i64::from(self.sign_anew(tx, verdict, key).await?);
            } else if store::revoke(tx, verdict.id, REASON).await? {
                self.take_back(tx, &verdict).await?;
                let fact = Fact::by(&Caller::nobody(), "credential.revoked").on(verdict.id);
                tx.record(fact.about(verdict.holder));
                piece.revoked += 1;
            }
        }
        if !piece.more {
            for token in store::tokens_under(tx, key, since, PIECE).await? {
                piece.more = true;
                piece.revoked += i64::from(self.revoke_token(tx, &token).await?);
            }
        }
        Ok(piece)
    }

    /// Signs what a verdict says with the key that is good now, at a new place of the status lists.
    /// The verdict keeps its id, by which others know it; what was signed before goes under another
    /// one, revoked. Tokens that were made of the verdict are of other keys, and stay.
    async fn sign_anew(&self, tx: &Tx, verdict: Issued, old_key: Id<Key>) -> Result<bool> {
        let former = Issued {
            id: tx.world().id(),
            revoked_at: Some(tx.now()),
            revocation_reason: Some("superseded".to_owned()),
            superseded_by: Some(verdict.id),
            is_former: true,
            ..verdict.clone()
        };
        let status = self.lists().allocate(tx).await?;
        let mut unsigned = verdict.document;
        if let Some(members) = unsigned.as_object_mut() {
            members.remove("proof");
        }
        let (list, index) = (self.lists().url(status.list), status.place.to_string());
        unsigned["id"] = format!("urn:uuid:{}", tx.world().id::<Key>().uuid()).into();
        unsigned["credentialStatus"]["id"] = format!("{list}#{index}").into();
        unsigned["credentialStatus"]["statusListCredential"] = list.into();
        unsigned["credentialStatus"]["statusListIndex"] = index.into();
        let signer = self.keys().signer(Purpose::Credential, tx.now())?;
        let (document, sha256) = signed(unsigned, &signer, tx.now())?;
        let anew = Issued {
            document,
            sha256,
            status,
            supersedes: Some(former.id),
            signed_by: Some(signer.id),
            signed_at: Some(tx.now()),
            ..verdict
        };
        if !store::sign_anew(tx, &anew, old_key).await? {
            // Somebody was faster; the place is lost, of which there are plenty.
            return Ok(false);
        }
        store::insert(tx, &former).await?;
        self.lists().revoke(tx, former.status).await?;
        tx.record(fact_of(&anew));
        let fact = Fact::by(&Caller::nobody(), "credential.superseded").on(former.id);
        tx.record(fact.about(former.holder).with("supersededBy", anew.id));
        Ok(true)
    }

    async fn revoke_token(&self, tx: &Tx, token: &Delivered) -> Result<bool> {
        if !store::revoke_token(tx, token.id).await? {
            return Ok(false);
        }
        self.lists().revoke(tx, token.status).await?;
        let fact = Fact::by(&Caller::nobody(), "credential.token_revoked").on(token.issued);
        tx.record(fact.about(token.holder).with("tokenSha256", hex::encode(token.sha256)));
        Ok(true)
    }

    /// Notes the signers of a piece of what is older than such notes; `false` when nothing is.
    async fn name_signers(&self, tx: &Tx, since: Timestamp) -> Result<bool> {
        let verdicts = store::unnamed(tx, since, PIECE).await?;
        let keys = self.keys().published();
        for verdict in &verdicts {
            let (key, at) = match proof_of(verdict) {
                Some(named) => named,
                // Erased: the key that signed at the time when the verdict was given.
                None => {
                    let then = keys.iter().rev().find(|key| {
                        key.purpose == Purpose::Credential && key.signs_from <= verdict.valid_from
                    });
                    let then = then.ok_or_else(|| Error::internal("nobody signed a verdict"))?;
                    (then.id, verdict.valid_from)
                }
            };
            store::name(tx, verdict.id, key, at).await?;
        }
        let certified = self.authority().published();
        let mut certified: Vec<_> =
            certified.into_iter().filter(|key| key.purpose == Certified::Credential).collect();
        certified.sort_by_key(|key| key.signs_from);
        let mut named = verdicts.len() as u64;
        for (place, key) in certified.iter().enumerate() {
            let until = certified.get(place + 1).map_or(tx.now(), |next| next.signs_from);
            let from = key.signs_from.max(since);
            if from < until {
                named += store::name_tokens(tx, key.id, from, until, PIECE).await?;
            }
        }
        Ok(named > 0)
    }
}

/// The key of a verdict's proofs, and when it signed, as the proofs have it.
fn proof_of(verdict: &Issued) -> Option<(Id<Key>, Timestamp)> {
    let proof = &verdict.document["proof"];
    let proof = proof.as_array().and_then(|proofs| proofs.first()).unwrap_or(proof);
    let method = proof["verificationMethod"].as_str()?;
    did::controller(method)?;
    let key = method.split_once('#')?.1.parse().ok()?;
    let at = timestamp::parse(proof["created"].as_str()?).ok()?;
    Some((key, Timestamp::from_seconds(at)))
}
