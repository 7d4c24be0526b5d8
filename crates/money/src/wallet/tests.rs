//! Wallets and escrow, by the names of their invariants.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use kernel::id::kinds::{Hold, User};
use kernel::{Asset, Id, Kind, Money, Result};
use platform::db::Db;
use serde_json::json;

use super::{Captured, NewTransfer, Payees, Service};
use crate::ledger::{self, Account, Code};
use crate::testing::{
    MIGRATIONS, Site, assert_sound, balance, caller, context, facts, footprint, give, keyed, ngn,
    user,
};
use crate::{Context, Options};

async fn hold(db: &Db, wallet: &Service, of: Id<User>, minor: i64, on: &str) -> Result<Id<Hold>> {
    db.run("hold", |tx| async move { wallet.hold(&tx, of, ngn(minor), "job", on).await }).await
}

async fn capture(
    db: &Db,
    wallet: &Service,
    hold: Id<Hold>,
    payee: Id<User>,
    fee: i64,
) -> Result<Captured> {
    let work = |tx| async move { wallet.capture(&tx, hold, payee, ngn(fee)).await };
    db.run("capture", work).await
}

async fn release(db: &Db, wallet: &Service, hold: Id<Hold>) -> Result<Money> {
    db.run("release", |tx| async move { wallet.release(&tx, hold).await }).await
}

fn to(number: u128, minor: i64) -> NewTransfer {
    NewTransfer { to: user(number), amount: ngn(minor) }
}

/// Everybody but user 9.
struct AllButNine;

impl Payees for AllButNine {
    fn may_receive(&self, asked: Id<User>) -> BoxFuture<'_, Result<bool>> {
        std::future::ready(Ok(asked != user(9))).boxed()
    }
}

fn open_to_all(db: &Db) -> Service {
    let payees: std::sync::Arc<dyn Payees> = std::sync::Arc::new(AllButNine);
    let options = Options { payees: Some(payees), ..Options::new(db.clone()) };
    Context::new(options).unwrap().wallet
}

platform::on_both_engines! { MIGRATIONS;

async fn h1_h4_held_money_leaves_the_wallet_and_is_paid_out_whole(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(1_000)).await;
    let job = hold(&t.db, wallet, user(0), 700, "vrf_1").await.unwrap();
    let balances = wallet.balance(user(0), Asset::NGN, None).await.unwrap();
    assert_eq!((balances.available, balances.held), (ngn(300), ngn(700)));
    assert_eq!((balances.pending_withdrawal, balances.total), (ngn(0), ngn(1_000)));
    assert_sound(&t.db).await;

    let captured = capture(&t.db, wallet, job, user(1), 70).await.unwrap();
    assert_eq!(captured, Captured { amount: ngn(700), fee: ngn(70), net: ngn(630) });
    assert_eq!(balance(&t.db, user(0), Code::HELD).await, 0);
    assert_eq!(balance(&t.db, user(1), Code::EARN_PENDING).await, 630);
    let fees = ledger::balance(&t.db, Account::platform(Code::FEE_JOB), Asset::NGN).await;
    assert_eq!(fees.unwrap(), ngn(70));
    assert_eq!(facts(&t.db, "escrow.held").await, 1);
    assert_eq!(facts(&t.db, "escrow.captured").await, 1);
    assert_sound(&t.db).await;
}

async fn a_closed_account_is_sent_nothing_though_it_has_a_wallet(t: &TestDb) {
    let wallet = &open_to_all(&t.db);
    give(&t.db, user(0), ngn(1_000)).await;
    give(&t.db, user(9), ngn(1)).await;
    let refused = wallet.transfer(&caller(user(0)), to(9, 500)).await.unwrap_err();
    assert_eq!(refused.fields()[0].pointer, "/to");
    assert_eq!(balance(&t.db, user(9), Code::WALLET).await, 1);
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 1_000);
}

async fn out_of_a_frozen_wallet_nothing_is_reserved_for_anybody(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(1_000)).await;
    let before = hold(&t.db, wallet, user(0), 300, "vrf_1").await.unwrap();
    wallet.freeze_by(&caller(user(99)), user(0), "looked into").await.unwrap();
    let refused = hold(&t.db, wallet, user(0), 300, "vrf_2").await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (Kind::Forbidden, "wallet_frozen"));
    // What was reserved before goes its way.
    capture(&t.db, wallet, before, user(1), 30).await.unwrap();
    wallet.thaw_by(&caller(user(99)), user(0), "all is well").await.unwrap();
    hold(&t.db, wallet, user(0), 300, "vrf_2").await.unwrap();
    assert_sound(&t.db).await;
}

