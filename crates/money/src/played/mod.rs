//! The model test: a simple reference model and the real services play the same random history.
//!
//! A history is made of rounds. In each a few callers act at once, on two threads; sometimes the
//! process dies in the middle, at a point with a name. What everybody saw, and what everybody has
//! then, must be explained by the model doing the same deeds in some order, one after the other:
//! those that were answered once each, those that died once or not at all. Between rounds the
//! providers act: they are paid, decline, dispute and return, lose requests, replies and webhooks,
//! and tell lies; when they have come to rest, every read must equal the model.

mod deaths;
mod deed;
mod explain;
mod model;
mod timers;
mod walk;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{Payment, User, Withdrawal};
use kernel::{Asset, Id, PageRequest, Timestamp};
use parking_lot::Mutex;
use platform::db::{Moment, Read};
use platform::jobs::{LEASE, Registry, Worker};
use platform::testing::TestDb;
use tokio::task::JoinSet;

use self::deed::{Deed, Saw, Stage, read};
use self::explain::{End, explain};
use self::model::{Came, Claim, Leaving, Model, Phase, WITHDRAWAL_FEE};
use crate::Options;
use crate::ledger::{self, Account, Code};
use crate::payment::{self, State as PaymentState};
use crate::payout::{Fee, Policy as Payouts, Source, State as PayoutState};
use crate::provider::ProviderName;
use crate::sim::{Fault, FaultKind, Mishaps};
use crate::staking::Policy as Staking;
use crate::testing::{MIGRATIONS, Site, assert_sound, caller, ngn, user};

pub(super) const USERS: usize = 4;
/// How long earnings can be disputed, and bonds cool down.
const WINDOW: Duration = Duration::from_secs(3_600);
const COOLING: Duration = Duration::from_secs(7_200);
/// Operations in an ordinary run.
const STEPS: usize = 400;
/// What we have at each provider beside what is booked, so that payouts are never short.
const FLOAT: i64 = 1_000_000_000_000;
/// Providers have come to rest by then, or never will.
const TURNS_MAX: u64 = 200;
const RAILS: [ProviderName; 2] = [ProviderName::Paystack, ProviderName::Stripe];
/// The platform's accounts that histories touch.
const PLATFORM: [Code; 9] = [
    Code::CLEARING_PAYSTACK,
    Code::CLEARING_STRIPE,
    Code::SUSPENSE_PAYSTACK,
    Code::SUSPENSE_STRIPE,
    Code::SLASH,
    Code::FEE_JOB,
    Code::FEE_WITHDRAW,
    Code::PROVIDER_COST,
    Code::GOODWILL_COST,
];
/// Transactions of those who speak with providers, each a point to die at.
const POINTS: [&str; 15] = [
    "jobs.claim",
    "jobs.end",
    "payment.observe",
    "payment.check",
    "payment.dispute",
    "webhook.done",
    "withdrawal.submit",
    "withdrawal.observe",
    "withdrawal.unknown",
    "withdrawal.sent",
    "withdrawal.check",
    "refund.submit",
    "refund.observe",
    "refund.sent",
    "provider_call.keep",
];
/// Calls that can go wrong.
const CALLS: [&str; 9] = [
    "POST /transaction/initialize",
    "GET /transaction/verify/*",
    "POST /transferrecipient",
    "POST /transfer",
    "GET /transfer/*",
    "POST /refund",
    "POST /v1/checkout/sessions",
    "GET /v1/*",
    "POST /v1/refunds",
];
const MISSES: [FaultKind; 5] = [
    FaultKind::ErrorBefore,
    FaultKind::ErrorAfter,
    FaultKind::LoseReply,
    FaultKind::LoseRequest,
    FaultKind::RateLimit,
];

/// What happens to webhooks.
const WILD: Mishaps =
    Mishaps { duplicate: 30, lose: 10, forge: 5, reorder: true, delay_seconds: 0 };
/// The same for those about which nobody asks unasked: they may not be lost.
const CALM: Mishaps = Mishaps { lose: 0, ..WILD };

