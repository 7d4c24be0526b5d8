//! Path 7: files of 10 MiB, checked, hashed, synced and entered before they are answered.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::bare::upload::BareUpload;
use crate::bench::Bench;
use crate::client::{Answer, Template};
use crate::failure::{Context, Failure, Result};
use crate::load::{Driven, Generator, Script};
use crate::machine::Pinning;
use crate::verza::Verza;
use crate::verza::people::{self, Person};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const AT_ONCE: usize = 8;
const SIZE: usize = 10 << 20;
const MEGABYTES: f64 = SIZE as f64 / 1e6;

pub const FILES: Declared = Declared {
    spec: Spec {
        name: "POST /v1/files, multipart, 10 MiB, 8 connections",
        reference: "bare-sha-write: read from the page cache, hash, write, sync",
        unit: "MB/s",
        reference_unit: "MB/s",
        better: Better::Higher,
        floor: 0.70,
        goal: 0.92,
        durable: true,
    },
    prepare: |bench| Ok(Box::new(Upload::prepare(bench)?)),
};

/// Sends the same file again and again, and keeps the ids it gets.
struct Sending {
    request: Bytes,
    ids: Rc<RefCell<Vec<String>>>,
}

impl Script for Sending {
    fn request<'a>(&'a mut self, _: &'a mut Vec<u8>) -> &'a [u8] {
        &self.request
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        let body = answer.to_owned().json(201)?;
        let id = body["id"].as_str().ok_or_else(|| Failure::new(format!("no id in {body}")))?;
        self.ids.borrow_mut().push(id.to_owned());
        Ok(())
    }
}

/// A form with one file.
pub(super) fn form(verza: &Verza, person: &Person, content: &[u8]) -> Bytes {
    const BOUNDARY: &str = "a-boundary-that-chance-does-not-make";
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; \
         filename=\"diploma.pdf\"\r\ncontent-type: application/pdf\r\n\r\n"
    );
    let body = [head.as_bytes(), content, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat();
    Template::new("POST", verza.address())
        .header("cookie", &person.cookie)
        .header("content-type", format_args!("multipart/form-data; boundary={BOUNDARY}"))
        .request("/v1/files", None, &body)
}

struct Upload {
    verza: Verza,
    person: Person,
    content: Vec<u8>,
    driven: Driven,
    ids: Rc<RefCell<Vec<String>>>,
    pinning: Pinning,
    bare: BareUpload,
    /// What our slices sent, and what the kernel says was written for it.
    sent: u64,
    written: u64,
}

impl Upload {
    fn prepare(bench: &Bench) -> Result<Upload> {
        let bare = BareUpload::create(&bench.folder("upload-reference")?, SIZE)?;
        let mut content = fs::read(bare.source())?;
        content[..9].copy_from_slice(b"%PDF-1.7\n");
        let verza = Verza::start(bench, &bench.folder("upload")?)?;
        let person = people::join(&verza, 1)?.remove(0);
        let request = form(&verza, &person, &content);
        let ids = Rc::<RefCell<Vec<String>>>::default();
        let script = |_| {
            let (request, ids) = (request.clone(), ids.clone());
            Box::new(Sending { request, ids }) as Box<dyn Script>
        };
        let driven = Driven::new(verza.address(), (0..AT_ONCE).map(script).collect())?;
        let (pinning, sent, written) = (bench.pinning, 0, 0);
        Ok(Upload { verza, person, content, driven, ids, pinning, bare, sent, written })
    }

    fn ours(&mut self, length: Duration) -> Result<Slice> {
        let before = self.verza.bytes_written()?;
        let load = self.driven.run(length)?;
        self.written += self.verza.bytes_written()? - before;
        self.sent += load.answers * SIZE as u64;
        let slice = Slice::rate(load);
        self.clear()?;
        Ok(Slice { measure: slice.measure * MEGABYTES, ..slice })
    }

    /// Deletes what was uploaded, and waits until its bytes are gone from the disk: outside of
    /// the measured time, as on the other side.
    fn clear(&mut self) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(60);
        let delete = Template::new("DELETE", self.verza.address());
        let delete = delete.header("cookie", &self.person.cookie);
        let ids = self.ids.take();
        let request = |id: &String| delete.request(&format!("/v1/files/{id}"), None, b"");
        let requests: Vec<Bytes> = ids.iter().map(request).collect();
        let mut api = Generator::connect(self.verza.address(), AT_ONCE)?;
        for answer in api.call_all(&requests)? {
            answer.json(200)?;
        }
        let begun = Instant::now();
        while bytes_below(&self.verza.folder().join("blobs"))? > 0 {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new("deleted files stay on the disk"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A file comes back as it went in, and takes as much room as it has bytes.
    fn check_content(&mut self) -> Result<()> {
        let mut api = Generator::connect(self.verza.address(), 1)?;
        let made = api.call(&form(&self.verza, &self.person, &self.content))?.json(201)?;
        let id = made["id"].as_str().unwrap_or_default();
        let get = Template::new("GET", api.address()).header("cookie", &self.person.cookie);
        let answer = api.call(&get.request(&format!("/v1/files/{id}/content"), None, b""))?;
        if answer.status != 200 || answer.body != self.content {
            return Err(Failure::new("the download is not what was uploaded"));
        }
        let room = bytes_below(&self.verza.folder().join("blobs"))?;
        if room != SIZE as u64 {
            return Err(Failure::new(format!("a file of {SIZE} bytes takes {room}")));
        }
        self.ids.borrow_mut().push(id.to_owned());
        self.clear()
    }
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder).context(folder.display())? {
        let entry = entry?;
        // What is listed may be gone by now.
        let Ok(data) = entry.metadata() else { continue };
        sum += if data.is_dir() { bytes_below(&entry.path())? } else { data.len() };
    }
    Ok(sum)
}

impl Workload for Upload {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        if side == Side::Ours {
            return self.ours(length);
        }
        let bare = &self.bare;
        let work = self.pinning.on_server(|| bare.run(AT_ONCE, length))?;
        Ok(Slice::with_latency(work.rate() * MEGABYTES, work.latency))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        self.check_content()?;
        Ok(vec![Gauge {
            name: "bytes written to disk per byte uploaded, database included",
            unit: "",
            value: self.written as f64 / self.sent as f64,
            better: Better::Lower,
            floor: 1.005,
            goal: 1.005,
        }])
    }
}
