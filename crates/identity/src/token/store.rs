//! All SQL of the token keys.

use kernel::id::kinds::Key;
use kernel::{Id, Result, Timestamp};
use platform::db::{Read, Tx};
use platform::params;

/// A key as it is stored.
pub(super) struct Stored {
    pub(super) id: Id<Key>,
    pub(super) public_key: [u8; 32],
    pub(super) sealed_key: Vec<u8>,
    pub(super) is_active: bool,
    pub(super) created_at: Timestamp,
}

/// The active key, and those that retired after a point in time; newest first.
pub(super) async fn believed(db: &impl Read, since: Timestamp) -> Result<Vec<Stored>> {
    let sql = "SELECT id, public_key, sealed_key, state, created_at FROM token_keys
               WHERE state = 'active' OR retired_at > $1 ORDER BY id DESC";
    let read = |row: &platform::db::Row<'_>| {
        Ok(Stored {
            id: row.take()?,
            public_key: row.take()?,
            sealed_key: row.take()?,
            is_active: row.take::<String>()? == "active",
            created_at: row.take()?,
        })
    };
    Ok(db.all(sql, params![since], read).await?)
}

/// Retires the active key, when it was made before a point in time; answers whether it did.
pub(super) async fn retire(tx: &Tx, made_before: Timestamp) -> Result<bool> {
    let sql = "UPDATE token_keys SET state = 'retired', retired_at = $1
               WHERE state = 'active' AND created_at <= $2";
    Ok(tx.touch(sql, params![tx.now(), made_before]).await?)
}

/// Makes a key the active one; `false` when there is one already.
pub(super) async fn insert(
    tx: &Tx,
    id: Id<Key>,
    public_key: &[u8; 32],
    sealed_key: &[u8],
) -> Result<bool> {
    let sql = "INSERT INTO token_keys (id, public_key, sealed_key, state, created_at)
               VALUES ($1, $2, $3, 'active', $4) ON CONFLICT DO NOTHING";
    Ok(tx.touch(sql, params![id, public_key, sealed_key, tx.now()]).await?)
}

/// Forgets keys that nobody believes any more.
pub(super) async fn sweep(tx: &Tx, retired_before: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM token_keys WHERE state = 'retired' AND retired_at <= $1";
    Ok(tx.execute(sql, params![retired_before]).await?)
}
