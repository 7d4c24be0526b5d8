//! Receiving: a multipart body becomes a stored file while it comes in.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, StreamExt};
use kernel::{Caller, Error, Result};
use multer::{Constraints, Field, Multipart, SizeLimit};
use platform::blob::Writer;
use verify::pdf::Marks;

use super::model::{File, MediaType};
use super::picture::{self, Jpeg};
use super::rules::{self, HEAD_BYTES, TAIL_BYTES};
use super::service::{Origin, Service};

/// What a body may be larger than its file: boundaries, and the headers of the parts.
pub(crate) const OVERHEAD_BYTES: u64 = 64 * 1024;
/// The one part that there must be.
const FIELD: &str = "file";

impl Service {
    /// Stores the part `file` of a `multipart/form-data` body (RFC 7578). `content_type` is the
    /// request's. Nothing is kept unless all of it arrives, and is allowed.
    pub async fn upload(&self, caller: &Caller, content_type: &str, body: Body) -> Result<File> {
        self.check_room(caller.user()?).await?;
        let (mut parts, unread) = form(content_type, body, self.limits().file_bytes)?;

        let mut received = None;
        while let Some(field) = parts.next_field().await.map_err(broken)? {
            let part = Part::new(field, &unread);
            if part.field.name() != Some(FIELD) || received.is_some() {
                return Err(unexpected(&part.field));
            }
            received = Some(self.receive(part).await?);
        }
        let Some(Received { name, seen, writer }) = received else {
            return Err(Error::field("/file", "required", "there is no part named \"file\""));
        };
        let stored = writer.finish().await?;
        self.keep(caller, &name, seen, stored, Origin::Request).await
    }

    async fn receive(&self, mut part: Part<'_>) -> Result<Received> {
        let name = part.field.file_name().unwrap_or_default().to_owned();
        let head = head(&mut part).await?;
        if head.is_empty() {
            return Err(Error::field("/file", "required", "the file is empty"));
        }
        rules::sniff(&head)?;
        let mut writer = self.blobs().writer(self.limits().file_bytes).await?;
        let mut gate = Gate::default();
        gate.see(&head);
        writer.write(head).await?;
        while let Some(chunk) = part.chunk().await? {
            gate.see(&chunk);
            writer.write(chunk).await?;
        }
        Ok(Received { name, seen: gate.verdict()?, writer })
    }
}

/// Begins to read a `multipart/form-data` body (RFC 7578) with a file of at most `file_max` bytes.
/// `content_type` is the request's.
pub(crate) fn form(
    content_type: &str,
    body: Body,
    file_max: u64,
) -> Result<(Multipart<'static>, Unread)> {
    let boundary = multer::parse_boundary(content_type).map_err(|_| {
        let message = "Send the file as multipart/form-data, in a part named \"file\".";
        Error::invalid("unsupported_media_type", message)
    })?;
    let whole = SizeLimit::new().whole_stream(file_max.saturating_add(OVERHEAD_BYTES));
    let limits = Constraints::new().size_limit(whole);
    let unread = Unread::default();
    let body = OneByOne { body: body.into_data_stream(), unread: unread.clone(), rest: false };
    Ok((Multipart::with_constraints(body, boundary, limits), unread))
}

/// A file that has arrived and is not finished yet: until the body has ended well, it is still
/// nothing.
struct Received {
    name: String,
    seen: Seen,
    writer: Writer,
}

