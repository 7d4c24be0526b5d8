//! Reconciliation over HTTP.

use axum::extract::State;
use kernel::{Asset, Timestamp};
use platform::http::{Audience, Json, Limit, Reply, Route, get, table};
use serde::Serialize;
use utoipa::ToSchema;

use super::service::{Line, Report, Service};
use super::store::Open;
use crate::provider::ProviderName;

/// The routes of the reconciliation.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [get(Audience::Admin, "/v1/admin/reconciliation")
            .summary("What providers say is there, against the books")
            .limit(Limit::Heavy)
            .returns::<Vec<ReportBody>>(200)
            .to(compare)],
    )
}

/// One provider against the books.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Reconciliation)]
struct ReportBody {
    provider: ProviderName,
    /// `agrees`, `differs`, or `unavailable` when the provider does not answer.
    status: &'static str,
    currencies: Vec<LineBody>,
    open: Open,
    at: Timestamp,
}

/// Whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReconciliationLine)]
struct LineBody {
    currency: Asset,
    /// What the books say is there.
    ledger: i64,
    /// What the provider says is there.
    provider: i64,
    difference: i64,
    display: String,
}

impl From<Line> for LineBody {
    fn from(line: Line) -> Self {
        let difference = line.difference();
        Self {
            currency: line.booked.asset,
            ledger: line.booked.minor,
            provider: line.there.minor,
            difference,
            display: kernel::Money::new(difference, line.booked.asset).to_string(),
        }
    }
}

impl From<Report> for ReportBody {
    fn from(report: Report) -> Self {
        let status = match (&report.lines, report.agrees()) {
            (None, _) => "unavailable",
            (Some(_), true) => "agrees",
            (Some(_), false) => "differs",
        };
        let lines = report.lines.into_iter().flatten().map(LineBody::from).collect();
        let (provider, open, at) = (report.provider, report.open, report.at);
        Self { provider, status, currencies: lines, open, at }
    }
}

async fn compare(State(service): State<Service>) -> Reply<Json<Vec<ReportBody>>> {
    let reports = service.compare().await?;
    Ok(Json(reports.into_iter().map(ReportBody::from).collect()))
}
