//! What the tests of this context stand on.

use axum::Router;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Principal, Role};
use platform::db::Migrations;
use platform::http::{Failure, Route};
use serde_json::Value as Json;
use tower::ServiceExt;

pub(crate) const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];

pub(crate) fn user(number: u128) -> Id<User> {
    Id::from_uuid(uuid::Uuid::from_u128(number))
}

/// Somebody with a role, and a session of their own.
pub(crate) fn caller(number: u128, role: Role) -> Caller {
    Caller::of(Principal::new(user(number), role, user(number).same_as()))
}

pub(crate) fn admin(number: u128) -> Caller {
    caller(number, Role::Admin)
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Json,
    pub(crate) etag: Option<String>,
    pub(crate) link: Option<String>,
}

/// A request about to be made.
pub(crate) struct Ask {
    method: Method,
    path: String,
    caller: Caller,
    body: Option<Json>,
    if_match: Option<String>,
}

pub(crate) fn get(caller: &Caller, path: impl Into<String>) -> Ask {
    Ask::new(Method::GET, caller, path)
}

pub(crate) fn post(caller: &Caller, path: impl Into<String>, body: Json) -> Ask {
    Ask { body: Some(body), ..Ask::new(Method::POST, caller, path) }
}

pub(crate) fn patch(caller: &Caller, path: impl Into<String>, body: Json) -> Ask {
    Ask { body: Some(body), ..Ask::new(Method::PATCH, caller, path) }
}

impl Ask {
    fn new(method: Method, caller: &Caller, path: impl Into<String>) -> Self {
        let (path, caller) = (path.into(), caller.clone());
        Self { method, path, caller, body: None, if_match: None }
    }

    pub(crate) fn if_match(self, version: impl ToString) -> Self {
        Self { if_match: Some(version.to_string()), ..self }
    }

    pub(crate) async fn of(self, routes: Vec<Route>) -> Result<Answer, Error> {
        let router = routes
            .into_iter()
            .fold(Router::new(), |router, route| router.route(route.path, route.handler));
        let mut request = Request::builder().method(self.method).uri(self.path);
        if let Some(version) = self.if_match {
            request = request.header("if-match", version);
        }
        let body = match self.body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let request = request.extension(self.caller).body(body).unwrap();
        let response = router.oneshot(request).await.unwrap();
        if let Some(failure) = response.extensions().get::<Failure>() {
            return Err(failure.0.clone());
        }
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let (etag, link) = (header("etag"), header("link"));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Answer { body, etag, link })
    }

    /// The body of what is answered well.
    pub(crate) async fn body(self, routes: Vec<Route>) -> Json {
        self.of(routes).await.unwrap().body
    }
}

/// The verbs of all facts, in order.
pub(crate) async fn verbs(db: &platform::db::Db) -> Vec<String> {
    use platform::db::Read;
    let sql = "SELECT verb FROM facts ORDER BY id";
    db.all(sql, &[], |row| row.take()).await.unwrap()
}
