//! What requests on the hot paths cost, counted: exact on any machine.
//!
//! The platform is not started: its router is asked in the test's own thread, so that nothing else
//! runs meanwhile and every allocation is the request's.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use axum::Router;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use platform::db::{Counts, Db};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};
use tower::ServiceExt;
use verza::config::Config;
use verza::wiring::{self, MIGRATIONS};

struct Fixture {
    router: Router,
    db: Db,
    token: String,
    user: String,
    _test: TestDb,
}

/// A platform on the embedded store with one signed-in user.
async fn fixture() -> Fixture {
    let test = TestDb::sqlite(MIGRATIONS).await;
    let mut config = Config::default();
    config.storage.data_dir = test.directory().join("data");
    config.server.rate_limits = false;
    // What developers are told is not what is measured.
    config.server.timing = Some(false);
    config.accounts.argon2_memory_kib = 64;
    config.accounts.argon2_passes = 1;
    let (db, folder) = wiring::open_to_write(&config).unwrap();
    db.migrate(MIGRATIONS).await.unwrap();
    db.close().await;
    drop((db, folder));
    let platform = wiring::open_platform(&config).await.unwrap();
    let mut fixture = Fixture {
        router: platform.router(Default::default()).unwrap(),
        db: platform.db.clone(),
        token: String::new(),
        user: String::new(),
        _test: test,
    };
    let password = "seven quiet herons at dusk";
    let (email, name) = ("a@example.com", "A");
    let body = json!({ "name": name, "email": email, "password": password, "role": "user" });
    fixture.post("/v1/auth/register", body).await;
    platform.worker().drain().await.unwrap();
    let mail = platform::mail::sink::list(&platform.db, Some(email), 1).await.unwrap().remove(0);
    let (_, token) = mail.text.split_once("token=").unwrap();
    let token: String = token.chars().take(43).collect();
    fixture.post("/v1/auth/verify-email", json!({ "token": token })).await;
    let reply = fixture.post("/v1/auth/login", json!({"email": email, "password": password})).await;
    fixture.token = reply["accessToken"].as_str().unwrap().to_owned();
    fixture.user = reply["user"]["id"].as_str().unwrap().to_owned();
    // The platform behind the router lives as long as the process: it holds the folder.
    std::mem::forget(platform);
    fixture
}

impl Fixture {
    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path);
        if self.token.is_empty() {
            request
        } else {
            request.header("authorization", format!("Bearer {}", self.token))
        }
    }

    async fn answer(&self, request: Request<Body>) -> Json {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{status} {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Json {
        self.answer(self.request("GET", path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: Json) -> Json {
        let key: [u8; 16] = platform::world::system().random();
        let request = self
            .request("POST", path)
            .header("content-type", "application/json")
            .header("idempotency-key", hex::encode(key));
        self.answer(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// What the statements of some work cost.
    async fn cost(&self, work: impl Future<Output = Json>) -> Counts {
        let before = self.db.counts();
        work.await;
        let after = self.db.counts();
        Counts {
            statements: after.statements - before.statements,
            rows: after.rows - before.rows,
            scanned: after.scanned - before.scanned,
            sorts: after.sorts - before.sorts,
        }
    }
}

#[tokio::test]
async fn a_known_session_costs_no_statement() {
    let fixture = Box::pin(fixture()).await;
    fixture.get("/v1/me").await;
    let cost = fixture.cost(fixture.get("/v1/me")).await;
    assert_eq!(cost, Counts::default());
}

#[tokio::test]
async fn a_known_session_costs_few_allocations_beyond_the_framework_s_own() {
    let fixture = Box::pin(fixture()).await;
    let body = fixture.get("/v1/me").await.to_string();
    let bare = Router::new().route("/v1/me", axum::routing::get(async move || body.clone()));
    let count = async |router: &Router| {
        // The first rounds fill caches.
        let mut least = u64::MAX;
        for _ in 0..5 {
            let request = fixture.request("GET", "/v1/me").body(Body::empty()).unwrap();
            let router = router.clone();
            let mut response = None;
            let counted = allocation_counter::measure(|| {
                response = futures_util::FutureExt::now_or_never(router.oneshot(request));
            });
            assert!(response.unwrap().unwrap().status().is_success());
            least = least.min(counted.count_total);
        }
        least
    };
    let (ours, bare) = (count(&fixture.router).await, count(&bare).await);
    println!("allocations: {ours} for ours, {bare} for a bare route");
    assert!(ours <= bare + 10, "{ours} against {bare}");
}

#[tokio::test]
async fn a_page_visits_no_more_rows_than_it_shows_and_one() {
    let fixture = Box::pin(fixture()).await;
    for n in 0..60 {
        let body = json!({ "title": format!("Diploma {n}"), "type": "Education", "issuer": "U" });
        fixture.post("/v1/user/credentials", body).await;
    }
    fixture.get("/v1/user/credentials?limit=20").await;
    let cost = fixture.cost(fixture.get("/v1/user/credentials?limit=20")).await;
    assert_eq!(cost, Counts { statements: 1, rows: 21, scanned: 0, sorts: 0 });
}

#[tokio::test]
async fn a_small_write_costs_its_rows_and_its_fact() {
    let fixture = Box::pin(fixture()).await;
    let body = || json!({ "title": "Diploma", "type": "Education", "issuer": "U" });
    fixture.post("/v1/user/credentials", body()).await;
    let cost = fixture.cost(fixture.post("/v1/user/credentials", body())).await;
    println!("a credential: {cost:?}");
    assert!(cost.statements <= 8, "{cost:?}");
    assert_eq!((cost.scanned, cost.sorts), (0, 0), "{cost:?}");
}

#[tokio::test]
async fn a_wallet_is_read_by_its_key() {
    let fixture = Box::pin(fixture()).await;
    let balance = fixture.cost(fixture.get("/v1/user/wallet")).await;
    println!("a wallet: {balance:?}");
    assert_eq!((balance.scanned, balance.sorts), (0, 0), "{balance:?}");
}
