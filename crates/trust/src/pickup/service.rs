//! Offers made, redeemed and collected.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::id::kinds::{Credential, Offer as OfferKind, User};
use kernel::{Caller, Error, Id, Kind, Result, Secret, Timestamp};
use platform::crypto::{MasterKey, Token, base64url, hmac_sha256, sha256};
use platform::db::{Db, Tx};
use platform::http::escape;
use platform::journal::Fact;
use serde_json::{Value as Json, json};
use subtle::ConstantTimeEq;

use super::model::{KeyProof, ProofRefusal};
use super::store::{self, Offer};
use crate::issuance::service::{CLAIMS, Issued, Service as Issuance, type_url};

/// The one thing that is offered.
pub const CONFIGURATION: &str = "verified-document";
/// OAuth's name of the grant.
pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:pre-authorized_code";
/// For how long an offer may be redeemed.
pub const OFFER_LIFETIME: Duration = Duration::from_secs(600);
/// For how long a redeemed offer may be collected.
const ACCESS_LIFETIME: Duration = Duration::from_secs(300);
/// For how long a nonce may be signed.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// Wrong transaction codes that burn an offer.
const TRIES_MAX: i64 = 5;
const TX_CODE_DIGITS: usize = 6;

/// An offer as its owner receives it, once.
#[derive(Debug)]
pub struct Offered {
    pub id: Id<OfferKind>,
    /// Where the wallet fetches the offer.
    pub url: Secret<String>,
    /// What opens a wallet on the same device.
    pub link: Secret<String>,
    /// For the owner alone, never in the QR code.
    pub tx_code: Secret<String>,
    pub expires_at: Timestamp,
}

/// An access token for one credential.
#[derive(Debug)]
pub struct Access {
    pub token: Secret<String>,
    pub expires_in: Duration,
}

/// What the platform knows of credentials, of which this context has only what was signed.
pub trait Holdings: Send + Sync {
    /// The verdict that a holder's credential rests on, while it stands.
    ///
    /// 404 where the credential is not the holder's any more; 404 `not_issued` where none stands.
    fn standing<'a>(
        &'a self,
        tx: &'a Tx,
        holder: Id<User>,
        credential: Id<Credential>,
    ) -> BoxFuture<'a, Result<Issued>>;
}

/// Pickup by wallets. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    issuance: Issuance,
    /// Made after this, and set once.
    holdings: OnceLock<Arc<dyn Holdings>>,
    issuer: String,
    codes: Secret<[u8; 32]>,
    nonces: Secret<[u8; 32]>,
}

/// A refusal in OAuth's words, which the wallet reads as `error`.
fn refuse(code: &'static str, message: &'static str) -> Error {
    let kind = if code == "invalid_token" { Kind::Unauthenticated } else { Kind::Invalid };
    Error::new(kind, code, message)
}

fn invalid_grant() -> Error {
    refuse("invalid_grant", "The code or the transaction code is wrong, used or too old.")
}

impl Service {
    pub fn new(db: Db, issuance: Issuance, master: &MasterKey, public_url: &str) -> Self {
        Self(Arc::new(Inner {
            db,
            issuance,
            holdings: OnceLock::new(),
            issuer: public_url.trim_end_matches('/').to_owned(),
            codes: master.derive("pickup.code"),
            nonces: master.derive("pickup.nonce"),
        }))
    }

    /// Says who knows of credentials: without, nothing is offered.
    pub fn ask(&self, holdings: Arc<dyn Holdings>) {
        // Whoever is told twice keeps to the first.
        let _ = self.0.holdings.set(holdings);
    }

    async fn standing(
        &self,
        tx: &Tx,
        holder: Id<User>,
        credential: Id<Credential>,
    ) -> Result<Issued> {
        let holdings = self.0.holdings.get();
        let holdings = holdings.ok_or_else(|| Error::internal("nobody knows of credentials"))?;
        holdings.standing(tx, holder, credential).await
    }

