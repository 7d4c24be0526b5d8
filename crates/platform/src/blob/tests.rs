use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::*;
use crate::testing::ManualClock;

struct Place {
    folder: tempfile::TempDir,
    blobs: Blobs,
    /// None on disk.
    server: Option<S3Server>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::on_disk(folder.path(), crate::testing::world().0).unwrap();
        Self { folder, blobs, server: None }
    }

    /// The server looks at the time of signatures, so this world has the machine's.
    async fn s3() -> Self {
        let server = S3Server::start().await;
        let blobs = Blobs::on_s3(server.options(), crate::world::system()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), blobs, server: Some(server) }
    }

    async fn both() -> [Self; 2] {
        [Self::new(), Self::s3().await]
    }

    /// How many blobs there are.
    async fn count(&self) -> usize {
        let mut count = 0;
        for slice in 0..=u8::MAX {
            count += self.blobs.slice(slice, LATER).await.unwrap().len();
        }
        count
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
            assert!(self.server.is_some() || piece.len() <= READERS.most);
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

/// After every blob of these tests.
const LATER: Timestamp = Timestamp::from_seconds(u32::MAX as i64);

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
    for place in Place::both().await {
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
                assert!(place.read(&stored.key, 0..0).await.is_empty());
            }
        }
    }
}

/// What the kernel has in memory and what it has to ask the disk for is read in two ways.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_in_memory_and_what_is_not_is_read_alike() {
    let place = Place::new();
    for size in [1, 5000, 300_001] {
        let bytes = noise(size);
        let stored = place.put(&bytes, 64 * 1024).await;
        let path = place.files().into_iter().find(|path| path.ends_with(stored.key.as_str()));
        let file = std::fs::File::open(path.unwrap()).unwrap();
        let now = |at: u64, size: usize| disk::piece_now(&file, at, size);
        assert!(now(0, size).unwrap() == bytes, "it was just written");
        assert!(now(0, size + 1).is_none() && now(1, size).is_none(), "there is not as much");
        assert!(place.read(&stored.key, 0..stored.size).await == bytes);
        // The kernel forgets it.
        let all = std::num::NonZeroU64::new(stored.size);
        rustix::fs::fadvise(&file, 0, all, rustix::fs::Advice::DontNeed).unwrap();
        assert!(place.read(&stored.key, 0..stored.size).await == bytes);
    }
}

/// A row without its bytes, or with fewer, is an error and not a shorter file.
#[tokio::test]
async fn a_blob_that_is_gone_or_cut_is_an_error() {
    let place = Place::new();
    for (size, kept) in [(5000, 4999), (300_000, 299_999), (300_000, 10)] {
        let stored = place.put(&noise(size), 64 * 1024).await;
        let path = place.files().into_iter().find(|path| path.ends_with(stored.key.as_str()));
        let path = path.unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_len(kept).unwrap();
        let read = match place.blobs.open(&stored.key, 0..stored.size).await {
            Ok(content) => content.collect::<Vec<_>>().await.into_iter().collect(),
            Err(error) => Err(error),
        };
        let read: Result<Vec<Bytes>> = read;
        assert_eq!(read.unwrap_err().kind(), kernel::Kind::Internal, "{size} {kept}");
        std::fs::remove_file(&path).unwrap();
        let gone = place.blobs.open(&stored.key, 0..stored.size).await.err().unwrap();
        assert_eq!(gone.kind(), kernel::Kind::Internal);
    }
}

#[tokio::test]
async fn a_large_blob_goes_to_the_bucket_in_parts() {
    let place = Place::s3().await;
    for size in [s3::PART_BYTES, s3::PART_BYTES + 1, 3 * s3::PART_BYTES] {
        let bytes = noise(size);
        let stored = place.put(&bytes, 1_000_000).await;
        assert_eq!(stored.sha256, crate::crypto::sha256(&bytes), "{size}");
        assert!(place.read(&stored.key, 0..stored.size).await == bytes, "{size}");
    }
    assert_eq!(place.count().await, 3);
}

#[tokio::test]
async fn writers_that_wait_for_their_senders_keep_nobody_out() {
    let place = Place::s3().await;
    let mut waiting = Vec::new();
    for _ in 0..40 {
        let mut writer = place.blobs.writer(1000).await.unwrap();
        writer.write(Bytes::from_static(b"a")).await.unwrap();
        waiting.push(writer);
    }
    place.put(b"another", 7).await;
    for writer in waiting {
        writer.finish().await.unwrap();
    }
    assert_eq!(place.count().await, 41);
}

