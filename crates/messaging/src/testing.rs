//! What the tests of several nouns stand on: people made up on the spot, and clients that listen.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Request;
use http_body_util::BodyExt;
use kernel::id::kinds::{Session, User};
use kernel::{Caller, Error, Id, Principal, Result, Role, Timestamp};
use parking_lot::Mutex;
use platform::crypto::MasterKey;
use platform::db::Db;
use platform::fleet::{Air, Fleet, Notice, Redis, RedisOptions};
use platform::http::Failure;
use platform::journal::{Fact, Runner};
use platform::limits::{Limiter, Quotas};
use rpc::users::{Profile, Status, Users};
use serde_json::Value as Json;
use tower::ServiceExt;

use crate::{Context, Options, stream};

/// A user service that knows whom it was told of, and which sessions have ended.
#[derive(Default)]
pub(crate) struct People {
    profiles: Mutex<HashMap<Id<User>, Profile>>,
    ended: Mutex<HashSet<Id<Session>>>,
    is_away: AtomicBool,
}

impl People {
    /// Adds an approved user with a role, and answers them as a caller.
    pub(crate) fn add(&self, db: &Db, name: &str, role: Role) -> Caller {
        let id = db.world().id();
        let email = format!("{}@example.org", name.to_lowercase());
        let (name, status) = (name.to_owned(), Status::Active);
        let profile = Profile { id, name, email, role, status, approved: true };
        self.profiles.lock().insert(id, profile);
        Caller::of(Principal::new(id, role, db.world().id()))
    }

    /// Takes back what an admin has approved.
    pub(crate) fn disapprove(&self, who: &Caller) {
        let mut profiles = self.profiles.lock();
        profiles.get_mut(&who.user().unwrap()).unwrap().approved = false;
    }

    /// Answers no question about profiles while it is away.
    pub(crate) fn is_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// A session whose time is over, of which nobody tells.
    pub(crate) fn lapse(&self, who: &Caller) {
        self.ended.lock().insert(who.principal().unwrap().session);
    }

    /// Ends a session, and tells everybody, as the user service does.
    pub(crate) async fn end(&self, db: &Db, who: &Caller) {
        let principal = who.principal().unwrap();
        self.ended.lock().insert(principal.session);
        let notice = Notice::part_of(principal.user.uuid(), principal.session.uuid());
        db.run("session.end", |tx| async move {
            tx.tell(notice);
            Ok(())
        })
        .await
        .unwrap();
    }
}

impl Users for People {
    fn cached(&self, _: &str, _: Timestamp) -> Option<Arc<Principal>> {
        None
    }

    fn authenticate<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<Principal>>> {
        async { Err(Error::unauthenticated("invalid_token", "Nobody signs in here.")) }.boxed()
    }

    fn session(
        &self,
        user: Id<User>,
        session: Id<Session>,
    ) -> BoxFuture<'_, Result<Arc<Principal>>> {
        async move {
            if self.ended.lock().contains(&session) {
                return Err(Error::unauthenticated("session_ended", "It has ended."));
            }
            Ok(Arc::new(Principal::new(user, Role::User, session)))
        }
        .boxed()
    }

    fn profile(&self, user: Id<User>) -> BoxFuture<'_, Result<Profile>> {
        async move {
            let found = self.profiles.lock().get(&user).cloned();
            found.ok_or_else(|| Error::not_found("user"))
        }
        .boxed()
    }

    fn profiles<'a>(&'a self, users: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>> {
        async move {
            if self.is_away.load(Ordering::SeqCst) {
                return Err(Error::unavailable("service_unavailable", "It cannot be asked now."));
            }
            let known = self.profiles.lock();
            Ok(users.iter().filter_map(|user| known.get(user).cloned()).collect())
        }
        .boxed()
    }
}

pub(crate) fn context(db: &Db, people: &Arc<People>) -> Context {
    context_with(db, people, stream::Policy::default())
}

pub(crate) fn context_with(db: &Db, people: &Arc<People>, streams: stream::Policy) -> Context {
    let limiter = Arc::new(Limiter::new(Quotas::default()));
    Context::new(Options { db: db.clone(), users: people.clone(), limiter, streams, air: None })
}

