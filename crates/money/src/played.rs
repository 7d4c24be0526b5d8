//! The model test: a simple reference model and the real services play the same random history,
//! and every balance of everybody equals the model's after every step.

use std::collections::HashMap;
use std::time::Duration;

use kernel::Id;
use kernel::id::kinds::{Hold, Unstaking, User, Withdrawal};
use kernel::{Caller, Money};
use platform::db::Db;

use crate::ledger::{self, Code};
use crate::payout::{NewWithdrawal, Policy as Payouts, Source};
use crate::provider::ProviderName;
use crate::staking::{NewStake, Policy as Staking};
use crate::testing::{MIGRATIONS, Site, assert_sound, caller, give, ngn, user};
use crate::wallet::{NewTransfer, Resolution};
use crate::{Context, Options};

const USERS: usize = 4;
const STEPS: usize = 400;
const FEE_BPS: i64 = 1_000;

/// What everybody has, as one would reckon it by hand.
#[derive(Default)]
struct Model {
    has: HashMap<(usize, &'static str), i64>,
}

impl Model {
    fn of(&self, who: usize, code: Code) -> i64 {
        self.has.get(&(who, code.as_str())).copied().unwrap_or_default()
    }

    fn add(&mut self, who: usize, code: Code, minor: i64) {
        *self.has.entry((who, code.as_str())).or_default() += minor;
    }

    /// Moves an amount, unless there is not enough.
    fn moves(&mut self, from: (usize, Code), to: (usize, Code), minor: i64) -> bool {
        let is_enough = self.of(from.0, from.1) >= minor;
        if is_enough {
            self.add(from.0, from.1, -minor);
            self.add(to.0, to.1, minor);
        }
        is_enough
    }
}

#[derive(Clone, Copy)]
struct Job {
    hold: Id<Hold>,
    owner: usize,
    payee: usize,
    price: i64,
    /// None while it is held.
    net: Option<i64>,
    disputed: bool,
}

/// Chance that repeats, without a crate.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }
}

struct Game<'a> {
    db: &'a Db,
    context: &'a Context,
    site: &'a Site,
    destinations: Vec<String>,
    model: Model,
    dice: Dice,
    jobs: Vec<Job>,
    cooling: Vec<(Id<Unstaking>, usize, i64)>,
    waiting: Vec<(Id<Withdrawal>, usize, i64)>,
}

