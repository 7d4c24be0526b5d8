//! How adapters speak to providers: one request, its record, and the class of its failure.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use kernel::{Error, Result};
use platform::breaker::{Breaker, Policy};
use platform::db::Db;
use platform::outbound::{self, Peer};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::calls::{self, Call};
use super::port::{Failure, ProviderName};

/// From the first byte out to the last byte in.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// A provider that gives no answer five times in a row is left alone for a while, so that nobody
/// waits for a time-out that is to be expected. Then one tries. The rest is short: people wait at the
/// checkout.
const PATIENCE: Policy =
    Policy { failures_max: 4, interval: Duration::MAX, rest: Duration::from_secs(10), trials: 1 };
/// No answer that we understand is longer.
const ANSWER_MAX: usize = 1024 * 1024;

/// A provider's API at its base URL.
pub(super) struct Transport {
    name: ProviderName,
    peer: Peer,
    breaker: Breaker,
    db: Db,
}

/// A request about to be sent.
pub(super) struct Request<'a> {
    /// The port's verb, for the record.
    pub verb: &'static str,
    pub reference: &'a str,
    pub method: Method,
    /// With its query, escaped.
    pub path: String,
    pub body: Body,
    pub headers: Vec<(&'static str, String)>,
}

pub(super) enum Body {
    Empty,
    Json(Json),
    Form(Vec<(String, String)>),
}

/// What a provider answered.
pub(super) struct Answered {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Answered {
    /// The answer as the shape that it should have. One that cannot be read after a success may
    /// have had its effect.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::Unknown(format!("an answer that cannot be read ({}): {error}", self.status))
        })
    }
}

impl Transport {
    pub(super) fn new(name: ProviderName, base: &str, db: Db) -> Result<Self> {
        let peer = Peer::new(base, TIMEOUT, ANSWER_MAX)?;
        Ok(Self { name, peer, breaker: Breaker::new(name.as_str(), PATIENCE), db })
    }

    /// Sends a request; `classify` says what an answer that is no success means.
    pub(super) async fn send(
        &self,
        request: Request<'_>,
        classify: fn(&Answered) -> Failure,
    ) -> Result<Answered, Failure> {
        let now = self.db.world().now();
        let (body, media, shown) = written(&request.body);
        let shown = format!("{} {} {shown}", request.method, request.path);
        let headers = headers(&request.headers, media)
            .map_err(|error| Failure::Invalid(format!("a header cannot be written: {error}")))?;
        let Ok(permit) = self.breaker.enter(now) else {
            return Err(Failure::Retryable(format!("{} is left alone for now", self.name)));
        };
        let started = Instant::now();
        let answer = self.peer.exchange(request.method, &request.path, headers, body).await;
        let took = started.elapsed();
        let answered = match answer {
            Ok(answer) => {
                permit.succeeded(self.db.world().now());
                let answered = Answered { status: answer.status, body: answer.body };
                if answered.status.is_success() {
                    Ok(answered)
                } else {
                    Err((classify(&answered), Some(answered)))
                }
            }
            Err(failure) => {
                permit.failed(self.db.world().now());
                Err((without_answer(&failure), None))
            }
        };
        let heard = match &answered {
            Ok(answered) | Err((_, Some(answered))) => Some(answered),
            Err((_, None)) => None,
        };
        let call = Call {
            provider: self.name,
            verb: request.verb,
            reference: request.reference.to_owned(),
            request: shown,
            status: heard.map(|heard| heard.status.as_u16()),
            response: heard.map(|heard| calls::redact(&heard.body)).unwrap_or_default(),
            outcome: answered.as_ref().map_or_else(|(failure, _)| failure.class(), |_| "ok"),
            took,
            at: now,
        };
        calls::keep(&self.db, &call).await;
        answered.map_err(|(failure, _)| failure)
    }
}

/// Only a request that never left is known to have done nothing.
fn without_answer(failure: &outbound::Failure) -> Failure {
    match failure {
        outbound::Failure::Unreached(what) => Failure::Retryable(what.clone()),
        other => Failure::Unknown(other.to_string()),
    }
}

/// The body, its media type, and what the record shows of it.
fn written(body: &Body) -> (Bytes, Option<&'static str>, String) {
    match body {
        Body::Empty => (Bytes::new(), None, String::new()),
        Body::Json(json) => {
            let text = json.to_string();
            let shown = calls::redact(text.as_bytes());
            (Bytes::from(text), Some("application/json"), shown)
        }
        Body::Form(fields) => {
            let mut text = form_urlencoded::Serializer::new(String::new());
            text.extend_pairs(fields);
            let media = "application/x-www-form-urlencoded";
            (Bytes::from(text.finish()), Some(media), calls::redact_form(fields))
        }
    }
}

fn headers(given: &[(&'static str, String)], media: Option<&'static str>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let mut value = HeaderValue::from_str(value)
            .map_err(|error| Error::internal("no header value").because(error))?;
        value.set_sensitive(*name == "authorization");
        headers.insert(HeaderName::from_static(name), value);
    }
    if let Some(media) = media {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    }
    Ok(headers)
}
