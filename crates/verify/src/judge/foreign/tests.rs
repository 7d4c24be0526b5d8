//! Credentials of strangers: good, altered, revoked, out of date, forged.

use serde_json::{Value, json};

use super::*;
use crate::credential::proof::{self, Statement};
use crate::jose::es256::SecretKey;
use crate::jose::jws;
use crate::jose::sdjwt::{self, Hidden};
use crate::judge::report::{Outcome, Verdict};
use crate::judge::trust::Trust;
use crate::key::SigningKey;
use crate::key::did::{self, VerificationMethod};
use crate::key::multikey::PublicKey;
use crate::sample::{Authority, DAY, ISSUED_AT};
use crate::status::bitstring::{Bitstring, ENTRIES_MIN};
use crate::status::token as list;

const V2: &str = "https://www.w3.org/ns/credentials/v2";
const COLLEGE: &str = "https://college.example/registry";
const WEB: &str = "did:web:college.example";
const NOW: i64 = ISSUED_AT + DAY;
const INDEX: u32 = 4711;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[21; 32])
}

fn p256() -> SecretKey {
    SecretKey::from_bytes(&[23; 32]).unwrap()
}

fn did() -> String {
    format!("did:key:{}", PublicKey::of(&key()).multikey())
}

fn options() -> Options {
    Options {
        now: NOW,
        trust: Trust::default(),
        status_age_max: DAY,
        document_sha256: None,
        status_lists: Vec::new(),
        challenge: None,
    }
}

fn put(found: &mut Found, source: Source, url: &str, answer: &str) {
    found.put(Wanted { source, url: url.to_owned() }, Ok(answer.as_bytes().to_vec()));
}

fn unsigned(issuer: &str) -> Value {
    json!({
        "@context": [V2, "https://college.example/terms/v1"],
        "type": ["VerifiableCredential", "Degree"],
        "issuer": { "id": issuer, "name": "A College" },
        "validFrom": "2026-01-01T00:00:00Z",
        "validUntil": "2030-01-01T00:00:00Z",
        "credentialSubject": { "id": "did:example:z", "degree": "Bachelor of Noted Things" },
    })
}

fn sealed(document: Value, method: &str) -> Value {
    proof::seal(document, &key(), Statement { verification_method: method, created: ISSUED_AT })
        .unwrap()
}

fn signed(document: Value) -> Value {
    let method = format!("{}#{}", did(), PublicKey::of(&key()).multikey());
    sealed(document, &method)
}

fn report(secured: &Value, options: &Options) -> Report {
    judge(secured.to_string().as_bytes(), options)
}

fn metadata() -> String {
    let mut jwk = p256().public().to_jwk();
    jwk["kid"] = "key-1".into();
    json!({ "issuer": COLLEGE, "jwks": { "keys": [jwk] } }).to_string()
}

fn token_list(status: bool, change: impl Fn(&mut Value)) -> String {
    token_list_of(json!({ "typ": list::TYPE, "kid": "key-1" }), &p256(), status, change)
}

fn token_list_of(
    header: Value,
    key: &SecretKey,
    status: bool,
    change: impl Fn(&mut Value),
) -> String {
    let mut bits = Bitstring::new(ENTRIES_MIN).unwrap();
    bits.set(INDEX, status).unwrap();
    let mut claims = list::claims("https://college.example/list", NOW - 60, NOW + DAY, 300, &bits);
    change(&mut claims);
    jws::sign(header, &claims, key)
}

fn sd_jwt_of(header: Value, change: impl Fn(&mut Value)) -> String {
    let mut open = json!({
        "iss": COLLEGE,
        "vct": "https://college.example/degree",
        "nbf": ISSUED_AT,
        "exp": ISSUED_AT + 365 * DAY,
        "status": { "status_list": { "idx": INDEX, "uri": "https://college.example/list" } },
    });
    change(&mut open);
    let hidden = [Hidden { name: "degree", value: "B.Sc.".into(), salt: [3; 16] }];
    sdjwt::issue(header, open.as_object().unwrap().clone(), &hidden, &[], &p256())
}

fn sd_jwt(change: impl Fn(&mut Value)) -> String {
    sd_jwt_of(json!({ "typ": "dc+sd-jwt", "kid": "key-1" }), change)
}

