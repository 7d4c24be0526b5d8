//! Destinations and withdrawals, against the simulator, by the names of their invariants.

use std::time::Duration;

use http::StatusCode;
use kernel::id::kinds::{Session, User};
use kernel::{Asset, Caller, Id, Money, Principal, Role};
use serde_json::{Value as Json, json};

use super::model::{NewWithdrawal, Source, State};
use super::rules::{Fee, Policy};
use crate::Options;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::provider::ProviderName;
use crate::sim::{Fault, FaultKind, Mishaps};
use crate::testing::{
    MIGRATIONS, Site, assert_sound, balance, caller, facts, footprint, give, keyed, ngn, user,
};

const ADMIN: u128 = 99;

fn policy(asset: Asset) -> Policy {
    Policy {
        review_above: vec![(asset, 100_000.into())],
        daily_limit: vec![(asset, 500_000)],
        fees: vec![(asset, Fee { flat: 50, bps: 100 })],
        ..Policy::default()
    }
}

/// Who pays out what to whom, and the calls that it takes.
#[derive(Clone, Copy)]
struct Rail {
    provider: ProviderName,
    asset: Asset,
    kind: &'static str,
    account: &'static str,
    bank: Option<&'static str>,
    calls: &'static [&'static str],
}

const PAYSTACK: Rail = Rail {
    provider: ProviderName::Paystack,
    asset: Asset::NGN,
    kind: "bank",
    account: "0123456789",
    bank: Some("057"),
    calls: &["POST /transferrecipient", "POST /transfer"],
};

const PAYPAL: Rail = Rail {
    provider: ProviderName::Paypal,
    asset: Asset::USD,
    kind: "paypal",
    account: "ada@example.com",
    bank: None,
    calls: &["POST /v1/oauth2/token", "POST /v1/payments/payouts"],
};

const CRYPTO: Rail = Rail {
    provider: ProviderName::Crypto,
    asset: Asset::USDC,
    kind: "crypto",
    account: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    bank: None,
    calls: &["GET /v1/withdrawals/*", "POST /v1/withdrawals"],
};

/// A site whose first user has money, and a destination at a simulated provider that is cool.
struct Stage {
    site: Site,
    rail: Rail,
    destination: String,
}

impl Stage {
    async fn set(t: &platform::testing::TestDb) -> Self {
        Self::on(t, PAYSTACK).await
    }

    async fn on(t: &platform::testing::TestDb, rail: Rail) -> Self {
        let site = Site::opened(&t.db, |options| Options {
            payouts: policy(rail.asset),
            sandbox: None,
            stripe: None,
            ..options
        })
        .await;
        let million = Money::new(1_000_000, rail.asset);
        site.sim.fund(rail.provider, million);
        give_at(&t.db, rail.provider, user(0), million).await;
        let destination = save(&site, rail, rail.account).await;
        t.clock.advance(Duration::from_secs(24 * 3600));
        Self { site, rail, destination }
    }

    async fn ask(&self, key: &str, amount: i64) -> (StatusCode, Json) {
        let body = json!({ "amount": amount, "currency": self.rail.asset,
                           "destinationId": self.destination });
        self.site.post(user(0), "/v1/user/wallet/withdraw", key, body).await
    }

