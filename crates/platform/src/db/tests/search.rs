//! Words are found alike on both engines, and the index follows its table.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::*;
use crate::db::search::{Words, fold};

const POEMS: Migrations = Migrations {
    context: "poems",
    files: &[
        Migration {
            name: "0001_poems",
            sql: "CREATE TABLE poems (id UUID PRIMARY KEY, place BIGINT NOT NULL,
                      words TEXT NOT NULL);
                  INSERT INTO poems (id, place, words) VALUES
                      (UUID '00000000-0000-7000-8000-000000000001', 1, 'caf\u{e9} noir');",
        },
        Migration { name: "0002_search", sql: "FULL TEXT poems (words);" },
    ],
};
const SCHEMA: &[Migrations] = &[POEMS];

async fn write(db: &Db, place: u64, text: &str) {
    let (id, words) = (Uuid::from_u64_pair(7, place), fold(text));
    let words = words.as_str();
    let sql = "INSERT INTO poems (id, place, words) VALUES ($1, $2, $3)
               ON CONFLICT (id) DO UPDATE SET words = excluded.words";
    db.run("poem.write", |tx| async move {
        Ok(tx.execute(sql, params![id, place.cast_signed(), words]).await?)
    })
    .await
    .unwrap();
}

async fn tear(db: &Db, place: u64) {
    let id = Uuid::from_u64_pair(7, place);
    db.run("poem.tear", |tx| async move {
        Ok(tx.execute("DELETE FROM poems WHERE id = $1", params![id]).await?)
    })
    .await
    .unwrap();
}

async fn found(db: &Db, text: &str) -> BTreeSet<i64> {
    let words = Words::parse(text);
    let condition = words.condition(db.is_shared(), "poems", "words", "$1");
    let sql = format!("SELECT place FROM poems WHERE {condition}");
    let query = words.bound(db.is_shared());
    db.all(&sql, params![query], |row| row.take()).await.unwrap().into_iter().collect()
}

const LINES: [&str; 7] = [
    "Tyger Tyger, burning bright",
    "In the forests of the night",
    "Él árbol — ÀRBOL 1e5 v2.0",
    "Did he who made the Lamb make thee? d'Ivoire",
    "東京都 НОВЫЙ Straße",
    "row_key words id NEAR or and not",
    "burn",
];

async fn fill(db: &Db) {
    for (place, line) in (10..).zip(LINES) {
        write(db, place, line).await;
    }
}

/// What is searched, and the lines that have it.
const SEARCHES: [(&str, &[i64]); 23] = [
    ("tyger", &[10]),
    ("TYGER Bright", &[10]),
    ("bright tyger", &[10]),
    ("tyger night", &[]),
    ("burn", &[10, 16]),
    ("burn bright", &[]),
    ("bright burn", &[10]),
    ("bur", &[10, 16]),
    ("urn", &[]),
    ("the", &[11, 13]),
    ("th", &[11, 13]),
    ("arbol", &[12]),
    ("ÁRB", &[12]),
    ("1e", &[12]),
    ("1e5 v2", &[12]),
    ("ivoire", &[13]),
    ("東京", &[14]),
    ("новый", &[14]),
    ("strasse", &[14]),
    ("not", &[15]),
    ("row_key", &[15]),
    ("00000000000000070000000000000", &[]),
    ("%", &[]),
];

on_both_engines! { SCHEMA;
    async fn all_words_are_found_the_last_by_how_it_begins(t: &TestDb) {
        fill(&t.db).await;
        for (text, places) in SEARCHES {
            let places: BTreeSet<i64> = places.iter().copied().collect();
            assert_eq!(found(&t.db, text).await, places, "{text}");
        }
    }

    async fn rows_that_were_there_before_the_index_are_found(t: &TestDb) {
        for text in ["cafe", "CAFÉ no", "noir"] {
            assert_eq!(found(&t.db, text).await, BTreeSet::from([1]), "{text}");
        }
    }

    async fn the_index_follows_changes_and_nothing_of_what_was_stays_in_it(t: &TestDb) {
        write(&t.db, 10, "marigold and thistle").await;
        write(&t.db, 11, "marigold").await;
        write(&t.db, 10, "thistle").await;
        assert_eq!(found(&t.db, "marigold").await, BTreeSet::from([11]));
        assert_eq!(found(&t.db, "thistle").await, BTreeSet::from([10]));
        tear(&t.db, 11).await;
        assert!(found(&t.db, "marigold").await.is_empty());
        if !t.db.is_shared() {
            let read = |row: &crate::db::Row<'_>| row.take::<Vec<u8>>();
            let sql = "SELECT block FROM poems_search_data";
            let blocks = t.db.all(sql, &[], read).await.unwrap().concat();
            let has = |word: &str| blocks.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(has("histle"), "the index is looked at in the right place");
            assert!(!has("arigold"), "a word that was taken out still lies in the index");
        }
        let undone: Result<()> = t.db.run("poem.undone", |tx| async move {
            tx.execute("UPDATE poems SET words = 'lily'", &[]).await?;
            Err(Error::conflict("undone", "On purpose."))
        }).await;
        assert!(undone.is_err());
        assert!(found(&t.db, "lily").await.is_empty());
        assert_eq!(found(&t.db, "thistle").await, BTreeSet::from([10]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_is_made_anew_where_rows_are_moved_to() {
    let (sqlite, postgres) = (TestDb::sqlite(SCHEMA).await, TestDb::postgres(SCHEMA).await);
    fill(&sqlite.db).await;
    for (from, to) in [(&sqlite, &postgres), (&postgres, &sqlite)] {
        if !to.is_postgres() {
            tear_all(&to.db).await;
            assert!(found(&to.db, "burn").await.is_empty());
        }
        to.db.begin_filling("elsewhere", SCHEMA).await.unwrap();
        let snapshot = from.db.snapshot().await.unwrap();
        let tables = snapshot.tables().await.unwrap();
        let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["poems"], "an index is no table that is moved");
        let rows = &snapshot.rows(&tables[0], None).await.unwrap();
        let table = &tables[0];
        to.db.run("move", |tx| async move { table.insert(&tx, rows).await }).await.unwrap();
        to.db.end_filling().await.unwrap();
        for (text, places) in SEARCHES {
            let places: BTreeSet<i64> = places.iter().copied().collect();
            assert_eq!(found(&to.db, text).await, places, "{text}");
        }
    }
    sqlite.finish().await;
    postgres.finish().await;
}

async fn tear_all(db: &Db) {
    db.run("poem.tear_all", |tx| async move { Ok(tx.execute("DELETE FROM poems", &[]).await?) })
        .await
        .unwrap();
}
