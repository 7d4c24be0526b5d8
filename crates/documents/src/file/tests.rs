use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode, header};
use kernel::id::kinds::File as FileKind;
use kernel::{Caller, Id, Kind, Role};
use platform::db::Read;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::model::MediaType;
use super::name;
use super::rules::{self, Answer, Conditions};
use crate::Options;
use crate::testing::{App, BOUNDARY, DAY, TABLES, id, multipart, part_head, pdf};

const MIB: usize = 1024 * 1024;

const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89\
                     \0\0\0\0IEND\xaeB`\x82";

async fn rows(app: &App) -> usize {
    app.db.all("SELECT id FROM files", &[], |_| Ok(())).await.unwrap().len()
}

async fn used(app: &App, owner: &Caller) -> u64 {
    super::store::usage(&app.db, owner.user().unwrap()).await.unwrap()
}

/// A form with one file of `size` bytes, made while it is sent, in chunks of 64 KiB.
fn streamed(size: usize) -> Body {
    let chunk = Bytes::from(vec![0x5a; 64 * 1024]);
    let head = Bytes::from([part_head("file", "large.pdf"), b"%PDF-1.7\n".to_vec()].concat());
    let left = size - b"%PDF-1.7\n".len();
    let (full, rest) = (left / chunk.len(), left % chunk.len());
    let chunks = std::iter::once(head)
        .chain(std::iter::repeat_n(chunk.clone(), full))
        .chain(std::iter::once(chunk.slice(..rest)))
        .chain(std::iter::once(Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"))));
    Body::from_stream(stream::iter(chunks.map(Ok::<_, std::io::Error>)))
}

/// A clamd that answers as it is told.
struct Clamd {
    address: std::net::SocketAddr,
    answer: Arc<Mutex<Option<&'static str>>>,
    last: Arc<Mutex<Vec<u8>>>,
}

impl Clamd {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer: Arc<Mutex<Option<&'static str>>> = Arc::default();
        let last: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (say, seen) = (Arc::clone(&answer), Arc::clone(&last));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let Some(answer) = *say.lock().unwrap() else { continue };
                let mut command = [0; 10];
                socket.read_exact(&mut command).await.unwrap();
                assert_eq!(&command, b"zINSTREAM\0");
                let mut bytes = Vec::new();
                loop {
                    let length = socket.read_u32().await.unwrap();
                    if length == 0 {
                        break;
                    }
                    let from = bytes.len();
                    bytes.resize(from + length as usize, 0);
                    socket.read_exact(&mut bytes[from..]).await.unwrap();
                }
                *seen.lock().unwrap() = bytes;
                socket.write_all(answer.as_bytes()).await.unwrap();
                socket.write_all(b"\0").await.unwrap();
            }
        });
        Self { address, answer, last }
    }

    fn scanner(&self) -> super::Scanner {
        super::Scanner::parse(&self.address.to_string()).unwrap()
    }

    /// What it answers from now on; without it, it hangs up.
    fn say(&self, answer: Option<&'static str>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn last(&self) -> Vec<u8> {
        self.last.lock().unwrap().clone()
    }
}

platform::on_both_engines! { TABLES;

async fn a_file_comes_back_byte_for_byte(t: &TestDb) {
    let (app, bytes) = (App::new(t).await, pdf(700_001));
    let owner = app.user();
    let made = app.upload(&owner, "Zeugnis für Zoë.pdf", &bytes).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    assert_eq!(made["name"], "Zeugnis für Zoë.pdf");
    assert_eq!(made["mediaType"], "application/pdf");
    assert_eq!(made["size"], 700_001);
    assert_eq!(made["sha256"], hex::encode(platform::crypto::sha256(&bytes)));

    let path = made["url"].as_str().unwrap().strip_prefix(crate::testing::URL).unwrap();
    let read = app.get(&owner, path).await.ok();
    assert!(read.body == bytes);
    assert_eq!(read.header("content-type"), "application/pdf");
    assert_eq!(read.header("content-length"), "700001");
    assert_eq!(read.header("x-content-type-options"), "nosniff");
    assert_eq!(read.header("content-security-policy"), "sandbox; default-src 'none'");
    assert_eq!(read.header("cache-control"), "private, no-cache, no-transform");
    assert_eq!(read.header("etag"), format!("\"{}\"", made["sha256"].as_str().unwrap()));
    assert_eq!(
        read.header("content-disposition"),
        "attachment; filename=\"Zeugnis f_r Zo_.pdf\"; \
         filename*=UTF-8''Zeugnis%20f%C3%BCr%20Zo%C3%AB.pdf"
    );

    let head = app.head(&owner, path).await.ok();
    assert_eq!((head.body.len(), head.header("content-length")), (0, "700001"));
    let shown = app.get(&owner, &format!("/v1/files/{}", made["id"].as_str().unwrap())).await;
    assert_eq!(shown.json(), made);
    assert_eq!(app.verbs().await, ["file.uploaded"]);
}

async fn the_other_upload_route_answers_address_and_id(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let request = Request::post("/v1/upload")
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary=\"{BOUNDARY}\""))
        .body(Body::from(multipart(&[("file", "a.png", PNG)])))
        .unwrap();
    let made = app.send(&owner, request).await.ok().json();
    let file: Id<FileKind> = id(&made["id"]);
    assert_eq!(made, json!({
        "id": file.to_string(),
        "url": format!("https://verza.example/v1/files/{file}/content"),
    }));
}

async fn the_older_paths_show_the_same_files_in_their_own_words(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let request = Request::post("/api/files")
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(Body::from(multipart(&[("file", "a.png", PNG)])))
        .unwrap();
    let made = app.send(&owner, request).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    let user = owner.user().unwrap().uuid().to_string();
    assert_eq!((&made["user_id"], &made["name"]), (&json!(user), &json!("a.png")));
    assert_eq!((&made["mime_type"], &made["size"]), (&json!("image/png"), &json!(PNG.len())));
    assert_eq!(app.get(&owner, "/api/files").await.json(), json!([made]));
    let path = format!("/api/files/{}", made["id"].as_str().unwrap());
    assert!(app.get(&owner, &path).await.ok().body == PNG);
    assert_eq!(app.get(&app.user(), &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(app.get(&owner, "/api/files/nonsense").await.status, StatusCode::NOT_FOUND);
    for range in ["bytes=0-9", "bytes=10-"] {
        let request = Request::get(&path).header(header::RANGE, range).body(Body::empty()).unwrap();
        assert_eq!(app.send(&owner, request).await.status, StatusCode::PARTIAL_CONTENT);
    }
    let seen = ["file.uploaded", "file.listed", "file.downloaded", "file.downloaded"];
    assert_eq!(app.verbs().await, seen);
}

async fn two_uploads_of_one_name_are_two_files(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let mut paths = Vec::new();
    for size in [1000, 2000] {
        let made = app.upload(&owner, "same.pdf", &pdf(size)).await.ok().json();
        paths.push(format!("/v1/files/{}/content", made["id"].as_str().unwrap()));
    }
    assert!(app.get(&owner, &paths[0]).await.body == pdf(1000));
    assert!(app.get(&owner, &paths[1]).await.body == pdf(2000));
}

async fn a_part_of_a_file_can_be_asked_for(t: &TestDb) {
    let (app, bytes) = (App::new(t).await, pdf(600_000));
    let owner = app.user();
    let made = app.upload(&owner, "a.pdf", &bytes).await.ok().json();
    let path = format!("/v1/files/{}/content", made["id"].as_str().unwrap());
    for (asked, place, part) in [
        ("bytes=0-0", "bytes 0-0/600000", &bytes[..1]),
        ("bytes=0-9", "bytes 0-9/600000", &bytes[..10]),
        ("bytes=599999-", "bytes 599999-599999/600000", &bytes[599_999..]),
        ("bytes=-5", "bytes 599995-599999/600000", &bytes[599_995..]),
        ("bytes=-999999999", "bytes 0-599999/600000", &bytes[..]),
        ("bytes=100-1000000", "bytes 100-599999/600000", &bytes[100..]),
        ("bytes=7-400006", "bytes 7-400006/600000", &bytes[7..400_007]),
    ] {
        let read = app.get_with(&owner, &path, &[("range", asked)]).await;
        assert_eq!(read.status, StatusCode::PARTIAL_CONTENT, "{asked}");
        assert_eq!(read.header("content-range"), place);
        assert_eq!(read.header("content-length"), part.len().to_string());
        assert!(read.body == part, "{asked}");
    }
    let head = Request::head(&path).header("range", "bytes=0-9").body(Body::empty()).unwrap();
    let head = app.send(&owner, head).await;
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "600000"));
    for asked in ["bytes=600000-", "bytes=-0", "bytes=99999999999999999999999-"] {
        let read = app.get_with(&owner, &path, &[("range", asked)]).await;
        assert_eq!(read.refusal(), (416, "range_not_satisfiable"), "{asked}");
        assert_eq!(read.header("content-range"), "bytes */600000");
    }
    // Several ranges, and what is no range, are answered whole.
    let odd = ["bytes=0-1,3-4", "bytes=9-3", "bytes=", "bytes=-", "lines=1-2", "0-1", "bytes=a-"];
    for asked in odd {
        let read = app.get_with(&owner, &path, &[("range", asked)]).await;
        assert_eq!((read.status, read.body.len()), (StatusCode::OK, 600_000), "{asked}");
    }
}

async fn a_client_that_has_the_file_is_not_sent_it_again(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let made = app.upload(&owner, "a.pdf", &pdf(5000)).await.ok().json();
    let path = format!("/v1/files/{}/content", made["id"].as_str().unwrap());
    let etag = app.head(&owner, &path).await.header("etag").to_owned();

    let several = format!("\"other\", W/{etag}");
    for tag in [etag.as_str(), several.as_str(), "*"] {
        let read = app.get_with(&owner, &path, &[("if-none-match", tag)]).await;
        assert_eq!((read.status, read.body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(read.header("etag"), etag);
    }
    for tag in ["\"other\"", "W/\"other\"", &format!("W/{etag}")] {
        let read = app.get_with(&owner, &path, &[("if-match", tag)]).await;
        assert_eq!(read.refusal(), (412, "precondition_failed"), "{tag}");
    }
    for tag in ["*", &etag, &format!("\"other\", {etag}")] {
        app.get_with(&owner, &path, &[("if-match", tag)]).await.ok();
    }
    let read = app.get_with(&owner, &path, &[("if-none-match", "\"other\"")]).await;
    assert_eq!(read.body.len(), 5000);

    let weak = format!("W/{etag}");
    for (held, length) in
        [(etag.as_str(), 10), (&weak, 5000), ("Sat, 01 Jan 2028 00:00:00 GMT", 5000)]
    {
        let asked = [("range", "bytes=0-9"), ("if-range", held)];
        assert_eq!(app.get_with(&owner, &path, &asked).await.body.len(), length, "{held}");
    }
}

async fn the_limit_is_fifty_mebibytes_to_the_byte(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let made = app.upload_body(&owner, streamed(50 * MIB)).await.ok().json();
    assert_eq!(made["size"], 50 * MIB);
    let refused = app.upload_body(&owner, streamed(50 * MIB + 1)).await;
    assert_eq!(refused.refusal(), (413, "payload_too_large"));
    assert_eq!((rows(&app).await, app.stored().len()), (1, 1));
    assert_eq!(used(&app, &owner).await, 50 * MIB as u64);
}

async fn an_upload_that_breaks_off_leaves_nothing(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let whole = multipart(&[("file", "a.pdf", &pdf(700_000))]);
    // The connection breaks; or the body ends too soon, also within the closing boundary.
    for kept in [100, 300_000, whole.len() - 60, whole.len() - 4] {
        let cut = Bytes::copy_from_slice(&whole[..kept]);
        let refused = app.upload_body(&owner, Body::from(cut.clone())).await;
        assert_eq!(refused.refusal(), (400, "broken_body"), "{kept}");
        let broken = std::io::Error::other("connection reset");
        let body = Body::from_stream(stream::iter([Ok(cut), Err(broken)]));
        assert_eq!(app.upload_body(&owner, body).await.refusal(), (400, "broken_body"), "{kept}");
    }
    // The client goes away, and with it whoever waits for its answer.
    let endless = stream::iter([Ok::<_, std::io::Error>(Bytes::from(whole[..600_000].to_vec()))]);
    let body = Body::from_stream(futures_util::StreamExt::chain(endless, stream::pending()));
    tokio::select! {
        answer = app.upload_body(&owner, body) => panic!("{answer:?}"),
        () = async { while app.stored().is_empty() { tokio::task::yield_now().await } } => {}
    }
    while !app.stored().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!((rows(&app).await, used(&app, &owner).await), (0, 0));
    assert_eq!(app.verbs().await, Vec::<String>::new());
}

async fn a_form_must_hold_one_file_and_no_more(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let pdf = pdf(1000);
    for (parts, pointer) in [
        (vec![], "/file"),
        (vec![("file", "a.pdf", &b""[..])], "/file"),
        (vec![("document", "a.pdf", &pdf[..])], "/document"),
        (vec![("file", "a.pdf", &pdf[..]), ("file", "b.pdf", &pdf[..])], "/file"),
        (vec![("file", "a.pdf", &pdf[..]), ("note", "", b"hello")], "/note"),
    ] {
        let refused = app.upload_body(&owner, Body::from(multipart(&parts))).await;
        assert_eq!(refused.refusal(), (422, "invalid_fields"), "{pointer}");
        assert_eq!(refused.pointers(), [pointer]);
    }
    for media in ["application/json", "multipart/form-data", "text/plain", ""] {
        let request = Request::post("/v1/files").header(header::CONTENT_TYPE, media);
        let body = Body::from(multipart(&[("file", "a.pdf", &pdf)]));
        let refused = app.send(&owner, request.body(body).unwrap()).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type"), "{media}");
    }
    // Headers, or a preamble, without an end are not gathered up to the size of a file.
    let head = part_head("file", "a.pdf");
    let head = head.strip_suffix(b"\r\n\r\n").unwrap().to_vec();
    for start in [head, Vec::new()] {
        let more = Bytes::from(vec![b'x'; 64 * 1024]);
        let chunks = std::iter::once(Bytes::from(start)).chain(std::iter::repeat_n(more, 700));
        let chunks = chunks.map(Ok::<_, std::io::Error>);
        let refused = app.upload_body(&owner, Body::from_stream(stream::iter(chunks))).await;
        assert_eq!(refused.refusal(), (400, "invalid_multipart"));
    }
    assert_eq!((rows(&app).await, app.stored().len()), (0, 0));
}

async fn nobody_reads_a_file_before_the_scanner_has_passed_it(t: &TestDb) {
    let clamd = Clamd::start().await;
    let options = Options { scanner: Some(clamd.scanner()), ..Options::at(crate::testing::URL) };
    let app = App::with(t, options).await;
    let owner = app.user();
    let made = app.upload(&owner, "a.pdf", &pdf(700_000)).await.ok().json();
    assert_eq!(made["state"], "scanning");
    let path = format!("/v1/files/{}", made["id"].as_str().unwrap());
    let content = format!("{path}/content");
    assert_eq!(app.get(&owner, &content).await.refusal(), (409, "scanning"));
    let body = json!({
        "title": "Mine", "type": "Education", "issuer": "X", "fileId": made["id"],
    });
    let refused = app.post(&owner, "/v1/user/credentials", body.clone()).await;
    assert_eq!(refused.pointers(), ["/fileId"]);

    // Without a verdict the file waits.
    for answer in [None, Some("INSTREAM size limit exceeded. ERROR"), Some("stream: OK?")] {
        clamd.say(answer);
        app.work().await;
        t.clock.advance(DAY / 2);
        assert_eq!(app.get(&owner, &content).await.refusal(), (409, "scanning"), "{answer:?}");
    }
    clamd.say(Some("stream: OK"));
    app.work().await;
    app.get(&owner, &content).await.ok();
    assert_eq!(app.get(&owner, &path).await.json()["state"], "stored");
    app.post(&owner, "/v1/user/credentials", body).await.ok();
    assert_eq!(clamd.last(), pdf(700_000), "it was sent every byte");

    clamd.say(Some("stream: Eicar-Signature FOUND"));
    let made = app.upload(&owner, "b.pdf", &pdf(2000)).await.ok().json();
    app.work().await;
    let path = format!("/v1/files/{}", made["id"].as_str().unwrap());
    assert_eq!(app.get(&owner, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!((app.stored().len(), used(&app, &owner).await), (1, 700_000));
    let owner = owner.user().unwrap();
    assert_eq!(app.facts_about(owner, "file.infected").await, 1);
    assert_eq!(app.facts_about(owner, "file.passed").await, 1);
}

async fn the_same_bytes_in_another_account_raise_a_signal_that_tells_nobody_whose(t: &TestDb) {
    let app = App::new(t).await;
    let (one, two) = (app.user(), app.user());
    app.upload(&one, "a.pdf", &pdf(1000)).await.ok();
    app.upload(&one, "again.pdf", &pdf(1000)).await.ok();
    assert!(!app.verbs().await.contains(&"file.duplicated".to_owned()), "one's own twice");
    let answer = app.upload(&two, "b.pdf", &pdf(1000)).await.ok().json();
    assert_eq!(app.verbs().await.iter().filter(|verb| *verb == "file.duplicated").count(), 1);
    for user in [&one, &two] {
        assert_eq!(app.facts_about(user.user().unwrap(), "file.duplicated").await, 0);
    }
    let text = app.db.all("SELECT subject, data FROM facts WHERE verb = 'file.duplicated'", &[],
        |row| Ok((row.take::<Option<String>>()?, row.take::<Option<String>>()?))).await.unwrap();
    let text = format!("{text:?}");
    assert!(text.contains(answer["id"].as_str().unwrap()), "{text}");
    assert!(!text.contains(&one.user().unwrap().to_string()), "{text}");
}

async fn a_file_that_is_two_things_is_refused(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let with = |start: &[u8], comment: &[u8]| {
        [start, b"PK\x03\x04 entry ", &directory(&[("a", 100)], comment)].concat()
    };
    // Archive readers pass over what follows behind the comment.
    let followed = |mut bytes: Vec<u8>| {
        bytes.extend_from_slice(b"\n%%EOF\n");
        bytes
    };
    let names: Vec<String> = (0..2000).map(|number| format!("entry {number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let large = [pdf(70_000), directory(&many, b"")].concat();
    let jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0 picture \xff\xd9";
    let long = vec![b'x'; 40_000];
    for (name, bytes) in [
        ("jar.pdf", with(&pdf(70_000), b"")),
        ("comment.pdf", with(&pdf(70_000), b"%%EOF")),
        ("long.pdf", with(&pdf(70_000), &long)),
        ("behind.pdf", followed(with(&pdf(70_000), b""))),
        ("large.pdf", large.clone()),
        ("large behind.pdf", followed(large)),
        ("photo.jpg", with(jpeg, b"")),
        ("photo behind.jpg", followed(with(jpeg, b"x"))),
        ("page.pdf", b"%PDF-1.7\n<HTML><ScRipt>alert(1)</script>".to_vec()),
        ("cut.docx", zip(&["[Content_Types].xml", "word/document.xml"])),
    ] {
        let refused = app.upload(&owner, name, &bytes).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type"), "{name}");
    }
    assert!(app.stored().is_empty());
    app.upload(&owner, "photo.jpg", jpeg).await.ok();
    // The four bytes alone are no archive: they are met by chance.
    let chance = [&pdf(70_000)[..], b"PK\x05\x06", &pdf(5000)].concat();
    app.upload(&owner, "chance.pdf", &chance).await.ok();
    app.upload(&owner, "whole.docx", &docx(&[("word/document.xml", 50_000)])).await.ok();
}

async fn what_unpacks_to_too_much_or_runs_is_refused(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let png = |width: u32, height: u32| {
        let mut bytes = PNG.to_vec();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        bytes
    };
    let jpeg = |width: u16, height: u16| {
        let preview = [&b"\xff\xe1\xff\xff"[..], &vec![b'p'; 65_533]].concat();
        let [h1, h2] = height.to_be_bytes();
        let [w1, w2] = width.to_be_bytes();
        let frame = [0xff, 0xff, 0xc2, 0, 17, 8, h1, h2, w1, w2];
        [b"\xff\xd8", &preview[..], &preview, &frame, b" picture \xff\xd9"].concat()
    };
    let word = ("word/document.xml", 1000);
    for (name, bytes) in [
        ("macro.docx", docx(&[word, ("word/vbaProject.bin", 1000)])),
        ("hidden.docx", docx(&[word, ("word/VBAPROJECT.BIN", 1000)])),
        ("bomb.docx", docx(&[("word/document.xml", 600_000_000)])),
        ("parts.docx", docx(&[word, ("a", 9_000_000), ("b", 9_000_000)])),
        ("wide.png", png(65_500, 65_500)),
        ("wide.jpg", jpeg(65_500, 65_500)),
    ] {
        let refused = app.upload(&owner, name, &bytes).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type"), "{name}");
    }
    assert!(app.stored().is_empty());
    for (name, bytes) in [
        ("long.docx", docx(&[word, ("word/media/image1.png", 9_000_000)])),
        ("scan.png", png(20_000, 14_000)),
        ("scan.jpg", jpeg(20_000, 14_000)),
    ] {
        app.upload(&owner, name, &bytes).await.ok();
    }
}

async fn what_is_no_document_is_refused(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let mut trailing = PNG.to_vec();
    trailing.extend_from_slice(b"PK\x03\x04 something else");
    let polyglot = [b"\x89PNG\r\n\x1a\n".to_vec(), pdf(300)].concat();
    for (name, bytes) in [
        ("page.pdf", &b"<html><script>alert(1)</script></html>"[..]),
        ("run.pdf", b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff"),
        ("elf.png", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"),
        ("image.svg", b"<?xml version=\"1.0\"?><svg onload=\"alert(1)\"/>"),
        ("late.pdf", b"<script>alert(1)</script>\n%PDF-1.7\n"),
        ("gif.pdf", b"GIF89a%PDF-1.7"),
        ("both.png", &polyglot),
        ("more.png", &trailing),
        ("cut.png", &PNG[..PNG.len() - 1]),
        ("short.webp", b"RIFF\xff\0\0\0WEBPVP8 "),
        ("text.pdf", b"hello"),
        ("tiny", b"%"),
        ("archive.docx", b"PK\x03\x04\x14\0\0\0\0\0 nothing of Word"),
    ] {
        let refused = app.upload(&owner, name, bytes).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type"), "{name}");
    }
    assert_eq!((rows(&app).await, app.stored().len()), (0, 0));
    app.upload(&owner, "good.png", PNG).await.ok();
}

async fn another_user_s_file_does_not_exist(t: &TestDb) {
    let app = App::new(t).await;
    let (owner, other, admin) = (app.user(), app.user(), app.somebody(Role::Admin));
    let made = app.upload(&owner, "a.pdf", &pdf(1000)).await.ok().json();
    let path = format!("/v1/files/{}", made["id"].as_str().unwrap());
    let content = format!("{path}/content");
    for stranger in [&other, &admin] {
        assert_eq!(app.get(stranger, &path).await.refusal(), (404, "not_found"));
        assert_eq!(app.get(stranger, &content).await.refusal(), (404, "not_found"));
        assert_eq!(app.head(stranger, &content).await.status, 404);
        assert_eq!(app.delete(stranger, &path).await.refusal(), (404, "not_found"));
        assert_eq!(app.get(stranger, "/v1/files").await.json(), json!([]));
        let body = json!({
            "title": "Mine", "type": "Education", "issuer": "X", "fileId": made["id"],
        });
        let refused = app.post(stranger, "/v1/user/credentials", body).await;
        assert_eq!((refused.refusal().0, refused.pointers()), (422, vec!["/fileId"]));
    }
    assert_eq!(app.get(&owner, "/v1/files/file_nonsense").await.refusal(), (404, "not_found"));
    app.get(&owner, &content).await.ok();
}

async fn who_was_granted_a_credential_reads_its_file_and_the_owner_learns_of_it(t: &TestDb) {
    let app = App::new(t).await;
    let (owner, verifier) = (app.user(), app.somebody(Role::Verifier));
    let credential = app.credential(&owner).await;
    let shown = app.get(&owner, &format!("/v1/user/credentials/{credential}")).await.json();
    let path = format!("/v1/files/{}", shown["fileId"].as_str().unwrap());
    let content = format!("{path}/content");
    assert_eq!(app.get(&verifier, &content).await.status, 404);

    app.grant(credential, &verifier).await;
    let about = owner.user().unwrap();
    app.get(&verifier, &path).await.ok();
    app.head(&verifier, &content).await.ok();
    assert_eq!(app.facts_about(about, "document.viewed").await, 0, "nobody has seen it yet");
    app.get(&verifier, &content).await.ok();
    app.get_with(&verifier, &content, &[("range", "bytes=5-")]).await.ok();
    assert_eq!(app.facts_about(about, "document.viewed").await, 1, "parts are one view");
    t.clock.advance(DAY);
    app.get(&verifier, &content).await.ok();
    assert_eq!(app.facts_about(about, "document.viewed").await, 2);
    app.get(&owner, &content).await.ok();
    assert_eq!(app.facts_about(about, "document.viewed").await, 2, "owners view their own");
    assert_eq!(app.delete(&verifier, &path).await.status, 404, "reading is not owning");

    let (credentials, to) = (&app.documents.credentials, verifier.user().unwrap());
    let withdraw =
        app.db.run("test", |tx| async move {
            credentials.withdraw_grant(&tx, credential, to).await
        });
    withdraw.await.unwrap();
    assert_eq!(app.get(&verifier, &content).await.status, 404);
}

async fn a_file_is_deleted_once_nothing_refers_to_it(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let credential = app.credential(&owner).await;
    let file = app.get(&owner, "/v1/files").await.json()[0].clone();
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(app.delete(&owner, &path).await.refusal(), (409, "in_use"));

    app.delete(&owner, &format!("/v1/user/credentials/{credential}")).await.ok();
    app.delete(&owner, &path).await.ok();
    assert_eq!(app.delete(&owner, &path).await.status, 404);
    assert_eq!(app.get(&owner, &format!("{path}/content")).await.status, 404);
    assert_eq!(app.get(&owner, "/v1/files").await.json(), json!([]));
    assert_eq!(used(&app, &owner).await, 0);
    assert_eq!(app.stored().len(), 1, "the bytes go with the job");
    app.work().await;
    assert_eq!((rows(&app).await, app.stored().len()), (0, 0));
    let verbs = ["file.uploaded", "credential.created", "credential.deleted", "file.deleted"];
    assert_eq!(app.verbs().await, verbs);
}

async fn pages_of_files_stay_as_they_are_while_more_come_in(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    for number in 0..5 {
        app.upload(&owner, &format!("{number}.pdf"), &pdf(100)).await.ok();
    }
    let first = app.get(&owner, "/v1/files?limit=2").await.ok();
    app.upload(&owner, "new.pdf", &pdf(100)).await.ok();
    let mut names: Vec<String> = Vec::new();
    let mut page = first;
    loop {
        let rows = page.json();
        names.extend(rows.as_array().unwrap().iter().map(|row| row["name"].to_string()));
        let link = page.header("link").to_owned();
        let Some((next, _)) = link.strip_prefix('<').and_then(|link| link.split_once('>')) else {
            break;
        };
        page = app.get(&owner, next).await.ok();
    }
    assert_eq!(names, ["\"4.pdf\"", "\"3.pdf\"", "\"2.pdf\"", "\"1.pdf\"", "\"0.pdf\""]);
}

async fn nobody_stores_more_than_the_quota(t: &TestDb) {
    let mut options = Options::at(crate::testing::URL);
    options.owner_bytes_max = 2500;
    let app = App::with(t, options).await;
    let (owner, other) = (app.user(), app.user());
    app.upload(&owner, "a.pdf", &pdf(1000)).await.ok();
    let refused = app.upload(&owner, "b.pdf", &pdf(1501)).await;
    assert_eq!(refused.refusal(), (409, "quota_exceeded"));
    assert_eq!(app.stored().len(), 1);
    app.upload(&owner, "b.pdf", &pdf(1500)).await.ok();
    // Nothing is read when there is no room at all.
    let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(app.upload_body(&owner, never).await.refusal(), (409, "quota_exceeded"));
    app.upload(&other, "a.pdf", &pdf(2500)).await.ok();
}

async fn uploads_side_by_side_do_not_slip_past_the_quota(t: &TestDb) {
    let mut options = Options::at(crate::testing::URL);
    options.owner_bytes_max = 3500;
    let app = App::with(t, options).await;
    let (owner, bytes) = (app.user(), pdf(1000));
    let uploads = (0..8).map(|_| app.upload(&owner, "a.pdf", &bytes));
    let answers = futures_util::future::join_all(uploads).await;
    let stored = answers.iter().filter(|answer| answer.status.is_success()).count();
    assert_eq!((stored, app.stored().len()), (3, 3));
    assert_eq!(used(&app, &owner).await, 3000);
}

async fn a_folder_that_cannot_be_written_is_said_in_clear_words(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    std::fs::remove_dir_all(app.folder.join("incoming")).unwrap();
    let refused = app.upload(&owner, "a.pdf", &pdf(1000)).await;
    assert_eq!(refused.refusal(), (503, "storage_unavailable"));
    let error = refused.error.unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("nothing was stored"), "{}", error.message());
    assert!(!error.message().contains('/'), "no path of ours: {}", error.message());
    assert_eq!((rows(&app).await, used(&app, &owner).await), (0, 0));
}

async fn blobs_without_a_file_are_swept_in_time(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    app.upload(&owner, "kept.pdf", &pdf(1000)).await.ok();
    // A crash between the bytes and the row.
    let mut writer = app.documents.files.blobs().writer(10).await.unwrap();
    writer.write(Bytes::from_static(b"orphan")).await.unwrap();
    let orphan = writer.finish().await.unwrap();
    std::fs::write(app.folder.join("incoming/0123"), b"cut off").unwrap();
    assert_eq!(app.stored().len(), 3);

    let sweep = async || {
        let mut swept = 0;
        for slice in 0..=u8::MAX {
            swept += app.documents.files.sweep(slice).await.unwrap();
        }
        swept
    };
    assert_eq!(sweep().await, 0, "they may be on their way");
    // Files carry the machine's time, which is later than the clock of the tests.
    t.clock.advance(DAY * 365 * 100);
    assert_eq!(sweep().await, 2);
    assert_eq!(app.stored().len(), 1);
    assert!(app.documents.files.blobs().open(&orphan.key, 0..6).await.is_err());
}

}

// Only the embedded store can be told to fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_commit_fails_is_no_file() {
    let t = platform::testing::TestDb::sqlite(TABLES).await;
    let app = App::new(&t).await;
    let owner = app.user();
    t.db.fail_commits(true);
    let refused = app.upload(&owner, "a.pdf", &pdf(1000)).await;
    assert!(refused.status.is_server_error(), "{refused:?}");
    t.db.fail_commits(false);
    assert_eq!((rows(&app).await, used(&app, &owner).await), (0, 0));
    assert_eq!(app.get(&owner, "/v1/files").await.json(), json!([]));
    t.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_body_is_torn_the_file_is_the_same() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    let t = platform::testing::TestDb::sqlite(TABLES).await;
    let app = App::new(&t).await;
    let owner = app.user();
    let fragment = prop_oneof![
        3 => proptest::collection::vec(any::<u8>(), 0..60),
        2 => Just(format!("\r\n--{BOUNDARY}").as_bytes()[..30].to_vec()),
        1 => Just(b"\r\n--".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"--\r\n\r\n".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 9000..9100),
    ];
    let content = proptest::collection::vec(fragment, 0..12).prop_map(|parts| parts.concat());
    let cuts = proptest::collection::vec(1_usize..400, 1..40);
    let (runtime, app) = (tokio::runtime::Handle::current(), &app);
    tokio::task::block_in_place(|| {
        let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&(content, cuts), |(content, cuts)| {
                let bytes = [&b"%PDF-"[..], &content].concat();
                let mut left = Bytes::from(multipart(&[("file", "a.pdf", &bytes)]));
                let mut chunks = Vec::new();
                for cut in cuts.iter().cycle() {
                    if left.is_empty() {
                        break;
                    }
                    chunks.push(Ok::<_, std::io::Error>(left.split_to(left.len().min(*cut))));
                }
                let body = Body::from_stream(stream::iter(chunks));
                runtime.block_on(async {
                    let made = app.upload_body(&owner, body).await.ok().json();
                    let path = format!("/v1/files/{}/content", made["id"].as_str().unwrap());
                    assert!(app.get(&owner, &path).await.ok().body == bytes);
                });
                Ok(())
            })
            .unwrap();
    });
    t.finish().await;
}

#[test]
fn names_are_tamed() {
    let long = format!("{}.pdf", "ü".repeat(2048));
    let long = name::tame(&long, MediaType::Pdf);
    assert!(long.len() <= 200 && long.ends_with("ü.pdf"), "{long}");
    for (given, shown) in [
        ("cv.pdf", "cv.pdf"),
        ("CV.PDF", "CV.pdf"),
        ("../../etc/passwd", "passwd.pdf"),
        ("..\\..\\windows\\cv.pdf", "cv.pdf"),
        ("C:\\cv.pdf", "cv.pdf"),
        ("cv.exe", "cv.exe.pdf"),
        ("cv.pdf.exe", "cv.pdf.exe.pdf"),
        ("", "document.pdf"),
        ("..", "document.pdf"),
        (" . pdf", "pdf.pdf"),
        (".pdf", "pdf.pdf"),
        ("/", "document.pdf"),
        ("a\r\nSet-Cookie: x=1.pdf", "aSet-Cookie_ x=1.pdf"),
        ("a\0b\u{7f}\u{85}.pdf", "ab.pdf"),
        ("cv\u{202e}fdp.exe", "cvfdp.exe.pdf"),
        ("\u{2066}a\u{2069}\u{200b}\u{feff}.pdf", "a.pdf"),
        ("con.pdf", "_con.pdf"),
        ("Lpt1.txt", "_Lpt1.txt.pdf"),
        ("console.pdf", "console.pdf"),
        ("a<b>:\"|?*.pdf", "a_b______.pdf"),
        ("履歴書.pdf", "履歴書.pdf"),
        ("👩‍🎓.pdf", "👩‍🎓.pdf"),
    ] {
        assert_eq!(name::tame(given, MediaType::Pdf), shown, "{given:?}");
    }
    assert_eq!(name::tame("photo.JPEG", MediaType::Jpeg), "photo.jpeg");
    assert_eq!(name::tame("photo.jpg", MediaType::Png), "photo.jpg.png");
}

proptest::proptest! {
    #[test]
    fn no_name_breaks_out_of_its_header(given: String) {
        let name = name::tame(&given, MediaType::Pdf);
        proptest::prop_assert!(name.len() <= 201 && name.ends_with(".pdf"));
        proptest::prop_assert!(!name.contains(['/', '\\', '"', '\r', '\n', '\0']));
        let header = name::disposition(&name);
        proptest::prop_assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        proptest::prop_assert_eq!(header.matches('"').count(), 2);
    }

    #[test]
    fn every_range_lies_within_the_file(range: String, size in 1_u64..1000) {
        let asked = Conditions { range: Some(&range), ..Conditions::default() };
        if let Answer::Part(part) = rules::answer(asked, "\"x\"", size) {
            proptest::prop_assert!(part.start < part.end && part.end <= size);
        }
    }
}

/// The directory of a ZIP archive of these names and sizes, and its end.
fn directory(entries: &[(&str, u32)], comment: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, unpacked) in entries {
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let head = [&b"PK\x01\x02"[..], &[0; 20], &unpacked.to_le_bytes(), &length, &[0; 16]];
        bytes.extend([&head.concat(), name.as_bytes()].concat());
    }
    let size = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let length = u16::try_from(comment.len()).unwrap().to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size, &[0; 4], &length, comment];
    bytes.extend(end.concat());
    bytes
}

/// A Word file that declares these parts.
fn docx(parts: &[(&str, u32)]) -> Vec<u8> {
    let whole = zip(&["[Content_Types].xml", "word/document.xml"]);
    [whole, directory(parts, b"")].concat()
}

/// The beginning of a ZIP archive: a local header and some content for each name.
fn zip(names: &[&str]) -> Vec<u8> {
    let entry = |name: &&str| {
        let length = u8::try_from(name.len()).unwrap();
        let header = [&b"PK\x03\x04"[..], &[0; 22], &[length, 0, 0, 0], name.as_bytes()];
        [header.concat(), vec![b'x'; 500]].concat()
    };
    names.iter().flat_map(entry).collect()
}

#[test]
fn every_kind_of_document_is_known_by_its_first_bytes() {
    let word = zip(&["[Content_Types].xml", "_rels/.rels", "word/document.xml"]);
    let office = zip(&["_rels/.rels", "docProps/core.xml", "docProps/app.xml", "word/styles.xml"]);
    for (head, media) in [
        (&b"%PDF-1.4\n"[..], MediaType::Pdf),
        (PNG, MediaType::Png),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", MediaType::Jpeg),
        (b"RIFF\x04\0\0\0WEBPVP8 ", MediaType::WebP),
        (&word, MediaType::Docx),
        (&office, MediaType::Docx),
    ] {
        assert_eq!(rules::sniff(head).ok(), Some(media), "{media:?}");
        assert_eq!(MediaType::parse(media.as_str()), Some(media));
    }
    for names in [&["[Content_Types].xml", "xl/workbook.xml"], &["evil.jar", "word/document.xml"]] {
        assert!(rules::sniff(&zip(names)).is_err(), "{names:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_the_sniffer(head: Vec<u8>, start in 0_usize..5) {
        let office = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
        let starts = [&b""[..], b"PK\x03\x04", b"RIFF", office, b"\x89PNG"];
        let _ = rules::sniff(&[starts[start], &head].concat());
    }
}
