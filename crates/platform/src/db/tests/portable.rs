//! Tables whole: the same rows have the same sum on both engines.

use uuid::Uuid;

use super::*;
use crate::db::{PIECE, copy_sqlite};

const SHELVES: Migrations = Migrations {
    context: "shelves",
    files: &[Migration {
        name: "0001_shelves",
        sql: "CREATE TABLE rooms (id BIGINT NOT NULL PRIMARY KEY);
              INSERT INTO rooms (id) VALUES (1);
              CREATE TABLE books (
                  name TEXT NOT NULL,
                  place BIGINT NOT NULL,
                  id UUID NOT NULL,
                  content BYTES,
                  is_open BOOLEAN NOT NULL,
                  note TEXT,
                  room BIGINT NOT NULL CONSTRAINT books_room REFERENCES rooms (id),
                  PRIMARY KEY (name, place)
              );
              ALTER TABLE books ADD COLUMN spare TEXT;",
    }],
};
const SCHEMA: &[Migrations] = &[SHELVES];
const NAMES: [&str; 8] = ["b", "B", "a_", "a-", "\u{e4}", "Z", "", "zz"];
const BOOKS: i64 = 1_300;
/// Made by another program from the words in which the sum is defined.
const SUM: &str = "1aa57855408abb8b637bda38f947df301284c96b3ca226c37e0f4720b3011b06";

async fn fill(db: &Db) {
    db.run("fill", |tx| async move {
        for number in 0..BOOKS {
            let name = NAMES[usize::try_from(number % 8).unwrap()];
            let id = Uuid::from_u64_pair(7, number.unsigned_abs());
            let content = (number % 3 != 0).then(|| u32::try_from(number).unwrap().to_be_bytes());
            let note = (number % 5 != 0).then(|| format!("note {number}"));
            let is_open = number % 2 == 0;
            let sql = "INSERT INTO books (name, place, id, content, is_open, note, room)
                       VALUES ($1, $2, $3, $4, $5, $6, 1)";
            tx.execute(sql, params![name, number - 650, id, content, is_open, note]).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

on_both_engines! { SCHEMA;
    async fn the_same_rows_have_the_same_sum(t: &TestDb) {
        fill(&t.db).await;
        let snapshot = t.db.snapshot().await.unwrap();
        let tables = snapshot.tables().await.unwrap();
        let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
        // Behind what it refers to, although it comes first in the alphabet.
        assert_eq!(names, ["rooms", "books"]);
        let books = &tables[1];
        assert_eq!(snapshot.count(books).await.unwrap(), BOOKS.unsigned_abs());
        let mut pieces = Vec::new();
        let sum = snapshot.sum(books, |rows| pieces.push(rows)).await.unwrap();
        assert_eq!((sum.rows, hex::encode(sum.sha256).as_str()), (BOOKS.unsigned_abs(), SUM));
        assert_eq!(pieces, [PIECE, PIECE, 1_300 - 2 * PIECE]);
        drop(snapshot);

        t.db.run("alter", |tx| async move {
            Ok(tx.execute("UPDATE books SET is_open = TRUE WHERE place = 1", &[]).await?)
        })
        .await
        .unwrap();
        let snapshot = t.db.snapshot().await.unwrap();
        assert_ne!(snapshot.sum(books, |_| ()).await.unwrap(), sum);
    }

    async fn a_store_is_filled_piece_by_piece_behind_the_last_key(t: &TestDb) {
        fill(&t.db).await;
        let source = TestDb::sqlite(SCHEMA).await;
        fill(&source.db).await;
        let refused = t.db.begin_filling("x", SCHEMA).await.unwrap_err();
        assert_eq!(refused.code(), "target_not_empty");
        t.db.run("clear", |tx| async move { Ok(tx.execute("DELETE FROM books", &[]).await?) })
            .await
            .unwrap();
        assert_eq!(t.db.is_being_filled().await.unwrap(), None);
        t.db.begin_filling("x", SCHEMA).await.unwrap();
        assert_eq!(t.db.is_being_filled().await.unwrap().as_deref(), Some("x"));

        let (from, to) = (source.db.snapshot().await.unwrap(), t.db.snapshot().await.unwrap());
        let (tables, others) = (from.tables().await.unwrap(), to.tables().await.unwrap());
        drop(to);
        for (table, other) in tables.iter().zip(&others) {
            assert!(table.is_like(other), "{table:?} {other:?}");
            loop {
                let after = other.last_key(&t.db).await.unwrap();
                let rows = &from.rows(table, after.as_deref()).await.unwrap();
                if rows.is_empty() {
                    break;
                }
                t.db.run("copy", |tx| async move { other.insert(&tx, rows).await }).await.unwrap();
            }
        }
        let arrived = t.db.snapshot().await.unwrap();
        let sum = arrived.sum(&others[1], |_| ()).await.unwrap();
        assert_eq!(hex::encode(sum.sha256), SUM);
        drop(arrived);
        t.db.end_filling().await.unwrap();
        assert_eq!(t.db.is_being_filled().await.unwrap(), None);
        assert_eq!(t.db.integrity().await.unwrap(), [""; 0]);
        source.finish().await;
    }

    async fn a_snapshot_of_a_shared_store_stands_still(t: &TestDb) {
        if !t.is_postgres() {
            return;
        }
        let snapshot = t.db.snapshot().await.unwrap();
        let tables = snapshot.tables().await.unwrap();
        fill(&t.db).await;
        assert_eq!(snapshot.count(&tables[1]).await.unwrap(), 0);
        let now = t.db.snapshot().await.unwrap();
        assert_eq!(now.count(&tables[1]).await.unwrap(), BOOKS.unsigned_abs());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_store_is_copied_while_it_is_written_to() {
    let t = TestDb::sqlite(TABLES).await;
    let db = t.db.clone();
    write(&db, 0).await.unwrap();
    let writing = tokio::spawn(async move {
        for id in 1..2_000 {
            write(&db, id).await.unwrap();
        }
    });
    for number in 0..5 {
        let copy = t.directory().join(format!("copy-{number}.db"));
        let (from, to) = (t.file(), copy.clone());
        tokio::task::spawn_blocking(move || copy_sqlite(&from, &to)).await.unwrap().unwrap();
        let options = SqliteOptions { read_only: true, ..SqliteOptions::at(&copy) };
        let copy = Db::open_sqlite(&options, t.db.world().clone()).unwrap();
        assert_eq!(copy.integrity().await.unwrap(), [""; 0]);
        let found = ids(&copy).await;
        let whole: Vec<i64> = (0..i64::try_from(found.len()).unwrap()).collect();
        assert_eq!(found, whole, "the first so many, and none of them left out");
        copy.close().await;
    }
    writing.await.unwrap();
    let blocked = t.directory().join("nowhere/copy.db");
    let refused = copy_sqlite(&t.file(), &blocked).unwrap_err();
    assert_eq!(refused.code(), "copy_failed");
    t.finish().await;
}
