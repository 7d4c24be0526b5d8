//! Path 18: four times as much as can be done is asked for, whether it is answered or not. What
//! cannot be done is refused at once, so that what is done is done nearly as fast as ever.
//!
//! The mix is that of a busy platform: reads and session checks, pages, durable writes, transfers,
//! files, the audit trail, and a few who sign in.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::upload::form;
use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Failure, Result};
use crate::histogram::Histogram;
use crate::load::{Driven, Generator, Load, Script};
use crate::random::{FreshKeys, Random};
use crate::verza::Verza;
use crate::verza::people::{self, PASSWORD, Person};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

/// Connections that find out how much can be done.
const CLOSED: usize = 64;
/// Connections over which it is overdone.
const OPEN: usize = 1024;
const PEOPLE: usize = 64;
const TIMES: f64 = 4.0;
const CREDENTIALS: usize = 25;
const FILE: usize = 64 << 10;

pub const MIX: Declared = Declared {
    spec: Spec {
        name: "a mix of requests, four times as many as can be done, what was answered well",
        reference: "the most that was done of the same mix, 64 connections",
        unit: "req/s",
        reference_unit: "req/s",
        better: Better::Higher,
        floor: 0.80,
        goal: 0.95,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Overload::prepare(bench)?)),
};

/// Somebody with all the requests they make, in percent of all: what can be written before is.
struct Asking {
    me: Bytes,
    credential: Bytes,
    page: Bytes,
    notices: Bytes,
    file: Bytes,
    trail: Bytes,
    login: Bytes,
    posting: Template,
    payee: String,
}

/// What came back, over all connections.
#[derive(Default)]
struct Came {
    well: u64,
    refused: u64,
    /// Of what was answered well.
    latency: Histogram,
}

struct Mixed {
    asking: Rc<Asking>,
    random: Random,
    keys: FreshKeys,
    came: Rc<RefCell<Came>>,
}

impl Script for Mixed {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let Self { asking, random, keys, .. } = self;
        match random.below(100) {
            0..25 => &asking.me,
            25..45 => &asking.credential,
            45..65 => &asking.page,
            65..77 => {
                let body = r#"{"title":"Diploma","type":"degree","issuer":"A University"}"#;
                asking.posting.write(scratch, "/v1/user/credentials", None, body.as_bytes());
                scratch
            }
            77..83 => {
                let body = people::transfer(&asking.payee, 100);
                let (path, key) = ("/v1/user/wallet/transfers", Some(keys.fresh()));
                asking.posting.write(scratch, path, key, body.as_bytes());
                scratch
            }
            83..89 => &asking.notices,
            89..95 => &asking.file,
            95..99 => &asking.trail,
            _ => &asking.login,
        }
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        let mut came = self.came.borrow_mut();
        match answer.status {
            200 | 201 => came.well += 1,
            429 | 503 => came.refused += 1,
            _ => return Err(Failure::new(format!("under load: {}", answer.describe()))),
        }
        Ok(())
    }

    fn took(&mut self, answer_status: u16, took: Duration) {
        if matches!(answer_status, 200 | 201) {
            self.came.borrow_mut().latency.record(took);
        }
    }
}

struct Overload {
    verza: Verza,
    people: Vec<Person>,
    closed: Driven,
    open: Driven,
    came: Rc<RefCell<Came>>,
    /// The most that was done in a second, so far.
    peak: f64,
    overloaded: Histogram,
    offered: u64,
    refused: u64,
}

impl Overload {
    fn prepare(bench: &Bench) -> Result<Overload> {
        let verza = Verza::start(bench, &bench.folder("overload")?)?;
        let mut people = people::join(&verza, 2 * PEOPLE)?;
        // Whoever signs in again and again ends their own oldest sessions: others do that here.
        let entering = people.split_off(PEOPLE);
        people::fund(&verza, &people)?;
        let askings = askings(&verza, &people, &entering)?;
        let came = Rc::<RefCell<Came>>::default();
        let drive = |connections: usize| {
            let script = |at: usize| {
                let (asking, came) = (askings[at % PEOPLE].clone(), came.clone());
                let random = Random::new(at as u64);
                Box::new(Mixed { asking, random, keys: FreshKeys::new(), came }) as Box<dyn Script>
            };
            Driven::new(verza.address(), (0..connections).map(script).collect())
        };
        let (closed, open) = (drive(CLOSED)?, drive(OPEN)?);
        let overloaded = Histogram::new();
        Ok(Overload {
            verza,
            people,
            closed,
            open,
            came,
            peak: 0.0,
            overloaded,
            offered: 0,
            refused: 0,
        })
    }

