//! Plans and bills, by the names of their invariants.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use kernel::id::kinds::User;
use kernel::{Asset, Id, Kind, Money, PageRequest};
use platform::db::Db;
use serde_json::{Value as Json, json};

use super::model::{InvoiceState, SubscriptionState};
use super::rules::Policy;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::sim::Mishaps;
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

/// The same without a plan that somebody has; and the code of another one.
fn without_team(db: &Db) -> (Context, String) {
    let plans: Vec<_> =
        Policy::default().plans.into_iter().filter(|it| it.code != "team").collect();
    let other = plans[0].code.clone();
    let billing = Policy { tax_bps: 750, plans, ..Policy::default() };
    (Context::new(Options { billing, ..Options::new(db.clone()) }).unwrap(), other)
}

async fn choose_of(context: &Context, owner: u128, plan: &str) {
    let by = keyed(user(owner), &format!("{owner}"), plan);
    context.billing.choose(&by, plan).await.unwrap();
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

/// What plan "team" costs.
const DUE: i64 = 9_900;

async fn charging(db: &Db, currency: Asset) -> Site {
    Site::opened(db, |options| Options { default_currency: currency, ..options }).await
}

/// Delivers what the providers have to tell, and acts on it, and so again: some tell more after.
async fn told(site: &Site) {
    for _ in 0..2 {
        site.sim.deliver().await;
        site.worker.drain().await.unwrap();
    }
}

/// An open invoice for plan "team".
#[derive(Clone, Copy)]
struct Bill<'a> {
    site: &'a Site,
    owner: Id<User>,
    id: Id<kernel::id::kinds::Invoice>,
}

impl<'a> Bill<'a> {
    async fn of(site: &'a Site, owner: Id<User>) -> Self {
        let billing = &site.context.billing;
        billing.choose(&keyed(owner, "plan", "team"), "team").await.unwrap();
        let invoices = billing.invoices(owner, &PageRequest::first(1)).await.unwrap();
        Self { site, owner, id: invoices.items[0].id }
    }

    async fn check_out(&self, provider: &str, key: &str) -> (StatusCode, Json) {
        let path = format!("/v1/enterprise/billing/invoices/{}/checkout", self.id);
        let body = json!({ "provider": provider, "email": "payer@example.com" });
        self.site.post(self.owner, &path, key, body).await
    }

    async fn state(&self) -> InvoiceState {
        let billing = &self.site.context.billing;
        billing.invoice(&caller(self.owner), self.id).await.unwrap().state
    }

    async fn balance(&self, code: Code) -> i64 {
        let (account, asset) = (Account::of(self.owner, code), self.site.context.billing.asset());
        ledger::balance(&self.site.db, account, asset).await.unwrap().minor
    }

