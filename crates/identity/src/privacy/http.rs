//! Privacy requests over HTTP.

use std::sync::Arc;

use axum::extract::State as Of;
use axum::response::Response;
use kernel::id::kinds;
use kernel::{Error, Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, Limit, List, Paging, Query, Reply, Route, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{self, Asked, Kind, Request, State};
use super::service::Service;
use super::store::Filter;
use crate::closing::http::document;

// Named without their parameters, which have no schemas of their own.
type RequestId = Id<kinds::PrivacyRequest>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/privacy/requests")
                .summary("List requests to export or erase what is held of people, newest first")
                .describe("What people do by themselves stands among them as done.")
                .query::<RequestQuery>()
                .paged()
                .returns::<Vec<RequestBody>>(200)
                .to(list),
            post(Audience::Admin, "/v1/admin/privacy/requests")
                .summary("Ask for an export or an erasure in somebody's place")
                .describe("For who cannot sign in. Another admin has to approve it.")
                .step_up()
                .takes::<NewBody>()
                .returns::<RequestBody>(201)
                .to(begin),
            post(Audience::Admin, "/v1/admin/privacy/requests/{id}/approve")
                .summary("Approve what another admin has asked for")
                .describe(
                    "An erasure closes the account at once, and is refused with 409 \
                     `account_in_use` while something is open. An export may then be fetched for \
                     a week.",
                )
                .step_up()
                .returns::<RequestBody>(200)
                .to(approve),
            post(Audience::Admin, "/v1/admin/privacy/requests/{id}/reject")
                .summary("Reject a privacy request, or take back one's own")
                .takes::<RejectBody>()
                .returns::<RequestBody>(200)
                .to(reject),
            get(Audience::Admin, "/v1/admin/privacy/requests/{id}/export")
                .summary("Fetch the document of an approved export")
                .describe("Each fetching stands in the person's trail.")
                .limit(Limit::Heavy)
                .step_up()
                .returns_media(200, "application/json", "All rows that concern the person.")
                .to(export),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct RequestQuery {
    /// `pending`, `approved`, `done`, `rejected` or `all`.
    status: Option<String>,
    #[param(inline)]
    kind: Option<Kind>,
    /// Whom it is about.
    #[param(value_type = Option<String>)]
    user: Option<UserId>,
}

impl RequestQuery {
    fn parse(self) -> kernel::Result<Filter> {
        let state = match self.status.as_deref() {
            None | Some("" | "all") => None,
            Some(word) => Some(State::of(word).ok_or_else(|| {
                let words = "one of pending, approved, done, rejected, all";
                Error::field("/status", "invalid", words)
            })?),
        };
        Ok(Filter { state, kind: self.kind, person: self.user })
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewPrivacyRequest)]
struct NewBody {
    user_id: UserId,
    #[schema(inline)]
    kind: Kind,
    /// How they have asked, and how it is known that it was them: 3 to 1000 characters.
    reason: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = PrivacyRequestRejection)]
struct RejectBody {
    /// Up to 1000 characters; for other admins.
    #[serde(default)]
    reason: String,
}

/// A request about what is held of somebody.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PrivacyRequest)]
struct RequestBody {
    id: RequestId,
    /// Whom it is about.
    user: UserId,
    #[schema(inline)]
    kind: Kind,
    #[schema(inline)]
    status: State,
    reason: String,
    /// The person, or an admin.
    requested_by: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<UserId>,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<Timestamp>,
}

impl From<Request> for RequestBody {
    fn from(request: Request) -> Self {
        Self {
            id: request.id,
            user: request.person,
            kind: request.kind,
            status: request.state,
            reason: request.reason,
            requested_by: request.requested_by,
            decided_by: request.decided_by,
            note: request.note,
            created_at: request.created_at,
            decided_at: request.decided_at,
        }
    }
}

async fn list(
    Of(service): Of<Arc<Service>>,
    Query(query): Query<RequestQuery>,
    paging: Paging,
) -> Reply<List<RequestBody>> {
    let page = service.list(&query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(RequestBody::from)))
}

async fn begin(
    Of(service): Of<Arc<Service>>,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<RequestBody>> {
    let asked = Asked::parse(body.user_id, body.kind, &body.reason)?;
    Ok(Created(service.begin(&caller, &asked).await?.into()))
}

async fn approve(
    Of(service): Of<Arc<Service>>,
    By(caller): By,
    At(id): At<RequestId>,
) -> Reply<Json<RequestBody>> {
    Ok(Json(service.approve(&caller, id).await?.into()))
}

async fn reject(
    Of(service): Of<Arc<Service>>,
    By(caller): By,
    At(id): At<RequestId>,
    Json(body): Json<RejectBody>,
) -> Reply<Json<RequestBody>> {
    let why = model::words(&body.reason, 0)?;
    Ok(Json(service.reject(&caller, id, &why).await?.into()))
}

async fn export(
    Of(service): Of<Arc<Service>>,
    By(caller): By,
    At(id): At<RequestId>,
) -> Reply<Response> {
    Ok(document(service.export(&caller, id).await?))
}
