//! Path 16: what a request costs when there are a thousand times as many rows. Compared is the
//! processor time a request, from the kernel's account of the server's process, so that neither
//! the disk nor the generator is in it.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

use crate::bench::Bench;
use crate::failure::{Failure, Result};
use crate::load::Driven;
use crate::stats::median;
use crate::verza::people::{self, Person};
use crate::verza::{Verza, copy_folder, ledger as rows, market as filled, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

use super::market::Of;
use super::whoami::By;
use super::{ledger, list, market, whoami, write};

const SMALL: u64 = 1_000;
const BETWEEN: [u64; 2] = [10_000, 100_000];
const LARGE: u64 = 1_000_000;

const SPEC: Spec = Spec {
    name: "",
    reference: "the same at 1e3 rows",
    unit: "us CPU a request",
    reference_unit: "us CPU a request",
    better: Better::Lower,
    floor: 2.0,
    goal: 1.3,
    durable: false,
};

pub const WHOAMI: Declared = Declared {
    spec: Spec { name: "whoami at 1e6 users with a session each", goal: 1.02, ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Whoami)?)),
};

pub const WRITE: Declared = Declared {
    spec: Spec { name: "durable write at 1e6 credentials and facts", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Write)?)),
};

pub const LIST: Declared = Declared {
    spec: Spec { name: "list at 1e6 credentials of one owner", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::List)?)),
};

pub const FILES: Declared = Declared {
    spec: Spec { name: "list at 1e6 files of one owner", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Files)?)),
};

pub const LEDGER: Declared = Declared {
    spec: Spec { name: "transfer at 1e6 transfers, facts and remembered replies", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Ledger)?)),
};

pub const VERIFIERS: Declared = Declared {
    spec: Spec { name: "marketplace at 1e6 verifiers", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Market(Of::Verifiers))?)),
};

pub const SEARCH: Declared = Declared {
    spec: Spec { name: "a search for a word at 1e6 verifiers", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Market(Of::Search))?)),
};

pub const VERDICTS: Declared = Declared {
    spec: Spec { name: "list at 1e6 verifications of one owner", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Market(Of::Verdicts))?)),
};

pub const BOARD: Declared = Declared {
    spec: Spec { name: "the board at 1e6 open requests", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Market(Of::Board))?)),
};

pub const PAID: Declared = Declared {
    spec: Spec { name: "list at 1e6 paid jobs of one verifier", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Market(Of::Paid))?)),
};

pub const DISPUTES: Declared = Declared {
    spec: Spec { name: "list at 1e6 disputes of one side", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Market(Of::Disputes))?)),
};

pub const REVIEWS: Declared = Declared {
    spec: Spec { name: "list at 1e6 reviews of one verifier", ..SPEC },
    prepare: |bench| Ok(Box::new(Growth::prepare(bench, Kind::Market(Of::Reviews))?)),
};

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Whoami,
    Write,
    List,
    Files,
    Ledger,
    Market(Of),
}

impl Kind {
    fn people(self) -> usize {
        match self {
            Kind::Whoami => 200,
            Kind::Write => write::MANY,
            Kind::List | Kind::Files | Kind::Market(_) => 1,
            Kind::Ledger => 500,
        }
    }

    /// Whether the requests themselves make rows.
    fn writes(self) -> bool {
        matches!(self, Kind::Write | Kind::Ledger)
    }

    fn put(self, connection: &Connection, owner: &[u8], count: u64) -> Result<()> {
        match self {
            Kind::Whoami => store::put_sessions(connection, count),
            Kind::List => store::put_credentials(connection, owner, count),
            Kind::Files => store::put_files(connection, owner, count),
            Kind::Write => {
                store::put_credentials(connection, owner, count)?;
                store::put_facts(connection, owner, count)
            }
            Kind::Market(Of::Verifiers | Of::Search) => filled::put_verifiers(connection, count),
            Kind::Market(Of::Verdicts) => filled::put_verdicts(connection, owner, count),
            Kind::Market(Of::Paid) => filled::put_paid(connection, owner, count),
            Kind::Market(Of::Disputes) => filled::put_disputes(connection, owner, count),
            Kind::Market(Of::Reviews) => filled::put_reviews(connection, owner, count),
            Kind::Market(Of::Board) => filled::put_board(connection, owner, count),
            Kind::Ledger => {
                rows::put_transfers(connection, count)?;
                store::put_facts(connection, owner, count)
            }
        }
    }

