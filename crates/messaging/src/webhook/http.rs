//! Webhooks over HTTP.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, List, Paging, Query, Reply, Route, delete, get, patch,
    post, table,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::catalogue::{EVENTS, EventType};
use super::model::{self, Attempt, Change, DeliveryState, Endpoint, Made};
use super::service::{Service, Story};

// Named without their parameters, which have no schemas of their own.
type WebhookId = Id<kinds::Webhook>;
type DeliveryId = Id<kinds::Delivery>;
type FactId = Id<kinds::Fact>;

/// How far back is recovered where nobody says.
const RECOVER: Duration = Duration::from_secs(24 * 3600);

pub(super) fn routes(service: &Service) -> Vec<Route> {
    let mut rows = table(
        service,
        [
            get(Audience::Enterprise, "/v1/enterprise/event-types")
                .summary("What webhooks and integrations can be told of")
                .describe("With a JSON Schema and an example of each event.")
                .returns::<Vec<EventTypeBody>>(200)
                .to(event_types),
            get(Audience::Enterprise, "/v1/enterprise/webhooks")
                .summary("List the organization's webhooks")
                .paged()
                .returns::<Vec<WebhookBody>>(200)
                .to(list),
            post(Audience::Enterprise, "/v1/enterprise/webhooks")
                .summary("Make a webhook")
                .describe(
                    "Each event is posted to `url`, signed after Standard Webhooks. `secret` is \
                     shown in this answer and never again.",
                )
                .in_person()
                .takes::<NewBody>()
                .returns::<MadeBody>(201)
                .to(create),
            patch(Audience::Enterprise, "/v1/enterprise/webhooks/{id}")
                .summary("Change, pause or enable a webhook")
                .in_person()
                .takes::<ChangeBody>()
                .returns::<WebhookBody>(200)
                .to(edit),
            delete(Audience::Enterprise, "/v1/enterprise/webhooks/{id}")
                .summary("Delete a webhook, and what is known of its deliveries")
                .returns::<Done>(200)
                .to(remove),
        ],
    );
    rows.extend(delivery_rows(service));
    rows
}

fn delivery_rows(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Enterprise, "/v1/enterprise/webhooks/{id}/deliveries")
                .summary("What was sent to a webhook or an integration, newest first")
                .describe(
                    "With each attempt: status, latency and how the answer began. For 30 days.",
                )
                .query::<DeliveriesQuery>()
                .paged()
                .returns::<Vec<DeliveryBody>>(200)
                .to(deliveries),
            post(
                Audience::Enterprise,
                "/v1/enterprise/webhooks/{id}/deliveries/{deliveryId}/retry",
            )
            .summary("Send an event again, under the same webhook-id")
            .returns::<DeliveryBody>(202)
            .to(retry),
            post(Audience::Enterprise, "/v1/enterprise/webhooks/{id}/test")
                .summary("Send `webhook.tested` to this webhook or integration")
                .returns::<Done>(202)
                .to(test),
            post(Audience::Enterprise, "/v1/enterprise/webhooks/{id}/rotate-secret")
                .summary("Make another signing key")
                .describe("The one of before signs too during the overlap. Shown once.")
                .in_person()
                .takes::<RotateBody>()
                .returns::<MadeBody>(200)
                .to(rotate),
            post(Audience::Enterprise, "/v1/enterprise/webhooks/{id}/recover")
                .summary("Send everything again that has not arrived since a time")
                .describe(
                    "What has failed, and what happened while the webhook was paused or disabled: \
                     at most of the last thirty days.",
                )
                .query::<RecoverQuery>()
                .returns::<Done>(202)
                .to(recover),
        ],
    )
}

/// A kind of event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventType)]
struct EventTypeBody {
    r#type: &'static str,
    description: &'static str,
    /// JSON Schema of the body.
    #[schema(value_type = Object)]
    schema: Value,
    #[schema(value_type = Object)]
    example: Value,
}