/// The college's metadata, and its list.
fn college(list: &str) -> Found {
    let mut found = Found::default();
    let url = "https://college.example/.well-known/jwt-vc-issuer/registry";
    put(&mut found, Source::IssuerMetadata, url, &metadata());
    put(&mut found, Source::TokenList, "https://college.example/list", list);
    found
}

fn trusted(file: &str, found: &Found) -> Judgement {
    judge_with(file.as_bytes(), &options(), found, &[COLLEGE.to_owned(), WEB.to_owned()])
}

#[test]
fn a_strangers_credential_is_signed_and_its_issuer_unknown_until_trusted() {
    let secured = signed(unsigned(&did()));
    let found = report(&secured, &options());
    assert_eq!(found.verdict, Verdict::Unproven, "{found}");
    assert_eq!(found.outcome(Name::JcsSignature), Outcome::Proved, "{found}");
    assert_eq!(found.outcome(Name::IssuerTrust), Outcome::NotChecked, "{found}");
    let mut informed = options();
    informed.trust.pin(&PublicKey::of(&key()).multikey()).unwrap();
    let found = report(&secured, &informed);
    assert_eq!(found.verdict, Verdict::Valid, "{found}");
    // A list that nobody has asked for leaves a doubt.
    let mut listed = unsigned(&did());
    listed["credentialStatus"] = json!({ "type": "BitstringStatusListEntry" });
    assert_ne!(report(&signed(listed), &informed).verdict, Verdict::Valid);
    // Trusted by name: the identifier is the key.
    let text = secured.to_string();
    let judged = judge_with(text.as_bytes(), &options(), &Found::default(), &[did()]);
    assert_eq!((judged.report.verdict, judged.is_trusted), (Verdict::Valid, true));
    assert_eq!(judged.issuer, Some(did()));
    assert_eq!(judged.about.as_deref(), Some("Degree"));
}

#[test]
fn what_was_altered_or_is_over_is_invalid() {
    let mut informed = options();
    informed.trust.pin(&PublicKey::of(&key()).multikey()).unwrap();
    let good = signed(unsigned(&did()));
    let alter = |pointer: &str, value: Value| {
        let mut altered = good.clone();
        *altered.pointer_mut(pointer).unwrap() = value;
        report(&altered, &informed)
    };
    let other = PublicKey::of(&SigningKey::from_bytes(&[22; 32])).multikey();
    for (pointer, value) in [
        ("/credentialSubject/degree", json!("Doctor")),
        ("/validUntil", json!("2040-01-01T00:00:00Z")),
        ("/validUntil", json!("soon")),
        ("/issuer/id", json!(format!("did:key:{other}"))),
        ("/@context/1", json!("https://other.example")),
        ("/@context/0", json!("https://www.w3.org/2018/credentials/v1")),
        ("/@context/1", json!({ "degree": "https://other.example" })),
        ("/type", json!(["VerifiablePresentation"])),
        ("/proof/proofPurpose", json!("authentication")),
        ("/proof/verificationMethod", json!(format!("did:key:{other}#{other}"))),
    ] {
        let found = alter(pointer, value);
        assert_eq!(found.verdict, Verdict::Invalid, "{pointer}: {found}");
    }
    // Another suite may be good elsewhere; here nothing is known of it.
    let found = alter("/proof/cryptosuite", json!("eddsa-rdfc-2022"));
    assert_eq!(found.verdict, Verdict::Unproven, "{found}");
    let late = Options { now: ISSUED_AT + 5 * 366 * DAY, ..informed.clone() };
    assert_eq!(report(&good, &late).outcome(Name::ValidityPeriod), Outcome::Failed);
    let early = Options { now: ISSUED_AT - DAY, ..informed };
    assert_eq!(report(&good, &early).verdict, Verdict::Invalid);
    assert_eq!(judge(b"{", &options()).verdict, Verdict::Invalid);
}

