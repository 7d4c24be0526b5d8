//! What a store may rely on, whichever engine runs its statements.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use uuid::Uuid;

use super::*;
use crate::db::Value;

const VALUES: Migrations = Migrations {
    context: "values",
    files: &[Migration {
        name: "0001_values",
        sql: "CREATE TABLE kept (id BIGINT NOT NULL PRIMARY KEY, yes BOOLEAN, number BIGINT, text TEXT,
                  bytes BYTES, key UUID);",
    }],
};

/// One value of each type, as a row holds them.
type Values = (Option<bool>, Option<i64>, Option<String>, Option<Vec<u8>>, Option<Uuid>);

async fn keep(tx: &Tx, id: i64, (yes, number, text, bytes, key): &Values) -> Result<()> {
    let sql = "INSERT INTO kept (id, yes, number, text, bytes, key)
               VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(sql, params![id, yes, number, text, bytes, key]).await?;
    Ok(())
}

async fn kept(db: &impl Read, id: i64) -> Values {
    let sql = "SELECT yes, number, text, bytes, key FROM kept WHERE id = $1";
    db.one(sql, params![id], |row| {
        Ok((row.take()?, row.take()?, row.take()?, row.take()?, row.take()?))
    })
    .await
    .unwrap()
}

/// Any values that a row may hold: every number, every text without a NUL, every bytes.
fn any_values() -> impl Strategy<Value = Vec<Values>> {
    let text = any::<String>().prop_map(|text| text.replace('\0', ""));
    let bytes = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let key = proptest::option::of(any::<u128>().prop_map(Uuid::from_u128));
    let row = (any::<Option<bool>>(), any::<Option<i64>>(), proptest::option::of(text), bytes, key);
    proptest::collection::vec(row, 100)
}

