//! `POST /v1/ws/ticket`.

use axum::extract::State;
use platform::http::{Audience, By, Created, Reply, Route, post, table};
use serde::Serialize;
use utoipa::ToSchema;

use super::service::{LIFETIME, Service};

pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [post(Audience::Any, "/v1/ws/ticket")
            .summary("A ticket that opens one stream or WebSocket")
            .describe(
                "Good for one use within 30 seconds, as `?token=` of `GET /v1/ws/chat`, \
                 `/v1/events` and `/v1/notifications/stream`: for browsers, which can set no \
                 header there.",
            )
            .in_person()
            .bears_secrets()
            .returns::<TicketBody>(201)
            .to(issue)],
    )
}

/// What opens one stream.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Ticket)]
struct TicketBody {
    ticket: String,
    /// Seconds.
    expires_in: u64,
}

async fn issue(State(service): State<Service>, By(caller): By) -> Reply<Created<TicketBody>> {
    let ticket = service.issue(&caller).await?;
    Ok(Created(TicketBody { ticket: ticket.expose().clone(), expires_in: LIFETIME.as_secs() }))
}
