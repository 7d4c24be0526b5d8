//! A PostgreSQL of the run's own, as durable as one in production, and SQL written by hand on it.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls};

use crate::bench::Bench;
use crate::process::{free_address, launcher};
use crate::{Context, Failure, Result};

/// Arguments: the folder of the programs, the data's, the port. PostgreSQL refuses to run as root.
const START: &str = r#"
as=""
if [ "$(id -u)" = 0 ]; then
    user=postgres
    id postgres >/dev/null 2>&1 || user=nobody
    chown -R "$user" "$2" || exit
    as="setpriv --reuid=$user --clear-groups --"
fi
$as "$1/initdb" --pgdata="$2/data" --username=postgres --auth=trust \
    --encoding=UTF8 --locale=C || exit
exec $as "$1/postgres" -D "$2/data" -p "$3" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories="$2" -c max_connections=300 -c shared_buffers=256MB \
    -c max_wal_size=4GB
"#;

/// A server on the core of the servers. Dropping it ends it.
pub struct Postgres {
    child: Child,
    address: SocketAddr,
}

impl Postgres {
    pub fn start(bench: &Bench) -> Result<Postgres> {
        let programs = programs()?;
        let folder = bench.folder("postgres")?;
        // Another user has to get through to it.
        if let Some(scratch) = folder.parent() {
            fs::set_permissions(scratch, fs::Permissions::from_mode(0o711))?;
        }
        let address = free_address()?;
        let log = fs::File::create(folder.join("log"))?;
        let mut launch = launcher(bench.pinning.server);
        launch.extend(["sh", "-c", START, "start"].map(Into::into));
        launch.extend([programs.into(), folder.clone().into()]);
        launch.push(address.port().to_string().into());
        let mut process = Command::new(&launch[0]);
        process.args(&launch[1..]).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = process.spawn().context("PostgreSQL")?;
        let mut postgres = Postgres { child, address };
        postgres.wait(&folder)?;
        Ok(postgres)
    }

    fn wait(&mut self, folder: &Path) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(60);
        let begun = Instant::now();
        let ready = || {
            // The eighth line is the server's state.
            let file = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
            file.lines().nth(7).is_some_and(|state| state.trim() == "ready")
        };
        while !ready() {
            if self.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                return Err(Failure::new(format!("PostgreSQL did not start:\n{log}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// An empty database.
    pub fn create(&self, database: &str) -> Result<()> {
        self.command(&format!("CREATE DATABASE {database}"))
    }

    /// A copy of a database to which nobody is connected.
    pub fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.command(&format!("CREATE DATABASE {to} TEMPLATE {from}"))
    }

    fn command(&self, sql: &str) -> Result<()> {
        let hand = Hand::connect(&self.url("postgres"), 1)?;
        hand.block_on(async |clients| Ok(clients[0].batch_execute(sql).await?))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Immediate shutdown: nothing of it is worth a checkpoint.
        let _ = Command::new("kill").args(["-s", "QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn programs() -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").map(|found| {
        found.flatten().map(|entry| entry.path().join("bin")).filter(|bin| bin.is_dir()).max()
    });
    let found = versions.ok().flatten();
    found.ok_or_else(|| Failure::new("PostgreSQL is not installed below /usr/lib/postgresql"))
}

/// Connections on which SQL is sent as it was written.
pub struct Hand {
    runtime: Runtime,
    clients: Vec<Client>,
}

impl Hand {
    pub fn connect(url: &str, count: usize) -> Result<Hand> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let clients = runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..count {
                let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
                tokio::spawn(connection);
                clients.push(client);
            }
            Ok::<_, Failure>(clients)
        })?;
        Ok(Hand { runtime, clients })
    }

    pub fn block_on<T>(&self, work: impl AsyncFnOnce(&[Client]) -> Result<T>) -> Result<T> {
        self.runtime.block_on(work(&self.clients))
    }

    /// All connections at work for `length`; answers how often `unit` was done in a second.
    pub fn rate<'a, F>(
        &'a self,
        length: Duration,
        unit: impl Fn(&'a Client, usize) -> F,
    ) -> Result<f64>
    where
        F: Future<Output = Result<()>>,
    {
        let unit = &unit;
        let clients = self.clients.iter().enumerate();
        super::rate(
            &self.runtime,
            length,
            clients.map(|(place, client)| move || unit(client, place)),
        )
    }
}
