//! Judges of the adapter of Stripe that nobody here wrote: Stripe's own library, and localstripe.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use kernel::{Asset, Money};
use parking_lot::Mutex;
use platform::testing::{Serving, TestDb};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Notify;

use super::stripe::{Adapter, SIGNATURE_HEADER, Settings};
use super::{DisputeStage, Event, Failure, Known, Order, Provider, SeenState, Webhook};
use crate::sim::{Options, Sim};
use crate::testing::{MIGRATIONS, ngn, user};

const REFERENCE: &str = "dep-1";
const REFUND: &str = "rfd-1";
/// Of Debian's and PyPI's programs, and of localstripe, which waits a second before each webhook.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request, as it came.
#[derive(Clone)]
struct Heard {
    method: String,
    url: String,
    headers: HeaderMap,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|it| it.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    fn shown(&self) -> Json {
        json!({
            "method": self.method,
            "url": self.url,
            "body": self.body,
            "key": self.header("idempotency-key"),
            "version": self.header("stripe-version"),
        })
    }
}

/// Everything that was asked of a server.
#[derive(Clone, Default)]
struct Ear(Arc<(Mutex<Vec<Heard>>, Notify)>);

impl Ear {
    /// The last request to a path.
    fn last(&self, method: &str, path: &str) -> Option<Heard> {
        let is_it = |it: &&Heard| it.method == method && it.url.contains(path);
        self.0.0.lock().iter().rev().find(is_it).cloned()
    }

