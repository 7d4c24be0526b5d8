//! Writing: chunks in, hashed and written block by block.

use std::io::Write;

use bytes::Bytes;
use kernel::{Error, Result};
use sha2::{Digest, Sha256};

use super::disk::{self, Incoming};
use super::{Blobs, Key};

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

pub(super) struct Sink {
    pub(super) incoming: Incoming,
    hash: Sha256,
}

impl Sink {
    fn write(&mut self, block: &[u8]) -> Result<()> {
        self.hash.update(block);
        self.incoming.file.write_all(block).map_err(disk::cannot_write)
    }
}

impl Writer {
    pub(super) async fn begin(blobs: Blobs, limit: u64) -> Result<Self> {
        let key = Key::new(&blobs.0.world);
        let (of, named) = (blobs.clone(), key.clone());
        let incoming = blobs.call(move || of.disk().create(&named)).await?;
        blobs.0.writing.enter();
        let sink = Some(Sink { incoming, hash: Sha256::new() });
        Ok(Self { blobs, key, limit, taken: 0, buffer: Vec::new(), sink })
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

    /// Hashes and writes a block off the async workers, and gives it back.
    async fn hand_on<B: AsRef<[u8]> + Send + 'static>(&mut self, block: B) -> Result<B> {
        let mut sink = self.take_sink()?;
        let (sink, block) = self
            .blobs
            .call(move || {
                sink.write(block.as_ref())?;
                Ok((sink, block))
            })
            .await?;
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

    /// Writes the rest, syncs file and folder, and gives the blob its place. When this answers,
    /// the bytes are on disk.
    pub async fn finish(mut self) -> Result<Stored> {
        let mut sink = self.take_sink()?;
        let rest = std::mem::take(&mut self.buffer);
        let (blobs, key) = (self.blobs.clone(), self.key.clone());
        let sha256 = self
            .blobs
            .call(move || {
                sink.write(&rest)?;
                blobs.disk().keep(sink.incoming, &key)?;
                Ok(sink.hash.finalize().into())
            })
            .await?;
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
