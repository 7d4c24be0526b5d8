//! Integrations over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::http::{At, Audience, By, Done, Json, Reply, Route, get, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::webhook::{self, Endpoint, Provider, Service};

// Named without its parameter, which has no schema of its own.
type WebhookId = Id<kinds::Webhook>;

/// The routes of integrations.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Enterprise, "/v1/enterprise/integrations")
                .summary("List the integrations that there are, and what is connected")
                .returns::<Vec<IntegrationBody>>(200)
                .to(list),
            post(Audience::Enterprise, "/v1/enterprise/integrations/{provider}/connect")
                .summary("Let a channel of a chat know what happens")
                .describe(
                    "`slack`, `teams`, `discord`, or `incoming` for whatever takes `{\"text\": ..}`. \
                     `url` is the incoming webhook that the provider has given out. Connecting \
                     again replaces address and events.",
                )
                .in_person()
                .takes::<ConnectBody>()
                .returns::<IntegrationBody>(200)
                .to(connect),
            post(Audience::Enterprise, "/v1/enterprise/integrations/{provider}/disconnect")
                .summary("Disconnect an integration, and forget its address")
                .returns::<Done>(200)
                .to(disconnect),
        ],
    )
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = IntegrationConnect)]
struct ConnectBody {
    /// Sealed, and shown nowhere again.
    #[schema(example = "https://hooks.slack.com/services/T0/B0/x")]
    url: String,
    /// Names of events, `verification.*` for all of a noun, or `*`.
    #[schema(example = json!(["verification.verified", "verification.rejected"]))]
    events: Vec<String>,
    #[serde(default)]
    description: String,
}

/// A channel that is connected, or could be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Integration)]
struct IntegrationBody {
    #[schema(inline)]
    provider: Provider,
    connected: bool,
    /// By which its deliveries are listed and tests are sent, below `/v1/enterprise/webhooks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_id: Option<WebhookId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    state: Option<webhook::State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connected_at: Option<Timestamp>,
}

impl IntegrationBody {
    const fn none(provider: Provider) -> Self {
        Self {
            provider,
            connected: false,
            webhook_id: None,
            host: None,
            events: Vec::new(),
            description: None,
            state: None,
            disabled_reason: None,
            failing_since: None,
            connected_at: None,
        }
    }
}

impl From<Endpoint> for IntegrationBody {
    fn from(of: Endpoint) -> Self {
        Self {
            connected: true,
            webhook_id: Some(of.id),
            host: Some(of.url),
            events: of.events.entries().to_vec(),
            description: Some(of.description),
            state: Some(of.state),
            disabled_reason: of.reason,
            failing_since: of.failing_since,
            connected_at: Some(of.created_at),
            ..Self::none(of.provider)
        }
    }
}

async fn list(State(service): State<Service>, By(caller): By) -> Reply<Json<Vec<IntegrationBody>>> {
    let channels = service.channels(&caller).await?;
    let body = |(provider, endpoint): (Provider, Option<Endpoint>)| {
        endpoint.map_or_else(|| IntegrationBody::none(provider), IntegrationBody::from)
    };
    Ok(Json(channels.into_iter().map(body).collect()))
}

async fn connect(
    State(service): State<Service>,
    By(caller): By,
    At(provider): At<String>,
    Json(body): Json<ConnectBody>,
) -> Reply<Json<IntegrationBody>> {
    let ConnectBody { url, events, description } = body;
    let provider: Provider = provider.parse()?;
    Ok(Json(service.connect(&caller, provider, &url, &events, &description).await?.into()))
}

async fn disconnect(
    State(service): State<Service>,
    By(caller): By,
    At(provider): At<String>,
) -> Reply<Json<Done>> {
    service.disconnect(&caller, provider.parse()?).await?;
    Ok(Done::reply())
}
