//! All SQL of set-up links.

use kernel::id::kinds::User;
use kernel::{Id, Result, Timestamp};
use platform::db::{Read, Tx};
use platform::params;

/// That a link still stands: nobody has made it but the platform itself, or an admin who is one.
const STANDS: &str = "(made_by IS NULL OR EXISTS (SELECT 1 FROM users
    WHERE users.id = setup_links.made_by AND users.role = 'admin' AND users.status = 'active'))";

pub(super) async fn insert(
    tx: &Tx,
    hash: &[u8; 32],
    made_by: Option<Id<User>>,
    expires_at: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO setup_links (hash, made_by, created_at, expires_at)
               VALUES ($1, $2, $3, $4)";
    tx.execute(sql, params![hash, made_by, tx.now(), expires_at]).await?;
    Ok(())
}

/// Whether a link would work.
pub(super) async fn works(db: &impl Read, hash: &[u8; 32], now: Timestamp) -> Result<bool> {
    let sql = format!(
        "SELECT expires_at FROM setup_links WHERE hash = $1 AND expires_at > $2 AND {STANDS}"
    );
    Ok(db.maybe(&sql, params![hash, now], |row| row.take::<i64>()).await?.is_some())
}

/// Uses a link up; `false` when it does not work.
pub(super) async fn use_up(tx: &Tx, hash: &[u8; 32]) -> Result<bool> {
    let sql = format!("DELETE FROM setup_links WHERE hash = $1 AND expires_at > $2 AND {STANDS}");
    Ok(tx.touch(&sql, params![hash, tx.now()]).await?)
}

pub(super) async fn sweep(tx: &Tx) -> Result<u64> {
    let sql = "DELETE FROM setup_links WHERE expires_at <= $1";
    Ok(tx.execute(sql, params![tx.now()]).await?)
}
