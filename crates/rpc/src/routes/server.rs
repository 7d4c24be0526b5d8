//! The routes of this process, for the gateway in another one.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body::Body as _;
use http_body_util::{BodyExt, BodyStream};
use kernel::Result;
use platform::fleet::gather;
use tonic::{Request, Response, Status};

use super::client::write_headers;
use super::{Answer, Body, Call, Routes};
use crate::server::Inside;
use crate::status::to_status;
use crate::wire::v1::{self, route_part::Part};

/// Bodies up to here stand in the head: one message, not three.
const WHOLE_MAX: u64 = 64 * 1024;

/// The routes behind the listener.
pub(crate) struct Served {
    inside: Arc<Inside>,
    routes: Arc<dyn Routes>,
}

impl Served {
    pub(crate) fn new(inside: Arc<Inside>, routes: Arc<dyn Routes>) -> Self {
        Self { inside, routes }
    }

    async fn answer(&self, request: v1::RouteRequest) -> Result<Parts> {
        let call = Call::try_from(request)?;
        let idempotency = call.caller.idempotency.clone();
        let (answered, told) = gather(self.routes.call(call)).await;
        let Answer { status, headers, body } = answered?;
        let whole = body.size_hint().exact().is_some_and(|size| size <= WHOLE_MAX);
        let (whole, rest) =
            if whole { (Some(body.collect().await?.to_bytes()), None) } else { (None, Some(body)) };
        let head = part(Part::Head(v1::RouteHead {
            status: status.as_u16().into(),
            headers: write_headers(&headers),
            replayed: idempotency.is_some_and(|idempotency| idempotency.is_replayed()),
            body: whole,
            told: told.to_bytes().into(),
        }));
        let head = stream::iter([Ok(head)]);
        Ok(match rest {
            None => Box::pin(head),
            Some(rest) => Box::pin(head.chain(pieces(rest))),
        })
    }
}

fn part(part: Part) -> v1::RoutePart {
    v1::RoutePart { part: Some(part) }
}

fn pieces(body: Body) -> impl Stream<Item = Result<v1::RoutePart, Status>> + Send {
    BodyStream::new(body).filter_map(|frame| {
        std::future::ready(match frame {
            Ok(frame) => frame.into_data().ok().map(|bytes: Bytes| Ok(part(Part::Body(bytes)))),
            Err(error) => Some(Err(to_status(&error))),
        })
    })
}

type Parts = Pin<Box<dyn Stream<Item = Result<v1::RoutePart, Status>> + Send>>;

#[tonic::async_trait]
impl v1::routes_server::Routes for Served {
    type CallStream = Parts;

    async fn call(&self, request: Request<v1::RouteRequest>) -> Result<Response<Parts>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.inside.answer("Call", &metadata, self.answer(request)).await
    }
}
