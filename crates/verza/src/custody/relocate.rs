//! Moving a platform from one store to another: every row of every table, and the files where that
//! is asked for.
//!
//! - The source is not changed, and nobody serves from it meanwhile.
//! - The target is empty, and marked while it is being filled: nobody serves from it until it is
//!   whole.
//! - Rows go in pieces in the order of their keys, one transaction a piece. What has arrived is in
//!   the target itself, so a move that was interrupted, at whatever moment, goes on behind the last
//!   row that is there.
//! - Both stores are read once more, and each table is summed up on both sides.
//! - Then come the files, and the target is whole only after the last: a move that was interrupted
//!   among them goes on as well. A file that an earlier run has brought over is read and not copied.

use std::path::{Path, PathBuf};
use std::time::Duration;

use documents::Inventory;
use futures_util::StreamExt;
use kernel::{Error, Result, Secret, World};
use platform::blob::{Blobs, Stored};
use platform::db::{Db, PostgresOptions, Snapshot, SqliteOptions, Table};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::datadir::DataDir;
use crate::wiring::MIGRATIONS;

/// How far the clock of the disk with the files may be ahead of ours.
const CLOCKS_APART: Duration = Duration::from_secs(24 * 3600);

/// Where rows are.
#[derive(Debug, Clone)]
pub enum Store {
    /// The database file in a data folder.
    Sqlite(PathBuf),
    Postgres(Secret<String>),
}

/// A store that is open, and ours for as long as that lasts.
struct Held {
    db: Db,
    _folder: Option<DataDir>,
}

/// What is being done: a piece of a table has been copied, or read to compare, or a file is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    pub stage: Stage,
    pub table: &'a str,
    /// Rows of this piece; of the files, how many have come over.
    pub rows: u64,
    /// Rows of all tables together.
    pub of: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing yet: how much there is in all.
    Begin,
    Copy,
    Compare,
    Files,
}

/// The stores of files of both sides.
#[derive(Clone)]
pub struct Files {
    pub from: Blobs,
    /// Nobody serves from it.
    pub to: Blobs,
}

/// What came of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesMoved {
    /// Files that this run has copied.
    pub copied: u64,
    /// Files that were there already, and are what they should be.
    pub there: u64,
}

/// A table on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    pub table: String,
    pub rows: u64,
    pub sha256: String,
    /// What the target has instead, where it is not the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

/// What was moved.
#[derive(Debug, Clone, Serialize)]
pub struct Moved {
    /// Whether an earlier run had begun it.
    pub resumed: bool,
    /// Rows that this run has copied.
    pub copied: u64,
    pub tables: Vec<Compared>,
    /// The files, where they were to move and the rows are whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesMoved>,
    /// What contradicts the books and the log of the target.
    pub contradictions: Vec<String>,
}

impl Moved {
    /// Whether the target is the same as the source, and sound.
    pub fn is_whole(&self) -> bool {
        self.contradictions.is_empty() && self.tables.iter().all(|table| table.differs.is_none())
    }
}

