//! A transaction and its consequences.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::AtomicU32;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{Error, Result, Timestamp, World};
use parking_lot::Mutex;

#[cfg(any(test, feature = "testing"))]
use super::death::{Fate, Moment};
use super::{Db, DbError, Engine, Read, Row, Value, once, postgres, sqlite, value};
use crate::fleet::{self, Notice, Told};
use crate::jobs::{self, NewJob};
use crate::journal::{self, Fact};
use crate::privacy::Vault;

/// What is done after a commit and before its caller is answered. Must be quick, and must not
/// fail: the commit stands.
pub type Hook = Box<dyn FnOnce() + Send + Sync>;

/// An open transaction, as its work holds it; [`Db::run`] and [`Db::once`] begin and commit it.
#[derive(Clone)]
pub struct Tx(Arc<Open>);

struct Open {
    engine: EngineTx,
    db: Db,
    now: Timestamp,
    /// A statement has failed: like PostgreSQL, refuse everything until the rollback.
    failed: AtomicBool,
    consequences: Mutex<Consequences>,
    #[cfg(any(test, feature = "testing"))]
    fate: Option<Fate>,
    /// Statements so far.
    #[cfg(any(test, feature = "testing"))]
    statements: AtomicU32,
}

/// PostgreSQL's futures are boxed wherever they are awaited: they are large, and would make every
/// verb's future large on the embedded store too, where they are never used.
enum EngineTx {
    Sqlite(sqlite::Transaction),
    // Boxed: it carries a whole connection.
    Postgres(Box<postgres::Transaction>),
}

/// Fails the transaction when it is dropped, unless the statement was seen to succeed.
struct Poison<'a> {
    failed: &'a AtomicBool,
    armed: bool,
}

impl Drop for Poison<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.failed.store(true, Ordering::Relaxed);
        }
    }
}

/// Does what must follow a commit. A hook that panics is a defect, but the commit stands: the
/// other hooks run, and the caller is told so.
pub(super) fn run_hooks(hooks: Vec<Hook>) {
    for hook in hooks {
        if std::panic::catch_unwind(AssertUnwindSafe(hook)).is_err() {
            tracing::error!("what follows a commit panicked");
        }
    }
}

#[derive(Default)]
struct Consequences {
    facts: Vec<Fact>,
    jobs: Vec<NewJob>,
    reply: Option<once::Reply>,
    notices: Vec<Notice>,
    hooks: Vec<Hook>,
}

impl Tx {
    pub(super) async fn begin(db: &Db, name: &'static str) -> Result<Self, DbError> {
        // Names are for tests, which let a process die at one.
        let _ = name;
        let engine = match &db.0.engine {
            Engine::Sqlite(store) => EngineTx::Sqlite(store.begin().await?),
            Engine::Postgres(store) => EngineTx::Postgres(Box::new(Box::pin(store.begin()).await?)),
        };
        Ok(Self(Arc::new(Open {
            engine,
            now: db.world().now(),
            db: db.clone(),
            failed: AtomicBool::new(false),
            consequences: Mutex::default(),
            #[cfg(any(test, feature = "testing"))]
            fate: db.0.points.take(name),
            #[cfg(any(test, feature = "testing"))]
            statements: AtomicU32::new(0),
        })))
    }

    /// The one instant at which everything in this transaction happens.
    pub fn now(&self) -> Timestamp {
        self.0.now
    }

    pub fn world(&self) -> &World {
        self.0.db.world()
    }

    pub(crate) fn vault(&self) -> Option<&Vault> {
        self.0.db.vault()
    }

