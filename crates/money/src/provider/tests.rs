//! Deposits through the adapters of real providers, against the simulator, by the names of their
//! invariants.

use std::time::Duration;

use http::StatusCode;
use kernel::{Asset, Clock, Money, Secret};
use platform::db::Read;
use serde_json::{Value as Json, json};

use super::{ProviderName, calls, hmac_sha256_hex, hmac_sha512_hex, paystack, stripe};
use crate::ledger::{self, Account, Code};
use crate::payment::NewDeposit;
use crate::sim::{self, Fault, FaultKind, Mishaps, Sim};
use crate::testing::{MIGRATIONS, Site, assert_sound, balance, facts, keyed, ngn, user};
use crate::{Context, Options};

const ALL: [ProviderName; 4] =
    [ProviderName::Paystack, ProviderName::Stripe, ProviderName::Paypal, ProviderName::Crypto];

/// What each of them collects in these tests: nobody pays naira through PayPal, or on a chain.
fn asset(provider: ProviderName) -> Asset {
    match provider {
        ProviderName::Paypal => Asset::USD,
        ProviderName::Crypto => Asset::ETH,
        _ => Asset::NGN,
    }
}

fn body(provider: ProviderName) -> Json {
    json!({ "amount": 5_000, "currency": asset(provider), "provider": provider,
            "email": "payer@example.com" })
}

/// What the first user can spend of a provider's currency.
async fn wallet(site: &Site, provider: ProviderName) -> i64 {
    let account = Account::of(user(0), Code::WALLET);
    ledger::balance(&site.db, account, asset(provider)).await.unwrap().minor
}

async fn deposit(site: &Site, provider: ProviderName, key: &str) -> (StatusCode, Json) {
    site.post(user(0), "/v1/user/wallet/deposit", key, body(provider)).await
}

