//! The remote end: sends requests to the process that owns their route.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use kernel::{Error, Result};
use platform::fleet::{Board, Shards};
use tonic::Streaming;
use tonic::metadata::MetadataMap;

use super::{Answer, Body, Call, Routes};
use crate::peer::{Peer, Repeat};
use crate::wire::unreadable;
use crate::wire::v1::{self, route_part::Part};

const PATH: &str = "/verza.v1.Routes/Call";
/// A body that stops for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Headers of the one connection that they came on.
const OF_THE_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
];

/// The routes of a context in another process.
#[derive(Clone)]
pub struct Remote {
    peer: Peer,
    /// Of this process: what a handler has told elsewhere is forgotten here before its answer goes on.
    board: Arc<Board>,
}

impl Remote {
    pub const fn new(peer: Peer, board: Arc<Board>) -> Self {
        Self { peer, board }
    }

    async fn send(&self, call: Call) -> Result<Answer> {
        let idempotency = call.caller.idempotency.clone();
        let repeat = match call.method {
            Method::GET | Method::HEAD => Repeat::Safe,
            _ if idempotency.is_some() => Repeat::Safe,
            _ => Repeat::Unsent,
        };
        let carried = carried(&call);
        let request = v1::RouteRequest::from(call);
        let (first, rest) =
            self.peer.open::<_, v1::RoutePart>(PATH, request, carried, repeat).await?;
        let Some(Part::Head(head)) = first.part else {
            return Err(self.peer.garbage("an answer that does not begin with its head"));
        };
        let told = Shards::from_bytes(&head.told);
        let Some(told) = told else {
            return Err(self.peer.garbage("an answer whose head cannot be read"));
        };
        self.board.forget_shards(told);
        if let Some(idempotency) = idempotency.filter(|_| head.replayed) {
            idempotency.mark_replayed();
        }
        let status = u16::try_from(head.status).ok();
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let (Some(status), Some(headers)) = (status, read_headers(head.headers)) else {
            return Err(self.peer.garbage("an answer whose head cannot be read"));
        };
        let body = match head.body {
            Some(body) => Full::new(body).map_err(|never| match never {}).boxed_unsync(),
            None => body(self.peer.clone(), rest),
        };
        Ok(Answer { status, headers, body })
    }
}

impl Routes for Remote {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Answer>> {
        self.send(call).boxed()
    }
}

/// The pieces of an answer as they come.
fn body(peer: Peer, parts: Streaming<v1::RoutePart>) -> Body {
    let pieces = stream::try_unfold((peer, parts), |(peer, mut parts)| async move {
        let next = tokio::time::timeout(SILENCE_MAX, parts.message()).await;
        let next = next.map_err(|_| peer.away("service_timeout", "stopped in its answer"))?;
        match next.map_err(|status| peer.refusal(&status))? {
            Some(v1::RoutePart { part: Some(Part::Body(bytes)) }) => {
                Ok(Some((Frame::data(bytes), (peer, parts))))
            }
            Some(_) => Err(peer.garbage("an answer with two heads")),
            None => Ok(None),
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(pieces))
}

/// What whoever stands between us may look at of the trace that this is a part of.
fn carried(call: &Call) -> MetadataMap {
    let mut headers = HeaderMap::new();
    for name in ["traceparent", "tracestate"] {
        if let Some(value) = call.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    MetadataMap::from_headers(headers)
}

pub(super) fn write_headers(headers: &HeaderMap) -> Vec<v1::Header> {
    let crossing = headers.iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(name));
    let write = |(name, value): (&HeaderName, &HeaderValue)| v1::Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    crossing.map(write).collect()
}

pub(super) fn read_headers(wire: Vec<v1::Header>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(wire.len());
    for v1::Header { name, value } in wire {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
    }
    Some(headers)
}

impl From<Call> for v1::RouteRequest {
    fn from(call: Call) -> Self {
        Self {
            method: call.method.as_str().to_owned(),
            target: call.target,
            headers: write_headers(&call.headers),
            body: call.body,
            caller: Some(v1::Caller::from(&call.caller)),
            new_token: call.new_token.map(|token| token.expose().clone()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::RouteRequest> for Call {
    type Error = Error;

    fn try_from(wire: v1::RouteRequest) -> Result<Self> {
        let method = Method::from_bytes(wire.method.as_bytes());
        Ok(Self {
            caller: wire.caller.unwrap_or_default().read()?,
            method: method.map_err(|_| unreadable("method"))?,
            target: wire.target,
            headers: read_headers(wire.headers).ok_or_else(|| unreadable("headers"))?,
            body: wire.body,
            new_token: Some(wire.new_token).filter(|token| !token.is_empty()).map(Into::into),
        })
    }
}
