//! Payments through the sandbox, over HTTP, by the names of their invariants.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use kernel::id::kinds::User;
use kernel::{Asset, Id, Money, Result, Timestamp};
use platform::db::Read;
use serde_json::{Value as Json, json};

use super::model::{NewDeposit, Payment, State, reference};
use super::rules::{Step, decide};
use crate::Options;
use crate::ledger::{self, Account, Code};
use crate::provider::{ProviderName, Seen, SeenState};
use crate::sandbox::sign;
use crate::testing::{
    MIGRATIONS, Site, WEBHOOK_SECRET, assert_sound, balance, facts, footprint, ngn, user,
};
use crate::wallet::Payees;

/// Nobody's account is active.
struct Nobody;

impl Payees for Nobody {
    fn may_receive(&self, _: Id<User>) -> BoxFuture<'_, Result<bool>> {
        std::future::ready(Ok(false)).boxed()
    }
}

async fn deposit(site: &Site, key: &str, body: Json) -> Json {
    let (status, answer) = site.post(user(0), "/v1/user/wallet/deposit", key, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer
}

/// Starts a deposit of fifty naira; answers its reference.
async fn fifty(site: &Site) -> String {
    let answer = deposit(site, "k", json!({ "amount": 5_000 })).await;
    answer["reference"].as_str().unwrap().to_owned()
}

async fn verify(site: &Site, reference: &str) -> Json {
    let (status, answer) = site.get(user(0), &format!("/v1/user/wallet/verify/{reference}")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["status"].clone()
}

async fn approve(site: &Site, reference: &str, form: &str) {
    let path = format!("/sandbox/checkout/{reference}/approve");
    assert_eq!(site.submit(&path, form).await, StatusCode::SEE_OTHER);
}

async fn booked(site: &Site, code: Code) -> i64 {
    ledger::balance(&site.db, Account::platform(code), Asset::NGN).await.unwrap().minor
}

/// A signed webhook of the sandbox.
async fn send_event(site: &Site, id: &str, reference: &str) -> StatusCode {
    let body = json!({ "id": id, "type": "collection.paid", "data": { "reference": reference } });
    let body = body.to_string();
    let signature = sign(WEBHOOK_SECRET, body.as_bytes());
    site.webhook("/v1/payments/webhook/sandbox", Some(&signature), &body).await
}

platform::on_both_engines! { MIGRATIONS;

async fn a_deposit_is_paid_on_the_checkout_page_and_credited_by_the_webhook(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let body = json!({ "amount": 5_000, "currency": "NGN", "provider": "sandbox",
                       "email": "user@example.com" });
    let answer = deposit(&site, "k", body).await;
    let reference = answer["reference"].as_str().unwrap();
    assert_eq!(answer["authorization_url"], answer["authorizationUrl"]);
    assert_eq!(answer["access_code"], answer["accessCode"]);
    let page = answer["authorization_url"].as_str().unwrap().strip_prefix(&site.base).unwrap();
    let (status, html) = site.get(user(0), page).await;
    assert!(status == StatusCode::OK && html.as_str().unwrap().contains("Approve ₦50.00"));
    assert_eq!(verify(&site, reference).await, "pending");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 0);

    approve(&site, reference, "").await;
    // The sandbox sends its webhook, and then the platform acts on it.
    site.worker.drain().await.unwrap();
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 5_000);
    assert_eq!(booked(&site, Code::PROVIDER_COST).await, 75);
    assert_eq!(booked(&site, Code::CLEARING_SANDBOX).await, 4_925);
    assert_eq!(verify(&site, reference).await, "settled");
    let (_, html) = site.get(user(0), page).await;
    assert!(html.as_str().unwrap().contains("Paid: ₦50.00"));
    for verb in ["deposit.initiated", "deposit.settled"] {
        assert_eq!(facts(&t.db, verb).await, 1, "{verb}");
    }
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM jobs";
    let jobs: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(jobs, 0, "every job has ended");
    assert_sound(&t.db).await;
}

async fn the_shortest_deposit_works_and_the_same_key_answers_the_same(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let short = json!({ "amount": 100, "method": "card" });
    let first = deposit(&site, "k", short.clone()).await;
    assert_eq!(deposit(&site, "k", short.clone()).await, first);
    assert_ne!(deposit(&site, "other", short).await["reference"], first["reference"]);
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM sandbox_collections";
    let made: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!((made, facts(&t.db, "deposit.initiated").await), (2, 2));
}

async fn a_deposit_that_makes_no_sense_is_refused_and_leaves_nothing(t: &TestDb) {
    let site = Site::opened(&t.db, |options| Options { paypal: None, ..options }).await;
    let before = footprint(&t.db).await;
    for (body, pointer) in [
        (json!({ "amount": 0 }), "/amount"),
        (json!({ "amount": 99 }), "/amount"),
        (json!({ "amount": 100.5 }), "/amount"),
        (json!({ "amount": 100, "currency": "DOGE" }), "/currency"),
        (json!({ "amount": 100, "provider": "paypal" }), "/provider"),
        (json!({ "amount": 100, "method": "barter" }), "/method"),
        (json!({ "amount": 100, "email": "nobody" }), "/email"),
        (json!({ "amount": 100, "credit": true }), "/credit"),
    ] {
        let (status, answer) = site.post(user(0), "/v1/user/wallet/deposit", "k", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(answer["fields"][0]["pointer"], pointer, "{answer}");
    }
    assert_eq!(footprint(&t.db).await, before);
}

async fn p1_any_mix_of_webhooks_verifications_and_sweeps_credits_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    approve(&site, &reference, "").await;
    t.clock.advance(Duration::from_secs(600));
    let path = format!("/v1/user/wallet/verify/{reference}");
    let verifications = (0..8).map(|_| site.get(user(0), &path));
    let events = ["a", "b", "b", "a", "c"].map(|id| send_event(&site, id, &reference));
    let (_, events, sweep, ran) = futures_util::join!(
        futures_util::future::join_all(verifications),
        futures_util::future::join_all(events),
        site.context.payments.sweep(),
        site.worker.drain(),
    );
    assert!(events.iter().all(|status| *status == StatusCode::OK));
    sweep.unwrap();
    ran.unwrap();
    site.worker.drain().await.unwrap();
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 5_000);
    assert_eq!(facts(&t.db, "deposit.settled").await, 1);
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM provider_events WHERE state = 'done'";
    let done: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(done, 4, "three made here, and the sandbox's own");
    assert_sound(&t.db).await;
}

