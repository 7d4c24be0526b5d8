//! All SQL of files.

use kernel::id::kinds::{File as FileKind, User};
use kernel::{Cursor, Id, Page, PageRequest, Result};
use platform::blob::{Key, Stored};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{File, Inspection, MediaType};

const COLUMNS: &str = "id, owner, name, media_type, size, sha256, blob, created_at, scanning, \
                       signatures";

fn read(row: &Row<'_>) -> Result<File, DbError> {
    let odd = |what: &str| DbError::Other(format!("a file's {what} is none"));
    Ok(File {
        id: row.take()?,
        owner: row.take()?,
        name: row.take()?,
        media_type: media_type(&row.take::<String>()?)?,
        size: u64::try_from(row.take::<i64>()?).map_err(|_| odd("size"))?,
        sha256: row.take()?,
        blob: row.take::<String>()?.parse().map_err(|_| odd("key"))?,
        created_at: row.take()?,
        scanning: row.take()?,
        signatures: row
            .take::<Option<String>>()?
            .map(|text| serde_json::from_str(&text).map_err(|_| odd("inspection")))
            .transpose()?,
    })
}

fn media_type(text: &str) -> Result<MediaType, DbError> {
    MediaType::parse(text).ok_or_else(|| DbError::Other("a file's media type is none".to_owned()))
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

pub(super) async fn insert(tx: &Tx, file: &File) -> Result<()> {
    let File { id, owner, name, media_type, size, sha256, blob, created_at, scanning, signatures } =
        file;
    tx.execute(
        "INSERT INTO files
             (id, owner, name, media_type, size, sha256, blob, state, used_by, created_at,
              scanning, signatures)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'stored', 0, $8, $9, $10)",
        params![
            id,
            owner,
            name,
            media_type.as_str(),
            signed(*size),
            sha256,
            blob.as_str(),
            created_at,
            scanning,
            written(signatures.as_ref())
        ],
    )
    .await?;
    Ok(())
}

fn written(inspection: Option<&Inspection>) -> Option<String> {
    inspection.and_then(|inspection| serde_json::to_string(inspection).ok())
}

/// Keeps what was found in a file; `false` where nobody waits for it any more.
pub(super) async fn inspected(tx: &Tx, id: Id<FileKind>, found: &Inspection) -> Result<bool> {
    let sql = "UPDATE files SET signatures = $2 WHERE id = $1 AND state = 'stored'";
    Ok(tx.touch(sql, params![id, written(Some(found))]).await?)
}

/// How many bytes an owner's files take.
pub(super) async fn usage(db: &impl Read, owner: Id<User>) -> Result<u64> {
    let sql = "SELECT bytes FROM file_usage WHERE owner = $1";
    let bytes: Option<i64> = db.maybe(sql, params![owner], |row| row.take()).await?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0))
}

/// Books `size` bytes for an owner; `false` when that would be more than `quota`.
pub(super) async fn book(tx: &Tx, owner: Id<User>, size: u64, quota: u64) -> Result<bool> {
    let sql = "INSERT INTO file_usage (owner, bytes) VALUES ($1, 0)
               ON CONFLICT (owner) DO NOTHING";
    tx.execute(sql, params![owner]).await?;
    let sql = "UPDATE file_usage SET bytes = bytes + $2 WHERE owner = $1 AND bytes + $2 <= $3";
    Ok(tx.touch(sql, params![owner, signed(size), signed(quota)]).await?)
}

/// A stored file, whoever owns it.
pub(super) async fn get(db: &impl Read, id: Id<FileKind>) -> Result<Option<File>> {
    let sql = format!("SELECT {COLUMNS} FROM files WHERE id = $1 AND state = 'stored'");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// The files of one owner, newest first.
pub(super) async fn list(
    db: &impl Read,
    owner: Id<User>,
    page: &PageRequest,
) -> Result<Page<File>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM files WHERE owner = $1 AND id < $2 AND state = 'stored'
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let rows = db.all(&sql, params![owner, after, fetch, page.offset], read).await?;
    Ok(page.page(rows, |file| Cursor::by_id(file.id)))
}

pub(super) async fn refer(
    tx: &Tx,
    owner: Id<User>,
    id: Id<FileKind>,
) -> Result<Option<([u8; 32], MediaType)>> {
    let sql = "UPDATE files SET used_by = used_by + 1
               WHERE id = $1 AND owner = $2 AND state = 'stored' AND scanning = FALSE
               RETURNING sha256, media_type";
    let read = |row: &Row<'_>| Ok((row.take()?, media_type(&row.take::<String>()?)?));
    Ok(tx.maybe(sql, params![id, owner], read).await?)
}

pub(super) async fn release(tx: &Tx, id: Id<FileKind>) -> Result<()> {
    tx.execute("UPDATE files SET used_by = used_by - 1 WHERE id = $1", params![id]).await?;
    Ok(())
}

/// Notes what uses a file; `false` where that is noted already.
pub(super) async fn insert_use(tx: &Tx, id: Id<FileKind>, used_in: &str) -> Result<bool> {
    let sql = "INSERT INTO file_uses (file, used_in) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    Ok(tx.touch(sql, params![id, used_in]).await?)
}

