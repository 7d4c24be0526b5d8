//! What callers do, and what they see of it.

use std::collections::BTreeMap;

use kernel::id::kinds::{Destination, Hold, Payment, Unstaking, Withdrawal};
use kernel::{Caller, Error, Id, Kind, Result};
use platform::db::{Db, Read, Tx};

use super::model::FEE_BPS;
use crate::Context;
use crate::ledger;
use crate::payment::NewDeposit;
use crate::payout::{NewWithdrawal, Source, State};
use crate::provider::ProviderName;
use crate::refund::NewRefund;
use crate::staking::NewStake;
use crate::testing::{keyed, ngn, user};
use crate::wallet::NewTransfer;

/// Who decides about other people's money here.
pub(super) const ADMIN: u128 = 99;

/// Something that somebody does. Those with a key may do it again after a crash.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Read { who: usize },
    Send { who: usize, to: usize, minor: i64, key: String },
    Hold { who: usize, payee: usize, price: i64, key: String },
    Capture { hold: Id<Hold>, payee: usize, price: i64 },
    Release { hold: Id<Hold> },
    Contest { hold: Id<Hold> },
    Settle { hold: Id<Hold>, back_bps: u16 },
    Earn { hold: Id<Hold> },
    Stake { who: usize, minor: i64, source: Source, key: String },
    Unstake { who: usize, minor: i64, key: String },
    Restake { owner: usize, id: Id<Unstaking> },
    Slash { who: usize, minor: i64, harmed: Option<usize>, key: String },
    Withdraw { who: usize, minor: i64, source: Source, key: String },
    Decide { owner: usize, id: Id<Withdrawal>, approve: bool },
    Refund { id: Id<Payment>, minor: Option<i64>, key: String },
    Credit { id: Id<Payment>, key: String },
    Thaw { who: usize, key: String },
    Deposit { who: usize, minor: i64, provider: ProviderName, key: String },
}

/// What came of it, as its doer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Saw {
    Done,
    Refused,
    Hold(Id<Hold>),
    Cooling(Id<Unstaking>),
    Leaving(Id<Withdrawal>),
    Paying(Id<Payment>),
    /// What the payee kept of a price, and the fee in it.
    Kept(i64, i64),
    Taken(i64),
    Has(BTreeMap<&'static str, i64>),
    /// It died, or was in somebody's way, and nobody knows.
    Nothing,
    /// It died, and has not happened.
    Never,
}

/// Where the deeds are done.
#[derive(Clone)]
pub(super) struct Stage {
    pub db: Db,
    pub context: Context,
    /// Where each user's money goes.
    pub destinations: Vec<Id<Destination>>,
}

