//! The keys at work: made at first start, opened once, rotated by command, never used again once
//! they are compromised.

use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use kernel::id::kinds::Key;
use kernel::{Caller, Error, Id, Result, Timestamp};
use parking_lot::RwLock;
use platform::crypto::MasterKey;
use platform::db::{Bind, Column, Db, FromColumn, Tx, Value};
use platform::journal::Fact;
use serde_json::Value as Json;

use super::store::{self, StoredKey};
use verify::key::did::{self, Revoked, VerificationMethod};
use verify::key::multikey::PublicKey;

/// For how long a new key is published before it signs: what fetched the old DID document has
/// fetched a newer one by then.
pub const PUBLISHED_BEFORE_USE: Duration = Duration::from_secs(3600);

/// What a key may sign. One key serves one purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Verdict credentials, status lists and bundles.
    Credential,
    /// Checkpoints of the transparency log.
    Log,
}

impl Purpose {
    pub const ALL: [Self; 2] = [Self::Credential, Self::Log];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Log => "log",
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
    pub key: SigningKey,
    /// The absolute identifier of the key: `did:web:host#key-...`.
    pub method: String,
}

/// What may be shown of a key.
#[derive(Debug, Clone)]
pub struct PublishedKey {
    pub id: Id<Key>,
    pub purpose: Purpose,
    pub public_key: PublicKey,
    pub created_at: Timestamp,
    /// From when on it signs; an older key of the purpose signs until then.
    pub signs_from: Timestamp,
    /// Since when somebody else may have it: then it signs no more.
    pub compromised: Option<Timestamp>,
}

/// The issuer's keys. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    master: MasterKey,
    did: String,
    opened: RwLock<Vec<Opened>>,
}

struct Opened {
    published: PublishedKey,
    signer: Arc<Signer>,
}

impl Service {
    /// The issuer that is reached at `public_url`.
    pub fn new(db: Db, master: MasterKey, public_url: &str) -> Result<Self> {
        let did = did::did_web(public_url).map_err(|error| {
            let message = format!("server.public_url cannot name an issuer: {error}.");
            Error::invalid("invalid_configuration", message)
        })?;
        Ok(Self(Arc::new(Inner { db, master, did, opened: RwLock::default() })))
    }

    /// The issuer's did:web identifier.
    pub fn did(&self) -> &str {
        &self.0.did
    }

    /// Makes the keys that are missing and opens all of them.
    pub async fn start(&self) -> Result<()> {
        self.0
            .db
            .run("key.ensure", |tx| async move {
                let keys = store::all(&tx).await?;
                for purpose in Purpose::ALL {
                    // Of replicas that start at once, each would make one; the lock lets one.
                    if keys.iter().all(|key| key.purpose != purpose)
                        && tx.exclusive("trust.key.ensure").await?
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
        let secret: &[u8; 32] = secret
            .expose()
            .as_slice()
            .try_into()
            .map_err(|_| Error::internal("a signing key has the wrong length"))?;
        let key = SigningKey::from_bytes(secret);
        let public_key = PublicKey::of(&key);
        if public_key.to_bytes() != stored.public_key {
            return Err(Error::internal("a signing key does not fit its public half"));
        }
        let method = did::method_id(&self.0.did, &fragment(stored.id));
        Ok(Opened {
            published: PublishedKey {
                id: stored.id,
                purpose: stored.purpose,
                public_key,
                created_at: stored.created_at,
                signs_from: stored.signs_from,
                compromised: stored.compromised,
            },
            signer: Arc::new(Signer { id: stored.id, key, method }),
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
        let secret: [u8; 32] = tx.world().random();
        let key = SigningKey::from_bytes(&secret);
        let stored = StoredKey {
            id,
            purpose,
            public_key: PublicKey::of(&key).to_bytes(),
            sealed_key: self.0.master.seal(tx.world(), &context(id), &secret)?,
            created_at: tx.now(),
            signs_from,
            compromised: None,
        };
        store::insert(tx, &stored).await?;
        let made = Fact::by(&Caller::nobody(), "key.created").on(id);
        tx.record(made.with("purpose", purpose.as_str()).with("signsFrom", signs_from));
        Ok(id)
    }

    /// Makes a new key. It is published at once and signs when the old one has had its hour; the
    /// old one stays published, so that what it signed stays good.
    pub async fn rotate(&self, purpose: Purpose, wait: Duration) -> Result<Id<Key>> {
        let id = self
            .0
            .db
            .run("key.rotate", |tx| async move { self.make(&tx, purpose, tx.now() + wait).await })
            .await?;
        self.reload().await?;
        Ok(id)
    }

    /// The key that signs for a purpose at a time: of those whose time has come and that nobody
    /// else has, the newest.
    pub fn signer(&self, purpose: Purpose, now: Timestamp) -> Result<Arc<Signer>> {
        let opened = self.0.opened.read();
        let ready = |key: &&Opened| {
            let PublishedKey { purpose: of, signs_from, compromised, .. } = &key.published;
            *of == purpose && *signs_from <= now && compromised.is_none()
        };
        opened.iter().rev().find(ready).map(|key| key.signer.clone()).ok_or_else(|| {
            Error::unavailable("no_signing_key", "The signing keys are not ready yet.")
        })
    }

    /// Every key, oldest first.
    pub fn published(&self) -> Vec<PublishedKey> {
        self.0.opened.read().iter().map(|key| key.published.clone()).collect()
    }

    /// The public halves of all keys that ever signed checkpoints.
    pub fn log_keys(&self) -> Vec<PublicKey> {
        let keys = self.published().into_iter().filter(|key| key.purpose == Purpose::Log);
        keys.map(|key| key.public_key).collect()
    }

    /// The DID document: every key that ever signed credentials, and since when a compromised one
    /// must not be believed.
    pub fn did_document(&self) -> Json {
        let methods: Vec<VerificationMethod> = self
            .published()
            .into_iter()
            .filter(|key| key.purpose == Purpose::Credential)
            .map(|key| VerificationMethod {
                fragment: fragment(key.id),
                key: key.public_key,
                revoked: key.compromised.map(|since| Revoked {
                    since: since.to_second_text(),
                    wholly: since <= key.signs_from,
                }),
            })
            .collect();
        did::document(&self.0.did, &methods)
    }
}

/// What names a key inside of the DID document.
fn fragment(id: Id<Key>) -> String {
    id.to_string()
}

/// What the sealed key is bound to.
fn context(id: Id<Key>) -> String {
    format!("issuer_keys/{id}")
}
