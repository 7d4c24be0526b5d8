use platform::testing::vectors;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::jcs::{self, JsonError};
use super::proof::{self, Draft, Proof, ProofError, Statement, Suite, join_hashes};
use super::rdfc::{self, Problem, Template};
use super::{badge, timestamp};
use crate::key::SigningKey;
use crate::key::multikey::PublicKey;
use crate::sample;

mod w3c {
    //! The Ed25519 vectors of "Data Integrity EdDSA Cryptosuites 1.0", appendix B.

    pub(super) const METHOD: &str = "did:key:z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2\
                                     #z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2";
    pub(super) const PUBLIC: &str = "z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2";
    pub(super) const PRIVATE: &str = "z3u2en7t5LR2WtQH5PfFqMqwVHBeXouLzo6haApm8XHqvjxq";
    /// 2023-02-24T23:36:38Z.
    pub(super) const CREATED: i64 = 1_677_281_798;
    pub(super) const JCS_PROOF_VALUE: &str = "z2HnFSSPPBzR36zdDgK8PbEHeXbR56YF24jwMpt3R1eHXQzJ\
                                              DMWS93FCzpvJpwTWd3GAVFuUfjoJdcnTMuVor51aX";
    pub(super) const JCS_HASHES: [&str; 2] = [
        "66ab154f5c2890a140cb8388a22a160454f80575f6eae09e5a097cabe539a1db",
        "59b7cb6251b8991add1ce0bc83107e3db9dbbab5bd2c28f687db1a03abc92f19",
    ];
    pub(super) const RDFC_PROOF_VALUE: &str = "z2YwC8z3ap7yx1nZYCg4L3j3ApHsF8kgPdSb5xoS1VR7vPG3\
                                               F561B52hYnQF9iseabecm3ijx4K1FBTQsCZahKZme";
    pub(super) const RDFC_HASHES: [&str; 2] = [
        "bea7b7acfbad0126b135104024a5f1733e705108f42d59668b05c0c50004c6b0",
        "517744132ae165a5349155bef0bb0cf2258fff99dfe1dbd914b938d775a36017",
    ];
    pub(super) const UNSIGNED: &str = r#"{
        "@context": [
            "https://www.w3.org/ns/credentials/v2",
            "https://www.w3.org/ns/credentials/examples/v2"
        ],
        "id": "urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33",
        "type": ["VerifiableCredential", "AlumniCredential"],
        "name": "Alumni Credential",
        "description": "A minimum viable example of an Alumni Credential.",
        "issuer": "https://vc.example/issuers/5678",
        "validFrom": "2023-01-01T00:00:00Z",
        "credentialSubject": {
            "id": "did:example:abcdefgh",
            "alumniOf": "The School of Examples"
        }
    }"#;
    pub(super) const N_QUADS: &str = "\
        <did:example:abcdefgh> \
            <https://www.w3.org/ns/credentials/examples#alumniOf> \
            \"The School of Examples\" .\n\
        <urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33> \
            <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> \
            <https://www.w3.org/2018/credentials#VerifiableCredential> .\n\
        <urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33> \
            <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> \
            <https://www.w3.org/ns/credentials/examples#AlumniCredential> .\n\
        <urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33> \
            <https://schema.org/description> \
            \"A minimum viable example of an Alumni Credential.\" .\n\
        <urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33> \
            <https://schema.org/name> \"Alumni Credential\" .\n\
        <urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33> \
            <https://www.w3.org/2018/credentials#credentialSubject> \
            <did:example:abcdefgh> .\n\
        <urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33> \
            <https://www.w3.org/2018/credentials#issuer> \
            <https://vc.example/issuers/5678> .\n\
        <urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33> \
            <https://www.w3.org/2018/credentials#validFrom> \
            \"2023-01-01T00:00:00Z\"^^<http://www.w3.org/2001/XMLSchema#dateTime> .\n";
    pub(super) const PROOF_OPTIONS_N_QUADS: &str = "\
        _:c14n0 <http://purl.org/dc/terms/created> \
            \"2023-02-24T23:36:38Z\"^^<http://www.w3.org/2001/XMLSchema#dateTime> .\n\
        _:c14n0 <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> \
            <https://w3id.org/security#DataIntegrityProof> .\n\
        _:c14n0 <https://w3id.org/security#cryptosuite> \
            \"eddsa-rdfc-2022\"^^<https://w3id.org/security#cryptosuiteString> .\n\
        _:c14n0 <https://w3id.org/security#proofPurpose> \
            <https://w3id.org/security#assertionMethod> .\n\
        _:c14n0 <https://w3id.org/security#verificationMethod> \
            <did:key:z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2\
            #z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2> .\n";
}

