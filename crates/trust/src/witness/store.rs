//! The witness's folder: its key, and the last checkpoint of each log.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use kernel::{Error, Result, World};

use super::log_name;
use crate::log::replace;

/// A folder that this process has for itself.
pub(super) struct Folder {
    path: PathBuf,
    /// Locked while the process lives.
    _lock: File,
}

impl Folder {
    pub(super) fn claim(path: &Path) -> Result<Self> {
        let unusable = |error| unusable(path, error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(path.join("witness.lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let what = format!("Another witness uses the folder {}.", path.display());
                Err(Error::unavailable("data_dir_in_use", what))
            }
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// The witness's key, which is made where there is none.
    pub(super) fn key(&self, world: &World) -> Result<SigningKey> {
        let path = self.path.join("witness.key");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let mut key = [0; 32];
                hex::decode_to_slice(text.trim(), &mut key).map_err(|_| {
                    let what = format!("{} does not hold a key.", path.display());
                    Error::unavailable("unusable_file", what)
                })?;
                Ok(SigningKey::from_bytes(&key))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key: [u8; 32] = world.random();
                self.write_key(&path, &key).map_err(|error| unusable(&path, error))?;
                Ok(SigningKey::from_bytes(&key))
            }
            Err(error) => Err(unusable(&path, error)),
        }
    }

    fn write_key(&self, path: &Path, key: &[u8; 32]) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        file.write_all(format!("{}\n", hex::encode(key)).as_bytes())?;
        file.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    /// The last checkpoint of a log, as it was signed; nothing of a log that was never seen.
    pub(super) fn last(&self, origin: &str) -> Result<Option<String>> {
        self.read(&log_name(origin))
    }

    /// The same by the name that the log's origin gives.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>> {
        // A name comes out of an address: 64 digits cannot lead out of the folder.
        let is_name = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_name {
            return Ok(None);
        }
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&path, error)),
        }
    }

    /// Keeps a checkpoint; it is on disk when this is done.
    pub(super) fn keep(&self, origin: &str, note: &str) -> Result<()> {
        let path = self.path.join(log_name(origin));
        replace(&path, note.as_bytes()).map_err(|error| unusable(&path, error))
    }
}

fn unusable(path: &Path, error: std::io::Error) -> Error {
    let what = format!("{} cannot be used: {error}.", path.display());
    Error::unavailable("unusable_folder", what)
}
