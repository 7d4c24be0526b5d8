//! Reading: a small range comes as one piece, a large one piece by piece as it is asked for. What the
//! kernel has in memory is read where it is asked for, the rest by a thread that may wait for the disk.

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
    /// An open file, read on from a place in it.
    Idle(File, u64),
    Reading(BoxFuture<'static, Result<(File, Bytes)>>, u64),
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
        let is_small = left <= blobs.0.reading.share() as u64;
        if let Some(file) = store.read_now(key) {
            let now = if is_small {
                disk::piece_now(&file, range.start, left as usize).map(State::Whole)
            } else {
                Some(State::Idle(file, range.start))
            };
            if let Some(state) = now {
                return Ok(Self { left, state, reading });
            }
        }
        let key = key.clone();
        let state = blobs
            .call(move || {
                let mut file = store.read(&key)?;
                if is_small {
                    piece(&mut file, range.start, left as usize).map(State::Whole)
                } else {
                    Ok(State::Idle(file, range.start))
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
                State::Idle(file, at) if self.left > 0 => {
                    let blobs = &self.reading.0;
                    let size = self.left.min(blobs.0.reading.share() as u64) as usize;
                    if let Some(bytes) = disk::piece_now(&file, at, size) {
                        return Poll::Ready(Some(Ok(self.read(file, at, bytes))));
                    }
                    let next = next(blobs.clone(), file, at, size);
                    self.state = State::Reading(Box::pin(next), at);
                }
                State::Reading(mut reading, at) => match reading.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.state = State::Reading(reading, at);
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Poll::Ready(Ok((file, bytes))) => {
                        return Poll::Ready(Some(Ok(self.read(file, at, bytes))));
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
                State::Whole(_) | State::Idle(..) | State::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Content {
    /// A piece was read from a place in the file; what comes next is behind it.
    fn read(&mut self, file: File, at: u64, bytes: Bytes) -> Bytes {
        let size = bytes.len() as u64;
        self.left = self.left.saturating_sub(size);
        self.state = State::Idle(file, at + size);
        bytes
    }

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

async fn next(blobs: Blobs, mut file: File, at: u64, size: usize) -> Result<(File, Bytes)> {
    blobs
        .call(move || {
            let bytes = piece(&mut file, at, size)?;
            Ok((file, bytes))
        })
        .await
}

/// Exactly `size` bytes from a place in the file.
fn piece(file: &mut File, at: u64, size: usize) -> Result<Bytes> {
    file.seek(SeekFrom::Start(at)).map_err(disk::cannot_read)?;
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
