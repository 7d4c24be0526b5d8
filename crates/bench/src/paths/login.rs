//! Paths 1a and 1b: signing in by password, and what a flood of it leaves to everybody else.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::whoami::{Asked, By, ask_all};
use crate::bare::hash::hashes;
use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Failure, Result};
use crate::histogram::Histogram;
use crate::load::{Driven, Generator, Script};
use crate::machine::Pinning;
use crate::random::Random;
use crate::verza::people::{self, PASSWORD, Person};
use crate::verza::{Verza, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const PEOPLE: usize = 1000;
const AT_ONCE: usize = 16;
const FLOOD: usize = 256;
const WATCHERS: usize = 8;

pub const LOGIN: Declared = Declared {
    spec: Spec {
        name: "POST /v1/auth/login, 1 000 people, argon2id 19 MiB t=2 p=1, 16 connections",
        reference: "bare-hash, the same parameters on the same core",
        unit: "logins/s",
        reference_unit: "hashes/s",
        better: Better::Higher,
        floor: 0.90,
        goal: 0.97,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Login::prepare(bench)?)),
};

pub const FLOODED: Declared = Declared {
    spec: Spec {
        name: "GET /v1/me over 8 connections while 256 sign in, rightly and wrongly",
        reference: "the same without the flood",
        unit: "req/s",
        reference_unit: "req/s",
        better: Better::Higher,
        floor: 0.30,
        goal: 0.45,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Flooded::prepare(bench)?)),
};

fn login(template: &Template, email: &str, password: &str) -> Bytes {
    let body = json!({ "email": email, "password": password }).to_string();
    template.request("/v1/auth/login", None, body.as_bytes())
}

/// Signs one after the other of these people in.
struct SigningIn {
    requests: std::rc::Rc<[Bytes]>,
    random: Random,
}

impl Script for SigningIn {
    fn request<'a>(&'a mut self, _: &'a mut Vec<u8>) -> &'a [u8] {
        let at = self.random.below(self.requests.len() as u64);
        &self.requests[at as usize]
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        if answer.status == 200 {
            return Ok(());
        }
        Err(Failure::new(format!("not signed in: {}", answer.describe())))
    }
}

struct Login {
    verza: Verza,
    pinning: Pinning,
    ours: Driven,
    signed_in: u64,
}

impl Login {
    fn prepare(bench: &Bench) -> Result<Login> {
        let verza = Verza::start_hashing(bench, &bench.folder("login")?)?;
        let people = people::join(&verza, PEOPLE)?;
        let template = Template::new("POST", verza.address()).json();
        let requests = people.iter().map(|person| login(&template, &person.email, PASSWORD));
        let requests: std::rc::Rc<[Bytes]> = requests.collect();
        let script = |seed| {
            let requests = requests.clone();
            Box::new(SigningIn { requests, random: Random::new(seed) }) as Box<dyn Script>
        };
        let ours = Driven::new(verza.address(), (0..AT_ONCE as u64).map(script).collect())?;
        Ok(Login { verza, pinning: bench.pinning, ours, signed_in: PEOPLE as u64 })
    }
}

impl Workload for Login {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        match side {
            Side::Ours => {
                let load = self.ours.run(length)?;
                self.signed_in += load.answers;
                Ok(Slice::rate(load))
            }
            Side::Reference => {
                let work = self.pinning.on_server(|| hashes(1, length))?;
                Ok(Slice::with_latency(work.rate(), work.latency))
            }
        }
    }

    /// Each login that was answered has its session.
    fn check(&mut self) -> Result<Vec<Gauge>> {
        let connection = store::open_to_look(&self.verza.database())?;
        let sql = "SELECT count(*) FROM sessions";
        let sessions: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        if sessions as u64 == self.signed_in {
            return Ok(Vec::new());
        }
        let signed_in = self.signed_in;
        Err(Failure::new(format!("{sessions} sessions of {signed_in} answered logins")))
    }
}

