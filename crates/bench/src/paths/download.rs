//! Path 6: files as their owner downloads them, beside nginx with `sendfile` and nobody to ask.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Context, Failure, Result};
use crate::load::{Driven, Generator, Script};
use crate::process::{Server, ServerCommand, free_address};
use crate::random::Random;
use crate::verza::Verza;
use crate::verza::people::{self, Person};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

use super::upload::form;

const CONNECTIONS: usize = 16;

const SPEC: Spec = Spec {
    name: "",
    reference: "nginx, one worker, sendfile, the same file",
    unit: "MB/s",
    reference_unit: "MB/s",
    better: Better::Higher,
    floor: 0.0,
    goal: 0.0,
    durable: false,
};

pub const SMALL: Declared = Declared {
    spec: Spec {
        name: "GET /v1/files/{id}/content, 64 KiB, 16 connections",
        floor: 0.5,
        goal: 0.80,
        ..SPEC
    },
    prepare: |bench| Ok(Box::new(Download::prepare(bench, 64 << 10)?)),
};

pub const MIDDLE: Declared = Declared {
    spec: Spec {
        name: "GET /v1/files/{id}/content, 1 MiB, 16 connections",
        floor: 0.7,
        goal: 0.95,
        ..SPEC
    },
    prepare: |bench| Ok(Box::new(Download::prepare(bench, 1 << 20)?)),
};

pub const LARGE: Declared = Declared {
    spec: Spec {
        name: "GET /v1/files/{id}/content, 10 MiB, 16 connections",
        floor: 0.8,
        goal: 1.0,
        ..SPEC
    },
    prepare: |bench| Ok(Box::new(Download::prepare(bench, 10 << 20)?)),
};

/// Asks for one file, and looks at the size of what comes: its bytes are compared at the end.
struct Fetching {
    request: Bytes,
    size: usize,
}

impl Script for Fetching {
    fn request<'a>(&'a mut self, _: &'a mut Vec<u8>) -> &'a [u8] {
        &self.request
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        if answer.status == 200 && answer.body.len() == self.size {
            return Ok(());
        }
        let (status, length) = (answer.status, answer.body.len());
        Err(Failure::new(format!("expected {} bytes, found {length}, status {status}", self.size)))
    }
}

fn drive(address: SocketAddr, request: &Bytes, size: usize) -> Result<Driven> {
    let script = |_| Box::new(Fetching { request: request.clone(), size }) as Box<dyn Script>;
    Driven::new(address, (0..CONNECTIONS).map(script).collect())
}

/// One side, with what its slices took.
struct Sent {
    driven: Driven,
    request: Bytes,
    cpu_seconds: f64,
    gigabytes: f64,
}

impl Sent {
    fn new(address: SocketAddr, request: Bytes, size: usize) -> Result<Sent> {
        let driven = drive(address, &request, size)?;
        Ok(Sent { driven, request, cpu_seconds: 0.0, gigabytes: 0.0 })
    }

    fn run(&mut self, server: &Servers, size: usize, length: Duration) -> Result<Slice> {
        let before = server.cpu_seconds()?;
        let load = self.driven.run(length)?;
        self.cpu_seconds += server.cpu_seconds()? - before;
        self.gigabytes += load.answers as f64 * size as f64 / 1e9;
        let slice = Slice::rate(load);
        Ok(Slice { measure: slice.measure * size as f64 / 1e6, ..slice })
    }

    fn cost(&self) -> f64 {
        self.cpu_seconds / self.gigabytes
    }
}

/// Where the processor time is read: of one process, or of nginx's master and its worker.
struct Servers(Vec<u32>);

impl Servers {
    fn of(server: &Server) -> Result<Servers> {
        let pid = server.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(&path).context(path)?;
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        Ok(Servers([pid].into_iter().chain(children).collect()))
    }

    fn cpu_seconds(&self) -> Result<f64> {
        self.0.iter().map(|pid| crate::process::cpu_seconds(*pid)).sum()
    }
}

struct Download {
    verza: Verza,
    person: Person,
    _nginx: Server,
    ours: (Sent, Servers),
    reference: (Sent, Servers),
    content: Vec<u8>,
}