async fn what_the_platform_keeps_of_its_own_sales_is_income_of_orders(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(1_000)).await;
    let order = hold(&t.db, wallet, user(0), 700, "ord_1").await.unwrap();
    let keep = |tx| async move { wallet.keep(&tx, order).await };
    assert_eq!(t.db.run("keep", keep).await.unwrap(), ngn(700));
    for (code, amount) in [(Code::ORDER, 700), (Code::FEE_JOB, 0)] {
        let income = ledger::balance(&t.db, Account::platform(code), Asset::NGN).await.unwrap();
        assert_eq!(income, ngn(amount), "{code:?}");
    }
    assert_eq!(facts(&t.db, "escrow.captured").await, 1);
    assert_eq!(t.db.run("keep", keep).await.unwrap_err().code(), "hold_closed");
    assert_sound(&t.db).await;
}

async fn h2_h6_a_closed_hold_is_final(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(1_000)).await;
    let paid = hold(&t.db, wallet, user(0), 100, "vrf_1").await.unwrap();
    let returned = hold(&t.db, wallet, user(0), 200, "vrf_2").await.unwrap();
    capture(&t.db, wallet, paid, user(1), 10).await.unwrap();
    assert_eq!(release(&t.db, wallet, returned).await.unwrap(), ngn(200));
    let before = footprint(&t.db).await;
    for closed in [paid, returned] {
        let again = capture(&t.db, wallet, closed, user(1), 10).await.unwrap_err();
        assert_eq!((again.kind(), again.code()), (Kind::Conflict, "hold_closed"));
        assert_eq!(release(&t.db, wallet, closed).await.unwrap_err().code(), "hold_closed");
    }
    let nowhere = release(&t.db, wallet, t.db.world().id()).await.unwrap_err();
    assert_eq!(nowhere.kind(), Kind::NotFound);
    assert_eq!(footprint(&t.db).await, before);
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 900);
    assert_sound(&t.db).await;
}

async fn h6_of_racing_captures_and_releases_one_wins(t: &TestDb) {
    let wallet = context(&t.db).wallet;
    give(&t.db, user(0), ngn(1_000)).await;
    let job = hold(&t.db, &wallet, user(0), 500, "vrf_1").await.unwrap();
    let racers = (0..20).map(|n| {
        let (db, wallet) = (t.db.clone(), wallet.clone());
        tokio::spawn(async move {
            if n % 2 == 0 {
                capture(&db, &wallet, job, user(1), 50).await.is_ok()
            } else {
                release(&db, &wallet, job).await.is_ok()
            }
        })
    });
    let won = futures_util::future::join_all(racers).await;
    assert_eq!(won.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_sound(&t.db).await;
}

async fn h5_a_hold_beyond_the_wallet_is_refused_and_leaves_nothing(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(100)).await;
    let before = footprint(&t.db).await;
    let error = hold(&t.db, wallet, user(0), 101, "vrf_1").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Conflict, "insufficient_funds"));
    assert_eq!(footprint(&t.db).await, before);
}

async fn the_same_hold_asked_for_again_is_the_first_one(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(1_000)).await;
    let first = hold(&t.db, wallet, user(0), 100, "vrf_1").await.unwrap();
    let before = footprint(&t.db).await;
    assert_eq!(hold(&t.db, wallet, user(0), 100, "vrf_1").await.unwrap(), first);
    let other = hold(&t.db, wallet, user(0), 101, "vrf_1").await.unwrap_err();
    assert_eq!(other.code(), "transaction_differs");
    assert_eq!(footprint(&t.db).await, before);
}

async fn earnings_are_released_once(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(1_000)).await;
    let job = hold(&t.db, wallet, user(0), 500, "vrf_1").await.unwrap();
    let earn = |hold| async move {
        t.db.run("earn", |tx| async move { wallet.release_earning(&tx, hold).await }).await
    };
    assert_eq!(earn(job).await.unwrap_err().code(), "nothing_pending");
    capture(&t.db, wallet, job, user(1), 50).await.unwrap();
    assert_eq!(earn(job).await.unwrap(), ngn(450));
    assert_eq!(earn(job).await.unwrap_err().code(), "nothing_pending");
    assert_eq!(balance(&t.db, user(1), Code::EARN).await, 450);
    assert_eq!(balance(&t.db, user(1), Code::EARN_PENDING).await, 0);
    assert_sound(&t.db).await;
}

