//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{Destination as DestinationId, User, Withdrawal as WithdrawalKind};
use kernel::{Asset, Caller, Cursor, Error, Id, Money, Page, PageRequest, Result, Timestamp};
use platform::db::{Db, Tx};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;

use super::jobs::Send;
use super::model::{NewDestination, NewWithdrawal, Saved, State, Withdrawal};
use super::rules::{self, Policy, Step};
use super::store;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::provider::asking::{self, Claim, Sent};
use crate::provider::{
    Destination, DestinationKind, Failure, Known, Payout, Provider, ProviderName, SeenPayout,
};
use crate::wallet::{at_least, refuse_frozen};

/// Withdrawals that one sweep asks about.
const SWEEP_MAX: i64 = 50;
/// Destinations that one owner may have saved.
const SAVED_MAX: usize = 50;
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// Destinations and withdrawals. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    default_currency: Asset,
    policy: Policy,
    providers: Vec<Arc<dyn Provider>>,
}

impl Service {
    pub(crate) fn new(options: &crate::Options, providers: Vec<Arc<dyn Provider>>) -> Self {
        Self(Arc::new(Inner {
            db: options.db.clone(),
            default_currency: options.default_currency,
            policy: options.payouts.clone(),
            providers,
        }))
    }

    fn adapter(&self, name: ProviderName) -> Result<&Arc<dyn Provider>> {
        let found = self.0.providers.iter().find(|provider| provider.name() == name);
        found.ok_or_else(|| {
            let message = format!("Payouts through {name} are switched off.");
            Error::unavailable("provider_unavailable", message)
        })
    }

    /// What can be paid out, to what, in which currency.
    pub(super) fn offers(&self) -> Vec<(DestinationKind, Asset)> {
        let all = self.0.providers.iter().flat_map(|it| it.capabilities().payouts.iter().copied());
        let mut offers: Vec<_> = all.collect();
        offers.sort_unstable_by_key(|(kind, asset)| (asset.code(), kind.as_str()));
        offers.dedup();
        offers
    }

    /// What withdrawing an amount costs its owner, on top of the amount.
    ///
    /// # Errors
    /// Invalid, at `/amount`.
    pub fn fee(&self, minor: i64, currency: Option<Asset>) -> Result<(Money, Money)> {
        let amount = Money::requested(minor, currency.unwrap_or(self.0.default_currency))?;
        at_least(amount, self.0.policy.minimum)?;
        Ok((amount, self.0.policy.fee(amount)?))
    }

    /// Saves a destination after the provider has found it. It can be used when it has cooled.
    ///
    /// # Errors
    /// Invalid fields; `provider_unavailable` (unavailable).
    pub async fn save(&self, caller: &Caller, new: NewDestination) -> Result<Saved> {
        let owner = caller.user()?;
        rules::check_destination(&new)?;
        let offered = |it: &&Arc<dyn Provider>| it.capabilities().pays_out(new.kind, new.asset);
        let provider = self.0.providers.iter().find(offered).ok_or_else(|| {
            let message = format!("nobody pays out {} to that kind", new.asset);
            Error::field("/currency", "not_paid_out", message)
        })?;
        let NewDestination { kind, asset, account, bank, name } = new;
        let named = Destination { kind, asset, account, bank, name };
        let found = match provider.validate_destination(&named).await {
            Ok(found) => found,
            Err(Failure::Declined { .. }) => {
                return Err(Error::field("/account", "unknown", "one that there is"));
            }
            Err(failure) => return Err(failure.into()),
        };
        if self.destinations(caller).await?.len() >= SAVED_MAX
            && !self.0.db.is_remembered(caller).await?
        {
            let message = "Remove a destination before you save another one.";
            return Err(Error::conflict("too_many_destinations", message));
        }
        let (found, name) = (&found, provider.name());
        let id = self
            .0
            .db
            .once(caller, "payout_destination.save", |tx| async move {
                let saved = self.saved(&tx, owner, name, found).await?;
                store::insert_destination(&tx, &saved).await?;
                tx.record(
                    Fact::by(caller, "payout_destination.saved")
                        .on(saved.id)
                        .about(owner)
                        .with("kind", saved.kind.as_str())
                        .with("mask", &saved.mask)
                        .with("usableAt", saved.usable_at),
                );
                Ok(saved.id)
            })
            .await?;
        self.own_destination(owner, id).await
    }