/// Chance that repeats, without a crate.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound as u64).unwrap()
    }

    fn pick<T: Clone>(&mut self, among: &[T]) -> Option<T> {
        if among.is_empty() { None } else { Some(among[self.below(among.len())].clone()) }
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn amount(&mut self) -> i64 {
        100 + i64::try_from(self.below(3_000)).unwrap()
    }
}

/// How a history is played.
#[derive(Debug, Clone, Copy)]
struct Manner {
    seed: u64,
    /// Callers at once, at most.
    width: usize,
    /// Whether the process dies now and then, and webhooks are lost.
    dies: bool,
    /// Providers' turns end at whole ones of these.
    grid: Duration,
}

impl Manner {
    /// What happens to webhooks.
    fn mishaps(&self) -> Mishaps {
        if self.dies { WILD } else { CALM }
    }
}

/// What the providers are to come to rest with.
#[derive(Default)]
struct Expected {
    payments: Vec<Id<Payment>>,
    withdrawals: Vec<(usize, Id<Withdrawal>, PayoutState)>,
    claim: Option<(Id<Payment>, &'static str)>,
}

/// What a history was made of.
#[derive(Debug, Default)]
struct Tally {
    steps: usize,
    refused: usize,
    deaths: usize,
    turns: usize,
}

struct Game<'a> {
    t: &'a TestDb,
    site: Site,
    second: Worker,
    stage: Stage,
    manner: Manner,
    model: Model,
    dice: Dice,
    keys: u64,
    /// What wallets had at instants gone by.
    past: VecDeque<(Timestamp, [i64; USERS])>,
    tally: Tally,
}

impl<'a> Game<'a> {
    async fn open(t: &'a TestDb, manner: Manner) -> Self {
        let site = Site::opened(&t.db, |options| Options {
            payouts: Payouts {
                cooling: Duration::ZERO,
                per_day: i64::MAX.into(),
                fees: vec![(Asset::NGN, Fee { flat: WITHDRAWAL_FEE, bps: 0 })],
                ..Payouts::default()
            },
            staking: Staking { minimum: 1, cooling: COOLING, ..Staking::default() },
            earning_window: WINDOW,
            sandbox: None,
            paypal: None,
            crypto: None,
            ..options
        })
        .await;
        let mut destinations = Vec::new();
        for who in 0..USERS {
            destinations.push(destination(&site, user(who as u128), who).await);
        }
        for rail in RAILS {
            site.sim.fund(rail, ngn(FLOAT));
        }
        site.sim.mishaps(manner.mishaps());
        let mut registry = Registry::default();
        site.context.jobs(&mut registry);
        let stage = Stage { db: t.db.clone(), context: site.context.clone(), destinations };
        let model = Model { now: t.db.world().now(), ..Model::default() };
        let (second, dice) = (Worker::new(t.db.clone(), registry), Dice(manner.seed));
        let (past, tally) = (VecDeque::new(), Tally::default());
        let mut game = Self { t, site, second, stage, manner, model, dice, keys: 0, past, tally };
        // Everybody has a wallet before anybody sends to it.
        for who in 0..USERS {
            let key = game.key();
            let provider = ProviderName::Paystack;
            game.round(vec![Deed::Deposit { who, minor: 20_000, provider, key }]).await;
        }
        let all: Vec<_> = game.model.deposits.iter().map(|it| (it.id, it.amount)).collect();
        let mut expected = Expected::default();
        for (id, amount) in all {
            game.pay(&mut expected, id, amount);
        }
        Box::pin(game.come_to_rest(expected)).await;
        game
    }

    fn key(&mut self) -> String {
        self.keys += 1;
        format!("k{}", self.keys)
    }

    fn moment(&mut self) -> Moment {
        match self.dice.below(3) {
            0 => Moment::Statement(u32::try_from(self.dice.below(16)).unwrap()),
            1 => Moment::Commit,
            _ => Moment::Answer,
        }
    }

    /// A few callers at once.
    fn choose(&mut self) -> Vec<Deed> {
        let mut deeds: Vec<Deed> = Vec::new();
        for _ in 0..=self.dice.below(self.manner.width) {
            let deed = self.deed();
            let about = deed.decides();
            if about.is_none() || deeds.iter().all(|other| other.decides() != about) {
                deeds.push(deed);
            }
        }
        deeds
    }

