//! Path 15: how long from the start of the process to its first answer, what it takes when idle,
//! and how large it is.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::bare::http::Content;
use crate::bench::Bench;
use crate::failure::{Context, Failure, Result};
use crate::process::{Server, ServerCommand, free_address};
use crate::stats::median;
use crate::verza::people::Person;
use crate::verza::{Verza, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

use super::whoami::{self, By};

const ROWS: u64 = 1_000_000;

const SPEC: Spec = Spec {
    name: "exec to the first 200 of /readyz, 1e6 rows",
    reference: "",
    unit: "ms",
    reference_unit: "ms",
    better: Better::Lower,
    floor: 5.0,
    goal: 2.0,
    durable: false,
};

pub const REDIS: Declared = Declared {
    spec: Spec { reference: "redis-server, exec to PONG", ..SPEC },
    prepare: |bench| {
        let redis = Redis::find(bench)?;
        Ok(Box::new(Start::prepare(bench, Reference::Redis(redis))?))
    },
};

/// The same against the least a server of the same runtime can take, for machines without redis:
/// a harder reference, so the limits of the table stand.
pub const BARE: Declared = Declared {
    spec: Spec { reference: "bare-axum, exec to its first 200", ..SPEC },
    prepare: |bench| {
        let command = bench.bare_command(&Content::fixed("text/plain", "ready"))?;
        Ok(Box::new(Start::prepare(bench, Reference::Bare(command))?))
    },
};

enum Reference {
    Redis(Redis),
    Bare(ServerCommand),
}

struct Redis {
    folder: PathBuf,
    address: SocketAddr,
    core: Option<usize>,
}

impl Redis {
    fn find(bench: &Bench) -> Result<Redis> {
        let found = Command::new("redis-server").arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Err(Failure::new("redis-server is not installed here"));
        }
        let (folder, address) = (bench.folder("redis")?, free_address()?);
        Ok(Redis { folder, address, core: bench.pinning.server })
    }

    /// The time from exec to PONG, in milliseconds.
    fn start(&self) -> Result<f64> {
        let port = self.address.port().to_string();
        let mut words = vec!["redis-server".to_owned()];
        if let Some(core) = self.core {
            words.splice(0..0, ["taskset", "--cpu-list", &core.to_string()].map(str::to_owned));
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["--port", &port, "--save", "", "--bind", "127.0.0.1"]);
        command.current_dir(&self.folder).stdout(Stdio::null());
        let begun = Instant::now();
        let child = Ended(command.spawn().context("redis-server")?);
        while !pongs(self.address) {
            thread::sleep(Duration::from_micros(500));
        }
        let milliseconds = begun.elapsed().as_secs_f64() * 1e3;
        drop(child);
        Ok(milliseconds)
    }
}

/// A process that ends with its holder.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pongs(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    ask().unwrap_or(false)
}

struct Start {
    /// What is started again and again; its folder has the rows.
    command: ServerCommand,
    verza: Option<Verza>,
    people: Vec<Person>,
    reference: Reference,
    scratch: PathBuf,
}

impl Start {
    fn prepare(bench: &Bench, reference: Reference) -> Result<Start> {
        let verza = Verza::start(bench, &bench.folder("start")?)?;
        let people = whoami::sessions(&verza)?;
        let stopped = verza.stop()?;
        let database = stopped.database();
        let owner = store::user(&store::open_to_look(&database)?, &people[0].email)?;
        store::fill(&database, |connection| store::put_credentials(connection, &owner, ROWS))?;
        let verza = Verza::start(bench, &stopped.folder)?;
        let (command, scratch) = (verza.command().clone(), bench.folder("start-size")?);
        Ok(Start { command, verza: Some(verza), people, reference, scratch })
    }

    fn started(&mut self, side: Side) -> Result<f64> {
        if side == Side::Ours {
            // One at a time may use the folder.
            self.verza = match self.verza.take() {
                Some(verza) => Some(verza.restart()?),
                None => return Err(Failure::new("there is no Verza to start")),
            };
        }
        let server = match (&self.reference, side, &self.verza) {
            (_, Side::Ours, Some(verza)) => return Ok(milliseconds(verza.server())),
            (Reference::Redis(redis), ..) => return redis.start(),
            (Reference::Bare(command), ..) => Server::spawn(command)?,
        };
        Ok(milliseconds(&server))
    }

    /// What is resident once ten thousand sessions have been asked for, and some rest.
    fn idle_megabytes(&mut self) -> Result<f64> {
        const REST: Duration = Duration::from_secs(3);
        let verza = self.verza.take().ok_or_else(|| Failure::new("there is no Verza"))?;
        let verza = verza.restart()?;
        // One request a session: ten thousand, which is more than the thousand asked for.
        drop(whoami::ask_all(&verza, &self.people, By::Cookie)?);
        thread::sleep(REST);
        let megabytes = verza.server().memory()?.now_kib as f64 * 1024.0 / 1e6;
        self.verza = Some(verza);
        Ok(megabytes)
    }
}

fn milliseconds(server: &Server) -> f64 {
    server.started_in().as_secs_f64() * 1e3
}

/// The size of the executable without its symbols, in megabytes.
fn stripped_megabytes(program: &Path, scratch: &Path) -> Result<f64> {
    let copy = scratch.join("stripped");
    let status =
        Command::new("strip").arg("-o").arg(&copy).arg(program).status().context("strip")?;
    if !status.success() {
        return Err(Failure::new("strip failed"));
    }
    Ok(fs::metadata(&copy)?.len() as f64 / 1e6)
}

impl Workload for Start {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let begun = Instant::now();
        let mut times = Vec::new();
        while times.is_empty() || begun.elapsed() < length {
            times.push(self.started(side)?);
        }
        let median = median(&times).ok_or_else(|| Failure::new("nothing was started"))?;
        Ok(Slice::of(median))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        let gauge = |name, value, floor, goal| Gauge {
            name,
            unit: "MB",
            value,
            better: Better::Lower,
            floor,
            goal,
        };
        let size = stripped_megabytes(&self.command.program, &self.scratch)?;
        let memory = self.idle_megabytes()?;
        Ok(vec![
            gauge("idle memory after 10 000 sessions were asked for once", memory, 30.0, 18.0),
            gauge("executable, stripped", size, 40.0, 20.0),
        ])
    }
}
