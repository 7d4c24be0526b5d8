//! Path 14: what counting every request costs, and how fast it is to be refused.
//!
//! The limit of reads is switched on, far above what can be asked (all allowed) or far below it
//! (all refused). Addresses come from the header of a trusted proxy, a million of them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::bare::http::Content;
use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Failure, Result};
use crate::load::{Always, Driven, Expect, Generator, Script, Varying};
use crate::process::Server;
use crate::random::Random;
use crate::verza::Verza;
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const CONNECTIONS: usize = 32;
const ADDRESSES: u64 = 1_000_000;
/// A read that anybody may make and that costs next to nothing.
const PATH: &str = "/.well-known/jwks.json";

const SPEC: Spec = Spec {
    name: "",
    reference: "",
    unit: "req/s",
    reference_unit: "req/s",
    better: Better::Higher,
    floor: 0.0,
    goal: 0.0,
    durable: false,
};

pub const ALLOWED: Declared = Declared {
    spec: Spec {
        name: "a read from any of 1e6 addresses, counted and allowed, 32 connections",
        reference: "the same without limits",
        floor: 0.97,
        goal: 0.995,
        ..SPEC
    },
    prepare: |bench| Ok(Box::new(Counted::prepare(bench)?)),
};

pub const REFUSED: Declared = Declared {
    spec: Spec {
        name: "a read from an address that has asked too often: 429, 32 connections",
        reference: "bare-axum, same answer bytes",
        floor: 1.0,
        goal: 1.0,
        ..SPEC
    },
    prepare: |bench| Ok(Box::new(Refused::prepare(bench)?)),
};

fn start(bench: &Bench, name: &str, reads_per_minute: u32) -> Result<Verza> {
    Verza::start_with(bench, &bench.folder(name)?, |options| {
        options
            .env("VERZA_SERVER_RATE_LIMITS", (reads_per_minute > 0).to_string())
            .env("VERZA_LIMITS_READS_PER_MINUTE", reads_per_minute.to_string())
            .env("VERZA_SERVER_TRUSTED_PROXIES", "127.0.0.1")
    })
}

/// Requests of any address.
fn drive(server: &Server) -> Result<Driven> {
    let template = Template::new("GET", server.address());
    let scripts = Varying::scripts(CONNECTIONS, &Expect::status(200), |seed| {
        let (template, mut random) = (template.clone(), Random::new(seed as u64));
        move |out: &mut Vec<u8>| {
            let [_, a, b, c] = (random.below(ADDRESSES) as u32).to_be_bytes();
            let from = format!("10.{a}.{b}.{c}");
            template.clone().header("x-forwarded-for", from).write(out, PATH, None, b"");
        }
    });
    Driven::new(server.address(), scripts)
}

struct Counted {
    _with: Verza,
    _without: Verza,
    ours: Driven,
    reference: Driven,
}

impl Counted {
    fn prepare(bench: &Bench) -> Result<Counted> {
        let with = start(bench, "limits-with", 1_000_000)?;
        let without = start(bench, "limits-without", 0)?;
        let (ours, reference) = (drive(with.server())?, drive(without.server())?);
        Ok(Counted { _with: with, _without: without, ours, reference })
    }
}

impl Workload for Counted {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let driven = side.pick(&mut self.ours, &mut self.reference);
        Ok(Slice::rate(driven.run(length)?))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        Ok(Vec::new())
    }
}

/// Asks and is refused, but for the one read that each minute lets in.
struct TooOften {
    request: bytes::Bytes,
    let_in: Rc<Cell<u64>>,
}

impl Script for TooOften {
    fn request<'a>(&'a mut self, _: &'a mut Vec<u8>) -> &'a [u8] {
        &self.request
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        if answer.status == 200 {
            self.let_in.set(self.let_in.get() + 1);
            return Ok(());
        }
        if answer.status == 429 && answer.header("retry-after").is_some() {
            return Ok(());
        }
        Err(Failure::new(format!("not refused: {}", answer.describe())))
    }
}

struct Refused {
    verza: Verza,
    since: Instant,
    let_in: Rc<Cell<u64>>,
    _bare: Server,
    ours: Driven,
    reference: Driven,
}

impl Refused {
    fn prepare(bench: &Bench) -> Result<Refused> {
        let verza = start(bench, "limits-refused", 1)?;
        let (since, let_in) = (Instant::now(), Rc::<Cell<u64>>::default());
        let request = Template::new("GET", verza.address()).request(PATH, None, b"");
        let mut api = Generator::connect(verza.address(), 1)?;
        api.call(&request)?.json(200)?;
        let refused = api.call(&request)?;
        let headers = refused.given_headers();
        let content = Content::Fixed { headers, body: refused.body.into() };
        let bare = bench.spawn_bare(&content)?;
        let script = |_| {
            let (request, let_in) = (request.clone(), let_in.clone());
            Box::new(TooOften { request, let_in }) as Box<dyn Script>
        };
        let scripts = (0..CONNECTIONS).map(script);
        let ours = Driven::new(verza.address(), scripts.collect())?;
        let request = Template::new("GET", bare.address()).request(PATH, None, b"");
        let scripts = Always::scripts(CONNECTIONS, &request, &Expect::status(200));
        let reference = Driven::new(bare.address(), scripts)?;
        Ok(Refused { verza, since, let_in, _bare: bare, ours, reference })
    }
}

impl Workload for Refused {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let driven = side.pick(&mut self.ours, &mut self.reference);
        Ok(Slice::rate(driven.run(length)?))
    }

    /// One read a minute is let in and no more; and nobody else is kept out.
    fn check(&mut self) -> Result<Vec<Gauge>> {
        let (let_in, minutes) = (self.let_in.get(), self.since.elapsed().as_secs() / 60);
        if let_in > minutes + 1 {
            return Err(Failure::new(format!("{let_in} were let in within {minutes} minutes")));
        }
        let other =
            Template::new("GET", self.verza.address()).header("x-forwarded-for", "10.9.9.9");
        let mut api = Generator::connect(self.verza.address(), 1)?;
        api.call(&other.request(PATH, None, b""))?.json(200)?;
        Ok(Vec::new())
    }
}