#[test]
fn every_flipped_byte_of_a_document_and_of_a_token_is_refused() {
    let mut informed = options();
    informed.trust.pin(&PublicKey::of(&key()).multikey()).unwrap();
    let document = signed(unsigned(&did())).to_string();
    let (jwt, found) = (vc_jwt(|_| {}), college(&token_list(false, |_| {})));
    assert_eq!(trusted(&jwt, &found).report.verdict, Verdict::Valid);
    let sd_jwt = sd_jwt(|_| {});
    assert_eq!(trusted(&sd_jwt, &found).report.verdict, Verdict::Valid);
    for file in [&document, &jwt, &sd_jwt] {
        for place in 0..file.len() {
            let mut bytes = file.as_bytes().to_vec();
            bytes[place] ^= 1;
            let options = if file == &document { &informed } else { &options() };
            let names = [COLLEGE.to_owned()];
            let judged = judge_with(&bytes, options, &found, &names);
            assert_ne!(judged.report.verdict, Verdict::Valid, "{place}: {}", judged.report);
        }
    }
}

#[test]
fn the_keys_of_a_did_web_lie_in_its_document_and_nowhere_else() {
    let method = format!("{WEB}#key-1");
    let mut listed = unsigned(WEB);
    listed["credentialStatus"] = json!({
        "type": "BitstringStatusListEntry", "statusPurpose": "revocation",
        "statusListIndex": INDEX.to_string(), "statusListCredential": "https://college.example/bits",
    });
    let secured = sealed(listed, &method).to_string();
    // First the document is wanted, and of a credential that is signed the list.
    let mut found = Found::default();
    let first = trusted(&secured, &found);
    let document_url = "https://college.example/.well-known/did.json";
    let wanted = |source, url: &str| vec![Wanted { source, url: url.to_owned() }];
    assert_eq!(first.wanted, wanted(Source::DidDocument, document_url));
    assert_eq!(first.report.verdict, Verdict::Unproven);
    let own =
        VerificationMethod { fragment: "key-1".into(), key: PublicKey::of(&key()), revoked: None };
    let document = did::document(WEB, &[own]);
    put(&mut found, Source::DidDocument, document_url, &document.to_string());
    let second = trusted(&secured, &found);
    assert_eq!(second.wanted, wanted(Source::BitstringList, "https://college.example/bits"));
    assert_eq!(second.report.outcome(Name::JcsSignature), Outcome::Proved);
    for (set, verdict) in [(false, Verdict::Valid), (true, Verdict::Invalid)] {
        let mut found = found.clone();
        let mut bits = Bitstring::new(ENTRIES_MIN).unwrap();
        bits.set(INDEX, set).unwrap();
        let list = json!({
            "@context": [V2], "id": "https://college.example/bits", "issuer": WEB,
            "type": ["VerifiableCredential", "BitstringStatusListCredential"],
            "validFrom": "2026-11-22T09:00:00.000Z",
            "credentialSubject": {
                "type": "BitstringStatusList", "statusPurpose": "revocation",
                "encodedList": bits.encode(),
            },
        });
        let list = sealed(list, &method);
        put(&mut found, Source::BitstringList, "https://college.example/bits", &list.to_string());
        let judged = trusted(&secured, &found);
        assert_eq!(judged.report.verdict, verdict, "{}", judged.report);
        assert!(judged.wanted.is_empty());
        // A list of somebody else's, or about something else, tells nothing good.
        let mut other = list.clone();
        other["credentialSubject"]["statusPurpose"] = "suspension".into();
        put(&mut found, Source::BitstringList, "https://college.example/bits", &other.to_string());
        assert_eq!(trusted(&secured, &found).report.verdict, Verdict::Invalid);
    }
    // A key that the document does not list, or not for assertions, or gives to somebody else.
    for (pointer, value) in [
        ("/verificationMethod/0/id", json!(format!("{WEB}#key-2"))),
        ("/assertionMethod", json!([])),
        ("/verificationMethod/0/controller", json!("did:web:other.example")),
        ("/id", json!("did:web:other.example")),
    ] {
        let mut document = document.clone();
        *document.pointer_mut(pointer).unwrap() = value;
        let mut found = Found::default();
        put(&mut found, Source::DidDocument, document_url, &document.to_string());
        let judged = trusted(&secured, &found);
        assert_eq!(judged.report.verdict, Verdict::Invalid, "{pointer}: {}", judged.report);
        assert!(judged.wanted.is_empty(), "no list is asked for what is not signed");
    }
    let mut away = Found::default();
    let asked = Wanted { source: Source::DidDocument, url: document_url.to_owned() };
    away.put(asked, Err("no answer in time".to_owned()));
    let judged = trusted(&secured, &away);
    assert_eq!(judged.report.verdict, Verdict::Unproven);
    assert!(judged.report.to_string().contains("did not answer: no answer in time"));
}