fn w3c_key() -> SigningKey {
    let bytes = bs58::decode(&w3c::PRIVATE[1..]).into_vec().unwrap();
    let secret = bytes.strip_prefix(&[0x80, 0x26]).expect("ed25519-priv");
    SigningKey::from_bytes(secret.try_into().unwrap())
}

fn w3c_draft(document: &Value) -> Draft {
    let says = Statement { verification_method: w3c::METHOD, created: w3c::CREATED };
    Draft::new(Suite::Jcs, document, says).unwrap()
}

fn sign(message: &[u8; 64], key: &SigningKey) -> [u8; 64] {
    use ed25519_dalek::Signer;
    key.sign(message).to_bytes()
}

#[test]
fn the_w3c_jcs_vector_is_reproduced_and_verified() {
    let document = jcs::parse(w3c::UNSIGNED).unwrap();
    let draft = w3c_draft(&document);
    assert_eq!(hex::encode(draft.message()), w3c::JCS_HASHES.concat());
    let signature = sign(draft.message(), &w3c_key());
    let proof = draft.finish(&signature);
    assert_eq!(proof["proofValue"], w3c::JCS_PROOF_VALUE);

    let read = Proof::read(&proof).unwrap();
    let key = PublicKey::parse(w3c::PUBLIC).unwrap();
    assert_eq!(read.verify(Suite::Jcs, &document, &key), Ok(()));
    assert_eq!(read.created(), w3c::CREATED);
}

#[test]
fn a_text_of_more_values_than_are_read_is_refused_however_short_it_is() {
    // The list itself, and two values for each item.
    let items = (jcs::VALUES_MAX as usize - 1) / 2;
    let text = |items: usize| format!("[{}]", vec!["{\"\":0}"; items].join(","));
    assert!(jcs::parse(&text(items)).is_ok());
    let refused = jcs::parse(&text(items + 1)).unwrap_err().to_string();
    assert!(refused.contains("there are more than 50000 values"), "{refused}");
    // Nor is it read to find out whether its numbers are to blame.
    assert!(jcs::has_odd_numbers("[1.5]") && !jcs::has_odd_numbers("[1]"));
    assert!(!jcs::has_odd_numbers(&text(items + 1).replace('0', "1.5")));
    let budget = jcs::Budget::default();
    assert!(budget.parse(&text(items)).is_ok());
    assert!(budget.parse("[1]").is_err(), "of several texts it is the sum");
}

#[test]
fn the_published_jcs_files_agree() {
    let Some(signed) = vectors::read_json("eddsa-jcs-2022/signedJCS.json") else { return };
    let (document, proofs) = proof::split(&signed).unwrap();
    let key = PublicKey::parse(w3c::PUBLIC).unwrap();
    assert_eq!(proofs[0].verify(Suite::Jcs, &document, &key), Ok(()));
    let canonical = vectors::read("eddsa-jcs-2022/canonDocJCS.txt").unwrap();
    assert_eq!(jcs::canonicalize(&document).unwrap(), canonical);
}

#[test]
fn the_w3c_rdfc_vector_is_reproduced_from_its_statements() {
    let options = json!({
        "type": "DataIntegrityProof",
        "cryptosuite": "eddsa-rdfc-2022",
        "created": "2023-02-24T23:36:38Z",
        "verificationMethod": w3c::METHOD,
        "proofPurpose": "assertionMethod",
    });
    let canonical_options = rdfc::canonicalize_proof_options(&options).unwrap();
    assert_eq!(canonical_options, w3c::PROOF_OPTIONS_N_QUADS);
    let hashes = join_hashes(&canonical_options, w3c::N_QUADS);
    assert_eq!(hex::encode(hashes), w3c::RDFC_HASHES.concat());
    let signature = sign(&hashes, &w3c_key());
    let proof_value = format!("z{}", bs58::encode(signature).into_string());
    assert_eq!(proof_value, w3c::RDFC_PROOF_VALUE);
    assert!(PublicKey::parse(w3c::PUBLIC).unwrap().verify(&hashes, &signature));
}

