//! Charge-backs, against the simulator.

use http::StatusCode;
use kernel::id::kinds::Payment;
use kernel::{Asset, Id};
use platform::db::Read;
use platform::jobs::{Registry, Worker};
use serde_json::json;

use super::service::observe;
use crate::ledger::{self, Account, Code};
use crate::provider::{DisputeStage, ProviderName, SeenDispute, hmac_sha256_hex, stripe};
use crate::testing::{MIGRATIONS, Site, assert_sound, balance, caller, facts, ngn, user};
use crate::wallet::NewTransfer;

/// A deposit of fifty naira, or dollars, of which nothing has come; answers its reference.
async fn opened(site: &Site, provider: ProviderName, key: &str) -> String {
    let currency = if provider == ProviderName::Paypal { "USD" } else { "NGN" };
    let body = json!({ "amount": 5_000, "currency": currency, "provider": provider,
                       "email": "payer@example.com" });
    let (status, answer) = site.post(user(0), "/v1/user/wallet/deposit", key, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["reference"].as_str().unwrap().to_owned()
}

/// A settled one.
async fn settled(site: &Site, provider: ProviderName, key: &str) -> String {
    let reference = opened(site, provider, key).await;
    site.sim.pay(&reference, None).unwrap();
    tell(site).await;
    tell(site).await;
    reference
}

/// The provider tells, twice, and we look.
async fn tell(site: &Site) {
    site.sim.mishaps(crate::sim::Mishaps { duplicate: 100, ..Default::default() });
    site.sim.deliver().await;
    site.worker.drain().await.unwrap();
}

/// We look, and this is what the provider answers.
async fn hear(site: &Site, payment: Id<Payment>, seen: SeenDispute) {
    let (wallet, seen) = (&site.context.wallet, &seen);
    let told = site.db.run("told", |tx| async move { observe(&tx, wallet, payment, seen).await });
    told.await.unwrap();
}

async fn spend(site: &Site, minor: i64) -> kernel::Result<crate::wallet::Transfer> {
    let transfer = NewTransfer { to: user(1), amount: ngn(minor) };
    site.context.wallet.transfer(&caller(user(0)), transfer).await
}

async fn assert_reconciled(site: &Site) {
    for provider in [ProviderName::Paystack, ProviderName::Stripe] {
        let clearing = Account::platform(Code::clearing(provider));
        let booked = ledger::balance(&site.db, clearing, Asset::NGN).await.unwrap();
        assert_eq!(booked, site.sim.balance(provider, Asset::NGN), "{provider}");
    }
    assert_sound(&site.db).await;
}

/// One of several events about a dispute, as Stripe sends it.
async fn tell_of_dispute(site: &Site, id: &str, reference: &str) -> StatusCode {
    let body = json!({ "id": id, "type": "charge.dispute.updated", "livemode": false,
                       "data": { "object": { "metadata": { "reference": reference } } } });
    let (body, time) = (body.to_string(), site.db.world().now().seconds());
    let signed = format!("{time}.{body}");
    let signature = hmac_sha256_hex("whsec_simulated", &[signed.as_bytes()]);
    let header = (stripe::SIGNATURE_HEADER, &*format!("t={time},v1={signature}"));
    site.signed("/v1/payments/webhook/stripe", Some(header), &body).await
}

platform::on_both_engines! { MIGRATIONS;

async fn a_charge_back_that_is_lost_takes_what_is_there_and_leaves_a_debt(t: &TestDb) {
    for (turn, provider) in [ProviderName::Paystack, ProviderName::Stripe].into_iter().enumerate() {
        if turn == 1 {
            // The other provider's turn is played by the same user, who is even again.
            assert_eq!(balance(&t.db, user(0), Code::RECEIVABLE_NEGATIVE).await, 0);
        }
        let site = Site::open(&t.db).await;
        crate::testing::give(&t.db, user(1), ngn(1)).await;
        let before = balance(&t.db, user(0), Code::WALLET).await;
        let reference = settled(&site, provider, &format!("a{turn}")).await;
        spend(&site, before + 2_000).await.unwrap();
        site.sim.dispute(&reference).unwrap();
        tell(&site).await;
        let of = async |code| balance(&t.db, user(0), code).await;
        assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (0, 3_000));
        assert_eq!(spend(&site, 1).await.unwrap_err().code(), "wallet_frozen");
        site.sim.decide_dispute(&reference, false).unwrap();
        tell(&site).await;
        let owed = of(Code::RECEIVABLE_NEGATIVE).await;
        assert_eq!((of(Code::HELD).await, owed), (0, 2_000));
        assert_sound(&t.db).await;

        settled(&site, provider, &format!("b{turn}")).await;
        let owed = of(Code::RECEIVABLE_NEGATIVE).await;
        assert_eq!((of(Code::WALLET).await, owed), (3_000, 0), "a deposit pays the debt first");
        spend(&site, 3_000).await.unwrap();
    }
    for verb in ["deposit.disputed", "deposit.charged_back", "debt.paid"] {
        assert_eq!(facts(&t.db, verb).await, 2, "{verb}");
    }
}

async fn a_debt_that_is_given_up_is_a_loss_and_thaws_the_wallet(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = settled(&site, ProviderName::Stripe, "a").await;
    crate::testing::give(&t.db, user(1), ngn(1)).await;
    spend(&site, 2_000).await.unwrap();
    site.sim.dispute(&reference).unwrap();
    tell(&site).await;
    site.sim.decide_dispute(&reference, false).unwrap();
    tell(&site).await;
    let of = async |code| balance(&t.db, user(0), code).await;
    assert_eq!(of(Code::RECEIVABLE_NEGATIVE).await, 2_000);
    let lost = async || {
        let account = Account::platform(Code::CHARGEBACK_COST);
        ledger::balance(&t.db, account, kernel::Asset::NGN).await.unwrap().minor
    };
    let before = lost().await;
    let path = format!("/v1/admin/wallets/{}/write-off", user(0));
    let body = |currency: &str| json!({ "currency": currency, "reason": "They are broke." });
    let give_up = async |admin, key: &str, currency: &str| {
        let (status, answer) = site.post(admin, &path, key, body(currency)).await;
        (status.as_u16(), answer["code"].as_str().unwrap_or("done").to_owned())
    };
    let done = |status, code: &str| (status, code.to_owned());
    assert_eq!(give_up(user(0), "a", "NGN").await, done(403, "own_wallet"));
    assert_eq!(give_up(user(9), "b", "USD").await, done(409, "no_debt"));
    assert_eq!(give_up(user(9), "c", "NGN").await, done(200, "done"));
    assert_eq!(give_up(user(9), "d", "NGN").await, done(409, "no_debt"));
    assert_eq!((of(Code::RECEIVABLE_NEGATIVE).await, lost().await - before), (0, 2_000));
    // Nothing is owed any more: what comes is the owner's, and can be sent.
    settled(&site, ProviderName::Stripe, "b").await;
    spend(&site, 1_000).await.unwrap();
    assert_eq!(facts(&t.db, "debt.written_off").await, 1);
    assert_sound(&t.db).await;
}

async fn a_dispute_at_paypal_is_lost_or_won_like_any_other(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let of = async |code| {
        ledger::balance(&t.db, Account::of(user(0), code), Asset::USD).await.unwrap().minor
    };
    let won = settled(&site, ProviderName::Paypal, "won").await;
    site.sim.dispute(&won).unwrap();
    tell(&site).await;
    assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (0, 5_000));
    site.sim.decide_dispute(&won, true).unwrap();
    tell(&site).await;
    assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (5_000, 0));
    let lost = settled(&site, ProviderName::Paypal, "lost").await;
    site.sim.dispute(&lost).unwrap();
    site.sim.decide_dispute(&lost, false).unwrap();
    tell(&site).await;
    assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (5_000, 0));
    let clearing = Account::platform(Code::CLEARING_PAYPAL);
    let booked = ledger::balance(&t.db, clearing, Asset::USD).await.unwrap();
    assert_eq!(booked, site.sim.balance(ProviderName::Paypal, Asset::USD));
    assert_sound(&t.db).await;
}

