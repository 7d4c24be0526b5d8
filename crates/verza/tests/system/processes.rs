//! The executable in parts: gateway, user service, order service and worker, each a process of its
//! own, over loopback and one PostgreSQL.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use platform::testing::TestDb;
use reqwest::Method;
use serde_json::json;
use tokio::process::Child;
use verza::demo::client::Client;
use verza::demo::story::{self, Stage as Scene};
use verza::wiring::MIGRATIONS;

use crate::collector::{Collector, astray};
use crate::house::{bare_command, free_port};
use crate::observed::{lines, shows};
use crate::town::{PASSWORD, Town, until};
use crate::world::Stage;

/// How long the gateway waits for a service; and the least that an answer may then take.
const PATIENCE: Duration = Duration::from_millis(1000);

/// One part of the platform.
struct Part {
    role: &'static str,
    ops_port: u16,
    grpc_port: u16,
    child: Option<Child>,
}

/// The parts of one platform.
struct Street {
    test: TestDb,
    port: u16,
    /// Beside each other, since one configuration names them all.
    secret: String,
    users: Part,
    orders: Part,
    worker: Part,
    gateway: Part,
    settings: Vec<(&'static str, String)>,
}

impl Street {
    async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    async fn start_with(settings: Vec<(&'static str, String)>) -> Self {
        let part = |role| Part { role, ops_port: free_port(), grpc_port: free_port(), child: None };
        let mut street = Self {
            test: TestDb::postgres(MIGRATIONS).await,
            port: free_port(),
            secret: "0123456789abcdef".repeat(2),
            users: part("users"),
            orders: part("orders"),
            worker: part("worker"),
            gateway: part("gateway"),
            settings,
        };
        street.start_users().await;
        street.start_orders().await;
        street.worker.child = Some(street.spawn(&street.worker));
        street.gateway.child = Some(street.spawn(&street.gateway));
        street.is_ready(&street.worker).await;
        street.is_ready(&street.gateway).await;
        street
    }

    async fn start_users(&mut self) {
        self.users.child = Some(self.spawn(&self.users));
        self.is_ready(&self.users).await;
    }

    async fn start_orders(&mut self) {
        self.orders.child = Some(self.spawn(&self.orders));
        self.is_ready(&self.orders).await;
    }

    fn log_path(&self, part: &Part) -> PathBuf {
        self.test.directory().join(format!("{}.log", part.role))
    }

    fn log(&self, part: &Part) -> String {
        std::fs::read_to_string(self.log_path(part)).unwrap_or_default()
    }

    /// One configuration for all of them, but for what belongs to one process.
    fn spawn(&self, part: &Part) -> Child {
        let folder = self.test.directory();
        let grpc = |part: &Part| format!("127.0.0.1:{}", part.grpc_port);
        let log = OpenOptions::new().create(true).append(true).open(self.log_path(part)).unwrap();
        bare_command()
            .args(["serve", part.role])
            .args(["--users-url", &format!("http://{}", grpc(&self.users))])
            .args(["--orders-url", &format!("http://{}", grpc(&self.orders))])
            .args(["--grpc-listen", &grpc(part)])
            .args(["--ops-listen", &format!("127.0.0.1:{}", part.ops_port)])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .arg("--data-dir")
            .arg(folder.join(part.role))
            .env("VERZA_STORAGE_FILES_DIR", folder.join("files"))
            .env("VERZA_DATABASE_URL", self.test.postgres_url().unwrap())
            .env("VERZA_DATABASE_CONNECTIONS", "6")
            .env("VERZA_SECRETS_MASTER_KEY", "0123456789abcdef".repeat(4))
            .env("VERZA_SERVICES_SECRET", &self.secret)
            .env("VERZA_SERVICES_TIMEOUT_MILLISECONDS", PATIENCE.as_millis().to_string())
            .env("VERZA_SERVER_REQUEST_TIMEOUT_SECONDS", "5")
            .env("VERZA_SERVER_RATE_LIMITS", "false")
            // Whoever asks in vain is to be told what is the matter, each time.
            .env("VERZA_BREAKER_FAILURES_MAX", "1000")
            .env("VERZA_ACCOUNTS_ARGON2_MEMORY_KIB", "64")
            .env("VERZA_ACCOUNTS_ARGON2_PASSES", "1")
            .env("VERZA_TRACES_SERVICE_NAME", part.role)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Every part tells on its internal listener whether it is ready.
    async fn is_ready(&self, part: &Part) {
        let http = crate::town::http_client(Duration::from_secs(2));
        let url = format!("http://127.0.0.1:{}/readyz", part.ops_port);
        let what = format!("{} is ready", part.role);
        until(&what, async || {
            let answer = http.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    fn town(&self) -> Town {
        let ops = format!("http://127.0.0.1:{}", self.gateway.ops_port);
        Town::new(format!("http://127.0.0.1:{}", self.port), ops)
    }

    /// Printed by the user service, and by nobody else.
    async fn setup_link(&self) -> String {
        let link = until("the set-up link", async || {
            self.log(&self.users).lines().find(|line| line.contains("token=")).map(str::to_owned)
        })
        .await;
        for part in [&self.gateway, &self.worker, &self.orders] {
            assert!(!self.log(part).contains("token="), "{}", part.role);
        }
        link.trim().to_owned()
    }

    /// A signal to one of them.
    async fn signal(part: &Part, name: &str) {
        let pid = part.child.as_ref().and_then(Child::id).expect("it runs");
        let kill = format!("kill -{name} {pid}");
        let told = tokio::process::Command::new("sh").args(["-c", &kill]).status().await;
        assert!(told.unwrap().success());
        if name == "STOP" {
            // A thread on another core goes on until it is interrupted there.
            until("all of it stands still", async || stands_still(pid).then_some(())).await;
        }
    }

    async fn finish(mut self) {
        for part in [&mut self.gateway, &mut self.worker, &mut self.orders, &mut self.users] {
            let mut child = part.child.take().expect("it runs");
            let pid = child.id().expect("it is alive");
            let kill = format!("kill -TERM {pid}");
            tokio::process::Command::new("sh").args(["-c", &kill]).status().await.unwrap();
            let ended = tokio::time::timeout(Duration::from_secs(40), child.wait()).await;
            assert!(ended.expect("it ends within its grace").unwrap().success(), "{}", part.role);
        }
        self.test.finish().await;
    }
}

/// Whether all threads of a process are stopped: the state behind the name in `/proc`.
fn stands_still(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut stats = threads
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).ok());
    stats.all(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_is_so_in_separate_processes() {
    let street = Street::start().await;
    let scene = Scene {
        client: Client::new(format!("http://127.0.0.1:{}", street.port)).unwrap(),
        ops_url: format!("http://127.0.0.1:{}", street.gateway.ops_port),
        setup_link: street.setup_link().await,
        export_to: street.test.directory().join("diploma.verza.json"),
        password: "seven quiet herons at dusk".into(),
    };
    let mut lines = Vec::new();
    let mut tell = |line: String| lines.push(line);
    story::play(&scene, &mut tell).await.unwrap_or_else(|error| panic!("{error}\n{lines:#?}"));
    let ledger = money::ledger::check(&street.test.db).await.unwrap();
    assert!(ledger.is_sound(), "{ledger:#?}");
    street.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_user_service_everybody_is_asked_to_come_back() {
    let mut street = Street::start().await;
    let town = street.town();
    let admin = town.set_up(&street.setup_link().await).await;
    let unavailable = async |codes: &[&str]| {
        // Who was seen just now is believed for a moment still.
        let asked = async || town.get("/v1/notifications", &admin).answer().await.status == 503;
        until("nobody is believed", async || asked().await.then_some(())).await;
        let login = json!({ "email": "x@example.com", "password": "whatever it is" });
        for call in [
            town.get("/v1/me", &admin),
            town.get("/v1/admin/users", &admin),
            town.get("/v1/notifications", &admin),
            town.call(Method::POST, "/v1/auth/login", None).json(&login),
        ] {
            let begun = Instant::now();
            let answer = call.answer().await;
            let code = answer.code();
            assert!(codes.contains(&code.as_str()), "{}", answer.text());
            answer.problem(503, &code);
            assert_eq!(answer.header("retry-after"), "2");
            assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        }
        // What is nobody's business but the gateway's goes on.
        assert_eq!(town.call(Method::GET, "/openapi.json", None).answer().await.status, 200);
    };
    // It hangs. A connection that does not answer pings is given up while somebody waits.
    Street::signal(&street.users, "STOP").await;
    unavailable(&["service_timeout", "service_unavailable"]).await;
    Street::signal(&street.users, "CONT").await;
    until("it is back", async || town.get("/v1/me", &admin).answer().await.is_done().then_some(()))
        .await;
    // It is gone.
    let mut child = street.users.child.take().unwrap();
    child.kill().await.unwrap();
    unavailable(&["service_unavailable"]).await;
    street.start_users().await;
    town.get("/v1/me", &admin).done().await;
    street.finish().await;
}

/// How often the user service was asked who presents a token, and has answered.
async fn questions(town: &Town, users: &Part) -> u64 {
    let url = format!("http://127.0.0.1:{}/metrics", users.ops_port);
    let metrics = town.call(Method::GET, &url, None).answer().await.text();
    let counted = lines(&metrics, "grpc_requests_total").into_iter();
    let answered = counted.filter(|line| line.contains(r#"rpc="Authenticate""#));
    answered.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_remembers_who_asks_and_nobody_whose_session_was_ended_through_it() {
    const OWN: &str = "/v1/notifications";
    let street = Street::start().await;
    let town = street.town();
    let admin = town.set_up(&street.setup_link().await).await;
    let anne = town.join("Anne", "user").await;
    let before = questions(&town, &street.users).await;
    for _ in 0..200 {
        town.get(OWN, &anne).done().await;
    }
    let asked = questions(&town, &street.users).await - before;
    assert!((1..100).contains(&asked), "{asked} questions about 200 requests");
    for round in 0..12 {
        let [here, there] = [town.login(&anne.email).await, town.login(&anne.email).await];
        for who in [&here, &there] {
            town.get(OWN, who).done().await;
        }
        let (by, path, gone) = match round % 3 {
            0 => (&here, "/v1/auth/logout".to_owned(), [Some(&here), None]),
            1 => (&here, "/v1/me/sessions".to_owned(), [Some(&here), Some(&there)]),
            _ => {
                let sessions = format!("/v1/admin/users/{}/sessions", anne.id);
                (&admin, sessions, [Some(&here), Some(&there)])
            }
        };
        let method = if round % 3 == 0 { Method::POST } else { Method::DELETE };
        let ended = town.call(method, &path, Some(by)).answer().await;
        assert!(ended.is_done(), "{path}: {}", ended.text());
        for who in gone.into_iter().flatten() {
            town.get(OWN, who).answer().await.problem(401, "session_ended");
        }
    }
    street.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_order_service_only_orders_wait() {
    let mut street = Street::start().await;
    let town = street.town();
    let admin = town.set_up(&street.setup_link().await).await;
    let body = json!({
        "targetUrl": "https://a.example/", "serviceUrl": "https://b.example/", "type": "likes",
        "quantity": 3,
    });
    let order =
        async |key: &str| town.post("/v1/orders", &admin).key(key).json(&body).answer().await;
    let made = order("one").await.done();
    // It hangs, and then it is gone.
    for signal in ["STOP", "KILL"] {
        Street::signal(&street.orders, signal).await;
        for answer in [order("two").await, town.get("/v1/orders", &admin).answer().await] {
            let code = answer.code();
            let known = ["service_timeout", "service_unavailable"];
            assert!(known.contains(&code.as_str()), "{}", answer.text());
            answer.problem(503, &code);
            assert_eq!(answer.header("retry-after"), "2");
        }
        town.get("/v1/me", &admin).done().await;
    }
    street.orders.child.take().unwrap().wait().await.unwrap();
    street.start_orders().await;
    // What was refused is made now, once, and what was made is told again.
    order("two").await.done();
    let again = order("one").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.done(), made);
    assert_eq!(town.all("/v1/orders", &admin).await.len(), 2);
    street.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_is_one_trace_through_all_parts_and_counted_in_each() {
    let collector = Collector::start().await;
    let endpoint = ("VERZA_TRACES_OTLP_ENDPOINT", collector.url.clone());
    let street = Street::start_with(vec![endpoint]).await;
    let town = street.town();
    let (trace, client) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let body = json!({
        "name": "Anne", "email": "anne@example.com", "password": PASSWORD, "role": "user",
    });
    let register = town.call(Method::POST, "/v1/auth/register", None).json(&body);
    register.header("traceparent", &format!("00-{trace}-{client}-01")).done().await;
    // The gateway hands the request on, the user service writes, the worker sends the letter.
    let expected =
        [("gateway", "request"), ("users", "call"), ("users", "transaction"), ("worker", "job")];
    let spans = until("the trace is whole", async || {
        let spans = collector.trace(trace);
        let has = |(service, name): &(&str, &str)| {
            spans.iter().any(|(of, span)| of == service && span.name == *name)
        };
        expected.iter().all(has).then_some(spans)
    })
    .await;
    assert_eq!(astray(&spans, client), [], "each stands below another: {spans:#?}");

    let ops = |part: &Part| format!("http://127.0.0.1:{}", part.ops_port);
    let closed = [("breaker_state", r#"breaker="user service" 0"#)];
    shows(&town, &ops(&street.gateway), &closed).await;
    let answered = [
        ("grpc_requests_total", r#"rpc="Call" outcome="ok""#),
        ("grpc_request_seconds_bucket", r#"rpc="Call" le="0.5""#),
        ("db_connections_open", ""),
        ("db_connections_waiting", ""),
    ];
    shows(&town, &ops(&street.users), &answered).await;
    street.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wrong_passwords_leave_the_circuit_closed() {
    let stage = Stage::in_parts().await;
    let town = stage.town();
    let anne = town.join("Anne", "user").await;
    for round in 0..100 {
        let guesses = (0..10).map(|n| {
            let email = format!("x{round}.{n}@example.com");
            let body = json!({ "email": email, "password": "a wrong guess" });
            town.call(Method::POST, "/v1/auth/login", None).json(&body).answer()
        });
        for answer in futures_util::future::join_all(guesses).await {
            answer.problem(401, "invalid_credentials");
        }
    }
    town.login("anne@example.com").await;
    town.get("/v1/me", &anne).done().await;
    stage.finish().await;
}
