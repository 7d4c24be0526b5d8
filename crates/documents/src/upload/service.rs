//! The verbs of uploads.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use kernel::id::kinds::{File as FileKind, User};
use kernel::{Caller, Error, Id, Kind, Result, Secret};
use platform::blob::{Form, Presigned, Slot, Stored};
use platform::db::{Db, Tx};
use platform::journal::Fact;

use super::model::{ADDRESS_LASTS, LASTS, NewUpload, OPEN_MAX, Upload};
use super::signed::{Key, Terms};
use super::store;
use crate::file::{self, File, Gate, Seen, Service as Files};
use crate::links::Links;

/// What lies in an inbox for longer than every upload is left over.
const LEFT_OVER: Duration = Duration::from_secs(2 * 24 * 3600);

/// Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    files: Files,
    links: Links,
    key: Key,
}

/// One part of an upload, as its owner is told of it.
#[derive(Debug, Clone)]
pub struct Part {
    pub number: u32,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    pub size: u64,
    /// How it is sent; none when it has come in.
    pub put: Option<Presigned>,
}

/// An upload, and what is still to be sent.
#[derive(Debug, Clone)]
pub struct Open {
    pub upload: Upload,
    pub parts: Vec<Part>,
    /// The same as a form, where the whole file is one part.
    pub form: Option<Form>,
}

/// A request to a signed address of the embedded store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) terms: Terms<'a>,
    pub(super) signature: &'a str,
}

fn unknown() -> Error {
    Error::not_found("upload")
}

impl Service {
    /// `key` signs the addresses of the embedded store; every process has the same one.
    pub(crate) fn new(files: Files, links: Links, key: Secret<[u8; 32]>) -> Self {
        Self(Arc::new(Inner { files, links, key: Key(key) }))
    }

    pub(super) fn files(&self) -> &Files {
        &self.0.files
    }

    fn db(&self) -> &Db {
        self.files().db()
    }

    /// Begins an upload, and books its size.
    ///
    /// 409 `quota_exceeded`, or `too_many_uploads` while too many are open.
    pub async fn begin(&self, caller: &Caller, new: &NewUpload) -> Result<Open> {
        let owner = caller.user()?;
        let upload = self
            .db()
            .run("upload.begin", |tx| async move {
                if store::count(&tx, owner).await? >= OPEN_MAX {
                    let message = "Complete or cancel the uploads that you have begun first.";
                    return Err(Error::conflict("too_many_uploads", message));
                }
                self.files().book(&tx, owner, new.size).await?;
                let upload = Upload {
                    id: tx.world().id(),
                    owner,
                    name: new.name.clone(),
                    media_type: new.media_type,
                    size: new.size,
                    sha256: new.sha256,
                    part_size: new.part_size,
                    expires_at: tx.now() + LASTS,
                    created_at: tx.now(),
                };
                store::insert(&tx, &upload).await?;
                tx.record(Fact::by(caller, "upload.begun").on(upload.id).with("size", upload.size));
                Ok(upload)
            })
            .await?;
        self.show(upload).await
    }

    /// An open upload of one's own, with fresh addresses for what is missing.
    pub async fn get(&self, owner: Id<User>, id: Id<FileKind>) -> Result<Open> {
        let upload = self.owned(owner, id).await?.ok_or_else(unknown)?;
        upload.check_open(self.files().now())?;
        self.show(upload).await
    }

    async fn owned(&self, owner: Id<User>, id: Id<FileKind>) -> Result<Option<Upload>> {
        Ok(store::get(self.db(), id).await?.filter(|upload| upload.owner == owner))
    }

    async fn show(&self, upload: Upload) -> Result<Open> {
        let there = self.there(&upload).await?;
        let lasts = ADDRESS_LASTS.min(upload.expires_at.since(self.files().now()));
        let mut parts = Vec::new();
        for number in 1..=upload.parts() {
            let Some(range) = upload.part(number) else { continue };
            let missing = !there.contains(&number);
            let put = missing.then(|| self.address(&upload, number, lasts)).transpose()?;
            let size = range.end - range.start;
            parts.push(Part { number, offset: range.start, size, put });
        }
        let whole = upload.parts() == 1 && there.is_empty();
        let form = whole.then(|| self.form(&upload, lasts)).transpose()?;
        Ok(Open { upload, parts, form })
    }

