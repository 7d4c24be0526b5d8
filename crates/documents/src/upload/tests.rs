use axum::body::Body;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use kernel::{Caller, Secret};
use platform::blob::S3Server;
use platform::db::Read;
use serde_json::{Value as Json, json};

use super::signed::{Key, Terms};
use crate::testing::{Answer, App, BOUNDARY, DAY, TABLES, URL, pdf};

const UPLOADS: &str = "/v1/user/uploads";
const COMPLETE: &str = "/v1/user/uploads/complete";

fn announced(bytes: &[u8]) -> Json {
    json!({
        "name": "diploma.pdf", "contentType": "application/pdf", "size": bytes.len(),
        "sha256": hex::encode(platform::crypto::sha256(bytes)),
    })
}

async fn begin(app: &App, owner: &Caller, body: Json) -> Json {
    let begun = app.post(owner, UPLOADS, body).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    begun.json()
}

/// Sends a part as it was signed, with some headers changed, by nobody.
async fn send(app: &App, part: &Json, changes: &[(&str, &str)], bytes: &[u8]) -> Answer {
    let signed = &part["request"];
    let path = signed["url"].as_str().unwrap().strip_prefix(URL).unwrap();
    let mut request = Request::builder().method(signed["method"].as_str().unwrap()).uri(path);
    let headers = request.headers_mut().unwrap();
    for (name, value) in signed["headers"].as_object().unwrap() {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, value.as_str().unwrap().parse().unwrap());
    }
    for (name, value) in changes {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    let body = Body::from(bytes.to_vec());
    app.send(&Caller::nobody(), request.body(body).unwrap()).await
}

async fn complete(app: &App, owner: &Caller, upload: &Json) -> Answer {
    app.post(owner, COMPLETE, json!({ "id": upload["id"] })).await
}

async fn used(app: &App, owner: &Caller) -> i64 {
    let sql = "SELECT bytes FROM file_usage WHERE owner = $1";
    let owner = owner.user().unwrap();
    let used = app.db.maybe(sql, platform::params![owner], |row| row.take()).await.unwrap();
    used.unwrap_or(0)
}

platform::on_both_engines! { TABLES;

async fn what_is_sent_to_a_signed_address_becomes_a_file(t: &TestDb) {
    let (app, bytes) = (App::new(t).await, pdf(70_000));
    let owner = app.user();
    let upload = begin(&app, &owner, announced(&bytes)).await;
    assert_eq!(used(&app, &owner).await, 70_000, "what is on its way counts");
    assert_eq!(complete(&app, &owner, &upload).await.refusal(), (409, "upload_incomplete"));
    send(&app, &upload["parts"][0], &[], &bytes).await.ok();
    assert_eq!(app.get(&owner, "/v1/files").await.json(), json!([]), "it is no file yet");
    let file = complete(&app, &owner, &upload).await.ok().json();
    assert_eq!((&file["id"], &file["size"]), (&upload["id"], &json!(70_000)));
    assert_eq!(complete(&app, &owner, &upload).await.ok().json(), file, "twice is once");
    let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    assert!(app.get(&owner, &path).await.ok().body == bytes);
    assert_eq!(used(&app, &owner).await, 70_000);
    assert_eq!(app.stored().len(), 1);
    assert_eq!(app.verbs().await, ["upload.begun", "file.uploaded"]);
    let again = send(&app, &upload["parts"][0], &[], &bytes).await;
    assert_eq!(again.refusal(), (404, "not_found"));
}

async fn a_signed_address_is_good_for_what_it_was_made_for_and_once(t: &TestDb) {
    let (app, bytes) = (App::new(t).await, pdf(70_000));
    let owner = app.user();
    let upload = begin(&app, &owner, announced(&bytes)).await;
    let part = &upload["parts"][0];
    let other = platform::crypto::sha256(b"other");
    let other = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, other);
    for change in [
        ("content-type", "text/html"),
        ("content-length", "69999"),
        ("x-amz-checksum-sha256", &other),
    ] {
        let refused = send(&app, part, &[change], &bytes).await;
        assert_eq!(refused.refusal(), (403, "invalid_signature"), "{change:?}");
    }
    let url = part["request"]["url"].as_str().unwrap();
    for (from, to) in [("/1?", "/2?"), ("expires=1", "expires=2"), ("signature=", "signature=a")] {
        let mut altered = part.clone();
        altered["request"]["url"] = json!(url.replace(from, to));
        assert_ne!(altered, *part);
        let refused = send(&app, &altered, &[], &bytes).await;
        assert_eq!(refused.refusal(), (403, "invalid_signature"), "{to}");
    }
    let mut post = part.clone();
    post["request"]["method"] = json!("POST");
    assert!(send(&app, &post, &[], &bytes).await.status.is_client_error());
    assert_eq!(send(&app, part, &[], &bytes[1..]).await.refusal(), (400, "broken_body"));
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(send(&app, part, &[], &longer).await.refusal(), (413, "payload_too_large"));
    let mut flipped = bytes.clone();
    flipped[9] ^= 1;
    assert_eq!(send(&app, part, &[], &flipped).await.refusal(), (400, "checksum_mismatch"));
    assert!(app.stored().is_empty());

    send(&app, part, &[], &bytes).await.ok();
    assert_eq!(send(&app, part, &[], &bytes).await.refusal(), (409, "part_exists"));
    assert_eq!(app.stored().len(), 1);
}