    /// What is in the wallet, and what is owed.
    async fn balances(&self) -> (i64, i64) {
        (self.balance(Code::WALLET).await, self.balance(Code::RECEIVABLE_INVOICE).await)
    }
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

async fn a_plan_that_is_configured_no_more_leaves_nobody_stuck(t: &TestDb) {
    let context = billed(&t.db);
    give(&t.db, user(0), ngn(9_900 + 742)).await;
    choose(&context, "a", "team").await;
    choose_of(&context, 1, "team").await;
    give(&t.db, user(2), ngn(100_000)).await;
    choose_of(&context, 2, "team").await;
    for _ in 0..40 {
        t.clock.advance(DAY);
        context.billing.renew_due().await.unwrap();
        context.billing.collect_due().await.unwrap();
    }
    // One has paid once and not again, one never, one always.
    assert_ne!(state(&context, user(0)).await, SubscriptionState::Active);
    assert_eq!(state(&context, user(1)).await, SubscriptionState::Suspended);

    let (context, other) = without_team(&t.db);
    for owner in [0, 1] {
        give(&t.db, user(owner), ngn(100_000 + i64::try_from(owner).unwrap())).await;
        let open = context.billing.invoices(user(owner), &PageRequest::first(10)).await.unwrap();
        let by = keyed(user(owner), &format!("p{owner}"), "");
        context.billing.pay(&by, open.items[0].id).await.unwrap();
    }
    assert_eq!(state(&context, user(1)).await, SubscriptionState::Cancelled);
    for _ in 0..31 {
        t.clock.advance(DAY);
        context.billing.renew_due().await.unwrap();
        context.billing.collect_due().await.unwrap();
    }
    for owner in 0..3 {
        assert_eq!(state(&context, user(owner)).await, SubscriptionState::Cancelled, "{owner}");
    }
    assert_eq!(choose(&context, "b", &other).await.state, SubscriptionState::Active);
}

async fn who_has_a_plan_that_is_gone_takes_another_at_once(t: &TestDb) {
    let context = billed(&t.db);
    give(&t.db, user(0), ngn(1_000_000)).await;
    choose(&context, "a", "team").await;
    let (context, other) = without_team(&t.db);
    assert_eq!(choose(&context, "b", &other).await.plan, other);
    assert_sound(&t.db).await;
}

async fn a_cancelled_plan_goes_on_until_its_period_is_over(t: &TestDb) {
    let context = billed(&t.db);
    let billing = &context.billing;
    assert_eq!(billing.cancel(&caller(user(0))).await.unwrap_err().code(), "not_found");
    give(&t.db, user(0), ngn(100_000)).await;
    choose(&context, "a", "team").await;
    for _ in 0..2 {
        let it = billing.cancel(&caller(user(0))).await.unwrap();
        assert_eq!((it.state, it.ends), (SubscriptionState::Active, true));
    }
    assert_eq!(facts(&t.db, "subscription.cancel_requested").await, 1);
    assert!(!choose(&context, "b", "team").await.ends, "choosing a plan takes it back");
    billing.cancel(&caller(user(0))).await.unwrap();
    let usage = async |count| {
        let count = |tx| async move { billing.record_usage(&tx, user(0), count).await };
        t.db.run("use", count).await.unwrap();
    };
    usage(203).await;
    for _ in 0..31 {
        t.clock.advance(DAY);
        billing.renew_due().await.unwrap();
        billing.collect_due().await.unwrap();
        billing.recognise().await.unwrap();
    }
    assert_eq!(state(&context, user(0)).await, SubscriptionState::Cancelled);
    let invoices = billing.invoices(user(0), &PageRequest::first(10)).await.unwrap();
    let nets: Vec<_> = invoices.items.iter().map(|it| it.net.minor).collect();
    assert_eq!(nets, [3 * 50, 9_900], "what was used beyond the plan, and no further month");
    assert_all_accounted_for(&t.db, &context).await;
    usage(1_000).await;
    assert!(billing.may_use(user(0)).await.unwrap(), "as if there had never been a plan");
    let again = billing.cancel(&caller(user(0))).await.unwrap_err();
    assert_eq!(again.code(), "subscription_ended");

    let anew = choose(&context, "c", "team").await;
    assert_eq!((anew.state, anew.ends), (SubscriptionState::Active, false));
    assert_eq!(billing.used(&anew).await.unwrap(), 0);
    assert_eq!(facts(&t.db, "invoice.finalized").await, 3);
    assert_all_accounted_for(&t.db, &context).await;
}

async fn a_bill_that_is_taken_back_is_as_if_it_had_not_been_written(t: &TestDb) {
    let context = billed(&t.db);
    let (billing, admin) = (&context.billing, |key: &str| keyed(user(9), key, ""));
    let open = async || {
        let open = Some(InvoiceState::Open);
        billing.all_invoices(open, &PageRequest::first(10)).await.unwrap().items
    };
    // Suspended, with a bill of which a third was served; and one that was credited before.
    choose(&context, "a", "team").await;
    for _ in 0..10 {
        billing.collect_due().await.unwrap();
        billing.recognise().await.unwrap();
        t.clock.advance(DAY);
    }
    assert_eq!(state(&context, user(0)).await, SubscriptionState::Suspended);
    let first = open().await.remove(0);
    assert_eq!(billing.void(&admin("r"), first.id, " ").await.unwrap_err().kind(), Kind::Invalid);
    let void = billing.void(&admin("b"), first.id, "Never ordered.").await.unwrap();
    assert_eq!((void.state, void.credited), (InvoiceState::Void, void.total().unwrap()));
    let twice = billing.void(&admin("c"), first.id, "Never ordered.").await.unwrap_err();
    assert_eq!(twice.code(), "invoice_closed");
    assert_eq!(state(&context, user(0)).await, SubscriptionState::Active);
    billing.choose(&caller(user(1)), "team").await.unwrap();
    t.clock.advance(10 * DAY);
    billing.choose(&caller(user(1)), "business").await.unwrap();
    t.clock.advance(DAY);
    billing.recognise().await.unwrap();
    let left = open().await;
    assert_eq!(left.len(), 2, "one that was credited, and one that runs");
    for invoice in left {
        billing.void(&admin(&invoice.id.to_string()), invoice.id, "Never ordered.").await.unwrap();
    }
    for (owner, code) in [0, 1].into_iter().flat_map(|owner| {
        [Code::RECEIVABLE_INVOICE, Code::DEFERRED].map(|code| (user(owner), code))
    }) {
        assert_eq!(balance(&t.db, owner, code).await, 0, "{code:?}");
    }
    for code in [Code::SUBSCRIPTION, Code::TAX, Code::BAD_DEBT_COST] {
        let account = Account::platform(code);
        assert_eq!(ledger::balance(&t.db, account, Asset::NGN).await.unwrap().minor, 0, "{code:?}");
    }
    billing.recognise().await.unwrap();
    assert_eq!(income(&t.db).await, 0, "nothing more is recognised of it");
    assert_sound(&t.db).await;
}

async fn of_a_bill_that_is_given_up_what_was_served_is_lost(t: &TestDb) {
    let context = billed(&t.db);
    let (billing, admin) = (&context.billing, |key: &str| keyed(user(9), key, ""));
    choose(&context, "a", "team").await;
    for _ in 0..10 {
        billing.collect_due().await.unwrap();
        t.clock.advance(DAY);
    }
    let id = billing.invoices(user(0), &PageRequest::first(1)).await.unwrap().items[0].id;
    let unknown = billing.write_off(&admin("x"), t.db.world().id(), "Gone.").await.unwrap_err();
    assert_eq!(unknown.code(), "not_found");
    let off = billing.write_off(&admin("b"), id, "They went out of business.").await.unwrap();
    // Ten of thirty days of 99.00 with 7.5 %: 33.00 and their tax.
    let (back, total) = (6_600 + 494, 10_642);
    assert_eq!((off.state, off.credited.minor), (InvoiceState::Uncollectible, back));
    let of = async |code| {
        let account = Account::platform(code);
        ledger::balance(&t.db, account, Asset::NGN).await.unwrap().minor
    };
    assert_eq!((of(Code::SUBSCRIPTION).await, of(Code::BAD_DEBT_COST).await), (3_300, total - back));
    assert_eq!(of(Code::TAX).await, 742 - 494);
    for code in [Code::RECEIVABLE_INVOICE, Code::DEFERRED] {
        assert_eq!(balance(&t.db, user(0), code).await, 0, "{code:?}");
    }
    assert_eq!(state(&context, user(0)).await, SubscriptionState::Cancelled);
    give(&t.db, user(0), ngn(20_000)).await;
    let late = billing.pay(&caller(user(0)), id).await.unwrap_err();
    assert_eq!(late.code(), "invoice_closed");
    billing.recognise().await.unwrap();
    assert_eq!(of(Code::SUBSCRIPTION).await, 3_300);
    assert_sound(&t.db).await;
}

async fn of_a_payment_a_void_and_a_write_off_at_once_one_is_done(t: &TestDb) {
    for round in 0..8_u128 {
        let context = billed(&t.db);
        let (billing, owner) = (&context.billing, user(round));
        give(&t.db, owner, ngn(20_000)).await;
        billing.choose(&caller(owner), "team").await.unwrap();
        let id = billing.invoices(owner, &PageRequest::first(1)).await.unwrap().items[0].id;
        let (one, two, three) = (caller(owner), keyed(user(90), "v", ""), keyed(user(91), "w", ""));
        let (paid, void, off) = futures_util::join!(
            billing.pay(&one, id),
            billing.void(&two, id, "x"),
            billing.write_off(&three, id, "x"),
        );
        let done = [paid.is_ok(), void.is_ok(), off.is_ok()];
        assert_eq!(done.iter().filter(|it| **it).count(), 1, "{done:?}");
        assert_eq!(balance(&t.db, owner, Code::RECEIVABLE_INVOICE).await, 0);
        assert_sound(&t.db).await;
        t.clock.advance(DAY);
    }
}

async fn months_in_which_a_subscription_was_suspended_are_not_billed(t: &TestDb) {
    let context = billed(&t.db);
    let billing = &context.billing;
    choose(&context, "k", "team").await;
    for _ in 0..100 {
        billing.collect_due().await.unwrap();
        billing.renew_due().await.unwrap();
        t.clock.advance(DAY);
    }
    assert_eq!(state(&context, user(0)).await, SubscriptionState::Suspended);
    give(&t.db, user(0), ngn(100_000)).await;
    let invoices = billing.invoices(user(0), &PageRequest::first(10)).await.unwrap();
    billing.pay(&caller(user(0)), invoices.items[0].id).await.unwrap();
    let resumed = billing.subscription(user(0)).await.unwrap().unwrap();
    assert_eq!(resumed.state, SubscriptionState::Active);
    assert_eq!((resumed.period_start, resumed.period_end), {
        let now = t.db.world().now();
        (now, now + 30 * DAY)
    });
    for _ in 0..5 {
        billing.renew_due().await.unwrap();
        billing.collect_due().await.unwrap();
    }
    // The month before the suspension, and the one that begins now.
    assert_eq!(facts(&t.db, "invoice.finalized").await, 2);
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 100_000 - 2 * 10_642);
    assert_all_accounted_for(&t.db, &context).await;
}

