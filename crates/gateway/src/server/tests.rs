use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

/// Time in which something must happen that is not waited for by hand: generous, since the machine
/// may be busy.
const SOON: Duration = Duration::from_secs(20);

struct House {
    address: SocketAddr,
    stop: CancellationToken,
    served: JoinHandle<()>,
    /// How many requests have reached a handler.
    asked: Arc<AtomicUsize>,
    /// Held by each answer without end.
    streams: Arc<()>,
}

/// An answer that goes on for as long as somebody reads it.
fn endless(held: Arc<()>) -> Body {
    let chunks = std::iter::repeat_with(move || {
        let _ = &held;
        Ok::<_, Infallible>(bytes::Bytes::from_static(&[b'x'; 16 * 1024]))
    });
    Body::from_stream(futures_util::stream::iter(chunks))
}

impl House {
    async fn open(configure: impl FnOnce(&mut ServerOptions)) -> Self {
        let mut options = ServerOptions {
            header_timeout: Duration::from_millis(300),
            ..ServerOptions::default()
        };
        configure(&mut options);
        let (asked, streams) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
        let (on_get, on_post) = (asked.clone(), asked.clone());
        let count = |asked: &Arc<AtomicUsize>| asked.fetch_add(1, Ordering::SeqCst);
        let secret = async || {
            let mut response = Response::new(Body::from("s".repeat(5000)));
            let media = http::HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, media);
            response.extensions_mut().insert(BearsSecrets);
            response
        };
        let held = Arc::clone(&streams);
        let cookie = async || ([(header::SET_COOKIE, "a=b")], "s".repeat(5000));
        let router = Router::new()
            .route("/", get(async move || format!("{}", count(&on_get))))
            .route(
                "/echo",
                post(async move |body: String| {
                    count(&on_post);
                    body
                }),
            )
            .route("/endless", get(async move || endless(held)))
            .route("/large", get(async || "l".repeat(5000)))
            .route("/small", get(async || "l".repeat(500)))
            .route("/secret", get(secret))
            .route("/cookie", get(cookie));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, options, stop.clone()));
        Self { address, stop, served, asked, streams }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads all that comes back until the server closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may answer, and stop reading, before all of it is sent.
        let _ = stream.write_all(request).await;
        rest(&mut stream).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// All that comes until the server closes, which it must do soon.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await;
    // It may close on what it has not read: that is a reset.
    let _ = read.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    let lines = answers.lines().filter_map(|line| line.split_once("HTTP/1.1 "));
    lines.filter_map(|(_, status)| status.get(..3)).collect()
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_not_waited_for() {
    let house = House::open(|_| {}).await;
    let half = "PRI * HTTP/2.0\r\n";
    for start in ["", half, "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = house.connect().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{start}: {answer}");
    }
    assert_eq!(house.asked(), 0);
}

#[tokio::test]
async fn a_connection_that_is_kept_and_not_used_is_closed() {
    let house = House::open(|_| {}).await;
    let mut stream = house.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = rest(&mut stream).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
}

