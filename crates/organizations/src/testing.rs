//! What the tests of both nouns stand on: accounts made up on the spot, and the gateway's part.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Permission, Principal, Result, Role, Timestamp};
use parking_lot::Mutex;
use platform::crypto::MasterKey;
use platform::db::{Db, Migrations};
use platform::http::{Audience, Failure, Route};
use platform::jobs::{Registry, Worker};
use platform::mail::{MailOptions, Mailer, sink};
use platform::testing::TestDb;
use rpc::users::{Profile, Status, Users};
use serde_json::{Value as Json, json};
use tower::ServiceExt;

use crate::{Options, Organizations, Standings};

pub(crate) const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];
pub(crate) const URL: &str = "https://verza.example";

/// A user service that knows whom it was told of.
#[derive(Default)]
pub(crate) struct People(Mutex<HashMap<Id<User>, Profile>>);

impl People {
    pub(crate) fn change(&self, who: &Caller, change: impl FnOnce(&mut Profile)) {
        change(self.0.lock().get_mut(&id_of(who)).expect("somebody known"));
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

pub(crate) fn id_of(caller: &Caller) -> Id<User> {
    caller.user().expect("a test's caller is signed in")
}

/// The context, its routes, and the accounts that there are.
pub(crate) struct House<'t> {
    pub(crate) t: &'t TestDb,
    pub(crate) people: Arc<People>,
    pub(crate) organizations: Organizations,
    mailer: Mailer,
}

impl<'t> House<'t> {
    pub(crate) fn new(t: &'t TestDb) -> Self {
        let people = Arc::new(People::default());
        let mailer = Mailer::new(t.db.clone(), MasterKey::new([7; 32]), MailOptions::default());
        let organizations = over(t.db.clone(), &people, &mailer);
        Self { t, people, organizations, mailer }
    }

    /// The same context in another process, as it were, and that process's database.
    pub(crate) fn replica(&self) -> (Organizations, Db) {
        let db = self.t.replica();
        (over(db.clone(), &self.people, &self.mailer), db)
    }

    /// An approved account.
    pub(crate) fn add(&self, name: &str, role: Role) -> Caller {
        let world = self.t.db.world();
        let (id, status) = (world.id(), Status::Active);
        let email = format!("{}@example.org", name.to_lowercase());
        let profile = Profile { id, name: name.to_owned(), email, role, status, approved: true };
        self.people.0.lock().insert(id, profile);
        Caller::of(Principal::new(id, role, world.id()))
    }

    /// As whom the gateway lets somebody through on routes of enterprises.
    pub(crate) async fn acting(&self, who: &Caller) -> Caller {
        let principal = who.principal.clone().expect("somebody signed in");
        let principal = self.organizations.of_member(principal).await.expect("a standing");
        Caller { principal: Some(principal), ..who.clone() }
    }

    /// Sends a request as the gateway would hand it on: by a member or a key for their
    /// organization, and only with the permission that the row wants.
    pub(crate) async fn send(&self, who: &Caller, request: &str, body: Json) -> (u16, Json) {
        let (status, text) = self.text_of(who, request, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Json::Null))
    }

    /// The same, of an answer that is no JSON.
    pub(crate) async fn text(&self, who: &Caller, request: &str) -> (u16, String) {
        self.text_of(who, request, Json::Null).await
    }

    async fn text_of(&self, who: &Caller, request: &str, body: Json) -> (u16, String) {
        let (method, uri) = request.split_once(' ').expect("METHOD /path");
        let (row, rest) = self.row(method, uri);
        let caller = match row.audience {
            Audience::Enterprise | Audience::Key => self.acting(who).await,
            _ => who.clone(),
        };
        let principal = caller.principal.clone().expect("somebody signed in");
        if row.permission.is_some_and(|one: Permission| !principal.may(one)) {
            return (403, json!({ "code": "missing_permission" }).to_string());
        }
        let mut message = http::Request::builder().method(method).uri(uri);
        let body = if body.is_null() {
            axum::body::Body::empty()
        } else {
            message = message.header("content-type", "application/json");
            axum::body::Body::from(body.to_string())
        };
        let mut message = message.body(body).expect("a request");
        message.extensions_mut().insert(caller);
        let response = rest.oneshot(message).await.expect("an answer");
        let status = response.status().as_u16();
        if let Some(Failure(error)) = response.extensions().get() {
            let fields: Vec<_> = error.fields().iter().map(|f| f.pointer.clone()).collect();
            return (status, json!({ "code": error.code(), "fields": fields }).to_string());
        }
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The row that answers, and a router of all.
    fn row(&self, method: &str, uri: &str) -> (Route, axum::Router) {
        let path = uri.split('?').next().unwrap_or_default();
        let fits = |row: &Route| {
            let parts = |path: &str| path.split('/').count();
            let same = |(a, b): (&str, &str)| a == b || a.starts_with('{');
            row.method.as_str() == method
                && parts(row.path) == parts(path)
                && row.path.split('/').zip(path.split('/')).all(same)
        };
        let mut rows: Vec<Route> = self.organizations.routes().into_iter().filter(fits).collect();
        // Words go before parameters.
        rows.sort_by_key(|row| row.path.matches('{').count());
        let row = rows.into_iter().next().expect("a route that answers");
        let add = |router: axum::Router, row: Route| router.route(row.path, row.handler);
        let router = self.organizations.routes().into_iter().fold(axum::Router::new(), add);
        (row, router)
    }

    /// [`Self::send`] of a request that succeeds; answers the body.
    pub(crate) async fn ok(&self, who: &Caller, request: &str, body: Json) -> Json {
        let (status, body) = self.send(who, request, body).await;
        assert!((200..300).contains(&status), "{request} answered {status} {body}");
        body
    }

    /// [`Self::send`] of a request that is refused; answers status and code.
    pub(crate) async fn refused(&self, who: &Caller, request: &str, body: Json) -> (u16, String) {
        let (status, body) = self.send(who, request, body).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The token of the newest mail to an address.
    pub(crate) async fn mail_token(&self, to: &str) -> String {
        let mut registry = Registry::default();
        self.mailer.jobs(&mut registry);
        Worker::new(self.t.db.clone(), registry).drain().await.expect("the mails are sent");
        let mails = sink::list(&self.t.db, Some(to), 1).await.expect("the sink");
        let text = &mails.first().expect("a mail").text;
        let (_, rest) = text.split_once("#token=").expect("a token in the mail");
        rest.split_whitespace().next().expect("a token").to_owned()
    }

    /// Brings somebody into a team by invitation.
    pub(crate) async fn bring(&self, owner: &Caller, who: &Caller, role: &str) {
        let email = self.people.0.lock()[&id_of(who)].email.clone();
        let body = json!({ "email": email, "role": role });
        self.ok(owner, "POST /v1/enterprise/team/invite", body).await;
        let token = self.mail_token(&email).await;
        self.ok(who, "POST /v1/enterprise/team/join", json!({ "token": token })).await;
    }
}

fn over(db: Db, people: &Arc<People>, mailer: &Mailer) -> Organizations {
    Organizations::new(Options {
        db,
        users: people.clone(),
        mailer: mailer.clone(),
        master_key: MasterKey::new([7; 32]),
        public_url: URL.to_owned(),
        retention_days: 365,
    })
}
