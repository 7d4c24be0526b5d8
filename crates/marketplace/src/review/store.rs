//! All SQL of reviews.

use kernel::id::kinds;
use kernel::{Cursor, Id, Page, PageRequest, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::Review;

const COLUMNS: &str = "id, verification, verifier, author, stars, text, at, answer, answered_at";

fn read(row: &Row<'_>) -> Result<Review, DbError> {
    Ok(Review {
        id: row.take()?,
        verification: row.take()?,
        verifier: row.take()?,
        author: row.take()?,
        stars: row.take()?,
        text: row.take()?,
        at: row.take()?,
        answer: row.take()?,
        answered_at: row.take()?,
    })
}

/// Answers whether there was none of this verification yet.
pub(super) async fn insert(tx: &Tx, new: &Review) -> Result<bool> {
    let sql = "INSERT INTO reviews (id, verification, verifier, author, stars, text, at)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (verification) DO NOTHING";
    let params =
        params![new.id, new.verification, new.verifier, new.author, new.stars, new.text, new.at];
    Ok(tx.touch(sql, params).await?)
}

pub(super) async fn get(db: &impl Read, id: Id<kinds::Review>) -> Result<Option<Review>> {
    let sql = format!("SELECT {COLUMNS} FROM reviews WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// A verifier's, newest first.
pub(super) async fn list(
    db: &impl Read,
    verifier: Id<kinds::Verifier>,
    page: &PageRequest,
) -> Result<Page<Review>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM reviews WHERE verifier = $1 AND id < $2
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let rows =
        db.all(&sql, params![verifier, page.after_id(), page.fetch(), page.offset], read).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

/// Answers whether there was no answer yet.
pub(super) async fn answer(tx: &Tx, id: Id<kinds::Review>, text: &str) -> Result<bool> {
    let sql = "UPDATE reviews SET answer = $2, answered_at = $3 WHERE id = $1 AND answer IS NULL";
    Ok(tx.touch(sql, params![id, text, tx.now()]).await?)
}

/// Answers whether it was there.
pub(super) async fn remove(tx: &Tx, id: Id<kinds::Review>) -> Result<bool> {
    Ok(tx.touch("DELETE FROM reviews WHERE id = $1", params![id]).await?)
}
