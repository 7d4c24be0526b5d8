//! All SQL of the token keys.

use kernel::id::kinds::Key;
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::Format;

/// A key as it is stored.
pub(super) struct Stored {
    pub(super) id: Id<Key>,
    pub(super) format: Format,
    /// Empty where nothing of the key is public.
    pub(super) public_key: Vec<u8>,
    pub(super) sealed_key: Vec<u8>,
    pub(super) created_at: Timestamp,
    /// None of a key that signs.
    pub(super) retired_at: Option<Timestamp>,
}

fn read(row: &Row<'_>) -> Result<Stored, DbError> {
    Ok(Stored {
        id: row.take()?,
        format: format(row)?,
        public_key: row.take()?,
        sealed_key: row.take()?,
        created_at: row.take()?,
        retired_at: row.take()?,
    })
}

fn format(row: &Row<'_>) -> Result<Format, DbError> {
    let text: String = row.take()?;
    let known = Format::ALL.into_iter().find(|format| format.as_str() == text);
    known.ok_or_else(|| DbError::Other(format!("{text} is no form of a token")))
}

/// The active keys, and those that retired after a point in time; newest first.
pub(super) async fn believed(db: &impl Read, since: Timestamp) -> Result<Vec<Stored>> {
    let sql = "SELECT id, form, public_key, sealed_key, created_at, retired_at FROM token_keys
               WHERE state = 'active' OR retired_at > $1 ORDER BY id DESC";
    Ok(db.all(sql, params![since], read).await?)
}

/// Retires the active keys that were made before a point in time; answers of which forms.
pub(super) async fn retire(tx: &Tx, made_before: Timestamp) -> Result<Vec<Format>> {
    let sql = "UPDATE token_keys SET state = 'retired', retired_at = $1
               WHERE state = 'active' AND created_at <= $2 RETURNING form";
    let mut forms = tx.all(sql, params![tx.now(), made_before], format).await?;
    forms.sort_unstable();
    Ok(forms)
}

/// Makes a key the active one of its form; `false` when there is one already.
pub(super) async fn insert(
    tx: &Tx,
    id: Id<Key>,
    format: Format,
    public_key: &[u8],
    sealed_key: &[u8],
) -> Result<bool> {
    let sql = "INSERT INTO token_keys (id, form, public_key, sealed_key, state, created_at)
               VALUES ($1, $2, $3, $4, 'active', $5) ON CONFLICT DO NOTHING";
    let (form, now) = (format.as_str(), tx.now());
    Ok(tx.touch(sql, params![id, form, public_key, sealed_key, now]).await?)
}

/// Forgets keys that nobody believes any more.
pub(super) async fn sweep(tx: &Tx, retired_before: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM token_keys WHERE state = 'retired' AND retired_at <= $1";
    Ok(tx.execute(sql, params![retired_before]).await?)
}
