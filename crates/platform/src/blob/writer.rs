//! Writing: chunks in, hashed and written block by block.

use std::io::Write;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kernel::{Error, Result};
use sha2::{Digest, Sha256};

use super::disk::{self, Incoming};
use super::{Blobs, Key, Store, s3};

/// A blob being written. Dropping it leaves nothing behind.
pub struct Writer {
    blobs: Blobs,
    key: Key,
    limit: u64,
    taken: u64,
    /// What has come in and not been handed on yet, and behind it what came in small pieces.
    pieces: Vec<Bytes>,
    small: BytesMut,
    /// How many bytes these are.
    held: usize,
    /// None only while a call has it: a caller that stops waiting leaves it to the call, and
    /// with it the temporary file goes.
    pub(super) sink: Option<Sink>,
}

/// What is at least as long as this is kept as it came; what is shorter is copied together, since it
/// may be a little of something large.
const PIECE_MIN: usize = 16 * 1024;

/// What has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub key: Key,
    /// In bytes.
    pub size: u64,
    pub sha256: [u8; 32],
}

/// Where the bytes go.
pub(super) enum Sink {
    Disk(Disk),
    S3(Box<Bucket>),
}

pub(super) struct Disk {
    store: Arc<disk::Disk>,
    pub(super) incoming: Incoming,
    hash: Sha256,
}

impl Disk {
    fn write(&mut self, pieces: &[Bytes]) -> Result<()> {
        for piece in pieces {
            self.hash.update(piece);
            self.incoming.file.write_all(piece).map_err(disk::cannot_write)?;
        }
        Ok(())
    }
}

pub(super) struct Bucket {
    upload: s3::Upload,
    hash: Sha256,
}

impl Bucket {
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        for piece in pieces {
            self.hash.update(&piece);
            self.upload.write(piece).await?;
        }
        Ok(())
    }
}

impl Writer {
    pub(super) async fn begin(blobs: Blobs, key: Key, limit: u64) -> Result<Self> {
        let hash = Sha256::new();
        let sink = match &blobs.0.store {
            Store::Disk(store) => {
                let (of, named) = (Arc::clone(store), key.clone());
                let incoming = blobs.call(move || of.create(&named)).await?;
                Sink::Disk(Disk { store: Arc::clone(store), incoming, hash })
            }
            Store::S3(store) => {
                Sink::S3(Box::new(Bucket { upload: store.create(&key).await?, hash }))
            }
        };
        blobs.0.writing.enter();
        let (pieces, small) = (Vec::new(), BytesMut::new());
        Ok(Self { blobs, key, limit, taken: 0, pieces, small, held: 0, sink: Some(sink) })
    }

    /// Takes the next bytes; waits for the disk, and so holds back whoever sends them.
    ///
    /// Fails with `payload_too_large` beyond the limit, and with `storage_full` or
    /// `storage_unavailable` when the disk does not take them. After a failure the writer can
    /// only be dropped.
    pub async fn write(&mut self, chunk: Bytes) -> Result<()> {
        self.taken = self.taken.saturating_add(chunk.len() as u64);
        if self.taken > self.limit {
            return Err(too_large(self.limit));
        }
        self.held += chunk.len();
        if chunk.len() < PIECE_MIN {
            self.small.extend_from_slice(&chunk);
        } else {
            self.gather_small();
            self.pieces.push(chunk);
        }
        if self.held < self.blobs.0.writing.share() {
            return Ok(());
        }
        let pieces = self.take_pieces();
        self.hand_on(pieces).await
    }

    fn gather_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }

    fn take_pieces(&mut self) -> Vec<Bytes> {
        self.gather_small();
        self.held = 0;
        std::mem::take(&mut self.pieces)
    }

    /// Hashes what has come in and hands it to the store. On disk both happen off the async workers.
    async fn hand_on(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        let sink = match self.take_sink()? {
            Sink::Disk(mut disk) => {
                let written = self.blobs.call(move || disk.write(&pieces).map(|()| disk));
                Sink::Disk(written.await?)
            }
            Sink::S3(mut bucket) => {
                bucket.write(pieces).await?;
                Sink::S3(bucket)
            }
        };
        self.sink = Some(sink);
        Ok(())
    }

    fn take_sink(&mut self) -> Result<Sink> {
        self.sink.take().ok_or_else(|| Error::internal("a writer was used after it had failed"))
    }

    /// How many bytes it has taken.
    pub fn size(&self) -> u64 {
        self.taken
    }

    /// Hands on the rest and gives the blob its place. When this answers, the bytes are on disk
    /// (file and folder synced), or the object store has them.
    pub async fn finish(mut self) -> Result<Stored> {
        let rest = self.take_pieces();
        let sha256 = match self.take_sink()? {
            Sink::Disk(mut disk) => {
                let key = self.key.clone();
                let kept = self.blobs.call(move || {
                    disk.write(&rest)?;
                    disk.store.keep(disk.incoming, &key)?;
                    Ok(disk.hash.finalize().into())
                });
                kept.await?
            }
            Sink::S3(mut bucket) => {
                bucket.write(rest).await?;
                bucket.upload.finish().await?;
                bucket.hash.finalize().into()
            }
        };
        Ok(Stored { key: self.key.clone(), size: self.taken, sha256 })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.blobs.0.writing.leave();
    }
}

fn too_large(limit: u64) -> Error {
    let mib = limit / (1024 * 1024);
    let size = if mib > 0 { format!("{mib} MiB") } else { format!("{limit} bytes") };
    Error::invalid("payload_too_large", format!("The file is larger than {size}."))
}
