//! A connection to another process of the same platform: who may ask, how long an answer may
//! take, what is asked again, and what an answer that is none becomes.
//!
//! A peer that is away, hangs, answers garbage or does not believe us is one thing to whoever
//! asked: `Unavailable` with a `Retry-After`. Only what the peer itself has said, with our details
//! in its status, is passed on as it was said. Who fails again and again is left alone for a while
//! ([`platform::breaker`]).

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use kernel::{Error, Result, Secret, World};
use platform::breaker::Breaker;
use platform::retry::Budget;
use platform::trace;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, ConnectError, Status, Streaming, TimeoutExpired};
use tonic_prost::ProstCodec;

use crate::status::{from_status, is_ours};
use crate::tls::Secured;
pub use crate::tls::TlsFiles;

/// The largest message between our own processes, in bytes.
pub(crate) const MESSAGE_MAX: usize = 8 * 1024 * 1024;
/// The largest trailers, in bytes: an error with many fields stands in them.
const TRAILERS_MAX: u32 = 256 * 1024;
/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// A connection that does not answer a ping for so long is given up; pings are sent as often.
const PING_EVERY: Duration = Duration::from_secs(5);
/// How long whoever was refused for our sake waits before the next attempt, in seconds.
const RETRY_AFTER: u32 = 2;
/// The waits before the second and the third attempt.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// The code of who does not show the secret of the platform.
pub(crate) const STRANGER: &str = "unknown_peer";

/// How another process is reached.
#[derive(Clone)]
pub struct PeerOptions {
    /// What it is called in messages: `user service`.
    pub name: &'static str,
    /// `http://host:port`, or `https://host:port` for TLS.
    pub url: String,
    /// What all processes of the platform know and nobody else does.
    pub secret: Secret<String>,
    /// What we show of ourselves, and whom we believe; needed for `https`.
    pub tls: Option<TlsFiles>,
    /// How long a question may take.
    pub question_max: Duration,
    /// How long a request of a client may take.
    pub request_max: Duration,
    /// Whose clock the breaker goes by.
    pub world: World,
    /// Leaves the service alone for a while; all connections to it share it.
    pub breaker: Breaker,
}

/// Another process of the platform. Cheap to clone; connects when it is first asked, and again
/// whenever the connection is lost.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    name: &'static str,
    channel: Channel,
    authorization: MetadataValue<Ascii>,
    question_max: Duration,
    request_max: Duration,
    budget: Budget,
    world: World,
    breaker: Breaker,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("name", &self.0.name).finish_non_exhaustive()
    }
}

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing, or bears a key under which it acts once.
    Safe,
    /// Only if it was never sent.
    Unsent,
}