async fn eight_workers_that_hear_of_one_charge_back_book_each_step_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = settled(&site, ProviderName::Stripe, "k").await;
    let workers: Vec<Worker> = (0..8)
        .map(|_| {
            let mut registry = Registry::default();
            site.context.jobs(&mut registry);
            Worker::new(t.db.clone(), registry)
        })
        .collect();
    site.sim.dispute(&reference).unwrap();
    for (turn, won) in [(0, None), (1, Some(false))] {
        if let Some(won) = won {
            site.sim.decide_dispute(&reference, won).unwrap();
        }
        for event in 0..8 {
            let status = tell_of_dispute(&site, &format!("evt_{turn}_{event}"), &reference).await;
            assert_eq!(status, StatusCode::OK);
        }
        let all = futures_util::future::join_all(workers.iter().map(Worker::drain)).await;
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        // Who came second may have to look again.
        t.clock.advance(std::time::Duration::from_secs(600));
        site.worker.drain().await.unwrap();
        let told = ["deposit.disputed", "deposit.charged_back"];
        for (at, verb) in told.into_iter().enumerate() {
            assert_eq!(facts(&t.db, verb).await, i64::from(at <= turn), "{verb} at {turn}");
        }
    }
    let of = async |code| balance(&t.db, user(0), code).await;
    assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (0, 0));
    assert_eq!(of(Code::RECEIVABLE_NEGATIVE).await, 0);
    assert_reconciled(&site).await;
}

