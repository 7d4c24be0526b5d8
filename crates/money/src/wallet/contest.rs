//! Captured money that is contested: nobody has it until it is decided whose it is.

use kernel::id::kinds::Hold as HoldKind;
use kernel::{Caller, Error, Id, Result};
use platform::db::Tx;
use platform::journal::Fact;

use super::model::Settled;
use super::service::Service;
use super::{rules, store};
use crate::ledger::{self, Account, Code, NewTransaction};

impl Service {
    /// Keeps what a captured hold has earned from being released by time, until
    /// [`Self::settle_contested`]. Answers whether it could: not once it was released, nor when
    /// its window is over.
    pub async fn freeze_earning(&self, tx: &Tx, hold: Id<HoldKind>) -> Result<bool> {
        store::hold_back(tx, hold).await
    }

    /// Decides a contested hold: the owner has `refund_bps` hundredths of a percent of it back,
    /// from the payee's earning and from the platform's fee in the same proportion, rounded down.
    /// The payee has the rest, free to be paid out.
    ///
    /// # Errors
    /// `not_contested` (conflict) when the earning is not frozen: it was decided before.
    pub async fn settle_contested(
        &self,
        tx: &Tx,
        hold: Id<HoldKind>,
        refund_bps: u16,
    ) -> Result<Settled> {
        let contested = store::take_frozen(tx, hold).await?.ok_or_else(|| {
            Error::conflict("not_contested", "What this hold has earned is not contested.")
        })?;
        let store::Contested { owner, payee, captured, purpose, subject } = contested;
        let refund = rules::refund(captured, refund_bps)?;
        let amount = captured.amount.minus(refund.amount)?;
        let left = rules::split(amount, captured.fee.minus(refund.fee)?)?;
        if refund.amount.minor > 0 {
            let wallet = Account::of(owner, Code::WALLET);
            let key = format!("{purpose}:{subject}:refund");
            let transaction = NewTransaction::new("refund", key, &subject)
                .post_some(Account::of(payee, Code::EARN_PENDING), wallet, refund.net)
                .post_some(Account::platform(Code::FEE_JOB), wallet, refund.fee);
            ledger::post(tx, transaction).await?;
            store::refunded(tx, hold, &left).await?;
            tx.record(
                Fact::by(&Caller::nobody(), "escrow.refunded")
                    .on(hold)
                    .about(owner)
                    .about(payee)
                    .with("subject", &subject)
                    .with("amount", refund.amount.minor)
                    .with("fee", refund.fee.minor)
                    .with("currency", refund.amount.asset),
            );
        }
        if left.net.minor > 0 {
            self.release_earning(tx, hold).await?;
        }
        Ok(Settled { refunded: refund.amount, left })
    }
}
