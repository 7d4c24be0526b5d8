//! Webhooks from the fact to a receiver that does not always answer as it should.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt;
use kernel::id::kinds::User;
use kernel::{Caller, Id, Principal, Role};
use parking_lot::Mutex;
use platform::crypto::MasterKey;
use platform::db::{Db, Migrations, Read};
use platform::http::Failure;
use platform::jobs::{LEASE, Registry, Worker};
use platform::journal::{Fact, Runner};
use platform::on_both_engines;
use platform::outbound::guarded::{self, Guarded, Names};
use platform::testing::TestDb;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::ServiceExt;

use super::{Options, Webhooks};

const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];
const HOOKS: &str = "/v1/enterprise/webhooks";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the receiver does with a request.
enum Act {
    /// Status, more lines of the head, body.
    Answer(u16, &'static str, String),
    /// Closes the connection without a word.
    Close,
    /// Says nothing until this rings.
    Hang(Arc<Notify>),
}

fn status(status: u16) -> Act {
    Act::Answer(status, "", String::new())
}

/// A request as it came in.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    head: String,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        });
        line.unwrap_or_default()
    }

    fn id(&self) -> &str {
        self.header("webhook-id")
    }

    fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap()
    }

    /// How many of the signatures are by this key.
    fn signed_by(&self, secret: &str) -> usize {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let at = self.header("webhook-timestamp").parse().unwrap();
        let expected = super::sign(&key, self.id(), at, self.body.as_bytes());
        self.header("webhook-signature").split(' ').filter(|one| *one == expected).count()
    }
}

/// A local server that keeps what it was sent, and does what it is told.
#[derive(Default)]
struct Receiver {
    port: u16,
    seen: Mutex<Vec<Seen>>,
    acts: Mutex<VecDeque<Act>>,
}

impl Receiver {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = Arc::new(Self { port, ..Self::default() });
        let serving = Arc::clone(&receiver);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let receiver = Arc::clone(&serving);
                tokio::spawn(async move { receiver.serve(socket).await.ok() });
            }
        });
        receiver
    }

    async fn serve(&self, mut socket: TcpStream) -> io::Result<()> {
        let mut bytes = Vec::new();
        let (head, mut body) = loop {
            if socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                break (head.to_owned(), body.to_owned());
            }
        };
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut seen = Seen { path, head, body: String::new() };
        let length: usize = seen.header("content-length").parse().unwrap_or(0);
        while body.len() < length {
            let mut more = vec![0; length - body.len()];
            let read = socket.read(&mut more).await?;
            body.push_str(&String::from_utf8_lossy(&more[..read]));
        }
        seen.body = body;
        self.seen.lock().push(seen);
        let act = self.acts.lock().pop_front().unwrap_or_else(|| status(200));
        match act {
            Act::Close => {}
            Act::Hang(until) => until.notified().await,
            Act::Answer(status, more, body) => {
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n",
                    body.len()
                );
                socket.write_all(answer.as_bytes()).await?;
                socket.write_all(body.as_bytes()).await?;
            }
        }
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn will(&self, acts: impl IntoIterator<Item = Act>) {
        self.acts.lock().extend(acts);
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.id().to_owned()).collect()
    }

    /// Until it was asked so often.
    async fn asked(&self, times: usize) {
        let asked = async {
            while self.seen.lock().len() < times {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap();
    }
}

/// Every name is at this address.
struct At(IpAddr);

impl Names for At {
    fn addresses(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let address = self.0;
        async move { Ok(vec![address]) }.boxed()
    }
}

/// What lets this machine be called.
fn here() -> guarded::Options {
    guarded::Options {
        allow_http: true,
        networks: vec!["127.0.0.0/8".parse().unwrap()],
        timeout: Duration::from_millis(500),
        names: Arc::new(At("127.0.0.1".parse().unwrap())),
        ..guarded::Options::default()
    }
}

fn webhooks(db: &Db, client: guarded::Options) -> Webhooks {
    let (master_key, client) = (MasterKey::new([7; 32]), Guarded::new(client).unwrap());
    Webhooks::new(Options { db: db.clone(), master_key, client })
}

fn user(number: u128) -> Id<User> {
    Id::from_uuid(uuid::Uuid::from_u128(number))
}

fn organization(number: u128) -> Caller {
    Caller::of(Principal::new(user(number), Role::Enterprise, user(number).same_as()))
}

struct Bench<'t> {
    t: &'t TestDb,
    webhooks: Webhooks,
    receiver: Arc<Receiver>,
}