async fn a_charge_back_that_is_won_gives_everything_back(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = settled(&site, ProviderName::Stripe, "k").await;
    site.sim.dispute(&reference).unwrap();
    tell(&site).await;
    assert_eq!(balance(&t.db, user(0), Code::HELD).await, 5_000);
    site.sim.decide_dispute(&reference, true).unwrap();
    tell(&site).await;
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 5_000);
    crate::testing::give(&t.db, user(1), ngn(1)).await;
    spend(&site, 5_000).await.unwrap();
    assert_eq!(facts(&t.db, "deposit.chargeback_won").await, 1);
    assert_reconciled(&site).await;
}

async fn a_charge_back_of_a_suspended_payment_stands_in_the_way_of_every_decision(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let (admin, provider) = (user(99), ProviderName::Stripe);
    let suspense = async || {
        let account = Account::platform(Code::suspense(provider));
        ledger::balance(&t.db, account, Asset::NGN).await.unwrap()
    };
    for (turn, is_won) in [false, true].into_iter().enumerate() {
        let before = suspense().await;
        let reference = opened(&site, provider, &format!("k{turn}")).await;
        site.sim.pay(&reference, Some(ngn(4_000))).unwrap();
        tell(&site).await;
        site.sim.dispute(&reference).unwrap();
        tell(&site).await;
        assert_eq!(facts(&t.db, "deposit.disputed").await, turn as i64 + 1);
        let path = format!("/v1/admin/payments/{}", reference.replace('-', "_"));
        let body = json!({ "reason": "it is the payer's" });
        let decide = async |how: &str, after: &str| {
            let (path, key) = (format!("{path}/{how}"), format!("{how}{turn}{after}"));
            let (status, answer) = site.post(admin, &path, &key, body.clone()).await;
            (status, answer["code"].as_str().unwrap_or_default().to_owned())
        };
        for how in ["credit", "refund"] {
            let refused = (StatusCode::CONFLICT, "payment_disputed".to_owned());
            assert_eq!(decide(how, "open").await, refused);
        }
        site.sim.decide_dispute(&reference, is_won).unwrap();
        tell(&site).await;
        let waits = suspense().await.minus(before).unwrap();
        assert_eq!(waits, ngn(if is_won { 4_000 } else { 0 }));
        for how in ["credit", "refund"] {
            let (status, code) = decide(how, "decided").await;
            match (is_won, how) {
                (true, "credit") => assert_eq!((status, &*code), (StatusCode::OK, "")),
                _ => assert_eq!(status, StatusCode::CONFLICT, "{how} {code}"),
            }
            if is_won {
                break;
            }
        }
        // Nothing of it was the owner's: what is theirs was never frozen.
        assert_eq!(facts(&t.db, "wallet.frozen").await, 0);
    }
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 4_000);
    assert_eq!(balance(&t.db, user(0), Code::RECEIVABLE_NEGATIVE).await, 0);
    assert_reconciled(&site).await;
}

