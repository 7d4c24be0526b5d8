//! Blobs: bytes under a key, written once, read in ranges, deleted whole.
//!
//! - Writing is a stream into a temporary file beside the store, hashed on the way, synced,
//!   renamed into place and synced again with its folder: [`Writer::finish`] answers when the
//!   bytes would survive a power cut. Each byte is written to disk once.
//! - A writer that is dropped leaves nothing behind. What a crash leaves is swept.
//! - A blob has a key of its own, also when another one holds the same bytes: deleting one never
//!   has to ask about another.
//! - Memory is bounded: all writers together, and all readers together, share a budget of
//!   buffers, and file calls run a few at a time off the async workers.

mod disk;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kernel::{Error, Result, Timestamp, World};
use tokio::sync::Semaphore;

pub use reader::Content;
pub use writer::{Stored, Writer};

/// File calls that run at the same time. More would only queue up in the disk.
const CALLS_MAX: usize = 16;
/// Buffers of all writers together, and of all readers together, in bytes.
const BUFFERS_BYTES: usize = 12 * 1024 * 1024;
/// One buffer, in bytes: large enough to make the calls cheap, and never too small to be useful.
const BUFFER_BYTES: Range<usize> = 32 * 1024..256 * 1024;

/// Where blobs are. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

struct Inner {
    store: Store,
    world: World,
    calls: Arc<Semaphore>,
    writing: Budget,
    reading: Budget,
}

/// Every place that blobs can be kept in. An object store (S3) becomes a second one.
enum Store {
    Disk(disk::Disk),
}

/// Names one blob: 32 hexadecimal digits, chosen at random.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    fn new(world: &World) -> Self {
        Self(hex::encode(world.random::<16>()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fits =
            text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        // Nothing else becomes a path, whatever stands in the database.
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::internal(format!("{text:?} is no key of a blob")))
        }
    }
}

impl Blobs {
    /// Blobs in a folder of the local disk, which is made if it is not there. Fails when the
    /// folder cannot be written.
    pub fn on_disk(folder: impl Into<PathBuf>, world: World) -> Result<Self> {
        let store = Store::Disk(disk::Disk::open(folder.into())?);
        Ok(Self(Arc::new(Inner {
            store,
            world,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            writing: Budget::default(),
            reading: Budget::default(),
        })))
    }

    /// Begins a blob of at most `limit` bytes.
    pub async fn writer(&self, limit: u64) -> Result<Writer> {
        Writer::begin(self.clone(), limit).await
    }

    /// Opens a range of a blob, which must lie within it.
    pub async fn open(&self, key: &Key, range: Range<u64>) -> Result<Content> {
        Content::open(self, key, range).await
    }

    /// Removes a blob. Removing one that is not there is no error: a job may run twice.
    pub async fn delete(&self, key: &Key) -> Result<()> {
        let (blobs, key) = (self.clone(), key.clone());
        self.call(move || match &blobs.0.store {
            Store::Disk(disk) => disk.delete(&key),
        })
        .await
    }

    /// Removes what writers had begun and not touched since `before`: what a crash leaves.
    /// Answers how many there were.
    pub async fn sweep(&self, before: Timestamp) -> Result<u64> {
        let blobs = self.clone();
        self.call(move || match &blobs.0.store {
            Store::Disk(disk) => disk.sweep(before),
        })
        .await
    }

    /// The keys of one 256th of all blobs, those that were written before `before`; for finding
    /// blobs that nothing refers to.
    pub async fn slice(&self, slice: u8, before: Timestamp) -> Result<Vec<Key>> {
        let blobs = self.clone();
        self.call(move || match &blobs.0.store {
            Store::Disk(disk) => disk.slice(slice, before),
        })
        .await
    }

    /// Runs a file call off the async workers, a bounded number of them at a time.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.0.calls).acquire_owned().await;
        let permit = permit.map_err(|error| Error::internal("file calls ended").because(error))?;
        let done = tokio::task::spawn_blocking(move || {
            // Given back when the call ends, and not when its caller stops waiting for it.
            let _permit = permit;
            work()
        });
        done.await.map_err(|error| Error::internal("a file call died").because(error))?
    }

    fn disk(&self) -> &disk::Disk {
        match &self.0.store {
            Store::Disk(disk) => disk,
        }
    }
}

/// Shares a fixed number of bytes among however many streams are open.
#[derive(Default)]
struct Budget(AtomicUsize);

impl Budget {
    fn enter(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many bytes each stream may hold right now.
    fn share(&self) -> usize {
        let open = self.0.load(Ordering::Relaxed).max(1);
        (BUFFERS_BYTES / open).clamp(BUFFER_BYTES.start, BUFFER_BYTES.end)
    }
}
