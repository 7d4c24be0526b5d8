//! A process that dies at a point with a name: what was begun is not there, what was done is, and
//! whoever asks again under the same key learns which.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::id::kinds::Transaction;
use kernel::{Caller, Id, Kind, Result};
use parking_lot::Mutex;
use platform::db::{Db, Moment};
use platform::testing::TestDb;
use tokio::task::JoinSet;

use super::Dice;
use crate::Context;
use crate::ledger::Code;
use crate::testing::{
    MIGRATIONS, assert_sound, balance, context, facts, footprint, give, keyed, ngn, user,
};
use crate::wallet::{NewTransfer, Transfer};

const KEYS: usize = 100;
const AT_ONCE: usize = 50;
const KILLS: usize = 5;
const MINOR: i64 = 7;

async fn send(context: &Context, key: &str) -> Result<Transfer> {
    let transfer = NewTransfer { to: user(1), amount: ngn(MINOR) };
    context.wallet.transfer(&keyed(user(0), key, "7 to 1"), transfer).await
}

/// A job from its request to its payee, in one transaction.
async fn whole_job(db: &Db, context: &Context, subject: &str) -> Result<()> {
    let wallet = &context.wallet;
    db.run("job", |tx| async move {
        let hold = wallet.hold(&tx, user(0), ngn(1_000), "job", subject).await?;
        wallet.capture(&tx, hold, user(1), ngn(100)).await?;
        wallet.release_earning(&tx, hold).await?;
        context.staking.slash(&tx, &Caller::nobody(), user(1), ngn(5), subject, None).await?;
        Ok(())
    })
    .await
}

/// Lets one thing die before each of its statements, and fails unless it then has not happened.
async fn dies_everywhere(t: &TestDb, name: &str, act: impl AsyncFn() -> Result<()>) -> u32 {
    for at in 0..200 {
        let before = footprint(&t.db).await;
        let death = t.db.die_at(name, Moment::Statement(at));
        if let Some(outcome) = death.spares(act()).await {
            outcome.unwrap();
            return at;
        }
        t.at_rest().await;
        assert_eq!(footprint(&t.db).await, before, "{name} died before statement {at}");
        assert_sound(&t.db).await;
    }
    panic!("{name} has no end");
}

/// What each key was answered.
type Answers = Arc<Mutex<BTreeMap<usize, Vec<Id<Transaction>>>>>;

/// All keys, each asked for by many at once.
fn crowd(context: &Context, answers: &Answers) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for number in 0..KEYS * AT_ONCE {
        // One after the other of each key, so that all keys are under way together.
        let (key, context, answers) = (number % KEYS, context.clone(), answers.clone());
        callers.spawn(async move {
            match send(&context, &format!("key {key}")).await {
                Ok(done) => answers.lock().entry(key).or_default().push(done.id),
                Err(error) => {
                    let busy = error.kind() == Kind::Unavailable;
                    assert!(busy || error.code() == "idempotency_in_progress", "{error:?}");
                }
            }
        });
    }
    callers
}

platform::on_both_engines! { MIGRATIONS;

async fn l13_i6_what_dies_before_any_statement_or_its_commit_has_not_happened(t: &TestDb) {
    let context = context(&t.db);
    give(&t.db, user(0), ngn(10_000)).await;
    give(&t.db, user(1), ngn(10)).await;
    let statements = dies_everywhere(t, "transfer.send", async || {
        send(&context, "one").await.map(drop)
    })
    .await;
    assert!(statements >= 8, "a transfer has {statements} statements");
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 10 + MINOR);
    let statements =
        dies_everywhere(t, "job", async || whole_job(&t.db, &context, "a").await).await;
    assert!(statements >= 20, "a job has {statements} statements");
    let before = footprint(&t.db).await;
    let death = t.db.die_at("transfer.send", Moment::Commit);
    assert!(death.spares(send(&context, "two")).await.is_none());
    t.at_rest().await;
    assert_eq!(footprint(&t.db).await, before);
    // It is on disk, and nobody was told: the key knows.
    let death = t.db.die_at("transfer.send", Moment::Answer);
    assert!(death.spares(send(&context, "two")).await.is_none());
    let after = footprint(&t.db).await;
    assert_ne!(after, before);
    send(&context, "two").await.unwrap();
    assert_eq!(footprint(&t.db).await, after);
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 10 + 2 * MINOR);
    assert_sound(&t.db).await;
}

async fn i2_i6_a_hundred_keys_asked_for_by_fifty_at_once_and_killed_act_once_each(t: &TestDb) {
    let keys = i64::try_from(KEYS).unwrap();
    give(&t.db, user(0), ngn(keys * MINOR + 1)).await;
    give(&t.db, user(1), ngn(1)).await;
    let answers = Answers::default();
    let mut dice = Dice(23);
    for _ in 0..KILLS {
        // Each time another process, as far as there can be one.
        let db = t.replica();
        let context = context(&db);
        let moment = match dice.below(3) {
            0 => Moment::Statement(u32::try_from(dice.below(12)).unwrap()),
            1 => Moment::Commit,
            _ => Moment::Answer,
        };
        let death = db.die_at("transfer.send", moment);
        let mut callers = crowd(&context, &answers);
        let all = async {
            while let Some(ended) = callers.join_next().await {
                ended.unwrap();
            }
        };
        let _ = death.spares(all).await;
        callers.shutdown().await;
        t.at_rest().await;
    }
    let context = context(&t.db);
    while answers.lock().len() < KEYS {
        crowd(&context, &answers).join_all().await;
    }
    for key in 0..KEYS {
        let again = send(&context, &format!("key {key}")).await.unwrap().id;
        let answers = answers.lock();
        assert!(answers[&key].iter().all(|id| *id == again), "key {key}: {:?}", answers[&key]);
    }
    assert_eq!(facts(&t.db, "transfer.sent").await, keys);
    assert_eq!(balance(&t.db, user(0), Code::WALLET).await, 1);
    assert_eq!(balance(&t.db, user(1), Code::WALLET).await, 1 + keys * MINOR);
    assert_sound(&t.db).await;
}

}
