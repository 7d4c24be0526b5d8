//! Group commit on SQLite: one fsync for many callers, and for each of them all the same
//! promises as for one alone.

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesOrdered;
use tokio::sync::oneshot;

use super::*;

type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Holds the writer until told to go on, so that everybody polled meanwhile lands in one group.
async fn gate(db: &Db) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<()>>) {
    let (reached, entered) = oneshot::channel();
    let (open, opened) = oneshot::channel::<()>();
    let signals = Arc::new(parking_lot::Mutex::new(Some((reached, opened))));
    let db = db.clone();
    let holder = tokio::spawn(async move {
        db.run("gate", |_tx| {
            let signals = signals.lock().take();
            async move {
                if let Some((reached, opened)) = signals {
                    let _ = reached.send(());
                    let _ = opened.await;
                }
                Ok(())
            }
        })
        .await
    });
    entered.await.unwrap();
    (open, holder)
}

/// Runs all of these in one group, in this order; answers their outcomes.
async fn in_one_group(db: &Db, mut work: Vec<Running<'_>>) -> Vec<Result<()>> {
    let (open, holder) = gate(db).await;
    for one in &mut work {
        assert!(futures_util::poll!(one).is_pending(), "everybody waits for the writer");
    }
    open.send(()).unwrap();
    // Unlike `join_all`, this polls nobody who was not woken: await points can be counted.
    let all = work.into_iter().collect::<FuturesOrdered<_>>().collect();
    let outcomes = within_a_minute(all).await;
    holder.await.unwrap().unwrap();
    outcomes
}

