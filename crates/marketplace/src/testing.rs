//! What the tests of both nouns stand on: users made up on the spot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use kernel::caller::Idempotency;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Principal, Result, Role, Timestamp};
use parking_lot::Mutex;
use platform::blob::Blobs;
use platform::crypto::MasterKey;
use platform::db::Db;
use platform::http::{Failure, Route};
use platform::mail::{MailOptions, Mailer};
use platform::testing::TestDb;
use rpc::users::{Profile, Status, Users};
use serde_json::{Value as Json, json};
use tower::ServiceExt;

const PUBLIC_URL: &str = "https://verza.example";

/// A user service that knows whom it was told of.
#[derive(Default)]
pub(crate) struct People(Mutex<HashMap<Id<User>, Profile>>);

impl People {
    /// Adds an approved user with a role, and answers them as a caller.
    pub(crate) fn add(&self, t: &TestDb, name: &str, role: Role) -> Caller {
        let world = t.db.world();
        let id = world.id();
        let email = format!("{}@example.org", name.to_lowercase());
        let name = name.to_owned();
        let status = Status::Active;
        let profile = Profile { id, name, email, role, status, approved: true };
        self.0.lock().insert(id, profile);
        let session = world.id();
        Caller::of(Principal::new(id, role, session))
    }

    pub(crate) fn suspend(&self, user: &Caller) {
        let mut known = self.0.lock();
        known.get_mut(&id_of(user)).expect("somebody who was added").status = Status::Suspended;
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
        async move { self.0.lock().get(&user).cloned().ok_or_else(|| Error::not_found("user")) }
            .boxed()
    }

    fn profiles<'a>(&'a self, users: &'a [Id<User>]) -> BoxFuture<'a, Result<Vec<Profile>>> {
        async move {
            let known = self.0.lock();
            Ok(users.iter().filter_map(|user| known.get(user).cloned()).collect())
        }
        .boxed()
    }
}

/// The context that signs verdicts, with keys of its own.
pub(crate) async fn trust(db: &Db) -> trust::Trust {
    let trust = trust::Trust::new(trust::TrustOptions {
        db: db.clone(),
        master_key: MasterKey::new([7; 32]),
        public_url: PUBLIC_URL.to_owned(),
        issuer_name: "Verza".to_owned(),
        validity: Duration::from_secs(365 * 24 * 3600),
        witnesses: Vec::new(),
        memory: None,
    });
    let trust = trust.expect("the test's trust is set up");
    trust.start().await.expect("the test's keys are made");
    trust
}

pub(crate) fn documents(t: &TestDb, db: &Db, trust: &trust::Trust) -> documents::Documents {
    let blobs = Blobs::on_disk(t.directory().join("blobs"), db.world().clone());
    documents::Documents::new(documents::Parts {
        db: db.clone(),
        blobs: blobs.expect("the test's blobs"),
        issuance: trust.issuance.clone(),
        judge: documents::credential::Judge::new(trust.judging.clone(), None, &[], "")
            .expect("the test's judge"),
        mailer: Mailer::new(db.clone(), MasterKey::new([7; 32]), MailOptions::default()),
        options: documents::Options::at(PUBLIC_URL),
    })
}

pub(crate) fn id_of(caller: &Caller) -> Id<User> {
    caller.user().expect("a test's caller is signed in")
}

/// The same request again carries the same key and content.
pub(crate) fn with_key(caller: &Caller, key: u8) -> Caller {
    let idempotency = Some(Arc::new(Idempotency::new([key; 32], [key; 32])));
    Caller { idempotency, ..caller.clone() }
}

/// What a client was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of a refusal: its code, message, fields and members.
    pub(crate) body: Json,
    /// The next page's address.
    pub(crate) link: Option<String>,
    pub(crate) etag: Option<String>,
}

/// The routes as a client reaches them, with the caller in the place of the gateway's work.
pub(crate) struct Client(axum::Router);

impl Client {
    pub(crate) fn over(routes: Vec<Route>) -> Self {
        let add = |router: axum::Router, route: Route| router.route(route.path, route.handler);
        Self(routes.into_iter().fold(axum::Router::new(), add))
    }

    /// Sends a request; answers the status, the body, and the next page's address.
    pub(crate) async fn send(
        &self,
        caller: &Caller,
        request: &str,
        body: Json,
    ) -> (u16, Json, Option<String>) {
        let Answer { status, body, link, .. } = self.ask(caller, request, &[], body).await;
        (status, body, link)
    }

    /// [`Self::send`] with headers.
    pub(crate) async fn ask(
        &self,
        caller: &Caller,
        request: &str,
        headers: &[(&str, &str)],
        body: Json,
    ) -> Answer {
        let (method, uri) = request.split_once(' ').expect("METHOD /path");
        let message = http::Request::builder().method(method).uri(uri);
        let mut message =
            headers.iter().fold(message, |message, (name, value)| message.header(*name, *value));
        let body = if body.is_null() {
            axum::body::Body::empty()
        } else {
            message = message.header("content-type", "application/json");
            axum::body::Body::from(body.to_string())
        };
        let mut message = message.body(body).expect("a request");
        message.extensions_mut().insert(caller.clone());
        let response = self.0.clone().oneshot(message).await.expect("an answer");
        let status = response.status().as_u16();
        let told = |name: &str| {
            let value = response.headers().get(name)?;
            Some(value.to_str().expect("a text").to_owned())
        };
        let etag = told("etag");
        let link = told("link")
            .map(|link| link[1..].split_once('>').expect("a link in brackets").0.to_owned());
        if let Some(Failure(error)) = response.extensions().get() {
            let fields: Vec<_> = error.fields().iter().map(|f| f.pointer.clone()).collect();
            let members: serde_json::Map<_, _> =
                error.members().iter().map(|(name, it)| (name.to_string(), it.clone())).collect();
            let body = json!({ "code": error.code(), "message": error.message(),
                "fields": fields, "members": members });
            return Answer { status, body, link, etag };
        }
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let body = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
        Answer { status, body, link, etag }
    }

    /// Sends a body of some media type; answers the status, and the body as a text.
    pub(crate) async fn media(
        &self,
        caller: &Caller,
        request: &str,
        (media, body): (&str, impl Into<axum::body::Body>),
    ) -> (u16, String) {
        let (method, uri) = request.split_once(' ').expect("METHOD /path");
        let message = http::Request::builder().method(method).uri(uri);
        let message = message.header("content-type", media).body(body.into());
        let mut message = message.expect("a request");
        message.extensions_mut().insert(caller.clone());
        let response = self.0.clone().oneshot(message).await.expect("an answer");
        let status = response.status().as_u16();
        if let Some(Failure(error)) = response.extensions().get() {
            return (status, error.code().to_owned());
        }
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 26).await.expect("a body");
        (status, String::from_utf8(bytes.to_vec()).expect("a text"))
    }

    /// What stands at a path.
    pub(crate) async fn get(&self, caller: &Caller, path: &str) -> Json {
        self.ok(caller, &format!("GET {path}"), Json::Null).await
    }

    /// [`Self::send`] of a request that succeeds; answers the body.
    pub(crate) async fn ok(&self, caller: &Caller, request: &str, body: Json) -> Json {
        let (status, body, _) = self.send(caller, request, body).await;
        assert!((200..300).contains(&status), "{request} answered {status} {body}");
        body
    }
}
