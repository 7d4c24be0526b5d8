//! The test harness: a world whose clock is moved by hand, and for each test a database of its
//! own, on both engines from the same code.
//!
//! PostgreSQL is the server that `VERZA_TEST_POSTGRES_URL` names; `cargo xtask test` starts one.
//! Without it the PostgreSQL half of a test fails: nothing is skipped silently. So it is with Redis
//! and `VERZA_TEST_REDIS_URL`; tests that stop it start one of their own ([`PrivateRedis`]).
#![expect(clippy::expect_used, reason = "a harness that cannot be set up fails its test")]

pub mod vectors;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kernel::{Clock, Random, Timestamp, World};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::db::{Db, Migrations, PostgresOptions, Read, Row, SqliteOptions, Tx};
use crate::fleet::{Redis, RedisOptions};

/// How much a test of chance plays: `usual`, or `VERZA_TEST_SCALE` times as much where somebody
/// has the time.
#[expect(clippy::disallowed_methods, reason = "the harness is told how long it may take")]
pub fn scaled(usual: usize) -> usize {
    let scale = std::env::var("VERZA_TEST_SCALE").ok();
    usual * scale.map_or(1, |text| text.parse().expect("VERZA_TEST_SCALE is a number"))
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// 2026-01-01T00:00:00Z.
    pub const START: Timestamp = Timestamp::from_seconds(1_767_225_600);

    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(Self::START.micros())))
    }

    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).expect("a test's pause fits");
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Chance that repeats: the same bytes in the same order for the same seed.
#[derive(Debug)]
pub struct SeededRandom {
    seed: u64,
    drawn: AtomicU64,
}

impl SeededRandom {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { seed, drawn: AtomicU64::new(0) })
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let turn = self.drawn.fetch_add(1, Ordering::Relaxed);
            let block = Sha256::digest([self.seed.to_le_bytes(), turn.to_le_bytes()].concat());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// A database for one test, gone with it.
pub struct TestDb {
    pub db: Db,
    pub clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
    /// The server's address and the database to drop at the end.
    dropping: Option<(tokio_postgres::Config, String)>,
}

impl TestDb {
    /// On the embedded store.
    pub async fn sqlite(migrations: &[Migrations]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let (world, clock) = world();
        let options = SqliteOptions::at(directory.path().join("test.db"));
        let db = Db::open_sqlite(&options, world).expect("the test's database opens");
        db.migrate(migrations).await.expect("the migrations apply");
        Self { db, clock, directory, dropping: None }
    }

    /// On PostgreSQL, from a template that is migrated once for all tests.
    pub async fn postgres(migrations: &[Migrations]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let (world, clock) = world();
        let (config, name) = postgres::create(migrations).await;
        let options = postgres::options(&config, &name);
        let db = Db::connect_postgres(&options, world).expect("the test's database connects");
        Self { db, clock, directory, dropping: Some((config, name)) }
    }

    /// A folder that goes with the test.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    pub fn is_postgres(&self) -> bool {
        self.dropping.is_some()
    }

    /// How to reach the same PostgreSQL database once more; none on the embedded store.
    pub fn postgres_options(&self) -> Option<PostgresOptions> {
        let (config, name) = self.dropping.as_ref()?;
        Some(postgres::options(config, name))
    }

    /// The same database through a second pool, in the same world: another replica, as it were.
    /// Of the embedded store there is only one.
    pub fn replica(&self) -> Db {
        match self.postgres_options() {
            Some(options) => Db::connect_postgres(&options, self.db.world().clone())
                .expect("the test's database connects"),
            None => self.db.clone(),
        }
    }

    /// Where this test's PostgreSQL database is, for a platform that connects by itself.
    pub fn postgres_url(&self) -> Option<String> {
        let (config, name) = self.dropping.as_ref()?;
        Some(postgres::url(config, name))
    }

    /// The SQLite file.
    pub fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("test.db")
    }

    /// Comes back when nothing that was cut short goes on in the background.
    pub async fn at_rest(&self) {
        if self.is_postgres() {
            let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_stat_activity
                       WHERE datname = current_database() AND pid <> pg_backend_pid()
                             AND state <> 'idle'";
            eventually("the server has rolled back", async || {
                self.db.one(sql, &[], |row| row.take::<i64>()).await.expect("an answer") == 0
            })
            .await;
        }
        // Comes after whatever waited for the one writer.
        let nothing =
            |tx: Tx| async move { Ok(tx.execute("DELETE FROM jobs WHERE 1 = 0", &[]).await?) };
        self.db.run("nothing", nothing).await.expect("a transaction");
    }

    /// Closes and drops the database. A test that panics leaves its database behind; the server
    /// goes with the test run.
    pub async fn finish(self) {
        self.db.close().await;
        if let Some((config, name)) = self.dropping {
            postgres::drop_database(&config, &name).await;
        }
    }
}

