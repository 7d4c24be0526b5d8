//! Writing: chunks in, hashed and written block by block.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
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
    /// What has come in and not been handed on yet.
    buffer: Vec<u8>,
    /// None only while a call has it: a caller that stops waiting leaves it to the call, and
    /// with it the temporary file goes.
    pub(super) sink: Option<Sink>,
}

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
    fn write(&mut self, block: &[u8]) -> Result<()> {
        self.hash.update(block);
        self.incoming.file.write_all(block).map_err(disk::cannot_write)
    }
}

pub(super) struct Bucket {
    upload: s3::Upload,
    hash: Sha256,
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
            Store::S3(store) => Sink::S3(Box::new(Bucket { upload: store.create(&key), hash })),
        };
        blobs.0.writing.enter();
        Ok(Self { blobs, key, limit, taken: 0, buffer: Vec::new(), sink: Some(sink) })
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
        let block = self.blobs.0.writing.share();
        if self.buffer.is_empty() && chunk.len() >= block {
            return self.hand_on(chunk).await.map(drop);
        }
        self.buffer.extend_from_slice(&chunk);
        if self.buffer.len() < block {
            return Ok(());
        }
        let full = std::mem::take(&mut self.buffer);
        self.buffer = self.hand_on(full).await?;
        self.buffer.clear();
        Ok(())
    }

    /// Hashes a block and hands it to the store, and gives it back. On disk both happen off the
    /// async workers.
    async fn hand_on<B: Block>(&mut self, block: B) -> Result<B> {
        let (sink, block) = match self.take_sink()? {
            Sink::Disk(mut disk) => {
                let written = self.blobs.call(move || {
                    disk.write(block.as_ref())?;
                    Ok((disk, block))
                });
                let (disk, block) = written.await?;
                (Sink::Disk(disk), block)
            }
            Sink::S3(mut bucket) => {
                bucket.hash.update(block.as_ref());
                bucket.upload.write(Bytes::copy_from_slice(block.as_ref())).await?;
                (Sink::S3(bucket), block)
            }
        };
        self.sink = Some(sink);
        Ok(block)
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
        let rest = std::mem::take(&mut self.buffer);
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
                bucket.hash.update(&rest);
                bucket.upload.write(rest.into()).await?;
                bucket.upload.finish().await?;
                bucket.hash.finalize().into()
            }
        };
        Ok(Stored { key: self.key.clone(), size: self.taken, sha256 })
    }
}

/// Bytes that can be handed to another thread and back.
trait Block: AsRef<[u8]> + Send + 'static {}
impl Block for Bytes {}
impl Block for Vec<u8> {}

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
