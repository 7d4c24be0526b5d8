//! Chat, through the API and over WebSockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request as Incoming;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use kernel::caller::Idempotency;
use kernel::{Caller, Role};
use platform::crypto::MasterKey;
use platform::db::{Db, Migrations, Read};
use platform::journal::Runner;
use platform::on_both_engines;
use platform::privacy::{Erasure, Holder, Person};
use platform::testing::{PrivateRedis, eventually};
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;

use crate::Context;
use crate::stream::Signal;
use crate::testing::{Answer, People, ask, context, context_with_others, get};

const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];
const CONVERSATIONS: &str = "/v1/chat/conversations";

/// Everybody who is in these tests.
struct Cast {
    people: Arc<People>,
    context: Context,
    anne: Caller,
    ben: Caller,
    vera: Caller,
    ada: Caller,
    abel: Caller,
}

impl Cast {
    fn new(db: &Db) -> Self {
        let people = Arc::<People>::default();
        let add = |name, role| people.add(db, name, role);
        Self {
            anne: add("Anne", Role::User),
            ben: add("Ben", Role::User),
            vera: add("Vera", Role::Verifier),
            ada: add("Ada", Role::Admin),
            abel: add("Abel", Role::Admin),
            context: context(db, &people),
            people,
        }
    }

    async fn send(&self, who: &Caller, request: &str, body: Json) -> Answer {
        let (method, path) = request.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        };
        ask(&self.context, who, request.body(body).unwrap()).await
    }

    async fn ok(&self, who: &Caller, request: &str, body: Json) -> Json {
        self.send(who, request, body).await.json().await
    }

    async fn get(&self, who: &Caller, path: &str) -> Json {
        ask(&self.context, who, get(path)).await.json().await
    }

    /// A conversation with support; answers its address.
    async fn support(&self, who: &Caller) -> String {
        self.open(who, json!({ "type": "support" })).await
    }

    async fn open(&self, who: &Caller, body: Json) -> String {
        let opened = self.ok(who, &format!("POST {CONVERSATIONS}"), body).await;
        format!("{CONVERSATIONS}/{}", opened["id"].as_str().unwrap())
    }

    async fn with_vera(&self, who: &Caller) -> String {
        self.open(who, json!({ "type": "verifier", "verifierId": self.vera_id() })).await
    }

    fn vera_id(&self) -> String {
        self.vera.user().unwrap().same_as::<kernel::id::kinds::Verifier>().to_string()
    }

    async fn write(&self, who: &Caller, path: &str, text: &str) -> Json {
        self.ok(who, &format!("POST {path}/messages"), json!({ "body": text })).await
    }

    async fn unread(&self, who: &Caller, path: &str) -> i64 {
        self.get(who, path).await["unread"].as_i64().unwrap()
    }
}

fn id(who: &Caller) -> String {
    who.user().unwrap().to_string()
}

fn texts(messages: &Json) -> Vec<String> {
    let messages = messages.as_array().unwrap().iter();
    messages.map(|message| message["body"].as_str().unwrap().to_owned()).collect()
}

/// The admin's address of a conversation with support.
fn as_admin(path: &str) -> String {
    path.replace("/v1/chat/", "/v1/admin/support/")
}

