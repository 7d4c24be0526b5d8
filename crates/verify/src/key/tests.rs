use platform::testing::vectors;
use serde_json::{Value, json};

use super::did::{self, DidError, VerificationMethod};
use super::multikey::{KeyError, PublicKey};
use crate::sample;

/// The key pair of the W3C EdDSA test vectors, public part.
const W3C_KEY: &str = "z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2";

#[test]
fn a_multikey_is_read_and_written_back() {
    let key = PublicKey::parse(W3C_KEY).unwrap();
    assert_eq!(key.multikey(), W3C_KEY);
    assert_eq!(PublicKey::from_bytes(&key.to_bytes()), Ok(key));
}

#[test]
fn the_public_key_of_rfc_8032_test_1_is_derived() {
    let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(hex::encode(PublicKey::of(&sample::key()).to_bytes()), public);
}

#[test]
fn other_kinds_of_keys_and_weak_points_are_refused() {
    let multikey = |bytes: &[u8]| format!("z{}", bs58::encode(bytes).into_string());
    let p256 = multikey(&[&[0x80, 0x24][..], &[2; 33]].concat());
    let short = multikey(&[&[0xed, 0x01][..], &[2; 31]].concat());
    let identity = multikey(&[&[0xed, 0x01, 1][..], &[0; 31]].concat());
    assert_eq!(PublicKey::parse(&p256), Err(KeyError::NotEd25519));
    assert_eq!(PublicKey::parse(&short), Err(KeyError::NotEd25519));
    assert_eq!(PublicKey::parse(&identity), Err(KeyError::NotAPoint));
    assert_eq!(PublicKey::parse("u6Mk"), Err(KeyError::NotMultibase));
    assert_eq!(PublicKey::parse("z0OIl"), Err(KeyError::NotMultibase));
    assert_eq!(PublicKey::parse(&format!("z{}", "1".repeat(10_000))), Err(KeyError::NotMultibase));
}

#[test]
fn signatures_of_rfc_8032_are_verified_and_changed_ones_are_not() {
    let key = PublicKey::of(&sample::key());
    let mut signature = [0; 64];
    let published = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a\
                     33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
    hex::decode_to_slice(published, &mut signature).unwrap();
    assert!(key.verify(b"", &signature));
    assert!(!key.verify(b"x", &signature));
    signature[63] ^= 0x10;
    assert!(!key.verify(b"", &signature), "a signature has one spelling only");
}

#[test]
fn wycheproof_signatures_are_judged_as_published() {
    let Some(suite) = vectors::read_json("wycheproof/ed25519_test.json") else { return };
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    for group in suite["testGroups"].as_array().unwrap() {
        let point = bytes(&group["publicKey"]["pk"]);
        let key = PublicKey::from_bytes(&point.try_into().unwrap()).unwrap();
        for test in group["tests"].as_array().unwrap() {
            let signature: Result<[u8; 64], _> = bytes(&test["sig"]).try_into();
            let verified = signature.is_ok_and(|sig| key.verify(&bytes(&test["msg"]), &sig));
            assert_eq!(verified, test["result"] == "valid", "{test}");
        }
    }
}

#[test]
fn did_web_follows_host_port_and_path() {
    for (url, did) in [
        ("https://verza.example", "did:web:verza.example"),
        ("https://Verza.Example/", "did:web:verza.example"),
        ("https://verza.example:443", "did:web:verza.example"),
        ("https://verza.example:8443", "did:web:verza.example%3A8443"),
        ("http://localhost:8080/", "did:web:localhost%3A8080"),
        ("http://localhost:80", "did:web:localhost"),
        ("https://verza.example/verifiers/v_1", "did:web:verza.example:verifiers:v_1"),
        ("https://verza.example:8443/a/b/", "did:web:verza.example%3A8443:a:b"),
    ] {
        assert_eq!(did::did_web(url).as_deref(), Ok(did), "{url}");
    }
}

#[test]
fn urls_without_a_did_web_form_are_refused() {
    for url in [
        "verza.example",
        "ftp://verza.example",
        "https://",
        "https://user@verza.example",
        "https://[::1]:8443",
        "https://verza.example:0",
        "https://verza.example:70000",
        "https://verza.example:",
        "https://verza.example?x=1",
        "https://verza.example/a//b",
        "https://verza.example//",
        "https://verza.example/../x",
        "https://verza.example/a%2Fb",
        "https://v\u{e9}rza.example",
    ] {
        assert_eq!(did::did_web(url), Err(DidError::Url), "{url}");
    }
}

#[test]
fn a_did_web_document_is_found_where_the_method_says() {
    for (did, url) in [
        ("did:web:verza.example", "https://verza.example/.well-known/did.json"),
        ("did:web:localhost%3A8443", "https://localhost:8443/.well-known/did.json"),
        ("did:web:verza.example:verifiers:v_1", "https://verza.example/verifiers/v_1/did.json"),
    ] {
        assert_eq!(did::document_url(did).as_deref(), Ok(url));
    }
    for did in ["did:key:z6Mk", "did:web:", "did:web:a%3Ab", "did:web:a::b", "did:web:a:.."] {
        assert_eq!(did::document_url(did), Err(DidError::Identifier), "{did}");
    }
}

#[test]
fn each_listed_key_is_found_by_its_identifier() {
    let (old, new) = (PublicKey::of(&sample::key()), PublicKey::parse(W3C_KEY).unwrap());
    let method =
        |fragment: &str, key| VerificationMethod { fragment: fragment.into(), key, revoked: None };
    let document = did::document(sample::DID, &[method("key-1", old), method("key-2", new)]);
    assert_eq!(document["@context"], json!(did::CONTEXTS));
    assert_eq!(document["verificationMethod"][1]["publicKeyMultibase"], W3C_KEY);
    assert_eq!(did::assertion_key(&document, sample::METHOD), Ok(old));
    assert_eq!(did::assertion_key(&document, &did::method_id(sample::DID, "key-2")), Ok(new));
    let unknown = did::method_id(sample::DID, "key-3");
    assert_eq!(did::assertion_key(&document, &unknown), Err(DidError::UnknownMethod));
    let foreign = "did:web:other.example#key-1";
    assert_eq!(did::assertion_key(&document, foreign), Err(DidError::OtherSubject));
}

#[test]
fn a_key_must_be_the_documents_own_and_listed_for_assertions() {
    let changed = |change: fn(&mut Value)| {
        let mut document = sample::did_document();
        change(&mut document);
        did::assertion_key(&document, sample::METHOD)
    };
    assert_eq!(
        changed(|document| document["assertionMethod"] = json!([])),
        Err(DidError::NotForAssertion)
    );
    assert_eq!(
        changed(|document| document["verificationMethod"][0]["controller"] = "did:web:x".into()),
        Err(DidError::Document("verificationMethod"))
    );
    assert_eq!(
        changed(|document| {
            let method = document["verificationMethod"][0].clone();
            document["verificationMethod"] = json!([method, method]);
        }),
        Err(DidError::UnknownMethod)
    );
    assert_eq!(changed(|document| *document = json!([])), Err(DidError::OtherSubject));
}
