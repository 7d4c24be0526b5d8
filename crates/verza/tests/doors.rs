//! The doors of the user service behind the real edge, with the time moved by hand: tokens that are
//! replaced beside their cookie, sessions that wait for their address to be proved, and the error
//! shapes of the older APIs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use gateway::{Edge, EdgeOptions, Origins, TrustedProxies};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use identity::token::Format;
use identity::{Identity, IdentityOptions, PublicUrl};
use kernel::Timestamp;
use organizations::Organizations;
use platform::crypto::MasterKey;
use platform::http::{Audience, Route};
use platform::limits::{Limiter, Quotas};
use platform::mail::{MailOptions, Mailer};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};
use tower::ServiceExt;
use verza::wiring::MIGRATIONS;

const URL: &str = "https://verza.example";
const FRONT: &str = "https://front.example";
const PASSWORD: &str = "seven quiet herons at dusk";
const AN_HOUR: Duration = Duration::from_secs(3600);

struct House {
    test: TestDb,
    identity: Arc<Identity>,
    router: Router,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    json: Json,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The access token that was issued on the way.
    fn new_token(&self) -> Option<&str> {
        self.headers.get("authorization")?.to_str().unwrap().strip_prefix("Bearer ")
    }
}

/// A person with a token and a cookie of one session.
struct Person {
    token: String,
    cookie: String,
}

async fn house() -> House {
    let test = TestDb::sqlite(MIGRATIONS).await;
    let master = MasterKey::new([3; 32]);
    let mailer = Mailer::new(test.db.clone(), master.clone(), MailOptions::default());
    let limiter = Arc::new(Limiter::new(Quotas::NONE));
    let url = PublicUrl::parse(URL).unwrap();
    let (key, mails) = (master.clone(), mailer.clone());
    let mut options = IdentityOptions::new(test.db.clone(), key, mails, limiter.clone(), url);
    options.hashing = identity::password::Hashing::for_tests();
    let identity = Identity::new(options).unwrap();
    identity.ensure_keys().await.unwrap();
    let organizations = Organizations::new(organizations::Options {
        db: test.db.clone(),
        users: identity.clone(),
        mailer,
        master_key: master,
        public_url: URL.to_owned(),
        retention_days: 2555,
    });
    let edge = Edge::new(EdgeOptions {
        world: test.db.world().clone(),
        admin_second_factor: true,
        step_up_within: Duration::from_secs(600),
        users: identity.clone(),
        standings: Arc::new(organizations),
        tickets: Arc::new(NoTickets),
        limiter,
        origins: Origins::new(URL, &[FRONT.to_owned()]),
        load: platform::load::Load::new(platform::load::Policy::default()),
        server_timing: false,
        proxies: TrustedProxies::parse(&[]).unwrap(),
        https: true,
        request_timeout: Duration::from_secs(30),
        transfer_timeout: Duration::from_secs(30),
    });
    let router = gateway::router(&edge, identity::routes(&identity)).unwrap();
    House { test, identity, router }
}

/// Nobody listens to a stream here.
struct NoTickets;

impl gateway::Tickets for NoTickets {
    fn redeem<'a>(
        &'a self,
        _: &'a str,
    ) -> futures_util::future::BoxFuture<'a, kernel::Result<Arc<kernel::Principal>>> {
        Box::pin(async { Err(kernel::Error::unauthenticated("invalid_ticket", "No.")) })
    }
}