    /// A withdrawal that no admin has to see; answers its id.
    async fn small(&self, key: &str) -> String {
        let (status, answer) = self.ask(key, 10_000).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    async fn state(&self, id: &str) -> Json {
        let path = format!("/v1/user/wallet/withdrawals/{id}");
        self.site.get(user(0), &path).await.1["status"].clone()
    }

    /// What the owner has: spendable, and on its way out.
    async fn money(&self) -> (i64, i64) {
        let of = async |code| {
            let account = Account::of(user(0), code);
            ledger::balance(&self.site.db, account, self.rail.asset).await.unwrap().minor
        };
        (of(Code::WALLET).await, of(Code::WITHDRAW).await)
    }

    async fn assert_reconciled(&self) {
        let Rail { provider, asset, .. } = self.rail;
        let clearing = Account::platform(Code::clearing(provider));
        // What it costs is not always taken in what is paid.
        for asset in [asset, Asset::USD, Asset::ETH] {
            let booked = ledger::balance(&self.site.db, clearing, asset).await.unwrap();
            assert_eq!(booked, self.site.sim.balance(provider, asset));
        }
        assert_sound(&self.site.db).await;
    }
}

/// Money that came through a provider, as the simulator has it too.
async fn give_at(db: &platform::db::Db, from: ProviderName, to: Id<User>, amount: Money) {
    let clearing = Account::platform(Code::clearing(from));
    db.run("gift", |tx| async move {
        let gift = NewTransaction::new("gift", format!("gift:{to}:{}", amount.asset), to);
        ledger::post(&tx, gift.post(clearing, Account::of(to, Code::WALLET), amount)).await?;
        Ok(())
    })
    .await
    .unwrap();
}

async fn save(site: &Site, rail: Rail, account: &str) -> String {
    let body = json!({ "kind": rail.kind, "currency": rail.asset, "account": account,
                       "bank": rail.bank });
    let key = format!("{account} {}", rail.asset);
    let (status, answer) = site.post(user(0), "/v1/payout-destinations", &key, body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    if rail.bank.is_some() {
        assert_eq!(answer["name"], "ADA LOVELACE");
    }
    answer["id"].as_str().unwrap().to_owned()
}

fn fault(call: &str, kind: FaultKind) -> Fault {
    Fault { provider: None, call: call.to_owned(), kind, times: 1 }
}

fn reference(id: &str) -> String {
    id.replace('_', "-")
}

/// Loses, delays and doubles each call of a rail in every way, and fails unless each withdrawal is
/// one payout.
async fn assert_paid_once_whatever_is_lost(t: &platform::testing::TestDb, rail: Rail) {
    let stage = Stage::on(t, rail).await;
    let kinds = [
        FaultKind::LoseReply,
        FaultKind::ErrorAfter,
        FaultKind::ErrorBefore,
        FaultKind::LoseRequest,
        FaultKind::RateLimit,
    ];
    for kind in kinds {
        for call in rail.calls {
            t.clock.advance(Duration::from_secs(24 * 3600 + 1));
            stage.site.sim.fault(fault(call, kind));
            let id = stage.small(&format!("{call}{kind:?}")).await;
            for _ in 0..6 {
                stage.site.worker.run_due().await.unwrap();
                t.clock.advance(Duration::from_secs(180));
                stage.site.context.payouts.sweep().await.unwrap();
            }
            assert_eq!(stage.state(&id).await, "settled", "{call} {kind:?}");
            assert_eq!(stage.site.sim.payouts(&reference(&id)), 1);
        }
    }
    assert_eq!(facts(&t.db, "withdrawal.settled").await, 10);
    stage.assert_reconciled().await;
}

/// What is declined or fails is back; what comes back after it was paid is back as well.
async fn assert_nothing_is_lost_on_the_way_back(t: &platform::testing::TestDb, rail: Rail) {
    let stage = Stage::on(t, rail).await;
    let last = rail.calls[rail.calls.len() - 1];
    stage.site.sim.fault(fault(last, FaultKind::Decline));
    let declined = stage.small("d").await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&declined).await, "failed");
    stage.site.sim.pay_out_at_once(false);
    let mut ids = Vec::new();
    for key in ["failed", "returned"] {
        let id = stage.small(key).await;
        stage.site.worker.drain().await.unwrap();
        assert_eq!(stage.state(&id).await, "submitted");
        ids.push(id);
    }
    stage.site.sim.fail_payout(&reference(&ids[0])).unwrap();
    stage.site.sim.settle_payout(&reference(&ids[1])).unwrap();
    stage.site.sim.mishaps(Mishaps { duplicate: 100, ..Mishaps::default() });
    stage.site.sim.deliver().await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&ids[0]).await, "failed");
    assert_eq!(stage.state(&ids[1]).await, "settled");
    stage.site.sim.return_payout(&reference(&ids[1])).unwrap();
    stage.site.sim.deliver().await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&ids[1]).await, "returned");
    assert_eq!(stage.money().await, (1_000_000, 0));
    stage.assert_reconciled().await;
}

