//! Requests made, signed and answered.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::id::kinds::{Presentation, User};
use kernel::{Caller, Error, Id, Result, Secret, Timestamp};
use platform::crypto::{MasterKey, base64url, hmac_sha256, sha256};
use platform::db::{Db, Read};
use platform::journal::Fact;
use serde_json::{Value as Json, json};
use subtle::ConstantTimeEq;
use verify::jose::es256::SecretKey;
use verify::jose::sdjwt::SdJwt;
use verify::jose::{jwe, jws};
use verify::judge::Presented;
use verify::judge::report::{Outcome, Verdict};

use super::model::{QUERY_ID, Query};
use super::store;
pub use super::store::Request;
use crate::authority::service::{Purpose, Service as Authority, Signer};
use crate::judging::Judging;

/// For how long a wallet may answer.
pub const REQUEST_LIFETIME: Duration = Duration::from_secs(600);
/// The `typ` and media type of a signed request.
pub const REQUEST_TYPE: &str = "oauth-authz-req+jwt";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub purpose: String,
    pub query: Query,
    pub encrypted: bool,
}

/// What a wallet posts.
#[derive(Debug, Clone, Default)]
pub struct Posted {
    pub vp_token: Option<String>,
    pub state: Option<String>,
    /// The encrypted form of the two.
    pub response: Option<String>,
}

/// Who knows the names of those who ask.
pub trait Askers: Send + Sync {
    /// The name under which a user is known; none where there is nobody any more.
    fn name(&self, user: Id<User>) -> BoxFuture<'_, Result<Option<String>>>;
}

/// Requests for presentations. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    authority: Authority,
    judging: Judging,
    /// Made after this, and set once.
    askers: OnceLock<Arc<dyn Askers>>,
    secret: Secret<[u8; 32]>,
}

fn refused(message: impl Into<String>) -> Error {
    Error::invalid("invalid_request", message.into())
}

impl Service {
    pub fn new(db: Db, authority: Authority, judging: Judging, master: &MasterKey) -> Self {
        let secret = master.derive("presentation");
        Self(Arc::new(Inner { db, authority, judging, askers: OnceLock::new(), secret }))
    }

    /// Says who knows the names of those who ask: without, wallets show the platform's alone.
    pub fn ask(&self, askers: Arc<dyn Askers>) {
        // Whoever is told twice keeps to the first.
        let _ = self.0.askers.set(askers);
    }

    /// The time at which states are told.
    pub fn now(&self) -> Timestamp {
        self.0.db.world().now()
    }

    /// The issuer's own type of credential, which is asked for where nothing else is said.
    pub fn own_type(&self) -> String {
        crate::issuance::service::type_url(self.0.authority.issuer())
    }

    /// Asks.
    pub async fn create(&self, caller: &Caller, asked: &Asked) -> Result<Request> {
        let asker = caller.user()?;
        self.0
            .db
            .run("presentation.request", |tx| async move {
                let request = Request {
                    id: tx.world().id(),
                    asker,
                    purpose: asked.purpose.clone(),
                    query: asked.query.clone(),
                    encrypted: asked.encrypted,
                    created_at: tx.now(),
                    expires_at: tx.now() + REQUEST_LIFETIME,
                    answered_at: None,
                    claims: None,
                };
                store::insert(&tx, &request).await?;
                tx.record(Fact::by(caller, "presentation.requested").on(request.id).about(asker));
                Ok(request)
            })
            .await
    }

    /// A request of the caller's.
    pub async fn get(&self, caller: &Caller, id: Id<Presentation>) -> Result<Request> {
        let asker = caller.user()?;
        let request = store::get(&self.0.db, id).await?;
        let own = request.filter(|request| request.asker == asker);
        own.ok_or_else(|| Error::not_found("presentation request"))
    }

    /// The request whose link somebody has, while it is open.
    async fn open(&self, db: &impl Read, id: Id<Presentation>, now: Timestamp) -> Result<Request> {
        let request = store::get(db, id).await?;
        let open =
            request.filter(|request| request.answered_at.is_none() && request.expires_at > now);
        open.ok_or_else(|| Error::not_found("presentation request"))
    }

    /// What opens a wallet.
    pub fn link(&self, id: Id<Presentation>, signer: &Signer) -> String {
        let client = client_id(signer).replace(':', "%3A");
        let url = format!("{}/v1/oid4vp/request/{id}", self.0.authority.issuer());
        let url = url.replace(':', "%3A").replace('/', "%2F");
        format!("openid4vp://?client_id={client}&request_uri={url}")
    }

    /// The key that signs requests now.
    pub fn signer(&self) -> Result<Arc<Signer>> {
        self.0.authority.signer(Purpose::Request, self.0.db.world().now())
    }

    /// What a request is recognised by, or encrypted to: derived, and nowhere stored.
    fn derived(&self, id: Id<Presentation>, what: &str) -> [u8; 32] {
        hmac_sha256(self.0.secret.expose(), format!("{what}/{id}").as_bytes())
    }

    fn key(&self, id: Id<Presentation>) -> Result<SecretKey> {
        SecretKey::from_bytes(&self.derived(id, "key"))
            .map_err(|error| Error::internal("a request has no key").because(error))
    }

