//! The closed-loop generator: a number of connections, each sending its next request when the
//! last one is answered.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::runtime::{Builder, Runtime};

use crate::client::{Answer, Connection, OwnedAnswer};
use crate::histogram::Histogram;
use crate::machine::thread_seconds;
use crate::{Context, Failure, Result};

/// How long an answer may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one connection says, and how it judges what it hears.
pub trait Script {
    /// The next request: bytes of its own, or made in `scratch`, which comes empty.
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8];

    /// Refuses an answer that is not the work that was asked for. An error ends the run.
    fn judge(&mut self, answer: &Answer<'_>) -> Result<()>;

    /// Hears how long an answer of this status took.
    fn took(&mut self, _status: u16, _took: Duration) {}
}

/// The answer that counts as done.
#[derive(Clone, Debug)]
pub struct Expect {
    status: u16,
    body: Option<Bytes>,
}

impl Expect {
    /// Any body with this status.
    pub fn status(status: u16) -> Expect {
        Expect { status, body: None }
    }

    /// Exactly this body with this status.
    pub fn body(status: u16, body: impl Into<Bytes>) -> Expect {
        Expect { status, body: Some(body.into()) }
    }

    pub fn judge(&self, answer: &Answer<'_>) -> Result<()> {
        let body_fits = self.body.as_ref().is_none_or(|body| body == answer.body);
        if answer.status == self.status && body_fits {
            return Ok(());
        }
        let (status, found) = (self.status, answer.describe());
        let body = if body_fits { "" } else { " and another body" };
        Err(Failure::new(format!("expected status {status}{body}, found {found}")))
    }
}

/// A script that repeats one request.
pub struct Always {
    request: Bytes,
    expect: Expect,
}

impl Always {
    /// One such script for each of `connections`.
    pub fn scripts(connections: usize, request: &Bytes, expect: &Expect) -> Vec<Box<dyn Script>> {
        let script = || Always { request: request.clone(), expect: expect.clone() };
        (0..connections).map(|_| Box::new(script()) as Box<dyn Script>).collect()
    }
}

impl Script for Always {
    fn request<'a>(&'a mut self, _: &'a mut Vec<u8>) -> &'a [u8] {
        &self.request
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        self.expect.judge(answer)
    }
}

/// A script whose requests are written by a closure.
pub struct Varying<F> {
    write: F,
    expect: Expect,
}

impl<F: FnMut(&mut Vec<u8>) + 'static> Varying<F> {
    /// A script for each of `connections`, from the closure that `make` gives for its number.
    pub fn scripts(
        connections: usize,
        expect: &Expect,
        mut make: impl FnMut(usize) -> F,
    ) -> Vec<Box<dyn Script>> {
        let mut script = |number| Varying { write: make(number), expect: expect.clone() };
        (0..connections).map(|number| Box::new(script(number)) as Box<dyn Script>).collect()
    }
}

impl<F: FnMut(&mut Vec<u8>)> Script for Varying<F> {
    fn request<'a>(&'a mut self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        (self.write)(scratch);
        scratch
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        self.expect.judge(answer)
    }
}

/// What a stretch of load brought.
#[derive(Clone)]
pub struct Load {
    pub answers: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    pub latency: Histogram,
    /// The share of the time in which the generator's thread was running. Near 1, it measured
    /// itself.
    pub generator_busy: f64,
}

impl Load {
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }
}

/// Connections to one server, kept open between slices, and the runtime that drives them.
pub struct Generator {
    address: SocketAddr,
    runtime: Runtime,
    connections: Vec<Connection>,
}

impl Generator {
    pub fn connect(address: SocketAddr, connections: usize) -> Result<Generator> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let opening = (0..connections).map(|_| Connection::open(address));
        let connections = runtime.block_on(try_join_all(opening))?;
        Ok(Generator { address, runtime, connections })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// One request outside of any measurement, for preparing and checking.
    pub fn call(&mut self, request: &[u8]) -> Result<OwnedAnswer> {
        let exchange = async {
            let mut connection = Connection::open(self.address).await?;
            let answer = connection.exchange(request).await?;
            Ok(answer.to_owned())
        };
        self.runtime.block_on(within(PATIENCE, exchange))
    }

    /// Many requests outside of any measurement, over all connections at once; the answers in the
    /// order of the requests.
    pub fn call_all(&mut self, requests: &[Bytes]) -> Result<Vec<OwnedAnswer>> {
        let next = Cell::new(0);
        let answers = RefCell::new(vec![None; requests.len()]);
        let connections = &mut self.connections;
        let work = async {
            freshen(connections).await?;
            let lanes = connections.iter_mut().map(|connection| async {
                while let Some(request) = requests.get(next.get()) {
                    let place = next.replace(next.get() + 1);
                    let answer = within(PATIENCE, connection.exchange(request)).await?;
                    answers.borrow_mut()[place] = Some(answer.to_owned());
                }
                Ok::<(), Failure>(())
            });
            try_join_all(lanes).await
        };
        self.runtime.block_on(work)?;
        Ok(answers.into_inner().into_iter().flatten().collect())
    }

