//! Both ends of a context that runs in another process: the gateway's rows of it, which hand each
//! request on, and the other process's rows, which are handed them.
//!
//! The gateway has the same table either way, and does the same for a request before and after its
//! handler. Only the handler is another one.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use kernel::{Caller, Error, Result};
use platform::http::{Failure, NewToken, Problem, Raw, Reply, Route};
use rpc::routes::{Answer, Call, Routes};
use tower::ServiceExt;

/// How long whoever asked too early waits, in seconds.
const RETRY_AFTER: u32 = 2;

/// The rows of a context that runs elsewhere. Those whose body is read as it comes are answered
/// here all the same: no context that can run elsewhere has any.
pub fn forward(rows: Vec<Route>, routes: &Arc<dyn Routes>) -> Vec<Route> {
    let forward = |row: Route| {
        if row.streamed {
            return row;
        }
        let filter = MethodFilter::try_from(row.method.clone()).unwrap_or(MethodFilter::GET);
        let routes = Arc::clone(routes);
        let handler = move |request: Request| hand_on(Arc::clone(&routes), request);
        Route { handler: on(filter, handler), ..row }
    };
    rows.into_iter().map(forward).collect()
}

async fn hand_on(routes: Arc<dyn Routes>, request: Request) -> Reply<Response> {
    let (mut parts, body) = request.into_parts();
    let caller = parts.extensions.remove::<Caller>();
    let caller = caller.ok_or_else(|| Error::internal("the route was served without its edge"))?;
    let new_token = parts.extensions.remove::<NewToken>().map(|token| token.0);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let (method, headers) = (parts.method.clone(), parts.headers.clone());
    // Whole, so that it is refused here if it is too large, and may be sent again.
    let Raw(body) = Raw::from_request(Request::from_parts(parts, body), &()).await?;
    let call = Call { method, target, headers, body, caller, new_token };
    let Answer { status, headers, body } = routes.call(call).await?;
    let mut response = Response::new(Body::new(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// The rows of the contexts that run in this process, for the gateway in another one.
pub struct Rows(Router);

impl Rows {
    pub fn new(rows: Vec<Route>) -> Self {
        let add = |router: Router, row: Route| router.route(row.path, row.handler);
        // A gateway of a newer release knows more than we do.
        let unknown = || async {
            let message = "This is not known here yet. Try again in a moment.";
            Problem(Error::unavailable("unknown_route", message).retry_after(RETRY_AFTER))
        };
        Self(rows.into_iter().fold(Router::new(), add).fallback(unknown))
    }

    async fn answer(&self, call: Call) -> Result<Answer> {
        let mut request = Request::new(Body::from(call.body));
        *request.method_mut() = call.method;
        *request.uri_mut() = call.target.parse().map_err(|_| Error::not_found("page"))?;
        *request.headers_mut() = call.headers;
        request.extensions_mut().insert(call.caller);
        if let Some(token) = call.new_token {
            request.extensions_mut().insert(NewToken(token));
        }
        let answered = AssertUnwindSafe(self.0.clone().oneshot(request)).catch_unwind().await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Err(_) => return Err(Error::internal("a handler panicked")),
        };
        if let Some(Failure(error)) = response.extensions_mut().remove() {
            return Err(error);
        }
        let (parts, body) = response.into_parts();
        let broken =
            |error| Error::unavailable("broken_answer", "The answer broke off.").because(error);
        let body = body.map_err(broken).boxed_unsync();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

impl Routes for Rows {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Answer>> {
        self.answer(call).boxed()
    }
}