    fn drive(self, verza: &Verza, people: &[Person], count: u64) -> Result<Driven> {
        match self {
            Kind::Whoami => Ok(whoami::ask_all(verza, people, By::Cookie)?.driven),
            Kind::Write => write::drive(verza, people, &std::rc::Rc::default()),
            Kind::List => list::drive(verza, &people[0], count, list::CREDENTIALS),
            Kind::Files => list::drive(verza, &people[0], count, list::FILES),
            Kind::Market(of) => market::drive(verza, &people[0], count, of),
            Kind::Ledger => ledger::drive(verza, &ledger::Book::new(verza, people)),
        }
    }
}

/// An instance with some number of rows.
struct Sized {
    /// None while it is started anew.
    running: Option<(Verza, Driven)>,
    /// Its folder as it was filled.
    template: PathBuf,
    rows: u64,
}

struct Growth {
    kind: Kind,
    people: Vec<Person>,
    small: Sized,
    between: Vec<Sized>,
    large: Sized,
}

impl Growth {
    fn prepare(bench: &Bench, kind: Kind) -> Result<Growth> {
        let verza = Verza::start(bench, &bench.folder("growth")?)?;
        let people = people::join(&verza, kind.people())?;
        if kind == Kind::Ledger {
            people::fund(&verza, &people)?;
        }
        let stopped = verza.stop()?;
        let owner = store::user(&store::open_to_look(&stopped.database())?, &people[0].email)?;
        let sized = |rows| -> Result<Sized> {
            let parent = bench.folder("growth-rows")?;
            let (template, folder) = (parent.join("template"), parent.join("data"));
            copy_folder(&stopped.folder, &template)?;
            let database = crate::verza::database(&template);
            store::fill(&database, |connection| kind.put(connection, &owner, rows))?;
            copy_folder(&template, &folder)?;
            let verza = Verza::start(bench, &folder)?;
            let driven = kind.drive(&verza, &people, rows)?;
            Ok(Sized { running: Some((verza, driven)), template, rows })
        };
        let (small, large) = (sized(SMALL)?, sized(LARGE)?);
        let between = BETWEEN.into_iter().map(sized).collect::<Result<_>>()?;
        Ok(Growth { kind, people, small, between, large })
    }
}

impl Sized {
    /// Microseconds of processor time a request. Where requests make rows, a thousand rows would
    /// soon be a hundred thousand: those begin anew with each slice.
    fn cost(&mut self, kind: Kind, people: &[Person], length: Duration) -> Result<Slice> {
        const SOME: Duration = Duration::from_millis(200);
        let running = self.running.take();
        let (verza, mut driven) =
            running.ok_or_else(|| Failure::new("the instance is gone after an error"))?;
        let verza = if kind.writes() && self.rows < LARGE {
            drop(driven);
            let verza = verza.reset(&self.template)?;
            driven = kind.drive(&verza, people, self.rows)?;
            driven.run(SOME)?;
            verza
        } else {
            verza
        };
        let cost = verza.cost(&mut driven, length)?;
        self.running = Some((verza, driven));
        Ok(cost)
    }
}

impl Workload for Growth {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let sized = match side {
            Side::Ours => &mut self.large,
            Side::Reference => &mut self.small,
        };
        sized.cost(self.kind, &self.people, length)
    }

    /// The sizes between, by the smallest one measured beside them.
    fn check(&mut self) -> Result<Vec<Gauge>> {
        const TIMES: usize = 5;
        const LENGTH: Duration = Duration::from_secs(1);
        let Growth { kind, people, small, between, .. } = self;
        let mut gauges = Vec::new();
        for (sized, name) in between.iter_mut().zip(["at 1e4 by 1e3 rows", "at 1e5 by 1e3 rows"]) {
            let mut ratios = Vec::new();
            for _ in 0..TIMES {
                let ours = sized.cost(*kind, people, LENGTH)?.measure;
                ratios.push(ours / small.cost(*kind, people, LENGTH)?.measure);
            }
            let value = median(&ratios).unwrap_or(f64::NAN);
            gauges.push(Gauge {
                name,
                unit: "",
                value,
                better: Better::Lower,
                floor: 2.0,
                goal: 1.3,
            });
        }
        Ok(gauges)
    }
}
