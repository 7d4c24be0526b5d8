//! Making tokens, believing them, and changing the key.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::{SigningKey, VerifyingKey};
use kernel::id::kinds::{Key, Session, User};
use kernel::{Caller, Error, Id, Result, Role, Secret, Timestamp};
use parking_lot::RwLock;
use platform::crypto::{MasterKey, base64url};
use platform::db::{Db, Tx};
use platform::journal::Fact;

use super::jws::{self, Unverified};
use super::{Claims, Policy, Refusal, store};

/// How long a retired key is believed.
const RETIRED_BELIEVED: Duration = Duration::from_secs(24 * 3600);
/// A token from this far in the future is refused; clocks of replicas differ by less.
const SKEW: Duration = Duration::from_secs(60);
/// An unknown key id makes the keys be read again, but not more often than this.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// The keys as this process knows them.
struct Keys {
    signing: Option<(String, SigningKey)>,
    believed: Vec<(String, VerifyingKey)>,
    /// The public keys as a JWK set (RFC 7517), ready to be sent.
    jwks: Bytes,
}

/// Makes and checks access tokens.
pub struct Service {
    db: Db,
    master: MasterKey,
    policy: Policy,
    keys: RwLock<Arc<Keys>>,
    /// When the keys were last read, in microseconds.
    loaded_at: AtomicI64,
}

impl Service {
    pub fn new(db: Db, master: MasterKey, policy: Policy) -> Self {
        let none = Keys { signing: None, believed: Vec::new(), jwks: jwks(&[]) };
        Self {
            db,
            master,
            policy,
            keys: RwLock::new(Arc::new(none)),
            loaded_at: AtomicI64::new(i64::MIN),
        }
    }

    pub const fn lifetime(&self) -> Duration {
        self.policy.lifetime
    }

    /// Reads the keys, and makes the first one where there is none. Of several replicas that
    /// start at once, one makes it.
    pub async fn ensure_keys(&self) -> Result<()> {
        self.reload().await?;
        if self.keys().signing.is_some() {
            return Ok(());
        }
        self.db.run("token.make_key", |tx| async move { self.make_key(&tx).await }).await?;
        self.reload().await
    }

    /// Replaces the signing key, whatever its age. Tokens under the old one stay good.
    pub async fn rotate(&self, caller: &Caller) -> Result<()> {
        self.rotate_older_than(caller, Duration::ZERO).await
    }

    /// Replaces the signing key when it is older than the policy allows, and forgets keys that
    /// are long retired: for the daily job.
    pub async fn keep_fresh(&self) -> Result<()> {
        let before = self.db.world().now() - RETIRED_BELIEVED;
        self.db.run("token.sweep", |tx| async move { store::sweep(&tx, before).await }).await?;
        self.rotate_older_than(&Caller::nobody(), self.policy.key_age_max).await
    }

    async fn rotate_older_than(&self, caller: &Caller, age: Duration) -> Result<()> {
        self.db
            .run("token.rotate", |tx| async move {
                if store::retire(&tx, tx.now() - age).await?
                    && let Some(made) = self.make_key(&tx).await?
                {
                    tx.record(Fact::by(caller, "token_key.rotated").on(made));
                }
                Ok(())
            })
            .await?;
        self.reload().await
    }

    async fn make_key(&self, tx: &Tx) -> Result<Option<Id<Key>>> {
        let id = tx.world().id::<Key>();
        let secret = Secret::new(tx.world().random::<32>());
        let public = SigningKey::from_bytes(secret.expose()).verifying_key().to_bytes();
        let sealed = self.master.seal(tx.world(), &context(id), secret.expose())?;
        Ok(store::insert(tx, id, &public, &sealed).await?.then_some(id))
    }

