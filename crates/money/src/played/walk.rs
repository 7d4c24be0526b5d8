//! A random walk over all state machines at once, by the names of their invariants: only what is
//! listed happens, what is refused leaves nothing behind, and what has come to an end is booked as
//! it is to be, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kernel::id::kinds::{Destination, Hold, Invoice, Payment, Refund, Unstaking, Withdrawal};
use kernel::{Id, Kind, Result};
use platform::db::{Read, Row};
use platform::params;
use platform::testing::TestDb;

use super::Dice;
use crate::Options;
use crate::ledger::Code;
use crate::payment::{self, NewCheckout, NewDeposit};
use crate::payout::{Fee, NewWithdrawal, Policy as Payouts, Source};
use crate::provider::ProviderName;
use crate::refund::NewRefund;
use crate::staking::{NewStake, Policy as Staking};
use crate::testing::{MIGRATIONS, Site, assert_sound, caller, footprint, give, keyed, ngn, user};

const ADMIN: u128 = 99;
/// The platform's share of a job here.
const FEE: i64 = 10;
const STEPS: usize = 160;
const HOUR: Duration = Duration::from_secs(3_600);
const RAILS: [ProviderName; 2] = [ProviderName::Paystack, ProviderName::Stripe];

/// Every step that there is, from one state of a table's rows to the next.
const LISTED: &[(&str, &[(&str, &str)])] = &[
    (
        "payments",
        &[
            ("created", "pending"),
            ("created", "failed"),
            ("created", "expired"),
            ("pending", "settled"),
            ("pending", "suspended"),
            ("pending", "failed"),
            ("pending", "expired"),
            ("failed", "settled"),
            ("failed", "suspended"),
            ("expired", "settled"),
            ("expired", "suspended"),
            // By an admin.
            ("suspended", "settled"),
        ],
    ),
    (
        "withdrawals",
        &[
            ("requested", "approved"),
            ("requested", "cancelled"),
            ("requested", "rejected"),
            ("approved", "submitting"),
            ("submitting", "submitted"),
            ("submitting", "settled"),
            ("submitting", "failed"),
            ("submitting", "unknown"),
            ("unknown", "submitted"),
            ("unknown", "settled"),
            ("unknown", "failed"),
            ("submitted", "settled"),
            ("submitted", "failed"),
            ("settled", "returned"),
        ],
    ),
    (
        "refunds",
        &[
            ("requested", "submitting"),
            ("submitting", "submitted"),
            ("submitting", "settled"),
            ("submitting", "failed"),
            ("submitting", "unknown"),
            ("unknown", "submitted"),
            ("unknown", "settled"),
            ("unknown", "failed"),
            ("submitted", "settled"),
            ("submitted", "failed"),
        ],
    ),
    ("unstakings", &[("cooling", "done"), ("cooling", "cancelled"), ("cooling", "slashed")]),
    ("ledger_hold", &[("open", "captured"), ("open", "released")]),
    ("chargebacks", &[("open", "lost"), ("open", "won"), ("lost", "won")]),
    ("invoices", &[("open", "paid"), ("open", "uncollectible")]),
    (
        "subscriptions",
        &[
            ("active", "past_due"),
            ("past_due", "suspended"),
            ("past_due", "active"),
            ("suspended", "active"),
        ],
    ),
];

/// Whether listed steps lead from one state to another.
fn leads(steps: &[(&str, &str)], from: &str, to: &str) -> bool {
    let mut reached = BTreeSet::from([from]);
    loop {
        let before = reached.len();
        for (a, b) in steps {
            if reached.contains(a) {
                reached.insert(b);
            }
        }
        if reached.len() == before {
            return reached.contains(to);
        }
    }
}

