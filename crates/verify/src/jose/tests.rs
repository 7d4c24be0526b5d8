use platform::testing::vectors;
use serde_json::{Map, Value, json};

use super::es256::{KeyError, PublicKey, SecretKey};
use super::jwe::{self, Encryption, JweError};
use super::jws::{self, JwsError, Key, Token};
use super::sdjwt::{self, Challenge, Hidden, SdJwt, SdJwtError};

/// The presentation of RFC 9901 section 5.2.
const RFC_9901: &str = include_str!("testdata/rfc9901-5.2.txt");

fn issuer() -> SecretKey {
    SecretKey::from_bytes(&[1; 32]).unwrap()
}

fn holder() -> SecretKey {
    SecretKey::from_bytes(&[2; 32]).unwrap()
}

fn rfc_key(x: &str, y: &str) -> Key {
    Key::P256(PublicKey::from_jwk(&json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })).unwrap())
}

const RFC_CHALLENGE: Challenge<'static> = Challenge {
    audience: "https://verifier.example.org",
    nonce: "1234567890",
    now: 1_748_537_300,
    age_max: 300,
};

#[test]
fn the_presentation_of_rfc_9901_is_verified() {
    let parsed = SdJwt::parse(RFC_9901).unwrap();
    let key = rfc_key(
        "b28d4MwZMjw8-00CG4xfnn9SLMVMM19SlqZpVb_uNtQ",
        "Xv5zWwuoaTgdS6hV43yI6gBwTnjukmFQQnJ_kCxzqk8",
    );
    assert_eq!(parsed.token.verify(&key), Ok(()));
    assert_eq!(parsed.check_key_binding(&RFC_CHALLENGE), Ok(()));
    let mut claims = parsed.claims().unwrap();
    claims.remove("cnf");
    let expected = json!({
        "iss": "https://issuer.example.com",
        "iat": 1_683_000_000,
        "exp": 1_883_000_000,
        "sub": "user_42",
        "nationalities": ["US"],
        "family_name": "Doe",
        "address": {
            "street_address": "123 Main St",
            "locality": "Anytown",
            "region": "Anystate",
            "country": "US"
        },
        "given_name": "John"
    });
    assert_eq!(Value::Object(claims), expected);
}

#[test]
fn the_disclosure_of_rfc_9901_has_the_published_digest() {
    let text = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0";
    assert_eq!(sdjwt::digest(text), "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0");
}

#[test]
fn no_changed_letter_of_a_presentation_goes_unnoticed() {
    let key = rfc_key(
        "b28d4MwZMjw8-00CG4xfnn9SLMVMM19SlqZpVb_uNtQ",
        "Xv5zWwuoaTgdS6hV43yI6gBwTnjukmFQQnJ_kCxzqk8",
    );
    let holds = |text: &str| {
        SdJwt::parse(text).is_ok_and(|parsed| {
            parsed.token.verify(&key).is_ok()
                && parsed.claims().is_ok()
                && parsed.check_key_binding(&RFC_CHALLENGE).is_ok()
        })
    };
    assert!(holds(RFC_9901));
    for at in 0..RFC_9901.len() {
        let mut changed = RFC_9901.as_bytes().to_vec();
        changed[at] ^= 1 << (at % 7);
        let Ok(changed) = String::from_utf8(changed) else { continue };
        assert!(!holds(&changed), "letter {at}");
    }
}

fn hidden() -> [Hidden; 2] {
    [
        Hidden { name: "title", value: "B.Sc. \u{e4}".into(), salt: [3; 16] },
        Hidden { name: "kind", value: "diploma".into(), salt: [4; 16] },
    ]
}

fn open() -> Map<String, Value> {
    let cnf = json!({ "jwk": holder().public().to_jwk() });
    let Value::Object(open) = json!({ "iss": "https://a.example", "vct": "https://a.example/t",
        "cnf": cnf })
    else {
        unreachable!()
    };
    open
}

fn issued() -> String {
    sdjwt::issue(json!({ "typ": sdjwt::TYPE }), open(), &hidden(), &[[9; 32]], &issuer())
}

fn challenge() -> Challenge<'static> {
    Challenge { audience: "x509_hash:abc", nonce: "n-1", now: 1_000, age_max: 60 }
}

#[test]
fn a_holder_shows_one_claim_and_withholds_the_other() {
    let issued = issued();
    let shown = sdjwt::present(&issued, |name| name == "kind", &holder(), &challenge()).unwrap();
    let parsed = SdJwt::parse(&shown).unwrap();
    assert_eq!(parsed.token.verify(&Key::P256(issuer().public())), Ok(()));
    assert_eq!(parsed.check_key_binding(&challenge()), Ok(()));
    let claims = parsed.claims().unwrap();
    assert_eq!((claims.get("kind"), claims.get("title")), (Some(&json!("diploma")), None));
    assert_eq!(parsed.token.payload["_sd"].as_array().unwrap().len(), 3, "with the decoy");
}