impl Peer {
    /// # Errors
    /// `Invalid` `invalid_configuration`: an address that is none, or `https` without
    /// certificates; `Unavailable` `no_certificate`: some that cannot be read.
    pub fn new(options: PeerOptions) -> Result<Self> {
        let wrong = |what: String| Error::invalid("invalid_configuration", what);
        let PeerOptions { name, url, secret, tls, question_max, request_max, world, breaker } =
            options;
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| wrong(format!("{url:?} is no address of the {name}: {error}.")))?;
        let secured = match endpoint.uri().scheme_str() {
            Some("http") => None,
            Some("https") => Some(Secured::new(endpoint.uri(), tls)?),
            _ => return Err(wrong(format!("{url:?} begins with neither http:// nor https://."))),
        };
        let endpoint = match &secured {
            Some(secured) => secured.endpoint()?,
            None => endpoint,
        };
        let endpoint = endpoint
            .connect_timeout(CONNECT_MAX)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(TRAILERS_MAX)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20);
        let channel = match secured {
            Some(secured) => endpoint
                .connect_with_connector_lazy(tower::service_fn(move |_: Uri| secured.connect())),
            None => endpoint.connect_lazy(),
        };
        let shown = Secret::new(format!("Bearer {}", secret.expose()));
        let mut authorization = MetadataValue::try_from(shown.expose().as_str())
            .map_err(|_| wrong("The secret of the platform cannot stand in a header.".into()))?;
        authorization.set_sensitive(true);
        Ok(Self(Arc::new(Inner {
            name,
            channel,
            authorization,
            question_max,
            request_max,
            budget: Budget::default(),
            world,
            breaker,
        })))
    }

    /// Asks a question that has one answer.
    pub(crate) async fn ask<Q, A>(
        &self,
        path: &'static str,
        question: Q,
        repeat: Repeat,
    ) -> Result<A>
    where
        Q: prost::Message + Clone + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let within = self.0.question_max;
        self.attempts(within, repeat, move |peer| {
            let question = question.clone();
            async move {
                let (mut grpc, request) = peer.prepare(question, within, None).await?;
                let codec = ProstCodec::<Q, A>::default();
                let reply = grpc.unary(request, PathAndQuery::from_static(path), codec).await?;
                Ok(reply.into_inner())
            }
            .boxed()
        })
        .await
    }

    /// Sends a request whose answer comes in pieces; `carried` is its metadata.
    pub(crate) async fn open<Q, A>(
        &self,
        path: &'static str,
        request: Q,
        carried: MetadataMap,
        repeat: Repeat,
    ) -> Result<(A, Streaming<A>)>
    where
        Q: prost::Message + Clone + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let within = self.0.request_max;
        self.attempts(within, repeat, move |peer| {
            let (request, carried) = (request.clone(), carried.clone());
            async move {
                let (mut grpc, request) = peer.prepare(request, within, Some(carried)).await?;
                let codec = ProstCodec::<Q, A>::default();
                let path = PathAndQuery::from_static(path);
                let mut parts = grpc.server_streaming(request, path, codec).await?.into_inner();
                let first = parts.message().await?;
                let first = first.ok_or_else(|| Status::internal("an answer without a head"))?;
                Ok((first, parts))
            }
            .boxed()
        })
        .await
    }

    async fn prepare<Q>(
        &self,
        message: Q,
        within: Duration,
        carried: Option<MetadataMap>,
    ) -> Result<(Grpc<Channel>, tonic::Request<Q>), Status> {
        let mut grpc = Grpc::new(self.0.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX)
            .max_encoding_message_size(MESSAGE_MAX);
        grpc.ready().await.map_err(|error| Status::from_error(Box::new(error)))?;
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = carried.unwrap_or_default();
        let metadata = request.metadata_mut();
        // The same in the logs and traces of both processes.
        if let Some(trace) = trace::current().and_then(|trace| trace.to_string().parse().ok()) {
            metadata.insert("traceparent", trace);
        }
        if let Ok(id) = trace::current_request().to_string().parse() {
            metadata.insert("x-request-id", id);
        }
        metadata.insert("authorization", self.0.authorization.clone());
        request.set_timeout(within);
        Ok((grpc, request))
    }

    pub(crate) fn now(&self) -> kernel::Timestamp {
        self.0.world.now()
    }

    /// Sends a call through the breaker. What the peer itself has said is an answer; that there was
    /// none, or none that makes sense, is a failure, however often it was tried.
    async fn attempts<T>(
        &self,
        within: Duration,
        repeat: Repeat,
        attempt: impl Fn(Self) -> BoxFuture<'static, Result<T, Status>> + Send + Sync,
    ) -> Result<T> {
        let Inner { world, breaker, .. } = &*self.0;
        let permit = breaker.enter(world.now()).map_err(|rest| {
            let error = self
                .away("circuit_open", "has failed again and again, and is left alone for a while");
            error.retry_after(u32::try_from(rest.as_secs()).unwrap_or(u32::MAX).max(RETRY_AFTER))
        })?;
        let status = match self.attempts_let_through(within, repeat, attempt).await {
            Ok(answer) => {
                permit.succeeded(world.now());
                return Ok(answer);
            }
            Err(status) => status,
        };
        // By who said it, and not by what: it may be our own words about somebody behind the peer.
        if is_said(&status) {
            permit.succeeded(world.now());
        } else {
            permit.failed(world.now());
        }
        Err(self.refusal(&status))
    }

    /// Tries, and tries again where that is safe, all within one time limit.
    async fn attempts_let_through<T>(
        &self,
        within: Duration,
        repeat: Repeat,
        attempt: impl Fn(Self) -> BoxFuture<'static, Result<T, Status>> + Send + Sync,
    ) -> Result<T, Status> {
        let all = async {
            let mut waits = WAITS.into_iter();
            self.0.budget.attempted();
            loop {
                let status = match attempt(self.clone()).await {
                    Ok(answer) => return Ok(answer),
                    Err(status) => status,
                };
                if is_ours(&status) || !may_repeat(&status, repeat) || !self.0.budget.may_retry() {
                    return Err(status);
                }
                let Some(wait) = waits.next() else { return Err(status) };
                tokio::time::sleep(wait).await;
            }
        };
        let late = || Status::deadline_exceeded("no attempt had an answer in time");
        tokio::time::timeout(within, all).await.unwrap_or_else(|_| Err(late()))
    }

    /// What a status is to whoever asked.
    pub(crate) fn refusal(&self, status: &Status) -> Error {
        if is_said(status) {
            return from_status(status);
        }
        let (code, what) = if was_late(status) {
            ("service_timeout", "did not answer in time")
        } else {
            ("service_unavailable", "cannot be asked now")
        };
        self.away(code, what).because(Lost(chain(status)))
    }

    /// The peer answers, and what it says makes no sense.
    pub(crate) fn garbage(&self, what: &'static str) -> Error {
        self.away("service_unavailable", "cannot be asked now").because(Lost(what.to_owned()))
    }

    pub(crate) fn away(&self, code: &'static str, what: &str) -> Error {
        let message = format!("The {} {what}. Try again in a moment.", self.0.name);
        Error::unavailable(code, message).retry_after(RETRY_AFTER)
    }
}

