//! What the disk allows: the fsync sandwich and the commit model.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{Context, Result};

/// Appends and syncs 4 KiB at a time, to learn the disk's mood of this moment.
pub struct FsyncProbe {
    file: PathBuf,
    length: Duration,
}

impl FsyncProbe {
    /// A probe in `folder`, which has to be on the file system the measured data is on.
    pub fn new(folder: PathBuf, length: Duration) -> FsyncProbe {
        FsyncProbe { file: folder.join("fsync-probe"), length }
    }

    /// Appends with fdatasync a second.
    pub fn rate(&self) -> Result<f64> {
        const BLOCK: [u8; 4096] = [0xa5; 4096];
        // A fresh file each time, so that every append allocates, as that of a growing log does.
        let mut file = File::create(&self.file).context("the fsync probe")?;
        let begun = Instant::now();
        let mut count = 0_u32;
        while count == 0 || begun.elapsed() < self.length {
            file.write_all(&BLOCK)?;
            file.sync_data()?;
            count += 1;
        }
        let seconds = begun.elapsed().as_secs_f64();
        drop(file);
        fs::remove_file(&self.file)?;
        Ok(f64::from(count) / seconds)
    }
}

/// The disk's rates before and after a slice.
#[derive(Clone, Copy, Debug)]
pub struct Sandwich {
    pub before: f64,
    pub after: f64,
}

impl Sandwich {
    /// The mean time of one append with fdatasync.
    pub fn seconds(&self) -> f64 {
        (1.0 / self.before + 1.0 / self.after) / 2.0
    }

    /// Whether the disk changed so much meanwhile that the slice says nothing.
    pub fn is_steady(&self) -> bool {
        const MOST: f64 = 2.0;
        let change = self.before / self.after;
        (1.0 / MOST..=MOST).contains(&change)
    }
}

/// The most durable units a second that `concurrency` callers can get out of a disk with this
/// fsync and an engine with this time a unit, when each fsync carries everybody who waits.
pub fn commit_model(concurrency: f64, fsync_seconds: f64, statement_seconds: f64) -> f64 {
    let carried_together = concurrency / (fsync_seconds + statement_seconds * concurrency);
    carried_together.min(1.0 / statement_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_pays_a_whole_fsync_and_many_share_it() {
        let alone = commit_model(1.0, 1e-3, 1e-5);
        assert!((alone - 1.0 / 1.01e-3).abs() < 1e-6);
        let together = commit_model(64.0, 1e-3, 1e-5);
        assert!((together - 64.0 / 1.64e-3).abs() < 1e-6);
        assert!(commit_model(1e12, 1e-3, 1e-5) <= 1e5);
    }

    #[test]
    fn a_disk_that_changed_its_mood_is_noticed() {
        assert!(Sandwich { before: 1000.0, after: 1900.0 }.is_steady());
        assert!(!Sandwich { before: 1000.0, after: 2100.0 }.is_steady());
        assert!(!Sandwich { before: 1000.0, after: 400.0 }.is_steady());
        let mean = Sandwich { before: 1000.0, after: 500.0 }.seconds();
        assert!((mean - 1.5e-3).abs() < 1e-12);
    }

    #[test]
    fn the_probe_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let probe = FsyncProbe::new(folder.path().to_owned(), Duration::from_millis(20));
        assert!(probe.rate().unwrap() > 0.0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
