//! The sequencer, and the readers that follow it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::id::kinds::User;
use kernel::{Error, Id, Result};
use tokio_util::sync::CancellationToken;

use super::{Recorded, store};
use crate::db::{Db, Tx};

/// Facts placed in one transaction, and facts handed to a reader at once.
const BATCH: i64 = 500;
/// How long the runner rests when nothing rings: other replicas' commits do not ring here.
const REST: Duration = Duration::from_millis(500);

/// How long the runner gathers after a ring: under load a batch of facts costs the readers hardly
/// more than one fact does.
const GATHER: Duration = Duration::from_millis(50);

/// How long a runner that was told to stop goes on.
const LAST: Duration = Duration::from_secs(2);

/// Whoever gives facts their places holds this.
const SEQUENCER: &str = "journal.sequence";

/// Somebody who follows the journal. What it writes commits together with its place in the
/// journal, so every fact takes effect on every reader exactly once.
pub trait Reader: Send + Sync {
    /// The reader's name in the database. Never changes: a new name reads from the beginning.
    fn name(&self) -> &'static str;

    /// Takes in the next facts, in order.
    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>>;
}

impl Recorded {
    /// The users whom this fact concerns, its actor among them.
    pub async fn parties(&self, tx: &Tx) -> Result<Vec<Id<User>>> {
        match &self.parties {
            Some(parties) => Ok(parties.clone()),
            None => store::parties(tx, self.id.uuid()).await,
        }
    }
}

/// Gives committed facts their places; answers how many.
pub async fn sequence(db: &Db) -> Result<usize> {
    db.run("journal.sequence", |tx| async move {
        if !tx.exclusive(SEQUENCER).await? {
            return Ok(0);
        }
        Ok(store::sequence(&tx, BATCH).await?.len())
    })
    .await
}

/// What one round has done.
struct Round {
    /// Facts that got their places.
    placed: usize,
    /// Readers that have not read everything yet.
    behind: Vec<Arc<dyn Reader>>,
}

/// Gives committed facts their places and hands them, in the same transaction, to all readers
/// that have read everything before them. What a busy platform pays for its readers is then one
/// commit for many facts.
async fn round(db: &Db, readers: &[Arc<dyn Reader>]) -> Result<Round> {
    db.run("journal.round", |tx| async move {
        if !tx.exclusive(SEQUENCER).await? {
            return Ok(Round { placed: 0, behind: Vec::new() });
        }
        let mut facts = store::sequence(&tx, BATCH).await?;
        store::read_parties(&tx, &mut facts).await?;
        let head = match facts.last().and_then(|fact| fact.seq) {
            Some(last) => last,
            None => store::head(&tx).await?,
        };
        let before = head - i64::try_from(facts.len()).unwrap_or(0);
        let cursors = store::cursors(&tx).await?;
        let mut behind = Vec::new();
        for reader in readers {
            let cursor = cursors.get(reader.name()).copied().unwrap_or(0);
            if cursor == head {
                continue;
            }
            // Whoever is behind reads alone, at its own pace.
            if cursor < before || !tx.exclusive(reader.name()).await? {
                behind.push(Arc::clone(reader));
                continue;
            }
            reader.read(&tx, &facts).await?;
            store::set_cursor(&tx, reader.name(), head).await?;
        }
        Ok(Round { placed: facts.len(), behind })
    })
    .await
}

/// Hands the next facts to a reader; answers how many.
pub async fn advance(db: &Db, reader: &dyn Reader) -> Result<usize> {
    db.run("journal.read", |tx| async move {
        if !tx.exclusive(reader.name()).await? {
            return Ok(0);
        }
        let mut facts = store::since(&tx, store::cursor(&tx, reader.name()).await?, BATCH).await?;
        store::read_parties(&tx, &mut facts).await?;
        let Some(last) = facts.last().and_then(|fact| fact.seq) else { return Ok(0) };
        reader.read(&tx, &facts).await?;
        store::set_cursor(&tx, reader.name(), last).await?;
        Ok(facts.len())
    })
    .await
}

/// Runs the sequencer and the readers.
pub struct Runner {
    db: Db,
    readers: Vec<Arc<dyn Reader>>,
}

impl Runner {
    pub fn new(db: Db, readers: Vec<Arc<dyn Reader>>) -> Self {
        Self { db, readers }
    }

    /// Places and hands out what there is, until nothing is left; answers how many facts moved.
    /// A reader that fails is logged and does not hold up the others.
    pub async fn drain(&self) -> usize {
        let mut moved = 0;
        loop {
            let Round { placed, behind } = self.round().await;
            let mut read = 0;
            for reader in &behind {
                read += self.advance(reader.as_ref()).await.unwrap_or_else(|error| {
                    metrics::counter!("journal_reader_failures_total", "reader" => reader.name())
                        .increment(1);
                    tracing::error!(%error, reader = reader.name(), "a journal reader failed");
                    0
                });
            }
            if placed == 0 && read == 0 {
                return moved;
            }
            moved += placed + read;
        }
    }

    /// One round for all; where one reader spoils it for the others, the facts get their places
    /// all the same, and each reader then reads on its own.
    async fn round(&self) -> Round {
        let together = std::panic::AssertUnwindSafe(round(&self.db, &self.readers)).catch_unwind();
        if let Ok(Ok(round)) = together.await {
            return round;
        }
        let placed = sequence(&self.db).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the journal's sequencer failed");
            0
        });
        Round { placed, behind: self.readers.clone() }
    }

    /// A reader that panics fails, and fails alone.
    async fn advance(&self, reader: &dyn Reader) -> Result<usize> {
        let reading = std::panic::AssertUnwindSafe(advance(&self.db, reader)).catch_unwind();
        reading.await.unwrap_or_else(|_| Err(Error::internal("the reader panicked")))
    }

    /// Follows the journal until told to stop. Then what is there gets its places for a moment
    /// more: on a busy platform others write on meanwhile, and who starts next reads on.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            let stopped = stop.is_cancelled();
            tokio::select! {
                biased;
                () = async {
                    stop.cancelled().await;
                    tokio::time::sleep(LAST).await;
                } => return,
                _ = self.drain() => {}
            }
            if stopped {
                return;
            }
            tokio::select! {
                () = self.db.facts_written() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(REST) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}
