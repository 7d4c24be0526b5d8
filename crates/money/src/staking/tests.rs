//! Bonds, by the names of their invariants.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use kernel::id::kinds::User;
use kernel::{Caller, Id, Money};
use platform::db::Db;
use serde_json::json;

use super::rules::{Policy, Rewards};
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::testing::{MIGRATIONS, Site, assert_sound, balance, caller, facts, ngn, user};
use crate::{Context, Options};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn bonded(db: &Db, rewards: Option<Rewards>) -> Context {
    let staking = Policy { minimum: 1, rewards, ..Policy::default() };
    Context::new(Options { staking, ..Options::new(db.clone()) }).unwrap()
}

async fn earn(db: &Db, owner: Id<User>, amount: Money) {
    let clearing = Account::platform(Code::CLEARING_SANDBOX);
    db.run("gift", |tx| async move {
        let key = format!("gift:{}", tx.world().id::<User>());
        let gift = NewTransaction::new("gift", key, owner);
        ledger::post(&tx, gift.post(clearing, Account::of(owner, Code::EARN), amount)).await?;
        Ok(())
    })
    .await
    .unwrap();
}

async fn stake(context: &Context, owner: Id<User>, amount: i64) {
    let source = crate::payout::Source::Earnings;
    let new = super::NewStake { amount, currency: None, source };
    context.staking.stake(&caller(owner), new).await.unwrap();
}

async fn slash(db: &Db, context: &Context, minor: i64, key: &str) -> i64 {
    slash_of(db, context, user(0), minor, key).await
}

async fn slash_of(db: &Db, context: &Context, owner: Id<User>, minor: i64, key: &str) -> i64 {
    let (staking, nobody) = (&context.staking, &Caller::nobody());
    let slash =
        |tx| async move { staking.slash(&tx, nobody, owner, ngn(minor), key, Some(user(1))).await };
    db.run("slash", slash).await.unwrap().minor
}

platform::on_both_engines! { MIGRATIONS;

async fn b4_what_is_unstaked_is_free_when_it_has_cooled_and_never_before(t: &TestDb) {
    let context = bonded(&t.db, None);
    earn(&t.db, user(0), ngn(1_000)).await;
    stake(&context, user(0), 1_000).await;
    let too_much = context.staking.unstake(&caller(user(0)), 1_001, None).await.unwrap_err();
    assert_eq!(too_much.code(), "insufficient_funds");
    context.staking.unstake(&caller(user(0)), 400, None).await.unwrap();
    let of = async |code| balance(&t.db, user(0), code).await;
    assert_eq!((of(Code::STAKE).await, of(Code::UNSTAKE).await), (600, 400));
    t.clock.advance(14 * DAY - Duration::from_secs(1));
    assert_eq!(context.staking.finish_due().await.unwrap(), 0);
    t.clock.advance(Duration::from_secs(1));
    let (a, b) = futures_util::join!(context.staking.finish_due(), context.staking.finish_due());
    assert_eq!(a.unwrap() + b.unwrap(), 1, "two workers finish it once");
    assert_eq!((of(Code::EARN).await, of(Code::UNSTAKE).await), (400, 0));
    assert_eq!(facts(&t.db, "unstake.finished").await, 1);
    assert_sound(&t.db).await;
}

async fn b4_a_slash_takes_what_is_staked_and_then_what_is_cooling_down(t: &TestDb) {
    let context = bonded(&t.db, None);
    earn(&t.db, user(0), ngn(1_000)).await;
    stake(&context, user(0), 1_000).await;
    let early = context.staking.unstake(&caller(user(0)), 300, None).await.unwrap();
    t.clock.advance(DAY);
    let late = context.staking.unstake(&caller(user(0)), 400, None).await.unwrap();
    assert_eq!(slash(&t.db, &context, 500, "a").await, 500);
    let cooling = context.staking.cooling(user(0)).await.unwrap();
    let left: Vec<_> = cooling.iter().map(|it| (it.id, it.remaining.minor)).collect();
    assert_eq!(left, [(late.id, 200), (early.id, 300)]);
    t.clock.advance(14 * DAY);
    context.staking.finish_due().await.unwrap();
    assert_eq!(balance(&t.db, user(0), Code::EARN).await, 500);
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 500);
    assert_eq!(slash(&t.db, &context, 1, "b").await, 0, "there is nothing left");
    assert_sound(&t.db).await;
}

