//! All SQL of the certified keys.

use kernel::id::kinds::Key;
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::service::Purpose;

/// A key as it is stored: its private half sealed under the master key.
#[derive(Debug, Clone)]
pub(super) struct StoredKey {
    pub(super) id: Id<Key>,
    pub(super) purpose: Purpose,
    /// The uncompressed point.
    pub(super) public_key: Vec<u8>,
    pub(super) sealed_key: Vec<u8>,
    /// DER.
    pub(super) certificate: Vec<u8>,
    pub(super) created_at: Timestamp,
    pub(super) signs_from: Timestamp,
    /// Since when somebody else may have it.
    pub(super) compromised: Option<Timestamp>,
}

fn read(row: &Row<'_>) -> Result<StoredKey, DbError> {
    Ok(StoredKey {
        id: row.take()?,
        purpose: row.take()?,
        public_key: row.take()?,
        sealed_key: row.take()?,
        certificate: row.take()?,
        created_at: row.take()?,
        signs_from: row.take()?,
        compromised: row.take()?,
    })
}

pub(super) async fn all(db: &impl Read) -> Result<Vec<StoredKey>> {
    let sql = "SELECT k.id, k.purpose, k.public_key, k.sealed_key, k.certificate, k.created_at,
                   k.signs_from, c.since
               FROM certified_keys k LEFT JOIN key_compromises c ON c.key = k.id
               ORDER BY k.signs_from, k.id";
    Ok(db.all(sql, &[], read).await?)
}

pub(super) async fn insert(tx: &Tx, key: &StoredKey) -> Result<()> {
    tx.execute(
        "INSERT INTO certified_keys (id, purpose, public_key, sealed_key, certificate, created_at,
             signs_from)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            key.id,
            key.purpose,
            key.public_key,
            key.sealed_key,
            key.certificate,
            key.created_at,
            key.signs_from
        ],
    )
    .await?;
    Ok(())
}