/// The state of every row, by its table and id.
type States = BTreeMap<(&'static str, uuid::Uuid), String>;

async fn states(t: &TestDb) -> States {
    let mut all = States::new();
    for (table, _) in LISTED {
        let sql = format!("SELECT id, state FROM {table}");
        let read = |row: &Row<'_>| Ok((row.take()?, row.take()?));
        let rows: Vec<(uuid::Uuid, String)> = t.db.all(&sql, &[], read).await.unwrap();
        all.extend(rows.into_iter().map(|(id, state)| ((*table, id), state)));
    }
    all
}

struct Walk<'a> {
    t: &'a TestDb,
    site: Site,
    dice: Dice,
    destination: Id<Destination>,
    states: States,
    /// Whether charge-backs are among what happens.
    disputed: bool,
    keys: u64,
    refused: usize,
}

impl<'a> Walk<'a> {
    async fn begin(t: &'a TestDb, seed: u64, disputed: bool) -> Self {
        let site = Site::opened(&t.db, |options| Options {
            payouts: Payouts {
                cooling: Duration::ZERO,
                per_day: i64::MAX.into(),
                fees: vec![(kernel::Asset::NGN, Fee { flat: 7, bps: 0 })],
                ..Payouts::default()
            },
            staking: Staking { minimum: 1, cooling: 5 * HOUR, ..Staking::default() },
            earning_window: 2 * HOUR,
            sandbox: None,
            paypal: None,
            crypto: None,
            ..options
        })
        .await;
        for rail in RAILS {
            site.sim.fund(rail, ngn(1_000_000_000));
        }
        give(&t.db, user(0), ngn(60_000)).await;
        let destination = super::destination(&site, user(0), 0).await;
        let (states, dice) = (states(t).await, Dice(seed));
        Self { t, site, dice, destination, states, disputed, keys: 0, refused: 0 }
    }

    /// Goes some steps, and lets everything come to an end.
    async fn go(&mut self, steps: usize) {
        for _ in 0..steps {
            let before = footprint(&self.t.db).await;
            let outcome = Box::pin(self.step()).await;
            let after = states(self.t).await;
            if let Err(error) = outcome {
                let refusals = [Kind::Conflict, Kind::Forbidden, Kind::NotFound, Kind::Invalid];
                assert!(refusals.contains(&error.kind()), "{error:?}");
                assert_eq!(after, self.states, "{error:?} moved something");
                assert_eq!(footprint(&self.t.db).await, before, "{error:?} left something");
                self.refused += 1;
            }
            self.compare(after);
        }
        for _ in 0..8 {
            self.settle_down().await;
        }
        assert_sound(&self.t.db).await;
    }

    /// Nothing has moved but along the list.
    fn compare(&mut self, after: States) {
        for (row, state) in &self.states {
            let now = after.get(row).map(String::as_str);
            let steps = LISTED.iter().find(|(table, _)| *table == row.0).unwrap().1;
            let is_listed = now.is_some_and(|now| leads(steps, state, now));
            assert!(is_listed, "{row:?} was {state} and is {now:?}");
        }
        self.states = after;
    }

    async fn settle_down(&mut self) {
        self.site.sim.deliver().await;
        self.site.worker.drain().await.unwrap();
        self.t.clock.advance(6 * HOUR);
        let context = &self.site.context;
        context.payments.sweep().await.unwrap();
        context.payouts.sweep().await.unwrap();
        context.refunds.sweep().await.unwrap();
        context.staking.finish_due().await.unwrap();
        context.wallet.release_due().await.unwrap();
        context.billing.collect_due().await.unwrap();
        let after = states(self.t).await;
        self.compare(after);
    }

    fn key(&mut self) -> kernel::Caller {
        self.keys += 1;
        keyed(user(0), &format!("k{}", self.keys), "")
    }

    fn any<K: kernel::id::Kind>(&mut self, table: &str) -> Id<K> {
        let ids: Vec<_> =
            self.states.keys().filter(|(of, _)| *of == table).map(|(_, id)| *id).collect();
        Id::from_uuid(self.dice.pick(&ids).unwrap_or_default())
    }

    /// One that is in a state, where there is one.
    fn one<K: kernel::id::Kind>(&mut self, table: &str, state: &str) -> Id<K> {
        let such = self.states.iter().filter(|((of, _), it)| *of == table && *it == state);
        let ids: Vec<_> = such.map(|((_, id), _)| *id).collect();
        self.dice.pick(&ids).map_or_else(|| self.any(table), Id::from_uuid)
    }

