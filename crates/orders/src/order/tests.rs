//! Orders over HTTP, on a user service and wallets made up on the spot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use kernel::caller::Idempotency;
use kernel::id::kinds::{Hold, Order as OrderKind, User};
use kernel::{Asset, Caller, Error, Id, Money, Principal, Result, Role, Timestamp};
use parking_lot::Mutex;
use platform::db::{Read, Row, Tx};
use platform::http::Failure;
use platform::privacy::{Erasure, Holder, Person};
use platform::testing::TestDb;
use rpc::orders::{Orders, Status};
use rpc::users::{Profile, Users};
use serde_json::{Value as Json, json};
use tower::ServiceExt;

use super::model::{Escrow, Prices};
use super::rules::Refusal;

const MIGRATIONS: &[platform::db::Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];
/// What each has in the wallet.
const FUNDS: i64 = 1_000;

#[derive(Default)]
struct People(Mutex<HashMap<Id<User>, (Profile, &'static str)>>);

impl People {
    /// Somebody of a role, whom the order API calls `word`.
    fn add(&self, t: &TestDb, role: Role, word: &'static str) -> Caller {
        let id = t.db.world().id();
        let (name, email) = (word.to_owned(), format!("{word}@example.org"));
        let status = rpc::users::Status::Active;
        let profile = Profile { id, name, email, role, status, approved: true };
        self.0.lock().insert(id, (profile, word));
        Caller::of(Principal::new(id, role, t.db.world().id()))
    }
}

impl Users for People {
    fn cached(&self, _: &str, _: Timestamp) -> Option<Arc<Principal>> {
        None
    }

    fn authenticate<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        async { Err(Error::unauthenticated("invalid_token", "Nobody signs in here.")) }.boxed()
    }

    fn profile(&self, user: Id<User>) -> BoxFuture<'_, Result<Profile>> {
        let found = self.0.lock().get(&user).map(|(profile, _)| profile.clone());
        async move { found.ok_or_else(|| Error::not_found("user")) }.boxed()
    }

    fn profiles<'a>(&'a self, _: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn order_role<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, Result<String>> {
        let word = self.0.lock()[&principal.user].1.to_owned();
        async move { Ok(word) }.boxed()
    }
}

/// Wallets that count what is held and what was kept, when the order's transaction commits.
#[derive(Default)]
struct Purse(Arc<Mutex<Booked>>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Booked {
    held: HashMap<Id<Hold>, i64>,
    kept: i64,
}

impl Purse {
    fn held(&self) -> i64 {
        self.0.lock().held.values().sum()
    }

    fn kept(&self) -> i64 {
        self.0.lock().kept
    }

    fn book(&self, tx: &Tx, book: impl Fn(&mut Booked) + Send + Sync + 'static) {
        let booked = Arc::clone(&self.0);
        tx.after_commit(move || book(&mut booked.lock()));
    }
}

impl Escrow for Purse {
    fn hold<'a>(
        &'a self,
        tx: &'a Tx,
        _: Id<User>,
        price: Money,
        _: Id<OrderKind>,
    ) -> BoxFuture<'a, Result<Id<Hold>>> {
        async move {
            if self.held() + price.minor > FUNDS {
                return Err(Error::conflict("insufficient_funds", "Too little."));
            }
            let id = tx.world().id();
            self.book(tx, move |booked| {
                booked.held.insert(id, price.minor);
            });
            Ok(id)
        }
        .boxed()
    }

    fn keep<'a>(
        &'a self,
        tx: &'a Tx,
        _: Id<User>,
        price: Money,
        hold: Id<Hold>,
    ) -> BoxFuture<'a, Result<()>> {
        self.book(tx, move |booked| {
            assert_eq!(booked.held.remove(&hold), Some(price.minor), "held, and all of it");
            booked.kept += price.minor;
        });
        async { Ok(()) }.boxed()
    }

    fn give_back<'a>(&'a self, tx: &'a Tx, hold: Id<Hold>) -> BoxFuture<'a, Result<()>> {
        self.book(tx, move |booked| {
            booked.held.remove(&hold).expect("it was held");
        });
        async { Ok(()) }.boxed()
    }
}

