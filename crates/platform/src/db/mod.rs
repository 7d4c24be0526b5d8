//! The seam over two plain drivers: SQLite for one machine, PostgreSQL for many replicas.
//!
//! One SQL text serves both: `$1` markers in any order, ids native, times and amounts BIGINT,
//! enums and JSON as TEXT. [`Db`] reads, [`Tx`] reads and writes. A transaction carries its
//! consequences: rows, facts ([`Tx::record`]), jobs ([`Tx::enqueue`]) and the remembered reply
//! ([`Db::once`]) commit together or none of them exists.
//!
//! On SQLite, transactions that wait for the writer at the same time share one physical commit;
//! `sqlite` says how, and what is promised. Nobody is answered before the commit is on disk.

#[cfg(any(test, feature = "testing"))]
mod death;
mod error;
mod migrate;
mod once;
mod portable;
mod postgres;
pub mod search;
mod sqlite;
#[cfg(test)]
mod tests;
mod tx;
mod value;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kernel::{Result, World};
use tokio::sync::{Notify, watch};
use tracing::Instrument;

use crate::crypto::MasterKey;
use crate::fleet::Board;
use crate::privacy::Vault;

#[cfg(any(test, feature = "testing"))]
pub use death::{Death, Moment};
pub use error::DbError;
#[cfg(any(test, feature = "testing"))]
pub(crate) use migrate::in_postgres_words;
pub use migrate::{Migration, MigrationStatus, Migrations};
pub use once::{REPLY_LIFETIME, sweep as sweep_replies, with_body};
pub use portable::{Item, Items, PIECE, Snapshot, Sum, Table, copy_sqlite};
pub use postgres::PostgresOptions;
pub use sqlite::SqliteOptions;
pub use tx::{Hook, Tx};
pub use value::{Bind, Column, FromColumn, Row, Value};

/// How often a transaction that collided with another is tried before its caller is told.
const ATTEMPTS: u32 = 5;

/// A text in which `LIKE .. ESCAPE '!'` finds nothing but itself. The backslash is no escape here:
/// it is one on PostgreSQL by itself, and none on SQLite.
pub fn like(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

/// Waits for statements of one transaction that were sent together. All of them are waited for,
/// and the first error in their order is the answer: on PostgreSQL the statements behind a failed
/// one fail too, with an error that tells nothing.
pub async fn together<T>(
    statements: impl IntoIterator<Item = impl Future<Output = Result<T>>>,
) -> Result<Vec<T>> {
    futures_util::future::join_all(statements).await.into_iter().collect()
}

/// What statements have cost so far on SQLite: the same on every machine, so that tests can hold
/// them to a bound.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Statements run, without those that begin and end transactions.
    pub statements: u64,
    /// Rows answered.
    pub rows: u64,
    /// Rows that were visited without an index.
    pub scanned: u64,
    /// Answers that had to be sorted.
    pub sorts: u64,
}

/// The connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    pub max: usize,
    pub open: usize,
    /// Open, and used by nobody.
    pub idle: usize,
    /// Who waits for one.
    pub waiting: usize,
}

/// Where statements run. Reads outside of a transaction see the last commit.
pub trait Read: Sync {
    /// All rows.
    fn all<T: Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError> + Send,
    ) -> impl Future<Output = Result<Vec<T>, DbError>> + Send;

    /// The first row, if there is one.
    fn maybe<T: Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError> + Send,
    ) -> impl Future<Output = Result<Option<T>, DbError>> + Send {
        async move { Ok(self.all(sql, params, read).await?.into_iter().next()) }
    }

    /// The one row that there must be: aggregates and `RETURNING`.
    fn one<T: Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError> + Send,
    ) -> impl Future<Output = Result<T, DbError>> + Send {
        async move {
            let row = self.maybe(sql, params, read).await?;
            row.ok_or_else(|| DbError::Other(format!("no row where there must be one: {sql}")))
        }
    }
}

/// The database of the platform. Cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    engine: Engine,
    world: World,
    /// Rung after a commit that wrote facts, and after one that wrote jobs.
    facts_written: Notify,
    jobs_written: watch::Sender<()>,
    /// Changes after a commit that gave facts their places.
    facts_placed: watch::Sender<()>,
    in_flight: once::InFlight,
    vault: OnceLock<Vault>,
    board: Arc<Board>,
    #[cfg(any(test, feature = "testing"))]
    points: death::Points,
}

enum Engine {
    Sqlite(sqlite::Store),
    Postgres(postgres::Store),
}

impl Db {
    /// Opens, or makes, the embedded store in one file.
    pub fn open_sqlite(options: &SqliteOptions, world: World) -> Result<Self> {
        Ok(Self::over(Engine::Sqlite(sqlite::Store::open(options)?), world))
    }

    /// Connects to PostgreSQL; connections are made when they are first needed.
    pub fn connect_postgres(options: &PostgresOptions, world: World) -> Result<Self> {
        Ok(Self::over(Engine::Postgres(postgres::Store::connect(options)?), world))
    }

    fn over(engine: Engine, world: World) -> Self {
        let is_shared = matches!(engine, Engine::Postgres(_));
        Self(Arc::new(Inner {
            board: Arc::new(Board::new(is_shared)),
            engine,
            world,
            facts_written: Notify::new(),
            jobs_written: watch::Sender::new(()),
            facts_placed: watch::Sender::new(()),
            in_flight: once::InFlight::default(),
            vault: OnceLock::new(),
            #[cfg(any(test, feature = "testing"))]
            points: death::Points::default(),
        }))
    }