    /// One event; an error is a refusal.
    async fn step(&mut self) -> Result<()> {
        match self.dice.below(14) {
            0 => {
                self.settle_down().await;
                Ok(())
            }
            1..=4 => self.about_payments().await,
            5..=7 => self.about_withdrawals().await,
            8 | 9 => self.about_bonds().await,
            10 | 11 => self.about_holds().await,
            _ => self.about_bills().await,
        }
    }

    async fn about_payments(&mut self) -> Result<()> {
        let (by, id) = (self.key(), self.any::<Payment>("payments"));
        let reference = payment::reference(id);
        let (payments, sim) = (&self.site.context.payments, &self.site.sim);
        let (admin, reason) = (&caller(user(ADMIN)), "because".to_owned());
        match self.dice.below(if self.disputed { 14 } else { 11 }) {
            0 | 1 => {
                let provider = Some(RAILS[self.dice.below(2)]);
                let (amount, email) = (self.dice.amount(), Some("a@b.example".to_owned()));
                let new = NewDeposit { amount, provider, email, ..NewDeposit::default() };
                payments.deposit(&by, new).await.map(drop)
            }
            // What the simulator does not do with a payment in such a state is nothing.
            2..=4 => {
                sim.pay(&reference, None).ok();
                Ok(())
            }
            5 => {
                sim.pay(&reference, Some(ngn(self.dice.amount()))).ok();
                Ok(())
            }
            6 => {
                sim.decline(&reference).ok();
                Ok(())
            }
            7 => payments.verify(&caller(user(0)), &reference).await.map(drop),
            8 => payments.credit(admin, id, &reason).await.map(drop),
            9 | 10 => {
                let new = NewRefund { payment: id, amount: None, reason };
                self.site.context.refunds.request(admin, new).await.map(drop)
            }
            11 => {
                sim.dispute(&reference).ok();
                Ok(())
            }
            12 => {
                sim.decide_dispute(&reference, self.dice.one_in(2)).ok();
                Ok(())
            }
            _ => self.site.context.wallet.thaw_by(admin, user(0), &reason).await,
        }
    }

    async fn about_withdrawals(&mut self) -> Result<()> {
        let (by, id) = (self.key(), self.any::<Withdrawal>("withdrawals"));
        let sent = self.one::<Withdrawal>("withdrawals", "submitted");
        let (payouts, sim) = (&self.site.context.payouts, &self.site.sim);
        let name = |id: Id<Withdrawal>| id.to_string().replace('_', "-");
        let (owner, admin) = (&caller(user(0)), &caller(user(ADMIN)));
        match self.dice.below(9) {
            0..=2 => {
                let destination = self.destination;
                let (amount, source) = (self.dice.amount(), Source::Wallet);
                let new = NewWithdrawal { source, amount, currency: None, destination };
                payouts.withdraw(&by, new).await.map(drop)
            }
            3 => payouts.cancel(owner, id).await.map(drop),
            4 => payouts.approve(admin, id).await.map(drop),
            5 => payouts.reject(admin, id, "because").await.map(drop),
            6 => {
                sim.pay_out_at_once(self.dice.one_in(2));
                sim.settle_payout(&name(sent)).ok();
                Ok(())
            }
            7 => {
                sim.fail_payout(&name(sent)).ok();
                Ok(())
            }
            _ => {
                sim.return_payout(&name(id)).ok();
                Ok(())
            }
        }
    }

    async fn about_bonds(&mut self) -> Result<()> {
        let (by, amount) = (self.key(), 1_000);
        let id = self.one::<Unstaking>("unstakings", "cooling");
        let staking = &self.site.context.staking;
        match self.dice.below(4) {
            0 => {
                let new = NewStake { amount, currency: None, source: Source::Wallet };
                staking.stake(&by, new).await
            }
            1 | 2 => staking.unstake(&by, 300, None).await.map(drop),
            _ => staking.cancel(&caller(user(0)), id).await,
        }
    }

