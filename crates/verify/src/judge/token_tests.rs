//! Tokens as readers get them: of our own form, presented, revoked, expired, forged.

use serde_json::{Map, Value, json};

use super::report::{Name, Outcome, Report, Verdict};
use super::trust::Trust;
use super::{Options, Presented, verify};
use crate::jose::es256::SecretKey;
use crate::jose::jws;
use crate::jose::sdjwt::{self, Challenge, Hidden};
use crate::sample::{self, Authority, DAY, ISSUED_AT};
use crate::status::bitstring::{Bitstring, ENTRIES_MIN};
use crate::status::token;

pub(super) const ISSUER: &str = "https://verza.example:8443";
pub(super) const NOW: i64 = ISSUED_AT + DAY;
const LIST: &str = sample::STATUS_LIST;

pub(super) fn issuer() -> SecretKey {
    SecretKey::from_bytes(&[1; 32]).unwrap()
}

pub(super) fn holder() -> SecretKey {
    SecretKey::from_bytes(&[2; 32]).unwrap()
}

fn header(typ: &str) -> Value {
    json!({ "typ": typ, "kid": "key-1" })
}

pub(super) fn sd_jwt(change: impl Fn(&mut Value)) -> String {
    let mut open = json!({
        "iss": ISSUER,
        "vct": "https://verza.example:8443/types/verified-document",
        "nbf": ISSUED_AT,
        "exp": ISSUED_AT + 365 * DAY,
        "cnf": { "jwk": holder().public().to_jwk() },
        "status": { "status_list": { "idx": sample::STATUS_INDEX, "uri": LIST } },
    });
    change(&mut open);
    let open: Map<String, Value> = open.as_object().unwrap().clone();
    let hidden = [
        Hidden { name: "title", value: "B.Sc.".into(), salt: [3; 16] },
        Hidden { name: "kind", value: "diploma".into(), salt: [4; 16] },
    ];
    sdjwt::issue(header(sdjwt::TYPE), open, &hidden, &[], &issuer())
}

pub(super) fn list(revoked: bool, made: i64) -> String {
    list_under(header(token::TYPE), &issuer(), revoked, made)
}

fn list_under(header: Value, key: &SecretKey, revoked: bool, made: i64) -> String {
    let mut list = Bitstring::new(ENTRIES_MIN).unwrap();
    list.set(sample::STATUS_INDEX, revoked).unwrap();
    let mut claims = token::claims(LIST, made, made + DAY, 300, &list);
    claims["iss"] = ISSUER.into();
    jws::sign(header, &claims, key)
}

fn metadata() -> String {
    let mut jwk = issuer().public().to_jwk();
    jwk["kid"] = "key-1".into();
    json!({ "issuer": ISSUER, "jwks": { "keys": [jwk] } }).to_string()
}

fn informed() -> Options {
    let mut trust = Trust::default();
    trust.pin(&metadata()).unwrap();
    Options {
        now: NOW,
        trust,
        status_age_max: DAY,
        document_sha256: None,
        status_lists: vec![list(false, NOW - 60)],
        challenge: Some(Presented { audience: "x509_hash:a".into(), nonce: "n".into() }),
    }
}

pub(super) fn presented(issued: &str) -> String {
    let challenge = Challenge { audience: "x509_hash:a", nonce: "n", now: NOW, age_max: 60 };
    sdjwt::present(issued, |name| name == "kind", &holder(), &challenge).unwrap()
}

fn judge(text: &str) -> Report {
    verify(text.as_bytes(), &informed())
}

fn failed(text: &str, name: Name) {
    let report = judge(text);
    assert_eq!(report.outcome(name), Outcome::Failed, "{report}");
    assert_eq!(report.verdict, Verdict::Invalid);
}

#[test]
fn a_presentation_is_valid_for_its_reader() {
    let report = judge(&presented(&sd_jwt(|_| ())));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
}

#[test]
fn without_a_pin_or_a_list_a_token_is_unproven() {
    let text = presented(&sd_jwt(|_| ()));
    let alone = Options { trust: Trust::default(), ..informed() };
    let report = verify(text.as_bytes(), &alone);
    assert_eq!(report.verdict, Verdict::Unproven, "{report}");
    assert_eq!(report.outcome(Name::TokenSignature), Outcome::NotChecked);
    let report = verify(text.as_bytes(), &Options { status_lists: Vec::new(), ..informed() });
    assert_eq!(report.verdict, Verdict::Unproven);
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::NotChecked);
    let report = verify(text.as_bytes(), &Options { challenge: None, ..informed() });
    assert_eq!(report.verdict, Verdict::Unproven);
}

#[test]
fn the_negative_list_is_refused() {
    failed(&sd_jwt(|_| ()), Name::KeyBinding);
    let text = presented(&sd_jwt(|_| ()));
    for (audience, nonce) in [("x509_hash:b", "n"), ("x509_hash:a", "m")] {
        let asked = Presented { audience: audience.into(), nonce: nonce.into() };
        let report = verify(text.as_bytes(), &Options { challenge: Some(asked), ..informed() });
        assert_eq!(report.outcome(Name::KeyBinding), Outcome::Failed);
    }
    failed(&presented(&sd_jwt(|open| open["exp"] = NOW.into())), Name::ValidityPeriod);
    failed(&presented(&sd_jwt(|open| open["nbf"] = (NOW + 301).into())), Name::ValidityPeriod);
    let revoked = Options { status_lists: vec![list(true, NOW)], ..informed() };
    let report = verify(text.as_bytes(), &revoked);
    assert_eq!(report.outcome(Name::NotRevoked), Outcome::Failed);
    assert_eq!(report.verdict, Verdict::Invalid);
    let stale = Options { status_lists: vec![list(false, NOW - 2 * DAY)], ..informed() };
    assert_eq!(verify(text.as_bytes(), &stale).verdict, Verdict::Unproven);
    let foreign = jws::sign(header(token::TYPE), &json!({ "sub": LIST }), &holder());
    let report = verify(text.as_bytes(), &Options { status_lists: vec![foreign], ..informed() });
    assert_eq!(report.outcome(Name::StatusSignature), Outcome::Failed);
}