async fn a_suspended_payment_that_was_lost_and_came_back_waits_for_an_admin_again(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = opened(&site, ProviderName::Stripe, "k").await;
    site.sim.pay(&reference, Some(ngn(4_000))).unwrap();
    tell(&site).await;
    let id = reference.replace('-', "_").parse().unwrap();
    for stage in [DisputeStage::Lost, DisputeStage::Won] {
        hear(&site, id, SeenDispute { id: "d".into(), amount: ngn(4_000), stage }).await;
        let payment = crate::payment::load(&t.db, id).await.unwrap();
        assert_eq!(payment.is_undecided(), stage == DisputeStage::Won);
    }
    let (status, answer) = site
        .post(user(99), &format!("/v1/admin/payments/{id}/credit"), "c", json!({ "reason": "it is" }))
        .await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("settled")), "{answer}");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 4_000);
    assert_sound(&t.db).await;
}

async fn whatever_amount_a_bank_names_the_payment_is_held_and_no_more(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let of = async |code| balance(&t.db, user(0), code).await;
    let cost = async || {
        let account = Account::platform(Code::CHARGEBACK_COST);
        ledger::balance(&t.db, account, Asset::NGN).await.unwrap().minor
    };
    for (turn, (named, excess)) in [
        (ngn(6_500), 1_500),
        (ngn(0), 0),
        (ngn(-1), 0),
        (kernel::Money::new(700, Asset::USD), 0),
    ]
    .into_iter()
    .enumerate()
    {
        let reference = settled(&site, ProviderName::Stripe, &format!("k{turn}")).await;
        let id = reference.replace('-', "_").parse().unwrap();
        let seen = |stage| SeenDispute { id: format!("d{turn}"), amount: named, stage };
        hear(&site, id, seen(DisputeStage::Open)).await;
        assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (0, 5_000), "{named}");
        hear(&site, id, seen(DisputeStage::Lost)).await;
        assert_eq!((of(Code::HELD).await, cost().await), (0, excess), "{named}");
        assert_eq!(of(Code::RECEIVABLE_NEGATIVE).await, 0, "{named}");
        hear(&site, id, seen(DisputeStage::Won)).await;
        assert_eq!((of(Code::WALLET).await, cost().await), (5_000, 0), "{named}");
        crate::testing::give(&t.db, user(1), ngn(1)).await;
        spend(&site, 5_000).await.expect("nothing of it is left open");
        assert_sound(&t.db).await;
    }
}

