//! All SQL of the transparency log.

use kernel::{Error, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use uuid::Uuid;

use verify::log::merkle::{Edge, Hash};
use verify::log::tile::{Level, Tile};

/// The row of the log that grows.
const NAME: &str = "audit";
/// How far apart the numbers of two logs begin: more leaves than any log will have.
const STRIDE: u64 = 1 << 40;

/// Where a log stands.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) origin: String,
    pub(super) edge: Edge,
    /// The newest checkpoint as it was signed; empty before the first.
    pub(super) checkpoint: String,
    /// From where on its leaves, tiles and checkpoints are numbered.
    base: u64,
    /// The fact before its first leaf.
    pub(super) after_seq: i64,
    pub(super) patrol: Patrol,
}

/// How far the log's patrol of itself has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Patrol {
    /// The next leaf.
    pub(super) place: u64,
    /// What was wrong on this round so far.
    pub(super) found: i64,
    /// Whether something wrong was reported and no round without it has been completed since.
    pub(super) alarm: bool,
}

const COLUMNS: &str = "origin, size, edge, checkpoint, base, after_seq, patrolled, found, alarm";

fn read(row: &Row<'_>) -> Result<State, DbError> {
    let (origin, size): (String, i64) = (row.take()?, row.take()?);
    let hashes: Vec<u8> = row.take()?;
    let (hashes, rest) = hashes.as_chunks::<32>();
    let broken = || DbError::Other("the log's right edge is broken".into());
    if !rest.is_empty() {
        return Err(broken());
    }
    let edge = Edge::restore(size.unsigned_abs(), hashes.to_vec()).map_err(|_| broken())?;
    Ok(State {
        origin,
        edge,
        checkpoint: row.take()?,
        base: row.take::<i64>()?.unsigned_abs(),
        after_seq: row.take()?,
        patrol: Patrol {
            place: row.take::<i64>()?.unsigned_abs(),
            found: row.take()?,
            alarm: row.take()?,
        },
    })
}

impl State {
    /// The number under which something of this log is kept.
    fn number(&self, place: u64) -> i64 {
        self.base.saturating_add(place).cast_signed()
    }
}

/// The log that grows.
pub(super) async fn state(db: &impl Read) -> Result<Option<State>> {
    let sql = format!("SELECT {COLUMNS} FROM log_state WHERE name = $1");
    Ok(db.maybe(&sql, params![NAME], read).await?)
}

/// Lets nobody else change the log that grows before the transaction's end, and waits for whoever
/// does: what is read afterwards stays so.
pub(super) async fn hold(tx: &Tx) -> Result<()> {
    tx.execute("UPDATE log_state SET size = size WHERE name = $1", params![NAME]).await?;
    Ok(())
}

/// All logs, the oldest first; the last one grows.
pub(super) async fn states(db: &impl Read) -> Result<Vec<State>> {
    let sql = format!("SELECT {COLUMNS} FROM log_state ORDER BY base");
    Ok(db.all(&sql, &[], read).await?)
}

/// The log of this origin.
pub(super) async fn of_origin(db: &impl Read, origin: &str) -> Result<Option<State>> {
    let sql = format!("SELECT {COLUMNS} FROM log_state WHERE origin = $1");
    Ok(db.maybe(&sql, params![origin], read).await?)
}

pub(super) async fn insert_state(tx: &Tx, origin: &str) -> Result<()> {
    let sql = "INSERT INTO log_state (name, origin, size, edge, checkpoint)
               VALUES ($1, $2, 0, $3, '') ON CONFLICT DO NOTHING";
    tx.execute(sql, params![NAME, origin, Vec::<u8>::new()]).await?;
    Ok(())
}