/// The first bytes of a part, as many as it takes to tell what it is.
async fn head(part: &mut Part<'_>) -> Result<Bytes> {
    let mut head = BytesMut::new();
    while head.len() < HEAD_BYTES {
        match part.chunk().await? {
            Some(chunk) => head.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(head.freeze())
}

/// Looks at a file as it comes by, and says in the end what it is.
#[derive(Default)]
pub(crate) struct Gate {
    head: Vec<u8>,
    tail: Vec<u8>,
    size: u64,
    marks: Marks,
    jpeg: Jpeg,
}

/// What a file is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) media_type: MediaType,
    /// Whether anything in it gives itself out as the signature of a PDF.
    pub(crate) has_marks: bool,
}

impl Gate {
    pub(crate) fn see(&mut self, chunk: &[u8]) {
        self.size += chunk.len() as u64;
        self.marks.see(chunk);
        self.jpeg.see(chunk);
        let room = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend_from_slice(&chunk[..room.min(chunk.len())]);
        let new = &chunk[chunk.len().saturating_sub(TAIL_BYTES)..];
        // Moved rarely: the tail is cut when it has grown to twice its size.
        if self.tail.len() + new.len() > 2 * TAIL_BYTES {
            let old = (self.tail.len() + new.len()).saturating_sub(TAIL_BYTES);
            self.tail.drain(..old.min(self.tail.len()));
        }
        self.tail.extend_from_slice(new);
    }

    /// 415 `unsupported_media_type` for what is not taken.
    pub(crate) fn verdict(&self) -> Result<Seen> {
        let media_type = rules::sniff(&self.head)?;
        let tail = &self.tail[self.tail.len().saturating_sub(TAIL_BYTES)..];
        rules::check_end(media_type, &self.head, tail, self.size)?;
        let pixels = match media_type {
            MediaType::Jpeg => self.jpeg.size(),
            other => picture::size(other, &self.head),
        };
        rules::check_pixels(pixels)?;
        Ok(Seen { media_type, has_marks: self.marks.are_any() })
    }
}

/// A part, which notes what the parser has given out of what it has taken in.
pub(crate) struct Part<'a> {
    pub(crate) field: Field<'a>,
    unread: Unread,
}

impl<'a> Part<'a> {
    pub(crate) fn new(field: Field<'a>, unread: &Unread) -> Self {
        Self { field, unread: unread.clone() }
    }

    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let chunk = self.field.chunk().await.map_err(broken)?;
        self.unread.clear();
        Ok(chunk)
    }
}

/// How many bytes the parser has taken in since it last gave a piece of a part out.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<AtomicU64>);

impl Unread {
    fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Hands on one chunk at a time, and none to a parser that gives nothing out for them.
///
/// The parser takes in all that it can get before it gives anything out: a pause after each
/// chunk keeps it from swallowing a body that comes in faster than the disk takes it. The pause
/// also hides a race of the parser, which takes a body that ends in the poll of its last chunk
/// for an incomplete one. And it would gather a preamble or the headers of a part without end,
/// looking through all of it again with each chunk.
struct OneByOne<S> {
    body: S,
    unread: Unread,
    rest: bool,
}

/// More than [`OVERHEAD_BYTES`] that belong to no part.
#[derive(Debug)]
struct Overlong;

impl std::fmt::Display for Overlong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what stands in front of a part is too long")
    }
}

impl std::error::Error for Overlong {}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl<S> Stream for OneByOne<S>
where
    S: Stream<Item = Result<Bytes, axum::Error>> + Unpin,
{
    type Item = Result<Bytes, Cause>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rest) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = std::task::ready!(self.body.poll_next_unpin(cx));
        self.rest = true;
        Poll::Ready(next.map(|chunk| {
            let chunk = chunk?;
            let before = self.unread.0.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if before > OVERHEAD_BYTES { Err(Overlong.into()) } else { Ok(chunk) }
        }))
    }
}

fn unexpected(part: &Field<'_>) -> Error {
    match part.name() {
        Some(FIELD) => Error::field("/file", "repeated", "send one file at a time"),
        other => {
            let name = other.unwrap_or_default();
            Error::field(format!("/{name}"), "unknown", "the only part is named \"file\"")
        }
    }
}

/// What the parser complains of, in our words.
pub(crate) fn broken(error: multer::Error) -> Error {
    use multer::Error as E;
    let too_large = "The body is larger than is allowed here.";
    match &error {
        E::StreamSizeExceeded { .. } | E::FieldSizeExceeded { .. } => {
            Error::invalid("payload_too_large", too_large)
        }
        E::StreamReadFailed(cause) if is_length_limit(cause.as_ref()) => {
            Error::invalid("payload_too_large", too_large)
        }
        E::StreamReadFailed(cause) if cause.is::<Overlong>() => {
            Error::invalid("invalid_multipart", "A part of the body has endless headers.")
        }
        E::StreamReadFailed(_) | E::IncompleteStream | E::IncompleteFieldData { .. } => {
            Error::invalid("broken_body", "The body did not arrive whole.").because(error)
        }
        _ => {
            let message = "The body is no valid multipart/form-data.";
            Error::invalid("invalid_multipart", message).because(error)
        }
    }
}

/// Whether the edge's own limit has cut the body off.
fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