impl<'t> Bench<'t> {
    async fn new(t: &'t TestDb) -> Self {
        Self { t, webhooks: webhooks(&t.db, here()), receiver: Receiver::start().await }
    }

    /// Asks over HTTP, as the edge hands a request in; answers status and body, or the code and
    /// the fields that are wrong.
    async fn send(&self, who: u128, request: &str, body: Json) -> (u16, Json) {
        let (method, uri) = request.split_once(' ').unwrap();
        let routes = self.webhooks.routes().into_iter();
        let router = routes.fold(Router::new(), |all, row| all.route(row.path, row.handler));
        let request = Request::builder().method(method).uri(uri).extension(organization(who));
        let request = request.header("content-type", "application/json");
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        if let Some(Failure(error)) = response.extensions().get() {
            let fields: Vec<_> = error.fields().iter().map(|field| &field.pointer).collect();
            return (status, json!({ "code": error.code(), "fields": fields }));
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn ok(&self, who: u128, request: &str, body: Json) -> Json {
        let (status, body) = self.send(who, request, body).await;
        assert!((200..300).contains(&status), "{request} answered {status} {body}");
        body
    }

    async fn refused(&self, who: u128, request: &str, body: Json) -> (u16, String) {
        let (status, body) = self.send(who, request, body).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }

    /// Makes a webhook for all events; answers its id and its secret.
    async fn hook(&self, who: u128, path: &str) -> (String, String) {
        let body = json!({ "url": self.receiver.url(path), "events": ["*"] });
        let made = self.ok(who, &format!("POST {HOOKS}"), body).await;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    async fn record(&self, facts: impl IntoIterator<Item = Fact>) {
        for fact in facts {
            let fact = &fact;
            self.t
                .db
                .run("record", |tx| async move {
                    tx.record(fact.clone());
                    Ok(())
                })
                .await
                .unwrap();
        }
    }

    async fn read(&self) {
        Runner::new(self.t.db.clone(), self.webhooks.readers()).drain().await;
    }

    fn worker(&self) -> Worker {
        let mut registry = Registry::default();
        self.webhooks.jobs(&mut registry);
        Worker::new(self.t.db.clone(), registry)
    }

    /// Lets everybody work until nobody finds anything to do.
    async fn settle(&self) {
        loop {
            self.read().await;
            let ran = self.worker().drain().await.unwrap();
            if ran + self.webhooks.caller().drain().await.unwrap() == 0 {
                return;
            }
        }
    }

    async fn deliveries(&self, who: u128, id: &str, query: &str) -> Vec<Json> {
        let request = format!("GET {HOOKS}/{id}/deliveries{query}");
        self.ok(who, &request, Json::Null).await.as_array().unwrap().clone()
    }

    async fn state(&self, who: u128, id: &str) -> Json {
        let all = self.ok(who, &format!("GET {HOOKS}?limit=100"), Json::Null).await;
        all.as_array().unwrap().iter().find(|one| one["id"] == id).unwrap().clone()
    }

    async fn facts(&self, verb: &str) -> i64 {
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts WHERE verb = $1";
        self.t.db.one(sql, platform::params![verb], |row| row.take()).await.unwrap()
    }
}

/// A verification of an organization's.
fn verified(of: u128, number: u32) -> Fact {
    Fact::by(&organization(99), "verification.verified")
        .on(format!("vrf_{number}"))
        .about(user(of))
        .with("status", "verified")
        .with("credential", "c_1")
        .with("secretive", "not in the catalogue")
}

/// Writes what came for `cargo xtask judges`: a library of Standard Webhooks checks it, also while
/// the key is being replaced.
#[tokio::test]
#[ignore = "writes for outside judges: `cargo xtask judges`"]
async fn outside_judges_webhooks() {
    let folder = std::env::var_os("VERZA_JUDGES").expect("the folder to write to");
    let t = TestDb::sqlite(TABLES).await;
    let bench = Bench::new(&t).await;
    let (id, old) = bench.hook(1, "/one").await;
    bench.record([verified(1, 1)]).await;
    bench.settle().await;
    let rotate = format!("POST {HOOKS}/{id}/rotate-secret");
    let new = bench.ok(1, &rotate, json!({})).await;
    bench.record([verified(1, 2)]).await;
    bench.settle().await;
    let shown = |seen: &Seen| {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers = names.map(|name| (name, seen.header(name)));
        json!({ "headers": std::collections::BTreeMap::from(headers), "body": seen.body })
    };
    let seen: Vec<_> = bench.receiver.seen().iter().map(shown).collect();
    let facts = json!({ "old": old, "new": new["secret"], "messages": seen });
    std::fs::write(std::path::Path::new(&folder).join("webhooks.json"), facts.to_string()).unwrap();
}

on_both_engines! { TABLES;
    async fn a_fact_reaches_whom_it_concerns_once_signed_and_in_the_journal_s_order(t: &TestDb) {
        let bench = Bench::new(t).await;
        let (_, secret) = bench.hook(1, "/one").await;
        bench.hook(2, "/two").await;
        bench.record((0..30).map(|number| verified(1, number))).await;
        bench.record([Fact::by(&organization(1), "session.started").on("s_1")]).await;
        bench.settle().await;
        let seen = bench.receiver.seen();
        assert_eq!(seen.len(), 30, "each once, and nothing that is not in the catalogue");
        assert!(seen.iter().all(|seen| seen.path == "/one"), "nobody hears of others");
        assert!(seen.iter().all(|seen| seen.signed_by(&secret) == 1));
        let sequence: Vec<_> =
            seen.iter().map(|seen| seen.json()["sequence"].as_i64().unwrap()).collect();
        assert!(sequence.is_sorted(), "{sequence:?}");
        let body = seen[0].json();
        assert_eq!(body, json!({
            "id": seen[0].id(), "type": "verification.verified",
            "timestamp": "2026-01-01T00:00:00Z", "sequence": sequence[0],
            "data": { "subject": "vrf_0", "status": "verified", "credential": "c_1" },
        }));
        assert!(seen[0].id().starts_with("evt_"));
        bench.settle().await;
        assert_eq!(bench.receiver.seen().len(), 30);
    }

    async fn what_fails_is_tried_again_under_the_same_id_until_it_arrives(t: &TestDb) {
        let bench = Bench::new(t).await;
        let (id, secret) = bench.hook(1, "/").await;
        let moved = Act::Answer(302, "location: /elsewhere\r\n", String::new());
        let hang = Act::Hang(Arc::default());
        let huge = Act::Answer(200, "", "x".repeat(1 << 20));
        bench.receiver.will([
            Act::Answer(500, "", "no\0luck".to_owned()), moved, Act::Close, hang, huge,
        ]);
        bench.record([verified(1, 1)]).await;
        bench.settle().await;
        for tries in 2..=5 {
            assert_eq!(bench.receiver.seen().len(), tries - 1, "not before its time");
            t.clock.advance(DAY);
            bench.settle().await;
        }
        let seen = bench.receiver.seen();
        assert_eq!(seen.len(), 5);
        assert!(seen.iter().all(|one| one.id() == seen[0].id() && one.body == seen[0].body));
        assert!(seen.iter().all(|one| one.path == "/" && one.signed_by(&secret) == 1));
        assert_ne!(seen[0].header("webhook-timestamp"), seen[4].header("webhook-timestamp"));
        let all = bench.deliveries(1, &id, "").await;
        assert_eq!((all.len(), &all[0]["state"]), (1, &json!("delivered")));
        let attempts = all[0]["attempts"].as_array().unwrap();
        let statuses: Vec<_> = attempts.iter().map(|one| one["status"].as_u64()).collect();
        assert_eq!(statuses, [Some(500), Some(302), None, None, Some(200)]);
        assert_eq!(attempts[0]["answer"], "noluck");
        assert!(attempts[2]["error"].is_string() && attempts[3]["error"] == "no answer in time");
        assert_eq!(attempts[4]["answer"].as_str().unwrap().len(), 1000);
    }

    async fn one_that_fails_holds_up_nothing_behind_it(t: &TestDb) {
        let bench = Bench::new(t).await;
        let (id, _) = bench.hook(1, "/").await;
        bench.receiver.will([status(500)]);
        bench.record((0..3).map(|number| verified(1, number))).await;
        bench.settle().await;
        assert_eq!(bench.deliveries(1, &id, "?state=delivered").await.len(), 2);
        assert_eq!(bench.deliveries(1, &id, "?state=waiting").await.len(), 1);
        t.clock.advance(Duration::from_secs(10));
        bench.settle().await;
        let ids = bench.receiver.ids();
        assert_eq!((ids.len(), &ids[3]), (4, &ids[0]));
    }

    async fn an_endpoint_that_is_gone_is_disabled_at_once_and_recovers_what_it_missed(t: &TestDb) {
        let bench = Bench::new(t).await;
        let (id, _) = bench.hook(1, "/").await;
        bench.receiver.will([status(200), status(410)]);
        bench.record((0..4).map(|number| verified(1, number))).await;
        bench.settle().await;
        assert_eq!(bench.receiver.seen().len(), 2, "nothing more after the 410");
        let state = bench.state(1, &id).await;
        assert_eq!((&state["state"], &state["disabledReason"]), (&json!("disabled"), &json!("gone")));
        assert_eq!(bench.facts("webhook.disabled").await, 1);
        t.clock.advance(DAY);
        bench.record([verified(1, 4)]).await;
        bench.settle().await;
        let recover = format!("POST {HOOKS}/{id}/recover?since=2026-01-01T00:00:00Z");
        let disabled = (409, "webhook_disabled".to_owned());
        assert_eq!(bench.refused(1, &recover, Json::Null).await, disabled);
        bench.ok(1, &format!("PATCH {HOOKS}/{id}"), json!({ "enabled": true })).await;
        bench.ok(1, &recover, Json::Null).await;
        bench.settle().await;
        let ids = bench.receiver.ids();
        assert_eq!(ids.len(), 6, "what had failed and what was missed, and not what had arrived");
        assert_eq!(ids[1], ids[2], "the one that got the 410, under its id");
        assert!(!ids[1..].contains(&ids[0]));
        bench.ok(1, &recover, Json::Null).await;
        bench.settle().await;
        assert_eq!(bench.receiver.seen().len(), 6, "there is nothing left to recover");
        let old = format!("POST {HOOKS}/{id}/recover?since=2025-01-01T00:00:00Z");
        assert_eq!(bench.send(1, &old, Json::Null).await.0, 422);
    }

    async fn an_endpoint_that_fails_for_days_is_told_of_and_then_disabled(t: &TestDb) {
        let bench = Bench::new(t).await;
        let (id, _) = bench.hook(1, "/").await;
        for day in 0..6 {
            bench.receiver.will((0..50).map(|_| status(503)));
            bench.record([verified(1, day)]).await;
            bench.settle().await;
            assert_eq!(bench.facts("webhook.failing").await, i64::from(day >= 1), "{day}");
            assert_eq!(bench.facts("webhook.disabled").await, i64::from(day >= 5), "{day}");
            t.clock.advance(DAY);
        }
        assert_eq!(bench.state(1, &id).await["disabledReason"], "failing");
        assert_eq!(bench.deliveries(1, &id, "?state=waiting").await.len(), 0);
    }

    async fn a_dead_endpoint_is_not_asked_for_each_thing_that_waits(t: &TestDb) {
        let bench = Bench::new(t).await;
        let (id, _) = bench.hook(1, "/").await;
        bench.receiver.will((0..100).map(|_| Act::Close));
        bench.record((0..50).map(|number| verified(1, number))).await;
        bench.settle().await;
        assert_eq!(bench.receiver.seen().len(), 3, "it is left alone for a while");
        t.clock.advance(Duration::from_secs(10));
        bench.settle().await;
        assert_eq!(bench.receiver.seen().len(), 4, "and tried out then");
        bench.receiver.acts.lock().clear();
        t.clock.advance(Duration::from_secs(60));
        bench.settle().await;
        t.clock.advance(Duration::from_secs(600));
        bench.settle().await;
        assert_eq!(bench.deliveries(1, &id, "?state=delivered&limit=100").await.len(), 50);
    }

    async fn an_endpoint_that_hangs_holds_up_no_other(t: &TestDb) {
        let slow = guarded::Options { timeout: Duration::from_secs(60), ..here() };
        let other = Bench::new(t).await;
        let bench = Bench { webhooks: webhooks(&t.db, slow), ..Bench::new(t).await };
        bench.hook(1, "/hangs").await;
        let body = json!({ "url": other.receiver.url("/"), "events": ["verification.*"] });
        bench.ok(2, &format!("POST {HOOKS}"), body).await;
        let release = Arc::new(Notify::new());
        bench.receiver.will([Act::Hang(Arc::clone(&release))]);
        bench.record((0..10).flat_map(|number| [verified(1, number), verified(2, number)])).await;
        bench.read().await;
        let caller = bench.webhooks.caller();
        let calling = tokio::spawn(async move { caller.run_due().await });
        other.receiver.asked(10).await;
        assert_eq!(bench.receiver.seen().len(), 1);
        release.notify_one();
        calling.await.unwrap().unwrap();
    }

    async fn what_is_sent_after_a_change_goes_to_the_new_address_under_the_new_key(t: &TestDb) {
        let slow = guarded::Options { timeout: Duration::from_secs(60), ..here() };
        let bench = Bench { webhooks: webhooks(&t.db, slow), ..Bench::new(t).await };
        let (id, old) = bench.hook(1, "/old").await;
        let release = Arc::new(Notify::new());
        bench.receiver.will([Act::Hang(Arc::clone(&release))]);
        bench.record((0..3).map(|number| verified(1, number))).await;
        bench.read().await;
        let caller = bench.webhooks.caller();
        let calling = tokio::spawn(async move { caller.run_due().await });
        bench.receiver.asked(1).await;
        let moved = json!({ "url": bench.receiver.url("/new") });
        bench.ok(1, &format!("PATCH {HOOKS}/{id}"), moved).await;
        let rotate = format!("POST {HOOKS}/{id}/rotate-secret");
        let made = bench.ok(1, &rotate, json!({ "overlapHours": 0 })).await;
        release.notify_one();
        calling.await.unwrap().unwrap();
        let seen = bench.receiver.seen();
        assert_eq!((seen.len(), seen[0].path.as_str()), (3, "/old"));
        for sent in &seen[1..] {
            assert_eq!(sent.path, "/new");
            assert_eq!(sent.signed_by(made["secret"].as_str().unwrap()), 1);
            assert_eq!(sent.signed_by(&old), 0);
        }
    }

    async fn a_caller_killed_in_the_middle_loses_nothing(t: &TestDb) {
        let slow = guarded::Options { timeout: Duration::from_secs(60), ..here() };
        let bench = Bench { webhooks: webhooks(&t.db, slow), ..Bench::new(t).await };
        let (id, _) = bench.hook(1, "/").await;
        bench.receiver.will([status(200), Act::Hang(Arc::default())]);
        bench.record((0..5).map(|number| verified(1, number))).await;
        bench.read().await;
        let doomed = bench.webhooks.caller();
        let running = tokio::spawn(async move { doomed.run_due().await });
        bench.receiver.asked(2).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        t.clock.advance(LEASE - Duration::from_secs(1));
        bench.settle().await;
        assert_eq!(bench.receiver.seen().len(), 2, "its lease still holds");
        t.clock.advance(Duration::from_secs(1));
        bench.settle().await;
        let ids = bench.receiver.ids();
        assert_eq!(ids.len(), 6);
        assert_eq!(ids[1], ids[2], "sent again, under its id");
        let mut distinct = ids;
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 5);
        assert_eq!(bench.deliveries(1, &id, "?state=delivered").await.len(), 5);
    }

    async fn no_address_but_a_public_one_is_called(t: &TestDb) {
        let receiver = Receiver::start().await;
        let public = Bench { webhooks: webhooks(&t.db, guarded::Options::default()),
            ..Bench::new(t).await };
        for url in [
            "https://127.0.0.1/", "https://169.254.169.254/latest/", "https://[::1]/",
            "https://[::ffff:127.0.0.1]/", "https://2130706433/", "https://localhost/",
            "http://example.com/", "https://u:p@example.com/", "nonsense",
        ] {
            let body = json!({ "url": url, "events": ["*"] });
            let (status, body) = public.send(1, &format!("POST {HOOKS}"), body).await;
            assert_eq!((status, &body["fields"]), (422, &json!(["/url"])), "{url}");
        }
        // A name that is looked up anew at each attempt, and leads inside.
        for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"] {
            let names: Arc<dyn Names> = Arc::new(At(inside.parse().unwrap()));
            let strict = guarded::Options { allow_http: true, names, ..guarded::Options::default() };
            let bench = Bench { webhooks: webhooks(&t.db, strict), ..Bench::new(t).await };
            let url = format!("http://hooks.example:{}/", receiver.port);
            let body = json!({ "url": url, "events": ["*"] });
            let made = bench.ok(1, &format!("POST {HOOKS}"), body).await;
            let id = made["id"].as_str().unwrap();
            bench.record([verified(1, 1)]).await;
            bench.settle().await;
            let all = bench.deliveries(1, id, "").await;
            let why = all[0]["attempts"][0]["error"].as_str().unwrap();
            assert!(why.contains("not on the public internet"), "{inside}: {why}");
            bench.ok(1, &format!("DELETE {HOOKS}/{id}"), Json::Null).await;
        }
        assert!(receiver.seen().is_empty());
    }

    async fn both_keys_sign_while_one_takes_the_place_of_the_other(t: &TestDb) {
        let bench = Bench::new(t).await;
        let (id, old) = bench.hook(1, "/").await;
        let rotate = format!("POST {HOOKS}/{id}/rotate-secret");
        let new = bench.ok(1, &rotate, json!({ "overlapHours": 2 })).await;
        let new = new["secret"].as_str().unwrap();
        assert_ne!(new, old);
        for (both, number) in [(true, 1), (false, 2)] {
            bench.record([verified(1, number)]).await;
            bench.settle().await;
            let seen = bench.receiver.seen().pop().unwrap();
            assert_eq!((seen.signed_by(new), seen.signed_by(&old)), (1, usize::from(both)));
            t.clock.advance(Duration::from_secs(2 * 3600));
        }
        assert_eq!(bench.send(1, &rotate, json!({ "overlapHours": 200 })).await.0, 422);
        // No key is in the store as it is, nor in a fact or a list.
        let key = STANDARD.decode(new.strip_prefix("whsec_").unwrap()).unwrap();
        let sql = "SELECT secret FROM webhook_endpoints";
        let sealed: Vec<u8> = t.db.one(sql, &[], |row| row.take()).await.unwrap();
        assert!(!sealed.windows(key.len()).any(|part| part == key));
        let facts: Vec<String> =
            t.db.all("SELECT data FROM facts", &[], |row| row.take()).await.unwrap();
        let listed = bench.state(1, &id).await.to_string();
        assert!(facts.iter().chain([&listed]).all(|text| !text.contains("whsec_")));
    }

    async fn a_webhook_is_tried_out_paused_retried_and_deleted_by_its_organization(t: &TestDb) {
        let bench = Bench::new(t).await;
        let body = json!({ "url": bench.receiver.url("/"), "events": ["batch.completed"],
            "description": "Ours" });
        let made = bench.ok(1, &format!("POST {HOOKS}"), body).await;
        let id = made["id"].as_str().unwrap();
        bench.ok(1, &format!("POST {HOOKS}/{id}/test"), Json::Null).await;
        bench.record([verified(1, 1)]).await;
        bench.settle().await;
        let seen = bench.receiver.seen();
        assert_eq!(seen.len(), 1, "the trial, and not what was not asked for");
        assert_eq!(seen[0].json()["type"], "webhook.tested");
        assert_eq!(seen[0].json()["data"], json!({ "subject": id }));
        let delivery = bench.deliveries(1, id, "?type=webhook.tested").await.remove(0);
        let retry = format!("POST {HOOKS}/{id}/deliveries/{}/retry", delivery["id"].as_str().unwrap());
        assert_eq!(bench.refused(2, &retry, Json::Null).await, (404, "not_found".into()));
        let again = bench.ok(1, &retry, Json::Null).await;
        assert_eq!((&again["state"], &again["event"]), (&json!("waiting"), &delivery["event"]));
        bench.settle().await;
        let ids = bench.receiver.ids();
        assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));

