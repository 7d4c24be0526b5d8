//! A Kratos to test against: its session and admin endpoints over state of its own, with faults
//! that can be switched on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use http::{HeaderMap, StatusCode, header};
use kernel::{Clock, Timestamp};
use parking_lot::Mutex;
use platform::testing::{ManualClock, Serving};
use serde_json::{Value as Json, json};
use uuid::Uuid;

/// What goes wrong with every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It never answers.
    Slow,
    Status(u16),
    /// 200 and a page of HTML.
    Garbage,
    /// Refused by a proxy that is not Kratos.
    Foreign(u16),
    /// 200 and JSON that never ends.
    Endless,
}

#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) email: Option<String>,
    pub(super) verified: bool,
    pub(super) active: bool,
    pub(super) name: Json,
}

#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) id: Uuid,
    pub(super) identity: Uuid,
    pub(super) active: bool,
    pub(super) level: &'static str,
    pub(super) second_factor_due: bool,
    pub(super) authenticated_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) people: HashMap<Uuid, Person>,
    /// By session token; the cookie's value is `cookie-` and the token.
    pub(super) seats: HashMap<String, Seat>,
    pub(super) fault: Option<Fault>,
    made: u128,
}

/// The stand-in, on a port of its own.
pub(super) struct Kratos {
    pub(super) url: String,
    here: Here,
    serving: Serving,
}