#[test]
fn a_key_binding_is_for_one_presentation_audience_nonce_and_minute() {
    let issued = issued();
    let shown = sdjwt::present(&issued, |_| true, &holder(), &challenge()).unwrap();
    let check = |text: &str, challenge: Challenge<'_>| {
        SdJwt::parse(text).unwrap().check_key_binding(&challenge)
    };
    assert_eq!(check(&shown, challenge()), Ok(()));
    let other = Challenge { audience: "x509_hash:abd", ..challenge() };
    assert_eq!(check(&shown, other), Err(SdJwtError::Audience));
    let other = Challenge { nonce: "n-2", ..challenge() };
    assert_eq!(check(&shown, other), Err(SdJwtError::Nonce));
    for now in [900, 1_061] {
        let later = Challenge { now, ..challenge() };
        assert_eq!(check(&shown, later), Err(SdJwtError::Time));
    }
    assert_eq!(check(&issued, challenge()), Err(SdJwtError::NoKeyBinding));
    let stolen = sdjwt::present(&issued, |_| true, &issuer(), &challenge()).unwrap();
    assert_eq!(check(&stolen, challenge()), Err(SdJwtError::Token(JwsError::Signature)));
    let less = sdjwt::present(&issued, |name| name == "kind", &holder(), &challenge()).unwrap();
    let binding = shown.rsplit('~').next().unwrap();
    let moved = format!("{}~{binding}", less.rsplit_once('~').unwrap().0);
    assert_eq!(check(&moved, challenge()), Err(SdJwtError::OtherPresentation));
}

/// An SD-JWT over a payload as given, with these disclosures.
fn forged(payload: Value, disclosures: &[Value]) -> Result<Map<String, Value>, SdJwtError> {
    let mut text = jws::sign(json!({ "typ": sdjwt::TYPE }), &payload, &issuer());
    for one in disclosures {
        text.push('~');
        text.push_str(&encoded(one));
    }
    text.push('~');
    SdJwt::parse(&text).unwrap().claims()
}

fn encoded(value: &Value) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn disclosures_of_the_negative_list_are_refused() {
    let name = |name: &str| json!(["salt", name, 1]);
    let d = |value: &Value| sdjwt::digest(&encoded(value));
    let a = name("a");
    let twice = json!({ "_sd": [d(&a), d(&a)] });
    assert_eq!(forged(twice, std::slice::from_ref(&a)), Err(SdJwtError::DuplicateDigest));
    let twice = json!({ "_sd": [d(&a)], "b": { "_sd": [d(&a)] } });
    assert_eq!(forged(twice, &[]), Err(SdJwtError::DuplicateDigest));
    assert_eq!(
        forged(json!({ "_sd": [d(&a)] }), &[a.clone(), a.clone()]),
        Err(SdJwtError::DuplicateDigest)
    );
    assert_eq!(
        forged(json!({ "_sd": [] }), std::slice::from_ref(&a)),
        Err(SdJwtError::Unreferenced)
    );
    assert_eq!(
        forged(json!({ "_sd": [d(&a)], "a": 2 }), std::slice::from_ref(&a)),
        Err(SdJwtError::Name("a".into()))
    );
    for reserved in ["_sd", "...", "iss", "exp", "cnf", "status", "vct"] {
        let one = name(reserved);
        assert_eq!(
            forged(json!({ "_sd": [d(&one)] }), &[one]),
            Err(SdJwtError::Name(reserved.into()))
        );
    }
    let item = json!(["salt", 1]);
    assert_eq!(
        forged(json!({ "_sd": [d(&item)] }), std::slice::from_ref(&item)),
        Err(SdJwtError::Disclosure)
    );
    assert_eq!(
        forged(json!({ "l": [{ "...": d(&a) }] }), std::slice::from_ref(&a)),
        Err(SdJwtError::Disclosure)
    );
    for broken in [json!([]), json!(["salt"]), json!([1, "a", 1]), json!(["s", 1, 1]), json!({})] {
        assert_eq!(forged(json!({ "_sd": [d(&broken)] }), &[broken]), Err(SdJwtError::Disclosure));
    }
    assert_eq!(forged(json!({ "_sd_alg": "sha-1", "_sd": [] }), &[]), Err(SdJwtError::Hash));
    assert_eq!(forged(json!({ "_sd": "x" }), &[]), Err(SdJwtError::Malformed));
    let nested = json!(["salt", "b", { "_sd": [d(&a)] }]);
    let found = forged(json!({ "_sd": [d(&nested)] }), &[nested, a]).unwrap();
    assert_eq!(found["b"]["a"], 1);
}

#[test]
fn the_disclosures_of_a_token_are_read_within_one_budget() {
    let long = |name: &str| json!(["salt", name, vec![0; 30_000]]);
    let (a, b) = (long("a"), long("b"));
    let digests = [&a, &b].map(|one| sdjwt::digest(&encoded(one)));
    let payload = json!({ "_sd": digests });
    assert!(forged(json!({ "_sd": [digests[0]] }), std::slice::from_ref(&a)).is_ok());
    assert_eq!(forged(payload, &[a, b]), Err(SdJwtError::Disclosure));
}

