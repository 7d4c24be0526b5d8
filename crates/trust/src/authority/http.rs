//! Where wallets and readers find the certified keys.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use platform::http::{Audience, Route, get, table};

use super::service::Service;

pub fn routes(authority: &Service) -> Vec<Route> {
    table(
        authority,
        [
            get(Audience::Public, "/.well-known/jwt-vc-issuer")
                .summary("The keys of SD-JWT credentials (JWT VC issuer metadata)")
                .describe("Keys that no longer sign stay while something signed by them is good.")
                .returns::<serde_json::Value>(200)
                .to(issuer),
            get(Audience::Public, "/.well-known/verza-root.pem")
                .summary("The root certificates above the keys of credentials")
                .describe("Pin them: tokens carry the chain below, and never its end.")
                .returns_media(200, "application/pem-certificate-chain", "PEM, oldest first.")
                .to(roots),
        ],
    )
}

fn public(media: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CACHE_CONTROL, "public, max-age=600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, body).into_response()
}

async fn issuer(State(authority): State<Service>) -> Response {
    public("application/json", authority.issuer_metadata().to_string())
}

async fn roots(State(authority): State<Service>) -> Response {
    public("application/pem-certificate-chain", authority.roots().concat())
}
