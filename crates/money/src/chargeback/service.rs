//! The verbs. They join the transaction in which the payment was looked at.

use kernel::id::kinds::{Chargeback as ChargebackKind, Payment as PaymentKind, User};
use kernel::{Asset, Caller, Error, Id, Money, Result};
use platform::db::{Read, Tx};
use platform::journal::Fact;

use super::rules::{self, Claim};
use super::store::{self, Chargeback};
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::payment::{self, Payment, State};
use crate::provider::{DisputeStage, SeenDispute};
use crate::wallet::{self, Service as Wallet};

/// Does what follows from a charge-back that the provider has told of, unless it is done.
pub(crate) async fn observe(
    tx: &Tx,
    wallet: &Wallet,
    payment: Id<PaymentKind>,
    seen: &SeenDispute,
) -> Result<()> {
    // Whoever credits or refunds it at this moment does so before, and leaves less to be held; or
    // sees this.
    payment::lock(tx, payment).await?;
    let payment = &payment::load(tx, payment).await?;
    let found = match store::get(tx, payment.provider, &seen.id).await? {
        Some(found) if found.state == "open" => adjust(tx, wallet, payment, found, seen).await?,
        Some(found) => found,
        // It was over before we heard of it, and nothing was taken.
        None if seen.stage == DisputeStage::Won => return Ok(()),
        None => open(tx, wallet, payment, seen).await?,
    };
    match (found.state.as_str(), seen.stage) {
        ("open", DisputeStage::Lost) => lose(tx, wallet, payment, &found).await,
        ("open", DisputeStage::Won) => keep(tx, wallet, &found).await,
        ("lost", DisputeStage::Won) => reinstate(tx, payment, &found).await,
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
    let claim = claim(tx, payment, seen).await?;
    if store::insert(tx, id, payment, &seen.id, &claim).await? {
        tell_unclear(payment, seen, &claim);
        secure(tx, wallet, payment, (id, id.to_string()), &claim).await?;
    }
    found(tx, payment, seen).await
}

async fn claim(tx: &Tx, payment: &Payment, seen: &SeenDispute) -> Result<Claim> {
    let came = match payment.state {
        State::Suspended => payment::received(tx, payment.id).await?,
        _ => payment.amount,
    };
    rules::claim(came, seen.amount)
}

/// Tells the operator, once for what is held and not with each look, what nobody can understand.
fn tell_unclear(payment: &Payment, seen: &SeenDispute, claim: &Claim) {
    if !claim.is_clear {
        let (named, payment) = (seen.amount, payment.id);
        tracing::error!(%payment, %named, "a charge-back of no amount of the payment: all is held");
    }
}

async fn found(tx: &Tx, payment: &Payment, seen: &SeenDispute) -> Result<Chargeback> {
    let found = store::get(tx, payment.provider, &seen.id).await?;
    found.ok_or_else(|| Error::internal("a charge-back is not where it was put"))
}

/// What an open one is about from here on: where that is another amount, another amount is held.
async fn adjust(
    tx: &Tx,
    wallet: &Wallet,
    payment: &Payment,
    of: Chargeback,
    seen: &SeenDispute,
) -> Result<Chargeback> {
    // One that was won wants nothing any more, whatever is named.
    if seen.stage == DisputeStage::Won {
        return Ok(of);
    }
    let claim = claim(tx, payment, seen).await?;
    if (claim.amount, claim.excess) == (of.amount, of.excess) {
        return Ok(of);
    }
    if !store::claim(tx, &of, &claim).await? {
        return Err(moved());
    }
    tell_unclear(payment, seen, &claim);
    if let Some(hold) = of.hold {
        wallet.release(tx, hold).await?;
    }
    secure(tx, wallet, payment, (of.id, format!("{}:{}", of.id, of.version)), &claim).await?;
    found(tx, payment, seen).await
}

/// Holds what a charge-back is about, as far as it is there and its owner's, and says so.
async fn secure(
    tx: &Tx,
    wallet: &Wallet,
    payment: &Payment,
    (id, subject): (Id<ChargebackKind>, String),
    claim: &Claim,
) -> Result<()> {
    let held = match payment.state {
        State::Suspended => Money::new(0, claim.amount.asset),
        _ => hold(tx, wallet, payment.owner, (id, subject), claim.amount).await?,
    };
    tx.record(
        Fact::by(&Caller::nobody(), "deposit.disputed")
            .on(payment.id)
            .about(payment.owner)
            .with("chargeback", id)
            .with("amount", claim.amount.minor)
            .with("excess", claim.excess.minor)
            .with("held", held.minor)
            .with("currency", held.asset),
    );
    Ok(())
}

/// Freezes the owner's wallet, and sets aside what of the amount is still there.
async fn hold(
    tx: &Tx,
    wallet: &Wallet,
    owner: Id<User>,
    (id, subject): (Id<ChargebackKind>, String),
    amount: Money,
) -> Result<Money> {
    wallet.freeze(tx, &Caller::nobody(), owner, "chargeback").await?;
    let account = Account::of(owner, Code::WALLET);
    let available = ledger::take(tx, &[account], amount.asset).await?;
    let available = available.iter().map(|it| it.minor).sum::<i64>();
    let part = Money::new(available.min(amount.minor), amount.asset);
    if part.minor > 0 {
        let hold = wallet.set_aside(tx, owner, part, "chargeback", &subject).await?;
        store::held(tx, id, hold, part).await?;
    }
    Ok(part)
}

/// Refuses to decide about a payment that its payer's bank wants back, or has.
///
/// # Errors
/// `payment_disputed` (conflict).
pub(crate) async fn refuse_disputed(db: &impl Read, payment: Id<PaymentKind>) -> Result<()> {
    if store::is_disputed(db, payment).await? {
        let message = "This payment is wanted back already, or was sent back at its provider.";
        return Err(Error::conflict("payment_disputed", message));
    }
    Ok(())
}

/// Whether nobody has decided yet whose a payment is.
pub(crate) async fn is_open(db: &impl Read, payment: Id<PaymentKind>) -> Result<bool> {
    store::is_open(db, payment).await
}

fn fact(verb: &'static str, of: &Chargeback) -> Fact {
    Fact::by(&Caller::nobody(), verb)
        .on(of.id)
        .about(of.owner)
        .with("amount", of.amount.minor)
        .with("currency", of.amount.asset)
}

/// The provider has taken the money: what is held goes, the rest is owed, and what was beyond the
/// payment is the platform's loss.
async fn lose(tx: &Tx, wallet: &Wallet, payment: &Payment, of: &Chargeback) -> Result<()> {
    let clearing = Account::platform(Code::clearing(of.provider));
    let gone = match (of.hold, payment.state) {
        (Some(hold), _) => wallet.take(tx, hold, clearing, "chargeback").await?,
        (None, State::Suspended) => take_suspended(tx, payment, of).await?,
        (None, _) => Money::new(0, of.amount.asset),
    };
    let shortfall = of.amount.minus(gone)?;
    move_to(tx, of, "lost", shortfall.minor).await?;
    let debt = Account::of(of.owner, Code::RECEIVABLE_NEGATIVE);
    let owed = NewTransaction::new("chargeback_debt", format!("cb:{}:lost", of.id), of.id)
        .post_some(debt, clearing, shortfall)
        .post_some(Account::platform(Code::CHARGEBACK_COST), clearing, of.excess);
    if !owed.is_empty() {
        ledger::post(tx, owed).await?;
    }
    tx.record(fact("deposit.charged_back", of).with("shortfall", shortfall.minor));
    wallet::thaw_if_even(tx, of.owner).await
}

/// What leaves the suspense for a charge-back of money that waited there: what other charge-backs
/// have left of it, and nothing when it was sent back before.
///
/// # Errors
/// `refund_in_flight` (conflict) while nobody knows whether it is: look again.
async fn take_suspended(tx: &Tx, payment: &Payment, of: &Chargeback) -> Result<Money> {
    if payment.is_refunding() {
        let message = "A refund of this payment is on its way. Look again when it is over.";
        return Err(Error::conflict("refund_in_flight", message));
    }
    if payment.is_undecided() {
        payment::take(tx, payment, Some(payment::CHARGED_BACK)).await?;
    } else if !payment.is_charged_back() {
        return Ok(Money::new(0, of.amount.asset));
    }
    let gone = store::lost_to_others(tx, of).await?;
    let left = payment::received(tx, payment.id).await?.minor.saturating_sub(gone).max(0);
    let part = Money::new(of.amount.minor.min(left), of.amount.asset);
    let suspense = Account::platform(Code::suspense(of.provider));
    let clearing = Account::platform(Code::clearing(of.provider));
    let taken = NewTransaction::new("chargeback", format!("cb:{}:suspense", of.id), of.id)
        .post_some(suspense, clearing, part);
    if !taken.is_empty() {
        ledger::post(tx, taken).await?;
    }
    Ok(part)
}

async fn move_to(tx: &Tx, of: &Chargeback, state: &str, shortfall: i64) -> Result<()> {
    if store::move_to(tx, of, state, shortfall).await? {
        return Ok(());
    }
    Err(moved())
}

fn moved() -> Error {
    Error::conflict("chargeback_moved", "Somebody else has decided meanwhile.")
}

/// The money stays: what was held is the owner's again.
async fn keep(tx: &Tx, wallet: &Wallet, of: &Chargeback) -> Result<()> {
    move_to(tx, of, "won", 0).await?;
    if let Some(hold) = of.hold {
        wallet.release(tx, hold).await?;
    }
    tx.record(fact("deposit.chargeback_won", of));
    wallet::thaw_if_even(tx, of.owner).await
}

/// What was taken came back to where it was taken from; of what the owner has, it pays the debt
/// first.
async fn reinstate(tx: &Tx, payment: &Payment, of: &Chargeback) -> Result<()> {
    move_to(tx, of, "won", of.shortfall.minor).await?;
    let clearing = Account::platform(Code::clearing(of.provider));
    let back = NewTransaction::new("chargeback_back", format!("cb:{}:won", of.id), of.id)
        .post_some(clearing, Account::platform(Code::CHARGEBACK_COST), of.excess);
    let account = Account::of(of.owner, Code::RECEIVABLE_NEGATIVE);
    let back = if payment.is_charged_back() {
        // Somebody decides about it once all of it is there again.
        if store::lost_to_others(tx, of).await? == 0 {
            let came = payment::received(tx, payment.id).await?;
            payment::take(tx, payment, Some(payment.why_undecided(came))).await?;
        }
        let suspense = Account::platform(Code::suspense(of.provider));
        back.post_some(clearing, suspense, of.amount.minus(of.shortfall)?).post_some(
            clearing,
            account,
            of.shortfall,
        )
    } else {
        let debt = owed(tx, of.owner, of.amount.asset).await?;
        let paid = Money::new(debt.minor.min(of.amount.minor), of.amount.asset);
        let wallet = Account::of(of.owner, Code::WALLET);
        back.post_some(clearing, account, paid).post_some(clearing, wallet, of.amount.minus(paid)?)
    };
    ledger::post(tx, back).await?;
    tx.record(fact("deposit.chargeback_won", of));
    wallet::thaw_if_even(tx, of.owner).await
}

/// What a user owes, which nobody else pays until this transaction ends.
pub(crate) async fn owed(tx: &Tx, owner: Id<User>, asset: Asset) -> Result<Money> {
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