impl Store {
    /// Reads `sqlite:FOLDER`, `sqlite:FOLDER/verza.db` or a PostgreSQL URL.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(Secret::new(text.to_owned())));
        }
        // `postgres:postgres://...` says the same twice.
        if let Some(url) = text.strip_prefix("postgres:") {
            return Self::parse(url);
        }
        match text.strip_prefix("sqlite:").map(Path::new) {
            Some(path) if path.file_name().is_some_and(|name| name == "verza.db") => {
                Ok(Self::Sqlite(path.parent().map(Path::to_owned).unwrap_or_default()))
            }
            Some(path) if !path.as_os_str().is_empty() => Ok(Self::Sqlite(path.to_owned())),
            _ => {
                let message = "A store is sqlite:FOLDER, the data folder of a platform, or \
                               postgres://user:password@host/database.";
                Err(Error::invalid("invalid_store", message))
            }
        }
    }

    /// The store as it may be printed.
    fn name(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite:{}", folder.display()),
            Self::Postgres(_) => "the PostgreSQL database".into(),
        }
    }

    async fn hold(&self, world: &World) -> Result<Held> {
        match self {
            Self::Sqlite(folder) => {
                let claimed = DataDir::claim(folder)?;
                let options = SqliteOptions::at(DataDir::database(folder));
                let db = Db::open_sqlite(&options, world.clone())?;
                Ok(Held { db, _folder: Some(claimed) })
            }
            Self::Postgres(url) => {
                // By another name: those of who serves are counted.
                let name = "verza migrate-data";
                let options = PostgresOptions {
                    name,
                    connections: 4,
                    ..PostgresOptions::at(url.expose().clone())
                };
                let db = Db::connect_postgres(&options, world.clone())?;
                db.ping().await?;
                if db.is_served().await? {
                    let message = "The PostgreSQL database is used by a running Verza: stop every \
                                   process that uses it first.";
                    return Err(Error::unavailable("store_in_use", message));
                }
                Ok(Held { db, _folder: None })
            }
        }
    }

    async fn hold_source(&self, world: &World) -> Result<Held> {
        if let Self::Sqlite(folder) = self
            && !DataDir::database(folder).exists()
        {
            let message = format!("There is no database in {}.", folder.display());
            return Err(Error::unavailable("no_database", message));
        }
        self.hold(world).await
    }
}

