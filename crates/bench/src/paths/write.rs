//! Paths 4a and 4b: a small write that is on disk before it is answered. One credential is three
//! rows (itself, its fact, whom the fact concerns), in one unit.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rusqlite::Connection;

use crate::bare::sqlite::{BareSqlite, Commits};
use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Failure, Result};
use crate::fsync::commit_model;
use crate::load::{Driven, Generator, Script};
use crate::machine::Pinning;
use crate::random::Random;
use crate::verza::people::{self, Person};
use crate::verza::{Verza, store};
use crate::workload::{Better, Declared, Gauge, Pair, Side, Slice, Spec, Workload};

pub(super) const MANY: usize = 64;

pub const TOGETHER: Declared = Declared {
    spec: Spec {
        name: "POST /v1/user/credentials, 64 connections",
        reference: "commit model from this disk and the same statements in bare-sqlite",
        unit: "acked/s",
        reference_unit: "s a unit's statements",
        better: Better::Higher,
        floor: 0.60,
        goal: 0.85,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(Write::prepare(bench, MANY)?)),
};

pub const ALONE: Declared = Declared {
    spec: Spec {
        name: "POST /v1/user/credentials, one connection, median latency",
        reference: "bare-sqlite, the same statements, a commit each",
        unit: "s",
        reference_unit: "s",
        better: Better::Lower,
        floor: 1.5,
        goal: 1.1,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(Write::prepare(bench, 1)?)),
};

/// What was sent and what was acknowledged.
#[derive(Default)]
pub(super) struct Book {
    next: u64,
    acked: Vec<u64>,
}

impl Book {
    /// How many were acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.acked.len() as u64
    }
}

/// Makes a credential with a number in its title, and notes that it was acknowledged.
struct Creating {
    template: Template,
    book: Rc<RefCell<Book>>,
    number: u64,
}

impl Script for Creating {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let mut book = self.book.borrow_mut();
        self.number = book.next;
        book.next += 1;
        let (title, kind, issuer) = (store::title(self.number), store::KIND, store::ISSUER);
        let body = format!("{{\"title\":\"{title}\",\"type\":\"{kind}\",\"issuer\":\"{issuer}\"}}");
        self.template.write(scratch, "/v1/user/credentials", None, body.as_bytes());
        scratch
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        if answer.status != 201 {
            return Err(Failure::new(format!("not made: {}", answer.describe())));
        }
        self.book.borrow_mut().acked.push(self.number);
        Ok(())
    }
}

/// A connection for each of these people, making credentials.
pub(super) fn drive(verza: &Verza, people: &[Person], book: &Rc<RefCell<Book>>) -> Result<Driven> {
    let script = |person: &Person| {
        let template = Template::new("POST", verza.address()).bearer(&person.bearer).json();
        Box::new(Creating { template, book: book.clone(), number: 0 }) as Box<dyn Script>
    };
    Driven::new(verza.address(), people.iter().map(script).collect())
}

/// Verza under load, and the same statements without it.
struct Write {
    /// None while the check replaces it.
    verza: Option<Verza>,
    people: Vec<Person>,
    driven: Driven,
    book: Rc<RefCell<Book>>,
    reference: Reference,
    /// Commits, and what they acknowledged, of our slices.
    commits: u64,
    acked: u64,
}

/// The same rows by the same statements, in a copy of the database.
struct Reference {
    pinning: Pinning,
    bare: BareSqlite,
    owners: Vec<Vec<u8>>,
    batch: u64,
}

impl Reference {
    fn prepare(bench: &Bench, database: &Path, people: &[Person]) -> Result<Reference> {
        const TRY: Duration = Duration::from_millis(300);
        let bare = BareSqlite::open(database)?;
        let owner = |person: &Person| store::user(bare.connection(), &person.email);
        let owners = people.iter().map(owner).collect::<Result<_>>()?;
        let mut reference = Reference { pinning: bench.pinning, bare, owners, batch: 1 };
        if people.len() > 1 {
            let Reference { pinning, bare, owners, .. } = &mut reference;
            reference.batch = pinning.on_server(|| bare.best_batch(TRY, unit(owners)))?;
        }
        Ok(reference)
    }

    fn run(&mut self, length: Duration) -> Result<Commits> {
        let Reference { pinning, bare, owners, batch } = self;
        pinning.on_server(|| bare.run(length, *batch, unit(owners)))
    }
}

fn unit(owners: &[Vec<u8>]) -> impl FnMut(&Connection, u64) -> rusqlite::Result<()> + '_ {
    move |connection, number| {
        let owner = &owners[number as usize % owners.len()];
        store::credential_unit(connection, owner, number, &mut Random::new(number))
    }
}