fn refused(db: &Db, id: i64) -> Running<'_> {
    Box::pin(db.run("thing.refused", move |tx| async move {
        put(&tx, id).await?;
        Err(Error::conflict("no", "Not today."))
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_fail_roll_back_alone_and_the_others_share_one_commit() {
    let t = TestDb::sqlite(TABLES).await;
    let before = t.db.physical_commits().unwrap();
    let twice = t.db.run("thing.twice", |tx| async move {
        put(&tx, 40).await?;
        put(&tx, 1).await
    });
    let outcomes = in_one_group(
        &t.db,
        vec![
            Box::pin(write(&t.db, 1)),
            refused(&t.db, 2),
            Box::pin(write(&t.db, 3)),
            Box::pin(twice),
            Box::pin(write(&t.db, 5)),
        ],
    )
    .await;
    let succeeded: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(succeeded, [true, false, true, false, true]);
    assert_eq!(ids(&t.db).await, [1, 3, 5]);
    assert_eq!(t.db.physical_commits().unwrap() - before, 1, "one fsync for all of them");
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_cancelled_at_any_point_takes_nobody_with_it() {
    let t = TestDb::sqlite(TABLES).await;
    let mut expected = Vec::new();
    for polls in 1..8 {
        let first = i64::try_from(polls).unwrap() * 100;
        let victim = t.db.run("thing.victim", |tx| async move {
            put(&tx, first + 50).await?;
            tokio::task::yield_now().await;
            put(&tx, first + 51).await?;
            tokio::task::yield_now().await;
            put(&tx, first + 52).await
        });
        let cancelled = Box::pin(async move {
            cancelled_after(polls, victim).await.unwrap_or_else(|| Err(Error::invalid("gone", "")))
        });
        let work: Vec<Running<'_>> = match polls {
            // At its first await point the victim is gone before it could wait for the writer.
            1 => vec![Box::pin(write(&t.db, first)), Box::pin(write(&t.db, first + 1))],
            _ => vec![Box::pin(write(&t.db, first)), cancelled, Box::pin(write(&t.db, first + 1))],
        };
        let outcomes = in_one_group(&t.db, work).await;
        assert!(outcomes.first().unwrap().is_ok() && outcomes.last().unwrap().is_ok());
        let of_victim: Vec<i64> =
            ids(&t.db).await.into_iter().filter(|id| *id >= first + 50).collect();
        // A caller that no longer waits for the commit may find all of it done, never a part.
        assert!(of_victim.is_empty() || of_victim.len() == 3, "{polls}: {of_victim:?}");
        if outcomes.len() == 3 && outcomes[1].is_ok() {
            assert_eq!(of_victim.len(), 3);
        }
        expected.extend([first, first + 1].into_iter().chain(of_victim));
        assert_eq!(ids(&t.db).await, expected);
    }
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_the_queue_keeps_nobody_waiting() {
    let t = TestDb::sqlite(TABLES).await;
    let (open, holder) = gate(&t.db).await;
    let mut before: Running<'_> = Box::pin(write(&t.db, 1));
    let mut leaving: Running<'_> = Box::pin(write(&t.db, 2));
    let mut behind: Running<'_> = Box::pin(write(&t.db, 3));
    for one in [&mut before, &mut leaving, &mut behind] {
        assert!(futures_util::poll!(one).is_pending());
    }
    drop(leaving);
    open.send(()).unwrap();
    within_a_minute(async { tokio::try_join!(before, behind) }).await.unwrap();
    holder.await.unwrap().unwrap();
    assert_eq!(ids(&t.db).await, [1, 3]);
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panicking_member_rolls_back_alone() {
    let t = TestDb::sqlite(TABLES).await;
    let db = t.db.clone();
    let victim = async move {
        let run = db.run("thing.panic", |tx| async move {
            put(&tx, 2).await?;
            if tx.now().micros() > 0 {
                panic_quietly();
            }
            Ok(())
        });
        run.await
    };
    let caught = async {
        let outcome = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(victim));
        outcome.await.unwrap_or_else(|_| Err(Error::internal("it panicked")))
    };
    let work: Vec<Running<'_>> =
        vec![Box::pin(write(&t.db, 1)), Box::pin(caught), Box::pin(write(&t.db, 3))];
    let outcomes = in_one_group(&t.db, work).await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_err() && outcomes[2].is_ok());
    assert_eq!(ids(&t.db).await, [1, 3]);
    within_a_minute(write(&t.db, 4)).await.unwrap();
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_physical_commit_fails_all_of_its_members_and_the_next_group_works() {
    let t = TestDb::sqlite(TABLES).await;
    let hooks = Arc::new(AtomicUsize::new(0));
    let hooked = |id: i64| {
        let (db, hooks) = (t.db.clone(), hooks.clone());
        async move {
            db.run("thing.put", |tx| {
                let hooks = hooks.clone();
                async move {
                    tx.after_commit(move || {
                        hooks.fetch_add(1, Ordering::SeqCst);
                    });
                    put(&tx, id).await
                }
            })
            .await
        }
    };
    t.db.fail_commits(true);
    let (open, holder) = gate(&t.db).await;
    let mut work: Vec<Running<'_>> = (1..=5).map(|id| Box::pin(hooked(id)) as _).collect();
    for one in &mut work {
        assert!(futures_util::poll!(one).is_pending());
    }
    open.send(()).unwrap();
    let outcomes = within_a_minute(join_all(work)).await;
    assert!(outcomes.iter().all(Result::is_err), "nobody may be told that it is done");
    assert!(holder.await.unwrap().is_err());
    assert_eq!(ids(&t.db).await, [0_i64; 0], "and nothing of it may be seen");
    assert_eq!(hooks.load(Ordering::SeqCst), 0);

    t.db.fail_commits(false);
    within_a_minute(join_all((1..=5).map(hooked))).await.into_iter().for_each(Result::unwrap);
    assert_eq!(ids(&t.db).await, [1, 2, 3, 4, 5]);
    assert_eq!(hooks.load(Ordering::SeqCst), 5);
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_answered_finds_the_write_in_a_commit_that_was_made() {
    let t = TestDb::sqlite(TABLES).await;
    for id in 0..50 {
        let before = t.db.physical_commits().unwrap();
        write(&t.db, id).await.unwrap();
        assert!(t.db.physical_commits().unwrap() > before, "answered before the commit");
        assert!(ids(&t.db).await.contains(&id), "readers see what was answered for");
    }
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_writers_need_at_most_sixty_commits_for_a_thousand_writes() {
    const WRITERS: i64 = 64;
    const EACH: i64 = 100;
    let t = TestDb::sqlite(TABLES).await;
    let before = t.db.physical_commits().unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let db = t.db.clone();
        tokio::spawn(async move {
            for turn in 0..EACH {
                write(&db, writer * EACH + turn).await.unwrap();
            }
        })
    });
    within_a_minute(join_all(writers)).await.into_iter().for_each(Result::unwrap);
    let commits = t.db.physical_commits().unwrap() - before;
    let writes = u64::try_from(WRITERS * EACH).unwrap();
    assert_eq!(ids(&t.db).await.len() as u64, writes);
    assert!(commits * 1000 <= writes * 60, "{commits} commits for {writes} writes");
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_waiting_callers_than_a_group_holds_all_get_their_answer() {
    let t = TestDb::sqlite(TABLES).await;
    let before = t.db.physical_commits().unwrap();
    let work = (0..600).map(|id| Box::pin(write(&t.db, id)) as Running<'_>).collect();
    let outcomes = in_one_group(&t.db, work).await;
    outcomes.into_iter().for_each(Result::unwrap);
    assert_eq!(ids(&t.db).await.len(), 600);
    // The holder of the gate is a member too: 256, 256, and what is left.
    assert_eq!(t.db.physical_commits().unwrap() - before, 3);
    t.finish().await;
}

fn store_with_little_time(directory: &std::path::Path) -> Db {
    let options = SqliteOptions {
        statement_timeout: Duration::from_millis(100),
        ..SqliteOptions::at(directory.join("test.db"))
    };
    Db::open_sqlite(&options, crate::testing::world().0).unwrap()
}

/// SQLite answers an interrupted write by undoing the whole physical transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_runs_out_of_time_takes_no_neighbour_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let db = store_with_little_time(directory.path());
    db.migrate(TABLES).await.unwrap();
    let slow = db.run("thing.slow", |tx| async move {
        put(&tx, 2).await?;
        let sql = "INSERT INTO things (id, name, size)
                   WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n)
                   SELECT i, 'slow ' || i, 0 FROM n";
        tx.execute(sql, &[]).await?;
        Ok(())
    });
    let runs = AtomicUsize::new(0);
    let counted = db.run("thing.put", |tx| {
        runs.fetch_add(1, Ordering::SeqCst);
        async move { put(&tx, 1).await }
    });
    let work: Vec<Running<'_>> = vec![Box::pin(counted), Box::pin(slow), Box::pin(write(&db, 3))];
    let outcomes = in_one_group(&db, work).await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert_eq!(outcomes[1].as_ref().unwrap_err().cause(), Some(&DbError::Timeout));
    assert!(outcomes[2].is_ok(), "{outcomes:?}");
    assert_eq!(ids(&db).await, [1, 3]);
    assert_eq!(runs.load(Ordering::SeqCst), 2, "the neighbour was run again, unseen");
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_the_store_goes_on_when_there_is_room_again() {
    let t = TestDb::sqlite(TABLES).await;
    let limit_pages = |pages: &'static str| {
        t.db.run("pages", move |tx| async move {
            tx.all(pages, &[], |row| row.take::<i64>()).await?;
            Ok(())
        })
    };
    limit_pages("PRAGMA max_page_count = 1").await.unwrap();
    let big = "x".repeat(5_000_000);
    let (big, db) = (&big, &t.db);
    let filling = db.run("thing.big", |tx| async move {
        let sql = "INSERT INTO things (id, name, size) VALUES ($1, $2, 0)";
        tx.execute(sql, params![2, big]).await?;
        Ok(())
    });
    let work: Vec<Running<'_>> =
        vec![Box::pin(write(db, 1)), Box::pin(filling), Box::pin(write(db, 3))];
    let outcomes = in_one_group(db, work).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "storage_full"));
    assert!(error.message().contains("make room"), "{error}");
    limit_pages("PRAGMA max_page_count = 1000000").await.unwrap();
    write(db, 4).await.unwrap();
    assert_eq!(ids(db).await, [1, 3, 4]);
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_folded_while_writers_never_pause() {
    const PAGES: i64 = 100;
    let t = TestDb::sqlite(TABLES).await;
    let path = t.file().with_extension("busy");
    let options = SqliteOptions { log_pages_max: PAGES, ..SqliteOptions::at(&path) };
    let db = Db::open_sqlite(&options, crate::testing::world().0).unwrap();
    db.migrate(TABLES).await.unwrap();
    let log = path.with_extension("busy-wal");
    // How often the log has begun anew: the fourth number of its head, in SQLite's file format.
    let turns = || {
        let mut head = [0; 16];
        let mut file = std::fs::File::open(&log).ok()?;
        std::io::Read::read_exact(&mut file, &mut head).ok()?;
        Some(u32::from_be_bytes(head[12..].try_into().ok()?))
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let writers = (0..4_i64).map(|writer| {
        let (db, stop) = (db.clone(), stop.clone());
        tokio::spawn(async move {
            // Much at a time, so that the copy beside them never catches up.
            let (mut id, much) = (writer, "x".repeat(500_000));
            while !stop.is_cancelled() {
                let name = &format!("{id}{much}");
                let write = |tx: Tx| async move {
                    let sql = "INSERT INTO things (id, name, size) VALUES ($1, $2, 0)";
                    tx.execute(sql, params![id, name]).await?;
                    Ok(())
                };
                db.run("thing.write", write).await.unwrap();
                id += 4;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let folded = async {
        let first = loop {
            match turns() {
                Some(turn) => break turn,
                None => tokio::task::yield_now().await,
            }
        };
        while turns().is_some_and(|turn| turn < first + 2) {
            tokio::task::yield_now().await;
        }
    };
    within_a_minute(folded).await;
    stop.cancel();
    for writer in writers {
        writer.await.unwrap();
    }
    db.close().await;
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_answers_those_who_wait_and_keeps_what_they_wrote() {
    let t = TestDb::sqlite(TABLES).await;
    let (open, holder) = gate(&t.db).await;
    let mut waiting: Running<'_> = Box::pin(write(&t.db, 1));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let db = t.db.clone();
    let closing = tokio::spawn(async move { db.close().await });
    open.send(()).unwrap();
    within_a_minute(waiting).await.unwrap();
    holder.await.unwrap().unwrap();
    within_a_minute(closing).await.unwrap();

    assert_eq!(write(&t.db, 2).await.unwrap_err().kind(), Kind::Unavailable);
    let log = t.file().with_extension("db-wal");
    let left = std::fs::metadata(log).map_or(0, |log| log.len());
    assert_eq!(left, 0, "the log was folded into the database");
    let again = Db::open_sqlite(&SqliteOptions::at(t.file()), crate::testing::world().0).unwrap();
    assert_eq!(ids(&again).await, [1]);
    again.close().await;
    t.finish().await;
}
