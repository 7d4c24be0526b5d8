//! Presentations as an enterprise and a wallet see them, on both engines.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds::User;
use kernel::{Caller, Id};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};
use verify::jose::es256::{PublicKey, SecretKey};
use verify::jose::jwe::{self, Encryption};
use verify::jose::jws::{Key, Token};
use verify::jose::sdjwt::{Challenge, present};
use verify::jose::x5c::{self, Anchor};

use super::model::{QUERY_ID, Query};
use super::service::{Asked, Askers, Posted, Request};
use crate::Trust;
use crate::context::testing::{TABLES, caller, claim, trust};
use crate::issuance::service::Issued;

fn wallet() -> SecretKey {
    SecretKey::from_bytes(&[42; 32]).unwrap()
}

async fn credential(t: &TestDb, trust: &Trust) -> (Issued, String) {
    let claim = &claim(t);
    let key = &wallet().public();
    t.db.run("test", |tx| async move {
        let issued = trust.issuance.issue(&tx, tx.world().id(), claim).await?;
        let text = trust.issuance.sd_jwt(&tx, &issued, Some(key)).await?;
        Ok((issued, text))
    })
    .await
    .unwrap()
}

async fn ask(t: &TestDb, trust: &Trust, encrypted: bool) -> (Caller, Request) {
    let asker = caller(t, t.db.world().id::<User>());
    let query = Query::parse(vec![trust.presentations.own_type()], vec!["kind".into()]).unwrap();
    let asked = Asked { purpose: "Hiring".into(), query, encrypted };
    let request = trust.presentations.create(&asker, &asked).await.unwrap();
    (asker, request)
}

/// The request as a wallet reads it: signed under a chain that ends in the pinned root.
async fn fetched(t: &TestDb, trust: &Trust, request: &Request) -> Json {
    let text = trust.presentations.signed(request.id).await.unwrap();
    let token = Token::parse(&text).unwrap();
    assert_eq!(token.typ(), Some("oauth-authz-req+jwt"));
    let root = Anchor::parse(trust.authority.roots()[0].as_bytes()).unwrap();
    let now = t.db.world().now().seconds();
    let leaf = x5c::check(&token.header["x5c"], &[root], now).unwrap();
    assert!(leaf.anchored && (leaf.hosts.is_empty() && leaf.urls.is_empty()), "for nobody");
    assert_eq!(token.verify(&Key::P256(leaf.key)), Ok(()));
    let hash = platform::crypto::base64url(leaf.sha256);
    assert_eq!(token.payload["client_id"], format!("x509_hash:{hash}"));
    token.payload.clone()
}

fn shown(t: &TestDb, asked: &Json, credential: &str, claim: &str) -> String {
    let challenge = Challenge {
        audience: asked["client_id"].as_str().unwrap(),
        nonce: asked["nonce"].as_str().unwrap(),
        now: t.db.world().now().seconds(),
        age_max: 60,
    };
    present(credential, |name| name == claim, &wallet(), &challenge).unwrap()
}

fn posted(asked: &Json, presentation: &str) -> Posted {
    let vp_token = json!({ QUERY_ID: [presentation] }).to_string();
    let state = asked["state"].as_str().unwrap().to_owned();
    Posted { vp_token: Some(vp_token), state: Some(state), response: None }
}

/// Everybody is called the same.
struct Acme;

impl Askers for Acme {
    fn name(&self, _: Id<User>) -> BoxFuture<'_, kernel::Result<Option<String>>> {
        async { Ok(Some("Acme\nLtd".to_owned())) }.boxed()
    }
}

