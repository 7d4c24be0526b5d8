//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::BoxFuture;
use kernel::id::kinds::{Hold as HoldKind, Transaction, User};
use kernel::{Asset, Caller, Error, Id, Kind, Money, Page, PageRequest, Result, Timestamp};
use platform::db::{Db, Tx};
use platform::journal::Fact;
use platform::live::Live;

use super::model::{Balances, Captured, Hold, NewTransfer, Transfer};
use super::{rules, store};
use crate::ledger::{self, Account, Code, Entry, NewTransaction};

/// Earnings looked up in one go by [`Service::release_due`].
const RELEASED_AT_ONCE: i64 = 200;

/// Who may receive money: accounts that are suspended, banned or closed may not, whatever is in
/// their wallets.
pub trait Payees: Send + Sync {
    /// Whether this is a user of the platform who may be sent money now.
    fn may_receive(&self, user: Id<User>) -> BoxFuture<'_, Result<bool>>;
}

/// Wallets, escrow and transfers. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    default_currency: Asset,
    transfer_minimum: i64,
    job_fee_bps: Live<u16>,
    earning_window: Duration,
    payees: Option<Arc<dyn Payees>>,
}

impl Service {
    pub(crate) fn new(options: &crate::Options) -> Self {
        Self(Arc::new(Inner {
            db: options.db.clone(),
            default_currency: options.default_currency,
            transfer_minimum: options.transfer_minimum,
            job_fee_bps: options.job_fee_bps.clone(),
            earning_window: options.earning_window,
            payees: options.payees.clone(),
        }))
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.db
    }

    /// What an amount is counted in where a request does not say.
    pub fn default_currency(&self) -> Asset {
        self.0.default_currency
    }

    /// The platform's share of a job's price, rounded down in the payee's favour.
    pub fn job_fee(&self, price: Money) -> Money {
        price.share(self.0.job_fee_bps.get().min(10_000))
    }

    /// Reserves money of a wallet for a purpose (`job`) and the thing that it is for. Asking
    /// for the same hold again answers the first one.
    ///
    /// # Errors
    /// `wallet_frozen` (forbidden): what a payee earns by a hold would leave a frozen wallet;
    /// `insufficient_funds` (conflict) when the wallet has less; `transaction_differs` (conflict)
    /// when there was a hold for this purpose and subject with another owner or amount.
    pub async fn hold(
        &self,
        tx: &Tx,
        owner: Id<User>,
        amount: Money,
        purpose: &'static str,
        subject: &str,
    ) -> Result<Id<HoldKind>> {
        refuse_frozen(tx, owner).await?;
        self.set_aside(tx, owner, amount, purpose, subject).await
    }

    /// As [`Self::hold`], out of a frozen wallet too: for what it is frozen for.
    ///
    /// # Errors
    /// As [`Self::hold`], without `wallet_frozen`.
    pub(crate) async fn set_aside(
        &self,
        tx: &Tx,
        owner: Id<User>,
        amount: Money,
        purpose: &'static str,
        subject: &str,
    ) -> Result<Id<HoldKind>> {
        let key = format!("{purpose}:{subject}:hold");
        let (wallet, held) = (Account::of(owner, Code::WALLET), Account::of(owner, Code::HELD));
        let transaction = NewTransaction::new("hold", key, subject).post(wallet, held, amount);
        if !ledger::post(tx, transaction).await?.is_new {
            let first = store::of_subject(tx, purpose, subject).await?;
            return first.ok_or_else(|| Error::internal("a hold was booked and is not there"));
        }
        let id = tx.world().id();
        let (purpose, subject) = (purpose.to_owned(), subject.to_owned());
        let hold = Hold { id, owner, amount, purpose, subject };
        store::insert(tx, &hold).await?;
        tx.record(fact(&hold, "escrow.held"));
        Ok(id)
    }

