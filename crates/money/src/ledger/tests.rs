//! The ledger's invariants, by their names.

use std::collections::HashMap;
use std::time::Duration;

use kernel::id::kinds::{Transaction, User};
use kernel::{Asset, Caller, Id, Kind, Money, PageRequest, Result};
use platform::db::{Db, Read, Value};
use platform::params;
use platform::testing::TestDb;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::chart::OTHER_SPREAD;
use super::{
    Account, Code, NewTransaction, Posted, balance_at, check, post, reverse, seal, statement,
};
use crate::testing::{
    MIGRATIONS, Op, Play, assert_sound, balance, facts, footprint, give, ngn, user,
};

fn wallet(number: u128) -> Account {
    Account::of(user(number), Code::WALLET)
}

fn payment(key: &str, from: u128, to: u128, minor: i64) -> NewTransaction {
    NewTransaction::new("payment", key.to_owned(), "test").post(
        wallet(from),
        wallet(to),
        ngn(minor),
    )
}

async fn posted(db: &Db, new: &NewTransaction) -> Result<Posted> {
    db.run("post", |tx| async move { post(&tx, new.clone()).await }).await
}

const USERS: usize = 4;

fn op() -> impl Strategy<Value = Op> {
    let user = 0..USERS;
    let minor = 1_i64..500;
    prop_oneof![
        3 => (user.clone(), minor.clone()).prop_map(|(to, minor)| Op::Give { to, minor }),
        4 => (user.clone(), user.clone(), minor.clone())
            .prop_map(|(from, to, minor)| Op::Send { from, to, minor }),
        3 => (user.clone(), minor).prop_map(|(of, minor)| Op::Hold { of, minor }),
        2 => (0..8_usize, user, 0..=10_000_u16)
            .prop_map(|(hold, payee, bps)| Op::Capture { hold, payee, bps }),
        2 => (0..8_usize).prop_map(|hold| Op::Release { hold }),
        1 => (0..8_usize).prop_map(|gift| Op::Reverse { gift }),
    ]
}

/// The same rules over plain numbers.
#[derive(Default)]
struct Model {
    wallet: [i64; USERS],
    held: [i64; USERS],
    pending: [i64; USERS],
    fees: i64,
    holds: Vec<(usize, i64, bool)>,
    gifts: Vec<(usize, i64, bool)>,
}

impl Model {
    /// Whether the operation is allowed; if so, does it.
    fn step(&mut self, op: &Op) -> bool {
        match *op {
            Op::Give { to, minor } => {
                self.wallet[to] += minor;
                self.gifts.push((to, minor, true));
            }
            Op::Send { from, to, minor } => {
                let is_known = self.gifts.iter().any(|gift| gift.0 == to) || self.wallet[to] > 0;
                if from == to || self.wallet[from] < minor || !is_known {
                    return false;
                }
                self.wallet[from] -= minor;
                self.wallet[to] += minor;
            }
            Op::Hold { of, minor } => {
                if self.wallet[of] < minor {
                    return false;
                }
                self.wallet[of] -= minor;
                self.held[of] += minor;
                self.holds.push((of, minor, true));
            }
            Op::Capture { hold, payee, bps } => {
                let Some((of, minor, open)) = self.holds.get_mut(hold) else { return true };
                if !std::mem::take(open) {
                    return false;
                }
                let fee = *minor * i64::from(bps) / 10_000;
                self.held[*of] -= *minor;
                self.pending[payee] += *minor - fee;
                self.fees += fee;
            }
            Op::Release { hold } => {
                let Some((of, minor, open)) = self.holds.get_mut(hold) else { return true };
                if !std::mem::take(open) {
                    return false;
                }
                self.held[*of] -= *minor;
                self.wallet[*of] += *minor;
            }
            Op::Reverse { gift } => {
                let Some((to, minor, open)) = self.gifts.get_mut(gift) else { return true };
                if !*open || self.wallet[*to] < *minor {
                    return false;
                }
                *open = false;
                self.wallet[*to] -= *minor;
            }
        }
        true
    }
}

