//! The client of buckets behind a proxy that has every fault of a network, and a few of stores.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The connection is reset before the store hears of it.
    Reset,
    /// The connection is reset when half of the body is with the store.
    HalfSent,
    /// The store does it, and the answer is lost.
    LostReply,
    /// The answer breaks off in the middle of its body.
    HalfAnswered,
    /// The answer's body ends cleanly in the middle, as if that were all.
    ShortAnswer,
    /// 200 in the place of 206: the range was passed over, and these are the first bytes.
    FromTheBeginning,
    /// 206 of another range than was asked for.
    AnotherRange,
    /// 503 SlowDown, with the seconds to wait.
    SlowDown(u64),
    /// This status, with this code of S3's.
    Says(u16, &'static str),
}

/// A fault for the next request of a kind.
struct Planned {
    method: Method,
    /// What the query holds, such as `uploadId`; anything, where empty.
    query: &'static str,
    fault: Fault,
}

/// A request as it came.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    query: String,
    at: Instant,
}

#[derive(Default)]
struct Book {
    planned: Mutex<VecDeque<Planned>>,
    seen: Mutex<Vec<Seen>>,
}

/// A store behind a network of our own making.
struct Faulty {
    server: S3Server,
    blobs: Blobs,
    book: Arc<Book>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Faulty {
    async fn start() -> Self {
        let server = S3Server::start().await;
        let mut options = server.options();
        let behind: SocketAddr = options.endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        options.endpoint = format!("http://{}", listener.local_addr().unwrap());
        let book = Arc::new(Book::default());
        let shared = Arc::clone(&book);
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let book = Arc::clone(&shared);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| pass(request, behind, book.clone()));
                    let http = Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        let blobs = Blobs::on_s3(options, crate::world::system()).unwrap();
        Self { server, blobs, book, serving }
    }

    fn plan(&self, method: Method, query: &'static str, faults: &[Fault]) {
        let faults =
            faults.iter().map(|fault| Planned { method: method.clone(), query, fault: *fault });
        self.book.planned.lock().extend(faults);
    }

    /// The requests since the last time, and nothing planned that did not happen.
    fn seen(&self) -> Vec<Seen> {
        assert!(self.book.planned.lock().is_empty(), "every planned fault has come");
        std::mem::take(&mut *self.book.seen.lock())
    }

    /// How many requests of a kind there were.
    fn count(&self, method: &Method, query: &str) -> usize {
        let seen = self.seen();
        seen.iter().filter(|it| it.method == method && it.query.contains(query)).count()
    }