async fn b4_what_is_pinned_is_not_free_before_the_last_pin_is_gone(t: &TestDb) {
    let context = bonded(&t.db, None);
    earn(&t.db, user(0), ngn(1_000)).await;
    stake(&context, user(0), 1_000).await;
    context.staking.unstake(&caller(user(0)), 400, None).await.unwrap();
    let (staking, until) = (&context.staking, t.db.world().now() + 16 * DAY);
    let pin = async |subject: &'static str, until| {
        let pin = |tx| async move { staking.pin(&tx, user(0), subject, until).await };
        t.db.run("pin", pin).await.unwrap();
    };
    pin("a", None).await;
    pin("b", Some(until)).await;
    t.clock.advance(15 * DAY);
    assert_eq!(staking.finish_due().await.unwrap(), 0);
    pin("a", Some(t.db.world().now())).await;
    assert_eq!(staking.finish_due().await.unwrap(), 0, "the other one holds");
    assert_eq!(slash(&t.db, &context, 700, "a").await, 700);
    t.clock.advance(DAY);
    assert_eq!(staking.finish_due().await.unwrap(), 1);
    assert_eq!(balance(&t.db, user(0), Code::EARN).await, 300);
    assert_sound(&t.db).await;
}

async fn b4_nobody_escapes_a_slash_by_moving_the_bond_at_that_moment(t: &TestDb) {
    let context = bonded(&t.db, None);
    let owners: Vec<_> = (2..26).map(user).collect();
    for owner in &owners {
        earn(&t.db, *owner, ngn(1_000)).await;
        stake(&context, *owner, 1_000).await;
        context.staking.unstake(&caller(*owner), 100, None).await.unwrap();
    }
    let race = owners.iter().enumerate().map(|(at, owner)| {
        let context = &context;
        let cooling = async move {
            if at % 2 == 0 {
                // Who comes too late has nothing left to move.
                let _ = context.staking.unstake(&caller(*owner), 800, None).await;
            } else {
                let first = context.staking.cooling(*owner).await.unwrap().remove(0);
                let _ = context.staking.cancel(&caller(*owner), first.id).await;
            }
        };
        let key = format!("race:{at}");
        async move {
            let slashed = slash_of(&t.db, context, *owner, 950, &key);
            futures_util::join!(slashed, cooling).0
        }
    });
    assert_eq!(futures_util::future::join_all(race).await, [950; 24]);
    for owner in owners {
        let of = async |code| balance(&t.db, owner, code).await;
        assert_eq!(of(Code::STAKE).await + of(Code::UNSTAKE).await, 50);
        let rows = context.staking.cooling(owner).await.unwrap();
        let cooling: i64 = rows.iter().map(|it| it.remaining.minor).sum();
        assert_eq!(of(Code::UNSTAKE).await, cooling);
    }
    assert_sound(&t.db).await;
}

async fn a_cancelled_unstaking_is_staked_again_once(t: &TestDb) {
    let context = bonded(&t.db, None);
    earn(&t.db, user(0), ngn(1_000)).await;
    stake(&context, user(0), 1_000).await;
    let started = context.staking.unstake(&caller(user(0)), 400, None).await.unwrap();
    assert!(context.staking.cancel(&caller(user(1)), started.id).await.is_err());
    context.staking.cancel(&caller(user(0)), started.id).await.unwrap();
    assert!(context.staking.cancel(&caller(user(0)), started.id).await.is_err());
    assert_eq!(balance(&t.db, user(0), Code::STAKE).await, 1_000);
    t.clock.advance(15 * DAY);
    assert_eq!(context.staking.finish_due().await.unwrap(), 0);
    assert_sound(&t.db).await;
}

