//! What outside judges are shown: files as issuers, holders and lists make them.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::token_tests::{ISSUER, NOW, holder, issuer, list, presented, sd_jwt};
use crate::key::multikey::PublicKey;
use crate::log::checkpoint::Checkpoint;
use crate::log::merkle::{Edge, leaf_hash};
use crate::log::note::VerifierKey;
use crate::log::tile::Growth;
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

/// A log of 70,000 entries as it is served, and its checkpoint when it had 1,000.
#[test]
#[ignore = "writes files for outside judges"]
fn a_log_for_outside_judges_is_written() {
    const ORIGIN: &str = "verza.example/audit/2026";
    let folder = std::env::var_os("VERZA_JUDGES").expect("the folder to write to");
    let folder = Path::new(&folder).join("log");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let key = sample::key();
    let checkpoint = |edge: &Edge| {
        let root = edge.root();
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size: edge.size(), root };
        checkpoint.sign(&key).unwrap().to_string()
    };
    let mut growth = Growth::resume(Edge::empty(), |_| None).unwrap();
    let mut old = Edge::empty();
    for index in 0..70_000 {
        let leaf = leaf_hash(format!("entry {index}").as_bytes());
        if index < 1_000 {
            old.append(leaf);
        }
        growth.append(leaf);
    }
    let (edge, tiles) = growth.finish();
    for (tile, bytes) in tiles {
        write(&tile.path(), &bytes);
    }
    write("checkpoint.txt", checkpoint(&edge).as_bytes());
    write("old-checkpoint.txt", checkpoint(&old).as_bytes());
    let vkey = VerifierKey::new(ORIGIN, PublicKey::of(&key)).unwrap();
    write("vkey.txt", vkey.to_string().as_bytes());
}
