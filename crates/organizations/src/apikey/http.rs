//! API keys over HTTP.

use std::sync::Arc;

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Id, Permission, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, List, Paging, Reply, Route, delete, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{ApiKey, NewKey, Status};
use super::service::Service;

// Named without their parameters, which have no schemas of their own.
type KeyId = Id<kinds::ApiKey>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Enterprise, "/v1/enterprise/api-keys")
                .summary("List the organization's API keys")
                .paged()
                .returns::<Vec<KeyBody>>(200)
                .to(list),
            post(Audience::Enterprise, "/v1/enterprise/api-keys")
                .summary("Make an API key")
                .describe(
                    "`key` is shown in this answer and never again. It is sent as a bearer token, \
                     and counts against a rate limit of its own (`key`).",
                )
                .step_up()
                .in_person()
                .takes::<NewBody>()
                .returns::<MadeBody>(201)
                .to(create),
            delete(Audience::Enterprise, "/v1/enterprise/api-keys/{id}")
                .summary("Revoke an API key, everywhere and for good")
                .returns::<Done>(200)
                .to(revoke),
        ],
    )
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewApiKey)]
struct NewBody {
    /// What it is for.
    #[schema(example = "Nightly import")]
    name: String,
    /// Of `verifications:read`, `verifications:write`, `presentations:read` and
    /// `presentations:write`.
    #[schema(example = json!(["verifications:read", "verifications:write"]))]
    scopes: Vec<String>,
    /// From 1 to 3650; without it the key has no end.
    expires_in_days: Option<u32>,
    /// Addresses and networks, IPv4 or IPv6, from where alone the key may be used. Without them it
    /// is from everywhere.
    #[serde(default)]
    #[schema(example = json!(["192.0.2.0/24", "2001:db8::/48"]))]
    allowed_addresses: Vec<String>,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApiKey)]
struct KeyBody {
    id: KeyId,
    name: String,
    /// How it begins.
    prefix: String,
    #[schema(inline)]
    scopes: Vec<Permission>,
    #[schema(inline)]
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<UserId>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    /// From where alone it may be used; empty is from everywhere.
    allowed_addresses: Vec<String>,
}

impl KeyBody {
    fn of(key: ApiKey, now: Timestamp) -> Self {
        Self {
            status: key.status(now),
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            scopes: key.scopes.iter().collect(),
            created_by: key.created_by,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            allowed_addresses: key.allowed.iter().map(ToString::to_string).collect(),
        }
    }
}

/// An API key, with its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MadeApiKey)]
struct MadeBody {
    #[serde(flatten)]
    about: KeyBody,
    /// Keep it: it is not shown again.
    key: String,
}

type On = State<Arc<Service>>;

async fn list(State(service): On, By(caller): By, paging: Paging) -> Reply<List<KeyBody>> {
    let (page, now) = (service.list(&caller, &paging.page).await?, service.now());
    Ok(paging.reply(page.map(|key| KeyBody::of(key, now))))
}

async fn create(
    State(service): On,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<MadeBody>> {
    let NewBody { name, scopes, expires_in_days, allowed_addresses } = body;
    let new = NewKey::parse(&name, &scopes, expires_in_days, &allowed_addresses)?;
    let (key, text) = service.create(&caller, &new).await?;
    let about = KeyBody::of(key, service.now());
    Ok(Created(MadeBody { about, key: text.expose().clone() }))
}

async fn revoke(State(service): On, By(caller): By, At(id): At<KeyId>) -> Reply<Json<Done>> {
    service.revoke(&caller, id).await?;
    Ok(Done::reply())
}
