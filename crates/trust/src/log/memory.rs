//! What a machine remembers of the log apart from the database: the last checkpoint that it knows
//! to be published. A database that was set back does not take this along.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use kernel::{Error, Result};

/// A checkpoint is a few lines; a file that is longer is none of ours.
const LENGTH_MAX: u64 = 64 << 10;

/// The file with the checkpoint. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory(PathBuf);

impl Memory {
    /// In this folder, which must be there when something is to be kept.
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("log.checkpoint"))
    }

    /// What was kept last; nothing on a machine that is new to the log.
    pub fn recall(&self) -> Result<Option<String>> {
        match fs::metadata(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(error)),
            Ok(found) if found.len() > LENGTH_MAX => {
                return Err(self.unusable(std::io::Error::other("it is no checkpoint")));
            }
            Ok(_) => {}
        }
        fs::read_to_string(&self.0).map(Some).map_err(|error| self.unusable(error))
    }

    /// Keeps a checkpoint in the place of the last one, whole or not at all.
    pub fn keep(&self, checkpoint: &str) -> Result<()> {
        replace(&self.0, checkpoint.as_bytes()).map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: std::io::Error) -> Error {
        let what = format!("The file {} cannot be used: {error}.", self.0.display());
        Error::unavailable("unusable_file", what)
    }
}

/// Writes a file beside its place, has it on disk, and puts it there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