#[test]
fn the_published_rdfc_files_agree() {
    let Some(canonical) = vectors::read("eddsa-rdfc-2022/canonDocDataInt.txt") else { return };
    assert_eq!(canonical, w3c::N_QUADS);
    let options = vectors::read("eddsa-rdfc-2022/proofCanonDataInt.txt").unwrap();
    assert_eq!(options, w3c::PROOF_OPTIONS_N_QUADS);
}

/// The frozen files were compared byte for byte with what jsonld 9.0.0 (npm, RDFC-1.0 in safe mode)
/// makes of the same documents under the published contexts, and their proofs were verified by
/// @digitalbazaar/vc 7.3.0 in both suites and @digitalcredentials/verifier-core 1.0.0-beta.11 in
/// `eddsa-rdfc-2022`. Whoever changes a template repeats that before freezing again.
#[test]
fn the_verdict_has_the_frozen_form_statements_and_proofs() {
    let unsigned = sample::unsigned_verdict();
    let statements = rdfc::canonicalize(Template::Verdict, &unsigned).unwrap();
    assert_eq!(statements, include_str!("testdata/verdict.nq"));
    let frozen: Value = serde_json::from_str(include_str!("testdata/verdict.json")).unwrap();
    assert_eq!(sample::signed_verdict(), frozen);
}

#[test]
fn the_status_list_has_the_frozen_statements_and_proofs() {
    let frozen: Value = serde_json::from_str(include_str!("testdata/status-list.json")).unwrap();
    // The compressed text may change with the compressor, so the frozen one is signed again.
    let (unsigned, _) = proof::split(&frozen).unwrap();
    let statements = rdfc::canonicalize(Template::StatusList, &unsigned).unwrap();
    assert_eq!(statements, include_str!("testdata/status-list.nq"));
    let says = sample::says(sample::ISSUED_AT + sample::HOUR);
    let signed = proof::sign(Template::StatusList, unsigned, &sample::key(), says).unwrap();
    assert_eq!(signed, frozen);
}

#[test]
fn each_proof_of_the_set_stands_alone() {
    let (document, proofs) = proof::split(&sample::signed_verdict()).unwrap();
    let key = PublicKey::of(&sample::key());
    assert_eq!(proofs.len(), 2);
    assert_eq!(proofs[0].verify(Suite::Rdfc(Template::Verdict), &document, &key), Ok(()));
    assert_eq!(proofs[1].verify(Suite::Jcs, &document, &key), Ok(()));
    assert_eq!(proofs[0].verify(Suite::Jcs, &document, &key), Err(ProofError::OtherSuite));
}

#[test]
fn a_changed_word_or_another_key_breaks_both_proofs() {
    let (mut document, proofs) = proof::split(&sample::signed_verdict()).unwrap();
    let other = PublicKey::of(&w3c_key());
    let suites = [Suite::Rdfc(Template::Verdict), Suite::Jcs];
    for (proof, suite) in proofs.iter().zip(suites) {
        assert_eq!(proof.verify(suite, &document, &other), Err(ProofError::Signature));
    }
    document["issuer"]["name"] = "Verza Exemple".into();
    let key = PublicKey::of(&sample::key());
    for (proof, suite) in proofs.iter().zip(suites) {
        assert_eq!(proof.verify(suite, &document, &key), Err(ProofError::Signature));
    }
}

#[test]
fn contexts_added_after_signing_are_not_ignored() {
    let document = jcs::parse(w3c::UNSIGNED).unwrap();
    let draft = w3c_draft(&document);
    let signature = sign(draft.message(), &w3c_key());
    let proof = Proof::read(&draft.finish(&signature)).unwrap();
    let mut extended = document;
    extended["@context"].as_array_mut().unwrap().push("https://evil.example/v1".into());
    let key = PublicKey::parse(w3c::PUBLIC).unwrap();
    assert_eq!(proof.verify(Suite::Jcs, &extended, &key), Err(ProofError::OtherContext));
}

#[test]
fn a_proof_with_a_meaning_that_is_not_honoured_is_refused() {
    let signed = sample::signed_verdict();
    let refused = |name: &str, value: &str| {
        let mut proof = signed["proof"][1].clone();
        proof[name] = value.into();
        Proof::read(&proof).unwrap_err()
    };
    assert_eq!(refused("expires", "2027-01-01T00:00:00Z"), ProofError::Malformed("proof"));
    assert_eq!(refused("domain", "example.com"), ProofError::Malformed("proof"));
    assert_eq!(refused("proofPurpose", "authentication"), ProofError::Malformed("proofPurpose"));
    assert_eq!(refused("type", "Ed25519Signature2020"), ProofError::Malformed("type"));
    assert_eq!(refused("proofValue", "z1"), ProofError::Malformed("proofValue"));
    assert_eq!(refused("proofValue", "u1"), ProofError::Malformed("proofValue"));
}

