//! Where checkers fetch whole lists: cacheable, and without a word on whom they look up.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use kernel::Id;
use kernel::id::kinds::StatusList;
use platform::http::{At, Audience, Problem, Route, get, table};

use super::service::Service;

const TOKEN_MEDIA: &str = "application/statuslist+jwt";

pub fn routes(lists: &Service) -> Vec<Route> {
    table(
        lists,
        [get(Audience::Public, "/v1/status-lists/{id}")
            .summary("A revocation list (Bitstring Status List 1.0, Token Status List)")
            .describe(
                "A Bitstring status list credential, or a status list token where `Accept` asks \
                 for `application/statuslist+jwt`. Both tell the same of every index.",
            )
            .returns_media(200, "application/vc", "The newest edition, signed by the issuer.")
            .to(edition)],
    )
}

async fn edition(
    State(lists): State<Service>,
    At(id): At<Id<StatusList>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let (media, body) = if accept.is_some_and(|accept| accept.contains(TOKEN_MEDIA)) {
        (TOKEN_MEDIA, lists.token(id).await?.to_string())
    } else {
        ("application/vc", lists.edition(id).await?.to_string())
    };
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::VARY, "Accept"),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    Ok((headers, body).into_response())
}
