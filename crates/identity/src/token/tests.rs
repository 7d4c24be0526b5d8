use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use kernel::{Caller, Role};
use platform::crypto::{MasterKey, hmac_sha256};
use platform::on_both_engines;
use platform::testing::TestDb;
use serde_json::{Value as Json, json};

use super::jws::{self, Unverified};
use super::{Claims, Policy, Refusal, Service};
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
    let Some(folder) = std::env::var_os("VERZA_VECTORS") else {
        println!("VERZA_VECTORS names no folder: RFC 8032's own vectors must do");
        return;
    };
    let file = std::path::PathBuf::from(folder).join("wycheproof/ed25519_test.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("{} is not there: RFC 8032's own vectors must do", file.display());
        return;
    };
    let vectors: Json = serde_json::from_str(&text).unwrap();
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
        role: Role::User,
        iat: now,
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
        let token = service.sign(&claims).await.unwrap();
        assert_eq!(service.verify(token.expose()).await.unwrap(), claims);
    }

    async fn a_token_from_elsewhere_or_for_others_is_refused(t: &TestDb) {
        let service = service(t);
        let good = claims(t);
        for (wrong, code) in [
            (Claims { iss: "https://evil.example".to_owned(), ..good.clone() }, "invalid_token"),
            (Claims { aud: "https://other.example".to_owned(), ..good.clone() }, "invalid_token"),
            (Claims { iat: good.iat + 61, ..good.clone() }, "invalid_token"),
            (Claims { exp: good.iat, ..good.clone() }, "expired_token"),
            (Claims { exp: i64::MIN, ..good.clone() }, "expired_token"),
        ] {
            let token = service.sign(&wrong).await.unwrap();
            let refused = service.verify(token.expose()).await.unwrap_err();
            assert_eq!(refused.code(), code, "{wrong:?}");
        }
        let unknown = jws::sign("key_unknown", b"{}", &key());
        assert_eq!(service.verify(&unknown).await.unwrap_err().code(), "invalid_token");
        let kid = kids(&service).into_iter().next().unwrap();
        let forged = jws::sign(&kid, &serde_json::to_vec(&good).unwrap(), &key());
        assert_eq!(service.verify(&forged).await.unwrap_err().code(), "invalid_token");
    }

    async fn a_token_ends_with_its_last_second(t: &TestDb) {
        let service = service(t);
        let token = service.sign(&claims(t)).await.unwrap();
        t.clock.advance(Duration::from_secs(899));
        assert!(service.verify(token.expose()).await.is_ok());
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(service.verify(token.expose()).await.unwrap_err().code(), "expired_token");
    }

    async fn a_new_key_signs_and_the_old_one_is_believed_for_a_day(t: &TestDb) {
        let service = service(t);
        let mut claims = claims(t);
        claims.exp += 10 * 24 * 3600;
        let old = service.sign(&claims).await.unwrap();
        let before = kids(&service);
        service.rotate(&Caller::nobody()).await.unwrap();
        let new = service.sign(&claims).await.unwrap();
        let kid = |token: &str| Unverified::parse(token).unwrap().kid;
        assert_ne!(kid(old.expose()), kid(new.expose()));
        assert!(kids(&service).is_superset(&before) && kids(&service).len() == 2);
        for token in [&old, &new] {
            service.verify(token.expose()).await.unwrap();
        }
        t.clock.advance(Duration::from_secs(24 * 3600 + 1));
        service.keep_fresh().await.unwrap();
        assert!(service.verify(old.expose()).await.is_err());
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
        let token = one.sign(&claims(t)).await.unwrap();
        two.verify(token.expose()).await.unwrap();
    }

    async fn processes_that_start_at_once_make_one_key(t: &TestDb) {
        let services: Vec<_> = (0..5).map(|_| service(t)).collect();
        let starts = services.iter().map(Service::ensure_keys);
        for started in futures_util::future::join_all(starts).await {
            started.unwrap();
        }
        assert!(services.iter().all(|service| kids(service) == kids(&services[0])));
        assert_eq!(kids(&services[0]).len(), 1);
    }

    async fn another_master_key_does_not_open_the_keys(t: &TestDb) {
        service(t).ensure_keys().await.unwrap();
        let other = MasterKey::new([4; 32]);
        let other = Service::new(t.db.clone(), other, Policy::at("https://verza.example"));
        assert!(other.ensure_keys().await.unwrap_err().message().contains("master key"));
    }
}