    /// Reads the keys from the store.
    ///
    /// # Errors
    /// `Internal`: the master key is not the one that sealed them.
    pub async fn reload(&self) -> Result<()> {
        let now = self.db.world().now();
        self.loaded_at.store(now.micros(), Ordering::Relaxed);
        let stored = store::believed(&self.db, now - RETIRED_BELIEVED).await?;
        let mut keys = Keys { signing: None, believed: Vec::new(), jwks: Bytes::new() };
        for key in stored {
            let public = VerifyingKey::from_bytes(&key.public_key)
                .map_err(|error| Error::internal("a token key is broken").because(error))?;
            if key.is_active {
                let opened = self.master.open(&context(key.id), &key.sealed_key)?;
                let secret = <&[u8; 32]>::try_from(opened.expose().as_slice())
                    .map_err(|error| Error::internal("a token key is broken").because(error))?;
                keys.signing = Some((key.id.to_string(), SigningKey::from_bytes(secret)));
                let age = now.since(key.created_at).as_secs();
                metrics::gauge!("token_key_age_seconds").set(age as f64);
            }
            keys.believed.push((key.id.to_string(), public));
        }
        keys.jwks = jwks(&keys.believed);
        *self.keys.write() = Arc::new(keys);
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    /// The public keys as a JWK set.
    pub fn jwks(&self) -> Bytes {
        self.keys().jwks.clone()
    }

    /// An access token for a session, from now on, ending no later than `until`.
    pub async fn issue(
        &self,
        user: Id<User>,
        role: Role,
        session: Id<Session>,
        until: Timestamp,
    ) -> Result<Secret<String>> {
        let now = self.db.world().now();
        let claims = Claims {
            iss: self.policy.issuer.clone(),
            aud: self.policy.audience.clone(),
            sub: user,
            sid: session,
            role,
            iat: now.seconds(),
            exp: (now + self.policy.lifetime).min(until).seconds(),
            jti: base64url(self.db.world().random::<12>()),
        };
        self.sign(&claims).await
    }

    pub(super) async fn sign(&self, claims: &Claims) -> Result<Secret<String>> {
        if self.keys().signing.is_none() {
            self.ensure_keys().await?;
        }
        let keys = self.keys();
        let (kid, key) =
            keys.signing.as_ref().ok_or_else(|| Error::internal("there is no token key"))?;
        let payload = serde_json::to_vec(claims)
            .map_err(|error| Error::internal("claims cannot be written").because(error))?;
        Ok(Secret::new(jws::sign(kid, &payload, key)))
    }

    /// What a token says, when it is ours and not over. The session may have ended all the same.
    pub async fn verify(&self, token: &str) -> Result<Claims> {
        let now = self.db.world().now();
        let unverified = Unverified::parse(token)?;
        let key = match self.key(&unverified.kid) {
            Some(key) => key,
            None => {
                // Another replica may have made a key since.
                if now.since(Timestamp::from_micros(self.loaded_at.load(Ordering::Relaxed)))
                    >= RELOAD_PAUSE
                {
                    self.reload().await?;
                }
                self.key(&unverified.kid).ok_or(Refusal::UnknownKey)?
            }
        };
        let claims: Claims = unverified.verify(&key)?;
        self.judge(&claims, now)?;
        Ok(claims)
    }

    fn key(&self, kid: &str) -> Option<VerifyingKey> {
        let keys = self.keys();
        keys.believed.iter().find(|(known, _)| known == kid).map(|(_, key)| *key)
    }

    fn judge(&self, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        if claims.iss != self.policy.issuer || claims.aud != self.policy.audience {
            return Err(Refusal::Foreign);
        }
        if Timestamp::from_seconds(claims.iat) > now + SKEW {
            return Err(Refusal::Foreign);
        }
        if claims.expires_at() <= now {
            return Err(Refusal::Expired);
        }
        Ok(())
    }
}

fn context(id: Id<Key>) -> String {
    format!("token/{id}")
}

/// RFC 8037 section 2.
fn jwks(keys: &[(String, VerifyingKey)]) -> Bytes {
    let keys: Vec<_> = keys
        .iter()
        .map(|(kid, key)| {
            serde_json::json!({
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64url(key.as_bytes()),
                "kid": kid,
                "use": "sig",
                "alg": "EdDSA",
            })
        })
        .collect();
    serde_json::json!({ "keys": keys }).to_string().into()
}
