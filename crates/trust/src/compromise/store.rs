//! All SQL of the compromises.

use kernel::id::kinds::Key;
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::service::Compromise;

const COLUMNS: &str = "key, since, reason, declared_at, reissue, revoked, reissued, carried_out_at";

fn read(row: &Row<'_>) -> Result<Compromise, DbError> {
    Ok(Compromise {
        key: row.take()?,
        since: row.take()?,
        reason: row.take()?,
        declared_at: row.take()?,
        reissue: row.take()?,
        revoked: row.take()?,
        reissued: row.take()?,
        carried_out_at: row.take()?,
    })
}

pub(super) async fn get(db: &impl Read, key: Id<Key>) -> Result<Option<Compromise>> {
    let sql = format!("SELECT {COLUMNS} FROM key_compromises WHERE key = $1");
    Ok(db.maybe(&sql, params![key], read).await?)
}

/// Those that are not carried out, or were only after a time.
pub(super) async fn recent(db: &impl Read, after: Timestamp) -> Result<Vec<Compromise>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM key_compromises
         WHERE carried_out_at IS NULL OR carried_out_at > $1 ORDER BY declared_at"
    );
    Ok(db.all(&sql, params![after], read).await?)
}

/// Declares it; `false` when the key was declared before.
pub(super) async fn insert(tx: &Tx, declared: &Compromise) -> Result<bool> {
    let sql = "INSERT INTO key_compromises (key, since, reason, declared_at, reissue)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let Compromise { key, since, reason, declared_at, reissue, .. } = declared;
    Ok(tx.touch(sql, params![key, since, reason, declared_at, reissue]).await?)
}

/// It was earlier than was thought, or is to end otherwise.
pub(super) async fn amend(tx: &Tx, declared: &Compromise) -> Result<()> {
    let sql = "UPDATE key_compromises SET since = $2, reason = $3, reissue = $4,
                   carried_out_at = NULL
               WHERE key = $1";
    let Compromise { key, since, reason, reissue, .. } = declared;
    tx.execute(sql, params![key, since, reason, reissue]).await?;
    Ok(())
}

pub(super) async fn count(tx: &Tx, key: Id<Key>, revoked: i64, reissued: i64) -> Result<()> {
    let sql = "UPDATE key_compromises SET revoked = revoked + $2, reissued = reissued + $3
               WHERE key = $1";
    tx.execute(sql, params![key, revoked, reissued]).await?;
    Ok(())
}

/// Nothing is left; `false` when that was noted before.
pub(super) async fn finish(tx: &Tx, key: Id<Key>) -> Result<bool> {
    let sql = "UPDATE key_compromises SET carried_out_at = $2
               WHERE key = $1 AND carried_out_at IS NULL";
    Ok(tx.touch(sql, params![key, tx.now()]).await?)
}