    /// The clock, chance and ids that this platform runs on.
    pub fn world(&self) -> &World {
        &self.0.world
    }

    /// From here on, what facts and notes hold of people is sealed under the people's own keys,
    /// and those under this one; see [`crate::privacy`]. Call once, before the first write.
    pub fn keep_private(&self, master: MasterKey) {
        // A second call would be with the same key: the platform has one.
        let _ = self.0.vault.set(Vault::new(master, self.is_shared()));
    }

    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.0.vault.get()
    }

    /// "sqlite" or "postgres", for people.
    pub fn engine_name(&self) -> &'static str {
        match self.0.engine {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Whether other processes may write to the same store: what is kept in memory is then
    /// confirmed against the store within a second.
    pub fn is_shared(&self) -> bool {
        matches!(self.0.engine, Engine::Postgres(_))
    }

    /// Who is told of what changes, and what is known of what others change.
    pub fn board(&self) -> &Arc<Board> {
        &self.0.board
    }

    /// Runs `work` as one transaction named `name`, and commits it when it answers `Ok`.
    ///
    /// ```ignore
    /// db.run("credential.revoke", |tx| async move {
    ///     store::revoke(&tx, id).await?;
    ///     tx.record(Fact::by(caller, "credential.revoked").on(id));
    ///     Ok(())
    /// })
    /// ```
    ///
    /// Everything that `work` does through its [`Tx`] becomes visible at once or never: also
    /// when the caller is cancelled or panics half way. A transaction that collides with another
    /// is rolled back and run again, a bounded number of times; so `work` must do nothing that
    /// cannot be undone except through its `Tx`, and must not wait for anything but the `Tx`.
    pub async fn run<T, F>(&self, name: &'static str, work: impl Fn(Tx) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempt = 0;
        loop {
            attempt += 1;
            // Only who exports traces looks at these.
            let span = tracing::trace_span!(target: "verza::store", "transaction", name, attempt);
            let error = match self.attempt(name, &work).instrument(span).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let transient = error.cause::<DbError>().is_some_and(DbError::is_transient);
            if !transient || attempt >= ATTEMPTS {
                return Err(error);
            }
            metrics::counter!("db_transaction_retries_total", "name" => name).increment(1);
            self.pause(attempt).await;
        }
    }

    async fn attempt<T, F>(&self, name: &'static str, work: &impl Fn(Tx) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let tx = Tx::begin(self, name).await?;
        let value = work(tx.clone()).await?;
        tx.commit().await?;
        Ok(value)
    }

    /// Waits a random while that doubles, so that colliding transactions spread out.
    async fn pause(&self, attempt: u32) {
        let [dice] = self.world().random::<1>();
        let millis = (u64::from(dice) << attempt) / 64;
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// Waits until a commit has written facts.
    pub async fn facts_written(&self) {
        self.0.facts_written.notified().await;
    }

    /// Changes whenever this process has given facts their places in the journal. What other
    /// processes place does not show here.
    pub fn facts_placed(&self) -> watch::Receiver<()> {
        self.0.facts_placed.subscribe()
    }

    /// Changes whenever a commit has written jobs. Every worker of the process hears of it.
    pub fn jobs_written(&self) -> watch::Receiver<()> {
        self.0.jobs_written.subscribe()
    }

    /// Whether a statement can run now: what `/readyz` asks.
    pub async fn ping(&self) -> Result<()> {
        self.one("SELECT CAST(1 AS BIGINT)", &[], |row| row.take::<i64>()).await?;
        Ok(())
    }

    /// How many physical commits SQLite has made, for the counted bounds; none on PostgreSQL.
    pub fn physical_commits(&self) -> Option<u64> {
        match &self.0.engine {
            Engine::Sqlite(store) => Some(store.physical_commits()),
            Engine::Postgres(_) => None,
        }
    }

    /// How the connections to PostgreSQL stand; there are none with SQLite.
    pub fn connections(&self) -> Option<Connections> {
        match &self.0.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(store) => Some(store.connections()),
        }
    }

    /// What statements have cost so far; nothing on PostgreSQL.
    #[cfg(any(test, feature = "testing"))]
    pub fn counts(&self) -> Counts {
        match &self.0.engine {
            Engine::Sqlite(store) => store.counts(),
            Engine::Postgres(_) => Counts::default(),
        }
    }

    /// Makes the next physical commits of SQLite fail while set: a fault for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn fail_commits(&self, fail: bool) {
        if let Engine::Sqlite(store) = &self.0.engine {
            store.fail_commits(fail);
        }
    }

    /// Writes what is still in memory and closes the files. Statements fail from here on.
    pub async fn close(&self) {
        match &self.0.engine {
            Engine::Sqlite(store) => store.close().await,
            Engine::Postgres(store) => store.close(),
        }
    }
}

impl Read for Db {
    async fn all<T: Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError> + Send,
    ) -> Result<Vec<T>, DbError> {
        value::check(params)?;
        match &self.0.engine {
            Engine::Sqlite(store) => store.read(sql, params, read),
            Engine::Postgres(store) => Box::pin(store.read(sql, params, read)).await,
        }
    }
}
