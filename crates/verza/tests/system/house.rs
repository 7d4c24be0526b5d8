//! The executable itself, started as an operator starts it.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use platform::testing::TestDb;
use tokio::process::{Child, Command};
use verza::config::Config;
use verza::wiring::MIGRATIONS;

use crate::town::Town;

pub const EXECUTABLE: &str = env!("CARGO_BIN_EXE_verza");
const MASTER_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// How long a start over PostgreSQL may take.
const ON_POSTGRES: Duration = Duration::from_secs(10);

/// A data folder, two ports, perhaps a database, and at times a process that serves them.
pub struct House {
    folder: tempfile::TempDir,
    pub port: u16,
    pub ops_port: u16,
    test: Option<TestDb>,
    start_max: Duration,
    settings: Vec<(String, String)>,
    child: Option<Child>,
}

/// A port that nobody listens on. From below the ports that the system hands out by itself: one
/// of those could be taken by an outgoing connection while the server is down.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests run in processes with neighbouring ids: each begins somewhere of its own.
    let first = u16::try_from(std::process::id() * 97 % 12_000).unwrap();
    loop {
        let offset = (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + offset;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A command that sees nothing of our own environment but where programs are.
pub fn bare_command() -> Command {
    let mut command = Command::new(EXECUTABLE);
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

impl House {
    pub fn on_sqlite() -> Self {
        Self::over(None)
    }

    pub async fn on_postgres() -> Self {
        Self::over(Some(TestDb::postgres(MIGRATIONS).await))
    }

    /// One of several over a database that is somebody else's to finish.
    pub fn beside(test: &TestDb) -> Self {
        let mut house = Self::over(None);
        house.set("VERZA_DATABASE_URL", &test.postgres_url().expect("PostgreSQL"));
        house.set("VERZA_SECRETS_MASTER_KEY", MASTER_KEY);
        house.start_max = ON_POSTGRES;
        house
    }

    fn over(test: Option<TestDb>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, ops_port) = (free_port(), free_port());
        let start_max = if test.is_some() { ON_POSTGRES } else { Duration::from_secs(5) };
        let settings = Vec::new();
        let mut house = Self { folder, port, ops_port, test, start_max, settings, child: None };
        house.set("VERZA_SERVER_LISTEN", &format!("127.0.0.1:{port}"));
        house.set("VERZA_SERVER_OPS_LISTEN", &format!("127.0.0.1:{ops_port}"));
        house.set("VERZA_SERVER_RATE_LIMITS", "false");
        house.set("VERZA_LOAD_SHEDDING", "false");
        house.set("VERZA_STORAGE_DATA_DIR", &house.data().display().to_string());
        house.set("VERZA_ACCOUNTS_ARGON2_MEMORY_KIB", "64");
        house.set("VERZA_ACCOUNTS_ARGON2_PASSES", "1");
        house.set("VERZA_LOG_LEVEL", "error");
        if let Some(url) = house.test.as_ref().and_then(TestDb::postgres_url) {
            house.set("VERZA_DATABASE_URL", &url);
            house.set("VERZA_SECRETS_MASTER_KEY", MASTER_KEY);
        }
        house
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The same configuration for a platform in this process.
    pub fn config(&self) -> Config {
        let mut config = Config::default();
        config.server.listen = ([127, 0, 0, 1], self.port).into();
        config.server.ops_listen = ([127, 0, 0, 1], self.ops_port).into();
        config.storage.data_dir = self.data();
        if let Some(url) = self.test.as_ref().and_then(TestDb::postgres_url) {
            config.database.url = Some(url.into());
            config.secrets.master_key = Some(MASTER_KEY.to_owned().into());
        }
        config
    }

    /// How long a start may take.
    pub fn start_bound(&self) -> Duration {
        self.start_max
    }

    pub fn town(&self) -> Town {
        Town::new(
            format!("http://127.0.0.1:{}", self.port),
            format!("http://127.0.0.1:{}", self.ops_port),
        )
    }

    /// The executable over this house's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare_command();
        command
            .stdin(Stdio::null())
            .args(arguments)
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    /// Starts the server and waits until it is ready; answers how long that took.
    pub async fn start(&mut self) -> Duration {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let begun = Instant::now();
        let mut command = self.command(&["serve"]);
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        self.wait_until_ready(begun).await
    }

    async fn wait_until_ready(&mut self, begun: Instant) -> Duration {
        // Where no TLS is in the way.
        let url = format!("http://127.0.0.1:{}/readyz", self.ops_port);
        let http = crate::town::http_client(Duration::from_secs(2));
        let bound = self.start_bound();
        loop {
            let answer = http.get(&url).send().await;
            let took = begun.elapsed();
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                assert!(took <= bound, "ready after {took:?}, which is more than {bound:?}");
                return took;
            }
            let child = self.child.as_mut().expect("a server was started");
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the server ended with {status} at its start:\n{}", self.log());
            }
            assert!(took <= bound, "not ready after {bound:?}:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("stderr.txt")
    }

    /// What the server has written to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The link for the first admin, which the server prints at its first start.
    pub async fn setup_link(&self) -> String {
        crate::town::until("the set-up link", async || {
            self.log().lines().find(|line| line.contains("token=")).map(str::to_owned)
        })
        .await
    }

    /// The memory that is the server's own at this moment, in bytes; not the files that it has
    /// mapped, which the kernel takes back when it likes.
    pub fn own_memory(&self) -> u64 {
        let pid = self.child.as_ref().and_then(Child::id).expect("a server runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let own = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        own.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// SIGKILL: nobody is asked, nothing is flushed.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("a server runs");
        child.start_kill().expect("it was still alive");
        child.wait().await.unwrap();
    }

    /// SIGTERM, as a service manager sends it.
    pub async fn tell_to_stop(&self) {
        let pid = self.child.as_ref().and_then(Child::id).expect("a server runs");
        let told = Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().await;
        assert!(told.unwrap().success());
    }

    /// The end of a server that was told to stop.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a server runs");
        let ended = tokio::time::timeout(Duration::from_secs(40), child.wait()).await;
        let Ok(ended) = ended else { panic!("it does not end within its grace\n{}", self.log()) };
        ended.unwrap()
    }

    pub async fn stop(&mut self) {
        self.tell_to_stop().await;
        let status = self.ended().await;
        assert!(status.success(), "{status}\n{}", self.log());
    }

    pub async fn finish(mut self) {
        if self.child.is_some() {
            self.stop().await;
        }
        if let Some(test) = self.test {
            test.finish().await;
        }
    }
}
