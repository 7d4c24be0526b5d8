//! What remains of a key's signatures once its issuer has revoked it.

use serde_json::{Value, json};

use super::bundle::{Bundle, LogEvidence};
use super::report::{Name, Outcome, Report, Verdict};
use super::tests::{informed, log_vkey, logged_rows, parts};
use super::token_tests::{self, ISSUER};
use super::trust::Trust;
use super::{Options, signed_digest, verify};
use crate::credential::proof::{self, Statement};
use crate::credential::rdfc::Template;
use crate::credential::timestamp;
use crate::key::SigningKey;
use crate::key::did::{self, Revoked, VerificationMethod};
use crate::key::multikey::PublicKey;
use crate::log::entry::{self, CREDENTIAL_ISSUED};
use crate::sample::{self, DID, HOUR, ISSUED_AT};

/// The sample's key was stolen an hour after the sample was signed with it.
pub(super) const STOLEN_AT: i64 = ISSUED_AT + HOUR;

pub(super) fn new_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

pub(super) fn document(since: i64, wholly: bool) -> Value {
    let revoked = Revoked { since: timestamp::format(since).unwrap(), wholly };
    let old = VerificationMethod {
        fragment: "key-1".into(),
        key: PublicKey::of(&sample::key()),
        revoked: Some(revoked),
    };
    let key = PublicKey::of(&new_key());
    did::document(DID, &[old, VerificationMethod { fragment: "key-2".into(), key, revoked: None }])
}

pub(super) fn logged(credential: &Value, at: i64) -> LogEvidence {
    let row = json!({
        "verb": CREDENTIAL_ISSUED,
        "subject": credential["id"],
        "at": timestamp::format(at).unwrap(),
        "data": { "credentialSha256": hex::encode(entry::credential_digest(credential).unwrap()) },
    });
    logged_rows(&[row]).remove(0)
}

/// The sample as it is exported after the compromise: list and seal are of the new key.
pub(super) fn exported(credential: Value, log: Option<LogEvidence>) -> Vec<u8> {
    let method = did::method_id(DID, "key-2");
    let says = Statement { verification_method: &method, created: ISSUED_AT + HOUR };
    let list = sample::unsigned_status_list(false);
    let status_list = proof::sign(Template::StatusList, list, &new_key(), says).unwrap();
    let did_document = document(STOLEN_AT, false);
    let bundle = Bundle { credential, log, status_list, did_document, ..parts() };
    bundle.seal(&new_key(), &method).unwrap().to_string().into_bytes()
}

/// A reader who has the issuer's newest did.json and the log's key.
pub(super) fn warned() -> Options {
    let mut trust = Trust::default();
    trust.pin(&document(STOLEN_AT, false).to_string()).unwrap();
    trust.pin(&log_vkey()).unwrap();
    Options { trust, ..informed() }
}

fn detail(report: &Report, name: Name) -> &str {
    &report.checks.iter().find(|check| check.name == name).unwrap().detail
}

#[test]
fn what_a_key_signed_before_it_was_stolen_stands_where_a_pinned_log_dates_it() {
    let credential = sample::signed_verdict();
    let log = Some(logged(&credential, ISSUED_AT));
    let file = exported(credential, log);
    let report = verify(&file, &warned());
    assert_eq!(report.verdict, Verdict::Valid, "{report}");

    let mut logless = Trust::default();
    logless.pin(&document(STOLEN_AT, false).to_string()).unwrap();
    let report = verify(&file, &Options { trust: logless, ..warned() });
    assert_eq!(report.verdict, Verdict::Unproven, "{report}");
    assert!(detail(&report, Name::JcsSignature).contains("nothing but its own date"), "{report}");
    let revoked = "has revoked did:web:verza.example%3A8443#key-1 as of 2026-11-22T11:00:00Z";
    assert!(detail(&report, Name::IssuerKey).contains(revoked), "{report}");
}

#[test]
fn an_earlier_date_by_a_thief_shows_nothing() {
    // Signed by the thief in the issuer's name and dated back; the log never heard of it in time.
    let credential = sample::signed_verdict();
    let report = verify(&exported(credential.clone(), None), &warned());
    assert_eq!(report.verdict, Verdict::Unproven, "{report}");
    let late = Some(logged(&credential, STOLEN_AT));
    let report = verify(&exported(credential, late), &warned());
    assert_eq!(report.verdict, Verdict::Unproven, "{report}");
}

#[test]
fn what_a_stolen_key_signs_with_a_later_date_is_invalid_whatever_the_log_says() {
    let says = sample::says(STOLEN_AT);
    let unsigned = sample::unsigned_verdict();
    let credential = proof::sign(Template::Verdict, unsigned, &sample::key(), says).unwrap();
    let log = Some(logged(&credential, ISSUED_AT));
    let report = verify(&exported(credential, log), &warned());
    assert_eq!(report.verdict, Verdict::Invalid, "{report}");
    assert_eq!(report.outcome(Name::IssuerKey), Outcome::Failed);
    assert!(detail(&report, Name::JcsSignature).contains("with a revoked key"), "{report}");
}