    /// Pays a hold out: to the payee, less the fee, which the platform keeps. The payee's part
    /// can be disputed until the earning window is over ([`Self::release_earning`]).
    ///
    /// # Errors
    /// Not found; `hold_closed` (conflict) when it was captured or released before. A fee above
    /// the amount, or in another asset, is the caller's defect (internal).
    pub async fn capture(
        &self,
        tx: &Tx,
        hold: Id<HoldKind>,
        payee: Id<User>,
        fee: Money,
    ) -> Result<Captured> {
        let available_at = tx.now() + self.0.earning_window;
        let closed = store::capture(tx, hold, payee, fee, available_at).await?;
        let hold = was_open(tx, hold, closed).await?;
        let captured = rules::split(hold.amount, fee)?;
        let held = Account::of(hold.owner, Code::HELD);
        let key = format!("{}:{}:capture", hold.purpose, hold.subject);
        let transaction = NewTransaction::new("capture", key, &hold.subject)
            .post_some(held, Account::of(payee, Code::EARN_PENDING), captured.net)
            .post_some(held, Account::platform(Code::FEE_JOB), captured.fee);
        ledger::post(tx, transaction).await?;
        tx.record(
            fact(&hold, "escrow.captured")
                .about(payee)
                .with("payee", payee)
                .with("fee", captured.fee.minor)
                .with("net", captured.net.minor)
                .with("availableAt", available_at),
        );
        if self.0.earning_window.is_zero() && captured.net.minor > 0 {
            self.release_earning(tx, hold.id).await?;
        }
        Ok(captured)
    }

    /// How long what was captured can be disputed.
    pub fn earning_window(&self) -> Duration {
        self.0.earning_window
    }

    /// Gives a hold back to its owner; answers how much that was.
    ///
    /// # Errors
    /// Not found; `hold_closed` (conflict) when it was captured or released before.
    pub async fn release(&self, tx: &Tx, hold: Id<HoldKind>) -> Result<Money> {
        let closed = store::release(tx, hold).await?;
        let hold = was_open(tx, hold, closed).await?;
        let (wallet, held) =
            (Account::of(hold.owner, Code::WALLET), Account::of(hold.owner, Code::HELD));
        let key = format!("{}:{}:void", hold.purpose, hold.subject);
        let transaction =
            NewTransaction::new("release", key, &hold.subject).post(held, wallet, hold.amount);
        ledger::post(tx, transaction).await?;
        tx.record(fact(&hold, "escrow.released"));
        Ok(hold.amount)
    }

    /// Makes what a captured hold has earned free to be paid out: when the dispute window has
    /// passed, or a dispute was decided for the payee. Answers how much that was.
    ///
    /// # Errors
    /// `nothing_pending` (conflict) when nothing was earned, or it was released before.
    pub async fn release_earning(&self, tx: &Tx, hold: Id<HoldKind>) -> Result<Money> {
        let earning = store::take_earning(tx, hold).await?.ok_or_else(|| {
            Error::conflict("nothing_pending", "No earning of this hold is waiting.")
        })?;
        let key = format!("{}:{}:release", earning.purpose, earning.subject);
        let transaction = NewTransaction::new("earning", key, &earning.subject).post(
            Account::of(earning.payee, Code::EARN_PENDING),
            Account::of(earning.payee, Code::EARN),
            earning.net,
        );
        ledger::post(tx, transaction).await?;
        tx.record(
            Fact::by(&Caller::nobody(), "earning.released")
                .on(earning.hold)
                .about(earning.payee)
                .with("subject", &earning.subject)
                .with("amount", earning.net.minor)
                .with("currency", earning.net.asset),
        );
        Ok(earning.net)
    }

    /// Releases every earning whose dispute window is over; answers how many. One that somebody
    /// else releases meanwhile is passed over.
    pub async fn release_due(&self) -> Result<usize> {
        let db = &self.0.db;
        let mut released = 0;
        loop {
            let due = store::due_earnings(db, db.world().now(), RELEASED_AT_ONCE).await?;
            let before = released;
            for &hold in &due {
                let release = |tx| async move { self.release_earning(&tx, hold).await };
                match db.run("earning.release", release).await {
                    Ok(_) => released += 1,
                    Err(error) if error.kind() == Kind::Conflict => {}
                    Err(error) => return Err(error),
                }
            }
            if due.is_empty() || released == before {
                return Ok(released);
            }
        }
    }

    /// The platform keeps all of a hold: the price of something that it sold itself.
    ///
    /// # Errors
    /// Not found; `hold_closed` (conflict).
    pub async fn keep(&self, tx: &Tx, hold: Id<HoldKind>) -> Result<Money> {
        let price = self.take(tx, hold, Account::platform(Code::ORDER), "order").await?;
        let kept = store::hold(tx, hold).await?.ok_or_else(|| Error::not_found("hold"))?;
        tx.record(fact(&kept, "escrow.captured").with("fee", price.minor).with("net", 0_i64));
        Ok(price)
    }