#[test]
fn a_document_is_not_signed_twice_nor_outside_of_its_template() {
    let (key, says) = (sample::key(), sample::says(sample::ISSUED_AT));
    let again = proof::sign(Template::Verdict, sample::signed_verdict(), &key, says);
    assert_eq!(again, Err(ProofError::Document));
    let mut document = sample::unsigned_verdict();
    document["credentialSubject"]["email"] = "who@example.com".into();
    let Err(ProofError::Rdf(error)) = proof::sign(Template::Verdict, document, &key, says) else {
        panic!("an unknown member was signed");
    };
    assert_eq!(error.pointer, "/credentialSubject/email");
    assert_eq!(error.problem, Problem::Unexpected);
}

#[test]
fn every_departure_from_the_template_is_refused() {
    use Problem::*;
    for (pointer, value, problem) in [
        ("/@context", json!([rdfc::CREDENTIALS_V2]), OtherValue),
        ("/@context", json!([rdfc::OPEN_BADGES_V3, rdfc::CREDENTIALS_V2]), OtherValue),
        ("/type", json!(["OpenBadgeCredential", "VerifiableCredential"]), OtherValue),
        ("/type", json!("VerifiableCredential"), OtherValue),
        ("/id", json!("relative"), NotAnIri),
        ("/id", json!("urn:uuid:a b"), NotAnIri),
        ("/id", json!("urn:uuid:a>b"), NotAnIri),
        ("/id", json!("urn:uuid:"), NotAnIri),
        ("/id", json!("OpenBadgeCredential:x"), NotAnIri),
        ("/id", json!("_:b0"), NotAnIri),
        ("/id", json!(sample::DID), RepeatedNode),
        ("/issuer", json!(sample::DID), OtherType),
        ("/issuer/name", json!({ "@value": "x" }), OtherType),
        ("/issuer/name", json!(["x"]), OtherType),
        ("/issuer/name", Value::Null, OtherType),
        ("/issuer/name", json!("a\tb"), UnportableText),
        ("/validFrom", json!("2026-11-22T10:00:00+00:00"), NotATime),
        ("/validFrom", json!("2026-11-22"), NotATime),
        ("/evidence", json!([]), Missing),
        ("/evidence", json!({}), OtherType),
        ("/evidence/0/genre", json!(7), OtherType),
        ("/credentialStatus/statusPurpose", json!("refresh"), OtherValue),
        ("/credentialStatus/statusListIndex", json!(94_567), OtherType),
        ("/credentialStatus/statusListIndex", json!(""), OtherValue),
        ("/credentialStatus/type", json!(["BitstringStatusListEntry"]), OtherValue),
    ] {
        let mut document = sample::unsigned_verdict();
        *document.pointer_mut(pointer).expect(pointer) = value.clone();
        let refused = rdfc::canonicalize(Template::Verdict, &document).expect_err(pointer);
        assert_eq!(refused.problem, problem, "{pointer} = {value}: {refused}");
        assert!(refused.pointer.starts_with(pointer) || problem == RepeatedNode, "{refused}");
    }
}

#[test]
fn a_missing_member_is_named() {
    let mut document = sample::unsigned_verdict();
    document["evidence"][0].as_object_mut().unwrap().remove("id");
    let refused = rdfc::canonicalize(Template::Verdict, &document).unwrap_err();
    assert_eq!(refused.to_string(), "`/evidence/0/id` is missing");
    let list = rdfc::canonicalize(Template::StatusList, &sample::unsigned_verdict());
    assert_eq!(list.unwrap_err().pointer, "/@context");
}

#[test]
fn the_credential_says_that_a_document_was_checked_and_by_whom() {
    let credential = sample::unsigned_verdict();
    let evidence = &credential["evidence"][0];
    assert_eq!(
        evidence["narrative"],
        "Checked by R. M\u{fc}ller on 2026-11-22T08:00:00Z. \
         Method: enquiry at the registry\nand by telephone. Outcome: verified.",
    );
    assert_eq!(credential["credentialSubject"]["achievement"]["name"], "Verified document");
    let id = badge::evidence_id(&sample::SALT, &sample::DOCUMENT_SHA256);
    assert_eq!(evidence["id"], id);
    assert_ne!(badge::evidence_id(&[0; 32], &sample::DOCUMENT_SHA256), id);
}

