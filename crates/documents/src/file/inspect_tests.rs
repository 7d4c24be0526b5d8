//! Looking into PDFs, with this very test program as the process apart.

use kernel::Caller;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use super::Inspector;
use crate::Options;
use crate::testing::{App, TABLES, URL, pdf};

/// Signed by somebody below the root beside it; from 2025 to 2030.
const SIGNED: &[u8] = include_bytes!("../../../verify/src/pdf/testdata/openssl.pdf");
const ROOT: &[u8] = include_bytes!("../../../verify/src/pdf/testdata/openssl-root.pem");

/// This program, as it runs one of the tests below.
fn running(test: &str, anchors: &[u8]) -> Inspector {
    let arguments = ["--exact", test, "--ignored", "--nocapture", "--test-threads=1"];
    let program = std::env::current_exe().unwrap();
    Inspector::new(program, arguments.map(str::to_owned).to_vec(), anchors).unwrap()
}

#[test]
#[ignore = "is started by other tests, with a file on standard input"]
fn child() {
    super::child().unwrap();
}

#[test]
#[ignore = "is started by other tests, and takes more memory than it may"]
fn glutton() {
    super::inspect::bound().unwrap();
    let room = std::hint::black_box(vec![1_u8; 1 << 30]);
    println!("\n{{\"signatures\":[],\"truncated\":{}}}", room[7] == 0);
}

async fn with(t: &TestDb, inspector: Inspector) -> App {
    App::with(t, Options { inspector: Some(inspector), ..Options::at(URL) }).await
}

/// What is known of a file's signatures before and after it was looked into.
async fn found(app: &App, owner: &Caller, file: &[u8]) -> (Json, Json) {
    let made = app.upload(owner, "diploma.pdf", file).await.ok().json();
    app.work().await;
    let path = format!("/v1/files/{}", made["id"].as_str().unwrap());
    let shown = app.get(owner, &path).await.ok().json();
    (made["signatures"].clone(), shown["signatures"].clone())
}

#[test]
fn anchors_are_certificates_or_nothing() {
    let inspector = |anchors: &[u8]| Inspector::new("/bin/true".into(), Vec::new(), anchors);
    assert!(inspector(b"").is_ok());
    assert!(inspector(ROOT).is_ok());
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(inspector(broken).unwrap_err().code(), "invalid_configuration");
}

platform::on_both_engines! { TABLES;

async fn the_signatures_of_a_pdf_stand_with_the_file(t: &TestDb) {
    let app = with(t, running("file::inspect_tests::child", ROOT)).await;
    let owner = app.user();
    let (before, after) = found(&app, &owner, SIGNED).await;
    assert_eq!(before, json!({ "state": "pending" }));
    assert_eq!(after["state"], "checked", "{after}");
    let one = &after["found"][0];
    let facts = (&one["integrity"], &one["coversWholeFile"], &one["signer"]);
    assert_eq!(facts, (&json!("valid"), &json!(true), &json!("anchored")), "{after}");
    assert_eq!(one["subject"], "CN=The Registrar");

    let altered: Vec<u8> = [SIGNED, b"3 0 obj\n<< >>\nendobj\n%%EOF\n"].concat();
    let one = found(&app, &owner, &altered).await.1["found"][0].clone();
    let facts = (&one["integrity"], &one["coversWholeFile"]);
    assert_eq!(facts, (&json!("valid"), &json!(false)), "{one}");

    // Where nothing gives itself out as a signature, no process is asked.
    let none = found(&app, &owner, &pdf(5000)).await.0;
    assert_eq!((&none["state"], &none["found"]), (&json!("checked"), &json!([])));
    let owner = owner.user().unwrap();
    assert_eq!(app.facts_about(owner, "file.inspected").await, 0, "it tells admins, and nobody else");
    assert_eq!(app.verbs().await.iter().filter(|verb| *verb == "file.inspected").count(), 2);
}

async fn whoever_is_granted_the_document_sees_them_too(t: &TestDb) {
    let app = with(t, running("file::inspect_tests::child", b"")).await;
    let (owner, verifier) = (app.user(), app.user());
    let file = app.upload(&owner, "diploma.pdf", SIGNED).await.ok().json();
    app.work().await;
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(app.get(&verifier, &path).await.refusal().0, 404);
    let body = json!({
        "title": "Diploma", "type": "Education", "issuer": "X", "fileId": file["id"],
    });
    let made = app.post(&owner, "/v1/user/credentials", body).await.ok().json();
    app.grant(crate::testing::id(&made["id"]), &verifier).await;
    let seen = app.get(&verifier, &path).await.ok().json();
    assert_eq!(seen["signatures"]["found"][0]["signer"], "unknown", "{seen}");
}

async fn a_process_that_breaks_or_takes_too_much_leaves_the_file_as_it_is(t: &TestDb) {
    let shell = |script: &str| {
        let arguments = vec!["-c".to_owned(), script.to_owned()];
        Inspector::new("/bin/sh".into(), arguments, b"").unwrap()
    };
    let glutton = running("file::inspect_tests::glutton", b"");
    for inspector in [glutton, shell("exit 3"), shell("kill -9 $$"), shell("cat"), shell("echo {}")] {
        let app = with(t, inspector.clone()).await;
        let owner = app.user();
        let (_, after) = found(&app, &owner, SIGNED).await;
        assert_eq!(after["state"], "failed", "{inspector:?}: {after}");
        assert!(after["reason"].is_string());
    }
}

async fn what_cannot_be_started_is_tried_again(t: &TestDb) {
    let none = Inspector::new("/nowhere/verza".into(), Vec::new(), b"").unwrap();
    let app = with(t, none).await;
    let owner = app.user();
    let (_, after) = found(&app, &owner, SIGNED).await;
    assert_eq!(after, json!({ "state": "pending" }));
}

async fn only_pdfs_are_looked_into_and_only_where_somebody_looks(t: &TestDb) {
    let app = App::new(t).await;
    let (before, after) = found(&app, &app.user(), SIGNED).await;
    assert_eq!((before, after), (Json::Null, Json::Null));
}

}
