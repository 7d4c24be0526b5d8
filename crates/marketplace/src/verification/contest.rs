//! The verdict is contested: what a dispute does to a verification, in the dispute's transaction.

use documents::credential::Status as CredentialStatus;
use kernel::id::kinds;
use kernel::{Caller, Id, Kind, Result};
use platform::db::Tx;

use super::model::{Command, State, Verdict, Verification};
use super::rules::{self, Refusal, Relation};
use super::service::{act, fact, load};
use super::{Service, store};

/// What is shown of a revocation by a dispute.
const REASON: &str = "The verdict was overturned.";

/// How a dispute ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    /// Whether the verdict no longer stands.
    pub(crate) overturned: bool,
    /// The part of the price that the owner has back, in hundredths of a percent.
    pub(crate) refund_bps: u16,
}

impl Service {
    /// The owner contests the verdict, or the verifier their own: what was earned by it stays where
    /// it is.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` without a verdict or when it was contested before,
    /// `window_over`.
    pub(crate) async fn contest(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        let mut verification = act(tx, caller, id, Command::Dispute).await?;
        // Revoked after a dispute that has moved the money: it does not move again.
        if verification.refunded > 0 {
            return Err(Refusal::WindowOver.into());
        }
        // First: who loses a race is to be told of the state, and not of the money.
        store::save(tx, &mut verification).await?;
        if !self.wallets.freeze_earning(tx, verification.hold).await? {
            return Err(Refusal::WindowOver.into());
        }
        self.pin(tx, &verification, None).await?;
        tx.record(fact(caller, Command::Dispute.fact(), &verification));
        Ok(verification)
    }

    /// A verification of the caller's that has a verdict which nobody contests.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state`.
    pub(crate) async fn judged(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        let verification = load(tx, id).await?;
        if Relation::of(caller, &verification) != Relation::Owner {
            return Err(Refusal::NoSuchThing.into());
        }
        let state = verification.state;
        if !state.has_verdict() || state == State::Disputed {
            let message = format!("This verification is {state}: its verdict must stand first.");
            return Err(rules::wrong_state(&verification, Relation::Owner, message));
        }
        Ok(verification)
    }

    /// The dispute is over: the money goes where it belongs, once, and a verdict that was
    /// overturned is taken back with what was signed of it, and costs a part of the bond.
    pub(crate) async fn conclude(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<kinds::Verification>,
        ending: Ending,
    ) -> Result<Verification> {
        let mut verification = load(tx, id).await?;
        let command = if ending.overturned { Command::Overturn } else { Command::Uphold };
        rules::act(&mut verification, Relation::Timer, command, tx.now())?;
        let settled =
            self.wallets.settle_contested(tx, verification.hold, ending.refund_bps).await?;
        verification.fee = Some(settled.left.fee.minor);
        verification.refunded = settled.refunded.minor;
        store::save(tx, &mut verification).await?;
        if ending.overturned {
            self.take_back(tx, caller, &verification).await?;
            self.slash(tx, caller, &verification).await?;
        }
        self.unpin(tx, id).await?;
        tx.record(
            fact(caller, command.fact(), &verification)
                .with("refunded", settled.refunded.minor)
                .with("fee", settled.left.fee.minor)
                .with("earned", settled.left.net.minor)
                .with("currency", verification.currency),
        );
        // What was revoked before the dispute, or while it went on, is not good again.
        if !ending.overturned
            && let Some(issued) = verification.issued
            && self.issuance.get(tx, issued).await?.revoked_at.is_some()
        {
            Self::revoked(tx, issued).await?;
            return load(tx, id).await;
        }
        Ok(verification)
    }

    /// Revokes what was signed, and the credential with it where that still rests on it. Of a
    /// rejection nothing was signed: the credential is as if nobody had judged it.
    async fn take_back(&self, tx: &Tx, caller: &Caller, of: &Verification) -> Result<()> {
        let Some(issued) = of.issued else {
            if store::standing_verdict(tx, of).await? == Some(Verdict::Rejected) {
                return Ok(());
            }
            return self.credentials.overturn_rejection(tx, of.credential).await;
        };
        let credential = match self.credentials.owned(tx, of.owner, of.credential).await {
            Ok(credential) => Some(credential),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        let rests_on_it = credential.is_some_and(|it| {
            let stands =
                matches!(it.status, CredentialStatus::Verified | CredentialStatus::Expired);
            stands && it.issued == Some(issued)
        });
        if rests_on_it {
            self.credentials.revoke_in(tx, caller, of.credential, REASON).await?;
        } else if self.issuance.get(tx, issued).await?.revoked_at.is_none() {
            self.issuance.revoke(tx, issued, caller, REASON).await?;
        }
        Ok(())
    }

    /// The signed credential of a verdict was revoked. A verdict that is contested stays so.
    pub(crate) async fn revoked(tx: &Tx, issued: Id<kinds::Issued>) -> Result<()> {
        let Some(mut verification) = store::of_issued(tx, issued).await? else { return Ok(()) };
        let step = rules::act(&mut verification, Relation::Timer, Command::Revoke, tx.now());
        if step.is_ok() {
            store::save(tx, &mut verification).await?;
            tx.record(fact(&Caller::nobody(), Command::Revoke.fact(), &verification));
        }
        Ok(())
    }
}
