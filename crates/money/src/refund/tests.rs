//! Refunds, and what admins do with money that nobody was credited with, against the simulator.

use std::time::Duration;

use http::StatusCode;
use kernel::{Asset, Money};
use platform::db::Read;
use platform::privacy::{Erasure, Holder, Person};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use crate::ledger::{self, Account, Code};
use crate::personal::Held;
use crate::provider::ProviderName;
use crate::sim::{Fault, FaultKind, Mishaps};
use crate::testing::{MIGRATIONS, Site, assert_sound, caller, facts, footprint, give, user};
use crate::wallet::NewTransfer;

const ADMIN: u128 = 99;
const RAILS: [ProviderName; 3] =
    [ProviderName::Paystack, ProviderName::Stripe, ProviderName::Paypal];

fn asset(provider: ProviderName) -> Asset {
    if provider == ProviderName::Paypal { Asset::USD } else { Asset::NGN }
}

/// A payment of five thousand, of which so much came; answers its id.
async fn paid(site: &Site, provider: ProviderName, key: &str, came: i64) -> String {
    let body = json!({ "amount": 5_000, "currency": asset(provider), "provider": provider,
                       "email": "payer@example.com" });
    let (status, answer) = site.post(user(0), "/v1/user/wallet/deposit", key, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let reference = answer["reference"].as_str().unwrap();
    site.sim.pay(reference, Some(Money::new(came, asset(provider)))).unwrap();
    let path = format!("/v1/user/wallet/verify/{reference}");
    let (_, answer) = site.get(user(0), &path).await;
    assert_eq!(answer["status"], if came == 5_000 { "settled" } else { "suspended" });
    answer["id"].as_str().unwrap().to_owned()
}

async fn refund(site: &Site, id: &str, key: &str, amount: Option<i64>) -> (StatusCode, Json) {
    let body = json!({ "amount": amount, "reason": "the payer asked for it" });
    site.post(user(ADMIN), &format!("/v1/admin/payments/{id}/refund"), key, body).await
}

async fn of(t: &TestDb, provider: ProviderName, code: Code) -> i64 {
    let account = Account::of(user(0), code);
    ledger::balance(&t.db, account, asset(provider)).await.unwrap().minor
}

async fn suspense(t: &TestDb, provider: ProviderName) -> i64 {
    let account = Account::platform(Code::suspense(provider));
    ledger::balance(&t.db, account, asset(provider)).await.unwrap().minor
}

async fn assert_reconciled(site: &Site) {
    for provider in RAILS {
        let clearing = Account::platform(Code::clearing(provider));
        let booked = ledger::balance(&site.db, clearing, asset(provider)).await.unwrap();
        assert_eq!(booked, site.sim.balance(provider, asset(provider)), "{provider}");
    }
    assert_sound(&site.db).await;
}

/// What keeps the first user from closing their account.
async fn open_payments(t: &TestDb) -> Vec<String> {
    let ask = |tx| async move { Held.stakes(&tx, user(0)).await };
    let stakes = t.db.run("stakes", ask).await.unwrap();
    stakes.into_iter().filter(|it| it.code == "open_payment").map(|it| it.subject).collect()
}

async fn statuses(site: &Site) -> Vec<String> {
    let (_, all) = site.get(user(ADMIN), "/v1/admin/refunds").await;
    let all = all.as_array().unwrap();
    all.iter().map(|it| it["status"].as_str().unwrap().to_owned()).collect()
}

platform::on_both_engines! { MIGRATIONS;

async fn a_refund_goes_back_through_each_provider_and_never_more_than_came(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for provider in RAILS {
        let key = |turn: &str| format!("{provider}{turn}");
        let before = of(t, provider, Code::WALLET).await;
        let id = paid(&site, provider, &provider.to_string(), 5_000).await;
        let (status, answer) = refund(&site, &id, &key("a"), Some(2_000)).await;
        assert_eq!((status, &answer["status"]), (StatusCode::CREATED, &json!("requested")));
        assert_eq!(of(t, provider, Code::REFUND).await, 2_000);
        let (_, again) = refund(&site, &id, &key("a"), Some(2_000)).await;
        assert_eq!(again["id"], answer["id"], "the same key is the same refund");
        let (status, more) = refund(&site, &id, &key("b"), Some(3_001)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(more["fields"][0]["pointer"], "/amount");
        let (status, rest) = refund(&site, &id, &key("c"), None).await;
        assert_eq!((status, &rest["amount"]), (StatusCode::CREATED, &json!(3_000)));
        let (status, none) = refund(&site, &id, &key("d"), None).await;
        assert_eq!((status, &none["code"]), (StatusCode::CONFLICT, &json!("not_refundable")));
        site.worker.drain().await.unwrap();
        assert_eq!(of(t, provider, Code::REFUND).await, 0);
        assert_eq!(of(t, provider, Code::WALLET).await, before);
    }
    assert_eq!(statuses(&site).await, ["settled"; 6]);
    for verb in ["refund.requested", "refund.settled"] {
        assert_eq!(facts(&t.db, verb).await, 6, "{verb}");
    }
    assert_reconciled(&site).await;
}

async fn a_refund_is_made_once_whatever_is_lost_on_the_way(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let kinds = [
        FaultKind::LoseReply,
        FaultKind::ErrorAfter,
        FaultKind::ErrorBefore,
        FaultKind::LoseRequest,
        FaultKind::RateLimit,
    ];
    for (provider, call) in [
        (ProviderName::Paystack, "POST /refund"),
        (ProviderName::Stripe, "POST /v1/refunds"),
        (ProviderName::Paypal, "POST /v2/payments/captures/*"),
    ] {
        for kind in kinds {
            let key = format!("{provider}{kind:?}");
            let id = paid(&site, provider, &key, 5_000).await;
            site.sim.fault(Fault { provider: None, call: call.to_owned(), kind, times: 1 });
            assert_eq!(refund(&site, &id, &key, None).await.0, StatusCode::CREATED);
            for _ in 0..4 {
                site.worker.run_due().await.unwrap();
                t.clock.advance(Duration::from_secs(300));
                site.context.refunds.sweep().await.unwrap();
            }
            assert_eq!(statuses(&site).await[0], "settled", "{key}");
        }
    }
    assert_eq!(facts(&t.db, "refund.settled").await, 15);
    assert_reconciled(&site).await;
}

async fn a_refund_that_the_payers_bank_sends_back_is_back_in_the_wallet(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for (turn, is_heard) in [("heard", true), ("looked for", false)] {
        let before = of(t, ProviderName::Stripe, Code::WALLET).await;
        let id = paid(&site, ProviderName::Stripe, turn, 5_000).await;
        let (_, made) = refund(&site, &id, turn, Some(2_000)).await;
        site.worker.drain().await.unwrap();
        assert_eq!(statuses(&site).await[0], "settled");
        let reference = made["id"].as_str().unwrap().replace('_', "-");
        site.sim.return_refund(&reference).unwrap();
        site.sim.mishaps(Mishaps { lose: if is_heard { 0 } else { 100 }, ..Mishaps::default() });
        if is_heard {
            site.sim.deliver().await;
            site.worker.drain().await.unwrap();
        }
        for _ in 0..3 {
            t.clock.advance(Duration::from_secs(12 * 3600));
            site.context.refunds.sweep().await.unwrap();
        }
        assert_eq!(statuses(&site).await[0], "failed", "{turn}");
        assert_eq!(of(t, ProviderName::Stripe, Code::WALLET).await, before + 5_000);
        let anew = refund(&site, &id, &format!("{turn} anew"), None).await;
        assert_eq!(anew.1["amount"], 5_000, "all of it may be refunded again");
        site.worker.drain().await.unwrap();
    }
    assert_reconciled(&site).await;
}

async fn what_providers_told_of_a_person_is_emptied_with_them(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let id = paid(&site, ProviderName::Stripe, "k", 5_000).await;
    site.sim.deliver().await;
    refund(&site, &id, "k", None).await;
    site.worker.drain().await.unwrap();
    // Stripe names what this is about by an id of its own.
    let (_, refunds) = site.get(user(ADMIN), "/v1/admin/refunds").await;
    let reference = refunds[0]["id"].as_str().unwrap().replace('_', "-");
    site.sim.return_refund(&reference).unwrap();
    site.sim.deliver().await;
    site.worker.drain().await.unwrap();
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM provider_events WHERE body <> ''";
    assert_eq!(t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap(), 2);
    let person = &Person { id: user(0), email: "payer@example.com".to_owned() };
    let erase = |tx| async move { Held.erase(&tx, person, Erasure::Person).await };
    t.db.run("erase", erase).await.unwrap();
    assert_eq!(t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap(), 0);
}

async fn many_who_look_for_a_lost_refund_ask_for_it_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    // In whole, where a second one is refused, and in part, where a second one is paid.
    for (key, amount) in [("whole", None), ("part", Some(1_000))] {
        let id = paid(&site, ProviderName::Paystack, key, 5_000).await;
        let call = "POST /refund".to_owned();
        site.sim.fault(Fault { provider: None, call, kind: FaultKind::LoseRequest, times: 1 });
        assert_eq!(refund(&site, &id, key, amount).await.0, StatusCode::CREATED);
        site.worker.drain().await.unwrap();
        assert_eq!(statuses(&site).await[0], "unknown", "{key}");
        t.clock.advance(Duration::from_secs(300));
        let looking = (0..8).map(|_| site.context.refunds.sweep());
        for swept in futures_util::future::join_all(looking).await {
            swept.unwrap();
        }
        assert_eq!(statuses(&site).await[0], "settled", "{key}");
        assert_reconciled(&site).await;
    }
}

async fn what_is_declined_is_back_and_what_is_spent_is_not_there(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let id = paid(&site, ProviderName::Stripe, "k", 5_000).await;
    let fault = Fault {
        provider: None,
        call: "POST /v1/refunds".to_owned(),
        kind: FaultKind::Decline,
        times: 1,
    };
    site.sim.fault(fault);
    refund(&site, &id, "declined", None).await;
    site.worker.drain().await.unwrap();
    assert_eq!(of(t, ProviderName::Stripe, Code::WALLET).await, 5_000);
    assert_eq!(statuses(&site).await, ["failed"]);
    assert_eq!(facts(&t.db, "refund.failed").await, 1);

    give(&t.db, user(1), Money::new(1, Asset::NGN)).await;
    let transfer = NewTransfer { to: user(1), amount: Money::new(4_000, Asset::NGN) };
    site.context.wallet.transfer(&caller(user(0)), transfer).await.unwrap();
    let before = footprint(&t.db).await;
    let (status, answer) = refund(&site, &id, "spent", None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("insufficient_funds")));
    let body = json!({ "reason": "mine" });
    let own = site.post(user(0), &format!("/v1/admin/payments/{id}/refund"), "own", body).await;
    assert_eq!((own.0, &own.1["code"]), (StatusCode::FORBIDDEN, &json!("own_payment")));
    let body = json!({ "reason": " " });
    let path = format!("/v1/admin/payments/{id}/refund");
    let (_, wordless) = site.post(user(ADMIN), &path, "w", body).await;
    assert_eq!(wordless["fields"][0]["pointer"], "/reason");
    assert_eq!(footprint(&t.db).await, before);
    assert_reconciled(&site).await;
}

async fn a_disputed_payment_and_one_on_a_chain_are_not_refunded(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let id = paid(&site, ProviderName::Stripe, "k", 5_000).await;
    site.sim.dispute(&id.replace('_', "-")).unwrap();
    site.sim.deliver().await;
    site.worker.drain().await.unwrap();
    let (status, answer) = refund(&site, &id, "r", None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("payment_disputed")));
    let coins = json!({ "amount": 5_000, "currency": "ETH", "provider": "crypto" });
    let (_, coins) = site.post(user(0), "/v1/user/wallet/deposit", "coins", coins).await;
    site.sim.pay(coins["reference"].as_str().unwrap(), None).unwrap();
    site.sim.deliver().await;
    site.worker.drain().await.unwrap();
    let (status, answer) = refund(&site, coins["id"].as_str().unwrap(), "c", None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("not_refundable")));
    let nobody = "pay_01h455vb4pex5vsknk084sn02q";
    assert_eq!(refund(&site, nobody, "n", None).await.0, StatusCode::NOT_FOUND);
}

