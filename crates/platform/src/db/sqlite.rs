//! SQLite with group commit.
//!
//! There is one writer connection. A logical transaction takes it, runs as a savepoint inside
//! the open physical transaction, and hands the writer on to the next one in line; its caller
//! then waits for the physical commit, which a thread of its own makes for all who have finished
//! by then. So one fsync serves many callers, and nobody is answered before it:
//!
//! - a transaction that fails, is cancelled, or panics rolls back its own savepoint and nothing
//!   else ([`Transaction`]'s `Drop`);
//! - a physical commit that fails fails all of its members, undoes all of them, and the next
//!   group starts anew;
//! - where SQLite undoes the physical transaction because of one member (it interrupts a write
//!   that runs out of time), the members before it are run again by [`super::Db::run`];
//! - what must follow a commit (dropping a cached session, say) is done by the committer before
//!   anybody is answered, also for callers that no longer wait.
//!
//! `synchronous=FULL` is not a choice: NORMAL loses acknowledged writes when the power fails.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use kernel::{Error, Result};
use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::tx::{Hook, run_hooks};
use super::{DbError, Row, Value};

/// Members of one physical commit, at most: bounds what a failed commit takes with it.
const GROUP_MAX: usize = 256;
/// A statement checks its deadline once every so many instructions of SQLite's machine.
const INSTRUCTIONS_PER_CHECK: i32 = 20_000;
const STATEMENTS_CACHED: usize = 256;
/// Pages that a connection keeps at most, in KiB.
const READER_CACHE: u32 = 16 << 10;
const WRITER_CACHE: u32 = 64 << 10;
/// How much of the file is read as memory, in bytes: SQLite's own bound.
const MAPPED: u32 = 0x7fff_0000;
/// The write-ahead log is copied into the database this often, besides a thread of its own.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// So long the writer waits for readers of an old state when it folds the log itself. One that reads
/// for longer is waited for the next time.
const FOLDING_MAX: Duration = Duration::from_millis(100);
const BUSY_MAX: Duration = Duration::from_secs(5);

/// How to open the embedded store.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    pub path: PathBuf,
    /// Connections that only read; a few more than there are cores do no harm.
    pub readers: usize,
    pub statement_timeout: Duration,
    /// Look, but write nothing: for checks beside a running server.
    pub read_only: bool,
    /// Beyond this many pages of write-ahead log the writer waits for them to be copied, so that the
    /// log cannot grow without end while writers never pause.
    pub log_pages_max: i64,
}

impl SqliteOptions {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            path: path.into(),
            readers: cores.clamp(2, 8),
            statement_timeout: Duration::from_secs(10),
            read_only: false,
            log_pages_max: 65_536,
        }
    }
}

pub(super) struct Store {
    writer: Arc<tokio::sync::Mutex<Writer>>,
    readers: Box<[Mutex<Timed>]>,
    next_reader: AtomicUsize,
    committer: mpsc::Sender<Signal>,
    commits: Arc<AtomicU64>,
    closed: AtomicBool,
    #[cfg(any(test, feature = "testing"))]
    fail: Arc<AtomicBool>,
    #[cfg(any(test, feature = "testing"))]
    counts: Vec<Arc<Counters>>,
}

enum Signal {
    Commit,
    Close(oneshot::Sender<()>),
}

/// A connection whose statements end at a deadline.
struct Timed {
    connection: Connection,
    /// Microseconds after `start`.
    deadline: Arc<AtomicU64>,
    start: Instant,
    timeout: Duration,
    #[cfg(any(test, feature = "testing"))]
    counts: Arc<Counters>,
}

/// What statements have cost so far, exact on any machine; see [`super::Db::counts`].
#[cfg(any(test, feature = "testing"))]
#[derive(Debug, Default)]
struct Counters {
    statements: AtomicU64,
    rows: AtomicU64,
    scanned: AtomicU64,
    sorts: AtomicU64,
}

#[cfg(any(test, feature = "testing"))]
impl Counters {
    fn add(&self, statement: &rusqlite::Statement<'_>, rows: usize) {
        use rusqlite::StatementStatus::{FullscanStep, Sort};
        let taken = |status| statement.reset_status(status).unsigned_abs().into();
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.scanned.fetch_add(taken(FullscanStep), Ordering::Relaxed);
        self.sorts.fetch_add(taken(Sort), Ordering::Relaxed);
    }
}

