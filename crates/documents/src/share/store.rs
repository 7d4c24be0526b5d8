//! All SQL of shares.

use kernel::id::kinds::{Credential as CredentialKind, Share as ShareKind};
use kernel::{Cursor, Id, Page, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Code, Seen, Share, Shown};

const COLUMNS: &str = "id, credential, owner, recipient_email, fields, expires_at, revoked_at, \
                       views, last_viewed_at, created_at, asks_code, code_hash, code_expires_at, \
                       code_tries, code_sent_at, codes_sent";

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
        asks_code: row.take()?,
        code: Code {
            hash: row.take()?,
            expires_at: row.take()?,
            tries: row.take()?,
            sent_at: row.take()?,
            sent: row.take()?,
        },
    })
}

pub(super) async fn insert(tx: &Tx, share: &Share, token_hash: &[u8; 32]) -> Result<()> {
    let Share { id, credential, owner, recipient_email, fields, expires_at, created_at, .. } =
        share;
    let asks_code = share.asks_code;
    let fields = serde_json::to_string(fields)
        .map_err(|error| kernel::Error::internal("fields cannot be written").because(error))?;
    tx.execute(
        "INSERT INTO shares (id, credential, owner, token_hash, recipient_email, fields,
             expires_at, views, created_at, asks_code)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)",
        params![
            id,
            credential,
            owner,
            token_hash,
            recipient_email,
            fields,
            expires_at,
            created_at,
            asks_code
        ],
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

/// How many views of a share are kept.
const VIEWS_KEPT: i64 = 200;

/// Counts a view, and writes it down in the place of the oldest.
pub(super) async fn count_view(
    tx: &Tx,
    id: Id<ShareKind>,
    form: Shown,
    network: Option<&str>,
) -> Result<()> {
    let sql = "UPDATE shares SET views = views + 1, last_viewed_at = $2 WHERE id = $1
               RETURNING views";
    let number: i64 = tx.one(sql, params![id, tx.now()], |row| row.take()).await?;
    let (place, form, now) = (number % VIEWS_KEPT, form.as_str(), tx.now());
    let sql = "INSERT INTO share_views (share, place, number, form, network, viewed_at)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (share, place) DO UPDATE SET number = $3, form = $4, network = $5,
                   viewed_at = $6";
    tx.execute(sql, params![id, place, number, form, network, now]).await?;
    Ok(())
}

/// The last views of a share of a credential, newest first; none when it has no such share.
pub(super) async fn views(
    db: &impl Read,
    credential: Id<CredentialKind>,
    id: Id<ShareKind>,
) -> Result<Option<Vec<Seen>>> {
    let sql = "SELECT id FROM shares WHERE id = $1 AND credential = $2";
    if db.maybe(sql, params![id, credential], |_| Ok(())).await?.is_none() {
        return Ok(None);
    }
    let sql = "SELECT number, form, network, viewed_at FROM share_views WHERE share = $1
               ORDER BY number DESC";
    let read = |row: &Row<'_>| {
        Ok(Seen {
            number: row.take()?,
            form: row.take()?,
            network: row.take()?,
            viewed_at: row.take()?,
        })
    };
    Ok(Some(db.all(sql, params![id], read).await?))
}

/// Puts a new code in the place of the old one; `false` when another was sent in the meantime.
pub(super) async fn set_code(
    tx: &Tx,
    share: &Share,
    hash: &[u8; 32],
    expires_at: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE shares SET code_hash = $2, code_expires_at = $3, code_tries = 0,
                   code_sent_at = $4, codes_sent = codes_sent + 1
               WHERE id = $1 AND codes_sent = $5";
    let (id, now, sent) = (share.id, tx.now(), share.code.sent);
    Ok(tx.touch(sql, params![id, hash, expires_at, now, sent]).await?)
}

/// Counts a try of a code; `false` when there are none left, also for the right one.
pub(super) async fn try_code(tx: &Tx, share: &Share) -> Result<bool> {
    let sql = "UPDATE shares SET code_tries = code_tries + 1
               WHERE id = $1 AND codes_sent = $2 AND code_tries = $3 AND code_hash IS NOT NULL";
    Ok(tx.touch(sql, params![share.id, share.code.sent, share.code.tries]).await?)
}

/// Uses a code up; `false` when it was not the right one.
pub(super) async fn use_code(tx: &Tx, id: Id<ShareKind>, hash: &[u8; 32]) -> Result<bool> {
    let sql = "UPDATE shares SET code_hash = NULL WHERE id = $1 AND code_hash = $2";
    Ok(tx.touch(sql, params![id, hash]).await?)
}
