//! A private PostgreSQL: fresh data, a free loopback port, no durability, gone at the end.

use std::fs;
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
    service: "PostgreSQL",
    programs: &["initdb", "postgres"],
    versioned: &["/usr/lib/postgresql"],
    package: "postgresql",
};

/// PostgreSQL refuses to run as root. The package brings the first of these.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// Arguments: the folder of the programs, the scratch folder, the port.
///
/// Making the data folder is part of the watched command, so that an interruption in the middle
/// of it cleans up as well. The data does not have to survive anything, so nothing is synced.
/// Locale C sorts by bytes, as SQLite does: an order that depends on more shows in a test.
const START: &str = r#"
"$1/initdb" --pgdata="$2/data" --username=postgres --auth=trust --no-sync \
    --encoding=UTF8 --locale=C || exit
exec "$1/postgres" -D "$2/data" -p "$3" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories="$2" -c max_connections=300 -c timezone=UTC \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off
"#;

/// Immediate shutdown: nothing of this server is worth a checkpoint.
const STOP_SIGNAL: &str = "QUIT";

/// How long a busy machine may take to make a data folder and start.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn start() -> Result<Service> {
    let programs = WANTED.folder()?;
    let mut attempt = 1;
    loop {
        match start_on(&programs, free_port()?) {
            // The port was free when it was asked for, but somebody may have been quicker.
            Err(error) if attempt < ATTEMPTS && error.to_string().contains("already in use") => {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn start_on(programs: &Path, port: u16) -> Result<Service> {
    let scratch = Scratch::new("postgres", Some(&USERS))?;
    let folder = scratch.path().to_owned();
    let words = [programs, &folder].map(Path::to_string_lossy);
    let port_text = port.to_string();
    let command = ["sh", "-c", START, "start", &words[0], &words[1], &port_text];
    let process = Watched::start(scratch, STOP_SIGNAL, &command)?;
    wait_until_ready(&process)?;
    Ok(Service {
        name: "PostgreSQL",
        variable: "VERZA_TEST_POSTGRES_URL",
        url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        process,
    })
}

/// Waits for the server's own word, which stands in a file of its data folder: an answer on the
/// port could be somebody else's.
fn wait_until_ready(process: &Watched) -> Result<()> {
    let begun = Instant::now();
    let file = process.folder().join("data/postmaster.pid");
    loop {
        if process.has_ended() {
            return Err(format!("PostgreSQL did not start:\n{}", process.log_tail()).into());
        }
        if fs::read_to_string(&file).is_ok_and(|text| says_ready(&text)) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            let log = process.log_tail();
            return Err(format!("PostgreSQL was not ready in {seconds} s:\n{log}").into());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The eighth line of `postmaster.pid` is the server's state.
fn says_ready(postmaster_pid: &str) -> bool {
    postmaster_pid.lines().nth(7).is_some_and(|state| state.trim() == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_state_line_makes_it_ready() {
        let starting = "7\n/data\n0\n5555\n/tmp\n127.0.0.1\n  1  2\nstarting\n";
        assert!(!says_ready(starting));
        assert!(says_ready(&starting.replace("starting", "ready   ")));
        assert!(!says_ready("ready"));
    }
}
