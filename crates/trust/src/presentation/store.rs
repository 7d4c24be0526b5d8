//! All SQL of the requests.

use kernel::id::kinds::{Presentation, User};
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use serde_json::Value;

use super::model::Query;

/// A request and what came of it.
#[derive(Debug, Clone)]
pub struct Request {
    pub id: Id<Presentation>,
    pub asker: Id<User>,
    /// Shown to the wallet's owner.
    pub purpose: String,
    pub query: Query,
    pub encrypted: bool,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub answered_at: Option<Timestamp>,
    /// The claims that were asked for, once they were shown.
    pub claims: Option<Value>,
}

fn read(row: &Row<'_>) -> Result<Request, DbError> {
    let broken = || DbError::Other("a presentation request cannot be read".into());
    let json = |text: String| serde_json::from_str::<Value>(&text).map_err(|_| broken());
    Ok(Request {
        id: row.take()?,
        asker: row.take()?,
        purpose: row.take()?,
        query: Query::from_dcql(&json(row.take()?)?).ok_or_else(broken)?,
        encrypted: row.take()?,
        created_at: row.take()?,
        expires_at: row.take()?,
        answered_at: row.take()?,
        claims: row.take::<Option<String>>()?.map(json).transpose()?,
    })
}

pub(super) async fn insert(tx: &Tx, request: &Request) -> Result<()> {
    tx.execute(
        "INSERT INTO presentation_requests (id, asker, purpose, query, encrypted, created_at,
             expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            request.id,
            request.asker,
            request.purpose,
            request.query.dcql().to_string(),
            request.encrypted,
            request.created_at,
            request.expires_at
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<Presentation>) -> Result<Option<Request>> {
    let sql = "SELECT id, asker, purpose, query, encrypted, created_at, expires_at, answered_at,
                   claims
               FROM presentation_requests WHERE id = $1";
    Ok(db.maybe(sql, params![id], read).await?)
}

/// Keeps the one answer; `false` when there is one, or it is too late.
pub(super) async fn answer(tx: &Tx, id: Id<Presentation>, claims: &Value) -> Result<bool> {
    let sql = "UPDATE presentation_requests SET answered_at = $2, claims = $3
               WHERE id = $1 AND answered_at IS NULL AND expires_at > $2";
    Ok(tx.touch(sql, params![id, tx.now(), claims.to_string()]).await?)
}
