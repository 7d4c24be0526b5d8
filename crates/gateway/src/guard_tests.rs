//! The guard, asked through the router: what is shed, what is too late, what is said beside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use kernel::id::kinds::User;
use kernel::{Error, Id, Principal, Result, Timestamp};
use organizations::Standings;
use platform::http::{Audience, ErrorShape, Limit, Problem, Route, get, post};
use platform::limits::{Limiter, Quotas};
use platform::load::{Load, Policy};
use rpc::users::{Profile, Users};
use tokio::sync::Notify;
use tower::ServiceExt;

use crate::address::TrustedProxies;
use crate::cors::Origins;
use crate::edge::{Edge, EdgeOptions, Tickets};
use crate::guard::Peer;

/// Nobody is known.
struct Nobody;

impl Users for Nobody {
    fn cached(&self, _: &str, _: Timestamp) -> Option<Arc<Principal>> {
        None
    }

    fn authenticate<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        std::future::ready(Err(Error::unauthenticated("invalid_token", "No."))).boxed()
    }

    fn profile(&self, _: Id<User>) -> BoxFuture<'_, Result<Profile>> {
        std::future::ready(Err(Error::not_found("user"))).boxed()
    }

    fn profiles<'a>(&'a self, _: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

impl Standings for Nobody {
    fn by_key<'a>(
        &'a self,
        _: &'a str,
        _: bool,
        _: std::net::IpAddr,
    ) -> BoxFuture<'a, Result<Arc<Principal>>> {
        std::future::ready(Err(Error::unauthenticated("invalid_api_key", "No."))).boxed()
    }

    fn of_member(&self, principal: Arc<Principal>) -> BoxFuture<'_, Result<Arc<Principal>>> {
        std::future::ready(Ok(principal)).boxed()
    }
}

impl Tickets for Nobody {
    fn redeem<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        std::future::ready(Err(Error::unauthenticated("invalid_ticket", "No."))).boxed()
    }
}

/// The query of `/spend`.
#[derive(utoipa::IntoParams)]
#[into_params(names("dryRun"))]
#[expect(dead_code, reason = "only its description matters")]
struct Spend(bool);

/// Routes of which `/waits` answers when it is told to.
struct House {
    router: Router,
    load: Arc<Load>,
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
}

fn house(policy: Policy) -> House {
    house_with(policy, Duration::from_secs(30))
}

fn house_with(policy: Policy, request_timeout: Duration) -> House {
    let load = Load::new(policy);
    let edge = Edge::new(EdgeOptions {
        world: platform::world::system(),
        users: Arc::new(Nobody),
        standings: Arc::new(Nobody),
        tickets: Arc::new(Nobody),
        limiter: Arc::new(Limiter::new(Quotas::NONE)),
        load: load.clone(),
        origins: Origins::new("https://verza.example", &[]),
        proxies: TrustedProxies::parse(&[]).unwrap(),
        https: true,
        request_timeout,
        transfer_timeout: Duration::from_secs(50),
        server_timing: true,
        admin_second_factor: false,
        step_up_within: Duration::from_secs(600),
    });
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (reached, released) = (entered.clone(), go_on.clone());
    let waits = async move |_: Bytes| {
        reached.notify_one();
        released.notified().await;
        "done"
    };
    let traced = async || platform::trace::current().map(|it| it.trace_id()).unwrap_or_default();
    let behind_the_end = async || {
        let error = Error::invalid("range_not_satisfiable", "The file has 5 bytes.");
        ([(header::CONTENT_RANGE, "bytes */5")], Problem(error))
    };
    let routes: Vec<Route> = vec![
        get(Audience::Public, "/part").to(behind_the_end),
        post(Audience::Public, "/waits").to(waits),
        get(Audience::Public, "/other").to(async || "other"),
        get(Audience::Public, "/traced").to(traced),
        get(Audience::Public, "/health").limit(Limit::Free).to(async || "well"),
        post(Audience::Public, "/leave").essential().to(async || "gone"),
        post(Audience::Public, "/hurried")
            .within(Duration::from_millis(10))
            .to(async || std::future::pending::<()>().await),
        post(Audience::Public, "/spend").query::<Spend>().to(async || "spent"),
        post(Audience::Public, "/older").errors(ErrorShape::Text).to(async || "as ever"),
        get(Audience::Public, "/never").to(async || std::future::pending::<()>().await),
    ];
    House { router: crate::router(&edge, routes).unwrap(), load, entered, go_on }
}

#[tokio::test]
async fn what_is_said_beside_an_error_stays() {
    let response = house(Policy::default()).ask("GET", "/part").await;
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(response.headers()[header::CONTENT_RANGE], "bytes */5");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
}

impl House {
    async fn ask(&self, method: &str, path: &str) -> Response {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }
}

