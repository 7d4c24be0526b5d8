//! Verza as the thing that is measured: an instance on a data folder, people with sessions, and
//! its database file while it is stopped.

pub mod ledger;
pub mod market;
pub mod people;
pub mod store;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::bench::Bench;
use crate::load::{Driven, Generator};
use crate::process::{Server, ServerCommand, VerzaOptions, free_address};
use crate::workload::Slice;
use crate::{Context, Failure, Result};

/// A running Verza, and where it keeps what it knows.
///
/// It runs as a user runs it, but for five settings: passwords are hashed cheaply (how long a hash
/// takes is path 1's matter, and the people have to sign in somehow), nobody is rate-limited
/// (thousands of users share one address here), requests are not logged, answers do not say how
/// long they took, and no quota of storage is reached.
pub struct Verza {
    server: Server,
    /// What it was started by.
    command: ServerCommand,
    folder: PathBuf,
    ops: SocketAddr,
}

impl Verza {
    /// Starts on a data folder, new or not, and waits until it is ready.
    pub fn start(bench: &Bench, folder: &Path) -> Result<Verza> {
        Verza::start_with(bench, folder, |options| options)
    }

    /// The same with passwords hashed as users have them hashed.
    pub fn start_hashing(bench: &Bench, folder: &Path) -> Result<Verza> {
        Verza::start_with(bench, folder, |options| {
            options
                .env("VERZA_ACCOUNTS_ARGON2_MEMORY_KIB", "19456")
                .env("VERZA_ACCOUNTS_ARGON2_PASSES", "2")
        })
    }

    /// The same with other settings; of two for one name the later counts.
    pub fn start_with(
        bench: &Bench,
        folder: &Path,
        change: impl FnOnce(VerzaOptions) -> VerzaOptions,
    ) -> Result<Verza> {
        let (address, ops) = (free_address()?, free_address()?);
        let options = measured(VerzaOptions::serve(address), folder, ops)
            .env("VERZA_SERVER_LISTEN", address.to_string());
        let command = bench.verza_command(&change(options))?;
        let server = Server::spawn(&command)?;
        Ok(Verza { server, command, folder: folder.to_owned(), ops })
    }

    /// Starts it once more on the same folder and addresses, after it was killed.
    pub fn restart(self) -> Result<Verza> {
        let Verza { server, command, folder, ops } = self;
        server.kill_hard()?;
        let server = Server::spawn(&command)?;
        Ok(Verza { server, command, folder, ops })
    }

    /// Kills it, puts a copy of another folder in the place of its own, and starts it again.
    pub fn reset(self, template: &Path) -> Result<Verza> {
        let Verza { server, command, folder, ops } = self;
        server.kill_hard()?;
        fs::remove_dir_all(&folder)?;
        copy_folder(template, &folder)?;
        let server = Server::spawn(&command)?;
        Ok(Verza { server, command, folder, ops })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Where the operators' listener is: metrics, and the mails.
    pub fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// What it was started by.
    pub fn command(&self) -> &ServerCommand {
        &self.command
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The embedded database's file.
    pub fn database(&self) -> PathBuf {
        database(&self.folder)
    }

    /// Stops it in order: afterwards the database is one file, without a log beside it.
    pub fn stop(self) -> Result<Stopped> {
        let Verza { server, command, folder, .. } = self;
        let status = server.stop()?;
        if status.success() {
            let ServerCommand { program, environment, .. } = command;
            return Ok(Stopped { folder, program, environment });
        }
        Err(Failure::new(format!("Verza ended with {status}")))
    }

    /// Kills it without a word in `after`, from another thread, while this one goes on.
    pub fn kill_in(&self, after: Duration) -> thread::JoinHandle<()> {
        let pid = self.server.pid().to_string();
        thread::spawn(move || {
            thread::sleep(after);
            // Should it fail, the server lives on and the caller sees that.
            let _ = Command::new("kill").args(["-s", "KILL", &pid]).status();
        })
    }

    /// Physical commits since the start, those of its background work among them: an upper bound
    /// of the syncs, because a commit that wrote nothing does not sync.
    pub fn commits(&self) -> Result<u64> {
        const NAME: &str = "db_group_commit_members_count ";
        let request = crate::Template::new("GET", self.ops).request("/metrics", None, b"");
        let answer = Generator::connect(self.ops, 0)?.call(&request)?;
        let text = String::from_utf8_lossy(&answer.body);
        let value = text.lines().find_map(|line| line.strip_prefix(NAME));
        let value = value.ok_or_else(|| Failure::new("the metrics count no commits"))?;
        value.trim().parse().context("the metrics")
    }

    /// What a request costs, in microseconds of the processor time that the kernel counts for the
    /// process: neither the disk nor the generator is in it.
    pub fn cost(&self, driven: &mut Driven, length: Duration) -> Result<Slice> {
        let before = self.server.cpu_seconds()?;
        let load = driven.run(length)?;
        let seconds = self.server.cpu_seconds()? - before;
        let measure = seconds * 1e6 / load.answers as f64;
        Ok(Slice { measure, ..Slice::rate(load) })
    }

    /// Bytes the process had written to disk, as the kernel counts them.
    pub fn bytes_written(&self) -> Result<u64> {
        let path = format!("/proc/{}/io", self.server.pid());
        let text = fs::read_to_string(&path).context(&path)?;
        let value = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        let value = value.ok_or_else(|| Failure::new("/proc/<pid>/io is strange"))?;
        value.trim().parse().context(path)
    }
}

/// The settings of every process that is measured; see [`Verza`].
pub fn measured(options: VerzaOptions, folder: &Path, ops: SocketAddr) -> VerzaOptions {
    options
        .env("VERZA_STORAGE_DATA_DIR", folder)
        .env("VERZA_STORAGE_QUOTA_MB", "10000000")
        .env("VERZA_SERVER_OPS_LISTEN", ops.to_string())
        // Tokens name the issuer: so they are good at another port as well.
        .env("VERZA_SERVER_PUBLIC_URL", "http://localhost:8080")
        .env("VERZA_SERVER_RATE_LIMITS", "false")
        // For developers, and on by itself only where clients are on this machine.
        .env("VERZA_SERVER_TIMING", "false")
        .env("VERZA_ACCOUNTS_ARGON2_MEMORY_KIB", "64")
        .env("VERZA_ACCOUNTS_ARGON2_PASSES", "1")
        .env("VERZA_LOG_LEVEL", "warn")
}

/// What an instance left.
pub struct Stopped {
    pub folder: PathBuf,
    program: PathBuf,
    /// Its settings: where its database is.
    environment: Vec<(String, OsString)>,
}

impl Stopped {
    pub fn database(&self) -> PathBuf {
        database(&self.folder)
    }

    /// Asks `verza ledger check` whether the ledger's invariants hold.
    pub fn check_ledger(&self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["ledger", "check"]).envs(self.environment.iter().cloned());
        let output = command.output().context("verza ledger check")?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(Failure::new(format!("verza ledger check: {}", String::from_utf8_lossy(&said))))
    }
}

/// The database file of a data folder.
pub fn database(folder: &Path) -> PathBuf {
    folder.join("verza.db")
}

/// A copy of a stopped instance's folder.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    // Copies of the same files by the same program that an operator would use.
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().context("cp")?;
    if status.success() { Ok(()) } else { Err(Failure::new("the data folder was not copied")) }
}