    /// The request as the wallet fetches it: signed, with the chain of the key that signed it.
    pub async fn signed(&self, id: Id<Presentation>) -> Result<String> {
        let Inner { db, authority, .. } = &*self.0;
        let now = db.world().now();
        let request = self.open(db, id, now).await?;
        let signer = self.signer()?;
        let mut metadata = json!({
            "client_name": self.client_name(&request).await?,
            "vp_formats_supported": { "dc+sd-jwt": {
                "sd-jwt_alg_values": ["ES256"],
                "kb-jwt_alg_values": ["ES256"],
            } },
        });
        if request.encrypted {
            let mut jwk = self.key(id)?.public().to_jwk();
            jwk["kid"] = id.to_string().into();
            jwk["use"] = "enc".into();
            jwk["alg"] = "ECDH-ES".into();
            metadata["jwks"] = json!({ "keys": [jwk] });
            metadata["encrypted_response_enc_values_supported"] = json!(["A128GCM", "A256GCM"]);
        }
        let claims = json!({
            "iss": client_id(&signer),
            "aud": "https://self-issued.me/v2",
            "iat": now.seconds(),
            "exp": request.expires_at.seconds(),
            "client_id": client_id(&signer),
            "response_type": "vp_token",
            "response_mode": if request.encrypted { "direct_post.jwt" } else { "direct_post" },
            "response_uri": format!("{}/v1/oid4vp/response/{id}", authority.issuer()),
            "nonce": base64url(self.derived(id, "nonce")),
            "state": base64url(self.derived(id, "state")),
            "dcql_query": request.query.dcql(),
            "client_metadata": metadata,
        });
        Ok(jws::sign(signer.header(REQUEST_TYPE), &claims, &signer.key))
    }

    /// What a wallet shows of whoever asks. OpenID4VP 1.0 has no member for the purpose: it stands
    /// here, where every wallet shows it to the person who is to consent.
    async fn client_name(&self, request: &Request) -> Result<String> {
        let name = match self.0.askers.get() {
            Some(askers) => askers.name(request.asker).await?,
            None => None,
        };
        let host = self.0.authority.host();
        let who = match name {
            Some(name) => format!("{name} ({host})"),
            None => host.to_owned(),
        };
        let text = format!("{who}: {}", request.purpose);
        // Words of people's: nothing of them breaks out of its line.
        Ok(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect())
    }

    /// Takes a wallet's answer. Whatever is wrong with it leaves the request as it was.
    pub async fn answer(&self, id: Id<Presentation>, posted: &Posted) -> Result<()> {
        let Inner { db, .. } = &*self.0;
        let request = self.open(db, id, db.world().now()).await?;
        let (vp_token, state) = self.unseal(&request, posted)?;
        let expected = base64url(self.derived(id, "state"));
        if !bool::from(expected.as_bytes().ct_eq(state.as_bytes())) {
            return Err(refused("The state is not the request's."));
        }
        let shown = vp_token[QUERY_ID].as_array().map(Vec::as_slice);
        let (Some([Json::String(text)]), Some(1)) =
            (shown, vp_token.as_object().map(serde_json::Map::len))
        else {
            return Err(refused("Answer the query with exactly one presentation."));
        };
        let claims = &self.accept(&request, text).await?;
        let accepted = db.run("presentation.accept", |tx| async move {
            if !store::answer(&tx, id, claims).await? {
                return Err(refused("The request has been answered."));
            }
            let fact = Fact::by(&Caller::nobody(), "presentation.accepted").on(id);
            tx.record(fact.about(request.asker));
            Ok(())
        });
        accepted.await
    }

    fn unseal(&self, request: &Request, posted: &Posted) -> Result<(Json, String)> {
        let read = |text: &str| verify::credential::jcs::parse(text).ok();
        let parts = if request.encrypted {
            let sealed = posted.response.as_deref().unwrap_or_default();
            let opened = jwe::decrypt(sealed, &self.key(request.id)?)
                .map_err(|error| refused(error.to_string()))?;
            let opened = String::from_utf8(opened).ok().and_then(|text| read(&text));
            opened.and_then(|mut opened| {
                let state = opened["state"].as_str()?.to_owned();
                Some((opened["vp_token"].take(), state))
            })
        } else {
            let vp_token = posted.vp_token.as_deref().and_then(read);
            vp_token.zip(posted.state.clone())
        };
        parts.ok_or_else(|| refused("Send vp_token and state, in the mode that was asked for."))
    }

    /// The claims that were asked for, out of a presentation that is valid in every respect.
    async fn accept(&self, request: &Request, text: &str) -> Result<Json> {
        let signer = self.signer()?;
        let challenge = Presented {
            audience: client_id(&signer),
            nonce: base64url(self.derived(request.id, "nonce")),
        };
        let report = self.0.judging.judge(text.as_bytes(), Some(challenge)).await?;
        // A credential that is bound to no key proves nothing about who presents it.
        let bound = report.outcome(verify::judge::report::Name::KeyBinding) == Outcome::Proved;
        if report.verdict != Verdict::Valid || !bound {
            let lacking = report
                .checks
                .iter()
                .find(|check| check.name.is_required() && check.outcome != Outcome::Proved);
            let detail = lacking.map(|check| check.detail.as_str()).unwrap_or_default();
            return Err(refused(format!("The presentation is not accepted: {detail}.")));
        }
        let claims = SdJwt::parse(text).and_then(|parsed| parsed.claims());
        let claims = claims.map_err(|error| refused(error.to_string()))?;
        let answer = request.query.answer(&claims);
        let missing = || refused("The presentation does not show what was asked for.");
        Ok(Json::Object(answer.ok_or_else(missing)?))
    }
}

/// The verifier's identifier: the hash of the certificate that signs (OpenID4VP 1.0 section 5.9.3).
pub fn client_id(signer: &Signer) -> String {
    format!("x509_hash:{}", base64url(sha256(&signer.certificate)))
}
