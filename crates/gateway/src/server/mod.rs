//! Sockets: listening, serving, and stopping without dropping anybody.

mod coding;
mod dated;
mod host;
mod opening;
mod stalled;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Extensions, HeaderMap, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use kernel::{Error, Result};
use platform::load::Load;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Layer, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use crate::guard::{BearsSecrets, Peer};
use crate::tls::Tls;
use dated::{Arrival, Dated};
use opening::Opening;
use stalled::Stalled;

/// What one HTTP/1 connection may buffer: the head of a request must fit, and uploads and downloads
/// of many at once must not fill the memory.
const BUFFER_MAX: usize = 64 * 1024;

/// The head of a request, with all of its headers. The bound of HTTP/2 counts them unpacked.
const HEAD_MAX: u32 = 64 * 1024;

/// Streams that a client may open and give up before they were looked at, and errors of its own
/// making, before its connection is ended: opening and resetting streams costs it nothing and us the
/// work (CVE-2023-44487, CVE-2025-8671).
const RESETS_MAX: usize = 20;
const LOCAL_RESETS_MAX: usize = 256;

/// Connections where a listener is not told otherwise.
const CONNECTIONS_MAX: usize = 20_000;

/// How a listener serves.
#[derive(Clone)]
pub struct ServerOptions {
    /// HTTPS; by plain HTTP on the same port, everybody is sent there.
    pub tls: Option<Https>,
    /// How long a client may take over the head of a request.
    pub header_timeout: Duration,
    /// How long a client may read nothing of what is sent to it.
    pub unread_timeout: Duration,
    /// How long requests in flight may go on after the word to stop.
    pub grace: Duration,
    /// Connections that are open at once; who comes beyond that is hung up on.
    pub connections_max: usize,
    /// Who refuses requests that have waited too long; with none, nobody looks how long they have.
    pub load: Option<Arc<Load>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let header_timeout = Duration::from_secs(10);
        let (unread_timeout, grace) = (Duration::from_secs(30), Duration::from_secs(30));
        let connections_max = CONNECTIONS_MAX;
        Self { tls: None, header_timeout, unread_timeout, grace, connections_max, load: None }
    }
}

/// How a listener serves HTTPS.
#[derive(Clone)]
pub struct Https {
    pub tls: Arc<Tls>,
    /// Answers who speaks plain HTTP to it.
    pub redirect: Router,
}

/// Listens on an address; `setting` is how an operator chooses another one.
pub async fn listen(address: SocketAddr, setting: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!(
                "Port {} of {} is taken by another program: stop it, or choose another with \
                 {setting}.",
                address.port(),
                address.ip()
            ),
            _ => format!("Cannot listen on {address}."),
        };
        Error::unavailable("cannot_listen", message).because(error)
    })
}

/// Serves until told to stop, then lets requests in flight finish within the grace.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServerOptions,
    stop: CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(BUFFER_MAX)
        // Answers are small: copying them together costs less than gathering them. This is not
        // `pipeline_flush`, which never sends the 400 or 431 to a head that cannot be read, and
        // lets who sends without reading fill the memory.
        .writev(false);
    // The default windows starve one connection that carries many streams.
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(256)
        .max_header_list_size(HEAD_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(options.connections_max));
    let tasks = TaskTracker::new();
    let (patience, unread) = (options.header_timeout, options.unread_timeout);
    if options.load.is_some() {
        dated::note_arrivals(&listener);
    }
    let ServerOptions { tls, load, .. } = options;
    let line = Line { builder, router, tls, patience, unread, load, stop: stop.clone() };
    let refused = metrics::counter!("connections_refused_total");
    let take_in = |stream: TcpStream, peer| {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            refused.increment(1);
            return;
        };
        // Small answers are not held back to be sent together.
        let _ = stream.set_nodelay(true);
        let taken = line.clone().take(stream, peer, connections.watcher());
        tasks.spawn(async move {
            let open = metrics::gauge!("connections_open");
            open.increment(1);
            taken.await;
            open.decrement(1);
            drop(place);
        });
    };
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => take_in(stream, peer),
            Err(error) => {
                // Out of file descriptors, most likely: waiting lets connections end.
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Who was connected before the word may have sent a request, too.
    let last_moment = tokio::time::Instant::now() + LAST_MOMENT;
    while let Ok(Ok((stream, peer))) = tokio::time::timeout_at(last_moment, listener.accept()).await
    {
        take_in(stream, peer);
    }
    drop(listener);
    let open = tasks.len();
    tasks.close();
    let finish = async { tokio::join!(connections.shutdown(), tasks.wait()) };
    if tokio::time::timeout(options.grace, finish).await.is_err() {
        tracing::warn!(open, "connections were cut off when the grace was over");
    }
}

