//! What outside judges are shown: files as issuers, holders and lists make them.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::token_tests::{ISSUER, NOW, holder, issuer, list, presented, sd_jwt};
use crate::sample;

/// Writes the files below `$VERZA_JUDGES`, for `cargo xtask judges`.
#[test]
#[ignore = "writes files for outside judges"]
fn artifacts_for_outside_judges_are_written() {
    let folder = std::env::var_os("VERZA_JUDGES").expect("the folder to write to");
    let write = |name: &str, text: String| {
        fs::write(Path::new(&folder).join(name), text).unwrap();
    };
    let issued = sd_jwt(|_| ());
    write("presentation.txt", presented(&issued));
    write("issued.txt", issued);
    write("status-list.txt", list(false, NOW - 60));
    write("status-list-revoked.txt", list(true, NOW - 60));
    write("verdict.json", sample::signed_verdict().to_string());
    write("bitstring.json", sample::signed_status_list(false).to_string());
    write("bitstring-revoked.json", sample::signed_status_list(true).to_string());
    write("did.json", sample::did_document().to_string());
    let facts = json!({
        "issuer": ISSUER,
        "issuerJwk": issuer().public().to_jwk(),
        "holderJwk": holder().public().to_jwk(),
        "audience": "x509_hash:a",
        "nonce": "n",
        "now": NOW,
        "did": sample::DID,
        "statusIndex": sample::STATUS_INDEX,
        "statusList": sample::STATUS_LIST,
    });
    write("facts.json", facts.to_string());
}