async fn a_platform_that_was_down_for_months_bills_the_month_that_runs(t: &TestDb) {
    let context = billed(&t.db);
    give(&t.db, user(0), ngn(100_000)).await;
    let first = choose(&context, "k", "team").await;
    context.billing.collect_due().await.unwrap();
    t.clock.advance(95 * DAY);
    for _ in 0..4 {
        context.billing.renew_due().await.unwrap();
    }
    let now = context.billing.subscription(user(0)).await.unwrap().unwrap();
    assert_eq!(now.period_start, first.period_start + 90 * DAY);
    assert_eq!(facts(&t.db, "invoice.finalized").await, 2);
    assert_all_accounted_for(&t.db, &context).await;
}

async fn b2_a_dearer_plan_credits_nothing_that_was_used(t: &TestDb) {
    let context = billed(&t.db);
    let billing = &context.billing;
    give(&t.db, user(0), ngn(1_000_000)).await;
    choose(&context, "a", "team").await;
    let used = |tx| async move { billing.record_usage(&tx, user(0), 1_200).await };
    t.db.run("use", used).await.unwrap();
    t.clock.advance(30 * DAY);
    billing.renew_due().await.unwrap();
    billing.collect_due().await.unwrap();
    billing.recognise().await.unwrap();
    // A whole month of the plan, and a thousand verifications beyond it: served, all of it.
    assert_eq!(income(&t.db).await, 9_900 + 50_000);
    assert_eq!(balance(&t.db, user(0), Code::DEFERRED).await, 9_900);
    let before = balance(&t.db, user(0), Code::WALLET).await;
    choose(&context, "b", "business").await;
    let back = balance(&t.db, user(0), Code::WALLET).await - before;
    assert_eq!(back, 9_900 + 742, "the plan of the month that had just begun, and its tax");
    assert_all_accounted_for(&t.db, &context).await;
}

