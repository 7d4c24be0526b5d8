use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use kernel::{Caller, Role};
use pasetors::keys::AsymmetricPublicKey;
use pasetors::version4::V4;
use platform::crypto::{MasterKey, hmac_sha256};
use platform::on_both_engines;
use platform::testing::{TestDb, vectors};
use serde_json::{Value as Json, json};

use super::jws::{self, Unverified};
use super::paseto::{Unverified as Paseto, Verifying};
use super::{Claims, Format, Policy, Refusal, Service};
use crate::testing::{TABLES, master};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token with any header, properly signed.
fn token_with(header: &str) -> String {
    let signed = format!("{}.{}", encode(header), encode(r#"{"a":1}"#));
    let signature = key().sign(signed.as_bytes()).to_bytes();
    format!("{signed}.{}", encode(signature))
}

fn check(token: &str) -> Result<Json, Refusal> {
    Unverified::parse(token)?.verify(&key().verifying_key())
}

#[test]
fn what_is_signed_can_be_checked() {
    let token = jws::sign("key_1", br#"{"a":1}"#, &key());
    assert_eq!(check(&token), Ok(json!({ "a": 1 })));
    assert_eq!(Unverified::parse(&token).unwrap().kid, "key_1");
    let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
    let refused = Unverified::parse(&token).unwrap().verify::<Json>(&other);
    assert_eq!(refused, Err(Refusal::BadSignature));
}

#[test]
fn every_other_header_is_refused() {
    let good = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"}"#;
    assert!(check(&token_with(good)).is_ok());
    for header in [
        r#"{"alg":"none","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"NONE","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"eddsa","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":["EdDSA"],"typ":"at+jwt","kid":"k"}"#,
        r#"{"typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"EdDSA","kid":"k"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#,
        r#"{"alg":"EdDSA","typ":"dpop+jwt","kid":"k"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":7}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","b64":false}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","jwk":{"kty":"OKP"}}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k","jku":"https://evil.example"}"#,
        r#"{"alg":"EdDSA","alg":"none","typ":"at+jwt","kid":"k"}"#,
        r#"{"alg":"EdDSA","typ":"at+jwt","kid":"k"} x"#,
        r#"["EdDSA","at+jwt","k"] "#,
        "",
        "null",
    ] {
        assert_eq!(check(&token_with(header)), Err(Refusal::Malformed), "{header}");
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let header = r#"{"alg":"HS256","typ":"at+jwt","kid":"k"}"#;
    let signed = format!("{}.{}", encode(header), encode(r#"{"a":1}"#));
    let mac = hmac_sha256(key().verifying_key().as_bytes(), signed.as_bytes());
    assert_eq!(check(&format!("{signed}.{}", encode(mac))), Err(Refusal::Malformed));
    assert_eq!(check(&format!("{signed}.")), Err(Refusal::Malformed));
}

#[test]
fn claims_are_read_from_one_plain_object() {
    let id = |kind: &str| format!("{kind}_01h455vb4pex5vsknk084sn02q");
    let good = json!({
        "iss": "https://verza.example", "aud": "https://verza.example", "sub": id("u"),
        "sid": id("s"), "role": "user", "iat": 1, "exp": 2, "jti": "x",
    });
    let read = |payload: &str| {
        let token = jws::sign("k", payload.as_bytes(), &key());
        Unverified::parse(&token)?.verify::<Claims>(&key().verifying_key())
    };
    let good = good.to_string();
    assert!(read(&good).is_ok());
    let doubled = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let nested = jws::sign("k", good.as_bytes(), &key());
    for payload in [
        doubled(r#""role":"admin""#),
        doubled(r#""exp":9999999999"#),
        doubled(r#""iss":"https://evil.example""#),
        good.replace(r#""exp":2"#, r#""exp":"2""#),
        good.replace(r#""exp":2"#, r#""exp":2.5"#),
        good.replace(r#""exp":2"#, r#""exp":1e300"#),
        good.replace(r#""exp":2"#, r#""exp":null"#),
        good.replace(r#""exp":2,"#, ""),
        good.replace(r#""aud":"https://verza.example""#, r#""aud":["https://verza.example"]"#),
        good.replace("u_01", "s_01"),
        good.replace(r#""user""#, r#""root""#),
        format!(" {good}"),
        format!("{good}{good}"),
        format!("[{good}]"),
        nested.clone(),
        format!("\"{nested}\""),
        "{}".to_owned(),
        String::new(),
    ] {
        assert_eq!(read(&payload), Err(Refusal::Malformed), "{payload}");
    }
}

#[test]
fn a_huge_token_is_not_even_decoded() {
    let token = jws::sign("k", &vec![b'x'; 8 << 20], &key());
    assert_eq!(Unverified::parse(&token).unwrap_err(), Refusal::Malformed);
    let dots = ".".repeat(8 << 20);
    assert_eq!(Unverified::parse(&dots).unwrap_err(), Refusal::Malformed);
    for prefix in ["v4.public.", "v4.local."] {
        let token = format!("{prefix}{}", "A".repeat(8 << 20));
        assert!(Paseto::parse(&token).is_err());
        assert!(Paseto::parse(&format!("{prefix}{dots}")).is_err());
    }
}

#[test]
fn a_token_has_one_text() {
    let token = jws::sign("k", br#"{"a":1}"#, &key());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut with_s_plus_order = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0_u16;
    for (byte, add) in with_s_plus_order[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    let longer = "x".repeat(jws::LEN_MAX);
    for other in [
        format!("{token}="),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.x"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{signed}.{}", signature.replace('_', "/").replace('-', "+") + "=="),
        format!("{signed}.{}", encode(&with_s_plus_order)),
        format!("{signed}.{signature}{longer}"),
        signed.to_owned(),
        "..".to_owned(),
        String::new(),
    ] {
        assert!(check(&other).is_err(), "{other}");
    }
}

#[test]
fn no_changed_letter_goes_through() {
    let token = jws::sign("k", br#"{"role":"user"}"#, &key());
    for place in 0..token.len() {
        for letter in ['A', 'B', 'x', '9', '_', '.'] {
            let mut changed = token.clone();
            changed.replace_range(place..=place, &letter.to_string());
            assert!(changed == token || check(&changed).is_err(), "{place} {letter}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_the_reader(text: String) {
        assert!(check(&text).is_err());
        for prefix in ["v4.public.", "v4.local."] {
            let parsed = Paseto::parse(&format!("{prefix}{text}"));
            assert!(parsed.is_err() || parsed.is_ok_and(|parsed| parsed.kid().is_err()));
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

#[test]
fn rfc_8032_s_signatures_are_ours() {
    // Section 7.1: secret key, public key, message, signature.
    for (secret, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e\
             39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f\
             3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67\
             f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let key = SigningKey::from_bytes(&unhex(secret).try_into().unwrap());
        assert_eq!(key.verifying_key().to_bytes().to_vec(), unhex(public));
        assert_eq!(key.sign(&unhex(message)).to_bytes().to_vec(), unhex(signature));
    }
}

#[test]
fn wycheproof_s_signatures_are_judged_as_it_says() {
    let Some(vectors) = vectors::read_json("wycheproof/ed25519_test.json") else { return };
    let mut judged = 0;
    for group in vectors["testGroups"].as_array().unwrap() {
        let public = unhex(group["publicKey"]["pk"].as_str().unwrap());
        let public = VerifyingKey::from_bytes(&public.try_into().unwrap()).unwrap();
        for test in group["tests"].as_array().unwrap() {
            let message = unhex(test["msg"].as_str().unwrap());
            let signature = Signature::from_slice(&unhex(test["sig"].as_str().unwrap()));
            let good = signature.is_ok_and(|s| public.verify_strict(&message, &s).is_ok());
            assert_eq!(good, test["result"] == "valid", "{}", test["tcId"]);
            judged += 1;
        }
    }
    assert!(judged > 100);
}

fn service(t: &TestDb) -> Service {
    Service::new(t.db.clone(), master(), Policy::at("https://verza.example"))
}

fn claims(t: &TestDb) -> Claims {
    let now = t.db.world().now().seconds();
    Claims {
        iss: "https://verza.example".to_owned(),
        aud: "https://verza.example".to_owned(),
        sub: t.db.world().id(),
        sid: t.db.world().id(),
        epoch: 0,
        role: Role::User,
        act: None,
        iat: now,
        nbf: None,
        exp: now + 900,
        jti: "x".to_owned(),
    }
}

fn kids(service: &Service) -> BTreeSet<String> {
    let set: Json = serde_json::from_slice(&service.jwks()).unwrap();
    let keys = set["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key.get("d").is_none() && key["alg"] == "EdDSA"));
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

on_both_engines! { TABLES;
    async fn a_token_says_what_it_was_made_of(t: &TestDb) {
        let service = service(t);
        let claims = claims(t);
        for format in Format::ALL {
            let admin = crate::token::Actor { sub: t.db.world().id() };
            for (epoch, act) in [(0, None), (7, Some(admin))] {
                let claims = Claims { epoch, act, ..claims.clone() };
                let token = service.sign(claims.clone(), format).await.unwrap();
                assert_eq!(Format::of(token.expose()), format);
                assert_eq!(service.verify(token.expose()).await.unwrap(), claims);
                assert!(token.expose().len() < jws::LEN_MAX / 2);
            }
        }
    }

    async fn a_token_from_elsewhere_or_for_others_is_refused(t: &TestDb) {
        let service = service(t);
        let good = claims(t);
        for (wrong, code) in [
            (Claims { iss: "https://evil.example".to_owned(), ..good.clone() }, "invalid_token"),
            (Claims { iss: "https://verza.example/".to_owned(), ..good.clone() }, "invalid_token"),
            (Claims { aud: "https://other.example".to_owned(), ..good.clone() }, "invalid_token"),
            (Claims { aud: String::new(), ..good.clone() }, "invalid_token"),
            // Clocks may differ by a minute about the beginning, and by nothing about the end.
            (Claims { iat: good.iat + 60, ..good.clone() }, "ok"),
            (Claims { iat: good.iat + 61, ..good.clone() }, "invalid_token"),
            (Claims { nbf: Some(good.iat + 60), ..good.clone() }, "ok"),
            (Claims { nbf: Some(good.iat + 61), ..good.clone() }, "invalid_token"),
            (Claims { nbf: Some(i64::MAX / 1_000_000), ..good.clone() }, "invalid_token"),
            (Claims { exp: good.iat + 1, ..good.clone() }, "ok"),
            (Claims { exp: good.iat, ..good.clone() }, "expired_token"),
            (Claims { exp: good.iat - 1, ..good.clone() }, "expired_token"),
            // Whoever forges the one does not learn of the other.
            (Claims { exp: 0, iss: "https://evil.example".to_owned(), ..good.clone() },
                "invalid_token"),
        ] {
            for format in Format::ALL {
                let token = service.sign(wrong.clone(), format).await.unwrap();
                let outcome = service.verify(token.expose()).await;
                let outcome = outcome.err().map_or("ok".to_owned(), |e| e.code().to_owned());
                assert_eq!(outcome, code, "{format:?} {wrong:?}");
            }
        }
        let over = Claims { exp: i64::MIN, ..good };
        let token = service.sign(over, Format::Jwt).await.unwrap();
        assert_eq!(service.verify(token.expose()).await.unwrap_err().code(), "expired_token");
    }

    async fn only_a_token_that_was_good_counts_as_over(t: &TestDb) {
        let service = service(t);
        let good = claims(t);
        for format in Format::ALL {
            let token = service.sign(good.clone(), format).await.unwrap();
            let early = service.verify_expired(token.expose()).await.unwrap_err();
            assert_eq!(early.code(), "invalid_token");
            let over = Claims { exp: good.iat - 1, ..good.clone() };
            let token = service.sign(over.clone(), format).await.unwrap();
            assert_eq!(service.verify_expired(token.expose()).await.unwrap(), over);
            let text = token.expose();
            let forged = format!("{}{}", &text[..text.len() - 4], "AAAA");
            let foreign = Claims { aud: "https://other.example".to_owned(), ..over };
            let foreign = service.sign(foreign, format).await.unwrap();
            for wrong in [&forged, foreign.expose()] {
                let refused = service.verify_expired(wrong).await.unwrap_err();
                assert_eq!(refused.code(), "invalid_token", "{wrong}");
            }
        }
    }

    async fn a_key_id_names_one_of_our_own_keys_or_nothing(t: &TestDb) {
        let service = service(t);
        service.ensure_keys().await.unwrap();
        let good = claims(t);
        let payload = serde_json::to_vec(&good).unwrap();
        let kid = kids(&service).into_iter().next().unwrap();
        let long = "k".repeat(1000);
        for tried in [
            "", " ", "key_unknown", "../../../../etc/passwd", "/dev/null", "file:///dev/null",
            "https://evil.example/jwks.json", "' OR '1'='1", "key'; DROP TABLE token_keys; --",
            "%00", "*", "null", &long, &kid.to_ascii_uppercase(), &format!("{kid} "), &kid,
        ] {
            let token = jws::sign(tried, &payload, &key());
            let refused = service.verify(&token).await.unwrap_err();
            assert_eq!(refused.code(), "invalid_token", "{tried}");
        }
        // Nothing was dropped, and what we sign ourselves is still good.
        let token = service.sign(good.clone(), Format::Jwt).await.unwrap();
        assert_eq!(service.verify(token.expose()).await.unwrap(), good);
    }

    async fn a_key_serves_one_form_only(t: &TestDb) {
        let service = service(t);
        let good = claims(t);
        let mut tokens = Vec::new();
        for format in Format::ALL {
            tokens.push(service.sign(good.clone(), format).await.unwrap().expose().clone());
        }
        let [jwt, public, local] = &tokens[..] else { panic!() };
        let listed = service.list();
        assert_eq!(listed.len(), 3);
        let kid_of = |format| {
            listed.iter().find(|key| key.format == format).map(|key| key.kid.clone()).unwrap()
        };
        assert_eq!(Unverified::parse(jwt).unwrap().kid, kid_of(Format::Jwt));
        assert!(kid_of(Format::PasetoPublic).starts_with("k4.pid."));
        assert!(kid_of(Format::PasetoLocal).starts_with("k4.lid."));
        let part = |token: &str, place| token.split('.').nth(place).unwrap().to_owned();
        for (body, footer) in [
            // One form's body under the other's header, and the other's key in the footer.
            (format!("v4.public.{}", part(local, 2)), part(local, 3)),
            (format!("v4.local.{}", part(public, 2)), part(public, 3)),
            (format!("v4.public.{}", part(public, 2)), part(local, 3)),
            (format!("v4.local.{}", part(local, 2)), part(public, 3)),
            (format!("v4.public.{}", part(public, 2)), encode(format!(
                r#"{{"kid":"{}"}}"#, kid_of(Format::Jwt)
            ))),
        ] {
            let refused = service.verify(&format!("{body}.{footer}")).await.unwrap_err();
            assert_eq!(refused.code(), "invalid_token", "{body}");
        }
    }

    async fn no_other_version_of_paseto_and_no_other_footer_is_accepted(t: &TestDb) {
        let service = service(t);
        let good = claims(t);
        for format in [Format::PasetoPublic, Format::PasetoLocal] {
            let token = service.sign(good.clone(), format).await.unwrap().expose().clone();
            let parts: Vec<&str> = token.split('.').collect();
            let [_, purpose, body, footer] = parts[..] else { panic!("{token}") };
            for version in ["v1", "v2", "v3", "v5", "V4", "v04", "v4c", " v4"] {
                let other = format!("{version}.{purpose}.{body}.{footer}");
                assert_eq!(service.verify(&other).await.unwrap_err().code(), "invalid_token");
            }
            let kid = Paseto::parse(&token).unwrap().kid().unwrap().to_owned();
            for other in [
                "".to_owned(),
                "x".to_owned(),
                r#"["k"]"#.to_owned(),
                r#"{"kid":"k4.pid.unknown"}"#.to_owned(),
                format!(r#"{{"kid":"{kid}","wpk":"x"}}"#),
                format!(r#"{{"kid":"{kid}","kid":"{kid}"}}"#),
                format!(r#"{{ "kid":"{kid}"}}"#),
                format!(r#"{{"kid":{{"kid":"{kid}"}}}}"#),
            ] {
                let dot = if other.is_empty() { "" } else { "." };
                let forged = format!("v4.{purpose}.{body}{dot}{}", encode(&other));
                let refused = service.verify(&forged).await.unwrap_err();
                assert_eq!(refused.code(), "invalid_token", "{other}");
            }
            for other in [
                format!("{token}."), format!("{token}.{footer}"), format!("{token}="),
                format!("{token} "), format!("v4.{purpose}..{footer}"), format!("v4.{purpose}."),
                format!("v4.{purpose}"), format!("{token}{}", "A".repeat(jws::LEN_MAX)),
            ] {
                assert!(service.verify(&other).await.is_err(), "{other}");
            }
        }
    }

    async fn no_changed_letter_of_a_paseto_goes_through(t: &TestDb) {
        let service = service(t);
        for format in [Format::PasetoPublic, Format::PasetoLocal] {
            let token = service.sign(claims(t), format).await.unwrap().expose().clone();
            let step = if t.is_postgres() { 29 } else { 3 };
            for place in (0..token.len()).step_by(step) {
                for letter in ['A', 'x', '9', '_', '.'] {
                    let mut changed = token.clone();
                    changed.replace_range(place..=place, &letter.to_string());
                    let passes = service.verify(&changed).await.is_ok();
                    assert!(changed == token || !passes, "{place} {letter}");
                }
            }
        }
    }

    async fn what_is_published_is_enough_to_check_a_token(t: &TestDb) {
        let service = service(t);
        let good = claims(t);
        let token = service.sign(good.clone(), Format::Jwt).await.unwrap();
        let set: Json = serde_json::from_slice(&service.jwks()).unwrap();
        let x = URL_SAFE_NO_PAD.decode(set["keys"][0]["x"].as_str().unwrap()).unwrap();
        let public = VerifyingKey::from_bytes(&x.try_into().unwrap()).unwrap();
        let said: Claims = Unverified::parse(token.expose()).unwrap().verify(&public).unwrap();
        assert_eq!(said, good);

        let token = service.sign(good.clone(), Format::PasetoPublic).await.unwrap();
        let page: Json = serde_json::from_slice(&service.paserks()).unwrap();
        let keys = page["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 1, "the local key is nobody's business");
        let public = AsymmetricPublicKey::<V4>::try_from(keys[0]["paserk"].as_str().unwrap());
        let untrusted = Paseto::parse(token.expose()).unwrap();
        assert_eq!(untrusted.kid(), Ok(keys[0]["kid"].as_str().unwrap()));
        let said = untrusted.open(&Verifying::Public(public.unwrap()), b"").unwrap();
        let said: Json = serde_json::from_str(&said).unwrap();
        assert_eq!(said["sub"], good.sub.to_string());
        assert_eq!(said["sid"], good.sid.to_string());
        assert_eq!(said["role"], "user");
        assert_eq!(said["iat"], "2026-01-01T00:00:00Z");
        assert_eq!(said["exp"], "2026-01-01T00:15:00Z");
        // Of a local token nothing can be read.
        let token = service.sign(good, Format::PasetoLocal).await.unwrap();
        let body = token.expose().split('.').nth(2).unwrap();
        let body = URL_SAFE_NO_PAD.decode(body).unwrap();
        assert!(!body.windows(5).any(|part| part == b"verza"));
    }

    async fn a_token_ends_with_its_last_second(t: &TestDb) {
        let service = service(t);
        let mut tokens = Vec::new();
        for format in Format::ALL {
            tokens.push(service.sign(claims(t), format).await.unwrap());
        }
        t.clock.advance(Duration::from_secs(899));
        for token in &tokens {
            assert!(service.verify(token.expose()).await.is_ok());
        }
        t.clock.advance(Duration::from_secs(1));
        for token in &tokens {
            let refused = service.verify(token.expose()).await.unwrap_err();
            assert_eq!(refused.code(), "expired_token");
        }
    }

    async fn a_new_key_signs_and_the_old_one_is_believed_for_a_day(t: &TestDb) {
        let service = service(t);
        let mut claims = claims(t);
        claims.exp += 10 * 24 * 3600;
        let old = service.sign(claims.clone(), Format::Jwt).await.unwrap();
        let mut old_pasetos = Vec::new();
        for format in [Format::PasetoPublic, Format::PasetoLocal] {
            old_pasetos.push(service.sign(claims.clone(), format).await.unwrap());
        }
        let before = kids(&service);
        service.rotate(&Caller::nobody()).await.unwrap();
        let new = service.sign(claims.clone(), Format::Jwt).await.unwrap();
        assert_eq!(service.list().len(), 6);
        assert_eq!(service.list().iter().filter(|key| key.retired_at.is_none()).count(), 3);
        for token in &old_pasetos {
            service.verify(token.expose()).await.unwrap();
        }
        let kid = |token: &str| Unverified::parse(token).unwrap().kid;
        assert_ne!(kid(old.expose()), kid(new.expose()));
        assert!(kids(&service).is_superset(&before) && kids(&service).len() == 2);
        for token in [&old, &new] {
            service.verify(token.expose()).await.unwrap();
        }
        t.clock.advance(Duration::from_secs(24 * 3600 + 1));
        service.keep_fresh().await.unwrap();
        for token in old_pasetos.iter().chain([&old]) {
            assert!(service.verify(token.expose()).await.is_err());
        }
        assert_eq!(service.list().len(), 3);
        service.verify(new.expose()).await.unwrap();
        assert_eq!(kids(&service).len(), 1);
    }

    async fn a_key_is_replaced_when_it_is_old(t: &TestDb) {
        let service = service(t);
        service.ensure_keys().await.unwrap();
        let first = kids(&service);
        t.clock.advance(Duration::from_secs(89 * 24 * 3600));
        service.keep_fresh().await.unwrap();
        assert_eq!(kids(&service), first);
        t.clock.advance(Duration::from_secs(24 * 3600));
        service.keep_fresh().await.unwrap();
        assert_eq!(kids(&service).len(), 2);
    }

    async fn another_process_s_new_key_is_learnt_when_it_is_met(t: &TestDb) {
        let (one, two) = (service(t), service(t));
        one.ensure_keys().await.unwrap();
        two.ensure_keys().await.unwrap();
        assert_eq!(kids(&one), kids(&two));
        one.rotate(&Caller::nobody()).await.unwrap();
        t.clock.advance(Duration::from_secs(1));
        for format in Format::ALL {
            let token = one.sign(claims(t), format).await.unwrap();
            two.verify(token.expose()).await.unwrap();
        }
    }

    async fn processes_that_start_at_once_make_one_key(t: &TestDb) {
        let services: Vec<_> = (0..5).map(|_| service(t)).collect();
        let starts = services.iter().map(Service::ensure_keys);
        for started in futures_util::future::join_all(starts).await {
            started.unwrap();
        }
        assert!(services.iter().all(|service| kids(service) == kids(&services[0])));
        assert_eq!(kids(&services[0]).len(), 1);
        assert_eq!(services[0].list().len(), 3);
    }

    async fn another_master_key_does_not_open_the_keys(t: &TestDb) {
        service(t).ensure_keys().await.unwrap();
        let other = MasterKey::new([4; 32]);
        let other = Service::new(t.db.clone(), other, Policy::at("https://verza.example"));
        assert!(other.ensure_keys().await.unwrap_err().message().contains("master key"));
    }
}