impl Download {
    fn prepare(bench: &Bench, size: usize) -> Result<Download> {
        let mut random = Random::new(size as u64);
        let mut content: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
        content[..9].copy_from_slice(b"%PDF-1.7\n");
        let verza = Verza::start(bench, &bench.folder("download")?)?;
        let person = people::join(&verza, 1)?.remove(0);
        let mut api = Generator::connect(verza.address(), 1)?;
        let made = api.call(&form(&verza, &person, &content))?.json(201)?;
        let id = made["id"].as_str().unwrap_or_default();
        let get = Template::new("GET", verza.address()).header("cookie", &person.cookie);
        let request = get.request(&format!("/v1/files/{id}/content"), None, b"");
        let nginx = nginx(bench, &content)?;
        let ours = (Sent::new(verza.address(), request, size)?, Servers::of(verza.server())?);
        let request = Template::new("GET", nginx.address()).request("/file.pdf", None, b"");
        let reference = (Sent::new(nginx.address(), request, size)?, Servers::of(&nginx)?);
        Ok(Download { verza, person, _nginx: nginx, ours, reference, content })
    }

    /// Every byte, and a part of them, as RFC 9110 has it; and nobody else's.
    fn check_contents(&self) -> Result<()> {
        let mut api = Generator::connect(self.verza.address(), 1)?;
        let whole = api.call(&self.ours.0.request)?;
        if whole.status != 200 || whole.body != self.content {
            return Err(Failure::new("the download is not what was uploaded"));
        }
        let path = path_of(&self.ours.0.request);
        let get = Template::new("GET", self.verza.address());
        let asking = get.clone().header("cookie", &self.person.cookie);
        let part = api.call(&asking.header("range", "bytes=100-199").request(&path, None, b""))?;
        if part.status != 206 || part.body != self.content[100..200] {
            return Err(Failure::new("a part of the file is another one than was asked for"));
        }
        let nobody = api.call(&get.request(&path, None, b""))?;
        if nobody.status != 401 {
            let found = nobody.as_ref().describe();
            return Err(Failure::new(format!("somebody who is nobody was given: {found}")));
        }
        Ok(())
    }

    /// What a reader holds who asks for the file and reads hardly anything of it.
    fn slow_readers(&self) -> Result<f64> {
        const READERS: usize = 256;
        let before = self.verza.server().memory()?.now_kib;
        let mut readers = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let mut stream = TcpStream::connect(self.verza.address()).context("a reader")?;
            stream.write_all(&self.ours.0.request)?;
            stream.read_exact(&mut [0; 1024])?;
            readers.push(stream);
        }
        let now = self.verza.server().memory()?.now_kib;
        Ok(now.saturating_sub(before) as f64 / READERS as f64)
    }
}

fn path_of(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// nginx with one worker and one file.
fn nginx(bench: &Bench, content: &[u8]) -> Result<Server> {
    let folder = bench.folder("nginx")?;
    let address = free_address()?;
    fs::create_dir(folder.join("www"))?;
    fs::write(folder.join("www/file.pdf"), content)?;
    fs::write(folder.join("www/readyz"), "ready")?;
    let place = folder.display();
    let configuration = format!(
        "daemon off; worker_processes 1; pid {place}/pid; error_log stderr; user root;
         events {{ worker_connections 1024; }}
         http {{
             access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
             types {{ application/pdf pdf; }}
             client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
             fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;
             scgi_temp_path {place}/scgi;
             server {{ listen {address}; root {place}/www; }}
         }}"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from);
    let program = program.into_iter().find(|program| program.is_file());
    Server::spawn(&ServerCommand {
        program: program.ok_or_else(|| Failure::new("nginx is not installed here"))?,
        arguments: vec!["-c".into(), file.into(), "-e".into(), "stderr".into()],
        environment: Vec::new(),
        address,
        ready_path: "/readyz".to_owned(),
        log: folder.join("log"),
        core: bench.pinning.server,
    })
}

impl Workload for Download {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let (sent, servers) = side.pick(&mut self.ours, &mut self.reference);
        sent.run(servers, self.content.len(), length)
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        self.check_contents()?;
        let cost = Gauge {
            name: "processor time a byte, beside nginx",
            unit: "times",
            value: self.ours.0.cost() / self.reference.0.cost(),
            better: Better::Lower,
            // The table asks for a goal only.
            floor: f64::INFINITY,
            goal: 1.15,
        };
        let memory = Gauge {
            name: "gained by each of 256 slow readers",
            unit: "KiB",
            value: self.slow_readers()?,
            better: Better::Lower,
            floor: 64.0,
            goal: 64.0,
        };
        Ok(vec![cost, memory])
    }
}