impl Game<'_> {
    fn amount(&mut self) -> i64 {
        100 + i64::try_from(self.dice.below(3_000)).unwrap()
    }

    async fn step(&mut self) {
        let who = self.dice.below(USERS);
        let minor = self.amount();
        match self.dice.below(11) {
            0 => {
                give(self.db, user(who as u128), ngn(minor)).await;
                self.site.sim.fund(ProviderName::Paystack, ngn(minor));
                self.model.add(who, Code::WALLET, minor);
            }
            1 => self.send(who, minor).await,
            2 => self.hold(who, minor).await,
            3 => self.capture().await,
            4 => self.dispute().await,
            5 | 6 => self.resolve().await,
            7 => self.stake(who, minor).await,
            8 => self.unstake(who, minor).await,
            9 => self.slash(who, minor).await,
            _ => self.withdraw(who, minor).await,
        }
    }

    async fn send(&mut self, who: usize, minor: i64) {
        let to = (who + 1) % USERS;
        let transfer = NewTransfer { to: user(to as u128), amount: ngn(minor) };
        let sent = self.context.wallet.transfer(&caller(user(who as u128)), transfer).await;
        let is_known = self.model.has.contains_key(&(to, Code::WALLET.as_str()));
        let may = is_known && self.model.moves((who, Code::WALLET), (to, Code::WALLET), minor);
        assert_eq!(sent.is_ok(), may, "{sent:?}");
    }

    async fn hold(&mut self, who: usize, price: i64) {
        let (wallet, subject) = (&self.context.wallet, &self.dice.0.to_string());
        let owner = user(who as u128);
        let hold = |tx| async move { wallet.hold(&tx, owner, ngn(price), "job", subject).await };
        let held = self.db.run("hold", hold).await;
        let may = self.model.moves((who, Code::WALLET), (who, Code::HELD), price);
        assert_eq!(held.is_ok(), may);
        if let Ok(hold) = held {
            let payee = (who + 2) % USERS;
            self.jobs.push(Job { hold, owner: who, payee, price, net: None, disputed: false });
        }
    }

    fn job(&mut self, wanted: impl Fn(&Job) -> bool) -> Option<usize> {
        let fits: Vec<usize> = (0..self.jobs.len()).filter(|at| wanted(&self.jobs[*at])).collect();
        (!fits.is_empty()).then(|| fits[self.dice.below(fits.len())])
    }

    async fn capture(&mut self) {
        let Some(at) = self.job(|it| it.net.is_none()) else { return };
        let job = self.jobs[at];
        let (wallet, payee) = (&self.context.wallet, user(job.payee as u128));
        let fee = job.price * FEE_BPS / 10_000;
        let capture = |tx| async move { wallet.capture(&tx, job.hold, payee, ngn(fee)).await };
        let captured = self.db.run("capture", capture).await;
        assert_eq!(captured.is_ok(), !job.disputed);
        if captured.is_ok() {
            let net = job.price - fee;
            assert!(self.model.moves(
                (job.owner, Code::HELD),
                (job.payee, Code::EARN_PENDING),
                net
            ));
            self.model.add(job.owner, Code::HELD, -fee);
            self.jobs[at].net = Some(net);
        }
    }

    async fn dispute(&mut self) {
        let Some(at) = self.job(|it| !it.disputed) else { return };
        let (wallet, hold) = (&self.context.wallet, self.jobs[at].hold);
        self.db.run("d", |tx| async move { wallet.dispute(&tx, hold).await }).await.unwrap();
        self.jobs[at].disputed = true;
    }

    async fn resolve(&mut self) {
        let Some(at) = self.job(|it| it.disputed) else { return };
        let job = self.jobs.remove(at);
        let share = [0, 3_333, 10_000][self.dice.below(3)];
        let how = Resolution::Split { payee_bps: share };
        let (wallet, payee) = (&self.context.wallet, user(job.payee as u128));
        let resolve = |tx| async move { wallet.resolve(&tx, job.hold, payee, how).await };
        let kept = self.db.run("resolve", resolve).await.unwrap();
        let part = job.price * i64::from(share) / 10_000;
        let fee = match job.net {
            None => part * FEE_BPS / 10_000,
            Some(net) => (job.price - net) * part / job.price,
        };
        assert_eq!((kept.amount.minor, kept.fee.minor), (part, fee));
        match job.net {
            None => self.model.add(job.owner, Code::HELD, -job.price),
            Some(net) => self.model.add(job.payee, Code::EARN_PENDING, -net),
        }
        self.model.add(job.payee, Code::EARN, part - fee);
        self.model.add(job.owner, Code::WALLET, job.price - part);
    }

    async fn stake(&mut self, who: usize, amount: i64) {
        let new = NewStake { amount, currency: None, source: Source::Earnings };
        let staked = self.context.staking.stake(&caller(user(who as u128)), new).await;
        let may = self.model.moves((who, Code::EARN), (who, Code::STAKE), amount);
        assert_eq!(staked.is_ok(), may);
    }

    async fn unstake(&mut self, who: usize, amount: i64) {
        if !self.cooling.is_empty() && self.dice.below(2) == 0 {
            let at = self.dice.below(self.cooling.len());
            let (id, owner, left) = self.cooling.remove(at);
            let cancelled = self.context.staking.cancel(&caller(user(owner as u128)), id).await;
            assert_eq!(cancelled.is_ok(), left > 0);
            assert!(
                left == 0 || self.model.moves((owner, Code::UNSTAKE), (owner, Code::STAKE), left)
            );
            return;
        }
        let started = self.context.staking.unstake(&caller(user(who as u128)), amount, None).await;
        let may = self.model.moves((who, Code::STAKE), (who, Code::UNSTAKE), amount);
        assert_eq!(started.is_ok(), may);
        if let Ok(it) = started {
            self.cooling.push((it.id, who, amount));
        }
    }

    async fn slash(&mut self, who: usize, minor: i64) {
        let (staking, nobody, owner) =
            (&self.context.staking, &Caller::nobody(), user(who as u128));
        let key = &format!("s{}", self.dice.0);
        let slash =
            |tx| async move { staking.slash(&tx, nobody, owner, ngn(minor), key, None).await };
        let taken = self.db.run("slash", slash).await.unwrap().minor;
        let staked = self.model.of(who, Code::STAKE).min(minor);
        let mut rest = minor - staked;
        self.model.add(who, Code::STAKE, -staked);
        for (_, _, left) in self.cooling.iter_mut().rev().filter(|it| it.1 == who) {
            let part = rest.min(*left);
            (*left, rest) = (*left - part, rest - part);
            self.model.add(who, Code::UNSTAKE, -part);
        }
        assert_eq!(taken, minor - rest);
    }

    async fn withdraw(&mut self, who: usize, amount: i64) {
        let payouts = &self.context.payouts;
        if !self.waiting.is_empty() && self.dice.below(2) == 0 {
            let at = self.dice.below(self.waiting.len());
            let (id, owner, minor) = self.waiting.remove(at);
            self.model.add(owner, Code::WITHDRAW, -minor);
            if self.dice.below(2) == 0 {
                payouts.cancel(&caller(user(owner as u128)), id).await.unwrap();
                self.model.add(owner, Code::WALLET, minor);
            } else {
                payouts.approve(&caller(user(99)), id).await.unwrap();
                self.site.worker.drain().await.unwrap();
            }
            return;
        }
        let destination = self.destinations[who].parse().unwrap();
        let new = NewWithdrawal { source: Source::Wallet, amount, currency: None, destination };
        let asked = payouts.withdraw(&caller(user(who as u128)), new).await;
        let may = self.model.moves((who, Code::WALLET), (who, Code::WITHDRAW), amount);
        assert_eq!(asked.is_ok(), may, "{asked:?}");
        if let Ok(it) = asked {
            self.waiting.push((it.id, who, amount));
        }
    }

    /// Everybody has what the model says.
    async fn compare(&self, step: usize) {
        for who in 0..USERS {
            let booked = ledger::balances(self.db, user(who as u128)).await.unwrap();
            let booked: HashMap<&str, i64> =
                booked.into_iter().map(|(code, money)| (code.as_str(), money.minor)).collect();
            for ((_, code), minor) in self.model.has.iter().filter(|((own, _), _)| *own == who) {
                let there = booked.get(code).copied().unwrap_or_default();
                assert_eq!(there, *minor, "step {step}: {code} of {who}");
            }
        }
    }
}

