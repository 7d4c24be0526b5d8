//! Invoices that are paid through a provider: payments like any other, whose money goes on to the
//! invoice in the transaction in which it is credited.

use kernel::id::kinds::Invoice as InvoiceKind;
use kernel::{Caller, Id, Result};
use platform::db::Tx;

use super::model::{NewCheckout, NewDeposit, Payment};
use super::service::Service;
use super::{rules, store};
use crate::billing::Invoice;
use crate::chargeback;

impl Service {
    /// Starts a payment of what an invoice still asks for, or goes on with the one that was
    /// started at this provider. Sent again with the same key, it answers the same page.
    ///
    /// # Errors
    /// Not found, also when it is another's; `invoice_closed`, `payment_declined` and
    /// `payment_opening` (conflict); invalid fields; `provider_unavailable` (unavailable): send it
    /// again with the same key.
    pub async fn check_out(
        &self,
        caller: &Caller,
        id: Id<InvoiceKind>,
        checkout: NewCheckout,
    ) -> Result<Payment> {
        let owner = caller.user()?;
        let provider = self.wanted(checkout.provider)?;
        let (name, checkout) = (provider.name(), &checkout);
        let payment = self
            .db()
            .once(caller, "invoice.check_out", |tx| async move {
                // Of two that start at once the second one finds the first one's payment.
                let due = self.billing().payable(&tx, owner, id).await?;
                let NewCheckout { method, email, .. } = checkout.clone();
                let asked = NewDeposit { amount: due.minor, method, email, ..Default::default() };
                rules::check(&asked, due, 1, provider.capabilities())?;
                let open = store::open_of_invoice(&tx, id, name, due, tx.now()).await?;
                if let Some(open) = open {
                    return Ok(open);
                }
                let new = self.created(&tx, owner, name, due, asked.method);
                self.initiate(&tx, caller, &Payment { invoice: Some(id), ..new }).await
            })
            .await?;
        self.open(payment, checkout.email.clone()).await
    }

    /// The invoice that a payment is for. It is taken before any balance is, as by everybody who
    /// pays it: nobody waits for somebody who waits for them.
    pub(super) async fn invoice_of(&self, tx: &Tx, payment: &Payment) -> Result<Option<Invoice>> {
        match payment.invoice {
            Some(id) => self.billing().take(tx, id).await,
            None => Ok(None),
        }
    }

    /// Does with money that was just credited what it came for: it pays its invoice, and then what
    /// its owner owes.
    pub(super) async fn use_up(
        &self,
        tx: &Tx,
        credited: &Payment,
        invoice: Option<Invoice>,
    ) -> Result<()> {
        let paid = match &invoice {
            Some(invoice) => self.billing().pay_from(tx, invoice, credited.amount).await?,
            None => None,
        };
        let left = match paid {
            Some(paid) => credited.amount.minus(paid)?,
            None => credited.amount,
        };
        chargeback::pay_debt(tx, credited, left).await
    }
}
