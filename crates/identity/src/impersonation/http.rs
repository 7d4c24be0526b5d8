//! `POST /v1/admin/users/{id}/impersonate`, and the way back.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use kernel::id::kinds;
use kernel::{Id, Role};
use platform::http::{At, Audience, By, Json, Reply, Route, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reason, Service, Started};

// Named without their parameters, which have no schemas of their own.
type UserId = Id<kinds::User>;
type SessionId = Id<kinds::Session>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Admin, "/v1/admin/users/{id}/impersonate")
                .summary("Look at the platform as a user, for fifteen minutes")
                .step_up()
                .describe(
                    "Answers an access token of that user. Never for an admin's account. The user \
                     is told, and what only they may do in person is refused.",
                )
                .takes::<StartBody>()
                .returns::<StartedBody>(200)
                .to(start),
            post(Audience::Any, "/v1/admin/impersonation/end")
                .also_for_another()
                .summary("Stop looking at the platform as somebody else")
                .describe(
                    "With the token of the impersonation, or with the admin's own, which ends all \
                     that they have started.",
                )
                .returns::<EndedBody>(200)
                .to(end),
        ],
    )
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Impersonate)]
struct StartBody {
    /// Why: 1 to 500 characters, kept beside the session.
    #[schema(example = "Ticket 4711: the upload does not show")]
    reason: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Impersonation)]
struct StartedBody {
    /// The access token: `Authorization: Bearer ...`.
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that it lives; there is no refreshing it.
    expires_in: u64,
    session_id: SessionId,
    user_id: UserId,
    role: Role,
    impersonator: UserId,
}

async fn start(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
    Json(body): Json<StartBody>,
) -> Reply<Response> {
    let Started(signed_in) = service.start(&caller, id, &Reason::parse(&body.reason)?).await?;
    let body = StartedBody {
        access_token: signed_in.tokens.access.expose().clone(),
        token_type: "Bearer",
        expires_in: signed_in.tokens.expires_in.as_secs(),
        session_id: signed_in.session,
        user_id: signed_in.account.id,
        role: signed_in.account.role,
        impersonator: caller.user()?,
    };
    let mut response = Json(body).into_response();
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndedImpersonations)]
struct EndedBody {
    success: bool,
    /// How many sessions ended.
    ended: usize,
}

async fn end(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Json<EndedBody>> {
    Ok(Json(EndedBody { success: true, ended: service.end(&caller).await? }))
}
