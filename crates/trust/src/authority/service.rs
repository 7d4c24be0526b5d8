//! The certified keys at work: made at first start, opened once, rotated by command.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kernel::id::kinds::Key;
use kernel::{Caller, Error, Id, Result, Timestamp};
use parking_lot::RwLock;
use platform::crypto::MasterKey;
use platform::db::{Bind, Column, Db, FromColumn, Tx, Value};
use platform::journal::Fact;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
    SanType, SerialNumber, SignatureAlgorithm,
};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use verify::jose::es256::{PublicKey, SecretKey};

use super::store::{self, StoredKey};

/// For how long the root is good.
const ROOT_LIFETIME: Duration = Duration::from_secs(20 * 366 * 24 * 3600);
/// For how long a certificate below it is good: longer than what is signed under it.
const LEAF_LIFETIME: Duration = Duration::from_secs(8 * 366 * 24 * 3600);
/// Clocks of others may be behind ours.
const SKEW: Duration = Duration::from_secs(3600);

/// What a certified key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Certificates of the other keys.
    Root,
    /// SD-JWT credentials, JWT credentials and status list tokens.
    Credential,
    /// Requests to wallets for a presentation.
    Request,
}

impl Purpose {
    pub const ALL: [Self; 3] = [Self::Root, Self::Credential, Self::Request];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Credential => "credential",
            Self::Request => "request",
        }
    }
}

impl Bind for Purpose {
    fn bind(&self) -> Value<'_> {
        Value::Text(self.as_str())
    }
}

impl FromColumn for Purpose {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// A key that is ready to sign.
pub struct Signer {
    pub id: Id<Key>,
    pub key: SecretKey,
    /// DER.
    pub certificate: Vec<u8>,
}

impl Signer {
    /// The header of a token of this type: `kid`, and the chain without its anchor.
    pub fn header(&self, typ: &str) -> Json {
        let x5c = [STANDARD.encode(&self.certificate)];
        json!({ "typ": typ, "kid": self.id.to_string(), "x5c": x5c })
    }
}

struct Opened {
    purpose: Purpose,
    created_at: Timestamp,
    signs_from: Timestamp,
    compromised: Option<Timestamp>,
    signer: Arc<Signer>,
}

/// What may be shown of a certified key.
#[derive(Debug, Clone)]
pub struct CertifiedKey {
    pub id: Id<Key>,
    pub purpose: Purpose,
    pub public_key: PublicKey,
    pub created_at: Timestamp,
    /// From when on it signs; an older key of the purpose signs until then.
    pub signs_from: Timestamp,
    /// Since when somebody else may have it: then it signs no more.
    pub compromised: Option<Timestamp>,
}

impl CertifiedKey {
    /// Whether credentials that it signed may be good.
    pub fn signs_credentials(&self) -> bool {
        let is_wholly_compromised = self.compromised.is_some_and(|since| since <= self.signs_from);
        self.purpose == Purpose::Credential && !is_wholly_compromised
    }

    /// Since when what it signs is no credential of ours, once somebody else may have it.
    pub fn revoked_since(&self) -> Option<Timestamp> {
        match self.purpose {
            Purpose::Credential => self.compromised,
            // It never signs any.
            Purpose::Root | Purpose::Request => self.compromised.map(|_| self.created_at),
        }
    }
}

/// The certified keys. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    master: MasterKey,
    /// `iss` of everything signed here.
    issuer: String,
    opened: RwLock<Vec<Opened>>,
}

/// A key as the certificate library wants to see it.
struct Certifying<'a> {
    key: &'a SecretKey,
    point: [u8; 65],
}

impl<'a> Certifying<'a> {
    fn new(key: &'a SecretKey) -> Self {
        Self { key, point: key.public().to_sec1() }
    }
}

impl rcgen::PublicKeyData for Certifying<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Certifying<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key.sign_der(message))
    }
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("a certified key cannot be made: {error}"))
}

impl Service {
    /// The authority of the issuer at `public_url`.
    pub fn new(db: Db, master: MasterKey, public_url: &str) -> Self {
        let issuer = public_url.trim_end_matches('/').to_owned();
        Self(Arc::new(Inner { db, master, issuer, opened: RwLock::default() }))
    }

