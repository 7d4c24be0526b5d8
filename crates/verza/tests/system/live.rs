//! Streams over real connections: opened, cut off, resumed, and ended with a reason.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::town::{Cast, PASSWORD, Person, Town, http_client};
use crate::world::{Stage, on_all_stages};

/// A client of server-sent events.
struct Listener {
    response: reqwest::Response,
    unread: String,
    last_id: String,
}

impl Listener {
    async fn open(town: &Town, path: &str, who: Option<&Person>, behind: &str) -> Self {
        let mut request = http_client(Duration::from_secs(60)).get(format!("{}{path}", town.url));
        request = request.header("accept", "text/event-stream");
        if let Some(who) = who {
            request = request.bearer_auth(&who.token);
        }
        if !behind.is_empty() {
            request = request.header("last-event-id", behind);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self { response, unread: String::new(), last_id: String::new() }
    }

    /// The next event with data, and its name; nothing at the end of the stream.
    async fn next(&mut self) -> Option<(String, Json)> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                let field = |name: &str| {
                    let lines = block.lines().filter_map(|line| line.split_once(": "));
                    lines.filter(|(field, _)| *field == name).map(|(_, value)| value).next_back()
                };
                if let Some(id) = field("id") {
                    self.last_id = id.to_owned();
                }
                if let Some(data) = field("data") {
                    let name = field("event").unwrap_or("message").to_owned();
                    return Some((name, serde_json::from_str(data).unwrap()));
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let chunk = chunk.await.expect("something comes in time").unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Reads on until something of this kind has happened.
    async fn until(&mut self, action: &str) -> Json {
        loop {
            let (name, event) = self.next().await.expect("the stream goes on");
            assert_eq!(name, "message", "{event}");
            if event["action"] == action {
                return event;
            }
        }
    }

    /// Reads on until the stream says why it ends.
    async fn reason(&mut self) -> String {
        loop {
            let (name, event) = self.next().await.expect("a reason");
            if name == "end" {
                assert!(self.next().await.is_none(), "nothing follows");
                return event["reason"].as_str().unwrap().to_owned();
            }
        }
    }
}

async fn ticket(town: &Town, who: &Person) -> String {
    let body = town.post("/v1/ws/ticket", who).done().await;
    body["ticket"].as_str().unwrap().to_owned()
}

on_all_stages! {
async fn events_are_told_resumed_and_end_with_their_session(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, .. } = &cast;
    let mut stream = Listener::open(town, "/v1/events", Some(anne), "").await;
    let rename = async |name: &str| {
        town.patch("/v1/me", anne).json(&json!({ "name": name })).done().await;
    };
    rename("Anne One").await;
    let first = stream.until("user.profile_changed").await;
    assert_eq!(first["actor"], anne.id.as_str());
    assert_eq!(first["seq"].to_string(), stream.last_id);
    let behind = stream.last_id.clone();
    drop(stream);
    rename("Anne Two").await;
    let mut stream = Listener::open(town, "/v1/events", Some(anne), &behind).await;
    let second = stream.until("user.profile_changed").await;
    assert!(second["seq"].as_i64() > first["seq"].as_i64());
    // The same by polling.
    let path = format!("/v1/events?after={behind}");
    let polled = town.get(&path, anne).done().await;
    assert!(polled.as_array().unwrap().contains(&second), "{polled}");

    // Another device of the same user is not concerned.
    let other = town.login(&anne.email).await;
    let mut others = Listener::open(town, "/v1/events", Some(&other), "").await;
    let told = Instant::now();
    town.post("/v1/auth/logout", anne).done().await;
    assert_eq!(stream.reason().await, "session_ended");
    println!("the stream of an ended session ended after {:?}", told.elapsed());
    town.patch("/v1/me", &other).json(&json!({ "name": "Anne Three" })).done().await;
    others.until("user.profile_changed").await;
}

async fn a_ticket_opens_one_stream_and_nothing_else_does_in_an_address(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, ben, .. } = &cast;
    let text = ticket(town, ben).await;
    let path = format!("/v1/events?token={text}");
    let mut stream = Listener::open(town, &path, None, "").await;
    town.patch("/v1/me", ben).json(&json!({ "name": "Ben Two" })).done().await;
    stream.until("user.profile_changed").await;
    let ask = async |path: String| town.call(Method::GET, &path, None).answer().await;
    ask(path).await.problem(401, "invalid_ticket");
    ask(format!("/v1/events?token={}", ben.token)).await.problem(401, "invalid_ticket");
    let fresh = ticket(town, ben).await;
    ask(format!("/v1/me?token={fresh}")).await.problem(401, "missing_auth");
    // It is whose it is, whoever sends it along.
    let path = format!("/v1/events?after=0&token={fresh}");
    let events = town.get(&path, &cast.anne).done().await;
    let of_ben = |event: &Json| event["actor"] == ben.id.as_str() || event["actor"] != cast.anne.id.as_str();
    assert!(events.as_array().unwrap().iter().all(of_ben), "{events}");
}
}

