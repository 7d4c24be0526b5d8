//! Requests as bytes: too large, too slow, malformed, or made to be read in two ways.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bad_input::on_sqlite;
use crate::town::{Answer, Cast};
use crate::world::Stage;

/// Sends bytes and reads all that comes back until the server closes.
async fn raw(stage: &Stage, request: &[u8]) -> Answer {
    let answer = send(stage, request).await;
    let start = String::from_utf8_lossy(&request[..request.len().min(200)]);
    answer.unwrap_or_else(|| panic!("no answer to {} bytes: {start}", request.len()))
}

/// [`raw`], where the server may also hang up on what it does not want to read.
async fn send(stage: &Stage, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(stage.running.address).await.unwrap();
    // The server may answer, and stop reading, before all of it is sent.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server answers and closes");
    if bytes.is_empty() { None } else { Some(parse(&bytes)) }
}

fn parse(bytes: &[u8]) -> Answer {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let split = split.unwrap_or_else(|| panic!("no head: {}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..split]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = reqwest::header::HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = reqwest::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, value.trim().parse().unwrap());
    }
    Answer { status, headers, bytes: bytes[split + 4..].to_vec() }
}

/// The head of a request, its lines in full.
fn head(method: &str, path: &str, token: &str, lines: &[&str]) -> Vec<u8> {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    );
    for line in lines {
        head.push_str(line);
        head.push_str("\r\n");
    }
    (head + "\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    on_sqlite(async |stage, Cast { town, anne, .. }| {
        let token = &anne.token;
        for (path, length) in [
            ("/v1/user/credentials", 256 * 1024 + 1_u64),
            ("/v1/user/credentials", 1 << 60),
            ("/v1/files", 52 * 1024 * 1024),
            ("/v1/files", 1 << 60),
            ("/v1/auth/login", 300_000),
            ("/v1/verify", 100_000_000),
            ("/v1/payments/webhook/sandbox", 100_000_000),
        ] {
            let line = format!("content-length: {length}");
            let answer = raw(stage, &head("POST", path, token, &[&line])).await;
            answer.problem(413, "payload_too_large");
        }
        // Nobody said how much would come.
        let chunked = |key: &'static str, bytes: usize| {
            let mut request =
                head("POST", "/v1/user/credentials", token, &["transfer-encoding: chunked", key]);
            let body = format!("{bytes:x}\r\n\"{}\r\n0\r\n\r\n", "a".repeat(bytes - 1));
            request.extend(body.into_bytes());
            request
        };
        for key in ["x-none: 1", "idempotency-key: k"] {
            raw(stage, &chunked(key, 256 * 1024 + 1)).await.problem(413, "payload_too_large");
            raw(stage, &chunked(key, 256 * 1024)).await.problem(400, "invalid_json");
        }
        town.get("/v1/me", anne).done().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_no_way_around_anything() {
    on_sqlite(async |stage, Cast { town, anne, ben, .. }| {
        let token = &anne.token;
        let body = format!("{{\"to\":\"{}\",\"amount\":100}}", ben.id);
        let transfer = async |lines: &[&str]| {
            let length = format!("content-length: {}", body.len());
            let mut lines = lines.to_vec();
            lines.push(&length);
            let mut request = head("POST", "/v1/user/wallet/transfers", token, &lines);
            request.extend_from_slice(body.as_bytes());
            send(stage, &request).await
        };
        let long = format!("idempotency-key: {}", "k".repeat(300));
        for keys in [
            &["idempotency-key: a", "idempotency-key: a"][..],
            &["idempotency-key: a", "idempotency-key: b"],
            &[long.as_str()],
            &["idempotency-key:"],
            &["idempotency-key: \"\""],
            &["idempotency-key: a b"],
            &["idempotency-key: ключ"],
        ] {
            transfer(keys).await.unwrap().problem(400, "invalid_idempotency_key");
        }
        // Smuggled: one request for us, another for a proxy before us.
        for lines in [
            &["content-length: 5"][..],
            &["transfer-encoding: chunked", "idempotency-key: s"],
            &["transfer-encoding: identity", "idempotency-key: s"],
            &["content-length: -1"],
        ] {
            let status = transfer(lines).await.expect("an answer").status;
            assert!((400..500).contains(&status) || status == 501, "{lines:?}: {status}");
        }
        assert_eq!(town.wallet(ben).await.0, 0);

        let get = async |path: &str, lines: &[&str]| {
            raw(stage, &head("GET", path, token, lines)).await
        };
        // What identifies a request is ours to say unless it can stand in a log.
        for id in ["x-request-id: a b", "x-request-id: \u{e9}", "x-request-id: <b>"] {
            let answer = get("/v1/me", &[id]).await;
            assert_eq!(answer.status, 200);
            assert!(!id.ends_with(answer.header("x-request-id")), "{id}");
        }
        assert_eq!(get("/v1/me", &["x-request-id: a-1"]).await.header("x-request-id"), "a-1");
        let huge = format!("x-huge: {}", "x".repeat(600_000));
        let many: Vec<String> = (0..500).map(|n| format!("x-{n}: 1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        // The head is read before there is a route that could shape a problem.
        let answer = send(stage, &head("GET", "/v1/me", token, &[&huge])).await;
        assert!(answer.is_none_or(|answer| answer.status == 431));
        assert_eq!(get("/v1/me", &many).await.status, 431);
        assert_eq!(get("/v1/me", &["bad header"]).await.status, 400);
        let long = format!("/v1/me?{}", "x".repeat(70_000));
        assert!(matches!(get(&long, &[]).await.status, 414 | 431));
        // Nobody's token, in every form.
        for value in ["Bearer", "Bearer ", "Bearer x", "Basic eDp5", "bearer \u{e9}", "x", ""] {
            let request = format!(
                "GET /v1/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {value}\r\n\r\n"
            );
            let answer = raw(stage, request.as_bytes()).await;
            assert_eq!(answer.status, 401, "{value:?}: {}", answer.text());
            answer.is_a_problem();
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_leads_out_of_its_place() {
    on_sqlite(async |stage, Cast { anne, .. }| {
        for path in [
            "/docs/../../etc/passwd",
            "/docs/%2e%2e/%2e%2e/etc/passwd",
            "/docs/..%2f..%2fCargo.toml",
            "/docs//etc/passwd",
            "/v1/files/..%2f..%2fverza.db/content",
            "/v1/files/%00/content",
            "/v1/files/%ff%fe",
            "/v1/files/%",
            "/v1/share/%00",
            "/v1/status-lists/%ff",
            "/v1/audit/tile/0/../../key",
            "/v1/audit/tile/x/%00",
            "/v1/audit/tile/9/999999999999",
        ] {
            let answer = raw(stage, &head("GET", path, &anne.token, &[])).await;
            answer.problem(404, "not_found");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let stage = Stage::with(|config| config.server.request_timeout_seconds = 1).await;
    let town = stage.town();
    let anne = town.join("Anne", "user").await;
    for (path, key) in [
        ("/v1/user/credentials", "x-none: 1"),
        ("/v1/user/credentials", "idempotency-key: k"),
        ("/v1/user/wallet/transfers", "idempotency-key: k"),
        ("/v1/auth/login", "x-none: 1"),
    ] {
        let mut request = head("POST", path, &anne.token, &["content-length: 100", key]);
        request.extend_from_slice(b"{\"title\":");
        raw(&stage, &request).await.problem(408, "request_timeout");
    }
    // One that breaks off leaves nothing behind, and its key free.
    let mut request = head(
        "POST",
        "/v1/user/credentials",
        &anne.token,
        &["content-length: 100", "idempotency-key: b"],
    );
    request.extend_from_slice(b"{\"title\":");
    let mut stream = TcpStream::connect(stage.running.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    drop(stream);
    let body = json!({ "title": "A", "type": "B", "issuer": "C" });
    let made = town.post("/v1/user/credentials", &anne).key("b").json(&body).answer().await;
    assert!(made.is_done() && !made.is_replayed(), "{}", made.text());
    stage.finish().await;
}
