//! The checkout pages.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use kernel::Money;

use super::Sim;
use super::control::answer;
use super::world::{Collection, Outcome};
use crate::sandbox::{PAGE_POLICY, PAGE_STYLE, escape};

pub(super) fn routes() -> Router<Sim> {
    Router::new()
        .route("/pay/{reference}", get(show))
        .route("/pay/{reference}/approve", post(approve))
        .route("/pay/{reference}/decline", post(decline))
}

async fn show(State(sim): State<Sim>, Path(reference): Path<String>) -> Response {
    let world = sim.world.lock();
    let Some(at) = world.collection(&reference) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(checkout(&world.collections[at]))).into_response()
}

fn checkout(collection: &Collection) -> String {
    let reference = escape(&collection.reference);
    let amount = escape(&Money::new(collection.amount, collection.asset).to_string());
    let provider = collection.provider;
    let back = escape(&collection.return_url);
    let main = match collection.outcome {
        Outcome::Pending => format!(
            "<form method=\"post\" action=\"{reference}/approve\">\
             <button class=\"pay\">Pay {amount}</button></form>\
             <form method=\"post\" action=\"{reference}/decline\">\
             <button>Decline</button></form>"
        ),
        Outcome::Approved => "<p role=\"status\">Approved.</p>".to_owned(),
        Outcome::Done => "<p role=\"status\">Paid.</p>".to_owned(),
        _ => "<p role=\"status\">Nothing was paid.</p>".to_owned(),
    };
    let link = if back.is_empty() {
        String::new()
    } else {
        format!("<p><a href=\"{back}\">Back to where you came from</a></p>")
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Simulated {provider}</title>\
         <style>{PAGE_STYLE}</style></head><body><main><h1>Simulated {provider}</h1>\
         <p class=\"note\">This is a test. No real money moves.</p>\
         <output>{amount}</output><small>{reference}</small>{main}{link}</main></body></html>"
    )
}

async fn approve(State(sim): State<Sim>, Path(reference): Path<String>) -> Response {
    back(&reference, sim.pay(&reference, None))
}

async fn decline(State(sim): State<Sim>, Path(reference): Path<String>) -> Response {
    back(&reference, sim.decline(&reference))
}

fn back(reference: &str, done: kernel::Result<()>) -> Response {
    if done.is_err() {
        return answer(done);
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, format!("../{reference}"))]).into_response()
}