/// A payout that PayPal has made, and of which nobody has heard.
async fn with_a_lost_reply(t: &platform::testing::TestDb) -> (Stage, String) {
    let stage = Stage::on(t, PAYPAL).await;
    stage.site.sim.fault(fault("POST /v1/payments/payouts", FaultKind::LoseReply));
    let id = stage.small("k").await;
    stage.site.worker.run_due().await.unwrap();
    assert_eq!(stage.state(&id).await, "unknown");
    (stage, id)
}

platform::on_both_engines! { MIGRATIONS;

async fn a_small_withdrawal_is_paid_and_costs_what_was_quoted(t: &TestDb) {
    let stage = Stage::set(t).await;
    let quote = "/v1/user/wallet/withdrawals/quote?amount=10000&currency=NGN";
    let (_, quote) = stage.site.get(user(0), quote).await;
    assert_eq!((&quote["fee"], &quote["total"]), (&json!(150), &json!(10_150)));
    let id = stage.small("k").await;
    assert_eq!(stage.state(&id).await, "approved");
    assert_eq!(stage.money().await, (989_850, 10_150));
    assert_eq!(stage.small("k").await, id, "the same key is the same withdrawal");
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&id).await, "settled");
    assert_eq!(stage.money().await, (989_850, 0));
    let income = Account::platform(Code::FEE_WITHDRAW);
    assert_eq!(ledger::balance(&t.db, income, Asset::NGN).await.unwrap(), ngn(150));
    stage.site.sim.deliver().await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(facts(&t.db, "withdrawal.settled").await, 1);
    stage.assert_reconciled().await;
    let path = format!("/v1/user/wallet/withdrawals/{id}");
    assert_eq!(stage.site.get(user(1), &path).await.0, StatusCode::NOT_FOUND);
}

async fn a_large_withdrawal_waits_for_an_admin_who_is_somebody_else(t: &TestDb) {
    let stage = Stage::set(t).await;
    let (_, answer) = stage.ask("k", 100_001).await;
    let id = answer["id"].as_str().unwrap();
    assert_eq!(answer["status"], "requested");
    stage.site.worker.drain().await.unwrap();
    let (_, queue) = stage.site.get(user(ADMIN), "/v1/admin/withdrawals?status=requested").await;
    assert_eq!((&queue[0]["id"], &queue[0]["review"]), (&json!(id), &json!("large_amount")));
    let approve = format!("/v1/admin/withdrawals/{id}/approve");
    let (status, own) = stage.site.post(user(0), &approve, "own", json!({})).await;
    assert_eq!((status, &own["code"]), (StatusCode::FORBIDDEN, &json!("own_withdrawal")));
    assert_eq!(stage.site.post(user(ADMIN), &approve, "a", json!({})).await.0, StatusCode::OK);
    let cancel = format!("/v1/user/wallet/withdrawals/{id}/cancel");
    let (status, late) = stage.site.post(user(0), &cancel, "c", json!({})).await;
    assert_eq!((status, &late["code"]), (StatusCode::CONFLICT, &json!("withdrawal_decided")));
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(id).await, "settled");
    stage.assert_reconciled().await;
}

