//! Orders from registration to the end, through all of their doors, and with real money.

use kernel::Kind;
use reqwest::Method;
use rpc::client::Client;
use serde_json::json;

use crate::town::{Cast, PASSWORD};
use crate::world::{Stage, on_both_stages};

on_both_stages! {
async fn the_document_s_story_is_played_over_http_and_grpc(stage: &Stage) {
    let town = stage.town();
    let grpc = Client::connect(stage.running.grpc_address.unwrap()).await.unwrap();
    let new = json!({ "name": "Dev One", "email": "dev@example.com", "role": "dev",
        "password": PASSWORD });
    let entered = town.call(Method::POST, "/api/users/reg", None).json(&new).done().await;
    let bearer = format!("Bearer {}", entered["token"].as_str().unwrap());
    let call = |method: Method, path: &str| {
        town.call(method, path, None).header("authorization", &bearer)
    };
    let order = json!({
        "target_url": "https://video.example/1", "service_url": "https://service.example",
        "order_type": "views", "quantity": 1000,
    });
    // Nobody is let in without a token, and whoever has one is (defect 5).
    let none = town.call(Method::POST, "/api/orders/add", None).json(&order).answer().await;
    assert_eq!((none.status, none.header("content-type")), (401, "text/plain; charset=utf-8"));
    let made = call(Method::POST, "/api/orders/add").json(&order).answer().await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let info = call(Method::GET, &format!("/api/orders/info?id={id}")).done().await;
    for (name, value) in order.as_object().unwrap() {
        assert_eq!(&info[name], value);
    }
    assert_eq!((&info["user_role"], &info["status"]), (&json!("dev"), &json!("processing")));

    // The same order over the wire: field by field, the quantity among them.
    let me = &info["user_id"];
    let dev = grpc.bearing(entered["token"].as_str().unwrap());
    let told = dev.threel1("OrderInfo", json!({ "id": id, "user_id": me })).await.unwrap();
    assert_eq!(told, info);
    let mut second = order.clone();
    second["user_id"] = me.clone();
    second["user_role"] = "admin".into();
    let second = dev.threel1("AddOrder", second).await.unwrap()["id"].clone();
    let path = format!("/api/orders/{}", second.as_str().unwrap());
    assert_eq!(call(Method::GET, &path).done().await["user_role"], "dev", "roles are not believed");

    for (rpc, fields, kind) in [
        ("AddOrder", json!({ "user_id": "00000000-0000-7000-8000-000000000000" }), Kind::Forbidden),
        ("AddOrder", json!({ "quantity": 1 }), Kind::Invalid),
        ("OrderInfo", json!({ "id": "x" }), Kind::NotFound),
        ("DelOrder", json!({ "id": "" }), Kind::NotFound),
    ] {
        assert_eq!(dev.threel1(rpc, fields).await.unwrap_err().kind(), kind, "{rpc}");
    }
    let wrong = dev.threel1("AddOrder", json!({ "quantity": 0 })).await.unwrap_err();
    let fields: Vec<_> = wrong.fields().iter().map(|field| field.pointer.as_str()).collect();
    assert_eq!(fields, ["/target_url", "/service_url", "/order_type", "/quantity"]);
    for rpc in ["AddOrder", "OrderInfo", "DelOrder"] {
        let refused = grpc.threel1(rpc, json!({ "id": id, "user_id": me })).await.unwrap_err();
        assert_eq!(refused.code(), "missing_auth", "{rpc}");
    }
    dev.threel1("DelOrder", json!({ "id": second, "user_id": me, "role": "dev" })).await.unwrap();
    assert_eq!(call(Method::DELETE, &format!("/api/orders/del?id={id}")).answer().await.status, 204);
    let gone = call(Method::GET, &format!("/api/orders/{id}")).answer().await;
    assert_eq!((gone.status, gone.text().contains('{')), (404, false));
}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_is_held_in_the_wallet_till_the_order_ends() {
    let stage = Stage::with(|config| {
        config.orders.like_price = 5;
        config.payments.default_currency = "USD".into();
    })
    .await;
    let Cast { town, anne, admin, .. } = Cast::on(&stage).await;
    let funds = town.wallet(&anne).await.0;
    let order = async |quantity: i64, key: &str| {
        let body = json!({
            "targetUrl": "https://video.example/1", "serviceUrl": "https://service.example",
            "type": "likes", "quantity": quantity,
        });
        town.post("/v1/orders", &anne).key(key).json(&body).answer().await
    };
    let first = order(100, "a").await;
    assert_eq!(first.clone().done()["price"], 500);
    assert!(order(100, "a").await.is_replayed());
    let second = order(10, "b").await.done();
    assert_eq!(town.wallet(&anne).await, (funds - 550, 550));
    order(funds, "c").await.problem(409, "insufficient_funds");
    let status = async |id: &serde_json::Value, who, status: &str| {
        let path = format!("/v1/orders/{}/status", id.as_str().unwrap());
        town.put(&path, who).json(&json!({ "status": status })).answer().await
    };
    let first = first.done();
    status(&first["id"], &anne, "done").await.problem(403, "not_yours_to_do");
    status(&first["id"], &admin, "done").await.done();
    status(&second["id"], &anne, "cancelled").await.done();
    assert_eq!(town.wallet(&anne).await, (funds - 500, 0));
    status(&second["id"], &admin, "done").await.problem(409, "wrong_state");
    assert_eq!(town.wallet(&anne).await, (funds - 500, 0));
    stage.finish().await;
}