/// Moves all rows, and the files with them where they are given. `tell` hears of each piece and each
/// file when it is on the other side for good; an error of its own ends the move there, as if the
/// process had been killed.
pub async fn relocate(
    from: &Store,
    to: &Store,
    files: Option<&Files>,
    world: &World,
    mut tell: impl FnMut(Step<'_>) -> Result<()>,
) -> Result<Moved> {
    let source = from.hold_source(world).await?;
    let target = to.hold(world).await?;
    let moved = between(from, [&source.db, &target.db], files, &mut tell).await;
    source.db.close().await;
    target.db.close().await;
    moved
}

async fn between(
    from: &Store,
    [source, target]: [&Db; 2],
    files: Option<&Files>,
    tell: &mut impl FnMut(Step<'_>) -> Result<()>,
) -> Result<Moved> {
    refuse_another_schema(source, &from.name()).await?;
    if source.is_being_filled().await?.is_some() {
        let message = "The source is itself being filled: finish that move first.";
        return Err(Error::conflict("store_half_filled", message));
    }
    let snapshot = source.snapshot().await?;
    let tables = snapshot.tables().await?;
    let (mark, of) = mark_of(&snapshot, &tables).await?;
    let resumed = prepare(target, &mark).await?;
    let others = target.snapshot().await?.tables().await?;
    let pairs = pair(&tables, others)?;
    tell(Step { stage: Stage::Begin, table: "", rows: 0, of })?;
    let mut copied = 0;
    for (table, other) in &pairs {
        copied += copy(&snapshot, table, target, other, |rows| {
            tell(Step { stage: Stage::Copy, table: &table.name, rows, of })
        })
        .await?;
    }
    let compared = compare(&snapshot, target, &pairs, |table, rows| {
        tell(Step { stage: Stage::Compare, table, rows, of })
    })
    .await?;
    let contradictions = contradictions(target).await?;
    let mut moved = Moved { resumed, copied, tables: compared, files: None, contradictions };
    if !moved.is_whole() {
        return Ok(moved);
    }
    if let Some(files) = files {
        let tell = |rows| tell(Step { stage: Stage::Files, table: "", rows, of });
        moved.files = Some(copy_files(source, files, tell).await?);
    }
    // Until the last file is over nobody serves from it, and this can be begun anew.
    target.end_filling().await?;
    Ok(moved)
}

/// Fills an empty store with the rows of another as they are at one moment, also while that one is
/// served from.
pub(super) async fn draw_off(source: &Db, target: &Db) -> Result<()> {
    refuse_another_schema(source, "the database").await?;
    let snapshot = source.snapshot().await?;
    let tables = snapshot.tables().await?;
    prepare(target, "backup").await?;
    let pairs = pair(&tables, target.snapshot().await?.tables().await?)?;
    for (table, other) in &pairs {
        copy(&snapshot, table, target, other, |_| Ok(())).await?;
    }
    let compared = compare(&snapshot, target, &pairs, |_, _| Ok(())).await?;
    if let Some(Compared { table, .. }) = compared.iter().find(|table| table.differs.is_some()) {
        return Err(Error::internal(format!("the table {table} is not what was copied")));
    }
    target.end_filling().await
}

/// Both sides must have the tables of this very release.
async fn refuse_another_schema(db: &Db, name: &str) -> Result<()> {
    let missing = db.migration_status(MIGRATIONS).await?;
    let missing = missing.iter().filter(|step| !step.applied).count();
    let known: usize = MIGRATIONS.iter().map(|context| context.files.len()).sum();
    let applied = db.applied_migrations().await?.len();
    if missing == 0 && applied == known {
        return Ok(());
    }
    let message = if missing > 0 {
        format!("{missing} migrations are missing in {name}: run `verza migrate up` there first.")
    } else {
        format!("{name} was migrated by a newer release: move it with that one.")
    };
    Err(Error::conflict("schema_differs", message))
}

/// What tells one source from another: how many rows each table has. Also how many there are in all.
async fn mark_of(snapshot: &Snapshot, tables: &[Table]) -> Result<(String, u64)> {
    let (mut hash, mut of) = (Sha256::new(), 0);
    for table in tables {
        let rows = snapshot.count(table).await?;
        hash.update(format!("{} {rows}\n", table.name));
        of += rows;
    }
    Ok((hex::encode(hash.finalize()), of))
}

/// Makes the target ready to be filled; `true` when an earlier run has filled a part of it.
async fn prepare(target: &Db, mark: &str) -> Result<bool> {
    match target.is_being_filled().await? {
        Some(other) if other == mark => {
            refuse_another_schema(target, "the target").await?;
            return Ok(true);
        }
        Some(_) => {
            let message = "The target is being filled from another store, or the source has \
                           changed since that began. Empty the target (a new database, a new \
                           folder) and start again.";
            return Err(Error::conflict("another_move", message));
        }
        None => {}
    }
    if !target.applied_migrations().await?.is_empty() {
        refuse_another_schema(target, "the target").await?;
    }
    target.migrate(MIGRATIONS).await?;
    target.begin_filling(mark, MIGRATIONS).await?;
    Ok(false)
}

fn pair(tables: &[Table], mut others: Vec<Table>) -> Result<Vec<(Table, Table)>> {
    let differ = |name: &str| {
        let message = format!("The table {name} is not the same on both sides.");
        Error::conflict("schema_differs", message)
    };
    let mut pairs = Vec::with_capacity(tables.len());
    for table in tables {
        let place = others.iter().position(|other| other.is_like(table));
        let other = others.remove(place.ok_or_else(|| differ(&table.name))?);
        pairs.push((table.clone(), other));
    }
    match others.first() {
        None => Ok(pairs),
        Some(other) => Err(differ(&other.name)),
    }
}

/// Copies what a table of the target has not got yet; answers how many rows that were.
async fn copy(
    snapshot: &Snapshot,
    table: &Table,
    target: &Db,
    other: &Table,
    mut tell: impl FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let mut after = other.last_key(target).await?;
    let mut copied = 0;
    loop {
        let rows = snapshot.rows(table, after.as_deref()).await?;
        let Some(last) = rows.last() else { return Ok(copied) };
        after = Some(table.key_of(last));
        let piece = &rows;
        target.run("data.copy", |tx| async move { other.insert(&tx, piece).await }).await?;
        copied += rows.len() as u64;
        tell(rows.len() as u64)?;
    }
}

/// Sums every table up on both sides.
async fn compare(
    snapshot: &Snapshot,
    target: &Db,
    pairs: &[(Table, Table)],
    mut tell: impl FnMut(&str, u64) -> Result<()>,
) -> Result<Vec<Compared>> {
    let arrived = target.snapshot().await?;
    let mut compared = Vec::with_capacity(pairs.len());
    for (table, other) in pairs {
        let here = snapshot.sum(table, |_| ()).await?;
        let there = arrived.sum(other, |_| ()).await?;
        tell(&table.name, here.rows)?;
        let differs = (here != there)
            .then(|| format!("{} rows with the sum {}", there.rows, hex::encode(there.sha256)));
        compared.push(Compared {
            table: table.name.clone(),
            rows: here.rows,
            sha256: hex::encode(here.sha256),
            differs,
        });
    }
    Ok(compared)
}

/// What is wrong with the books or the log of the target.
async fn contradictions(target: &Db) -> Result<Vec<String>> {
    let ledger = money::ledger::check(target).await?;
    let mut against: Vec<String> = Vec::new();
    for check in ledger.checks {
        against.extend(check.violations.iter().map(|what| format!("{} {what}", check.name)));
    }
    let log = trust::log::check(target, None).await?;
    // A platform that has never been started has no log.
    if log.size > 0 {
        against.extend(log.failures);
    }
    Ok(against)
}

/// Copies the files that rows of the source tell of.
async fn copy_files(
    source: &Db,
    Files { from, to }: &Files,
    mut tell: impl FnMut(u64) -> Result<()>,
) -> Result<FilesMoved> {
    // What an interrupted run has left half written. The clock of a disk elsewhere may be ahead.
    to.sweep(source.world().now() + CLOCKS_APART).await?;
    let mut moved = FilesMoved::default();
    let mut inventory = Inventory::default();
    loop {
        let blobs = inventory.next(source).await?;
        if blobs.is_empty() {
            return Ok(moved);
        }
        for blob in &blobs {
            if is_there(to, blob).await? {
                moved.there += 1;
            } else {
                copy_file(from, to, blob).await?;
                moved.copied += 1;
            }
            tell(moved.copied + moved.there)?;
        }
    }
}

/// Whether an earlier run has brought a file over, byte for byte.
async fn is_there(to: &Blobs, blob: &Stored) -> Result<bool> {
    if !to.has(&blob.key, blob.size).await {
        return Ok(false);
    }
    let mut content = to.open(&blob.key, 0..blob.size).await?;
    let mut hash = Sha256::new();
    while let Some(piece) = content.next().await {
        hash.update(piece?);
    }
    Ok(<[u8; 32]>::from(hash.finalize()) == blob.sha256)
}

async fn copy_file(from: &Blobs, to: &Blobs, blob: &Stored) -> Result<()> {
    let stored = from.copy_to(to, &blob.key, blob.size).await?;
    if stored.sha256 == blob.sha256 {
        return Ok(());
    }
    to.delete(&blob.key).await?;
    let message = format!(
        "The file {} is not what was uploaded any more. Look at it, or restore it from a backup, \
         and start again.",
        blob.key
    );
    Err(Error::conflict("file_damaged", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_in_a_few_ways() {
        let folder = |text: &str| match Store::parse(text).unwrap() {
            Store::Sqlite(folder) => folder.display().to_string(),
            Store::Postgres(_) => panic!("{text} is a folder"),
        };
        assert_eq!(folder("sqlite:/srv/verza"), "/srv/verza");
        assert_eq!(folder("sqlite:/srv/verza/verza.db"), "/srv/verza");
        for url in ["postgres://h/d", "postgresql://h/d", "postgres:postgres://h/d"] {
            assert!(matches!(Store::parse(url), Ok(Store::Postgres(_))), "{url}");
        }
        for wrong in ["", "sqlite:", "mysql://h/d", "/srv/verza"] {
            assert!(Store::parse(wrong).is_err(), "{wrong}");
        }
    }
}