/// A credential whose status entry says this as well, judged by a list in which its bit is clear.
fn listed(entry: &Value, subject: &Value) -> Report {
    let url = "https://college.example/bits";
    let signed = |mut document: Value, place: &str, more: &Value| {
        let target = document[place].as_object_mut().unwrap();
        target.extend(more.as_object().unwrap().clone());
        vc_jwt_of(json!({ "typ": "vc+jwt", "kid": "key-1" }), &document)
    };
    let mut document = unsigned(COLLEGE);
    document["credentialStatus"] = json!({
        "type": "BitstringStatusListEntry", "statusPurpose": "revocation",
        "statusListIndex": INDEX.to_string(), "statusListCredential": url,
    });
    let list = json!({
        "@context": [V2], "id": url, "issuer": COLLEGE,
        "type": ["VerifiableCredential", "BitstringStatusListCredential"],
        "validFrom": "2026-11-22T09:00:00Z",
        "credentialSubject": {
            "type": "BitstringStatusList", "statusPurpose": "revocation",
            "encodedList": Bitstring::new(ENTRIES_MIN).unwrap().encode(),
        },
    });
    let list = signed(list, "credentialSubject", subject);
    let mut found = college(&token_list(false, |_| {}));
    put(&mut found, Source::BitstringList, url, &list);
    trusted(&signed(document, "credentialStatus", entry), &found).report
}

#[test]
fn a_list_of_several_bits_an_entry_is_not_read_and_one_of_several_purposes_is() {
    let none = json!({});
    for one in [&none, &json!({ "statusSize": 1 })] {
        assert_eq!(listed(one, &none).verdict, Verdict::Valid);
        assert_eq!(listed(&none, one).verdict, Verdict::Valid);
    }
    let two = json!({ "statusSize": 2 });
    for report in [listed(&two, &none), listed(&none, &two), listed(&two, &two)] {
        assert_eq!(report.verdict, Verdict::Unproven, "{report}");
        assert_eq!(report.outcome(Name::NotRevoked), Outcome::NotChecked, "{report}");
        assert!(report.to_string().contains("of a kind that is not read here"), "{report}");
    }
    let several = json!({ "statusPurpose": ["suspension", "revocation"] });
    let report = listed(&none, &several);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let others = json!({ "statusPurpose": ["suspension", "message"] });
    assert_eq!(listed(&none, &others).verdict, Verdict::Invalid);
}

#[test]
fn a_key_that_its_issuer_has_revoked_proves_nothing() {
    let method = format!("{WEB}#key-1");
    let secured = sealed(unsigned(WEB), &method).to_string();
    let judged = |since: &str, wholly: bool| {
        let revoked = Some(did::Revoked { since: since.to_owned(), wholly });
        let key = PublicKey::of(&key());
        let own = VerificationMethod { fragment: "key-1".into(), key, revoked };
        let mut found = Found::default();
        let url = "https://college.example/.well-known/did.json";
        put(&mut found, Source::DidDocument, url, &did::document(WEB, &[own]).to_string());
        trusted(&secured, &found).report
    };
    for wholly in [false, true] {
        let before = judged("2020-01-01T00:00:00Z", wholly);
        assert_eq!(before.verdict, Verdict::Invalid, "{before}");
        assert!(before.to_string().contains("as of 2020-01-01T00:00:00Z; this was signed later"));
        let after = judged("2035-01-01T00:00:00Z", wholly);
        assert_eq!(after.verdict, Verdict::Unproven, "{after}");
        assert!(after.to_string().contains("nothing shows that this was signed before"));
    }
    let mut found = college(&token_list(false, |_| {}));
    let mut published: Value = serde_json::from_str(&metadata()).unwrap();
    published["jwks"]["keys"][0]["revoked"] = json!({ "revoked_at": ISSUED_AT });
    let url = "https://college.example/.well-known/jwt-vc-issuer/registry";
    put(&mut found, Source::IssuerMetadata, url, &published.to_string());
    let report = trusted(&sd_jwt(|_| {}), &found).report;
    assert_eq!(report.verdict, Verdict::Unproven, "{report}");
    assert!(report.to_string().contains("the issuer has revoked its key as of"), "{report}");
}

