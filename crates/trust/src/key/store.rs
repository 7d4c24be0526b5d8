//! All SQL of the keys.

use kernel::id::kinds::Key;
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::service::Purpose;

/// A key as it is stored: its private half sealed under the master key.
#[derive(Debug, Clone)]
pub(crate) struct StoredKey {
    pub(crate) id: Id<Key>,
    pub(crate) purpose: Purpose,
    pub(crate) public_key: [u8; 32],
    pub(crate) sealed_key: Vec<u8>,
    pub(crate) created_at: Timestamp,
    pub(crate) signs_from: Timestamp,
    /// Since when somebody else may have it.
    pub(crate) compromised: Option<Timestamp>,
}

fn read(row: &Row<'_>) -> Result<StoredKey, DbError> {
    Ok(StoredKey {
        id: row.take()?,
        purpose: row.take()?,
        public_key: row.take()?,
        sealed_key: row.take()?,
        created_at: row.take()?,
        signs_from: row.take()?,
        compromised: row.take()?,
    })
}

pub(crate) async fn all(db: &impl Read) -> Result<Vec<StoredKey>> {
    let sql =
        "SELECT k.id, k.purpose, k.public_key, k.sealed_key, k.created_at, k.signs_from, c.since
               FROM issuer_keys k LEFT JOIN key_compromises c ON c.key = k.id
               ORDER BY k.signs_from, k.id";
    Ok(db.all(sql, &[], read).await?)
}

pub(super) async fn insert(tx: &Tx, key: &StoredKey) -> Result<()> {
    tx.execute(
        "INSERT INTO issuer_keys (id, purpose, public_key, sealed_key, created_at, signs_from)
         VALUES ($1, $2, $3, $4, $5, $6)",
        params![
            key.id,
            key.purpose,
            key.public_key,
            key.sealed_key,
            key.created_at,
            key.signs_from
        ],
    )
    .await?;
    Ok(())
}