on_both_engines! { &[VALUES];
    async fn the_ends_of_every_type_come_back_as_they_went(t: &TestDb) {
        let rows: [Values; 4] = [
            (None, None, None, None, None),
            (Some(true), Some(i64::MAX), Some(String::new()), Some(vec![]), Some(Uuid::max())),
            (
                Some(false),
                Some(i64::MIN),
                Some("'; DROP TABLE kept; -- $1 ?1 \u{1} \u{1F600} e\u{301} \u{FFFF}\u{10FFFF}".into()),
                Some((0..=255).collect()),
                Some(Uuid::nil()),
            ),
            (Some(true), Some(-1), Some("x".repeat(1_000_000)), Some(vec![0; 1_000_000]), None),
        ];
        let rows = &rows;
        t.db.run("keep", |tx| async move {
            for (id, row) in (0..).zip(rows) {
                keep(&tx, id, row).await?;
                assert_eq!(&kept(&tx, id).await, row, "inside of the transaction");
            }
            Ok(())
        })
        .await
        .unwrap();
        for (id, row) in (0..).zip(rows) {
            assert_eq!(&kept(&t.db, id).await, row);
        }
    }

    async fn any_value_comes_back_as_it_went(t: &TestDb) {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let rows = any_values().new_tree(&mut runner).unwrap().current();
        let rows = &rows;
        t.db.run("keep", |tx| async move {
            for (id, row) in (0..).zip(rows) {
                keep(&tx, id, row).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
        for (id, row) in (0..).zip(rows) {
            assert_eq!(&kept(&t.db, id).await, row);
        }
    }

    async fn a_text_with_a_nul_is_refused_in_words_a_client_understands(t: &TestDb) {
        let text = Some("a\0b".to_owned());
        let row = &(None, None, text, None, None);
        let error = t.db.run("keep", |tx| async move { keep(&tx, 1, row).await }).await;
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Invalid, "invalid_text"));
        let sql = "SELECT id FROM kept WHERE text = $1";
        let read = t.db.all(sql, params!["a\0b"], |row| row.take::<i64>()).await;
        assert_eq!(Error::from(read.unwrap_err()).code(), "invalid_text");
    }

    async fn a_column_that_holds_something_else_is_an_error_and_no_panic(t: &TestDb) {
        let row = &(Some(true), Some(300), Some("text".into()), Some(vec![1, 2]), None);
        t.db.run("keep", |tx| async move { keep(&tx, 1, row).await }).await.unwrap();
        let sql = "SELECT number, text, bytes FROM kept";
        assert!(t.db.one(sql, &[], |row| row.take::<u8>()).await.is_err(), "300 is no u8");
        assert!(t.db.one(sql, &[], |row| row.get::<i64>(1)).await.is_err());
        assert!(t.db.one(sql, &[], |row| row.get::<[u8; 3]>(2)).await.is_err());
        assert!(t.db.one(sql, &[], |row| row.get::<i64>(9)).await.is_err());
        assert!(t.db.one("SELECT 1.5 AS half", &[], |row| row.take::<i64>()).await.is_err());
    }
}

on_both_engines! { TABLES;
    async fn a_refused_row_is_named_by_its_index_or_check(t: &TestDb) {
        write(&t.db, 1).await.unwrap();
        let insert = "INSERT INTO things (id, name, size) VALUES ($1, $2, $3)";
        let returning = &format!("{insert} RETURNING id");
        for (id, name, size, expected) in [
            (1, "other", 0, DbError::Unique("things_pkey".into())),
            (2, "thing 1", 0, DbError::Unique("things_name".into())),
            (3, "third", -1, DbError::Check("things_size".into())),
        ] {
            let plain = t.db.run("put", |tx| async move {
                tx.execute(insert, params![id, name, size]).await?;
                Ok(())
            });
            assert_eq!(plain.await.unwrap_err().cause(), Some(&expected));
            let answering = t.db.run("put", |tx| async move {
                Ok(tx.one(returning, params![id, name, size], |row| row.take::<i64>()).await?)
            });
            assert_eq!(answering.await.unwrap_err().cause(), Some(&expected), "RETURNING");
        }
        let nothing = t.db.run("put", |tx| async move {
            tx.execute(insert, params![9, Value::Null, 0]).await?;
            Ok(())
        });
        assert!(matches!(nothing.await.unwrap_err().cause(), Some(DbError::Refused(_))));
    }

    async fn a_failed_statement_ends_its_transaction(t: &TestDb) {
        write(&t.db, 1).await.unwrap();
        let swallowed = t.db.run("swallow", |tx| async move {
            put(&tx, 2).await?;
            assert!(put(&tx, 1).await.is_err(), "it is there already");
            assert!(put(&tx, 3).await.is_err(), "whatever follows a failure fails");
            assert!(tx.one("SELECT CAST(1 AS BIGINT)", &[], |row| row.take::<i64>()).await.is_err());
            Ok(())
        });
        assert!(swallowed.await.is_err(), "what did not happen is not reported as done");
        assert_eq!(ids(&t.db).await, [1]);
    }

    async fn a_statement_that_was_given_up_ends_its_transaction(t: &TestDb) {
        write(&t.db, 1).await.unwrap();
        let given_up = t.db.run("give up", |tx| async move {
            put(&tx, 2).await?;
            // On SQLite the statement is over at the first poll, and fails in plain sight.
            let _ = cancelled_after(1, put(&tx, 1)).await;
            Ok(())
        });
        assert!(given_up.await.is_err(), "what did not happen is not reported as done");
        assert_eq!(ids(&t.db).await, [1]);
    }

    async fn nobody_outside_sees_what_is_not_committed(t: &TestDb) {
        t.db.run("thing.put", |tx| async move {
            put(&tx, 1).await?;
            assert_eq!(ids(&tx).await, [1]);
            assert_eq!(ids(&t.db).await, [0_i64; 0]);
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(ids(&t.db).await, [1]);
    }

    async fn an_error_undoes_everything_and_consequences_with_it(t: &TestDb) {
        let hooks = Arc::new(AtomicUsize::new(0));
        let outcome: Result<()> = t.db.run("thing.refused", |tx| {
            let hooks = hooks.clone();
            async move {
                put(&tx, 1).await?;
                tx.record(crate::journal::Fact::by(&kernel::Caller::nobody(), "thing.put"));
                tx.after_commit(move || { hooks.fetch_add(1, Ordering::SeqCst); });
                Err(Error::conflict("no", "Not today."))
            }
        })
        .await;
        assert_eq!(outcome.unwrap_err().code(), "no");
        let facts = "SELECT CAST(count(*) AS BIGINT) FROM facts";
        assert_eq!(t.db.one(facts, &[], |row| row.take::<i64>()).await.unwrap(), 0);
        assert_eq!((ids(&t.db).await.len(), hooks.load(Ordering::SeqCst)), (0, 0));
    }

    async fn a_hook_runs_before_its_caller_is_answered(t: &TestDb) {
        let hooks = Arc::new(AtomicUsize::new(0));
        t.db.run("thing.put", |tx| {
            let hooks = hooks.clone();
            async move {
                tx.after_commit(move || { hooks.fetch_add(1, Ordering::SeqCst); });
                put(&tx, 1).await
            }
        })
        .await
        .unwrap();
        assert_eq!(hooks.load(Ordering::SeqCst), 1);
    }

    async fn a_panicking_hook_harms_nobody(t: &TestDb) {
        let outcome = within_a_minute(t.db.run("thing.put", |tx| async move {
            tx.after_commit(|| panic_quietly());
            put(&tx, 1).await
        }));
        outcome.await.expect("the commit stands");
        within_a_minute(write(&t.db, 2)).await.unwrap();
        assert_eq!(ids(&t.db).await, [1, 2]);
    }

    async fn a_transaction_kept_beyond_its_work_is_not_committed(t: &TestDb) {
        let kept = parking_lot::Mutex::new(None);
        let outcome = t.db.run("keep", |tx| {
            *kept.lock() = Some(tx.clone());
            async move { put(&tx, 1).await }
        });
        assert!(outcome.await.is_err());
        drop(kept);
        within_a_minute(write(&t.db, 2)).await.unwrap();
        assert_eq!(ids(&t.db).await, [2]);
    }

    async fn touching_more_than_one_row_undoes_the_transaction(t: &TestDb) {
        write(&t.db, 1).await.unwrap();
        write(&t.db, 2).await.unwrap();
        let touch = |sql: &'static str| {
            t.db.run("touch", move |tx| async move { Ok(tx.touch(sql, &[]).await?) })
        };
        assert!(!touch("UPDATE things SET size = 1 WHERE id = 3").await.unwrap());
        assert!(touch("UPDATE things SET size = 1 WHERE id = 2").await.unwrap());
        assert!(touch("UPDATE things SET size = 2").await.is_err());
        let sizes = "SELECT size FROM things ORDER BY id";
        assert_eq!(t.db.all(sizes, &[], |row| row.take::<i64>()).await.unwrap(), [0, 1]);
    }

    async fn a_closed_store_says_that_it_is_not_there(t: &TestDb) {
        t.db.close().await;
        assert_eq!(write(&t.db, 1).await.unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(t.db.ping().await.unwrap_err().kind(), Kind::Unavailable);
    }
}

const ENDLESS: &str = "WITH RECURSIVE n (i) AS
    (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000)
    SELECT CAST(count(*) AS BIGINT) FROM n";

async fn runs_out_of_time(db: &Db) {
    let read = db.one(ENDLESS, &[], |row| row.take::<i64>()).await;
    assert_eq!(read.unwrap_err(), DbError::Timeout);
    let written = db
        .run("thing.slow", |tx| async move {
            put(&tx, 1).await?;
            Ok(tx.one(ENDLESS, &[], |row| row.take::<i64>()).await?)
        })
        .await;
    let error = written.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "timeout"));
    assert_eq!(ids(db).await, [0_i64; 0], "and the transaction is undone");
    write(db, 2).await.unwrap();
    assert_eq!(ids(db).await, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_beyond_its_time_ends_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions {
        statement_timeout: Duration::from_millis(50),
        ..SqliteOptions::at(directory.path().join("test.db"))
    };
    let db = Db::open_sqlite(&options, crate::testing::world().0).unwrap();
    db.migrate(TABLES).await.unwrap();
    runs_out_of_time(&db).await;
    db.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_beyond_its_time_ends_on_postgres() {
    let t = TestDb::postgres(TABLES).await;
    let statement_timeout = Duration::from_millis(50);
    let options = PostgresOptions { statement_timeout, ..t.postgres_options().unwrap() };
    let db = Db::connect_postgres(&options, t.db.world().clone()).unwrap();
    runs_out_of_time(&db).await;
    db.close().await;
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_lock_each_other_out_are_run_again_and_both_finish() {
    let t = TestDb::postgres(TABLES).await;
    for id in [1, 2] {
        write(&t.db, id).await.unwrap();
    }
    let met = Arc::new(tokio::sync::Barrier::new(2));
    let runs = Arc::new(AtomicUsize::new(0));
    let crossing = |first: i64, second: i64, by: i64| {
        let (db, met, runs) = (t.db.clone(), met.clone(), runs.clone());
        let first_time = std::sync::atomic::AtomicBool::new(true);
        tokio::spawn(async move {
            db.run("thing.cross", |tx| {
                runs.fetch_add(1, Ordering::SeqCst);
                let meet = first_time.swap(false, Ordering::SeqCst).then(|| met.clone());
                async move {
                    grow(&tx, first, by).await?;
                    // Each holds what the other one wants next: a deadlock, for certain.
                    if let Some(met) = meet {
                        met.wait().await;
                    }
                    grow(&tx, second, by).await
                }
            })
            .await
        })
    };
    let (left, right) = (crossing(1, 2, 10), crossing(2, 1, 100));
    within_a_minute(left).await.unwrap().unwrap();
    within_a_minute(right).await.unwrap().unwrap();
    assert!(runs.load(Ordering::SeqCst) > 2, "one of them was run again");
    let sizes = "SELECT size FROM things ORDER BY id";
    assert_eq!(t.db.all(sizes, &[], |row| row.take::<i64>()).await.unwrap(), [110, 110]);
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_pool_answers_within_its_wait() {
    let t = TestDb::postgres(TABLES).await;
    let options = PostgresOptions {
        connections: 2,
        wait_timeout: Duration::from_millis(50),
        ..t.postgres_options().unwrap()
    };
    let db = Db::connect_postgres(&options, t.db.world().clone()).unwrap();
    let pool = &db;
    let outer = db.run("outer", |tx| async move {
        put(&tx, 1).await?;
        pool.run("inner", |tx| async move {
            put(&tx, 2).await?;
            let started = std::time::Instant::now();
            let error = pool.ping().await.unwrap_err();
            assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "storage_unavailable"));
            let error = write(pool, 3).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable);
            assert!(started.elapsed() < Duration::from_secs(5), "it does not wait for long");
            Ok(())
        })
        .await
    });
    outer.await.unwrap();
    db.ping().await.expect("a connection is free again");
    assert_eq!(ids(&t.db).await, [1, 2]);
    db.close().await;
    t.finish().await;
}

/// Whoever leaves half way leaves the connection clean for the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_cancelled_at_any_point_leaves_no_open_transaction_on_its_connection() {
    let t = TestDb::postgres(TABLES).await;
    let options = PostgresOptions { connections: 1, ..t.postgres_options().unwrap() };
    let db = Db::connect_postgres(&options, t.db.world().clone()).unwrap();
    for polls in 1..20 {
        let id = i64::try_from(polls).unwrap() * 10;
        let victim = db.run("thing.victim", |tx| async move {
            put(&tx, id).await?;
            put(&tx, id + 1).await
        });
        let outcome = cancelled_after(polls, victim).await;
        within_a_minute(write(&db, id + 5)).await.unwrap();
        let found: Vec<i64> =
            ids(&db).await.into_iter().filter(|found| (id..id + 2).contains(found)).collect();
        assert!(found.is_empty() || found.len() == 2, "{polls}: {found:?}");
        if let Some(outcome) = outcome {
            outcome.unwrap();
            assert_eq!(found.len(), 2);
        }
    }
    db.close().await;
    t.finish().await;
}

/// A relay in front of the server, which hangs up when it should pass on the answer to a COMMIT.
async fn losing_commits(server: String) -> std::net::SocketAddr {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = async move |client: tokio::net::TcpStream| {
        let server = tokio::net::TcpStream::connect(server.as_str()).await.unwrap();
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let (mut asked, mut answered) = (vec![0; 8192], vec![0; 8192]);
        let mut commits = false;
        loop {
            tokio::select! {
                asks = from_client.read(&mut asked) => {
                    let Ok(length @ 1..) = asks else { return };
                    commits |= asked[..length].windows(7).any(|word| word == b"COMMIT\0");
                    to_server.write_all(&asked[..length]).await.unwrap();
                }
                answers = from_server.read(&mut answered) => {
                    let Ok(length @ 1..) = answers else { return };
                    if commits {
                        return;
                    }
                    to_client.write_all(&answered[..length]).await.unwrap();
                }
            }
        }
    };
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            relay(client).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_not_said_to_be_undone() {
    let t = TestDb::postgres(TABLES).await;
    let url = t.postgres_url().unwrap();
    let (rest, server) = url.split_once('@').unwrap();
    let (server, database) = server.split_once('/').unwrap();
    let relay = losing_commits(server.to_owned()).await;
    let options = PostgresOptions {
        url: format!("{rest}@{relay}/{database}").into(),
        ..t.postgres_options().unwrap()
    };
    let db = Db::connect_postgres(&options, t.db.world().clone()).unwrap();
    let error = within_a_minute(write(&db, 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Unavailable, "outcome_unknown"));
    assert_eq!(ids(&t.db).await, [1], "it was done");
    db.close().await;
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_url_says_to_the_server_is_said_beside_our_own_limits() {
    let t = TestDb::postgres(TABLES).await;
    let options = t.postgres_options().unwrap();
    let said = "options=-c%20search_path%3Dhere%20-c%20statement_timeout%3D1";
    let options = PostgresOptions {
        url: format!("{}&{said}", options.url.expose()).into(),
        statement_timeout: Duration::from_secs(7),
        ..options
    };
    let db = Db::connect_postgres(&options, t.db.world().clone()).unwrap();
    for (setting, expected) in [("search_path", "here"), ("statement_timeout", "7s")] {
        let sql = format!("SHOW {setting}");
        assert_eq!(db.one(&sql, &[], |row| row.take::<String>()).await.unwrap(), expected);
    }
    db.close().await;
    t.finish().await;
}

/// A pooler in transaction mode hands each transaction another server connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_named_statements_everything_works_the_same() {
    let t = TestDb::postgres(&[crate::MIGRATIONS, THINGS, VALUES]).await;
    let options = PostgresOptions { transaction_pooler: true, ..t.postgres_options().unwrap() };
    let db = Db::connect_postgres(&options, t.db.world().clone()).unwrap();
    write(&db, 1).await.unwrap();
    let row: &Values =
        &(Some(true), Some(i64::MIN), Some("text".into()), Some(vec![0]), Some(Uuid::max()));
    let nothing: &Values = &(None, None, None, None, None);
    db.run("keep", |tx| async move {
        keep(&tx, 1, row).await?;
        keep(&tx, 2, nothing).await
    })
    .await
    .unwrap();
    assert_eq!(&kept(&db, 1).await, row);
    assert_eq!(&kept(&db, 2).await, nothing);
    let error = write(&db, 1).await.unwrap_err();
    assert_eq!(error.cause(), Some(&DbError::Unique("things_pkey".into())));
    let caller = kernel::Caller::nobody();
    let caller = &caller;
    db.run("fact", |tx| async move {
        tx.record(crate::journal::Fact::by(caller, "thing.put").on("thing"));
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(crate::journal::sequence(&db).await.unwrap(), 1);
    db.close().await;
    t.finish().await;
}
