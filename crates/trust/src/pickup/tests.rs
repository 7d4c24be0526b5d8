//! Pickup as a wallet sees it, on both engines.

use std::time::Duration;

use kernel::id::kinds::{Credential, User};
use kernel::{Caller, Id};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};
use verify::jose::es256::SecretKey;
use verify::jose::jws::{self, Key};
use verify::jose::sdjwt::{Challenge, SdJwt, present};

use super::service::{GRANT, Offered};
use crate::Trust;
use crate::context::testing::{TABLES, caller, claim, trust};

const ISSUER: &str = "https://verza.example";

/// What is done to a proof's header and claims.
type Change = fn(&mut Json, &mut Json);

fn wallet() -> SecretKey {
    SecretKey::from_bytes(&[42; 32]).unwrap()
}

/// A verdict on a credential, and who it is about.
async fn verdict(
    t: &TestDb,
    trust: &Trust,
) -> (Id<Credential>, Caller, crate::issuance::service::Issued) {
    let claim = &claim(t);
    let issued = t
        .db
        .run("test", |tx| async move { trust.issuance.issue(&tx, tx.world().id(), claim).await })
        .await
        .unwrap();
    (claim.credential, caller(t, claim.holder), issued)
}

/// What is behind the link, and the code in it.
async fn code(trust: &Trust, offered: &Offered) -> String {
    let link = offered.url.expose().rsplit('/').next().unwrap().to_owned();
    let offer = trust.pickup.offered(&link).await.unwrap();
    assert_eq!(offer["credential_issuer"], ISSUER);
    offer["grants"][GRANT]["pre-authorized_code"].as_str().unwrap().to_owned()
}

fn proof(t: &TestDb, change: impl Fn(&mut Json, &mut Json), nonce: &str) -> String {
    let mut header = json!({ "typ": "openid4vci-proof+jwt", "jwk": wallet().public().to_jwk() });
    let now = t.db.world().now().seconds();
    let mut claims = json!({ "aud": ISSUER, "iat": now, "nonce": nonce });
    change(&mut header, &mut claims);
    jws::sign(header, &claims, &wallet())
}

async fn redeemed(t: &TestDb, trust: &Trust) -> (String, crate::issuance::service::Issued) {
    let (credential, caller, issued) = verdict(t, trust).await;
    let offered = trust.pickup.offer(&caller, credential).await.unwrap();
    let code = code(trust, &offered).await;
    let access = trust.pickup.redeem(&code, Some(offered.tx_code.expose())).await.unwrap();
    (access.token.expose().clone(), issued)
}

fn other(tx_code: &str) -> String {
    let digit = if tx_code.starts_with('0') { "1" } else { "0" };
    format!("{digit}{}", &tx_code[1..])
}

