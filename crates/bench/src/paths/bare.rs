//! Workloads whose sides are both bare. They measure the method: equal sides have to come out
//! equal, and the commit model has to be near what a plain SQLite reaches.

use std::time::Duration;

use rusqlite::Connection;

use crate::bare::Work;
use crate::bare::hash::hashes;
use crate::bare::http::Content;
use crate::bare::rows::bytes_parameter;
use crate::bare::sqlite::BareSqlite;
use crate::bare::upload::BareUpload;
use crate::bench::Bench;
use crate::client::Template;
use crate::failure::{Failure, Result};
use crate::fsync::commit_model;
use crate::load::{Always, Driven, Expect, Varying};
use crate::machine::Pinning;
use crate::process::Server;
use crate::random::Random;
use crate::workload::{Better, Declared, Gauge, Pair, Side, Slice, Spec, Workload};

const CONNECTIONS: usize = 32;

/// What is wanted of two equal sides; the rest is filled in by each.
const EQUAL: Spec = Spec {
    name: "",
    reference: "the same again",
    unit: "req/s",
    reference_unit: "req/s",
    better: Better::Equal,
    floor: 0.10,
    goal: 0.03,
    durable: false,
};

pub const HTTP: Declared = Declared {
    spec: Spec { name: "fixed answer of 300 bytes, 32 connections", ..EQUAL },
    prepare: |bench| Ok(Box::new(Http::fixed(bench)?)),
};

pub const ROWS: Declared = Declared {
    spec: Spec { name: "20 rows of an owner by a prepared statement, 32 connections", ..EQUAL },
    prepare: |bench| Ok(Box::new(Http::rows(bench)?)),
};

pub const COMMIT: Declared = Declared {
    spec: Spec {
        name: "three rows a unit, 64 units a commit",
        reference: "commit model from this disk and these statements",
        unit: "units/s",
        reference_unit: "s a unit's statements",
        better: Better::Higher,
        floor: 0.60,
        goal: 0.85,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(Commit::prepare(bench)?)),
};

pub const HASH: Declared = Declared {
    spec: Spec {
        name: "argon2id on one core",
        unit: "hashes/s",
        reference_unit: "hashes/s",
        ..EQUAL
    },
    prepare: |bench| {
        let pinning = bench.pinning;
        let work = move |length| pinning.on_server(|| hashes(1, length));
        Ok(Box::new(Alone { work, unit: 1.0 }))
    },
};

pub const UPLOAD: Declared = Declared {
    spec: Spec {
        name: "10 MiB read, hashed, written and synced, 8 at once",
        unit: "MB/s",
        reference_unit: "MB/s",
        durable: true,
        ..EQUAL
    },
    prepare: |bench| {
        const SIZE: usize = 10 << 20;
        const AT_ONCE: usize = 8;
        let pinning = bench.pinning;
        let upload = BareUpload::create(&bench.folder("upload")?, SIZE)?;
        let work = move |length| pinning.on_server(|| upload.run(AT_ONCE, length));
        Ok(Box::new(Alone { work, unit: SIZE as f64 / 1e6 }))
    },
};

/// Two servers of the same content.
struct Http {
    _servers: [Server; 2],
    ours: Driven,
    reference: Driven,
}

impl Http {
    fn fixed(bench: &Bench) -> Result<Http> {
        const BODY: [u8; 300] = [b'x'; 300];
        let content = Content::fixed("text/plain", BODY.to_vec());
        Http::new(bench, &content, |server| {
            let request = Template::new("GET", server.address()).request("/", None, b"");
            let expect = Expect::body(200, BODY.to_vec());
            Driven::new(server.address(), Always::scripts(CONNECTIONS, &request, &expect))
        })
    }

    fn rows(bench: &Bench) -> Result<Http> {
        const OWNERS: u64 = 100;
        let database = bench.folder("rows")?.join("rows.db");
        fill(&Connection::open(&database)?, OWNERS)?;
        let sql = "SELECT id, note FROM t WHERE owner = ?1 AND id < ?2 ORDER BY id DESC LIMIT 20";
        let content = Content::rows(database, sql);
        Http::new(bench, &content, |server| {
            let template = Template::new("GET", server.address());
            let scripts = Varying::scripts(CONNECTIONS, &Expect::status(200), |number| {
                let (template, mut random) = (template.clone(), Random::new(number as u64));
                move |out: &mut Vec<u8>| {
                    let owner = bytes_parameter(&random.below(OWNERS).to_be_bytes());
                    let before = random.below(100_000);
                    template.write(out, &format!("/?{owner}&p=i:{before}"), None, b"");
                }
            });
            Driven::new(server.address(), scripts)
        })
    }