    async fn saved(
        &self,
        tx: &Tx,
        owner: Id<User>,
        provider: ProviderName,
        found: &Destination,
    ) -> Result<Saved> {
        let name = match &found.name {
            Some(name) => Some(tx.seal(owner, store::NAME, name).await?),
            None => None,
        };
        Ok(Saved {
            id: tx.world().id(),
            owner,
            provider,
            kind: found.kind,
            asset: found.asset,
            mask: rules::mask(found.kind, &found.account),
            usable_at: tx.now() + self.0.policy.cooling,
            created_at: tx.now(),
            account: tx.seal(owner, store::ACCOUNT, &found.account).await?,
            bank: found.bank.clone(),
            name,
        })
    }

    async fn own_destination(&self, owner: Id<User>, id: Id<DestinationId>) -> Result<Saved> {
        let all = store::destinations(&self.0.db, owner).await?;
        all.into_iter().find(|it| it.id == id).ok_or_else(|| Error::not_found("payout destination"))
    }

    /// The caller's saved destination of an address, for a currency where one is named: an address
    /// on a chain takes several.
    ///
    /// # Errors
    /// Invalid: at `/address`, when it is not saved; at `/currency`, when it is saved for several
    /// and none is named.
    pub(super) async fn at_address(
        &self,
        caller: &Caller,
        address: &str,
        currency: Option<Asset>,
    ) -> Result<Id<DestinationId>> {
        let mut found: Vec<Saved> = Vec::new();
        for saved in self.destinations(caller).await? {
            let account = self.0.db.unseal(store::ACCOUNT, &saved.account).await?;
            let is_it = account.is_some_and(|it| it.eq_ignore_ascii_case(address));
            if is_it && currency.is_none_or(|asset| asset == saved.asset) {
                found.push(saved);
            }
        }
        let Some(first) = found.first() else {
            let message = "one that you have saved as a payout destination of this currency";
            return Err(Error::field("/address", "not_saved", message));
        };
        if let Some(other) = found.iter().find(|it| it.asset != first.asset) {
            let message = format!("which of them, such as {} or {}", first.asset, other.asset);
            return Err(Error::field("/currency", "required", message));
        }
        Ok(first.id)
    }

    /// The caller's destinations, the latest first.
    pub async fn destinations(&self, caller: &Caller) -> Result<Vec<Saved>> {
        store::destinations(&self.0.db, caller.user()?).await
    }

    /// The name of a destination, in the clear.
    pub(super) async fn name(&self, saved: &Saved) -> Result<Option<String>> {
        match &saved.name {
            Some(name) => self.0.db.unseal(store::NAME, name).await,
            None => Ok(None),
        }
    }

    /// Removes a destination. What is on its way there goes on.
    ///
    /// # Errors
    /// Not found.
    pub async fn remove(&self, caller: &Caller, id: Id<DestinationId>) -> Result<()> {
        let owner = caller.user()?;
        self.0
            .db
            .run("payout_destination.remove", |tx| async move {
                if !store::remove(&tx, owner, id).await? {
                    return Err(Error::not_found("payout destination"));
                }
                tx.record(Fact::by(caller, "payout_destination.removed").on(id).about(owner));
                Ok(())
            })
            .await
    }