    /// Runs a statement and answers how many rows it touched.
    pub async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        self.guarded(async {
            value::check(params)?;
            match &self.0.engine {
                EngineTx::Sqlite(tx) => tx.execute(sql, params),
                EngineTx::Postgres(tx) => Box::pin(tx.execute(sql, params)).await,
            }
        })
        .await
    }

    /// Runs a statement that must touch exactly one row; `false` when it touched none.
    /// A conditional update that touches none has lost a race: the caller says to whom.
    pub async fn touch(&self, sql: &str, params: &[Value<'_>]) -> Result<bool, DbError> {
        match self.execute(sql, params).await? {
            0 => Ok(false),
            1 => Ok(true),
            many => Err(DbError::Other(format!("{many} rows where one was meant: {sql}"))),
        }
    }

    /// Runs several statements without parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), DbError> {
        self.guarded(async {
            match &self.0.engine {
                EngineTx::Sqlite(tx) => tx.batch(sql),
                EngineTx::Postgres(tx) => Box::pin(tx.batch(sql)).await,
            }
        })
        .await
    }

    async fn guarded<T>(
        &self,
        statement: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        if self.0.failed.load(Ordering::Relaxed) {
            let what = "an earlier statement of this transaction failed";
            return Err(DbError::Other(what.into()));
        }
        #[cfg(any(test, feature = "testing"))]
        if let Some(fate) = &self.0.fate {
            let before = self.0.statements.fetch_add(1, Ordering::Relaxed);
            fate.meet(Moment::Statement(before)).await;
        }
        // Also of a statement that is given up half way nobody knows how it ended: PostgreSQL
        // would answer COMMIT with a rollback, and without an error.
        let mut poison = Poison { failed: &self.0.failed, armed: true };
        let answer = statement.await;
        poison.armed = answer.is_err();
        answer
    }

    /// Adds a fact to the journal. It exists when this transaction commits, and only then.
    pub fn record(&self, fact: Fact) {
        self.0.consequences.lock().facts.push(fact);
    }

    /// Adds a background job. It runs after this transaction commits, and only then.
    pub fn enqueue(&self, job: NewJob) {
        self.0.consequences.lock().jobs.push(job);
    }

    /// Says that something is no longer as it may be remembered. This process forgets it after
    /// the commit and before anybody is answered, every other one within a second.
    pub fn tell(&self, notice: Notice) {
        self.0.consequences.lock().notices.push(notice);
    }

    /// Remembers the reply to an idempotent request; see [`Db::once`].
    pub(super) fn remember(&self, reply: once::Reply) {
        self.0.consequences.lock().reply = Some(reply);
    }

    /// Does something in memory once the commit is on disk, before anybody is answered.
    pub fn after_commit(&self, hook: impl FnOnce() + Send + Sync + 'static) {
        self.0.consequences.lock().hooks.push(Box::new(hook));
    }

    /// Rings for those who wait for facts with places, once the commit is on disk.
    pub(crate) fn facts_placed(&self) {
        let db = self.0.db.clone();
        self.after_commit(move || {
            db.0.facts_placed.send_replace(());
        });
    }

    /// Whether this process alone does `what` until the transaction ends. Among replicas the
    /// first to ask wins; on the embedded store there is only one process.
    pub async fn exclusive(&self, what: &'static str) -> Result<bool, DbError> {
        match self.0.engine {
            EngineTx::Sqlite(_) => Ok(true),
            EngineTx::Postgres(_) => {
                let sql = "SELECT pg_try_advisory_xact_lock(hashtext($1))";
                self.one(sql, &[Value::Text(what)], |row| row.take()).await
            }
        }
    }

    /// Waits until this process alone does `what`; see [`Tx::exclusive`].
    pub async fn exclusively(&self, what: &'static str) -> Result<(), DbError> {
        if let EngineTx::Postgres(_) = self.0.engine {
            let sql = "SELECT CAST(pg_advisory_xact_lock(hashtext($1)) AS TEXT)";
            self.one(sql, &[Value::Text(what)], |_| Ok(())).await?;
        }
        Ok(())
    }

    /// Appended to a sub-select that claims rows, so that replicas pass over each other's claims
    /// instead of queueing up for them.
    pub fn skip_locked(&self) -> &'static str {
        match self.0.engine {
            EngineTx::Sqlite(_) => "",
            EngineTx::Postgres(_) => "FOR UPDATE SKIP LOCKED",
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.0.engine, EngineTx::Postgres(_))
    }

    /// Counts what is told where others read the counters, and tells it here after the commit.
    async fn count(&self, notices: Vec<Notice>) -> Result<Hook> {
        let told = if self.0.db.is_shared() {
            fleet::tick(self, notices).await?
        } else {
            Told::by_shard(notices)
        };
        fleet::note(&told);
        let db = self.0.db.clone();
        Ok(Box::new(move || db.board().told_here(told)))
    }

    /// Writes the consequences and commits.
    pub(super) async fn commit(self) -> Result<()> {
        let Consequences { facts, jobs, reply, notices, mut hooks } =
            std::mem::take(&mut *self.0.consequences.lock());
        if let Some(reply) = &reply {
            once::insert(&self, reply).await?;
        }
        journal::insert(&self, &facts).await?;
        jobs::insert(&self, &jobs).await?;
        // Writing the facts may have left something to do as well: a key to be remembered.
        hooks.append(&mut self.0.consequences.lock().hooks);
        if !notices.is_empty() {
            hooks.push(self.count(notices).await?);
        }
        if self.0.failed.load(Ordering::Relaxed) {
            let what = "a statement failed and its error was dropped";
            return Err(DbError::Other(what.into()).into());
        }
        if !facts.is_empty() {
            let db = self.0.db.clone();
            hooks.push(Box::new(move || db.0.facts_written.notify_one()));
        }
        if !jobs.is_empty() {
            let db = self.0.db.clone();
            hooks.push(Box::new(move || db.0.jobs_written.send_replace(())));
        }
        #[cfg(any(test, feature = "testing"))]
        if let Some(fate) = &self.0.fate {
            fate.meet(Moment::Commit).await;
        }
        let open = Arc::into_inner(self.0)
            .ok_or_else(|| Error::internal("a transaction was kept beyond its work"))?;
        match open.engine {
            EngineTx::Sqlite(tx) => tx.commit(hooks).await?,
            EngineTx::Postgres(tx) => Box::pin(tx.commit(hooks)).await?,
        }
        #[cfg(any(test, feature = "testing"))]
        if let Some(fate) = open.fate {
            fate.meet(Moment::Answer).await;
        }
        Ok(())
    }
}

impl Read for Tx {
    async fn all<T: Send>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError> + Send,
    ) -> Result<Vec<T>, DbError> {
        self.guarded(async {
            value::check(params)?;
            match &self.0.engine {
                EngineTx::Sqlite(tx) => tx.read(sql, params, read),
                EngineTx::Postgres(tx) => Box::pin(tx.read(sql, params, read)).await,
            }
        })
        .await
    }
}