async fn code(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn full() -> Policy {
    Policy { concurrency_min: 1, concurrency_max: 1, ..Policy::default() }
}

#[tokio::test]
async fn a_route_that_is_full_is_refused_and_the_others_are_served() {
    let house = house(full());
    let first = async { house.ask("POST", "/waits").await };
    let second = async {
        house.entered.notified().await;
        let refused = house.ask("POST", "/waits").await;
        assert_eq!(refused.headers()["retry-after"], "1");
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert_eq!(code(refused).await, (StatusCode::SERVICE_UNAVAILABLE, "overloaded".into()));
        assert_eq!(house.ask("GET", "/other").await.status(), 200);
        house.go_on.notify_one();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.status(), 200);
    house.go_on.notify_one();
    assert_eq!(house.ask("POST", "/waits").await.status(), 200, "the place is free again");
}

#[tokio::test]
async fn whoever_sends_slowly_takes_up_no_place() {
    let house = house(full());
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let body = Body::from_stream(stream);
    let request = Request::builder().method("POST").uri("/waits").body(body).unwrap();
    let slow = tokio::spawn(house.router.clone().oneshot(request));
    sender.send(Ok(Bytes::from_static(b"slow"))).await.unwrap();
    // It has begun to send: somebody who is quick is served before it.
    house.go_on.notify_one();
    assert_eq!(house.ask("POST", "/waits").await.status(), 200);
    drop(sender);
    house.go_on.notify_one();
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn health_and_what_ends_sessions_are_served_when_nothing_else_is() {
    let house = house(Policy { rate_max: Some(10), ..Policy::default() });
    assert_eq!(house.ask("GET", "/other").await.status(), 200, "one in this tenth of a second");
    assert_eq!(house.ask("GET", "/other").await.status(), 503);
    for _ in 0..100 {
        assert_eq!(house.ask("GET", "/health").await.status(), 200);
        assert_eq!(house.ask("POST", "/leave").await.status(), 200);
    }
    assert_eq!(house.ask("GET", "/other").await.status(), 503);
    house.load.refill(Duration::from_millis(100));
    assert_eq!(house.ask("GET", "/other").await.status(), 200);
}

#[tokio::test]
async fn whoever_has_waited_in_its_socket_behind_hundreds_is_refused() {
    let house = house(Policy::default());
    let arrived = Instant::now().checked_sub(Duration::from_millis(500));
    let ask = async |path: &str, arrived| {
        let peer = Peer { address: ([127, 0, 0, 1], 9).into(), arrived };
        let request = Request::builder().uri(path).extension(peer).body(Body::empty()).unwrap();
        house.router.clone().oneshot(request).await.unwrap().status()
    };
    let mut served = 0;
    while ask("/other", arrived).await == 200 {
        served += 1;
        assert!(served < 1000, "nobody is refused");
    }
    assert!(served > 300, "a few hundred clients that wait are no overload: {served}");
    assert_eq!(ask("/other", arrived).await, 503);
    assert_eq!(ask("/other", Some(Instant::now())).await, 200);
    assert_eq!(ask("/other", None).await, 200);
    assert_eq!(ask("/health", arrived).await, 200);
}

#[tokio::test]
async fn a_parameter_that_a_change_does_not_know_is_refused_and_a_read_passes_it_over() {
    let house = house(Policy::default());
    let refused = (StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields".to_owned());
    for unknown in ["/spend?dryrun=true", "/spend?dryRun=true&x", "/leave?dryRun=true"] {
        assert_eq!(code(house.ask("POST", unknown).await).await, refused, "{unknown}");
    }
    let body = house.ask("POST", "/spend?dry%52un=1&dryrun=1").await.into_body();
    let body: serde_json::Value =
        serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(body["errors"][0]["pointer"], "/dryrun", "{body}");
    for known in [
        "POST /spend?dryRun=true",
        "POST /spend",
        "POST /spend?",
        "GET /other?x=1",
        "POST /older?x=1",
    ] {
        let (method, path) = known.split_once(' ').unwrap();
        assert_eq!(house.ask(method, path).await.status(), 200, "{known}");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off_with_a_problem() {
    let late = (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded".to_owned());
    // The route's own time is short, then that of all routes.
    let patient = house(Policy::default());
    assert_eq!(code(patient.ask("POST", "/hurried").await).await, late);
    let hasty = house_with(Policy::default(), Duration::from_millis(10));
    assert_eq!(code(hasty.ask("GET", "/never").await).await, late);
}

#[tokio::test]
async fn an_answer_says_how_long_it_took_and_a_trace_is_carried_on() {
    let house = house(Policy::default());
    let response = house.ask("GET", "/other").await;
    assert!(response.headers()["server-timing"].to_str().unwrap().starts_with("total;dur="));
    let hsts = response.headers()["strict-transport-security"].to_str().unwrap();
    assert!(hsts.starts_with("max-age=63072000"), "clients come by HTTPS here: {hsts}");
    let trace = "0af7651916cd43dd8448eb211c80319c";
    for (header, expected) in [
        (format!("00-{trace}-b7ad6b7169203331-01"), trace),
        (format!("00-{trace}-b7ad6b716920333-01"), ""),
    ] {
        let request = Request::builder().uri("/traced").header("traceparent", header);
        let request = request.body(Body::empty()).unwrap();
        let response = house.router.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected);
    }
}