impl Timed {
    fn new(mut connection: Connection, timeout: Duration) -> Result<Self, DbError> {
        let deadline = Arc::new(AtomicU64::new(u64::MAX));
        let start = Instant::now();
        let watched = deadline.clone();
        connection
            .progress_handler(
                INSTRUCTIONS_PER_CHECK,
                Some(move || micros(start.elapsed()) > watched.load(Ordering::Relaxed)),
            )
            .map_err(DbError::from_sqlite)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
        Ok(Self {
            connection,
            deadline,
            start,
            timeout,
            #[cfg(any(test, feature = "testing"))]
            counts: Arc::default(),
        })
    }

    fn all<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let end = self.start.elapsed() + self.timeout;
        self.deadline.store(micros(end), Ordering::Relaxed);
        with_markers(sql, |sql| {
            let fail = |error| self.error(error);
            let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
            let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(fail)?;
            let mut items = Vec::new();
            while let Some(row) = rows.next().map_err(fail)? {
                items.push(read(&Row::sqlite(row))?);
            }
            drop(rows);
            #[cfg(any(test, feature = "testing"))]
            self.counts.add(&statement, items.len());
            Ok(items)
        })
    }

    fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        let end = self.start.elapsed() + self.timeout;
        self.deadline.store(micros(end), Ordering::Relaxed);
        let done = with_markers(sql, |sql| {
            let mut statement = self.connection.prepare_cached(sql)?;
            let done = statement.execute(rusqlite::params_from_iter(params));
            #[cfg(any(test, feature = "testing"))]
            self.counts.add(&statement, 0);
            done
        });
        done.map(|count| count as u64).map_err(|error| self.error(error))
    }

    /// Runs several statements without parameters and without a deadline: migrations.
    fn batch(&self, sql: &str) -> Result<(), DbError> {
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        self.connection.execute_batch(sql).map_err(DbError::from_sqlite)
    }

    /// Copies the log into the database in one of SQLite's ways.
    fn checkpoint(&self, pragma: &'static str) -> Result<(), DbError> {
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        // It answers with a row, unlike the statements that `control` runs.
        self.connection.query_row(pragma, [], |_| Ok(())).map_err(DbError::from_sqlite)
    }

    /// What went wrong; a unique index by its name rather than by its columns.
    fn error(&self, error: rusqlite::Error) -> DbError {
        match DbError::from_sqlite(error) {
            DbError::Unique(columns) => DbError::Unique(self.index_of(&columns)),
            other => other,
        }
    }

    /// Control statements, which no deadline may interrupt.
    fn control(&self, sql: &'static str) -> Result<(), DbError> {
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        let mut statement = self.connection.prepare_cached(sql).map_err(DbError::from_sqlite)?;
        statement.raw_execute().map(|_| ()).map_err(DbError::from_sqlite)
    }

    /// The name of the unique index that SQLite describes as `table.column, table.column`.
    fn index_of(&self, columns: &str) -> String {
        if let Some(named) = columns.strip_prefix("index '") {
            return named.trim_end_matches('\'').to_owned();
        }
        let Some((table, _)) = columns.split_once('.') else { return columns.to_owned() };
        let wanted = columns.replace(&format!("{table}."), "");
        let found = self.connection.query_row(
            "SELECT name FROM pragma_index_list(?1) AS list WHERE \"unique\" = 1 AND ?2 = (
                 SELECT group_concat(name, ', ') FROM
                     (SELECT name FROM pragma_index_info(list.name) ORDER BY seqno))",
            [table, &wanted],
            |row| row.get::<_, String>(0),
        );
        match found {
            Ok(name) if !name.starts_with("sqlite_autoindex") => name,
            // Named as PostgreSQL names a primary key.
            _ => format!("{table}_pkey"),
        }
    }
}