#[test]
fn a_key_that_was_compromised_is_none_by_whichever_way_it_is_found() {
    let authority = Authority::new(31);
    let pinned = |jwks: &str, revoked: bool| {
        let mut jwk = p256().public().to_jwk();
        jwk["kid"] = "key-1".into();
        if revoked {
            jwk["revoked"] = json!({ "revoked_at": NOW - 60, "reason": "compromised" });
        }
        let mut metadata = json!({ "issuer": COLLEGE, "jwks": { "keys": [] } });
        metadata[jwks] = json!({ "keys": [jwk] });
        let mut options = options();
        options.trust.pin(&authority.pem()).unwrap();
        options.trust.pin(&metadata.to_string()).unwrap();
        options
    };
    let x5c = authority.x5c(&p256(), "college.example");
    let by_name = json!({ "typ": "dc+sd-jwt", "kid": "key-1" });
    let by_chain = json!({ "typ": "dc+sd-jwt", "x5c": x5c });
    // The certificate stands for the host, whatever the path behind it.
    let ways = [
        ("jwks", by_name, COLLEGE),
        ("jwks", by_chain.clone(), COLLEGE),
        ("revoked_jwks", by_chain.clone(), COLLEGE),
        ("jwks", by_chain, "https://college.example/another"),
    ];
    for (jwks, header, issuer) in ways {
        let token = |made: Option<i64>| {
            sd_jwt_of(header.clone(), |claims| {
                claims["iss"] = issuer.into();
                claims.as_object_mut().unwrap().remove("status");
                made.into_iter().for_each(|made| claims["iat"] = made.into());
            })
        };
        let undated = token(None);
        if jwks == "jwks" {
            let before = judge(undated.as_bytes(), &pinned(jwks, false));
            assert_eq!(before.verdict, Verdict::Valid, "{header}: {before}");
        }
        let mut warned = pinned(jwks, true);
        let report = judge(undated.as_bytes(), &warned);
        assert_eq!(report.verdict, Verdict::Unproven, "{header}: {report}");
        assert!(report.to_string().contains("the issuer has revoked its key"), "{report}");
        let report = judge(token(Some(NOW)).as_bytes(), &warned);
        assert_eq!(report.verdict, Verdict::Invalid, "{header}: {report}");
        warned.trust.record(signed_digest(undated.as_bytes()).unwrap(), NOW - 61);
        let report = judge(undated.as_bytes(), &warned);
        assert_eq!(report.verdict, Verdict::Valid, "by the reader's own records: {report}");
    }
}

