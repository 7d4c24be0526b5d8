//! The verbs.

use std::sync::Arc;

use kernel::id::kinds::{Invoice as InvoiceKind, User};
use kernel::{Asset, Caller, Cursor, Error, Id, Kind, Money, Page, PageRequest, Result, Timestamp};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;

use super::model::{Invoice, InvoiceState, Line, Subscription, SubscriptionState};
use super::rules::{self, Charges, Policy};
use super::store;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::wallet::refuse_frozen;

/// What is counted of a plan.
const VERIFICATIONS: &str = "verifications";
/// Rows that a job takes up in one go.
const AT_ONCE: i64 = 200;

/// Plans and bills. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    asset: Asset,
    policy: Policy,
}

impl Service {
    pub(crate) fn new(options: &crate::Options) -> Self {
        Self(Arc::new(Inner {
            db: options.db.clone(),
            asset: options.default_currency,
            policy: options.billing.clone(),
        }))
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(super) fn asset(&self) -> Asset {
        self.0.asset
    }

    /// An enterprise's subscription; none when it has never chosen a plan.
    pub async fn subscription(&self, owner: Id<User>) -> Result<Option<Subscription>> {
        store::subscription(&self.0.db, owner).await
    }

    /// What was used of the plan in the running period.
    pub(super) async fn used(&self, subscription: &Subscription) -> Result<i64> {
        used_in(&self.0.db, subscription).await
    }

    /// Counts verifications that an enterprise has used. Without a plan nothing is counted.
    pub async fn record_usage(&self, tx: &Tx, owner: Id<User>, count: i64) -> Result<()> {
        let found = store::subscription(tx, owner).await?;
        let found = found.filter(|it| it.state != SubscriptionState::Cancelled);
        let Some(found) = found else { return Ok(()) };
        store::count(tx, owner, VERIFICATIONS, found.period_start, count).await
    }

    /// Whether an enterprise's plan lets it go on: it has one that is not suspended, or none.
    pub async fn may_use(&self, owner: Id<User>) -> Result<bool> {
        let found = self.subscription(owner).await?;
        Ok(found.is_none_or(|it| it.state != SubscriptionState::Suspended))
    }

    /// Takes a plan, or another one: a dearer one at once, a cheaper one with the next period.
    ///
    /// # Errors
    /// Invalid, at `/plan`; `subscription_suspended` (conflict) while there is something to pay.
    pub async fn choose(&self, caller: &Caller, plan: &str) -> Result<Subscription> {
        let owner = caller.user()?;
        let plan = self.0.policy.plan(plan)?;
        self.0
            .db
            .once(caller, "subscription.choose", |tx| async move {
                match store::subscription(&tx, owner).await? {
                    None => self.start(&tx, caller, owner, &plan.code).await,
                    Some(it) => self.change(&tx, caller, it, &plan.code).await,
                }
            })
            .await?;
        self.subscription(owner).await?.ok_or_else(|| Error::not_found("subscription"))
    }

    async fn start(&self, tx: &Tx, caller: &Caller, owner: Id<User>, plan: &str) -> Result<()> {
        let subscription = Subscription {
            id: tx.world().id(),
            owner,
            plan: plan.to_owned(),
            next_plan: None,
            ends: false,
            state: SubscriptionState::Active,
            period_start: tx.now(),
            period_end: tx.now() + self.0.policy.period,
            version: 1,
        };
        if !store::insert_subscription(tx, &subscription).await? {
            let message = "A plan was chosen at the same time.";
            return Err(Error::conflict("subscription_changed", message));
        }
        tx.record(fact(caller, "subscription.started", &subscription));
        self.bill(tx, &subscription, rules::charges(self.0.policy.plan(plan)?, None)).await
    }

    async fn change(
        &self,
        tx: &Tx,
        caller: &Caller,
        mut it: Subscription,
        plan: &str,
    ) -> Result<()> {
        if it.state == SubscriptionState::Suspended {
            return Err(unpaid());
        }
        let new = self.0.policy.plan(plan)?;
        if it.state == SubscriptionState::Cancelled {
            return self.start_again(tx, caller, it, &new.code).await;
        }
        let was_ending = std::mem::take(&mut it.ends);
        let old = self.0.policy.find(&it.plan);
        if new.code == it.plan {
            it.next_plan = None;
            if was_ending {
                tx.record(fact(caller, "subscription.kept", &it));
            }
            return store::update_subscription(tx, &it).await;
        }
        if old.is_some_and(|old| new.price < old.price) {
            it.next_plan = Some(new.code.clone());
            tx.record(fact(caller, "subscription.changed", &it).with("from", "next period"));
            return store::update_subscription(tx, &it).await;
        }
        let used = used_in(tx, &it).await?;
        for invoice in store::deferred_of(tx, it.owner).await? {
            if let Some(invoice) = store::take(tx, invoice.id).await? {
                self.credit(tx, &invoice).await?;
            }
        }
        (it.plan, it.next_plan) = (new.code.clone(), None);
        (it.period_start, it.period_end) = (tx.now(), tx.now() + self.0.policy.period);
        store::update_subscription(tx, &it).await?;
        tx.record(fact(caller, "subscription.changed", &it).with("from", "now"));
        self.bill(tx, &it, rules::charges(new, old.map(|old| (old, used)))).await
    }

    /// Begins a subscription that has ended.
    async fn start_again(
        &self,
        tx: &Tx,
        caller: &Caller,
        mut it: Subscription,
        plan: &str,
    ) -> Result<()> {
        if store::has_open(tx, it.owner).await? {
            return Err(unpaid());
        }
        (it.plan, it.state) = (plan.to_owned(), SubscriptionState::Active);
        (it.period_start, it.period_end) = (tx.now(), tx.now() + self.0.policy.period);
        store::update_subscription(tx, &it).await?;
        tx.record(fact(caller, "subscription.started", &it));
        self.bill(tx, &it, rules::charges(self.0.policy.plan(plan)?, None)).await
    }

    /// Issues an invoice, and tries to have it paid; nothing is issued for nothing.
    pub(super) async fn bill(&self, tx: &Tx, it: &Subscription, charges: Charges) -> Result<()> {
        let of = |line: &Option<Line>| {
            Money::new(line.as_ref().map_or(0, |line| line.amount), self.0.asset)
        };
        let (plan, used) = (of(&charges.plan), of(&charges.used));
        let net = plan.plus(used)?;
        if net.minor == 0 {
            return Ok(());
        }
        let net = Money::requested(net.minor, net.asset)?;
        let lines = charges.plan.into_iter().chain(charges.used).collect();
        let invoice = Invoice {
            id: tx.world().id(),
            owner: it.owner,
            number: store::next_number(tx).await?,
            net,
            used,
            tax: net.share(self.0.policy.tax_bps),
            credited: Money::new(0, net.asset),
            lines,
            state: InvoiceState::Open,
            period_start: it.period_start,
            period_end: it.period_end,
            issued_at: tx.now(),
            due_at: tx.now(),
            paid_at: None,
            recognised: used,
            attempts: 0,
            version: 1,
        };
        store::insert_invoice(tx, &invoice).await?;
        let receivable = Account::of(it.owner, Code::RECEIVABLE_INVOICE);
        let key = format!("inv:{}:final", invoice.id);
        let billed = NewTransaction::new("invoice", key, invoice.id)
            .post_some(receivable, Account::of(it.owner, Code::DEFERRED), plan)
            .post_some(receivable, Account::platform(Code::SUBSCRIPTION), used)
            .post_some(receivable, Account::platform(Code::TAX), invoice.tax);
        ledger::post(tx, billed).await?;
        tx.record(of_invoice(&Caller::nobody(), "invoice.finalized", &invoice));
        Ok(())
    }

    /// Ends an invoice's period now: what was served is income, the rest is given back, to the
    /// wallet where it was paid for, else as less to pay.
    async fn credit(&self, tx: &Tx, it: &Invoice) -> Result<()> {
        let served = rules::served(it, tx.now())?;
        let unused = it.net.minus(served)?;
        let tax = rules::tax_of(it.tax, unused, it.net);
        let credited = unused.plus(tax)?;
        let back = match it.state {
            InvoiceState::Paid => Account::of(it.owner, Code::WALLET),
            _ => Account::of(it.owner, Code::RECEIVABLE_INVOICE),
        };
        let deferred = Account::of(it.owner, Code::DEFERRED);
        let new = NewTransaction::new("credit", format!("inv:{}:credit", it.id), it.id)
            .post_some(
                deferred,
                Account::platform(Code::SUBSCRIPTION),
                served.minus(it.recognised)?,
            )
            .post_some(deferred, back, unused)
            .post_some(Account::platform(Code::TAX), back, tax);
        if !new.is_empty() {
            ledger::post(tx, new).await?;
        }
        if !store::recognised(tx, it, it.net.minor, credited.minor).await? {
            return Err(Error::conflict("invoice_changed", "It was changed meanwhile."));
        }
        tx.record(
            of_invoice(&Caller::nobody(), "invoice.credited", it).with("credited", credited.minor),
        );
        Ok(())
    }

    /// Pays an open invoice out of its owner's wallet.
    ///
    /// # Errors
    /// Not found, also when it is another's; `invoice_closed` and `insufficient_funds` (conflict);
    /// `wallet_frozen` (forbidden).
    pub async fn pay(&self, caller: &Caller, id: Id<InvoiceKind>) -> Result<Invoice> {
        let owner = caller.user()?;
        self.0
            .db
            .once(caller, "invoice.pay", |tx| async move {
                let found = store::take(&tx, id).await?.filter(|it| it.owner == owner);
                let invoice = found.ok_or_else(|| Error::not_found("invoice"))?;
                refuse_frozen(&tx, owner).await?;
                self.settle(&tx, &invoice).await?;
                store::invoice(&tx, id).await?.ok_or_else(|| Error::not_found("invoice"))
            })
            .await
    }

    /// What an open invoice of an owner's still asks for. It is taken, so that nobody pays or
    /// credits it until this transaction has ended.
    ///
    /// # Errors
    /// Not found, also when it is another's; `invoice_closed` (conflict).
    pub(crate) async fn payable(
        &self,
        tx: &Tx,
        owner: Id<User>,
        id: Id<InvoiceKind>,
    ) -> Result<Money> {
        let found = store::take(tx, id).await?.filter(|it| it.owner == owner);
        let invoice = found.ok_or_else(|| Error::not_found("invoice"))?;
        match invoice.due()? {
            due if invoice.state == InvoiceState::Open && due.minor > 0 => Ok(due),
            _ => Err(closed()),
        }
    }

    /// Takes an invoice for the rest of a transaction; it must come before every balance.
    pub(crate) async fn take(&self, tx: &Tx, id: Id<InvoiceKind>) -> Result<Option<Invoice>> {
        store::take(tx, id).await
    }

    /// Pays a taken invoice out of its owner's wallet, where what has come in for it covers it;
    /// answers what was paid. An invoice that was paid otherwise is left as it is.
    pub(crate) async fn pay_from(
        &self,
        tx: &Tx,
        it: &Invoice,
        came: Money,
    ) -> Result<Option<Money>> {
        let due = it.due()?;
        let is_enough = came.asset == due.asset && came.minor >= due.minor;
        if it.state != InvoiceState::Open || !is_enough {
            return Ok(None);
        }
        self.settle(tx, it).await?;
        Ok(Some(due))
    }

    async fn settle(&self, tx: &Tx, it: &Invoice) -> Result<()> {
        let due = it.due()?;
        if !store::pay(tx, it).await? {
            return Err(closed());
        }
        let wallet = Account::of(it.owner, Code::WALLET);
        let receivable = Account::of(it.owner, Code::RECEIVABLE_INVOICE);
        let paid = NewTransaction::new("invoice_payment", format!("inv:{}:pay", it.id), it.id)
            .post_some(wallet, receivable, due);
        if !paid.is_empty() {
            ledger::post(tx, paid).await?;
        }
        tx.record(of_invoice(&Caller::nobody(), "invoice.paid", it));
        if store::has_open(tx, it.owner).await? {
            return Ok(());
        }
        match store::subscription(tx, it.owner).await? {
            Some(found) => self.resume(tx, found).await,
            None => Ok(()),
        }
    }

    /// Everything is paid: a subscription goes on. While it was suspended nothing was served, and
    /// nothing is billed for that: where its period is over, the next one begins now.
    pub(super) async fn resume(&self, tx: &Tx, mut it: Subscription) -> Result<()> {
        let was_suspended = it.state == SubscriptionState::Suspended;
        if !was_suspended && it.state != SubscriptionState::PastDue {
            return Ok(());
        }
        it.state = SubscriptionState::Active;
        tx.record(fact(&Caller::nobody(), "subscription.resumed", &it));
        if was_suspended && it.period_end <= tx.now() {
            return self.renew(tx, it, tx.now()).await;
        }
        store::update_subscription(tx, &it).await
    }

    /// Tries every invoice that is due; what cannot be paid is tried again, until it was tried
    /// often enough.
    pub async fn collect_due(&self) -> Result<()> {
        let db = &self.0.db;
        for id in store::due(db, db.world().now(), AT_ONCE).await? {
            let pay = |tx: Tx| async move {
                let Some(invoice) = store::take(&tx, id).await? else { return Ok(()) };
                refuse_frozen(&tx, invoice.owner).await?;
                self.settle(&tx, &invoice).await
            };
            match db.run("invoice.collect", pay).await {
                Ok(()) => {}
                Err(error) if matches!(error.code(), "insufficient_funds" | "wallet_frozen") => {
                    self.missed(id).await?;
                }
                Err(error) if error.kind() == Kind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn missed(&self, id: Id<InvoiceKind>) -> Result<()> {
        self.0
            .db
            .run("invoice.miss", |tx| async move {
                let Some(it) = store::invoice(&tx, id).await? else { return Ok(()) };
                let attempts = it.attempts + 1;
                let next = rules::next_attempt(tx.now(), attempts);
                if it.state != InvoiceState::Open || !store::attempted(&tx, &it, next).await? {
                    return Ok(());
                }
                tx.record(
                    of_invoice(&Caller::nobody(), "invoice.payment_failed", &it)
                        .with("attempt", attempts),
                );
                let Some(mut subscription) = store::subscription(&tx, it.owner).await? else {
                    return Ok(());
                };
                let (state, verb) = match next {
                    Some(_) => (SubscriptionState::PastDue, "subscription.past_due"),
                    None => (SubscriptionState::Suspended, "subscription.suspended"),
                };
                if store::is_live(subscription.state) && subscription.state != state {
                    subscription.state = state;
                    store::update_subscription(&tx, &subscription).await?;
                    tx.record(fact(&Caller::nobody(), verb, &subscription));
                }
                Ok(())
            })
            .await
    }

    /// Starts the next period of every subscription whose period is over.
    pub async fn renew_due(&self) -> Result<()> {
        let db = &self.0.db;
        for owner in store::ended(db, db.world().now(), AT_ONCE).await? {
            let renew = |tx: Tx| async move {
                let Some(it) = store::subscription(&tx, owner).await? else { return Ok(()) };
                if it.period_end > tx.now() || !store::is_live(it.state) {
                    return Ok(());
                }
                let start = rules::next_start(it.period_end, self.0.policy.period, tx.now());
                self.renew(&tx, it, start).await
            };
            match db.run("subscription.renew", renew).await {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Begins a period, and bills it with what was used beyond the last one. A plan that is
    /// configured no more is not gone on with.
    async fn renew(&self, tx: &Tx, mut it: Subscription, start: Timestamp) -> Result<()> {
        let next = self.0.policy.find(it.next_plan.as_ref().unwrap_or(&it.plan));
        let Some(plan) = next.filter(|_| !it.ends) else {
            return self.end_period(tx, it).await;
        };
        let used = used_in(tx, &it).await?;
        let last = self.0.policy.find(&it.plan);
        (it.plan, it.next_plan) = (plan.code.clone(), None);
        (it.period_start, it.period_end) = (start, start + self.0.policy.period);
        store::update_subscription(tx, &it).await?;
        tx.record(fact(&Caller::nobody(), "subscription.renewed", &it));
        self.bill(tx, &it, rules::charges(plan, last.map(|last| (last, used)))).await
    }

    /// Turns what was served by now into income: once a day.
    pub async fn recognise(&self) -> Result<()> {
        let db = &self.0.db;
        let mut after = uuid::Uuid::nil();
        loop {
            let ids = store::deferred(db, after, AT_ONCE).await?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = last.uuid();
            for id in ids {
                db.run("invoice.recognise", |tx| async move { recognise(&tx, id).await }).await?;
            }
        }
    }

    /// An owner's invoices, the latest first.
    pub async fn invoices(&self, owner: Id<User>, page: &PageRequest) -> Result<Page<Invoice>> {
        let rows = store::invoices(&self.0.db, owner, page).await?;
        Ok(page.page(rows, |it| Cursor { key: it.number, id: it.id.uuid() }))
    }

    /// One invoice of the caller's.
    ///
    /// # Errors
    /// Not found, also when it is another's.
    pub async fn invoice(&self, caller: &Caller, id: Id<InvoiceKind>) -> Result<Invoice> {
        let owner = caller.user()?;
        let found = store::invoice(&self.0.db, id).await?.filter(|it| it.owner == owner);
        found.ok_or_else(|| Error::not_found("invoice"))
    }
}

async fn recognise(tx: &Tx, id: Id<InvoiceKind>) -> Result<()> {
    let Some(it) = store::invoice(tx, id).await? else { return Ok(()) };
    let served = rules::served(&it, tx.now())?;
    let more = served.minus(it.recognised)?;
    if more.minor <= 0 || !store::recognised(tx, &it, served.minor, it.credited.minor).await? {
        return Ok(());
    }
    let key = format!("rev:{}:{}", it.id, served.minor);
    let income = NewTransaction::new("revenue", key, it.id).post(
        Account::of(it.owner, Code::DEFERRED),
        Account::platform(Code::SUBSCRIPTION),
        more,
    );
    ledger::post(tx, income).await?;
    Ok(())
}

/// What an enterprise has used of its plan in the period that runs.
pub(super) async fn used_in(db: &impl Read, it: &Subscription) -> Result<i64> {
    store::used(db, it.owner, VERIFICATIONS, it.period_start).await
}

fn unpaid() -> Error {
    Error::conflict("subscription_suspended", "Pay the open invoices first.")
}

pub(super) fn closed() -> Error {
    Error::conflict("invoice_closed", "This invoice is not open.")
}

pub(super) fn fact(caller: &Caller, verb: &'static str, it: &Subscription) -> Fact {
    Fact::by(caller, verb)
        .on(it.id)
        .about(it.owner)
        .with("plan", &it.plan)
        .with("periodEnd", it.period_end)
}

pub(super) fn of_invoice(caller: &Caller, verb: &'static str, it: &Invoice) -> Fact {
    Fact::by(caller, verb)
        .on(it.id)
        .about(it.owner)
        .with("number", it.number)
        .with("net", it.net.minor)
        .with("tax", it.tax.minor)
        .with("currency", it.net.asset)
}