fn closed() -> DbError {
    DbError::Unavailable("the store is closed".into())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

thread_local! {
    static SQL: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Turns `$1` into `?1`: SQLite numbers `$` parameters by first appearance, not by their digits.
fn with_markers<T>(sql: &str, run: impl FnOnce(&str) -> T) -> T {
    // Taken out rather than borrowed: `run` may come back here.
    let mut buffer = SQL.take();
    buffer.clear();
    for (index, part) in sql.split('$').enumerate() {
        if index > 0 {
            buffer.push('?');
        }
        buffer.push_str(part);
    }
    let value = run(&buffer);
    SQL.set(buffer);
    value
}

/// The writer connection and the group that is gathering on it.
pub(super) struct Writer {
    // The lock is never contended: whoever reaches it holds the writer. It makes `&Tx` shareable.
    connection: Mutex<Timed>,
    /// Whether a physical transaction is open.
    open: bool,
    members: Vec<Member>,
    commits: Arc<AtomicU64>,
    closed: bool,
}

/// A finished logical transaction that waits for the physical commit.
struct Member {
    hooks: Vec<Hook>,
    answer: oneshot::Sender<Result<(), DbError>>,
}

impl Writer {
    fn open_group(&mut self) -> Result<(), DbError> {
        if self.closed {
            return Err(closed());
        }
        if self.members.len() >= GROUP_MAX {
            self.commit_group();
        }
        if !self.open {
            self.connection.get_mut().control("BEGIN IMMEDIATE")?;
            self.open = true;
        }
        Ok(())
    }

    /// The physical commit, and the word to everybody who waits for it.
    fn commit_group(&mut self) {
        if !self.open {
            return;
        }
        let connection = self.connection.get_mut();
        let outcome = connection.control("COMMIT");
        if outcome.is_err() && !connection.connection.is_autocommit() {
            // Nothing more can be done should this fail too: the next BEGIN will say so.
            let _ = connection.control("ROLLBACK");
        }
        self.open = false;
        let members = std::mem::take(&mut self.members);
        metrics::histogram!("db_group_commit_members").record(members.len() as f64);
        self.commits.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = &outcome {
            tracing::error!(%error, members = members.len(), "a group commit failed");
        }
        for member in members {
            if outcome.is_ok() {
                run_hooks(member.hooks);
            }
            // A caller that no longer waits is no reason to stop.
            let _ = member.answer.send(outcome.clone());
        }
    }

    /// Copies what is left of the log into the database, while nobody writes, so that the log begins
    /// anew. While writers never pause, the copy beside them never comes to the end, and only from an
    /// end can it begin anew. The file stays as long as it is: to write over it costs less than to
    /// make it grow again.
    fn fold_log(&mut self) {
        // Under load somebody's group is always open.
        self.commit_group();
        let writer = self.connection.get_mut();
        let folded = writer
            .connection
            .busy_timeout(FOLDING_MAX)
            .map_err(DbError::from_sqlite)
            .and_then(|()| writer.checkpoint("PRAGMA wal_checkpoint(RESTART)"));
        let restored = writer.connection.busy_timeout(BUSY_MAX).map_err(DbError::from_sqlite);
        if let Err(error) = folded.and(restored) {
            tracing::warn!(%error, "the log could not be folded into the database");
        }
    }

    /// Sees to the members of a physical transaction that SQLite has undone by itself, as it
    /// does for an interrupted write and for some I/O errors of any one member. The others have
    /// done nothing wrong and have not been answered: they are told to run again.
    fn notice_lost_group(&mut self) {
        if !self.open || !self.connection.get_mut().connection.is_autocommit() {
            return;
        }
        self.open = false;
        let members = std::mem::take(&mut self.members);
        tracing::warn!(members = members.len(), "SQLite undid the group of a failed write");
        for member in members {
            let lost = "a neighbour in the group took it along".to_owned();
            let _ = member.answer.send(Err(DbError::Serialization(lost)));
        }
    }

    /// Ends a physical transaction that has no members.
    fn abandon_if_empty(&mut self) {
        if self.open && self.members.is_empty() {
            let _ = self.connection.get_mut().control("ROLLBACK");
            self.open = false;
        }
    }
}

impl Store {
    pub(super) fn open(options: &SqliteOptions) -> Result<Self> {
        let path = &options.path;
        #[cfg_attr(
            not(any(test, feature = "testing")),
            expect(unused_mut, reason = "a fault is installed in tests")
        )]
        let mut writer = connect(options).map_err(|error| cannot_open(path, error))?;
        let readers = (0..options.readers.max(1))
            .map(|_| {
                let reader = SqliteOptions { read_only: true, ..options.clone() };
                connect(&reader).map(Mutex::new)
            })
            .collect::<Result<Box<[_]>, DbError>>()
            .map_err(|error| cannot_open(path, error))?;

        let commits = Arc::new(AtomicU64::new(0));
        #[cfg(any(test, feature = "testing"))]
        let counts = std::iter::once(writer.counts.clone())
            .chain(readers.iter().map(|reader| reader.lock().counts.clone()))
            .collect();
        #[cfg(any(test, feature = "testing"))]
        let fail = install_fault(&mut writer).map_err(|error| cannot_open(path, error))?;
        let writer = Arc::new(tokio::sync::Mutex::new(Writer {
            connection: Mutex::new(writer),
            open: false,
            members: Vec::new(),
            commits: commits.clone(),
            closed: false,
        }));
        let (committer, signals) = mpsc::channel();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(work).map_err(|error| {
                Error::unavailable("threads", "The system refuses another thread.").because(error)
            })
        };
        let for_commits = writer.clone();
        spawn("db-commit", Box::new(move || commit_when_told(&for_commits, &signals)))?;
        if !options.read_only {
            let (options, writer) = (options.clone(), Arc::downgrade(&writer));
            spawn("db-checkpoint", Box::new(move || checkpoint_regularly(&options, &writer)))?;
        }
        Ok(Self {
            writer,
            readers,
            next_reader: AtomicUsize::new(0),
            committer,
            commits,
            closed: AtomicBool::new(false),
            #[cfg(any(test, feature = "testing"))]
            fail,
            #[cfg(any(test, feature = "testing"))]
            counts,
        })
    }

    /// Runs inline: a cached point read takes microseconds, a thread hop takes as long again.
    pub(super) fn read<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(closed());
        }
        for reader in &self.readers {
            if let Some(reader) = reader.try_lock() {
                return reader.all(sql, params, read);
            }
        }
        let turn = self.next_reader.fetch_add(1, Ordering::Relaxed) % self.readers.len();
        self.readers[turn].lock().all(sql, params, read)
    }

    pub(super) async fn begin(&self) -> Result<Transaction, DbError> {
        let mut writer = self.writer.clone().lock_owned().await;
        writer.open_group()?;
        if let Err(error) = writer.connection.get_mut().control("SAVEPOINT member") {
            writer.abandon_if_empty();
            return Err(error);
        }
        Ok(Transaction { writer: Some(writer), committer: self.committer.clone() })
    }

    pub(super) fn physical_commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn counts(&self) -> super::Counts {
        let sum = |read: fn(&Counters) -> &AtomicU64| {
            self.counts.iter().map(|counts| read(counts).load(Ordering::Relaxed)).sum()
        };
        super::Counts {
            statements: sum(|counts| &counts.statements),
            rows: sum(|counts| &counts.rows),
            scanned: sum(|counts| &counts.scanned),
            sorts: sum(|counts| &counts.sorts),
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn fail_commits(&self, fail: bool) {
        self.fail.store(fail, Ordering::Relaxed);
    }

    /// Commits what has gathered, copies the log into the database and refuses what comes later.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.committer.send(Signal::Close(done)).is_ok() {
            let _ = closed.await;
        }
        self.closed.store(true, Ordering::Relaxed);
    }
}