    /// Loads the server for `length`; the scripts (one a connection) carry on where they were.
    ///
    /// Requests under way at the end are awaited and counted, and so is the time they take.
    pub fn run(&mut self, scripts: &mut [Box<dyn Script>], length: Duration) -> Result<Load> {
        if scripts.len() != self.connections.len() {
            let (wanted, given) = (self.connections.len(), scripts.len());
            return Err(Failure::new(format!("{wanted} connections and {given} scripts")));
        }
        let busy_before = thread_seconds();
        let progress = RefCell::new(Progress::new());
        let connections = &mut self.connections;
        let work = async {
            freshen(connections).await?;
            let begun = Instant::now();
            let pairs = connections.iter_mut().zip(scripts.iter_mut());
            let driven = pairs.map(|(connection, script)| {
                drive(connection, script.as_mut(), begun + length, &progress)
            });
            try_join_all(driven).await?;
            Ok(begun)
        };
        let begun = self.runtime.block_on(within(length + PATIENCE, work))?;
        let Progress { latency, last } = progress.into_inner();
        let seconds = last.saturating_duration_since(begun).as_secs_f64();
        if latency.total() == 0 {
            return Err(Failure::new("no request was sent"));
        }
        let busy = thread_seconds().zip(busy_before).map_or(0.0, |(now, then)| now - then);
        let generator_busy = (busy / seconds).min(1.0);
        Ok(Load { answers: latency.total(), seconds, latency, generator_busy })
    }

    /// Sends `rate` requests a second for `length`, whether those before are answered or not: who
    /// finds no free connection when it is due is sent on the first that is free, and has waited
    /// since then. What is due later than the end is not sent.
    pub fn offer(
        &mut self,
        scripts: &mut [Box<dyn Script>],
        rate: f64,
        length: Duration,
    ) -> Result<Load> {
        let busy_before = thread_seconds();
        let (progress, next) = (RefCell::new(Progress::new()), Cell::new(0_u64));
        let connections = &mut self.connections;
        let work = async {
            freshen(connections).await?;
            let begun = Instant::now();
            let due =
                Due { begun, every: Duration::from_secs_f64(1.0 / rate), length, next: &next };
            let pairs = connections.iter_mut().zip(scripts.iter_mut());
            let offered = pairs.map(|(connection, script)| {
                offer_one(connection, script.as_mut(), &due, &progress)
            });
            try_join_all(offered).await?;
            Ok(begun)
        };
        let begun = self.runtime.block_on(within(length + PATIENCE, work))?;
        let Progress { latency, last } = progress.into_inner();
        let seconds = last.saturating_duration_since(begun).as_secs_f64();
        let busy = thread_seconds().zip(busy_before).map_or(0.0, |(now, then)| now - then);
        let generator_busy = (busy / seconds).min(1.0);
        Ok(Load { answers: latency.total(), seconds, latency, generator_busy })
    }
}

/// A generator with its scripts: one side of a workload over HTTP.
pub struct Driven {
    pub generator: Generator,
    pub scripts: Vec<Box<dyn Script>>,
}

impl Driven {
    /// As many connections to `address` as there are scripts.
    pub fn new(address: SocketAddr, scripts: Vec<Box<dyn Script>>) -> Result<Driven> {
        Ok(Driven { generator: Generator::connect(address, scripts.len())?, scripts })
    }

    pub fn run(&mut self, length: Duration) -> Result<Load> {
        self.generator.run(&mut self.scripts, length)
    }

    pub fn offer(&mut self, rate: f64, length: Duration) -> Result<Load> {
        self.generator.offer(&mut self.scripts, rate, length)
    }
}

struct Progress {
    latency: Histogram,
    last: Instant,
}

impl Progress {
    fn new() -> Progress {
        Progress { latency: Histogram::new(), last: Instant::now() }
    }

    fn record(&mut self, begun: Instant) {
        self.last = Instant::now();
        self.latency.record(self.last - begun);
    }
}

async fn within<T>(length: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(length, work).await.context("no answer for too long")?
}

async fn freshen(connections: &mut [Connection]) -> Result<()> {
    // Between slices nobody drives the runtime; a short sleep lets it learn what happened since.
    tokio::time::sleep(Duration::from_millis(1)).await;
    try_join_all(connections.iter_mut().map(Connection::freshen)).await?;
    Ok(())
}

async fn drive(
    connection: &mut Connection,
    script: &mut dyn Script,
    deadline: Instant,
    progress: &RefCell<Progress>,
) -> Result<()> {
    let mut scratch = Vec::new();
    loop {
        scratch.clear();
        let request = script.request(&mut scratch);
        // After the request is made, so that making it is not counted as waiting for it.
        let begun = Instant::now();
        if begun >= deadline {
            return Ok(());
        }
        let answer = connection.exchange(request).await?;
        progress.borrow_mut().record(begun);
        script.judge(&answer)?;
        script.took(answer.status, begun.elapsed());
    }
}