    /// Takes what is held out of the owner's hands, to an account that is no payee's.
    ///
    /// # Errors
    /// Not found; `hold_closed` (conflict).
    pub(crate) async fn take(
        &self,
        tx: &Tx,
        hold: Id<HoldKind>,
        to: Account,
        kind: &'static str,
    ) -> Result<Money> {
        let closed = store::take(tx, hold).await?;
        let hold = was_open(tx, hold, closed).await?;
        let key = format!("{}:{}:take", hold.purpose, hold.subject);
        let held = Account::of(hold.owner, Code::HELD);
        let taken = NewTransaction::new(kind, key, &hold.subject).post(held, to, hold.amount);
        ledger::post(tx, taken).await?;
        Ok(hold.amount)
    }

    /// Freezes a wallet: nothing is sent, withdrawn or reserved from it until it is thawed. What
    /// comes in comes in, and holds that there are go their way.
    /// Answers whether it was not frozen before.
    pub async fn freeze(
        &self,
        tx: &Tx,
        by: &Caller,
        owner: Id<User>,
        reason: &str,
    ) -> Result<bool> {
        let is_first = store::freeze(tx, owner, reason).await?;
        if is_first {
            tx.record(Fact::by(by, "wallet.frozen").on(owner).about(owner).with("reason", reason));
        }
        Ok(is_first)
    }

    /// Ends a freeze; answers whether there was one.
    pub async fn thaw(&self, tx: &Tx, by: &Caller, owner: Id<User>, reason: &str) -> Result<bool> {
        let was_frozen = store::thaw(tx, owner).await?;
        if was_frozen {
            tx.record(Fact::by(by, "wallet.thawed").on(owner).about(owner).with("reason", reason));
        }
        Ok(was_frozen)
    }

    /// Sends money from the caller's wallet to another user's.
    ///
    /// # Errors
    /// Invalid fields; `insufficient_funds` (conflict).
    pub async fn transfer(&self, caller: &Caller, transfer: NewTransfer) -> Result<Transfer> {
        let from = caller.user()?;
        rules::may_send(from, &transfer, self.0.transfer_minimum)?;
        if let Err(refused) = self.check_payee(transfer.to).await
            // What was sent already is told as it was, whatever has become of the payee since.
            && !self.0.db.is_remembered(caller).await?
        {
            return Err(refused);
        }
        self.0
            .db
            .once(caller, "transfer.send", |tx| async move {
                let NewTransfer { to, amount } = transfer;
                refuse_frozen(&tx, from).await?;
                let sender = Account::of(from, Code::WALLET);
                let key = transfer_key(caller, &tx);
                let transaction = NewTransaction::new("transfer", key, to).post(
                    sender,
                    Account::of(to, Code::WALLET),
                    amount,
                );
                let posted = ledger::post(&tx, transaction).await?;
                let left = match posted.balance_after(sender, amount.asset) {
                    Some(left) => left,
                    None => ledger::balance(&tx, sender, amount.asset).await?,
                };
                if posted.is_new {
                    tx.record(
                        Fact::by(caller, "transfer.sent")
                            .on(posted.id)
                            .about(to)
                            .with("to", to)
                            .with("amount", amount.minor)
                            .with("currency", amount.asset),
                    );
                }
                Ok(Transfer {
                    id: posted.id,
                    to,
                    amount: amount.minor,
                    currency: amount.asset,
                    available: left.minor,
                    at: posted.recorded_at,
                })
            })
            .await
    }

    /// Money sent to nobody would be lost, and to a closed account as good as lost. They are asked
    /// for outside of the transaction.
    async fn check_payee(&self, to: Id<User>) -> Result<()> {
        let may = match &self.0.payees {
            Some(payees) => payees.may_receive(to).await?,
            None => ledger::has_account(&self.0.db, to, Code::WALLET).await?,
        };
        if may { Ok(()) } else { Err(Error::field("/to", "unknown", "a user who can be paid")) }
    }

