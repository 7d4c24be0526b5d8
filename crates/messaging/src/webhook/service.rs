//! What organizations do with their webhooks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{Delivery as DeliveryKind, User, Webhook};
use kernel::{Caller, Error, Id, Page, PageRequest, Result, Secret, Timestamp};
use platform::crypto::MasterKey;
use platform::db::{Db, Read, Tx};
use platform::jobs::NewJob;
use platform::journal::Fact;
use platform::outbound::guarded::{Address, Guarded};

use super::catalogue::{TESTED, Wanted};
use super::jobs::{Deliver, Recover};
use super::model::{
    self, Attempt, Change, Delivery, DeliveryState, Endpoint, Made, Provider, State, Target,
};
use super::{Options, signature, store};

/// Webhooks of one organization.
const ENDPOINTS_MAX: usize = 20;
/// How far back what was missed can be sent again.
pub(super) const RECOVER_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a key that was replaced still signs, where nobody says otherwise, in hours.
const OVERLAP_HOURS: u32 = 24;
const OVERLAP_HOURS_MAX: u32 = 168;

/// The verbs of webhooks and channels. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    master_key: MasterKey,
    client: Guarded,
}

/// A delivery with how it went.
#[derive(Debug, Clone)]
pub struct Story {
    pub delivery: Delivery,
    pub attempts: Vec<Attempt>,
}