async fn an_address_ends_before_its_upload_and_a_fresh_one_can_be_asked_for(t: &TestDb) {
    let (app, bytes) = (App::new(t).await, pdf(1000));
    let owner = app.user();
    let upload = begin(&app, &owner, announced(&bytes)).await;
    t.clock.advance(DAY / 24);
    let over = send(&app, &upload["parts"][0], &[], &bytes).await;
    assert_eq!(over.refusal(), (403, "signature_expired"));
    let path = format!("{UPLOADS}/{}", upload["id"].as_str().unwrap());
    assert_eq!(app.get(&app.user(), &path).await.refusal(), (404, "not_found"));
    let fresh = app.get(&owner, &path).await.ok().json();
    send(&app, &fresh["parts"][0], &[], &bytes).await.ok();
    complete(&app, &owner, &upload).await.ok();
}

async fn who_was_cut_off_sends_only_the_parts_that_are_missing(t: &TestDb) {
    let (app, bytes) = (App::new(t).await, pdf(700_000));
    let owner = app.user();
    let mut body = announced(&bytes);
    body["partSize"] = json!(262_144);
    let upload = begin(&app, &owner, body).await;
    let parts = upload["parts"].as_array().unwrap();
    let sizes: Vec<_> = parts.iter().map(|part| part["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [262_144, 262_144, 175_712]);
    let of = |part: &Json| {
        let at = part["offset"].as_u64().unwrap() as usize;
        bytes[at..at + part["size"].as_u64().unwrap() as usize].to_vec()
    };
    for part in [&parts[2], &parts[0]] {
        send(&app, part, &[], &of(part)).await.ok();
    }
    let path = format!("{UPLOADS}/{}", upload["id"].as_str().unwrap());
    let left = app.get(&owner, &path).await.ok().json();
    let left: Vec<_> = left["parts"].as_array().unwrap().iter().collect();
    let missing = left.iter().filter(|part| part["received"] == json!(false)).collect::<Vec<_>>();
    assert_eq!(missing.len(), 1);
    assert_eq!(complete(&app, &owner, &upload).await.refusal(), (409, "upload_incomplete"));
    send(&app, missing[0], &[], &of(missing[0])).await.ok();
    let file = complete(&app, &owner, &upload).await.ok().json();
    let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    assert!(app.get(&owner, &path).await.ok().body == bytes);
    assert_eq!(app.stored().len(), 1, "the parts are gone");
}

async fn completing_at_once_answers_one_file_whose_bytes_stay(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let mut files = 0;
    for part_size in [524_288, 262_144].repeat(4) {
        let bytes = pdf(500_000);
        let mut body = announced(&bytes);
        body["partSize"] = json!(part_size);
        let upload = begin(&app, &owner, body).await;
        for part in upload["parts"].as_array().unwrap() {
            let at = part["offset"].as_u64().unwrap() as usize;
            let end = at + part["size"].as_u64().unwrap() as usize;
            send(&app, part, &[], &bytes[at..end]).await.ok();
        }
        let done = join_all((0..6).map(|_| complete(&app, &owner, &upload))).await;
        let done: Vec<_> = done.into_iter().map(|answer| answer.ok().json()).collect();
        assert!(done.iter().all(|file| *file == done[0] && file["id"] == upload["id"]));
        let path = format!("/v1/files/{}/content", upload["id"].as_str().unwrap());
        assert!(app.get(&owner, &path).await.ok().body == bytes);
        files += 1;
    }
    assert_eq!(app.verbs().await.iter().filter(|verb| *verb == "file.uploaded").count(), files);
    assert_eq!(app.stored().len(), files, "nobody leaves anything behind");
}

async fn what_is_not_what_was_announced_is_no_file(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let page = b"<html><script>alert(1)</script></html>".to_vec();
    let mut png = announced(&pdf(1000));
    png["contentType"] = json!("image/png");
    let mut torn = announced(&pdf(600_000));
    torn["partSize"] = json!(300_000);
    for (body, bytes, refusal) in [
        (announced(&page), page, (415, "unsupported_media_type")),
        (png, pdf(1000), (409, "type_mismatch")),
        (torn, vec![b'x'; 600_000], (409, "checksum_mismatch")),
    ] {
        let upload = begin(&app, &owner, body).await;
        for part in upload["parts"].as_array().unwrap() {
            let at = part["offset"].as_u64().unwrap() as usize;
            let end = at + part["size"].as_u64().unwrap() as usize;
            send(&app, part, &[], &bytes[at..end]).await.ok();
        }
        assert_eq!(complete(&app, &owner, &upload).await.refusal(), refusal);
        let id = upload["id"].as_str().unwrap();
        assert_eq!(app.get(&owner, &format!("/v1/files/{id}/content")).await.status, 404);
        let shown = app.get(&owner, &format!("{UPLOADS}/{id}")).await.ok().json();
        assert_eq!(shown["parts"][0]["received"], json!(false), "it may be sent again");
    }
    assert!(app.stored().is_empty());
}

async fn uploads_count_as_used_until_they_end(t: &TestDb) {
    let options = crate::Options { owner_bytes_max: 10_000, ..crate::Options::at(URL) };
    let app = App::with(t, options).await;
    let owner = app.user();
    let bytes = pdf(6000);
    let upload = begin(&app, &owner, announced(&bytes)).await;
    let refused = app.post(&owner, UPLOADS, announced(&bytes)).await;
    assert_eq!(refused.refusal(), (409, "quota_exceeded"));
    assert_eq!(app.upload(&owner, "a.pdf", &bytes).await.refusal(), (409, "quota_exceeded"));
    let path = format!("{UPLOADS}/{}", upload["id"].as_str().unwrap());
    assert_eq!(app.delete(&app.user(), &path).await.refusal(), (404, "not_found"));
    send(&app, &upload["parts"][0], &[], &bytes).await.ok();
    app.delete(&owner, &path).await.ok();
    assert_eq!((used(&app, &owner).await, app.stored().len()), (0, 0));
    assert_eq!(app.delete(&owner, &path).await.refusal(), (404, "not_found"));

    let upload = begin(&app, &owner, announced(&bytes)).await;
    send(&app, &upload["parts"][0], &[], &bytes).await.ok();
    t.clock.advance(DAY);
    assert_eq!(complete(&app, &owner, &upload).await.refusal(), (410, "upload_expired"));
    assert_eq!(app.documents.uploads.expire().await.unwrap(), 1);
    assert_eq!(app.documents.uploads.expire().await.unwrap(), 0);
    assert_eq!((used(&app, &owner).await, app.stored().len()), (0, 0));
    assert_eq!(app.facts_about(owner.user().unwrap(), "upload.expired").await, 1);
}

async fn a_form_is_as_good_as_an_address(t: &TestDb) {
    let (app, bytes) = (App::new(t).await, pdf(5000));
    let owner = app.user();
    let upload = begin(&app, &owner, announced(&bytes)).await;
    let path = upload["form"]["url"].as_str().unwrap().strip_prefix(URL).unwrap();
    let post = async |change: Option<(&str, &str)>, file: &[u8]| {
        let mut body = Vec::new();
        for (name, value) in upload["form"]["fields"].as_object().unwrap() {
            let value = change.filter(|it| it.0 == name).map_or(value.as_str().unwrap(), |it| it.1);
            body.extend_from_slice(
                format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n\
                     {value}\r\n"
                )
                .as_bytes(),
            );
        }
        body.extend(crate::testing::multipart(&[("file", "a.pdf", file)]));
        let request = Request::post(path)
            .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
        app.send(&Caller::nobody(), request.body(Body::from(body)).unwrap()).await
    };
    let refused = post(Some(("content-type", "text/html")), &bytes).await;
    assert_eq!(refused.refusal(), (403, "invalid_signature"));
    let refused = post(Some(("expires", "99999999999")), &bytes).await;
    assert_eq!(refused.refusal(), (403, "invalid_signature"));
    assert_eq!(post(None, &bytes[1..]).await.refusal(), (400, "broken_body"));
    let longer = [&bytes[..], b"x"].concat();
    assert_eq!(post(None, &longer).await.refusal(), (413, "payload_too_large"));
    post(None, &bytes).await.ok();
    complete(&app, &owner, &upload).await.ok();
}

async fn with_a_bucket_the_bytes_go_past_us(t: &TestDb) {
    let server = S3Server::start().await;
    let (app, bytes) = (App::in_bucket(t, &server).await, pdf(600_000));
    let owner = app.user();
    let mut body = announced(&bytes);
    body["partSize"] = json!(300_000);
    let upload = begin(&app, &owner, body).await;
    let client = reqwest_client();
    for (number, part) in upload["parts"].as_array().unwrap().iter().enumerate() {
        let mut request = client.put(part["request"]["url"].as_str().unwrap());
        for (name, value) in part["request"]["headers"].as_object().unwrap() {
            if name != "content-length" {
                request = request.header(name, value.as_str().unwrap());
            }
        }
        let body = bytes[number * 300_000..(number + 1) * 300_000].to_vec();
        assert!(request.body(body).send().await.unwrap().status().is_success());
    }
    let file = complete(&app, &owner, &upload).await.ok().json();
    assert_eq!(file["sha256"], upload["sha256"]);
    let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    assert!(app.get(&owner, &path).await.ok().body == bytes);
    let part = app.get_with(&owner, &path, &[("range", "bytes=7-400006")]).await;
    assert!(part.body == bytes[7..400_007]);
    let signed = send_local(&app, &upload).await;
    assert_eq!(signed.refusal(), (404, "not_found"), "there is no such door here");
}

}

