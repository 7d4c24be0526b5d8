//! Blobs: bytes under a key, written once, read in ranges, deleted whole.
//!
//! - Blobs are files of the local disk, or objects of an S3 bucket; everybody else cannot tell.
//! - Writing is a stream, hashed on the way. On disk it goes into a temporary file beside the
//!   store, which is synced, renamed into place and synced again with its folder; in a bucket it
//!   goes part by part. [`Writer::finish`] answers when the bytes would survive a power cut. Each
//!   byte is written once.
//! - A writer that is dropped leaves nothing behind. What a crash leaves is swept.
//! - A blob has a key of its own, also when another one holds the same bytes: deleting one never
//!   has to ask about another.
//! - Memory is bounded: all writers together, and all readers together, share a budget of
//!   buffers, and file calls run a few at a time off the async workers.

mod disk;
#[cfg(test)]
mod faults;
mod inbox;
mod reader;
mod s3;
#[cfg(any(test, feature = "testing-s3"))]
mod standin;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use kernel::{Error, Result, Timestamp, World};
use tokio::sync::Semaphore;

pub use inbox::{Form, Inbox, Presigned, Slot};
pub use reader::Content;
pub use s3::{Encryption, S3Options};
#[cfg(any(test, feature = "testing-s3"))]
pub use standin::S3Server;
pub use writer::{Stored, Writer};

/// File calls that run at the same time. More would only queue up in the disk.
const CALLS_MAX: usize = 16;
/// Of writers: large enough to make the calls cheap, and never too small to be useful.
const WRITERS: Buffers = Buffers { all: 12 << 20, least: 32 << 10, most: 256 << 10 };
/// Of readers: what the kernel has in memory is read without a call of its own, so that small pieces
/// cost little, and many slow readers hold little.
const READERS: Buffers = Buffers { all: 4 << 20, least: 16 << 10, most: 64 << 10 };

/// How many bytes the buffers of all streams have together, and that of one at least and at most.
#[derive(Debug, Clone, Copy)]
struct Buffers {
    all: usize,
    least: usize,
    most: usize,
}

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

/// Every place that blobs can be kept in.
enum Store {
    Disk(Arc<disk::Disk>),
    S3(Arc<s3::S3>),
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
        Ok(Self::over(Store::Disk(Arc::new(disk::Disk::open(folder.into())?)), world))
    }

    /// Blobs in a bucket, which must be there. Nothing is asked of it yet; fails for an address
    /// that is none.
    pub fn on_s3(options: S3Options, world: World) -> Result<Self> {
        let store = s3::S3::new(options, world.clone())?;
        Ok(Self::over(Store::S3(Arc::new(store)), world))
    }

    fn over(store: Store, world: World) -> Self {
        Self(Arc::new(Inner {
            store,
            world,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            writing: Budget::of(WRITERS),
            reading: Budget::of(READERS),
        }))
    }

    /// Where clients may put bytes by themselves; none on disk.
    pub fn inbox(&self) -> Option<Inbox> {
        match &self.0.store {
            Store::Disk(_) => None,
            Store::S3(store) => Some(Inbox(Arc::clone(store))),
        }
    }

    /// Begins a blob of at most `limit` bytes.
    pub async fn writer(&self, limit: u64) -> Result<Writer> {
        Writer::begin(self.clone(), Key::new(&self.0.world), limit).await
    }

    /// Copies a blob of this size into another store, under its own key. Nobody else may write
    /// that key there meanwhile.
    pub async fn copy_to(&self, other: &Self, key: &Key, size: u64) -> Result<Stored> {
        let mut content = self.open(key, 0..size).await?;
        let mut writer = Writer::begin(other.clone(), key.clone(), size).await?;
        while let Some(piece) = content.next().await {
            writer.write(piece?).await?;
        }
        writer.finish().await
    }

    /// Whether a blob is there and has at least this size, which is not zero.
    pub async fn has(&self, key: &Key, size: u64) -> bool {
        let Ok(mut last) = self.open(key, size.saturating_sub(1)..size).await else {
            return false;
        };
        matches!(last.next().await, Some(Ok(_)))
    }

    /// Whether the store answers: the folder is there, or the bucket is reached.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn probe(&self) -> Result<()> {
        match &self.0.store {
            Store::Disk(disk) => {
                let disk = Arc::clone(disk);
                self.call(move || disk.probe()).await
            }
            Store::S3(store) => match store.open(&Key("0".repeat(32)), 0..1).await {
                // Nobody has that key, and to be told so is an answer.
                Err(error) if error.kind() == kernel::Kind::Unavailable => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Opens a range of a blob, which must lie within it.
    pub async fn open(&self, key: &Key, range: Range<u64>) -> Result<Content> {
        Content::open(self, key, range).await
    }

    /// Removes a blob. Removing one that is not there is no error: a job may run twice.
    pub async fn delete(&self, key: &Key) -> Result<()> {
        match &self.0.store {
            Store::Disk(disk) => {
                let (disk, key) = (Arc::clone(disk), key.clone());
                self.call(move || disk.delete(&key)).await
            }
            Store::S3(store) => store.delete(key).await,
        }
    }

    /// Removes what writers had begun and not touched since `before`: what a crash leaves. Answers
    /// how many there were. In a bucket a rule of its own is for that
    /// (`AbortIncompleteMultipartUpload`), since not every store lists what was begun.
    pub async fn sweep(&self, before: Timestamp) -> Result<u64> {
        match &self.0.store {
            Store::Disk(disk) => {
                let disk = Arc::clone(disk);
                self.call(move || disk.sweep(before)).await
            }
            Store::S3(_) => Ok(0),
        }
    }

    /// The keys of one 256th of all blobs, those that were written before `before`; for finding
    /// blobs that nothing refers to.
    pub async fn slice(&self, slice: u8, before: Timestamp) -> Result<Vec<Key>> {
        match &self.0.store {
            Store::Disk(disk) => {
                let disk = Arc::clone(disk);
                self.call(move || disk.slice(slice, before)).await
            }
            Store::S3(store) => store.slice(slice, before).await,
        }
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
}

/// Shares a fixed number of bytes among however many streams are open.
struct Budget {
    open: AtomicUsize,
    buffers: Buffers,
}

impl Budget {
    const fn of(buffers: Buffers) -> Self {
        Self { open: AtomicUsize::new(0), buffers }
    }

    fn enter(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many bytes each stream may hold right now.
    fn share(&self) -> usize {
        let Buffers { all, least, most } = self.buffers;
        (all / self.open.load(Ordering::Relaxed).max(1)).clamp(least, most)
    }
}
