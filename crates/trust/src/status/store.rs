//! All SQL of the status lists.

use kernel::id::kinds::StatusList;
use kernel::{Id, Result};
use platform::db::{Read, Tx};
use platform::params;

/// A list as far as allocation needs to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    pub(super) id: Id<StatusList>,
    pub(super) size: i64,
}

/// A list with room: less than half full, so that a random place is free at the second try.
pub(super) async fn open_list(tx: &Tx) -> Result<Option<List>> {
    let sql = "SELECT id, size FROM status_lists WHERE used * 2 < size ORDER BY id LIMIT 1";
    let read = |row: &platform::db::Row<'_>| Ok(List { id: row.take()?, size: row.take()? });
    Ok(tx.maybe(sql, &[], read).await?)
}

pub(super) async fn insert_list(tx: &Tx, list: List) -> Result<()> {
    let sql = "INSERT INTO status_lists (id, size, used, version, created_at)
               VALUES ($1, $2, 0, 1, $3)";
    tx.execute(sql, params![list.id, list.size, tx.now()]).await?;
    Ok(())
}

/// Takes a place if nobody ever had it.
pub(super) async fn take_place(tx: &Tx, list: List, place: i64) -> Result<bool> {
    let sql = "INSERT INTO status_entries (list, place) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    if !tx.touch(sql, params![list.id, place]).await? {
        return Ok(false);
    }
    let sql = "UPDATE status_lists SET used = used + 1 WHERE id = $1";
    tx.touch(sql, params![list.id]).await.map_err(Into::into)
}

/// Sets a bit for good; `false` when it was set before.
pub(super) async fn revoke(tx: &Tx, list: Id<StatusList>, place: i64) -> Result<bool> {
    let sql = "UPDATE status_entries SET revoked_at = $3
               WHERE list = $1 AND place = $2 AND revoked_at IS NULL";
    if !tx.touch(sql, params![list, place, tx.now()]).await? {
        return Ok(false);
    }
    let sql = "UPDATE status_lists SET version = version + 1 WHERE id = $1";
    tx.touch(sql, params![list]).await.map_err(Into::into)
}

/// A list's size and version, if there is such a list.
pub(super) async fn version(db: &impl Read, id: Id<StatusList>) -> Result<Option<(i64, i64)>> {
    let sql = "SELECT size, version FROM status_lists WHERE id = $1";
    Ok(db.maybe(sql, params![id], |row| Ok((row.take()?, row.take()?))).await?)
}

pub(super) async fn revoked(db: &impl Read, id: Id<StatusList>) -> Result<Vec<i64>> {
    let sql = "SELECT place FROM status_entries WHERE list = $1 AND revoked_at IS NOT NULL";
    Ok(db.all(sql, params![id], |row| row.take()).await?)
}