/// Whether the peer has judged what it was asked. That it does not believe us is its word on us,
/// and nobody else's business.
fn is_said(status: &Status) -> bool {
    is_ours(status) && from_status(status).code() != STRANGER
}

/// Why an answer was lost, for the log.
#[derive(Debug)]
struct Lost(String);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

fn chain(status: &Status) -> String {
    let mut text = format!("{:?} {}", status.code(), status.message());
    let mut source = status.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Whether trying again can help and cannot hurt. What timed out is not tried again: it would only
/// add to what the peer is busy with.
fn may_repeat(status: &Status, repeat: Repeat) -> bool {
    match repeat {
        Repeat::Safe if was_late(status) => false,
        Repeat::Safe => {
            matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
        }
        Repeat::Unsent => was_never_sent(status),
    }
}

/// Whether the time of a call was over. tonic says so, on either side, with `Cancelled`, as of a
/// connection that ended; only its words tell them apart.
fn was_late(status: &Status) -> bool {
    match status.code() {
        Code::DeadlineExceeded => true,
        Code::Cancelled => status.message() == TimeoutExpired(()).to_string(),
        _ => false,
    }
}

/// Whether nobody was there to send it to.
fn was_never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(cause) = source {
        if cause.is::<ConnectError>() {
            return true;
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_not_done_again() {
        let lost = Status::unavailable("reset");
        assert!(may_repeat(&lost, Repeat::Safe) && !may_repeat(&lost, Repeat::Unsent));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let unsent = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        assert!(may_repeat(&unsent, Repeat::Unsent));
        let late = Status::from_error(Box::new(TimeoutExpired(())));
        assert!(was_late(&late) && !may_repeat(&late, Repeat::Safe));
        assert!(may_repeat(&Status::cancelled("connection closed"), Repeat::Safe));
    }
}
