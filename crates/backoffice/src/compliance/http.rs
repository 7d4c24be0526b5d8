//! Reports over HTTP.

use axum::extract::State;
use platform::http::{Audience, Json, Limit, Query, Reply, Route, get, table};
use serde::Deserialize;
use utoipa::IntoParams;

use super::model::Framework;
use super::service::{Report, Service};

pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [get(Audience::Admin, "/v1/admin/compliance/reports")
            .summary("Count how often the trail shows a framework's controls at work")
            .describe(
                "Evidence, and no certificate. A report about a period that is over is the same \
                 whenever it is made.",
            )
            .limit(Limit::Heavy)
            .query::<ReportQuery>()
            .returns::<Report>(200)
            .to(report)],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct ReportQuery {
    #[param(inline)]
    framework: Framework,
    /// A year, a quarter or a month, in UTC: `2026`, `2026-Q1`, `2026-01`; this month when left
    /// out.
    period: Option<String>,
}

async fn report(
    State(service): State<Service>,
    Query(query): Query<ReportQuery>,
) -> Reply<Json<Report>> {
    let period = query.period.filter(|period| !period.is_empty());
    let period = period.map(|period| period.parse()).transpose()?;
    Ok(Json(service.report(query.framework, period).await?))
}
