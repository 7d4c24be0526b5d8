//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use kernel::id::kinds::{Payment as PaymentKind, User};
use kernel::{Asset, Caller, Error, Id, Money, Result, Timestamp};
use platform::db::{Db, Tx};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;

use super::jobs::ActOnEvent;
use super::model::{NewDeposit, Payment, State, parse_reference, reference};
use super::rules::{self, Step};
use super::store;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::provider::{Failure, Known, Order, Provider, ProviderName, Seen, SeenState, Webhook};
use crate::wallet::Payees;
use crate::{billing, chargeback, payout, refund, wallet};

/// Tries that span a day of growing pauses: a webhook may outrun our own commit, and a payment
/// that is nowhere after that is a person's to look into.
const EVENT_ATTEMPTS: u32 = 34;
/// Payments that one sweep asks about.
const SWEEP_MAX: i64 = 50;

/// Payments through providers. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    default_currency: Asset,
    minimum: i64,
    lifetime: Duration,
    /// The first is the default.
    providers: Vec<Arc<dyn Provider>>,
    others: Others,
    /// Who may be credited; everybody without.
    payees: Option<Arc<dyn Payees>>,
}

/// Whom payments concern.
pub(crate) struct Others {
    /// What charge-backs freeze.
    pub wallet: wallet::Service,
    /// What events about payouts go to.
    pub payouts: payout::Service,
    /// What events about refunds go to.
    pub refunds: refund::Service,
    /// Whose invoices are paid.
    pub billing: billing::Service,
}

impl Service {
    pub(crate) fn new(
        options: &crate::Options,
        providers: Vec<Arc<dyn Provider>>,
        others: Others,
    ) -> Self {
        Self(Arc::new(Inner {
            db: options.db.clone(),
            default_currency: options.default_currency,
            minimum: options.deposit_minimum,
            lifetime: options.payment_lifetime,
            providers,
            others,
            payees: options.payees.clone(),
        }))
    }

