//! The verbs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kernel::caller::{Acting, Actor, Origin};
use kernel::id::kinds::{ApiKey as ApiKeyKind, Organization};
use kernel::{Caller, Error, Id, Page, PageRequest, Principal, Result, Role, Secret, Timestamp};
use platform::crypto::MasterKey;
use platform::db::Db;
use platform::fleet::Notice;
use platform::journal::Fact;
use rpc::users::Users;

use super::cache::{Cache, Live};
use super::model::{self, ApiKey, Minted, NewKey, Status};
use super::store;
use crate::standing;

/// How long after a refusal for its address a key's next one is written.
const REFUSED_STEP: Duration = Duration::from_secs(60);
/// Keys of one organization that have not been revoked.
const KEYS_MAX: i64 = 100;

/// API keys.
pub struct Service {
    db: Db,
    users: Arc<dyn Users>,
    hash_key: Secret<[u8; 32]>,
    cache: Arc<Cache>,
}

impl Service {
    pub(crate) fn new(db: Db, users: Arc<dyn Users>, master: &MasterKey) -> Self {
        let cache = Cache::new(Arc::clone(db.board()));
        Self { db, users, hash_key: master.derive("organizations/api-keys"), cache }
    }

    /// Makes a key. Its text is answered here and never again.
    ///
    /// # Errors
    /// `Conflict` `too_many_keys`.
    pub async fn create(&self, caller: &Caller, new: &NewKey) -> Result<(ApiKey, Secret<String>)> {
        let principal = caller.principal()?;
        let (organization, person) = (principal.user.same_as(), principal.person());
        let minted = &Minted::new(self.db.world());
        let hash = model::hash(&self.hash_key, minted.text.expose());
        let key = self
            .db
            .run("api_key.create", |tx| async move {
                if store::count(&tx, organization).await? >= KEYS_MAX {
                    let message = format!("At most {KEYS_MAX} keys: revoke one first.");
                    return Err(Error::conflict("too_many_keys", message));
                }
                let key = ApiKey {
                    id: tx.world().id(),
                    organization,
                    name: new.name.clone(),
                    prefix: minted.prefix.clone(),
                    scopes: new.scopes,
                    created_by: Some(person),
                    created_at: tx.now(),
                    expires_at: new.lasts.map(|lasts| tx.now() + lasts),
                    last_used_at: None,
                    revoked_at: None,
                    allowed: new.allowed.clone(),
                };
                store::insert(&tx, &key, &hash).await?;
                let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
                let allowed: Vec<_> = key.allowed.iter().map(ToString::to_string).collect();
                let fact = fact(caller, "api_key.created", &key).with("scopes", scopes);
                tx.record(fact.with("allowedAddresses", allowed));
                Ok(key)
            })
            .await?;
        Ok((key, minted.text.clone()))
    }

    /// The organization's keys, newest first, those that are over among them.
    pub async fn list(&self, caller: &Caller, page: &PageRequest) -> Result<Page<ApiKey>> {
        store::list(&self.db, caller.user()?.same_as(), page).await
    }

    /// Ends a key, everywhere and for good. One that is revoked already stays so.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke(&self, caller: &Caller, id: Id<ApiKeyKind>) -> Result<()> {
        let organization: Id<Organization> = caller.user()?.same_as();
        self.db
            .run("api_key.revoke", |tx| async move {
                let found = store::get(&tx, id).await?;
                let theirs = found.filter(|key| key.organization == organization);
                let key = theirs.ok_or_else(|| Error::not_found("API key"))?;
                if store::revoke(&tx, id).await? {
                    tx.record(fact(caller, "api_key.revoked", &key));
                    tx.tell(Notice::part_of(organization.uuid(), id.uuid()));
                }
                Ok(())
            })
            .await
    }

    /// The organization whose key this text is: see [`crate::Standings::by_key`].
    pub(crate) async fn principal(
        &self,
        text: &str,
        strict: bool,
        from: IpAddr,
    ) -> Result<Arc<Principal>> {
        let Some(prefix) = model::prefix(text) else { return Err(worthless()) };
        let hash = model::hash(&self.hash_key, text);
        let now = self.now();
        let remembered = if strict { None } else { self.cache.get(&hash, now) };
        let live = match remembered {
            Some(live) => live,
            None => {
                let ticket = self.cache.ticket();
                let live = Arc::new(self.read(prefix, &hash, now).await?);
                self.cache.remember(ticket, hash, &live);
                live
            }
        };
        if !live.is_for(from) {
            self.note_refusal(&live, from).await;
            let message = "This API key may not be used from your address.";
            return Err(Error::forbidden("address_not_allowed", message));
        }
        if live.is_to_be_written(now) {
            self.note_use(&live, now).await;
        }
        Ok(Arc::clone(&live.principal))
    }

    async fn read(&self, prefix: &str, hash: &[u8; 32], now: Timestamp) -> Result<Live> {
        let found = store::find(&self.db, prefix).await?;
        // Both are MACs under a key that nobody outside has: how long it takes to compare them
        // tells nothing about a text that would do.
        let (key, _) = found.filter(|(_, known)| known == hash).ok_or_else(worthless)?;
        let over = |code, message: &'static str| Err(Error::unauthenticated(code, message));
        match key.status(now) {
            Status::Live => {}
            Status::Revoked => return over("revoked_api_key", "This API key was revoked."),
            Status::Expired => return over("expired_api_key", "This API key has expired."),
        }
        let account = key.organization.same_as();
        if !standing::is_active(&self.users, account).await? {
            let message = "The organization of this API key may not be acted for at present.";
            return over("inactive_organization", message);
        }
        let principal = Principal {
            acting: Some(Acting { by: Actor::Key(key.id), may: key.scopes }),
            // Of no session: a key's own id is none's.
            ..Principal::new(account, Role::Enterprise, key.id.same_as())
        };
        Ok(Live::new(principal, &key, now))
    }

    /// Notes that a key is used. That it could not be noted keeps nobody from using it.
    async fn note_use(&self, live: &Live, now: Timestamp) {
        let Some(Acting { by: Actor::Key(id), .. }) = live.principal.acting else { return };
        let noted = self
            .db
            .run("api_key.note_use", |tx| async move { store::note_use(&tx, id, now).await })
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, key = %id, "when an API key was last used was not written");
        }
    }

    /// Records that a key was used from where it may not be: once a minute, or whoever has found a
    /// key could fill the journal with it.
    async fn note_refusal(&self, live: &Live, from: IpAddr) {
        let Some(Acting { by: Actor::Key(id), .. }) = live.principal.acting else { return };
        let caller = &Caller {
            principal: Some(Arc::clone(&live.principal)),
            origin: Origin { ip: Some(from), ..Origin::default() },
            ..Caller::default()
        };
        let noted = self
            .db
            .run("api_key.refuse", |tx| async move {
                if store::note_refusal(&tx, id, tx.now() - REFUSED_STEP).await? {
                    tx.record(Fact::by(caller, "api_key.refused").on(id));
                }
                Ok(())
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, key = %id, "that an API key was refused was not written");
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.db.world().now()
    }
}

fn worthless() -> Error {
    Error::unauthenticated("invalid_api_key", "This is no API key that is known here.")
}

fn fact(caller: &Caller, verb: &'static str, key: &ApiKey) -> Fact {
    Fact::by(caller, verb).on(key.id).about(key.organization.same_as()).with("prefix", &key.prefix)
}
