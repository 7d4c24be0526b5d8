//! A private Redis: a free loopback port, nothing kept, gone at the end.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::Service;
use super::binaries::Wanted;
use super::scratch::Scratch;
use super::watched::Watched;
use super::{ATTEMPTS, free_port};
use crate::Result;

const WANTED: Wanted = Wanted {
    service: "Redis",
    programs: &["redis-server"],
    versioned: &[],
    package: "redis-server",
};

/// There is nothing to save, so nothing is lost.
const STOP_SIGNAL: &str = "TERM";

/// How long a busy machine may take to start it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server's own word, in its log: an answer on the port could be somebody else's.
const READY: &str = "Ready to accept connections";

pub(super) fn start() -> Result<Service> {
    let programs = WANTED.folder()?;
    let mut attempt = 1;
    loop {
        match start_on(&programs, free_port()?) {
            // The port was free when it was asked for, but somebody may have been quicker.
            Err(error) if attempt < ATTEMPTS && error.to_string().contains("in use") => {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn start_on(programs: &Path, port: u16) -> Result<Service> {
    let scratch = Scratch::new("redis", None)?;
    let server = programs.join("redis-server");
    let (server, folder) = (server.to_string_lossy().into_owned(), scratch.path().to_owned());
    let (folder, port_text) = (folder.to_string_lossy().into_owned(), port.to_string());
    let command = [
        &server,
        "--port",
        &port_text,
        "--bind",
        "127.0.0.1",
        "--dir",
        &folder,
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
    ];
    let process = Watched::start(scratch, STOP_SIGNAL, &command)?;
    wait_until_ready(&process)?;
    Ok(Service {
        name: "Redis",
        variable: "VERZA_TEST_REDIS_URL",
        url: format!("redis://127.0.0.1:{port}/"),
        process,
    })
}

fn wait_until_ready(process: &Watched) -> Result<()> {
    let begun = Instant::now();
    loop {
        if process.has_ended() {
            return Err(format!("Redis did not start:\n{}", process.log_tail()).into());
        }
        if process.log_tail().contains(READY) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            let log = process.log_tail();
            return Err(format!("Redis was not ready in {seconds} s:\n{log}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}
