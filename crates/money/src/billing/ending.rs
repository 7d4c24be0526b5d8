//! How subscriptions and bills end otherwise than by being paid.

use kernel::id::kinds::{Invoice as InvoiceKind, User};
use kernel::{Caller, Cursor, Error, Id, Page, PageRequest, Result};
use platform::db::Tx;

use super::model::{Invoice, InvoiceState, Subscription, SubscriptionState};
use super::rules::{self, Charges};
use super::service::{Service, closed, fact, of_invoice, used_in};
use super::store;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::wallet::reason;

/// How an open bill ends that nobody pays.
#[derive(Clone, Copy)]
enum Unpaid {
    Void,
    WrittenOff,
}

impl Service {
    /// Goes on with a plan until its period is over, and no longer. One that is suspended ends at
    /// once. Choosing a plan takes it back.
    ///
    /// # Errors
    /// Not found; `subscription_ended` (conflict).
    pub async fn cancel(&self, caller: &Caller) -> Result<Subscription> {
        let owner = caller.user()?;
        self.db()
            .run("subscription.cancel", |tx| async move {
                let found = store::subscription(&tx, owner).await?;
                let mut it = found.ok_or_else(|| Error::not_found("subscription"))?;
                match it.state {
                    SubscriptionState::Cancelled => {
                        let message = "There is no plan any more. Choose one.";
                        return Err(Error::conflict("subscription_ended", message));
                    }
                    SubscriptionState::Suspended => return self.end(&tx, caller, it).await,
                    SubscriptionState::Active | SubscriptionState::PastDue if it.ends => {
                        return Ok(());
                    }
                    SubscriptionState::Active | SubscriptionState::PastDue => {}
                }
                it.ends = true;
                tx.record(fact(caller, "subscription.cancel_requested", &it));
                store::update_subscription(&tx, &it).await
            })
            .await?;
        self.subscription(owner).await?.ok_or_else(|| Error::not_found("subscription"))
    }

    async fn end(&self, tx: &Tx, caller: &Caller, mut it: Subscription) -> Result<()> {
        (it.state, it.ends, it.next_plan) = (SubscriptionState::Cancelled, false, None);
        tx.record(fact(caller, "subscription.cancelled", &it));
        store::update_subscription(tx, &it).await
    }

    /// Ends a subscription whose last period is over, and bills what was used beyond the plan.
    pub(super) async fn end_period(&self, tx: &Tx, it: Subscription) -> Result<()> {
        // Nobody knows any more what a plan has included that is configured no more.
        if let Some(plan) = self.policy().find(&it.plan) {
            let used = used_in(tx, &it).await?;
            let charges = Charges { plan: None, ..rules::charges(plan, Some((plan, used))) };
            self.bill(tx, &it, charges).await?;
        }
        self.end(tx, &Caller::nobody(), it).await
    }

    /// Takes back an open bill that should not have been written.
    ///
    /// # Errors
    /// Not found; invalid, at `/reason`; `invoice_closed` (conflict).
    pub async fn void(&self, admin: &Caller, id: Id<InvoiceKind>, why: &str) -> Result<Invoice> {
        self.close_unpaid(admin, id, Unpaid::Void, why).await
    }

    /// Gives an open bill up: what was served of it is the platform's loss, the rest is taken back,
    /// and the subscription ends.
    ///
    /// # Errors
    /// Not found; invalid, at `/reason`; `invoice_closed` (conflict).
    pub async fn write_off(
        &self,
        admin: &Caller,
        id: Id<InvoiceKind>,
        why: &str,
    ) -> Result<Invoice> {
        self.close_unpaid(admin, id, Unpaid::WrittenOff, why).await
    }

    async fn close_unpaid(
        &self,
        admin: &Caller,
        id: Id<InvoiceKind>,
        how: Unpaid,
        why: &str,
    ) -> Result<Invoice> {
        let why = reason(why)?;
        self.db()
            .once(admin, "invoice.close", |tx| async move {
                let it = store::take(&tx, id).await?.ok_or_else(|| Error::not_found("invoice"))?;
                if it.state != InvoiceState::Open {
                    return Err(closed());
                }
                let (end, state, verb) = match how {
                    Unpaid::Void => (rules::voided(&it)?, InvoiceState::Void, "invoice.voided"),
                    Unpaid::WrittenOff => {
                        let end = rules::written_off(&it, tx.now())?;
                        (end, InvoiceState::Uncollectible, "invoice.written_off")
                    }
                };
                self.post_end(&tx, &it, &end).await?;
                if !store::end(&tx, &it, state, end.credited.minor).await? {
                    return Err(closed());
                }
                let fact = of_invoice(admin, verb, &it).with("lost", end.lost.minor);
                tx.record(fact.with("reason", why));
                self.after_end(&tx, admin, it.owner, how).await?;
                store::invoice(&tx, id).await?.ok_or_else(|| Error::not_found("invoice"))
            })
            .await
    }

    /// What was billed and is not asked for any more goes back to where it came from.
    async fn post_end(&self, tx: &Tx, it: &Invoice, end: &rules::End) -> Result<()> {
        let receivable = Account::of(it.owner, Code::RECEIVABLE_INVOICE);
        let deferred = Account::of(it.owner, Code::DEFERRED);
        let income = Account::platform(Code::SUBSCRIPTION);
        let new = NewTransaction::new("invoice_end", format!("inv:{}:void", it.id), it.id)
            .post_some(deferred, income, end.served)
            .post_some(deferred, receivable, end.unserved)
            .post_some(income, receivable, end.income)
            .post_some(Account::platform(Code::TAX), receivable, end.tax)
            .post_some(Account::platform(Code::BAD_DEBT_COST), receivable, end.lost);
        if !new.is_empty() {
            ledger::post(tx, new).await?;
        }
        Ok(())
    }

    /// Nobody waits for a bill that was taken back; who did not pay has no plan any more.
    async fn after_end(&self, tx: &Tx, admin: &Caller, owner: Id<User>, how: Unpaid) -> Result<()> {
        let Some(found) = store::subscription(tx, owner).await? else { return Ok(()) };
        if found.state == SubscriptionState::Cancelled {
            return Ok(());
        }
        match how {
            Unpaid::WrittenOff => self.end(tx, admin, found).await,
            Unpaid::Void if store::has_open(tx, owner).await? => Ok(()),
            Unpaid::Void => self.resume(tx, found).await,
        }
    }

    /// Everybody's invoices, the latest first.
    pub async fn all_invoices(
        &self,
        state: Option<InvoiceState>,
        page: &PageRequest,
    ) -> Result<Page<Invoice>> {
        let rows = store::all_invoices(self.db(), state, page).await?;
        Ok(page.page(rows, |it| Cursor { key: it.number, id: it.id.uuid() }))
    }
}