on_both_engines! { TABLES;
    async fn the_words_of_a_message_are_taken_away_for_everybody(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let path = cast.with_vera(&cast.anne).await;
        cast.write(&cast.anne, &path, "Good morning.").await;
        let rude = cast.write(&cast.vera, &path, "Never again!").await;
        let id = rude["id"].as_str().unwrap().parse().unwrap();
        let chat = &cast.context.chat;
        let seen = chat.message(&cast.anne, id).await.unwrap();
        assert_eq!((seen.text.as_deref(), seen.sender), (Some("Never again!"), cast.vera.user().unwrap()));
        for stranger in [&cast.ben, &cast.ada] {
            let unseen = chat.message(stranger, id).await.unwrap_err();
            assert_eq!(unseen.kind(), kernel::Kind::NotFound);
        }
        let remove = async || {
            let ada = &cast.ada;
            t.db.run("test.remove", |tx| async move { chat.remove_in(&tx, ada, id).await }).await
        };
        remove().await.unwrap();
        assert_eq!(remove().await.unwrap_err().kind(), kernel::Kind::NotFound);
        for who in [&cast.anne, &cast.vera] {
            let shown = cast.get(who, &format!("{path}/messages")).await;
            let words: Vec<_> = shown.as_array().unwrap().iter().map(|m| m["body"].clone()).collect();
            assert_eq!(words.len(), 2);
            assert!(words.contains(&json!("Good morning.")) && words.contains(&Json::Null), "{shown}");
        }
        assert!(chat.message(&cast.anne, id).await.is_err());
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts WHERE verb = 'message.removed'";
        assert_eq!(t.db.one(sql, &[], |row| row.take::<i64>()).await.unwrap(), 1);
    }

    async fn a_conversation_with_support_goes_from_question_to_close(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, ada, .. } = &cast;
        let opening = json!({ "type": "support", "subject": "A deposit", "verifierId": null });
        let answer = cast.send(anne, &format!("POST {CONVERSATIONS}"), opening.clone()).await;
        assert_eq!(answer.response.status(), 201);
        let opened = answer.json().await;
        let path = format!("{CONVERSATIONS}/{}", opened["id"].as_str().unwrap());
        assert_eq!(opened, json!({
            "id": opened["id"],
            "type": "support",
            "status": "open",
            "subject": "A deposit",
            "participants":
                [{ "userId": id(anne), "name": "Anne", "role": "owner", "readUpTo": 0 }],
            "assignedTo": null,
            "unread": 0,
            "messages": 0,
            "createdAt": "2026-01-01T00:00:00Z",
            "lastActivityAt": "2026-01-01T00:00:00Z",
        }));
        let again = cast.send(anne, &format!("POST {CONVERSATIONS}"), opening).await;
        assert_eq!(again.response.status(), 200, "there is one");
        assert_eq!(again.json().await["id"], opened["id"]);

        let message = cast.write(anne, &path, "  Where is my money?\n").await;
        assert_eq!(message, json!({
            "id": message["id"],
            "conversationId": opened["id"],
            "number": 1,
            "senderId": id(anne),
            "body": "Where is my money?",
            "sentAt": "2026-01-01T00:00:00Z",
        }));
        let list = "/v1/admin/support/conversations?status=";
        assert_eq!(cast.get(ada, &format!("{list}open")).await[0]["unread"], 1);
        let assign = format!("POST {}/assign", as_admin(&path));
        let assigned = cast.ok(ada, &assign, json!({})).await;
        assert_eq!(assigned["status"], "assigned");
        assert_eq!(assigned["assignedTo"], id(ada));
        assert_eq!(cast.get(ada, &format!("{list}open")).await, json!([]));
        assert_eq!(cast.get(ada, &format!("{list}assigned")).await[0]["id"], opened["id"]);
        cast.write(ada, &path, "On its way.").await;
        assert_eq!(cast.unread(anne, &path).await, 1);
        let closed = cast.ok(ada, &format!("POST {}/close", as_admin(&path)), Json::Null).await;
        assert_eq!(closed["status"], "closed");
        assert_eq!(cast.get(ada, &format!("{list}closed")).await[0]["id"], opened["id"]);
        for (who, request) in [(anne, "messages"), (ada, "messages"), (anne, "close")] {
            let request = format!("POST {path}/{request}");
            let refused = cast.send(who, &request, json!({ "body": "One more thing" })).await;
            assert_eq!(refused.code(), "conversation_closed", "{request}");
        }
        assert_eq!(cast.send(ada, &assign, json!({})).await.code(), "conversation_closed");
        assert_ne!(cast.support(anne).await, path, "a new one may be opened");
    }

    async fn a_conversation_of_others_is_not_there(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, ben, vera, ada, .. } = &cast;
        let (support, private) = (cast.support(anne).await, cast.with_vera(anne).await);
        cast.write(anne, &private, "Between us").await;
        let text = json!({ "body": "Hello" });
        for (who, path) in [(ben, &support), (ben, &private), (vera, &support), (ada, &private)] {
            for (request, body) in [
                (format!("GET {path}"), Json::Null),
                (format!("GET {path}/messages"), Json::Null),
                (format!("POST {path}/messages"), text.clone()),
                (format!("PUT {path}/read"), Json::Null),
                (format!("POST {path}/close"), Json::Null),
            ] {
                let refused = cast.send(who, &request, body).await;
                assert_eq!(refused.code(), "not_found", "{request}");
            }
        }
        for request in ["assign", "close"] {
            let path = as_admin(&private);
            let refused = cast.send(ada, &format!("POST {path}/{request}"), json!({})).await;
            assert_eq!(refused.code(), "not_found", "{request}");
        }
        assert_eq!(cast.get(ben, CONVERSATIONS).await, json!([]));
        assert_eq!(cast.get(ben, "/v1/messages").await, json!([]));
        assert_eq!(cast.get(vera, CONVERSATIONS).await.as_array().unwrap().len(), 1);
    }

    async fn users_write_to_verifiers_who_take_jobs_and_admins_open_nothing(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, ben, vera, ada, people, .. } = &cast;
        let open = format!("POST {CONVERSATIONS}");
        let refused = async |who, body| cast.send(who, &open, body).await.code().to_owned();
        let ben_s = ben.user().unwrap().same_as::<kernel::id::kinds::Verifier>();
        let with = |verifier: &str| json!({ "type": "verifier", "verifierId": verifier });
        assert_eq!(refused(anne, with(&ben_s.to_string())).await, "not_found", "no verifier");
        assert_eq!(refused(anne, with("v_01h455vb4pex5vsknk084sn02q")).await, "not_found");
        assert_eq!(refused(anne, json!({ "type": "verifier" })).await, "invalid_fields");
        let both = json!({ "type": "support", "verifierId": cast.vera_id() });
        assert_eq!(refused(anne, both).await, "invalid_fields");
        assert_eq!(refused(ada, json!({ "type": "support" })).await, "forbidden");
        assert_eq!(refused(vera, with(&cast.vera_id())).await, "forbidden");
        cast.support(vera).await;
        assert_eq!(cast.with_vera(anne).await, cast.with_vera(anne).await);
        assert_ne!(cast.with_vera(anne).await, cast.with_vera(ben).await);
        people.disapprove(vera);
        assert_eq!(refused(anne, with(&cast.vera_id())).await, "not_found");
    }

    async fn messages_are_numbered_counted_and_paged_backwards(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, vera, .. } = &cast;
        let path = cast.with_vera(anne).await;
        for number in 1..=7 {
            let who = if number % 3 == 0 { vera } else { anne };
            cast.write(who, &path, &number.to_string()).await;
            t.clock.advance(Duration::from_secs(5));
        }
        assert_eq!((cast.unread(anne, &path).await, cast.unread(vera, &path).await), (0, 1));
        let (mut next, mut seen) = (format!("{path}/messages?limit=3"), Vec::new());
        for _ in 0..3 {
            let answer = ask(&cast.context, anne, get(&next)).await;
            if answer.response.headers().contains_key("link") {
                next = answer.next();
            }
            seen.extend(texts(&answer.json().await));
        }
        assert_eq!(seen, ["7", "6", "5", "4", "3", "2", "1"]);
        cast.ok(vera, &format!("PUT {path}/read"), Json::Null).await;
        assert_eq!(cast.unread(vera, &path).await, 0);
        let shown = cast.get(anne, &path).await;
        let part = |role: &str| {
            let all = shown["participants"].as_array().unwrap().iter();
            all.clone().find(|one| one["role"] == role).cloned().unwrap()
        };
        assert_eq!(part("verifier")["readUpTo"], 7, "a receipt");
        let refused = cast.send(anne, &format!("GET {path}/messages?limit=101"), Json::Null).await;
        assert_eq!(refused.code(), "invalid_fields");
        let foreign = format!("GET {path}/messages?before=m_01h455vb4pex5vsknk084sn02q");
        assert_eq!(cast.send(anne, &foreign, Json::Null).await.code(), "invalid_fields");
    }

    async fn messages_sent_at_once_have_one_number_each(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let path = cast.with_vera(&cast.anne).await;
        let sent = (0..20).map(|turn| {
            let who = if turn % 2 == 0 { &cast.anne } else { &cast.vera };
            let (cast, path) = (&cast, &path);
            async move { cast.write(who, path, "x").await["number"].as_i64().unwrap() }
        });
        let mut numbers = futures_util::future::join_all(sent).await;
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    }

    async fn a_message_that_is_sent_again_under_its_key_is_there_once(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let path = cast.with_vera(&cast.anne).await;
        let with_key = || {
            let idempotency = Some(Arc::new(Idempotency::new([7; 32], [7; 32])));
            Caller { idempotency, ..cast.anne.clone() }
        };
        let first = cast.write(&with_key(), &path, "Hello").await;
        let again = cast.write(&with_key(), &path, "Hello").await;
        assert_eq!(first, again);
        assert_eq!(cast.get(&cast.vera, &path).await["messages"], 1);
    }

    async fn what_is_too_long_too_much_or_nothing_is_refused(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let path = cast.with_vera(&cast.anne).await;
        let send = async |text: &str| {
            let request = format!("POST {path}/messages");
            cast.send(&cast.anne, &request, json!({ "body": text })).await.code().to_owned()
        };
        for text in ["", "  \n ", &"x".repeat(4001), "a\u{0}b", "\u{7}"] {
            assert_eq!(send(text).await, "invalid_fields", "{text:?}");
        }
        assert_eq!(send(&"ü".repeat(4000)).await, "");
        let mut sent = 1;
        while send("more").await.is_empty() {
            sent += 1;
        }
        assert_eq!((sent, send("more").await.as_str()), (30, "rate_limited"));
        t.clock.advance(Duration::from_secs(2));
        assert_eq!(send("patience").await, "");
    }

    async fn the_inbox_shows_the_last_message_of_each_conversation(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, vera, ada, .. } = &cast;
        let private = cast.with_vera(anne).await;
        let support = cast.support(anne).await;
        cast.write(anne, &private, "Hello").await;
        cast.write(ada, &support, "How can we help?").await;
        t.clock.advance(Duration::from_secs(1));
        let last = cast.write(vera, &private, "Please upload it again.").await;
        let inbox = cast.get(anne, "/v1/messages").await;
        assert_eq!(inbox[0], json!({
            "id": last["id"],
            "conversationId": last["conversationId"],
            "senderId": id(vera),
            "senderName": "Vera",
            "subject": "Vera",
            "content": "Please upload it again.",
            "timestamp": "2026-01-01T00:00:01Z",
            "isRead": false,
        }));
        assert_eq!(inbox[1]["subject"], "Support");
        assert_eq!(inbox[1]["senderName"], "Ada");
        let first = ask(&cast.context, anne, get("/v1/messages?limit=1")).await;
        let second = cast.get(anne, &first.next()).await;
        assert_eq!(second, json!([inbox[1]]));
        let of_support = cast.get(anne, &format!("{CONVERSATIONS}?type=support")).await;
        assert_eq!(of_support.as_array().unwrap().len(), 1);
    }

    async fn a_conversation_is_handed_to_another_admin_and_to_nobody_else(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, ben, ada, abel, .. } = &cast;
        let path = cast.support(anne).await;
        let assign = format!("POST {}/assign", as_admin(&path));
        cast.ok(ada, &assign, json!({})).await;
        let handed = cast.ok(ada, &assign, json!({ "adminId": id(abel) })).await;
        assert_eq!(handed["assignedTo"], id(abel));
        let refused = cast.send(ada, &assign, json!({ "adminId": id(ben) })).await;
        assert_eq!(refused.code(), "invalid_fields");
    }

    async fn what_is_written_is_sealed_and_goes_with_who_wrote_it(t: &TestDb) {
        t.db.keep_private(MasterKey::new([3; 32]));
        let cast = Cast::new(&t.db);
        let Cast { anne, vera, .. } = &cast;
        let opening =
            json!({ "type": "verifier", "verifierId": cast.vera_id(), "subject": "My name" });
        let path = cast.open(anne, opening).await;
        cast.write(anne, &path, "I am Anne, born in Lagos").await;
        cast.write(vera, &path, "Thank you").await;
        let sql = "SELECT body FROM chat_messages UNION ALL SELECT subject FROM conversations";
        let stored = t.db.all(sql, &[], |row| row.take::<String>()).await.unwrap();
        assert!(stored.iter().all(|text| text.starts_with("sealed:")), "{stored:?}");
        let sql = "SELECT data FROM facts";
        let facts = t.db.all(sql, &[], |row| row.take::<String>()).await.unwrap();
        assert!(!facts.iter().any(|fact| fact.contains("Lagos") || fact.contains("My name")));

        let person = &Person { id: anne.user().unwrap(), email: "anne@example.org".to_owned() };
        for _ in 0..2 {
            let erase = t.db.run("erase", |tx| async move {
                crate::Held.erase(&tx, person, Erasure::Person).await
            });
            erase.await.unwrap();
        }
        let messages = cast.get(vera, &format!("{path}/messages")).await;
        assert_eq!(texts(&json!([messages[0]])), ["Thank you"]);
        assert_eq!(messages[1]["body"], Json::Null);
        let left = cast.get(vera, &path).await;
        assert_eq!((&left["subject"], &left["status"]), (&Json::Null, &json!("closed")));
    }
}