async fn a_charge_back_that_was_covered_leaves_no_freeze_behind(t: &TestDb) {
    let site = Site::open(&t.db).await;
    crate::testing::give(&t.db, user(1), ngn(1)).await;
    crate::testing::give(&t.db, user(0), ngn(100)).await;
    let reference = settled(&site, ProviderName::Stripe, "k").await;
    site.sim.dispute(&reference).unwrap();
    tell(&site).await;
    assert_eq!(spend(&site, 100).await.unwrap_err().code(), "wallet_frozen");
    site.sim.decide_dispute(&reference, false).unwrap();
    tell(&site).await;
    spend(&site, 100).await.expect("all of it was held, and nothing is owed");
    // One that leaves a debt is even when the money comes back.
    let reference = settled(&site, ProviderName::Stripe, "l").await;
    spend(&site, 5_000).await.unwrap();
    let id = reference.replace('-', "_").parse().unwrap();
    let seen = |stage| SeenDispute { id: "d".into(), amount: ngn(5_000), stage };
    hear(&site, id, seen(DisputeStage::Lost)).await;
    assert_eq!(balance(&t.db, user(0), Code::RECEIVABLE_NEGATIVE).await, 5_000);
    hear(&site, id, seen(DisputeStage::Won)).await;
    crate::testing::give(&t.db, user(0), ngn(100)).await;
    spend(&site, 100).await.expect("nothing is owed any more");
    assert_sound(&t.db).await;
}

async fn a_charge_back_of_which_every_word_is_lost_is_found_all_the_same(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = settled(&site, ProviderName::Stripe, "k").await;
    site.sim.mishaps(crate::sim::Mishaps { lose: 100, ..Default::default() });
    let look = async |hours: u64| {
        t.clock.advance(std::time::Duration::from_secs(hours * 3600));
        site.context.payments.sweep().await.unwrap();
    };
    look(24).await;
    assert_eq!(facts(&t.db, "deposit.disputed").await, 0);
    site.sim.dispute(&reference).unwrap();
    look(24).await;
    assert_eq!(balance(&t.db, user(0), Code::HELD).await, 5_000);
    // An open one is asked about often, however old the payment is.
    for _ in 0..200 {
        look(24).await;
    }
    site.sim.decide_dispute(&reference, false).unwrap();
    look(24).await;
    assert_eq!(balance(&t.db, user(0), Code::HELD).await, 0);
    assert_eq!(facts(&t.db, "deposit.charged_back").await, 1);
    assert_reconciled(&site).await;
    // Nobody can want the payment back any more.
    look(24).await;
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM payments WHERE next_check_at IS NOT NULL";
    let waiting: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(waiting, 0);
}

async fn of_charge_backs_won_at_once_the_last_one_thaws_the_wallet(t: &TestDb) {
    let site = Site::open(&t.db).await;
    crate::testing::give(&t.db, user(1), ngn(1)).await;
    let mut payments = Vec::new();
    for turn in 0..4 {
        let reference = settled(&site, ProviderName::Stripe, &format!("k{turn}")).await;
        let id = reference.replace('-', "_").parse().unwrap();
        payments.push(crate::payment::load(&t.db, id).await.unwrap());
    }
    for turn in 0..5 {
        for stage in [DisputeStage::Open, DisputeStage::Won] {
            let told = payments.iter().enumerate().map(|(at, payment)| {
                let seen = SeenDispute { id: format!("d{turn}.{at}"), amount: ngn(100), stage };
                let (wallet, seen) = (&site.context.wallet, seen);
                async move {
                    let seen = &seen;
                    let tell = |tx| async move { observe(&tx, wallet, payment.id, seen).await };
                    t.db.run("told", tell).await
                }
            });
            for told in futures_util::future::join_all(told).await {
                told.unwrap();
            }
        }
        spend(&site, 100).await.expect("nothing of it is left open");
    }
    assert_eq!(facts(&t.db, "wallet.thawed").await, 5);
    assert_reconciled(&site).await;
}