#[tokio::test]
async fn what_one_could_read_in_two_ways_is_read_once_and_nothing_behind_it() {
    let house = House::open(|_| {}).await;
    let behind = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    // Each carries a second request in what is, read the other way, its body.
    for (head, status) in [
        // Lengths that differ, lengths that are none.
        ("content-length: 5\r\ncontent-length: 6\r\n\r\nhello", "400"),
        ("content-length: 5, 6\r\n\r\nhello", "400"),
        ("content-length: +5\r\n\r\nhello", "400"),
        ("content-length: 0x5\r\n\r\nhello", "400"),
        ("content-length: -1\r\n\r\n", "400"),
        // Codings that are not chunked to the end, or written so that some do not see them.
        ("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400"),
        ("transfer-encoding: xchunked\r\n\r\n0\r\n\r\n", "400"),
        ("transfer-encoding : chunked\r\n\r\n0\r\n\r\n", "400"),
        ("transfer-encoding:\u{b}chunked\r\n\r\n0\r\n\r\n", "400"),
        // A line that goes on in the next one (obs-fold, RFC 9112 section 5.2).
        ("x-a: b\r\n c\r\n\r\n", "400"),
        ("transfer-encoding: chunked\r\n ,identity\r\n\r\n0\r\n\r\n", "400"),
        // Chunks that are none.
        ("transfer-encoding: chunked\r\n\r\n5;\nx\r\nhello\r\n0\r\n\r\n", "400"),
        ("transfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", "400"),
        ("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n", "400"),
        // Line feeds alone do not end the lines of chunks, which some take for more of them.
        ("transfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", "400"),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", "400"),
        // Both, which is read as chunked and ends the connection (RFC 9112 section 6.1).
        ("content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "200"),
        ("transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n", "200"),
        // Carriage returns alone, and what is no text, in a head.
        ("x-a: b\rx-c: d\r\n\r\n", "400"),
        ("x-a: b\0c\r\n\r\n", "400"),
    ] {
        let before = house.asked();
        let request = format!("POST /echo HTTP/1.1\r\nhost: x\r\n{head}{behind}");
        let answers = house.raw(request.as_bytes()).await;
        assert_eq!(statuses(&answers), [status], "{head:?}: {answers}");
        assert!(house.asked() - before <= 1, "{head:?}");
    }
    assert_eq!(
        house
            .raw(b"POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
            .await
            .get(9..12),
        Some("400"),
        "HTTP/1.0 knows no chunks"
    );
}

#[tokio::test]
async fn a_request_names_the_host_that_it_is_for_once_and_rightly() {
    let house = House::open(|_| {}).await;
    for (version, hosts, status) in [
        ("1.1", "host: x\r\n", "200"),
        ("1.1", "Host: verza.example:8080\r\n", "200"),
        ("1.1", "host: [2001:db8::1]:8080\r\n", "200"),
        ("1.1", "host: [::1]\r\n", "200"),
        // Where a target has no authority, an empty one is what is to be sent.
        ("1.1", "host:\r\n", "200"),
        ("1.0", "", "200"),
        ("1.0", "host: x\r\n", "200"),
        ("1.1", "", "400"),
        ("1.1", "host: x\r\nhost: x\r\n", "400"),
        ("1.1", "host: x\r\nhost: y\r\n", "400"),
        ("1.0", "host: x\r\nhost: y\r\n", "400"),
        ("1.1", "host: x y\r\n", "400"),
        ("1.1", "host: x/y\r\n", "400"),
        ("1.1", "host: anne@x\r\n", "400"),
        ("1.1", "host: x:y\r\n", "400"),
        ("1.1", "host: x:80:80\r\n", "400"),
        ("1.1", "host: [x]\r\n", "400"),
        ("1.1", "host: [::1\r\n", "400"),
        ("1.1", "host: [::1]x\r\n", "400"),
        ("1.1", "host: \u{e9}\r\n", "400"),
    ] {
        let before = house.asked();
        let request = format!("GET / HTTP/{version}\r\nconnection: close\r\n{hosts}\r\n");
        let answer = house.raw(request.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(status), "{version} {hosts:?}: {answer}");
        assert_eq!(house.asked() - before, usize::from(status == "200"), "{hosts:?}");
    }
    let behind = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let answers = house.raw(format!("GET / HTTP/1.1\r\n\r\n{behind}").as_bytes()).await;
    assert_eq!(statuses(&answers), ["400"], "nothing behind it is read: {answers}");
}

#[tokio::test]
async fn over_http_2_the_host_is_the_authority() {
    let house = House::open(|_| {}).await;
    // A literal for the field of that name in the static table.
    let host = |value: &[u8]| {
        let mut field = vec![0x0f, 0x17, u8::try_from(value.len()).unwrap()];
        field.extend(value);
        field
    };
    let none = &GET_ROOT[..3];
    for (headers, status) in [
        (GET_ROOT.to_vec(), STATUS_200),
        ([GET_ROOT, &host(b"X")].concat(), STATUS_200),
        ([none, &host(b"x")].concat(), STATUS_200),
        ([GET_ROOT, &host(b"y")].concat(), STATUS_400),
        ([GET_ROOT, &host(b"x:81")].concat(), STATUS_400),
        ([none, &host(b"x"), &host(b"x")].concat(), STATUS_400),
        (none.to_vec(), STATUS_400),
    ] {
        let mut stream = house.connect().await;
        let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &headers);
        stream.write_all(&[PREFACE, &request].concat()).await.unwrap();
        let answered = tokio::time::timeout(SOON, first_field(&mut stream)).await;
        assert_eq!(answered.expect("it answers"), status, "{headers:?}");
    }
}

#[tokio::test]
async fn a_line_feed_alone_ends_a_line_of_the_head_and_hides_none() {
    // As RFC 9112, section 2.2, lets us, and as nginx reads it before us: whoever sees one line in
    // two would miss a length or a coding.
    let house = House::open(|_| {}).await;
    for (head, body) in [
        ("x-a: b\ncontent-length: 5\n\n", "hello"),
        ("x-a: b\ncontent-length: 5\r\n\n", "hello"),
        ("x-a: b\ntransfer-encoding: chunked\n\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let close = "connection: close\r\n";
        let request = format!("POST /echo HTTP/1.1\nhost: x\n{close}{head}{body}");
        let answer = house.raw(request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["200"], "{head:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\nhello"), "{head:?}: {answer}");
    }
    let folded = "POST /echo HTTP/1.1\nhost: x\nx-a: b\n content-length: 5\n\nhello";
    assert_eq!(statuses(&house.raw(folded.as_bytes()).await), ["400"]);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let house = House::open(|_| {}).await;
    let many: String = (0..500).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = house.raw(format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n").as_bytes()).await;
    assert_eq!(statuses(&answer), ["431"], "{answer}");
    let large = "x".repeat(BUFFER_MAX + 1000);
    let answer = house.raw(format!("GET / HTTP/1.1\r\nx-a: {large}\r\n\r\n").as_bytes()).await;
    // The answer gets lost where the rest of the head was not read.
    assert!(answer.is_empty() || statuses(&answer) == ["431"], "{answer}");
    assert_eq!(house.asked(), 0);
}

/// The first bytes of an HTTP/2 connection: preface and empty settings (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A frame (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// GET http://x/ by the static table (RFC 7541, appendix A), and a literal for the authority.
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84, 0x41, 0x01, b'x'];

/// The statuses as fields of the static table.
const STATUS_200: u8 = 0x88;
const STATUS_400: u8 = 0x8c;

/// The first field of the first headers that come: an answer's status.
async fn first_field(stream: &mut TcpStream) -> u8 {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame comes");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.expect("a frame is whole");
        if head[3] == HEADERS {
            return payload[0];
        }
    }
}

