//! Requests of clients, handed to the process that owns their route.
//!
//! The gateway has one table of routes, whatever runs where. For the rows of a context that runs
//! elsewhere the handler is [`Remote`]: everything that the edge does for a request is done, and
//! then the whole request crosses, by `proto/verza/routes.proto`. The other process runs the
//! handler that its own table has for it, and the answer comes back whole.

mod client;
mod server;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use kernel::{Caller, Error, Result, Secret};

pub use client::Remote;
pub(crate) use server::Served;

/// A request that has passed the edge.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Who asks, as the edge has established it.
    pub caller: Caller,
    /// The access token that the edge has issued in the place of one that is over.
    pub new_token: Option<Secret<String>>,
}

/// What the handler answered.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
}

/// A body as it comes.
pub type Body = UnsyncBoxBody<Bytes, Error>;

/// A context's routes, here or elsewhere.
pub trait Routes: Send + Sync {
    /// Answers a request.
    ///
    /// # Errors
    /// Whatever the handler refuses with, to be rendered by the edge; `Unavailable`
    /// `service_unavailable`, `service_timeout` where the handler cannot be reached.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Answer>>;
}