async fn follows_the_model(db: &Db, case: u128, ops: &[Op]) {
    let users: Vec<Id<User>> = (0..USERS as u128).map(|n| user(case * 1_000 + n)).collect();
    let fees = || async {
        let account = Account::platform(Code::FEE_JOB);
        super::balance(db, account, Asset::NGN).await.unwrap().minor
    };
    let fees_before = fees().await;
    let mut play = Play::new(db, users);
    let mut model = Model::default();
    for op in ops {
        let before = footprint(db).await;
        let outcome = play.step(op).await;
        assert_eq!(outcome.is_ok(), model.step(op), "{op:?}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(matches!(error.kind(), Kind::Conflict | Kind::Invalid), "{error:?}");
            assert_eq!(footprint(db).await, before, "a refusal left something behind");
        }
        assert_sound(db).await;
    }
    for (number, user) in play.users.iter().enumerate() {
        let of = |code| balance(db, *user, code);
        assert_eq!(of(Code::WALLET).await, model.wallet[number]);
        assert_eq!(of(Code::HELD).await, model.held[number]);
        assert_eq!(of(Code::EARN_PENDING).await, model.pending[number]);
    }
    assert_eq!(fees().await - fees_before, model.fees);
}

platform::on_both_engines! { MIGRATIONS;

async fn l1_l2_l4_h1_hold_after_every_operation_of_any_history(t: &TestDb) {
    let cases = std::cell::Cell::new(0);
    let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
    let histories = proptest::collection::vec(op(), 1..30);
    TestRunner::new(config)
        .run(&histories, |ops| {
            let case = cases.get() + 1;
            cases.set(case);
            tokio::task::block_in_place(|| {
                let runtime = tokio::runtime::Handle::current();
                runtime.block_on(follows_the_model(&t.db, case, &ops));
            });
            Ok(())
        })
        .unwrap();
}

async fn l3_guarded_accounts_never_go_below_zero_under_racing_spenders(t: &TestDb) {
    give(&t.db, user(0), ngn(1_050)).await;
    let spends = (0..32).map(|n| {
        let db = t.db.clone();
        tokio::spawn(async move { posted(&db, &payment(&format!("p{n}"), 0, n + 1, 100)).await })
    });
    let mut done = 0;
    for spend in futures_util::future::join_all(spends).await {
        match spend.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.code(), "insufficient_funds"),
        }
    }
    assert_eq!(done, 10);
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 50);
    assert_sound(&t.db).await;
}

async fn l5_what_is_booked_cannot_be_changed_or_deleted(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    for statement in [
        "UPDATE ledger_tx SET kind = 'theft'",
        "UPDATE ledger_posting SET amount = 1",
        "UPDATE ledger_entry SET delta = 1",
        "UPDATE ledger_account SET guard = FALSE",
        "DELETE FROM ledger_tx",
        "DELETE FROM ledger_posting",
        "DELETE FROM ledger_entry",
        "DELETE FROM ledger_account",
    ] {
        let attempt = |tx: platform::db::Tx| async move { Ok(tx.execute(statement, &[]).await?) };
        let error = t.db.run("tamper", attempt).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{statement}: {error}");
    }
    assert_sound(&t.db).await;
}

async fn l6_a_rejected_operation_leaves_every_table_as_it_was(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    let before = footprint(&t.db).await;
    let two = payment("two", 0, 1, 60).post(wallet(0), wallet(2), ngn(60));
    let outcome = t
        .db
        .run("post", |tx| {
            let two = two.clone();
            async move {
                tx.record(platform::journal::Fact::by(&Caller::nobody(), "thing.happened"));
                post(&tx, two).await
            }
        })
        .await;
    assert_eq!(outcome.unwrap_err().code(), "insufficient_funds");
    assert_eq!(footprint(&t.db).await, before);
}

