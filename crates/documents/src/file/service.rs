//! The verbs of files.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{File as FileKind, User};
use kernel::{Caller, Error, Id, Kind, Page, PageRequest, Result};
use platform::blob::{Blobs, Content, Stored};
use platform::db::{Db, Read};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;

use super::jobs::Erase;
use super::model::{File, MediaType};
use super::{name, store};
use crate::credential::store as credentials;

/// Reading the same document in parts, or once more within this time, is one view.
const VIEW: Duration = Duration::from_secs(15 * 60);
/// A blob that no file is made of may be one whose file is just being written down; after this
/// time it is what a crash has left.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// A writer that has written nothing for this long is dead.
const STALLED_AGE: Duration = Duration::from_secs(3600);

/// What may be stored.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest file, in bytes.
    pub file_bytes: u64,
    /// All files of one owner together, in bytes.
    pub owner_bytes: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    blobs: Blobs,
    limits: Limits,
}

fn unknown() -> Error {
    Error::not_found("file")
}

impl Service {
    pub(crate) fn new(db: Db, blobs: Blobs, limits: Limits) -> Self {
        Self(Arc::new(Inner { db, blobs, limits }))
    }

    pub(super) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(super) fn now(&self) -> kernel::Timestamp {
        self.db().world().now()
    }

    pub(super) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// Says no before the first byte is read when there is no room for even one.
    pub(super) async fn check_room(&self, owner: Id<User>) -> Result<()> {
        let used = store::usage(self.db(), owner).await?;
        if used < self.0.limits.owner_bytes { Ok(()) } else { Err(self.quota_exceeded()) }
    }

    fn quota_exceeded(&self) -> Error {
        let mib = self.0.limits.owner_bytes / (1024 * 1024);
        let message = format!("Your files would take more than {mib} MiB. Delete some first.");
        Error::conflict("quota_exceeded", message)
    }

    /// Writes down a file whose bytes are on disk. Runs to its end also when the caller stops
    /// waiting: a blob is never without its file because a client was in a hurry.
    pub(super) async fn keep(
        &self,
        caller: &Caller,
        given_name: &str,
        media_type: MediaType,
        stored: Stored,
    ) -> Result<File> {
        let file = File {
            id: self.db().world().id(),
            owner: caller.user()?,
            name: name::tame(given_name, media_type),
            media_type,
            size: stored.size,
            sha256: stored.sha256,
            blob: stored.key,
            created_at: self.db().world().now(),
        };
        let (service, caller) = (self.clone(), caller.clone());
        let kept = tokio::spawn(async move { service.write_down(&caller, file).await });
        kept.await.map_err(|error| Error::internal("an upload died").because(error))?
    }

    async fn write_down(&self, caller: &Caller, file: File) -> Result<File> {
        let (new, quota) = (&file, self.0.limits.owner_bytes);
        let kept = self
            .db()
            .run("file.upload", |tx| async move {
                if !store::book(&tx, new.owner, new.size, quota).await? {
                    return Err(self.quota_exceeded());
                }
                store::insert(&tx, new).await?;
                let fact = Fact::by(caller, "file.uploaded").on(new.id);
                tx.record(fact.with("size", new.size).with("mediaType", new.media_type.as_str()));
                Ok(())
            })
            .await;
        match kept {
            Ok(()) => Ok(file),
            Err(error) => {
                // When the commit's fate is unknown the bytes stay: the sweep knows later.
                if !matches!(error.kind(), Kind::Unavailable | Kind::Internal) {
                    self.blobs().delete(&file.blob).await?;
                }
                Err(error)
            }
        }
    }

    pub async fn list(&self, owner: Id<User>, page: &PageRequest) -> Result<Page<File>> {
        store::list(self.db(), owner, page).await
    }

    /// A file that the reader owns, or may read through a credential; 404 otherwise.
    pub async fn get(&self, db: &impl Read, reader: Id<User>, id: Id<FileKind>) -> Result<File> {
        let file = store::get(db, id).await?.ok_or_else(unknown)?;
        let readable =
            file.owner == reader || credentials::granting_file(db, id, reader).await?.is_some();
        if readable { Ok(file) } else { Err(unknown()) }
    }

    /// [`Self::get`] for somebody about to read the content: when it is not their own, its
    /// owner learns of it.
    pub async fn view(&self, caller: &Caller, id: Id<FileKind>) -> Result<File> {
        let reader = caller.user()?;
        let file = store::get(self.db(), id).await?.ok_or_else(unknown)?;
        if file.owner == reader {
            return Ok(file);
        }
        let granting = credentials::granting_file(self.db(), id, reader).await?;
        let credential = granting.ok_or_else(unknown)?;
        let owner = file.owner;
        self.db()
            .run("document.view", |tx| async move {
                let before = tx.now() - VIEW;
                if credentials::note_view(&tx, credential, reader, before).await? {
                    let fact = Fact::by(caller, "document.viewed").on(credential).about(owner);
                    tx.record(fact.with("file", id));
                }
                Ok(())
            })
            .await?;
        Ok(file)
    }

    /// The bytes of a file that [`Self::view`] has answered.
    pub async fn open(&self, file: &File, range: Range<u64>) -> Result<Content> {
        self.blobs().open(&file.blob, range).await
    }

    /// Deletes a file of the caller's own; 409 `in_use` while a credential refers to it.
    pub async fn delete(&self, caller: &Caller, id: Id<FileKind>) -> Result<()> {
        let owner = caller.user()?;
        self.db()
            .run("file.delete", |tx| async move {
                let file = store::get(&tx, id).await?.filter(|file| file.owner == owner);
                let file = file.ok_or_else(unknown)?;
                if !store::delete(&tx, &file).await? {
                    let message = "A credential refers to this file. Delete the credential first.";
                    return Err(Error::conflict("in_use", message));
                }
                tx.enqueue(NewJob::new(&Erase { file: id })?);
                tx.record(Fact::by(caller, "file.deleted").on(id));
                Ok(())
            })
            .await
    }

    /// Removes the bytes of a deleted file, and then the row that led to them.
    pub(super) async fn erase(&self, id: Id<FileKind>, run: &Run) -> Result<()> {
        if let Some(blob) = store::deleting(self.db(), id).await? {
            self.blobs().delete(&blob).await?;
        }
        self.db()
            .run("file.erase", |tx| async move {
                store::forget(&tx, id).await?;
                run.done_in(&tx).await
            })
            .await
    }

    /// Removes what crashes have left: uploads that were cut off, and blobs of one slice that no
    /// file is made of. Answers how many there were.
    pub async fn sweep(&self, slice: u8) -> Result<u64> {
        let now = self.db().world().now();
        let mut swept = self.blobs().sweep(now - STALLED_AGE).await?;
        for blob in self.blobs().slice(slice, now - ORPHAN_AGE).await? {
            if !store::is_known(self.db(), &blob).await? {
                self.blobs().delete(&blob).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}