    fn new(
        bench: &Bench,
        content: &Content,
        drive: impl Fn(&Server) -> Result<Driven>,
    ) -> Result<Http> {
        let servers = [bench.spawn_bare(content)?, bench.spawn_bare(content)?];
        let (ours, reference) = (drive(&servers[0])?, drive(&servers[1])?);
        Ok(Http { _servers: servers, ours, reference })
    }
}

impl Workload for Http {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let driven = side.pick(&mut self.ours, &mut self.reference);
        Ok(Slice::rate(driven.run(length)?))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        // Each answer has been judged by its script.
        Ok(Vec::new())
    }
}

fn fill(connection: &Connection, owners: u64) -> Result<()> {
    connection.execute_batch(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, owner BLOB NOT NULL, note TEXT NOT NULL) STRICT;
         CREATE INDEX t_owner ON t (owner, id); BEGIN;",
    )?;
    let mut insert = connection.prepare("INSERT INTO t (owner, note) VALUES (?1, ?2)")?;
    for number in 0..100_000_u64 {
        insert.execute(((number % owners).to_be_bytes(), format!("note {number}")))?;
    }
    Ok(connection.execute_batch("COMMIT")?)
}

/// One SQLite with 64 units a commit; its reference is what its statements and the disk allow.
struct Commit {
    pinning: Pinning,
    bare: BareSqlite,
}

impl Commit {
    const AT_ONCE: u64 = 64;

    fn prepare(bench: &Bench) -> Result<Commit> {
        let schema = "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
             CREATE TABLE audit (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
             CREATE TABLE outbox (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;";
        let bare = BareSqlite::create(&bench.folder("commit")?.join("x.db"), schema)?;
        Ok(Commit { pinning: bench.pinning, bare })
    }

    fn unit(connection: &Connection, number: u64) -> rusqlite::Result<()> {
        for table in ["item", "audit", "outbox"] {
            let sql = format!("INSERT INTO {table} VALUES (?1, ?2)");
            let body = "a body of about the length that such a row has in a real table";
            connection.prepare_cached(&sql)?.execute((number as i64, body))?;
        }
        Ok(())
    }
}

impl Workload for Commit {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let bare = &mut self.bare;
        let commits = self.pinning.on_server(|| bare.run(length, Commit::AT_ONCE, Commit::unit))?;
        let measure = match side {
            Side::Ours => commits.rate(),
            Side::Reference => commits.statement_seconds_each(),
        };
        Ok(Slice::with_latency(measure, commits.latency))
    }

    fn ratio(&self, pair: &Pair) -> Result<f64> {
        let statement_seconds = pair.reference.slice.measure;
        let model = commit_model(Commit::AT_ONCE as f64, pair.fsync_seconds()?, statement_seconds);
        Ok(pair.ours.slice.measure / model)
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        let sql = "SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM audit)
            + (SELECT count(*) FROM outbox)";
        let rows: i64 = self.bare.connection().query_row(sql, [], |row| row.get(0))?;
        if rows as u64 == self.bare.done() * 3 {
            return Ok(Vec::new());
        }
        Err(Failure::new(format!("{rows} rows of {} units", self.bare.done())))
    }
}

/// Work without a server, done by both sides.
struct Alone<F> {
    work: F,
    /// How much of the reported unit one piece of work is.
    unit: f64,
}

impl<F: FnMut(Duration) -> Result<Work>> Workload for Alone<F> {
    fn slice(&mut self, _: Side, length: Duration) -> Result<Slice> {
        let work = (self.work)(length)?;
        Ok(Slice::with_latency(work.rate() * self.unit, work.latency))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        // Hashes have no trace, and each copy was compared by its hash.
        Ok(Vec::new())
    }
}