async fn earnings_become_free_when_their_dispute_window_is_over(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(10_000)).await;
    let window = Options::new(t.db.clone()).earning_window;
    for (number, subject) in ["vrf_1", "vrf_2", "vrf_3"].iter().enumerate() {
        let job = hold(&t.db, wallet, user(0), 500, subject).await.unwrap();
        capture(&t.db, wallet, job, user(1), 50).await.unwrap();
        if number == 1 {
            t.clock.advance(Duration::from_secs(3600));
        }
    }
    t.clock.advance(window - Duration::from_secs(3600) - Duration::from_micros(1));
    assert_eq!(wallet.release_due().await.unwrap(), 0, "not before its time");
    t.clock.advance(Duration::from_micros(1));
    let both = futures_util::join!(wallet.release_due(), wallet.release_due());
    assert_eq!(both.0.unwrap() + both.1.unwrap(), 2, "each once, by whichever worker");
    assert_eq!(balance(&t.db, user(1), Code::EARN).await, 900);
    t.clock.advance(window);
    assert_eq!(wallet.release_due().await.unwrap(), 1);
    assert_eq!(balance(&t.db, user(1), Code::EARN_PENDING).await, 0);
    assert_sound(&t.db).await;
}

async fn h5_contested_money_stands_still_and_is_settled_once(t: &TestDb) {
    let wallet = &context(&t.db).wallet;
    give(&t.db, user(0), ngn(3_000)).await;
    let window = Options::new(t.db.clone()).earning_window;
    let freeze = |hold| async move {
        t.db.run("freeze", |tx| async move { wallet.freeze_earning(&tx, hold).await }).await
    };
    let settle = |hold, bps| async move {
        t.db.run("settle", |tx| async move { wallet.settle_contested(&tx, hold, bps).await }).await
    };
    // 2500 of 10000 of what was held and of the fee, both rounded down.
    for (subject, bps, back, fee, net) in [
        ("vrf_1", 10_000, 501, 0, 0),
        ("vrf_2", 0, 0, 51, 450),
        ("vrf_3", 2_500, 125, 39, 337),
    ] {
        let before = balance(&t.db, user(0), Code::WALLET).await;
        let earned = balance(&t.db, user(1), Code::EARN).await;
        let job = hold(&t.db, wallet, user(0), 501, subject).await.unwrap();
        assert!(!freeze(job).await.unwrap(), "nothing was earned yet");
        capture(&t.db, wallet, job, user(1), 51).await.unwrap();
        assert_eq!(settle(job, bps).await.unwrap_err().code(), "not_contested");
        assert!(freeze(job).await.unwrap());
        assert!(!freeze(job).await.unwrap(), "once");
        t.clock.advance(window);
        assert_eq!(wallet.release_due().await.unwrap(), 0);
        assert_sound(&t.db).await;
        let settled = settle(job, bps).await.unwrap();
        assert_eq!(settled.refunded, ngn(back));
        assert_eq!(settled.left, Captured { amount: ngn(fee + net), fee: ngn(fee), net: ngn(net) });
        assert_eq!(settle(job, bps).await.unwrap_err().code(), "not_contested");
        assert_eq!(balance(&t.db, user(0), Code::WALLET).await, before - 501 + back);
        assert_eq!(balance(&t.db, user(1), Code::EARN).await, earned + net);
        assert_eq!(balance(&t.db, user(1), Code::EARN_PENDING).await, 0);
        assert_sound(&t.db).await;
    }
    let late = hold(&t.db, wallet, user(0), 501, "vrf_4").await.unwrap();
    capture(&t.db, wallet, late, user(1), 51).await.unwrap();
    t.clock.advance(window);
    assert!(!freeze(late).await.unwrap(), "its window is over");
}

async fn without_a_dispute_window_earnings_are_free_at_once(t: &TestDb) {
    let options = Options { earning_window: Duration::ZERO, ..Options::new(t.db.clone()) };
    let wallet = &Context::new(options).unwrap().wallet;
    give(&t.db, user(0), ngn(1_000)).await;
    let job = hold(&t.db, wallet, user(0), 500, "vrf_1").await.unwrap();
    let all = hold(&t.db, wallet, user(0), 500, "vrf_2").await.unwrap();
    capture(&t.db, wallet, job, user(1), 50).await.unwrap();
    capture(&t.db, wallet, all, user(1), 500).await.unwrap();
    assert_eq!(balance(&t.db, user(1), Code::EARN).await, 450);
    assert_sound(&t.db).await;
}

