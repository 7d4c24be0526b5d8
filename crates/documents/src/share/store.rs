//! All SQL of shares.

use kernel::id::kinds::{Credential as CredentialKind, Share as ShareKind};
use kernel::{Cursor, Id, Page, PageRequest, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::Share;

const COLUMNS: &str = "id, credential, owner, recipient_email, fields, expires_at, revoked_at, \
                       views, last_viewed_at, created_at";

fn read(row: &Row<'_>) -> Result<Share, DbError> {
    let json = |error| DbError::Other(format!("the fields of a share are no JSON: {error}"));
    Ok(Share {
        id: row.take()?,
        credential: row.take()?,
        owner: row.take()?,
        recipient_email: row.take()?,
        fields: serde_json::from_str(&row.take::<String>()?).map_err(json)?,
        expires_at: row.take()?,
        revoked_at: row.take()?,
        views: row.take()?,
        last_viewed_at: row.take()?,
        created_at: row.take()?,
    })
}

pub(super) async fn insert(tx: &Tx, share: &Share, token_hash: &[u8; 32]) -> Result<()> {
    let Share { id, credential, owner, recipient_email, fields, expires_at, created_at, .. } =
        share;
    let fields = serde_json::to_string(fields)
        .map_err(|error| kernel::Error::internal("fields cannot be written").because(error))?;
    tx.execute(
        "INSERT INTO shares (id, credential, owner, token_hash, recipient_email, fields,
             expires_at, views, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)",
        params![id, credential, owner, token_hash, recipient_email, fields, expires_at, created_at],
    )
    .await?;
    Ok(())
}

pub(super) async fn by_token(db: &impl Read, token_hash: &[u8; 32]) -> Result<Option<Share>> {
    let sql = format!("SELECT {COLUMNS} FROM shares WHERE token_hash = $1");
    Ok(db.maybe(&sql, params![token_hash], read).await?)
}

/// The shares of one credential, newest first.
pub(super) async fn list(
    db: &impl Read,
    credential: Id<CredentialKind>,
    page: &PageRequest,
) -> Result<Page<Share>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM shares WHERE credential = $1 AND id < $2
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let rows = db.all(&sql, params![credential, after, fetch, page.offset], read).await?;
    Ok(page.page(rows, |share| Cursor::by_id(share.id)))
}

/// Ends a share of a credential; `false` when it has none of this id that is not ended yet.
pub(super) async fn revoke(
    tx: &Tx,
    credential: Id<CredentialKind>,
    id: Id<ShareKind>,
) -> Result<bool> {
    let sql = "UPDATE shares SET revoked_at = $3
               WHERE id = $1 AND credential = $2 AND revoked_at IS NULL";
    Ok(tx.touch(sql, params![id, credential, tx.now()]).await?)
}

pub(super) async fn revoke_all(tx: &Tx, credential: Id<CredentialKind>) -> Result<()> {
    let sql = "UPDATE shares SET revoked_at = $2 WHERE credential = $1 AND revoked_at IS NULL";
    tx.execute(sql, params![credential, tx.now()]).await?;
    Ok(())
}

pub(super) async fn count_view(tx: &Tx, id: Id<ShareKind>) -> Result<()> {
    let sql = "UPDATE shares SET views = views + 1, last_viewed_at = $2 WHERE id = $1";
    tx.execute(sql, params![id, tx.now()]).await?;
    Ok(())
}
