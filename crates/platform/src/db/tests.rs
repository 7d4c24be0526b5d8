//! What the storage seam promises, shown on both engines.

mod engines;
mod groups;
mod migrations;
mod once;
mod portable;
mod programs;
mod search;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use kernel::{Error, Kind, Result};

use super::{Db, DbError, Migration, Migrations, PostgresOptions, Read, SqliteOptions, Tx};
use crate::testing::TestDb;
use crate::{on_both_engines, params};

const THINGS: Migrations = Migrations {
    context: "things",
    files: &[Migration {
        name: "0001_things",
        sql: "CREATE TABLE things (
                  id BIGINT NOT NULL PRIMARY KEY,
                  name TEXT NOT NULL,
                  size BIGINT NOT NULL CONSTRAINT things_size CHECK (size >= 0)
              );
              CREATE UNIQUE INDEX things_name ON things (name);",
    }],
};
const TABLES: &[Migrations] = &[crate::MIGRATIONS, THINGS];

async fn put(tx: &Tx, id: i64) -> Result<()> {
    let sql = "INSERT INTO things (id, name, size) VALUES ($1, $2, 0)";
    tx.execute(sql, params![id, format!("thing {id}")]).await?;
    Ok(())
}

async fn grow(tx: &Tx, id: i64, by: i64) -> Result<()> {
    tx.execute("UPDATE things SET size = size + $2 WHERE id = $1", params![id, by]).await?;
    Ok(())
}

async fn write(db: &Db, id: i64) -> Result<()> {
    db.run("thing.put", |tx| async move { put(&tx, id).await }).await
}

async fn ids(db: &impl Read) -> Vec<i64> {
    db.all("SELECT id FROM things ORDER BY id", &[], |row| row.take()).await.unwrap()
}

/// A caller that goes away at its `polls`-th await point; `None` when it did not get further.
async fn cancelled_after<F: Future>(polls: usize, work: F) -> Option<F::Output> {
    let mut work = Box::pin(work);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match work.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What hangs fails, instead of holding up the whole suite.
async fn within_a_minute<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it hangs")
}

/// A panic that prints nothing: these are meant.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("meant"))
}