    /// What an owner has, in each currency; the default currency is always among them.
    pub async fn balances(&self, owner: Id<User>) -> Result<Vec<Balances>> {
        let accounts = ledger::balances(&self.0.db, owner).await?;
        let mut assets: Vec<Asset> = accounts.iter().map(|(_, money)| money.asset).collect();
        assets.push(self.0.default_currency);
        assets.sort_unstable_by_key(|asset| (*asset != self.0.default_currency, asset.code()));
        assets.dedup();
        assets.into_iter().map(|asset| rules::balances(&accounts, asset)).collect()
    }

    /// What an owner has of one asset: now, or after all that was booked at `at` or before.
    pub async fn balance(
        &self,
        owner: Id<User>,
        asset: Asset,
        at: Option<Timestamp>,
    ) -> Result<Balances> {
        let db = &self.0.db;
        let Some(at) = at else {
            return rules::balances(&ledger::balances(db, owner).await?, asset);
        };
        let mut accounts = Vec::new();
        for code in [Code::WALLET, Code::HELD, Code::WITHDRAW] {
            let account = Account::of(owner, code);
            accounts.push((code, ledger::balance_at(db, account, asset, at).await?));
        }
        rules::balances(&accounts, asset)
    }

    /// The wallet's statement, newest first, in one currency or in all.
    pub async fn transactions(
        &self,
        owner: Id<User>,
        asset: Option<Asset>,
        page: &PageRequest,
    ) -> Result<Page<Entry>> {
        ledger::statement(&self.0.db, owner, Code::WALLET, asset, page).await
    }

    /// One line of the wallet's statement.
    ///
    /// # Errors
    /// Not found, also when the transaction is not the owner's.
    pub async fn transaction(&self, owner: Id<User>, id: Id<Transaction>) -> Result<Entry> {
        let entries = ledger::entries(&self.0.db, id, owner, Code::WALLET).await?;
        entries.into_iter().next().ok_or_else(|| Error::not_found("transaction"))
    }
}

/// Refuses to take anything out of a frozen wallet.
///
/// # Errors
/// `wallet_frozen` (forbidden).
pub(crate) async fn refuse_frozen(tx: &Tx, owner: Id<User>) -> Result<()> {
    match store::frozen(tx, owner).await? {
        None => Ok(()),
        Some(_) => {
            let message = "This wallet is frozen. Ask those who run the platform.";
            Err(Error::forbidden("wallet_frozen", message))
        }
    }
}

/// Ends the freeze of a charge-back when nothing of it is left open.
pub(crate) async fn thaw_if_even(tx: &Tx, owner: Id<User>) -> Result<()> {
    // Taken before looking: of two charge-backs that end at once the second one sees the first.
    if !store::take_freeze(tx, owner).await? {
        return Ok(());
    }
    for (code, money) in ledger::balances(tx, owner).await? {
        if code == Code::RECEIVABLE_NEGATIVE && money.minor > 0 {
            return Ok(());
        }
    }
    let is_even = store::open_chargebacks(tx, owner).await? == 0;
    if is_even && store::thaw_from(tx, owner, "chargeback").await? {
        tx.record(Fact::by(&Caller::nobody(), "wallet.thawed").on(owner).about(owner));
    }
    Ok(())
}

/// The hold that was closed, or why there was none to close.
async fn was_open(tx: &Tx, id: Id<HoldKind>, closed: Option<Hold>) -> Result<Hold> {
    if let Some(hold) = closed {
        return Ok(hold);
    }
    if store::hold(tx, id).await?.is_some() {
        let message = "This money was paid out or given back before.";
        return Err(Error::conflict("hold_closed", message));
    }
    Err(Error::not_found("hold"))
}

/// A fact about a hold. The one who causes it records a fact of their own, with the caller.
fn fact(hold: &Hold, verb: &'static str) -> Fact {
    Fact::by(&Caller::nobody(), verb)
        .on(hold.id)
        .about(hold.owner)
        .with("purpose", &hold.purpose)
        .with("subject", &hold.subject)
        .with("amount", hold.amount.minor)
        .with("currency", hold.amount.asset)
}

/// The client's idempotency key is remembered for a week; the ledger's is for ever, so that the
/// same request sent after a month still moves nothing twice.
fn transfer_key(caller: &Caller, tx: &Tx) -> String {
    match &caller.idempotency {
        Some(key) => format!("xfer:{}", URL_SAFE_NO_PAD.encode(&key.scope[..16])),
        None => format!("xfer:{}", tx.world().id::<Transaction>()),
    }
}