/// When the next request is due: they are due one after the other, at one pace.
struct Due<'a> {
    begun: Instant,
    every: Duration,
    length: Duration,
    next: &'a Cell<u64>,
}

impl Due<'_> {
    /// None after the end. A generator that cannot keep the pace sends less, and shows that in how
    /// busy it was.
    fn take(&self) -> Option<Instant> {
        let number = self.next.replace(self.next.get() + 1);
        let after = self.every.mul_f64(number as f64);
        (after < self.length && self.begun.elapsed() < self.length).then(|| self.begun + after)
    }
}

async fn offer_one(
    connection: &mut Connection,
    script: &mut dyn Script,
    due: &Due<'_>,
    progress: &RefCell<Progress>,
) -> Result<()> {
    let mut scratch = Vec::new();
    while let Some(at) = due.take() {
        scratch.clear();
        let request = script.request(&mut scratch);
        // Who is late waits since it was due; who is early since the clock's coarse tick woke it.
        let mut begun = at;
        if Instant::now() < at {
            tokio::time::sleep_until(at.into()).await;
            begun = Instant::now();
        }
        let answer = connection.exchange(request).await?;
        progress.borrow_mut().record(begun);
        script.judge(&answer)?;
        script.took(answer.status, begun.elapsed());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Template;
    use crate::bare::http::Content;
    use crate::bare::http::tests::Running;
    use crate::random::FreshKeys;

    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn every_answer_of_a_bare_server_is_counted_and_checked() {
        let server = Running::start(Content::fixed("application/json", "{\"ok\":true}"));
        let mut generator = Generator::connect(server.address, 8).unwrap();
        let request = Template::new("GET", server.address).request("/", None, b"");
        let expect = Expect::body(200, "{\"ok\":true}");
        let mut scripts = Always::scripts(8, &request, &expect);
        for _ in 0..3 {
            let load = generator.run(&mut scripts, SHORT).unwrap();
            assert_eq!(load.answers, load.latency.total());
            assert!(load.answers >= 8 && load.seconds >= 0.1);
        }
    }

    #[test]
    fn requests_vary_and_large_bodies_pass_both_ways() {
        let body: String = "x".repeat(1 << 20);
        let server = Running::start(Content::fixed("text/plain", body.clone()));
        let mut generator = Generator::connect(server.address, 2).unwrap();
        let template = Template::new("POST", server.address);
        let sent = body.clone().into_bytes();
        let mut scripts = Varying::scripts(2, &Expect::body(200, body), |number| {
            let (template, sent) = (template.clone(), sent.clone());
            let mut keys = FreshKeys::new();
            move |out: &mut Vec<u8>| {
                let key = keys.fresh();
                template.write(out, &format!("/{number}/{key:x}"), Some(key), &sent);
            }
        });
        assert!(generator.run(&mut scripts, SHORT).unwrap().answers >= 2);
    }

    #[test]
    fn another_body_or_status_ends_the_run() {
        let server = Running::start(Content::fixed("text/plain", "yes"));
        let mut generator = Generator::connect(server.address, 1).unwrap();
        let request = Template::new("GET", server.address).request("/", None, b"");
        for expect in [Expect::body(200, "no"), Expect::status(201)] {
            let mut scripts = Always::scripts(1, &request, &expect);
            let error = generator.run(&mut scripts, SHORT).err().unwrap().to_string();
            assert!(error.contains("found status 200, body yes"), "{error}");
        }
    }

    #[test]
    fn many_calls_are_answered_in_the_order_they_were_asked_in() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        rusqlite::Connection::open(&database).unwrap();
        let content = Content::rows(database, "SELECT ?1 AS n");
        let server = Running::start(content);
        let mut generator = Generator::connect(server.address, 3).unwrap();
        let template = Template::new("GET", server.address);
        let ask = |number| template.request(&format!("/?p=i:{number}"), None, b"");
        let requests: Vec<Bytes> = (0..20).map(ask).collect();
        let answers = generator.call_all(&requests).unwrap();
        let found = answers.iter().map(|answer| answer.json(200).unwrap()[0]["n"].clone());
        assert!(found.eq((0..20).map(serde_json::Value::from)));
    }

    #[test]
    fn a_call_returns_the_whole_answer() {
        let server = Running::start(Content::fixed("application/json", "[1]"));
        let mut generator = Generator::connect(server.address, 1).unwrap();
        let request = Template::new("GET", server.address).request("/", None, b"");
        let answer = generator.call(&request).unwrap();
        assert_eq!(answer.header("Content-Type").as_deref(), Some("application/json"));
        assert_eq!(answer.json(200).unwrap(), serde_json::json!([1]));
        assert!(answer.json(204).is_err());
    }
}