    /// Asks for a payout. The money is set aside at once; it is sent when no admin has to look,
    /// or when one has.
    ///
    /// # Errors
    /// Invalid fields; `destination_cooling`, `insufficient_funds`, `too_many_withdrawals` and
    /// `daily_limit` (conflict); `wallet_frozen` (forbidden).
    pub async fn withdraw(&self, caller: &Caller, new: NewWithdrawal) -> Result<Withdrawal> {
        let owner = caller.user()?;
        let not_saved =
            || Error::field("/destinationId", "unknown", "one of your saved destinations");
        let to = match self.own_destination(owner, new.destination).await {
            // What was asked for already is told as it was, also where that is removed by now.
            Err(_) if self.0.db.is_remembered(caller).await? => {
                let found = store::destination(&self.0.db, new.destination).await?;
                found.filter(|it| it.owner == owner).ok_or_else(not_saved)?
            }
            found => found.map_err(|_| not_saved())?,
        };
        let (amount, fee) = self.fee(new.amount, Some(new.currency.unwrap_or(to.asset)))?;
        if amount.asset != to.asset {
            let message = format!("{}, as the destination has it", to.asset);
            return Err(Error::field("/currency", "other_currency", message));
        }
        self.adapter(to.provider)?.capabilities().represent(amount)?;
        if to.usable_at > self.0.db.world().now() {
            let message = format!("This destination can be used from {} on.", to.usable_at);
            return Err(Error::conflict("destination_cooling", message));
        }
        let (to, source, session) = (&to, new.source, caller.principal()?.session);
        self.0
            .db
            .once(caller, "withdrawal.request", |tx| async move {
                if !store::take_destination(&tx, to.id).await? {
                    return Err(not_saved());
                }
                let now = tx.now();
                let review = self.0.policy.review(amount, session, now);
                let state = if review.is_some() { State::Requested } else { State::Approved };
                let withdrawal = Withdrawal {
                    id: tx.world().id(),
                    owner,
                    provider: to.provider,
                    source,
                    amount,
                    fee,
                    destination: to.id,
                    mask: to.mask.clone(),
                    state,
                    review: review.map(str::to_owned),
                    reason: None,
                    provider_ref: None,
                    created_at: now,
                    updated_at: now,
                    version: 1,
                };
                self.request(&tx, caller, &withdrawal).await?;
                Ok(withdrawal)
            })
            .await
    }

    async fn request(&self, tx: &Tx, caller: &Caller, withdrawal: &Withdrawal) -> Result<()> {
        let Withdrawal { owner, amount, .. } = *withdrawal;
        refuse_frozen(tx, owner).await?;
        // The posting takes the owner's balance row, so that of two requests at once the second
        // one counts the first.
        let aside = NewTransaction::new("withdrawal", key(withdrawal, "req"), withdrawal.id)
            .post(own(withdrawal), aside(withdrawal), amount)
            .post_some(own(withdrawal), aside(withdrawal), withdrawal.fee);
        ledger::post(tx, aside).await?;
        store::insert(tx, withdrawal).await?;
        let before = Timestamp::from_micros(
            tx.now().micros() - i64::try_from(A_DAY.as_micros()).unwrap_or_default(),
        );
        let (count, sum) = store::since(tx, owner, amount.asset, before).await?;
        self.0.policy.allow(amount.asset, count, sum)?;
        tx.record(
            fact(caller, "withdrawal.requested", withdrawal).with("review", &withdrawal.review),
        );
        if withdrawal.state == State::Approved {
            tx.record(fact(&Caller::nobody(), "withdrawal.approved", withdrawal));
            tx.enqueue(NewJob::new(&Send { id: withdrawal.id })?);
        }
        Ok(())
    }

    pub(super) async fn get(&self, id: Id<WithdrawalKind>) -> Result<Withdrawal> {
        store::get(&self.0.db, id).await?.ok_or_else(|| Error::not_found("withdrawal"))
    }

    /// A withdrawal of the caller's.
    ///
    /// # Errors
    /// Not found, also when it is another user's.
    pub async fn own(&self, caller: &Caller, id: Id<WithdrawalKind>) -> Result<Withdrawal> {
        let owner = caller.user()?;
        let found = store::get(&self.0.db, id).await?.filter(|it| it.owner == owner);
        found.ok_or_else(|| Error::not_found("withdrawal"))
    }

    /// Takes a withdrawal back while nobody has approved it.
    ///
    /// # Errors
    /// Not found; `withdrawal_decided` (conflict).
    pub async fn cancel(&self, caller: &Caller, id: Id<WithdrawalKind>) -> Result<Withdrawal> {
        self.own(caller, id).await?;
        self.leave_queue(caller, id, State::Cancelled, None).await
    }

    /// All withdrawals, or those of a state, the latest first: the review queue.
    pub async fn list(&self, state: Option<State>, page: &PageRequest) -> Result<Page<Withdrawal>> {
        let rows = store::list(&self.0.db, state, page).await?;
        Ok(page.page(rows, |it| Cursor::by_id(it.id)))
    }

    /// An admin lets a withdrawal go.
    ///
    /// # Errors
    /// Not found; `withdrawal_decided` (conflict); `own_withdrawal` (forbidden).
    pub async fn approve(&self, admin: &Caller, id: Id<WithdrawalKind>) -> Result<Withdrawal> {
        self.leave_queue(admin, id, State::Approved, None).await
    }

