//! All SQL of uploads.

use kernel::id::kinds::{File as FileKind, User};
use kernel::{Id, Result, Timestamp};
use platform::blob::{Key, Stored};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::Upload;
use crate::file::MediaType;

const COLUMNS: &str =
    "id, owner, name, media_type, size, sha256, part_size, expires_at, created_at";

fn read(row: &Row<'_>) -> Result<Upload, DbError> {
    let odd = |what: &str| DbError::Other(format!("an upload's {what} is none"));
    Ok(Upload {
        id: row.take()?,
        owner: row.take()?,
        name: row.take()?,
        media_type: MediaType::parse(&row.take::<String>()?).ok_or_else(|| odd("media type"))?,
        size: u64::try_from(row.take::<i64>()?).map_err(|_| odd("size"))?,
        sha256: row.take()?,
        part_size: u64::try_from(row.take::<i64>()?).map_err(|_| odd("part size"))?,
        expires_at: row.take()?,
        created_at: row.take()?,
    })
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) async fn insert(tx: &Tx, upload: &Upload) -> Result<()> {
    let Upload { id, owner, name, media_type, size, sha256, part_size, expires_at, created_at } =
        upload;
    let (size, part_size) = (signed(*size), signed(*part_size));
    tx.execute(
        "INSERT INTO uploads
             (id, owner, name, media_type, size, sha256, part_size, expires_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![
            id,
            owner,
            name,
            media_type.as_str(),
            size,
            sha256,
            part_size,
            expires_at,
            created_at
        ],
    )
    .await?;
    Ok(())
}

/// How many uploads of an owner are open.
pub(super) async fn count(db: &impl Read, owner: Id<User>) -> Result<i64> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM uploads WHERE owner = $1";
    Ok(db.one(sql, params![owner], |row| row.take()).await?)
}

/// An upload, whoever owns it.
pub(super) async fn get(db: &impl Read, id: Id<FileKind>) -> Result<Option<Upload>> {
    let sql = format!("SELECT {COLUMNS} FROM uploads WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Uploads whose time is over, some of them.
pub(super) async fn expired(db: &impl Read, now: Timestamp) -> Result<Vec<Upload>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM uploads WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100"
    );
    Ok(db.all(&sql, params![now], read).await?)
}

/// Keeps an upload from ending while a part of it is written down; `false` when it has ended.
pub(super) async fn hold(tx: &Tx, id: Id<FileKind>) -> Result<bool> {
    Ok(tx.touch("UPDATE uploads SET size = size WHERE id = $1", params![id]).await?)
}

/// Ends an upload; `false` when that has happened already.
pub(crate) async fn consume(tx: &Tx, id: Id<FileKind>) -> Result<bool> {
    let ended = tx.touch("DELETE FROM uploads WHERE id = $1", params![id]).await?;
    // After it: a part that was just being written down is there by now.
    tx.execute("DELETE FROM upload_parts WHERE upload = $1", params![id]).await?;
    Ok(ended)
}

/// Takes an upload's size out of what its owner uses.
pub(super) async fn unbook(tx: &Tx, upload: &Upload) -> Result<()> {
    let sql = "UPDATE file_usage SET bytes = bytes - $2 WHERE owner = $1";
    tx.execute(sql, params![upload.owner, signed(upload.size)]).await?;
    Ok(())
}

/// Writes down a part that has come in; `false` when one had already.
pub(super) async fn add_part(
    tx: &Tx,
    upload: Id<FileKind>,
    number: u32,
    part: &Stored,
) -> Result<bool> {
    let sql = "INSERT INTO upload_parts (upload, number, blob, size, sha256)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (upload, number) DO NOTHING
               RETURNING number";
    let (number, blob, size) = (i64::from(number), part.key.as_str(), signed(part.size));
    let values = params![upload, number, blob, size, part.sha256];
    Ok(tx.maybe(sql, values, |row| row.take::<i64>()).await?.is_some())
}

/// The parts that have come in, in their order.
pub(super) async fn parts(db: &impl Read, upload: Id<FileKind>) -> Result<Vec<(u32, Stored)>> {
    let sql = "SELECT number, blob, size, sha256 FROM upload_parts WHERE upload = $1
               ORDER BY number";
    let read = |row: &Row<'_>| {
        let odd = |what: &str| DbError::Other(format!("a part's {what} is none"));
        let number = u32::try_from(row.take::<i64>()?).map_err(|_| odd("number"))?;
        let key = row.take::<String>()?.parse().map_err(|_| odd("key"))?;
        let size = u64::try_from(row.take::<i64>()?).map_err(|_| odd("size"))?;
        Ok((number, Stored { key, size, sha256: row.take()? }))
    };
    Ok(db.all(sql, params![upload], read).await?)
}

/// Forgets a part that has come in.
pub(super) async fn drop_part(tx: &Tx, upload: Id<FileKind>, blob: &Key) -> Result<()> {
    let sql = "DELETE FROM upload_parts WHERE upload = $1 AND blob = $2";
    tx.execute(sql, params![upload, blob.as_str()]).await?;
    Ok(())
}

/// The upload that a blob is a part of.
pub(crate) async fn of_blob(db: &impl Read, blob: &Key) -> Result<Option<Id<FileKind>>> {
    let sql = "SELECT upload FROM upload_parts WHERE blob = $1";
    Ok(db.maybe(sql, params![blob.as_str()], |row| row.take()).await?)
}

/// Whether a blob is a part of an upload.
pub(crate) async fn is_known(db: &impl Read, blob: &Key) -> Result<bool> {
    Ok(of_blob(db, blob).await?.is_some())
}

/// Lets all uploads of a person go; the sweep removes what has come in.
pub(crate) async fn erase(tx: &Tx, owner: Id<User>) -> Result<()> {
    let sql = "DELETE FROM upload_parts
               WHERE upload IN (SELECT id FROM uploads WHERE owner = $1)";
    tx.execute(sql, params![owner]).await?;
    tx.execute("DELETE FROM uploads WHERE owner = $1", params![owner]).await?;
    Ok(())
}

/// What has come in so far, behind a key of the store of blobs.
pub(crate) async fn blobs(db: &impl Read, after: &str, limit: i64) -> Result<Vec<Stored>> {
    let sql = "SELECT blob, size, sha256 FROM upload_parts WHERE blob > $1
               ORDER BY blob LIMIT $2";
    Ok(db.all(sql, params![after, limit], crate::file::stored).await?)
}

/// Drops a part from a copy of the database, since its bytes are not in the copy.
pub(crate) async fn drop_from_copy(tx: &Tx, blob: &Key) -> Result<bool> {
    let sql = "DELETE FROM upload_parts WHERE blob = $1";
    Ok(tx.touch(sql, params![blob.as_str()]).await?)
}
