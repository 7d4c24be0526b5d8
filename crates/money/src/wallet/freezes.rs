//! Wallets that admins freeze and thaw.

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Result};
use platform::db::Read;

use super::model::Freeze;
use super::rules::{not_own, reason};
use super::service::Service;
use super::store;
use crate::ledger::{self, Code};

impl Service {
    /// Whose wallet there is: one that nothing was ever booked to, and that is not frozen, is not.
    pub(super) async fn freeze_of(
        &self,
        db: &impl Read,
        owner: Id<User>,
    ) -> Result<Option<Freeze>> {
        let frozen = store::freeze_of(db, owner).await?;
        if frozen.is_none() && !ledger::has_account(db, owner, Code::WALLET).await? {
            return Err(Error::not_found("wallet"));
        }
        Ok(frozen)
    }

    /// An admin freezes a wallet.
    ///
    /// # Errors
    /// Not found; invalid, at `/reason`; `wallet_frozen` (conflict) when it is already.
    pub async fn freeze_by(&self, admin: &Caller, owner: Id<User>, why: &str) -> Result<()> {
        let why = reason(why)?;
        self.db()
            .once(admin, "wallet.freeze", |tx| async move {
                self.freeze_of(&tx, owner).await?;
                if !self.freeze(&tx, admin, owner, why).await? {
                    let message = "This wallet is frozen already.";
                    return Err(Error::conflict("wallet_frozen", message));
                }
                Ok(())
            })
            .await
    }

    /// An admin ends a freeze, whatever it was for.
    ///
    /// # Errors
    /// Not found; invalid, at `/reason`; `own_wallet` (forbidden); `not_frozen` (conflict).
    pub async fn thaw_by(&self, admin: &Caller, owner: Id<User>, why: &str) -> Result<()> {
        let why = reason(why)?;
        not_own(admin, owner)?;
        self.db()
            .once(admin, "wallet.thaw", |tx| async move {
                self.freeze_of(&tx, owner).await?;
                if !self.thaw(&tx, admin, owner, why).await? {
                    return Err(Error::conflict("not_frozen", "This wallet is not frozen."));
                }
                Ok(())
            })
            .await
    }
}