    /// An admin does not: the money goes back.
    ///
    /// # Errors
    /// As [`Self::approve`].
    pub async fn reject(
        &self,
        admin: &Caller,
        id: Id<WithdrawalKind>,
        reason: &str,
    ) -> Result<Withdrawal> {
        if reason.trim().is_empty() || reason.len() > 500 {
            return Err(Error::field("/reason", "invalid", "1 to 500 letters"));
        }
        self.leave_queue(admin, id, State::Rejected, Some(reason)).await
    }

    async fn leave_queue(
        &self,
        caller: &Caller,
        id: Id<WithdrawalKind>,
        to: State,
        reason: Option<&str>,
    ) -> Result<Withdrawal> {
        let who = caller.user()?;
        self.0
            .db
            .once(caller, "withdrawal.decide", |tx| async move {
                let found = store::get(&tx, id).await?;
                let withdrawal = found.ok_or_else(|| Error::not_found("withdrawal"))?;
                if to != State::Cancelled && withdrawal.owner == who {
                    let message = "Somebody else has to decide about your own withdrawal.";
                    return Err(Error::forbidden("own_withdrawal", message));
                }
                let is_open = withdrawal.state == State::Requested;
                if !is_open || !store::move_to(&tx, &withdrawal, to, reason).await? {
                    let message = format!("This withdrawal is {}.", withdrawal.state);
                    return Err(Error::conflict("withdrawal_decided", message));
                }
                store::decided_by(&tx, id, who).await?;
                let verb = match to {
                    State::Approved => {
                        refuse_frozen(&tx, withdrawal.owner).await?;
                        tx.enqueue(NewJob::new(&Send { id })?);
                        "withdrawal.approved"
                    }
                    State::Rejected => "withdrawal.rejected",
                    _ => "withdrawal.cancelled",
                };
                if to != State::Approved {
                    give_back(&tx, &withdrawal, "cancel").await?;
                }
                tx.record(fact(caller, verb, &withdrawal).with("reason", reason));
                store::get(&tx, id).await?.ok_or_else(|| Error::not_found("withdrawal"))
            })
            .await
    }

    /// Sends an approved withdrawal: the job.
    pub(super) async fn send(&self, job: &Send, run: &Run) -> Result<()> {
        self.push(job.id).await?;
        self.0.db.run("withdrawal.sent", |tx| async move { run.done_in(&tx).await }).await
    }

    /// Takes a withdrawal as far as it comes: persisted first, then asked for, or looked for when
    /// it may have been asked for before.
    async fn push(&self, id: Id<WithdrawalKind>) -> Result<()> {
        let withdrawal = self.get(id).await?;
        match withdrawal.state {
            State::Approved => {
                let first = &withdrawal;
                let is_ours = self
                    .0
                    .db
                    .run("withdrawal.submit", |tx| async move {
                        store::move_to(&tx, first, State::Submitting, None).await
                    })
                    .await?;
                if is_ours { self.ask(&self.get(id).await?).await } else { Ok(()) }
            }
            state if state.is_in_flight() => self.refresh(id).await,
            _ => Ok(()),
        }
    }

    /// Looks a withdrawal up at its provider and does what follows.
    pub(crate) async fn refresh(&self, id: Id<WithdrawalKind>) -> Result<()> {
        let Some(withdrawal) = store::get(&self.0.db, id).await? else {
            return Err(Error::not_found("withdrawal"));
        };
        if !withdrawal.state.is_in_flight() && withdrawal.state != State::Settled {
            return Ok(());
        }
        let reference = withdrawal.reference();
        let known = Known::by(&reference, withdrawal.provider_ref.as_deref());
        let seen = self.adapter(withdrawal.provider)?.fetch_payout(known).await?;
        match rules::decide(&withdrawal, seen.as_ref())? {
            Step::Send => self.ask(&withdrawal).await,
            _ => self.observe(id, seen.as_ref()).await,
        }
    }