async fn a_refund_comes_before_a_charge_back_or_not_at_all(t: &TestDb) {
    let site = Site::open(&t.db).await;
    crate::testing::give(&t.db, user(0), ngn(1_000_000)).await;
    let wallet = Account::of(user(0), Code::WALLET);
    let mut seen_so_far = 0;
    for turn in 0..8 {
        let reference = settled(&site, ProviderName::Stripe, &format!("k{turn}")).await;
        let id = reference.replace('-', "_").parse().unwrap();
        let payment = &crate::payment::load(&t.db, id).await.unwrap();
        let seen = |stage| SeenDispute { id: format!("d{turn}"), amount: ngn(5_000), stage };
        let tell = async |seen: &SeenDispute| {
            let of = &site.context.wallet;
            t.db.run("told", |tx| async move { observe(&tx, of, payment.id, seen).await }).await
        };
        let (path, key) = (format!("/v1/admin/payments/{id}/refund"), format!("r{turn}"));
        let body = json!({ "amount": 100, "reason": "the payer asked for it" });
        let open = seen(DisputeStage::Open);
        let (told, (status, answer)) =
            tokio::join!(tell(&open), site.post(user(99), &path, &key, body));
        told.unwrap();
        let entries = ledger::entries_after(&t.db, wallet, Asset::NGN, seen_so_far, i64::MAX, 100);
        let entries = entries.await.unwrap();
        let gone: Vec<&str> =
            entries.iter().filter(|it| it.delta.minor < 0).map(|it| it.kind.as_str()).collect();
        if status == StatusCode::CREATED {
            assert_eq!(gone, ["refund", "hold"], "{turn}");
        } else {
            assert_eq!(answer["code"], "payment_disputed", "{answer}");
            assert_eq!(gone, ["hold"], "{turn}");
        }
        tell(&seen(DisputeStage::Won)).await.unwrap();
        seen_so_far = entries.last().unwrap().version + 1;
    }
    site.worker.drain().await.unwrap();
    assert_sound(&t.db).await;
}

async fn each_of_several_charge_backs_of_a_payment_goes_its_own_way(t: &TestDb) {
    for provider in [ProviderName::Stripe, ProviderName::Paypal] {
        let site = Site::open(&t.db).await;
        let asset = if provider == ProviderName::Paypal { Asset::USD } else { Asset::NGN };
        let of = async |code| {
            ledger::balance(&t.db, Account::of(user(0), code), asset).await.unwrap().minor
        };
        let reference = settled(&site, provider, &format!("k{provider}")).await;
        site.sim.dispute_part(&reference, 2_000).unwrap();
        site.sim.dispute_part(&reference, 1_500).unwrap();
        tell(&site).await;
        assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (1_500, 3_500), "{provider}");
        site.sim.decide_dispute(&reference, false).unwrap();
        tell(&site).await;
        assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (1_500, 1_500), "{provider}");
        site.sim.decide_dispute(&reference, true).unwrap();
        tell(&site).await;
        assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (3_000, 0), "{provider}");
        let clearing = Account::platform(Code::clearing(provider));
        let booked = ledger::balance(&t.db, clearing, asset).await.unwrap();
        assert_eq!(booked, site.sim.balance(provider, asset));
        assert_sound(&t.db).await;
    }
}

async fn a_bank_that_wants_another_amount_is_believed_until_it_has_decided(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let of = async |code| balance(&t.db, user(0), code).await;
    let reference = settled(&site, ProviderName::Stripe, "k").await;
    site.sim.dispute_part(&reference, 2_000).unwrap();
    tell(&site).await;
    for (turn, named) in [3_500, 3_500, 500, 4_000].into_iter().enumerate() {
        site.sim.amend_dispute(&reference, named).unwrap();
        tell(&site).await;
        assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (5_000 - named, named));
        assert_eq!(facts(&t.db, "deposit.disputed").await, [2, 2, 3, 4][turn]);
        assert_sound(&t.db).await;
    }
    site.sim.decide_dispute(&reference, false).unwrap();
    tell(&site).await;
    // What was decided stays, whatever is said of it.
    let id = reference.replace('-', "_").parse().unwrap();
    let sql = "SELECT provider_ref FROM chargebacks";
    let named: String = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    let late = SeenDispute { id: named, amount: ngn(5_000), stage: DisputeStage::Lost };
    hear(&site, id, late).await;
    assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (1_000, 0));
    assert_eq!(of(Code::RECEIVABLE_NEGATIVE).await, 0);
    assert_reconciled(&site).await;
}