impl House {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Json) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Answer { status, headers, text, json }
    }

    async fn post(&self, path: &str, body: Json) -> Answer {
        self.send("POST", path, &[], body).await
    }

    /// Somebody who has registered at the order API: a token, and the cookie `session_key`.
    async fn reg(&self, email: &str) -> Person {
        let body = json!({ "name": "Anne", "email": email, "role": "dev", "password": PASSWORD });
        let answer = self.post("/api/users/reg", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        Person { token: answer.json["token"].as_str().unwrap().to_owned(), cookie }
    }

    fn pass(&self, time: Duration) {
        self.test.clock.advance(time);
    }

    fn now(&self) -> Timestamp {
        self.test.db.world().now()
    }

    /// The same session in another form.
    async fn in_form(&self, person: &Person, format: Format) -> String {
        let principal = self.identity.sessions.authenticate(&person.token).await.unwrap();
        let (of, shows) = ((principal.user, principal.role), (principal.session, 0));
        let claims = self.identity.tokens.claims(of, shows, None, self.now() + AN_HOUR);
        self.identity.tokens.sign(claims, format).await.unwrap().expose().clone()
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn defect_4_an_expired_token_beside_a_live_cookie_is_replaced_in_header_and_body() {
    let house = house().await;
    for format in Format::ALL {
        let anne = house.reg(&format!("{}@example.org", format.as_str())).await;
        let token = house.in_form(&anne, format).await;
        house.pass(Duration::from_secs(901));
        let (auth, cookie) = (bearer(&token), ("cookie", anne.cookie.as_str()));
        let alone = [("authorization", auth.as_str())];
        let refused = house.send("POST", "/api/users/ext", &alone, Json::Null).await;
        assert_eq!((refused.status, refused.new_token()), (StatusCode::UNAUTHORIZED, None));
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"verza\"");

        let both = [("authorization", auth.as_str()), cookie];
        let answer = house.send("POST", "/api/users/ext", &both, Json::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let new = answer.new_token().unwrap();
        assert_eq!((&answer.json["token"], &answer.json["role"]), (&new.into(), &"dev".into()));
        assert_eq!(Format::of(new), format);
        assert_eq!(answer.header("cache-control"), "no-store");
        let me = house.send("GET", "/v1/me", &both, Json::Null).await;
        assert_eq!(me.status, StatusCode::OK);
        assert!(me.new_token().is_some(), "as on every other route");
        // The new one needs no cookie, and is not replaced in its turn.
        let auth = bearer(new);
        let renewed = [("authorization", auth.as_str()), cookie];
        for headers in [&renewed[..1], &renewed] {
            let me = house.send("GET", "/v1/me", headers, Json::Null).await;
            assert_eq!((me.status, me.new_token()), (StatusCode::OK, None));
        }
        // By the cookie alone there is one in the body only: nobody has shown an old one.
        let ext = house.send("POST", "/api/users/ext", &[cookie], Json::Null).await;
        assert_eq!((ext.status, ext.new_token()), (StatusCode::OK, None));
        assert!(ext.json["token"].as_str().unwrap().starts_with("ey"));
    }
}

#[tokio::test]
async fn only_an_expired_token_of_the_cookie_s_own_session_is_replaced() {
    let house = house().await;
    let anne = house.reg("anne@example.org").await;
    let eve = house.reg("eve@example.org").await;
    house.pass(Duration::from_secs(901));
    let ask = async |token: &str, cookie: &str| {
        let auth = bearer(token);
        let headers = [("authorization", auth.as_str()), ("cookie", cookie)];
        let answer = house.send("GET", "/v1/me", &headers, Json::Null).await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            assert!(answer.new_token().is_none());
        }
        answer.json["code"].as_str().unwrap_or("ok").to_owned()
    };
    assert_eq!(ask(&anne.token, &anne.cookie).await, "ok");
    assert_eq!(ask(&anne.token, &eve.cookie).await, "session_mismatch");
    assert_eq!(ask(&anne.token, "session_key=x").await, "expired_token");
    assert_eq!(ask(&anne.token, "other=x").await, "expired_token");
    let forged = format!("{}AAAA", &anne.token[..anne.token.len() - 4]);
    assert_eq!(ask(&forged, &anne.cookie).await, "invalid_token");
    assert_eq!(ask("x", &anne.cookie).await, "invalid_token");
    // Of the session that has ended nothing brings back a token.
    let auth = bearer(&anne.token);
    let headers = [("authorization", auth.as_str()), ("cookie", anne.cookie.as_str())];
    let out = house.send("POST", "/v1/auth/logout", &headers, Json::Null).await;
    assert_eq!(out.status, StatusCode::OK);
    assert_eq!(ask(&anne.token, &anne.cookie).await, "expired_token");
}

#[tokio::test]
async fn a_foreign_page_gets_no_new_token_and_an_allowed_one_may_read_it() {
    let house = house().await;
    let anne = house.reg("anne@example.org").await;
    house.pass(Duration::from_secs(901));
    let auth = bearer(&anne.token);
    let from = async |origin: &str| {
        let headers = [
            ("authorization", auth.as_str()),
            ("cookie", anne.cookie.as_str()),
            ("origin", origin),
        ];
        house.send("POST", "/api/users/ext", &headers, Json::Null).await
    };
    for origin in ["https://evil.example", "null", "https://verza.example.evil.example"] {
        let answer = from(origin).await;
        assert_eq!((answer.status, answer.new_token()), (StatusCode::UNAUTHORIZED, None));
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
    assert!(from(URL).await.new_token().is_some());
    let front = from(FRONT).await;
    assert!(front.new_token().is_some());
    assert_eq!(front.header("access-control-allow-origin"), FRONT);
    let exposed = front.header("access-control-expose-headers");
    assert!(exposed.split(", ").any(|name| name == "authorization"), "{exposed}");
}

#[tokio::test]
async fn what_anybody_may_keep_carries_no_new_token() {
    let house = house().await;
    let anne = house.reg("anne@example.org").await;
    house.pass(Duration::from_secs(901));
    let auth = bearer(&anne.token);
    let headers = [("authorization", auth.as_str()), ("cookie", anne.cookie.as_str())];
    for path in ["/.well-known/jwks.json", "/.well-known/paseto-keys.json"] {
        let answer = house.send("GET", path, &headers, Json::Null).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        assert!(answer.new_token().is_none());
        assert_eq!(answer.json["keys"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn till_its_address_is_proved_a_session_gets_no_further_than_the_routes_that_say_so() {
    let house = house().await;
    let anne = house.reg("anne@example.org").await;
    let auth = bearer(&anne.token);
    let mut refused = 0;
    let ends = |route: &Route| {
        ["/api/users/del", "/auth/logout", "/me/sessions"].iter().any(|p| route.path.contains(p))
    };
    let routes = identity::routes(&house.identity);
    for route in routes.iter().filter(|route| route.audience == Audience::Any && !ends(route)) {
        let headers = [("authorization", auth.as_str())];
        let path = route.path.replace("{id}", "x");
        let answer = house.send(route.method.as_str(), &path, &headers, Json::Null).await;
        let is_refused = answer.status == StatusCode::FORBIDDEN;
        assert_eq!(is_refused, !route.unproved, "{} {path}: {}", route.method, answer.text);
        if is_refused {
            assert_eq!(answer.json["code"], "email_not_verified");
            refused += 1;
        }
    }
    assert!(refused >= 1);
    let by_cookie = [("cookie", anne.cookie.as_str())];
    let body = json!({ "name": "Eve" });
    let refused = house.send("PATCH", "/v1/me", &by_cookie, body).await;
    assert_eq!(refused.json["code"], "email_not_verified");
}

#[tokio::test]
async fn the_older_apis_show_errors_as_their_documents_do() {
    let house = house().await;
    house.reg("anne@example.org").await;
    let good = json!({ "name": "Anne", "email": "anne@example.org", "password": PASSWORD });
    let with = |field: &str, value: Json| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (path, body, status, says) in [
        ("/api/users/log", json!({}), 400, "missing field `name`"),
        ("/api/users/log", with("password", "a wrong guess".into()), 401, "is not right"),
        ("/api/users/reg", with("role", "admin".into()), 400, "role: nobody becomes an admin"),
        ("/api/users/reg", with("role", "dev".into()), 409, "an account with this address"),
        ("/api/users/reg", json!("x"), 400, "invalid type"),
    ] {
        let answer = house.post(path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {}", answer.text);
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(answer.text.contains(says), "{}", answer.text);
        assert!(!answer.text.contains('{') && answer.text.ends_with('\n'), "{}", answer.text);
    }
    let user = |email: &str| json!({ "email": email, "password": PASSWORD });
    for (path, body, status) in [
        ("/api/users/register", json!({ "email": "b@example.org" }), 400),
        ("/api/users/register", user("anne@example.org"), 409),
        ("/api/users/register", json!([]), 400),
        ("/api/users/login", user("nobody@example.org"), 401),
        ("/api/users/login", json!({}), 400),
    ] {
        let answer = house.post(path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {}", answer.text);
        assert_eq!(answer.header("content-type"), "application/json");
        let keys: Vec<_> = answer.json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["error"]);
        assert!(answer.json["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
    for (method, path, plain) in [
        ("POST", "/api/users/ext", true),
        ("DELETE", "/api/users/del", true),
        ("DELETE", "/api/users/del/me", true),
        ("GET", "/api/users/me", false),
    ] {
        let answer = house.send(method, path, &[], Json::Null).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.json.is_null(), plain, "{path}: {}", answer.text);
    }
    let off = house.send("GET", "/api/users/extUserId/x.y.z", &[], Json::Null).await;
    assert_eq!(off.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn defect_8_a_broken_store_tells_nobody_how_it_is_asked() {
    let house = house().await;
    let anne = house.reg("anne@example.org").await;
    house
        .test
        .db
        .run("test.break", |tx| async move {
            for table in ["sessions", "user_tags", "users"] {
                tx.execute(&format!("ALTER TABLE {table} RENAME TO broken_{table}"), &[]).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let full = json!({
        "name": "Ben", "email": "ben@example.org", "role": "dev", "password": PASSWORD,
    });
    let short = json!({ "email": "ben@example.org", "password": PASSWORD });
    let named = json!({ "name": "Ben", "email": "ben@example.org", "password": PASSWORD });
    let auth = bearer(&anne.token);
    let signed_in: &[(&str, &str)] = &[("authorization", auth.as_str())];
    for (method, path, headers, body) in [
        ("POST", "/api/users/reg", &[][..], full),
        ("POST", "/api/users/log", &[], named),
        ("POST", "/api/users/register", &[], short.clone()),
        ("POST", "/api/users/login", &[], short),
        ("POST", "/api/users/ext", signed_in, Json::Null),
        ("DELETE", "/api/users/del", signed_in, Json::Null),
        ("GET", "/api/users/me", signed_in, Json::Null),
    ] {
        let answer = house.send(method, path, headers, body).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path} {}", answer.text);
        let text = answer.text.to_ascii_lowercase();
        for word in ["select", "insert", "update", "table", "sessions", "users", "sql", "column"] {
            assert!(!text.contains(word), "{path}: {text}");
        }
        assert!(text.contains("went wrong on our side"), "{text}");
    }
}

#[tokio::test]
async fn a_session_key_of_another_account_does_not_hide_behind_an_older_cookie() {
    let house = house().await;
    let anne = house.reg("anne@example.org").await;
    let ours = anne.cookie.replace("session_key", "verza_session");
    let body = json!({
        "name": "Ben", "email": "ben@example.org", "role": "guest", "password": PASSWORD,
    });
    let answer = house.send("POST", "/api/users/reg", &[("cookie", &ours)], body).await;
    let set: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(set.len(), 2);
    assert!(set[1].to_str().unwrap().starts_with("verza_session=; "), "{set:?}");
}