impl Service {
    pub(super) fn new(options: Options) -> Self {
        let Options { db, master_key, client } = options;
        Self(Arc::new(Inner { db, master_key, client }))
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(super) fn now(&self) -> Timestamp {
        self.db().world().now()
    }

    pub(super) fn client(&self) -> &Guarded {
        &self.0.client
    }

    /// Makes a webhook. Its signing key is answered here and never again.
    ///
    /// # Errors
    /// `Invalid` with the fields; `Conflict` `too_many_webhooks`.
    pub async fn create(
        &self,
        caller: &Caller,
        url: &str,
        events: &[String],
        description: &str,
    ) -> Result<Made> {
        let target = &Target::parse(self.client(), Provider::Webhook, url, events, description)?;
        let key = &signature::new_key(self.db().world());
        let endpoint = self
            .db()
            .run("webhook.create", |tx| async move {
                let organization = caller.user()?;
                let all = store::all_of(&tx, organization).await?;
                let own = all.iter().filter(|one| !one.provider.is_channel()).count();
                if own >= ENDPOINTS_MAX {
                    let message = format!("At most {ENDPOINTS_MAX} webhooks: delete one first.");
                    return Err(Error::conflict("too_many_webhooks", message));
                }
                let endpoint = self.insert(&tx, caller, target, key.expose()).await?;
                tx.record(fact(caller, "webhook.created", &endpoint));
                Ok(endpoint)
            })
            .await?;
        Ok(Made { endpoint, secret: signature::show(key) })
    }

    async fn insert(
        &self,
        tx: &Tx,
        caller: &Caller,
        target: &Target,
        secret: &[u8],
    ) -> Result<Endpoint> {
        let principal = caller.principal()?;
        let new = Endpoint {
            id: tx.world().id(),
            organization: principal.user,
            provider: target.provider,
            url: target.shown(),
            description: target.description.clone(),
            events: target.events.clone(),
            state: State::Enabled,
            reason: None,
            failures: 0,
            failing_since: None,
            warned: false,
            resume_at: tx.now(),
            old_until: None,
            created_at: tx.now(),
            updated_at: tx.now(),
        };
        let sealed = self.seal(new.id, secret)?;
        store::insert(tx, &new, &sealed, principal.person()).await?;
        Ok(new)
    }

    /// The organization's webhooks, newest first.
    pub async fn list(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Endpoint>> {
        store::list(self.db(), caller.user()?, page).await
    }

    /// Changes an endpoint; enabling one begins anew with its health.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` with the fields; `Conflict` `connect_again` for another address of a
    /// channel.
    pub async fn edit(
        &self,
        caller: &Caller,
        id: Id<Webhook>,
        change: &Change,
    ) -> Result<Endpoint> {
        self.db()
            .run("webhook.update", |tx| async move {
                let mut it = theirs(&tx, caller, id).await?;
                if let Some(url) = &change.url {
                    if it.provider.is_channel() {
                        let message = "Connect the channel again to give it another address.";
                        return Err(Error::conflict("connect_again", message));
                    }
                    let address = model::address(self.client(), it.provider, url)?;
                    it.url = address.as_str().to_owned();
                }
                if let Some(events) = &change.events {
                    it.events = Wanted::parse(events)?;
                }
                if let Some(text) = &change.description {
                    it.description = model::description(text)?;
                }
                match change.enabled {
                    Some(true) => it.state = State::Enabled,
                    Some(false) => it.state = State::Paused,
                    None => {}
                }
                // What does not touch its health leaves it as it is.
                if it.state == State::Disabled {
                    let message = "This webhook is disabled: enable it with the change.";
                    return Err(Error::conflict("webhook_disabled", message));
                }
                store::save(&tx, &it, None).await?;
                tx.record(fact(caller, "webhook.updated", &it).with("state", it.state));
                wake(&tx, id).await?;
                found(store::get(&tx, id).await?)
            })
            .await
    }

    /// Deletes an endpoint with all that was told of it.
    pub async fn delete(&self, caller: &Caller, id: Id<Webhook>) -> Result<()> {
        self.db()
            .run("webhook.delete", |tx| async move {
                let it = theirs(&tx, caller, id).await?;
                store::delete(&tx, id).await?;
                tx.record(fact(caller, "webhook.deleted", &it));
                Ok(())
            })
            .await
    }

    /// Makes another signing key; the one of before signs too for `overlap` hours.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `has_no_secret` of a channel.
    pub async fn rotate(
        &self,
        caller: &Caller,
        id: Id<Webhook>,
        overlap: Option<u32>,
    ) -> Result<Made> {
        let hours = overlap.unwrap_or(OVERLAP_HOURS);
        if hours > OVERLAP_HOURS_MAX {
            let message = format!("from 0 to {OVERLAP_HOURS_MAX}");
            return Err(Error::field("/overlapHours", "out_of_range", message));
        }
        let key = &signature::new_key(self.db().world());
        let endpoint = self
            .db()
            .run("webhook.rotate_secret", |tx| async move {
                let it = theirs(&tx, caller, id).await?;
                if it.provider.is_channel() {
                    let message = "What goes to a channel is not signed.";
                    return Err(Error::conflict("has_no_secret", message));
                }
                let sealed = self.seal(id, key.expose())?;
                let until = tx.now() + Duration::from_secs(u64::from(hours) * 3600);
                store::rotate(&tx, id, &sealed, until).await?;
                tx.record(fact(caller, "webhook.secret_rotated", &it).with("oldUntil", until));
                found(store::get(&tx, id).await?)
            })
            .await?;
        Ok(Made { endpoint, secret: signature::show(key) })
    }

    /// Makes an event that goes to this endpoint only, by the way that all events go.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `webhook_disabled`.
    pub async fn test(&self, caller: &Caller, id: Id<Webhook>) -> Result<()> {
        self.db()
            .run("webhook.test", |tx| async move {
                let it = live(theirs(&tx, caller, id).await?)?;
                tx.record(fact(caller, TESTED, &it));
                Ok(())
            })
            .await
    }

    /// What was sent to an endpoint, newest first, and how it went.
    pub async fn deliveries(
        &self,
        caller: &Caller,
        id: Id<Webhook>,
        state: Option<DeliveryState>,
        verb: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Story>> {
        theirs(self.db(), caller, id).await?;
        let page = store::deliveries(self.db(), id, state, verb, page).await?;
        let mut attempts: HashMap<Id<DeliveryKind>, Vec<Attempt>> = HashMap::new();
        for attempt in store::attempts(self.db(), &page.items).await? {
            attempts.entry(attempt.delivery).or_default().push(attempt);
        }
        Ok(page.map(|delivery| {
            let attempts = attempts.remove(&delivery.id).unwrap_or_default();
            Story { delivery, attempts }
        }))
    }

    /// Sends one event again, whatever has become of it.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `webhook_disabled`.
    pub async fn retry(
        &self,
        caller: &Caller,
        id: Id<Webhook>,
        delivery: Id<DeliveryKind>,
    ) -> Result<Story> {
        self.db()
            .run("delivery.retry", |tx| async move {
                let it = live(theirs(&tx, caller, id).await?)?;
                let of_it = store::delivery(&tx, delivery).await?.filter(|one| one.endpoint == id);
                let before = of_it.ok_or_else(|| Error::not_found("delivery"))?;
                store::again(&tx, delivery).await?;
                let fact = fact(caller, "delivery.retried", &it).on(delivery);
                tx.record(fact.with("webhook", id).with("event", before.fact));
                wake(&tx, id).await?;
                let after = store::delivery(&tx, delivery).await?;
                let delivery = after.ok_or_else(|| Error::not_found("delivery"))?;
                let attempts = store::attempts(&tx, std::slice::from_ref(&delivery)).await?;
                Ok(Story { delivery, attempts })
            })
            .await
    }

    /// Sends everything again that has happened since then and has not arrived.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `webhook_disabled`; `Invalid` for more than thirty days, or the future.
    pub async fn recover(&self, caller: &Caller, id: Id<Webhook>, since: Timestamp) -> Result<()> {
        self.db()
            .run("webhook.recover", |tx| async move {
                let it = live(theirs(&tx, caller, id).await?)?;
                if since > tx.now() || tx.now().since(since) > RECOVER_MAX {
                    let message = "a time of the last thirty days";
                    return Err(Error::field("/since", "out_of_range", message));
                }
                let job = Recover { endpoint: id, since, before: None };
                tx.enqueue(NewJob::new(&job)?.unique(format!("{id}/{since}")));
                tx.record(fact(caller, "webhook.recovered", &it).with("since", since));
                Ok(())
            })
            .await
    }

    /// Connects a channel, or connects it anew.
    ///
    /// # Errors
    /// `NotFound` of no such provider; `Invalid` with the fields.
    pub async fn connect(
        &self,
        caller: &Caller,
        provider: Provider,
        url: &str,
        events: &[String],
        description: &str,
    ) -> Result<Endpoint> {
        if !provider.is_channel() {
            return Err(Error::not_found("integration"));
        }
        let target = &Target::parse(self.client(), provider, url, events, description)?;
        let secret = target.address.as_str().as_bytes();
        self.db()
            .run("integration.connect", |tx| async move {
                let endpoint = match connected(&tx, caller.user()?, provider).await? {
                    None => self.insert(&tx, caller, target, secret).await?,
                    Some(mut it) => {
                        it.url = target.shown();
                        it.events = target.events.clone();
                        it.description.clone_from(&target.description);
                        it.state = State::Enabled;
                        let sealed = self.seal(it.id, secret)?;
                        store::save(&tx, &it, Some(&sealed)).await?;
                        wake(&tx, it.id).await?;
                        found(store::get(&tx, it.id).await?)?
                    }
                };
                tx.record(fact(caller, "integration.connected", &endpoint));
                Ok(endpoint)
            })
            .await
    }

    /// Disconnects a channel. One that is not connected stays so.
    ///
    /// # Errors
    /// `NotFound` of no such provider; `Conflict` `not_connected`.
    pub async fn disconnect(&self, caller: &Caller, provider: Provider) -> Result<()> {
        if !provider.is_channel() {
            return Err(Error::not_found("integration"));
        }
        self.db()
            .run("integration.disconnect", |tx| async move {
                let Some(it) = connected(&tx, caller.user()?, provider).await? else {
                    let message = "This integration is not connected.";
                    return Err(Error::conflict("not_connected", message));
                };
                store::delete(&tx, it.id).await?;
                tx.record(fact(caller, "integration.disconnected", &it));
                Ok(())
            })
            .await
    }

    /// The channels that there are, and which of them are connected.
    pub async fn channels(&self, caller: &Caller) -> Result<Vec<(Provider, Option<Endpoint>)>> {
        let all = store::all_of(self.db(), caller.user()?).await?;
        let of = |provider| all.iter().find(|one| one.provider == provider).cloned();
        Ok(Provider::CHANNELS.into_iter().map(|provider| (provider, of(provider))).collect())
    }

    fn seal(&self, id: Id<Webhook>, secret: &[u8]) -> Result<Vec<u8>> {
        self.0.master_key.seal(self.db().world(), &sealed_as(id), secret)
    }

    fn open(&self, id: Id<Webhook>, sealed: &[u8]) -> Result<Secret<Vec<u8>>> {
        self.0.master_key.open(&sealed_as(id), sealed)
    }

    /// The signing keys of an endpoint, the newest first; of a channel its address.
    pub(super) async fn secrets(&self, it: &Endpoint) -> Result<Vec<Secret<Vec<u8>>>> {
        let sealed = found(store::sealed(self.db(), it.id).await?)?;
        let mut secrets = vec![self.open(it.id, &sealed.secret)?];
        let overlaps = it.old_until.is_some_and(|until| self.db().world().now() < until);
        if let Some(old) = sealed.old.filter(|_| overlaps) {
            secrets.push(self.open(it.id, &old)?);
        }
        Ok(secrets)
    }

    /// Where an endpoint is called.
    pub(super) fn address(&self, it: &Endpoint, secrets: &[Secret<Vec<u8>>]) -> Result<Address> {
        if !it.provider.is_channel() {
            return self.client().parse(&it.url);
        }
        let whole = secrets.first().and_then(|secret| std::str::from_utf8(secret.expose()).ok());
        self.client().parse(whole.unwrap_or_default())
    }
}

/// What a secret is sealed for.
fn sealed_as(id: Id<Webhook>) -> String {
    format!("webhook/{id}")
}

fn found<T>(it: Option<T>) -> Result<T> {
    it.ok_or_else(|| Error::not_found("webhook"))
}

/// An endpoint of the caller's organization.
async fn theirs(db: &impl Read, caller: &Caller, id: Id<Webhook>) -> Result<Endpoint> {
    let organization = caller.user()?;
    found(store::get(db, id).await?.filter(|one| one.organization == organization))
}

/// An endpoint that is called.
fn live(it: Endpoint) -> Result<Endpoint> {
    if store::is_live(&it) {
        return Ok(it);
    }
    Err(Error::conflict("webhook_disabled", "This webhook is not enabled: enable it first."))
}

async fn connected(tx: &Tx, of: Id<User>, provider: Provider) -> Result<Option<Endpoint>> {
    let all = store::all_of(tx, of).await?;
    Ok(all.into_iter().find(|one| one.provider == provider))
}

/// Lets the endpoint's job look for something to do.
pub(super) async fn wake(tx: &Tx, id: Id<Webhook>) -> Result<()> {
    store::touch(tx, id).await?;
    tx.enqueue(NewJob::new(&Deliver { endpoint: id })?.unique(id.to_string()));
    Ok(())
}

fn fact(caller: &Caller, verb: &'static str, it: &Endpoint) -> Fact {
    let fact = Fact::by(caller, verb).on(it.id).about(it.organization);
    fact.with("provider", it.provider.as_str()).with("events", it.events.entries())
}
