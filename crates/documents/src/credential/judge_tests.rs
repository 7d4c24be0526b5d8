//! Signed credentials as users upload them, and their issuers as they answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use kernel::Caller;
use platform::blob::Blobs;
use platform::outbound::guarded::{self, Guarded};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use trust::authority::service::Purpose;
use trust::compromise::service::Declaration;
use verify::jose::es256::SecretKey;
use verify::jose::jws;
use verify::jose::sdjwt::{self, Hidden};
use verify::status::bitstring::{Bitstring, ENTRIES_MIN};
use verify::status::token;

use crate::Options;
use crate::testing::{App, TABLES};

const PATH: &str = "/v1/user/credentials";
const INDEX: u32 = 4711;

/// A college that publishes its keys and a status list over HTTP.
struct College {
    url: String,
    revokes: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[23; 32]).unwrap()
}

impl College {
    async fn open(now: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (revokes, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut jwk = key().public().to_jwk();
        jwk["kid"] = "key-1".into();
        let metadata = json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") }).to_string();
        let keys = json!({ "keys": [jwk] }).to_string();
        let (list_url, revoked) = (format!("{url}/list"), Arc::clone(&revokes));
        let counted = Arc::clone(&asked);
        let list = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut bits = Bitstring::new(ENTRIES_MIN).unwrap();
            bits.set(INDEX, revoked.load(Ordering::Relaxed)).unwrap();
            let claims = token::claims(&list_url, now, now + 86_400, 300, &bits);
            let signed = jws::sign(json!({ "typ": token::TYPE, "kid": "key-1" }), &claims, &key());
            async move { signed }
        };
        let endless = || async { "x".repeat(2 << 20) };
        let router = Router::new()
            .route("/.well-known/jwt-vc-issuer", get(|| async { metadata }))
            .route("/jwks", get(|| async { keys }))
            .route("/list", get(list))
            .route("/.well-known/jwt-vc-issuer/endless", get(endless))
            .route("/.well-known/jwt-vc-issuer/silent", get(std::future::pending::<String>));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, revokes, asked }
    }

    fn sd_jwt(&self, now: i64, change: impl Fn(&mut Json)) -> String {
        let mut open = json!({
            "iss": self.url, "vct": "https://college.example/degree",
            "nbf": now, "exp": now + 86_400,
            "status": { "status_list": { "idx": INDEX, "uri": format!("{}/list", self.url) } },
        });
        change(&mut open);
        let hidden = [Hidden { name: "degree", value: "B.Sc.".into(), salt: [3; 16] }];
        let header = json!({ "typ": sdjwt::TYPE, "kid": "key-1" });
        sdjwt::issue(header, open.as_object().unwrap().clone(), &hidden, &[], &key())
    }
}

async fn app(t: &TestDb, trusted: &[String], networks: &[&str]) -> App {
    let client = Guarded::new(guarded::Options {
        allow_http: true,
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        timeout: Duration::from_millis(500),
        answer_max: 1 << 20,
        ..guarded::Options::default()
    });
    let blobs = Blobs::on_disk(t.directory().join("files"), t.db.world().clone()).unwrap();
    let options = Options::at(crate::testing::URL);
    App::judging(t, options, blobs, Some(client.unwrap()), (trusted, "")).await
}

const HERE: &[&str] = &["127.0.0.0/8"];

/// Uploads a file, makes a credential of it, and lets it be judged.
pub(super) async fn bring(app: &App, owner: &Caller, name: &str, bytes: &[u8]) -> Json {
    let file = app.upload(owner, name, bytes).await.ok().json();
    let body = json!({
        "title": "My degree", "type": "Education", "issuer": "A College", "fileId": file["id"],
    });
    let made = app.post(owner, PATH, body).await.ok().json();
    app.work().await;
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    app.get(owner, &path).await.ok().json()
}

pub(super) fn check<'a>(shown: &'a Json, name: &str) -> (&'a str, &'a str) {
    let checks = shown["automaticCheck"]["checks"].as_array().unwrap();
    let found =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}"));
    (found["outcome"].as_str().unwrap(), found["reason"].as_str().unwrap())
}

pub(super) fn verdict(shown: &Json) -> &str {
    shown["automaticCheck"]["verdict"].as_str().unwrap_or_else(|| panic!("{shown}"))
}

/// A picture with a badge baked in.
fn png(credential: &str) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_be_bytes();
        [&length[..], kind, data, &[0; 4]].concat()
    };
    let text = [&b"openbadgecredential\0\0\0\0\0"[..], credential.as_bytes()].concat();
    let baked = if credential.is_empty() { Vec::new() } else { chunk(b"iTXt", &text) };
    let end = b"\0\0\0\0IEND\xaeB`\x82";
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &[0; 13]), &baked, end].concat()
}

