//! A collector of traces: OTLP over gRPC, as far as it is asked for here.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use gateway::ServerOptions;
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Of opentelemetry/proto/trace/v1/trace.proto what is looked at, with its field numbers.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resources>,
}

#[derive(Clone, PartialEq, Message)]
struct Resources {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Text>,
}

#[derive(Clone, PartialEq, Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub parent: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
}

/// Takes what is sent to it until the test is over.
pub struct Collector {
    pub url: String,
    /// With the name of the service that sent it.
    taken: Arc<Mutex<Vec<(String, Span)>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let taken = Arc::<Mutex<Vec<_>>>::default();
        let keep = Arc::clone(&taken);
        let take = axum::routing::post(async move |body: Bytes| {
            // In front of the message: whether it is compressed, and its length.
            let export = Export::decode(&body[5..]).expect("it is what the standard says");
            keep.lock().extend(export.resources.into_iter().flat_map(by_service));
            let mut answer = Response::new(Body::from(&[0; 5][..]));
            let headers = answer.headers_mut();
            headers.insert("content-type", "application/grpc".parse().unwrap());
            headers.insert("grpc-status", "0".parse().unwrap());
            answer
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let (router, options) = (Router::new().route(path, take), ServerOptions::default());
        tokio::spawn(gateway::serve(listener, router, options, CancellationToken::new()));
        Self { url, taken }
    }

    /// The spans of a trace, each with its service.
    pub fn trace(&self, id: &str) -> Vec<(String, Span)> {
        let id = hex::decode(id).unwrap();
        let taken = self.taken.lock();
        taken.iter().filter(|(_, span)| span.trace == id).cloned().collect()
    }
}

fn by_service(resources: Resources) -> Vec<(String, Span)> {
    let attributes = resources.resource.unwrap_or_default().attributes;
    let name = attributes.into_iter().find(|attribute| attribute.key == "service.name");
    let name = name.and_then(|name| name.value).unwrap_or_default().text;
    let spans = resources.scopes.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| (name.clone(), span)).collect()
}

/// Those whose parent is neither among them nor this one.
pub fn astray(spans: &[(String, Span)], root: &str) -> Vec<(String, Span)> {
    let mut known: HashSet<Vec<u8>> = spans.iter().map(|(_, span)| span.id.clone()).collect();
    known.insert(hex::decode(root).unwrap());
    spans.iter().filter(|(_, span)| !known.contains(&span.parent)).cloned().collect()
}