    /// The issuer as tokens name it.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Makes the keys that are missing, the root first, and opens all of them.
    pub async fn start(&self) -> Result<()> {
        self.0
            .db
            .run("authority.ensure", |tx| async move {
                for purpose in Purpose::ALL {
                    let keys = store::all(&tx).await?;
                    // Of replicas that start at once, each would make one; the lock lets one.
                    if keys.iter().all(|key| key.purpose != purpose)
                        && tx.exclusive("trust.authority.ensure").await?
                    {
                        self.make(&tx, purpose, tx.now()).await?;
                    }
                }
                Ok(())
            })
            .await?;
        self.reload().await
    }

    /// Opens what is stored: at start, after a rotation, and now and then for other replicas'.
    pub async fn reload(&self) -> Result<()> {
        let keys = store::all(&self.0.db).await?;
        let opened = keys.iter().map(|key| self.open(key)).collect::<Result<Vec<_>>>()?;
        *self.0.opened.write() = opened;
        Ok(())
    }

    fn open(&self, stored: &StoredKey) -> Result<Opened> {
        let secret = self.0.master.open(&context(stored.id), &stored.sealed_key)?;
        let secret = secret.expose().as_slice().try_into().map_err(broken)?;
        let key = SecretKey::from_bytes(secret).map_err(broken)?;
        if key.public().to_sec1()[..] != stored.public_key[..] {
            return Err(Error::internal("a certified key does not fit its public half"));
        }
        let certificate = stored.certificate.clone();
        let signer = Arc::new(Signer { id: stored.id, key, certificate });
        Ok(Opened {
            purpose: stored.purpose,
            created_at: stored.created_at,
            signs_from: stored.signs_from,
            compromised: stored.compromised,
            signer,
        })
    }

    /// Makes a key within a transaction; [`Self::reload`] opens it afterwards.
    pub(crate) async fn make(
        &self,
        tx: &Tx,
        purpose: Purpose,
        signs_from: Timestamp,
    ) -> Result<Id<Key>> {
        let id = tx.world().id();
        let (key, secret) = loop {
            let secret: [u8; 32] = tx.world().random();
            if let Ok(key) = SecretKey::from_bytes(&secret) {
                break (key, secret);
            }
        };
        let certificate = self.certify(tx, id, purpose, &key).await?;
        let stored = StoredKey {
            id,
            purpose,
            public_key: key.public().to_sec1().to_vec(),
            sealed_key: self.0.master.seal(tx.world(), &context(id), &secret)?,
            certificate,
            created_at: tx.now(),
            signs_from,
            compromised: None,
        };
        store::insert(tx, &stored).await?;
        let made = Fact::by(&Caller::nobody(), "key.certified").on(id);
        tx.record(made.with("purpose", purpose.as_str()).with("signsFrom", signs_from));
        Ok(id)
    }

    async fn certify(
        &self,
        tx: &Tx,
        id: Id<Key>,
        purpose: Purpose,
        key: &SecretKey,
    ) -> Result<Vec<u8>> {
        let mut params = match purpose {
            Purpose::Root => root(id),
            Purpose::Credential => self.speaking_leaf()?,
            Purpose::Request => self.leaf(Vec::new())?,
        };
        let lifetime = if purpose == Purpose::Root { ROOT_LIFETIME } else { LEAF_LIFETIME };
        let time = |at: Timestamp| OffsetDateTime::from_unix_timestamp(at.seconds());
        params.not_before = time(tx.now() - SKEW).map_err(broken)?;
        params.not_after = time(tx.now() + lifetime).map_err(broken)?;
        let mut serial: [u8; 16] = tx.world().random();
        // Positive and of full length, as RFC 5280 section 4.1.2.2 wants it.
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let own = Certifying::new(key);
        if purpose == Purpose::Root {
            return Ok(params.self_signed(&own).map_err(broken)?.der().to_vec());
        }
        let keys = store::all(tx).await?;
        let root_key = keys.iter().rev().find(|key| key.purpose == Purpose::Root);
        let root_key = self.open(root_key.ok_or_else(|| broken("there is no root"))?)?.signer;
        let root_params = root(root_key.id);
        let issuer = Issuer::from_params(&root_params, Certifying::new(&root_key.key));
        Ok(params.signed_by(&own, &issuer).map_err(broken)?.der().to_vec())
    }

    /// A certificate that stands for the issuer's host and URL: what its key signs is the
    /// issuer's.
    fn speaking_leaf(&self) -> Result<CertificateParams> {
        let mut params = self.leaf(vec![self.host().to_owned()])?;
        let url = self.0.issuer.as_str().try_into().map_err(broken)?;
        params.subject_alt_names.push(SanType::URI(url));
        Ok(params)
    }