async fn p4_of_eight_who_ask_for_one_page_one_asks_the_provider(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for (who, provider) in (0..).zip(["paystack", "stripe", "paypal", "sandbox"]) {
        let currency = if provider == "paypal" { "USD" } else { "NGN" };
        let body = json!({ "amount": 5_000, "currency": currency, "provider": provider,
                           "email": "payer@example.com" });
        let ask = async || loop {
            let answer = site.post(user(who), "/v1/user/wallet/deposit", "k", body.clone()).await;
            if answer.1["code"] != "idempotency_in_progress" {
                return answer;
            }
        };
        let answers = futures_util::future::join_all((0..8).map(|_| ask())).await;
        let opened = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
        assert!(opened > 0, "{provider}: {answers:?}");
        for (status, answer) in &answers {
            let waits = (StatusCode::CONFLICT, &json!("payment_opening"));
            assert!(*status == StatusCode::CREATED || (*status, &answer["code"]) == waits);
        }
        let (_, page) = ask().await;
        let path = format!("/v1/user/wallet/verify/{}", page["reference"].as_str().unwrap());
        assert_eq!(site.get(user(who), &path).await.1["status"], "pending", "{provider}");
    }
    // Who has died asking is waited for, and no longer than that.
    let sql = "UPDATE payments SET checkout_url = NULL, state = 'created', asked_until = $1";
    let until = t.db.world().now() + Duration::from_secs(120);
    let rewind = |tx: platform::db::Tx| async move {
        tx.execute(sql, platform::params![until]).await?;
        Ok(())
    };
    t.db.run("rewind", rewind).await.unwrap();
    let body = json!({ "amount": 5_000, "currency": "NGN", "provider": "stripe",
                       "email": "payer@example.com" });
    let ask = || site.post(user(1), "/v1/user/wallet/deposit", "k", body.clone());
    assert_eq!(ask().await.1["code"], "payment_opening");
    t.clock.advance(Duration::from_secs(120));
    assert_eq!(ask().await.0, StatusCode::CREATED);
}

async fn p1_eight_deliveries_of_one_event_are_kept_and_acted_on_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    let eight = (0..8).map(|_| send_event(&site, "same", &reference));
    let told = futures_util::future::join_all(eight).await;
    assert!(told.iter().all(|status| *status == StatusCode::OK));
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM jobs WHERE kind = 'payment.act_on_event'";
    let jobs: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(jobs, 1);
}

async fn p2_another_amount_is_set_aside_and_credits_nobody(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    approve(&site, &reference, "amount=4000").await;
    site.worker.drain().await.unwrap();
    assert_eq!(verify(&site, &reference).await, "suspended");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 0);
    assert_eq!(booked(&site, Code::SUSPENSE_SANDBOX).await, 4_000);
    assert_eq!(facts(&t.db, "deposit.suspended").await, 1);
    assert_sound(&t.db).await;
}

async fn p2_an_event_about_an_unpaid_payment_credits_nothing(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    assert_eq!(send_event(&site, "early", &reference).await, StatusCode::OK);
    site.worker.drain().await.unwrap();
    assert_eq!(verify(&site, &reference).await, "pending");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 0);
}