    /// Asks the provider for the payout of a withdrawal that is stored as submitting, unless
    /// somebody else has asked since it was read: one may be refused what the other is granted.
    async fn ask(&self, withdrawal: &Withdrawal) -> Result<()> {
        let id = withdrawal.id;
        let claim = |tx: Tx| async move {
            asking::claim(&tx, Sent::Withdrawal, id, withdrawal.version).await
        };
        let claim = self.0.db.run("withdrawal.claim", claim).await?;
        if claim == Claim::Taken {
            return Ok(());
        }
        let Some(payout) = self.payout(withdrawal).await? else {
            return self.take(id, &Step::Fail { reason: "erased_destination".into() }).await;
        };
        match self.adapter(withdrawal.provider)?.create_payout(&payout).await {
            Ok(seen) => self.observe(id, Some(&seen)).await,
            Err(Failure::Declined { reason }) => self.refused(withdrawal, claim, reason).await,
            Err(Failure::Invalid(what)) => {
                tracing::error!(what, withdrawal = %id, "a payout was refused as senseless");
                self.refused(withdrawal, claim, "refused".into()).await
            }
            Err(Failure::Unknown(what)) => {
                tracing::warn!(what, withdrawal = %id, "nobody knows what became of a payout");
                self.unknown(id).await
            }
            Err(failure @ Failure::Retryable(_)) => {
                let release =
                    |tx: Tx| async move { asking::release(&tx, Sent::Withdrawal, id).await };
                self.0.db.run("withdrawal.release", release).await?;
                Err(failure.into())
            }
        }
    }

    /// What was refused may be the second asking for one that was granted: it has failed only when
    /// the provider does not know it, and would find it.
    async fn refused(&self, withdrawal: &Withdrawal, claim: Claim, reason: String) -> Result<()> {
        let (id, reference) = (withdrawal.id, withdrawal.reference());
        let known = Known::by(&reference, withdrawal.provider_ref.as_deref());
        let adapter = self.adapter(withdrawal.provider)?;
        let would_find = adapter.capabilities().finds_payouts || known.provider_ref.is_some();
        match adapter.fetch_payout(known).await {
            Ok(None) if claim == Claim::Again && !would_find => self.unknown(id).await,
            Ok(None) => self.take(id, &Step::Fail { reason }).await,
            Ok(seen) => self.observe(id, seen.as_ref()).await,
            Err(unclear) => {
                tracing::warn!(?unclear, withdrawal = %id, "a refused payout cannot be looked up");
                self.unknown(id).await
            }
        }
    }

    async fn payout(&self, withdrawal: &Withdrawal) -> Result<Option<Payout>> {
        let db = &self.0.db;
        let saved = store::destination(db, withdrawal.destination).await?;
        let Some(saved) = saved else { return Ok(None) };
        let Some(account) = db.unseal(store::ACCOUNT, &saved.account).await? else {
            return Ok(None);
        };
        let name = self.name(&saved).await?;
        let (kind, asset) = (saved.kind, saved.asset);
        let to = Destination { kind, asset, account, bank: saved.bank, name };
        Ok(Some(Payout { reference: withdrawal.reference(), amount: withdrawal.amount, to }))
    }

    async fn unknown(&self, id: Id<WithdrawalKind>) -> Result<()> {
        self.0
            .db
            .run("withdrawal.unknown", |tx| async move {
                let found = store::get(&tx, id).await?;
                let withdrawal = found.ok_or_else(|| Error::not_found("withdrawal"))?;
                if withdrawal.state == State::Submitting {
                    store::move_to(&tx, &withdrawal, State::Unknown, None).await?;
                }
                Ok(())
            })
            .await
    }

    async fn observe(&self, id: Id<WithdrawalKind>, seen: Option<&SeenPayout>) -> Result<()> {
        self.0
            .db
            .run("withdrawal.observe", |tx| async move {
                let found = store::get(&tx, id).await?;
                let withdrawal = found.ok_or_else(|| Error::not_found("withdrawal"))?;
                let step = rules::decide(&withdrawal, seen)?;
                apply(&tx, &withdrawal, &step).await?;
                if let Some(seen) = seen {
                    store::heard(&tx, id, &seen.provider_ref).await?;
                }
                Ok(())
            })
            .await
    }

    async fn take(&self, id: Id<WithdrawalKind>, step: &Step) -> Result<()> {
        self.0
            .db
            .run("withdrawal.step", |tx| async move {
                let found = store::get(&tx, id).await?;
                let withdrawal = found.ok_or_else(|| Error::not_found("withdrawal"))?;
                if withdrawal.state.is_in_flight() {
                    apply(&tx, &withdrawal, step).await?;
                }
                Ok(())
            })
            .await
    }

