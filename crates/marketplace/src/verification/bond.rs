//! What a verifier answers with for a verdict.
//!
//! From the acceptance on the verifier's bond is pinned, until nobody can contest the verdict any
//! more or the dispute about it is over: what is cooling down meanwhile stays within reach, however
//! long that takes. A verdict that is overturned costs a part of all that is at stake, in every
//! currency, so that it does not matter in which of them it stands. The owner has the price back and
//! not more; what was slashed goes into the protection pool.

use kernel::id::kinds;
use kernel::{Caller, Error, Id, Result, Timestamp};
use platform::db::{Read, Tx};

use super::model::Verification;
use super::{Service, rules};

impl Service {
    /// # Errors
    /// `Conflict` `bond_required` where a job takes more than the verifier has staked.
    pub(super) async fn require_bond(&self, tx: &Tx, verifier: Id<kinds::Verifier>) -> Result<()> {
        if self.has_bond(tx, verifier).await? {
            return Ok(());
        }
        let least = self.terms.bonding.required.map(|it| it.to_string()).unwrap_or_default();
        let message = format!("Stake at least {least} before you take a job.");
        Err(Error::conflict("bond_required", message))
    }

    /// Refuses a verifier who could not accept, before anything is held for it.
    ///
    /// # Errors
    /// `Conflict` `bond_required`, said to who would ask them.
    pub(crate) async fn can_be_asked(
        &self,
        db: &impl Read,
        verifier: Id<kinds::Verifier>,
    ) -> Result<()> {
        if self.has_bond(db, verifier).await? {
            return Ok(());
        }
        let message = "This verifier has not staked what a job takes, and can take none now. \
                       Nothing is held. Choose another one.";
        Err(Error::conflict("bond_required", message))
    }

    /// Whether a verifier has staked what a job takes. What is cooling down does not count.
    pub(super) async fn has_bond(
        &self,
        db: &impl Read,
        verifier: Id<kinds::Verifier>,
    ) -> Result<bool> {
        let Some(required) = self.terms.bonding.required else { return Ok(true) };
        let staked = self.bonds.staked(db, verifier.same_as(), required.asset).await?;
        Ok(staked.minor >= required.minor)
    }

    /// Keeps the verifier's bond within reach: until an instant, or until [`Self::unpin`].
    pub(super) async fn pin(
        &self,
        tx: &Tx,
        verification: &Verification,
        until: Option<Timestamp>,
    ) -> Result<()> {
        let (verifier, subject) = (verification.taken_by()?, verification.id.to_string());
        self.bonds.pin(tx, verifier.same_as(), &subject, until).await
    }

    /// There is a verdict: it can be contested for a while.
    pub(super) async fn pin_for_the_window(&self, tx: &Tx, judged: &Verification) -> Result<()> {
        let until = tx.now() + self.wallets.earning_window();
        self.pin(tx, judged, Some(until)).await
    }

    pub(super) async fn unpin(&self, tx: &Tx, id: Id<kinds::Verification>) -> Result<()> {
        self.bonds.unpin(tx, &id.to_string()).await
    }

    /// What an overturned verdict costs its verifier.
    pub(super) async fn slash(
        &self,
        tx: &Tx,
        caller: &Caller,
        overturned: &Verification,
    ) -> Result<()> {
        let verifier = overturned.taken_by()?.same_as();
        for bond in self.bonds.at_stake(tx, verifier).await? {
            let part = rules::slashed(bond, self.terms.bonding.slash_bps);
            let key = format!("{}:{}", overturned.id, bond.asset);
            if part.minor > 0 {
                self.bonds.slash(tx, caller, verifier, part, &key, None).await?;
            }
        }
        Ok(())
    }
}