    pub(super) fn providers(&self) -> &[Arc<dyn Provider>] {
        &self.0.providers
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(super) fn default_currency(&self) -> Asset {
        self.0.default_currency
    }

    pub(super) fn billing(&self) -> &billing::Service {
        &self.0.others.billing
    }

    pub(super) fn minimum(&self) -> i64 {
        self.0.minimum
    }

    fn provider(&self, name: ProviderName) -> Option<&Arc<dyn Provider>> {
        self.0.providers.iter().find(|provider| provider.name() == name)
    }

    fn adapter(&self, name: ProviderName) -> Result<&Arc<dyn Provider>> {
        self.provider(name).ok_or_else(|| {
            let message = format!("Payments through {name} are switched off.");
            Error::unavailable("provider_unavailable", message)
        })
    }

    /// Starts a payment into the caller's wallet: stores it, then asks the provider for a page
    /// on which to pay. Sent again with the same key, it answers the same page.
    ///
    /// # Errors
    /// Invalid fields; `payment_declined` and `payment_opening` (conflict); `provider_unavailable`
    /// (unavailable): send it again with the same key.
    pub async fn deposit(&self, caller: &Caller, deposit: NewDeposit) -> Result<Payment> {
        let owner = caller.user()?;
        let provider = self.wanted(deposit.provider)?;
        let asset = deposit.currency.unwrap_or(self.0.default_currency);
        let amount = Money::requested(deposit.amount, asset)?;
        rules::check(&deposit, amount, self.0.minimum, provider.capabilities())?;
        let (name, method) = (provider.name(), &deposit.method);
        let id = self
            .0
            .db
            .once(caller, "deposit.initiate", |tx| async move {
                let new = self.created(&tx, owner, name, amount, method.clone());
                self.initiate(&tx, caller, &new).await
            })
            .await?;
        self.open(id, deposit.email).await
    }

    /// A payment of which nobody has heard yet.
    pub(super) fn created(
        &self,
        tx: &Tx,
        owner: Id<User>,
        provider: ProviderName,
        amount: Money,
        method: Option<String>,
    ) -> Payment {
        Payment {
            id: tx.world().id(),
            owner,
            provider,
            amount,
            invoice: None,
            method,
            state: State::Created,
            reason: None,
            provider_ref: None,
            access_code: None,
            checkout_url: None,
            expires_at: tx.now() + self.0.lifetime,
            created_at: tx.now(),
            updated_at: tx.now(),
            version: 1,
        }
    }

    /// Stores a payment before its provider hears of it.
    pub(super) async fn initiate(
        &self,
        tx: &Tx,
        caller: &Caller,
        new: &Payment,
    ) -> Result<Id<PaymentKind>> {
        store::insert(tx, new, rules::next_check(tx.now(), 0)).await?;
        tx.record(fact(caller, "deposit.initiated", new));
        Ok(new.id)
    }

    pub(super) fn wanted(&self, name: Option<ProviderName>) -> Result<&Arc<dyn Provider>> {
        let found = match name {
            Some(name) => self.provider(name),
            None => self.0.providers.first(),
        };
        found.ok_or_else(|| {
            let names: Vec<_> = self.0.providers.iter().map(|p| p.name().as_str()).collect();
            Error::field("/provider", "unknown", format!("one of: {}", names.join(", ")))
        })
    }

    /// Asks the provider for the page to pay on, unless it is known; one at a time.
    ///
    /// # Errors
    /// `payment_opening` (conflict) while somebody else asks.
    pub(super) async fn open(&self, id: Id<PaymentKind>, email: Option<String>) -> Result<Payment> {
        let payment = self.get(id).await?;
        if payment.checkout_url.is_some() || payment.state != State::Created {
            return opened(payment);
        }
        let claim = |tx: Tx| async move { store::claim(&tx, id).await };
        if !self.0.db.run("payment.claim", claim).await? {
            let payment = self.get(id).await?;
            let is_known = payment.checkout_url.is_some() || payment.state != State::Created;
            return if is_known { opened(payment) } else { Err(opening()) };
        }
        match self.ask(&payment, email).await {
            Ok(()) => opened(self.get(id).await?),
            Err(failure) => {
                let release = |tx: Tx| async move { store::release(&tx, id).await };
                self.0.db.run("payment.release", release).await?;
                Err(failure)
            }
        }
    }

    /// Asks for the page, and keeps it.
    async fn ask(&self, payment: &Payment, email: Option<String>) -> Result<()> {
        let order = Order {
            payer: payment.owner,
            reference: payment.reference(),
            amount: payment.amount,
            email,
            method: payment.method.clone(),
            return_url: None,
        };
        let adapter = self.adapter(payment.provider)?;
        match adapter.create_collection(&order).await {
            Ok(checkout) => {
                let checkout = &checkout;
                let is_address = adapter.capabilities().has_arrivals;
                self.0
                    .db
                    .run("payment.open", |tx| async move {
                        if is_address {
                            store::keep_address(&tx, payment, &checkout.provider_ref).await?;
                        }
                        store::opened(&tx, payment.id, checkout).await.map(|_| ())
                    })
                    .await
            }
            Err(Failure::Declined { reason }) => {
                self.take(payment.id, &Step::Fail { reason: reason.clone() }).await?;
                Err(Failure::Declined { reason }.into())
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn get(&self, id: Id<PaymentKind>) -> Result<Payment> {
        store::get(&self.0.db, id).await?.ok_or_else(|| Error::not_found("payment"))
    }

    /// The caller's payment of a reference, after asking the provider how it stands. Asking
    /// again changes nothing: it is the webhook's own way.
    ///
    /// # Errors
    /// Not found, also when it is another user's; `provider_unavailable` (unavailable).
    pub async fn verify(&self, caller: &Caller, reference: &str) -> Result<Payment> {
        let owner = caller.user()?;
        let unknown = || Error::not_found("payment");
        let id = parse_reference(reference).ok_or_else(unknown)?;
        store::of_owner(&self.0.db, owner, id).await?.ok_or_else(unknown)?;
        self.refresh(id).await
    }

    /// The caller's payment that a provider names by an id of its own: where a payer's browser
    /// comes back with nothing else in hand.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub async fn confirm(&self, caller: &Caller, provider_id: &str) -> Result<Payment> {
        if parse_reference(provider_id).is_some() {
            return self.verify(caller, provider_id).await;
        }
        for provider in &self.0.providers {
            if let Some(reference) = provider.reference_of(provider_id).await? {
                return self.verify(caller, &reference).await;
            }
        }
        Err(Error::not_found("payment"))
    }

    /// Fetches a payment from its provider and does what follows.
    pub(super) async fn refresh(&self, id: Id<PaymentKind>) -> Result<Payment> {
        let payment = self.get(id).await?;
        if payment.state.has_money() {
            return Ok(payment);
        }
        let reference = payment.reference();
        let known = Known::by(&reference, payment.provider_ref.as_deref());
        let adapter = self.adapter(payment.provider)?;
        let mut seen = adapter.fetch_collection(known).await?;
        if rules::decide(&payment, seen.as_ref(), self.0.db.world().now())? == Step::Complete {
            seen = adapter.complete_collection(known).await?;
        }
        self.observe(id, seen.as_ref()).await
    }

    async fn observe(&self, id: Id<PaymentKind>, seen: Option<&Seen>) -> Result<Payment> {
        let is_welcome = self.is_welcome(id, seen).await?;
        self.0
            .db
            .run("payment.observe", |tx| async move {
                let payment =
                    store::get(&tx, id).await?.ok_or_else(|| Error::not_found("payment"))?;
                let step = rules::decide(&payment, seen, tx.now())?;
                let step = if is_welcome { step } else { rules::without_owner(step, &payment) };
                self.apply(&tx, &payment, &step).await?;
                store::get(&tx, id).await?.ok_or_else(|| Error::not_found("payment"))
            })
            .await
    }

    /// Whether money that has come may be credited to its owner: asked for outside of the
    /// transaction, and only where there is some.
    async fn is_welcome(&self, id: Id<PaymentKind>, seen: Option<&Seen>) -> Result<bool> {
        let is_paid = seen.is_some_and(|seen| matches!(seen.state, SeenState::Paid { .. }));
        match &self.0.payees {
            Some(payees) if is_paid => payees.may_receive(self.get(id).await?.owner).await,
            _ => Ok(true),
        }
    }

    async fn take(&self, id: Id<PaymentKind>, step: &Step) -> Result<()> {
        self.0
            .db
            .run("payment.step", |tx| async move {
                let payment =
                    store::get(&tx, id).await?.ok_or_else(|| Error::not_found("payment"))?;
                self.apply(&tx, &payment, step).await
            })
            .await
    }

    /// Takes a provider's webhook in: checks the signature over the raw body, keeps each event
    /// once, and leaves acting on it to a job. When this answers, the provider may forget it.
    ///
    /// # Errors
    /// `invalid_signature` (unauthenticated), whatever is wrong with it.
    pub async fn receive(
        &self,
        name: ProviderName,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<()> {
        let provider = self.provider(name).ok_or_else(|| Error::not_found("payment provider"))?;
        let now = self.0.db.world().now();
        let Webhook::Genuine(events) = provider.verify_webhook(body, headers, now).await? else {
            metrics::counter!("provider_webhooks_refused_total", "provider" => name.as_str())
                .increment(1);
            let message = "The signature does not belong to this body.";
            return Err(Error::unauthenticated("invalid_signature", message));
        };
        let (events, text) = (&events, &*String::from_utf8_lossy(body));
        self.0
            .db
            .run("webhook.receive", |tx| async move {
                for event in events {
                    if store::insert_event(&tx, name, event, text).await? {
                        let job = ActOnEvent { provider: name, key: event.dedupe_key.clone() };
                        tx.enqueue(NewJob::new(&job)?.attempts(EVENT_ATTEMPTS));
                    }
                }
                Ok(())
            })
            .await
    }

    /// The provider whose signature header a webhook carries.
    ///
    /// # Errors
    /// `unknown_provider` (invalid) when it carries none, or several.
    pub(super) fn sender(&self, headers: &HeaderMap) -> Result<ProviderName> {
        let signed =
            |provider: &&Arc<dyn Provider>| headers.contains_key(provider.signature_header());
        let mut senders = self.0.providers.iter().filter(signed);
        match (senders.next(), senders.next()) {
            (Some(provider), None) => Ok(provider.name()),
            _ => Err(Error::invalid(
                "unknown_provider",
                "The headers do not tell which provider this comes from.",
            )),
        }
    }

    /// The payment behind a reference: ours, or an id of the provider's that it is asked about.
    async fn id_of(
        &self,
        provider: ProviderName,
        reference: &str,
    ) -> Result<Option<Id<PaymentKind>>> {
        if let Some(id) = parse_reference(reference) {
            return Ok(Some(id));
        }
        let adapter = self.adapter(provider)?;
        if adapter.capabilities().has_arrivals {
            self.watch_one(adapter).await?;
            return store::of_arrival(&self.0.db, provider, reference).await;
        }
        let own = adapter.reference_of(reference).await?;
        Ok(own.as_deref().and_then(parse_reference))
    }

    /// Acts on a kept event: looks the payment up at the provider.
    pub(super) async fn act_on(&self, event: &ActOnEvent, run: &Run) -> Result<()> {
        let ActOnEvent { provider, key } = event;
        let open = store::open_event(&self.0.db, *provider, key).await?;
        let Some((kind, reference)) = open else { return Ok(()) };
        if let Some(id) = payout::parse_reference(&reference) {
            self.0.others.payouts.refresh(id).await?;
            return self.acted_on(event, &reference, run).await;
        }
        let known = match self.id_of(*provider, &reference).await? {
            Some(id) => store::get(&self.0.db, id).await?,
            None => None,
        };
        let Some(payment) = known.filter(|payment| payment.provider == *provider) else {
            let mark = |tx: Tx| async move { store::event_unmatched(&tx, *provider, key).await };
            self.0.db.run("webhook.unmatched", mark).await?;
            return Err(Error::not_found("payment of this event"));
        };
        let payment = self.refresh(payment.id).await?;
        if is_about_a_refund(&kind) {
            self.0.others.refunds.refresh_of(payment.id).await?;
        }
        if payment.state.has_money() && (is_about_a_dispute(&kind) || is_about_a_refund(&kind)) {
            self.look_for_disputes(&payment).await?;
        }
        self.acted_on(event, &payment.reference(), run).await
    }

    /// Asks the provider about charge-backs of a payment whose money has come, and about refunds that
    /// nobody here has asked for, and does what follows.
    async fn look_for_disputes(&self, payment: &Payment) -> Result<()> {
        let reference = payment.reference();
        let provider_ref = payment.provider_ref.as_deref();
        let known = Known { with_dispute: true, ..Known::by(&reference, provider_ref) };
        let seen = self.adapter(payment.provider)?.fetch_collection(known).await?;
        let seen = seen.filter(|seen| seen.reference == reference);
        let id = payment.id;
        for dispute in &seen.map(|seen| seen.disputes).unwrap_or_default() {
            self.0
                .db
                .run("payment.dispute", |tx| async move {
                    chargeback::observe(&tx, &self.0.others.wallet, id, dispute).await
                })
                .await?;
        }
        Ok(())
    }

    /// An event is done with, and known from here on by our reference of what it was about: by that
    /// it is found when its subject's owner goes.
    async fn acted_on(&self, event: &ActOnEvent, reference: &str, run: &Run) -> Result<()> {
        let ActOnEvent { provider, key } = event;
        self.0
            .db
            .run("webhook.done", |tx| async move {
                store::event_done(&tx, *provider, key, reference).await?;
                run.done_in(&tx).await
            })
            .await
    }

    /// Asks about payments that should have become something by now, and then about those that
    /// somebody may have taken back: a lost webhook only costs time.
    pub(crate) async fn sweep(&self) -> Result<()> {
        self.watch().await;
        let (db, now) = (&self.0.db, self.0.db.world().now());
        for (id, checks, expired_at) in store::due(db, false, now, SWEEP_MAX).await? {
            let next = match expired_at {
                Some(expired_at) => rules::next_late_look(expired_at, now),
                None => Some(rules::next_check(now, checks + 1)),
            };
            self.note(id, next).await?;
            // One that cannot be asked about now must not keep the others waiting.
            if let Err(error) = self.refresh(id).await {
                tracing::warn!(%error, payment = %id, "a payment cannot be checked");
            }
        }
        for (id, ..) in store::due(db, true, now, SWEEP_MAX).await? {
            let payment = self.get(id).await?;
            let is_disputed = chargeback::is_open(db, id).await?;
            self.note(id, rules::next_look(&payment, is_disputed, now)).await?;
            if let Err(error) = self.look_for_disputes(&payment).await {
                tracing::warn!(%error, payment = %id, "nobody says whether it was charged back");
            }
        }
        Ok(())
    }

    async fn note(&self, id: Id<PaymentKind>, next: Option<Timestamp>) -> Result<()> {
        let note = |tx: Tx| async move { store::checked(&tx, id, next).await };
        self.0.db.run("payment.check", note).await
    }

    /// Does what was decided, unless somebody else has decided meanwhile.
    async fn apply(&self, tx: &Tx, payment: &Payment, step: &Step) -> Result<()> {
        let (state, reason, verb) = match step {
            // Taking the money is the provider's to do: what comes of it is looked at again.
            Step::Wait | Step::Complete => return Ok(()),
            Step::Open => (State::Pending, None, None),
            Step::Settle { .. } => (State::Settled, None, Some("deposit.settled")),
            Step::Suspend { reason, .. } => {
                (State::Suspended, Some(*reason), Some("deposit.suspended"))
            }
            Step::Fail { reason } => (State::Failed, Some(reason.as_str()), Some("deposit.failed")),
            Step::Expire => (State::Expired, None, Some("deposit.expired")),
        };
        if !store::move_to(tx, payment, state, reason).await? {
            return Ok(());
        }
        let mut told = verb.map(|verb| fact(&Caller::nobody(), verb, payment));
        match step {
            Step::Settle { fee } => {
                let invoice = self.invoice_of(tx, payment).await?;
                book(tx, payment, payment.amount, *fee, "settle").await?;
                self.use_up(tx, payment, invoice).await?;
                told = told.map(|told| told.with("fee", fee.minor));
            }
            Step::Suspend { received, fee, reason } => {
                book(tx, payment, *received, *fee, "suspense").await?;
                told = told.map(|told| {
                    told.with("reason", reason)
                        .with("received", received.minor)
                        .with("receivedCurrency", received.asset)
                });
            }
            Step::Fail { reason } => told = told.map(|told| told.with("reason", reason)),
            Step::Wait | Step::Complete | Step::Open | Step::Expire => {}
        }
        if let Some(told) = told {
            tx.record(told);
        }
        Ok(())
    }
}

/// Whether a kind of event, in the words of any provider, is about a charge-back. A block that was
/// replaced takes back what was credited as a bank does.
fn is_about_a_dispute(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.contains("dispute") || kind.starts_with("transfer.")
}

fn is_about_a_refund(kind: &str) -> bool {
    kind.to_ascii_lowercase().contains("refund")
}

fn opening() -> Error {
    let message = "Its page is being asked for. Send it again with the same key.";
    Error::conflict("payment_opening", message).retry_after(1)
}

/// The answer to a deposit needs a page to send the payer to.
fn opened(payment: Payment) -> Result<Payment> {
    if payment.checkout_url.is_some() {
        return Ok(payment);
    }
    Err(Error::conflict("payment_closed", "This payment is over. Start a new one."))
}

/// Books money that arrived: for its owner, or where it waits for an admin. The platform bears
/// what the provider keeps.
async fn book(
    tx: &Tx,
    payment: &Payment,
    received: Money,
    fee: Money,
    step: &'static str,
) -> Result<()> {
    let clearing = Account::platform(Code::clearing(payment.provider));
    let (kind, to) = match step {
        "settle" => ("deposit", Account::of(payment.owner, Code::WALLET)),
        _ => ("suspense", Account::platform(Code::suspense(payment.provider))),
    };
    let transaction = NewTransaction::new(kind, format!("dep:{}:{step}", payment.id), payment.id)
        .post(clearing, to, received)
        .post_some(Account::platform(Code::PROVIDER_COST), clearing, fee);
    ledger::post(tx, transaction).await?;
    Ok(())
}

pub(super) fn fact(caller: &Caller, verb: &'static str, payment: &Payment) -> Fact {
    let fact = Fact::by(caller, verb)
        .on(payment.id)
        .about(payment.owner)
        .with("provider", payment.provider)
        .with("reference", reference(payment.id))
        .with("amount", payment.amount.minor)
        .with("currency", payment.amount.asset);
    match payment.invoice {
        Some(invoice) => fact.with("invoice", invoice),
        None => fact,
    }
}
