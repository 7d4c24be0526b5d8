//! Verdicts by transfers: what a positive verdict costs, with its money, its signatures, its place
//! in the status list and its facts, by path 9a on the same server. Each is on disk before it is
//! answered. The jobs are made and taken through the API, outside of the time that counts.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value as Json;

use crate::bench::Bench;
use crate::client::{OwnedAnswer, Template};
use crate::failure::{Failure, Result};
use crate::load::{Driven, Generator};
use crate::random::FreshKeys;
use crate::verza::people::{self, Person};
use crate::verza::{Verza, market, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

use super::ledger;

/// As many as transfer in path 9a.
const CONNECTIONS: usize = 256;
const OWNERS: usize = 1_000;
const VERIFIERS: usize = 64;
/// Jobs of the first slice, from which the next ones are reckoned; and the most of any slice.
const JOBS_AT_FIRST: usize = 512;
const JOBS_MOST: usize = 30_000;

pub const POSITIVE: Declared = Declared {
    spec: Spec {
        name: "POST positive verdicts by 64 verifiers, 256 connections",
        reference: "path 9a on the same Verza",
        unit: "verdicts/s",
        reference_unit: "transfers/s",
        better: Better::Higher,
        floor: 0.30,
        goal: 0.50,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(Verdicts::prepare(bench)?)),
};

struct Verdicts {
    /// None once it is stopped.
    verza: Option<Verza>,
    owners: Vec<Person>,
    verifiers: Vec<Person>,
    api: Generator,
    keys: FreshKeys,
    transfers: Driven,
    given: u64,
    /// Of the last slice, in verdicts a second.
    rate: Option<f64>,
}

/// A job that waits for its verdict.
struct Job {
    id: String,
    verifier: usize,
}

fn id_of(answer: &OwnedAnswer, status: u16) -> Result<String> {
    let body = answer.json(status)?;
    let id = body["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| Failure::new(format!("no id in {body}")))
}

/// The user's id as a verifier.
fn verifier_id(person: &Person) -> String {
    format!("v_{}", person.id.trim_start_matches("u_"))
}

impl Verdicts {
    fn prepare(bench: &Bench) -> Result<Verdicts> {
        let verza = Verza::start(bench, &bench.folder("verdicts")?)?;
        let mut owners = people::join(&verza, OWNERS + VERIFIERS)?;
        let verifiers = owners.split_off(OWNERS);
        people::fund(&verza, &owners)?;
        let stopped = verza.stop()?;
        let looking = store::open_to_look(&stopped.database())?;
        let users = verifiers.iter().map(|person| store::user(&looking, &person.email));
        let users = users.collect::<Result<Vec<_>>>()?;
        drop(looking);
        store::fill(&stopped.database(), |connection| market::put_shops(connection, &users))?;
        // A refusal would be no verdict, and is another path's matter.
        let verza = Verza::start_with(bench, &stopped.folder, |options| {
            options.env("VERZA_LOAD_SHEDDING", "false")
        })?;
        // The token says what role its bearer has: one from before does not do.
        let emails: Vec<String> = verifiers.iter().map(|person| person.email.clone()).collect();
        let verifiers = people::sign_in(&verza, &emails)?;
        let api = Generator::connect(verza.address(), CONNECTIONS)?;
        let transfers = ledger::drive(&verza, &ledger::Book::new(&verza, &owners))?;
        let keys = FreshKeys::new();
        let verza = Some(verza);
        Ok(Verdicts { verza, owners, verifiers, api, keys, transfers, given: 0, rate: None })
    }

    /// Sends one request for each of `items`, and reads what each was answered.
    fn send_all<T, U>(
        &mut self,
        items: &[T],
        request: impl Fn(&Self, usize, &T, u128) -> Bytes,
        read: impl Fn(&OwnedAnswer) -> Result<U>,
    ) -> Result<Vec<U>> {
        let mut requests = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let key = self.keys.fresh();
            requests.push(request(self, place, item, key));
        }
        self.api.call_all(&requests)?.iter().map(read).collect()
    }

    fn by(&self, person: &Person) -> Template {
        Template::new("POST", self.api.address()).bearer(&person.bearer).json()
    }

    /// Credentials, requests, and verifiers who have accepted them.
    fn jobs(&mut self, count: usize) -> Result<Vec<Job>> {
        let new = r#"{"title":"Bachelor","type":"Education","issuer":"University X"}"#;
        let owner_of = |place: usize| place % OWNERS;
        let credential = |me: &Self, place: usize, (): &(), key| {
            let by = me.by(&me.owners[owner_of(place)]);
            by.request("/v1/user/credentials", Some(key), new.as_bytes())
        };
        let credentials =
            self.send_all(&vec![(); count], credential, |answer| id_of(answer, 201))?;
        let request = |me: &Self, place: usize, credential: &String, key| {
            let verifier = verifier_id(&me.verifiers[place % VERIFIERS]);
            let body =
                format!("{{\"credentialId\":\"{credential}\",\"verifierId\":\"{verifier}\"}}");
            let by = me.by(&me.owners[owner_of(place)]);
            by.request("/v1/user/verifications", Some(key), body.as_bytes())
        };
        let ids = self.send_all(&credentials, request, |answer| id_of(answer, 201))?;
        let jobs = ids.into_iter().enumerate();
        let jobs: Vec<Job> =
            jobs.map(|(place, id)| Job { id, verifier: place % VERIFIERS }).collect();
        let accept = |me: &Self, _: usize, job: &Job, key| {
            let path = format!("/v1/verifier/jobs/{}/accept", job.id);
            me.by(&me.verifiers[job.verifier]).request(&path, Some(key), b"{}")
        };
        self.send_all(&jobs, accept, |answer| answer.json(200).map(drop))?;
        Ok(jobs)
    }

    /// As many verdicts as fit into about this time.
    fn judge(&mut self, length: Duration) -> Result<Slice> {
        let expected = self.rate.map(|rate| (rate * length.as_secs_f64()) as usize);
        let count = expected.unwrap_or(JOBS_AT_FIRST).clamp(CONNECTIONS, JOBS_MOST);
        let jobs = self.jobs(count)?;
        let verdict = r#"{"verdict":"verified","comments":"All checks passed."}"#;
        let mut requests = Vec::with_capacity(count);
        for job in &jobs {
            let path = format!("/v1/verifier/jobs/{}/complete", job.id);
            let by = self.by(&self.verifiers[job.verifier]);
            requests.push(by.request(&path, Some(self.keys.fresh()), verdict.as_bytes()));
        }
        let begun = Instant::now();
        let answers = self.api.call_all(&requests)?;
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        for answer in &answers {
            let body: Json = answer.json(200)?;
            if body["status"] != "verified" || !body["issuedId"].is_string() {
                return Err(Failure::new(format!("no verdict: {body}")));
            }
        }
        self.given += count as u64;
        self.rate = Some(rate);
        Ok(Slice::of(rate))
    }
}

impl Workload for Verdicts {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        match side {
            Side::Ours => self.judge(length),
            Side::Reference => Ok(Slice::rate(self.transfers.run(length)?)),
        }
    }

    /// Every verdict that was answered is there, signed once at a place of its own, and the books
    /// balance.
    fn check(&mut self) -> Result<Vec<Gauge>> {
        let verza = self.verza.take().ok_or_else(|| Failure::new("Verza was stopped before"))?;
        let stopped = verza.stop()?;
        stopped.check_ledger()?;
        let connection = store::open_to_look(&stopped.database())?;
        let count = |sql: &str| -> Result<u64> {
            Ok(connection.query_row(sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
        };
        for sql in [
            "SELECT count(*) FROM verifications WHERE state = 'verified' AND issued IS NOT NULL",
            "SELECT count(DISTINCT verification) FROM issued_credentials",
            "SELECT count(*) FROM (SELECT DISTINCT list, place FROM issued_credentials)",
            "SELECT count(*) FROM facts WHERE verb = 'verification.verified'",
            "SELECT count(*) FROM ledger_hold WHERE state = 'captured'",
        ] {
            let found = count(sql)?;
            if found != self.given {
                return Err(Failure::new(format!("{found} of {}: {sql}", self.given)));
            }
        }
        Ok(Vec::new())
    }
}
