//! Custody: everything that a platform holds, kept a second time, brought back, and moved.
//!
//! A backup is a folder that is shaped like a data folder, with a manifest:
//!
//! | | |
//! |---|---|
//! | `verza.db` | the rows at one moment, as an embedded database, whatever they were in |
//! | `blobs/` | every file that this database refers to |
//! | `contents.txt` | of each of these: SHA-256, size and path, one a line |
//! | `manifest.json` | format, release, time, sums of all tables, the log's head, the hash of the contents |
//! | `manifest.mac` | HMAC-SHA-256 of the manifest under a key derived from the master key |
//! | `master.key` | only where it was asked for |
//!
//! - A backup is there whole or not at all: it is made beside its place and renamed at the end.
//!   So is what is restored.
//! - A file that the platform has lost, or has no longer as it was uploaded, is named in the
//!   manifest, and costs no other file its backup.
//! - Files are copied before the database and what has come in meanwhile after it, so that no row
//!   of the copy is without its bytes.
//! - The master key is not inside unless that was asked for: who finds the backup then has
//!   uploaded files and personal data, but neither signing keys nor what is sealed.
//! - Nothing is proved by reading half of it: [`check::check`] reads every byte.

pub mod check;
pub mod contents;
pub mod create;
pub mod manifest;
pub mod relocate;
pub mod restore;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use kernel::{Error, Result, World};

/// The database inside of a backup.
pub(crate) const DATABASE: &str = "verza.db";
/// The master key inside of a backup, where it was asked for.
pub(crate) const MASTER_KEY: &str = "master.key";

/// What the manifest is authenticated under.
const MAC_LABEL: &str = "custody/backup";

/// A folder being made beside the place that it is to have; gone when dropped before that. Locked,
/// so that what a killed process has left is told from what another one is still making.
struct Draft {
    path: PathBuf,
    place: PathBuf,
    _lock: fs::File,
    is_kept: bool,
}

/// What the name of a draft ends with.
const PARTIAL: &str = ".partial";

impl Draft {
    /// Begins a folder for a place at which there is nothing, or an empty folder.
    fn beside(place: &Path, world: &World) -> Result<Self> {
        refuse_what_is_there(place)?;
        let odd = || {
            let message = format!("{} is no name for a folder.", place.display());
            Error::invalid("invalid_target", message)
        };
        let name = place.file_name().ok_or_else(odd)?.to_string_lossy();
        remove_left_over(place, &name);
        let beside = format!(".{name}.{}{PARTIAL}", hex::encode(world.random::<4>()));
        let path = place.with_file_name(beside);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        let locked = made.and_then(|()| fs::File::open(&path)).inspect(|folder| {
            // A file system without locks: then nobody else removes it either.
            let _ = folder.try_lock();
        });
        let lock = locked.map_err(|error| cannot_write(place, &error))?;
        Ok(Self { path, place: place.to_owned(), _lock: lock, is_kept: false })
    }

    /// Gives the folder its place, once all that is in it is on disk.
    fn keep(mut self) -> Result<()> {
        let Self { path, place, .. } = &self;
        let finish = || -> std::io::Result<()> {
            sync(path)?;
            // An empty folder may stand there: a rename takes its place.
            fs::rename(path, place)?;
            match place.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
                _ => sync(Path::new(".")),
            }
        };
        finish().map_err(|error| cannot_write(place, &error))?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed is seen by its name.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes the drafts for a place whose makers were killed. What cannot be removed stays, and is seen
/// by its name.
fn remove_left_over(place: &Path, name: &str) {
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(parent.unwrap_or(Path::new("."))) else { return };
    for entry in entries.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let chance = found
            .strip_prefix(&format!(".{name}."))
            .and_then(|found| found.strip_suffix(PARTIAL))
            .is_some_and(|it| it.len() == 8 && it.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let is_free = || fs::File::open(entry.path()).is_ok_and(|it| it.try_lock().is_ok());
        if chance && is_free() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn sync(path: &Path) -> std::io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Syncs every folder below one.
fn sync_folders(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    sync(folder)
}

fn refuse_what_is_there(place: &Path) -> Result<()> {
    let nothing = match fs::read_dir(place) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(cannot_write(place, &error)),
    };
    if nothing {
        return Ok(());
    }
    let message =
        format!("{} is not empty: choose a folder that is not there yet.", place.display());
    Err(Error::conflict("target_not_empty", message))
}

pub(crate) fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    let message = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            format!("The disk of {} is full: make room, or choose another place.", path.display())
        }
        _ => format!("{} cannot be written: {error}. Choose another place.", path.display()),
    };
    Error::unavailable("target_unwritable", message)
}

pub(crate) fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("{} cannot be read: {error}.", path.display());
    Error::unavailable("file_unreadable", message)
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal("a file call died").because(error))?
}
