//! What admins see of payments, and decide about money that came otherwise than it was asked for.

use kernel::id::kinds::Payment as PaymentKind;
use kernel::{Caller, Cursor, Error, Id, Money, Page, PageRequest, Result};
use platform::db::{Read, Tx};

use super::model::{Payment, State};
use super::service::{Service, fact};
use super::store;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::{chargeback, wallet};

/// A payment, whoever's it is.
///
/// # Errors
/// Not found.
pub(crate) async fn load(db: &impl Read, id: Id<PaymentKind>) -> Result<Payment> {
    store::get(db, id).await?.ok_or_else(|| Error::not_found("payment"))
}

/// Takes a payment for a decision about it, from the version that was looked at; with another
/// reason, where there is one.
///
/// # Errors
/// `payment_moved` (conflict) when somebody else has decided meanwhile.
pub(crate) async fn take(tx: &Tx, payment: &Payment, reason: Option<&str>) -> Result<()> {
    if store::take(tx, payment, reason).await? {
        return Ok(());
    }
    Err(Error::conflict("payment_moved", "Somebody else has decided meanwhile."))
}

/// Keeps a payment until this transaction ends: nobody decides about it meanwhile.
pub(crate) async fn lock(tx: &Tx, id: Id<PaymentKind>) -> Result<()> {
    store::lock(tx, id).await
}

/// What came for a payment that is suspended: the books say.
pub(crate) async fn received(db: &impl Read, id: Id<PaymentKind>) -> Result<Money> {
    let booked = ledger::by_key(db, &format!("dep:{id}:suspense")).await?;
    let first = booked.and_then(|booked| booked.postings.first().map(|it| it.amount));
    first.ok_or_else(|| Error::internal("a suspended payment that was never booked"))
}

impl Service {
    /// Payments of everybody, or those of a state, the latest first. Of suspended ones, those about
    /// which nobody has decided.
    pub async fn list(&self, state: Option<State>, page: &PageRequest) -> Result<Page<Payment>> {
        let rows = store::list(self.db(), state, page).await?;
        Ok(page.page(rows, |it| Cursor::by_id(it.id)))
    }

    /// A payment of anybody's, and what came for it where that is something else.
    ///
    /// # Errors
    /// Not found.
    pub async fn inspect(&self, id: Id<PaymentKind>) -> Result<(Payment, Option<Money>)> {
        self.with_came(load(self.db(), id).await?).await
    }

    /// A payment, with what came for it where that is something else than was asked for.
    pub(super) async fn with_came(&self, payment: Payment) -> Result<(Payment, Option<Money>)> {
        let came = match payment.state {
            State::Suspended => Some(received(self.db(), payment.id).await?),
            _ => None,
        };
        Ok((payment, came))
    }

    /// An admin credits the payer with what came, whatever was asked for. From then on the payment
    /// is one of that amount.
    ///
    /// # Errors
    /// Not found; invalid, at `/reason`; `own_payment` (forbidden); `not_suspended` and
    /// `payment_disputed` (conflict).
    pub async fn credit(
        &self,
        admin: &Caller,
        id: Id<PaymentKind>,
        reason: &str,
    ) -> Result<Payment> {
        let (who, reason) = (admin.user()?, wallet::reason(reason)?);
        self.db()
            .once(admin, "payment.credit", |tx| async move {
                let payment = load(&tx, id).await?;
                if payment.owner == who {
                    let message = "Somebody else has to decide about your own payment.";
                    return Err(Error::forbidden("own_payment", message));
                }
                if !payment.is_undecided() {
                    let message = "No money of this payment waits for a decision.";
                    return Err(Error::conflict("not_suspended", message));
                }
                let came = received(&tx, id).await?;
                if !store::credited(&tx, &payment, came).await? {
                    let message = "Somebody else has decided meanwhile.";
                    return Err(Error::conflict("payment_moved", message));
                }
                // The payment's row is this transaction's from here on: a charge-back comes before
                // it or after.
                chargeback::refuse_disputed(&tx, id).await?;
                let suspense = Account::platform(Code::suspense(payment.provider));
                let owner = Account::of(payment.owner, Code::WALLET);
                let credit = NewTransaction::new("deposit", format!("dep:{id}:credit"), id);
                let invoice = self.invoice_of(&tx, &payment).await?;
                ledger::post(&tx, credit.post(suspense, owner, came)).await?;
                let credited = load(&tx, id).await?;
                self.use_up(&tx, &credited, invoice).await?;
                tx.record(fact(admin, "deposit.credited", &credited).with("reason", reason));
                Ok(())
            })
            .await?;
        load(self.db(), id).await
    }
}