#[tokio::test]
async fn the_stand_in_refuses_who_has_not_the_key() {
    let place = Place::s3().await;
    let stored = place.put(b"kept", 4).await;
    let server = place.server.as_ref().unwrap();
    let wrong = S3Options { secret_key: kernel::Secret::new("guessed".into()), ..server.options() };
    let forger = Blobs::on_s3(wrong, crate::world::system()).unwrap();
    for refused in [
        forger.open(&stored.key, 0..4).await.err(),
        forger.delete(&stored.key).await.err(),
        forger.slice(0, LATER).await.err(),
    ] {
        assert_eq!(refused.unwrap().code(), "storage_unavailable");
    }
    let mut writer = forger.writer(10).await.unwrap();
    writer.write(Bytes::from_static(b"forged")).await.unwrap();
    assert!(writer.finish().await.is_err());
    assert_eq!(place.read(&stored.key, 0..4).await, b"kept");
    assert_eq!(place.count().await, 1);
}

/// Sends a presigned request, with some headers changed; answers its status.
async fn send(request: &Presigned, changes: &[(&str, &str)], body: &[u8]) -> u16 {
    let client = crate::outbound::streaming_client(Duration::from_secs(5), Duration::from_secs(5));
    let mut headers = http::HeaderMap::new();
    let given = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in given.chain(changes.iter().copied()) {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    headers.remove("content-length");
    let sent = client.unwrap().put(&request.url).headers(headers).body(body.to_vec());
    sent.send().await.unwrap().status().as_u16()
}

fn slot(name: &str, bytes: &[u8]) -> Slot<'static> {
    let sha256 = Some(crate::crypto::sha256(bytes));
    Slot { name: name.into(), size: bytes.len() as u64, media_type: "application/pdf", sha256 }
}

#[tokio::test]
async fn a_presigned_address_is_good_for_what_it_was_made_for_and_once() {
    let place = Place::s3().await;
    let inbox = place.blobs.inbox().unwrap();
    let bytes = noise(70_000);
    let signed = inbox.put(&slot("one-1", &bytes), Duration::from_secs(60)).unwrap();
    assert_eq!(inbox.size("one-1").await.unwrap(), None);
    assert_eq!(send(&signed, &[("content-type", "text/html")], &bytes).await, 403, "other type");
    assert_eq!(send(&signed, &[], &bytes[1..]).await, 403, "other length");
    for (from, to) in [("one-1", "one-2"), ("Expires=60", "Expires=6000"), ("verza-", "x-")] {
        let url = signed.url.replace(from, to);
        assert_ne!(url, signed.url);
        assert_eq!(send(&Presigned { url, ..signed.clone() }, &[], &bytes).await, 403, "{to}");
    }
    let (start, last) = signed.url.split_at(signed.url.len() - 1);
    let forged = format!("{start}{}", if last == "0" { "1" } else { "0" });
    assert_eq!(send(&Presigned { url: forged, ..signed.clone() }, &[], &bytes).await, 403);
    assert_eq!(inbox.size("one-1").await.unwrap(), None, "none of it has left anything");

    assert_eq!(send(&signed, &[], &bytes).await, 200);
    assert_eq!(send(&signed, &[], &bytes).await, 412, "once");
    assert_eq!(inbox.size("one-1").await.unwrap(), Some(70_000));
    let came: Vec<Bytes> =
        inbox.open("one-1").await.unwrap().unwrap().map(Result::unwrap).collect().await;
    assert!(came.concat() == bytes);
    inbox.discard("one-1").await.unwrap();
    inbox.discard("one-1").await.unwrap();
    assert_eq!(inbox.size("one-1").await.unwrap(), None);

    // S3 keeps none of these; the stand-in refuses them, but after it has written them.
    let mut other = bytes.clone();
    other[0] ^= 1;
    assert_eq!(send(&signed, &[], &other).await, 400, "other bytes");
}

#[tokio::test]
async fn a_presigned_form_takes_one_file_of_its_size_and_type() {
    let place = Place::s3().await;
    let inbox = place.blobs.inbox().unwrap();
    let bytes = noise(5000);
    let form = inbox.post(&slot("two-1", &bytes), Duration::from_secs(60)).unwrap();
    let client = crate::outbound::streaming_client(Duration::from_secs(5), Duration::from_secs(5));
    let client = client.unwrap();
    let post = async |fields: &[(String, String)], body: &[u8]| {
        let mut parts = reqwest::multipart::Form::new();
        for (name, value) in fields {
            parts = parts.text(name.clone(), value.clone());
        }
        let file = reqwest::multipart::Part::bytes(body.to_vec()).file_name("a.pdf");
        let sent = client.post(&form.url).multipart(parts.part("file", file)).send().await;
        sent.unwrap().status().as_u16()
    };
    let changed = |name: &str, value: &str| {
        let mut fields = form.fields.clone();
        let field = fields.iter_mut().find(|field| field.0 == name).unwrap();
        value.clone_into(&mut field.1);
        fields
    };
    assert_eq!(post(&form.fields, &bytes[1..]).await / 100, 4, "shorter");
    assert_eq!(post(&form.fields, &[&bytes[..], b"x"].concat()).await / 100, 4, "longer");
    assert_eq!(post(&changed("key", "verza/blobs/x"), &bytes).await / 100, 4, "elsewhere");
    assert_eq!(post(&changed("content-type", "text/html"), &bytes).await / 100, 4, "other type");
    assert_eq!(post(&changed("x-amz-signature", &"0".repeat(64)), &bytes).await, 403);
    assert_eq!(inbox.size("two-1").await.unwrap(), None);
    assert_eq!(post(&form.fields, &bytes).await / 100, 2);
    assert_eq!(inbox.size("two-1").await.unwrap(), Some(5000));
}