/// Half right, half wrong passwords. Being refused is part of it.
struct Knocking {
    template: Template,
    emails: Vec<String>,
    random: Random,
}

impl Script for Knocking {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let email = &self.emails[self.random.below(self.emails.len() as u64) as usize];
        let right = self.random.below(2) == 0;
        let password = if right { PASSWORD } else { "not the right pass phrase" };
        scratch.extend_from_slice(&login(&self.template, email, password));
        scratch
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        if matches!(answer.status, 200 | 401 | 429 | 503) {
            return Ok(());
        }
        Err(Failure::new(format!("a flood of logins was answered {}", answer.describe())))
    }
}

struct Flooded {
    verza: Verza,
    people: Vec<Person>,
    watched: Driven,
    idle_kib: u64,
    most_kib: u64,
    alone: Histogram,
    flooded: Histogram,
}

impl Flooded {
    fn prepare(bench: &Bench) -> Result<Flooded> {
        let verza = Verza::start_hashing(bench, &bench.folder("login-flood")?)?;
        let people = people::join(&verza, PEOPLE)?;
        let watchers = &people[..WATCHERS];
        let Asked { driven, .. } = ask_all(&verza, watchers, By::Cookie)?;
        let Driven { mut scripts, .. } = driven;
        scripts.truncate(WATCHERS);
        let watched = Driven::new(verza.address(), scripts)?;
        let idle_kib = verza.server().memory()?.now_kib;
        let (alone, flooded) = (Histogram::new(), Histogram::new());
        Ok(Flooded { verza, people, watched, idle_kib, most_kib: idle_kib, alone, flooded })
    }

    /// A thread that floods for this long, once it has connected.
    fn flood(&self, length: Duration) -> Result<thread::JoinHandle<Result<()>>> {
        let (ready, begin) = mpsc::channel();
        let address = self.verza.address();
        let emails: Vec<String> = self.people.iter().map(|person| person.email.clone()).collect();
        let flood = thread::spawn(move || {
            let script = |seed| {
                let template = Template::new("POST", address).json();
                let (emails, random) = (emails.clone(), Random::new(seed));
                Box::new(Knocking { template, emails, random }) as Box<dyn Script>
            };
            let generator = Generator::connect(address, FLOOD)?;
            let scripts = (0..FLOOD as u64).map(script).collect();
            let mut driven = Driven { generator, scripts };
            // Who waits for it has gone only when its run has failed, and that is told there.
            let _ = ready.send(());
            driven.run(length).map(drop)
        });
        match begin.recv() {
            Ok(()) => Ok(flood),
            Err(_) => Err(Failure::new("the flood could not connect")),
        }
    }
}

impl Workload for Flooded {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let load = match side {
            Side::Reference => {
                let load = self.watched.run(length)?;
                self.alone.merge(&load.latency);
                load
            }
            Side::Ours => {
                let flood = self.flood(length)?;
                let load = self.watched.run(length)?;
                self.most_kib = self.most_kib.max(self.verza.server().memory()?.now_kib);
                flood.join().map_err(|_| Failure::new("the flood panicked"))??;
                self.flooded.merge(&load.latency);
                load
            }
        };
        Ok(Slice::rate(load))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        let p99 = |histogram: &Histogram| histogram.quantile(0.99).as_secs_f64();
        let gauge = |name, unit, value, floor, goal| Gauge {
            name,
            unit,
            value,
            better: Better::Lower,
            floor,
            goal,
        };
        let grown = self.most_kib.saturating_sub(self.idle_kib) as f64 / 1024.0;
        Ok(vec![
            gauge(
                "p99 in the flood by p99 alone",
                "",
                p99(&self.flooded) / p99(&self.alone),
                5.0,
                2.0,
            ),
            // One hash at a time on the server's core, and what 256 waiting logins hold.
            gauge("resident memory gained", "MiB", grown, 19.0 + 16.0, 19.0 + 8.0),
        ])
    }
}