async fn started(site: &Site, provider: ProviderName) -> String {
    let (status, answer) = deposit(site, provider, &provider.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    answer["reference"].as_str().unwrap().to_owned()
}

async fn verify(site: &Site, reference: &str) -> Json {
    site.get(user(0), &format!("/v1/user/wallet/verify/{reference}")).await.1["status"].clone()
}

async fn count(site: &Site, table: &str) -> i64 {
    let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
    site.db.one(&sql, &[], |row| row.take()).await.unwrap()
}

fn fault(call: &str, kind: FaultKind) -> Fault {
    Fault { provider: None, call: call.to_owned(), kind, times: 1 }
}

/// Fails unless what the books say is at each provider is what is there.
async fn assert_reconciled(site: &Site) {
    for provider in ALL {
        let clearing = Account::platform(Code::clearing(provider));
        let booked = ledger::balance(&site.db, clearing, asset(provider)).await.unwrap();
        assert_eq!(booked, site.sim.balance(provider, asset(provider)), "{provider}");
    }
    assert_sound(&site.db).await;
}

platform::on_both_engines! { MIGRATIONS;

async fn a_deposit_through_each_provider_is_paid_on_its_page_and_credited_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for provider in ALL {
        let before = wallet(&site, provider).await;
        let (_, answer) = deposit(&site, provider, &provider.to_string()).await;
        let reference = answer["reference"].as_str().unwrap();
        let page = answer["authorization_url"].as_str().unwrap().strip_prefix(&site.base).unwrap();
        let (status, html) = site.get(user(0), page).await;
        let shown = format!("Pay {}", Money::new(5_000, asset(provider)));
        assert!(status == StatusCode::OK && html.as_str().unwrap().contains(&shown), "{html}");
        assert_eq!(verify(&site, reference).await, "pending");
        assert_eq!(site.submit(&format!("{page}/approve"), "").await, StatusCode::SEE_OTHER);
        let told = site.sim.deliver().await;
        assert_eq!((told.taken, told.failed), (1, 0));
        site.worker.drain().await.unwrap();
        assert_eq!(wallet(&site, provider).await, before + 5_000);
        assert_eq!(verify(&site, reference).await, "settled");
        site.sim.deliver().await;
        site.worker.drain().await.unwrap();
        assert_eq!(wallet(&site, provider).await, before + 5_000);
    }
    assert_reconciled(&site).await;
}

async fn p1_shuffled_doubled_and_forged_webhooks_credit_each_payment_once(t: &TestDb) {
    let site = Site::open(&t.db).await;
    site.sim.mishaps(Mishaps { duplicate: 30, forge: 5, reorder: true, ..Mishaps::default() });
    let mut references = Vec::new();
    let payments = platform::testing::scaled(60);
    for turn in 0..payments {
        let (_, answer) = deposit(&site, ALL[turn % 4], &turn.to_string()).await;
        references.push(answer["reference"].as_str().unwrap().to_owned());
    }
    for reference in &references {
        site.sim.pay(reference, None).unwrap();
    }
    let delivered = site.sim.deliver().await;
    assert!(delivered.taken > payments && delivered.forged_refused > 0, "{delivered:?}");
    assert_eq!((delivered.forged_taken, delivered.failed), (0, 0));
    site.worker.drain().await.unwrap();
    // What PayPal tells after its orders were captured.
    let later = site.sim.deliver().await;
    assert_eq!((later.forged_taken, later.failed), (0, 0));
    site.worker.drain().await.unwrap();
    let payments = i64::try_from(payments).unwrap();
    assert_eq!(wallet(&site, ProviderName::Stripe).await, payments / 2 * 5_000);
    for provider in [ProviderName::Paypal, ProviderName::Crypto] {
        assert_eq!(wallet(&site, provider).await, payments / 4 * 5_000, "{provider}");
    }
    assert_eq!(facts(&t.db, "deposit.settled").await, payments);
    assert_reconciled(&site).await;
}

async fn p1_lost_webhooks_only_cost_time(t: &TestDb) {
    let site = Site::open(&t.db).await;
    site.sim.mishaps(Mishaps { lose: 100, ..Mishaps::default() });
    for provider in ALL {
        let reference = started(&site, provider).await;
        site.sim.pay(&reference, None).unwrap();
    }
    assert_eq!(site.sim.deliver().await.taken, 0);
    t.clock.advance(Duration::from_secs(121));
    site.context.payments.sweep().await.unwrap();
    assert_eq!(wallet(&site, ProviderName::Stripe).await, 10_000);
    assert_eq!(wallet(&site, ProviderName::Paypal).await, 5_000);
    assert_eq!(wallet(&site, ProviderName::Crypto).await, 5_000);
    assert_reconciled(&site).await;
}

async fn p2_another_amount_or_currency_never_credits_a_wallet(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let paid =
        [ngn(4_999), Money::new(5_000, Asset::USD), Money::new(5_000, Asset::EUR)];
    // On a chain, what comes is what is credited.
    for (provider, paid) in ALL.into_iter().zip(paid) {
        let reference = started(&site, provider).await;
        site.sim.pay(&reference, Some(paid)).unwrap();
        site.sim.deliver().await;
        site.worker.drain().await.unwrap();
        assert_eq!(verify(&site, &reference).await, "suspended");
        let suspense = Account::platform(Code::suspense(provider));
        assert_eq!(ledger::balance(&t.db, suspense, paid.asset).await.unwrap(), paid);
    }
    for provider in ALL {
        assert_eq!(wallet(&site, provider).await, 0);
    }
    assert_sound(&t.db).await;
}

async fn p2_events_and_payments_of_the_other_mode_are_refused_both_ways(t: &TestDb) {
    for (is_live, key) in [(false, "sk_test_simulated"), (true, "sk_live_simulated")] {
        let site = Site::opened(&t.db, |options| Options {
            paystack: options.paystack.map(|it| paystack::Settings {
                secret_key: Secret::new(key.to_owned()),
                ..it
            }),
            stripe: options.stripe.map(|it| stripe::Settings {
                secret_key: Secret::new(key.to_owned()),
                ..it
            }),
            ..options
        })
        .await;
        for says_live in [true, false] {
            let (domain, accepted) = (if says_live { "live" } else { "test" }, says_live == is_live);
            let before = count(&site, "provider_events").await;
            let charge = json!({ "event": "charge.success", "data": {
                "id": u8::from(is_live), "domain": domain, "reference": "pay-1" } })
            .to_string();
            let signature = hmac_sha512_hex(key, charge.as_bytes());
            let header = Some((paystack::SIGNATURE_HEADER, signature.as_str()));
            let path = "/v1/payments/webhook/paystack";
            let told_by_paystack = site.signed(path, header, &charge).await;
            let event = json!({ "id": format!("evt_{is_live}_{says_live}"),
                "type": "payment_intent.succeeded", "livemode": says_live,
                "data": { "object": { "id": "pi_1" } } })
            .to_string();
            let now = t.clock.now().seconds();
            let signed = hmac_sha256_hex("whsec_simulated", &[format!("{now}.{event}").as_bytes()]);
            let signature = format!("t={now},v1={signed}");
            let header = Some((stripe::SIGNATURE_HEADER, signature.as_str()));
            let told_by_stripe = site.signed("/v1/payments/webhook/stripe", header, &event).await;
            let status = if accepted { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!((told_by_paystack, told_by_stripe), (status, status), "{key} {domain}");
            let kept = count(&site, "provider_events").await - before;
            assert_eq!(kept, if accepted { 2 } else { 0 }, "{key} {domain}");
        }
    }
}

async fn p2_a_payment_of_the_other_mode_credits_nobody(t: &TestDb) {
    // A simulator that takes our live keys, and answers with payments of its test mode.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let live = "sk_live_simulated".to_owned();
    let told = sim::Options {
        paystack_key: live.clone(),
        stripe_key: live,
        ..sim::Options::at(&base, &base)
    };
    let sim = Sim::new(told.clone(), t.db.world().clone()).unwrap();
    let serving = tokio::spawn(axum::serve(listener, sim.router()).into_future());
    let (paystack, stripe) = (Some(told.paystack()), Some(told.stripe()));
    let options = Options { paystack, stripe, ..Options::new(t.db.clone()) };
    let payments = Context::new(options).unwrap().payments;
    for provider in [ProviderName::Paystack, ProviderName::Stripe] {
        let email = Some("payer@example.com".to_owned());
        let new = NewDeposit { amount: 5_000, provider: Some(provider), email, ..NewDeposit::default() };
        let by = keyed(user(0), provider.as_str(), "");
        let reference = payments.deposit(&by, new).await.unwrap().reference();
        sim.pay(&reference, None).unwrap();
        payments.verify(&by, &reference).await.unwrap_err();
    }
    t.clock.advance(Duration::from_secs(600));
    payments.sweep().await.unwrap();
    assert_eq!(facts(&t.db, "deposit.settled").await, 0);
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 0);
    serving.abort();
}

async fn p3_what_is_not_signed_by_the_provider_is_refused_and_not_kept(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let now = t.clock.now().seconds();
    let charge = r#"{"event":"charge.success","data":{"id":1,"reference":"pay-1"}}"#;
    let event = concat!(
        r#"{"id":"evt_1","type":"charge.updated","livemode":false,"#,
        r#""data":{"object":{"id":"pi_1"}}}"#
    );
    let sign = |time: i64, body: &str| {
        let parts = [time.to_string(), ".".to_owned(), body.to_owned()];
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        format!("t={time},v1={}", hmac_sha256_hex("whsec_simulated", &parts))
    };
    let live = event.replace("false", "true");
    let good = hmac_sha512_hex("sk_test_simulated", charge.as_bytes());
    let (path, header) = ("/v1/payments/webhook/paystack", paystack::SIGNATURE_HEADER);
    for signature in [String::new(), "0".repeat(128), good.to_uppercase(), good[1..].to_owned()] {
        let status = site.signed(path, Some((header, &signature)), charge).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let flipped = charge.replace("pay-1", "pay-2");
    assert_eq!(site.signed(path, Some((header, &good)), &flipped).await, StatusCode::UNAUTHORIZED);

    let (path, header) = ("/v1/payments/webhook/stripe", stripe::SIGNATURE_HEADER);
    for (signature, body) in [
        (sign(now - 301, event), event),
        (sign(now + 301, event), event),
        (sign(now, event).replace("t=", "t=1"), event),
        (sign(now, event).replace("v1", "v0"), event),
        (sign(now, &live), live.as_str()),
        ("v1=".to_owned(), event),
        (String::new(), event),
    ] {
        let status = site.signed(path, Some((header, &signature)), body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{signature}");
    }
    assert_eq!(count(&site, "provider_events").await, 0);
    // The bare path tells by the header whose it is; two headers tell nothing.
    let bare = "/v1/payments/webhook";
    assert_eq!(site.signed(bare, Some((header, &sign(now, event))), event).await, StatusCode::OK);
    assert_eq!(count(&site, "provider_events").await, 1);
}

async fn p3_paypals_certificate_is_its_own_and_what_it_signs_is_fresh(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let options = sim::Options::at(&site.base, &site.base);
    let event = r#"{"id":"WH-1","event_type":"PAYMENT.CAPTURE.DENIED","resource":{"id":"C"}}"#;
    let path = "/v1/payments/webhook/paypal";
    let now = t.clock.now();
    let signed = |at| sim::paypal::headers(&options, "an-id", at, event.as_bytes());
    let good = signed(now);
    let with = |name: &str, value: &str| {
        let mut headers = good.clone();
        headers.iter_mut().find(|(own, _)| *own == name).unwrap().1 = value.to_owned();
        headers
    };
    let address = good.iter().find(|(name, _)| *name == "paypal-cert-url").unwrap().1.clone();
    let other = sim::Options { paypal_webhook_id: "WH-OTHER".to_owned(), ..options.clone() };
    let forged = [
        signed(now - Duration::from_secs(301)),
        signed(now + Duration::from_secs(301)),
        sim::paypal::headers(&other, "an-id", now, event.as_bytes()),
        sim::paypal::headers(&options, "an-id", now, b"{}"),
        with("paypal-transmission-id", "another-id"),
        with("paypal-auth-algo", "SHA1withRSA"),
        with("paypal-transmission-sig", ""),
        with("paypal-cert-url", "https://api.paypal.com.evil.example/v1/notifications/certs/C"),
        with("paypal-cert-url", &format!("{address}/../x")),
        with("paypal-cert-url", &address.replace("simulated", "unknown")),
        with("paypal-cert-url", &address.replace("http://", "http://evil@")),
    ];
    for headers in forged {
        assert_eq!(site.told(path, &headers, event).await, StatusCode::UNAUTHORIZED, "{headers:?}");
    }
    let flipped = event.replace("DENIED", "COMPLETED");
    assert_eq!(site.told(path, &good, &flipped).await, StatusCode::UNAUTHORIZED);
    assert_eq!(count(&site, "provider_events").await, 0);
    let bare = "/v1/payments/webhook";
    for _ in 0..2 {
        assert_eq!(site.told(bare, &good, event).await, StatusCode::OK);
    }
    assert_eq!(count(&site, "provider_events").await, 1);
    // Where the system's roots decide, the simulator's certificate is nobody's.
    let stranger = Site::opened(&t.db, |mut options| {
        if let Some(paypal) = &mut options.paypal {
            paypal.certificate_root = None;
        }
        options
    })
    .await;
    let options = sim::Options::at(&stranger.base, &stranger.base);
    let headers = sim::paypal::headers(&options, "an-id", now, event.as_bytes());
    assert_eq!(stranger.told(path, &headers, event).await, StatusCode::UNAUTHORIZED);
}

async fn a_token_is_asked_for_once_and_anew_when_it_is_refused_or_over(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let keys: Vec<String> = (0..4).map(|turn| turn.to_string()).collect();
    let calls = keys.iter().map(|key| deposit(&site, ProviderName::Paypal, key));
    for (status, answer) in futures_util::future::join_all(calls).await {
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    assert_eq!(site.sim.tokens(), 1);
    site.sim.revoke_token();
    assert_eq!(deposit(&site, ProviderName::Paypal, "revoked").await.0, StatusCode::CREATED);
    assert_eq!(site.sim.tokens(), 2);
    t.clock.advance(Duration::from_secs(9 * 3600));
    assert_eq!(deposit(&site, ProviderName::Paypal, "over").await.0, StatusCode::CREATED);
    assert_eq!(site.sim.tokens(), 3);
}

async fn a_declined_capture_is_the_payers_turn_again(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = started(&site, ProviderName::Paypal).await;
    site.sim.pay(&reference, None).unwrap();
    let capture = "POST /v2/checkout/orders/*";
    for kind in [FaultKind::Decline, FaultKind::RateLimit, FaultKind::LoseReply] {
        site.sim.fault(fault(capture, kind));
        let state = verify(&site, &reference).await;
        assert!(state != "settled" && wallet(&site, ProviderName::Paypal).await == 0, "{kind:?}");
    }
    // The last one took the money and its answer was lost.
    assert_eq!(verify(&site, &reference).await, "settled");
    assert_eq!(wallet(&site, ProviderName::Paypal).await, 5_000);
    assert_reconciled(&site).await;
}

async fn p4_a_reply_lost_after_the_effect_makes_no_second_payment(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for (provider, call) in [
        (ProviderName::Stripe, "POST /v1/checkout/sessions"),
        (ProviderName::Paypal, "POST /v2/checkout/orders"),
        (ProviderName::Crypto, "POST /v1/addresses"),
    ] {
        for kind in [FaultKind::LoseReply, FaultKind::ErrorAfter] {
            let key = format!("{provider}{kind:?}");
            let before = site.sim.collections();
            site.sim.fault(fault(call, kind));
            let (status, answer) = deposit(&site, provider, &key).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
            let (status, _) = deposit(&site, provider, &key).await;
            assert_eq!((status, site.sim.collections()), (StatusCode::CREATED, before + 1));
        }
    }
    // Paystack tells nobody where the page of a payment was: that one is over.
    site.sim.fault(fault("POST /transaction/initialize", FaultKind::LoseReply));
    let (status, _) = deposit(&site, ProviderName::Paystack, "p").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, answer) = deposit(&site, ProviderName::Paystack, "p").await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("payment_declined")));
    assert_eq!(facts(&t.db, "deposit.failed").await, 1);
}

async fn p7_late_success_credits_after_the_provider_said_no(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for provider in [ProviderName::Paystack, ProviderName::Paypal, ProviderName::Crypto] {
        let reference = started(&site, provider).await;
        t.clock.advance(Duration::from_secs(24 * 3600 + 1));
        site.context.payments.sweep().await.unwrap();
        assert_eq!(verify(&site, &reference).await, "expired");
        site.sim.pay(&reference, None).unwrap();
        site.sim.deliver().await;
        site.worker.drain().await.unwrap();
        assert_eq!(wallet(&site, provider).await, 5_000);
    }
    assert_reconciled(&site).await;
}

async fn p7_late_success_is_looked_for_where_nobody_tells_of_it(t: &TestDb) {
    let site = Site::open(&t.db).await;
    site.sim.mishaps(Mishaps { lose: 100, ..Mishaps::default() });
    for provider in [ProviderName::Paystack, ProviderName::Paypal] {
        let reference = started(&site, provider).await;
        t.clock.advance(Duration::from_secs(24 * 3600 + 1));
        site.context.payments.sweep().await.unwrap();
        assert_eq!(verify(&site, &reference).await, "expired");
        t.clock.advance(Duration::from_secs(2 * 24 * 3600));
        site.context.payments.sweep().await.unwrap();
        site.sim.pay(&reference, None).unwrap();
        t.clock.advance(Duration::from_secs(4 * 24 * 3600));
        site.context.payments.sweep().await.unwrap();
        assert_eq!(wallet(&site, provider).await, 5_000, "{provider}");
    }
    assert_reconciled(&site).await;
}

async fn a_payment_is_confirmed_by_the_id_that_the_browser_brings_back(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = started(&site, ProviderName::Stripe).await;
    site.sim.pay(&reference, None).unwrap();
    let (_, state) = site.get(user(0), "/_sim/state").await;
    let number = &state["collections"][0]["number"];
    let path = format!("/v1/user/payment/confirm?payment_intent=pi_{number}");
    assert_eq!(site.get(user(1), &path).await.0, StatusCode::NOT_FOUND);
    let (status, answer) = site.get(user(0), &path).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("settled")));
    let reference = started(&site, ProviderName::Paypal).await;
    site.sim.pay(&reference, None).unwrap();
    let (_, state) = site.get(user(0), "/_sim/state").await;
    let number = state["collections"][1]["number"].as_u64().unwrap();
    let path = format!("/v1/user/payment/confirm?payment_intent=O{number:016}");
    assert_eq!(site.get(user(0), &path).await.1["status"], "settled");
    let nobody = "/v1/user/payment/confirm?payment_intent=pi_7";
    assert_eq!(site.get(user(0), nobody).await.0, StatusCode::NOT_FOUND);
}