async fn what_was_sent_back_in_a_dashboard_leaves_the_wallet_as_well(t: &TestDb) {
    let providers = [ProviderName::Stripe, ProviderName::Paypal, ProviderName::Paystack];
    for (turn, provider) in providers.into_iter().enumerate() {
        let site = Site::open(&t.db).await;
        crate::testing::give(&t.db, user(1), ngn(1)).await;
        let asset = if provider == ProviderName::Paypal { Asset::USD } else { Asset::NGN };
        let of = async |code| {
            ledger::balance(&t.db, Account::of(user(0), code), asset).await.unwrap().minor
        };
        let reference = settled(&site, provider, &format!("k{turn}")).await;
        // One that was asked for here is booked here, and no second time.
        let path = format!("/v1/admin/payments/{}/refund", reference.replace('-', "_"));
        let body = json!({ "amount": 1_000, "reason": "the payer asked for it" });
        let (status, answer) = site.post(user(99), &path, &format!("r{turn}"), body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        site.worker.drain().await.unwrap();
        site.sim.send_back(&reference, 1_500).unwrap();
        tell(&site).await;
        assert_eq!((of(Code::WALLET).await, of(Code::HELD).await), (2_500, 0), "{provider}");
        t.clock.advance(std::time::Duration::from_secs(30 * 24 * 3600));
        site.context.payments.sweep().await.unwrap();
        assert_eq!(of(Code::WALLET).await, 2_500, "{provider}");
        let clearing = Account::platform(Code::clearing(provider));
        let booked = ledger::balance(&t.db, clearing, asset).await.unwrap();
        assert_eq!(booked, site.sim.balance(provider, asset), "{provider}");
        // Nobody is blamed for it.
        let owed = of(Code::RECEIVABLE_NEGATIVE).await;
        assert_eq!((owed, facts(&t.db, "wallet.thawed").await), (0, turn as i64 + 1));
        let to_spend = crate::wallet::NewTransfer {
            to: user(1),
            amount: kernel::Money::new(2_500, asset),
        };
        site.context.wallet.transfer(&caller(user(0)), to_spend).await.unwrap();
        assert_sound(&t.db).await;
    }
}

async fn parts_of_suspended_money_that_are_taken_back_leave_it_part_by_part(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let suspense = async || {
        let account = Account::platform(Code::suspense(ProviderName::Stripe));
        ledger::balance(&t.db, account, Asset::NGN).await.unwrap().minor
    };
    let reference = opened(&site, ProviderName::Stripe, "k").await;
    site.sim.pay(&reference, Some(ngn(4_000))).unwrap();
    tell(&site).await;
    let id = reference.replace('-', "_").parse().unwrap();
    let seen = |id: &str, minor, stage| SeenDispute { id: id.into(), amount: ngn(minor), stage };
    let undecided = async || crate::payment::load(&t.db, id).await.unwrap().is_undecided();
    for (of, stage, left, is_undecided) in [
        (("a", 1_000), DisputeStage::Lost, 3_000, false),
        (("b", 2_500), DisputeStage::Lost, 500, false),
        (("a", 1_000), DisputeStage::Won, 1_500, false),
        (("b", 2_500), DisputeStage::Won, 4_000, true),
    ] {
        hear(&site, id, seen(of.0, of.1, stage)).await;
        assert_eq!((suspense().await, undecided().await), (left, is_undecided), "{of:?}");
        assert_eq!(balance(&t.db, user(0), Code::RECEIVABLE_NEGATIVE).await, 0);
        assert_sound(&t.db).await;
    }
}

}