fn connect(options: &SqliteOptions) -> Result<Timed, DbError> {
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    flags |= if options.read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let connection =
        Connection::open_with_flags(&options.path, flags).map_err(DbError::from_sqlite)?;
    connection.busy_timeout(BUSY_MAX).map_err(DbError::from_sqlite)?;
    // A plan is made once, whatever is bound. Without this SQLite compiles a statement anew at every
    // run where its table has a partial index that a parameter could speak for.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(DbError::from_sqlite)?;
    let pragmas = if options.read_only {
        "PRAGMA query_only = ON;"
    } else {
        // What is deleted or overwritten is gone from the file as well: an erased person's row and
        // key must not lie in it until their page is written to again.
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA secure_delete = ON;"
    };
    // The writer touches many pages and reads none through the map; readers are many.
    let cache = if options.read_only { READER_CACHE } else { WRITER_CACHE };
    connection
        .execute_batch(&format!(
            "{pragmas} PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -{cache}; PRAGMA mmap_size = {MAPPED};"
        ))
        .map_err(DbError::from_sqlite)?;
    Timed::new(connection, options.statement_timeout)
}

/// Copies the store as the last commit has left it into a new file. Writers go on meanwhile; what
/// they write is not in the copy, and the log grows until the copy is done.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let run = || -> Result<(), DbError> {
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_READ_ONLY;
        let source = Connection::open_with_flags(from, flags).map_err(DbError::from_sqlite)?;
        source.busy_timeout(BUSY_MAX).map_err(DbError::from_sqlite)?;
        let target = to.to_string_lossy();
        source.execute("VACUUM INTO ?1", [&*target]).map_err(DbError::from_sqlite)?;
        let sync = std::fs::File::open(to).and_then(|file| file.sync_all());
        sync.map_err(|error| DbError::Unavailable(error.to_string()))
    };
    run().map_err(|error| {
        let message = format!(
            "The database {} cannot be copied to {}: {error}.",
            from.display(),
            to.display()
        );
        Error::unavailable("copy_failed", message).because(error)
    })
}