async fn an_address_that_takes_several_coins_is_matched_by_its_currency(t: &TestDb) {
    let stage = Stage::on(t, CRYPTO).await;
    save(&stage.site, Rail { asset: Asset::ETH, ..CRYPTO }, CRYPTO.account).await;
    t.clock.advance(Duration::from_secs(24 * 3600));
    let ask = async |currency: Option<&str>| {
        let body = json!({ "amount": 10_000, "address": CRYPTO.account, "currency": currency });
        let key = format!("{currency:?}");
        stage.site.post(user(0), "/v1/user/wallet/withdraw", &key, body).await
    };
    for (currency, pointer) in [(None, "/currency"), (Some("USDT"), "/address")] {
        let (status, answer) = ask(currency).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(answer["fields"][0]["pointer"], pointer, "{answer}");
    }
    let (status, answer) = ask(Some("USDC")).await;
    assert_eq!((status, &answer["destinationId"]), (StatusCode::CREATED, &json!(stage.destination)));
}

async fn i1_what_was_answered_is_answered_again_whatever_has_become_of_it(t: &TestDb) {
    let stage = Stage::set(t).await;
    let (_, asked) = stage.ask("k", 200_000).await;
    let id = asked["id"].as_str().unwrap();
    let cancel = format!("/v1/user/wallet/withdrawals/{id}/cancel");
    let first = stage.site.post(user(0), &cancel, "c", json!({})).await;
    assert_eq!((first.0, &first.1["status"]), (StatusCode::OK, &json!("cancelled")));
    assert_eq!(stage.ask("k", 200_000).await.1, asked);
    assert_eq!(stage.site.post(user(0), &cancel, "c", json!({})).await, first);
    for (how, body) in [("approve", json!({})), ("reject", json!({ "reason": "looks odd" }))] {
        let (_, asked) = stage.ask(how, 200_000).await;
        let path = format!("/v1/admin/withdrawals/{}/{how}", asked["id"].as_str().unwrap());
        let first = stage.site.post(user(ADMIN), &path, how, body.clone()).await;
        assert_eq!(first.0, StatusCode::OK, "{first:?}");
        stage.site.worker.drain().await.unwrap();
        assert_eq!(stage.site.post(user(ADMIN), &path, how, body).await, first);
    }
    assert_eq!(facts(&t.db, "withdrawal.cancelled").await, 1);
    assert_eq!(facts(&t.db, "withdrawal.rejected").await, 1);
    stage.assert_reconciled().await;
}

async fn what_is_cancelled_or_rejected_is_back_whole_and_once(t: &TestDb) {
    let stage = Stage::set(t).await;
    for (step, who, body) in [
        ("/v1/user/wallet/withdrawals/{id}/cancel", user(0), json!({})),
        ("/v1/admin/withdrawals/{id}/reject", user(ADMIN), json!({ "reason": "looks odd" })),
    ] {
        let (_, answer) = stage.ask(step, 200_000).await;
        let path = step.replace("{id}", answer["id"].as_str().unwrap());
        assert_eq!(stage.money().await, (1_000_000 - 202_050, 202_050));
        assert_eq!(stage.site.post(who, &path, "1", body.clone()).await.0, StatusCode::OK);
        let again = stage.site.post(who, &path, "2", body).await.0;
        assert_eq!(again, StatusCode::CONFLICT);
        assert_eq!(stage.money().await, (1_000_000, 0));
    }
    assert_eq!(stage.site.sim.balance(ProviderName::Paystack, Asset::NGN), ngn(1_000_000));
    assert_sound(&t.db).await;
}

async fn p5_a_payout_is_made_once_whatever_is_lost_on_the_way(t: &TestDb) {
    assert_paid_once_whatever_is_lost(t, PAYSTACK).await;
}

async fn p5_a_payout_through_paypal_is_made_once_whatever_is_lost_on_the_way(t: &TestDb) {
    assert_paid_once_whatever_is_lost(t, PAYPAL).await;
}

async fn p6_what_paypal_declines_fails_or_returns_is_back_in_the_wallet(t: &TestDb) {
    assert_nothing_is_lost_on_the_way_back(t, PAYPAL).await;
}

async fn p5_a_payout_on_a_chain_is_made_once_whatever_is_lost_on_the_way(t: &TestDb) {
    assert_paid_once_whatever_is_lost(t, CRYPTO).await;
}

