//! Migrations: one text, two engines, the same tables.

use super::*;
use crate::testing::schema;

const LEDGER: Migrations = Migrations {
    context: "ledger",
    files: &[Migration {
        name: "0001_lines",
        sql: "-- Lines; a comment may hold anything, even CREATE TABLE lines (x).
              CREATE TABLE lines (
                  id BIGINT NOT NULL PRIMARY KEY,
                  -- What was written, and (in brackets) why.
                  text TEXT NOT NULL,
                  text_sha256 BYTES NOT NULL,
                  kind TEXT NOT NULL CONSTRAINT lines_kind CHECK (kind IN ('a', 'b')),
                  place BIGINT
              );
              APPEND ONLY lines EXCEPT place;
              CREATE TABLE marks (line BIGINT NOT NULL, name TEXT NOT NULL,
                  PRIMARY KEY (line, name)) WITHOUT ROWID;
              APPEND ONLY marks;",
    }],
};

async fn change(db: &Db, sql: &'static str) -> Result<u64> {
    db.run("change", |tx| async move { Ok(tx.execute(sql, &[]).await?) }).await
}

async fn fill(db: &Db) {
    let line = "INSERT INTO lines (id, text, text_sha256, kind)
                VALUES (1, 'one', CAST('x' AS BYTEA), 'a'), (2, 'two', CAST('y' AS BYTEA), 'b')";
    let line = if db.is_shared() { line.to_owned() } else { line.replace("BYTEA", "BLOB") };
    let line = &line;
    db.run("fill", |tx| async move {
        tx.execute(line, &[]).await?;
        tx.execute("INSERT INTO marks (line, name) VALUES (1, 'm')", &[]).await?;
        Ok(())
    })
    .await
    .unwrap();
}