    /// Asks about withdrawals that should have become something by now, and then about those that
    /// may have come back.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let (db, now) = (&self.0.db, self.0.db.world().now());
        for (id, checks, _) in store::due(db, false, now, SWEEP_MAX).await? {
            self.note(id, Some(rules::next_check(now, checks + 1))).await?;
            if let Err(error) = self.push(id).await {
                tracing::warn!(%error, withdrawal = %id, "a withdrawal cannot be checked");
            }
        }
        for (id, _, settled_at) in store::due(db, true, now, SWEEP_MAX).await? {
            self.note(id, rules::next_look(settled_at, now)).await?;
            if let Err(error) = self.refresh(id).await {
                tracing::warn!(%error, withdrawal = %id, "nobody says whether it came back");
            }
        }
        Ok(())
    }

    async fn note(&self, id: Id<WithdrawalKind>, next: Option<Timestamp>) -> Result<()> {
        let note = |tx: Tx| async move { store::checked(&tx, id, next).await };
        self.0.db.run("withdrawal.check", note).await
    }
}

/// Where the money came from.
fn own(withdrawal: &Withdrawal) -> Account {
    Account::of(withdrawal.owner, withdrawal.source.code())
}

/// Where it stands until the outcome is conclusive.
fn aside(withdrawal: &Withdrawal) -> Account {
    Account::of(withdrawal.owner, Code::WITHDRAW)
}

fn key(withdrawal: &Withdrawal, step: &str) -> String {
    format!("wd:{}:{step}", withdrawal.id)
}

async fn give_back(tx: &Tx, withdrawal: &Withdrawal, step: &str) -> Result<()> {
    let back = NewTransaction::new("withdrawal_back", key(withdrawal, step), withdrawal.id)
        .post(aside(withdrawal), own(withdrawal), withdrawal.amount)
        .post_some(aside(withdrawal), own(withdrawal), withdrawal.fee);
    ledger::post(tx, back).await?;
    Ok(())
}

/// Does what was decided, unless somebody else has decided meanwhile.
async fn apply(tx: &Tx, withdrawal: &Withdrawal, step: &Step) -> Result<()> {
    let (state, reason, verb) = match step {
        Step::Wait | Step::Send => return Ok(()),
        Step::Submitted => (State::Submitted, None, "withdrawal.submitted"),
        Step::Settle { .. } => (State::Settled, None, "withdrawal.settled"),
        Step::Fail { reason } => (State::Failed, Some(reason.as_str()), "withdrawal.failed"),
        Step::Return { reason } => (State::Returned, Some(reason.as_str()), "withdrawal.returned"),
    };
    if !store::move_to(tx, withdrawal, state, reason).await? {
        return Ok(());
    }
    let clearing = Account::platform(Code::clearing(withdrawal.provider));
    let income = Account::platform(Code::FEE_WITHDRAW);
    match step {
        Step::Settle { cost } => {
            let paid = NewTransaction::new("payout", key(withdrawal, "settle"), withdrawal.id)
                .post(aside(withdrawal), clearing, withdrawal.amount)
                .post_some(aside(withdrawal), income, withdrawal.fee);
            ledger::post(tx, paid).await?;
            // A transaction of its own: a chain takes its coin for a token, and PayPal dollars.
            let costs = NewTransaction::new("payout_cost", key(withdrawal, "cost"), withdrawal.id)
                .post_some(Account::platform(Code::PROVIDER_COST), clearing, *cost);
            if !costs.is_empty() {
                ledger::post(tx, costs).await?;
            }
        }
        Step::Fail { .. } => give_back(tx, withdrawal, "fail").await?,
        Step::Return { .. } => {
            let back = NewTransaction::new("payout_back", key(withdrawal, "return"), withdrawal.id)
                .post(clearing, own(withdrawal), withdrawal.amount)
                .post_some(income, own(withdrawal), withdrawal.fee);
            ledger::post(tx, back).await?;
        }
        Step::Wait | Step::Send | Step::Submitted => {}
    }
    tx.record(fact(&Caller::nobody(), verb, withdrawal).with("reason", reason));
    Ok(())
}

fn fact(caller: &Caller, verb: &'static str, withdrawal: &Withdrawal) -> Fact {
    Fact::by(caller, verb)
        .on(withdrawal.id)
        .about(withdrawal.owner)
        .with("provider", withdrawal.provider)
        .with("amount", withdrawal.amount.minor)
        .with("fee", withdrawal.fee.minor)
        .with("currency", withdrawal.amount.asset)
        .with("destination", &withdrawal.mask)
}