    fn deed(&mut self) -> Deed {
        let (who, minor, key) = (self.dice.below(USERS), self.dice.amount(), self.key());
        let other = (who + 1 + self.dice.below(USERS - 1)) % USERS;
        let source = [Source::Wallet, Source::Earnings][self.dice.below(2)];
        let deed = match self.dice.below(20) {
            0 | 1 => None,
            2 | 3 => Some(Deed::Send { who, to: other, minor, key }),
            4..=6 => Some(Deed::Hold { who, payee: other, price: minor, key }),
            7..=10 => self.about_a_job(),
            11 => Some(Deed::Stake { who, minor, source, key }),
            12 => Some(Deed::Unstake { who, minor: minor / 2, key }),
            13 => self
                .dice
                .pick(&self.model.cooling)
                .map(|it| Deed::Restake { owner: it.owner, id: it.id }),
            14 => {
                let harmed = self.dice.one_in(2).then_some(other);
                Some(Deed::Slash { who, minor: minor / 4, harmed, key })
            }
            15 => Some(Deed::Withdraw { who, minor, source, key }),
            16 => self.about_a_payout(),
            17 => self.about_a_payment(key),
            18 if self.model.frozen[who] => Some(Deed::Thaw { who, key }),
            _ => {
                let provider = RAILS[self.dice.below(2)];
                let is_idle = self.open_payments().len() < 6;
                is_idle.then_some(Deed::Deposit { who, minor: 5 * minor, provider, key })
            }
        };
        deed.unwrap_or(Deed::Read { who })
    }

    fn about_a_job(&mut self) -> Option<Deed> {
        let job = self.dice.pick(&self.model.jobs)?;
        let (hold, payee, price) = (job.hold, job.payee, job.price);
        let is_pending = matches!(job.phase, Phase::Pending { .. });
        Some(match self.dice.below(10) {
            0..=2 => Deed::Capture { hold, payee, price },
            3 => Deed::Release { hold },
            4..=6 => Deed::Contest { hold },
            7 if is_pending => Deed::Earn { hold },
            _ => Deed::Settle { hold, back_bps: [0, 3_333, 10_000][self.dice.below(3)] },
        })
    }

    fn about_a_payout(&mut self) -> Option<Deed> {
        let payout = self.dice.pick(&self.model.payouts)?;
        let approve = self.dice.below(3) > 0;
        Some(Deed::Decide { owner: payout.owner, id: payout.id, approve })
    }

    fn about_a_payment(&mut self, key: String) -> Option<Deed> {
        let payment = self.dice.pick(&self.model.deposits)?;
        let id = payment.id;
        if payment.came == Came::Suspended {
            let refund = self.dice.one_in(2);
            return Some(if refund {
                Deed::Refund { id, minor: None, key }
            } else {
                Deed::Credit { id, key }
            });
        }
        let left = payment.amount - payment.refunded;
        Some(Deed::Refund { id, minor: self.dice.one_in(2).then_some(left / 2 + 1), key })
    }

    fn open_payments(&self) -> Vec<(Id<Payment>, i64)> {
        let open = self.model.deposits.iter().filter(|it| it.came == Came::Open);
        open.map(|it| (it.id, it.amount)).collect()
    }

    /// Callers act at once; what they saw and what is there then has an explanation.
    async fn round(&mut self, deeds: Vec<Deed>) {
        self.t.clock.advance(Duration::from_secs(1));
        self.model.now = self.t.db.world().now();
        self.tally.steps += deeds.len();
        let dies = self.manner.dies && self.dice.one_in(6);
        let point = self.dice.pick(&deeds).map(|deed| (deed.transaction(), self.moment()));
        let seen = self.burst(&deeds, point.filter(|_| dies)).await;
        self.tally.refused += seen.iter().filter(|saw| **saw == Saw::Refused).count();
        let seen: Vec<_> = deeds.into_iter().zip(seen).collect();
        let end = self.end().await;
        let Some(model) = explain(&self.model, &seen, &end) else {
            let (step, model) = (self.tally.steps, &self.model);
            panic!("step {step}: no order explains\n{seen:?}\n{end:?}\nafter {model:?}");
        };
        self.model = model;
        self.model.tidy();
    }

