//! `bare-sqlite`: one thread, given statements, some number of units to a durable commit.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::histogram::Histogram;
use crate::{Failure, Result};

/// As much memory as Verza gives each of its connections: with less, a large database would be
/// slow for a reason that is not the one to be measured.
pub const SERVER_MEMORY: &str =
    "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536; PRAGMA mmap_size = 2147418112;";

/// The log is copied into the database this often, as Verza does it.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

/// A database with the settings a durable server has: write-ahead log, and a sync at each commit.
pub struct BareSqlite {
    connection: Connection,
    checkpointed: Instant,
    /// Units done so far. Never goes back, so that units can make distinct rows from it.
    done: u64,
}

/// What a stretch of commits brought.
#[derive(Clone)]
pub struct Commits {
    pub units: u64,
    pub seconds: f64,
    /// Of this, what the statements took, without the commits.
    pub statement_seconds: f64,
    /// From the beginning of each batch until it was durable.
    pub latency: Histogram,
}

impl Commits {
    pub fn rate(&self) -> f64 {
        self.units as f64 / self.seconds
    }

    /// The time of one unit's statements: the `t_stmt` of the commit model.
    pub fn statement_seconds_each(&self) -> f64 {
        self.statement_seconds / self.units as f64
    }
}

impl BareSqlite {
    /// A new database with this schema.
    pub fn create(file: &Path, schema: &str) -> Result<BareSqlite> {
        let bare = BareSqlite::open(file)?;
        bare.connection.execute_batch(schema)?;
        Ok(bare)
    }

    /// A database that may be there already.
    pub fn open(file: &Path) -> Result<BareSqlite> {
        const STATEMENTS_CACHED: usize = 64;
        let connection = Connection::open(file)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;",
        )?;
        connection.execute_batch(SERVER_MEMORY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        Ok(BareSqlite { connection, checkpointed: Instant::now(), done: 0 })
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn done(&self) -> u64 {
        self.done
    }

    /// Commits batches of `batch` units for `length`. A unit is given the connection and its
    /// number, and should prepare its statements cached.
    pub fn run(
        &mut self,
        length: Duration,
        batch: u64,
        mut unit: impl FnMut(&Connection, u64) -> rusqlite::Result<()>,
    ) -> Result<Commits> {
        let mut latency = Histogram::new();
        let (first, begun) = (self.done, Instant::now());
        let mut statements = Duration::ZERO;
        let mut last = begun;
        while last - begun < length {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for number in self.done..self.done + batch {
                unit(&self.connection, number)?;
            }
            let worked = Instant::now();
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            self.done += batch;
            let durable = Instant::now();
            statements += worked - last;
            latency.record(durable - last);
            last = self.checkpoint_when_due(durable)?;
        }
        Ok(Commits {
            units: self.done - first,
            seconds: (last - begun).as_secs_f64(),
            statement_seconds: statements.as_secs_f64(),
            latency,
        })
    }

    /// Counted in the rate, for Verza pays for it on the same core; not in any batch's latency.
    fn checkpoint_when_due(&mut self, now: Instant) -> Result<Instant> {
        if now - self.checkpointed < CHECKPOINT_EVERY {
            return Ok(now);
        }
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        self.checkpointed = Instant::now();
        Ok(self.checkpointed)
    }

    /// The batch size with the highest rate, from short tries.
    pub fn best_batch(
        &mut self,
        length: Duration,
        mut unit: impl FnMut(&Connection, u64) -> rusqlite::Result<()>,
    ) -> Result<u64> {
        const SIZES: [u64; 7] = [1, 8, 32, 128, 256, 512, 1024];
        let mut best = None;
        for size in SIZES {
            let rate = self.run(length, size, &mut unit)?.rate();
            if best.is_none_or(|(_, most)| rate > most) {
                best = Some((size, rate));
            }
        }
        best.map(|(size, _)| size).ok_or_else(|| Failure::new("no batch size was tried"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_that_was_counted_is_in_the_database() {
        let folder = tempfile::tempdir().unwrap();
        let schema = "CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT;";
        let mut bare = BareSqlite::create(&folder.path().join("x.db"), schema).unwrap();
        let insert = |connection: &Connection, number: u64| {
            let mut statement = connection.prepare_cached("INSERT INTO t VALUES (?1)")?;
            statement.execute([number as i64])?;
            Ok(())
        };
        let commits = bare.run(Duration::from_millis(20), 7, insert).unwrap();
        assert_eq!(commits.units, commits.latency.total() * 7);
        assert!(commits.statement_seconds < commits.seconds);
        bare.best_batch(Duration::from_millis(1), insert).unwrap();
        let count: i64 =
            bare.connection().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(count as u64, bare.done());
        let full: i64 =
            bare.connection().query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        assert_eq!(full, 2);
    }
}