async fn l7_one_key_is_one_transaction_and_another_content_a_conflict(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    let first = posted(&t.db, &payment("k", 0, 1, 10)).await.unwrap();
    let before = footprint(&t.db).await;
    let again = posted(&t.db, &payment("k", 0, 1, 10)).await.unwrap();
    assert_eq!((again.id, first.is_new, again.is_new), (first.id, true, false));
    for other in [payment("k", 0, 1, 11), payment("k", 0, 2, 10), payment("k", 1, 0, 10)] {
        let error = posted(&t.db, &other).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Conflict, "transaction_differs"));
    }
    assert_eq!(footprint(&t.db).await, before);
}

async fn l8_one_hundred_identical_submissions_post_once(t: &TestDb) {
    give(&t.db, user(0), ngn(1_000)).await;
    let submissions = (0..100).map(|_| {
        let db = t.db.clone();
        tokio::spawn(async move { posted(&db, &payment("same", 0, 1, 10)).await.unwrap() })
    });
    let done = futures_util::future::join_all(submissions).await;
    let done: Vec<Posted> = done.into_iter().map(|done| done.unwrap()).collect();
    assert!(done.iter().all(|posted| posted.id == done[0].id));
    assert_eq!(done.iter().filter(|posted| posted.is_new).count(), 1);
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 10);
    assert_sound(&t.db).await;
}