/// The context behind a listener, with the callers that a header names.
struct House {
    address: SocketAddr,
    context: Context,
    stop: CancellationToken,
    hub: tokio::task::JoinHandle<()>,
}

impl House {
    async fn open(context: Context, everybody: &[&Caller]) -> Self {
        let everybody: Vec<Caller> = everybody.iter().copied().cloned().collect();
        let add =
            |router: Router, route: platform::http::Route| router.route(route.path, route.handler);
        let router = context.routes().into_iter().fold(Router::new(), add);
        let identify = move |mut request: Incoming| {
            let place: usize = request.headers()["x-who"].to_str().unwrap().parse().unwrap();
            request.extensions_mut().insert(everybody[place].clone());
            std::future::ready(request)
        };
        let router = router.layer(axum::middleware::map_request(identify));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let stop = CancellationToken::new();
        let (hub, stopped) = (context.hub.clone(), stop.clone());
        let hub = tokio::spawn(async move { hub.run(stopped).await });
        Self { address, context, stop, hub }
    }

    async fn socket(&self, who: usize, query: &str) -> Socket {
        let url = format!("ws://{}/v1/ws/chat{query}", self.address);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("x-who", who.into());
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (socket, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(answer.status(), 101);
        let mut socket = Socket(socket);
        assert_eq!(socket.event("ready").await["data"], json!({}));
        socket
    }
}

/// One process of several, which talk over Redis.
struct Process {
    house: House,
    talking: tokio::task::JoinHandle<()>,
}

impl Process {
    async fn start(db: &Db, cast: &Cast, redis: &PrivateRedis) -> Self {
        let (context, fleet) = context_with_others(db, &cast.people, &redis.options());
        let chat = context.chat.clone();
        let house = House::open(context, &[&cast.anne, &cast.vera]).await;
        let (for_fleet, for_chat) = (CancellationToken::new(), house.stop.clone());
        tokio::spawn(async move { fleet.run(for_fleet).await });
        let talking = tokio::spawn(async move { chat.run(for_chat).await });
        Self { house, talking }
    }

