//! The router, made from the rows.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use kernel::{Error, Result};
use platform::http::{Audience, Route};

use crate::edge::Edge;
use crate::guard::{Guard, Row};

/// All routes behind the edge.
pub fn router(edge: &Arc<Edge>, routes: Vec<Route>) -> Result<Router> {
    refuse_twins(&routes)?;
    let mut router = Router::new();
    for route in routes {
        let guard =
            Guard { edge: edge.clone(), row: Arc::new(Row::new(&route, &edge.options.load)) };
        router = router.route(route.path, route.handler.layer(guard));
    }
    let guard = Guard { edge: edge.clone(), row: Arc::new(Row::unmatched(&edge.options.load)) };
    let unmatched = |status| move || async move { empty(status) };
    let nothing = axum::handler::Handler::layer(unmatched(StatusCode::NOT_FOUND), guard.clone());
    let not_so = axum::handler::Handler::layer(unmatched(StatusCode::METHOD_NOT_ALLOWED), guard);
    Ok(router.fallback(nothing).method_not_allowed_fallback(not_so))
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Two rows for one address would panic inside of the framework; this says which.
fn refuse_twins(routes: &[Route]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for route in routes {
        if !seen.insert((route.method.clone(), route.path)) {
            let message = format!("two routes answer {} {}", route.method, route.path);
            return Err(Error::internal(message));
        }
    }
    Ok(())
}

/// `routes.txt`: one line a route, `METHOD path audience limit once freshness -> noun::verb`, and
/// `step-up` behind it where a fresh proof is needed.
pub fn list_routes(routes: &[Route]) -> String {
    let mut lines: Vec<String> = routes
        .iter()
        .filter(|route| route.audience != Audience::Ops)
        .map(|route| {
            format!(
                "{:6} {:55} {:10} {:8} {:5} {:6} -> {}{}\n",
                route.method.as_str(),
                route.path,
                route.audience.as_str(),
                route.limit.as_str(),
                route.once.as_str(),
                route.freshness().as_str(),
                route.name,
                if route.step_up { " step-up" } else { "" }
            )
        })
        .collect();
    lines.sort_by(|a, b| a[7..].cmp(&b[7..]));
    lines.concat()
}
