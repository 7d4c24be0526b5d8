//! Blobs as files: `incoming/` for those being written, `blobs/ab/` for those whose key begins
//! with `ab`. All calls block.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use kernel::{Error, Result, Timestamp};

use super::Key;

pub(super) struct Disk {
    incoming: PathBuf,
    blobs: PathBuf,
}

impl Disk {
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        let disk = Self { incoming: root.join("incoming"), blobs: root.join("blobs") };
        disk.make_folders().map_err(|error| {
            let what = format!("The folder for files, {}, cannot be made.", root.display());
            Error::unavailable("storage_unavailable", what).because(error)
        })?;
        Ok(disk)
    }

    /// All 256 folders are made before the first blob, so that none of them can be lost to a
    /// power cut together with a blob in it.
    fn make_folders(&self) -> io::Result<()> {
        fs::create_dir_all(&self.incoming)?;
        if self.blobs.join("ff").exists() {
            return Ok(());
        }
        for number in 0..=u8::MAX {
            fs::create_dir_all(self.blobs.join(hex::encode([number])))?;
        }
        sync_folder(&self.blobs)
    }

    /// A new, empty file to write to, which is gone when it is dropped unless it is kept.
    pub(super) fn create(&self, key: &Key) -> Result<Incoming> {
        let path = self.incoming.join(key.as_str());
        let file = File::options().write(true).create_new(true).open(&path);
        let file = file.map_err(cannot_write)?;
        Ok(Incoming { file, path: Some(path) })
    }

    /// Syncs an incoming file, gives it its place, and syncs the folder.
    pub(super) fn keep(&self, mut incoming: Incoming, key: &Key) -> Result<()> {
        incoming.file.sync_all().map_err(cannot_write)?;
        if let Some(path) = &incoming.path {
            fs::rename(path, self.path(key)).map_err(cannot_write)?;
        }
        incoming.path = None;
        sync_folder(&self.folder(key)).map_err(cannot_write)
    }

    pub(super) fn read(&self, key: &Key) -> Result<File> {
        File::open(self.path(key)).map_err(|error| match error.kind() {
            // A row without its bytes: somebody has been at the folder.
            ErrorKind::NotFound => Error::internal("a blob is missing").because(error),
            _ => cannot_read(error),
        })
    }

    /// The same without ever waiting for the disk; none where it would have to.
    pub(super) fn read_now(&self, key: &Key) -> Option<File> {
        open_now(&self.path(key))
    }

    pub(super) fn probe(&self) -> Result<()> {
        fs::metadata(&self.blobs).map(drop).map_err(cannot_read)
    }

    pub(super) fn delete(&self, key: &Key) -> Result<()> {
        match fs::remove_file(self.path(key)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(cannot_write(error)),
        }
    }

    pub(super) fn sweep(&self, before: Timestamp) -> Result<u64> {
        let mut swept = 0;
        for path in older(&self.incoming, before).map_err(cannot_read)? {
            match fs::remove_file(&path) {
                Ok(()) => swept += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(cannot_write(error)),
            }
        }
        Ok(swept)
    }

    pub(super) fn slice(&self, slice: u8, before: Timestamp) -> Result<Vec<Key>> {
        let folder = self.blobs.join(hex::encode([slice]));
        match older(&folder, before) {
            Ok(paths) => Ok(paths.iter().filter_map(|path| key(path)).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(cannot_read(error)),
        }
    }

    fn folder(&self, key: &Key) -> PathBuf {
        self.blobs.join(&key.as_str()[..2])
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder(key).join(key.as_str())
    }
}

fn key(path: &Path) -> Option<Key> {
    path.file_name()?.to_str()?.parse().ok()
}

/// The files of a folder that were last written before a point in time.
fn older(folder: &Path, before: Timestamp) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let written = match entry.metadata() {
            Ok(metadata) => metadata.modified()?,
            // Finished or removed since the folder was read.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        if Timestamp::default() + since < before {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// What the kernel knows of a path without asking the disk.
#[cfg(target_os = "linux")]
fn open_now(path: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn open_now(_: &Path) -> Option<File> {
    None
}

/// Exactly `size` bytes from a place in a file, where the kernel has all of them in memory.
#[cfg(target_os = "linux")]
pub(super) fn piece_now(file: &File, at: u64, size: usize) -> Option<Bytes> {
    use rustix::io::{ReadWriteFlags, preadv2};
    let mut bytes = vec![0; size];
    let mut place = [io::IoSliceMut::new(&mut bytes)];
    let read = preadv2(file, &mut place, at, ReadWriteFlags::NOWAIT).ok()?;
    (read == size).then(|| bytes.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn piece_now(_: &File, _: u64, _: usize) -> Option<Bytes> {
    None
}

/// Makes a rename last: a file's name belongs to its folder.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only on Unix can a folder be opened and synced.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A file being written; removed when dropped unless it has been given its place.
pub(super) struct Incoming {
    pub(super) file: File,
    path: Option<PathBuf>,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed now is swept later.
            let _ = fs::remove_file(path);
        }
    }
}

pub(super) fn cannot_write(error: io::Error) -> Error {
    let (code, message) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
            "storage_full",
            "The disk for files is full: nothing was stored. The operator has to make room.",
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
            "storage_unavailable",
            "The folder for files may not be written: nothing was stored. The operator has to \
             set its permissions right.",
        ),
        _ => (
            "storage_unavailable",
            "The file could not be written: nothing was stored. The operator has to look at the \
             folder for files.",
        ),
    };
    Error::unavailable(code, message).retry_after(60).because(error)
}

pub(super) fn cannot_read(error: io::Error) -> Error {
    let message = "The file cannot be read right now.";
    Error::unavailable("storage_unavailable", message).retry_after(5).because(error)
}
