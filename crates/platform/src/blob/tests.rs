use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::*;
use crate::testing::ManualClock;

struct Place {
    folder: tempfile::TempDir,
    blobs: Blobs,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::on_disk(folder.path(), crate::testing::world().0).unwrap();
        Self { folder, blobs }
    }

    async fn put(&self, bytes: &[u8], chunk: usize) -> Stored {
        let mut writer = self.blobs.writer(u64::MAX).await.unwrap();
        for chunk in bytes.chunks(chunk) {
            writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Vec<u8> {
        let mut content = self.blobs.open(key, range.clone()).await.unwrap();
        assert_eq!(content.len(), range.end - range.start);
        let mut read = Vec::new();
        while let Some(piece) = content.next().await {
            let piece = piece.unwrap();
            assert!(piece.len() <= BUFFER_BYTES.end);
            read.extend_from_slice(&piece);
        }
        read
    }

    /// Every file below the folder.
    fn files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

fn noise(size: usize) -> Vec<u8> {
    let mut number = 0x9e37_79b9_u32;
    let step = |_| {
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        number as u8
    };
    (0..size).map(step).collect()
}

#[tokio::test]
async fn what_was_written_is_read_back_whole_and_in_parts() {
    let place = Place::new();
    for size in [1, 1000, 256 * 1024, 1_000_003] {
        let bytes = noise(size);
        for chunk in [7919, 64 * 1024, 300 * 1024] {
            let stored = place.put(&bytes, chunk).await;
            assert_eq!(stored.size, size as u64);
            assert_eq!(stored.sha256, crate::crypto::sha256(&bytes));
            assert!(place.read(&stored.key, 0..stored.size).await == bytes);
            let (from, to) = (size / 3, size - size / 5);
            let part = place.read(&stored.key, from as u64..to as u64).await;
            assert!(part == bytes[from..to], "{size} {chunk}");
        }
    }
}

#[tokio::test]
async fn equal_bytes_are_two_blobs() {
    let place = Place::new();
    let (one, two) = (place.put(b"same", 4).await, place.put(b"same", 4).await);
    assert_ne!(one.key, two.key);
    place.blobs.delete(&one.key).await.unwrap();
    place.blobs.delete(&one.key).await.unwrap();
    assert_eq!(place.read(&two.key, 0..4).await, b"same");
    assert_eq!(place.files().len(), 1);
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_nothing() {
    let place = Place::new();
    let mut writer = place.blobs.writer(u64::MAX).await.unwrap();
    writer.write(noise(600_000).into()).await.unwrap();
    assert_eq!(place.files().len(), 1);
    drop(writer);
    assert_eq!(place.files().len(), 0);
}

#[tokio::test]
async fn a_writer_that_is_dropped_while_it_writes_leaves_nothing() {
    let place = Place::new();
    let mut writer = place.blobs.writer(u64::MAX).await.unwrap();
    // Polled once: the block is in the hands of a file call when its caller goes.
    let write = writer.write(noise(8_000_000).into());
    let _ = futures_util::FutureExt::now_or_never(write);
    drop(writer);
    // All calls have ended when all permits are back.
    let all = u32::try_from(CALLS_MAX).unwrap();
    drop(place.blobs.0.calls.acquire_many(all).await.unwrap());
    while !place.files().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_limit_is_met_exactly() {
    let place = Place::new();
    let mut writer = place.blobs.writer(100_000).await.unwrap();
    writer.write(noise(99_999).into()).await.unwrap();
    writer.write(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().size, 100_000);

    let mut writer = place.blobs.writer(100_000).await.unwrap();
    writer.write(noise(100_000).into()).await.unwrap();
    let error = writer.write(Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.code(), "payload_too_large");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_says_so() {
    let place = Place::new();
    std::fs::remove_dir_all(place.folder.path().join("incoming")).unwrap();
    let error = place.blobs.writer(10).await.err().unwrap();
    assert_eq!((error.kind(), error.code()), (kernel::Kind::Unavailable, "storage_unavailable"));
    assert!(error.message().contains("nothing was stored"), "{}", error.message());

    let file = place.folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let world = crate::testing::world().0;
    let error = Blobs::on_disk(file.join("below"), world).err().unwrap();
    assert!(error.to_string().contains("cannot be made"), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_says_so_and_keeps_nothing() {
    let place = Place::new();
    let mut writer = place.blobs.writer(u64::MAX).await.unwrap();
    // The device that is always full stands in for the disk.
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    writer.sink.as_mut().unwrap().incoming.file = full;
    let error = writer.write(noise(600_000).into()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (kernel::Kind::Unavailable, "storage_full"));
    assert!(writer.finish().await.is_err(), "a failed writer has nothing to finish");
    assert_eq!(place.files().len(), 0);
}

#[tokio::test]
async fn the_sweep_takes_what_a_crash_has_left_and_nothing_else() {
    let place = Place::new();
    let stored = place.put(b"kept", 4).await;
    let mut writer = place.blobs.writer(u64::MAX).await.unwrap();
    writer.write(noise(600_000).into()).await.unwrap();
    // A crash: the file stays, and nobody is left to remove it.
    std::mem::forget(writer.sink.take());

    assert_eq!(place.blobs.sweep(ManualClock::START).await.unwrap(), 0, "it is being written");
    let later = Timestamp::from_seconds(i64::from(u32::MAX));
    assert_eq!(place.blobs.sweep(later).await.unwrap(), 1);
    assert_eq!(place.read(&stored.key, 0..4).await, b"kept");

    let slice = u8::from_str_radix(&stored.key.as_str()[..2], 16).unwrap();
    assert_eq!(place.blobs.slice(slice, later).await.unwrap(), [stored.key]);
    let before = ManualClock::START + Duration::ZERO;
    assert_eq!(place.blobs.slice(slice, before).await.unwrap(), []);
}

#[test]
fn nothing_but_a_key_becomes_a_path() {
    for text in ["", "..", "../../etc/passwd", "ab/cd", &"A".repeat(32), &"0".repeat(33)] {
        assert!(text.parse::<Key>().is_err(), "{text}");
    }
    assert!("0123456789abcdef0123456789abcdef".parse::<Key>().is_ok());
}

#[test]
fn many_streams_share_one_budget() {
    let budget = Budget::default();
    assert_eq!(budget.share(), BUFFER_BYTES.end);
    for _ in 0..256 {
        budget.enter();
    }
    assert_eq!(budget.share() * 256, BUFFERS_BYTES);
    for _ in 0..256 {
        budget.leave();
    }
    assert_eq!(budget.share(), BUFFER_BYTES.end);
}
