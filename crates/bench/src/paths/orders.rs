//! Path 13a: a call of the order service through the gateway, both in one process.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::bare::http::Content;
use crate::bench::Bench;
use crate::client::{OwnedAnswer, Template};
use crate::failure::{Failure, Result};
use crate::load::{Always, Driven, Expect, Generator};
use crate::process::Server;
use crate::verza::Verza;
use crate::verza::people;
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const CONNECTIONS: usize = 32;

pub const ONE_PROCESS: Declared = Declared {
    spec: Spec {
        name: "GET /v1/orders/{id} by bearer token, gateway and service in one process",
        reference: "bare-axum, same request and answer bytes",
        unit: "req/s",
        reference_unit: "req/s",
        better: Better::Higher,
        floor: 0.75,
        goal: 0.92,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Looking::prepare(bench)?)),
};

struct Looking {
    verza: Verza,
    _bare: Server,
    ours: Driven,
    reference: Driven,
    request: Bytes,
    body: Bytes,
}

/// An order, the request that asks for it, and what that was answered.
pub(super) fn order(verza: &Verza) -> Result<(Bytes, OwnedAnswer)> {
    let person = people::join(verza, 1)?.remove(0);
    let mut api = Generator::connect(verza.address(), 1)?;
    let post = Template::new("POST", verza.address()).bearer(&person.bearer).json();
    let order = json!({ "targetUrl": "https://video.example/watch?v=1", "serviceUrl": "https://service.example", "type": "likes", "quantity": 2 }).to_string();
    let made = api.call(&post.request("/v1/orders", Some(1), order.as_bytes()))?.json(201)?;
    let path = format!("/v1/orders/{}", made["id"].as_str().unwrap_or_default());
    let get = Template::new("GET", verza.address()).bearer(&person.bearer);
    let request = get.request(&path, None, b"");
    let first = api.call(&request)?;
    if first.json(200)?["id"] != made["id"] {
        return Err(Failure::new("another order was answered"));
    }
    Ok((request, first))
}

impl Looking {
    fn prepare(bench: &Bench) -> Result<Looking> {
        let verza = Verza::start(bench, &bench.folder("orders")?)?;
        let (request, first) = order(&verza)?;
        let (headers, body) = (first.given_headers(), Bytes::from(first.body));
        let bare = bench.spawn_bare(&Content::Fixed { headers, body: body.clone() })?;
        let expect = Expect::body(200, body.clone());
        let scripts = || Always::scripts(CONNECTIONS, &request, &expect);
        let ours = Driven::new(verza.address(), scripts())?;
        let reference = Driven::new(bare.address(), scripts())?;
        Ok(Looking { verza, _bare: bare, ours, reference, request, body })
    }
}

impl Workload for Looking {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        Ok(Slice::rate(side.pick(&mut self.ours, &mut self.reference).run(length)?))
    }

    /// The order is still the same.
    fn check(&mut self) -> Result<Vec<Gauge>> {
        let mut api = Generator::connect(self.verza.address(), 1)?;
        if api.call(&self.request)?.body == self.body {
            return Ok(Vec::new());
        }
        Err(Failure::new("the order has changed"))
    }
}