    async fn burst(&mut self, deeds: &[Deed], point: Option<(&str, Moment)>) -> Vec<Saw> {
        let seen = Arc::new(Mutex::new(vec![Saw::Nothing; deeds.len()]));
        let death = point.map(|(name, moment)| self.t.db.die_at(name, moment));
        let mut callers = JoinSet::new();
        for (at, deed) in deeds.iter().cloned().enumerate() {
            let (stage, seen) = (self.stage.clone(), seen.clone());
            callers.spawn(async move {
                let saw = deed.act(&stage).await;
                seen.lock()[at] = saw;
            });
        }
        let all = async {
            while let Some(done) = callers.join_next().await {
                done.unwrap();
            }
        };
        let survived = match death {
            Some(death) => death.spares(all).await.is_some(),
            None => {
                all.await;
                true
            }
        };
        if !survived {
            callers.shutdown().await;
            self.tally.deaths += 1;
            self.t.at_rest().await;
        }
        let mut seen = seen.lock().clone();
        for (deed, saw) in deeds.iter().zip(&mut seen) {
            self.again(deed, saw).await;
        }
        seen
    }

    /// Who got no answer asks again under the same key, until there is one.
    async fn again(&self, deed: &Deed, saw: &mut Saw) {
        for _ in 0..8 {
            if *saw != Saw::Nothing {
                return;
            }
            if !deed.is_repeatable() {
                *saw = deed.found(&self.stage).await;
                return;
            }
            *saw = deed.act(&self.stage).await;
            if *saw == Saw::Nothing && matches!(deed, Deed::Deposit { .. }) {
                // A provider that failed is left alone for a while, and so is who died asking.
                self.t.clock.advance(Duration::from_secs(31));
            }
        }
    }

    /// All that everybody has.
    async fn end(&self) -> End {
        let mut own = Vec::new();
        for who in 0..USERS {
            own.push(read(&self.t.db, who).await.unwrap());
        }
        let mut platform = BTreeMap::new();
        for code in PLATFORM {
            let account = Account::platform(code);
            let has = ledger::balance(&self.t.db, account, Asset::NGN).await.unwrap().minor;
            if has != 0 {
                platform.insert(code.as_str(), has);
            }
        }
        End { own, platform }
    }
}

