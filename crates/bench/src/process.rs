//! Servers as child processes: started on their core, watched, and ended hard.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Context, Failure, Result};

/// How to start a server and to know that it is ready.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(String, OsString)>,
    /// Where it will listen.
    pub address: SocketAddr,
    /// A path that answers 200 once the server works.
    pub ready_path: String,
    /// What it prints goes here.
    pub log: PathBuf,
    /// The core it is bound to.
    pub core: Option<usize>,
}

/// How to start Verza: `bench.spawn_verza(&VerzaOptions::serve(address).env(...))`.
#[derive(Clone, Debug)]
pub struct VerzaOptions {
    pub arguments: Vec<OsString>,
    pub environment: Vec<(String, OsString)>,
    pub address: SocketAddr,
    pub ready_path: String,
}

impl VerzaOptions {
    /// `verza serve`, ready when `/readyz` answers 200 on `address`. That it listens there has to
    /// be said in its environment or arguments.
    pub fn serve(address: SocketAddr) -> VerzaOptions {
        VerzaOptions {
            arguments: vec!["serve".into()],
            environment: Vec::new(),
            address,
            ready_path: "/readyz".to_owned(),
        }
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> VerzaOptions {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> VerzaOptions {
        self.arguments.push(argument.into());
        self
    }
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    pub now_kib: u64,
    pub peak_kib: u64,
}

/// The memory of a process that is its own, in KiB: without the files that it has mapped, which the
/// kernel takes back when it likes.
pub fn own_memory(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).context(path)?;
    let own = kibibytes(&status, "RssAnon:");
    own.ok_or_else(|| Failure::new("the server has no memory any more"))
}

/// Looks at a process's own memory every few milliseconds.
pub struct Watch {
    ends: Arc<AtomicBool>,
    watching: thread::JoinHandle<Result<u64>>,
}

impl Watch {
    pub fn begin(pid: u32) -> Watch {
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let watching = thread::spawn(move || {
            let mut most = own_memory(pid)?;
            while !told.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
                most = most.max(own_memory(pid)?);
            }
            Ok(most)
        });
        Watch { ends, watching }
    }

    /// The most that it had, in KiB.
    pub fn end(self) -> Result<u64> {
        self.ends.store(true, Ordering::Relaxed);
        self.watching.join().map_err(|_| Failure::new("nobody has watched the memory"))?
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    address: SocketAddr,
    started_in: Duration,
    log: PathBuf,
}

impl Server {
    /// Starts the server and waits until it is ready.
    ///
    /// It dies with the thread that calls this, where the system can arrange that.
    pub fn spawn(command: &ServerCommand) -> Result<Server> {
        let log = File::create(&command.log).context("the server's log")?;
        let mut launch = launcher(command.core);
        launch.push(command.program.clone().into());
        let mut process = Command::new(&launch[0]);
        process.args(&launch[1..]).args(&command.arguments);
        // A developer's own settings must not colour the measurement.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VERZA_") {
                process.env_remove(&name);
            }
        }
        process.envs(command.environment.iter().map(|(name, value)| (name, value)));
        process.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let begun = Instant::now();
        let child = process.spawn().context(command.program.display())?;
        let (address, log) = (command.address, command.log.clone());
        let mut server = Server { child, address, started_in: Duration::ZERO, log };
        server.await_ready(&command.ready_path, begun)?;
        server.started_in = begun.elapsed();
        Ok(server)
    }

    fn await_ready(&mut self, path: &str, begun: Instant) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(60);
        // Short, because the time to readiness is itself a measurement.
        const PAUSE: Duration = Duration::from_micros(500);
        while !answers(self.address, path) {
            if let Some(status) = self.child.try_wait()? {
                let log = self.log_tail();
                return Err(Failure::new(format!("the server ended ({status}):\n{log}")));
            }
            if begun.elapsed() > PATIENCE {
                let log = self.log_tail();
                return Err(Failure::new(format!("{path} never answered 200:\n{log}")));
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's own process id: what it is launched through replaces itself by it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// From the start of the process to its first 200.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    pub fn memory(&self) -> Result<Memory> {
        let status = self.proc_file("status")?;
        let of = |name| kibibytes(&status, name);
        let found = of("VmRSS:").zip(of("VmHWM:"));
        let found = found.map(|(now_kib, peak_kib)| Memory { now_kib, peak_kib });
        found.ok_or_else(|| Failure::new("the server has no memory any more"))
    }

    /// The processor time it has used so far, to 10 ms.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds(self.pid())
    }

    fn proc_file(&self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.pid());
        fs::read_to_string(&path).context(path)
    }

    /// Ends it as a power cut would: no handler runs.
    pub fn kill_hard(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) -> Result<ExitStatus> {
        const PATIENCE: Duration = Duration::from_secs(60);
        Command::new("kill").args(["-s", "TERM", &self.pid().to_string()]).status()?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(Failure::new("the server does not stop when asked to"))
    }

    /// The last lines it printed.
    pub fn log_tail(&self) -> String {
        const LINES: usize = 25;
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time that a process has used so far, to 10 ms.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).context(path)?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| Failure::new("/proc/<pid>/stat is strange"))?;
    // Linux shows user space a hundred ticks a second, whatever its own clock does.
    Ok(ticks as f64 / 100.0)
}

/// A loopback address nobody listens on at this moment.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// The programs a server is started through: each prepares its own process and then becomes the
/// next. Both belong to util-linux; without them the server runs unbound.
pub(crate) fn launcher(core: Option<usize>) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    if Path::new("/usr/bin/setpriv").exists() {
        words.extend(["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
    }
    if let Some(core) = core {
        words.extend(["taskset", "--cpu-list"].map(OsString::from));
        words.push(core.to_string().into());
    }
    words
}

/// Whether a GET is answered with 200.
fn answers(address: SocketAddr, path: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(&start == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system ticks; the name in parentheses may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let (user, system) = (fields.get(11)?, fields.get(12)?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_by_name_and_place() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(1024));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4 1 0 0 0 150 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(200));
    }

    #[test]
    fn a_server_that_ends_at_once_shows_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let command = ServerCommand {
            program: "/bin/sh".into(),
            arguments: ["-c", "echo no room; exit 4"].map(OsString::from).to_vec(),
            environment: Vec::new(),
            address: free_address().unwrap(),
            ready_path: "/readyz".to_owned(),
            log: folder.path().join("log"),
            core: None,
        };
        let error = Server::spawn(&command).err().unwrap().to_string();
        assert!(error.contains("no room") && error.contains("exit status: 4"), "{error}");
    }
}