impl From<&EventType> for EventTypeBody {
    fn from(of: &EventType) -> Self {
        let (schema, example) = (of.schema(), of.example());
        Self { r#type: of.name, description: of.description, schema, example }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewWebhook)]
struct NewBody {
    /// An https address on the public internet.
    #[schema(example = "https://example.com/hooks/verza")]
    url: String,
    /// Names of events, `verification.*` for all of a noun, or `*`.
    #[schema(example = json!(["verification.*", "batch.completed"]))]
    events: Vec<String>,
    #[serde(default)]
    description: String,
}

/// A webhook, without its signing key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
struct WebhookBody {
    id: WebhookId,
    url: String,
    events: Vec<String>,
    description: String,
    #[schema(inline)]
    state: model::State,
    /// `gone`: it answered 410. `failing`: it has done nothing but fail for five days.
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    /// Since when every attempt has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    /// Until when the signing key of before signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret_until: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Endpoint> for WebhookBody {
    fn from(of: Endpoint) -> Self {
        Self {
            id: of.id,
            url: of.url,
            events: of.events.entries().to_vec(),
            description: of.description,
            state: of.state,
            disabled_reason: of.reason,
            failing_since: of.failing_since,
            old_secret_until: of.old_until,
            created_at: of.created_at,
            updated_at: of.updated_at,
        }
    }
}

/// A webhook with its signing key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MadeWebhook)]
struct MadeBody {
    #[serde(flatten)]
    about: WebhookBody,
    /// `whsec_..`. Keep it: it is not shown again.
    secret: String,
}

impl From<Made> for MadeBody {
    fn from(made: Made) -> Self {
        Self { about: made.endpoint.into(), secret: made.secret.expose().clone() }
    }
}

/// What changes; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = WebhookChange)]
struct ChangeBody {
    url: Option<String>,
    events: Option<Vec<String>>,
    description: Option<String>,
    /// `false` pauses it, `true` enables it, also where the platform has disabled it.
    enabled: Option<bool>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
struct DeliveriesQuery {
    /// `waiting`, `delivered` or `failed`.
    #[param(value_type = Option<String>)]
    state: Option<DeliveryState>,
    /// The name of an event.
    r#type: Option<String>,
}

/// An event on its way to a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
struct DeliveryBody {
    id: DeliveryId,
    /// The event's id: `webhook-id`.
    event: FactId,
    r#type: String,
    sequence: i64,
    #[schema(inline)]
    state: DeliveryState,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
    attempts: Vec<AttemptBody>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeliveryAttempt)]
struct AttemptBody {
    at: Timestamp,
    /// None where there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    latency_ms: i64,
    /// How the answer began: at most 1000 characters.
    answer: String,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl From<Attempt> for AttemptBody {
    fn from(of: Attempt) -> Self {
        let Attempt { at, status, latency_ms, answer, error, .. } = of;
        Self { at, status, latency_ms, answer, error }
    }
}

impl From<Story> for DeliveryBody {
    fn from(Story { delivery, attempts }: Story) -> Self {
        let waits = delivery.state == DeliveryState::Waiting;
        Self {
            id: delivery.id,
            event: delivery.fact,
            r#type: delivery.verb,
            sequence: delivery.seq,
            state: delivery.state,
            next_attempt_at: waits.then_some(delivery.next_at),
            created_at: delivery.created_at,
            attempts: attempts.into_iter().map(AttemptBody::from).collect(),
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = WebhookRotation)]
struct RotateBody {
    /// From 0 to 168; 24 where it is left out.
    overlap_hours: Option<u32>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct RecoverQuery {
    /// RFC 3339, of the last thirty days; a day ago where it is left out.
    since: Option<Timestamp>,
}

async fn event_types() -> Json<Vec<EventTypeBody>> {
    Json(EVENTS.iter().map(EventTypeBody::from).collect())
}

async fn list(
    State(service): State<Service>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<WebhookBody>> {
    let page = service.list(&caller, &paging.page).await?;
    Ok(paging.reply(page.map(WebhookBody::from)))
}

async fn create(
    State(service): State<Service>,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<MadeBody>> {
    let NewBody { url, events, description } = body;
    Ok(Created(service.create(&caller, &url, &events, &description).await?.into()))
}

async fn edit(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WebhookId>,
    Json(body): Json<ChangeBody>,
) -> Reply<Json<WebhookBody>> {
    let ChangeBody { url, events, description, enabled } = body;
    let change = Change { url, events, description, enabled };
    Ok(Json(service.edit(&caller, id, &change).await?.into()))
}

async fn remove(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WebhookId>,
) -> Reply<Json<Done>> {
    service.delete(&caller, id).await?;
    Ok(Done::reply())
}

async fn deliveries(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WebhookId>,
    Query(query): Query<DeliveriesQuery>,
    paging: Paging,
) -> Reply<List<DeliveryBody>> {
    let verb = query.r#type.as_deref();
    let page = service.deliveries(&caller, id, query.state, verb, &paging.page).await?;
    Ok(paging.reply(page.map(DeliveryBody::from)))
}

async fn retry(
    State(service): State<Service>,
    By(caller): By,
    At((id, delivery)): At<(WebhookId, DeliveryId)>,
) -> Reply<(StatusCode, Json<DeliveryBody>)> {
    let story = service.retry(&caller, id, delivery).await?;
    Ok((StatusCode::ACCEPTED, Json(story.into())))
}

async fn test(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WebhookId>,
) -> Reply<(StatusCode, Json<Done>)> {
    service.test(&caller, id).await?;
    Ok((StatusCode::ACCEPTED, Done::reply()))
}

async fn rotate(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WebhookId>,
    Json(body): Json<RotateBody>,
) -> Reply<Json<MadeBody>> {
    Ok(Json(service.rotate(&caller, id, body.overlap_hours).await?.into()))
}

async fn recover(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<WebhookId>,
    Query(query): Query<RecoverQuery>,
) -> Reply<(StatusCode, Json<Done>)> {
    let since = query.since.unwrap_or(service.now() - RECOVER);
    service.recover(&caller, id, since).await?;
    Ok((StatusCode::ACCEPTED, Done::reply()))
}