async fn p3_what_is_not_signed_is_refused_and_not_kept(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    let body = json!({ "id": "e", "type": "x", "data": { "reference": reference } }).to_string();
    let good = sign(WEBHOOK_SECRET, body.as_bytes());
    let (other_secret, truncated) = (sign("another", body.as_bytes()), &good[..64]);
    let flipped = body.replacen("pay-", "pay=", 1);
    let path = "/v1/payments/webhook/sandbox";
    for (signature, body) in [
        (None, &body),
        (Some(""), &body),
        (Some("no hex"), &body),
        (Some(truncated), &body),
        (Some(&*other_secret), &body),
        (Some(&*good), &flipped),
    ] {
        let status = site.webhook(path, signature, body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{signature:?} {body}");
    }
    assert_eq!(site.webhook("/v1/payments/webhook", None, &body).await, StatusCode::BAD_REQUEST);
    let elsewhere = site.webhook("/v1/payments/webhook/westpay", Some(&good), &body).await;
    assert_eq!(elsewhere, StatusCode::NOT_FOUND);
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM provider_events";
    let kept = || async { t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap() };
    assert_eq!(kept().await, 0);
    let told_by_header = site.webhook("/v1/payments/webhook", Some(&good), &body).await;
    assert_eq!((told_by_header, kept().await), (StatusCode::OK, 1));
}

async fn p4_a_provider_that_is_away_is_asked_again_with_the_same_reference(t: &TestDb) {
    let mut site = Site::open(&t.db).await;
    site.shut().await;
    let deposit = NewDeposit { amount: 5_000, ..Default::default() };
    let caller = || crate::testing::keyed(user(0), "k", "5000");
    let away = site.context.payments.deposit(&caller(), deposit.clone()).await.unwrap_err();
    assert_eq!(away.code(), "provider_unavailable");
    assert_eq!(facts(&t.db, "deposit.initiated").await, 1);

    let back = Site::open(&t.db).await;
    let payment = back.context.payments.deposit(&caller(), deposit).await.unwrap();
    assert_eq!(payment.state, State::Pending);
    assert_eq!(facts(&t.db, "deposit.initiated").await, 1);
    let sql = "SELECT reference FROM sandbox_collections";
    let made: Vec<String> = t.db.all(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(made, [payment.reference()]);
}

async fn p7_money_that_comes_after_expiry_is_credited(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    t.clock.advance(Duration::from_secs(24 * 3600 + 1));
    site.context.payments.sweep().await.unwrap();
    assert_eq!(verify(&site, &reference).await, "expired");
    assert_eq!(facts(&t.db, "deposit.expired").await, 1);
    approve(&site, &reference, "").await;
    site.worker.drain().await.unwrap();
    assert_eq!(verify(&site, &reference).await, "settled");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 5_000);
}

async fn a_declined_payment_fails_and_cannot_be_approved_any_more(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    let page = format!("/sandbox/checkout/{reference}");
    let declined = site.submit(&format!("{page}/decline"), "").await;
    assert_eq!(declined, StatusCode::SEE_OTHER);
    approve(&site, &reference, "").await;
    site.worker.drain().await.unwrap();
    assert_eq!(verify(&site, &reference).await, "failed");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 0);
    assert_eq!(facts(&t.db, "deposit.failed").await, 1);
    let (status, answer) =
        site.post(user(0), "/v1/user/wallet/deposit", "k", json!({ "amount": 5_000 })).await;
    assert_eq!((status, &answer["reference"]), (StatusCode::CREATED, &json!(reference)));
}

async fn what_comes_for_an_account_that_is_not_active_waits_for_an_admin(t: &TestDb) {
    let inactive: Arc<dyn Payees> = Arc::new(Nobody);
    let site = Site::opened(&t.db, |options| Options { payees: Some(inactive), ..options }).await;
    let reference = fifty(&site).await;
    approve(&site, &reference, "").await;
    site.worker.drain().await.unwrap();
    assert_eq!(verify(&site, &reference).await, "suspended");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 0);
    let id = reference.replace('-', "_");
    let (_, queue) = site.get(user(99), "/v1/admin/payments?status=suspended").await;
    assert_eq!((&queue[0]["id"], &queue[0]["reason"]), (&json!(id), &json!("inactive_owner")));
    let path = format!("/v1/admin/payments/{id}/credit");
    let body = json!({ "reason": "the account is active again" });
    let (status, answer) = site.post(user(99), &path, "c", body).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("settled")), "{answer}");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 5_000);
    assert_sound(&t.db).await;
}