    /// A certificate for signatures only, which stands for these hosts. Wallets know a request by
    /// the hash of its certificate: that of its key stands for nobody, so that nothing it signs
    /// passes for a credential.
    fn leaf(&self, hosts: Vec<String>) -> Result<CertificateParams> {
        let mut params = CertificateParams::new(hosts).map_err(broken)?;
        params.distinguished_name = named(self.host());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    /// The issuer's host name, without its port.
    pub fn host(&self) -> &str {
        let rest = self.0.issuer.split_once("://").map_or(self.0.issuer.as_str(), |(_, rest)| rest);
        rest.split(['/', ':']).next().unwrap_or(rest)
    }

    /// Makes a new key below the root. It is published at once and signs after `wait`; the old
    /// one stays published, so that what it signed stays good.
    pub async fn rotate(&self, purpose: Purpose, wait: Duration) -> Result<Id<Key>> {
        let id =
            self.0
                .db
                .run("authority.rotate", |tx| async move {
                    self.make(&tx, purpose, tx.now() + wait).await
                })
                .await?;
        self.reload().await?;
        Ok(id)
    }

    /// The key that signs for a purpose at a time: of those whose time has come and that nobody
    /// else has, the newest.
    pub fn signer(&self, purpose: Purpose, now: Timestamp) -> Result<Arc<Signer>> {
        let opened = self.0.opened.read();
        let ready = |key: &&Opened| {
            key.purpose == purpose && key.signs_from <= now && key.compromised.is_none()
        };
        opened.iter().rev().find(ready).map(|key| key.signer.clone()).ok_or_else(|| {
            Error::unavailable("no_signing_key", "The signing keys are not ready yet.")
        })
    }

    /// Every key, oldest first.
    pub fn published(&self) -> Vec<CertifiedKey> {
        let shown = |key: &Opened| CertifiedKey {
            id: key.signer.id,
            purpose: key.purpose,
            public_key: key.signer.key.public(),
            created_at: key.created_at,
            signs_from: key.signs_from,
            compromised: key.compromised,
        };
        self.0.opened.read().iter().map(shown).collect()
    }

    /// The keys of credentials, old ones included, and those of requests that somebody else has:
    /// their certificates may stand for the issuer too. Oldest first.
    pub fn credential_keys(&self) -> Vec<CertifiedKey> {
        let keys = self.published().into_iter();
        keys.filter(|key| match key.purpose {
            Purpose::Credential => true,
            Purpose::Request => key.compromised.is_some(),
            Purpose::Root => false,
        })
        .collect()
    }

    /// JWT VC issuer metadata (SD-JWT VC section 4). A key that was compromised says since when
    /// (`revoked`, OpenID Federation 1.0 section 8.7.2). One under which nothing good was signed
    /// stands apart in `revoked_jwks`: readers who pass over `revoked` do not find it, and those
    /// who come to it by its certificate learn that it is lost.
    pub fn issuer_metadata(&self) -> Json {
        let jwk = |key: CertifiedKey| {
            let mut jwk = key.public_key.to_jwk();
            jwk["kid"] = key.id.to_string().into();
            jwk["use"] = "sig".into();
            jwk["alg"] = "ES256".into();
            if let Some(since) = key.revoked_since() {
                jwk["revoked"] = json!({ "revoked_at": since.seconds(), "reason": "compromised" });
            }
            jwk
        };
        let keys = self.credential_keys().into_iter();
        let (good, lost): (Vec<_>, Vec<_>) = keys.partition(CertifiedKey::signs_credentials);
        let [good, lost] = [good, lost].map(|keys| keys.into_iter().map(jwk).collect::<Vec<_>>());
        let mut metadata = json!({ "issuer": self.issuer(), "jwks": { "keys": good } });
        if !lost.is_empty() {
            metadata["revoked_jwks"] = json!({ "keys": lost });
        }
        metadata
    }

    /// The roots as PEM blocks, oldest first: what a reader pins.
    pub fn roots(&self) -> Vec<String> {
        let opened = self.0.opened.read();
        let roots = opened.iter().filter(|key| key.purpose == Purpose::Root);
        roots.map(|key| pem(&key.signer.certificate)).collect()
    }
}

fn root(id: Id<Key>) -> CertificateParams {
    let mut params = CertificateParams::default();
    // The name comes from the key, so that it is the same whenever something is signed under it.
    params.distinguished_name = named(&format!("Verza root {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines + "-----END CERTIFICATE-----\n"
}

/// What the sealed key is bound to.
fn context(id: Id<Key>) -> String {
    format!("certified_keys/{id}")
}
