//! All SQL of API keys.

use kernel::id::kinds::{ApiKey as ApiKeyKind, Organization};
use kernel::{Cursor, Error, Id, Page, PageRequest, Permissions, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::network::Network;
use platform::params;

use super::model::ApiKey;

const COLUMNS: &str = "id, organization, name, prefix, scopes, created_by, created_at, expires_at, \
                       last_used_at, revoked_at, allowed_addresses";

fn read(row: &Row<'_>) -> Result<ApiKey, DbError> {
    Ok(ApiKey {
        id: row.take()?,
        organization: row.take()?,
        name: row.take()?,
        prefix: row.take()?,
        scopes: scopes(row)?,
        created_by: row.take()?,
        created_at: row.take()?,
        expires_at: row.take()?,
        last_used_at: row.take()?,
        revoked_at: row.take()?,
        allowed: networks(row)?,
    })
}

/// Scopes stand in one text with spaces between them, as OAuth writes them. One that this release
/// does not know is passed over: it opens nothing here.
fn scopes(row: &Row<'_>) -> Result<Permissions, DbError> {
    let text = row.take::<String>()?;
    Ok(text.split(' ').filter_map(|scope| scope.parse().ok()).collect())
}

/// Networks stand like scopes. One that cannot be read lets nobody in, rather than everybody.
fn networks(row: &Row<'_>) -> Result<Vec<Network>, DbError> {
    let text = row.take::<Option<String>>()?.unwrap_or_default();
    let read =
        |network: &str| network.parse().map_err(|error: Error| DbError::Other(error.to_string()));
    text.split(' ').filter(|network| !network.is_empty()).map(read).collect()
}

pub(super) async fn insert(tx: &Tx, new: &ApiKey, hash: &[u8; 32]) -> Result<()> {
    let sql = "INSERT INTO api_keys (id, organization, name, prefix, hash, scopes, created_by,
                   created_at, expires_at, allowed_addresses)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let allowed: Vec<_> = new.allowed.iter().map(ToString::to_string).collect();
    let allowed = (!allowed.is_empty()).then(|| allowed.join(" "));
    let scopes: Vec<_> = new.scopes.iter().map(|scope| scope.as_str()).collect();
    let scopes = scopes.join(" ");
    let params = params![
        new.id,
        new.organization,
        new.name,
        new.prefix,
        hash,
        scopes,
        new.created_by,
        new.created_at,
        new.expires_at,
        allowed
    ];
    tx.execute(sql, params).await?;
    Ok(())
}

/// The key with a prefix, and the hash of its text.
pub(super) async fn find(db: &impl Read, prefix: &str) -> Result<Option<(ApiKey, [u8; 32])>> {
    let sql = format!("SELECT {COLUMNS}, hash FROM api_keys WHERE prefix = $1");
    let read = |row: &Row<'_>| Ok((read(row)?, row.take()?));
    Ok(db.maybe(&sql, params![prefix], read).await?)
}

pub(super) async fn get(db: &impl Read, id: Id<ApiKeyKind>) -> Result<Option<ApiKey>> {
    let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Newest first, those that are over among them.
pub(super) async fn list(
    db: &impl Read,
    of: Id<Organization>,
    page: &PageRequest,
) -> Result<Page<ApiKey>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM api_keys WHERE organization = $1 AND id < $2
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let after = page.after_id();
    let rows = db.all(&sql, params![of, after, page.fetch(), page.offset], read).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

/// Keys that have not been revoked.
pub(super) async fn count(db: &impl Read, of: Id<Organization>) -> Result<i64> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM api_keys
               WHERE organization = $1 AND revoked_at IS NULL";
    Ok(db.one(sql, params![of], |row| row.take()).await?)
}

/// `false` where it is revoked already.
pub(super) async fn revoke(tx: &Tx, id: Id<ApiKeyKind>) -> Result<bool> {
    let sql = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Notes a use, unless a later one is noted.
pub(super) async fn note_use(tx: &Tx, id: Id<ApiKeyKind>, at: Timestamp) -> Result<()> {
    let sql = "UPDATE api_keys SET last_used_at = $2
               WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
    tx.touch(sql, params![id, at]).await?;
    Ok(())
}

/// Notes that a key was refused; `false` where that was noted since `before`.
pub(super) async fn note_refusal(tx: &Tx, id: Id<ApiKeyKind>, before: Timestamp) -> Result<bool> {
    let sql = "UPDATE api_keys SET last_refused_at = $2
               WHERE id = $1 AND (last_refused_at IS NULL OR last_refused_at <= $3)";
    Ok(tx.touch(sql, params![id, tx.now(), before]).await?)
}
