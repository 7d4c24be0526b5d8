//! Debts that admins give up.

use kernel::id::kinds::{Transaction, User};
use kernel::{Asset, Caller, Error, Id, Result};
use platform::journal::Fact;

use super::rules::{not_own, reason};
use super::service::{Service, thaw_if_even};
use crate::chargeback;
use crate::ledger::{self, Account, Code, NewTransaction};

impl Service {
    /// An admin gives up what a user owes in a currency after charge-backs: it is the platform's
    /// loss, and a freeze for it ends.
    ///
    /// # Errors
    /// Not found; invalid, at `/reason`; `own_wallet` (forbidden); `no_debt` (conflict).
    pub async fn write_off_by(
        &self,
        admin: &Caller,
        owner: Id<User>,
        asset: Asset,
        why: &str,
    ) -> Result<()> {
        let why = reason(why)?;
        not_own(admin, owner)?;
        self.db()
            .once(admin, "wallet.write_off", |tx| async move {
                self.freeze_of(&tx, owner).await?;
                let debt = chargeback::owed(&tx, owner, asset).await?;
                if debt.minor <= 0 {
                    let message = format!("This user owes nothing in {asset}.");
                    return Err(Error::conflict("no_debt", message));
                }
                let id = tx.world().id::<Transaction>();
                let lost =
                    NewTransaction::new("debt_write_off", format!("cb:{id}:writeoff"), owner).post(
                        Account::platform(Code::CHARGEBACK_COST),
                        Account::of(owner, Code::RECEIVABLE_NEGATIVE),
                        debt,
                    );
                ledger::post(&tx, lost).await?;
                tx.record(
                    Fact::by(admin, "debt.written_off")
                        .on(owner)
                        .about(owner)
                        .with("amount", debt.minor)
                        .with("currency", debt.asset)
                        .with("reason", why),
                );
                thaw_if_even(&tx, owner).await
            })
            .await
    }
}