async fn m3_what_a_provider_cannot_write_down_is_refused(t: &TestDb) {
    let site = Site::open(&t.db).await;
    for (provider, currency, amount, pointer) in [
        ("stripe", "KWD", json!(1_005), "/amount"),
        ("stripe", "JPY", json!(100.5), "/amount"),
        ("paystack", "JPY", json!(100), "/currency"),
        ("stripe", "BTC", json!(100), "/currency"),
        ("paypal", "HUF", json!(150_050), "/amount"),
        ("paypal", "TWD", json!(101), "/amount"),
        ("paypal", "JPY", json!(100.5), "/amount"),
        ("paypal", "NGN", json!(5_000), "/currency"),
    ] {
        let body = json!({ "provider": provider, "currency": currency, "amount": amount,
                           "email": "payer@example.com" });
        let (status, answer) = site.post(user(0), "/v1/user/wallet/deposit", "k", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(answer["fields"][0]["pointer"], pointer, "{answer}");
    }
    let nameless = json!({ "provider": "paystack", "currency": "NGN", "amount": 5_000 });
    let (_, answer) = site.post(user(0), "/v1/user/wallet/deposit", "k", nameless).await;
    assert_eq!(answer["fields"][0]["pointer"], "/email");
    assert_eq!(count(&site, "payments").await, 0);
}

async fn a_provider_that_fails_again_and_again_is_left_alone_for_a_while(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let lost = Fault { times: 5, ..fault("POST /transaction/initialize", FaultKind::LoseRequest) };
    site.sim.fault(lost);
    for turn in 0..6 {
        let (status, _) = deposit(&site, ProviderName::Paystack, &turn.to_string()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!((site.sim.collections(), count(&site, "provider_calls").await), (0, 5));
    assert_eq!(deposit(&site, ProviderName::Stripe, "s").await.0, StatusCode::CREATED);
    t.clock.advance(Duration::from_secs(11));
    assert_eq!(deposit(&site, ProviderName::Paystack, "again").await.0, StatusCode::CREATED);
}

async fn every_call_is_recorded_without_secrets_and_people(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let reference = started(&site, ProviderName::Paystack).await;
    site.sim.pay(&reference, None).unwrap();
    assert_eq!(verify(&site, &reference).await, "settled");
    let calls = calls::of_reference(&t.db, &reference).await.unwrap();
    let verbs: Vec<_> = calls.iter().map(|call| (call.verb, call.outcome, call.status)).collect();
    let ok = Some(200);
    assert_eq!(verbs, [("create_collection", "ok", ok), ("fetch_collection", "ok", ok)]);
    let text = format!("{calls:?}");
    assert!(text.contains("\\\"amount\\\":5000") && text.contains(&reference));
    for hidden in ["payer@example.com", "sk_test", "AUTH_simulated", "4081", "accessss"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let reference = started(&site, ProviderName::Paypal).await;
    site.sim.pay(&reference, None).unwrap();
    assert_eq!(verify(&site, &reference).await, "settled");
    let text = format!("{:?}", calls::of_reference(&t.db, &reference).await.unwrap());
    let tokens = format!("{:?}", calls::of_reference(&t.db, "").await.unwrap());
    assert!(text.contains("COMPLETED") && tokens.contains("token"), "{text}");
    for hidden in ["payer@example.com", "Ada", "A21.simulated", "secret-of-the"] {
        assert!(!text.contains(hidden) && !tokens.contains(hidden), "{hidden}: {text}");
    }
    t.clock.advance(calls::KEPT + Duration::from_secs(1));
    calls::sweep(&t.db).await.unwrap();
    assert!(calls::of_reference(&t.db, &reference).await.unwrap().is_empty());
}

}

#[test]
fn signatures_are_those_of_other_implementations() {
    let body = concat!(
        r#"{"event":"charge.success","data":{"id":302961,"reference":"qTPrJoy9Bx","#,
        r#""amount":10000,"currency":"NGN"}}"#
    );
    let v1 = "302d99eecb662ecb563d591d7b63f7d6df54e3d0f8130c2c36ac64828dfb8b7a";
    let parts: [&[u8]; 3] = [b"1614556800", b".", body.as_bytes()];
    assert_eq!(hmac_sha256_hex("whsec_test", &parts), v1);
    let header = format!("t=1614556800,v1={},v1={v1},v0=x", "0".repeat(64));
    let signed = |now| stripe::is_signed("whsec_test", &header, body.as_bytes(), now);
    assert!(signed(1_614_556_800) && signed(1_614_557_100));
    assert!(!signed(1_614_557_101) && !signed(i64::MAX) && !signed(i64::MIN));
}