    async fn about_holds(&mut self) -> Result<()> {
        self.keys += 1;
        let (id, subject) = (self.any::<Hold>("ledger_hold"), &format!("job{}", self.keys));
        let (db, wallet, amount) = (&self.t.db, &self.site.context.wallet, self.dice.amount());
        // What is held for a charge-back is nobody's to decide about but the bank's.
        let sql = "SELECT 1 FROM ledger_hold WHERE id = $1 AND purpose = 'job'";
        let is_job = db.maybe(sql, params![id], |_| Ok(())).await.unwrap().is_some();
        match self.dice.below(4) {
            2 if is_job => {
                let capture =
                    |tx| async move { wallet.capture(&tx, id, user(1), ngn(FEE)).await.map(drop) };
                db.run("capture", capture).await
            }
            3 if is_job => {
                db.run("void", |tx| async move { wallet.release(&tx, id).await.map(drop) }).await
            }
            _ => {
                let (owner, amount) = (user(0), ngn(amount));
                let hold = |tx| async move {
                    wallet.hold(&tx, owner, amount, "job", subject).await.map(drop)
                };
                db.run("hold", hold).await
            }
        }
    }

    async fn about_bills(&mut self) -> Result<()> {
        let (by, id) = (self.key(), self.any::<Invoice>("invoices"));
        let context = &self.site.context;
        match self.dice.below(5) {
            0 => {
                let plan = ["team", "business"][self.dice.below(2)];
                context.billing.choose(&by, plan).await.map(drop)
            }
            1 => context.billing.pay(&caller(user(0)), id).await.map(drop),
            2 | 3 => {
                let provider = Some(RAILS[self.dice.below(2)]);
                let email = Some("a@b.example".to_owned());
                let new = NewCheckout { provider, email, ..NewCheckout::default() };
                context.payments.check_out(&by, id, new).await.map(drop)
            }
            _ => context.billing.renew_due().await,
        }
    }
}

/// One movement: the step of its thing, from where to where, and how much.
type Line = (String, String, String, i64);

fn line(step: &str, debit: Code, credit: Code, minor: i64) -> Line {
    (step.to_owned(), debit.as_str().to_owned(), credit.as_str().to_owned(), minor)
}

