//! Calls to services that the operator has configured, such as an identity provider.
//!
//! The operator's word is what allows an address here, so private networks are as good as others.
//! What a *user* has named must never be called through this, but through [`guarded`].

mod authorities;
pub mod guarded;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use kernel::{Error, Result};
pub use reqwest::Client;

pub use self::authorities::authorities;
pub(crate) use self::authorities::tls;
use crate::trace::TRACEPARENT;

/// A service at a configured address: bounded in time and in what is read of an answer, and led
/// nowhere by redirects.
#[derive(Clone)]
pub struct Peer {
    client: reqwest::Client,
    base: Arc<str>,
    answer_max: usize,
}

/// What a peer answered, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer. The text is for the log.
#[derive(Debug)]
pub enum Failure {
    /// Not in time: connecting, waiting and reading together.
    TooSlow,
    /// More bytes than are taken of an answer.
    TooLarge,
    /// No connection came about: the request never left.
    Unreached(String),
    /// A connection that broke: the request may have had its effect.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSlow => f.write_str("no answer in time"),
            Self::TooLarge => f.write_str("the answer is too large"),
            Self::Unreached(what) | Self::Broken(what) => f.write_str(what),
        }
    }
}

impl Failure {
    /// In words for whoever has named the address: they tell nothing of the network here.
    pub const fn told(&self) -> &'static str {
        match self {
            Self::TooSlow => "no answer in time",
            Self::TooLarge => "the answer is too large",
            Self::Unreached(_) => "it cannot be reached",
            Self::Broken(_) => "the connection broke",
        }
    }
}

impl std::error::Error for Failure {}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        let is_unreached = error.is_connect();
        if error.is_timeout() && !is_unreached {
            return Self::TooSlow;
        }
        // The address is configuration and may carry a password.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        if is_unreached { Self::Unreached(text) } else { Self::Broken(text) }
    }
}

impl Peer {
    /// A peer at `base`, such as `http://kratos:4434`, whose answers come within `timeout` and are
    /// at most `answer_max` bytes long.
    ///
    /// # Errors
    /// `Invalid` `invalid_address`: not an http or https address.
    pub fn new(base: &str, timeout: Duration, answer_max: usize) -> Result<Self> {
        let base = base.trim_end_matches('/');
        let wrong = || {
            let what = "An address must read like http://kratos:4433, without query or fragment.";
            Error::invalid("invalid_address", what)
        };
        let url = reqwest::Url::parse(base).map_err(|_| wrong())?;
        let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
        if !is_web || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong());
        }
        Ok(Self { client: client(timeout)?, base: base.into(), answer_max })
    }

    /// Sends a request without a body to `path`, which starts with a slash and is escaped.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Answer, Failure> {
        self.exchange(method, path, headers, Bytes::new()).await
    }

    /// Sends a request with a body, whose media type is among the headers.
    pub async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let url = format!("{}{path}", self.base);
        let mut headers = headers;
        if let Some(trace) = crate::trace::current() {
            headers.insert(TRACEPARENT, trace.header());
        }
        let mut request = self.client.request(method, url).headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let mut response = request.send().await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > self.answer_max {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer { status: response.status(), headers, body: body.freeze() })
    }
}

/// A client for bodies of any length: bounded in connecting and in silence, not in time.
pub(crate) fn streaming_client(connect: Duration, silence: Duration) -> Result<reqwest::Client> {
    builder(None)?
        .connect_timeout(connect)
        .read_timeout(silence)
        .build()
        .map_err(|error| Error::internal("no HTTP client").because(error))
}

/// A client for short calls to configured addresses, each over within `timeout`.
///
/// # Errors
/// Internal, when there is no TLS to be had.
pub fn client(timeout: Duration) -> Result<Client> {
    client_believing(timeout, None)
}

/// The same, which believes one more authority's certificates: PEM.
///
/// # Errors
/// Those, and `Invalid` `invalid_configuration` where that is no certificate.
pub fn client_believing(timeout: Duration, authority: Option<&[u8]>) -> Result<Client> {
    builder(authority)?
        .connect_timeout(timeout)
        .timeout(timeout)
        .build()
        .map_err(|error| Error::internal("no HTTP client").because(error))
}

fn builder(authority: Option<&[u8]>) -> Result<reqwest::ClientBuilder> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls(authority)?)
        .redirect(reqwest::redirect::Policy::none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_are_peers() {
        let peer = |base| Peer::new(base, Duration::from_secs(1), 10);
        for base in ["http://kratos:4433", "https://10.0.0.7/kratos/", "http://[::1]:4434"] {
            assert!(peer(base).is_ok(), "{base}");
        }
        for base in ["", "kratos:4433", "ftp://kratos", "http://", "http://k?x=1", "http://k#x"] {
            assert_eq!(peer(base).err().unwrap().code(), "invalid_address", "{base}");
        }
    }
}