#[test]
fn writes_ask_for_the_configured_encryption() {
    let options = |encryption| S3Options {
        endpoint: "https://s3.example".into(),
        public_endpoint: Some("https://files.example".into()),
        region: "r".into(),
        bucket: "b-1".into(),
        path_style: false,
        prefix: String::new(),
        access_key: "k".into(),
        secret_key: kernel::Secret::new("s".into()),
        encryption,
    };
    let signed = |encryption| {
        let blobs = Blobs::on_s3(options(encryption), crate::testing::world().0).unwrap();
        blobs.inbox().unwrap().put(&slot("n", b"x"), Duration::from_secs(60)).unwrap()
    };
    let plain = signed(Encryption::Bucket);
    assert!(plain.url.starts_with("https://b-1.files.example/inbox/n?"), "{}", plain.url);
    assert!(!plain.url.contains("encryption"));
    let sealed = signed(Encryption::Kms(Some("key-1".into())));
    for (name, value) in [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "key-1"),
    ] {
        assert!(sealed.headers.contains(&(name.into(), value.into())));
        assert!(sealed.url.contains(name), "{name} is part of what is signed");
    }
}

#[tokio::test]
async fn equal_bytes_are_two_blobs() {
    for place in Place::both().await {
        let (one, two) = (place.put(b"same", 4).await, place.put(b"same", 4).await);
        assert_ne!(one.key, two.key);
        place.blobs.delete(&one.key).await.unwrap();
        place.blobs.delete(&one.key).await.unwrap();
        assert_eq!(place.read(&two.key, 0..4).await, b"same");
        assert_eq!(place.count().await, 1);
    }
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
    for place in Place::both().await {
        let mut writer = place.blobs.writer(100_000).await.unwrap();
        writer.write(noise(99_999).into()).await.unwrap();
        writer.write(Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(writer.finish().await.unwrap().size, 100_000);

        let mut writer = place.blobs.writer(100_000).await.unwrap();
        writer.write(noise(100_000).into()).await.unwrap();
        let error = writer.write(Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(error.code(), "payload_too_large");
    }
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
    let Some(writer::Sink::Disk(disk)) = &mut writer.sink else { panic!("no disk") };
    disk.incoming.file = full;
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
    let budget = Budget::of(WRITERS);
    assert_eq!(budget.share(), WRITERS.most);
    for _ in 0..256 {
        budget.enter();
    }
    assert_eq!(budget.share() * 256, WRITERS.all);
    for _ in 0..256 {
        budget.enter();
    }
    assert_eq!(budget.share(), WRITERS.least, "never too small to be useful");
    for _ in 0..512 {
        budget.leave();
    }
    assert_eq!(budget.share(), WRITERS.most);
}

/// Writes what `cargo xtask judges` shows to boto3: addresses and a form, with all they bind.
#[tokio::test]
#[ignore = "writes files for outside judges"]
async fn presigned_addresses_for_outside_judges_are_written() {
    let folder = std::env::var_os("VERZA_JUDGES").expect("the folder to write to");
    let server = S3Server::start().await;
    let options = server.options();
    let encrypted = S3Options { encryption: Encryption::Store, ..options.clone() };
    let facts = |options: S3Options| {
        let blobs = Blobs::on_s3(options, crate::testing::world().0).unwrap();
        let inbox = blobs.inbox().unwrap();
        let (slot, lasts) = (slot("one-1", b"bytes"), Duration::from_secs(3600));
        let put = inbox.put(&slot, lasts).unwrap();
        let headers: serde_json::Map<String, serde_json::Value> =
            put.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let put = serde_json::json!({ "method": put.method, "url": put.url, "headers": headers });
        let post: serde_json::Map<String, serde_json::Value> = inbox
            .post(&slot, lasts)
            .unwrap()
            .fields
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        (put, post)
    };
    let ((put, post), (put_encrypted, _)) = (facts(options.clone()), facts(encrypted));
    let facts = serde_json::json!({
        "accessKey": options.access_key, "secretKey": options.secret_key.expose(),
        "region": options.region, "date": post["x-amz-date"],
        "put": put, "putEncrypted": put_encrypted, "post": post,
    });
    let path = std::path::Path::new(&folder).join("presigned.json");
    std::fs::write(path, facts.to_string()).unwrap();
}
