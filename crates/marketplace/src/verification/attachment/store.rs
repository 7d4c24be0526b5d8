//! All SQL of attachments.

use kernel::id::kinds::{File, User, Verification};
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row as DbRow, Tx};
use platform::params;

use super::Row;

fn read(row: &DbRow<'_>) -> Result<Row, DbError> {
    Ok(Row { file: row.take()?, author: row.take()?, at: row.take()? })
}

/// Adds one; false where it is attached already.
pub(super) async fn insert(
    tx: &Tx,
    verification: Id<Verification>,
    file: Id<File>,
    author: Id<User>,
) -> Result<bool> {
    let sql = "INSERT INTO verification_attachments (verification, file, author, at)
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    Ok(tx.touch(sql, params![verification, file, author, tx.now()]).await?)
}

pub(super) async fn get(
    db: &impl Read,
    verification: Id<Verification>,
    file: Id<File>,
) -> Result<Option<Row>> {
    let sql = "SELECT file, author, at FROM verification_attachments
               WHERE verification = $1 AND file = $2";
    Ok(db.maybe(sql, params![verification, file], read).await?)
}

/// Oldest first.
pub(in crate::verification) async fn list(
    db: &impl Read,
    verification: Id<Verification>,
) -> Result<Vec<Row>> {
    let sql = "SELECT file, author, at FROM verification_attachments
               WHERE verification = $1 ORDER BY at, file LIMIT 1000";
    Ok(db.all(sql, params![verification], read).await?)
}

pub(super) async fn count(
    db: &impl Read,
    verification: Id<Verification>,
    author: Id<User>,
) -> Result<i64> {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM verification_attachments
               WHERE verification = $1 AND author = $2";
    Ok(db.one(sql, params![verification, author], |row| row.take()).await?)
}

/// Notes that the other side reads it; false when that has been noted since `before`.
pub(super) async fn note_view(
    tx: &Tx,
    verification: Id<Verification>,
    file: Id<File>,
    before: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE verification_attachments SET viewed_at = $3
               WHERE verification = $1 AND file = $2
                     AND (viewed_at IS NULL OR viewed_at <= $4)";
    Ok(tx.touch(sql, params![verification, file, tx.now(), before]).await?)
}