/// Closes the log that grows and opens another one, whose first leaf will be the fact behind
/// `after_seq`. `None` when somebody else has done so meanwhile.
pub(super) async fn succeed(
    tx: &Tx,
    last: &State,
    origin: &str,
    after_seq: i64,
) -> Result<Option<State>> {
    // The closed log gives its place and name away first: both are unique.
    let sql = "UPDATE log_state SET name = origin WHERE name = $1 AND origin = $2 AND size = $3";
    let size = last.edge.size().cast_signed();
    if !tx.touch(sql, params![NAME, last.origin, size]).await? {
        return Ok(None);
    }
    let base = last.base.saturating_add(STRIDE).cast_signed();
    let sql = "INSERT INTO log_state (name, origin, size, edge, checkpoint, base, after_seq)
               VALUES ($1, $2, 0, $3, '', $4, $5)";
    tx.execute(sql, params![NAME, origin, Vec::<u8>::new(), base, after_seq]).await?;
    state(tx).await
}

/// Moves the log from one size to a larger one; refuses when it is not where it was thought to
/// be, so that no two trees are ever signed.
pub(super) async fn grow(tx: &Tx, from: &State, edge: &Edge, checkpoint: &str) -> Result<()> {
    let hashes: Vec<u8> = edge.hashes().concat();
    let (before, size) = (from.edge.size().cast_signed(), edge.size().cast_signed());
    let sql = "UPDATE log_state SET size = $2, edge = $3, checkpoint = $4
               WHERE name = $1 AND size = $5 AND origin = $6";
    let changed = params![NAME, size, hashes, checkpoint, before, from.origin];
    if !tx.touch(sql, changed).await? {
        return Err(Error::conflict("log_moved", "The log has grown meanwhile."));
    }
    let sql = "INSERT INTO log_checkpoints (size, note, signed_at) VALUES ($1, $2, $3)";
    tx.execute(sql, params![from.number(edge.size()), checkpoint, tx.now()]).await?;
    Ok(())
}

/// The checkpoint that a log signed at a size.
pub(super) async fn checkpoint(db: &impl Read, log: &State, size: u64) -> Result<Option<String>> {
    let sql = "SELECT note FROM log_checkpoints WHERE size = $1";
    Ok(db.maybe(sql, params![log.number(size)], |row| row.take()).await?)
}

pub(super) async fn insert_leaf(
    tx: &Tx,
    log: &State,
    place: u64,
    fact: Uuid,
    entry: &str,
) -> Result<()> {
    let sql = "INSERT INTO log_leaves (place, fact, entry) VALUES ($1, $2, $3)";
    tx.execute(sql, params![log.number(place), fact, entry]).await?;
    Ok(())
}

/// A fact's log, its place there and its entry, once it is in one.
pub(super) async fn leaf(db: &impl Read, fact: Uuid) -> Result<Option<(State, u64, String)>> {
    let sql = "SELECT place, entry FROM log_leaves WHERE fact = $1";
    let read_leaf = |row: &Row<'_>| Ok((row.take::<i64>()?.unsigned_abs(), row.take()?));
    let Some((number, entry)) = db.maybe(sql, params![fact], read_leaf).await? else {
        return Ok(None);
    };
    let place = number % STRIDE;
    let sql = format!("SELECT {COLUMNS} FROM log_state WHERE base = $1");
    let log = db.maybe(&sql, params![(number - place).cast_signed()], read).await?;
    let log = log.ok_or_else(|| Error::internal("a leaf is of no log"))?;
    Ok(Some((log, place, entry)))
}

/// Entries of a log from a place on, with the facts they stand for.
pub(super) async fn entries(
    db: &impl Read,
    log: &State,
    from: u64,
    limit: u16,
) -> Result<Vec<(Uuid, String)>> {
    let sql = "SELECT fact, entry FROM log_leaves
               WHERE place >= $1 AND place < $2 ORDER BY place LIMIT $3";
    let read_entry = |row: &Row<'_>| Ok((row.take()?, row.take()?));
    let (first, end) = (log.number(from), log.number(STRIDE));
    Ok(db.all(sql, params![first, end, limit], read_entry).await?)
}