/// Asks the router, and compresses the answer where the client takes it compressed. Only there:
/// a body that may be compressed carries its encoder's state along, kilobytes that would be moved
/// through every answer.
async fn answer(router: Router, request: Request<Body>) -> Result<Response, Infallible> {
    if !host::is_named_once(&request) {
        return Ok(host::refusal());
    }
    if !coding::is_compression_wanted(request.headers()) {
        return router.oneshot(request).await;
    }
    let compressed = Box::pin(compression().layer(router).oneshot(request)).await?;
    Ok(compressed.map(Body::new))
}

/// Answers may be compressed, but for what is small, streamed or compressed already, and for what
/// carries secrets: whoever can have a part of such an answer repeat their guess would see from its
/// length whether it was right (BREACH).
fn compression() -> CompressionLayer<impl Predicate> {
    let worthwhile = SizeAbove::new(1024)
        .and(NotForContentType::GRPC)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::SSE)
        .and(NotForContentType::const_new("application/pdf"))
        .and(NotForContentType::const_new("application/octet-stream"))
        .and(NotForContentType::const_new("application/zip"))
        .and(NotForContentType::const_new("application/vnd.openxmlformats"))
        .and(is_without_secrets);
    CompressionLayer::new().compress_when(worthwhile)
}

fn is_without_secrets(
    _: StatusCode,
    _: Version,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> bool {
    extensions.get::<BearsSecrets>().is_none()
        && !headers.contains_key(header::SET_COOKIE)
        && !headers.contains_key(header::AUTHORIZATION)
}

/// Where the requests of a connection come from, and when.
struct Whence {
    peer: SocketAddr,
    arrival: Arc<Arrival>,
}

/// What a listener does with each connection.
#[derive(Clone)]
struct Line {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    tls: Option<Https>,
    patience: Duration,
    unread: Duration,
    load: Option<Arc<Load>>,
    stop: CancellationToken,
}

/// How long a connection from which nothing has come may still send when listening ends: what is on
/// its way arrives.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// The first byte of a TLS handshake record (RFC 8446, 5.1). No HTTP request begins with it.
const HANDSHAKE: u8 = 22;

impl Line {
    /// What is awaited is boxed, each by itself: ten thousand connections wait, and none of them is to
    /// have room for all that it is not doing.
    async fn take(self, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
        let Some(first) = self.first_byte(&stream).await else { return };
        let stream = Dated::new(stream, self.load.clone());
        let whence = Whence { peer, arrival: stream.arrival() };
        let Some(https) = &self.tls else {
            return Box::pin(self.speak(stream, whence, &self.router, watcher)).await;
        };
        let secured = Box::pin(async {
            if first != HANDSHAKE {
                return Ok(Err(stream));
            }
            https.tls.acceptor().accept(stream).await.map(Ok)
        });
        match tokio::time::timeout(self.patience, secured).await {
            Ok(Ok(Ok(stream))) => {
                Box::pin(self.speak(stream, whence, &self.router, watcher)).await;
            }
            Ok(Ok(Err(plain))) => {
                Box::pin(self.speak(plain, whence, &https.redirect, watcher)).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// Waits for the first byte, which stays to be read. Nothing where none comes in time, or none
    /// has come when listening ends.
    async fn first_byte(&self, stream: &TcpStream) -> Option<u8> {
        let mut first = [0];
        let last_moment = async {
            self.stop.cancelled().await;
            tokio::time::sleep(LAST_MOMENT).await;
        };
        let come = tokio::select! {
            come = stream.peek(&mut first) => come.ok(),
            () = last_moment => None,
            () = tokio::time::sleep(self.patience) => None,
        };
        come.filter(|bytes| *bytes > 0).map(|_| first[0])
    }

    async fn speak<S>(&self, stream: S, whence: Whence, router: &Router, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = router.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            let (address, arrived) = (whence.peer, whence.arrival.get());
            request.extensions_mut().insert(Peer { address, arrived });
            answer(router.clone(), request)
        });
        let stream = Stalled::new(Opening::new(stream, self.patience), self.unread);
        let stream = TokioIo::new(stream);
        let mut builder = self.builder.clone();
        let is_late = self.stop.is_cancelled();
        if is_late {
            builder.http1().keep_alive(false);
        }
        let connection = builder.serve_connection_with_upgrades(stream, service).into_owned();
        // Told to stop before it has read anything, a connection would read nothing.
        let ended = if is_late { connection.await } else { watcher.watch(connection).await };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended badly");
        }
    }
}
