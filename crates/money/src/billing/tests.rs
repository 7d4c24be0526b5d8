//! Plans and bills, by the names of their invariants.

use std::time::Duration;

use http::StatusCode;
use kernel::id::kinds::User;
use kernel::{Asset, Id, PageRequest};
use platform::db::Db;
use serde_json::json;

use super::model::SubscriptionState;
use super::rules::Policy;
use crate::ledger::{self, Account, Code};
use crate::testing::{
    MIGRATIONS, Site, assert_sound, balance, caller, facts, give, keyed, ngn, user,
};
use crate::{Context, Options};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn billed(db: &Db) -> Context {
    let billing = Policy { tax_bps: 750, ..Policy::default() };
    Context::new(Options { billing, ..Options::new(db.clone()) }).unwrap()
}

async fn choose(context: &Context, key: &str, plan: &str) -> super::Subscription {
    context.billing.choose(&keyed(user(0), key, plan), plan).await.unwrap()
}

async fn income(db: &Db) -> i64 {
    let account = Account::platform(Code::SUBSCRIPTION);
    ledger::balance(db, account, Asset::NGN).await.unwrap().minor
}

async fn state(context: &Context, owner: Id<User>) -> SubscriptionState {
    context.billing.subscription(owner).await.unwrap().unwrap().state
}

/// B1: what was billed is recognised, credited, or still deferred.
async fn assert_all_accounted_for(db: &Db, context: &Context) {
    let invoices = context.billing.invoices(user(0), &PageRequest::first(100)).await.unwrap();
    let mut net = 0;
    for it in &invoices.items {
        let tax_back = super::rules::tax_of(it.tax, it.credited, it.total().unwrap());
        net += it.net.minor - (it.credited.minor - tax_back.minor);
    }
    let deferred = balance(db, user(0), Code::DEFERRED).await;
    let left = net - income(db).await - deferred;
    // The tax of a credit is rounded down by itself.
    assert!(left.abs() <= 1, "{left} of {net}");
    assert_sound(db).await;
}

platform::on_both_engines! { MIGRATIONS;

async fn b1_a_plan_is_billed_paid_and_becomes_income_as_time_goes_by(t: &TestDb) {
    let context = billed(&t.db);
    give(&t.db, user(0), ngn(100_000)).await;
    choose(&context, "k", "team").await;
    choose(&context, "k", "team").await;
    context.billing.collect_due().await.unwrap();
    context.billing.collect_due().await.unwrap();
    // 99.00 and 7.5 % tax.
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 100_000 - 10_642);
    assert_eq!(facts(&t.db, "invoice.paid").await, 1);
    for _ in 0..10 {
        t.clock.advance(DAY);
        context.billing.recognise().await.unwrap();
        context.billing.recognise().await.unwrap();
    }
    assert_eq!(income(&t.db).await, 3_300);
    assert_all_accounted_for(&t.db, &context).await;
    t.clock.advance(20 * DAY);
    context.billing.recognise().await.unwrap();
    assert_eq!((income(&t.db).await, balance(&t.db, user(0), Code::DEFERRED).await), (9_900, 0));
    assert_all_accounted_for(&t.db, &context).await;
}

async fn b2_a_dearer_plan_starts_at_once_and_credits_what_was_not_served(t: &TestDb) {
    let context = billed(&t.db);
    give(&t.db, user(0), ngn(100_000)).await;
    choose(&context, "a", "team").await;
    context.billing.collect_due().await.unwrap();
    t.clock.advance(10 * DAY);
    let now = choose(&context, "b", "business").await;
    assert_eq!((now.plan.as_str(), now.next_plan), ("business", None));
    // Two thirds of 99.00 come back, and two thirds of its tax.
    let wallet = balance(&t.db, user(0), Code::WALLET).await;
    assert_eq!(wallet, 100_000 - 10_642 + 6_600 + 494);
    assert_eq!(income(&t.db).await, 3_300);
    context.billing.collect_due().await.unwrap();
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, wallet - 49_900 - 3_742);
    let cheaper = choose(&context, "c", "team").await;
    assert_eq!((cheaper.plan.as_str(), cheaper.next_plan.as_deref()), ("business", Some("team")));
    t.clock.advance(30 * DAY);
    context.billing.renew_due().await.unwrap();
    context.billing.renew_due().await.unwrap();
    let renewed = context.billing.subscription(user(0)).await.unwrap().unwrap();
    assert_eq!((renewed.plan.as_str(), renewed.next_plan), ("team", None));
    let invoices = context.billing.invoices(user(0), &PageRequest::first(10)).await.unwrap();
    let numbers: Vec<_> = invoices.items.iter().map(|it| (it.number, it.net.minor)).collect();
    assert_eq!(numbers, [(3, 9_900), (2, 49_900), (1, 9_900)]);
    context.billing.recognise().await.unwrap();
    assert_all_accounted_for(&t.db, &context).await;
}

