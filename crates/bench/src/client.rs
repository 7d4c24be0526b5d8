//! A small HTTP/1.1 client: what a generator needs, and cheap, because it shares the machine with
//! the server it measures.
//!
//! Requests are bytes made beforehand. Of an answer it reads the status and a body of known
//! length; a chunked body is an error, since no measured endpoint has a reason to send one.

use std::fmt::Display;
use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Context, Failure, Result};

/// The parts of a request that stay the same while path, key and body vary.
#[derive(Clone, Debug)]
pub struct Template {
    method: &'static str,
    headers: String,
}

impl Template {
    pub fn new(method: &'static str, address: SocketAddr) -> Template {
        Template { method, headers: format!("host: {address}\r\n") }
    }

    /// The template with one more header. The value is trusted to be one line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Display) -> Template {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// The template with a bearer token.
    #[must_use]
    pub fn bearer(self, token: &str) -> Template {
        self.header("authorization", format_args!("Bearer {token}"))
    }

    /// The template for JSON bodies.
    #[must_use]
    pub fn json(self) -> Template {
        self.header("content-type", "application/json")
    }

    /// Appends a request to `out`, with an `Idempotency-Key` when there is a key.
    pub fn write(&self, out: &mut Vec<u8>, path: &str, key: Option<u128>, body: &[u8]) {
        for part in [self.method, " ", path, " HTTP/1.1\r\n", &self.headers] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(key) = key {
            out.extend_from_slice(format!("idempotency-key: {key:032x}\r\n").as_bytes());
        }
        // A body of no bytes is still announced where the method has one (RFC 9110, 8.6).
        if !body.is_empty() || self.method != "GET" {
            out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    /// A whole request.
    pub fn request(&self, path: &str, key: Option<u128>, body: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.headers.len() + path.len() + body.len() + 96);
        self.write(&mut out, path, key, body);
        out.into()
    }
}

/// An answer, as it stands in the connection's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub status: u16,
    head: &'a [u8],
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers(self.head)
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The answer on its own.
    pub fn to_owned(&self) -> OwnedAnswer {
        OwnedAnswer { status: self.status, head: self.head.to_vec(), body: self.body.to_vec() }
    }

    /// The answer in short, for an error message.
    pub fn describe(&self) -> String {
        const SHOWN: usize = 500;
        let body = &self.body[..self.body.len().min(SHOWN)];
        format!("status {}, body {}", self.status, String::from_utf8_lossy(body))
    }
}

/// An answer outside of any connection.
#[derive(Clone, Debug)]
pub struct OwnedAnswer {
    pub status: u16,
    head: Vec<u8>,
    pub body: Vec<u8>,
}

impl OwnedAnswer {
    pub fn as_ref(&self) -> Answer<'_> {
        Answer { status: self.status, head: &self.head, body: &self.body }
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<String> {
        self.as_ref().header(name).map(str::to_owned)
    }

    /// All headers, in their order.
    pub fn headers(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        headers(&self.head).map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The headers that a server gave by its own doing: what its HTTP library adds is left to that.
    pub fn given_headers(&self) -> Vec<(String, String)> {
        let mut headers = self.headers();
        headers.retain(|(name, _)| name != "content-length" && name != "date");
        headers
    }

    /// The body as JSON, when the status is the expected one.
    pub fn json(&self, status: u16) -> Result<serde_json::Value> {
        if self.status != status {
            let found = self.as_ref().describe();
            return Err(Failure::new(format!("expected status {status}, found {found}")));
        }
        serde_json::from_slice(&self.body).context("the body is not JSON")
    }
}

/// A keep-alive connection with one request in flight at a time.
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The server announced that it closes after the last answer.
    closing: bool,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Connection> {
        const BUFFER: usize = 16 * 1024;
        let stream = connect(address).await?;
        Ok(Connection { address, stream, buffer: Vec::with_capacity(BUFFER), closing: false })
    }