impl Write {
    fn prepare(bench: &Bench, connections: usize) -> Result<Write> {
        let verza = Verza::start(bench, &bench.folder("write")?)?;
        let people = people::join(&verza, connections)?;
        let stopped = verza.stop()?;
        let copy = bench.folder("write-reference")?.join("verza.db");
        std::fs::copy(stopped.database(), &copy)?;
        let reference = Reference::prepare(bench, &copy, &people)?;
        let verza = Verza::start(bench, &stopped.folder)?;
        let book = Rc::default();
        let driven = drive(&verza, &people, &book)?;
        Ok(Write { verza: Some(verza), people, driven, book, reference, commits: 0, acked: 0 })
    }

    fn verza(&self) -> Result<&Verza> {
        self.verza.as_ref().ok_or_else(|| Failure::new("Verza was killed before"))
    }

    fn is_alone(&self) -> bool {
        self.reference.owners.len() == 1
    }

    fn ours(&mut self, length: Duration) -> Result<Slice> {
        let before = self.verza()?.commits()?;
        let load = self.driven.run(length)?;
        self.commits += self.verza()?.commits()? - before;
        self.acked += load.answers;
        Ok(if self.is_alone() { Slice::median_latency(load) } else { Slice::rate(load) })
    }

    /// Kills Verza in the middle of its work, starts it again, and looks for everything that was
    /// ever acknowledged.
    fn survive_a_kill(&mut self) -> Result<()> {
        const WORK_ON: Duration = Duration::from_secs(5);
        let before = self.book.borrow().acked.len();
        let killer = self.verza()?.kill_in(Duration::from_millis(400));
        let outcome = self.driven.run(WORK_ON);
        // It only waits and kills: there is nothing in it that panics.
        let _ = killer.join();
        let acked = self.book.borrow().acked.clone();
        if outcome.is_ok() || acked.len() == before {
            return Err(Failure::new("Verza was not killed in the middle of its work"));
        }
        let verza = self.verza.take().ok_or_else(|| Failure::new("there is no Verza to kill"))?;
        let verza = verza.restart()?;
        self.newest_is_shown(&verza)?;
        let stopped = verza.stop()?;
        let connection = store::open_to_look(&stopped.database())?;
        let mut titles = connection.prepare("SELECT title FROM credentials")?;
        let titles = titles.query_map([], |row| row.get::<_, String>(0))?;
        let titles = titles.collect::<rusqlite::Result<HashSet<String>>>()?;
        let lost = acked.iter().filter(|number| !titles.contains(&store::title(**number))).count();
        if lost == 0 {
            return Ok(());
        }
        Err(Failure::new(format!("{lost} of {} acknowledged credentials are lost", acked.len())))
    }
}

impl Write {
    /// After a restart the sessions are good and the rows are shown.
    fn newest_is_shown(&self, verza: &Verza) -> Result<()> {
        let mut api = Generator::connect(verza.address(), 8)?;
        let template = Template::new("GET", verza.address());
        let ask = |person: &Person| {
            let template = template.clone().header("cookie", &person.cookie);
            template.request("/v1/user/credentials?limit=1", None, b"")
        };
        let requests: Vec<_> = self.people.iter().map(ask).collect();
        for answer in api.call_all(&requests)? {
            if answer.json(200)?[0]["title"].is_null() {
                return Err(Failure::new("somebody's credentials are gone"));
            }
        }
        Ok(())
    }
}

impl Workload for Write {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        if side == Side::Ours {
            return self.ours(length);
        }
        let commits = self.reference.run(length)?;
        let measure = if self.is_alone() {
            commits.latency.quantile(0.5).as_secs_f64()
        } else {
            commits.statement_seconds_each()
        };
        Ok(Slice::with_latency(measure, commits.latency))
    }

    fn ratio(&self, pair: &Pair) -> Result<f64> {
        let (ours, reference) = (pair.ours.slice.measure, pair.reference.slice.measure);
        if self.is_alone() {
            return Ok(ours / reference);
        }
        Ok(ours / commit_model(MANY as f64, pair.fsync_seconds()?, reference))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        self.survive_a_kill()?;
        if self.is_alone() {
            return Ok(Vec::new());
        }
        Ok(vec![Gauge {
            name: "commits per 1 000 acknowledged writes, all background work included",
            unit: "",
            value: self.commits as f64 * 1000.0 / self.acked as f64,
            better: Better::Lower,
            floor: 60.0,
            goal: 20.0,
        }])
    }
}