/// The error code of the GOAWAY that comes before the server closes, if one does.
async fn farewell(stream: &mut TcpStream) -> Option<u32> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server closes");
    let mut rest = bytes.as_slice();
    let mut code = None;
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        let Some(payload) = rest.get(9..9 + length) else { break };
        if rest[3] == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        rest = &rest[9 + length..];
    }
    code
}

const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
/// GET http://x/endless.
const GET_ENDLESS: &[u8] = b"\x82\x86\x04\x08/endless\x41\x01x";

#[tokio::test]
async fn who_does_not_read_is_hung_up_on_and_who_reads_slowly_is_not() {
    let house = House::open(|options| options.unread_timeout = Duration::from_millis(500)).await;
    // A whole connection may be sent at once: what stops it is that nobody reads.
    let windows = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
        &frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]),
        &frame(HEADERS, END_STREAM | END_HEADERS, 1, GET_ENDLESS),
    ]
    .concat();
    let request = b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n".to_vec();
    for bytes in [request, windows] {
        let streams = || Arc::strong_count(&house.streams);
        let before = streams();
        let mut stream = house.connect().await;
        stream.write_all(&bytes).await.unwrap();
        // For longer than it may read nothing, a little at a time.
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(1500) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            stream.read_exact(&mut vec![0; 256 * 1024]).await.expect("it goes on");
        }
        assert_eq!(streams(), before + 1);
        let given_up = async {
            while streams() > before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, given_up).await.expect("it is not held for ever");
    }
}

/// ENHANCE_YOUR_CALM (RFC 9113, 7).
const CALM: u32 = 11;

#[tokio::test]
async fn opening_and_resetting_streams_ends_the_connection_soon() {
    let house = House::open(|_| {}).await;
    let mut stream = house.connect().await;
    let mut bytes = PREFACE.to_vec();
    for number in 0..2000_u32 {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, number * 2 + 1, GET_ROOT));
        bytes.extend(frame(RESET, 0, number * 2 + 1, &8_u32.to_be_bytes()));
    }
    // All at once: none of them is looked at before it is given up.
    let _ = stream.write_all(&bytes).await;
    let code = farewell(&mut stream).await;
    assert!(code.is_none_or(|code| code == CALM), "{code:?}");
    assert!(house.asked() < 1000, "{}", house.asked());
}

#[tokio::test]
async fn headers_that_never_end_end_the_connection() {
    let house = House::open(|_| {}).await;
    let mut stream = house.connect().await;
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(HEADERS, END_STREAM, 1, GET_ROOT));
    // A literal without indexing: one letter for the name, a hundred for the value.
    let mut line = vec![0x00, 0x01, b'a', 100];
    line.extend([b'x'; 100]);
    for _ in 0..2000 {
        bytes.extend(frame(CONTINUATION, 0, 1, &line.repeat(10)));
    }
    let _ = stream.write_all(&bytes).await;
    farewell(&mut stream).await;
    assert_eq!(house.asked(), 0);
}

