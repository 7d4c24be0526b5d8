//! Looking into hostile files in a process apart: this program run once more, with bounds to its
//! memory and its time, which reads a file and writes down what it has found.
//!
//! The child is given nothing but the bytes: no environment, no folder, no database, no key. It
//! bounds itself before it reads the first of them, and the parent ends it when it is late.
//!
//! What goes in is the time (8 bytes, big-endian), the length of the authorities (4 bytes) and the
//! authorities in PEM, the length of the file (8 bytes) and the file. What comes out is one line of
//! JSON.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kernel::{Error, Result, Timestamp};
use platform::blob::Content;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use verify::pdf::{Anchors, Findings, inspect};

/// The largest file that is looked into: it lies in the child's memory.
pub(super) const FILE_MAX: u64 = 64 << 20;
/// Room for the file several times, beyond what the process has taken before.
const MEMORY: u64 = 512 << 20;
/// Seconds of computing.
const COMPUTING: u64 = 10;
/// How long a child may take in all; less than a worker holds a job.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer.
const ANSWER_MAX: u64 = 1 << 20;
const ANCHORS_MAX: usize = 4 << 20;

/// How files are looked into. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inspector {
    program: PathBuf,
    arguments: Arc<[String]>,
    /// PEM.
    anchors: Arc<[u8]>,
}

/// Why nothing was found out. Another attempt would end the same way but for the last.
#[derive(Debug)]
pub(super) enum Failure {
    /// It took too much time, too much memory, or broke.
    Gave(&'static str),
    /// Nothing is known of the file: the store or the system failed.
    Away(Error),
}

impl Inspector {
    /// One that runs `program` with `arguments`, whose `main` calls [`child`], and that believes in
    /// these authorities (PEM, perhaps none).
    ///
    /// # Errors
    /// `Invalid` `invalid_configuration`: what is given are no certificates.
    pub fn new(program: PathBuf, arguments: Vec<String>, anchors: &[u8]) -> Result<Self> {
        let wrong = |what: String| Error::invalid("invalid_configuration", what);
        if anchors.len() > ANCHORS_MAX {
            return Err(wrong("files.signature_anchors are too many certificates.".into()));
        }
        Anchors::parse(anchors)
            .map_err(|error| wrong(format!("files.signature_anchors: {error}.")))?;
        Ok(Self { program, arguments: arguments.into(), anchors: anchors.into() })
    }

    pub(super) async fn inspect(
        &self,
        content: Content,
        now: Timestamp,
    ) -> Result<Findings, Failure> {
        match tokio::time::timeout(PATIENCE, self.ask(content, now)).await {
            Ok(found) => found,
            Err(_) => Err(Failure::Gave("it took too long")),
        }
    }

    async fn ask(&self, mut content: Content, now: Timestamp) -> Result<Findings, Failure> {
        let broken = |error: std::io::Error| {
            let what = "The program that looks into files does not run.";
            Failure::Away(Error::unavailable("inspector_unavailable", what).because(error))
        };
        let mut child = Command::new(&self.program)
            .args(&*self.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(broken)?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::Gave("it has no pipes"));
        };
        let send = async {
            let length = u32::try_from(self.anchors.len()).unwrap_or_default();
            let length = length.to_be_bytes();
            let (now, size) = (now.seconds().to_be_bytes(), content.len().to_be_bytes());
            let head = [&now[..], &length, &self.anchors, &size];
            // A child that has died reads no further; what became of it is told by its end.
            let mut reads = input.write_all(&head.concat()).await.is_ok();
            while let Some(piece) = content.next().await {
                let piece = piece?;
                reads = reads && input.write_all(&piece).await.is_ok();
                if !reads {
                    break;
                }
            }
            drop(input);
            Ok(())
        };
        let receive = async {
            let mut answer = Vec::new();
            output.take(ANSWER_MAX).read_to_end(&mut answer).await.map(|_| answer)
        };
        let (sent, answer) = tokio::join!(send, receive);
        sent.map_err(Failure::Away)?;
        let answer = answer.map_err(broken)?;
        let status = child.wait().await.map_err(broken)?;
        if !status.success() {
            return Err(Failure::Gave("it took too much time or memory, or broke"));
        }
        // Test programs write of themselves around it.
        let mut lines = answer.split(|byte| *byte == b'\n');
        let line = lines.find(|line| line.starts_with(b"{")).unwrap_or_default();
        serde_json::from_slice(line).map_err(|_| Failure::Gave("it said nothing"))
    }
}

/// The addresses that this process has by now, in bytes: its allocator may have reserved many that
/// it does not use.
fn taken() -> u64 {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    // Where the system does not tell: what the usual allocator reserves.
    pages.unwrap_or(1 << 18).saturating_mul(PAGE)
}

/// The child: bounds itself, reads what it is given from standard input, and answers on standard
/// output. Nothing else of the program may run before it or beside it.
///
/// # Errors
/// Where it cannot bound itself, read or write.
pub fn child() -> std::io::Result<()> {
    bound()?;
    look()
}

/// Takes less from here on than a hostile file might make it take.
pub(super) fn bound() -> std::io::Result<()> {
    let bounds = [
        (Resource::As, taken().saturating_add(MEMORY)),
        (Resource::Cpu, COMPUTING),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nofile, 16),
    ];
    for (resource, most) in bounds {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

fn look() -> std::io::Result<()> {
    let mut input = std::io::stdin().lock();
    let (mut now, mut length) = ([0; 8], [0; 4]);
    input.read_exact(&mut now)?;
    input.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let mut anchors = vec![0; length.min(ANCHORS_MAX)];
    input.read_exact(&mut anchors)?;
    let anchors = Anchors::parse(&anchors).map_err(std::io::Error::other)?;
    let mut size = [0; 8];
    input.read_exact(&mut size)?;
    let size = u64::from_be_bytes(size).min(FILE_MAX);
    // Room for one byte more: that it is the end shows only behind it.
    let mut file = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    input.take(FILE_MAX).read_to_end(&mut file)?;
    let found = inspect(&file, &anchors, i64::from_be_bytes(now));
    let mut output = std::io::stdout().lock();
    writeln!(output, "\n{}", serde_json::to_string(&found)?)?;
    output.flush()
}