async fn money_in_suspense_is_credited_or_sent_back_by_an_admin_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for provider in RAILS {
        let key = |turn: &str| format!("{provider}{turn}");
        let before = of(t, provider, Code::WALLET).await;
        let id = paid(&site, provider, &format!("{provider}c"), 4_900).await;
        let (_, queue) = site.get(user(ADMIN), "/v1/admin/payments?status=suspended").await;
        assert_eq!((&queue[0]["id"], &queue[0]["received"]["amount"]), (&json!(id), &json!(4_900)));
        let path = format!("/v1/admin/payments/{id}/credit");
        let body = json!({ "reason": "the bank took its fee" });
        let own = site.post(user(0), &path, &key("own"), body.clone()).await;
        assert_eq!((own.0, &own.1["code"]), (StatusCode::FORBIDDEN, &json!("own_payment")));
        let (status, answer) = site.post(user(ADMIN), &path, &key("1"), body.clone()).await;
        assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("settled")));
        let (status, answer) = site.post(user(ADMIN), &path, &key("2"), body).await;
        assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("not_suspended")));
        assert_eq!(of(t, provider, Code::WALLET).await, before + 4_900);
        assert_eq!(suspense(t, provider).await, 0);
        // From here on it is a payment like any other, of what came.
        assert_eq!(refund(&site, &id, &format!("{provider}r"), Some(4_901)).await.0,
                   StatusCode::UNPROCESSABLE_ENTITY);

        let id = paid(&site, provider, &format!("{provider}b"), 4_900).await;
        let (status, part) = refund(&site, &id, &format!("{provider}p"), Some(1)).await;
        assert_eq!((status, &part["fields"][0]["code"]),
                   (StatusCode::UNPROCESSABLE_ENTITY, &json!("not_whole")));
        let (status, back) = refund(&site, &id, &format!("{provider}w"), None).await;
        assert_eq!((status, &back["source"]), (StatusCode::CREATED, &json!("suspense")));
        site.worker.drain().await.unwrap();
        assert_eq!(suspense(t, provider).await, 0);
        assert_eq!(of(t, provider, Code::WALLET).await, before + 4_900);
        let path = format!("/v1/admin/payments/{id}");
        let (_, payment) = site.get(user(ADMIN), &path).await;
        assert_eq!(payment["reason"], "refunded");
        let (_, queue) = site.get(user(ADMIN), "/v1/admin/payments?status=suspended").await;
        assert_eq!(queue, json!([]), "nothing waits any more");
        assert!(!open_payments(t).await.contains(&id), "and keeps nobody from going");
        let undecided = paid(&site, provider, &format!("{provider}u"), 4_900).await;
        assert!(open_payments(t).await.contains(&undecided));
        refund(&site, &undecided, &format!("{provider}v"), None).await;
        site.worker.drain().await.unwrap();
    }
    assert_eq!(facts(&t.db, "deposit.credited").await, 3);
    assert_reconciled(&site).await;
}