async fn p6_what_a_chain_declines_fails_or_drops_is_back_in_the_wallet(t: &TestDb) {
    assert_nothing_is_lost_on_the_way_back(t, CRYPTO).await;
}

async fn what_was_asked_for_is_told_again_although_its_destination_is_gone(t: &TestDb) {
    let stage = Stage::set(t).await;
    let first = stage.ask("k", 10_000).await;
    let id = stage.destination.parse().unwrap();
    stage.site.context.payouts.remove(&caller(user(0)), id).await.unwrap();
    assert_eq!(stage.ask("k", 10_000).await.1["id"], first.1["id"]);
    assert_eq!(stage.ask("another", 10_000).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(facts(&t.db, "withdrawal.requested").await, 1);
}

async fn a_payout_whose_cost_is_taken_in_another_currency_settles(t: &TestDb) {
    for rail in [CRYPTO, Rail { asset: Asset::EUR, ..PAYPAL }] {
        let stage = Stage::on(t, rail).await;
        let id = stage.small(&format!("{}", rail.provider)).await;
        stage.site.worker.drain().await.unwrap();
        stage.site.sim.deliver().await;
        stage.site.worker.drain().await.unwrap();
        assert_eq!(stage.state(&id).await, "settled", "{}", rail.provider);
        stage.assert_reconciled().await;
    }
}

async fn p5_a_second_asking_that_is_refused_gives_nothing_back(t: &TestDb) {
    let (stage, id) = with_a_lost_reply(t).await;
    // Paid, although the second asking is told no.
    stage.site.sim.fault(fault("POST /v1/payments/payouts", FaultKind::Decline));
    t.clock.advance(Duration::from_secs(180));
    stage.site.context.payouts.sweep().await.unwrap();
    assert_eq!(stage.state(&id).await, "unknown");
    assert_eq!(stage.money().await.0, 989_850);
    for _ in 0..3 {
        t.clock.advance(Duration::from_secs(3600));
        stage.site.context.payouts.sweep().await.unwrap();
    }
    assert_eq!(stage.state(&id).await, "settled");
    assert_eq!(stage.site.sim.payouts(&reference(&id)), 1);
    stage.assert_reconciled().await;
}

async fn a_payout_too_old_for_paypal_to_know_is_not_asked_for_again(t: &TestDb) {
    let (stage, id) = with_a_lost_reply(t).await;
    t.clock.advance(Duration::from_secs(30 * 24 * 3600));
    stage.site.context.payouts.sweep().await.unwrap();
    assert_eq!(stage.state(&id).await, "unknown", "an admin's to look into");
    assert_eq!(stage.site.sim.payouts(&reference(&id)), 1);
}

async fn p5_two_workers_send_one_payout(t: &TestDb) {
    let stage = Stage::set(t).await;
    let id = stage.small("k").await;
    t.clock.advance(Duration::from_secs(180));
    let (payouts, worker) = (&stage.site.context.payouts, &stage.site.worker);
    let (a, b, c) = futures_util::join!(worker.run_due(), payouts.sweep(), payouts.sweep());
    a.unwrap();
    b.unwrap();
    c.unwrap();
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&id).await, "settled");
    assert_eq!(stage.site.sim.payouts(&reference(&id)), 1);
    stage.assert_reconciled().await;
}

async fn a_declined_or_failed_payout_is_back_in_the_wallet(t: &TestDb) {
    let stage = Stage::set(t).await;
    stage.site.sim.fault(fault("POST /transfer", FaultKind::Decline));
    let declined = stage.small("d").await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&declined).await, "failed");
    stage.site.sim.pay_out_at_once(false);
    let failed = stage.small("f").await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&failed).await, "submitted");
    stage.site.sim.fail_payout(&reference(&failed)).unwrap();
    stage.site.sim.deliver().await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&failed).await, "failed");
    assert_eq!(stage.money().await, (1_000_000, 0));
    stage.assert_reconciled().await;
}

