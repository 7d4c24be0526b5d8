//! Reconciliation over HTTP.

use axum::extract::State;
use kernel::{Asset, Money, Timestamp};
use platform::http::{Audience, By, Created, Json, Limit, Once, Reply, Route, get, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::service::{Line, PaidOut, Report, Service};
use super::store::Open;
use crate::provider::ProviderName;

/// The routes of the reconciliation.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/reconciliation")
                .summary("What providers say is there, against the books")
                .limit(Limit::Heavy)
                .returns::<Vec<ReportBody>>(200)
                .to(compare),
            post(Audience::Admin, "/v1/admin/reconciliation/payouts")
                .summary("Book what a provider has paid out to your own bank")
                .describe(
                    "Once for each reference. What the books say is at the provider is less by it.",
                )
                .in_person()
                .step_up()
                .once(Once::Required)
                .takes::<PaidOutBody>()
                .returns::<PaidOutBody>(201)
                .to(paid_out),
        ],
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

/// What a provider has paid out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ProviderPayout)]
struct PaidOutBody {
    provider: ProviderName,
    /// What the provider calls it: 1 to 100 letters, digits, `-`, `_` and `.`.
    #[schema(example = "po_1MtHbELkdIwHu7ix")]
    reference: String,
    /// Whole minor units.
    amount: i64,
    currency: Asset,
}

async fn paid_out(
    State(service): State<Service>,
    By(caller): By,
    Json(body): Json<PaidOutBody>,
) -> Reply<Created<PaidOutBody>> {
    let amount = Money::requested(body.amount, body.currency)?;
    let (provider, reference) = (body.provider, body.reference.clone());
    service.paid_out(&caller, PaidOut { provider, reference, amount }).await?;
    Ok(Created(body))
}

async fn compare(State(service): State<Service>) -> Reply<Json<Vec<ReportBody>>> {
    let reports = service.compare().await?;
    Ok(Json(reports.into_iter().map(ReportBody::from).collect()))
}