/// The providers' turn.
impl Game<'_> {
    async fn providers(&mut self) {
        let mut expected = Expected::default();
        let approved = self.model.payouts.iter().filter(|it| it.state == Leaving::Approved);
        let approved: Vec<_> = approved.map(|it| (it.owner, it.id)).collect();
        let declines = approved.len() == 1 && self.dice.one_in(4);
        if declines {
            // This call and no other, and heard to the end.
            self.site.sim.heal();
            self.arm("POST /transfer", FaultKind::Decline);
        } else if self.dice.one_in(2) {
            for _ in 0..=self.dice.below(3) {
                let (call, kind) = (self.dice.pick(&CALLS), self.dice.pick(&MISSES));
                self.arm(call.unwrap(), kind.unwrap());
            }
        }
        if !declines && self.dice.one_in(3) {
            self.claim(&mut expected);
        } else {
            self.payers(&mut expected);
        }
        for (owner, id) in approved {
            let state = if declines { PayoutState::Failed } else { PayoutState::Settled };
            expected.withdrawals.push((owner, id, state));
            if declines { self.model.fails(id) } else { self.model.settles(id) }
        }
        self.model.refunds_arrive();
        Box::pin(self.come_to_rest(expected)).await;
    }

    fn arm(&self, call: &str, kind: FaultKind) {
        self.site.sim.fault(Fault { provider: None, call: call.to_owned(), kind, times: 1 });
    }

    fn pay(&mut self, expected: &mut Expected, id: Id<Payment>, came: i64) {
        self.site.sim.pay(&payment::reference(id), Some(ngn(came))).unwrap();
        self.model.paid(id, came);
        expected.payments.push(id);
    }

    /// Payers pay what they were asked for, or something else, or nothing; a payout comes back.
    fn payers(&mut self, expected: &mut Expected) {
        for (id, amount) in self.open_payments() {
            match self.dice.below(10) {
                0..=3 => self.pay(expected, id, amount),
                4 => self.pay(expected, id, amount - 7),
                5 => {
                    self.site.sim.decline(&payment::reference(id)).unwrap();
                    // No money moves, and one that has expired stays so: nothing to wait for.
                    self.model.deposits.retain(|it| it.id != id);
                }
                _ => continue,
            }
            self.tally.steps += 1;
        }
        let paid = self.model.payouts.iter().filter(|it| it.state == Leaving::Settled);
        let paid: Vec<_> = paid.copied().collect();
        if let Some(payout) = self.dice.pick(&paid).filter(|_| self.dice.one_in(4)) {
            self.site.sim.mishaps(CALM);
            let reference = payout.id.to_string().replace('_', "-");
            self.site.sim.return_payout(&reference).unwrap();
            self.model.returns(payout.id);
            expected.withdrawals.push((payout.owner, payout.id, PayoutState::Returned));
            self.tally.steps += 1;
        }
    }

    /// A payer's bank wants money back, or its claim is decided.
    fn claim(&mut self, expected: &mut Expected) {
        self.site.sim.mishaps(CALM);
        let is_open = |it: &&model::Deposit| matches!(it.claim, Claim::Open(_));
        let open = self.model.deposits.iter().find(is_open).map(|it| it.id);
        if let Some(id) = open.filter(|_| self.dice.one_in(2)) {
            let is_won = self.dice.one_in(2);
            self.site.sim.decide_dispute(&payment::reference(id), is_won).unwrap();
            self.model.decided(id, is_won);
            expected.claim = Some((id, if is_won { "won" } else { "lost" }));
        } else {
            let can = |it: &&model::Deposit| {
                it.came == Came::Settled && it.claim == Claim::None && it.refunded == 0
            };
            let among: Vec<_> = self.model.deposits.iter().filter(can).map(|it| it.id).collect();
            let Some(id) = self.dice.pick(&among) else { return };
            self.site.sim.dispute(&payment::reference(id)).unwrap();
            self.model.disputed(id);
            expected.claim = Some((id, "open"));
        }
        self.tally.steps += 1;
    }

    /// Webhooks, two workers and the sweepers, all at once, until nothing is left to be done; it
    /// may die on the way. Then every read equals the model.
    async fn come_to_rest(&mut self, expected: Expected) {
        let began = self.t.db.world().now();
        let declines = expected.withdrawals.iter().any(|it| it.2 == PayoutState::Failed);
        let dies = self.manner.dies && !declines && self.dice.one_in(2);
        let mut point = dies.then(|| (POINTS[self.dice.below(POINTS.len())], self.moment()));
        let mut missing = None;
        for turn in 0.. {
            assert!(turn < TURNS_MAX, "step {}: no end to {missing:?}", self.tally.steps);
            self.tally.turns += 1;
            let death = point.take().map(|(name, moment)| self.t.db.die_at(name, moment));
            let work = self.work();
            let survived = match death {
                Some(death) => Box::pin(death.spares(work)).await.is_some(),
                None => {
                    work.await;
                    true
                }
            };
            if !survived {
                self.tally.deaths += 1;
                self.t.at_rest().await;
                self.t.clock.advance(LEASE);
            }
            missing = self.waits_for(&expected).await;
            if missing.is_none() {
                break;
            }
            // Sweepers ask again after up to an hour, and may be out of luck.
            self.t.clock.advance(Duration::from_secs(65 + 10 * turn));
        }
        self.site.sim.mishaps(self.manner.mishaps());
        // However long it took: the same instant in every run.
        let grid: i64 = self.manner.grid.as_micros().try_into().unwrap();
        let left: i64 = grid - self.t.db.world().now().micros() % grid;
        self.t.clock.advance(Duration::from_micros(left.unsigned_abs()));
        assert!(self.t.db.world().now() > began);
        self.site.context.wallet.release_due().await.unwrap();
        self.site.context.staking.finish_due().await.unwrap();
        self.model.now = self.t.db.world().now();
        self.model.time_passes();
        self.model.tidy();
        self.compare().await;
    }

    async fn work(&self) {
        let context = &self.site.context;
        let first = async {
            self.site.sim.deliver().await;
            self.site.worker.drain().await.unwrap();
        };
        let (drained, ..) = tokio::join!(self.second.drain(), first, async {
            context.payments.sweep().await.unwrap();
            context.payouts.sweep().await.unwrap();
            context.refunds.sweep().await.unwrap();
        });
        drained.unwrap();
    }

    /// What the providers have not come to yet.
    async fn waits_for(&self, expected: &Expected) -> Option<String> {
        let context = &self.site.context;
        for id in &expected.payments {
            let (payment, _) = context.payments.inspect(*id).await.unwrap();
            let open = [PaymentState::Created, PaymentState::Pending, PaymentState::Expired];
            if open.contains(&payment.state) {
                return Some(format!("{payment:?}"));
            }
        }
        for (owner, id, state) in &expected.withdrawals {
            let found = context.payouts.own(&caller(user(*owner as u128)), *id).await.unwrap();
            if found.state != *state {
                return Some(format!("{state} of {found:?}"));
            }
        }
        for who in 0..USERS {
            let account = Account::of(user(who as u128), Code::REFUND);
            let back = ledger::balance(&self.t.db, account, Asset::NGN).await.unwrap();
            if back.minor != 0 {
                let page = PageRequest::first(200);
                let mut all = context.refunds.list(None, &page).await.unwrap().items;
                all.retain(|it| it.state.is_in_flight() || it.state.as_str() == "requested");
                return Some(format!("refunds of {who}: {all:?}"));
            }
        }
        let (id, state) = expected.claim?;
        let sql = "SELECT state FROM chargebacks WHERE payment = $1";
        let row = platform::params![id];
        let read = |row: &platform::db::Row<'_>| row.take::<String>();
        let found = self.t.db.maybe(sql, row, read).await.unwrap();
        (found.as_deref() != Some(state)).then(|| format!("{state} of {id}: {found:?}"))
    }
}

