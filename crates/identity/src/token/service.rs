//! Making tokens, believing them, and changing the key.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kernel::id::kinds::{Key, Session, User};
use kernel::{Caller, Error, Id, Result, Role, Secret, Timestamp};
use parking_lot::RwLock;
use platform::crypto::{MasterKey, base64url};
use platform::db::{Db, Tx};
use platform::journal::Fact;
use serde::Serialize;

use super::keys::{Keys, Listed, Signer, Verifier, public_half};
use super::model::PasetoClaims;
use super::{Claims, Format, Policy, Refusal, jws, paseto, store};

/// How long a retired key is believed.
const RETIRED_BELIEVED: Duration = Duration::from_secs(24 * 3600);
/// A token that is good only from later than this on is refused; clocks of replicas differ by less.
const SKEW: Duration = Duration::from_secs(60);
/// An unknown key id makes the keys be read again, but not more often than this.
const RELOAD_PAUSE: Duration = Duration::from_secs(1);

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
        Self {
            db,
            master,
            policy,
            keys: RwLock::new(Arc::new(Keys::none())),
            loaded_at: AtomicI64::new(i64::MIN),
        }
    }

    pub const fn lifetime(&self) -> Duration {
        self.policy.lifetime
    }

    /// Reads the keys, and makes the first of each form where there is none. Of several replicas
    /// that start at once, one makes it.
    pub async fn ensure_keys(&self) -> Result<()> {
        self.reload().await?;
        let missing = |keys: &Keys| -> Vec<Format> {
            Format::ALL.into_iter().filter(|format| keys.signing(*format).is_none()).collect()
        };
        let missing = &missing(&self.keys());
        if missing.is_empty() {
            return Ok(());
        }
        self.db
            .run("token.make_key", |tx| async move {
                for format in missing {
                    self.make_key(&tx, *format).await?;
                }
                Ok(())
            })
            .await?;
        self.reload().await
    }

    /// Replaces the signing keys, whatever their age. Tokens under the old ones stay good.
    pub async fn rotate(&self, caller: &Caller) -> Result<()> {
        self.rotate_older_than(caller, Duration::ZERO).await
    }

    /// Replaces the signing keys that are older than the policy allows, and forgets keys that
    /// are long retired: for the daily job.
    pub async fn keep_fresh(&self) -> Result<()> {
        let before = self.db.world().now() - RETIRED_BELIEVED;
        self.db.run("token.sweep", |tx| async move { store::sweep(&tx, before).await }).await?;
        self.rotate_older_than(&Caller::nobody(), self.policy.key_age_max).await
    }

    async fn rotate_older_than(&self, caller: &Caller, age: Duration) -> Result<()> {
        self.db
            .run("token.rotate", |tx| async move {
                for format in store::retire(&tx, tx.now() - age).await? {
                    if let Some(made) = self.make_key(&tx, format).await? {
                        let fact = Fact::by(caller, "token_key.rotated").on(made);
                        tx.record(fact.with("format", format.as_str()));
                    }
                }
                Ok(())
            })
            .await?;
        self.reload().await
    }

    async fn make_key(&self, tx: &Tx, format: Format) -> Result<Option<Id<Key>>> {
        let id = tx.world().id::<Key>();
        let secret = Secret::new(tx.world().random::<32>());
        let public = public_half(format, secret.expose());
        let sealed = self.master.seal(tx.world(), &context(id), secret.expose())?;
        Ok(store::insert(tx, id, format, &public, &sealed).await?.then_some(id))
    }

    /// Reads the keys from the store.
    ///
    /// # Errors
    /// `Internal`: the master key is not the one that sealed them.
    pub async fn reload(&self) -> Result<()> {
        let now = self.db.world().now();
        self.loaded_at.store(now.micros(), Ordering::Relaxed);
        let stored = store::believed(&self.db, now - RETIRED_BELIEVED).await?;
        let open = |key: &store::Stored| self.master.open(&context(key.id), &key.sealed_key);
        let keys = Keys::read(&stored, open)?;
        for key in stored.iter().filter(|key| key.retired_at.is_none()) {
            let age = now.since(key.created_at).as_secs();
            metrics::gauge!("token_key_age_seconds", "format" => key.format.as_str())
                .set(age as f64);
        }
        *self.keys.write() = Arc::new(keys);
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    /// The public keys of JWTs as a JWK set.
    pub fn jwks(&self) -> Bytes {
        self.keys().jwks.clone()
    }

    /// The public keys of `v4.public` tokens as PASERKs.
    pub fn paserks(&self) -> Bytes {
        self.keys().paserks.clone()
    }

    /// The keys that are believed, newest first, as this process knows them.
    pub fn list(&self) -> Vec<Listed> {
        self.keys().list()
    }

    /// Claims for a session in an epoch, from now on, for as long as is said or as the policy
    /// says, ending no later than `until`.
    pub fn claims(
        &self,
        (user, role): (Id<User>, Role),
        (session, epoch): (Id<Session>, i64),
        lifetime: Option<Duration>,
        until: Timestamp,
    ) -> Claims {
        let now = self.db.world().now();
        let lifetime = lifetime.unwrap_or(self.policy.lifetime);
        Claims {
            iss: self.policy.issuer.clone(),
            aud: self.policy.audience.clone(),
            sub: user,
            sid: session,
            epoch,
            role,
            act: None,
            iat: now.seconds(),
            nbf: None,
            exp: (now + lifetime.min(RETIRED_BELIEVED)).min(until).seconds(),
            jti: base64url(self.db.world().random::<12>()),
        }
    }

    /// A signed statement for others, who check it with the published keys. It is no access token:
    /// presented here it is refused for its type.
    pub(crate) async fn state(&self, claims: &impl Serialize) -> Result<Secret<String>> {
        if self.keys().signing(Format::Jwt).is_none() {
            self.ensure_keys().await?;
        }
        let keys = self.keys();
        let Some((kid, Signer::Jwt(key))) = keys.signing(Format::Jwt) else {
            return Err(Error::internal("there is no token key"));
        };
        let payload = serde_json::to_vec(claims)
            .map_err(|error| Error::internal("claims cannot be written").because(error))?;
        Ok(Secret::new(jws::sign_as(jws::TYPE_STATEMENT, kid, &payload, key)))
    }

    /// Who signs: the configured issuer.
    pub(crate) fn issuer(&self) -> &str {
        &self.policy.issuer
    }

    /// The access token that says this.
    pub async fn sign(&self, claims: Claims, format: Format) -> Result<Secret<String>> {
        if self.keys().signing(format).is_none() {
            self.ensure_keys().await?;
        }
        let keys = self.keys();
        let (kid, signer) =
            keys.signing(format).ok_or_else(|| Error::internal("there is no token key"))?;
        let payload = match format {
            Format::Jwt => serde_json::to_vec(&claims),
            Format::PasetoPublic | Format::PasetoLocal => {
                serde_json::to_vec(&PasetoClaims::from(claims))
            }
        };
        let payload =
            payload.map_err(|error| Error::internal("claims cannot be written").because(error))?;
        signer.sign(kid, &payload)
    }

    /// What a token says, when it is ours and not over. The session may have ended all the same.
    ///
    /// # Errors
    /// `Unauthenticated` `invalid_token`, `expired_token`.
    pub async fn verify(&self, token: &str) -> Result<Claims> {
        let claims = self.believe(token).await?;
        if claims.expires_at() <= self.db.world().now() {
            return Err(Refusal::Expired.into());
        }
        Ok(claims)
    }

    /// What a token said that is ours, was good, and is over.
    ///
    /// # Errors
    /// `Unauthenticated` `invalid_token`, also of one that is not over.
    pub async fn verify_expired(&self, token: &str) -> Result<Claims> {
        let claims = self.believe(token).await?;
        if claims.expires_at() > self.db.world().now() {
            return Err(Refusal::Foreign.into());
        }
        Ok(claims)
    }

    /// What a token of ours says, whether or not it is over.
    async fn believe(&self, token: &str) -> Result<Claims> {
        let claims = match Format::of(token) {
            Format::Jwt => {
                let unverified = jws::Unverified::parse(token)?;
                let check = |key: &Verifier| match key {
                    Verifier::Jwt(key) => unverified.verify(key),
                    Verifier::Paseto(_) => Err(Refusal::UnknownKey),
                };
                self.with_key(Format::Jwt, &unverified.kid, check).await?
            }
            format @ (Format::PasetoPublic | Format::PasetoLocal) => {
                let unverified = paseto::Unverified::parse(token)?;
                let check = |key: &Verifier| match key {
                    Verifier::Paseto(key) => jws::object(unverified.open(key, b"")?.as_bytes()),
                    Verifier::Jwt(_) => Err(Refusal::UnknownKey),
                };
                let claims: PasetoClaims = self.with_key(format, unverified.kid()?, check).await?;
                claims.into()
            }
        };
        self.judge(&claims, self.db.world().now())?;
        Ok(claims)
    }

    /// Looks with the key that a token names; where it is not known, after a look into the store:
    /// another replica may have made one since.
    async fn with_key<T>(
        &self,
        format: Format,
        kid: &str,
        check: impl Fn(&Verifier) -> Result<T, Refusal>,
    ) -> Result<T> {
        if let Some(key) = self.keys().believed(format, kid) {
            return Ok(check(key)?);
        }
        let loaded_at = Timestamp::from_micros(self.loaded_at.load(Ordering::Relaxed));
        if self.db.world().now().since(loaded_at) >= RELOAD_PAUSE {
            self.reload().await?;
        }
        let keys = self.keys();
        let key = keys.believed(format, kid).ok_or(Refusal::UnknownKey)?;
        Ok(check(key)?)
    }

    fn judge(&self, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        let ours = claims.iss == self.policy.issuer && claims.aud == self.policy.audience;
        let from = claims.nbf.map_or(claims.iat, |nbf| nbf.max(claims.iat));
        if ours && Timestamp::from_seconds(from) <= now + SKEW {
            Ok(())
        } else {
            Err(Refusal::Foreign)
        }
    }
}

fn context(id: Id<Key>) -> String {
    format!("token/{id}")
}