    /// Connects anew when the server has closed the connection while it was idle.
    pub async fn freshen(&mut self) -> Result<()> {
        let idle = matches!(
            self.stream.try_read(&mut [0]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock
        );
        if !idle || self.closing {
            self.stream = connect(self.address).await?;
            self.closing = false;
        }
        Ok(())
    }

    /// Sends one whole request and reads its answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        if self.closing {
            self.stream = connect(self.address).await?;
            self.closing = false;
        }
        self.buffer.clear();
        let sent = self.stream.write_all(request).await;
        // A server may refuse a large body before it has read it all, and its refusal is worth
        // more than the broken pipe.
        match (self.receive().await, sent) {
            (Ok(head), _) => Ok(self.answer(&head)),
            (Err(_), Err(error)) => Err(error.into()),
            (Err(error), Ok(())) => Err(error),
        }
    }

    /// Reads until the buffer holds a whole answer.
    async fn receive(&mut self) -> Result<Head> {
        let head = loop {
            let searched = self.buffer.len();
            self.fill().await?;
            if let Some(end) = head_end(&self.buffer, searched) {
                break Head::parse(&self.buffer[..end])?;
            }
        };
        let whole = head.length + head.body_length;
        self.buffer.reserve(whole.saturating_sub(self.buffer.len()));
        while self.buffer.len() < whole {
            self.fill().await?;
        }
        if self.buffer.len() > whole {
            return Err(Failure::new("the server sent more than one answer to one request"));
        }
        self.closing = head.closing;
        Ok(head)
    }

    async fn fill(&mut self) -> Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(Failure::new("the server closed the connection instead of answering")),
            _ => Ok(()),
        }
    }

    fn answer(&self, head: &Head) -> Answer<'_> {
        let (lines, body) = self.buffer.split_at(head.length);
        Answer { status: head.status, head: lines, body }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What the head of an answer says about the rest.
struct Head {
    status: u16,
    /// Of the head itself, with the empty line.
    length: usize,
    body_length: usize,
    closing: bool,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Head> {
        let status = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| decimal(rest.get(..3)?));
        let status = status.and_then(|status| u16::try_from(status).ok());
        let status = status.ok_or_else(|| Failure::new("the answer is not HTTP/1.1"))?;
        let mut parsed = Head { status, length: head.len(), body_length: 0, closing: false };
        for (name, value) in headers(head) {
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = decimal(value);
                let length = length.ok_or_else(|| Failure::new("content-length is no number"))?;
                parsed.body_length = length;
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                return Err(Failure::new("the answer has a body of unknown length"));
            } else if name.eq_ignore_ascii_case(b"connection") {
                parsed.closing = value.eq_ignore_ascii_case(b"close");
            }
        }
        Ok(parsed)
    }
}

/// The end of the head (past its empty line), when it is there. The first `searched` bytes are
/// known to hold none.
fn head_end(buffer: &[u8], searched: usize) -> Option<usize> {
    let start = searched.saturating_sub(3);
    let found = buffer[start..].windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(start + found + 4)
}

/// The names and values of a head.
fn headers(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_whatever_the_case_of_its_names() {
        let text = b"HTTP/1.1 201 Created\r\nContent-LENGTH:  12 \r\nConnection: Close\r\n\r\n";
        let head = Head::parse(text).unwrap();
        assert_eq!((head.status, head.body_length, head.closing), (201, 12, true));
        assert_eq!(head.length, text.len());
        let answer = Answer { status: 201, head: text, body: b"" };
        assert_eq!(answer.header("content-length"), Some("12"));
        assert_eq!(answer.header("etag"), None);
    }

    #[test]
    fn what_it_cannot_read_is_an_error() {
        assert!(Head::parse(b"HTTP/1.0 200 OK\r\n\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n").is_err());
    }

    #[test]
    fn the_end_of_a_head_is_found_across_reads() {
        let text = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody";
        let end = text.len() - 4;
        for searched in 0..end {
            let whole = head_end(text, searched);
            let expected = if searched < end { Some(end) } else { None };
            assert_eq!(whole, expected, "{searched}");
        }
        assert_eq!(head_end(&text[..end - 1], 0), None);
    }

    #[test]
    fn a_template_writes_whole_requests() {
        let address = "127.0.0.1:80".parse().unwrap();
        let template = Template::new("POST", address).bearer("t").json();
        let request = template.request("/x", Some(10), b"{}");
        let expected = "POST /x HTTP/1.1\r\nhost: 127.0.0.1:80\r\nauthorization: Bearer t\r\n\
            content-type: application/json\r\n\
            idempotency-key: 0000000000000000000000000000000a\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(std::str::from_utf8(&request).unwrap(), expected);
        let get = Template::new("GET", address).request("/", None, b"");
        assert_eq!(&get[..], b"GET / HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\r\n");
    }
}
