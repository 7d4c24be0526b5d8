//! Asking clamd: its `INSTREAM` command, over TCP or a socket of this machine.
//!
//! A session is `zINSTREAM\0`, then chunks (their length in four bytes, big-endian, and the bytes),
//! then a length of zero; the answer is `stream: OK\0` or `stream: NAME FOUND\0`. Everything else
//! is no verdict, and without a verdict a file stays where it is.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use kernel::{Error, Result};
use platform::blob::Content;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long one file may take: less than a worker holds a job.
const PATIENCE: Duration = Duration::from_secs(50);
/// clamd answers a line, or one line of complaint.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Where clamd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scanner {
    /// `host:port`.
    Tcp(String),
    Unix(PathBuf),
}

/// What clamd says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Clean,
    /// With the name of what it has found.
    Infected(String),
}

impl Scanner {
    /// `clamav:3310`, or the path of a socket, which begins with `/`.
    pub fn parse(text: &str) -> Result<Self> {
        if text.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let port = text
            .rsplit_once(':')
            .and_then(|(host, port)| (!host.is_empty()).then_some(port)?.parse::<u16>().ok());
        match port {
            Some(_) => Ok(Self::Tcp(text.to_owned())),
            None => Err(Error::invalid("invalid_address", "Neither host:port nor a path.")),
        }
    }

    pub(super) async fn scan(&self, content: Content) -> Result<Verdict> {
        match tokio::time::timeout(PATIENCE, self.ask(content)).await {
            Ok(verdict) => verdict,
            Err(elapsed) => Err(away().because(elapsed)),
        }
    }

    async fn ask(&self, content: Content) -> Result<Verdict> {
        match self {
            Self::Tcp(address) => {
                let stream = tokio::net::TcpStream::connect(address);
                converse(stream.await.map_err(broken)?, content).await
            }
            Self::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path);
                converse(stream.await.map_err(broken)?, content).await
            }
        }
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    mut content: Content,
) -> Result<Verdict> {
    stream.write_all(b"zINSTREAM\0").await.map_err(broken)?;
    while let Some(piece) = content.next().await {
        let piece = piece?;
        let length = u32::try_from(piece.len())
            .map_err(|error| Error::internal("a piece of a blob is endless").because(error))?;
        // A length of zero is the end.
        if length > 0 {
            stream.write_all(&length.to_be_bytes()).await.map_err(broken)?;
            stream.write_all(&piece).await.map_err(broken)?;
        }
    }
    stream.write_all(&[0; 4]).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.map_err(broken)?;
    let answer = String::from_utf8_lossy(&answer);
    verdict(answer.trim_end_matches(['\0', '\n']))
}

fn verdict(answer: &str) -> Result<Verdict> {
    if answer == "stream: OK" {
        return Ok(Verdict::Clean);
    }
    let found = answer.strip_prefix("stream: ").and_then(|rest| rest.strip_suffix(" FOUND"));
    match found {
        Some(name) => Ok(Verdict::Infected(name.to_owned())),
        None => Err(away().because(Said(answer.to_owned()))),
    }
}

/// What clamd has said instead of a verdict, for the log.
#[derive(Debug)]
struct Said(String);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "clamd said {:?}", self.0)
    }
}

impl std::error::Error for Said {}

fn broken(error: std::io::Error) -> Error {
    away().because(error)
}

fn away() -> Error {
    Error::unavailable("scanner_unavailable", "The virus scanner gives no verdict.")
}
