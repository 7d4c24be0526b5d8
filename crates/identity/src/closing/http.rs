//! `GET /v1/me/export` and `DELETE /v1/me`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::{HeaderValue, header};
use kernel::id::kinds;
use kernel::{Id, Secret, Timestamp};
use platform::http::{At, Audience, By, Json, Limit, Reply, Route, delete, get, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Closed, Service};
use crate::account::http::UserBody;
use crate::password::Password;

// Named without their parameters, which have no schemas of their own.
type UserId = Id<kinds::User>;
type SecretText = Secret<String>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    let refused = "Refused with 409 `account_in_use` while something is open; `errors` lists what.";
    table(
        service,
        [
            get(Audience::Any, "/v1/me/export")
                .summary("Everything that is held of you, as one JSON document")
                .describe(
                    "By context and table. The content of files is fetched one by one, from the \
                     address in `fileContents`.",
                )
                .limit(Limit::Heavy)
                .in_person()
                .returns_media(200, "application/json", "All rows that concern you.")
                .to(export),
            delete(Audience::Any, "/v1/me")
                .summary("Close your account and erase what is held of you")
                .describe(refused)
                .limit(Limit::Login)
                .takes::<CloseBody>()
                .returns::<ClosedBody>(200)
                .to(close),
            delete(Audience::Any, "/v1/users/{id}")
                .summary("Close an account: your own, or anybody's for admins")
                .describe(refused)
                .limit(Limit::Login)
                .takes::<CloseBody>()
                .returns::<ClosedBody>(200)
                .to(close_user),
            post(Audience::Admin, "/v1/admin/users/{id}/reopen")
                .summary("Open an account again that was closed and not erased yet")
                .returns::<UserBody>(200)
                .to(reopen),
        ],
    )
}

async fn export(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Response> {
    Ok(document(service.export(&caller).await?))
}

/// An export that is written while it is read. What fails half way ends the body early, which a
/// client can tell: it is no JSON then.
pub(crate) fn document(
    pieces: impl Stream<Item = kernel::Result<Bytes>> + Send + 'static,
) -> Response {
    let pieces = pieces.inspect_err(|error| tracing::error!(%error, "an export broke off"));
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let name = HeaderValue::from_static("attachment; filename=\"export.json\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    response
}

#[derive(Deserialize, Default, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CloseAccount)]
struct CloseBody {
    /// Not needed within five minutes of signing in. Admins who close another's show who they are
    /// with `POST /v1/auth/step-up` instead.
    password: Option<SecretText>,
}

impl CloseBody {
    fn password(self) -> kernel::Result<Option<Password>> {
        self.password.map(|text| Password::presented("/password", text)).transpose()
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ClosedAccount)]
struct ClosedBody {
    success: bool,
    /// When what is held of the person goes, or went.
    erased_at: Timestamp,
    /// Whether it is gone already.
    erased: bool,
}

impl From<Closed> for ClosedBody {
    fn from(Closed { erased_at, is_erased }: Closed) -> Self {
        Self { success: true, erased_at, erased: is_erased }
    }
}

async fn close(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<CloseBody>,
) -> Reply<Json<ClosedBody>> {
    Ok(Json(service.close_own(&caller, body.password()?.as_ref()).await?.into()))
}

async fn close_user(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
    Json(body): Json<CloseBody>,
) -> Reply<Json<ClosedBody>> {
    let password = body.password()?;
    let closed = if caller.user()? == id {
        service.close_own(&caller, password.as_ref()).await?
    } else if caller.is_admin() {
        service.close_other(&caller, id).await?
    } else {
        return Err(kernel::Error::not_found("user").into());
    };
    Ok(Json(closed.into()))
}

async fn reopen(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
) -> Reply<Json<UserBody>> {
    Ok(Json(service.reopen(&caller, id).await?.into()))
}