    /// Waits until it knows whether somebody is at another process.
    async fn knows(&self, who: &Caller, is_there: bool) {
        let (presence, user) = (&self.house.context.chat.presence, who.user().unwrap());
        eventually("the word gets around", async || presence.is_elsewhere(user) == is_there).await;
    }
}

/// What is told of somebody.
fn is_there(who: &Caller, online: bool) -> Json {
    json!({ "userId": id(who), "online": online })
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// The next text, or why it was closed.
    async fn next(&mut self) -> Result<Json, (u16, String)> {
        loop {
            let frame = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await;
            match frame.expect("something comes in time").expect("it goes on").unwrap() {
                Frame::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Frame::Close(Some(frame)) => {
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                _ => {}
            }
        }
    }

    /// The next event, which must be this one.
    async fn event(&mut self, name: &str) -> Json {
        let event = self.next().await.unwrap();
        assert_eq!(event["event"], name, "{event}");
        event
    }

    /// The next event of this name.
    async fn until(&mut self, name: &str) -> Json {
        loop {
            let event = self.next().await.unwrap();
            if event["event"] == name {
                return event;
            }
        }
    }

    async fn say(&mut self, text: Json) {
        self.0.send(Frame::text(text.to_string())).await.unwrap();
    }
}

on_both_engines! { TABLES;
    async fn a_message_is_told_on_every_process_and_missed_ones_when_one_comes_back(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, ben, vera, .. } = &cast;
        let path = cast.with_vera(anne).await;
        let stop = CancellationToken::new();
        let (runner, stopped) = (Runner::new(t.db.clone(), cast.context.readers()), stop.clone());
        let placing = tokio::spawn(async move { runner.run(stopped).await });
        // Vera and Ben listen at another process.
        let there = House::open(context(&t.replica(), &cast.people), &[anne, vera, ben]).await;
        let (mut of_vera, mut of_ben) = (there.socket(1, "").await, there.socket(2, "").await);
        let sent = cast.write(anne, &path, "Hello").await;
        let mut told = of_vera.next().await.unwrap();
        while told["event"] != "message.new" {
            assert_eq!(told["event"], "conversation.updated");
            told = of_vera.next().await.unwrap();
        }
        assert_eq!(told["data"], sent);
        let seq = told["seq"].as_i64().unwrap();
        drop(of_vera);
        for text in ["one", "two"] {
            cast.write(anne, &path, text).await;
        }
        cast.ok(anne, &format!("POST {path}/close"), Json::Null).await;
        let mut back = there.socket(1, &format!("?after={seq}")).await;
        for text in ["one", "two"] {
            assert_eq!(back.event("message.new").await["data"]["body"], text);
        }
        assert_eq!(back.event("conversation.updated").await["data"]["status"], "closed");
        // What concerns Ben is the first that Ben is told.
        cast.with_vera(ben).await;
        let told = of_ben.event("conversation.updated").await;
        assert_eq!(told["data"]["participants"].as_array().unwrap().len(), 2);
        assert!(told["data"].to_string().contains(&id(ben)));
        stop.cancel();
        there.stop.cancel();
        drop((back, of_ben));
        placing.await.unwrap();
        there.hub.await.unwrap();
    }

    async fn admins_are_told_of_what_support_is_asked(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, ada, .. } = &cast;
        let house = House::open(cast.context.clone(), &[ada]).await;
        let mut socket = house.socket(0, "").await;
        cast.with_vera(anne).await;
        let path = cast.support(anne).await;
        cast.write(anne, &path, "Hello?").await;
        crate::testing::read_all(&house.context, &t.db).await;
        assert_eq!(socket.event("conversation.updated").await["data"]["type"], "support");
        assert_eq!(socket.event("message.new").await["data"]["body"], "Hello?");
    }

