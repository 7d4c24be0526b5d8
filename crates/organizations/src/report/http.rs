//! Compliance reports over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use kernel::id::kinds;
use kernel::{Error, Id, Timestamp};
use platform::http::{Audience, By, Json, Limit, Query, Reply, Route, get, table};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Access, Report};
use super::service::Service;

// Named without their parameters, which have no schemas of their own.
type OrganizationId = Id<kinds::Organization>;
type UserId = Id<kinds::User>;

const CSV: &str = "text/csv";
const DEFAULT_PERIOD: &str = "30d";

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [get(Audience::Enterprise, "/v1/enterprise/compliance/reports")
            .summary("What happened for the organization in a period")
            .describe(
                "As JSON, or as a table with `?format=csv` or `Accept: text/csv`. Each figure is the \
                 number of lines of the audit trail with that action between `from` and `to`.",
            )
            .limit(Limit::Heavy)
            .query::<ReportQuery>()
            .returns::<ReportBody>(200)
            .to(show)],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct ReportQuery {
    /// The days before now, as in `30d`, or a month in UTC, as in `2026-11`. 30d where it is left
    /// out.
    period: Option<String>,
    /// `json` or `csv`.
    format: Option<String>,
}

/// What happened for an organization.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ComplianceReport)]
struct ReportBody {
    organization: OrganizationId,
    from: Timestamp,
    /// The report is about what was before this.
    to: Timestamp,
    generated_at: Timestamp,
    /// Verifications by what happened to them: `requested`, `verified`, `rejected` ..
    verifications: BTreeMap<String, i64>,
    /// API keys: `created`, `revoked`, `refused`.
    api_keys: BTreeMap<String, i64>,
    /// The team: `invited`, `joined`, `removed`, `role_changed`.
    team: BTreeMap<String, i64>,
    /// Everything in the trail of this time, by its action.
    actions: BTreeMap<String, i64>,
    /// Who looked at what is the organization's, newest first: the newest 1000.
    accesses: Vec<AccessBody>,
    has_more_accesses: bool,
    /// Days for which records of decisions are kept after the account was closed.
    retention_days: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReportedAccess)]
struct AccessBody {
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<UserId>,
    action: String,
    resource: String,
}

impl From<Access> for AccessBody {
    fn from(Access { at, actor, action, resource }: Access) -> Self {
        Self { timestamp: at, actor, action, resource }
    }
}

impl From<Report> for ReportBody {
    fn from(of: Report) -> Self {
        let section = |noun| of.of(noun).map(|(verb, count)| (verb.to_owned(), count)).collect();
        Self {
            organization: of.organization,
            from: of.from,
            to: of.to,
            generated_at: of.made_at,
            verifications: section("verification"),
            api_keys: section("api_key"),
            team: section("member"),
            actions: of.actions.iter().cloned().collect(),
            accesses: of.accesses.into_iter().map(AccessBody::from).collect(),
            has_more_accesses: of.has_more_accesses,
            retention_days: of.retention_days,
        }
    }
}

async fn show(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<ReportQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let as_table = match query.format.as_deref() {
        None => prefers_csv(&headers),
        Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Error::field("/format", "invalid", "json or csv").into()),
    };
    let period = query.period.as_deref().unwrap_or(DEFAULT_PERIOD).parse()?;
    let report = service.make(&caller, period).await?;
    if as_table {
        let media = HeaderValue::from_static("text/csv; charset=utf-8");
        return Ok(([(header::CONTENT_TYPE, media)], csv(&report)).into_response());
    }
    Ok(Json(ReportBody::from(report)).into_response())
}

fn prefers_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let first = accepted.and_then(|text| text.split([',', ';']).next()).unwrap_or_default();
    first.trim().eq_ignore_ascii_case(CSV)
}

/// The report as a table. It holds names, ids, numbers and times only: nothing to be escaped, and
/// nothing that a spreadsheet would compute.
fn csv(report: &Report) -> String {
    let mut lines = vec!["section,name,value,timestamp,actor,resource".to_owned()];
    let about = [
        ("organization", report.organization.to_string()),
        ("from", report.from.to_string()),
        ("to", report.to.to_string()),
        ("generatedAt", report.made_at.to_string()),
        ("retentionDays", report.retention_days.to_string()),
    ];
    lines.extend(about.map(|(name, value)| format!("about,{name},{value},,,")));
    let counted = |(action, count): &(String, i64)| format!("actions,{action},{count},,,");
    lines.extend(report.actions.iter().map(counted));
    lines.extend(report.accesses.iter().map(|access| {
        let actor = access.actor.map(|actor| actor.to_string()).unwrap_or_default();
        format!("accesses,{},,{},{actor},{}", access.action, access.at, access.resource)
    }));
    lines.join("\r\n") + "\r\n"
}
