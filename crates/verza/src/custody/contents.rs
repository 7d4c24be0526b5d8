//! The list of what is in a backup: `contents.txt`, one line a file, in the order in which they
//! were written. Read and written a line at a time, since there may be millions.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use kernel::{Error, Result};
use platform::blob::{Key, Stored};
use sha2::{Digest, Sha256};

use super::{cannot_read, cannot_write, manifest};

const NAME: &str = "contents.txt";
/// Read at once of a file.
const PIECE_BYTES: usize = 256 * 1024;

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub sha256: [u8; 32],
    /// In bytes.
    pub size: u64,
    /// Below the backup, with slashes.
    pub path: String,
}

impl Item {
    /// Where a blob is in a backup, as in a data folder.
    pub fn of_blob(blob: &Stored) -> Self {
        Self { sha256: blob.sha256, size: blob.size, path: blob_path(&blob.key) }
    }

    /// A file that is there, as it is.
    pub fn of_file(folder: &Path, path: &str) -> Result<Self> {
        let (size, sha256) = sum(&folder.join(path))?;
        Ok(Self { sha256, size, path: path.to_owned() })
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let (hash, size, path) = (words.next()?, words.next()?, words.next()?);
        let mut sha256 = [0; 32];
        hex::decode_to_slice(hash, &mut sha256).ok()?;
        // Nothing that a list says may lead out of the backup.
        let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        (inside && !path.is_empty()).then_some(())?;
        Some(Self { sha256, size: size.parse().ok()?, path: path.to_owned() })
    }
}

/// Where a blob is below a data folder.
pub fn blob_path(key: &Key) -> String {
    let key = key.as_str();
    format!("blobs/{}/{key}", &key[..2])
}

/// The size and the hash of a file.
pub fn sum(path: &Path) -> Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let size = stream(path, |piece| {
        hash.update(piece);
        Ok(())
    })?;
    Ok((size, hash.finalize().into()))
}

/// Copies a file, and answers its size and its hash. What was written is on disk then.
pub fn copy(from: &Path, to: &Path) -> Result<(u64, [u8; 32])> {
    let failed = |error: std::io::Error| cannot_write(to, &error);
    let mut target = File::create(to).map_err(failed)?;
    let mut hash = Sha256::new();
    let size = stream(from, |piece| {
        hash.update(piece);
        target.write_all(piece).map_err(failed)
    })?;
    target.sync_all().map_err(failed)?;
    Ok((size, hash.finalize().into()))
}

fn stream(path: &Path, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let failed = |error: std::io::Error| cannot_read(path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut size = 0;
    loop {
        let read = file.read(&mut piece).map_err(failed)?;
        if read == 0 {
            return Ok(size);
        }
        size += read as u64;
        take(piece.get(..read).unwrap_or_default())?;
    }
}

/// The list being written.
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    files: u64,
    bytes: u64,
}

impl Writer {
    pub fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let file = File::create(&path).map_err(|error| cannot_write(&path, &error))?;
        let file = BufWriter::new(file);
        Ok(Self { path, file, hash: Sha256::new(), files: 0, bytes: 0 })
    }

    pub fn add(&mut self, item: &Item) -> Result<()> {
        let line = format!("{} {} {}\n", hex::encode(item.sha256), item.size, item.path);
        self.hash.update(&line);
        self.files += 1;
        self.bytes += item.size;
        let written = self.file.write_all(line.as_bytes());
        written.map_err(|error| cannot_write(&self.path, &error))
    }

    /// Ends the list, once it is on disk.
    pub fn finish(self) -> Result<manifest::Contents> {
        let Self { path, file, hash, files, bytes } = self;
        let synced = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all());
        synced.map_err(|error| cannot_write(&path, &error))?;
        Ok(manifest::Contents { files, bytes, sha256: hex::encode(hash.finalize()) })
    }
}

/// The list being read.
pub struct Reader {
    path: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    number: u64,
}

impl Reader {
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let file = File::open(&path).map_err(|error| cannot_read(&path, &error))?;
        Ok(Self { path, lines: BufReader::new(file).lines(), number: 0 })
    }

    /// The hash of the list itself.
    pub fn sha256(folder: &Path) -> Result<String> {
        sum(&folder.join(NAME)).map(|(_, hash)| hex::encode(hash))
    }
}

impl Iterator for Reader {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        self.number += 1;
        let item = line.map_err(|error| cannot_read(&self.path, &error)).and_then(|line| {
            Item::parse(&line).ok_or_else(|| {
                let message = format!("Line {} of {} is none.", self.number, self.path.display());
                Error::invalid("broken_contents", message)
            })
        });
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_leads_nowhere_outside() {
        let hash = "00".repeat(32);
        assert!(Item::parse(&format!("{hash} 1 blobs/ab/cd")).is_some());
        for path in ["../x", "/etc/passwd", "blobs/../../x", ""] {
            assert_eq!(Item::parse(&format!("{hash} 1 {path}")), None, "{path}");
        }
        assert_eq!(Item::parse(&format!("{hash} x blobs/ab")), None);
        assert_eq!(Item::parse("00 1 blobs/ab"), None);
    }
}