/// The cookie of a page of another origin opens no stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_page_opens_no_stream_with_its_visitor_s_cookie() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let town = &cast.town;
    let body = json!({ "email": cast.anne.email, "password": PASSWORD });
    let signed_in =
        town.call(Method::POST, "/v1/auth/login?cookie=true", None).json(&body).answer().await;
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let ask = async |origin: &str| {
        let call = town.call(Method::GET, "/v1/events", None).header("cookie", &cookie);
        call.header("origin", origin).answer().await
    };
    ask("https://evil.example").await.problem(403, "foreign_origin");
    assert_eq!(ask(&stage.running.platform.public_url).await.status, 200);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_streams_with_a_reason_and_does_not_wait_for_them() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let town = &cast.town;
    let mut streams = Vec::new();
    for path in ["/v1/events", "/v1/notifications/stream"] {
        streams.push(Listener::open(town, path, Some(&cast.anne), "").await);
    }
    let reasons = async {
        let mut reasons = Vec::new();
        for stream in &mut streams {
            reasons.push(stream.reason().await);
        }
        reasons
    };
    let begun = Instant::now();
    let (reasons, ()) = tokio::join!(reasons, stage.finish());
    assert_eq!(reasons, ["shutdown", "shutdown"]);
    // The grace is thirty seconds: nobody waits for it.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

/// Opens the WebSocket of chats; answers the status where that is refused.
async fn socket(town: &Town, query: &str, headers: &[(&'static str, &str)]) -> Result<Socket, u16> {
    let address = town.url.strip_prefix("http://").unwrap();
    let mut request = format!("ws://{address}/v1/ws/chat{query}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

/// The next event of this name, or why the socket was closed.
async fn heard(socket: &mut Socket, name: &str) -> Result<Json, (u16, String)> {
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
        match frame.expect("something comes in time").expect("it goes on").unwrap() {
            Frame::Text(text) => {
                let event: Json = serde_json::from_str(&text).unwrap();
                if event["event"] == name {
                    return Ok(event);
                }
            }
            Frame::Close(Some(frame)) => return Err((frame.code.into(), frame.reason.to_string())),
            _ => {}
        }
    }
}

on_all_stages! {
async fn chat_goes_over_a_websocket_that_ends_with_its_session(stage: &Stage) {
    let cast = Cast::on(stage).await;
    let Cast { town, anne, vera, .. } = &cast;
    let body = json!({ "type": "verifier", "verifierId": crate::town::verifier_id(vera) });
    let opened = town.post("/v1/chat/conversations", anne).json(&body).done().await;
    let path = format!("/v1/chat/conversations/{}", opened["id"].as_str().unwrap());
    let text = ticket(town, vera).await;
    let query = format!("?token={text}");
    let mut of_vera = socket(town, &query, &[]).await.unwrap();
    assert_eq!(socket(town, &query, &[]).await.unwrap_err(), 401, "used");
    let query = format!("?token={}", vera.token);
    assert_eq!(socket(town, &query, &[]).await.unwrap_err(), 401, "no ticket");
    heard(&mut of_vera, "ready").await.unwrap();

    let bearer = format!("Bearer {}", anne.token);
    let mut of_anne = socket(town, "", &[("authorization", &bearer)]).await.unwrap();
    heard(&mut of_anne, "ready").await.unwrap();
    heard(&mut of_vera, "presence.updated").await.unwrap();
    let body = json!({ "body": "Good morning" });
    let sent = town.post(&format!("{path}/messages"), anne).json(&body).done().await;
    for socket in [&mut of_anne, &mut of_vera] {
        assert_eq!(heard(socket, "message.new").await.unwrap()["data"], sent);
    }
    let typing = json!({ "type": "typing", "conversationId": opened["id"] });
    of_vera.send(Frame::text(typing.to_string())).await.unwrap();
    heard(&mut of_anne, "typing").await.unwrap();

    town.post("/v1/auth/logout", vera).done().await;
    let closed = heard(&mut of_vera, "nothing").await.unwrap_err();
    assert_eq!(closed, (4001, "session_ended".to_owned()));
}
}

/// Browsers send cookies with a WebSocket that any page opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_page_opens_no_websocket_with_its_visitor_s_cookie() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let town = &cast.town;
    let body = json!({ "email": cast.anne.email, "password": PASSWORD });
    let login = town.call(Method::POST, "/v1/auth/login?cookie=true", None).json(&body);
    let signed_in = login.answer().await;
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let from = async |origin: &str| {
        socket(town, "", &[("cookie", &cookie), ("origin", origin)]).await.map(drop)
    };
    assert_eq!(from("https://evil.example").await, Err(403));
    assert_eq!(from("null").await, Err(403));
    assert_eq!(from(&stage.running.platform.public_url).await, Ok(()));
    stage.finish().await;
}