platform::on_both_engines! { TABLES;

async fn a_wallet_picks_up_a_credential_bound_to_its_key(t: &TestDb) {
    let trust = trust(t).await;
    let (access, issued) = redeemed(t, &trust).await;
    let nonce = trust.pickup.nonce();
    let proof = proof(t, |_, _| (), &nonce);
    let text = trust.pickup.collect(Some(&access), &proof).await.unwrap();
    let parsed = SdJwt::parse(&text).unwrap();
    let key = trust.authority.credential_keys()[0].public_key;
    assert_eq!(parsed.token.verify(&Key::P256(key)), Ok(()));
    assert_eq!(parsed.token.payload["cnf"]["jwk"], wallet().public().to_jwk());
    let claims = parsed.claims().unwrap();
    assert_eq!(claims["kind"], "Education");
    assert_eq!(claims["verified_by"], "Global Verify");
    assert_ne!(claims["status"]["status_list"]["idx"], issued.status.place);
    let now = t.db.world().now().seconds();
    let challenge = Challenge { audience: "x509_hash:a", nonce: "n", now, age_max: 60 };
    let shown = present(&text, |name| name == "kind", &wallet(), &challenge).unwrap();
    assert_eq!(SdJwt::parse(&shown).unwrap().check_key_binding(&challenge), Ok(()));
    let again = self::proof(t, |_, _| (), &trust.pickup.nonce());
    let refused = trust.pickup.collect(Some(&access), &again).await.unwrap_err();
    assert_eq!(refused.code(), "invalid_token", "an access token collects once");
}

async fn a_code_is_redeemed_once_and_only_by_whoever_has_both_halves(t: &TestDb) {
    let trust = trust(t).await;
    let (credential, caller, _) = verdict(t, &trust).await;
    let offered = trust.pickup.offer(&caller, credential).await.unwrap();
    let code = code(&trust, &offered).await;
    let tx_code = offered.tx_code.expose().as_str();
    let refused = |code: String, tx_code: Option<String>| {
        let trust = &trust;
        async move {
            trust.pickup.redeem(&code, tx_code.as_deref()).await.unwrap_err().code().to_owned()
        }
    };
    assert_eq!(refused(code.clone(), None).await, "invalid_request");
    assert_eq!(refused(code.clone(), Some(other(tx_code))).await, "invalid_grant");
    assert_eq!(refused("x".into(), Some(tx_code.into())).await, "invalid_grant");
    trust.pickup.redeem(&code, Some(tx_code)).await.unwrap();
    assert_eq!(refused(code.clone(), Some(tx_code.into())).await, "invalid_grant");
}

async fn of_many_that_redeem_at_once_one_does(t: &TestDb) {
    let trust = trust(t).await;
    let (credential, caller, _) = verdict(t, &trust).await;
    let offered = trust.pickup.offer(&caller, credential).await.unwrap();
    let code = code(&trust, &offered).await;
    let tries = (0..8).map(|_| trust.pickup.redeem(&code, Some(offered.tx_code.expose())));
    let done = futures_util::future::join_all(tries).await;
    assert_eq!(done.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

async fn five_wrong_transaction_codes_burn_an_offer(t: &TestDb) {
    let trust = trust(t).await;
    let (credential, caller, _) = verdict(t, &trust).await;
    let offered = trust.pickup.offer(&caller, credential).await.unwrap();
    let code = code(&trust, &offered).await;
    for _ in 0..5 {
        let wrong = other(offered.tx_code.expose());
        assert!(trust.pickup.redeem(&code, Some(&wrong)).await.is_err());
    }
    let right = trust.pickup.redeem(&code, Some(offered.tx_code.expose())).await;
    assert_eq!(right.unwrap_err().code(), "invalid_grant");
}

async fn offers_tokens_and_nonces_end(t: &TestDb) {
    let trust = trust(t).await;
    let (credential, caller, _) = verdict(t, &trust).await;
    let offered = trust.pickup.offer(&caller, credential).await.unwrap();
    let code = code(&trust, &offered).await;
    t.clock.advance(Duration::from_secs(600));
    assert!(trust.pickup.redeem(&code, Some(offered.tx_code.expose())).await.is_err());
    let link = offered.url.expose().rsplit('/').next().unwrap();
    assert_eq!(trust.pickup.offered(link).await.unwrap_err().code(), "not_found");

    let (access, _) = redeemed(t, &trust).await;
    let nonce = trust.pickup.nonce();
    t.clock.advance(Duration::from_secs(300));
    let late = trust.pickup.collect(Some(&access), &proof(t, |_, _| (), &nonce)).await;
    assert_eq!(late.unwrap_err().code(), "invalid_token");
}

async fn a_proof_must_be_made_for_us_now_with_a_nonce_of_ours(t: &TestDb) {
    let trust = trust(t).await;
    let (access, _) = redeemed(t, &trust).await;
    let nonce = trust.pickup.nonce();
    let changes: [(&str, Change); 9] = [
        ("invalid_proof", |header, _| header["typ"] = "JWT".into()),
        ("invalid_proof", |header, _| header["kid"] = "k".into()),
        ("invalid_proof", |header, _| header["jwk"]["d"] = "AQ".into()),
        ("invalid_proof", |header, _| header["jwk"]["crv"] = "P-384".into()),
        ("invalid_proof", |_, claims| claims["aud"] = "https://other.example".into()),
        ("invalid_proof", |_, claims| claims["iss"] = "client".into()),
        ("invalid_proof", |_, claims| claims["iat"] = 1.into()),
        ("invalid_nonce", |_, claims| claims["nonce"] = "AAAA".into()),
        ("invalid_nonce", |_, claims| claims["nonce"] = Json::Null),
    ];
    for (code, change) in changes {
        let refused = trust.pickup.collect(Some(&access), &proof(t, change, &nonce)).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
    assert!(trust.pickup.collect(None, &proof(t, |_, _| (), &nonce)).await.is_err());
    let spent = proof(t, |_, _| (), &nonce);
    trust.pickup.collect(Some(&access), &spent).await.unwrap();
    let (access, _) = redeemed(t, &trust).await;
    let refused = trust.pickup.collect(Some(&access), &spent).await.unwrap_err();
    assert_eq!(refused.code(), "invalid_nonce", "a nonce is spent once");
}

async fn nobody_is_offered_what_is_anothers_or_was_taken_back(t: &TestDb) {
    let trust = trust(t).await;
    let (credential, owner, issued) = verdict(t, &trust).await;
    let stranger = caller(t, t.db.world().id::<User>());
    let refused = trust.pickup.offer(&stranger, credential).await.unwrap_err();
    assert_eq!(refused.code(), "not_issued");
    let (trust, owner) = (&trust, &owner);
    t.db.run("test", |tx| async move {
        trust.issuance.revoke(&tx, issued.id, owner, "retracted").await
    })
    .await
    .unwrap();
    assert_eq!(trust.pickup.offer(owner, credential).await.unwrap_err().code(), "not_issued");
}
}