impl Walk<'_> {
    /// Everything that was booked about a thing, but what providers took for it.
    async fn booked(&self, subject: &str) -> Vec<Line> {
        let sql = "SELECT t.idem_key, d.code, c.code, p.amount FROM ledger_tx AS t
                   JOIN ledger_posting AS p ON p.tx_id = t.id
                   JOIN ledger_account AS d ON d.id = p.debit_account
                   JOIN ledger_account AS c ON c.id = p.credit_account
                   WHERE t.subject = $1 AND d.code <> 'ex.provider' ORDER BY t.id, p.seq";
        let read = |row: &Row<'_>| {
            let key: String = row.take()?;
            let step = key.rsplit(':').next().unwrap_or_default().to_owned();
            Ok((step, row.take()?, row.take()?, row.take()?))
        };
        self.t.db.all(sql, params![subject], read).await.unwrap()
    }

    /// Section 3.1: what came is in the wallet, or was set aside and then credited.
    async fn payments_are_booked(&self) -> BTreeSet<String> {
        let sql = "SELECT id, state, amount, provider FROM payments";
        let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?, row.take()?));
        let rows: Vec<(Id<Payment>, String, i64, ProviderName)> =
            self.t.db.all(sql, &[], read).await.unwrap();
        let mut ends = BTreeSet::new();
        for (id, state, amount, provider) in rows {
            let (clearing, aside) = (Code::clearing(provider), Code::suspense(provider));
            let booked = self.booked(&id.to_string()).await;
            let was_aside = booked.first().is_some_and(|(step, ..)| step == "suspense");
            let expected = match state.as_str() {
                "settled" if was_aside => vec![
                    line("suspense", clearing, aside, amount),
                    line("credit", aside, Code::WALLET, amount),
                ],
                "settled" => vec![line("settle", clearing, Code::WALLET, amount)],
                "suspended" => {
                    let came = booked.first().map_or(0, |(.., came)| *came);
                    assert!(came != 0 && came != amount, "{id} is set aside: {booked:?}");
                    vec![line("suspense", clearing, aside, came)]
                }
                _ => Vec::new(),
            };
            assert_eq!(booked, expected, "{id} is {state}");
            ends.insert(format!("payment {state}"));
        }
        ends
    }

    /// Section 3.3: with the fee, and back again whole.
    async fn withdrawals_are_booked(&self) -> BTreeSet<String> {
        let sql = "SELECT id, state, amount, fee FROM withdrawals";
        let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?, row.take()?));
        let rows: Vec<(Id<Withdrawal>, String, i64, i64)> =
            self.t.db.all(sql, &[], read).await.unwrap();
        let (own, aside, clearing) = (Code::WALLET, Code::WITHDRAW, Code::CLEARING_PAYSTACK);
        let mut ends = BTreeSet::new();
        for (id, state, amount, fee) in rows {
            let back = |step| vec![line(step, aside, own, amount), line(step, aside, own, fee)];
            let paid = || {
                let income = line("settle", aside, Code::FEE_WITHDRAW, fee);
                vec![line("settle", aside, clearing, amount), income]
            };
            let mut expected = vec![line("req", own, aside, amount), line("req", own, aside, fee)];
            match state.as_str() {
                "cancelled" | "rejected" => expected.extend(back("cancel")),
                "failed" => expected.extend(back("fail")),
                "settled" => expected.extend(paid()),
                "returned" => {
                    expected.extend(paid());
                    expected.push(line("return", clearing, own, amount));
                    expected.push(line("return", Code::FEE_WITHDRAW, own, fee));
                }
                _ => {}
            }
            assert_eq!(self.booked(&id.to_string()).await, expected, "{id} is {state}");
            ends.insert(format!("withdrawal {state}"));
        }
        ends
    }

    /// Section 3.2: out of the wallet or of what was set aside, and gone or back.
    async fn refunds_are_booked(&self) -> BTreeSet<String> {
        let sql = "SELECT id, state, amount, source, provider FROM refunds";
        let read =
            |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?, row.take()?, row.take()?));
        let rows: Vec<(Id<Refund>, String, i64, String, ProviderName)> =
            self.t.db.all(sql, &[], read).await.unwrap();
        let mut ends = BTreeSet::new();
        for (id, state, amount, source, provider) in rows {
            let own = if source == "wallet" { Code::WALLET } else { Code::suspense(provider) };
            let mut expected = vec![line("req", own, Code::REFUND, amount)];
            match state.as_str() {
                "settled" => {
                    expected.push(line("settle", Code::REFUND, Code::clearing(provider), amount));
                }
                "failed" => expected.push(line("fail", Code::REFUND, own, amount)),
                _ => {}
            }
            assert_eq!(self.booked(&id.to_string()).await, expected, "{id} is {state}");
            ends.insert(format!("refund {state}"));
        }
        ends
    }

    /// Sections 3.4 and 3.6: jobs, and what cools down.
    async fn holds_and_bonds_are_booked(&self) -> BTreeSet<String> {
        let mut ends = BTreeSet::new();
        let sql = "SELECT subject, state, amount, earning FROM ledger_hold WHERE purpose = 'job'";
        let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?, row.take()?));
        let rows: Vec<(String, String, i64, String)> = self.t.db.all(sql, &[], read).await.unwrap();
        for (subject, state, amount, earning) in rows {
            let mut expected = vec![line("hold", Code::WALLET, Code::HELD, amount)];
            match state.as_str() {
                "captured" => {
                    let net = amount - FEE;
                    expected.push(line("capture", Code::HELD, Code::EARN_PENDING, net));
                    expected.push(line("capture", Code::HELD, Code::FEE_JOB, FEE));
                    if earning == "released" {
                        expected.push(line("release", Code::EARN_PENDING, Code::EARN, net));
                    }
                }
                "released" => expected.push(line("void", Code::HELD, Code::WALLET, amount)),
                _ => {}
            }
            assert_eq!(self.booked(&subject).await, expected, "{subject} is {state}");
            ends.insert(format!("hold {state}"));
        }
        let sql = "SELECT id, state, amount FROM unstakings";
        let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?));
        let rows: Vec<(Id<Unstaking>, String, i64)> = self.t.db.all(sql, &[], read).await.unwrap();
        for (id, state, amount) in rows {
            let mut expected = vec![line("start", Code::STAKE, Code::UNSTAKE, amount)];
            match state.as_str() {
                "done" => expected.push(line("finish", Code::UNSTAKE, Code::EARN, amount)),
                "cancelled" => expected.push(line("cancel", Code::UNSTAKE, Code::STAKE, amount)),
                _ => {}
            }
            assert_eq!(self.booked(&id.to_string()).await, expected, "{id} is {state}");
            ends.insert(format!("unstaking {state}"));
        }
        ends
    }

    /// Section 3.7: what was asked for is credited, paid, or still to be paid.
    async fn invoices_are_booked(&self) -> BTreeSet<String> {
        let sql = "SELECT id, state, net + tax FROM invoices";
        let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?));
        let rows: Vec<(Id<Invoice>, String, i64)> = self.t.db.all(sql, &[], read).await.unwrap();
        let receivable = Code::RECEIVABLE_INVOICE.as_str();
        let mut ends = BTreeSet::new();
        for (id, state, total) in rows {
            let booked = self.booked(&id.to_string()).await;
            let sum = |steps: &[&str]| -> i64 {
                let lines = booked.iter().filter(|(step, ..)| steps.contains(&step.as_str()));
                let signed = lines.map(|(_, debit, credit, minor)| {
                    minor * (i64::from(debit == receivable) - i64::from(credit == receivable))
                });
                signed.sum()
            };
            assert_eq!(sum(&["final"]), total, "{id}: {booked:?}");
            let left = sum(&["final", "credit", "pay"]);
            let pays = booked.iter().filter(|(step, ..)| step == "pay").count();
            match state.as_str() {
                "paid" => {
                    // What was credited whole before anybody paid it is over without a payment.
                    let is_paid = usize::from(sum(&["final", "credit"]) > 0);
                    assert_eq!((left, pays), (0, is_paid), "{id}: {booked:?}");
                }
                _ => assert!(left > 0 && pays == 0, "{id}: {booked:?}"),
            }
            ends.insert(format!("invoice {state}"));
        }
        ends
    }
}