    async fn those_who_talk_see_each_other_come_type_and_go(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, ben, vera, .. } = &cast;
        let path = cast.with_vera(anne).await;
        let conversation = path.rsplit('/').next().unwrap();
        let house = House::open(cast.context.clone(), &[anne, vera, ben]).await;
        let mut of_anne = house.socket(0, "").await;
        let mut of_ben = house.socket(2, "").await;
        let mut of_vera = house.socket(1, "").await;
        assert_eq!(of_anne.event("presence.updated").await["data"], is_there(vera, true));
        assert_eq!(of_vera.event("presence.updated").await["data"], is_there(anne, true));
        let typing = json!({ "type": "typing", "conversationId": conversation });
        of_vera.say(json!({ "type": "nonsense" })).await;
        of_ben.say(typing.clone()).await;
        of_vera.say(typing).await;
        // Who comes while one looks may be told twice.
        let told = of_anne.until("typing").await;
        assert_eq!(told["data"], json!({ "conversationId": conversation, "userId": id(vera) }));
        of_vera.0.close(None).await.unwrap();
        assert_eq!(of_anne.event("presence.updated").await["data"], is_there(vera, false));
    }

    async fn what_is_signalled_again_is_told_once(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, vera, context, .. } = &cast;
        let path = cast.with_vera(anne).await;
        let house = House::open(context.clone(), &[anne, vera]).await;
        let mut of_anne = house.socket(0, "").await;
        let mut of_vera = house.socket(1, "").await;
        assert_eq!(of_vera.event("presence.updated").await["data"]["online"], true);
        let again = || {
            let user = vera.user().unwrap();
            context.hub.signal(anne.user().unwrap(), Signal::Presence { user });
        };
        again();
        assert_eq!(of_anne.event("presence.updated").await["data"]["online"], true);
        again();
        // Another device, which goes again.
        let mut other = house.socket(1, "").await;
        other.event("presence.updated").await;
        other.0.close(None).await.unwrap();
        again();
        let conversation = path.rsplit('/').next().unwrap();
        of_vera.say(json!({ "type": "typing", "conversationId": conversation })).await;
        of_anne.event("typing").await;
    }

    async fn those_who_talk_see_each_other_through_other_processes(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, vera, .. } = &cast;
        let path = cast.with_vera(anne).await;
        let conversation = path.rsplit('/').next().unwrap();
        let mut redis = PrivateRedis::start().await;
        let there_db = t.replica();
        let here = Process::start(&t.db, &cast, &redis).await;
        let there = Process::start(&there_db, &cast, &redis).await;

        let mut of_anne = here.house.socket(0, "").await;
        let mut of_vera = there.house.socket(1, "").await;
        assert_eq!(of_anne.event("presence.updated").await["data"], is_there(vera, true));
        assert_eq!(of_vera.event("presence.updated").await["data"], is_there(anne, true));
        let typing = json!({ "type": "typing", "conversationId": conversation });
        of_vera.say(typing.clone()).await;
        let told = of_anne.event("typing").await;
        assert_eq!(told["data"], json!({ "conversationId": conversation, "userId": id(vera) }));
        of_anne.say(typing.clone()).await;
        assert_eq!(of_vera.event("typing").await["data"]["userId"], id(anne));

        // A second device at the other process, and the first one goes: she is still there.
        let mut of_vera_here = here.house.socket(1, "").await;
        of_vera_here.event("presence.updated").await;
        of_vera.0.close(None).await.unwrap();
        here.knows(vera, false).await;
        of_vera_here.say(typing.clone()).await;
        of_anne.event("typing").await;
        of_vera_here.0.close(None).await.unwrap();
        assert_eq!(of_anne.event("presence.updated").await["data"], is_there(vera, false));

        // Redis goes and comes back, and with it what was said before.
        redis.kill();
        let _of_vera = there.house.socket(1, "").await;
        redis.start_again().await;
        assert_eq!(of_anne.event("presence.updated").await["data"], is_there(vera, true));

        // Her process dies without a word; its silence says so.
        there.talking.abort();
        t.clock.advance(Duration::from_secs(30));
        here.house.context.chat.look_around().await;
        assert!(here.house.context.chat.presence.is_online(vera.user().unwrap()));
        t.clock.advance(Duration::from_secs(10));
        here.house.context.chat.look_around().await;
        assert_eq!(of_anne.event("presence.updated").await["data"], is_there(vera, false));
    }

    async fn a_process_that_stops_takes_its_listeners_with_it(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, vera, .. } = &cast;
        cast.with_vera(anne).await;
        let redis = PrivateRedis::start().await;
        let there_db = t.replica();
        let here = Process::start(&t.db, &cast, &redis).await;
        let there = Process::start(&there_db, &cast, &redis).await;
        let mut of_anne = here.house.socket(0, "").await;
        let _of_vera = there.house.socket(1, "").await;
        assert_eq!(of_anne.event("presence.updated").await["data"], is_there(vera, true));
        there.house.stop.cancel();
        assert_eq!(of_anne.event("presence.updated").await["data"], is_there(vera, false));
    }

    async fn a_socket_is_closed_with_the_reason(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, ben, people, .. } = &cast;
        let house = House::open(cast.context.clone(), &[anne, ben]).await;
        let (mut of_anne, mut of_ben) = (house.socket(0, "").await, house.socket(1, "").await);
        people.end(&t.db, anne).await;
        assert_eq!(of_anne.next().await.unwrap_err(), (4001, "session_ended".to_owned()));
        house.stop.cancel();
        assert_eq!(of_ben.next().await.unwrap_err(), (1012, "shutdown".to_owned()));
        house.hub.await.unwrap();
    }

    async fn what_cannot_be_read_now_is_told_to_whoever_comes_back(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let Cast { anne, vera, people, context, .. } = &cast;
        let path = cast.with_vera(anne).await;
        crate::testing::read_all(context, &t.db).await;
        let house = House::open(context.clone(), &[anne]).await;
        let mut socket = house.socket(0, "").await;
        cast.write(vera, &path, "Good bye.").await;
        cast.ok(vera, &format!("POST {path}/close"), Json::Null).await;
        people.is_away(true);
        crate::testing::read_all(context, &t.db).await;
        let seq = socket.event("message.new").await["seq"].as_i64().unwrap();
        // Signs of life go on where it is not closed.
        let closed = tokio::time::timeout(Duration::from_secs(20), socket.next()).await;
        let closed = closed.expect("it is closed").unwrap_err();
        assert_eq!(closed, (1013, "unavailable".to_owned()));
        people.is_away(false);
        let mut back = house.socket(0, &format!("?after={seq}")).await;
        assert_eq!(back.event("conversation.updated").await["data"]["status"], "closed");
    }

    async fn what_is_no_websocket_is_told_to_be_one(t: &TestDb) {
        let cast = Cast::new(&t.db);
        let answer = ask(&cast.context, &cast.anne, get("/v1/ws/chat")).await;
        assert_eq!(answer.code(), "upgrade_required");
        assert_eq!(answer.response.status(), 426);
    }
}