async fn a_transfer_moves_money_and_tells_both(t: &TestDb) {
    let wallet = &open_to_all(&t.db);
    give(&t.db, user(0), ngn(1_000)).await;
    let sent = wallet.transfer(&caller(user(0)), to(1, 300)).await.unwrap();
    assert_eq!((sent.to, sent.amount, sent.available), (user(1), 300, 700));
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 300);
    assert_eq!(wallet.transaction(user(0), sent.id).await.unwrap().delta, ngn(-300));
    assert_eq!(wallet.transaction(user(1), sent.id).await.unwrap().delta, ngn(300));
    assert_eq!(wallet.transaction(user(2), sent.id).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(facts(&t.db, "transfer.sent").await, 1);
    assert_sound(&t.db).await;
}

async fn money_is_not_sent_to_nobody_nor_to_oneself_nor_as_dust(t: &TestDb) {
    let wallet = &open_to_all(&t.db);
    give(&t.db, user(0), ngn(1_000)).await;
    let before = footprint(&t.db).await;
    for (transfer, pointer) in
        [(to(9, 300), "/to"), (to(0, 300), "/to"), (to(1, 99), "/amount")]
    {
        let error = wallet.transfer(&caller(user(0)), transfer).await.unwrap_err();
        assert_eq!((error.kind(), error.fields()[0].pointer.as_str()), (Kind::Invalid, pointer));
    }
    let alone = &context(&t.db).wallet;
    let unknown = alone.transfer(&caller(user(0)), to(1, 300)).await.unwrap_err();
    assert_eq!(unknown.fields()[0].code, "unknown");
    assert_eq!(footprint(&t.db).await, before);
}

async fn i1_i2_one_key_sends_once_however_often_and_at_once(t: &TestDb) {
    let wallet = open_to_all(&t.db);
    give(&t.db, user(0), ngn(1_000)).await;
    let sends = (0..20).map(|_| {
        let wallet = wallet.clone();
        tokio::spawn(async move {
            wallet.transfer(&keyed(user(0), "k", "300 to 1"), to(1, 300)).await
        })
    });
    let mut ids = std::collections::HashSet::new();
    for send in futures_util::future::join_all(sends).await {
        match send.unwrap() {
            Ok(sent) => _ = ids.insert(sent.id),
            Err(error) => assert_eq!(error.code(), "idempotency_in_progress"),
        }
    }
    let replay = keyed(user(0), "k", "300 to 1");
    let again = wallet.transfer(&replay, to(1, 300)).await.unwrap();
    assert!(replay.idempotency.as_ref().unwrap().is_replayed());
    ids.insert(again.id);
    assert_eq!((ids.len(), again.available), (1, 700));
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 300);
}

async fn i3_i4_another_content_is_refused_and_another_person_is_another_key(t: &TestDb) {
    let wallet = &open_to_all(&t.db);
    give(&t.db, user(0), ngn(1_000)).await;
    give(&t.db, user(2), ngn(1_000)).await;
    wallet.transfer(&keyed(user(0), "k", "300 to 1"), to(1, 300)).await.unwrap();
    let other = wallet.transfer(&keyed(user(0), "k", "301 to 1"), to(1, 301)).await;
    assert_eq!(other.unwrap_err().code(), "idempotency_key_reused");
    wallet.transfer(&keyed(user(2), "k", "300 to 1"), to(1, 300)).await.unwrap();
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 600);
}

async fn i5_a_refused_field_leaves_the_key_and_too_little_money_takes_it(t: &TestDb) {
    let wallet = &open_to_all(&t.db);
    give(&t.db, user(0), ngn(100)).await;
    let key = |content| keyed(user(0), "k", content);
    assert_eq!(wallet.transfer(&key("dust"), to(1, 1)).await.unwrap_err().kind(), Kind::Invalid);
    let short = wallet.transfer(&key("200"), to(1, 200)).await.unwrap_err();
    assert_eq!(short.code(), "insufficient_funds");
    give(&t.db, user(0), ngn(1_000)).await;
    // A late duplicate cannot succeed by surprise.
    let late = wallet.transfer(&key("200"), to(1, 200)).await.unwrap_err();
    assert_eq!(late.code(), "insufficient_funds");
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 0);
}