platform::on_both_engines! { TABLES;

async fn a_credential_of_a_trusted_issuer_is_judged_as_soon_as_it_is_made(t: &TestDb) {
    let now = t.db.world().now().seconds();
    let college = College::open(now).await;
    let app = app(t, std::slice::from_ref(&college.url), HERE).await;
    let owner = app.user();
    let token = college.sd_jwt(now, |_| {});
    let shown = bring(&app, &owner, "degree.sd-jwt", token.as_bytes()).await;
    assert_eq!(verdict(&shown), "valid", "{shown}");
    let automatic = &shown["automaticCheck"];
    assert_eq!(automatic["issuer"], college.url);
    assert_eq!(automatic["issuerTrusted"], true);
    assert_eq!(automatic["format"], "sd-jwt-vc");
    assert_eq!(automatic["about"], "https://college.example/degree");
    assert!(check(&shown, "issuer-key").1.contains("/.well-known/jwt-vc-issuer, at "));
    assert_eq!(check(&shown, "not-revoked").0, "proved");
    // A verifier's word is something else.
    assert_eq!(shown["status"], "draft");
    assert!(shown.get("verifiedAt").is_none() && shown.get("issuedId").is_none());
    assert!(automatic["notice"].as_str().unwrap().contains("No verifier has looked at it"));
    assert_eq!(shown["version"], 1, "nobody's edit collides with it");
    assert!(app.verbs().await.contains(&"credential.judged".to_owned()));

    college.revokes.store(true, Ordering::Relaxed);
    let shown = bring(&app, &owner, "degree.sd-jwt", token.as_bytes()).await;
    assert_eq!(verdict(&shown), "invalid");
    assert_eq!(check(&shown, "not-revoked"), ("failed", "the issuer has revoked it"));
    assert_eq!(shown["status"], "draft");
}

async fn an_issuer_whom_nobody_here_knows_is_said_to_be_unknown(t: &TestDb) {
    let now = t.db.world().now().seconds();
    let college = College::open(now).await;
    let app = app(t, &[], HERE).await;
    let owner = app.user();
    let token = college.sd_jwt(now, |_| {});
    let shown = bring(&app, &owner, "degree.txt", token.as_bytes()).await;
    assert_eq!(verdict(&shown), "undetermined");
    assert_eq!(check(&shown, "token-signature").0, "proved");
    assert_eq!(shown["automaticCheck"]["issuerTrusted"], false);
    let summary = shown["automaticCheck"]["summary"].as_str().unwrap();
    assert!(summary.contains("does not know the issuer"), "{summary}");

    // The public view says the same, and that no person has looked.
    let id = shown["id"].as_str().unwrap();
    let share = app.post(&owner, &format!("{PATH}/{id}/share"), json!({})).await.ok().json();
    let link = share["shareLink"].as_str().unwrap_or_else(|| panic!("{share}"));
    let path = link.strip_prefix(crate::testing::URL).unwrap();
    let stranger = Caller::nobody();
    let view = app.get_with(&stranger, path, &[("accept", "application/json")]).await.ok().json();
    assert_eq!(view["status"], "unverified");
    assert_eq!(verdict(&view), "undetermined");
    let page = app.get_with(&stranger, path, &[("accept", "text/html")]).await.ok();
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.contains("<span class=\"status unverified\">unverified</span>"), "{page}");
    for said in [
        "No verifier has looked at it",
        "This platform trusts that issuer</dt><dd>no</dd>",
        "<strong>undetermined</strong>",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
}

async fn a_share_shows_of_an_automatic_check_no_more_than_its_owner_chose(t: &TestDb) {
    let now = t.db.world().now().seconds();
    let college = College::open(now).await;
    let app = app(t, std::slice::from_ref(&college.url), HERE).await;
    let owner = app.user();
    let expired = college.sd_jwt(now, |claims| claims["exp"] = (now - 1).into());
    let shown = bring(&app, &owner, "degree.sd-jwt", expired.as_bytes()).await;
    let reason = check(&shown, "validity-period").1;
    assert!(shown["automaticCheck"]["summary"].as_str().unwrap().contains(reason), "{shown}");
    let share = format!("{PATH}/{}/share", shown["id"].as_str().unwrap());
    let opened = async |body: Json, accept: &str| {
        let made = app.post(&owner, &share, body).await.ok().json();
        let path = made["shareLink"].as_str().unwrap().strip_prefix(crate::testing::URL).unwrap();
        let answer = app.get_with(&Caller::nobody(), path, &[("accept", accept)]).await.ok();
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    for accept in ["application/json", "text/html"] {
        for fields in [json!([]), json!(["issueDate", "expiryDate", "documentNumber"])] {
            let view = opened(json!({ "fields": fields }), accept).await;
            assert!(view.contains("It must not be relied on."), "{view}");
            for secret in [reason, &college.url, "https://college.example/degree", "issuer-key"] {
                assert!(!view.contains(secret), "{secret}: {view}");
            }
        }
        let view = opened(json!({ "fields": ["signedCredential"] }), accept).await;
        for said in [reason, &college.url, "issuer-key"] {
            assert!(view.contains(said), "{said}: {view}");
        }
    }
}

async fn what_is_forged_is_invalid_and_makes_nobody_ask_for_lists(t: &TestDb) {
    let now = t.db.world().now().seconds();
    let college = College::open(now).await;
    let app = app(t, std::slice::from_ref(&college.url), HERE).await;
    let owner = app.user();
    let good = college.sd_jwt(now, |_| {});
    let stranger = SecretKey::from_bytes(&[24; 32]).unwrap();
    let claims = json!({ "iss": college.url, "vct": "https://a.example/b", "exp": now + 9,
        "status": { "status_list": { "idx": 1, "uri": format!("{}/list", college.url) } } });
    let header = json!({ "typ": sdjwt::TYPE, "kid": "key-1" });
    let forged = sdjwt::issue(header, claims.as_object().unwrap().clone(), &[], &[], &stranger);
    let (head, rest) = good.split_once('.').unwrap();
    assert!(head.starts_with("eyJ"));
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiZGMrc2Qtand0Iiwia2lkIjoia2V5LTEifQ.{rest}");
    for token in [forged, unsigned] {
        let shown = bring(&app, &owner, "degree.sd-jwt", token.as_bytes()).await;
        assert_eq!(verdict(&shown), "invalid", "{shown}");
        assert_eq!(check(&shown, "token-signature").0, "failed");
    }
    assert_eq!(college.asked.load(Ordering::Relaxed), 0, "its list was not asked for");
    let expired = college.sd_jwt(now, |claims| claims["exp"] = (now - 1).into());
    let shown = bring(&app, &owner, "degree.sd-jwt", expired.as_bytes()).await;
    assert_eq!(verdict(&shown), "invalid");
    assert_eq!(check(&shown, "validity-period").0, "failed");
}

async fn issuers_that_cannot_be_asked_leave_it_open(t: &TestDb) {
    let now = t.db.world().now().seconds();
    let college = College::open(now).await;
    // Without the operator's word nothing in a private network is asked.
    let strict = app(t, &[], &[]).await;
    let owner = strict.user();
    let token = college.sd_jwt(now, |_| {});
    let shown = bring(&strict, &owner, "degree.sd-jwt", token.as_bytes()).await;
    assert_eq!(verdict(&shown), "undetermined");
    let reason = check(&shown, "issuer-key").1;
    assert!(reason.contains("not an address on the public internet"), "{reason}");
    let app = app(t, &[], HERE).await;
    for (path, told) in [
        ("/endless", "the answer is too large"),
        ("/silent", "no answer in time"),
        ("/nowhere", "it answered 404"),
    ] {
        let iss = format!("{}{path}", college.url);
        let token = college.sd_jwt(now, |claims| claims["iss"] = iss.clone().into());
        let shown = bring(&app, &owner, "degree.sd-jwt", token.as_bytes()).await;
        assert_eq!(verdict(&shown), "undetermined", "{path}");
        let reason = check(&shown, "issuer-key").1;
        assert!(reason.contains(told), "{path}: {reason}");
    }
}

async fn what_this_platform_has_issued_is_known_without_asking_anybody(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = app.credential(&owner).await;
    app.verify(&owner, id).await;
    let credentials = &app.documents.credentials;
    let user = owner.user().unwrap();
    let sd_jwt = credentials.sd_jwt(user, id).await.unwrap();
    let vc_jwt = credentials.vc_jwt(user, id).await.unwrap();
    let document = credentials.signed(user, id).await.unwrap().to_string();
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" \
         xmlns:openbadges=\"https://purl.imsglobal.org/ob/v3p0\">\
         <openbadges:credential verify=\"{vc_jwt}\"/></svg>"
    );
    let files = [
        ("a.sd-jwt", sd_jwt.clone().into_bytes()),
        ("a.jwt", vc_jwt.into_bytes()),
        ("a.json", document.clone().into_bytes()),
        ("a.png", png(&document)),
        ("a.svg", svg.into_bytes()),
    ];
    for (name, bytes) in &files {
        let shown = bring(&app, &owner, name, bytes).await;
        assert_eq!(verdict(&shown), "valid", "{name} {shown}");
        assert_eq!(shown["automaticCheck"]["issuerTrusted"], true);
        assert_eq!(shown["status"], "draft");
    }
    let revoke = format!("{PATH}/{id}/revoke");
    app.post(&owner, &revoke, json!({})).await.ok();
    for (name, bytes) in &files {
        let shown = bring(&app, &owner, name, bytes).await;
        assert_eq!(verdict(&shown), "invalid", "{name} {shown}");
        assert_eq!(check(&shown, "not-revoked").0, "failed", "{name}");
    }
}

async fn a_key_of_ours_that_somebody_has_stolen_makes_no_valid_credential(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let id = app.credential(&owner).await;
    app.verify(&owner, id).await;
    let genuine = app.documents.credentials.sd_jwt(owner.user().unwrap(), id).await.unwrap();
    t.clock.advance(Duration::from_secs(3600));
    let stolen_at = t.db.world().now();
    let thief = app.trust.authority.signer(Purpose::Credential, stolen_at).unwrap();
    let (now, issuer) = (stolen_at.seconds(), app.trust.authority.issuer());
    let forge = |made: Option<i64>| {
        let mut claims = json!({ "iss": issuer, "vct": "https://a.example/t", "exp": now + 9_000 });
        made.into_iter().for_each(|made| claims["iat"] = made.into());
        jws::sign(thief.header(sdjwt::TYPE), &claims, &thief.key) + "~"
    };
    let shown = bring(&app, &owner, "a.sd-jwt", forge(None).as_bytes()).await;
    assert_eq!(verdict(&shown), "valid", "nobody knows yet: {shown}");
    let reason = "a laptop was stolen".to_owned();
    let lost = Declaration { key: thief.id, since: stolen_at, reason, reissue: false };
    app.trust.compromises.declare(&Caller::nobody(), &lost).await.unwrap();
    for (made, found) in [(None, "undetermined"), (Some(now), "invalid")] {
        let shown = bring(&app, &owner, "a.sd-jwt", forge(made).as_bytes()).await;
        assert_eq!(verdict(&shown), found, "{shown}");
        assert!(check(&shown, "issuer-key").1.contains("has revoked its key"), "{shown}");
    }
    // What this platform remembers to have signed before stands.
    let shown = bring(&app, &owner, "a.sd-jwt", genuine.as_bytes()).await;
    assert_eq!(verdict(&shown), "valid", "{shown}");
}

async fn a_credential_that_unfolds_without_measure_is_not_taken_apart(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let of_items = |items: usize| {
        let items = vec!["{\"\":0}"; items].join(",");
        format!("{{\"type\": \"VerifiableCredential\", \"x\": [{items}]}}")
    };
    let many = of_items(60_000);
    let shown = bring(&app, &owner, "a.json", many.as_bytes()).await;
    assert_eq!(verdict(&shown), "invalid", "{shown}");
    assert!(check(&shown, "shape").1.contains("more than 50000 values"), "{shown}");
    let large = of_items(160_000);
    assert!(large.len() > 1 << 20);
    for (name, bytes) in [("a.json", large.clone().into_bytes()), ("a.png", png(&large))] {
        let shown = bring(&app, &owner, name, &bytes).await;
        assert_eq!(verdict(&shown), "undetermined", "{name}");
        let summary = shown["automaticCheck"]["summary"].as_str().unwrap();
        assert!(summary.contains("too large"), "{name}: {summary}");
    }
}

async fn a_picture_without_a_badge_is_a_picture(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let shown = bring(&app, &owner, "scan.png", &png("")).await;
    assert!(shown.get("automaticCheck").is_none(), "{shown}");
    let shown = bring(&app, &owner, "badge.png", &png("{\"type\": 1}")).await;
    assert_eq!(verdict(&shown), "invalid");
}

async fn a_badge_in_svg_is_handed_out_as_text_that_nothing_runs(t: &TestDb) {
    let app = App::new(t).await;
    let owner = app.user();
    let svg = b"<svg xmlns:openbadges=\"https://purl.imsglobal.org/ob/v3p0\" onload=\"alert(1)\">\
                <openbadges:credential verify=\"a\"/></svg>";
    let file = app.upload(&owner, "badge.svg", svg).await.ok().json();
    assert_eq!(file["name"], "badge.svg.txt", "{file}");
    let path = format!("/v1/files/{}/content", file["id"].as_str().unwrap());
    let answer = app.get(&owner, &path).await.ok();
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert!(answer.header("content-disposition").starts_with("attachment"));
    // Without a badge in it, SVG is not taken at all; nor is other text.
    for (name, bytes) in [
        ("a.svg", &b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>"[..]),
        ("a.json", b"{\"a\": 1}"),
        ("a.jwt", b"a.b.c"),
        ("a.json", b"{\"type\": \"VerifiableCredential\"} trailing"),
        ("a.json", b"{\"type\": \"VerifiableCredential\", \"x\": \"<script>\"}"),
    ] {
        let refused = app.upload(&owner, name, bytes).await;
        assert_eq!(refused.refusal(), (415, "unsupported_media_type"), "{name}");
    }
}

}
