//! The same request twice acts once.

use kernel::Caller;
use kernel::caller::Idempotency;
use tokio::sync::Barrier;

use super::*;
use crate::db::once::{REPLY_LIFETIME, sweep};

fn asking(scope: u8, fingerprint: u8) -> Caller {
    let idempotency = Idempotency::new([scope; 32], [fingerprint; 32]);
    Caller { idempotency: Some(Arc::new(idempotency)), ..Caller::nobody() }
}

fn is_replayed(caller: &Caller) -> bool {
    caller.idempotency.as_ref().unwrap().is_replayed()
}

/// The effect: one more thing, named in the answer.
async fn create(db: &Db, caller: &Caller) -> Result<i64> {
    db.once(caller, "thing.create", |tx| async move {
        let next = "SELECT CAST(count(*) AS BIGINT) + 1 FROM things";
        let id = tx.one(next, &[], |row| row.take()).await?;
        put(&tx, id).await?;
        Ok(id)
    })
    .await
}

/// Takes the one thing that can be taken only once.
async fn take(db: &Db, caller: &Caller) -> Result<String> {
    db.once(caller, "thing.take", |tx| async move {
        if tx.touch("UPDATE things SET size = size + 1 WHERE id = 1 AND size = 0", &[]).await? {
            return Ok("taken".to_owned());
        }
        Err(Error::conflict("gone_already", "Somebody has taken it."))
    })
    .await
}

async fn remembered(db: &Db) -> i64 {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM idempotency";
    db.one(sql, &[], |row| row.take()).await.unwrap()
}

on_both_engines! { TABLES;
    async fn a_second_request_with_the_same_key_gets_the_first_answer(t: &TestDb) {
        let (first, second) = (asking(1, 1), asking(1, 1));
        assert_eq!(create(&t.db, &first).await.unwrap(), 1);
        assert!(!is_replayed(&first));
        assert_eq!(create(&t.db, &second).await.unwrap(), 1);
        assert!(is_replayed(&second));
        assert_eq!(create(&t.db, &asking(2, 1)).await.unwrap(), 2, "another key acts");
        assert_eq!(create(&t.db, &Caller::nobody()).await.unwrap(), 3, "no key always acts");
        assert_eq!(ids(&t.db).await, [1, 2, 3]);
    }

    async fn a_key_used_for_another_request_is_refused(t: &TestDb) {
        create(&t.db, &asking(1, 1)).await.unwrap();
        let other = asking(1, 2);
        let error = create(&t.db, &other).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Invalid, "idempotency_key_reused"));
        assert!(!is_replayed(&other));
        assert_eq!(ids(&t.db).await, [1]);
    }

    async fn requests_at_the_same_time_have_one_effect(t: &TestDb) {
        let asked = (0..16).map(|_| {
            let (db, caller) = (t.db.clone(), asking(1, 1));
            tokio::spawn(async move { create(&db, &caller).await })
        });
        for answer in within_a_minute(futures_util::future::join_all(asked)).await {
            match answer.unwrap() {
                Ok(id) => assert_eq!(id, 1),
                Err(error) => assert_eq!(
                    (error.kind(), error.code()),
                    (Kind::Conflict, "idempotency_in_progress")
                ),
            }
        }
        assert_eq!(ids(&t.db).await, [1]);
    }

    async fn a_second_request_while_the_first_one_runs_is_told_so(t: &TestDb) {
        let (db, caller) = (&t.db, asking(1, 1));
        let first = t.db.once(&caller, "thing.create", |tx| async move {
            put(&tx, 1).await?;
            let error = create(db, &asking(1, 1)).await.unwrap_err();
            assert_eq!(error.code(), "idempotency_in_progress");
            assert!(error.retry_after_seconds().is_some());
            Ok(1)
        });
        assert_eq!(within_a_minute(first).await.unwrap(), 1);
    }

    async fn a_refusal_by_the_state_of_things_stands(t: &TestDb) {
        write(&t.db, 1).await.unwrap();
        take(&t.db, &asking(1, 1)).await.unwrap();
        assert_eq!(take(&t.db, &asking(2, 1)).await.unwrap_err().code(), "gone_already");
        let free = t.db.run("free", |tx| async move {
            Ok(tx.execute("UPDATE things SET size = 0", &[]).await?)
        });
        free.await.unwrap();
        let late = asking(2, 1);
        let error = take(&t.db, &late).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Conflict, "gone_already"));
        assert_eq!(error.message(), "Somebody has taken it.");
        assert!(is_replayed(&late), "a late duplicate does not succeed by surprise");
        take(&t.db, &asking(3, 1)).await.expect("a new key acts on what is now so");
    }

    async fn a_request_that_was_wrong_or_failed_leaves_its_key_unused(t: &TestDb) {
        for kind in [Kind::Invalid, Kind::Forbidden, Kind::NotFound, Kind::Limited, Kind::Internal,
                     Kind::Unavailable] {
            let refused: Result<i64> = t.db.once(&asking(1, 1), "thing.create", |tx| async move {
                put(&tx, 7).await?;
                Err(Error::new(kind, "no", "No."))
            })
            .await;
            assert_eq!(refused.unwrap_err().kind(), kind);
        }
        assert_eq!(remembered(&t.db).await, 0);
        assert_eq!(create(&t.db, &asking(1, 9)).await.unwrap(), 1);
    }

    async fn a_request_cut_off_before_its_commit_leaves_its_key_unused(t: &TestDb) {
        let cut_off = asking(1, 1);
        let work = t.db.once(&cut_off, "thing.create", |tx| async move {
            put(&tx, 1).await?;
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            Ok(1)
        });
        assert!(cancelled_after(100, work).await.is_none());
        let again = asking(1, 1);
        assert_eq!(within_a_minute(create(&t.db, &again)).await.unwrap(), 1);
        assert!(!is_replayed(&again));
    }

    async fn a_panicking_request_leaves_its_key_unused(t: &TestDb) {
        let db = t.db.clone();
        let panicking = tokio::spawn(async move {
            db.once(&asking(1, 1), "thing.create", |tx| async move {
                put(&tx, 1).await?;
                if tx.now().micros() > 0 {
                    panic_quietly();
                }
                Ok(1)
            })
            .await
        });
        assert!(panicking.await.unwrap_err().is_panic());
        assert_eq!(within_a_minute(create(&t.db, &asking(1, 1))).await.unwrap(), 1);
    }

    async fn a_reply_is_forgotten_when_its_time_is_over(t: &TestDb) {
        create(&t.db, &asking(1, 1)).await.unwrap();
        t.clock.advance(REPLY_LIFETIME - Duration::from_micros(1));
        assert_eq!(create(&t.db, &asking(1, 1)).await.unwrap(), 1);
        assert_eq!(sweep(&t.db).await.unwrap(), 0);
        t.clock.advance(Duration::from_micros(1));
        assert_eq!(create(&t.db, &asking(1, 2)).await.unwrap(), 2, "the key is free again");
        assert_eq!(create(&t.db, &asking(1, 2)).await.unwrap(), 2);
        t.clock.advance(REPLY_LIFETIME);
        assert_eq!(sweep(&t.db).await.unwrap(), 1);
        assert_eq!(remembered(&t.db).await, 0);
    }

    async fn nothing_is_remembered_of_a_transaction_that_did_not_commit(t: &TestDb) {
        write(&t.db, 1).await.unwrap();
        let failed: Result<()> = t.db.once(&asking(1, 1), "thing.put", |tx| async move {
            let _ = put(&tx, 1).await;
            Ok(())
        })
        .await;
        assert!(failed.is_err());
        assert_eq!(remembered(&t.db).await, 0);
    }
}