    async fn put(&self, bytes: &[u8]) -> Result<Stored> {
        let mut writer = self.blobs.writer(u64::MAX).await?;
        for chunk in bytes.chunks(700_000) {
            writer.write(Bytes::copy_from_slice(chunk)).await?;
        }
        writer.finish().await
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>> {
        let mut content = self.blobs.open(key, range).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = content.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    /// The objects of the bucket, with their sizes, as the store itself has them.
    async fn objects(&self) -> Vec<(Key, u64)> {
        let direct = Blobs::on_s3(self.server.options(), crate::world::system()).unwrap();
        let mut found = Vec::new();
        for slice in 0..=u8::MAX {
            for key in direct.slice(slice, Timestamp::from_seconds(1 << 40)).await.unwrap() {
                let path = self.server.folder.path().join("verza-files/verza/blobs");
                let size = std::fs::metadata(path.join(key.as_str())).unwrap().len();
                found.push((key, size));
            }
        }
        found
    }
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Carries one request to the store, with the fault that is planned for it.
async fn pass(
    request: Request<Incoming>,
    behind: SocketAddr,
    book: Arc<Book>,
) -> std::io::Result<Response<Body>> {
    let method = request.method().clone();
    let query = request.uri().query().unwrap_or_default().to_owned();
    book.seen.lock().push(Seen {
        method: method.clone(),
        query: query.clone(),
        at: Instant::now(),
    });
    let fault = {
        let mut planned = book.planned.lock();
        let is_it = |plan: &Planned| plan.method == method && query.contains(plan.query);
        planned.iter().position(is_it).and_then(|place| planned.remove(place))
    };
    let fault = fault.map(|planned| planned.fault);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    match fault {
        Some(Fault::Reset) => return Err(std::io::ErrorKind::ConnectionReset.into()),
        Some(Fault::SlowDown(seconds)) => return Ok(error(503, "SlowDown", Some(seconds))),
        Some(Fault::Says(status, code)) => return Ok(error(status, code, None)),
        Some(Fault::HalfSent) => {
            send_half(&head, &body, behind).await?;
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        _ => {}
    }
    let patience = Duration::from_secs(20);
    let client =
        crate::outbound::streaming_client(patience, patience).map_err(std::io::Error::other)?;
    let url = format!("http://{behind}{}", head.uri);
    let sent = client.request(head.method, url).headers(head.headers).body(body).send().await;
    let answer = sent.map_err(std::io::Error::other)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.map_err(std::io::Error::other)?;
    if fault == Some(Fault::LostReply) {
        return Err(std::io::ErrorKind::ConnectionReset.into());
    }
    Ok(reply(status, &headers, body, fault))
}

fn reply(
    status: StatusCode,
    headers: &HeaderMap,
    body: Bytes,
    fault: Option<Fault>,
) -> Response<Body> {
    let half = body.slice(..body.len() / 2);
    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let (body, keeps_length): (Body, bool) = match fault {
        Some(Fault::HalfAnswered) => {
            let frames = futures_util::stream::iter([Ok(Frame::data(half)), Err(broken)]);
            (BodyExt::boxed(StreamBody::new(frames)), true)
        }
        Some(Fault::ShortAnswer) => (whole(half), false),
        _ => (whole(body), true),
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let mut headers = headers.clone();
    if fault == Some(Fault::FromTheBeginning) {
        *answer.status_mut() = StatusCode::OK;
        headers.remove("content-range");
    }
    if fault == Some(Fault::AnotherRange) {
        headers.insert("content-range", "bytes 7-8/9".parse().unwrap());
    }
    for (name, value) in &headers {
        let is_length = name == http::header::CONTENT_LENGTH;
        if name != http::header::TRANSFER_ENCODING && (keeps_length || !is_length) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

fn whole(bytes: Bytes) -> Body {
    BodyExt::boxed(Full::new(bytes).map_err(|never: Infallible| match never {}))
}

fn error(status: u16, code: &str, seconds: Option<u64>) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let mut answer = Response::new(whole(text.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(seconds) = seconds {
        answer.headers_mut().insert("retry-after", seconds.into());
    }
    answer
}

/// Promises the store a whole body and hangs up in the middle of it.
async fn send_half(
    head: &http::request::Parts,
    body: &[u8],
    behind: SocketAddr,
) -> std::io::Result<()> {
    let mut text = format!("{} {} HTTP/1.1\r\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let mut socket = TcpStream::connect(behind).await?;
    socket.write_all(text.as_bytes()).await?;
    socket.write_all(b"\r\n").await?;
    socket.write_all(&body[..body.len() / 2]).await?;
    socket.shutdown().await
}

const LARGE: usize = 2 * s3::PART_BYTES + 70_000;

#[tokio::test]
async fn what_fails_on_the_way_is_sent_again_and_comes_out_once() {
    let faulty = Faulty::start().await;
    let bytes = noise(70_000);
    for fault in [
        Fault::Reset,
        Fault::HalfSent,
        Fault::LostReply,
        Fault::Says(500, "InternalError"),
        Fault::Says(408, "RequestTimeout"),
        // What S3 says where other servers say 408.
        Fault::Says(400, "RequestTimeout"),
        Fault::SlowDown(0),
    ] {
        faulty.plan(Method::PUT, "", &[fault]);
        let stored = faulty.put(&bytes).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(faulty.count(&Method::PUT, ""), 2, "{fault:?}");
        assert!(faulty.read(&stored.key, 0..70_000).await.unwrap() == bytes, "{fault:?}");
        faulty.plan(Method::DELETE, "", &[fault]);
        faulty.blobs.delete(&stored.key).await.unwrap();
        assert_eq!(faulty.count(&Method::DELETE, ""), 2, "{fault:?}");
    }
    assert_eq!(faulty.objects().await, []);
}

#[tokio::test]
async fn each_step_of_an_upload_in_parts_is_sent_again_by_itself() {
    let faulty = Faulty::start().await;
    let bytes = noise(LARGE);
    let steps =
        [(Method::POST, "uploads="), (Method::PUT, "partNumber=2"), (Method::POST, "uploadId")];
    for (method, query) in steps {
        for fault in [Fault::Reset, Fault::HalfSent, Fault::LostReply, Fault::HalfAnswered] {
            // A part is answered without a body.
            if fault == Fault::HalfAnswered && method == Method::PUT {
                continue;
            }
            faulty.plan(method.clone(), query, &[fault]);
            let stored = faulty.put(&bytes).await;
            let stored = stored.unwrap_or_else(|error| panic!("{query} {fault:?}: {error:?}"));
            assert_eq!(faulty.count(&method, query), 2, "{query} {fault:?}");
            assert_eq!(faulty.objects().await, [(stored.key.clone(), LARGE as u64)]);
            let (from, to) = (s3::PART_BYTES as u64 - 10, s3::PART_BYTES as u64 + 10);
            let seam = faulty.read(&stored.key, from..to).await.unwrap();
            assert_eq!(seam, &bytes[from as usize..to as usize], "{query} {fault:?}");
            faulty.blobs.delete(&stored.key).await.unwrap();
            faulty.seen();
        }
    }
}

#[tokio::test]
async fn a_failure_that_is_answered_as_success_is_one() {
    let faulty = Faulty::start().await;
    let bytes = noise(LARGE);
    // S3 says 200 before it has put the parts together.
    faulty.plan(Method::POST, "uploadId", &[Fault::Says(200, "InternalError")]);
    let stored = faulty.put(&bytes).await.unwrap();
    assert_eq!(faulty.count(&Method::POST, "uploadId"), 2);
    assert_eq!(faulty.objects().await, [(stored.key, LARGE as u64)]);
}

#[tokio::test]
async fn a_store_that_asks_for_time_is_given_it_and_no_more_than_is_bearable() {
    let faulty = Faulty::start().await;
    faulty.plan(Method::PUT, "", &[Fault::SlowDown(1)]);
    faulty.put(b"bytes").await.unwrap();
    let seen = faulty.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1), "{seen:?}");

    faulty.plan(Method::PUT, "", &[Fault::SlowDown(3600)]);
    let error = faulty.put(b"bytes").await.unwrap_err();
    assert_eq!(error.code(), "storage_unavailable");
    assert_eq!(faulty.count(&Method::PUT, ""), 1, "nobody waits for an hour");
}

#[tokio::test]
async fn what_will_not_pass_is_sent_once() {
    let faulty = Faulty::start().await;
    let refusals = [(403, "AccessDenied"), (404, "NoSuchBucket"), (400, "InvalidRequest")];
    for (status, code) in refusals.into_iter().chain([(501, "NotImplemented")]) {
        faulty.plan(Method::PUT, "", &[Fault::Says(status, code)]);
        let error = faulty.put(b"bytes").await.unwrap_err();
        assert_eq!(error.code(), "storage_unavailable", "{code}");
        assert_eq!(faulty.count(&Method::PUT, ""), 1, "{code}");
    }
    assert_eq!(faulty.objects().await, []);
}

#[tokio::test]
async fn a_store_that_stays_away_is_asked_four_times() {
    let faulty = Faulty::start().await;
    faulty.plan(Method::PUT, "", &[Fault::Reset; 4]);
    let error = faulty.put(b"bytes").await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("storage_unavailable", kernel::Kind::Unavailable));
    assert_eq!(faulty.count(&Method::PUT, ""), 4);
    assert_eq!(faulty.objects().await, []);
}

#[tokio::test]
async fn an_upload_that_fails_is_never_half_visible() {
    let faulty = Faulty::start().await;
    let bytes = noise(LARGE);
    for (method, query) in [(Method::PUT, "partNumber=3"), (Method::POST, "uploadId")] {
        faulty.plan(method, query, &[Fault::HalfSent; 4]);
        faulty.put(&bytes).await.unwrap_err();
        assert_eq!(faulty.objects().await, [], "{query}");
    }
    faulty.plan(Method::PUT, "", &[Fault::HalfSent; 4]);
    faulty.put(&bytes[..70_000]).await.unwrap_err();
    assert_eq!(faulty.objects().await, []);
    // What was done before the answer was lost for good is not called undone.
    faulty.seen();
    faulty.plan(Method::PUT, "", &[Fault::LostReply; 4]);
    let stored = faulty.put(&bytes[..70_000]).await.unwrap();
    assert_eq!(faulty.objects().await, [(stored.key, 70_000)]);
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let faulty = Faulty::start().await;
    let bytes = noise(3_000_000);
    let stored = faulty.put(&bytes).await.unwrap();
    faulty.seen();
    for fault in [Fault::Reset, Fault::LostReply, Fault::HalfAnswered, Fault::ShortAnswer] {
        faulty.plan(Method::GET, "", &[fault, fault]);
        let read = faulty.read(&stored.key, 100..2_999_000).await;
        let read = read.unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert!(read == bytes[100..2_999_000], "{fault:?}");
        assert_eq!(faulty.count(&Method::GET, ""), 3, "{fault:?}");
    }
    // It gives up in the end, and never passes a part off as the whole.
    // (What breaks off early enough counts as a try of the request itself.)
    faulty.plan(Method::GET, "", &[Fault::HalfAnswered; 20]);
    let error = faulty.read(&stored.key, 0..3_000_000).await.err().unwrap();
    assert_eq!(error.code(), "storage_unavailable");
    faulty.book.planned.lock().clear();
}

#[tokio::test]
async fn bytes_of_another_range_are_never_taken_for_those_that_were_asked_for() {
    let faulty = Faulty::start().await;
    let bytes = noise(3000);
    let stored = faulty.put(&bytes).await.unwrap();
    for fault in [Fault::FromTheBeginning, Fault::AnotherRange] {
        faulty.plan(Method::GET, "", &[fault]);
        let error = faulty.read(&stored.key, 1000..2000).await.err().unwrap();
        assert_eq!(error.code(), "storage_unavailable", "{fault:?}: {error:?}");
        // Nor where a download that broke off is to go on.
        faulty.plan(Method::GET, "", &[Fault::ShortAnswer, fault]);
        let error = faulty.read(&stored.key, 0..3000).await.err().unwrap();
        assert_eq!(error.code(), "storage_unavailable", "{fault:?}: {error:?}");
    }
    // All of it is what was asked for, where that is the beginning.
    faulty.plan(Method::GET, "", &[Fault::FromTheBeginning]);
    assert!(faulty.read(&stored.key, 0..1000).await.unwrap() == bytes[..1000]);
    faulty.seen();
}

#[tokio::test]
async fn an_object_that_somebody_cut_is_no_shorter_file() {
    let faulty = Faulty::start().await;
    let stored = faulty.put(&noise(1000)).await.unwrap();
    let path = faulty.server.folder.path().join("verza-files/verza/blobs");
    std::fs::write(path.join(stored.key.as_str()), b"cut").unwrap();
    let error = faulty.read(&stored.key, 0..1000).await.err().unwrap();
    assert_eq!(error.kind(), kernel::Kind::Internal, "{error:?}");
    assert!(!faulty.blobs.has(&stored.key, 1000).await);
}