async fn a_payout_that_comes_back_unheard_is_looked_for(t: &TestDb) {
    let stage = Stage::set(t).await;
    let id = stage.small("k").await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&id).await, "settled");
    stage.site.sim.mishaps(Mishaps { lose: 100, ..Mishaps::default() });
    t.clock.advance(Duration::from_secs(24 * 3600));
    stage.site.context.payouts.sweep().await.unwrap();
    assert_eq!(stage.state(&id).await, "settled");
    stage.site.sim.return_payout(&reference(&id)).unwrap();
    stage.site.sim.deliver().await;
    t.clock.advance(Duration::from_secs(24 * 3600));
    stage.site.context.payouts.sweep().await.unwrap();
    assert_eq!(stage.state(&id).await, "returned");
    assert_eq!(stage.money().await, (1_000_000, 0));
    stage.assert_reconciled().await;
}

async fn p6_a_payout_that_comes_back_restores_the_balance_exactly(t: &TestDb) {
    let stage = Stage::set(t).await;
    let id = stage.small("k").await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.money().await.0, 989_850);
    stage.site.sim.return_payout(&reference(&id)).unwrap();
    stage.site.sim.mishaps(Mishaps { duplicate: 100, ..Mishaps::default() });
    stage.site.sim.deliver().await;
    stage.site.worker.drain().await.unwrap();
    assert_eq!(stage.state(&id).await, "returned");
    assert_eq!(stage.money().await, (1_000_000, 0));
    assert_eq!(facts(&t.db, "withdrawal.returned").await, 1);
    stage.assert_reconciled().await;
}

async fn limits_a_new_session_and_a_frozen_wallet_hold_money_back(t: &TestDb) {
    let stage = Stage::set(t).await;
    let payouts = &stage.site.context.payouts;
    let destination = stage.destination.parse().unwrap();
    let new = |amount| {
        NewWithdrawal { source: Source::Wallet, amount, currency: None, destination }
    };
    let session: Id<Session> = t.db.world().id();
    let fresh = Caller::of(Principal::new(user(0), Role::User, session));
    let waiting = payouts.withdraw(&fresh, new(1_000)).await.unwrap();
    assert_eq!((waiting.state, waiting.review.as_deref()), (State::Requested, Some("new_session")));

    let before = footprint(&t.db).await;
    let large = payouts.withdraw(&caller(user(0)), new(499_001)).await.unwrap_err();
    assert_eq!(large.code(), "daily_limit");
    let poor = payouts.withdraw(&caller(user(0)), new(999_999)).await.unwrap_err();
    assert_eq!(poor.code(), "insufficient_funds");
    let db = &t.db;
    let wallet = &stage.site.context.wallet;
    assert_eq!(footprint(db).await, before);
    for turn in 0..4 {
        payouts.withdraw(&keyed(user(0), &turn.to_string(), ""), new(1_000)).await.unwrap();
    }
    let often = payouts.withdraw(&caller(user(0)), new(1_000)).await.unwrap_err();
    assert_eq!(often.code(), "too_many_withdrawals");
    t.clock.advance(Duration::from_secs(24 * 3600 + 1));
    db.run("freeze", |tx| async move {
        wallet.freeze(&tx, &Caller::nobody(), user(0), "charge-back").await
    })
    .await
    .unwrap();
    let frozen = payouts.withdraw(&caller(user(0)), new(1_000)).await.unwrap_err();
    assert_eq!(frozen.code(), "wallet_frozen");
    let transfer = crate::wallet::NewTransfer { to: user(5), amount: ngn(100) };
    give(db, user(5), ngn(1)).await;
    let sent = wallet.transfer(&caller(user(0)), transfer).await.unwrap_err();
    assert_eq!(sent.code(), "wallet_frozen");
    assert_sound(db).await;
}