#[test]
fn a_list_under_certificates_that_nobody_known_vouches_for_shows_nothing() {
    let token = presented(&sd_jwt(|_| ()));
    let (known, stranger) = (Authority::new(31), Authority::new(32));
    let judged = |authority: &Authority, revoked: bool| {
        let x5c = authority.x5c(&holder(), "verza.example");
        let header = json!({ "typ": token::TYPE, "x5c": x5c });
        let status_lists = vec![list_under(header, &holder(), revoked, NOW)];
        let mut options = Options { status_lists, ..informed() };
        options.trust.pin(&known.pem()).unwrap();
        verify(token.as_bytes(), &options)
    };
    for revoked in [false, true] {
        let report = judged(&stranger, revoked);
        assert_eq!(report.verdict, Verdict::Unproven, "{report}");
        for name in [Name::StatusSignature, Name::StatusFresh, Name::NotRevoked] {
            assert_eq!(report.outcome(name), Outcome::NotChecked, "{report}");
        }
    }
    assert_eq!(judged(&known, false).verdict, Verdict::Valid);
    assert_eq!(judged(&known, true).outcome(Name::NotRevoked), Outcome::Failed);
}

#[test]
fn of_several_lists_the_newest_that_is_the_issuers_decides() {
    let token = presented(&sd_jwt(|_| ()));
    let (before, after) = (list(false, NOW - 120), list(true, NOW - 60));
    // Newer than both, and anybody's.
    let forged = list_under(header(token::TYPE), &holder(), false, NOW);
    for status_lists in [
        vec![before.clone(), after.clone()],
        vec![after.clone(), before.clone()],
        vec![forged.clone(), before.clone(), after],
    ] {
        let report = verify(token.as_bytes(), &Options { status_lists, ..informed() });
        assert_eq!(report.outcome(Name::NotRevoked), Outcome::Failed, "{report}");
    }
    let status_lists = vec![forged, before];
    let report = verify(token.as_bytes(), &Options { status_lists, ..informed() });
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
}

#[test]
fn a_foreign_key_under_our_name_is_refused() {
    let claims = json!({ "iss": ISSUER, "vct": "x", "exp": NOW + 1 });
    let forged = jws::sign(header(sdjwt::TYPE), &claims, &holder()) + "~";
    failed(&forged, Name::TokenSignature);
    let other = json!({ "iss": "https://other.example", "vct": "x", "exp": NOW + 1 });
    let report = judge(&(jws::sign(header(sdjwt::TYPE), &other, &issuer()) + "~"));
    assert_eq!(report.outcome(Name::IssuerKey), Outcome::NotChecked, "our key speaks for us only");
}

#[test]
fn one_type_of_token_never_passes_for_another() {
    for typ in ["JWT", "kb+jwt", "statuslist+jwt", "vc+jwt"] {
        let claims = json!({ "iss": ISSUER, "vct": "x", "exp": NOW + 1 });
        failed(&(jws::sign(header(typ), &claims, &issuer()) + "~"), Name::Shape);
    }
    let document = sample::unsigned_verdict();
    failed(&jws::sign(header("dc+sd-jwt"), &document, &issuer()), Name::Shape);
    failed("a.b.c", Name::Shape);
    failed("a~b.", Name::Shape);
}

#[test]
fn no_changed_byte_of_a_presentation_goes_unnoticed() {
    let text = presented(&sd_jwt(|_| ()));
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1 << (at % 7);
        assert_ne!(verify(&changed, &informed()).verdict, Verdict::Valid, "byte {at}");
    }
}

#[test]
fn a_jwt_of_a_verdict_is_judged_with_its_own_list() {
    let mut document = sample::did_document();
    let method = format!("{}#p256", sample::DID);
    document["verificationMethod"].as_array_mut().unwrap().push(json!({
        "id": method, "type": "JsonWebKey", "controller": sample::DID,
        "publicKeyJwk": issuer().public().to_jwk(),
    }));
    document["assertionMethod"].as_array_mut().unwrap().push(method.clone().into());
    let mut trust = Trust::default();
    trust.pin(&document.to_string()).unwrap();
    let header = json!({ "typ": "vc+jwt", "kid": method, "iss": sample::DID });
    let text = jws::sign(header, &sample::unsigned_verdict(), &issuer());
    let status_lists = vec![sample::signed_status_list(false).to_string()];
    let options = Options { trust, status_lists, challenge: None, ..informed() };
    let report = verify(text.as_bytes(), &options);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let status_lists = vec![sample::signed_status_list(true).to_string()];
    let revoked = Options { status_lists, ..options };
    assert_eq!(verify(text.as_bytes(), &revoked).outcome(Name::NotRevoked), Outcome::Failed);
}
