//! What has to be in the store of blobs, for those who copy it and those who check a copy.

use kernel::id::kinds::File as FileKind;
use kernel::{Id, Result};
use platform::blob::{Key, Stored};
use platform::db::{Read, Tx};

use crate::{file, upload};

/// Blobs that are told of at once.
const PIECE: i64 = 500;

/// Goes through all blobs that files and open uploads are made of, piece by piece.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Files have been gone through.
    in_uploads: bool,
    after: String,
}

impl Inventory {
    /// The next blobs; none when all have been told of.
    pub async fn next(&mut self, db: &impl Read) -> Result<Vec<Stored>> {
        if !self.in_uploads {
            let blobs = file::blobs(db, &self.after, PIECE).await?;
            if let Some(last) = blobs.last() {
                last.key.as_str().clone_into(&mut self.after);
                return Ok(blobs);
            }
            *self = Self { in_uploads: true, after: String::new() };
        }
        let blobs = upload::blobs(db, &self.after, PIECE).await?;
        if let Some(last) = blobs.last() {
            last.key.as_str().clone_into(&mut self.after);
        }
        Ok(blobs)
    }

    /// Whether a blob is still to be there.
    pub async fn holds(db: &impl Read, key: &Key) -> Result<bool> {
        // In the order in which a blob changes hands: see the sweep of files.
        Ok(upload::is_known(db, key).await? || file::is_stored(db, key).await?)
    }

    /// The file, or the upload, that is made of a blob.
    pub async fn file_of(db: &impl Read, key: &Key) -> Result<Option<Id<FileKind>>> {
        match file::of_blob(db, key).await? {
            Some(id) => Ok(Some(id)),
            None => upload::of_blob(db, key).await,
        }
    }

    /// Takes a blob out of a copy of the database that was deleted while the copy was made, as it
    /// was taken out of the original a moment later; `false` where a credential refers to it.
    pub async fn forget(tx: &Tx, key: &Key) -> Result<bool> {
        Ok(file::drop_from_copy(tx, key).await? || upload::drop_from_copy(tx, key).await?)
    }
}