platform::on_both_engines! { TABLES;

async fn a_wallet_is_told_who_asks_and_what_for(t: &TestDb) {
    let trust = trust(t).await;
    let (_, request) = ask(t, &trust, true).await;
    let shown = fetched(t, &trust, &request).await["client_metadata"]["client_name"].clone();
    assert_eq!(shown, "verza.example: Hiring");
    trust.presentations.ask(std::sync::Arc::new(Acme));
    let shown = fetched(t, &trust, &request).await["client_metadata"]["client_name"].clone();
    assert_eq!(shown, "Acme Ltd (verza.example): Hiring");
}

async fn a_wallet_shows_what_was_asked_for_and_no_more(t: &TestDb) {
    let trust = trust(t).await;
    let (_, credential) = credential(t, &trust).await;
    let (asker, request) = ask(t, &trust, false).await;
    let asked = fetched(t, &trust, &request).await;
    assert_eq!(asked["dcql_query"]["credentials"][0]["claims"], json!([{ "path": ["kind"] }]));
    let answer = posted(&asked, &shown(t, &asked, &credential, "kind"));
    trust.presentations.answer(request.id, &answer).await.unwrap();
    let done = trust.presentations.get(&asker, request.id).await.unwrap();
    assert_eq!(done.claims, Some(json!({ "kind": "Education" })));
    let again = trust.presentations.answer(request.id, &answer).await.unwrap_err();
    assert_eq!(again.code(), "not_found", "answered once");
    let other = caller(t, t.db.world().id::<User>());
    assert!(trust.presentations.get(&other, request.id).await.is_err());
}

async fn an_encrypted_answer_is_opened_by_its_request_alone(t: &TestDb) {
    let trust = trust(t).await;
    let (_, credential) = credential(t, &trust).await;
    let (asker, request) = ask(t, &trust, true).await;
    let (_, another) = ask(t, &trust, true).await;
    let asked = fetched(t, &trust, &request).await;
    let jwk = &asked["client_metadata"]["jwks"]["keys"][0];
    let to = PublicKey::from_jwk(jwk).unwrap();
    let presentation = shown(t, &asked, &credential, "kind");
    let body = json!({ "vp_token": { QUERY_ID: [presentation] }, "state": asked["state"] });
    let sealed = jwe::encrypt(
        body.to_string().as_bytes(),
        &to,
        jwk["kid"].as_str().unwrap(),
        Encryption::A256Gcm,
        &SecretKey::from_bytes(&[5; 32]).unwrap(),
        &[7; 12],
    );
    let answer = Posted { response: Some(sealed.unwrap()), ..Posted::default() };
    assert!(trust.presentations.answer(another.id, &answer).await.is_err());
    let plain = posted(&asked, &presentation);
    assert!(trust.presentations.answer(request.id, &plain).await.is_err(), "in the clear");
    trust.presentations.answer(request.id, &answer).await.unwrap();
    let done = trust.presentations.get(&asker, request.id).await.unwrap();
    assert!(done.answered_at.is_some());
}

async fn answers_that_are_not_good_in_every_respect_are_refused(t: &TestDb) {
    let trust = &trust(t).await;
    let (issued, credential) = credential(t, trust).await;
    let (_, request) = ask(t, trust, false).await;
    let (_, another) = ask(t, trust, false).await;
    let asked = fetched(t, trust, &request).await;
    let other = fetched(t, trust, &another).await;
    let good = shown(t, &asked, &credential, "kind");
    let refuse = async |posted: Posted| {
        let refused = trust.presentations.answer(request.id, &posted).await.unwrap_err();
        assert_eq!(refused.code(), "invalid_request", "{posted:?}");
    };
    refuse(Posted::default()).await;
    refuse(Posted { state: Some("x".into()), ..posted(&asked, &good) }).await;
    refuse(posted(&other, &good)).await;
    refuse(posted(&asked, &shown(t, &other, &credential, "kind"))).await;
    refuse(posted(&asked, &shown(t, &asked, &credential, "title"))).await;
    refuse(posted(&asked, &credential)).await;
    refuse(posted(&asked, "x")).await;
    for vp_token in ["{}", "[]", "{\"credential\":[]}", "{\"credential\":[1]}"] {
        refuse(Posted { vp_token: Some(vp_token.into()), ..posted(&asked, &good) }).await;
    }
    t.clock.advance(Duration::from_secs(301));
    refuse(posted(&asked, &good)).await;
    let good = shown(t, &asked, &credential, "kind");
    let owner = &Caller::nobody();
    t.db.run("test", |tx| async move {
        trust.issuance.revoke(&tx, issued.id, owner, "retracted").await
    })
    .await
    .unwrap();
    refuse(posted(&asked, &good)).await;
}

async fn a_request_ends(t: &TestDb) {
    let trust = trust(t).await;
    let (_, request) = ask(t, &trust, false).await;
    t.clock.advance(Duration::from_secs(600));
    assert!(trust.presentations.signed(request.id).await.is_err());
    assert!(trust.presentations.answer(request.id, &Posted::default()).await.is_err());
}

async fn an_unbound_credential_is_not_a_presentation(t: &TestDb) {
    let trust = &trust(t).await;
    let claim = &claim(t);
    let text = t.db.run("test", |tx| async move {
        let issued = trust.issuance.issue(&tx, tx.world().id(), claim).await?;
        trust.issuance.sd_jwt(&tx, &issued, None).await
    })
    .await
    .unwrap();
    let (_, request) = ask(t, trust, false).await;
    let asked = fetched(t, trust, &request).await;
    assert!(trust.presentations.answer(request.id, &posted(&asked, &text)).await.is_err());
    let judged = trust.judging.judge(text.as_bytes(), None).await.unwrap();
    assert_eq!(judged.verdict, verify::judge::report::Verdict::Valid, "{judged}");
}
}
