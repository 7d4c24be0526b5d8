//! The services the tests speak to, started for one run and gone after it.
//!
//! To add one: a module with a `start` that finds its binaries (`binaries`), prepares a scratch
//! folder (`scratch`), hands both to a `Watched` process and returns a [`Service`]; then a row in
//! `STARTERS`.

mod binaries;
mod postgres;
mod redis;
mod scratch;
mod smtp;
mod watched;

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use crate::{Result, unknown_argument, wants_help};
use binaries::Wanted;
use watched::Watched;

const HELP: &str = "\
Start the services the tests need, print the environment that leads to them, and stay until
Ctrl-C. With that environment in another terminal, `cargo nextest run` and debuggers work as they
do under `cargo xtask test`. All data is thrown away at the end.

Usage: cargo xtask services";

/// Every service, in the order of starting.
const STARTERS: [fn() -> Result<Service>; 3] = [postgres::start, redis::start, smtp::start];

/// Programs that tests start by themselves, each with the variable by which they find it.
const PROGRAMS: [(&str, Wanted); 2] = [
    (
        "VERZA_TEST_NGINX",
        Wanted { service: "nginx", programs: &["nginx"], versioned: &[], package: "nginx-light" },
    ),
    (
        "VERZA_TEST_PEBBLE",
        Wanted {
            service: "Pebble",
            programs: &["pebble", "pebble-challtestsrv"],
            versioned: &[],
            package: "pebble",
        },
    ),
];

/// How often a start is tried when somebody else was quicker to take the port.
const ATTEMPTS: u32 = 3;

/// One running service, stopped when dropped.
pub(crate) struct Service {
    /// What it is called in messages.
    name: &'static str,
    /// The variable by which the tests find it, and the value that leads to it.
    variable: &'static str,
    url: String,
    process: Watched,
}

/// All of them.
pub(crate) struct Services {
    running: Vec<Service>,
    programs: Vec<(&'static str, String)>,
}

impl Services {
    /// Starts every service. When one fails, those already started are stopped.
    pub(crate) fn start() -> Result<Services> {
        let mut programs = Vec::new();
        for (variable, wanted) in &PROGRAMS {
            let [name, ..] = wanted.programs else { continue };
            let program = wanted.folder()?.join(name);
            programs.push((*variable, program.to_string_lossy().into_owned()));
        }
        let mut running = Vec::new();
        for start in STARTERS {
            let service = start()?;
            eprintln!("== {} at {}", service.name, service.url);
            running.push(service);
        }
        Ok(Services { running, programs })
    }

    /// The variables that lead to the services and programs.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let services = self.running.iter().map(|service| (service.variable, service.url.as_str()));
        let programs = self.programs.iter().map(|(variable, path)| (*variable, path.as_str()));
        services.chain(programs)
    }

    /// The first service that has ended by itself.
    fn ended(&self) -> Option<&Service> {
        self.running.iter().find(|service| service.process.has_ended())
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if wants_help(arguments) {
        println!("{HELP}");
        return Ok(());
    }
    if let Some(argument) = arguments.first() {
        return Err(unknown_argument(argument, HELP));
    }
    let services = Services::start()?;
    for (variable, url) in services.environment() {
        println!("export {variable}='{url}'");
    }
    eprintln!("== Ctrl-C stops them");
    loop {
        thread::sleep(Duration::from_millis(500));
        if let Some(service) = services.ended() {
            let log = service.process.log_tail();
            return Err(format!("{} ended by itself:\n{log}", service.name).into());
        }
    }
}