fn cannot_open(path: &Path, error: DbError) -> Error {
    if matches!(error, DbError::Full(_)) {
        let message = format!("The disk of {} is full: make room on it.", path.display());
        return Error::unavailable("storage_full", message).because(error);
    }
    let message = format!(
        "Cannot open the database {}: {error}. Is the folder there, writable, and the disk not \
         full?",
        path.display()
    );
    Error::unavailable("storage_unavailable", message).because(error)
}

/// A commit hook that refuses while the flag is set: the failure comes from SQLite itself.
#[cfg(any(test, feature = "testing"))]
fn install_fault(writer: &mut Timed) -> Result<Arc<AtomicBool>, DbError> {
    let fail = Arc::new(AtomicBool::new(false));
    let asked = fail.clone();
    writer
        .connection
        .commit_hook(Some(move || asked.load(Ordering::Relaxed)))
        .map_err(DbError::from_sqlite)?;
    Ok(fail)
}

fn commit_when_told(writer: &Arc<tokio::sync::Mutex<Writer>>, signals: &mpsc::Receiver<Signal>) {
    while let Ok(signal) = signals.recv() {
        // In line behind all who waited for the writer before: they become members as well.
        let mut writer = writer.blocking_lock();
        writer.commit_group();
        if let Signal::Close(done) = signal {
            writer.closed = true;
            let connection = writer.connection.get_mut();
            let log = connection.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)");
            if let Err(error) = log {
                tracing::warn!(%error, "the log was not folded into the database at closing");
            }
            let _ = done.send(());
        }
    }
}

/// Copies the write-ahead log into the database, so that no request pays for it.
fn checkpoint_regularly(
    options: &SqliteOptions,
    writer: &std::sync::Weak<tokio::sync::Mutex<Writer>>,
) {
    let side = match connect(options) {
        Ok(side) => side,
        Err(error) => return tracing::error!(%error, "no connection for checkpoints"),
    };
    let mut quiet = Quiet::default();
    loop {
        std::thread::sleep(CHECKPOINT_EVERY);
        let Some(writer) = writer.upgrade() else { return };
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let outcome = side.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], read);
        let Ok((pages, copied)) = outcome else { continue };
        // How many of them were copied says nothing: it is counted up to where the log ended when
        // the copy began, and writers have gone on since.
        if pages > options.log_pages_max {
            writer.blocking_lock().fold_log();
        }
        // What was written over in the database is in the log's file until that is emptied.
        if quiet.is_long(pages, copied)
            && let Err(error) = side.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")
        {
            tracing::debug!(%error, "the log was not emptied");
        }
    }
}