/// Every read equals the model.
impl Game<'_> {
    async fn compare(&mut self) {
        let step = self.tally.steps;
        let end = self.end().await;
        for rail in RAILS {
            let there = self.site.sim.balance(rail, Asset::NGN).minor - FLOAT;
            let booked = end.platform.get(Code::clearing(rail).as_str()).copied();
            assert_eq!(there, booked.unwrap_or_default(), "step {step}: P10 {rail}");
        }
        for who in 0..USERS {
            assert_eq!(end.own[who], self.model.shown(who), "step {step}: user {who}");
        }
        assert_eq!(end.platform, self.model.shown_platform(), "step {step}: the platform");
        self.compare_wallets().await;
        self.compare_statement().await;
        let now = self.t.db.world().now();
        let wallets = std::array::from_fn(|who| self.model.of(who, Code::WALLET));
        self.past.push_back((now, wallets));
        if self.past.len() > 64 {
            self.past.pop_front();
        }
    }

    async fn compare_wallets(&mut self) {
        let who = self.dice.below(USERS);
        let (owner, step) = (user(who as u128), self.tally.steps);
        let context = &self.site.context;
        let seen = context.wallet.balance(owner, Asset::NGN, None).await.unwrap();
        let of = |code| ngn(self.model.of(who, code));
        let shown = (seen.available, seen.held, seen.pending_withdrawal);
        let wanted = (of(Code::WALLET), of(Code::HELD), of(Code::WITHDRAW));
        assert_eq!(shown, wanted, "step {step}: the wallet of {who}");
        let bonds = context.staking.bonds(owner).await.unwrap();
        let bond = bonds.iter().find(|bond| bond.staked.asset == Asset::NGN).unwrap();
        let shown = (bond.staked, bond.cooling, bond.earned);
        let wanted = (of(Code::STAKE), of(Code::UNSTAKE), of(Code::EARN));
        assert_eq!(shown, wanted, "step {step}: the bond of {who}");
        if let Some(at) = self.dice.pick(self.past.make_contiguous()) {
            let then = context.wallet.balance(owner, Asset::NGN, Some(at.0)).await.unwrap();
            assert_eq!(then.available.minor, at.1[who], "step {step}: {who} at {}", at.0);
        }
        if let Some(payout) = self.dice.pick(&self.model.payouts) {
            let owner = caller(user(payout.owner as u128));
            let state = context.payouts.own(&owner, payout.id).await.unwrap().state;
            let wanted = match payout.state {
                Leaving::Requested => PayoutState::Requested,
                Leaving::Approved => PayoutState::Approved,
                Leaving::Settled => PayoutState::Settled,
            };
            assert_eq!(state, wanted, "step {step}: {}", payout.id);
        }
    }

    async fn compare_statement(&mut self) {
        let who = self.dice.below(USERS);
        let page = PageRequest::first(5);
        let owner = user(who as u128);
        let lines = self.site.context.wallet.transactions(owner, None, &page).await.unwrap().items;
        let newest = lines.first().map_or(0, |line| line.balance_after.minor);
        assert_eq!(newest, self.model.of(who, Code::WALLET), "step {}", self.tally.steps);
        for pair in lines.windows(2) {
            let before = pair[0].balance_after.minus(pair[0].delta).unwrap();
            assert_eq!(before, pair[1].balance_after, "step {}", self.tally.steps);
        }
    }
}