impl Deed {
    /// The transaction in which it is done.
    pub(super) fn transaction(&self) -> &'static str {
        match self {
            Self::Read { .. } => "nothing",
            Self::Send { .. } => "transfer.send",
            Self::Hold { .. } => "hold",
            Self::Capture { .. } => "capture",
            Self::Release { .. } => "release",
            Self::Contest { .. } => "contest",
            Self::Settle { .. } => "settle",
            Self::Earn { .. } => "earn",
            Self::Stake { .. } => "stake.add",
            Self::Unstake { .. } => "unstake.start",
            Self::Restake { .. } => "unstake.cancel",
            Self::Slash { .. } => "slash",
            Self::Withdraw { .. } => "withdrawal.request",
            Self::Decide { .. } => "withdrawal.decide",
            Self::Refund { .. } => "refund.request",
            Self::Credit { .. } => "payment.credit",
            Self::Thaw { .. } => "wallet.thaw",
            Self::Deposit { .. } => "deposit.initiate",
        }
    }

    /// Whether doing it again answers what it came to the first time.
    pub(super) fn is_repeatable(&self) -> bool {
        !matches!(
            self,
            Self::Read { .. }
                | Self::Capture { .. }
                | Self::Release { .. }
                | Self::Settle { .. }
                | Self::Earn { .. }
                | Self::Restake { .. }
                | Self::Slash { .. }
                | Self::Decide { .. }
        )
    }

    /// Of what died and leaves no trace in balances: whether it has happened.
    pub(super) async fn found(&self, stage: &Stage) -> Saw {
        let has_happened = match self {
            Self::Decide { owner, id, approve: true } => {
                let payout = stage.context.payouts.own(&by(*owner, ""), *id).await.unwrap();
                payout.state == State::Approved
            }
            Self::Settle { hold, .. } => !is_contested(&stage.db, *hold).await.unwrap(),
            _ => true,
        };
        if has_happened { Saw::Nothing } else { Saw::Never }
    }

    /// What it is about: two of these that decide about one thing are not done at once.
    pub(super) fn decides(&self) -> Option<Id<Hold>> {
        match self {
            Self::Contest { hold } | Self::Settle { hold, .. } => Some(*hold),
            _ => None,
        }
    }

    /// Does it.
    pub(super) async fn act(&self, stage: &Stage) -> Saw {
        let outcome = match self {
            Self::Hold { .. }
            | Self::Capture { .. }
            | Self::Release { .. }
            | Self::Contest { .. }
            | Self::Settle { .. }
            | Self::Earn { .. } => self.act_on_hold(stage).await,
            Self::Stake { .. }
            | Self::Unstake { .. }
            | Self::Restake { .. }
            | Self::Slash { .. } => self.act_on_bond(stage).await,
            _ => self.act_on_wallet(stage).await,
        };
        match outcome {
            Ok(saw) => saw,
            Err(error) if is_in_the_way(&error) => Saw::Nothing,
            Err(error) => {
                let refusals = [Kind::Conflict, Kind::Forbidden, Kind::NotFound, Kind::Invalid];
                assert!(refusals.contains(&error.kind()), "{self:?}: {error:?}");
                Saw::Refused
            }
        }
    }

    async fn act_on_hold(&self, stage: &Stage) -> Result<Saw> {
        let (db, wallet) = (&stage.db, &stage.context.wallet);
        let done = |outcome: Result<()>| outcome.map(|()| Saw::Done);
        match self {
            Self::Hold { who, price, key, .. } => {
                let (owner, price) = (user(*who as u128), ngn(*price));
                let hold = |tx| async move { wallet.hold(&tx, owner, price, "job", key).await };
                Ok(Saw::Hold(db.run("hold", hold).await?))
            }
            Self::Capture { hold, payee, price } => {
                let payee = user(*payee as u128);
                let fee = ngn(price * FEE_BPS / 10_000);
                let capture = |tx| async move { wallet.capture(&tx, *hold, payee, fee).await };
                done(db.run("capture", capture).await.map(drop))
            }
            Self::Release { hold } => {
                let release = |tx| async move { wallet.release(&tx, *hold).await.map(drop) };
                done(db.run("release", release).await)
            }
            Self::Contest { hold } => {
                // Contested again it still is.
                let contest = |tx: Tx| async move {
                    let is_frozen = wallet.freeze_earning(&tx, *hold).await?;
                    if is_frozen || is_contested(&tx, *hold).await? {
                        return Ok(());
                    }
                    Err(Error::conflict("too_late", "Nothing of it can be contested."))
                };
                done(db.run("contest", contest).await)
            }
            Self::Settle { hold, back_bps } => {
                let settle =
                    |tx| async move { wallet.settle_contested(&tx, *hold, *back_bps).await };
                let left = db.run("settle", settle).await?.left;
                Ok(Saw::Kept(left.amount.minor, left.fee.minor))
            }
            Self::Earn { hold } => {
                let earn = |tx| async move { wallet.release_earning(&tx, *hold).await.map(drop) };
                done(db.run("earn", earn).await)
            }
            _ => unreachable!("{self:?} is not about a hold"),
        }
    }

    async fn act_on_bond(&self, stage: &Stage) -> Result<Saw> {
        let (db, staking) = (&stage.db, &stage.context.staking);
        match self {
            Self::Stake { who, minor, source, key } => {
                let new = NewStake { amount: *minor, currency: None, source: *source };
                staking.stake(&by(*who, key), new).await?;
                Ok(Saw::Done)
            }
            Self::Unstake { who, minor, key } => {
                let started = staking.unstake(&by(*who, key), *minor, None).await?;
                Ok(Saw::Cooling(started.id))
            }
            Self::Restake { owner, id } => {
                staking.cancel(&by(*owner, ""), *id).await?;
                Ok(Saw::Done)
            }
            Self::Slash { who, minor, harmed, key } => {
                let (owner, minor) = (user(*who as u128), ngn(*minor));
                let (harmed, nobody) = (harmed.map(|it| user(it as u128)), &Caller::nobody());
                let slash =
                    |tx| async move { staking.slash(&tx, nobody, owner, minor, key, harmed).await };
                Ok(Saw::Taken(db.run("slash", slash).await?.minor))
            }
            _ => unreachable!("{self:?} is not about a bond"),
        }
    }

    async fn act_on_wallet(&self, stage: &Stage) -> Result<Saw> {
        let Context { wallet, payouts, payments, refunds, .. } = &stage.context;
        match self {
            Self::Read { who } => Ok(Saw::Has(read(&stage.db, *who).await?)),
            Self::Send { who, to, minor, key } => {
                let transfer = NewTransfer { to: user(*to as u128), amount: ngn(*minor) };
                wallet.transfer(&by(*who, key), transfer).await?;
                Ok(Saw::Done)
            }
            Self::Withdraw { who, minor, source, key } => {
                let destination = stage.destinations[*who];
                let (source, amount) = (*source, *minor);
                let new = NewWithdrawal { source, amount, currency: None, destination };
                Ok(Saw::Leaving(payouts.withdraw(&by(*who, key), new).await?.id))
            }
            Self::Decide { id, approve: true, .. } => {
                payouts.approve(&admin(""), *id).await?;
                Ok(Saw::Done)
            }
            Self::Decide { owner, id, approve: false } => {
                payouts.cancel(&by(*owner, ""), *id).await?;
                Ok(Saw::Done)
            }
            Self::Refund { id, minor, key } => {
                let reason = "the payer asked for it".to_owned();
                let new = NewRefund { payment: *id, amount: *minor, reason };
                refunds.request(&admin(key), new).await?;
                Ok(Saw::Done)
            }
            Self::Credit { id, key } => {
                payments.credit(&admin(key), *id, "it is theirs").await?;
                Ok(Saw::Done)
            }
            Self::Thaw { who, key } => {
                wallet.thaw_by(&admin(key), user(*who as u128), "it was looked at").await?;
                Ok(Saw::Done)
            }
            Self::Deposit { who, minor, provider, key } => {
                let deposit = NewDeposit {
                    amount: *minor,
                    currency: None,
                    provider: Some(*provider),
                    method: None,
                    email: Some("payer@example.com".to_owned()),
                };
                Ok(Saw::Paying(payments.deposit(&by(*who, key), deposit).await?.id))
            }
            _ => unreachable!("{self:?} is not about a wallet"),
        }
    }
}

