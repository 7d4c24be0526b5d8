//! gRPC and Streamfair's JSON gateway over sockets: who gets in, what refusals look like, what is
//! bounded.

use std::time::Duration;

use kernel::Kind;
use reqwest::Method;
use rpc::client::Client;
use rpc::server::Door;
use rpc::streamfair::{ROWS, Row, Verb};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::town::{Cast, PASSWORD};
use crate::world::Stage;

async fn client(stage: &Stage) -> Client {
    Client::connect(stage.running.grpc_address.expect("gRPC is served")).await.unwrap()
}

/// A row's path with something that names nothing in it.
fn path_to_nothing(row: &Row) -> String {
    row.path.replace("{id}", "1").replace("{username}", "nobody").replace("{uuid}", "x")
}

const fn method(row: &Row) -> Method {
    match row.verb {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
        Verb::Patch => Method::PATCH,
        Verb::Delete => Method::DELETE,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rpc_admits_exactly_who_may_call_it() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let nobody = client(&stage).await;
    let user = nobody.bearing(&cast.anne.token);
    let admin = nobody.bearing(&cast.admin.token);
    for row in ROWS {
        for (who, client) in [("nobody", &nobody), ("user", &user), ("admin", &admin)] {
            let kind = match client.streamfair(row.rpc, json!({})).await {
                Ok(_) => None,
                Err(error) => Some(error.kind()),
            };
            let what = format!("{who} {}: {kind:?}", row.rpc);
            assert!(!matches!(kind, Some(Kind::Internal | Kind::Unavailable)), "{what}");
            let shut = match (who, row.door) {
                (_, Door::Login | Door::Register) | ("admin", _) => false,
                ("nobody", _) => {
                    assert_eq!(kind, Some(Kind::Unauthenticated), "{what}");
                    true
                }
                (_, Door::Admin) => {
                    assert_eq!(kind, Some(Kind::Forbidden), "{what}");
                    true
                }
                (_, Door::Any | Door::Unproved) => false,
            };
            // A token that is worth nothing is told so by a code of its own.
            let is_answer = kind != Some(Kind::Unauthenticated) || row.rpc.starts_with("Verify");
            assert!(shut || is_answer || row.door == Door::Login, "{what}");
        }
    }
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_answers_every_rpc_as_grpc_does() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let grpc = client(&stage).await.bearing(&cast.anne.token);
    for row in ROWS {
        let call = cast.town.call(method(row), &path_to_nothing(row), Some(&cast.anne));
        let answer = call.answer().await;
        let named = json!({ "id": 1, "username": "nobody", "uuid": "x" });
        let fields = match row.path.split_once('{') {
            Some((_, name)) => {
                let name = name.trim_end_matches('}');
                json!({ name: named[name].clone() })
            }
            None => json!({}),
        };
        match grpc.streamfair(row.rpc, fields).await {
            Ok(reply) if row.verb == Verb::Get || !row.rpc.starts_with("Create") => {
                assert_eq!(answer.status, 200, "{}", row.rpc);
                let is_empty = reply.is_null() || reply == json!({});
                assert_eq!(is_empty, answer.json() == json!({}), "{}", row.rpc);
            }
            Ok(_) => assert_eq!(answer.status, 200, "{}", row.rpc),
            Err(error) => {
                let (status, body) = rpc::status::to_http(&error);
                let is = answer.json();
                let what = format!("{} {}", row.rpc, answer.text());
                assert_eq!(answer.status, status, "{what}");
                assert_eq!(
                    (&is["code"], &is["details"]),
                    (&body["code"], &body["details"]),
                    "{what}"
                );
                assert_eq!(answer.header("content-type"), "application/json");
                assert!(is["message"].as_str().is_some_and(|text| !text.is_empty()));
            }
        }
    }
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_read_as_proto3_json_has_them() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let town = &cast.town;
    let health = town.call(Method::GET, "/streamfair/v1/healthz", None).done().await;
    assert_eq!(health, json!({ "status": "SERVING" }));

    let list = async |path: &str, body: &str| {
        let call = town.post(path, &cast.admin);
        let answer = if body.is_empty() { call } else { call.raw(body) }.answer().await;
        (answer.status, answer.json()["users"].as_array().map_or(0, Vec::len))
    };
    let path = "/streamfair/v1/list_users";
    assert_eq!(list(path, "").await.0, 200);
    for body in [
        r#"{"limit": 1}"#,
        r#"{"limit": "1"}"#,
        r#"{"limit": 1.0, "offset": null}"#,
        r#"{"limit": 1, "unknown": {"a": []}}"#,
    ] {
        assert_eq!(list(path, body).await, (200, 1), "{body}");
    }
    assert_eq!(list("/streamfair/v1/list_users?limit=1&x=y", "").await, (200, 1));
    for body in [r#"{"limit": 1.5}"#, r#"{"limit": "x"}"#, r#"{"limit": 3000000000}"#, "[]", "{"] {
        assert_eq!(list(path, body).await.0, 400, "{body}");
    }
    let unknown = town.post("/streamfair/v1/get_user_by_id", &cast.admin).answer().await;
    let told = unknown.json()["message"].as_str().unwrap().to_owned();
    assert_eq!((unknown.status, unknown.json()["code"].as_i64()), (404, Some(5)));
    assert!(told.contains("GET /streamfair/v1/get_user_by_id/{id}"), "{told}");
    let unknown = town.post("/streamfair/v1/make_coffee", &cast.admin).answer().await.json();
    assert!(unknown["message"].as_str().unwrap().contains("list_users"), "{unknown}");
    // The names of proto3's JSON and those of the .proto file.
    for body in [
        json!({ "accountName": "A", "accountType": 3 }),
        json!({ "account_name": "B", "account_type": "4" }),
    ] {
        let made = town.post("/streamfair/v1/create_account", &cast.anne).json(&body).done().await;
        let account = &made["account"];
        assert_eq!(account["status"], "active");
        assert!(account["id"].is_string(), "64 bits are a text");
        assert!(account["account_type"].is_number());
        assert!(account.get("plays").is_none(), "what is zero is left out");
        assert!(account["created_at"].as_str().unwrap().ends_with('Z'));
    }
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_and_a_live_key_bring_a_new_token() {
    let stage = Stage::on_sqlite().await;
    let grpc = client(&stage).await;
    let new = json!({ "name": "Dev One", "email": "dev@example.com", "role": "dev",
        "password": PASSWORD });
    let entered = grpc.threel1("RegUser", new.clone()).await.unwrap();
    assert!(entered["token"].as_str().unwrap().len() >= 100);
    let said = grpc.threel1("ExtJWTData", entered.clone()).await.unwrap();
    assert_eq!((&said["role"], &said["token"]), (&json!("dev"), &entered["token"]));

    for (change, pointer) in [
        (json!({ "role": "admin" }), "/role"),
        (json!({ "role": "root" }), "/role"),
        (json!({ "name": "x" }), "/name"),
        (json!({ "email": "x" }), "/email"),
        (json!({ "password": "short" }), "/password"),
    ] {
        let mut wrong = new.clone();
        let (name, value) = change.as_object().unwrap().iter().next().unwrap();
        wrong[name] = value.clone();
        let refused = grpc.threel1("RegUser", wrong).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert_eq!(refused.fields()[0].pointer, pointer);
    }
    assert_eq!(grpc.threel1("RegUser", new).await.unwrap_err().code(), "email_taken");

    // The key says who asks; what the message says of it must not differ.
    let key = &entered["session_key"];
    let forged = json!({ "user_id": "00000000-0000-7000-8000-000000000000", "session_key": key });
    assert_eq!(grpc.threel1("DelUser", forged).await.unwrap_err().kind(), Kind::Forbidden);
    let none = grpc.threel1("DelUser", json!({ "user_id": said["user_id"] })).await.unwrap_err();
    assert_eq!(none.code(), "missing_auth");
    let other =
        json!({ "del_user_id": "00000000-0000-7000-8000-000000000000", "session_key": key });
    assert_eq!(grpc.threel1("DelUser", other).await.unwrap_err().kind(), Kind::NotFound);
    // A refused farewell leaves the session usable.
    let own = json!({ "user_id": said["user_id"], "del_user_id": said["user_id"],
        "session_key": key });
    grpc.threel1("DelUser", own).await.unwrap();
    let over = grpc.threel1("ExtJWTData", entered).await.unwrap_err();
    assert_eq!(over.kind(), Kind::Unauthenticated);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_tells_its_health_and_its_services_and_bounds_messages() {
    let stage = Stage::on_sqlite().await;
    let grpc = client(&stage).await;
    let services = grpc.services().await.unwrap();
    let ours = [
        "pb.AccountService",
        "pb.IdentityProvider",
        "pb.SessionService",
        "pb.TokenService",
        "pb.UserService",
        "users.UserService",
        "orders.OrderService",
    ];
    // What other processes would be asked is neither served here nor listed.
    let mut listed = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"].to_vec();
    listed.extend(ours);
    listed.sort_unstable();
    assert_eq!(services, listed);
    for service in ours {
        assert!(grpc.is_serving(service).await.unwrap(), "{service}");
    }
    assert!(grpc.is_serving("").await.unwrap());
    assert!(grpc.is_serving("orders.Nothing").await.is_err());
    let huge = json!({ "name": "x".repeat(300 * 1024) });
    assert!(grpc.threel1("LogUser", huge).await.is_err());

    // What is no HTTP/2 is hung up on, and the next one is served.
    let address = stage.running.grpc_address.unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server hangs up");
    assert!(grpc.is_serving("users.UserService").await.unwrap());
    stage.finish().await;
}

/// Every refusal in the gateway's own shape, from every layer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_refuses_in_the_gateway_s_shape() {
    let stage = Stage::on_sqlite().await;
    let cast = Cast::on(&stage).await;
    let town = &cast.town;
    let shape = |answer: crate::town::Answer, status: u16, code: i64| -> Json {
        let body = answer.json();
        assert_eq!((answer.status, &body["code"]), (status, &json!(code)), "{}", answer.text());
        assert!(body["message"].is_string() && body["details"].is_array());
        body
    };
    let path = "/streamfair/v1/get_user_by_id/1";
    shape(town.call(Method::GET, path, None).answer().await, 401, 16);
    let list = "/streamfair/v1/list_users";
    shape(town.post(list, &cast.anne).answer().await, 403, 7);
    shape(town.get(path, &cast.anne).answer().await, 404, 5);
    let large = "x".repeat(65 * 1024 + 1);
    let call = town.post("/streamfair/v1/create_account", &cast.anne);
    shape(call.raw(format!("{{\"bio\":\"{large}\"}}")).answer().await, 413, 3);
    let call = town.call(Method::POST, "/streamfair/v1/login_user_account", None);
    let wrong = json!({ "username": "nobody", "password": "wrong wrong wrong" });
    let body = shape(call.json(&wrong).answer().await, 401, 16);
    assert_eq!(body["details"][0]["reason"], "invalid_credentials");
    stage.finish().await;
}
