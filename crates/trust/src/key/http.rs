//! Where the world finds the issuer's keys.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use platform::http::{Audience, Route, get, table};

use super::service::Service;

pub fn routes(keys: &Service) -> Vec<Route> {
    table(
        keys,
        [get(Audience::Public, "/.well-known/did.json")
            .summary("The issuer's DID document (did:web)")
            .describe("The keys under which verdict credentials are signed, old ones included.")
            .returns::<serde_json::Value>(200)
            .to(did_document)],
    )
}

async fn did_document(State(keys): State<Service>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/did+json"),
        (header::CACHE_CONTROL, "public, max-age=600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, keys.did_document().to_string()).into_response()
}