async fn a_wallet_is_frozen_and_thawed_by_an_admin_with_a_reason(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let nobody = format!("/v1/admin/wallets/{}", user(7));
    assert_eq!(site.get(user(ADMIN), &nobody).await.0, StatusCode::NOT_FOUND);
    let body = json!({ "reason": "it looks odd" });
    let (status, _) = site.post(user(ADMIN), &format!("{nobody}/freeze"), "n", body.clone()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    give(&t.db, user(0), Money::new(500, Asset::NGN)).await;
    give(&t.db, user(1), Money::new(1, Asset::NGN)).await;
    let path = format!("/v1/admin/wallets/{}", user(0));
    let (_, wallet) = site.get(user(ADMIN), &path).await;
    assert_eq!(wallet["currencies"][0]["available"], 500);
    assert_eq!(wallet["frozen"], Json::Null);
    let (freeze, thaw) = (format!("{path}/freeze"), format!("{path}/thaw"));
    let early = site.post(user(ADMIN), &thaw, "0", body.clone()).await;
    assert_eq!((early.0, &early.1["code"]), (StatusCode::CONFLICT, &json!("not_frozen")));
    let (status, frozen) = site.post(user(ADMIN), &freeze, "1", body.clone()).await;
    assert_eq!((status, &frozen["frozen"]["reason"]), (StatusCode::OK, &json!("it looks odd")));
    let again = site.post(user(ADMIN), &freeze, "1", body.clone()).await;
    assert_eq!(again.0, StatusCode::OK, "the same key is the same freeze");
    let twice = site.post(user(ADMIN), &freeze, "2", body.clone()).await;
    assert_eq!((twice.0, &twice.1["code"]), (StatusCode::CONFLICT, &json!("wallet_frozen")));
    let transfer = NewTransfer { to: user(1), amount: Money::new(5, Asset::NGN) };
    let refused = site.context.wallet.transfer(&caller(user(0)), transfer).await.unwrap_err();
    assert_eq!(refused.code(), "wallet_frozen");
    let own = site.post(user(0), &thaw, "3", body.clone()).await;
    assert_eq!((own.0, &own.1["code"]), (StatusCode::FORBIDDEN, &json!("own_wallet")));
    assert_eq!(site.post(user(ADMIN), &thaw, "4", body).await.0, StatusCode::OK);
    site.context.wallet.transfer(&caller(user(0)), transfer).await.unwrap();
    assert_eq!((facts(&t.db, "wallet.frozen").await, facts(&t.db, "wallet.thawed").await), (1, 1));
}

async fn of_many_admins_at_once_one_freezes_a_wallet_and_one_thaws_it(t: &TestDb) {
    let site = Site::open(&t.db).await;
    give(&t.db, user(0), Money::new(500, Asset::NGN)).await;
    for turn in 0..3 {
        for verb in ["freeze", "thaw"] {
            let path = format!("/v1/admin/wallets/{}/{verb}", user(0));
            let asked = (90..98).map(|admin| {
                let (site, path) = (&site, path.as_str());
                let body = json!({ "reason": "it looks odd" });
                async move { site.post(user(admin), path, &format!("{verb}{turn}"), body).await.0 }
            });
            let answers = futures_util::future::join_all(asked).await;
            let done = answers.iter().filter(|status| **status == StatusCode::OK).count();
            assert_eq!(done, 1, "{verb}: {answers:?}");
        }
    }
    assert_eq!((facts(&t.db, "wallet.frozen").await, facts(&t.db, "wallet.thawed").await), (3, 3));
}

}