#[test]
fn an_export_from_before_must_be_made_again() {
    let credential = sample::signed_verdict();
    let log = Some(logged(&credential, ISSUED_AT));
    // Dated before the theft, as a thief would date it.
    let bundle = Bundle { log, exported_at: STOLEN_AT - 1, ..parts() };
    let sealed = bundle.seal(&sample::key(), sample::METHOD).unwrap().to_string();
    let report = verify(sealed.as_bytes(), &warned());
    assert_eq!(report.verdict, Verdict::Invalid, "its list is dated after the theft: {report}");
    let says = sample::says(STOLEN_AT - 1);
    let list = sample::unsigned_status_list(false);
    let status_list = proof::sign(Template::StatusList, list, &sample::key(), says).unwrap();
    let bundle = Bundle { status_list, ..bundle };
    let sealed = bundle.seal(&sample::key(), sample::METHOD).unwrap().to_string();
    let report = verify(sealed.as_bytes(), &warned());
    assert_eq!(report.verdict, Verdict::Unproven, "{report}");
    assert_eq!(
        report.outcome(Name::NotRevoked),
        Outcome::NotChecked,
        "the list could be a thief's"
    );
    assert!(detail(&report, Name::BundleSeal).contains("exported again"), "{report}");
}

#[test]
fn a_key_that_never_signed_anything_good_asserts_no_more() {
    let document = document(ISSUED_AT - HOUR, true);
    assert_eq!(document["assertionMethod"], json!([did::method_id(DID, "key-2")]));
    let mut trust = Trust::default();
    trust.pin(&document.to_string()).unwrap();
    let file = sample::signed_verdict().to_string();
    let report = verify(file.as_bytes(), &Options { trust, ..warned() });
    assert_eq!(report.verdict, Verdict::Invalid, "{report}");
    assert!(detail(&report, Name::IssuerKey).contains("revoked the key"), "{report}");
}

#[test]
fn a_revocation_that_cannot_be_read_is_one_of_all_times() {
    let mut document = document(STOLEN_AT, false);
    document["verificationMethod"][0]["revoked"] = "yesterday".into();
    let method = did::method_id(DID, "key-1");
    assert_eq!(did::revoked_since(&document, &method), Some(i64::MIN));
    assert_eq!(did::revoked_since(&document, &did::method_id(DID, "key-2")), None);
    assert_eq!(did::revoked_since(&document, "did:web:other.example#key-1"), None);
}

/// A reader of tokens who has the issuer's newest metadata.
fn warned_of_token_key(since: i64) -> Options {
    let mut jwk = token_tests::issuer().public().to_jwk();
    jwk["kid"] = "key-1".into();
    jwk["revoked"] = json!({ "revoked_at": since, "reason": "compromised" });
    let mut trust = Trust::default();
    let metadata = json!({ "issuer": ISSUER, "jwks": { "keys": [jwk] } });
    trust.pin(&metadata.to_string()).unwrap();
    Options { trust, now: token_tests::NOW, ..informed() }
}

#[test]
fn a_token_under_a_stolen_key_counts_when_the_readers_own_records_have_it() {
    let unbound = |change: &mut Value| drop(change.as_object_mut().unwrap().remove("cnf"));
    let token = token_tests::sd_jwt(unbound);
    let signature = |options: &Options| {
        let report = verify(token.as_bytes(), options);
        (report.verdict, report.outcome(Name::TokenSignature))
    };
    let mut options = warned_of_token_key(STOLEN_AT);
    assert_eq!(signature(&options), (Verdict::Unproven, Outcome::NotChecked));
    options.trust.record(signed_digest(token.as_bytes()).unwrap(), STOLEN_AT);
    assert_eq!(signature(&options).1, Outcome::NotChecked, "it was recorded too late");
    options.trust.record(signed_digest(token.as_bytes()).unwrap(), STOLEN_AT - 1);
    assert_eq!(signature(&options).1, Outcome::Proved);
    let withheld = token.split_once('~').unwrap().0.to_owned() + "~";
    assert_eq!(signed_digest(withheld.as_bytes()), signed_digest(token.as_bytes()));

    let dated = token_tests::sd_jwt(|claims| {
        unbound(claims);
        claims["iat"] = STOLEN_AT.into();
    });
    let report = verify(dated.as_bytes(), &options);
    assert_eq!(report.verdict, Verdict::Invalid, "{report}");
    assert!(detail(&report, Name::IssuerKey).contains("has revoked its key"), "{report}");
}

#[test]
fn a_list_under_a_stolen_key_shows_nothing() {
    let token = token_tests::sd_jwt(|claims| drop(claims.as_object_mut().unwrap().remove("cnf")));
    let mut options = warned_of_token_key(STOLEN_AT);
    options.trust.record(signed_digest(token.as_bytes()).unwrap(), ISSUED_AT);
    options.status_lists = vec![token_tests::list(false, token_tests::NOW)];
    let report = verify(token.as_bytes(), &options);
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::NotChecked, "{report}");
    assert!(detail(&report, Name::StatusSignature).contains("has revoked the list's key"));
}
