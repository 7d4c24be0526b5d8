//! A wallet's statement of a month with a million entries: what the server's own memory grows by while
//! it is written, and how long that takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::client::Template;
use crate::failure::{Context, Failure, Result};
use crate::process::{Watch, own_memory};
use crate::random::Random;
use crate::stats::median;
use crate::verza::people::{self, Person};
use crate::verza::{Verza, ledger, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const ENTRIES: u64 = 1_000_000;
/// The month of [`ledger::NOW`].
const MONTH: &str = "2026-11";
/// What the server may grow by, in MB: its caches are filled by such a statement.
const LIMIT: f64 = 32.0;

pub const CSV: Declared = Declared {
    spec: Spec {
        name: "GET of a statement of 1 000 000 entries as CSV, what the server's own memory grows by",
        reference: "a limit of 32 MB",
        unit: "MB",
        reference_unit: "MB",
        better: Better::Lower,
        floor: 1.0,
        goal: 0.5,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Statement::prepare(bench)?)),
};

struct Statement {
    /// None while it is started anew.
    verza: Option<Verza>,
    person: Person,
    seconds: Vec<f64>,
}

impl Statement {
    fn prepare(bench: &Bench) -> Result<Statement> {
        let verza = Verza::start(bench, &bench.folder("statement")?)?;
        let mut people = people::join(&verza, 2)?;
        people::fund(&verza, &people)?;
        let stopped = verza.stop()?;
        store::fill(&stopped.database(), |connection| {
            let wallets = ledger::wallets(connection)?;
            let [from, to] = wallets.as_slice() else {
                return Err(Failure::new("there are not two wallets"));
            };
            let mut random = Random::new(ENTRIES);
            for number in 0..ENTRIES {
                ledger::transfer_unit(connection, (from, to), number, &mut random)?;
            }
            Ok(())
        })?;
        let verza = Verza::start(bench, &stopped.folder)?;
        let person = people.remove(0);
        Ok(Statement { verza: Some(verza), person, seconds: Vec::new() })
    }

    /// What a fresh server has grown by when all of the statement is there, in MB.
    fn written(&mut self) -> Result<f64> {
        let verza = self.verza.take().ok_or_else(|| Failure::new("no server is there"))?;
        let verza = verza.restart()?;
        let signed_in = people::sign_in(&verza, std::slice::from_ref(&self.person.email))?.pop();
        self.person = signed_in.ok_or_else(|| Failure::new("nobody has signed in"))?;
        let path =
            format!("/v1/user/wallet/statements/{MONTH}?format=csv&currency={}", ledger::ASSET);
        let request = Template::new("GET", verza.address())
            .bearer(&self.person.bearer)
            .header("connection", "close")
            .request(&path, None, b"");
        let before = own_memory(verza.server().pid())?;
        let watch = Watch::begin(verza.server().pid());
        let begun = Instant::now();
        let lines = lines_of(verza.address(), &request);
        self.seconds.push(begun.elapsed().as_secs_f64());
        let (most, lines) = (watch.end()?, lines?);
        if lines < ENTRIES {
            return Err(Failure::new(format!("the statement has {lines} lines only")));
        }
        self.verza = Some(verza);
        Ok(most.saturating_sub(before) as f64 * 1024.0 / 1e6)
    }
}

/// How many lines an answer has that is read to the end of its connection, and thrown away.
fn lines_of(address: SocketAddr, request: &[u8]) -> Result<u64> {
    let mut stream = TcpStream::connect(address).context(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request)?;
    let (mut piece, mut lines) = (vec![0; 1 << 16], 0);
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Ok(lines);
        }
        lines += piece[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}

impl Workload for Statement {
    fn slice(&mut self, side: Side, _: Duration) -> Result<Slice> {
        match side {
            Side::Ours => self.written().map(Slice::of),
            Side::Reference => Ok(Slice::of(LIMIT)),
        }
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        let value = median(&self.seconds).ok_or_else(|| Failure::new("no statement was read"))?;
        let (name, better) = ("until all of it is read", Better::Lower);
        Ok(vec![Gauge { name, unit: "s", value, better, floor: 60.0, goal: 20.0 }])
    }
}