async fn an_invoice_is_not_paid_out_of_a_frozen_wallet(t: &TestDb) {
    let context = billed(&t.db);
    give(&t.db, user(0), ngn(100_000)).await;
    choose(&context, "k", "team").await;
    let invoices = context.billing.invoices(user(0), &PageRequest::first(1)).await.unwrap();
    context.wallet.freeze_by(&caller(user(99)), user(0), "looked into").await.unwrap();
    let refused = context.billing.pay(&caller(user(0)), invoices.items[0].id).await.unwrap_err();
    assert_eq!(refused.code(), "wallet_frozen");
    context.billing.collect_due().await.unwrap();
    assert_eq!(state(&context, user(0)).await, SubscriptionState::PastDue);
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 100_000);
    context.wallet.thaw_by(&caller(user(99)), user(0), "all is well").await.unwrap();
    t.clock.advance(DAY);
    context.billing.collect_due().await.unwrap();
    assert_eq!(state(&context, user(0)).await, SubscriptionState::Active);
    assert_sound(&t.db).await;
}

async fn eight_runs_of_dunning_renewal_and_recognition_do_everything_once(t: &TestDb) {
    let context = billed(&t.db);
    choose(&context, "k", "team").await;
    let billing = &context.billing;
    let mut failed = 0;
    for days in [0, 1, 2, 2] {
        t.clock.advance(days * DAY);
        for done in join_all((0..8).map(|_| billing.collect_due())).await {
            done.unwrap();
        }
        failed += 1;
        assert_eq!(facts(&t.db, "invoice.payment_failed").await, failed);
        assert_eq!(state(&context, user(0)).await, SubscriptionState::PastDue);
    }
    give(&t.db, user(0), ngn(50_000)).await;
    t.clock.advance(2 * DAY);
    for done in join_all((0..8).map(|_| billing.collect_due())).await {
        done.unwrap();
    }
    assert_eq!(facts(&t.db, "invoice.paid").await, 1);
    t.clock.advance(23 * DAY);
    for done in join_all((0..8).map(|_| billing.renew_due())).await {
        done.unwrap();
    }
    assert_eq!(facts(&t.db, "subscription.renewed").await, 1);
    assert_eq!(facts(&t.db, "invoice.finalized").await, 2);
    t.clock.advance(10 * DAY);
    for done in join_all((0..8).map(|_| billing.recognise())).await {
        done.unwrap();
    }
    assert_eq!(income(&t.db).await, 9_900 + 3_300);
    let keyed = (0..8).map(|turn| keyed(user(0), &format!("up{turn}"), "business"));
    let keyed: Vec<_> = keyed.collect();
    let chosen = join_all(keyed.iter().map(|by| billing.choose(by, "business"))).await;
    assert!(chosen.iter().any(Result::is_ok), "{chosen:?}");
    assert_eq!(facts(&t.db, "invoice.finalized").await, 3);
    assert_all_accounted_for(&t.db, &context).await;
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

async fn an_invoice_is_paid_through_each_provider_and_nothing_stays_in_the_wallet(t: &TestDb) {
    let site = charging(&t.db, Asset::USD).await;
    for (who, provider) in (0..).zip(["paystack", "stripe", "paypal"]) {
        let bill = Bill::of(&site, user(who)).await;
        let (status, page) = bill.check_out(provider, "k").await;
        assert_eq!((status, &page["amount"]), (StatusCode::CREATED, &json!(DUE)), "{page}");
        assert_eq!(page["invoiceId"], json!(bill.id.to_string()));
        let reference = page["reference"].as_str().unwrap();
        assert_eq!(bill.state().await, InvoiceState::Open);
        site.sim.pay(reference, None).unwrap();
        told(&site).await;
        assert_eq!(bill.state().await, InvoiceState::Paid, "{provider}");
        assert_eq!(bill.balances().await, (0, 0), "{provider}");
    }
    assert_eq!((facts(&t.db, "deposit.settled").await, facts(&t.db, "invoice.paid").await), (3, 3));
    assert_sound(&t.db).await;
}

async fn b5_lost_doubled_and_shuffled_webhooks_pay_an_invoice_once(t: &TestDb) {
    let site = charging(&t.db, Asset::USD).await;
    for (who, provider) in (0..).zip(["paystack", "stripe", "paypal"]) {
        let bill = Bill::of(&site, user(who)).await;
        let (_, page) = bill.check_out(provider, "k").await;
        let reference = page["reference"].as_str().unwrap().to_owned();
        let loses = who % 2 == 0;
        let mishaps = match loses {
            true => Mishaps { lose: 100, ..Mishaps::default() },
            false => Mishaps { duplicate: 100, reorder: true, ..Mishaps::default() },
        };
        site.sim.mishaps(mishaps);
        site.sim.pay(&reference, None).unwrap();
        told(&site).await;
        if loses {
            assert_eq!(bill.state().await, InvoiceState::Open);
            t.clock.advance(Duration::from_secs(121));
            site.context.payments.sweep().await.unwrap();
        }
        told(&site).await;
        assert_eq!((bill.state().await, bill.balances().await), (InvoiceState::Paid, (0, 0)));
    }
    assert_eq!(facts(&t.db, "invoice.paid").await, 3);
    assert_sound(&t.db).await;
}

async fn b5_a_wallet_and_a_provider_that_pay_at_once_pay_once(t: &TestDb) {
    let site = charging(&t.db, Asset::USD).await;
    for (who, provider) in (0..).zip(["paystack", "stripe", "paypal", "paystack", "stripe"]) {
        let bill = Bill::of(&site, user(who)).await;
        give(&t.db, bill.owner, Money::new(DUE + 1, Asset::USD)).await;
        let (_, page) = bill.check_out(provider, "k").await;
        let reference = page["reference"].as_str().unwrap();
        site.sim.pay(reference, None).unwrap();
        site.sim.deliver().await;
        let (billing, path) = (&site.context.billing, format!("/v1/user/wallet/verify/{reference}"));
        let by = caller(bill.owner);
        let out_of_wallet = (0..4).map(|_| billing.pay(&by, bill.id));
        let verified = (0..4).map(|_| site.get(bill.owner, &path));
        let (paid, asked, ran, collected, recognised) = futures_util::join!(
            join_all(out_of_wallet),
            join_all(verified),
            site.worker.drain(),
            billing.collect_due(),
            billing.recognise(),
        );
        ran.and(collected).and(recognised).unwrap();
        assert!(asked.iter().all(|(status, _)| *status == StatusCode::OK), "{asked:?}");
        let refused = paid.into_iter().filter_map(Result::err).map(|it| it.code().to_owned());
        assert!(refused.into_iter().all(|code| code == "invoice_closed"));
        told(&site).await;
        assert_eq!(bill.state().await, InvoiceState::Paid);
        // All that came is there but what was asked for, once.
        assert_eq!(bill.balances().await, (DUE + 1, 0), "{provider}");
    }
    assert_eq!((facts(&t.db, "deposit.settled").await, facts(&t.db, "invoice.paid").await), (5, 5));
    assert_sound(&t.db).await;
}

async fn b5_what_comes_after_an_invoice_was_paid_stays_in_the_wallet(t: &TestDb) {
    let site = charging(&t.db, Asset::USD).await;
    let bill = Bill::of(&site, user(0)).await;
    let (_, page) = bill.check_out("stripe", "k").await;
    let reference = page["reference"].as_str().unwrap();
    give(&t.db, user(0), Money::new(DUE, Asset::USD)).await;
    site.context.billing.pay(&caller(user(0)), bill.id).await.unwrap();
    // Late, too: nobody waits for it any more.
    t.clock.advance(2 * DAY);
    site.context.payments.sweep().await.unwrap();
    assert_eq!(facts(&t.db, "deposit.expired").await, 1);
    site.sim.pay(reference, None).unwrap();
    told(&site).await;
    assert_eq!((bill.state().await, bill.balances().await), (InvoiceState::Paid, (DUE, 0)));
    let (status, closed) = bill.check_out("paystack", "late").await;
    assert_eq!((status, &closed["code"]), (StatusCode::CONFLICT, &json!("invoice_closed")));
    assert_sound(&t.db).await;
}

async fn another_amount_than_the_invoice_s_is_set_aside_until_an_admin_decides(t: &TestDb) {
    let site = charging(&t.db, Asset::USD).await;
    for (who, came) in (0..).zip([DUE - 1, DUE + 7]) {
        let bill = Bill::of(&site, user(who)).await;
        let (_, page) = bill.check_out("paystack", "k").await;
        let reference = page["reference"].as_str().unwrap();
        site.sim.pay(reference, Some(Money::new(came, Asset::USD))).unwrap();
        told(&site).await;
        assert_eq!((bill.state().await, bill.balances().await), (InvoiceState::Open, (0, DUE)));
        let payment = page["id"].as_str().unwrap().parse().unwrap();
        let (admin, reason) = (caller(user(9)), "asked the payer");
        site.context.payments.credit(&admin, payment, reason).await.unwrap();
        // What covers the invoice pays it; less than that is the payer's to add to.
        let (state, balances) = match came >= DUE {
            true => (InvoiceState::Paid, (came - DUE, 0)),
            false => (InvoiceState::Open, (came, DUE)),
        };
        assert_eq!((bill.state().await, bill.balances().await), (state, balances));
    }
    assert_sound(&t.db).await;
}

async fn an_invoice_that_asks_for_less_by_now_leaves_the_rest_to_debts_and_wallet(t: &TestDb) {
    let site = charging(&t.db, Asset::USD).await;
    let bill = Bill::of(&site, user(0)).await;
    let (_, page) = bill.check_out("stripe", "k").await;
    t.clock.advance(10 * DAY);
    choose(&site.context, "b", "business").await;
    let back = 6_600;
    let (status, smaller) = bill.check_out("stripe", "smaller").await;
    assert_eq!((status, &smaller["amount"]), (StatusCode::CREATED, &json!(DUE - back)));
    let debt = Account::of(user(0), Code::RECEIVABLE_NEGATIVE);
    t.db.run("owe", |tx| async move {
        let clearing = Account::platform(Code::CLEARING_STRIPE);
        let owed = NewTransaction::new("chargeback_debt", "cb:x:lost".into(), "x");
        ledger::post(&tx, owed.post(debt, clearing, Money::new(7_000, Asset::USD))).await
    })
    .await
    .unwrap();
    site.sim.pay(page["reference"].as_str().unwrap(), None).unwrap();
    told(&site).await;
    assert_eq!(bill.state().await, InvoiceState::Paid);
    assert_eq!(bill.balance(Code::WALLET).await, 0);
    assert_eq!(bill.balance(Code::RECEIVABLE_NEGATIVE).await, 7_000 - back);
    assert_sound(&t.db).await;
}

async fn an_invoice_is_checked_out_by_its_owner_and_one_page_is_enough(t: &TestDb) {
    let site = charging(&t.db, Asset::USD).await;
    let bill = Bill::of(&site, user(0)).await;
    let stranger = Bill { owner: user(1), ..bill };
    assert_eq!(stranger.check_out("stripe", "x").await.0, StatusCode::NOT_FOUND);
    let path = format!("/v1/enterprise/billing/invoices/{}/checkout", bill.id);
    for (body, pointer) in [
        (json!({ "provider": "paystack" }), "/email"),
        (json!({ "provider": "crypto" }), "/currency"),
        (json!({ "provider": "stripe", "method": "barter" }), "/method"),
        (json!({ "provider": "stripe", "amount": 1 }), "/amount"),
    ] {
        let (status, answer) = site.post(user(0), &path, "wrong", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(answer["fields"][0]["pointer"], pointer, "{answer}");
    }
    let (_, first) = bill.check_out("stripe", "a").await;
    let all = ["a", "b", "c", "d"].map(|key| bill.check_out("stripe", key));
    for (status, page) in join_all(all).await {
        assert_eq!(status, StatusCode::CREATED, "{page}");
        assert_eq!(page["reference"], first["reference"]);
    }
    let other = bill.check_out("paypal", "e").await.1;
    assert_ne!(other["reference"], first["reference"]);
    assert_eq!(facts(&t.db, "deposit.initiated").await, 2);
}

async fn what_arrives_on_a_chain_pays_an_invoice_that_it_covers(t: &TestDb) {
    let site = charging(&t.db, Asset::USDC).await;
    let bill = Bill::of(&site, user(0)).await;
    let (_, page) = bill.check_out("crypto", "k").await;
    let reference = page["reference"].as_str().unwrap();
    site.sim.pay(reference, Some(Money::new(DUE + 5, Asset::USDC))).unwrap();
    told(&site).await;
    assert_eq!((bill.state().await, bill.balances().await), (InvoiceState::Paid, (5, 0)));
    assert_sound(&t.db).await;
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