async fn destination(
    site: &Site,
    owner: Id<User>,
    number: usize,
) -> Id<kernel::id::kinds::Destination> {
    let account = format!("012345678{number}");
    let body = serde_json::json!({ "kind": "bank", "currency": "NGN", "account": account,
                                   "bank": "057" });
    let (_, answer) = site.post(owner, "/v1/payout-destinations", &account, body).await;
    answer["id"].as_str().unwrap().parse().unwrap()
}

/// Plays a history; answers what the books came to, in words that every engine has.
async fn history(t: &TestDb, manner: Manner) -> Vec<String> {
    let mut game = Box::pin(Game::open(t, manner)).await;
    let steps = platform::testing::scaled(STEPS);
    let (began, mut told) = (std::time::Instant::now(), 0);
    while game.tally.steps < steps {
        let deeds = game.choose();
        game.round(deeds).await;
        if game.dice.one_in(4) {
            Box::pin(game.providers()).await;
        }
        if game.tally.steps / 5_000 > told {
            told = game.tally.steps / 5_000;
            assert_sound(&t.db).await;
            println!("{:?} after {:?}", game.tally, began.elapsed());
        }
    }
    Box::pin(game.providers()).await;
    assert_sound(&t.db).await;
    println!("{manner:?}: {:?} in {:?}", game.tally, began.elapsed());
    let end = game.end().await;
    let trial = ledger::trial_balance(&t.db).await.unwrap();
    let mut books: Vec<_> = trial.iter().map(|line| format!("{line:?}")).collect();
    books.extend(end.own.iter().map(|own| format!("{own:?}")));
    books
}

platform::on_both_engines! { MIGRATIONS;

async fn a_simple_model_and_the_services_agree_on_any_history(t: &TestDb) {
    let manner = Manner { seed: 7, width: 6, dies: true, grid: Duration::from_secs(900) };
    Box::pin(history(t, manner)).await;
}

}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l14_a_history_with_its_providers_ends_equal_on_both_engines() {
    let (sqlite, postgres) = (TestDb::sqlite(MIGRATIONS).await, TestDb::postgres(MIGRATIONS).await);
    // By then all is over that time brings about, however long the providers took.
    let grid = Duration::from_secs(24 * 3600);
    let manner = Manner { seed: 11, width: 1, dies: false, grid };
    let ends =
        (Box::pin(history(&sqlite, manner)).await, Box::pin(history(&postgres, manner)).await);
    assert_eq!(ends.0, ends.1);
    sqlite.finish().await;
    postgres.finish().await;
}