    /// The numbers of the parts that have come in.
    async fn there(&self, upload: &Upload) -> Result<Vec<u32>> {
        let Some(inbox) = self.files().blobs().inbox() else {
            let parts = store::parts(self.db(), upload.id).await?;
            return Ok(parts.into_iter().map(|(number, _)| number).collect());
        };
        let sizes = futures_util::stream::iter(1..=upload.parts()).map(|number| {
            let (inbox, name) = (inbox.clone(), upload.slot(number));
            async move { Ok((number, inbox.size(&name).await?)) }
        });
        let sizes: Vec<Result<(u32, Option<u64>)>> = sizes.buffered(8).collect().await;
        let mut there = Vec::new();
        for size in sizes {
            let (number, size) = size?;
            let wanted = upload.part(number).map(|range| range.end - range.start);
            if size.is_some() && size == wanted {
                there.push(number);
            }
        }
        Ok(there)
    }

    fn slot<'a>(upload: &'a Upload, number: u32) -> Slot<'a> {
        let range = upload.part(number).unwrap_or_default();
        Slot {
            name: upload.slot(number),
            size: range.end - range.start,
            media_type: upload.media_type.as_str(),
            sha256: upload.part_sha256(),
        }
    }

    fn address(&self, upload: &Upload, number: u32, lasts: Duration) -> Result<Presigned> {
        let slot = Self::slot(upload, number);
        if let Some(inbox) = self.files().blobs().inbox() {
            return inbox.put(&slot, lasts);
        }
        let checksum = slot.checksum();
        let (expires, signature) = self.sign("PUT", upload.id, number, &slot, lasts);
        let url = self.0.links.part(upload.id, number);
        let mut headers = vec![
            ("content-length".to_owned(), slot.size.to_string()),
            ("content-type".to_owned(), slot.media_type.to_owned()),
        ];
        headers.extend(checksum.map(|sum| ("x-amz-checksum-sha256".to_owned(), sum)));
        let url = format!("{url}?expires={expires}&signature={signature}");
        Ok(Presigned { method: "PUT", url, headers })
    }

    fn form(&self, upload: &Upload, lasts: Duration) -> Result<Form> {
        let slot = Self::slot(upload, 1);
        if let Some(inbox) = self.files().blobs().inbox() {
            return inbox.post(&slot, lasts);
        }
        let (expires, signature) = self.sign("POST", upload.id, 1, &slot, lasts);
        let mut fields = vec![
            ("content-type".to_owned(), slot.media_type.to_owned()),
            ("expires".to_owned(), expires.to_string()),
            ("signature".to_owned(), signature),
        ];
        fields.extend(slot.checksum().map(|sum| ("x-amz-checksum-sha256".to_owned(), sum)));
        Ok(Form { url: self.0.links.part(upload.id, 1), fields })
    }

    fn sign(
        &self,
        method: &str,
        upload: Id<FileKind>,
        part: u32,
        slot: &Slot<'_>,
        lasts: Duration,
    ) -> (i64, String) {
        let expires = (self.files().now() + lasts).seconds();
        let checksum = slot.checksum();
        let (size, media_type, checksum) = (slot.size, slot.media_type, checksum.as_deref());
        let terms = Terms { method, upload, part, size, media_type, checksum, expires };
        (expires, self.0.key.sign(terms))
    }

    /// How large a part of an upload is.
    pub(super) async fn announced(&self, id: Id<FileKind>, part: u32) -> Result<u64> {
        let upload = store::get(self.db(), id).await?.ok_or_else(unknown)?;
        let range = upload.part(part).ok_or_else(unknown)?;
        Ok(range.end - range.start)
    }

    /// Whether a request to the embedded store was signed so; answers its upload.
    pub(super) async fn check(&self, asked: Asked<'_>) -> Result<Upload> {
        let Asked { terms, signature } = asked;
        if self.files().blobs().inbox().is_some() {
            return Err(unknown());
        }
        self.0.key.check(terms, signature, self.files().now())?;
        let upload = store::get(self.db(), terms.upload).await?.ok_or_else(unknown)?;
        upload.check_open(self.files().now())?;
        if store::parts(self.db(), upload.id).await?.iter().any(|part| part.0 == terms.part) {
            return Err(already_there());
        }
        Ok(upload)
    }

    /// Takes in a part at the embedded store: exactly the bytes that were signed for, or none.
    pub(super) async fn receive(
        &self,
        terms: Terms<'_>,
        mut body: BoxStream<'_, Result<Bytes>>,
    ) -> Result<()> {
        let mut writer = self.files().blobs().writer(terms.size).await?;
        while let Some(chunk) = body.next().await {
            writer.write(chunk?).await?;
        }
        drop(body);
        if writer.size() != terms.size {
            return Err(Error::invalid("broken_body", "The body did not arrive whole."));
        }
        let stored = writer.finish().await?;
        let right = terms.checksum.is_none_or(|sum| STANDARD.encode(stored.sha256) == sum);
        let (part, upload, number) = (&stored, terms.upload, terms.part);
        let kept = if right {
            let added = self.db().run("upload.receive", |tx| async move {
                // Between its checks and its end the upload may have ended.
                if !store::hold(&tx, upload).await? {
                    return Err(unknown());
                }
                store::add_part(&tx, upload, number, part).await
            });
            added.await.and_then(|added| if added { Ok(()) } else { Err(already_there()) })
        } else {
            let message = "The bytes do not have the checksum that was announced.";
            Err(Error::invalid("checksum_mismatch", message))
        };
        // When the commit's fate is unknown the bytes stay: the sweep knows later.
        if kept.as_ref().is_err_and(|error| !is_our_failure(error)) {
            self.files().blobs().delete(&stored.key).await?;
        }
        kept
    }

    /// Makes a file of an upload that has come in whole. Doing it again answers the same file.
    ///
    /// 409 `upload_incomplete`; 409 `checksum_mismatch`, `size_mismatch` or `type_mismatch` and
    /// 415 when it is not what was announced: then it has to be sent again.
    pub async fn complete(&self, caller: &Caller, id: Id<FileKind>) -> Result<File> {
        let owner = caller.user()?;
        let Some(upload) = self.owned(owner, id).await? else {
            return self.completed(owner, id).await?.ok_or_else(unknown);
        };
        match self.make(caller, &upload).await {
            Ok(file) => Ok(file),
            // Whatever is missing now, somebody may have completed it in the meantime.
            Err(error) => match self.completed(owner, id).await? {
                Some(file) => Ok(file),
                None if error.code() == "upload_ended" => Err(unknown()),
                None => Err(error),
            },
        }
    }

    /// The file that an upload has become. Asked in a transaction: the embedded store shows other
    /// readers only what is on disk, and whoever was quicker may still be writing.
    async fn completed(&self, owner: Id<User>, id: Id<FileKind>) -> Result<Option<File>> {
        let find = |tx: Tx| async move { self.files().own(&tx, owner, id).await };
        self.db().run("upload.completed", find).await
    }

    async fn make(&self, caller: &Caller, upload: &Upload) -> Result<File> {
        upload.check_open(self.files().now())?;
        let there = self.there(upload).await?.len();
        let missing = upload.parts() as usize - there.min(upload.parts() as usize);
        if missing > 0 {
            let message = format!("{missing} of {} parts have not come in.", upload.parts());
            return Err(Error::conflict("upload_incomplete", message));
        }
        let parts = store::parts(self.db(), upload.id).await?;
        let (stored, seen) = match self.gather(upload, &parts).await {
            Ok(gathered) => gathered,
            Err(error) => {
                if !is_our_failure(&error) {
                    self.throw_away(upload, &parts).await?;
                }
                return Err(error);
            }
        };
        let kept = stored.key.clone();
        let origin = file::Origin::Upload(upload.id);
        let file = match self.files().keep(caller, &upload.name, seen, stored, origin).await {
            Ok(file) => file,
            Err(error) => {
                // What was gathered here is nobody else's, unless it is itself a part.
                let is_own = parts.iter().all(|(_, part)| part.key != kept);
                if is_own && !is_our_failure(&error) {
                    self.files().blobs().delete(&kept).await?;
                }
                return Err(error);
            }
        };
        let used = parts.iter().filter(|(_, part)| part.key != kept);
        for (_, part) in used {
            self.files().blobs().delete(&part.key).await?;
        }
        self.empty_slots(upload).await?;
        Ok(file)
    }

    /// Reads all that has come in, and answers the blob that it is then: nothing can change it
    /// any more.
    async fn gather(&self, upload: &Upload, parts: &[(u32, Stored)]) -> Result<(Stored, Seen)> {
        let blobs = self.files().blobs();
        let mut gate = Gate::default();
        // One part at the embedded store is hashed and in its place; what is left is to look.
        if let [(_, only)] = parts
            && upload.parts() == 1
        {
            let mut content = blobs.open(&only.key, 0..only.size).await?;
            while let Some(piece) = content.next().await {
                gate.see(&piece?);
            }
            let seen = self.judge(upload, &gate, only)?;
            return Ok((only.clone(), seen));
        }
        let mut writer = blobs.writer(upload.size).await?;
        let inbox = blobs.inbox();
        for number in 1..=upload.parts() {
            let mut content = match (&inbox, parts.get(number as usize - 1)) {
                (Some(inbox), _) => {
                    let content = inbox.open(&upload.slot(number)).await?;
                    content
                        .ok_or_else(|| Error::conflict("upload_incomplete", "A part is gone."))?
                }
                (None, Some((_, part))) => blobs.open(&part.key, 0..part.size).await?.boxed(),
                (None, None) => return Err(Error::internal("a part is not there")),
            };
            while let Some(piece) = content.next().await {
                let piece = piece?;
                gate.see(&piece);
                writer.write(piece).await.map_err(|error| match error.code() {
                    "payload_too_large" => size_mismatch(),
                    _ => error,
                })?;
            }
        }
        let stored = writer.finish().await?;
        let judged = self.judge(upload, &gate, &stored);
        if judged.is_err() {
            blobs.delete(&stored.key).await?;
        }
        Ok((stored, judged?))
    }

    fn judge(&self, upload: &Upload, gate: &Gate, stored: &Stored) -> Result<Seen> {
        if stored.size != upload.size {
            return Err(size_mismatch());
        }
        if upload.sha256.is_some_and(|announced| announced != stored.sha256) {
            let message = "What has come in does not have the checksum that was announced. Send \
                           it again.";
            return Err(Error::conflict("checksum_mismatch", message));
        }
        let seen = gate.verdict()?;
        if seen.media_type != upload.media_type {
            let message = format!("What has come in is {}.", seen.media_type.as_str());
            return Err(Error::conflict("type_mismatch", message));
        }
        Ok(seen)
    }

    /// What was not what it should be goes, and may be sent again. Where the upload has ended,
    /// whoever has ended it sees to its bytes: they may be a file's.
    async fn throw_away(&self, upload: &Upload, parts: &[(u32, Stored)]) -> Result<()> {
        let forget = |tx: Tx| async move {
            if !store::hold(&tx, upload.id).await? {
                return Ok(false);
            }
            // Those that were looked at: what was sent anew in the meantime is another's to judge.
            for (_, part) in parts {
                store::drop_part(&tx, upload.id, &part.key).await?;
            }
            Ok(true)
        };
        if !self.db().run("upload.throw_away", forget).await? {
            return Ok(());
        }
        for (_, part) in parts {
            self.files().blobs().delete(&part.key).await?;
        }
        self.empty_slots(upload).await
    }

    async fn empty_slots(&self, upload: &Upload) -> Result<()> {
        let Some(inbox) = self.files().blobs().inbox() else { return Ok(()) };
        for number in 1..=upload.parts() {
            inbox.discard(&upload.slot(number)).await?;
        }
        Ok(())
    }

    /// Gives up an upload of one's own.
    pub async fn cancel(&self, caller: &Caller, id: Id<FileKind>) -> Result<()> {
        let upload = self.owned(caller.user()?, id).await?.ok_or_else(unknown)?;
        if self.end(&upload, Fact::by(caller, "upload.cancelled").on(id)).await? {
            Ok(())
        } else {
            Err(unknown())
        }
    }

    /// Ends an upload without a file; `false` when it had ended before.
    async fn end(&self, upload: &Upload, fact: Fact) -> Result<bool> {
        let parts = store::parts(self.db(), upload.id).await?;
        let fact = &fact;
        let ended = self
            .db()
            .run("upload.end", |tx| async move {
                if !store::consume(&tx, upload.id).await? {
                    return Ok(false);
                }
                store::unbook(&tx, upload).await?;
                tx.record(fact.clone());
                Ok(true)
            })
            .await?;
        if ended {
            for (_, part) in parts {
                self.files().blobs().delete(&part.key).await?;
            }
            self.empty_slots(upload).await?;
        }
        Ok(ended)
    }

    /// Ends the uploads whose time is over, and empties what nobody has fetched. Answers how many
    /// uploads there were.
    pub async fn expire(&self) -> Result<usize> {
        let now = self.files().now();
        let mut ended = 0;
        for upload in store::expired(self.db(), now).await? {
            let fact = Fact::by(&Caller::nobody(), "upload.expired").on(upload.id);
            ended += usize::from(self.end(&upload, fact.about(upload.owner)).await?);
        }
        if let Some(inbox) = self.files().blobs().inbox() {
            inbox.sweep(now - LEFT_OVER).await?;
        }
        Ok(ended)
    }
}

/// Whether it says nothing about what was sent.
fn is_our_failure(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::Internal)
}

fn already_there() -> Error {
    let message = "Something has been sent to this address already: it is good for one upload.";
    Error::conflict("part_exists", message)
}

fn size_mismatch() -> Error {
    let message = "What has come in does not have the size that was announced. Send it again.";
    Error::conflict("size_mismatch", message)
}