#[test]
fn algorithms_are_not_chosen_by_the_token() {
    let key = Key::P256(issuer().public());
    let good = jws::sign(json!({}), &json!({ "a": 1 }), &issuer());
    assert_eq!(Token::parse(&good).unwrap().verify(&key), Ok(()));
    let body = good.split_once('.').unwrap().1;
    for (alg, error) in [
        ("none", JwsError::Algorithm),
        ("HS256", JwsError::Algorithm),
        ("EdDSA", JwsError::Algorithm),
        ("ES384", JwsError::Algorithm),
    ] {
        let text = format!("{}.{body}", encoded(&json!({ "alg": alg })));
        assert_eq!(Token::parse(&text).unwrap().verify(&key), Err(error), "{alg}");
    }
    let critical = format!("{}.{body}", encoded(&json!({ "alg": "ES256", "crit": ["x"] })));
    assert_eq!(Token::parse(&critical).unwrap_err(), JwsError::Critical);
    let other = Key::P256(holder().public());
    assert_eq!(Token::parse(&good).unwrap().verify(&other), Err(JwsError::Signature));
    for text in ["", "a", "a.b", "e30.e30", &good[..good.len() - 1], "W10.e30.AA"] {
        assert!(Token::parse(text).and_then(|token| token.verify(&key)).is_err(), "{text}");
    }
}

#[test]
fn rfc_7638_and_the_curve_are_kept_to() {
    let key = holder().public();
    assert_eq!(PublicKey::from_jwk(&key.to_jwk()), Ok(key));
    assert_eq!(PublicKey::from_sec1(&key.to_sec1()), Ok(key));
    assert_eq!(key.thumbprint().len(), 43);
    let mut jwk = key.to_jwk();
    jwk["d"] = "AQ".into();
    assert_eq!(PublicKey::from_jwk(&jwk), Err(KeyError::Private));
    let mut jwk = key.to_jwk();
    jwk["y"] = jwk["x"].clone();
    assert_eq!(PublicKey::from_jwk(&jwk), Err(KeyError::Point));
    let mut jwk = key.to_jwk();
    jwk["crv"] = "secp256k1".into();
    assert_eq!(PublicKey::from_jwk(&jwk), Err(KeyError::Jwk));
    assert_eq!(PublicKey::from_sec1(&[0]), Err(KeyError::Point), "the point at infinity");
    assert!(SecretKey::from_bytes(&[0; 32]).is_err() && SecretKey::from_bytes(&[255; 32]).is_err());
}

#[test]
fn the_key_agreement_of_rfc_7518_gives_the_published_key() {
    use base64::Engine as _;
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let secret = url.decode("VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw").unwrap();
    let bob = SecretKey::from_bytes(&secret.try_into().unwrap()).unwrap();
    let Key::P256(alice) = rfc_key(
        "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
        "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
    ) else {
        unreachable!()
    };
    let derived = jwe::derive(&bob.agree(&alice), Encryption::A128Gcm, b"Alice", b"Bob");
    assert_eq!(url.encode(derived), "VqqN6vgjbSBcIijNcacQGg");
}

#[test]
fn what_was_encrypted_opens_for_its_key_alone_and_unchanged() {
    for enc in [Encryption::A128Gcm, Encryption::A256Gcm] {
        let to = holder();
        let ephemeral = SecretKey::from_bytes(&[5; 32]).unwrap();
        let sealed =
            jwe::encrypt(b"secret", &to.public(), "k1", enc, &ephemeral, &[6; 12]).unwrap();
        assert_eq!(jwe::decrypt(&sealed, &to).unwrap(), b"secret");
        assert_eq!(jwe::decrypt(&sealed, &issuer()), Err(JweError::Sealed));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] ^= 1 << (at % 7);
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(jwe::decrypt(&changed, &to).is_err(), "letter {at}");
        }
    }
}

#[test]
fn wycheproof_tokens_are_judged_as_published() {
    let Some(suite) = vectors::read_json("wycheproof/json_web_signature_test.json") else { return };
    let mut tried = 0;
    for group in suite["testGroups"].as_array().unwrap() {
        let key = group.get("public").unwrap_or(&group["private"]);
        let Ok(key) = PublicKey::from_jwk(key) else { continue };
        for test in group["tests"].as_array().unwrap() {
            let Some(text) = test["jws"].as_str() else { continue };
            let verified =
                Token::parse(text).is_ok_and(|token| token.verify(&Key::P256(key)).is_ok());
            // Their payloads are plain text, which these tokens never carry.
            assert!(!verified || test["result"] == "valid", "{test}");
            tried += 1;
        }
    }
    assert!(tried > 0);
}