/// As one process of several, which talk over this Redis.
pub(crate) fn context_with_others(
    db: &Db,
    people: &Arc<People>,
    redis: &RedisOptions,
) -> (Context, Fleet) {
    let (limiter, master) = (Arc::new(Limiter::new(Quotas::default())), MasterKey::new([1; 32]));
    // Its pauses before it connects again are real.
    let redis = Redis::new(redis, platform::world::system()).unwrap();
    let air = Some(Air::new(&redis, "chat", &master, db.world()));
    let fleet = Fleet::new(db.clone(), Some(redis), &master);
    let streams = stream::Policy::default();
    (Context::new(Options { db: db.clone(), users: people.clone(), limiter, streams, air }), fleet)
}

pub(crate) fn user(number: u128) -> Id<User> {
    Id::from_uuid(uuid::Uuid::from_u128(number))
}

/// A user, on a session that has the user's own number.
pub(crate) fn caller(number: u128) -> Caller {
    Caller::of(Principal::new(user(number), Role::User, user(number).same_as()))
}

pub(crate) async fn record(db: &Db, fact: Fact) {
    let fact = &fact;
    db.run("record", |tx| async move {
        tx.record(fact.clone());
        Ok(())
    })
    .await
    .unwrap();
}

/// Gives all facts their places, and lets the context read them.
pub(crate) async fn read_all(context: &Context, db: &Db) {
    Runner::new(db.clone(), context.readers()).drain().await;
}

/// One request, as the edge hands it in.
pub(crate) async fn ask(context: &Context, who: &Caller, request: Request<Body>) -> Answer {
    let add =
        |router: Router, route: platform::http::Route| router.route(route.path, route.handler);
    let router = context.routes().into_iter().fold(Router::new(), add);
    let mut request = request;
    request.extensions_mut().insert(who.clone());
    let response = router.oneshot(request).await.unwrap();
    let failure = response.extensions().get::<Failure>().map(|failure| failure.0.clone());
    Answer { response, failure }
}

pub(crate) struct Answer {
    pub(crate) response: axum::response::Response,
    pub(crate) failure: Option<Error>,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.failure.as_ref().map_or("", Error::code)
    }

    /// Where the next page is.
    pub(crate) fn next(&self) -> String {
        let link = self.response.headers()["link"].to_str().unwrap();
        link[1..].split_once('>').unwrap().0.to_owned()
    }

    pub(crate) async fn json(self) -> Json {
        assert_eq!(self.code(), "");
        let bytes = self.response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The stream that it is.
    pub(crate) fn listen(self) -> Listener {
        assert_eq!(self.code(), "");
        assert_eq!(self.response.headers()["content-type"], "text/event-stream");
        Listener { body: self.response.into_body(), last_id: String::new(), unread: String::new() }
    }
}

/// A client of server-sent events.
pub(crate) struct Listener {
    body: Body,
    /// The id that it would resume behind.
    pub(crate) last_id: String,
    unread: String,
}

/// One event: its name, `message` where it has none, and its data.
pub(crate) type Event = (String, Json);

impl Listener {
    /// The next event that carries data; nothing at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let (mut name, mut data) = ("message".to_owned(), None);
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => self.last_id = id.to_owned(),
                    Some(("event", event)) => name = event.to_owned(),
                    Some(("data", json)) => data = Some(serde_json::from_str(json).unwrap()),
                    _ => {}
                }
            }
            if let Some(data) = data {
                return Some((name, data));
            }
        }
    }

    /// The next lines up to an empty one.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let block = block.to_owned();
                self.unread = rest.to_owned();
                return Some(block);
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame());
            let frame = frame.await.expect("something comes in time")?.unwrap();
            self.unread.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

/// Asks for a stream, behind an id if there is one.
pub(crate) async fn listen(context: &Context, who: &Caller, path: &str, behind: &str) -> Answer {
    let mut request = Request::get(path).header("accept", "text/event-stream");
    if !behind.is_empty() {
        request = request.header("last-event-id", behind);
    }
    ask(context, who, request.body(Body::empty()).unwrap()).await
}