async fn i6_a_failed_commit_is_retried_and_sends_once(t: &TestDb) {
    let wallet = &open_to_all(&t.db);
    give(&t.db, user(0), ngn(1_000)).await;
    t.db.fail_commits(true);
    let first = wallet.transfer(&keyed(user(0), "k", "300"), to(1, 300)).await;
    assert_eq!(first.is_err(), !t.is_postgres(), "only the embedded store has the fault");
    t.db.fail_commits(false);
    wallet.transfer(&keyed(user(0), "k", "300"), to(1, 300)).await.unwrap();
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 300);
    assert_sound(&t.db).await;
}

async fn i7_when_the_reply_is_forgotten_the_ledger_still_knows(t: &TestDb) {
    let wallet = &open_to_all(&t.db);
    give(&t.db, user(0), ngn(1_000)).await;
    let send = || async {
        wallet.transfer(&keyed(user(0), "k", "300"), to(1, 300)).await.unwrap()
    };
    let first = send().await;
    t.clock.advance(Duration::from_secs(30 * 24 * 3600));
    let again = send().await;
    assert_eq!((again.id, again.available), (first.id, 700));
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 300);
    assert_eq!(facts(&t.db, "transfer.sent").await, 1);
}

async fn a_wallet_shows_over_http_what_the_ledger_says(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let (status, empty) = site.get(user(0), "/v1/user/wallet").await;
    assert_eq!((status, &empty["currencies"][0]["currency"]), (StatusCode::OK, &json!("NGN")));
    give(&t.db, user(0), ngn(500_000)).await;
    give(&t.db, user(0), Money::new(150, Asset::USD)).await;
    give(&t.db, user(1), ngn(1)).await;
    let (_, wallet) = site.get(user(0), "/v1/user/wallet").await;
    let line = |currency, minor, display| {
        json!({ "currency": currency, "balance": minor, "available": minor, "held": 0,
                "pendingWithdrawal": 0, "total": minor, "display": display })
    };
    let naira = line("NGN", 500_000, "₦5,000.00");
    let lines = [naira, line("USD", 150, "$1.50")];
    assert_eq!(wallet, json!({ "defaultCurrency": "NGN", "currencies": lines }));

    t.clock.advance(Duration::from_secs(60));
    let body = json!({ "to": user(1), "amount": 120_000 });
    let (status, sent) = site.post(user(0), "/v1/user/wallet/transfers", "k1", body).await;
    assert_eq!(status, StatusCode::CREATED, "{sent}");
    assert_eq!((&sent["available"], &sent["display"]), (&json!(380_000), &json!("₦1,200.00")));
    let (_, now) = site.get(user(0), "/v1/user/wallet/balance").await;
    assert_eq!((&now["balance"], &now["display"]), (&json!(380_000), &json!("₦3,800.00")));
    let past = "/v1/user/wallet/balance?at=2026-01-01T00:00:30Z";
    assert_eq!(site.get(user(0), past).await.1["balance"], 500_000);

    let (_, list) = site.get(user(0), "/v1/user/wallet/transactions?limit=2").await;
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!((&list[0]["direction"], &list[0]["amount"]), (&json!("out"), &json!(120_000)));
    assert_eq!(list[0]["counterparty"], json!(user(1)));
    let one = format!("/v1/user/wallet/transactions/{}", sent["id"].as_str().unwrap());
    assert_eq!(site.get(user(1), &one).await.1["direction"], "in");
    assert_eq!(site.get(user(2), &one).await.0, StatusCode::NOT_FOUND);
}

async fn impossible_amounts_are_refused_at_the_door(t: &TestDb) {
    let site = Site::open(&t.db).await;
    give(&t.db, user(0), ngn(1_000)).await;
    give(&t.db, user(1), ngn(1_000)).await;
    let before = footprint(&t.db).await;
    for amount in [
        json!(0), json!(-5), json!(1.5), json!(1e3), json!("100"), json!(null),
        json!(i64::MAX), json!(u64::MAX), json!(Money::MAX_MINOR + 1),
    ] {
        let body = json!({ "to": user(1), "amount": amount });
        let (status, answer) = site.post(user(0), "/v1/user/wallet/transfers", "k", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{amount}: {answer}");
        assert_eq!(answer["fields"][0]["pointer"], "/amount", "{amount}: {answer}");
    }
    let other = json!({ "to": user(1), "amount": 100, "currency": "XXX" });
    let (status, _) = site.post(user(0), "/v1/user/wallet/transfers", "k", other).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(footprint(&t.db).await, before);
}

}