        for (request, body) in [
            (format!("PATCH {HOOKS}/{id}"), json!({})),
            (format!("DELETE {HOOKS}/{id}"), Json::Null),
            (format!("GET {HOOKS}/{id}/deliveries"), Json::Null),
            (format!("POST {HOOKS}/{id}/test"), Json::Null),
            (format!("POST {HOOKS}/{id}/recover"), Json::Null),
            (format!("POST {HOOKS}/{id}/rotate-secret"), json!({})),
        ] {
            let refused = bench.refused(2, &request, body).await;
            assert_eq!(refused, (404, "not_found".into()), "{request}");
        }
        let patch = format!("PATCH {HOOKS}/{id}");
        let paused = bench.ok(1, &patch, json!({ "enabled": false, "events": ["*"] })).await;
        assert_eq!((&paused["state"], &paused["events"]), (&json!("paused"), &json!(["*"])));
        bench.record([verified(1, 2)]).await;
        bench.settle().await;
        assert_eq!(bench.receiver.seen().len(), 2);
        assert_eq!(bench.send(1, &patch, json!({ "events": ["nonsense"] })).await.0, 422);
        bench.ok(1, &format!("DELETE {HOOKS}/{id}"), Json::Null).await;
        assert_eq!(bench.refused(1, &patch, json!({})).await.0, 404);
        for table in ["webhook_endpoints", "webhook_deliveries", "webhook_attempts"] {
            let sql = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
            assert_eq!(t.db.one(&sql, &[], |row| row.take::<i64>()).await.unwrap(), 0, "{table}");
        }
    }

    async fn deliveries_come_in_pages_and_go_after_a_month(t: &TestDb) {
        let bench = Bench::new(t).await;
        let (id, _) = bench.hook(1, "/").await;
        bench.record((0..7).map(|number| verified(1, number))).await;
        bench.settle().await;
        let page = bench.deliveries(1, &id, "?limit=5").await;
        let sequence: Vec<_> = page.iter().map(|one| one["sequence"].as_i64().unwrap()).collect();
        assert!(sequence.len() == 5 && sequence.iter().rev().is_sorted(), "{sequence:?}");
        t.clock.advance(DAY * 31);
        bench.settle().await;
        assert_eq!(bench.deliveries(1, &id, "").await.len(), 0);
    }

    async fn channels_are_told_in_words_and_their_address_is_shown_nowhere(t: &TestDb) {
        let bench = Bench::new(t).await;
        let port = bench.receiver.port;
        let connect = |provider: &str| {
            format!("POST /v1/enterprise/integrations/{provider}/connect")
        };
        let to = |host: &str| {
            let url = format!("http://{host}:{port}/services/whoeverknowsthis");
            json!({ "url": url, "events": ["verification.*"] })
        };
        let hosts = [
            ("slack", "hooks.slack.com"), ("teams", "x.webhook.office.com"),
            ("discord", "discord.com"), ("incoming", "chat.example"),
        ];
        for (provider, host) in hosts {
            let connected = bench.ok(1, &connect(provider), to(host)).await;
            assert_eq!((&connected["connected"], &connected["host"]), (&json!(true), &json!(host)));
        }
        for (provider, host) in
            [("slack", "hooks.slack.com.evil.example"), ("slack", "xhooks.slack.com"),
             ("teams", "chat.example"), ("discord", "chat.example")]
        {
            assert_eq!(bench.send(1, &connect(provider), to(host)).await.0, 422, "{host}");
        }
        for unknown in ["webhook", "fax", "SLACK"] {
            let refused = bench.refused(1, &connect(unknown), to("chat.example")).await;
            assert_eq!(refused, (404, "not_found".into()), "{unknown}");
        }
        bench.record([verified(1, 1)]).await;
        bench.settle().await;
        let line = "verification.verified: The document is what it says. The price is paid. (vrf_1)";
        let bodies: Vec<_> = bench.receiver.seen().iter().map(Seen::json).collect();
        assert_eq!(bodies.len(), 4);
        assert_eq!(bodies.iter().filter(|body| body["text"] == line).count(), 2);
        assert!(bodies.iter().any(|body| body["content"] == line));
        assert!(bodies.iter().any(|body| body["attachments"][0]["content"]["body"][2]["text"]
            == "vrf_1"));
        assert!(bench.receiver.seen().iter().all(|seen| seen.path == "/services/whoeverknowsthis"));
        let listed = bench.ok(1, "GET /v1/enterprise/integrations", Json::Null).await;
        let facts: Vec<String> =
            t.db.all("SELECT data FROM facts", &[], |row| row.take()).await.unwrap();
        assert!(facts.iter().chain([&listed.to_string()]).all(|text| !text.contains("whoever")));
        let slack = listed[0]["webhookId"].as_str().unwrap();
        assert_eq!(bench.deliveries(1, slack, "").await.len(), 1);
        let rotate = format!("POST {HOOKS}/{slack}/rotate-secret");
        let none = (409, "has_no_secret".to_owned());
        assert_eq!(bench.refused(1, &rotate, json!({})).await, none);
        let others = bench.ok(2, "GET /v1/enterprise/integrations", Json::Null).await;
        assert!(others.as_array().unwrap().iter().all(|one| one["connected"] == false));
        assert_eq!(bench.ok(1, &format!("GET {HOOKS}"), Json::Null).await, json!([]));
        let off = "POST /v1/enterprise/integrations/slack/disconnect";
        bench.ok(1, off, Json::Null).await;
        assert_eq!(bench.refused(1, off, Json::Null).await, (409, "not_connected".into()));
    }
}
