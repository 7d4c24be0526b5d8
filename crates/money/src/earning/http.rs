//! Earnings over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Asset, Id, Money, Timestamp};
use platform::http::{Audience, By, Json, List, Paging, Query, Reply, Route, get, table};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::service::{Service, parse_period};
use super::store::Earning;

// A name without parameters: the schema's derive looks no further than that.
type HoldId = Id<kinds::Hold>;

/// The routes of earnings.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Verifier, "/v1/verifier/earnings/summary")
                .summary("What you have earned in a period, and what of it you can have paid out")
                .query::<SummaryQuery>()
                .returns::<SummaryBody>(200)
                .to(summary),
            get(Audience::Verifier, "/v1/verifier/earnings/transactions")
                .summary("Your earnings, the latest first")
                .paged()
                .returns::<Vec<EarningBody>>(200)
                .to(list),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct SummaryQuery {
    /// Days, such as 30d; 30d when left out.
    period: Option<String>,
}

/// What was earned in a period.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SummaryBody {
    period: String,
    from: Timestamp,
    currencies: Vec<EarnedBody>,
}

/// All amounts are whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EarnedBody {
    currency: Asset,
    /// Earned in the period, after fees.
    earned: i64,
    /// What the platform kept of it.
    fees: i64,
    jobs: i64,
    /// Now still open to dispute.
    pending: i64,
    /// Now free to be paid out.
    available: i64,
    display: String,
}

/// One job that was paid.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EarningBody {
    id: HoldId,
    /// What it was for: the id of a verification.
    subject: String,
    /// `pending`, `disputed` or `released`.
    status: &'static str,
    price: i64,
    fee: i64,
    amount: i64,
    currency: Asset,
    display: String,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_at: Option<Timestamp>,
}

impl From<Earning> for EarningBody {
    fn from(it: Earning) -> Self {
        Self {
            id: it.hold,
            subject: it.subject,
            status: it.status,
            price: it.price.minor,
            fee: it.fee.minor,
            amount: it.net.minor,
            currency: it.net.asset,
            display: it.net.to_string(),
            at: it.earned_at,
            available_at: it.available_at,
        }
    }
}

async fn summary(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<SummaryQuery>,
) -> Reply<Json<SummaryBody>> {
    let period = query.period.unwrap_or_else(|| "30d".to_owned());
    let found = service.summary(caller.user()?, parse_period(&period)?).await?;
    let mut assets: Vec<Asset> = found.earned.iter().map(|it| it.net.asset).collect();
    assets.extend(found.pending.iter().chain(&found.available).map(|it| it.asset));
    assets.sort_unstable_by_key(|asset| asset.code());
    assets.dedup();
    let of =
        |all: &[Money], asset| all.iter().find(|it| it.asset == asset).map_or(0, |it| it.minor);
    let body = |asset: Asset| {
        let earned = found.earned.iter().find(|it| it.net.asset == asset);
        let net = earned.map_or(Money::new(0, asset), |it| it.net);
        EarnedBody {
            currency: asset,
            earned: net.minor,
            fees: earned.map_or(0, |it| it.fees.minor),
            jobs: earned.map_or(0, |it| it.jobs),
            pending: of(&found.pending, asset),
            available: of(&found.available, asset),
            display: net.to_string(),
        }
    };
    let currencies = assets.into_iter().map(body).collect();
    Ok(Json(SummaryBody { period, from: found.from, currencies }))
}

async fn list(
    State(service): State<Service>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<EarningBody>> {
    let page = service.list(caller.user()?, &paging.page).await?;
    Ok(paging.reply(page.map(EarningBody::from)))
}
