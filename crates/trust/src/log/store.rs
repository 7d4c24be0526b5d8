//! All SQL of the transparency log.

use kernel::{Error, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use uuid::Uuid;

use verify::log::merkle::{Edge, Hash};
use verify::log::tile::{Level, Tile};

/// The one row of the log's state.
const NAME: &str = "audit";

/// Where the log stands.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) origin: String,
    pub(super) edge: Edge,
    /// The newest checkpoint as it was signed; empty before the first.
    pub(super) checkpoint: String,
}

pub(super) async fn state(db: &impl Read) -> Result<Option<State>> {
    let sql = "SELECT origin, size, edge, checkpoint FROM log_state WHERE name = $1";
    let read = |row: &Row<'_>| {
        let (origin, size): (String, i64) = (row.take()?, row.take()?);
        let hashes: Vec<u8> = row.take()?;
        let (hashes, rest) = hashes.as_chunks::<32>();
        let broken = || DbError::Other("the log's right edge is broken".into());
        if !rest.is_empty() {
            return Err(broken());
        }
        let edge = Edge::restore(size.unsigned_abs(), hashes.to_vec()).map_err(|_| broken())?;
        Ok(State { origin, edge, checkpoint: row.take()? })
    };
    Ok(db.maybe(sql, params![NAME], read).await?)
}

pub(super) async fn insert_state(tx: &Tx, origin: &str) -> Result<()> {
    let sql = "INSERT INTO log_state (name, origin, size, edge, checkpoint)
               VALUES ($1, $2, 0, $3, '') ON CONFLICT DO NOTHING";
    tx.execute(sql, params![NAME, origin, Vec::<u8>::new()]).await?;
    Ok(())
}

/// Moves the log from one size to a larger one; refuses when it is not where it was thought to
/// be, so that no two trees are ever signed.
pub(super) async fn grow(tx: &Tx, from: u64, edge: &Edge, checkpoint: &str) -> Result<()> {
    let hashes: Vec<u8> = edge.hashes().concat();
    let size = edge.size().cast_signed();
    let sql = "UPDATE log_state SET size = $2, edge = $3, checkpoint = $4
               WHERE name = $1 AND size = $5";
    if !tx.touch(sql, params![NAME, size, hashes, checkpoint, from.cast_signed()]).await? {
        return Err(Error::conflict("log_moved", "The log has grown meanwhile."));
    }
    let sql = "INSERT INTO log_checkpoints (size, note, signed_at) VALUES ($1, $2, $3)";
    tx.execute(sql, params![size, checkpoint, tx.now()]).await?;
    Ok(())
}

pub(super) async fn insert_leaf(tx: &Tx, place: u64, fact: Uuid, entry: &str) -> Result<()> {
    let sql = "INSERT INTO log_leaves (place, fact, entry) VALUES ($1, $2, $3)";
    tx.execute(sql, params![place.cast_signed(), fact, entry]).await?;
    Ok(())
}

/// The place and the entry of a fact, once it is in the log.
pub(super) async fn leaf(db: &impl Read, fact: Uuid) -> Result<Option<(u64, String)>> {
    let sql = "SELECT place, entry FROM log_leaves WHERE fact = $1";
    let read = |row: &Row<'_>| Ok((row.take::<i64>()?.unsigned_abs(), row.take()?));
    Ok(db.maybe(sql, params![fact], read).await?)
}

/// Entries from a place on, with the facts they stand for.
pub(super) async fn entries(db: &impl Read, from: u64, limit: u16) -> Result<Vec<(Uuid, String)>> {
    let sql = "SELECT fact, entry FROM log_leaves WHERE place >= $1 ORDER BY place LIMIT $2";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?));
    Ok(db.all(sql, params![from.cast_signed(), limit], read).await?)
}

pub(super) async fn put_tile(tx: &Tx, tile: Tile, hashes: &[u8]) -> Result<()> {
    let Level::Hashes(level) = tile.level else {
        return Err(Error::internal("entries are kept as leaves, not as tiles"));
    };
    let sql = "INSERT INTO log_tiles (level, place, width, hashes) VALUES ($1, $2, $3, $4)
               ON CONFLICT (level, place) DO UPDATE
               SET width = excluded.width, hashes = excluded.hashes
               WHERE log_tiles.width < excluded.width";
    let index = tile.index.cast_signed();
    tx.execute(sql, params![level, index, tile.width, hashes]).await?;
    Ok(())
}

/// The hashes of a tile, as many as it names; the store may hold a wider one.
pub(super) async fn tile(db: &impl Read, tile: Tile) -> Result<Option<Vec<u8>>> {
    let Level::Hashes(level) = tile.level else { return Ok(None) };
    let sql = "SELECT hashes FROM log_tiles WHERE level = $1 AND place = $2";
    let held: Option<Vec<u8>> =
        db.maybe(sql, params![level, tile.index.cast_signed()], |row| row.take()).await?;
    let length = usize::from(tile.width) * size_of::<Hash>();
    Ok(held.filter(|hashes| hashes.len() >= length).map(|mut hashes| {
        hashes.truncate(length);
        hashes
    }))
}
