//! The verbs of files.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::{File as FileKind, User};
use kernel::{Caller, Error, Id, Kind, Page, PageRequest, Result, Timestamp};
use platform::blob::{Blobs, Content, Stored};
use platform::db::{Db, Read, Tx};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;

use super::inspect::{FILE_MAX, Failure, Inspector};
use super::jobs::{Erase, Inspect, Scan};
use super::model::{File, Inspection, MediaType};
use super::receive::Seen;
use super::scan::{Scanner, Verdict};
use super::{name, store};
use crate::credential::store as credentials;
use crate::upload;

/// Reading the same document in parts, or once more within this time, is one view.
const VIEW: Duration = Duration::from_secs(15 * 60);
/// A blob that no file is made of may be one whose file is just being written down; after this
/// time it is what a crash has left.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);
/// A scanner that is away for long is no reason to give up: these are days.
const SCANS_MAX: u32 = 60;
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

/// How a file has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the body of a request.
    Request,
    /// By an upload, which it ends and whose id it takes over.
    Upload(Id<FileKind>),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    blobs: Blobs,
    limits: Limits,
    scanner: Option<Scanner>,
    inspector: Option<Inspector>,
}

fn unknown() -> Error {
    Error::not_found("file")
}

impl Service {
    pub(crate) fn new(
        db: Db,
        blobs: Blobs,
        limits: Limits,
        scanner: Option<Scanner>,
        inspector: Option<Inspector>,
    ) -> Self {
        Self(Arc::new(Inner { db, blobs, limits, scanner, inspector }))
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn now(&self) -> kernel::Timestamp {
        self.db().world().now()
    }

    pub(crate) fn blobs(&self) -> &Blobs {
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

    /// Books `size` bytes for an owner: 409 `quota_exceeded` where there is no room for them.
    pub(crate) async fn book(&self, tx: &Tx, owner: Id<User>, size: u64) -> Result<()> {
        let booked = store::book(tx, owner, size, self.0.limits.owner_bytes).await?;
        if booked { Ok(()) } else { Err(self.quota_exceeded()) }
    }

    /// A file, whoever owns it: for what the platform itself does with it.
    pub(crate) async fn stored(&self, id: Id<FileKind>) -> Result<Option<File>> {
        store::get(self.db(), id).await
    }

    /// A file of somebody's own.
    pub(crate) async fn own(
        &self,
        db: &impl Read,
        owner: Id<User>,
        id: Id<FileKind>,
    ) -> Result<Option<File>> {
        Ok(store::get(db, id).await?.filter(|file| file.owner == owner))
    }

    /// Writes down a file whose bytes are on disk. Runs to its end also when the caller stops
    /// waiting: a blob is never without its file because a client was in a hurry.
    pub(crate) async fn keep(
        &self,
        caller: &Caller,
        given_name: &str,
        seen: Seen,
        stored: Stored,
        origin: Origin,
    ) -> Result<File> {
        let now = self.db().world().now();
        let file = File {
            id: match origin {
                Origin::Request => self.db().world().id(),
                Origin::Upload(id) => id,
            },
            owner: caller.user()?,
            name: name::tame(given_name, seen.media_type),
            media_type: seen.media_type,
            size: stored.size,
            sha256: stored.sha256,
            blob: stored.key,
            created_at: now,
            scanning: self.0.scanner.is_some(),
            signatures: self.awaited(seen, stored.size, now),
        };
        let (service, caller) = (self.clone(), caller.clone());
        let kept = tokio::spawn(async move { service.write_down(&caller, file, origin).await });
        kept.await.map_err(|error| Error::internal("an upload died").because(error))?
    }

    /// What is to be found out about the signatures in a file. Most have none, and no process needs
    /// to look for them.
    fn awaited(&self, seen: Seen, size: u64, now: Timestamp) -> Option<Inspection> {
        self.0.inspector.as_ref().filter(|_| seen.media_type == MediaType::Pdf)?;
        Some(match size {
            _ if !seen.has_marks => {
                Inspection::Checked { at: now, found: Vec::new(), truncated: false }
            }
            0..=FILE_MAX => Inspection::Pending,
            _ => Inspection::Failed { reason: "it is too large".to_owned() },
        })
    }

    /// Has a file looked into apart, and keeps what was found.
    pub(super) async fn inspect(&self, id: Id<FileKind>, run: &Run) -> Result<()> {
        let file = store::get(self.db(), id).await?;
        let file = file.filter(|file| file.signatures == Some(Inspection::Pending));
        let found = match (&file, &self.0.inspector) {
            (Some(file), Some(inspector)) => {
                let content = self.blobs().open(&file.blob, 0..file.size).await?;
                match inspector.inspect(content, self.now()).await {
                    Ok(found) => Some(Inspection::Checked {
                        at: self.now(),
                        found: found.signatures,
                        truncated: found.truncated,
                    }),
                    Err(Failure::Gave(reason)) => {
                        tracing::warn!(file = %id, reason, "a file could not be looked into");
                        Some(Inspection::Failed { reason: reason.to_owned() })
                    }
                    Err(Failure::Away(error)) => return Err(error),
                }
            }
            _ => None,
        };
        let found = &found;
        self.db()
            .run("file.inspect", |tx| async move {
                if let Some(found) = found
                    && store::inspected(&tx, id, found).await?
                {
                    let count = match found {
                        Inspection::Checked { found, .. } => found.len(),
                        _ => 0,
                    };
                    let fact = Fact::by(&Caller::nobody(), "file.inspected").on(id);
                    tx.record(fact.with("signatures", count));
                }
                run.done_in(&tx).await
            })
            .await
    }

    async fn write_down(&self, caller: &Caller, file: File, origin: Origin) -> Result<File> {
        let new = &file;
        let kept = self
            .db()
            .run("file.upload", |tx| async move {
                match origin {
                    Origin::Request => self.book(&tx, new.owner, new.size).await?,
                    // Its size was booked when it began.
                    Origin::Upload(id) => {
                        if !upload::consume(&tx, id).await? {
                            return Err(Error::conflict("upload_ended", "It has ended already."));
                        }
                    }
                }
                store::insert(&tx, new).await?;
                if new.scanning {
                    tx.enqueue(NewJob::new(&Scan { file: new.id })?.attempts(SCANS_MAX));
                }
                if new.signatures == Some(Inspection::Pending) {
                    tx.enqueue(NewJob::new(&Inspect { file: new.id })?);
                }
                if store::is_elsewhere(&tx, new).await? {
                    // By nobody and about nobody: it is for admins, and must not tell the one
                    // owner of the other.
                    tx.record(Fact::by(&Caller::nobody(), "file.duplicated").on(new.id));
                }
                let fact = Fact::by(caller, "file.uploaded").on(new.id);
                tx.record(fact.with("size", new.size).with("mediaType", new.media_type.as_str()));
                Ok(())
            })
            .await;
        match kept {
            Ok(()) => Ok(file),
            Err(error) => {
                // When the commit's fate is unknown the bytes stay: the sweep knows later. So do those
                // of an upload, for whoever gathered them to judge: whoever has completed it first
                // may have kept this very blob, and no read outside of that transaction shows it.
                let is_ours = origin == Origin::Request;
                if is_ours && !matches!(error.kind(), Kind::Unavailable | Kind::Internal) {
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
            Self::check_scanned(&file)?;
            return Ok(file);
        }
        let granting = credentials::granting_file(self.db(), id, reader).await?;
        let credential = granting.ok_or_else(unknown)?;
        Self::check_scanned(&file)?;
        let owner = file.owner;
        self.db()
            .run("document.view", |tx| async move {
                let before = tx.now() - VIEW;
                if credentials::note_view(&tx, credential, reader, before).await? {
                    tx.record(super::viewed(caller, credential, owner, id));
                }
                Ok(())
            })
            .await?;
        Ok(file)
    }

    /// Records that somebody has listed their files: the older document API promises to.
    pub(super) async fn note_listed(&self, caller: &Caller) -> Result<()> {
        self.note(Fact::by(caller, "file.listed").on("files")).await
    }

    /// Records that somebody downloads a file: the older document API promises to.
    pub(super) async fn note_downloaded(&self, caller: &Caller, id: Id<FileKind>) -> Result<()> {
        self.note(Fact::by(caller, "file.downloaded").on(id)).await
    }

    async fn note(&self, fact: Fact) -> Result<()> {
        self.db()
            .run("file.note", |tx| {
                let fact = fact.clone();
                async move {
                    tx.record(fact);
                    Ok(())
                }
            })
            .await
    }

    /// Refuses what the scanner has not passed.
    pub(super) fn check_scanned(file: &File) -> Result<()> {
        if !file.scanning {
            return Ok(());
        }
        let message = "The file is being looked at by a virus scanner. Try again in a moment.";
        Err(Error::conflict("scanning", message))
    }

    /// Asks the scanner about a file. Without a verdict the job fails, and is tried again; the
    /// file waits.
    pub(super) async fn scan(&self, id: Id<FileKind>, run: &Run) -> Result<()> {
        let file = store::get(self.db(), id).await?.filter(|file| file.scanning);
        let verdict = match (&file, &self.0.scanner) {
            (Some(file), Some(scanner)) => {
                let content = self.blobs().open(&file.blob, 0..file.size).await?;
                Some(scanner.scan(content).await?)
            }
            (None, _) => None,
            (Some(_), None) => {
                let message = "A file waits for a virus scanner, and none is configured.";
                return Err(Error::unavailable("scanner_unavailable", message));
            }
        };
        let (file, verdict) = (&file, &verdict);
        self.db()
            .run("file.scan", |tx| async move {
                if let (Some(file), Some(verdict)) = (file, verdict) {
                    self.settle_scan(&tx, file, verdict).await?;
                }
                run.done_in(&tx).await
            })
            .await
    }

    async fn settle_scan(&self, tx: &Tx, file: &File, verdict: &Verdict) -> Result<()> {
        let by = Caller::nobody();
        match verdict {
            Verdict::Clean => {
                if store::pass(tx, file.id).await? {
                    tx.record(Fact::by(&by, "file.passed").on(file.id).about(file.owner));
                }
            }
            // Nothing refers to it: what is being scanned cannot be referred to.
            Verdict::Infected(found) => {
                if store::delete(tx, file).await? {
                    tx.enqueue(NewJob::new(&Erase { file: file.id })?);
                    let fact = Fact::by(&by, "file.infected").on(file.id).about(file.owner);
                    tx.record(fact.with("found", found));
                }
            }
        }
        Ok(())
    }

    /// The bytes of a file that [`Self::view`] has answered.
    pub async fn open(&self, file: &File, range: Range<u64>) -> Result<Content> {
        self.blobs().open(&file.blob, range).await
    }

    /// A file of its owner's is used in something, named by its id's text: until
    /// [`super::end_use`] it cannot be deleted. Using it there twice is using it once.
    ///
    /// # Errors
    /// `NotFound` for what is no file of theirs; `Conflict` `scanning`.
    pub async fn begin_use(
        &self,
        tx: &Tx,
        owner: Id<User>,
        id: Id<FileKind>,
        used_in: &str,
    ) -> Result<File> {
        let file = store::get(tx, id).await?.filter(|file| file.owner == owner);
        let file = file.ok_or_else(unknown)?;
        Self::check_scanned(&file)?;
        if store::insert_use(tx, id, used_in).await? {
            // Decided on the same row as a delete.
            store::refer(tx, owner, id).await?.ok_or_else(unknown)?;
        }
        Ok(file)
    }

    /// Deletes a file of the caller's own; 409 `in_use` while something refers to it.
    pub async fn delete(&self, caller: &Caller, id: Id<FileKind>) -> Result<()> {
        let owner = caller.user()?;
        self.db()
            .run("file.delete", |tx| async move {
                let file = store::get(&tx, id).await?.filter(|file| file.owner == owner);
                let file = file.ok_or_else(unknown)?;
                if !store::delete(&tx, &file).await? {
                    let message = "A credential, a verdict or an open dispute refers to this file. \
                                   Delete the credential first; what a verdict rests on stays, \
                                   and a dispute lets go of it when it is closed.";
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
            // In the order in which a blob changes hands: a part that becomes a file between the two
            // questions is known to the second.
            let known = upload::is_known(self.db(), &blob).await?
                || store::is_known(self.db(), &blob).await?;
            if !known {
                self.blobs().delete(&blob).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}