#[derive(Clone)]
struct Here {
    world: Arc<Mutex<World>>,
    clock: Arc<ManualClock>,
    /// Questions so far, those at once, and the most there were at once.
    asked: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Kratos {
    pub(super) async fn start(clock: &Arc<ManualClock>) -> Self {
        let here = Here {
            world: Arc::default(),
            clock: Arc::clone(clock),
            asked: Arc::default(),
            at_once: Arc::default(),
            most: Arc::default(),
        };
        let router = Router::new()
            .route("/sessions/whoami", get(whoami))
            .route("/admin/identities/{id}", get(identity))
            .route("/admin/identities/{id}/sessions", get(sessions))
            .route("/admin/sessions/{id}", delete(revoke))
            .with_state(here.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = Serving::start(listener, router);
        Self { url, here, serving }
    }

    /// Nothing answers any more.
    pub(super) async fn stop(&mut self) {
        self.serving.stop().await;
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.here.world.lock())
    }

    pub(super) fn asked(&self) -> usize {
        self.here.asked.load(Ordering::Relaxed)
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.here.most.load(Ordering::Relaxed)
    }

    fn number(&self) -> u128 {
        self.change(|world| {
            world.made += 1;
            world.made
        })
    }

    /// A new identity.
    pub(super) fn person(&self, email: &str, verified: bool) -> Uuid {
        let id = Uuid::from_u128(0x1000 + self.number());
        let name = json!({ "first": "Anne", "last": "of Kratos" });
        let person = Person { email: Some(email.to_owned()), verified, active: true, name };
        self.change(|world| world.people.insert(id, person));
        id
    }

    /// A new session of an identity; answers its session token.
    pub(super) fn sign_in(&self, identity: Uuid) -> String {
        let number = self.number();
        let now = self.here.clock.now();
        let seat = Seat {
            id: Uuid::from_u128(0x2000 + number),
            identity,
            active: true,
            level: "aal1",
            second_factor_due: false,
            authenticated_at: now,
            expires_at: now + Duration::from_secs(30 * 24 * 3600),
        };
        let token = format!("ory_st_{number:032}");
        self.change(|world| world.seats.insert(token.clone(), seat));
        token
    }

    pub(super) fn seat(&self, token: &str) -> Seat {
        self.change(|world| world.seats[token].clone())
    }

    pub(super) fn set_seat(&self, token: &str, change: impl FnOnce(&mut Seat)) {
        self.change(|world| change(world.seats.get_mut(token).unwrap()));
    }
}

/// Counts the questions that are under way.
struct Turn(Here);

impl Turn {
    fn take(here: &Here) -> Self {
        here.asked.fetch_add(1, Ordering::Relaxed);
        let at_once = here.at_once.fetch_add(1, Ordering::Relaxed) + 1;
        here.most.fetch_max(at_once, Ordering::Relaxed);
        Self(here.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The fault that is switched on, as an answer.
async fn faulty(here: &Here) -> Option<Response> {
    let fault = here.world.lock().fault?;
    Some(match fault {
        Fault::Slow => std::future::pending().await,
        Fault::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Fault::Garbage => (StatusCode::OK, "<html>hello</html>").into_response(),
        Fault::Foreign(status) => {
            (StatusCode::from_u16(status).unwrap(), "not from here").into_response()
        }
        Fault::Endless => {
            let endless = futures_util::stream::repeat_with(|| {
                Ok::<_, std::convert::Infallible>(bytes::Bytes::from(vec![b' '; 1 << 16]))
            });
            axum::body::Body::from_stream(endless).into_response()
        }
    })
}

fn json_of(status: StatusCode, body: &Json) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn refusal(status: StatusCode, id: &str) -> Response {
    json_of(
        status,
        &json!({ "error": { "id": id, "code": status.as_u16(),
        "status": status.canonical_reason(), "message": "no" } }),
    )
}

fn show_person(id: Uuid, person: &Person) -> Json {
    let addresses: Vec<_> = person
        .email
        .iter()
        .map(|email| {
            json!({ "id": Uuid::nil(), "value": email, "verified": person.verified,
                "via": "email", "status": "completed" })
        })
        .collect();
    json!({
        "id": id,
        "schema_id": "default",
        "schema_url": "http://kratos/schemas/ZGVmYXVsdA",
        "state": if person.active { "active" } else { "inactive" },
        "traits": { "email": person.email, "name": person.name },
        "verifiable_addresses": addresses,
        "metadata_public": null,
    })
}

fn show_seat(seat: &Seat, world: &World, with_identity: bool) -> Json {
    let mut shown = json!({
        "id": seat.id,
        "active": seat.active,
        "expires_at": seat.expires_at,
        "authenticated_at": seat.authenticated_at,
        "issued_at": seat.authenticated_at,
        "authenticator_assurance_level": seat.level,
        "authentication_methods": [{ "method": "password", "aal": "aal1" }],
        "devices": [{ "id": seat.id, "ip_address": "198.51.100.7:4711",
            "user_agent": "Kratos browser", "location": "" }],
    });
    if with_identity {
        shown["identity"] = show_person(seat.identity, &world.people[&seat.identity]);
    }
    shown
}

async fn whoami(State(here): State<Here>, headers: HeaderMap) -> Response {
    let _turn = Turn::take(&here);
    if let Some(fault) = faulty(&here).await {
        return fault;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let cookie = text("cookie").and_then(|text| text.strip_prefix("ory_kratos_session=cookie-"));
    let token = text("x-session-token").or(cookie).unwrap_or_default();
    let world = here.world.lock();
    let Some(seat) = world.seats.get(token) else {
        return refusal(StatusCode::UNAUTHORIZED, "session_inactive");
    };
    let lives = seat.active
        && seat.expires_at > here.clock.now()
        && world.people.get(&seat.identity).is_some_and(|person| person.active);
    if !lives {
        return refusal(StatusCode::UNAUTHORIZED, "session_inactive");
    }
    if seat.second_factor_due {
        return refusal(StatusCode::FORBIDDEN, "session_aal2_required");
    }
    json_of(StatusCode::OK, &show_seat(seat, &world, true))
}

async fn identity(State(here): State<Here>, Path(id): Path<Uuid>) -> Response {
    if let Some(fault) = faulty(&here).await {
        return fault;
    }
    let world = here.world.lock();
    match world.people.get(&id) {
        Some(person) => json_of(StatusCode::OK, &show_person(id, person)),
        None => refusal(StatusCode::NOT_FOUND, ""),
    }
}

async fn sessions(State(here): State<Here>, Path(id): Path<Uuid>) -> Response {
    if let Some(fault) = faulty(&here).await {
        return fault;
    }
    let world = here.world.lock();
    let seats = world.seats.values().filter(|seat| seat.identity == id && seat.active);
    let shown: Vec<_> = seats.map(|seat| show_seat(seat, &world, false)).collect();
    json_of(StatusCode::OK, &Json::Array(shown))
}

async fn revoke(State(here): State<Here>, Path(id): Path<Uuid>) -> Response {
    if let Some(fault) = faulty(&here).await {
        return fault;
    }
    let mut world = here.world.lock();
    match world.seats.values_mut().find(|seat| seat.id == id) {
        Some(seat) if seat.active => {
            seat.active = false;
            StatusCode::NO_CONTENT.into_response()
        }
        _ => refusal(StatusCode::NOT_FOUND, ""),
    }
}