/// Whoever meets at the barrier has decided that the key is unused: two replicas in the narrow
/// place between looking and acting.
async fn meeting(db: &Db, met: &Arc<Barrier>) -> (Result<String>, bool) {
    let caller = asking(1, 1);
    let first_time = std::sync::atomic::AtomicBool::new(true);
    let outcome = db
        .once(&caller, "thing.take", |tx| {
            let meet = first_time.swap(false, Ordering::SeqCst).then(|| met.clone());
            async move {
                if let Some(met) = meet {
                    met.wait().await;
                }
                let sql = "UPDATE things SET size = size + 1 WHERE id = 1 AND size = 0";
                if tx.touch(sql, &[]).await? {
                    return Ok("taken".to_owned());
                }
                Err(Error::conflict("gone_already", "Somebody has taken it."))
            }
        })
        .await;
    (outcome, is_replayed(&caller))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_asked_at_once_give_one_effect_and_one_answer() {
    let t = TestDb::postgres(TABLES).await;
    write(&t.db, 1).await.unwrap();
    for round in 0..5 {
        let met = Arc::new(Barrier::new(2));
        let (left, right) = (t.replica(), t.replica());
        let both = async { tokio::join!(meeting(&left, &met), meeting(&right, &met)) };
        let ((left, left_replayed), (right, right_replayed)) = within_a_minute(both).await;
        assert_eq!(left.unwrap(), "taken", "round {round}");
        assert_eq!(right.unwrap(), "taken", "round {round}: no refusal beside a success");
        assert!(left_replayed != right_replayed, "one of them acted, one was told");
        let reset = t.db.run("reset", |tx| async move {
            tx.execute("DELETE FROM idempotency", &[]).await?;
            Ok(tx.execute("UPDATE things SET size = 0", &[]).await?)
        });
        reset.await.unwrap();
    }
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_that_both_act_commit_only_one_of_it() {
    let t = TestDb::postgres(TABLES).await;
    let met = Arc::new(Barrier::new(2));
    let create = |db: Db, id: i64| {
        let met = met.clone();
        async move {
            let first_time = std::sync::atomic::AtomicBool::new(true);
            db.once(&asking(1, 1), "thing.create", |tx| {
                let meet = first_time.swap(false, Ordering::SeqCst).then(|| met.clone());
                async move {
                    put(&tx, id).await?;
                    if let Some(met) = meet {
                        met.wait().await;
                    }
                    Ok(id)
                }
            })
            .await
        }
    };
    let both = async { tokio::join!(create(t.replica(), 1), create(t.replica(), 2)) };
    let (left, right) = within_a_minute(both).await;
    let (left, right) = (left.unwrap(), right.unwrap());
    assert_eq!(left, right, "both tell of the one that was committed");
    assert_eq!(ids(&t.db).await, [left]);
    t.finish().await;
}