#[test]
fn an_sd_jwt_is_judged_by_its_issuers_metadata_and_list() {
    let good = sd_jwt(|_| {});
    let clear = token_list(false, |_| {});
    let judged = trusted(&good, &college(&clear));
    assert_eq!(judged.report.verdict, Verdict::Valid, "{}", judged.report);
    assert_eq!(judged.kind, Some(Kind::SdJwt));
    assert_eq!(judged.about.as_deref(), Some("https://college.example/degree"));
    // Good, and nobody here knows the issuer: that is said, and not called valid.
    let judged = judge_with(good.as_bytes(), &options(), &college(&clear), &[]);
    assert_eq!((judged.report.verdict, judged.is_trusted), (Verdict::Unproven, false));
    assert_eq!(judged.report.outcome(Name::TokenSignature), Outcome::Proved);
    assert!(judged.report.to_string().contains("not among the trusted issuers"));

    let invalid = |file: &str, found: &Found| {
        let judged = trusted(file, found);
        assert_eq!(judged.report.verdict, Verdict::Invalid, "{}", judged.report);
    };
    invalid(&good, &college(&token_list(true, |_| {})));
    invalid(
        &good,
        &college(&token_list(false, |claims| claims["sub"] = "https://b.example".into())),
    );
    invalid(&good, &college(&token_list(false, |claims| claims["iat"] = (NOW + DAY).into())));
    invalid(&sd_jwt(|claims| claims["exp"] = (NOW - 1).into()), &college(&clear));
    invalid(&sd_jwt(|claims| claims["nbf"] = (NOW + DAY).into()), &college(&clear));
    invalid(&sd_jwt_of(json!({ "typ": "vc+jwt", "kid": "key-1" }), |_| {}), &college(&clear));
    invalid(&sd_jwt_of(json!({ "typ": "dc+sd-jwt", "kid": "key-2" }), |_| {}), &college(&clear));
    let repeated = good.split('~').nth(1).unwrap();
    invalid(&format!("{good}{repeated}~"), &college(&clear));
    let twice = sd_jwt(|claims| {
        let digest = sdjwt::digest(repeated);
        claims["more"] = json!({ "_sd": [digest] });
    });
    invalid(&twice, &college(&clear));
    let mut other = college(&clear);
    let url = "https://college.example/.well-known/jwt-vc-issuer/registry";
    let metadata = metadata().replace(COLLEGE, "https://other.example");
    put(&mut other, Source::IssuerMetadata, url, &metadata);
    invalid(&good, &other);
    // A list that is out of date no longer speaks for it.
    let old = college(&token_list(false, |claims| claims["exp"] = (NOW - 1).into()));
    assert_eq!(trusted(&good, &old).report.verdict, Verdict::Unproven);
}

#[test]
fn a_list_under_certificates_that_nobody_known_vouches_for_shows_nothing() {
    let (known, stranger) = (Authority::new(31), Authority::new(32));
    let other = SecretKey::from_bytes(&[24; 32]).unwrap();
    let good = sd_jwt(|_| {});
    let judged = |authority: &Authority, revoked: bool| {
        let header = json!({ "typ": list::TYPE, "x5c": authority.x5c(&other, "college.example") });
        let found = college(&token_list_of(header, &other, revoked, |_| {}));
        let mut options = options();
        options.trust.pin(&known.pem()).unwrap();
        judge_with(good.as_bytes(), &options, &found, &[COLLEGE.to_owned()]).report
    };
    for revoked in [false, true] {
        let report = judged(&stranger, revoked);
        assert_eq!(report.verdict, Verdict::Unproven, "{report}");
        assert_eq!(report.outcome(Name::TokenSignature), Outcome::Proved, "{report}");
        assert_eq!(report.outcome(Name::StatusSignature), Outcome::NotChecked, "{report}");
        assert_eq!(report.outcome(Name::NotRevoked), Outcome::NotChecked, "{report}");
    }
    assert_eq!(judged(&known, false).verdict, Verdict::Valid);
    assert_eq!(judged(&known, true).verdict, Verdict::Invalid);
}

fn vc_jwt_of(header: Value, payload: &Value) -> String {
    jws::sign(header, payload, &p256())
}

fn vc_jwt(change: impl Fn(&mut Value)) -> String {
    let mut payload = unsigned(COLLEGE);
    change(&mut payload);
    vc_jwt_of(json!({ "typ": "vc+jwt", "kid": "key-1" }), &payload)
}