/// How often in a row a log was seen that is all in the database and has not grown.
#[derive(Debug, Default)]
struct Quiet {
    pages: i64,
    looks: u32,
}

/// So many looks make a while in which nothing was written.
const QUIET_LOOKS: u32 = 30;

impl Quiet {
    /// Whether it has been so for a while, told once for each.
    fn is_long(&mut self, pages: i64, copied: i64) -> bool {
        let is_quiet = pages > 0 && pages == copied && pages == self.pages;
        self.looks = if is_quiet { self.looks.saturating_add(1) } else { 0 };
        self.pages = pages;
        self.looks == QUIET_LOOKS
    }
}

/// A logical transaction: a savepoint, and the right to the writer while it lives.
pub(super) struct Transaction {
    writer: Option<OwnedMutexGuard<Writer>>,
    committer: mpsc::Sender<Signal>,
}

impl Transaction {
    fn writer(&self) -> Result<&Writer, DbError> {
        self.writer.as_deref().ok_or_else(|| DbError::Other("the transaction is over".into()))
    }

    pub(super) fn read<T>(
        &self,
        sql: &str,
        params: &[Value<'_>],
        read: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        self.writer()?.connection.lock().all(sql, params, read)
    }

    pub(super) fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
        self.writer()?.connection.lock().execute(sql, params)
    }

    /// Runs several statements without parameters: migrations.
    pub(super) fn batch(&self, sql: &str) -> Result<(), DbError> {
        self.writer()?.connection.lock().batch(sql)
    }

    /// Joins the group and waits for its physical commit. A caller that stops waiting here is a
    /// member all the same.
    pub(super) async fn commit(mut self, hooks: Vec<Hook>) -> Result<(), DbError> {
        let (answer, committed) = oneshot::channel();
        {
            let Some(writer) = self.writer.as_mut() else {
                return Err(DbError::Other("the transaction is over".into()));
            };
            writer.connection.get_mut().control("RELEASE member")?;
            writer.members.push(Member { hooks, answer });
        }
        let first = self.writer.take().is_some_and(|writer| writer.members.len() == 1);
        if first {
            // The committer lives as long as the store does.
            let _ = self.committer.send(Signal::Commit);
        }
        committed.await.unwrap_or_else(|_| Err(DbError::Unavailable("the store was closed".into())))
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(writer) = self.writer.as_mut() else { return };
        let connection = writer.connection.get_mut();
        let undone = connection
            .control("ROLLBACK TO member")
            .and_then(|()| connection.control("RELEASE member"));
        if let Err(error) = undone {
            tracing::debug!(%error, "a transaction could not be rolled back alone");
        }
        writer.notice_lost_group();
        writer.abandon_if_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_keep_their_numbers() {
        with_markers("SELECT $2, $1 WHERE a = $10", |sql| {
            assert_eq!(sql, "SELECT ?2, ?1 WHERE a = ?10");
        });
    }

    #[test]
    fn a_log_that_has_not_grown_for_a_while_is_emptied_once() {
        let mut quiet = Quiet::default();
        let mut told =
            |pages, copied, looks| (0..looks).filter(|_| quiet.is_long(pages, copied)).count();
        assert_eq!(told(0, 0, 100), 0, "there is none");
        assert_eq!(told(10, 9, 100), 0, "not all of it is in the database");
        assert_eq!((told(10, 10, 29), told(11, 11, 29)), (0, 0), "it has grown");
        assert_eq!(told(11, 11, 100), 1);
        assert_eq!((told(0, 0, 1), told(11, 11, 100)), (0, 1), "the next one");
    }

    #[test]
    fn a_statement_is_compiled_once_whatever_is_bound() {
        let timed = connect(&SqliteOptions::at(":memory:")).unwrap();
        let table = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, done INTEGER);
                     CREATE INDEX jobs_done ON jobs (done) WHERE done IS NOT NULL";
        timed.connection.execute_batch(table).unwrap();
        let mut by_id = timed.connection.prepare("SELECT done FROM jobs WHERE id = ?1").unwrap();
        for id in 0..3 {
            assert!(!by_id.exists([id]).unwrap());
        }
        assert_eq!(by_id.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }
}