pub(super) async fn put_tile(tx: &Tx, log: &State, tile: Tile, hashes: &[u8]) -> Result<()> {
    let Level::Hashes(level) = tile.level else {
        return Err(Error::internal("entries are kept as leaves, not as tiles"));
    };
    let sql = "INSERT INTO log_tiles (level, place, width, hashes) VALUES ($1, $2, $3, $4)
               ON CONFLICT (level, place) DO UPDATE
               SET width = excluded.width, hashes = excluded.hashes
               WHERE log_tiles.width < excluded.width";
    tx.execute(sql, params![level, log.number(tile.index), tile.width, hashes]).await?;
    Ok(())
}

/// The hashes of a tile, as many as it names; the store may hold a wider one.
pub(super) async fn tile(db: &impl Read, log: &State, tile: Tile) -> Result<Option<Vec<u8>>> {
    let Level::Hashes(level) = tile.level else { return Ok(None) };
    if tile.index >= STRIDE {
        return Ok(None);
    }
    let sql = "SELECT hashes FROM log_tiles WHERE level = $1 AND place = $2";
    let held: Option<Vec<u8>> =
        db.maybe(sql, params![level, log.number(tile.index)], |row| row.take()).await?;
    let length = usize::from(tile.width) * size_of::<Hash>();
    Ok(held.filter(|hashes| hashes.len() >= length).map(|mut hashes| {
        hashes.truncate(length);
        hashes
    }))
}

/// Notes how far the patrol has come.
pub(super) async fn patrolled(tx: &Tx, log: &State, patrol: Patrol) -> Result<()> {
    let Patrol { place, found, alarm } = patrol;
    let sql = "UPDATE log_state SET patrolled = $2, found = $3, alarm = $4 WHERE origin = $1";
    tx.execute(sql, params![log.origin, place.cast_signed(), found, alarm]).await?;
    Ok(())
}

/// What a witness has signed last of a log, and what it has against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cosignature {
    /// The witness's vkey.
    pub(super) witness: String,
    /// 0 where it has signed nothing yet.
    pub(super) size: u64,
    /// The signature line; empty with size 0.
    pub(super) line: String,
    pub(super) signed_at: Timestamp,
    pub(super) objection: Option<String>,
}

pub(super) async fn cosignatures(db: &impl Read, origin: &str) -> Result<Vec<Cosignature>> {
    let sql = "SELECT witness, size, line, signed_at, objection FROM log_cosignatures
               WHERE origin = $1 ORDER BY witness";
    let read = |row: &Row<'_>| {
        Ok(Cosignature {
            witness: row.take()?,
            size: row.take::<i64>()?.unsigned_abs(),
            line: row.take()?,
            signed_at: row.take()?,
            objection: row.take()?,
        })
    };
    Ok(db.all(sql, params![origin], read).await?)
}

/// Keeps what a witness has signed. A later signature takes the place of an earlier one, and ends
/// its objection.
pub(super) async fn cosigned(tx: &Tx, origin: &str, signed: &Cosignature) -> Result<()> {
    let Cosignature { witness, size, line, signed_at, .. } = signed;
    let sql = "INSERT INTO log_cosignatures (origin, witness, size, line, signed_at, objection)
               VALUES ($1, $2, $3, $4, $5, NULL)
               ON CONFLICT (origin, witness) DO UPDATE
               SET size = excluded.size, line = excluded.line, signed_at = excluded.signed_at,
                   objection = NULL
               WHERE log_cosignatures.size <= excluded.size";
    tx.execute(sql, params![origin, witness, size.cast_signed(), line, signed_at]).await?;
    Ok(())
}

/// Keeps what a witness objects to; `false` where it has said the same before.
pub(super) async fn objected(tx: &Tx, origin: &str, witness: &str, what: &str) -> Result<bool> {
    let sql = "INSERT INTO log_cosignatures (origin, witness, size, line, signed_at, objection)
               VALUES ($1, $2, 0, '', $3, $4)
               ON CONFLICT (origin, witness) DO UPDATE SET objection = excluded.objection
               WHERE log_cosignatures.objection IS NULL
                  OR log_cosignatures.objection <> excluded.objection";
    Ok(tx.touch(sql, params![origin, witness, tx.now(), what]).await?)
}
