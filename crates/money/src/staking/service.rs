//! The verbs.

use std::sync::Arc;

use kernel::id::kinds::{Unstaking as UnstakingKind, User};
use kernel::{Asset, Caller, Error, Id, Kind, Money, Result, Timestamp};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;
use serde::{Deserialize, Serialize};

use super::model::{Bond, NewStake, Unstaking};
use super::rules::{self, Policy, Rewards};
use super::store;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::wallet::{at_least, refuse_frozen};

/// Unstakings that are finished in one go.
const FINISHED_AT_ONCE: i64 = 200;
/// Postings of rewards in one transaction of the ledger.
const REWARDED_AT_ONCE: usize = 500;

/// Bonds. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    default_currency: Asset,
    policy: Policy,
}

/// What a claim came to, as it is remembered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Claimed {
    pub amount: i64,
    pub currency: Asset,
}

impl Service {
    pub(crate) fn new(options: &crate::Options) -> Self {
        Self(Arc::new(Inner {
            db: options.db.clone(),
            default_currency: options.default_currency,
            policy: options.staking.clone(),
        }))
    }

    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(super) fn default_currency(&self) -> Asset {
        self.0.default_currency
    }

    fn wanted(&self, minor: i64, currency: Option<Asset>) -> Result<Money> {
        let amount = Money::requested(minor, currency.unwrap_or(self.0.default_currency))?;
        at_least(amount, self.0.policy.minimum)?;
        Ok(amount)
    }

    /// Bonds money of the caller's earnings or wallet.
    ///
    /// # Errors
    /// Invalid fields; `insufficient_funds` (conflict); `wallet_frozen` (forbidden).
    pub async fn stake(&self, caller: &Caller, new: NewStake) -> Result<()> {
        let owner = caller.user()?;
        let amount = self.wanted(new.amount, new.currency)?;
        self.0
            .db
            .once(caller, "stake.add", |tx| async move {
                refuse_frozen(&tx, owner).await?;
                let nonce = tx.world().id::<UnstakingKind>();
                let from = Account::of(owner, new.source.code());
                let bonded = NewTransaction::new("stake", format!("stk:{nonce}"), owner);
                let bonded = bonded.post(from, Account::of(owner, Code::STAKE), amount);
                ledger::post(&tx, bonded).await?;
                tx.record(fact(caller, "stake.added", owner, amount));
                Ok(())
            })
            .await
    }

    /// Starts to take staked money out: it is free when it has cooled down, and can be slashed
    /// until then.
    ///
    /// # Errors
    /// Invalid fields; `insufficient_funds` (conflict).
    pub async fn unstake(
        &self,
        caller: &Caller,
        minor: i64,
        currency: Option<Asset>,
    ) -> Result<Unstaking> {
        let owner = caller.user()?;
        let amount = self.wanted(minor, currency)?;
        self.0
            .db
            .once(caller, "unstake.start", |tx| async move {
                let unstaking = Unstaking {
                    id: tx.world().id(),
                    owner,
                    amount,
                    remaining: amount,
                    unlock_at: tx.now() + self.0.policy.cooling,
                    created_at: tx.now(),
                };
                move_bond(&tx, &unstaking, "start", Code::STAKE, Code::UNSTAKE).await?;
                store::insert(&tx, &unstaking).await?;
                tx.record(
                    fact(caller, "unstake.started", owner, amount)
                        .with("unstaking", unstaking.id)
                        .with("unlockAt", unstaking.unlock_at),
                );
                Ok(unstaking)
            })
            .await
    }