async fn of_many_requests_at_once_only_so_many_pass_as_the_day_allows(t: &TestDb) {
    let stage = Stage::set(t).await;
    let keys: Vec<String> = (0..12).map(|turn| turn.to_string()).collect();
    let asked = keys.iter().map(|key| stage.ask(key, 1_000));
    let answers = futures_util::future::join_all(asked).await;
    let made = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    assert_eq!(made, 5);
    assert_sound(&t.db).await;
}

async fn a_destination_is_looked_up_cools_and_can_be_removed(t: &TestDb) {
    let stage = Stage::set(t).await;
    let site = &stage.site;
    for (body, pointer) in [
        (
            json!({ "kind": "bank", "currency": "NGN", "account": "9999999999", "bank": "1" }),
            "/account",
        ),
        (json!({ "kind": "bank", "currency": "NGN", "account": "0123456789" }), "/bank"),
        (json!({ "kind": "bank", "currency": "NGN", "account": "01 23", "bank": "1" }), "/account"),
        (json!({ "kind": "bank", "currency": "EUR", "account": "1", "bank": "1" }), "/currency"),
        (json!({ "kind": "crypto", "currency": "NGN", "account": "1" }), "/currency"),
    ] {
        let (status, answer) = site.post(user(0), "/v1/payout-destinations", "k", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
        assert_eq!(answer["fields"][0]["pointer"], pointer, "{answer}");
    }
    let warm = save(site, PAYSTACK, "0123456780").await;
    let body = json!({ "amount": 1_000, "destinationId": warm });
    let (status, answer) = site.post(user(0), "/v1/user/wallet/withdraw", "w", body).await;
    assert_eq!((status, &answer["code"]), (StatusCode::CONFLICT, &json!("destination_cooling")));
    let (_, all) = site.get(user(0), "/v1/payout-destinations").await;
    assert_eq!((all.as_array().unwrap().len(), &all[1]["mask"]), (2, &json!("…6789")));
    assert!(!all.to_string().contains("0123456789"));

    let body = json!({ "amount": 1_000, "address": "0123456789" });
    let (status, _) = site.post(user(0), "/v1/user/wallet/withdraw", "a", body.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, other) = site.post(user(1), "/v1/user/wallet/withdraw", "b", body).await;
    assert_eq!(other["fields"][0]["code"], "not_saved");
    let body = json!({ "amount": 1_000, "destinationId": stage.destination });
    let (_, other) = site.post(user(1), "/v1/user/wallet/withdraw", "c", body).await;
    assert_eq!(other["fields"][0]["pointer"], "/destinationId");

    let payouts = &site.context.payouts;
    let id = stage.destination.parse().unwrap();
    assert!(payouts.remove(&caller(user(1)), id).await.is_err());
    payouts.remove(&caller(user(0)), id).await.unwrap();
    assert!(payouts.remove(&caller(user(0)), id).await.is_err());
    site.worker.drain().await.unwrap();
    assert_eq!(facts(&t.db, "withdrawal.settled").await, 1, "what was on its way went on");
}

async fn earnings_are_paid_out_of_earnings(t: &TestDb) {
    let stage = Stage::set(t).await;
    let clearing = Account::platform(Code::CLEARING_PAYSTACK);
    t.db.run("earn", |tx| async move {
        let earned = NewTransaction::new("gift", "earned".into(), user(0));
        ledger::post(&tx, earned.post(clearing, Account::of(user(0), Code::EARN), ngn(20_000)))
            .await?;
        Ok(())
    })
    .await
    .unwrap();
    stage.site.sim.fund(ProviderName::Paystack, ngn(20_000));
    let body = json!({ "amount": 10_000, "destinationId": stage.destination });
    let (status, answer) = stage.site.post(user(0), "/v1/verifier/withdraw", "k", body).await;
    assert_eq!((status, &answer["source"]), (StatusCode::CREATED, &json!("earnings")));
    stage.site.worker.drain().await.unwrap();
    assert_eq!(balance(&t.db, user(0), Code::EARN).await, 9_850);
    assert_eq!(stage.money().await, (1_000_000, 0));
    stage.assert_reconciled().await;
}

}
