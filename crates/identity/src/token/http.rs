//! `/.well-known/jwks.json`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use platform::http::{Audience, Route, get, table};

use super::Service;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [get(Audience::Public, "/.well-known/jwks.json")
            .summary("The public keys under which access tokens are signed (RFC 7517)")
            .returns_media(200, "application/jwk-set+json", "A JWK set.")
            .to(jwks)],
    )
}

async fn jwks(State(service): State<Arc<Service>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/jwk-set+json"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, service.jwks()).into_response()
}
