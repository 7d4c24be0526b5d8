//! Where checkers fetch whole lists: cacheable, and without a word on whom they look up.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use kernel::Id;
use kernel::id::kinds::StatusList;
use platform::http::{At, Audience, Problem, Route, get, table};

use super::service::Service;

pub fn routes(lists: &Service) -> Vec<Route> {
    table(
        lists,
        [get(Audience::Public, "/v1/status-lists/{id}")
            .summary("A revocation list (Bitstring Status List 1.0)")
            .returns_media(200, "application/vc", "The newest edition, signed by the issuer.")
            .to(edition)],
    )
}

async fn edition(
    State(lists): State<Service>,
    At(id): At<Id<StatusList>>,
) -> Result<Response, Problem> {
    let document = lists.edition(id).await?;
    let headers = [
        (header::CONTENT_TYPE, "application/vc"),
        (header::CACHE_CONTROL, "public, max-age=300"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    Ok((headers, document.to_string()).into_response())
}
