//! Reading: a small range comes as one piece, a large one piece by piece as it is asked for.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::Stream;
use http_body::{Body, Frame, SizeHint};
use kernel::{Error, Result};

use super::{Blobs, Key, Store, disk, s3};

/// Bytes of a blob: a [`Stream`] of pieces, and an HTTP body of known length.
///
/// Nothing is read ahead: a reader that stops asking holds one piece at most.
pub struct Content {
    left: u64,
    state: State,
    reading: Reading,
}

enum State {
    /// All of it, read when it was opened.
    Whole(Bytes),
    /// An open file, read from front to back.
    Idle(File),
    Reading(BoxFuture<'static, Result<(File, Bytes)>>),
    /// As it comes from the object store.
    Coming(s3::Pieces),
    Over,
}

/// Counts as an open reader as long as it lives.
struct Reading(Blobs);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.0.reading.leave();
    }
}

impl Content {
    pub(super) async fn open(blobs: &Blobs, key: &Key, range: Range<u64>) -> Result<Self> {
        blobs.0.reading.enter();
        let reading = Reading(blobs.clone());
        let left = range.end.saturating_sub(range.start);
        let store = match &blobs.0.store {
            Store::Disk(store) => store.clone(),
            Store::S3(store) => {
                let state = State::Coming(store.open(key, range).await?);
                return Ok(Self { left, state, reading });
            }
        };
        let (of, key) = (blobs.clone(), key.clone());
        let state = blobs
            .call(move || {
                let mut file = store.read(&key)?;
                if range.start > 0 {
                    file.seek(SeekFrom::Start(range.start)).map_err(disk::cannot_read)?;
                }
                if left <= of.0.reading.share() as u64 {
                    piece(&mut file, left as usize).map(State::Whole)
                } else {
                    Ok(State::Idle(file))
                }
            })
            .await?;
        Ok(Self { left, state, reading })
    }

    /// How many bytes are still to come.
    pub fn len(&self) -> u64 {
        self.left
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Whole(bytes) if !bytes.is_empty() => {
                    self.left = 0;
                    return Poll::Ready(Some(Ok(bytes)));
                }
                State::Idle(file) if self.left > 0 => {
                    let next = next(self.reading.0.clone(), file, self.left);
                    self.state = State::Reading(Box::pin(next));
                }
                State::Reading(mut reading) => match reading.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(Ok((file, bytes))) => {
                        self.left = self.left.saturating_sub(bytes.len() as u64);
                        self.state = State::Idle(file);
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                },
                State::Coming(mut pieces) => {
                    let next = pieces.as_mut().poll_next(cx);
                    if let Poll::Ready(None | Some(Err(_))) = next {
                        return self.ended(next);
                    }
                    self.state = State::Coming(pieces);
                    if let Poll::Ready(Some(Ok(piece))) = &next {
                        self.left = self.left.saturating_sub(piece.len() as u64);
                    }
                    return next;
                }
                State::Whole(_) | State::Idle(_) | State::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Content {
    /// The end of what came: good only when nothing is missing.
    fn ended(&self, last: Poll<Option<Result<Bytes>>>) -> Poll<Option<Result<Bytes>>> {
        match last {
            Poll::Ready(None) if self.left > 0 => {
                let error = Error::internal("a blob is shorter than its row says");
                Poll::Ready(Some(Err(error)))
            }
            other => other,
        }
    }
}

async fn next(blobs: Blobs, mut file: File, left: u64) -> Result<(File, Bytes)> {
    let size = left.min(blobs.0.reading.share() as u64) as usize;
    blobs
        .call(move || {
            let bytes = piece(&mut file, size)?;
            Ok((file, bytes))
        })
        .await
}

/// Exactly `size` bytes from where the file stands.
fn piece(file: &mut File, size: usize) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(size);
    let read = file.take(size as u64).read_to_end(&mut bytes).map_err(disk::cannot_read)?;
    if read < size {
        return Err(Error::internal("a blob is shorter than its row says"));
    }
    Ok(bytes.into())
}

impl Stream for Content {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.poll(cx)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll(cx).map(|next| next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