async fn destination(site: &Site, owner: Id<User>, account: &str) -> String {
    let body = serde_json::json!({ "kind": "bank", "currency": "NGN", "account": account,
                                   "bank": "057" });
    let (_, answer) = site.post(owner, "/v1/payout-destinations", account, body).await;
    answer["id"].as_str().unwrap().to_owned()
}

async fn game(t: &platform::testing::TestDb, seed: u64) {
    let site = Site::opened(&t.db, |options| Options {
        payouts: Payouts {
            cooling: Duration::ZERO,
            per_day: i64::MAX.into(),
            ..Payouts::default()
        },
        staking: Staking { minimum: 1, ..Staking::default() },
        sandbox: None,
        stripe: None,
        ..options
    })
    .await;
    let mut destinations = Vec::new();
    for who in 0..USERS {
        let account = format!("012345678{who}");
        destinations.push(destination(&site, user(who as u128), &account).await);
    }
    let mut game = Game {
        db: &t.db,
        context: &site.context,
        site: &site,
        destinations,
        model: Model::default(),
        dice: Dice(seed),
        jobs: Vec::new(),
        cooling: Vec::new(),
        waiting: Vec::new(),
    };
    // What a gift books for the sandbox comes through Paystack here: its float is made up.
    site.sim.fund(ProviderName::Paystack, Money::new(10_000_000, kernel::Asset::NGN));
    let steps = platform::testing::scaled(STEPS);
    for step in 0..steps {
        t.clock.advance(Duration::from_secs(1));
        game.step().await;
        if step % 10 == 0 || step == steps - 1 {
            game.compare(step).await;
        }
    }
    assert_sound(&t.db).await;
}

platform::on_both_engines! { MIGRATIONS;

async fn a_simple_model_and_the_services_agree_on_any_history(t: &TestDb) {
    game(t, 7).await;
}

}