    /// Stakes again what is cooling down.
    ///
    /// # Errors
    /// Not found, also when it is another's or over.
    pub async fn cancel(&self, caller: &Caller, id: Id<UnstakingKind>) -> Result<()> {
        let owner = caller.user()?;
        self.0
            .db
            .once(caller, "unstake.cancel", |tx| async move {
                let found = store::get(&tx, id).await?.filter(|it| it.owner == owner);
                let found = found.ok_or_else(|| Error::not_found("unstaking"))?;
                take(&tx, owner, found.amount.asset).await?;
                let ended = store::end(&tx, id, Some(owner), "cancelled").await?;
                let ended = ended.ok_or_else(|| Error::not_found("unstaking"))?;
                move_bond(&tx, &ended, "cancel", Code::UNSTAKE, Code::STAKE).await?;
                tx.record(fact(caller, "unstake.cancelled", owner, ended.remaining));
                Ok(())
            })
            .await
    }

    /// Frees everything that has cooled down; answers how many unstakings that were.
    pub async fn finish_due(&self) -> Result<usize> {
        let db = &self.0.db;
        let mut finished = 0;
        for (id, owner, asset) in store::due(db, db.world().now(), FINISHED_AT_ONCE).await? {
            let finish = |tx: Tx| async move {
                store::drop_pins(&tx, owner).await?;
                take(&tx, owner, asset).await?;
                let Some(ended) = store::end(&tx, id, None, "done").await? else {
                    return Ok(0);
                };
                move_bond(&tx, &ended, "finish", Code::UNSTAKE, Code::EARN).await?;
                let nobody = Caller::nobody();
                tx.record(fact(&nobody, "unstake.finished", ended.owner, ended.remaining));
                Ok(1)
            };
            match db.run("unstake.finish", finish).await {
                Ok(count) => finished += count,
                Err(error) if error.kind() == Kind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Ok(finished)
    }

    /// Moves all rewards to the caller's earnings.
    ///
    /// # Errors
    /// `nothing_to_claim` (conflict).
    pub(super) async fn claim(&self, caller: &Caller, currency: Option<Asset>) -> Result<Claimed> {
        let owner = caller.user()?;
        let asset = currency.unwrap_or(self.0.default_currency);
        self.0
            .db
            .once(caller, "reward.claim", |tx| async move {
                let rewards = Account::of(owner, Code::REWARD);
                let amount = ledger::take(&tx, &[rewards], asset).await?;
                let amount = amount.first().copied().unwrap_or(Money::new(0, asset));
                if amount.minor == 0 {
                    let message = "There are no rewards to claim.";
                    return Err(Error::conflict("nothing_to_claim", message));
                }
                let nonce = tx.world().id::<UnstakingKind>();
                let claim = NewTransaction::new("reward_claim", format!("claim:{nonce}"), owner);
                ledger::post(&tx, claim.post(rewards, Account::of(owner, Code::EARN), amount))
                    .await?;
                tx.record(fact(caller, "reward.claimed", owner, amount));
                Ok(Claimed { amount: amount.minor, currency: amount.asset })
            })
            .await
    }

    /// Takes from a bond: from what is staked, then from what is cooling down, the last to be
    /// free first. It goes to whoever was harmed, or into the protection pool. `key` names the
    /// one event that causes it, for ever. Answers what was taken: no more than there was.
    pub async fn slash(
        &self,
        tx: &Tx,
        by: &Caller,
        owner: Id<User>,
        amount: Money,
        key: &str,
        harmed: Option<Id<User>>,
    ) -> Result<Money> {
        let asset = amount.asset;
        let to = match harmed {
            Some(harmed) => Account::of(harmed, Code::WALLET),
            None => Account::platform(Code::SLASH),
        };
        let staked = Account::of(owner, Code::STAKE);
        // Taken first, so that what is counted here is there when it is posted.
        let there = take(tx, owner, asset).await?;
        let from_stake = there.minor.min(amount.minor);
        let mut rest = amount.minor - from_stake;
        let mut from_cooling = 0;
        let mut taken = Vec::new();
        for unstaking in store::cooling(tx, owner).await? {
            if unstaking.amount.asset == asset && rest > 0 {
                let part = unstaking.remaining.minor.min(rest);
                (rest, from_cooling) = (rest - part, from_cooling + part);
                taken.push((unstaking.id, unstaking.remaining.minor - part));
            }
        }
        let sum = Money::new(from_stake + from_cooling, asset);
        if sum.minor == 0 {
            return Ok(sum);
        }
        let slash = NewTransaction::new("slash", format!("sl:{key}"), owner)
            .post_some(staked, to, Money::new(from_stake, asset))
            .post_some(Account::of(owner, Code::UNSTAKE), to, Money::new(from_cooling, asset));
        if !ledger::post(tx, slash).await?.is_new {
            return Ok(sum);
        }
        for (id, remaining) in taken {
            if !store::slash(tx, id, remaining).await? {
                return Err(Error::conflict("unstaking_moved", "It was ended meanwhile."));
            }
        }
        let told = fact(by, "stake.slashed", owner, sum).with("reason", key);
        tx.record(told.with("harmed", harmed));
        Ok(sum)
    }

    /// Keeps an owner's bond where it is because of a subject that can still be claimed about: until
    /// an instant, or until [`Self::unpin`]. What was said of the subject before does not count.
    pub async fn pin(
        &self,
        tx: &Tx,
        owner: Id<User>,
        subject: &str,
        until: Option<Timestamp>,
    ) -> Result<()> {
        store::pin(tx, owner, subject, until).await
    }

    /// Nothing can be claimed about a subject any more.
    pub async fn unpin(&self, tx: &Tx, subject: &str) -> Result<()> {
        store::unpin(tx, subject).await
    }

    /// What an owner has staked of one asset; what is cooling down does not count.
    pub async fn staked(&self, db: &impl Read, owner: Id<User>, asset: Asset) -> Result<Money> {
        ledger::balance(db, Account::of(owner, Code::STAKE), asset).await
    }

    /// All that a slash can take from an owner, staked or cooling down, in each currency.
    pub async fn at_stake(&self, db: &impl Read, owner: Id<User>) -> Result<Vec<Money>> {
        let mut sums: Vec<Money> = Vec::new();
        for (code, money) in ledger::balances(db, owner).await? {
            if ![Code::STAKE, Code::UNSTAKE].contains(&code) || money.minor == 0 {
                continue;
            }
            match sums.iter_mut().find(|sum| sum.asset == money.asset) {
                Some(sum) => *sum = sum.plus(money)?,
                None => sums.push(money),
            }
        }
        Ok(sums)
    }

    /// What a verifier has bonded, in each currency; the default currency is always among them.
    pub async fn bonds(&self, owner: Id<User>) -> Result<Vec<Bond>> {
        let accounts = ledger::balances(&self.0.db, owner).await?;
        let bonded = [Code::STAKE, Code::UNSTAKE, Code::REWARD];
        let mut assets: Vec<Asset> = accounts
            .iter()
            .filter(|(code, money)| bonded.contains(code) && money.minor > 0)
            .map(|(_, money)| money.asset)
            .collect();
        assets.push(self.0.default_currency);
        assets.sort_unstable_by_key(|asset| (*asset != self.0.default_currency, asset.code()));
        assets.dedup();
        let of = |wanted: Code, asset: Asset| {
            let own = accounts.iter().find(|(code, it)| *code == wanted && it.asset == asset);
            own.map_or(Money::new(0, asset), |(_, money)| *money)
        };
        let bond = |asset| Bond {
            staked: of(Code::STAKE, asset),
            cooling: of(Code::UNSTAKE, asset),
            rewards: of(Code::REWARD, asset),
            earned: of(Code::EARN, asset),
        };
        Ok(assets.into_iter().map(bond).collect())
    }

    /// What of a verifier's is cooling down.
    pub async fn cooling(&self, owner: Id<User>) -> Result<Vec<Unstaking>> {
        store::cooling(&self.0.db, owner).await
    }

    /// Gives out the rewards of every epoch that is over and not yet closed. The first epoch is
    /// the one before the first call.
    pub async fn reward_due(&self) -> Result<()> {
        let Some(rewards) = self.0.policy.rewards else { return Ok(()) };
        let length = i64::try_from(rewards.epoch.as_micros()).unwrap_or(i64::MAX).max(1);
        let current = self.0.db.world().now().micros() / length;
        let last = store::last_epoch(&self.0.db, rewards.pool.asset).await?;
        let first = last.map_or(current - 1, |(epoch, _)| epoch + 1);
        for epoch in first..current {
            self.reward(rewards, epoch, length).await?;
        }
        Ok(())
    }

    async fn reward(&self, rewards: Rewards, epoch: i64, length: i64) -> Result<()> {
        let (from, until) = (epoch * length, (epoch + 1) * length);
        let asset = rewards.pool.asset;
        let mut weights = Vec::new();
        for owner in ledger::owners(&self.0.db, Code::STAKE, asset).await? {
            let account = Account::of(owner, Code::STAKE);
            let before = Timestamp::from_micros(from - 1);
            let opening = ledger::balance_at(&self.0.db, account, asset, before).await?;
            let mut history = vec![(from, opening.minor)];
            let end = Timestamp::from_micros(until - 1);
            history.extend(ledger::history(&self.0.db, account, asset, before, end).await?);
            weights.push((owner, rules::weight(&history, until)));
        }
        let weights = &weights;
        self.0
            .db
            .run("reward.accrue", |tx| async move {
                let carried = store::last_epoch(&tx, asset).await?.map_or(0, |(_, left)| left);
                let pool = rewards.pool.plus(Money::new(carried, asset))?;
                let parts = rules::split(pool, weights)?;
                let paid = parts.iter().map(|(_, part)| part.minor).sum();
                if !store::close_epoch(&tx, epoch, pool, paid).await? {
                    return Ok(());
                }
                let cost = Account::platform(Code::REWARD_COST);
                for (at, chunk) in parts.chunks(REWARDED_AT_ONCE).enumerate() {
                    let key = format!("rw:{asset}:{epoch}:{at}");
                    let mut new = NewTransaction::new("reward", key, epoch);
                    for (owner, part) in chunk {
                        new = new.post_some(cost, Account::of(*owner, Code::REWARD), *part);
                    }
                    if !new.is_empty() {
                        ledger::post(&tx, new).await?;
                    }
                }
                for (owner, part) in parts.iter().filter(|(_, part)| part.minor > 0) {
                    let told = fact(&Caller::nobody(), "reward.accrued", *owner, *part);
                    tx.record(told.with("epoch", epoch));
                }
                Ok(())
            })
            .await
    }
}

/// Takes an owner's bond for this transaction, before it looks at what is cooling down: whoever
/// else moves it comes before or after, and nothing slips from the stake into what cools down while
/// it is counted. Answers what is staked.
async fn take(tx: &Tx, owner: Id<User>, asset: Asset) -> Result<Money> {
    let bond = [Account::of(owner, Code::STAKE), Account::of(owner, Code::UNSTAKE)];
    let there = ledger::take(tx, &bond, asset).await?;
    Ok(there.first().copied().unwrap_or(Money::new(0, asset)))
}

async fn move_bond(
    tx: &Tx,
    unstaking: &Unstaking,
    step: &'static str,
    from: Code,
    to: Code,
) -> Result<()> {
    let key = format!("ustk:{}:{step}", unstaking.id);
    let owner = unstaking.owner;
    let moved = NewTransaction::new("unstake", key, unstaking.id).post(
        Account::of(owner, from),
        Account::of(owner, to),
        unstaking.remaining,
    );
    ledger::post(tx, moved).await?;
    Ok(())
}

fn fact(by: &Caller, verb: &'static str, owner: Id<User>, amount: Money) -> Fact {
    Fact::by(by, verb)
        .on(owner)
        .about(owner)
        .with("amount", amount.minor)
        .with("currency", amount.asset)
}
