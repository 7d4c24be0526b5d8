//! `bare-sha-write`: read, hash, write and sync a file, and nothing else.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Work, crowd};
use crate::{Context, Failure, Result};

/// A source file, and the folder its copies go to.
pub struct BareUpload {
    source: PathBuf,
    folder: PathBuf,
    hash: Vec<u8>,
}

impl BareUpload {
    /// Makes the source, `size` bytes that do not compress, in `folder`.
    pub fn create(folder: &Path, size: usize) -> Result<BareUpload> {
        let source = folder.join("source");
        let mut random = crate::random::Random::new(size as u64);
        let bytes: Vec<u8> =
            (0..size.div_ceil(8)).flat_map(|_| random.number().to_le_bytes()).collect();
        let bytes = &bytes[..size];
        fs::write(&source, bytes).context(source.display())?;
        let hash = Sha256::digest(bytes).to_vec();
        Ok(BareUpload { source, folder: folder.to_owned(), hash })
    }

    /// Copies on `threads` threads for `length`; a unit is a file. Each copy is a new file, as
    /// each upload is one; they are removed outside of the measured time.
    pub fn run(&self, threads: usize, length: Duration) -> Result<Work> {
        let copies = self.folder.join("copies");
        fs::create_dir(&copies)?;
        let work = crowd(threads, length, |number| {
            let (copies, mut count) = (copies.clone(), 0_u64);
            Ok(move || {
                count += 1;
                self.copy(&copies.join(format!("{number}-{count}")))
            })
        });
        fs::remove_dir_all(&copies)?;
        work
    }

    /// The bytes that are copied.
    pub fn source(&self) -> &Path {
        &self.source
    }

    fn copy(&self, target: &Path) -> Result<()> {
        let mut input = File::open(&self.source)?;
        let mut output = File::create_new(target)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = input.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            output.write_all(&buffer[..count])?;
        }
        output.sync_all()?;
        if hasher.finalize().as_slice() == self.hash {
            return Ok(());
        }
        Err(Failure::new("the copy has another hash than its source"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_equal_their_source() {
        let folder = tempfile::tempdir().unwrap();
        let upload = BareUpload::create(folder.path(), 1_000_003).unwrap();
        assert!(upload.run(2, Duration::from_millis(1)).unwrap().units >= 2);
        assert!(!folder.path().join("copies").exists());
        let copy = folder.path().join("copy");
        upload.copy(&copy).unwrap();
        let source = fs::read(upload.source()).unwrap();
        assert_eq!(source.len(), 1_000_003);
        assert!(fs::read(copy).unwrap() == source);
    }
}
