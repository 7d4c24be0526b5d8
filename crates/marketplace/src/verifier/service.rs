//! The verbs.

use std::collections::HashMap;
use std::sync::Arc;

use kernel::id::kinds;
use kernel::{Asset, Caller, Error, Id, Money, Page, PageRequest, Result};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;
use rpc::users::Users;

use super::model::{AutoAccept, Availability, NewOffer, Offer, Profile, Search, Verifier};
use super::rules::{self, Refusal};
use super::store;

/// Verifiers, their profiles and their services.
pub struct Service {
    db: Db,
    users: Arc<dyn Users>,
    /// What a list sorted by price is in, where the client names no currency.
    currency: Asset,
    /// What must be staked to be shown in the list.
    required_bond: Option<Money>,
}

/// A verifier with the services that can be had.
#[derive(Debug, Clone)]
pub struct Shown {
    pub verifier: Verifier,
    pub offers: Vec<Offer>,
}

impl Service {
    pub fn new(
        db: Db,
        users: Arc<dyn Users>,
        currency: Asset,
        required_bond: Option<Money>,
    ) -> Self {
        Self { db, users, currency, required_bond }
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    pub(super) fn users(&self) -> &dyn Users {
        self.users.as_ref()
    }

    /// The caller's own profile, also before anything has been saved.
    pub async fn profile(&self, caller: &Caller) -> Result<Verifier> {
        let id = caller.user()?.same_as();
        let known = store::get(&self.db, id).await?;
        let mut verifier = known.unwrap_or_else(|| Verifier::unknown(id, self.db.world().now()));
        if verifier.name.is_empty() {
            verifier.name = self.users.profile(id.same_as()).await?.name;
        }
        Ok(verifier)
    }

    /// Replaces the caller's profile.
    pub async fn replace_profile(&self, caller: &Caller, profile: &Profile) -> Result<Verifier> {
        let me = Me::of(caller)?;
        let account_name = self.users.profile(caller.user()?).await?.name;
        let account_name = account_name.as_str();
        self.db
            .run("verifier.replace_profile", |tx| async move {
                me.replaces(&tx, caller).await?;
                let verifier = store::replace_profile(&tx, me.id, profile, account_name).await?;
                let fact = Fact::by(caller, "verifier.profile_replaced").on(me.id);
                tx.record(fact.with("status", verifier.status));
                Ok(verifier)
            })
            .await
    }

    /// The caller's services, also those that are not active, and the version of all that they say
    /// of themselves.
    pub async fn offers(&self, caller: &Caller) -> Result<(i64, Vec<Offer>)> {
        // Read first: who replaces them meanwhile makes this version an old one.
        let version = self.profile(caller).await?.version;
        Ok((version, store::offers(&self.db, caller.user()?.same_as()).await?))
    }

    /// Puts `offers` in the place of all the caller's services. Those with an id keep it.
    ///
    /// # Errors
    /// `Invalid` when an id is not one of the caller's services.
    pub async fn replace_offers(
        &self,
        caller: &Caller,
        offers: &[NewOffer],
    ) -> Result<(i64, Vec<Offer>)> {
        let me = Me::of(caller)?;
        let account_name = self.users.profile(caller.user()?).await?.name;
        let account_name = account_name.as_str();
        self.db
            .run("verifier.replace_services", |tx| async move {
                me.replaces(&tx, caller).await?;
                let me_now = store::claim(&tx, me.id, account_name).await?;
                refuse_foreign(&store::offers(&tx, me.id).await?, offers)?;
                let offers = store::replace_offers(&tx, me.id, offers).await?;
                store::replace_prices(&tx, me.id, &rules::price_ranges(&offers)).await?;
                store::index(&tx, &me_now, &offers).await?;
                let fact = Fact::by(caller, "verifier.services_replaced").on(me.id);
                tx.record(fact.with("services", offers.iter().map(|o| o.id).collect::<Vec<_>>()));
                Ok((me_now.version, offers))
            })
            .await
    }

    /// One page of the marketplace: who takes work, and has staked what that takes.
    pub async fn search(&self, search: &Search, page: &PageRequest) -> Result<Page<Shown>> {
        let currency = search.currency.unwrap_or(self.currency);
        let (terms, now) = ((currency, self.required_bond), self.db.world().now());
        let mut page = store::list(&self.db, search, terms, now, page).await?;
        let mut offers = store::offers_of(&self.db, &page.items).await?;
        self.name(&mut page.items).await?;
        Ok(page.map(|verifier| {
            let offers = offers.remove(&verifier.id).unwrap_or_default();
            Shown { verifier, offers }
        }))
    }

    /// One verifier, as the marketplace shows them.
    ///
    /// # Errors
    /// `NotFound`, also for who is hidden, suspended or not approved.
    pub async fn open(&self, id: Id<kinds::Verifier>) -> Result<Shown> {
        let verifier = store::get(&self.db, id).await?.filter(Verifier::is_open);
        let mut verifier = [verifier.ok_or_else(|| Error::not_found("verifier"))?];
        self.name(&mut verifier).await?;
        let mut offers = store::offers(&self.db, id).await?;
        offers.retain(|offer| offer.active);
        let [verifier] = verifier;
        Ok(Shown { verifier, offers })
    }

    /// What is known of a verifier, shown in the marketplace or not.
    pub async fn find(&self, db: &impl Read, id: Id<kinds::Verifier>) -> Result<Option<Verifier>> {
        store::get(db, id).await
    }

    /// The service that a request to this verifier, for this type of credential, gets; and what
    /// they accept by themselves.
    pub(crate) async fn choose(
        &self,
        db: &impl Read,
        id: Id<kinds::Verifier>,
        kind: &str,
        wanted: Option<Id<kinds::Service>>,
    ) -> Result<(Offer, Option<AutoAccept>)> {
        let verifier = store::get(db, id).await?.filter(Verifier::is_open);
        let verifier = verifier.ok_or(Refusal::NotOpen)?;
        if verifier.availability.is_away(self.db.world().now()) {
            return Err(Refusal::Away.into());
        }
        let offers = store::offers(db, id).await?;
        let offer = rules::choose(&offers, kind, wanted).cloned()?;
        Ok((offer, verifier.availability.auto_accept))
    }

    /// Makes others who would give this verifier work wait until this transaction is over, so that
    /// counting what they have is of use.
    pub(crate) async fn hold_still(&self, tx: &Tx, id: Id<kinds::Verifier>) -> Result<()> {
        store::hold_still(tx, id).await
    }

    /// A verifier whom the marketplace shows, with what they offer; none where it shows them not.
    pub(crate) async fn standing(
        &self,
        db: &impl Read,
        id: Id<kinds::Verifier>,
    ) -> Result<Option<Shown>> {
        let Some(verifier) = store::get(db, id).await?.filter(Verifier::is_open) else {
            return Ok(None);
        };
        let mut offers = store::offers(db, id).await?;
        offers.retain(|offer| offer.active);
        Ok(Some(Shown { verifier, offers }))
    }

    /// When the caller takes work, and what of it without being asked; with the version.
    pub async fn availability(&self, caller: &Caller) -> Result<(i64, Availability)> {
        let Verifier { version, availability, .. } = self.profile(caller).await?;
        Ok((version, availability))
    }

    /// Replaces it. What has been requested or accepted stays so.
    pub async fn replace_availability(
        &self,
        caller: &Caller,
        availability: &Availability,
    ) -> Result<(i64, Availability)> {
        let me = Me::of(caller)?;
        self.db
            .run("verifier.replace_availability", |tx| async move {
                let version = me.replaces(&tx, caller).await?;
                store::replace_availability(&tx, me.id, availability).await?;
                let away = availability.away;
                tx.record(
                    Fact::by(caller, "verifier.availability_replaced")
                        .on(me.id)
                        .with("awayFrom", away.map(|away| away.from))
                        .with("awayUntil", away.and_then(|away| away.until))
                        .with("autoAccept", availability.auto_accept.is_some()),
                );
                Ok((version, availability.clone()))
            })
            .await
    }

    /// Goes over the reputations that are due; answers how many.
    pub async fn repute_due(&self) -> Result<usize> {
        let now = self.db.world().now();
        let mut done = 0;
        loop {
            let due = store::to_repute(&self.db, now - rules::REPUTATION_EVERY, 200).await?;
            if due.is_empty() {
                return Ok(done);
            }
            done += due.len();
            let due = &due;
            self.db
                .run("verifier.repute", |tx| async move {
                    for (id, was) in due {
                        let recent = store::recent(&tx, *id, now - rules::RECENT).await?;
                        // Whoever has lost some meanwhile is gone over the next time.
                        store::repute(&tx, *id, (*was, rules::reputation(*was, recent))).await?;
                    }
                    Ok(())
                })
                .await?;
        }
    }

    /// Counts one verdict.
    pub async fn count_job(&self, tx: &Tx, id: Id<kinds::Verifier>) -> Result<()> {
        store::count_job(tx, id).await
    }

    /// Adds a rating of 1 to 5 stars. Whoever calls makes sure that it is given once.
    pub async fn rate(&self, tx: &Tx, id: Id<kinds::Verifier>, stars: u8) -> Result<()> {
        if !(1..=5).contains(&stars) {
            return Err(Error::field("/rating", "out_of_range", "from 1 to 5"));
        }
        if store::rate(tx, id, stars.into()).await? {
            return Ok(());
        }
        Err(Error::not_found("verifier"))
    }

    /// Takes a rating back that was given and is gone.
    pub async fn unrate(&self, tx: &Tx, id: Id<kinds::Verifier>, stars: i64) -> Result<()> {
        store::unrate(tx, id, stars).await
    }

    /// Fills in the account's name of those who have not chosen one yet.
    async fn name(&self, verifiers: &mut [Verifier]) -> Result<()> {
        let nameless = verifiers.iter().filter(|verifier| verifier.name.is_empty());
        let ids: Vec<Id<kinds::User>> = nameless.map(|verifier| verifier.id.same_as()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let profiles = self.users.profiles(&ids).await?;
        let mut names: HashMap<_, _> =
            profiles.into_iter().map(|profile| (profile.id.same_as(), profile.name)).collect();
        for verifier in verifiers {
            if verifier.name.is_empty() {
                verifier.name = names.remove(&verifier.id).unwrap_or_default();
            }
        }
        Ok(())
    }
}

/// The verifier who calls. Saved before the journal's reader has come by, they are known all the
/// same: the session says who they are and whether they are approved.
#[derive(Clone, Copy)]
struct Me {
    id: Id<kinds::Verifier>,
    approved: bool,
}

impl Me {
    fn of(caller: &Caller) -> Result<Self> {
        let principal = caller.principal()?;
        Ok(Self { id: principal.user.same_as(), approved: principal.approved })
    }

    /// Begins to replace something of theirs; answers the version that this makes.
    async fn replaces(self, tx: &Tx, caller: &Caller) -> Result<i64> {
        store::know(tx, self.id, self.approved, tx.now()).await?;
        let before = store::next_version(tx, self.id).await?;
        caller.expect(before)?;
        Ok(before + 1)
    }
}

fn refuse_foreign(mine: &[Offer], offers: &[NewOffer]) -> Result<()> {
    let mut fields = kernel::error::Fields::new();
    for (index, offer) in offers.iter().enumerate() {
        if offer.id.is_some_and(|id| mine.iter().all(|known| known.id != id)) {
            fields.add(&format!("/{index}/id"), "unknown", "not one of your services");
        }
    }
    fields.check()
}