    /// Offers the newest good verdict on a credential of the caller's.
    ///
    /// 404 `not_issued` where there is none.
    pub async fn offer(&self, caller: &Caller, credential: Id<Credential>) -> Result<Offered> {
        let Inner { db, issuer, .. } = &*self.0;
        let holder = caller.user()?;
        db.run("offer.create", |tx| async move {
            let issued = self.standing(&tx, holder, credential).await?;
            let id = tx.world().id();
            let link = Token::new(tx.world());
            let code = self.code(link.text.expose());
            let dice = u64::from_be_bytes(tx.world().random());
            let tx_code = format!("{:0width$}", dice % 1_000_000, width = TX_CODE_DIGITS);
            let offer = Offer {
                id,
                issued: issued.id,
                holder,
                tx_code_mac: self.tx_code_mac(id, &tx_code),
                tries: 0,
                expires_at: tx.now() + OFFER_LIFETIME,
                redeemed_at: None,
                access_until: None,
                collected_at: None,
            };
            store::insert(&tx, &offer, &link.hash, &sha256(&code)).await?;
            let fact = Fact::by(caller, "credential.offered").on(issued.id).about(holder);
            tx.record(fact.with("offer", id).with("credential", credential));
            let url = format!("{issuer}/v1/oid4vci/offers/{}", link.text.expose());
            let query = escape(&url);
            Ok(Offered {
                id,
                link: Secret::new(format!(
                    "openid-credential-offer://?credential_offer_uri={query}"
                )),
                url: Secret::new(url),
                tx_code: Secret::new(tx_code),
                expires_at: offer.expires_at,
            })
        })
        .await
    }

    /// The code behind a link: neither is stored, and the link is needed to know it.
    fn code(&self, link: &str) -> String {
        base64url(hmac_sha256(self.0.codes.expose(), link.as_bytes()))
    }

    /// Keyed, since six digits are guessed from any plain hash.
    fn tx_code_mac(&self, id: Id<OfferKind>, tx_code: &str) -> [u8; 32] {
        hmac_sha256(self.0.codes.expose(), format!("{id}/{tx_code}").as_bytes())
    }

    /// The offer behind a link, as the wallet reads it.
    pub async fn offered(&self, link: &str) -> Result<Json> {
        let Inner { db, issuer, .. } = &*self.0;
        let gone = || Error::not_found("offer");
        let offer = store::by_link(db, &sha256(link)).await?.ok_or_else(gone)?;
        if offer.redeemed_at.is_some() || offer.expires_at <= db.world().now() {
            return Err(gone());
        }
        let grant = json!({
            "pre-authorized_code": self.code(link),
            "tx_code": {
                "input_mode": "numeric",
                "length": TX_CODE_DIGITS,
                "description": "The six digits that were shown beside the QR code",
            },
        });
        Ok(json!({
            "credential_issuer": issuer,
            "credential_configuration_ids": [CONFIGURATION],
            "grants": { GRANT: grant },
        }))
    }

    /// Redeems code and transaction code for an access token.
    ///
    /// `invalid_grant` for whatever is wrong with either, `invalid_request` where one is missing.
    pub async fn redeem(&self, code: &str, tx_code: Option<&str>) -> Result<Access> {
        let missing = || refuse("invalid_request", "Send the transaction code as tx_code.");
        let tx_code = tx_code.ok_or_else(missing)?;
        let redeemed = self
            .0
            .db
            .run("offer.redeem", |tx| async move {
                let Some(offer) = store::by_code(&tx, &sha256(code)).await? else {
                    return Ok(None);
                };
                let mac = self.tx_code_mac(offer.id, tx_code);
                if !bool::from(mac.ct_eq(&offer.tx_code_mac)) {
                    // Counted and committed: the refusal comes after the transaction.
                    store::count_try(&tx, offer.id, TRIES_MAX).await?;
                    if offer.tries + 1 == TRIES_MAX {
                        let fact = Fact::by(&Caller::nobody(), "offer.burnt").on(offer.id);
                        tx.record(fact.about(offer.holder));
                    }
                    return Ok(None);
                }
                let access = Token::new(tx.world());
                let until = tx.now() + ACCESS_LIFETIME;
                if !store::redeem(&tx, offer.id, TRIES_MAX, &access.hash, until).await? {
                    return Ok(None);
                }
                let fact = Fact::by(&Caller::nobody(), "offer.redeemed").on(offer.id);
                tx.record(fact.about(offer.holder));
                Ok(Some(Access { token: access.text, expires_in: ACCESS_LIFETIME }))
            })
            .await?;
        redeemed.ok_or_else(invalid_grant)
    }

    /// A nonce for a proof. Nothing is stored until it comes back.
    pub fn nonce(&self) -> String {
        let world = self.0.db.world();
        let until = (world.now() + NONCE_LIFETIME).seconds();
        let mut bytes = until.to_be_bytes().to_vec();
        bytes.extend_from_slice(&world.random::<16>());
        let mac = hmac_sha256(self.0.nonces.expose(), &bytes);
        bytes.extend_from_slice(&mac[..16]);
        base64url(bytes)
    }

