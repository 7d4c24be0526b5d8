//! What it costs to prove that one event of a million is in the log.

use std::thread;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Failure, Result};
use crate::load::{Driven, Generator, Script};
use crate::random::Random;
use crate::verza::people;
use crate::verza::{Verza, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

use super::read::typed;

const CONNECTIONS: u64 = 8;
const ENTRIES: u64 = 1_000_000;
/// Microseconds of processor time.
const BOUND: f64 = 1000.0;

pub const INCLUSION: Declared = Declared {
    spec: Spec {
        name: "GET /v1/audit/proof/inclusion, any of 1e6 events, 8 connections",
        reference: "1 ms",
        unit: "us CPU a request",
        reference_unit: "us",
        better: Better::Lower,
        floor: 1.0,
        goal: 0.5,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Proof::prepare(bench)?)),
};

/// Asks for the proof of any event, and looks for as many hashes as a tree of that size has levels.
struct Asking {
    template: Template,
    random: Random,
}

impl Script for Asking {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let event = typed("evt", store::row_id(self.random.below(ENTRIES)));
        let path = format!("/v1/audit/proof/inclusion?event={event}");
        self.template.write(scratch, &path, None, b"");
        scratch
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        let levels = ENTRIES.ilog2() as usize;
        let body = answer.to_owned().json(200)?;
        // C2SP's tlog-proof: its name, the index, the hashes, and behind an empty line the checkpoint.
        let text = body["proof"].as_str().unwrap_or_default();
        let hashes = text.lines().skip(2).take_while(|line| !line.is_empty()).count();
        // The last entries of a tree that is not full have shorter ways to its top.
        if (1..=levels + 2).contains(&hashes) {
            return Ok(());
        }
        Err(Failure::new(format!("no proof: {body}")))
    }
}

struct Proof {
    verza: Verza,
    driven: Driven,
}

impl Proof {
    fn prepare(bench: &Bench) -> Result<Proof> {
        let verza = Verza::start(bench, &bench.folder("proof")?)?;
        let person = people::join(&verza, 1)?.remove(0);
        let stopped = verza.stop()?;
        let database = stopped.database();
        let owner = store::user(&store::open_to_look(&database)?, &person.email)?;
        store::fill(&database, |connection| {
            store::put_unlogged_facts(connection, &owner, ENTRIES)
        })?;
        let verza = Verza::start(bench, &stopped.folder)?;
        wait_for_the_log(&verza)?;
        let script = |seed| {
            let template = Template::new("GET", verza.address()).header("cookie", &person.cookie);
            Box::new(Asking { template, random: Random::new(seed) }) as Box<dyn Script>
        };
        let driven = Driven::new(verza.address(), (0..CONNECTIONS).map(script).collect())?;
        Ok(Proof { verza, driven })
    }
}

/// Waits until a checkpoint has been signed that has all of them.
fn wait_for_the_log(verza: &Verza) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(600);
    let request = Template::new("GET", verza.address()).request("/v1/audit/checkpoint", None, b"");
    let since = Instant::now();
    let mut api = Generator::connect(verza.address(), 1)?;
    while since.elapsed() < PATIENCE {
        let answer = api.call(&request)?;
        let note = String::from_utf8_lossy(&answer.body).into_owned();
        let size = note.lines().nth(1).and_then(|line| line.parse::<u64>().ok());
        if size.is_some_and(|size| size >= ENTRIES) {
            return Ok(());
        }
        thread::sleep(Duration::from_secs(1));
    }
    Err(Failure::new("the log has not taken all events in within ten minutes"))
}

impl Workload for Proof {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        if matches!(side, Side::Reference) {
            return Ok(Slice::of(BOUND));
        }
        self.verza.cost(&mut self.driven, length)
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        Ok(Vec::new())
    }
}