async fn a_lost_webhook_only_costs_time(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    approve(&site, &reference, "").await;
    // Before two minutes have passed nobody looks.
    site.context.payments.sweep().await.unwrap();
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 0);
    t.clock.advance(Duration::from_secs(121));
    site.context.payments.sweep().await.unwrap();
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 5_000);
    // From here on it is only looked at for what may take it back.
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM payments WHERE next_check_at <= $1";
    let soon = t.db.world().now() + Duration::from_secs(3600);
    let waiting: i64 = t.db.one(sql, platform::params![soon], |row| row.take()).await.unwrap();
    assert_eq!(waiting, 0);
}

async fn an_event_about_an_unknown_payment_is_kept_and_tried_again(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for (event, reference) in [("a", reference(t.db.world().id())), ("b", "order-7".into())] {
        assert_eq!(send_event(&site, event, &reference).await, StatusCode::OK);
    }
    site.worker.run_due().await.unwrap();
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM provider_events WHERE state = 'unmatched'";
    let unmatched: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM jobs WHERE state = 'ready'";
    let waiting: i64 = t.db.one(sql, &[], |row| row.take()).await.unwrap();
    assert_eq!((unmatched, waiting), (2, 2));
}

async fn another_user_s_payment_is_not_there(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    for path in [reference.as_str(), "pay-7", "x"] {
        let path = format!("/v1/user/wallet/verify/{path}");
        assert_eq!(site.get(user(1), &path).await.0, StatusCode::NOT_FOUND);
    }
}

async fn the_configuration_names_providers_currencies_and_limits(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let (_, config) = site.get(user(0), "/v1/user/wallet/config").await;
    assert_eq!(config["defaultProvider"], "sandbox");
    assert_eq!(config["providers"][0]["live"], false);
    let yen = config["currencies"].as_array().unwrap().iter().find(|c| c["currency"] == "JPY");
    assert_eq!(yen.unwrap()["scale"], 0);
}

async fn the_sandbox_serves_only_its_adapter(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = fifty(&site).await;
    let path = format!("/sandbox/collections/{reference}");
    assert_eq!(site.get(user(0), &path).await.0, StatusCode::UNAUTHORIZED);
    let made = site.post(user(0), "/sandbox/collections", "k", json!({})).await;
    assert_eq!(made.0, StatusCode::UNAUTHORIZED);
    let nowhere = site.submit("/sandbox/checkout/nowhere/approve", "").await;
    assert_eq!(nowhere, StatusCode::NOT_FOUND);
}

}

fn payment(state: State) -> Payment {
    Payment {
        id: kernel::Id::from_uuid(uuid::Uuid::from_u128(7)),
        owner: user(0),
        provider: ProviderName::Sandbox,
        amount: ngn(100),
        invoice: None,
        method: None,
        state,
        reason: None,
        provider_ref: None,
        access_code: None,
        checkout_url: None,
        expires_at: Timestamp::from_seconds(100),
        created_at: Timestamp::from_seconds(0),
        updated_at: Timestamp::from_seconds(0),
        version: 1,
    }
}

#[test]
fn s1_the_state_machine_is_as_it_was() {
    let paid = |received| SeenState::Paid { received, fee: ngn(2) };
    let sights = [
        ("unknown there", None),
        ("open", Some(SeenState::Open)),
        ("approved", Some(SeenState::Approved)),
        ("paid", Some(paid(ngn(100)))),
        ("paid short", Some(paid(ngn(99)))),
        ("paid in dollars", Some(paid(Money::new(100, Asset::USD)))),
        ("failed", Some(SeenState::Failed { reason: "declined".into() })),
    ];
    let mut lines = Vec::new();
    for state in State::ALL {
        for (name, sight) in &sights {
            let payment = payment(state);
            let seen = sight.clone().map(|state| Seen {
                reference: payment.reference(),
                state,
                disputes: Vec::new(),
            });
            let steps = [99, 100].map(|second| {
                let step = decide(&payment, seen.as_ref(), Timestamp::from_seconds(second));
                let text = format!("{:?}", step.unwrap());
                text.split(' ').next().unwrap().to_owned()
            });
            let line = format!("{state:9} {name:15} {:7} late: {}", steps[0], steps[1]);
            lines.push(line.trim_end().to_owned());
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn p2_an_answer_about_another_payment_is_refused() {
    let paid = SeenState::Paid { received: ngn(100), fee: ngn(0) };
    let seen = Seen { reference: "pay-other".into(), state: paid, disputes: Vec::new() };
    let now = Timestamp::from_seconds(1);
    let decided = decide(&payment(State::Pending), Some(&seen), now);
    assert_eq!(decided.unwrap_err().kind(), kernel::Kind::Internal);
    let own = Seen { reference: payment(State::Pending).reference(), ..seen };
    let decided = decide(&payment(State::Pending), Some(&own), now).unwrap();
    assert_eq!(decided, Step::Settle { fee: ngn(0) });
}