#[test]
fn names_are_sorted_by_utf_16_units_as_in_rfc_8785() {
    let text = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With
Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"O"}"#
        .replace("With\nDagesh", "With Dagesh");
    let canonical = jcs::canonicalize(&jcs::parse(&text).unwrap()).unwrap();
    let value: Vec<&str> = canonical.split('"').skip(3).step_by(4).collect();
    assert_eq!(
        value,
        [
            "Carriage Return",
            "One",
            "Control",
            "O",
            "Euro Sign",
            "Emoji: Grinning Face",
            "Hebrew Letter Dalet With Dagesh",
        ]
    );
}

#[test]
fn strings_are_spelled_as_in_rfc_8785() {
    let value = jcs::parse(r#"{"s":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","n":-7}"#);
    let canonical = jcs::canonicalize(&value.unwrap()).unwrap();
    assert_eq!(canonical, "{\"n\":-7,\"s\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

#[test]
fn json_of_more_than_one_meaning_is_refused() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"b":[{"a":1,"c":2,"a":3}]}"#,
        "1.0",
        "1e2",
        "-0",
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551616",
        "[1,2",
        "{} {}",
        "",
        r#""\ud800""#,
    ] {
        assert!(matches!(jcs::parse(text), Err(JsonError::Malformed(_))), "{text}");
    }
    assert!(jcs::parse(&"[".repeat(100_000)).is_err(), "nesting has a bound");
    assert_eq!(
        jcs::parse(" [9007199254740991, true, null] ").unwrap()[0],
        9_007_199_254_740_991u64
    );
}

#[test]
fn numbers_that_canonicalization_would_round_are_refused() {
    for value in [json!(0.5), json!([1u64 << 53]), json!({ "a": i64::MIN })] {
        assert_eq!(jcs::canonicalize(&value), Err(JsonError::Number));
    }
}

#[test]
fn times_have_one_spelling() {
    assert_eq!(timestamp::format(0).unwrap(), "1970-01-01T00:00:00Z");
    assert_eq!(timestamp::format(sample::ISSUED_AT).unwrap(), "2026-11-22T10:00:00Z");
    assert_eq!(timestamp::parse("2026-11-22T10:00:00Z"), Ok(sample::ISSUED_AT));
    for text in [
        "2026-11-22t10:00:00Z",
        "2026-11-22T10:00:00z",
        "2026-11-22T10:00:00.0Z",
        "2026-11-22T10:00:00+00:00",
        "2026-11-22 10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-11-22T23:59:60Z",
    ] {
        assert!(timestamp::parse(text).is_err(), "{text}");
    }
    assert!(timestamp::format(i64::MAX).is_err());
}

proptest! {
    #[test]
    fn any_portable_title_is_signed_and_verified(title in "\\PC*", method in "[ -~\n]{0,80}") {
        let mut verdict = sample::verdict();
        verdict.check.title = &title;
        verdict.check.method = &method;
        prop_assume!(rdfc::is_portable_text(&title));
        let says = sample::says(sample::ISSUED_AT);
        let document = verdict.to_json().unwrap();
        let signed = proof::sign(Template::Verdict, document, &sample::key(), says).unwrap();
        let text = jcs::canonicalize(&signed).unwrap();
        let (document, proofs) = proof::split(&jcs::parse(&text).unwrap()).unwrap();
        let key = PublicKey::of(&sample::key());
        let rdfc = Suite::Rdfc(Template::Verdict);
        prop_assert_eq!(proofs[0].verify(rdfc, &document, &key), Ok(()));
        prop_assert_eq!(proofs[1].verify(Suite::Jcs, &document, &key), Ok(()));
    }

    #[test]
    fn reading_what_was_canonicalized_changes_nothing(
        text in "\\PC*",
        number in -9_007_199_254_740_991i64..=9_007_199_254_740_991,
    ) {
        let value = json!({ "z": [text, null, true], text.clone(): number, "a": {} });
        let canonical = jcs::canonicalize(&value).unwrap();
        let read = jcs::parse(&canonical).unwrap();
        prop_assert_eq!(jcs::canonicalize(&read).unwrap(), canonical);
        prop_assert_eq!(read, value);
    }
}
