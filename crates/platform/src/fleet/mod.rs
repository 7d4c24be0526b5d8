//! Several processes over one store that act as one.
//!
//! What a process remembers of the store (sessions, for one) can be changed by any other. Whoever
//! changes it says so in the transaction: [`Tx::tell`](crate::db::Tx::tell) with a [`Notice`]. The
//! process itself forgets before the transaction's caller is answered; the others hear of it
//!
//! - from the **stream** in Redis, within milliseconds, where there is Redis, and
//! - from the **counters** in the store, which each process reads four times a second.
//!
//! The counters are the truth. A notice adds one to its shard's counter in the transaction of the
//! change itself, so there is never one without the other, and a process that dies between the
//! commit and the stream takes nothing with it. A process compares the counters with what the
//! stream has told it; where they differ, it forgets the whole shard. So the stream may lose,
//! repeat, reorder or be flushed: that costs reads and never a stale answer. Its entries bear a
//! MAC, so that whoever can write to Redis cannot make a process believe that it has heard what it
//! has not.
//!
//! **Invariant.** What is remembered is believed at an instant `now` only if it was read from the
//! store, or the counters were, less than [`STALE_MAX`] before `now`. See [`Board::believes`],
//! the one place that decides, and `docs/decisions/0018`.
//!
//! What is so for a moment only, and may be lost, is said on the [`Air`] instead.
//!
//! | file | holds |
//! |---|---|
//! | `air` | words over Redis that are kept nowhere |
//! | `board` | what this process has heard, and who is told |
//! | `counters` | the SQL |
//! | `redis` | the connection to Redis and its health |
//! | `shards` | what a piece of work has told, for another process |
//! | `stream` | notices over Redis |

mod air;
mod board;
mod counters;
mod redis;
mod shards;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use kernel::{Result, Secret};
use tokio_util::sync::CancellationToken;

pub use air::{Air, Heard};
pub(crate) use board::Told;
pub use board::{Board, Follower, Liveness, Notice, SHARDS};
pub(crate) use counters::tick;
pub use redis::{Redis, RedisOptions};
pub(crate) use shards::note;
pub use shards::{Shards, gather};

use crate::crypto::MasterKey;
use crate::db::Db;

/// For this long what is remembered may be behind the store, in the whole fleet.
pub const STALE_MAX: Duration = Duration::from_secs(1);
/// How often the counters are read: several times within [`STALE_MAX`], so that one slow answer
/// does not send everybody to the store.
const READ_EVERY: Duration = Duration::from_millis(250);

/// This process as one of the fleet: what keeps its memory true while it serves.
pub struct Fleet {
    db: Db,
    redis: Option<Arc<Redis>>,
    key: Secret<[u8; 32]>,
}

/// How the fleet's parts are, for health pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FleetHealth {
    /// Whether Redis answers; nothing where none is configured.
    pub redis: Option<bool>,
    pub liveness: Liveness,
}

impl Fleet {
    /// Processes of one fleet have one master key: what is told under another is not heard.
    pub fn new(db: Db, redis: Option<Arc<Redis>>, master: &MasterKey) -> Self {
        Self { db, redis, key: master.derive("fleet/notices") }
    }

    pub fn redis(&self) -> Option<&Arc<Redis>> {
        self.redis.as_ref()
    }

    pub fn health(&self) -> FleetHealth {
        FleetHealth {
            redis: self.redis.as_ref().map(|redis| redis.is_up()),
            liveness: self.db.board().liveness(),
        }
    }

    /// Hears and tells until told to stop. Without it a process confirms what it remembers with
    /// the store, piece by piece: right, and slower.
    pub async fn run(&self, stop: CancellationToken) {
        if !self.db.is_shared() {
            // Alone with its store: nobody else changes anything. Redis may serve the limits.
            if let Some(redis) = &self.redis {
                redis.keep(&stop).await;
            }
            return;
        }
        let Some(redis) = &self.redis else { return self.read_counters(&stop).await };
        let stream = stream::Stream::new(redis, self.db.board(), self.db.world(), &self.key);
        tokio::join!(
            redis.keep(&stop),
            stream.publish(&stop),
            stream.follow(&stop),
            self.read_counters(&stop),
        );
    }

    async fn read_counters(&self, stop: &CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            let read = self.read_counters_once().await;
            if let Err(error) = &read
                && !failing
            {
                tracing::warn!(%error, "the counters of what changed cannot be read");
            }
            if failing && read.is_ok() {
                tracing::info!("the counters of what changed are read again");
            }
            failing = read.is_err();
            tokio::select! {
                () = tokio::time::sleep(READ_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// One round: from here on, everything that had committed before this call is known.
    pub async fn read_counters_once(&self) -> Result<()> {
        let board = self.db.board();
        let reading = board.begin_reading(self.db.world().now());
        let counted = counters::read(&self.db).await?;
        board.finish_reading(reading, &counted).await;
        Ok(())
    }
}