async fn b2_an_open_invoice_is_credited_by_asking_for_less(t: &TestDb) {
    let context = billed(&t.db);
    choose(&context, "a", "team").await;
    t.clock.advance(10 * DAY);
    choose(&context, "b", "business").await;
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 0);
    give(&t.db, user(0), ngn(100_000)).await;
    context.billing.collect_due().await.unwrap();
    let left = 100_000 - (10_642 - 6_600 - 494) - (49_900 + 3_742);
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, left);
    assert_eq!(balance(&t.db, user(0), Code::RECEIVABLE_INVOICE).await, 0);
    assert_all_accounted_for(&t.db, &context).await;
}

async fn what_is_not_paid_is_tried_again_and_then_suspends(t: &TestDb) {
    let context = billed(&t.db);
    choose(&context, "k", "team").await;
    let mut attempts = Vec::new();
    for day in 0..12 {
        context.billing.collect_due().await.unwrap();
        if facts(&t.db, "invoice.payment_failed").await > attempts.len() as i64 {
            attempts.push(day);
        }
        t.clock.advance(DAY);
    }
    assert_eq!(attempts, [0, 1, 3, 5, 7]);
    assert_eq!(state(&context, user(0)).await, SubscriptionState::Suspended);
    assert!(!context.billing.may_use(user(0)).await.unwrap());
    let change = context.billing.choose(&caller(user(0)), "business").await.unwrap_err();
    assert_eq!(change.code(), "subscription_suspended");
    let invoices = context.billing.invoices(user(0), &PageRequest::first(10)).await.unwrap();
    let id = invoices.items[0].id;
    let poor = context.billing.pay(&caller(user(0)), id).await.unwrap_err();
    assert_eq!(poor.code(), "insufficient_funds");
    assert_eq!(context.billing.pay(&caller(user(1)), id).await.unwrap_err().code(), "not_found");
    give(&t.db, user(0), ngn(20_000)).await;
    let one = caller(user(0));
    let (a, b) = futures_util::join!(context.billing.pay(&one, id), context.billing.pay(&one, id));
    assert_eq!(u8::from(a.is_ok()) + u8::from(b.is_ok()), 1, "B5: paid once");
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 20_000 - 10_642);
    assert_eq!(state(&context, user(0)).await, SubscriptionState::Active);
    assert_sound(&t.db).await;
}

async fn numbers_have_no_gaps_and_usage_beyond_the_plan_is_billed(t: &TestDb) {
    let context = billed(&t.db);
    let all = (0..20_u128).map(|who| {
        let context = &context;
        async move { context.billing.choose(&caller(user(who)), "team").await }
    });
    for done in futures_util::future::join_all(all).await {
        done.unwrap();
    }
    let sql = "SELECT number FROM invoices ORDER BY number";
    let numbers: Vec<i64> =
        platform::db::Read::all(&t.db, sql, &[], |row| row.take()).await.unwrap();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());

    let billing = &context.billing;
    t.db.run("use", |tx| async move { billing.record_usage(&tx, user(0), 203).await })
        .await
        .unwrap();
    t.clock.advance(30 * DAY);
    context.billing.renew_due().await.unwrap();
    let invoices = context.billing.invoices(user(0), &PageRequest::first(1)).await.unwrap();
    assert_eq!(invoices.items[0].net, ngn(9_900 + 3 * 50));
}

async fn the_billing_pages_show_plan_usage_invoices_and_print_them(t: &TestDb) {
    let site = Site::open(&t.db).await;
    let (_, none) = site.get(user(0), "/v1/enterprise/billing/subscription").await;
    assert_eq!((&none["subscription"], &none["plans"][1]["code"]), (&json!(null), &json!("team")));
    let plan = "/v1/enterprise/billing/plan";
    let (status, page) = site.post(user(0), plan, "k", json!({ "plan": "team" })).await;
    assert_eq!((status, &page["subscription"]["plan"]), (StatusCode::OK, &json!("team")));
    let (_, wrong) = site.post(user(0), plan, "w", json!({ "plan": "gold" })).await;
    assert_eq!(wrong["fields"][0]["pointer"], "/plan");
    let (_, list) = site.get(user(0), "/v1/enterprise/billing/invoices").await;
    assert_eq!((&list[0]["number"], &list[0]["total"]), (&json!("INV-000001"), &json!(9_900)));
    let path = format!("/v1/enterprise/billing/invoices/{}/pdf", list[0]["id"].as_str().unwrap());
    let (status, file) = site.get(user(0), &path).await;
    assert!(status == StatusCode::OK && file.as_str().unwrap().contains("NGN 99.00"));
    assert_eq!(site.get(user(1), &path).await.0, StatusCode::NOT_FOUND);
}

}