platform::on_both_engines! { MIGRATIONS;

async fn s1_a_random_walk_takes_listed_steps_only_and_a_refusal_leaves_nothing(t: &TestDb) {
    let mut walk = Box::pin(Walk::begin(t, 11, true)).await;
    Box::pin(walk.go(platform::testing::scaled(2 * STEPS))).await;
    assert!(walk.refused > STEPS / 10, "{} refusals", walk.refused);
    for (table, _) in LISTED {
        let is_met = walk.states.keys().any(|(met, _)| met == table);
        assert!(is_met, "nothing has happened to {table}");
    }
}

async fn s2_every_end_is_booked_as_listed_and_no_more(t: &TestDb) {
    let mut walk = Box::pin(Walk::begin(t, 5, false)).await;
    Box::pin(walk.go(platform::testing::scaled(2 * STEPS))).await;
    let mut ends = walk.payments_are_booked().await;
    ends.extend(walk.withdrawals_are_booked().await);
    ends.extend(walk.refunds_are_booked().await);
    ends.extend(walk.holds_and_bonds_are_booked().await);
    ends.extend(walk.invoices_are_booked().await);
    for end in [
        "payment settled",
        "payment suspended",
        "payment failed",
        "payment expired",
        "withdrawal cancelled",
        "withdrawal rejected",
        "withdrawal failed",
        "withdrawal settled",
        "withdrawal returned",
        "refund settled",
        "hold captured",
        "hold released",
        "unstaking done",
        "unstaking cancelled",
        "invoice paid",
    ] {
        assert!(ends.contains(end), "nothing came to be {end}: {ends:?}");
    }
}

}
