//! All SQL of passkeys.

use kernel::id::kinds::{self, User};
use kernel::{Error, Id, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::Passkey;
use webauthn_rs::prelude::Passkey as Key;

const COLUMNS: &str = "id, user_id, name, credential, version, created_at, last_used_at";

fn read(row: &Row<'_>) -> Result<Passkey, DbError> {
    Ok(Passkey {
        id: row.take()?,
        user: row.take()?,
        name: row.take()?,
        key: {
            let text: String = row.take()?;
            let broken = |error| DbError::Other(format!("a passkey is unreadable: {error}"));
            serde_json::from_str(&text).map_err(broken)?
        },
        version: row.take()?,
        created_at: row.take()?,
        last_used_at: row.take()?,
    })
}

fn text(key: &Key) -> Result<String> {
    serde_json::to_string(key)
        .map_err(|error| Error::internal("a passkey cannot be kept").because(error))
}

/// `false` when the credential belongs to an account already.
pub(super) async fn insert(tx: &Tx, passkey: &Passkey) -> Result<bool> {
    let Passkey { id, user, name, created_at, key, version, .. } = passkey;
    let sql = "INSERT INTO passkeys (id, user_id, credential_id, name, credential, version,
                   created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)
               ON CONFLICT DO NOTHING";
    let credential_id: &[u8] = key.cred_id();
    let text = text(key)?;
    Ok(tx.touch(sql, params![id, user, credential_id, name, text, version, created_at]).await?)
}

/// All passkeys of a user, oldest first. There are few, and never more than the cap.
pub(super) async fn of_user(db: &impl Read, user: Id<User>) -> Result<Vec<Passkey>> {
    let sql = format!("SELECT {COLUMNS} FROM passkeys WHERE user_id = $1 ORDER BY id LIMIT 100");
    Ok(db.all(&sql, params![user], read).await?)
}

pub(super) async fn by_credential(db: &impl Read, credential: &[u8]) -> Result<Option<Passkey>> {
    let sql = format!("SELECT {COLUMNS} FROM passkeys WHERE credential_id = $1");
    Ok(db.maybe(&sql, params![credential], read).await?)
}

/// Notes a use; `false` when the passkey is gone.
pub(super) async fn see(tx: &Tx, id: Id<kinds::Passkey>) -> Result<bool> {
    let sql = "UPDATE passkeys SET last_used_at = $2 WHERE id = $1";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Keeps what a use has changed of the key; `false` when another use came first.
pub(super) async fn advance(tx: &Tx, passkey: &Passkey) -> Result<bool> {
    let sql = "UPDATE passkeys SET credential = $3, version = version + 1, last_used_at = $4
               WHERE id = $1 AND version = $2";
    let text = text(&passkey.key)?;
    Ok(tx.touch(sql, params![passkey.id, passkey.version, text, tx.now()]).await?)
}

/// `false` when it is not theirs, or gone.
pub(super) async fn rename(
    tx: &Tx,
    user: Id<User>,
    id: Id<kinds::Passkey>,
    name: &str,
) -> Result<bool> {
    let sql = "UPDATE passkeys SET name = $3 WHERE id = $1 AND user_id = $2";
    Ok(tx.touch(sql, params![id, user, name]).await?)
}

/// `false` when it is not theirs, or gone.
pub(super) async fn remove(tx: &Tx, user: Id<User>, id: Id<kinds::Passkey>) -> Result<bool> {
    let sql = "DELETE FROM passkeys WHERE id = $1 AND user_id = $2";
    Ok(tx.touch(sql, params![id, user]).await?)
}