/// Whether an earning stands still until it is decided whose it is.
async fn is_contested(db: &impl Read, hold: Id<Hold>) -> Result<bool> {
    let sql = "SELECT 1 FROM ledger_hold
               WHERE id = $1 AND earning = 'pending' AND available_at IS NULL";
    Ok(db.maybe(sql, platform::params![hold], |_| Ok(())).await?.is_some())
}

/// A user, with a key for what they do.
fn by(who: usize, key: &str) -> Caller {
    if key.is_empty() {
        crate::testing::caller(user(who as u128))
    } else {
        keyed(user(who as u128), key, "")
    }
}

fn admin(key: &str) -> Caller {
    if key.is_empty() { crate::testing::caller(user(ADMIN)) } else { keyed(user(ADMIN), key, "") }
}

/// Whether it came to nothing because of others, and may be done again.
fn is_in_the_way(error: &Error) -> bool {
    let moved = ["payment_moved", "payment_opening", "unstaking_moved", "idempotency_in_progress"];
    error.kind() == Kind::Unavailable || moved.contains(&error.code())
}

/// What a user has, without empty accounts.
pub(super) async fn read(db: &Db, who: usize) -> Result<BTreeMap<&'static str, i64>> {
    let booked = ledger::balances(db, user(who as u128)).await?;
    let some = booked.into_iter().filter(|(_, money)| money.minor != 0);
    Ok(some.map(|(code, money)| (code.as_str(), money.minor)).collect())
}