    /// When a nonce of ours ends; nothing for others and for those that are too old.
    fn nonce_end(&self, nonce: &str, now: Timestamp) -> Option<Timestamp> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(nonce).ok()?;
        let bytes: [u8; 40] = bytes.try_into().ok()?;
        let (body, mac) = bytes.split_at(24);
        let expected = hmac_sha256(self.0.nonces.expose(), body);
        if !bool::from(mac.ct_eq(&expected[..16])) {
            return None;
        }
        let until = i64::from_be_bytes(body[..8].try_into().ok()?);
        let until = Timestamp::from_micros(until.checked_mul(1_000_000)?);
        (until > now).then_some(until)
    }

    /// Hands the credential to the wallet that has the access token and proves a key.
    pub async fn collect(&self, access: Option<&str>, proof: &str) -> Result<String> {
        let Inner { db, issuance, issuer, .. } = &*self.0;
        let unknown = || refuse("invalid_token", "The access token is unknown, used or too old.");
        let access = &sha256(access.ok_or_else(unknown)?);
        db.run("offer.collect", |tx| async move {
            let offer = store::by_access(&tx, access).await?.ok_or_else(unknown)?;
            if offer.collected_at.is_some() || offer.access_until.is_none_or(|at| at <= tx.now()) {
                return Err(unknown());
            }
            let stale = || refuse("invalid_nonce", "Ask for a new nonce and sign that.");
            let proof = KeyProof::parse(proof, issuer, tx.now().seconds());
            let proof = proof.map_err(|refusal| match refusal {
                ProofRefusal::Proof(why) => refuse("invalid_proof", why),
                ProofRefusal::Nonce => stale(),
            })?;
            let ends = self.nonce_end(&proof.nonce, tx.now()).ok_or_else(stale)?;
            if !store::spend(&tx, &sha256(&proof.nonce), ends).await? {
                return Err(stale());
            }
            if !store::collect(&tx, offer.id).await? {
                return Err(unknown());
            }
            let issued = issuance.get(&tx, offer.issued).await?;
            if issued.revoked_at.is_none() {
                // It may have been deleted since it was offered.
                let standing = self.standing(&tx, issued.holder, issued.credential).await;
                standing.map_err(|error| match error.kind() {
                    Kind::NotFound => unknown(),
                    _ => error,
                })?;
            }
            let text = issuance.sd_jwt(&tx, &issued, Some(&proof.key)).await?;
            let fact = Fact::by(&Caller::nobody(), "offer.collected").on(offer.id);
            tx.record(fact.about(offer.holder));
            Ok(text)
        })
        .await
    }

    /// Credential issuer metadata (OpenID4VCI 1.0 section 12.2).
    pub fn issuer_metadata(&self, name: &str) -> Json {
        let issuer = &self.0.issuer;
        let claims: Vec<Json> = CLAIMS
            .iter()
            .map(|(claim, label)| {
                json!({ "path": [claim], "display": [{ "name": label, "locale": "en" }] })
            })
            .collect();
        let configuration = json!({
            "format": "dc+sd-jwt",
            "vct": type_url(issuer),
            "scope": CONFIGURATION,
            "cryptographic_binding_methods_supported": ["jwk"],
            "credential_signing_alg_values_supported": ["ES256"],
            "proof_types_supported": { "jwt": { "proof_signing_alg_values_supported": ["ES256"] } },
            "credential_metadata": {
                "display": [{ "name": "Verified document", "locale": "en" }],
                "claims": claims,
            },
        });
        json!({
            "credential_issuer": issuer,
            "credential_endpoint": format!("{issuer}/v1/oid4vci/credential"),
            "nonce_endpoint": format!("{issuer}/v1/oid4vci/nonce"),
            "display": [{ "name": name, "locale": "en" }],
            "credential_configurations_supported": { CONFIGURATION: configuration },
        })
    }

    /// Authorization server metadata (RFC 8414).
    pub fn server_metadata(&self) -> Json {
        let issuer = &self.0.issuer;
        json!({
            "issuer": issuer,
            "token_endpoint": format!("{issuer}/v1/oid4vci/token"),
            "grant_types_supported": [GRANT],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["none"],
            "pre-authorized_grant_anonymous_access_supported": true,
        })
    }

    /// Type metadata of the SD-JWT credentials (SD-JWT VC section 6).
    pub fn type_metadata(&self) -> Json {
        let claims: Vec<Json> = CLAIMS
            .iter()
            .map(|(claim, label)| {
                let display = json!([{ "lang": "en", "label": label }]);
                json!({ "path": [claim], "display": display, "sd": "always" })
            })
            .collect();
        json!({
            "vct": type_url(&self.0.issuer),
            "name": "Verified document",
            "description": "A document was checked by the named verifier, with the outcome \
                            \"verified\". Nothing is said of what the document itself claims.",
            "display": [{ "lang": "en", "name": "Verified document" }],
            "claims": claims,
        })
    }
}
