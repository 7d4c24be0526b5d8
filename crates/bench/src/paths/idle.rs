//! Connections that nobody says anything on: what ten thousand of them take.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::bench::Bench;
use crate::failure::{Context, Failure, Result};
use crate::verza::Verza;
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const CONNECTIONS: usize = 10_000;
/// What all of them may hold, in KiB.
const BOUND: u64 = 300 * 1024;

pub const CONNECTED: Declared = Declared {
    spec: Spec {
        name: "resident memory with 10 000 idle keep-alive connections",
        reference: "300 MiB",
        unit: "KiB",
        reference_unit: "KiB",
        better: Better::Lower,
        floor: 1.0,
        goal: 0.5,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Idle::prepare(bench)?)),
};

struct Idle {
    verza: Verza,
    before: u64,
    open: Vec<TcpStream>,
}

impl Idle {
    fn prepare(bench: &Bench) -> Result<Idle> {
        let verza = Verza::start_with(bench, &bench.folder("idle")?, |options| {
            options.env("VERZA_SERVER_CONNECTIONS_MAX", (CONNECTIONS + 100).to_string())
        })?;
        let before = verza.server().memory()?.now_kib;
        let mut open = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(verza.address()).context("a connection")?;
            ask(&mut stream)?;
            open.push(stream);
        }
        Ok(Idle { verza, before, open })
    }
}

/// One request whose answer is read.
fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut answer = [0; 2048];
    let read = stream.read(&mut answer)?;
    if answer[..read].starts_with(b"HTTP/1.1 200") {
        return Ok(());
    }
    Err(Failure::new("a connection was not answered"))
}

impl Workload for Idle {
    fn slice(&mut self, side: Side, _: Duration) -> Result<Slice> {
        let kib = match side {
            Side::Ours => self.verza.server().memory()?.now_kib,
            Side::Reference => BOUND,
        };
        Ok(Slice::of(kib as f64))
    }

    /// A connection that was idle is still good, unless the server has ended it for its idleness.
    fn check(&mut self) -> Result<Vec<Gauge>> {
        let now = self.verza.server().memory()?.now_kib;
        let each = (now.saturating_sub(self.before)) as f64 / self.open.len() as f64;
        Ok(vec![Gauge {
            name: "gained by each connection",
            unit: "KiB",
            value: each,
            better: Better::Lower,
            floor: 30.0,
            goal: 10.0,
        }])
    }
}