/// Notes that nothing of this name uses a file; `false` where nothing did.
pub(super) async fn drop_use(tx: &Tx, id: Id<FileKind>, used_in: &str) -> Result<bool> {
    let sql = "DELETE FROM file_uses WHERE file = $1 AND used_in = $2";
    Ok(tx.touch(sql, params![id, used_in]).await?)
}

/// Whether another account holds the same bytes.
pub(super) async fn is_elsewhere(tx: &Tx, file: &File) -> Result<bool> {
    let sql = "SELECT id FROM files WHERE sha256 = $1 AND owner <> $2 LIMIT 1";
    Ok(tx.maybe(sql, params![file.sha256, file.owner], |_| Ok(())).await?.is_some())
}

/// Lets a file be read; `false` when it waits for no scanner.
pub(super) async fn pass(tx: &Tx, id: Id<FileKind>) -> Result<bool> {
    let sql = "UPDATE files SET scanning = FALSE
               WHERE id = $1 AND state = 'stored' AND scanning = TRUE";
    Ok(tx.touch(sql, params![id]).await?)
}

/// Takes a file out of sight and its bytes out of the quota; `false` while something refers
/// to it.
pub(super) async fn delete(tx: &Tx, file: &File) -> Result<bool> {
    let sql = "UPDATE files SET state = 'deleting'
               WHERE id = $1 AND state = 'stored' AND used_by = 0";
    if !tx.touch(sql, params![file.id]).await? {
        return Ok(false);
    }
    let sql = "UPDATE file_usage SET bytes = bytes - $2 WHERE owner = $1";
    tx.execute(sql, params![file.owner, signed(file.size)]).await?;
    Ok(true)
}

/// The blob of a file that is on its way out.
pub(super) async fn deleting(db: &impl Read, id: Id<FileKind>) -> Result<Option<Key>> {
    let sql = "SELECT blob FROM files WHERE id = $1 AND state = 'deleting'";
    let blob: Option<String> = db.maybe(sql, params![id], |row| row.take()).await?;
    blob.map(|blob| blob.parse()).transpose()
}

/// Forgets a file whose bytes are gone.
pub(super) async fn forget(tx: &Tx, id: Id<FileKind>) -> Result<()> {
    tx.execute("DELETE FROM files WHERE id = $1 AND state = 'deleting'", params![id]).await?;
    Ok(())
}

/// Whether any file, in whatever state, is made of this blob.
pub(super) async fn is_known(db: &impl Read, blob: &Key) -> Result<bool> {
    let sql = "SELECT id FROM files WHERE blob = $1";
    Ok(db.maybe(sql, params![blob.as_str()], |_| Ok(())).await?.is_some())
}

/// What is to be there in the store of blobs, behind a key: of files that are not on their way out.
pub(crate) async fn blobs(db: &impl Read, after: &str, limit: i64) -> Result<Vec<Stored>> {
    let sql = "SELECT blob, size, sha256 FROM files WHERE state = 'stored' AND blob > $1
               ORDER BY blob LIMIT $2";
    Ok(db.all(sql, params![after, limit], stored).await?)
}

/// The blob of a row: its key, size and hash.
pub(crate) fn stored(row: &Row<'_>) -> Result<Stored, DbError> {
    let odd = |what: &str| DbError::Other(format!("a blob's {what} is none"));
    Ok(Stored {
        key: row.take::<String>()?.parse().map_err(|_| odd("key"))?,
        size: u64::try_from(row.take::<i64>()?).map_err(|_| odd("size"))?,
        sha256: row.take()?,
    })
}

/// Whether a file that is not on its way out is made of this blob.
pub(crate) async fn is_stored(db: &impl Read, blob: &Key) -> Result<bool> {
    Ok(of_blob(db, blob).await?.is_some())
}

/// The file that is made of this blob and not on its way out.
pub(crate) async fn of_blob(db: &impl Read, blob: &Key) -> Result<Option<Id<FileKind>>> {
    let sql = "SELECT id FROM files WHERE blob = $1 AND state = 'stored'";
    Ok(db.maybe(sql, params![blob.as_str()], |row| row.take()).await?)
}

/// Drops a file from a copy of the database, since its bytes are not in the copy; `false` where
/// there is none that nothing refers to.
pub(crate) async fn drop_from_copy(tx: &Tx, blob: &Key) -> Result<bool> {
    let sql = "DELETE FROM files WHERE blob = $1 AND state = 'stored' AND used_by = 0
               RETURNING owner, size";
    let read = |row: &Row<'_>| Ok((row.take::<Id<User>>()?, row.take::<i64>()?));
    let Some((owner, size)) = tx.maybe(sql, params![blob.as_str()], read).await? else {
        return Ok(false);
    };
    let sql = "UPDATE file_usage SET bytes = bytes - $2 WHERE owner = $1";
    tx.execute(sql, params![owner, size]).await?;
    Ok(true)
}