async fn b3_rewards_come_to_the_pool_and_are_carried_over_without_stakers(t: &TestDb) {
    let rewards = Rewards { pool: ngn(1_000), epoch: DAY };
    let context = bonded(&t.db, Some(rewards));
    context.staking.reward_due().await.unwrap();
    assert_eq!(facts(&t.db, "reward.accrued").await, 0, "nobody to give it to");
    for (owner, amount) in [(0, 100), (1, 200)] {
        earn(&t.db, user(owner), ngn(amount)).await;
        stake(&context, user(owner), amount).await;
    }
    t.clock.advance(DAY);
    for _ in 0..2 {
        context.staking.reward_due().await.unwrap();
    }
    let of = async |owner| balance(&t.db, user(owner), Code::REWARD).await;
    assert_eq!((of(0).await, of(1).await), (667, 1_333), "two pools, by stake and time");
    let claimed = context.staking.claim(&caller(user(0)), None).await.unwrap();
    assert_eq!((claimed.amount, balance(&t.db, user(0), Code::EARN).await), (667, 667));
    let again = context.staking.claim(&caller(user(0)), None).await.unwrap_err();
    assert_eq!(again.code(), "nothing_to_claim");
    assert_sound(&t.db).await;
}

async fn b3_eight_who_accrue_claim_and_finish_do_it_once(t: &TestDb) {
    let context = bonded(&t.db, Some(Rewards { pool: ngn(1_000), epoch: DAY }));
    let staking = &context.staking;
    staking.reward_due().await.unwrap();
    earn(&t.db, user(0), ngn(300)).await;
    stake(&context, user(0), 300).await;
    t.clock.advance(3 * DAY);
    for done in join_all((0..8).map(|_| staking.reward_due())).await {
        done.unwrap();
    }
    // The epoch in which nobody was there is carried over.
    assert_eq!(balance(&t.db, user(0), Code::REWARD).await, 4_000);
    let by = caller(user(0));
    let claimed = join_all((0..8).map(|_| staking.claim(&by, None))).await;
    let claimed: Vec<_> = claimed.into_iter().filter_map(Result::ok).collect();
    assert_eq!((claimed.len(), claimed[0].amount), (1, 4_000));
    assert_eq!(balance(&t.db, user(0), Code::EARN).await, 4_000);
    let started = join_all((0..8).map(|_| staking.unstake(&by, 100, None))).await;
    assert_eq!(started.iter().filter(|it| it.is_ok()).count(), 3, "there were three times 100");
    t.clock.advance(14 * DAY);
    let cancels = started.iter().flatten().take(1).map(|it| staking.cancel(&by, it.id));
    let (finished, cancelled) = futures_util::join!(
        join_all((0..8).map(|_| staking.finish_due())),
        join_all(cancels),
    );
    let finished: usize = finished.into_iter().map(Result::unwrap).sum();
    assert_eq!(finished + cancelled.iter().filter(|it| it.is_ok()).count(), 3);
    assert_eq!(balance(&t.db, user(0), Code::UNSTAKE).await, 0);
    assert_sound(&t.db).await;
}

async fn the_staking_page_has_everything_in_it(t: &TestDb) {
    let site = Site::open(&t.db).await;
    earn(&t.db, user(0), ngn(20_000)).await;
    let body = json!({ "amount": 15_000, "currency": "NGN" });
    let (status, page) = site.post(user(0), "/v1/verifier/staking/stake", "k", body.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{page}");
    assert_eq!(site.post(user(0), "/v1/verifier/staking/stake", "k", body).await.1, page);
    assert_eq!((&page["tier"], &page["nextTier"]["name"]), (&json!("bronze"), &json!("silver")));
    assert_eq!(page["bonds"][0]["earned"], 5_000);
    let body = json!({ "amount": 6_000 });
    let (status, started) = site.post(user(0), "/v1/verifier/staking/unstake", "u", body).await;
    assert_eq!(status, StatusCode::CREATED, "{started}");
    let (_, page) = site.get(user(0), "/v1/verifier/staking").await;
    assert_eq!((&page["tier"], &page["unstakings"][0]["amount"]), (&json!("none"), &json!(6_000)));
    let (status, none) = site.post(user(0), "/v1/verifier/staking/claim", "c", json!({})).await;
    assert_eq!((status, &none["code"]), (StatusCode::CONFLICT, &json!("nothing_to_claim")));
    for (amount, pointer) in [(0, "/amount"), (-1, "/amount"), (1, "/amount")] {
        let body = json!({ "amount": amount });
        let (_, refused) = site.post(user(0), "/v1/verifier/staking/stake", "x", body).await;
        assert_eq!(refused["fields"][0]["pointer"], pointer);
    }
    assert_eq!(balance(&t.db, user(0), Code::STAKE).await, 9_000);
    assert_sound(&t.db).await;
}

}