#[tokio::test]
async fn broken_frames_end_the_connection_and_nothing_else() {
    let house = House::open(|_| {}).await;
    for bytes in [
        frame(HEADERS, END_HEADERS, 0, GET_ROOT),
        frame(HEADERS, END_HEADERS, 2, GET_ROOT),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 40]),
        frame(RESET, 0, 1, &[0; 4]),
        frame(RESET, 0, 1, &[0; 3]),
        frame(CONTINUATION, END_HEADERS, 1, GET_ROOT),
        frame(0, 0, 1, &[0; 40_000]),
    ] {
        let mut stream = house.connect().await;
        stream.write_all(&[PREFACE, &bytes].concat()).await.unwrap();
        let code = farewell(&mut stream).await;
        assert_ne!(code, Some(0), "{bytes:?}");
    }
    let answer = house.raw(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(statuses(&answer), ["200"]);
}

#[tokio::test]
async fn who_comes_when_all_connections_are_taken_is_hung_up_on() {
    let house = House::open(|options| {
        options.connections_max = 2;
        options.header_timeout = SOON;
    })
    .await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = house.connect().await;
        stream.write_all(request).await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        kept.push(stream);
    }
    assert_eq!(house.raw(request).await, "", "nothing is said to a third");
    drop(kept.pop());
    let close = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let served = async {
        while house.raw(close).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, served).await.expect("a place is free again");
}

#[tokio::test]
async fn what_was_sent_before_the_word_to_stop_is_answered() {
    let house = House::open(|options| options.header_timeout = SOON).await;
    // Connected and sent, and none of it looked at: everything runs on this thread.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let stream = std::net::TcpStream::connect(house.address).unwrap();
        std::io::Write::write_all(&mut &stream, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        streams.push(TcpStream::from_std(stream).unwrap());
    }
    house.stop.cancel();
    for stream in &mut streams {
        assert_eq!(statuses(&rest(stream).await), ["200"]);
    }
    tokio::time::timeout(SOON, house.served).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn what_is_large_is_compressed_and_what_bears_secrets_is_not() {
    let house = House::open(|_| {}).await;
    let coding = async |path: &str, accepted: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             accept-encoding: {accepted}\r\n\r\n"
        );
        let answer = house.raw(request.as_bytes()).await;
        let line = answer.lines().find_map(|line| line.strip_prefix("content-encoding: "));
        line.unwrap_or("none").to_owned()
    };
    for accepted in ["gzip", "br", "zstd"] {
        assert_eq!(coding("/large", accepted).await, accepted);
        for path in ["/small", "/secret", "/cookie"] {
            assert_eq!(coding(path, accepted).await, "none", "{path}");
        }
    }
    assert_eq!(coding("/large", "identity").await, "none");
}

#[tokio::test]
async fn who_takes_no_coding_gets_the_answer_as_it_is() {
    let house = House::open(|_| {}).await;
    for (accepted, coding) in [
        ("*;q=0", None),
        ("identity;q=0", None),
        ("identity;q=0, gzip;q=0", None),
        ("gzip;q=0, br;q=0, zstd;q=0, identity;q=0, *", None),
        ("gzip;q=2, identity;q=0", None),
        ("gzip;q=0.000, *;q=0.0", None),
        ("deflate, identity;q=0", None),
        ("GZIP", Some("gzip")),
        ("*;q=0, Br;Q=0.001", Some("br")),
        ("gzip;q=0, *;q=0.5, identity;q=0", Some("zstd")),
        ("*;q=1.000", Some("zstd")),
    ] {
        let request = format!(
            "GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             accept-encoding: {accepted}\r\n\r\n"
        );
        let answer = house.raw(request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["200"], "{accepted}: {answer}");
        let line = answer.lines().find_map(|line| line.strip_prefix("content-encoding: "));
        assert_eq!(line, coding, "{accepted}");
    }
}

/// What an idle connection takes is the sum of these and of hyper's two buffers.
#[tokio::test]
async fn the_futures_of_a_connection_are_small() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = async || TcpStream::connect(address).await.unwrap();
    let line = Line {
        builder: auto::Builder::new(TokioExecutor::new()),
        router: Router::new(),
        tls: None,
        patience: SOON,
        unread: SOON,
        load: None,
        stop: CancellationToken::new(),
    };
    let dated = Dated::new(stream().await, None);
    let whence = Whence { peer: address, arrival: dated.arrival() };
    let graceful = GracefulShutdown::new();
    let taken = line.clone().take(stream().await, address, graceful.watcher());
    let spoken = line.speak(dated, whence, &line.router, graceful.watcher());
    let answered = answer(Router::new(), Request::new(Body::empty()));
    let sizes = [size_of_val(&taken), size_of_val(&spoken), size_of_val(&answered)];
    assert!(sizes.iter().sum::<usize>() < 8 << 10, "{sizes:?}");
}
