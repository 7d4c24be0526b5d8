//! Alerts over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Error, Id, Result, Timestamp};
use platform::http::{At, Audience, By, Json, List, Paging, Query, Reply, Route, get, post, table};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Alert, AlertState, Rule};
use super::service::Service;
use crate::moderation::text;

// Named without their parameters, which have no schemas of their own.
type AlertId = Id<kinds::Alert>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/fraud/alerts")
                .summary("List what the rules against fraud have found, newest first")
                .query::<AlertQuery>()
                .paged()
                .returns::<Vec<AlertBody>>(200)
                .to(list),
            get(Audience::Admin, "/v1/admin/fraud/alerts/{id}")
                .summary("Look at a fraud alert")
                .returns::<AlertBody>(200)
                .to(show),
            post(Audience::Admin, "/v1/admin/fraud/alerts/{id}/dismiss")
                .summary("Say that there is nothing to a fraud alert")
                .describe(
                    "The same is not raised again for a week. A wallet that was frozen stays so: \
                     see `POST /v1/admin/wallets/{id}/thaw`.",
                )
                .takes::<NoteBody>()
                .returns::<AlertBody>(200)
                .to(dismiss),
            post(Audience::Admin, "/v1/admin/fraud/alerts/{id}/escalate")
                .summary("Say that somebody has to look into a fraud alert")
                .takes::<NoteBody>()
                .returns::<AlertBody>(200)
                .to(escalate),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct AlertQuery {
    /// `open`, `escalated`, `dismissed`; empty or `all` for all of them.
    status: Option<String>,
    #[param(inline)]
    rule: Option<Rule>,
}

impl AlertQuery {
    fn state(&self) -> Result<Option<AlertState>> {
        match self.status.as_deref() {
            None | Some("" | "all") => Ok(None),
            Some(word) => AlertState::of(word).map(Some).ok_or_else(|| {
                Error::field("/status", "invalid", "one of open, escalated, dismissed, all")
            }),
        }
    }
}

/// What a rule has found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FraudAlert)]
struct AlertBody {
    id: AlertId,
    #[schema(inline)]
    rule: Rule,
    /// The id of the thing in which it was found.
    subject: String,
    /// Whom it is about; absent where a thing alone is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    /// With whom, where it is about two.
    #[serde(skip_serializing_if = "Option::is_none")]
    counterpart: Option<UserId>,
    /// From 0 to 100.
    score: i64,
    #[schema(value_type = Vec<String>)]
    reasons: serde_json::Value,
    /// Whether the wallet was frozen for it.
    enforced: bool,
    /// How often the rule has found it.
    seen: i64,
    #[schema(inline)]
    status: AlertState,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Alert> for AlertBody {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id,
            rule: alert.rule,
            subject: alert.subject,
            user: alert.person,
            counterpart: alert.other,
            score: alert.score,
            reasons: alert.reasons,
            enforced: alert.enforced,
            seen: alert.seen,
            status: alert.state,
            note: alert.note,
            decided_by: alert.decided_by,
            decided_at: alert.decided_at,
            created_at: alert.created_at,
            updated_at: alert.updated_at,
        }
    }
}

/// Why it was decided so.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = FraudDecision)]
struct NoteBody {
    /// Up to 1000 characters; for other admins.
    #[serde(default)]
    reason: String,
}

async fn list(
    State(service): State<Service>,
    Query(query): Query<AlertQuery>,
    paging: Paging,
) -> Reply<List<AlertBody>> {
    let page = service.list(query.state()?, query.rule, &paging.page).await?;
    Ok(paging.reply(page.map(AlertBody::from)))
}

async fn show(State(service): State<Service>, At(id): At<AlertId>) -> Reply<Json<AlertBody>> {
    Ok(Json(service.get(id).await?.into()))
}

async fn dismiss(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<AlertId>,
    Json(body): Json<NoteBody>,
) -> Reply<Json<AlertBody>> {
    let note = text("/reason", &body.reason, 0)?;
    Ok(Json(service.dismiss(&caller, id, &note).await?.into()))
}

async fn escalate(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<AlertId>,
    Json(body): Json<NoteBody>,
) -> Reply<Json<AlertBody>> {
    let note = text("/reason", &body.reason, 0)?;
    Ok(Json(service.escalate(&caller, id, &note).await?.into()))
}
