//! All SQL of settings.

use kernel::id::kinds::{Proposal, User};
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use serde_json::Value as Json;

/// A value that differs from its default.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) key: String,
    pub(super) value: Json,
    pub(super) changed_by: Option<Id<User>>,
    pub(super) changed_at: Timestamp,
}

fn read(row: &Row<'_>) -> Result<Stored, DbError> {
    Ok(Stored {
        key: row.take()?,
        value: serde_json::from_str(&row.take::<String>()?)
            .map_err(|error| DbError::Other(format!("settings.value: {error}")))?,
        changed_by: row.take()?,
        changed_at: row.take()?,
    })
}

/// All that is stored.
pub(super) async fn all(db: &impl Read) -> Result<Vec<Stored>> {
    let sql = "SELECT key, value, changed_by, changed_at FROM settings ORDER BY key";
    Ok(db.all(sql, &[], read).await?)
}

/// The version of the newest change; zero before the first.
pub(super) async fn version(db: &impl Read) -> Result<i64> {
    let sql = "SELECT COALESCE(MAX(version), 0) FROM setting_changes";
    Ok(db.one(sql, &[], |row| row.take()).await?)
}

/// Writes down a change; `false` where another one has this version.
pub(super) async fn append(
    tx: &Tx,
    version: i64,
    changes: &Json,
    by: Option<Id<User>>,
    proposal: Option<Id<Proposal>>,
) -> Result<bool> {
    let sql = "INSERT INTO setting_changes (version, changes, changed_by, proposal, changed_at)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (version) DO NOTHING";
    let changes = changes.to_string();
    Ok(tx.touch(sql, params![version, changes, by, proposal, tx.now()]).await?)
}

pub(super) async fn set(
    tx: &Tx,
    key: &str,
    value: &Json,
    version: i64,
    by: Option<Id<User>>,
) -> Result<()> {
    let sql = "INSERT INTO settings (key, value, version, changed_by, changed_at)
               VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value,
                   version = excluded.version, changed_by = excluded.changed_by,
                   changed_at = excluded.changed_at";
    tx.execute(sql, params![key, value.to_string(), version, by, tx.now()]).await?;
    Ok(())
}

/// Brings the default back.
pub(super) async fn unset(tx: &Tx, key: &str) -> Result<()> {
    tx.execute("DELETE FROM settings WHERE key = $1", params![key]).await?;
    Ok(())
}