    /// The first webhook that comes to a path.
    async fn told(&self, path: &str) -> Heard {
        let wait = async {
            loop {
                let more = self.0.1.notified();
                if let Some(heard) = self.last("POST", path) {
                    return heard;
                }
                more.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("a webhook comes")
    }
}

async fn listen(State(ear): State<Ear>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    ear.0.0.lock().push(Heard {
        method: parts.method.to_string(),
        url: parts.uri.to_string(),
        headers: parts.headers.clone(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    });
    ear.0.1.notify_waiters();
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// Runs a part of the judges' program; what it says goes to the terminal.
async fn judge(part: &str, facts: &Json, folder: &Path) {
    let file = folder.join("payments.json");
    std::fs::write(&file, facts.to_string()).unwrap();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/judges");
    let mut python = Command::new("python3");
    let ended = python.arg(tools.join("payments.py")).arg(part).arg(file).status().await.unwrap();
    assert!(ended.success(), "the judge of `{part}` is not content");
}

fn left_by_judge(folder: &Path, name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

async fn verified(adapter: &Adapter, body: &str, signature: &str) -> Option<Vec<Event>> {
    let mut headers = HeaderMap::new();
    headers.insert(SIGNATURE_HEADER, signature.parse().unwrap());
    let now = platform::world::system().now();
    match adapter.verify_webhook(body.as_bytes(), &headers, now).await.unwrap() {
        Webhook::Genuine(events) => Some(events),
        Webhook::Forged => None,
    }
}

/// Everything that the adapter asks of Stripe, once: Stripe's library has to ask the same, to read
/// the simulator's answers as ours does, and each has to accept what the other has signed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Stripe's library from PyPI: `cargo xtask judges`"]
async fn outside_judges_stripes_library() {
    let t = TestDb::sqlite(MIGRATIONS).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let told = Options::at(&base, &base);
    // Stripe's library looks at the clock on the wall.
    let sim = Sim::new(told.clone(), platform::world::system()).unwrap();
    let ear = Ear::default();
    let hook = Router::new().route("/v1/payments/webhook/stripe", post(|| async { "" }));
    let router = sim.router().merge(hook).layer(from_fn_with_state(ear.clone(), listen));
    let _serving = Serving::start(listener, router);

    let adapter = Adapter::new(told.stripe(), t.db.clone()).unwrap();
    let order = Order {
        payer: user(0),
        reference: REFERENCE.to_owned(),
        amount: ngn(5_000),
        email: Some("payer@example.com".to_owned()),
        method: None,
        return_url: None,
    };
    let checkout = adapter.create_collection(&order).await.unwrap();
    let known = Known::by(REFERENCE, Some(&checkout.provider_ref));
    sim.pay(REFERENCE, None).unwrap();
    sim.deliver().await;
    let refund = adapter.create_refund(known, REFUND, ngn(1_500)).await.unwrap();
    assert_eq!(adapter.fetch_refund(known, REFUND).await.unwrap().as_ref(), Some(&refund));
    sim.dispute(REFERENCE).unwrap();
    let seen = adapter.fetch_collection(known).await.unwrap().unwrap();
    assert!(matches!(seen.state, SeenState::Paid { received, .. } if received == ngn(5_000)));
    assert_eq!(seen.disputes[0].stage, DisputeStage::Open);
    assert_eq!(adapter.balance().await.unwrap().len(), 1);

    let asked = |method: &str, path: &str| ear.last(method, path).expect(path).shown();
    let webhook = ear.told("/v1/payments/webhook/stripe").await;
    let facts = json!({
        "base": format!("{base}/stripe"),
        "control": base,
        "key": told.stripe_key,
        "secret": told.stripe_webhook_secret,
        "reference": REFERENCE,
        "back": told.stripe().return_url,
        "session": checkout.provider_ref,
        "refund": refund.provider_ref,
        "kind": "checkout.session.completed",
        "webhook": { "body": webhook.body, "signature": webhook.header(SIGNATURE_HEADER) },
        "asked": {
            "create": asked("POST", "/v1/checkout/sessions"),
            "fetch": asked("GET", "?expand"),
            "dispute": asked("GET", "/v1/disputes"),
            "refund": asked("POST", "/v1/refunds"),
            "refunds": asked("GET", "/v1/refunds"),
            "balance": asked("GET", "/v1/balance"),
        },
    });
    judge("library", &facts, t.directory()).await;

    let signed = left_by_judge(t.directory(), "signed.json");
    let [body, signature] = ["body", "signature"].map(|name| signed[name].as_str().unwrap());
    let events = verified(&adapter, body, signature).await.expect("Stripe's signature is believed");
    assert_eq!(events[0].reference, REFERENCE);
    assert_eq!(verified(&adapter, &body.replace("5000", "5001"), signature).await, None);
}

/// The adapter finds a payment at a double of Stripe that others wrote, and believes its webhooks.
/// It has no Checkout, makes two objects of one `Idempotency-Key`, and shows a balance as one object
/// where Stripe's is a list, so that nothing is shown of those here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs localstripe from PyPI: `cargo xtask judges`"]
async fn outside_judges_localstripe() {
    let t = TestDb::sqlite(MIGRATIONS).await;
    let ear = Ear::default();
    let router = Router::new()
        .route("/hook", post(|| async { StatusCode::OK }))
        .layer(from_fn_with_state(ear.clone(), listen));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!("http://{}/hook", listener.local_addr().unwrap());
    let _serving = Serving::start(listener, router);
    let address = free_address().await;
    let _double = Command::new("python3")
        .args(["-m", "localstripe", "--from-scratch", "--port", &address.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let base = format!("http://{address}");
    let told = Options::at(&base, &base).stripe();
    let settings = Settings { base_url: base.clone(), ..told };
    let secret = settings.webhook_secret.expose().clone();
    let facts = json!({ "base": base, "hook": hook, "secret": secret, "reference": REFERENCE });
    judge("double", &facts, t.directory()).await;

    let adapter = Adapter::new(settings, t.db.clone()).unwrap();
    let paid = left_by_judge(t.directory(), "paid.json");
    let intent = paid["intent"].as_str().unwrap();
    let found = adapter.reference_of(intent).await.unwrap();
    assert_eq!(found.as_deref(), Some(REFERENCE), "localstripe knows our payment");
    assert_eq!(adapter.reference_of("pi_unknown").await.unwrap(), None);
    let order = Order {
        payer: user(0),
        reference: REFERENCE.to_owned(),
        amount: Money::new(5_000, Asset::EUR),
        email: None,
        method: None,
        return_url: None,
    };
    let refused = adapter.create_collection(&order).await.unwrap_err();
    assert!(matches!(refused, Failure::Invalid(_)), "it has no Checkout: {refused:?}");

    let webhook = ear.told("/hook").await;
    let signature = webhook.header(SIGNATURE_HEADER);
    let events = verified(&adapter, &webhook.body, &signature).await.expect("it is believed");
    assert_eq!(
        (events[0].kind.as_str(), events[0].reference.as_str()),
        ("payment_intent.succeeded", REFERENCE)
    );
    assert_eq!(verified(&adapter, &format!("{} ", webhook.body), &signature).await, None);
    println!("as expected  localstripe              a payment, and its webhook");
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
