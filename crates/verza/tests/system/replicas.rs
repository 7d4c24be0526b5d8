//! Three processes over one PostgreSQL and one Redis behind nginx, by the configuration that is
//! shipped: stopped, killed and started again in turn while people work.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use bytes::Bytes;
use gateway::{CertificateFiles, ServerOptions};
use platform::testing::{PrivateRedis, TestDb};
use reqwest::{Method, StatusCode};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use verza::wiring::MIGRATIONS;

use crate::house::{House, free_port};
use crate::makers::Makers;
use crate::town::{Town, until};

const SHIPPED: &str = include_str!("../../../../deploy/nginx.conf");
/// Where the shipped configuration looks for the processes.
const UPSTREAMS: [&str; 3] = ["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"];

/// nginx with the shipped configuration but for addresses, paths and TLS: who asks here has no
/// authority for a certificate.
struct Nginx {
    port: u16,
    child: Child,
}

/// Where the tests' runner has found it; else where Debian puts it.
fn program() -> PathBuf {
    std::env::var_os("VERZA_TEST_NGINX").map_or_else(|| "/usr/sbin/nginx".into(), PathBuf::from)
}

/// The text with one place changed, which must be there.
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in deploy/nginx.conf");
    text.replace(from, to)
}

/// The shipped configuration at home in a folder.
fn at_home(folder: &Path, certificates: &CertificateFiles) -> String {
    let path = |path: &Path| path.display().to_string();
    let conf = changed(SHIPPED, "/run/nginx.pid", &path(&folder.join("nginx.pid")));
    let conf = changed(&conf, "/dev/stdout", &path(&folder.join("access.log")));
    let certificate = path(&certificates.certificate);
    let conf = changed(&conf, "/etc/nginx/tls/fullchain.pem", &certificate);
    let conf = changed(&conf, "/etc/nginx/tls/privkey.pem", &path(&certificates.key));
    let mut temporary = String::from("server_tokens off;\n");
    for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let folder = path(&folder.join(name));
        temporary.push_str(&format!("    {name}_temp_path {folder};\n"));
    }
    let conf = changed(&conf, "server_tokens off;\n", &temporary);
    // As whoever runs the test: the folder is nobody else's. Says so only where it means anything.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if is_root { format!("user root;\n{conf}") } else { conf }
}

async fn accepts(conf: &Path) {
    let test = Command::new(program()).args(["-t", "-c"]).arg(conf).output().await;
    let test = test.expect("nginx is installed: apt-get install nginx-light");
    assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stderr));
}

impl Nginx {
    async fn start(folder: &Path, upstreams: [u16; 3]) -> Self {
        let certificates = CertificateFiles::for_development(
            folder,
            &["verza.example".to_owned()],
            &platform::world::system(),
        );
        let conf = at_home(folder, &certificates.unwrap());
        let path = folder.join("nginx.conf");
        std::fs::write(&path, &conf).unwrap();
        accepts(&path).await;
        let port = free_port();
        let conf = changed(&conf, "listen 443 ssl http2;", &format!("listen 127.0.0.1:{port};"));
        let other = format!("listen 127.0.0.1:{};", free_port());
        let mut conf = changed(&conf, "listen 80 default_server;", &other);
        for (shipped, port) in UPSTREAMS.into_iter().zip(upstreams) {
            conf = changed(&conf, shipped, &format!("127.0.0.1:{port}"));
        }
        std::fs::write(&path, conf).unwrap();
        let child = Command::new(program())
            .args(["-g", "daemon off;", "-c"])
            .arg(&path)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(folder.join("nginx.log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { port, child }
    }

    fn town(&self, ops_port: u16) -> Town {
        let (port, host) = (self.port, "127.0.0.1");
        Town::new(format!("http://{host}:{port}"), format!("http://{host}:{ops_port}"))
    }

    async fn finish(mut self) {
        let pid = self.child.id().expect("it runs");
        let told = Command::new("kill").args(["-QUIT", &pid.to_string()]).status().await;
        assert!(told.unwrap().success());
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        assert!(ended.expect("it ends when its connections do").unwrap().success());
    }
}

/// Stands in for a process: one route answers that a service is away, all others say how much they
/// were sent.
async fn stand_in() -> u16 {
    let away = async || (StatusCode::SERVICE_UNAVAILABLE, "circuit_open");
    let count = async |body: Bytes| body.len().to_string();
    let router = Router::new()
        .route("/v1/away", get(away))
        .fallback(count)
        .layer(DefaultBodyLimit::disable());
    let listener = gateway::listen(([127, 0, 0, 1], 0).into(), "").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(gateway::serve(
        listener,
        router,
        ServerOptions::default(),
        CancellationToken::new(),
    ));
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_verza_answers_passes_nginx_and_counts_against_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let processes = [stand_in().await, stand_in().await, stand_in().await];
    let nginx = Nginx::start(folder.path(), processes).await;
    let town = nginx.town(nginx.port);
    until("nginx", async || town.call(Method::GET, "/", None).attempt().await.map(drop)).await;
    for _ in 0..20 {
        let away = town.call(Method::GET, "/v1/away", None).answer().await;
        assert_eq!((away.status, away.text().as_str()), (503, "circuit_open"));
        let other = town.call(Method::GET, "/v1/other", None).answer().await;
        assert_eq!(other.status, 200, "{}", other.text());
    }
    let largest = 64 * 1024 * 1024;
    for path in ["/v1/enterprise/verifications/batch", "/v1/files"] {
        let call = town.call(Method::POST, path, None);
        let answer = call.media("text/csv", vec![b'x'; largest]).answer().await;
        assert_eq!((answer.status, answer.text()), (200, largest.to_string()), "{path}");
    }
    nginx.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_behind_nginx_come_and_go_and_who_tries_again_notices_nothing() {
    let test = TestDb::postgres(MIGRATIONS).await;
    let redis = PrivateRedis::start().await;
    let files = test.directory().join("files");
    let mut houses = Vec::new();
    for _ in 0..3 {
        let mut house = House::beside(&test);
        house.set("VERZA_REDIS_URL", redis.options().url.expose());
        house.set("VERZA_REDIS_PREFIX", &redis.options().prefix);
        house.set("VERZA_SERVER_TRUSTED_PROXIES", "127.0.0.1");
        house.set("VERZA_SERVER_PUBLIC_URL", "https://verza.example");
        house.set("VERZA_STORAGE_FILES_DIR", &files.display().to_string());
        house.set("VERZA_DATABASE_CONNECTIONS", "6");
        house.start().await;
        houses.push(house);
    }
    let ports = [houses[0].port, houses[1].port, houses[2].port];
    let nginx = Nginx::start(test.directory(), ports).await;
    // Mails are read at the internal listener of one that stays till all have joined.
    let ops_port = houses[0].ops_port;
    let town = nginx.town(ops_port);
    until("nginx", async || {
        let answer = town.call(Method::GET, "/livez", None).attempt().await;
        answer.filter(|answer| answer.is_done()).map(drop)
    })
    .await;
    let mut makers = Makers::begin(|| nginx.town(ops_port), 6).await;
    for round in 0..12 {
        makers.some_more().await;
        let house = &mut houses[round % 3];
        if round % 2 == 0 {
            house.stop().await;
        } else {
            house.kill().await;
        }
        // The others serve on while one is away.
        makers.some_more().await;
        house.start().await;
    }
    makers.finish(&town).await;
    nginx.finish().await;
    for house in houses {
        house.finish().await;
    }
    test.finish().await;
}