async fn l9_a_reversal_restores_all_balances_and_happens_once(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    let balances = || async {
        (balance(&t.db, user(0), Code::WALLET).await, balance(&t.db, user(1), Code::WALLET).await)
    };
    let before = balances().await;
    let paid = posted(&t.db, &payment("p", 0, 1, 30)).await.unwrap().id;
    let take_back = |id: Id<Transaction>| async move {
        let nobody = &Caller::nobody();
        t.db.run("reverse", |tx| async move { reverse(&tx, nobody, id, "wrong").await }).await
    };
    let reversal = take_back(paid).await.unwrap().id;
    assert_eq!(balances().await, before);
    assert_eq!(take_back(paid).await.unwrap_err().code(), "already_reversed");
    assert_eq!(take_back(reversal).await.unwrap_err().code(), "is_reversal");
    assert_eq!(take_back(t.db.world().id()).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(balances().await, before);
    assert_eq!(facts(&t.db, "transaction.reversed").await, 1);
    assert_sound(&t.db).await;
}

async fn l10_the_balance_at_a_time_is_the_replay_up_to_it(t: &TestDb) {
    let mut history = Vec::new();
    let mut standing = 0;
    for step in 0..40_i64 {
        // Several at one instant, and instants at which nothing happens.
        if step % 3 != 0 {
            t.clock.advance(Duration::from_secs(1));
        }
        let amount = 1 + step * 7 % 13;
        give(&t.db, user(0), ngn(amount)).await;
        standing += amount;
        history.push((t.db.world().now(), standing));
    }
    let at = |at| balance_at(&t.db, wallet(0), Asset::NGN, at);
    let clearing = Account::platform(Code::CLEARING_SANDBOX);
    for (time, _) in &history {
        let (_, expected) = history.iter().rfind(|(other, _)| other <= time).unwrap();
        assert_eq!(at(*time).await.unwrap().minor, *expected);
        let sharded = balance_at(&t.db, clearing, Asset::NGN, *time).await.unwrap();
        assert_eq!(sharded.minor, *expected);
    }
    let start = history[0].0;
    assert_eq!(at(start - Duration::from_micros(1)).await.unwrap().minor, 0);
    assert_eq!(at(start + Duration::from_secs(3600)).await.unwrap().minor, standing);
}

async fn l11_random_transactions_over_few_accounts_all_end(t: &TestDb) {
    for number in 0..10 {
        give(&t.db, user(number), ngn(1_000_000)).await;
    }
    let writers = (0..16_u128).map(|writer| {
        let db = t.db.clone();
        tokio::spawn(async move {
            // Four hundred in all, or ten thousand at 25 times the scale.
            for turn in 0..platform::testing::scaled(25) as u128 {
                let mut new = NewTransaction::new("mix", format!("{writer}/{turn}"), "test");
                for leg in 0..4_u128 {
                    let from = (writer * 7 + turn * 3 + leg * 5) % 10;
                    let to = (from + 1 + (writer + turn + leg) % 9) % 10;
                    new = new.post(wallet(from), wallet(to), ngn(1 + leg as i64));
                }
                posted(&db, &new).await.unwrap();
            }
        })
    });
    for writer in futures_util::future::join_all(writers).await {
        writer.unwrap();
    }
    assert_sound(&t.db).await;
}

async fn l12_impossible_amounts_are_refused_before_anything_is_written(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    let before = footprint(&t.db).await;
    for minor in [0, -1, i64::MIN, Money::MAX_MINOR + 1, i64::MAX] {
        let error = posted(&t.db, &payment("k", 0, 1, minor)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{minor}");
    }
    let to_itself = payment("k", 0, 0, 1);
    assert!(posted(&t.db, &to_itself).await.is_err());
    let empty = NewTransaction::new("nothing", "k".into(), "test");
    assert!(posted(&t.db, &empty).await.is_err());
    assert_eq!(footprint(&t.db).await, before);
}

async fn l12_a_balance_that_does_not_fit_is_an_error_and_never_wraps(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    let grow = |tx: platform::db::Tx| async move {
        let sql = "UPDATE ledger_balance SET credits = 9223372036854775807 WHERE side = 'C'";
        Ok(tx.execute(sql, &[]).await?)
    };
    t.db.run("grow", grow).await.unwrap();
    let error = posted(&t.db, &NewTransaction::new("gift", "k".into(), "test").post(
        Account::platform(Code::CLEARING_SANDBOX), wallet(0), ngn(1),
    )).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    let sql = "SELECT credits FROM ledger_balance WHERE side = 'C'";
    let credits: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(credits, i64::MAX);
}

async fn a_tampered_balance_is_found_by_the_check(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    let tamper = |tx: platform::db::Tx| async move {
        let sql = "UPDATE ledger_balance SET credits = credits + 1 WHERE side = 'C'";
        Ok(tx.execute(sql, &[]).await?)
    };
    t.db.run("tamper", tamper).await.unwrap();
    let report = check(&t.db).await.unwrap();
    let broken: Vec<_> =
        report.checks.iter().filter(|c| !c.violations.is_empty()).map(|c| c.name).collect();
    assert_eq!(broken, ["L1", "L2", "L4.last"]);
}

async fn c1_c2_what_is_sealed_is_changed_by_nobody_unnoticed(t: &TestDb) {
    let broken = async || {
        let report = check(&t.db).await.unwrap();
        let broken = report.checks.into_iter().filter(|check| !check.violations.is_empty());
        broken.map(|check| check.name).collect::<Vec<_>>()
    };
    assert_eq!(seal(&t.db).await.unwrap(), None, "nothing was booked");
    let first = give(&t.db, user(0), ngn(100)).await;
    assert_eq!(seal(&t.db).await.unwrap(), None, "nothing has settled");
    for number in 1..=3_i64 {
        t.clock.advance(Duration::from_secs(3600));
        let sealed = seal(&t.db).await.unwrap().unwrap();
        assert_eq!((sealed.number, sealed.transactions), (number, 1));
        assert_eq!(seal(&t.db).await.unwrap(), None);
        give(&t.db, user(0), ngn(number)).await;
    }
    assert_eq!(crate::testing::facts(&t.db, "ledger.sealed").await, 3);
    assert_sound(&t.db).await;
    let execute = async |sql: &str, row: &[Value<'_>]| {
        t.db.run("tamper", |tx| async move { Ok(tx.execute(sql, row).await?) }).await.unwrap()
    };
    // A transaction that was never booked, where it was long sealed: of this key there was none.
    let late = Id::<Transaction>::from_uuid(uuid::Uuid::from_u128(
        first.uuid().as_u128() + 1,
    ));
    let sql = "INSERT INTO ledger_tx SELECT $1, kind, 'stolen', content_hash, subject, reverses,
                   meta, recorded_at FROM ledger_tx WHERE id = $2";
    execute(sql, params![late, first]).await;
    assert_eq!(broken().await, ["C1", "C2"]);
    let sql = "INSERT INTO ledger_posting SELECT $1, seq, debit_account, credit_account, asset,
                   amount FROM ledger_posting WHERE tx_id = $2";
    execute(sql, params![late, first]).await;
    // Whole as any other, and yet the seal knows it was not there.
    assert_eq!(broken().await, ["L2", "C2"]);
}

async fn a_statement_pages_through_all_currencies_without_gap_or_repeat(t: &TestDb) {
    for step in 0..30_i64 {
        // Several entries share an instant, within an account and across accounts.
        if step % 4 == 0 {
            t.clock.advance(Duration::from_secs(1));
        }
        let asset = [Asset::NGN, Asset::USD, Asset::EUR][usize::try_from(step % 3).unwrap()];
        give(&t.db, user(0), Money::new(step + 1, asset)).await;
    }
    give(&t.db, user(1), ngn(1)).await;
    for limit in [1, 4, 7, 100] {
        let mut page = PageRequest::first(limit);
        let mut seen = Vec::new();
        loop {
            let part = statement(&t.db, user(0), Code::WALLET, None, &page).await.unwrap();
            seen.extend(part.items);
            page.after = part.next;
            if page.after.is_none() {
                break;
            }
        }
        let amounts: std::collections::HashSet<i64> =
            seen.iter().map(|entry| entry.delta.minor).collect();
        assert_eq!((seen.len(), amounts.len()), (30, 30), "limit {limit}");
        assert!(seen.is_sorted_by(|a, b| a.recorded_at >= b.recorded_at));
    }
    let numbered = PageRequest { offset: 20, ..PageRequest::first(20) };
    let last = statement(&t.db, user(0), Code::WALLET, None, &numbered).await.unwrap();
    assert_eq!((last.items.len(), last.next), (10, None));
    let all = PageRequest::first(100);
    let dollars = statement(&t.db, user(0), Code::WALLET, Some(Asset::USD), &all).await.unwrap();
    assert_eq!(dollars.items.len(), 10);
}

async fn l15_however_many_rows_an_account_is_spread_over_its_total_is_the_same(t: &TestDb) {
    let clearing = Account::platform(Code::CLEARING_SANDBOX);
    let mut total = 0;
    for minor in 1..=60_i64 {
        give(&t.db, user(0), ngn(minor)).await;
        total += minor;
    }
    let rows = "SELECT CAST(COUNT(*) AS BIGINT) FROM ledger_balance WHERE account_id = $1";
    for (account, most) in [(clearing, 8), (wallet(0), 1)] {
        let id = account.id(Asset::NGN);
        let spread: i64 = t.db.one(rows, params![id], |row| row.take()).await.unwrap();
        assert!((1..=most).contains(&spread) && (most == 1 || spread > 4), "{spread} of {most}");
        let balance = crate::ledger::balance(&t.db, account, Asset::NGN).await.unwrap();
        assert_eq!(balance, ngn(total));
    }
    assert_sound(&t.db).await;
}

async fn l15_one_eight_and_thirty_two_rows_give_the_same_totals(t: &TestDb) {
    let clearing = Account::platform(Code::CLEARING_SANDBOX);
    let rows = "SELECT CAST(COUNT(*) AS BIGINT) FROM ledger_balance WHERE account_id = $1";
    let begun = t.db.world().now();
    let mut ends = Vec::new();
    for (spread, asset) in [(1, Asset::USD), (8, Asset::EUR), (32, Asset::GBP)] {
        let history = async {
            for round in 0..8_i64 {
                let gifts = (0..20).map(|turn| {
                    let amount = Money::new(round * 20 + turn + 1, asset);
                    give(&t.db, user((turn % 3).try_into().unwrap()), amount)
                });
                futures_util::future::join_all(gifts).await;
            }
            let id = clearing.id(asset);
            let spread_over: i64 = t.db.one(rows, params![id], |row| row.take()).await.unwrap();
            assert!(spread_over <= i64::from(spread), "{spread_over} rows of {spread}");
            assert!(spread_over * 2 > i64::from(spread), "{spread_over} rows of {spread}");
            let total = crate::ledger::balance(&t.db, clearing, asset).await.unwrap();
            let now = balance_at(&t.db, clearing, asset, t.db.world().now()).await.unwrap();
            assert_eq!(now, total);
            let before = kernel::Timestamp::from_micros(begun.micros() - 1);
            let none = balance_at(&t.db, clearing, asset, before).await.unwrap();
            assert_eq!(none.minor, 0);
            let mut own = Vec::new();
            for owner in 0..3 {
                own.push(crate::ledger::balance(&t.db, wallet(owner), asset).await.unwrap().minor);
            }
            (total.minor, own)
        };
        ends.push(OTHER_SPREAD.scope(spread, history).await);
    }
    assert_eq!((ends[0].0, &ends[0]), (160 * 161 / 2, &ends[1]));
    assert_eq!(ends[1], ends[2]);
    assert_sound(&t.db).await;
}

async fn l12_two_currencies_in_one_transaction_are_refused_before_anything_is_written(t: &TestDb) {
    give(&t.db, user(0), ngn(1_000)).await;
    give(&t.db, user(0), Money::new(1_000, Asset::USD)).await;
    let before = footprint(&t.db).await;
    let mixed = payment("mixed", 0, 1, 10).post(wallet(0), wallet(1), Money::new(10, Asset::USD));
    assert_eq!(posted(&t.db, &mixed).await.unwrap_err().kind(), Kind::Internal);
    assert_eq!(footprint(&t.db).await, before);
    // A fee in another currency than the price is no fee of it.
    let wallet = crate::testing::context(&t.db).wallet;
    let captured = t.db.run("capture", |tx| {
        let wallet = wallet.clone();
        async move {
            let hold = wallet.hold(&tx, user(0), ngn(100), "job", "mixed").await?;
            wallet.capture(&tx, hold, user(1), Money::new(1, Asset::USD)).await
        }
    });
    assert_eq!(captured.await.unwrap_err().kind(), Kind::Internal);
    assert_eq!(footprint(&t.db).await, before);
}

async fn an_entry_names_the_other_side(t: &TestDb) {
    give(&t.db, user(0), ngn(100)).await;
    posted(&t.db, &payment("p", 0, 1, 30)).await.unwrap();
    let page = PageRequest::first(10);
    let lines = statement(&t.db, user(0), Code::WALLET, None, &page).await.unwrap().items;
    let line = &lines[0];
    assert_eq!((line.delta, line.balance_after), (ngn(-30), ngn(70)));
    assert_eq!((line.other_owner, line.version), (Some(user(1)), 2));
    assert_eq!((lines[1].other_owner, lines[1].other_code), (None, Code::CLEARING_SANDBOX));
}

}

/// The books of a store, in words that do not depend on its engine.
async fn books(db: &Db) -> Vec<String> {
    let lines = db.all(
        "SELECT a.code, a.owner, a.asset, e.shard, e.version, e.delta, e.balance_after, t.kind,
                t.idem_key, e.recorded_at
         FROM ledger_entry AS e JOIN ledger_account AS a ON a.id = e.account_id
         JOIN ledger_tx AS t ON t.id = e.tx_id
         ORDER BY a.id, e.shard, e.version",
        &[],
        |row| {
            let (code, owner, asset): (String, uuid::Uuid, String) =
                (row.take()?, row.take()?, row.take()?);
            let numbers: [i64; 4] = [row.take()?, row.take()?, row.take()?, row.take()?];
            let (kind, key, at): (String, String, i64) = (row.take()?, row.take()?, row.take()?);
            Ok(format!("{code} {owner} {asset} {numbers:?} {kind} {key} {at}"))
        },
    );
    let mut books = lines.await.unwrap();
    let trial = super::trial_balance(db).await.unwrap();
    books.extend(trial.iter().map(|line| format!("{line:?}")));
    books
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l14_both_engines_keep_the_same_books_of_one_history() {
    let (sqlite, postgres) = (TestDb::sqlite(MIGRATIONS).await, TestDb::postgres(MIGRATIONS).await);
    let mut dice: u64 = 42;
    let mut roll = |sides: u64| {
        // Knuth's MMIX generator: any history will do, as long as both get the same.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((dice >> 33) % sides).unwrap()
    };
    let users = || (0..USERS as u128).map(user).collect();
    let mut plays = [Play::new(&sqlite.db, users()), Play::new(&postgres.db, users())];
    let mut outcomes: HashMap<bool, usize> = HashMap::new();
    for _ in 0..150 {
        let minor = 1 + roll(400) as i64;
        let op = match roll(12) {
            0..3 => Op::Give { to: roll(4), minor },
            3..6 => Op::Send { from: roll(4), to: roll(4), minor },
            6..9 => Op::Hold { of: roll(4), minor },
            9 => Op::Capture { hold: roll(30), payee: roll(4), bps: roll(10_001) as u16 },
            10 => Op::Release { hold: roll(30) },
            _ => Op::Reverse { gift: roll(10) },
        };
        for test in [&sqlite, &postgres] {
            test.clock.advance(Duration::from_millis(10));
        }
        let [a, b] = &mut plays;
        let told = |outcome: Result<()>| outcome.map_err(|error| error.code().to_owned());
        let (a, b) = (told(a.step(&op).await), told(b.step(&op).await));
        assert_eq!(a, b, "{op:?}");
        *outcomes.entry(a.is_ok()).or_default() += 1;
    }
    assert!(outcomes[&true] > 50 && outcomes[&false] > 10, "a history of both: {outcomes:?}");
    pretty_assert_same(&books(&sqlite.db).await, &books(&postgres.db).await);
    drop(plays);
    sqlite.finish().await;
    postgres.finish().await;
}

fn pretty_assert_same(a: &[String], b: &[String]) {
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a, b);
    }
    assert_eq!(a.len(), b.len());
}