    /// So many requests a second for so long; what was answered well in that time.
    fn offer(&mut self, rate: f64, length: Duration) -> Result<(Came, Load)> {
        self.came.take();
        let load = self.open.offer(rate, length)?;
        Ok((self.came.take(), load))
    }
}

/// Everybody's requests: they have credentials, a file and money.
fn askings(verza: &Verza, people: &[Person], entering: &[Person]) -> Result<Vec<Rc<Asking>>> {
    let mut api = Generator::connect(verza.address(), 8)?;
    let mut content = vec![b' '; FILE];
    content[..9].copy_from_slice(b"%PDF-1.7\n");
    let mut all = Vec::new();
    for (at, person) in people.iter().enumerate() {
        let get = Template::new("GET", verza.address()).bearer(&person.bearer);
        let posting = Template::new("POST", verza.address()).bearer(&person.bearer).json();
        let made = json!({ "title": "Diploma", "type": "degree", "issuer": "A University" });
        let made = posting.request("/v1/user/credentials", None, made.to_string().as_bytes());
        let mut credential = String::new();
        for answer in api.call_all(&vec![made; CREDENTIALS])? {
            credential = id_of(&answer.json(201)?);
        }
        // Of a content of its own: the same twice is told to whoever looks for fraud.
        content[10..18].copy_from_slice(&(at as u64).to_be_bytes());
        let file = id_of(&api.call(&form(verza, person, &content))?.json(201)?);
        let get = |path: &str| get.request(path, None, b"");
        let login = json!({ "email": entering[at].email, "password": PASSWORD }).to_string();
        let signing = Template::new("POST", verza.address()).json();
        all.push(Rc::new(Asking {
            me: get("/v1/me"),
            credential: get(&format!("/v1/user/credentials/{credential}")),
            page: get("/v1/user/credentials?limit=20"),
            notices: get("/v1/notifications?limit=20"),
            file: get(&format!("/v1/files/{file}/content")),
            trail: get("/v1/audit/logs?limit=20"),
            login: signing.request("/v1/auth/login", None, login.as_bytes()),
            posting,
            payee: people[(at + 1) % people.len()].id.clone(),
        }));
    }
    Ok(all)
}

fn id_of(made: &serde_json::Value) -> String {
    made["id"].as_str().unwrap_or_default().to_owned()
}

impl Workload for Overload {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        if side == Side::Reference {
            let load = self.closed.run(length)?;
            self.peak = self.peak.max(load.rate());
            return Ok(Slice::rate(load));
        }
        if self.peak == 0.0 {
            // Nobody has found out yet how much can be done.
            self.peak = self.closed.run(length)?.rate();
        }
        let (came, load) = self.offer(self.peak * TIMES, length)?;
        self.overloaded.merge(&came.latency);
        self.offered += load.answers;
        self.refused += came.refused;
        let slice = Slice::rate(load.clone());
        Ok(Slice { measure: came.well as f64 / load.seconds, ..slice })
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        const HALF: Duration = Duration::from_secs(5);
        let (half, _) = self.offer(self.peak * 0.5, HALF)?;
        let p99 = |histogram: &Histogram| histogram.quantile(0.99).as_secs_f64();
        let mut api = Generator::connect(self.verza.address(), 8)?;
        let total: i64 = people::balances(&mut api, &self.people)?.iter().sum();
        if total != people::FUNDS * self.people.len() as i64 {
            return Err(Failure::new(format!("{total} cents after the transfers")));
        }
        Ok(vec![
            Gauge {
                name: "p99 of what was answered well, by that at half of the load",
                unit: "",
                value: p99(&self.overloaded) / p99(&half.latency),
                better: Better::Lower,
                floor: 3.0,
                goal: 3.0,
            },
            Gauge {
                name: "share that was refused",
                unit: "",
                value: self.refused as f64 / self.offered.max(1) as f64,
                better: Better::Lower,
                floor: 1.0,
                goal: 1.0,
            },
        ])
    }
}