/// A world that repeats itself: the same clock and the same chance in every run.
pub fn world() -> (World, Arc<ManualClock>) {
    let clock = ManualClock::new();
    (World::new(clock.clone(), SeededRandom::new(7)), clock)
}

/// The Redis of the tests, under a prefix of this test's own.
#[expect(clippy::disallowed_methods, reason = "the harness is told where the server is")]
pub fn redis() -> RedisOptions {
    let url = std::env::var("VERZA_TEST_REDIS_URL").unwrap_or_else(|_| {
        panic!(
            "VERZA_TEST_REDIS_URL is not set. Run `cargo xtask test`, or `cargo xtask services` \
             and what it prints."
        )
    });
    let prefix = format!("test-{}", hex::encode(crate::world::system().random::<8>()));
    RedisOptions { prefix, timeout: Duration::from_secs(2), ..RedisOptions::at(url) }
}

/// A Redis server of one test, to be stopped and started again.
pub struct PrivateRedis {
    port: u16,
    directory: tempfile::TempDir,
    server: Option<std::process::Child>,
}

impl PrivateRedis {
    /// Starts a server that keeps nothing, on a port that nobody uses.
    pub async fn start() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let directory = tempfile::tempdir().expect("a temporary folder");
        let mut redis = Self { port, directory, server: None };
        redis.start_again().await;
        redis
    }

    /// How to reach it.
    pub fn options(&self) -> RedisOptions {
        let url = format!("redis://127.0.0.1:{}/", self.port);
        RedisOptions { timeout: Duration::from_secs(2), ..RedisOptions::at(url) }
    }

    /// Kills it: what it held is gone.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("the Redis of the test ran");
            server.wait().expect("it ended");
        }
    }

    /// Starts it on the same port, and waits until it answers.
    pub async fn start_again(&mut self) {
        let server = std::process::Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--daemonize", "no"])
            .current_dir(self.directory.path())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("redis-server is installed: `apt-get install redis-server`");
        self.server = Some(server);
        let redis = Redis::new(&self.options(), crate::world::system()).expect("a URL");
        eventually("redis-server answers", async || redis.version().await.is_ok()).await;
    }

    /// Sends one command, its words in order.
    pub async fn command(&self, words: &[&str]) -> ::redis::Value {
        let client = ::redis::Client::open(self.options().url.expose().as_str()).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await;
        let mut connection = connection.expect("the Redis of the test answers");
        let mut command = ::redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query_async(&mut connection).await.expect("a command")
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks again and again until it is so: for what happens in the background, in real time.
pub async fn eventually(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(std::time::Instant::now() < deadline, "{what}: it did not come to that");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A router that is served on a port until it is stopped or dropped.
#[derive(Debug)]
pub struct Serving {
    task: tokio::task::JoinHandle<()>,
    stopping: Arc<Notify>,
}

impl Serving {
    /// Serves in the background.
    #[must_use]
    pub fn start(listener: TcpListener, router: axum::Router) -> Self {
        let stopping = Arc::new(Notify::new());
        let stop = Arc::clone(&stopping);
        let task = tokio::spawn(async move {
            let until = async move { stop.notified().await };
            axum::serve(listener, router).with_graceful_shutdown(until).await.expect("served");
        });
        Self { task, stopping }
    }

    /// Refuses connections from now on, and closes those there were: a client that kept one gets
    /// no answer over it either.
    pub async fn stop(&mut self) {
        self.stopping.notify_one();
        if !self.task.is_finished() {
            (&mut self.task).await.expect("it ends");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The mail server that `VERZA_TEST_SMTP_URL` names; `cargo xtask test` starts one.
#[derive(Debug, Clone)]
pub struct TestSmtp {
    pub user: String,
    pub password: String,
    /// With STARTTLS and a login.
    pub starttls_port: u16,
    /// With TLS from the first byte and a login.
    pub tls_port: u16,
    /// With neither.
    pub plain_port: u16,
    folder: std::path::PathBuf,
}

impl TestSmtp {
    #[expect(clippy::disallowed_methods, reason = "the harness is told where the server is")]
    pub fn find() -> Self {
        let url = std::env::var("VERZA_TEST_SMTP_URL").unwrap_or_else(|_| {
            panic!(
                "VERZA_TEST_SMTP_URL is not set. Run `cargo xtask test`, or \
                 `cargo xtask services` and what it prints."
            )
        });
        let parse = || {
            let (login, rest) = url.strip_prefix("smtp://")?.split_once("@localhost:")?;
            let (user, password) = login.split_once(':')?;
            let (port, query) = rest.split_once('?')?;
            let query: std::collections::HashMap<_, _> =
                form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            Some(Self {
                user: user.to_owned(),
                password: password.to_owned(),
                starttls_port: port.parse().ok()?,
                tls_port: query.get("tls")?.parse().ok()?,
                plain_port: query.get("plain")?.parse().ok()?,
                folder: query.get("folder")?.into(),
            })
        };
        parse().expect("VERZA_TEST_SMTP_URL is what `cargo xtask services` prints")
    }

    /// The certificate that the server has made for itself.
    pub fn certificate(&self) -> std::path::PathBuf {
        self.folder.join("cert.pem")
    }

    /// The mails that have come for an address, oldest first.
    pub fn mails(&self, to: &str) -> Vec<String> {
        let folder = self.folder.join("mails").join(to.replace('@', "%40"));
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort_unstable();
        paths.iter().map(|path| std::fs::read_to_string(path).expect("a mail")).collect()
    }
}

mod postgres {
    use std::time::Duration;

    use tokio_postgres::{Client, Config, NoTls};

    use super::{Digest, Sha256};
    use crate::db::{Db, Migrations, PostgresOptions};

    #[expect(clippy::disallowed_methods, reason = "the harness is told where the server is")]
    fn server() -> Config {
        let url = std::env::var("VERZA_TEST_POSTGRES_URL").unwrap_or_else(|_| {
            panic!(
                "VERZA_TEST_POSTGRES_URL is not set. Run `cargo xtask test`, or \
                 `cargo xtask services` and what it prints."
            )
        });
        url.parse().expect("VERZA_TEST_POSTGRES_URL is a PostgreSQL URL")
    }

    async fn client(config: &Config) -> Client {
        let (client, connection) =
            config.connect(NoTls).await.expect("the PostgreSQL server of the tests answers");
        tokio::spawn(connection);
        client
    }

    pub(super) fn url(config: &Config, database: &str) -> String {
        let host = match config.get_hosts().first() {
            Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
            _ => "127.0.0.1".to_owned(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let user = config.get_user().unwrap_or("postgres");
        let password = config
            .get_password()
            .map(|password| format!(":{}", String::from_utf8_lossy(password)))
            .unwrap_or_default();
        format!("postgres://{user}{password}@{host}:{port}/{database}?sslmode=disable")
    }

    pub(super) fn options(config: &Config, database: &str) -> PostgresOptions {
        let mut options = PostgresOptions::at(url(config, database));
        options.connections = 8;
        options.wait_timeout = Duration::from_secs(60);
        options
    }

    /// Makes a database from the template of these migrations, which the first comer makes.
    pub(super) async fn create(migrations: &[Migrations]) -> (Config, String) {
        let config = server();
        let admin = client(&config).await;
        let sql = crate::db::in_postgres_words(migrations).expect("the migrations are portable");
        // And of what makes the checksums: the same tables in other words are another template.
        let texts = migrations.iter().flat_map(|context| context.files).map(|file| file.sql);
        let digest = hex::encode(Sha256::digest(sql + &texts.collect::<String>()));
        let template = format!("verza_template_{}", &digest[..16]);
        let nonce = uuid::Uuid::from_bytes(crate::world::system().random()).simple();
        let name = format!("verza_test_{nonce}");

        // One at a time: a template cannot be copied while somebody is connected to it.
        admin.batch_execute("SELECT pg_advisory_lock(4711)").await.expect("the lock");
        let known = admin
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&template])
            .await
            .expect("the catalog answers");
        if known.is_none() {
            let making = format!("{template}_making");
            let sql = format!("DROP DATABASE IF EXISTS {making}");
            admin.batch_execute(&sql).await.expect("the old template goes");
            admin.batch_execute(&format!("CREATE DATABASE {making}")).await.expect("a template");
            let options = PostgresOptions::at(url(&config, &making));
            let db = Db::connect_postgres(&options, crate::world::system()).expect("connects");
            db.migrate(migrations).await.expect("the migrations apply");
            db.close().await;
            disconnected(&admin, &making).await;
            let sql = format!("ALTER DATABASE {making} RENAME TO {template}");
            admin.batch_execute(&sql).await.expect("the template is named");
        }
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        admin.batch_execute(&sql).await.expect("the test's database is made");
        admin.batch_execute("SELECT pg_advisory_unlock(4711)").await.expect("the lock");
        (config, name)
    }

    async fn disconnected(admin: &Client, database: &str) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        while !admin.query(sql, &[&database]).await.expect("the catalog answers").is_empty() {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn drop_database(config: &Config, name: &str) {
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        client(config).await.batch_execute(&sql).await.expect("the test's database goes");
    }
}

/// The columns and indexes of a database in words that are the same on both engines, sorted; without
/// the indexes of words, which each engine keeps in its own way.
pub async fn schema(db: &Db) -> Vec<String> {
    let (columns, indexes) = if db.is_shared() {
        (
            "SELECT CAST(table_name AS TEXT), ordinal_position - 1, CAST(column_name AS TEXT),
                    CASE data_type WHEN 'bigint' THEN 'INTEGER' WHEN 'boolean' THEN 'INTEGER'
                        WHEN 'uuid' THEN 'BLOB' WHEN 'bytea' THEN 'BLOB' WHEN 'text' THEN 'TEXT'
                        ELSE CAST(data_type AS TEXT) END, is_nullable = 'NO'
             FROM information_schema.columns WHERE table_schema = current_schema()",
            "SELECT CAST(name.relname AS TEXT), CAST(kept.relname AS TEXT), indisunique
             FROM pg_index JOIN pg_class AS name ON name.oid = indexrelid
                 JOIN pg_class AS kept ON kept.oid = indrelid
                 JOIN pg_am AS method ON method.oid = name.relam AND method.amname = 'btree'
             WHERE kept.relnamespace = CAST(CAST(current_schema() AS TEXT) AS regnamespace)
                 AND NOT indisprimary",
        )
    } else {
        (
            "SELECT kept.name, found.cid, found.name, found.type, found.\"notnull\"
             FROM pragma_table_list AS kept, pragma_table_info(kept.name) AS found
             WHERE kept.schema = 'main' AND kept.type = 'table'
                 AND kept.name NOT LIKE 'sqlite_%'",
            "SELECT found.name, kept.name, found.\"unique\"
             FROM pragma_table_list AS kept, pragma_index_list(kept.name) AS found
             WHERE kept.schema = 'main' AND kept.type = 'table' AND found.origin = 'c'",
        )
    };
    let read = |row: &Row<'_>| {
        let (table, place): (String, i64) = (row.take()?, row.take()?);
        let (column, kind): (String, String) = (row.take()?, row.take()?);
        let needed = if row.take::<bool>()? { " NOT NULL" } else { "" };
        Ok(format!("{table} {place:02} {column} {kind}{needed}"))
    };
    let mut lines = db.all(columns, &[], read).await.expect("the catalog answers");
    let read = |row: &Row<'_>| {
        let (index, table): (String, String) = (row.take()?, row.take()?);
        let unique = if row.take::<bool>()? { " UNIQUE" } else { "" };
        Ok(format!("{table} INDEX {index}{unique}"))
    };
    lines.extend(db.all(indexes, &[], read).await.expect("the catalog answers"));
    lines.sort_unstable();
    lines
}

/// Writes each test once and runs it on both engines:
///
/// ```ignore
/// platform::on_both_engines! { MIGRATIONS;
///     async fn a_file_can_be_read_back(t: &TestDb) { ... }
/// }
/// ```
#[macro_export]
macro_rules! on_both_engines {
    ($migrations:expr; $($(#[$meta:meta])* async fn $name:ident($t:ident: &TestDb) $body:block)*) => {
        $(mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[$meta])*
            async fn play($t: &$crate::testing::TestDb) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                let test = $crate::testing::TestDb::sqlite($migrations).await;
                play(&test).await;
                test.finish().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                let test = $crate::testing::TestDb::postgres($migrations).await;
                play(&test).await;
                test.finish().await;
            }
        })*
    };
}

/// Every row of every table as a text, by table: equal before and after what had no effect. Without
/// the indexes of words, which follow the rows.
pub async fn contents(db: &Db) -> BTreeMap<String, Vec<String>> {
    let (tables, row) = if db.is_shared() {
        (
            "SELECT CAST(tablename AS TEXT), 'CAST(kept AS TEXT)' FROM pg_tables
             WHERE schemaname = current_schema()",
            "AS kept",
        )
    } else {
        (
            "SELECT kept.name, (SELECT group_concat('quote(\"' || name || '\")', ' || '', '' || ')
                                FROM pragma_table_info(kept.name))
             FROM pragma_table_list AS kept
             WHERE kept.schema = 'main' AND kept.type = 'table'
                 AND kept.name NOT LIKE 'sqlite_%'",
            "",
        )
    };
    let read = |row: &Row<'_>| Ok((row.take::<String>()?, row.take::<String>()?));
    let mut contents = BTreeMap::new();
    for (table, text) in db.all(tables, &[], read).await.expect("the catalog answers") {
        let sql = format!("SELECT {text} FROM \"{table}\" {row}");
        let rows = db.all(&sql, &[], |row| row.take::<String>()).await;
        let mut rows = rows.expect("the table can be read");
        rows.sort_unstable();
        contents.insert(table, rows);
    }
    contents
}