#[test]
fn a_key_that_is_named_by_its_place_is_the_issuers_below_its_address_only() {
    let jwk = p256().public().to_jwk();
    let judged = |place: &str, metadata: Option<&Value>, trusted: &[String]| {
        let mut found = Found::default();
        put(&mut found, Source::KeySet, place, &jwk.to_string());
        if let Some(metadata) = metadata {
            let url = "https://college.example/.well-known/jwt-vc-issuer/registry";
            put(&mut found, Source::IssuerMetadata, url, &metadata.to_string());
        }
        let token = vc_jwt_of(json!({ "typ": "vc+jwt", "kid": place }), &unsigned(COLLEGE));
        judge_with(token.as_bytes(), &options(), &found, trusted)
    };
    let own = "https://college.example/registry/keys/1";
    for place in [own, "https://college.example/registry#key", COLLEGE] {
        let report = judged(place, None, &[]).report;
        assert_eq!(report.outcome(Name::TokenSignature), Outcome::Proved, "{place}: {report}");
        assert_eq!(report.verdict, Verdict::Unproven, "nobody trusts it: {report}");
    }
    for place in [
        "https://college.example/uploads/key.json",
        "https://college.example/registry2/key",
        "https://college.example/registry/../uploads/key.json",
        "https://college.example/registry/%2E%2e/uploads/key.json",
        "https://college.example/registry/..\\uploads/key.json",
        "https://other.example/registry/keys/1",
    ] {
        let judged = judged(place, None, &[]);
        assert_eq!(judged.report.outcome(Name::TokenSignature), Outcome::NotChecked, "{place}");
        assert!(judged.wanted.is_empty(), "{place} is not asked for");
    }
    // Of an issuer who is trusted by name the metadata decides, whatever lies below its address.
    let trusted = [COLLEGE.to_owned()];
    let naming = |kid: &str| {
        let mut jwk = jwk.clone();
        jwk["kid"] = kid.into();
        json!({ "issuer": COLLEGE, "jwks": { "keys": [jwk] } })
    };
    for metadata in [None, Some(&naming("key-1"))] {
        let report = judged(own, metadata, &trusted).report;
        assert_eq!(report.verdict, Verdict::Unproven, "{report}");
        assert_eq!(report.outcome(Name::TokenSignature), Outcome::NotChecked, "{report}");
    }
    let report = judged(own, Some(&naming(own)), &trusted).report;
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
}

#[test]
fn jwt_credentials_are_judged_whole_and_in_the_older_claim() {
    let found = college(&token_list(false, |_| {}));
    let judged = trusted(&vc_jwt(|_| {}), &found);
    assert_eq!((judged.report.verdict, judged.kind), (Verdict::Valid, Some(Kind::Jwt)));
    let older = json!({ "iss": COLLEGE, "nbf": ISSUED_AT, "exp": NOW + DAY, "vc": {
        "type": ["VerifiableCredential", "Degree"], "credentialSubject": { "id": "did:a:b" },
    }});
    let header = json!({ "typ": "JWT", "kid": "key-1" });
    let judged = trusted(&vc_jwt_of(header.clone(), &older), &found);
    assert_eq!(judged.report.verdict, Verdict::Valid, "{}", judged.report);
    let payload = unsigned(COLLEGE);
    for (header, change) in [
        (header.clone(), json!({ "exp": NOW - 1 })),
        (header.clone(), json!({ "nbf": NOW + DAY })),
        (header.clone(), json!({ "iss": "https://other.example" })),
        (header.clone(), json!({ "validUntil": "2026-11-22T00:00:00Z" })),
        (header.clone(), json!({ "type": ["VerifiablePresentation"] })),
        (json!({ "typ": "dc+sd-jwt", "kid": "key-1" }), json!({})),
        (json!({ "typ": "statuslist+jwt", "kid": "key-1" }), json!({})),
        (json!({ "typ": "vc+jwt", "kid": "key-1", "crit": ["a"], "a": 1 }), json!({})),
    ] {
        let mut payload = payload.clone();
        payload.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let judged = trusted(&vc_jwt_of(header.clone(), &payload), &found);
        assert_eq!(judged.report.verdict, Verdict::Invalid, "{header} {}", judged.report);
    }
}