on_both_engines! { &[LEDGER];
    async fn an_append_only_table_refuses_every_change_by_name(t: &TestDb) {
        fill(&t.db).await;
        for sql in [
            "DELETE FROM marks",
            "UPDATE marks SET name = 'other'",
            "DELETE FROM lines WHERE id = 1",
            "UPDATE lines SET text = 'other'",
            "UPDATE lines SET text_sha256 = NULL",
            "UPDATE lines SET kind = 'b'",
            "UPDATE lines SET place = 9, text = 'other' WHERE id = 1",
            "INSERT INTO lines (id, text, text_sha256, kind) SELECT id, 'n', text_sha256, kind
                 FROM lines WHERE id = 1 ON CONFLICT (id) DO UPDATE SET text = excluded.text",
        ] {
            let error = change(&t.db, sql).await.expect_err(sql);
            assert!(
                matches!(error.cause(), Some(DbError::Refused(why)) if why.contains("append-only")),
                "{sql}: {error:?}"
            );
        }
    }

    async fn the_one_open_column_is_set_once(t: &TestDb) {
        fill(&t.db).await;
        assert_eq!(change(&t.db, "UPDATE lines SET place = 7 WHERE id = 1").await.unwrap(), 1);
        for sql in ["UPDATE lines SET place = 8 WHERE id = 1", "UPDATE lines SET place = NULL"] {
            let error = change(&t.db, sql).await.expect_err(sql);
            assert!(matches!(error.cause(), Some(DbError::Refused(_))), "{sql}: {error:?}");
        }
        let places: Vec<Option<i64>> =
            t.db.all("SELECT place FROM lines ORDER BY id", &[], |row| row.take()).await.unwrap();
        assert_eq!(places, [Some(7), None]);
    }

    async fn what_has_been_applied_is_not_applied_again(t: &TestDb) {
        let status = t.db.migration_status(&[LEDGER, THINGS]).await.unwrap();
        assert_eq!(status.iter().map(|step| step.applied).collect::<Vec<_>>(), [true, false]);
        assert_eq!(t.db.migrate(&[LEDGER]).await.unwrap(), []);
        let done = t.db.migrate(&[LEDGER, THINGS]).await.unwrap();
        assert_eq!(done.iter().map(|step| step.name).collect::<Vec<_>>(), ["0001_things"]);
        assert!(t.db.migration_status(&[LEDGER, THINGS]).await.unwrap()[1].applied);
    }

    async fn a_text_that_was_changed_after_it_landed_is_refused(t: &TestDb) {
        const CHANGED: Migrations = Migrations {
            context: "ledger",
            files: &[Migration { name: "0001_lines", sql: "CREATE TABLE lines (id BIGINT);" }],
        };
        let error = t.db.migrate(&[CHANGED]).await.unwrap_err();
        assert!(error.message().contains("ledger/0001_lines is not the one"), "{error}");
        assert!(t.db.migration_status(&[CHANGED]).await.is_err());
    }

    async fn a_migration_that_fails_leaves_nothing_behind(t: &TestDb) {
        const BROKEN: Migrations = Migrations {
            context: "broken",
            files: &[
                Migration { name: "0001_fine", sql: "CREATE TABLE fine (id BIGINT);" },
                Migration { name: "0002_not", sql: "CREATE TABLE fine (id BIGINT);" },
            ],
        };
        let before = schema(&t.db).await;
        let error = t.db.migrate(&[BROKEN]).await.unwrap_err();
        assert!(error.message().contains("broken/0002_not failed"), "{error}");
        assert_eq!(schema(&t.db).await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_end_up_with_the_same_tables() {
    for migrations in [&[crate::MIGRATIONS][..], &[LEDGER], TABLES] {
        let (sqlite, postgres) =
            (TestDb::sqlite(migrations).await, TestDb::postgres(migrations).await);
        let (left, right) = (schema(&sqlite.db).await, schema(&postgres.db).await);
        assert!(left.len() > 5, "{left:?}");
        assert_eq!(left, right);
        sqlite.finish().await;
        postgres.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_only_table_cannot_be_truncated_either() {
    let t = TestDb::postgres(&[LEDGER]).await;
    for sql in ["TRUNCATE marks", "TRUNCATE lines", "TRUNCATE lines, marks"] {
        let error = change(&t.db, sql).await.expect_err(sql);
        assert!(matches!(error.cause(), Some(DbError::Refused(_))), "{sql}: {error:?}");
    }
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_replicas_that_start_at_once_one_migrates_and_the_others_wait() {
    let t = TestDb::postgres(&[]).await;
    let replicas: Vec<Db> = (0..4).map(|_| t.replica()).collect();
    let done = futures_util::future::try_join_all(replicas.iter().map(|db| db.migrate(TABLES)));
    let done: Vec<usize> = done.await.unwrap().iter().map(Vec::len).collect();
    let all: usize = TABLES.iter().map(|context| context.files.len()).sum();
    assert_eq!(done.iter().sum::<usize>(), all, "{done:?}");
    assert!(done.contains(&all));
    t.finish().await;
}

/// A long migration is no stuck statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_statement_timeout_does_not_end_a_migration() {
    const SLOW: Migrations = Migrations {
        context: "slow",
        files: &[
            Migration { name: "0001_n", sql: "CREATE TABLE n (i BIGINT NOT NULL);" },
            Migration {
                name: "0002_slow",
                sql: "INSERT INTO n WITH RECURSIVE m (i) AS
                          (SELECT 1 UNION ALL SELECT i + 1 FROM m WHERE i < 400000)
                      SELECT i FROM m;",
            },
        ],
    };
    let short = Duration::from_millis(20);
    let (t, directory) = (TestDb::postgres(&[]).await, tempfile::tempdir().unwrap());
    let options = PostgresOptions { statement_timeout: short, ..t.postgres_options().unwrap() };
    let postgres = Db::connect_postgres(&options, t.db.world().clone()).unwrap();
    let options = SqliteOptions {
        statement_timeout: short,
        ..SqliteOptions::at(directory.path().join("slow.db"))
    };
    let sqlite = Db::open_sqlite(&options, t.db.world().clone()).unwrap();
    for db in [postgres, sqlite] {
        db.migrate(&[SLOW]).await.unwrap();
        db.close().await;
    }
    t.finish().await;
}

const SEEDED: Migrations = Migrations {
    context: "seeded",
    files: &[Migration {
        name: "0001_seeded",
        sql: "CREATE TABLE seeded (id UUID PRIMARY KEY, name TEXT NOT NULL);
              INSERT INTO seeded (id, name) VALUES
                  (UUID '0190a0b0-c0d0-7000-8000-0000000000ff', 'one'),
                  (UUID '00000000-0000-7000-8800-000000000001', 'two');",
    }],
};

on_both_engines! { &[SEEDED];
    async fn ids_can_be_written_into_a_migration(t: &TestDb) {
        let sql = "SELECT name FROM seeded WHERE id = $1";
        let id = uuid::Uuid::from_u128(0x0190_a0b0_c0d0_7000_8000_0000_0000_00ff);
        let name: String = t.db.one(sql, crate::params![id], |row| row.take()).await.unwrap();
        assert_eq!(name, "one");
    }
}
