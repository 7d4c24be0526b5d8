//! Path 8: the audit trail under 256 producers. Each acknowledged write is a fact that is on disk,
//! and a moment later a leaf of the transparency log, in which each head commits to all before it.
//! The reference chains hashes itself: a row, and the SHA-256 over it and the one before.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::write::{self, Book};
use crate::bare::sqlite::BareSqlite;
use crate::bench::Bench;
use crate::client::Template;
use crate::failure::{Failure, Result};
use crate::load::{Driven, Generator};
use crate::machine::Pinning;
use crate::verza::people;
use crate::verza::{Verza, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const PRODUCERS: usize = 256;
/// Rows that the reference commits together.
const BATCH: u64 = 512;
/// How long the log may take to come to the last fact after a kill and a start.
const CATCH_UP: Duration = Duration::from_secs(120);

pub const APPEND: Declared = Declared {
    spec: Spec {
        name: "facts of POST /v1/user/credentials, 256 connections",
        reference: "bare-sqlite, hash-chained rows, 512 a commit",
        unit: "facts/s",
        reference_unit: "rows/s",
        better: Better::Higher,
        floor: 0.60,
        goal: 0.90,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(Audit::prepare(bench)?)),
};

const SCHEMA: &str = "CREATE TABLE trail (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor BLOB NOT NULL, verb TEXT NOT NULL,
    subject TEXT NOT NULL, data TEXT NOT NULL, hash BLOB NOT NULL
) STRICT";

/// The hash of the last row.
#[derive(Default)]
struct Chain([u8; 32]);

impl Chain {
    fn append(&mut self, connection: &Connection, number: u64) -> rusqlite::Result<()> {
        let (at, actor) = (number.cast_signed(), store::row_id(number));
        let subject = format!("c_{number:026}");
        let data = format!("{{\"title\":\"{}\"}}", store::title(number));
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.0)
            .chain_update(at.to_be_bytes())
            .chain_update(actor)
            .chain_update(&subject)
            .chain_update(&data)
            .finalize()
            .into();
        self.0 = hash;
        let sql = "INSERT INTO trail (at, actor, verb, subject, data, hash)
                   VALUES (?1, ?2, 'credential.created', ?3, ?4, ?5)";
        let mut insert = connection.prepare_cached(sql)?;
        insert.execute((at, &actor[..], subject, data, &hash[..]))?;
        Ok(())
    }
}

struct Audit {
    /// None while the check replaces it.
    verza: Option<Verza>,
    driven: Driven,
    book: Rc<RefCell<Book>>,
    pinning: Pinning,
    bare: BareSqlite,
    chain: Chain,
    /// Of each of our slices, in order.
    rates: Vec<f64>,
}

impl Audit {
    fn prepare(bench: &Bench) -> Result<Audit> {
        let verza = Verza::start(bench, &bench.folder("audit")?)?;
        let people = people::join(&verza, PRODUCERS)?;
        let book = Rc::default();
        let driven = write::drive(&verza, &people, &book)?;
        let file = bench.folder("audit-reference")?.join("trail.db");
        let bare = BareSqlite::create(&file, SCHEMA)?;
        let (pinning, chain, rates) = (bench.pinning, Chain::default(), Vec::new());
        Ok(Audit { verza: Some(verza), driven, book, pinning, bare, chain, rates })
    }

    /// Kills Verza in the middle of its work and starts it again: each acknowledged write has its
    /// fact, and the log comes to all facts there are.
    fn survive_a_kill(&mut self) -> Result<()> {
        const WORK_ON: Duration = Duration::from_secs(5);
        let gone = || Failure::new("Verza was killed before");
        let killer = self.verza.as_ref().ok_or_else(gone)?.kill_in(Duration::from_millis(400));
        let outcome = self.driven.run(WORK_ON);
        // It only waits and kills: there is nothing in it that panics.
        let _ = killer.join();
        if outcome.is_ok() {
            return Err(Failure::new("Verza was not killed in the middle of its work"));
        }
        let verza = self.verza.take().ok_or_else(gone)?.restart()?;
        let size = settled(&verza)?;
        let stopped = verza.stop()?;
        let connection = store::open_to_look(&stopped.database())?;
        let count = |sql: &str| {
            connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
        };
        let made = count("SELECT COUNT(*) FROM facts WHERE verb = 'credential.created'")?;
        let acked = self.book.borrow().acked();
        if made < acked {
            return Err(Failure::new(format!("{made} facts of {acked} acknowledged writes")));
        }
        let leaves = count("SELECT COUNT(*) FROM log_leaves")?;
        if leaves < size {
            return Err(Failure::new(format!("a head of {size} over {leaves} leaves")));
        }
        Ok(())
    }
}

/// The size of the log once it has stood still: it has come to every fact.
fn settled(verza: &Verza) -> Result<u64> {
    let mut api = Generator::connect(verza.address(), 1)?;
    let ask = Template::new("GET", verza.address()).request("/v1/audit/checkpoint", None, b"");
    let (begun, mut last, mut still) = (Instant::now(), 0, 0);
    while begun.elapsed() < CATCH_UP {
        let answer = api.call(&ask)?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let size = text.lines().nth(1).and_then(|line| line.parse::<u64>().ok());
        let size = size.ok_or_else(|| Failure::new(format!("no checkpoint: {text}")))?;
        still = if size == last { still + 1 } else { 0 };
        last = size;
        if still == 10 {
            return Ok(size);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Err(Failure::new("the log did not come to the last fact"))
}

impl Workload for Audit {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        if side == Side::Ours {
            let load = self.driven.run(length)?;
            self.rates.push(load.rate());
            return Ok(Slice::rate(load));
        }
        let Self { pinning, bare, chain, .. } = self;
        let append = |connection: &Connection, number| chain.append(connection, number);
        let commits = pinning.on_server(|| bare.run(length, BATCH, append))?;
        Ok(Slice::with_latency(commits.rate(), commits.latency))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        let (first, last) = (self.rates.first().copied(), self.rates.last().copied());
        let held = last.unwrap_or_default() / first.unwrap_or(f64::NAN);
        self.survive_a_kill()?;
        Ok(vec![Gauge {
            name: "rate of the last slice by that of the first",
            unit: "",
            value: held,
            better: Better::Higher,
            floor: 0.95,
            goal: 1.0,
        }])
    }
}