/// A request to the door of the embedded store.
async fn send_local(app: &App, upload: &Json) -> Answer {
    let path =
        format!("/v1/uploads/{}/1?expires=99999999999&signature=x", upload["id"].as_str().unwrap());
    let request = Request::put(path).header("content-length", "1").header("content-type", "a/b");
    app.send(&Caller::nobody(), request.body(Body::from("x")).unwrap()).await
}

fn reqwest_client() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    );
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap()
}

#[test]
fn no_other_terms_have_the_same_signature() {
    let key = Key(Secret::new([7; 32]));
    let upload = kernel::Id::from_uuid(uuid::Uuid::from_u128(7));
    let terms = Terms {
        method: "PUT",
        upload,
        part: 1,
        size: 10,
        media_type: "application/pdf",
        checksum: None,
        expires: 100,
    };
    let now = kernel::Timestamp::from_seconds;
    let right = key.sign(terms);
    key.check(terms, &right, now(99)).unwrap();
    assert_eq!(key.check(terms, &right, now(100)).unwrap_err().code(), "signature_expired");
    for other in [
        Terms { method: "POST", ..terms },
        Terms { part: 2, ..terms },
        Terms { size: 11, ..terms },
        Terms { media_type: "image/png", ..terms },
        Terms { checksum: Some("x"), ..terms },
        Terms { expires: 101, ..terms },
        Terms { upload: kernel::Id::from_uuid(uuid::Uuid::from_u128(8)), ..terms },
    ] {
        assert_eq!(key.check(other, &right, now(99)).unwrap_err().code(), "invalid_signature");
    }
    let wrong = Key(Secret::new([8; 32]));
    assert_eq!(wrong.check(terms, &right, now(99)).unwrap_err().code(), "invalid_signature");
}
