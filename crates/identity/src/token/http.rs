//! The public keys: `/.well-known/jwks.json` and `/.well-known/paseto-keys.json`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use platform::http::{Audience, Route, get, table};

use super::Service;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Public, "/.well-known/jwks.json")
                .summary("The public keys under which access tokens are signed (RFC 7517)")
                .describe(
                    "Retired keys stay in the set while tokens signed with them live. Read it \
                     again when a token names a key that is not in your copy.",
                )
                .returns_media(200, "application/jwk-set+json", "A JWK set.")
                .to(jwks),
            get(Audience::Public, "/.well-known/paseto-keys.json")
                .summary("The public keys of `v4.public` access tokens, as PASERKs")
                .describe(
                    "`keys[].kid` is what the footer of a token names (a PASERK id, `k4.pid.`), \
                     `keys[].paserk` the key itself (`k4.public.`). Keys of `v4.local` tokens are \
                     secret, and not here.",
                )
                .returns_media(200, "application/json", "The keys.")
                .to(paseto_keys),
        ],
    )
}

async fn jwks(State(service): State<Arc<Service>>) -> Response {
    page("application/jwk-set+json", service.jwks())
}

async fn paseto_keys(State(service): State<Arc<Service>>) -> Response {
    page("application/json", service.paserks())
}

/// For five minutes anybody may keep it: a new key is found by whoever meets its id.
fn page(media_type: &'static str, body: bytes::Bytes) -> Response {
    let headers =
        [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, body).into_response()
}