#[test]
fn an_account_is_named_by_code_owner_and_asset() {
    let mut ids = std::collections::HashSet::new();
    for code in Code::ALL {
        for asset in Asset::ALL {
            ids.insert(Account::platform(*code).id(*asset));
            ids.insert(Account::of(user(0), *code).id(*asset));
            ids.insert(Account::of(user(1), *code).id(*asset));
        }
    }
    assert_eq!(ids.len(), Code::ALL.len() * Asset::ALL.len() * 3);
}

#[test]
fn the_chart_of_accounts_is_as_it_was() {
    let lines: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let guard = if code.is_guarded() { "guarded" } else { "free" };
            format!("{:22} {:6?} {guard:8} {}", code.as_str(), code.side(), code.name())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// The names of all tests below a folder.
fn tests_in(folder: &std::path::Path, names: &mut std::collections::HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, names);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let after = text.split("fn ").skip(1);
            names.extend(after.filter_map(|it| Some(it.split_once('(')?.0.to_owned())));
        }
    }
}

#[test]
fn the_guide_names_tests_that_there_are_for_every_invariant() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = std::collections::HashSet::new();
    tests_in(&here.join("src"), &mut names);
    tests_in(&here.join("../gateway/src"), &mut names);
    let guide = std::fs::read_to_string(here.join("../../docs/guide/money-invariants.md")).unwrap();
    let rows = guide.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |"));
    let mut proven = 0;
    for row in rows {
        let mut cited = row.split('`').skip(1).step_by(2).peekable();
        assert!(cited.peek().is_some(), "nothing proves {row}");
        for name in cited {
            assert!(names.contains(name), "there is no test {name}");
        }
        proven += 1;
    }
    assert!(proven >= 45, "{proven} rows");
}