struct Stage<'a> {
    t: &'a TestDb,
    people: Arc<People>,
    purse: Arc<Purse>,
    orders: Arc<dyn Orders>,
    router: axum::Router,
    anne: Caller,
    ben: Caller,
    admin: Caller,
    other_admin: Caller,
}

fn stage(t: &TestDb) -> Stage<'_> {
    stage_with(t, Prices::none(Asset::USD))
}

fn stage_with(t: &TestDb, prices: Prices) -> Stage<'_> {
    let (people, purse) = (Arc::new(People::default()), Arc::new(Purse::default()));
    let orders = crate::service(crate::Options {
        db: t.db.clone(),
        users: people.clone(),
        escrow: purse.clone(),
        prices,
    });
    let add = |router: axum::Router, route: platform::http::Route| {
        router.route(route.path, route.handler)
    };
    let router = crate::routes(&orders).into_iter().fold(axum::Router::new(), add);
    Stage {
        anne: people.add(t, Role::User, "dev"),
        ben: people.add(t, Role::User, "guest"),
        admin: people.add(t, Role::Admin, "admin"),
        other_admin: people.add(t, Role::Admin, "admin"),
        t,
        people,
        purse,
        orders,
        router,
    }
}

impl Stage<'_> {
    /// Status, body, and the next page's address.
    async fn send(&self, who: &Caller, line: &str, body: Json) -> (u16, Json, Option<String>) {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(uri);
        let bytes = if body.is_null() {
            axum::body::Body::empty()
        } else {
            request = request.header("content-type", "application/json");
            axum::body::Body::from(body.to_string())
        };
        let mut request = request.body(bytes).unwrap();
        request.extensions_mut().insert(who.clone());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let link = response
            .headers()
            .get("link")
            .map(|link| link.to_str().unwrap()[1..].split_once('>').unwrap().0.to_owned());
        if let Some(Failure(error)) = response.extensions().get() {
            let fields: Vec<_> = error.fields().iter().map(|it| it.pointer.clone()).collect();
            return (status, json!({ "code": error.code(), "fields": fields }), link);
        }
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default(), link)
    }

    async fn ok(&self, who: &Caller, line: &str, body: Json) -> Json {
        let (status, answer, _) = self.send(who, line, body).await;
        assert!((200..300).contains(&status), "{line}: {status} {answer}");
        answer
    }

    /// The code of a refusal.
    async fn refused(&self, who: &Caller, line: &str, body: Json) -> (u16, String) {
        let (status, answer, _) = self.send(who, line, body).await;
        assert!(status >= 400, "{line}: {status} {answer}");
        (status, answer["code"].as_str().unwrap().to_owned())
    }

    async fn order(&self, who: &Caller) -> String {
        let made = self.ok(who, "POST /v1/orders", likes(10)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn set(&self, who: &Caller, id: &str, status: &str) -> (u16, Json) {
        let line = format!("PUT /v1/orders/{id}/status");
        let (code, body, _) = self.send(who, &line, json!({ "status": status })).await;
        (code, body)
    }

    async fn facts(&self) -> Vec<(String, String)> {
        let sql = "SELECT verb, data FROM facts ORDER BY id";
        let read = |row: &Row<'_>| Ok((row.take::<String>()?, row.take::<String>()?));
        self.t.db.all(sql, &[], read).await.unwrap()
    }

    async fn verbs(&self) -> Vec<String> {
        self.facts().await.into_iter().map(|(verb, _)| verb).collect()
    }
}

fn likes(quantity: i64) -> Json {
    json!({
        "targetUrl": "https://video.example/watch?v=1", "serviceUrl": "https://service.example",
        "type": "likes", "quantity": quantity,
    })
}

fn bare(id: &str) -> String {
    id.parse::<Id<OrderKind>>().unwrap().uuid().to_string()
}

fn with_key(caller: &Caller, key: u8) -> Caller {
    let idempotency = Some(Arc::new(Idempotency::new([key; 32], [key; 32])));
    Caller { idempotency, ..caller.clone() }
}

platform::on_both_engines! {
    MIGRATIONS;

    async fn an_order_is_read_as_it_was_made(t: &TestDb) {
        let stage = stage(t);
        let made = stage.ok(&stage.anne, "POST /v1/orders", likes(250)).await;
        let id = made["id"].as_str().unwrap();
        assert!(id.starts_with("ord_"));
        for (name, value) in likes(250).as_object().unwrap() {
            assert_eq!(&made[name], value);
        }
        assert_eq!(made["owner"], stage.anne.user().unwrap().to_string());
        assert_eq!(made["status"], "processing");
        assert!(made.get("price").is_none(), "nothing costs anything by default");
        assert_eq!(made["createdAt"], made["updatedAt"]);
        let read = stage.ok(&stage.anne, &format!("GET /v1/orders/{id}"), Json::Null).await;
        assert_eq!(read, made);
        assert_eq!(stage.ok(&stage.admin, &format!("GET /v1/orders/{id}"), Json::Null).await, made);
        let facts = stage.facts().await;
        assert_eq!(facts.len(), 1);
        assert_eq!(facts[0].0, "order.created");
        assert!(!facts[0].1.contains("video.example"), "no address is in a fact: {}", facts[0].1);
    }

    async fn defect_3_a_new_order_has_a_status_of_the_documents(t: &TestDb) {
        let stage = stage(t);
        let id = stage.order(&stage.anne).await;
        let known: Vec<_> = Status::ALL.iter().map(|status| status.as_str()).collect();
        let path = format!("GET /api/orders/{}", bare(&id));
        let mut seen = Vec::new();
        for step in ["processing", "done"] {
            assert_eq!(stage.set(&stage.admin, &id, step).await.0, 200);
            let info = stage.ok(&stage.anne, &path, Json::Null).await;
            seen.push(info["status"].as_str().unwrap().to_owned());
        }
        assert_eq!(seen, ["processing", "done"]);
        assert!(seen.iter().all(|status| known.contains(&status.as_str())));
        // The store itself takes no other.
        let outside = t.db
            .run("test", |tx| async move {
                tx.execute("UPDATE orders SET status = 'new'", &[]).await.map_err(Error::from)
            })
            .await;
        assert!(outside.is_err());
    }

    async fn defect_11_every_stored_field_comes_back(t: &TestDb) {
        let stage = stage(t);
        for (path, quantity) in [("/api/orders/add", 1), ("/api/orders/", i32::MAX)] {
            let body = json!({
                "target_url": "https://video.example/watch?v=1",
                "service_url": "http://service.example:8080/",
                "order_type": "comments", "quantity": quantity,
            });
            let made = stage.ok(&stage.anne, &format!("POST {path}"), body.clone()).await;
            assert_eq!(made.as_object().unwrap().len(), 1, "{made}");
            let id = made["id"].as_str().unwrap();
            for path in [format!("/api/orders/info?id={id}"), format!("/api/orders/{id}")] {
                let info = stage.ok(&stage.anne, &format!("GET {path}"), Json::Null).await;
                for (name, value) in body.as_object().unwrap() {
                    assert_eq!(&info[name], value, "{path} {name}");
                }
                let user = stage.anne.user().unwrap().uuid().to_string();
                assert_eq!((&info["user_id"], &info["user_role"]), (&json!(user), &json!("dev")));
                assert_eq!(info["status"], "processing");
                assert!(info["created_at"].is_string() && info["updated_at"].is_string());
            }
        }
    }

    async fn the_documents_rules_for_deleting_hold(t: &TestDb) {
        let stage = stage(t);
        let Stage { anne, ben, admin, other_admin, .. } = &stage;
        let (of_anne, of_admin) = (stage.order(anne).await, stage.order(admin).await);
        let path = |id: &str| format!("DELETE /api/orders/del/{}", bare(id));
        for (who, id, expected) in [
            (ben, &of_anne, (404, "not_found")),
            (anne, &of_admin, (404, "not_found")),
            (other_admin, &of_admin, (403, "admin_protected")),
        ] {
            let (status, code) = stage.refused(who, &path(id), Json::Null).await;
            assert_eq!((status, code.as_str()), expected);
            let line = format!("DELETE /v1/orders/{id}");
            assert_eq!(stage.refused(who, &line, Json::Null).await.1, expected.1);
        }
        stage.ok(admin, &path(&of_anne), Json::Null).await;
        let by_query = format!("DELETE /api/orders/del?id={}", bare(&of_admin));
        assert_eq!(stage.send(admin, &by_query, Json::Null).await.0, 204);
        for id in [&of_anne, &of_admin] {
            assert_eq!(stage.refused(admin, &path(id), Json::Null).await.0, 404);
        }
        let deleted = stage.verbs().await.iter().filter(|verb| *verb == "order.deleted").count();
        assert_eq!(deleted, 2);
        // Who is an admin now counts, and not who was one when the order was made.
        let later = stage.order(anne).await;
        stage.people.0.lock().get_mut(&anne.user().unwrap()).unwrap().0.role = Role::Admin;
        let line = format!("DELETE /v1/orders/{later}");
        assert_eq!(stage.refused(admin, &line, Json::Null).await.1, "admin_protected");
    }

    async fn the_state_machine_is_obeyed_over_http(t: &TestDb) {
        let stage = stage(t);
        let Stage { anne, ben, admin, .. } = &stage;
        let id = stage.order(anne).await;
        assert_eq!(stage.set(ben, &id, "cancelled").await.0, 404);
        assert_eq!(stage.set(anne, &id, "done").await.1["code"], "not_yours_to_do");
        assert_eq!(stage.set(anne, &id, "paid").await.0, 422);
        let before = stage.verbs().await;
        assert_eq!(stage.set(anne, &id, "processing").await.0, 200);
        assert_eq!(stage.verbs().await, before, "nothing has happened");
        t.clock.advance(Duration::from_secs(5));
        let (status, done) = stage.set(admin, &id, "done").await;
        assert_eq!((status, &done["status"]), (200, &json!("done")));
        assert_ne!(done["updatedAt"], done["createdAt"]);
        assert_eq!(stage.set(admin, &id, "done").await.1, done, "said twice");
        for status in ["processing", "cancelled"] {
            assert_eq!(stage.set(admin, &id, status).await.1["code"], "wrong_state");
        }
        let cancelled = stage.order(anne).await;
        assert_eq!(stage.set(anne, &cancelled, "cancelled").await.1["status"], "cancelled");
        assert_eq!(stage.set(admin, &cancelled, "done").await.1["code"], "wrong_state");
        let verbs = stage.verbs().await;
        assert_eq!(verbs, ["order.created", "order.done", "order.created", "order.cancelled"]);
    }

    async fn lists_are_one_s_own_narrowed_and_paged(t: &TestDb) {
        let stage = stage(t);
        let Stage { anne, ben, admin, .. } = &stage;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(stage.order(anne).await);
        }
        ids.reverse();
        let of_ben = stage.order(ben).await;
        stage.set(anne, &ids[1], "cancelled").await;
        let mut seen = Vec::new();
        let mut next = Some("/v1/orders?limit=2&type=likes".to_owned());
        while let Some(path) = next {
            let (_, page, link) = stage.send(anne, &format!("GET {path}"), Json::Null).await;
            let page = page.as_array().unwrap().clone();
            assert!(page.len() <= 2);
            seen.extend(page.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
            next = link;
        }
        assert_eq!(seen, ids);
        let count = async |who: &Caller, query: String| {
            let list = stage.ok(who, &format!("GET /v1/orders{query}"), Json::Null).await;
            list.as_array().unwrap().len()
        };
        let (me, other) = (anne.user().unwrap(), ben.user().unwrap());
        for (who, query, expected) in [
            (anne, String::new(), 5),
            (anne, "?status=cancelled".to_owned(), 1),
            (anne, "?status=&type=".to_owned(), 5),
            (anne, "?type=views".to_owned(), 0),
            (anne, format!("?owner={me}"), 5),
            (anne, format!("?owner={other}"), 0),
            (admin, String::new(), 6),
            (admin, format!("?owner={other}"), 1),
            (admin, "?status=processing".to_owned(), 5),
        ] {
            assert_eq!(count(who, query.clone()).await, expected, "{query}");
        }
        let line = "GET /v1/orders?status=lost";
        assert_eq!(stage.send(anne, line, Json::Null).await.1["fields"], json!(["/status"]));
        assert_eq!(stage.refused(ben, &format!("GET /v1/orders/{}", ids[0]), Json::Null).await.0, 404);
        stage.ok(ben, &format!("GET /v1/orders/{of_ben}"), Json::Null).await;
    }

    async fn what_makes_no_sense_is_refused_by_name(t: &TestDb) {
        let stage = stage(t);
        let (_, refused, _) = stage
            .send(&stage.anne, "POST /api/orders/add", json!({
                "target_url": "nowhere", "service_url": "", "order_type": "shares", "quantity": 0,
            }))
            .await;
        let fields = json!(["/target_url", "/service_url", "/order_type", "/quantity"]);
        assert_eq!(refused["fields"], fields);
        let wrong = [
            ("quantity", json!(-1)), ("quantity", json!(2_147_483_648_i64)),
            ("quantity", json!(1.5)), ("quantity", json!("1")), ("quantity", Json::Null),
            ("targetUrl", json!("https://a:b@video.example/")), ("type", json!("Likes")),
            ("status", json!("done")), ("owner", json!("u_1")),
        ];
        for (field, value) in wrong {
            let mut body = likes(1);
            body[field] = value;
            let (status, answer, _) = stage.send(&stage.anne, "POST /v1/orders", body).await;
            assert_eq!((status, &answer["fields"][0]), (422, &json!(format!("/{field}"))));
        }
        for path in [
            "GET /api/orders/x", "GET /api/orders/info?id=x", "DELETE /api/orders/del/me",
            "GET /v1/orders/u_01h455vb4pex5vsknk084sn02q",
            "GET /api/orders/00000000-0000-7000-8000-000000000000",
        ] {
            assert_eq!(stage.refused(&stage.anne, path, Json::Null).await.0, 404, "{path}");
        }
        let missing = stage.send(&stage.anne, "GET /api/orders/info", Json::Null).await;
        assert_eq!(missing.1["fields"], json!(["/id"]));
        assert!(stage.verbs().await.is_empty());
    }

    async fn a_price_is_held_and_goes_where_the_order_goes(t: &TestDb) {
        let stage = stage_with(t, Prices { like: 20, ..Prices::none(Asset::USD) });
        let Stage { anne, admin, purse, .. } = &stage;
        let made = stage.ok(anne, "POST /v1/orders", likes(10)).await;
        assert_eq!((&made["price"], &made["currency"]), (&json!(200), &json!("USD")));
        assert_eq!(made["display"], "$2.00");
        let done = made["id"].as_str().unwrap().to_owned();
        let (cancelled, deleted) = (stage.order(anne).await, stage.order(anne).await);
        assert_eq!((purse.held(), purse.kept()), (600, 0));
        stage.set(admin, &done, "done").await;
        assert_eq!((purse.held(), purse.kept()), (400, 200));
        stage.set(anne, &cancelled, "cancelled").await;
        stage.set(anne, &cancelled, "cancelled").await;
        assert_eq!((purse.held(), purse.kept()), (200, 200));
        for id in [&deleted, &cancelled, &done] {
            stage.ok(anne, &format!("DELETE /v1/orders/{id}"), Json::Null).await;
        }
        assert_eq!((purse.held(), purse.kept()), (0, 200), "what is done is paid for");
        let (_, poor) = stage.refused(anne, "POST /v1/orders", likes(51)).await;
        assert_eq!(poor, "insufficient_funds");
        let (_, huge, _) = stage.send(anne, "POST /v1/orders", likes(i64::from(i32::MAX))).await;
        assert_eq!(huge["code"], "insufficient_funds");
        assert!(stage.ok(anne, "GET /v1/orders", Json::Null).await.as_array().unwrap().is_empty());
        // What has no price costs nothing.
        let mut views = likes(1_000_000);
        views["type"] = "views".into();
        assert!(stage.ok(anne, "POST /v1/orders", views).await.get("price").is_none());
    }

    async fn the_same_request_again_orders_once(t: &TestDb) {
        let stage = stage_with(t, Prices { like: 1, ..Prices::none(Asset::USD) });
        let caller = with_key(&stage.anne, 1);
        let first = stage.ok(&caller, "POST /v1/orders", likes(10)).await;
        let again = stage.ok(&caller, "POST /v1/orders", likes(10)).await;
        assert_eq!((&again, stage.purse.held()), (&first, 10));
        assert_eq!(stage.verbs().await, ["order.created"]);
    }

    async fn of_those_who_end_an_order_at_once_one_does(t: &TestDb) {
        let stage = stage_with(t, Prices { like: 1, ..Prices::none(Asset::USD) });
        let Stage { anne, admin, .. } = &stage;
        for _ in 0..5 {
            let id = stage.order(anne).await;
            let outcomes = join_all([
                stage.set(admin, &id, "done"),
                stage.set(anne, &id, "cancelled"),
                stage.set(admin, &id, "cancelled"),
            ])
            .await;
            let order = stage.ok(anne, &format!("GET /v1/orders/{id}"), Json::Null).await;
            for (status, body) in outcomes {
                let is_end = body["status"] == order["status"];
                assert!(is_end || (status, &body["code"]) == (409, &json!("wrong_state")), "{body}");
            }
        }
        assert_eq!(stage.purse.held(), 0);
        let ends = |verb: &&String| matches!(verb.as_str(), "order.done" | "order.cancelled");
        assert_eq!(stage.verbs().await.iter().filter(ends).count(), 5);
    }

    async fn who_goes_ends_what_is_paid_for_first_and_leaves_no_order(t: &TestDb) {
        let stage = stage_with(t, Prices { like: 1, ..Prices::none(Asset::USD) });
        let me = stage.anne.user().unwrap();
        let id = stage.order(&stage.anne).await;
        stage.order(&stage.ben).await;
        let stakes = || t.db.run("test", |tx| async move { crate::Held.stakes(&tx, me).await });
        assert_eq!(stakes().await.unwrap()[0].subject, id);
        stage.set(&stage.anne, &id, "cancelled").await;
        assert!(stakes().await.unwrap().is_empty());
        let person = &Person { id: me, email: String::new() };
        t.db
            .run("test", |tx| async move {
                crate::Held.erase(&tx, person, Erasure::Person).await?;
                crate::Held.erase(&tx, person, Erasure::Records).await
            })
            .await
            .unwrap();
        let left = stage.ok(&stage.admin, "GET /v1/orders", Json::Null).await;
        assert_eq!(left.as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_stranger_is_told_nothing_by_the_port_either() {
    let t = TestDb::sqlite(MIGRATIONS).await;
    let stage = stage(&t);
    let id = stage.order(&stage.anne).await.parse::<Id<OrderKind>>().unwrap();
    let missing = Error::from(Refusal::NoSuchThing);
    for refused in [
        stage.orders.find(&stage.ben, id).await.map(drop),
        stage.orders.set_status(&stage.ben, id, Status::Cancelled).await.map(drop),
        stage.orders.delete(&stage.ben, id).await,
        stage.orders.find(&Caller::nobody(), id).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.kind(), refused.message()), (missing.kind(), missing.message()));
    }
    t.finish().await;
}
