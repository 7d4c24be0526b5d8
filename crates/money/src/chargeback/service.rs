//! The verbs. They join the transaction in which the payment was looked at.

use kernel::id::kinds::{Payment as PaymentKind, User};
use kernel::{Asset, Caller, Error, Id, Money, Result};
use platform::db::{Read, Tx};
use platform::journal::Fact;

use super::store::{self, Chargeback};
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::payment::{self, Payment};
use crate::provider::{DisputeStage, SeenDispute};
use crate::wallet::{self, Service as Wallet};

/// Does what follows from a charge-back that the provider has told of, unless it is done.
pub(crate) async fn observe(
    tx: &Tx,
    wallet: &Wallet,
    payment: &Payment,
    seen: &SeenDispute,
) -> Result<()> {
    if seen.amount.asset != payment.amount.asset || seen.amount.minor > payment.amount.minor {
        let what = format!("a charge-back of {:?} for {:?}", seen.amount, payment.amount);
        return Err(Error::internal(what));
    }
    let found = match store::get(tx, payment.provider, &seen.id).await? {
        Some(found) => found,
        // It was over before we heard of it, and nothing was taken.
        None if seen.stage == DisputeStage::Won => return Ok(()),
        None => open(tx, wallet, payment, seen).await?,
    };
    match (found.state.as_str(), seen.stage) {
        ("open", DisputeStage::Lost) => lose(tx, wallet, &found).await,
        ("open", DisputeStage::Won) => keep(tx, wallet, &found).await,
        ("lost", DisputeStage::Won) => reinstate(tx, &found).await,
        _ => Ok(()),
    }
}

async fn open(
    tx: &Tx,
    wallet: &Wallet,
    payment: &Payment,
    seen: &SeenDispute,
) -> Result<Chargeback> {
    let id = tx.world().id();
    let (owner, nobody) = (payment.owner, Caller::nobody());
    // Whoever refunds it at this moment does so before, and leaves less to be held; or sees this.
    payment::lock(tx, payment.id).await?;
    if store::insert(tx, id, payment, seen).await? {
        wallet.freeze(tx, &nobody, owner, "chargeback").await?;
        let account = Account::of(owner, Code::WALLET);
        let available = ledger::take(tx, &[account], seen.amount.asset).await?;
        let available = available.iter().map(|it| it.minor).sum::<i64>();
        let part = Money::new(available.min(seen.amount.minor), seen.amount.asset);
        if part.minor > 0 {
            let hold = wallet.hold(tx, owner, part, "chargeback", &id.to_string()).await?;
            store::held(tx, id, hold, part).await?;
        }
        tx.record(
            Fact::by(&nobody, "deposit.disputed")
                .on(payment.id)
                .about(owner)
                .with("chargeback", id)
                .with("amount", seen.amount.minor)
                .with("held", part.minor)
                .with("currency", part.asset),
        );
    }
    let found = store::get(tx, payment.provider, &seen.id).await?;
    found.ok_or_else(|| Error::internal("a charge-back is not where it was put"))
}

/// Whether a payer's bank wants a payment back, or has it.
pub(crate) async fn is_disputed(db: &impl Read, payment: Id<PaymentKind>) -> Result<bool> {
    store::is_disputed(db, payment).await
}

fn fact(verb: &'static str, of: &Chargeback) -> Fact {
    Fact::by(&Caller::nobody(), verb)
        .on(of.id)
        .about(of.owner)
        .with("amount", of.amount.minor)
        .with("currency", of.amount.asset)
}

/// The provider has taken the money: what is held goes, the rest is owed.
async fn lose(tx: &Tx, wallet: &Wallet, of: &Chargeback) -> Result<()> {
    let clearing = Account::platform(Code::clearing(of.provider));
    let held = match of.hold {
        Some(hold) => wallet.take(tx, hold, clearing, "chargeback").await?,
        None => Money::new(0, of.amount.asset),
    };
    let shortfall = of.amount.minus(held)?;
    if !store::move_to(tx, of, "lost", shortfall.minor).await? {
        return Err(Error::conflict("chargeback_moved", "Somebody else has decided meanwhile."));
    }
    if shortfall.minor > 0 {
        let debt = Account::of(of.owner, Code::RECEIVABLE_NEGATIVE);
        let owed = NewTransaction::new("chargeback_debt", format!("cb:{}:lost", of.id), of.id);
        ledger::post(tx, owed.post(debt, clearing, shortfall)).await?;
    }
    tx.record(fact("deposit.charged_back", of).with("shortfall", shortfall.minor));
    Ok(())
}

/// The money stays: what was held is the owner's again.
async fn keep(tx: &Tx, wallet: &Wallet, of: &Chargeback) -> Result<()> {
    if !store::move_to(tx, of, "won", 0).await? {
        return Err(Error::conflict("chargeback_moved", "Somebody else has decided meanwhile."));
    }
    if let Some(hold) = of.hold {
        wallet.release(tx, hold).await?;
    }
    tx.record(fact("deposit.chargeback_won", of));
    wallet::thaw_if_even(tx, of.owner).await
}

/// What was taken came back: it pays the debt first.
async fn reinstate(tx: &Tx, of: &Chargeback) -> Result<()> {
    if !store::move_to(tx, of, "won", of.shortfall.minor).await? {
        return Err(Error::conflict("chargeback_moved", "Somebody else has decided meanwhile."));
    }
    let clearing = Account::platform(Code::clearing(of.provider));
    let account = Account::of(of.owner, Code::RECEIVABLE_NEGATIVE);
    let debt = owed(tx, of.owner, of.amount.asset).await?;
    let paid = Money::new(debt.minor.min(of.amount.minor), of.amount.asset);
    let back = NewTransaction::new("chargeback_back", format!("cb:{}:won", of.id), of.id)
        .post_some(clearing, account, paid)
        .post_some(clearing, Account::of(of.owner, Code::WALLET), of.amount.minus(paid)?);
    ledger::post(tx, back).await?;
    tx.record(fact("deposit.chargeback_won", of));
    Ok(())
}

/// What a user owes, which nobody else pays until this transaction ends.
async fn owed(tx: &Tx, owner: Id<User>, asset: Asset) -> Result<Money> {
    let accounts = [Code::RECEIVABLE_NEGATIVE, Code::WALLET].map(|code| Account::of(owner, code));
    let balances = ledger::take(tx, &accounts, asset).await?;
    Ok(balances[0])
}

/// Pays a debt out of what is left of a deposit that was just credited.
pub(crate) async fn pay_debt(tx: &Tx, payment: &Payment, left: Money) -> Result<()> {
    let account = Account::of(payment.owner, Code::RECEIVABLE_NEGATIVE);
    let debt = owed(tx, payment.owner, left.asset).await?;
    let part = Money::new(debt.minor.min(left.minor), debt.asset);
    if part.minor <= 0 {
        return Ok(());
    }
    let wallet = Account::of(payment.owner, Code::WALLET);
    let paid = NewTransaction::new("debt", format!("debt:{}", payment.id), payment.id);
    ledger::post(tx, paid.post(wallet, account, part)).await?;
    tx.record(
        Fact::by(&Caller::nobody(), "debt.paid")
            .on(payment.id)
            .about(payment.owner)
            .with("amount", part.minor)
            .with("currency", part.asset),
    );
    wallet::thaw_if_even(tx, payment.owner).await
}