/// A token whose algorithm says something else than what made its signature.
fn relabelled(alg: &str) -> String {
    let token = vc_jwt(|_| {});
    let (_, rest) = token.split_once('.').unwrap();
    let header = json!({ "typ": "vc+jwt", "kid": "key-1", "alg": alg }).to_string();
    use base64::Engine as _;
    format!("{}.{rest}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header))
}

#[test]
fn unsigned_and_wrongly_labelled_tokens_are_refused_and_unknown_algorithms_left_open() {
    let found = college(&token_list(false, |_| {}));
    for alg in ["none", "None", "HS256", "EdDSA", "RS256", ""] {
        let judged = trusted(&relabelled(alg), &found);
        assert_eq!(judged.report.verdict, Verdict::Invalid, "{alg} {}", judged.report);
    }
    let judged = trusted(&relabelled("ES384"), &found);
    assert_eq!(judged.report.verdict, Verdict::Unproven, "{}", judged.report);
    // A key that the token brings along is nobody's.
    let payload = unsigned("https://unknown.example");
    let header = json!({ "typ": "vc+jwt", "jwk": p256().public().to_jwk() });
    let judged = trusted(&vc_jwt_of(header, &payload), &found);
    assert_eq!(judged.report.outcome(Name::TokenSignature), Outcome::NotChecked);
}

#[test]
fn did_key_and_did_jwk_are_their_own_keys_of_either_curve() {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let jwk = format!("did:jwk:{}", base64.encode(p256().public().to_jwk().to_string()));
    let mut compressed = [2_u8; 35];
    let point = p256().public().to_sec1();
    compressed[..2].copy_from_slice(&[0x80, 0x24]);
    compressed[2] = 2 + (point[64] & 1);
    compressed[3..].copy_from_slice(&point[1..33]);
    let multikey = format!("z{}", bs58::encode(compressed).into_string());
    for (issuer, kid) in [
        (jwk.clone(), format!("{jwk}#0")),
        (format!("did:key:{multikey}"), format!("did:key:{multikey}#{multikey}")),
    ] {
        let token = vc_jwt_of(json!({ "typ": "vc+jwt", "kid": kid }), &unsigned(&issuer));
        let judged = judge_with(
            token.as_bytes(),
            &options(),
            &Found::default(),
            std::slice::from_ref(&issuer),
        );
        assert_eq!(judged.report.verdict, Verdict::Valid, "{}", judged.report);
        assert!(judged.wanted.is_empty(), "nothing is asked for");
        let other = json!({ "typ": "vc+jwt", "kid": format!("{}#0", did()) });
        let token = vc_jwt_of(other, &unsigned(&issuer));
        let judged = judge_with(token.as_bytes(), &options(), &Found::default(), &[issuer]);
        assert_eq!(judged.report.verdict, Verdict::Invalid);
    }
}

#[test]
fn a_baked_badge_is_judged_by_what_is_in_the_picture() {
    let secured = signed(unsigned(&did())).to_string();
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&length[..], kind, data, &[0; 4]].concat()
    };
    let text = [&b"openbadgecredential\0\0\0\0\0"[..], secured.as_bytes()].concat();
    let png = [
        &b"\x89PNG\r\n\x1a\n"[..],
        &chunk(b"IHDR", &[0; 13]),
        &chunk(b"iTXt", &text),
        &chunk(b"IEND", &[]),
    ]
    .concat();
    let judged = judge_with(&png, &options(), &Found::default(), &[did()]);
    assert_eq!(judged.report.verdict, Verdict::Valid, "{}", judged.report);
    let token = vc_jwt(|_| {});
    let svg = format!(
        "<svg xmlns:openbadges=\"https://purl.imsglobal.org/ob/v3p0\">\
         <openbadges:credential verify=\"{token}\"/></svg>"
    );
    let judged = trusted(&svg, &college(&token_list(false, |_| {})));
    assert_eq!((judged.report.verdict, judged.kind), (Verdict::Valid, Some(Kind::Jwt)));
}

#[test]
fn the_metadata_of_an_issuer_with_a_path_lies_under_the_host() {
    for (issuer, url) in [
        ("https://a.example", Some("https://a.example/.well-known/jwt-vc-issuer")),
        ("https://a.example/", Some("https://a.example/.well-known/jwt-vc-issuer")),
        ("https://a.example:1/b/c/", Some("https://a.example:1/.well-known/jwt-vc-issuer/b/c")),
        ("https://a.example/?b", None),
        ("https://", None),
        ("a.example", None),
    ] {
        assert_eq!(keys::metadata_url(issuer).as_deref(), url, "{issuer}");
    }
}

#[test]
fn numbers_that_have_several_spellings_leave_a_doubt_and_repeated_names_none() {
    let odd = signed(unsigned(&did())).to_string();
    let odd = odd.replace("\"degree\"", "\"credits\":3.5,\"degree\"");
    assert_eq!(judge(odd.as_bytes(), &options()).verdict, Verdict::Unproven);
    let twice = odd.replace("3.5", "3").replace("\"credits\"", "\"id\"");
    assert_eq!(judge(twice.as_bytes(), &options()).verdict, Verdict::Invalid);
}
