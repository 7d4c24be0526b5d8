//! Dashboards, analytics and earnings over HTTP.

use std::sync::Arc;

use axum::extract::State as On;
use kernel::id::kinds;
use kernel::{Asset, Id, Money, Timestamp};
use platform::http::{Audience, By, Json, List, Paging, Query, Reply, Route, get, table};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Line, Period};
use super::rules::{self, Sum};
use super::service::{Analytics, Dashboard, Earnings, Service};
use crate::verification::model::{State, Verdict, Verification};

type VerificationId = Id<kinds::Verification>;
type FactId = Id<kinds::Fact>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::User, "/v1/user/dashboard")
                .summary("Read my verifications at a glance")
                .describe("Changes in percent are of the last 30 days, today among them, against the 30 before.")
                .returns::<UserDashboard>(200)
                .to(dashboard),
            get(Audience::User, "/v1/user/analytics")
                .summary("Read what has come of my requests")
                .query::<PeriodQuery>()
                .returns::<UserAnalytics>(200)
                .to(of_owner),
            get(Audience::Enterprise, "/v1/enterprise/dashboard")
                .summary("Read the organization's verifications at a glance")
                .describe("Changes in percent are of the last 30 days, today among them, against the 30 before.")
                .returns::<UserDashboard>(200)
                .to(dashboard_of_organization),
            get(Audience::Enterprise, "/v1/enterprise/analytics")
                .summary("Read what has come of the organization's requests")
                .query::<PeriodQuery>()
                .returns::<UserAnalytics>(200)
                .to(of_organization),
            get(Audience::Verifier, "/v1/verifier/analytics")
                .summary("Read what has come of my jobs")
                .query::<PeriodQuery>()
                .returns::<VerifierAnalytics>(200)
                .to(of_verifier),
            get(Audience::Verifier, "/v1/verifier/earnings/summary")
                .summary("Read what I have earned")
                .query::<PeriodQuery>()
                .returns::<EarningsSummary>(200)
                .to(earnings),
            get(Audience::Verifier, "/v1/verifier/earnings/transactions")
                .summary("List my paid jobs, newest first")
                .paged()
                .returns::<Vec<PaidJob>>(200)
                .to(paid),
        ],
    )
}

#[derive(Debug, Default, Deserialize, IntoParams)]
struct PeriodQuery {
    /// Days, today among them, such as `30d`; at most `366d`.
    period: Option<String>,
}

impl PeriodQuery {
    fn parse(&self) -> kernel::Result<Period> {
        Period::parse(self.period.as_deref())
    }
}

/// A figure, and how it has changed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DashboardMetric)]
struct Metric {
    id: &'static str,
    label: &'static str,
    value: String,
    percent_change: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DashboardActivity)]
struct ActivityBody {
    id: FactId,
    /// What was done: noun and past tense.
    action: String,
    /// The id of what it happened to.
    resource: String,
    timestamp: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DashboardVerification)]
struct Latest {
    id: VerificationId,
    status: State,
    r#type: String,
    verifier_name: String,
    created_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserDashboard {
    metrics: Vec<Metric>,
    /// What has happened around me lately, newest first.
    activity: Vec<ActivityBody>,
    /// My newest verifications.
    verification_status: Vec<Latest>,
}

impl From<Dashboard> for UserDashboard {
    fn from(of: Dashboard) -> Self {
        let standing = |wanted: fn(State) -> bool| -> i64 {
            of.tally.iter().filter(|(state, _)| wanted(*state)).map(|(_, count)| count).sum()
        };
        let verdicts = |lines: &[Line], verdict| rules::count(lines, Some(verdict));
        let change = |verdict| {
            rules::percent_change(verdicts(&of.before, verdict), verdicts(&of.now, verdict))
        };
        let metric = |id, label, value: i64, percent_change| Metric {
            id,
            label,
            value: value.to_string(),
            percent_change,
        };
        let (now, before) = of.requested;
        let metrics = vec![
            metric(
                "verified",
                "Verified Credentials",
                standing(|state| matches!(state, State::Verified)),
                change(Verdict::Verified),
            ),
            metric(
                "pending",
                "Pending",
                standing(State::is_open),
                rules::percent_change(before, now),
            ),
            metric(
                "rejected",
                "Rejected",
                standing(|state| matches!(state, State::Rejected)),
                change(Verdict::Rejected),
            ),
        ];
        let activity = of.activity.into_iter().map(|fact| ActivityBody {
            id: fact.id,
            action: fact.verb,
            resource: fact.subject,
            timestamp: fact.at,
        });
        let latest = of.latest.into_iter().map(|one| Latest {
            id: one.id,
            status: one.state,
            r#type: one.kind,
            verifier_name: one.verifier_name,
            created_at: one.requested_at,
        });
        Self { metrics, activity: activity.collect(), verification_status: latest.collect() }
    }
}

/// The verdicts of a day.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerdictsOfDay)]
struct DayBody {
    /// Midnight UTC.
    day: Timestamp,
    verified: i64,
    rejected: i64,
}

fn by_day(lines: &[Line]) -> Vec<DayBody> {
    let mut days: Vec<DayBody> = Vec::new();
    for line in lines {
        // They come in the order of their days.
        if days.last().is_none_or(|last| last.day != line.day) {
            days.push(DayBody { day: line.day, verified: 0, rejected: 0 });
        }
        if let Some(last) = days.last_mut() {
            match line.verdict {
                Verdict::Verified => last.verified += line.count,
                Verdict::Rejected => last.rejected += line.count,
            }
        }
    }
    days
}

/// A count of this period, and its change against the period before.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AnalyticsFigure)]
struct Figure {
    value: i64,
    previous: i64,
    percent_change: f64,
}

impl Figure {
    fn of(value: i64, previous: i64) -> Self {
        Self { value, previous, percent_change: rules::percent_change(previous, value) }
    }

    fn verdicts(of: &Analytics, verdict: Option<Verdict>) -> Self {
        Self::of(rules::count(&of.now, verdict), rules::count(&of.before, verdict))
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AnalyticsSpending)]
struct Spent {
    /// Minor units, less what came back.
    amount: i64,
    currency: Asset,
    display: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserAnalytics {
    from: Timestamp,
    to: Timestamp,
    requested: Figure,
    verified: Figure,
    rejected: Figure,
    spent: Vec<Spent>,
    /// Days with verdicts, oldest first.
    days: Vec<DayBody>,
}

impl From<Analytics> for UserAnalytics {
    fn from(of: Analytics) -> Self {
        let spent = rules::sums(&of.now).into_iter().map(|sum| Spent {
            amount: sum.paid,
            currency: sum.currency,
            display: Money::new(sum.paid, sum.currency).to_string(),
        });
        Self {
            from: of.span.first.begins(),
            to: of.span.last.ends(),
            requested: Figure::of(of.requested.0, of.requested.1),
            verified: Figure::verdicts(&of, Some(Verdict::Verified)),
            rejected: Figure::verdicts(&of, Some(Verdict::Rejected)),
            spent: spent.collect(),
            days: by_day(&of.now),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct VerifierAnalytics {
    from: Timestamp,
    to: Timestamp,
    completed: Figure,
    verified: Figure,
    rejected: Figure,
    /// The mean time from acceptance to verdict, to one decimal; absent without a verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    turnaround_hours: Option<f64>,
    /// From 0 to 100; 50 before the first rating.
    reputation: i64,
    earned: Vec<EarnedSum>,
    /// Days with verdicts, oldest first.
    days: Vec<DayBody>,
}

impl From<Analytics> for VerifierAnalytics {
    fn from(of: Analytics) -> Self {
        let work = rules::mean_work(&of.now);
        Self {
            from: of.span.first.begins(),
            to: of.span.last.ends(),
            completed: Figure::verdicts(&of, None),
            verified: Figure::verdicts(&of, Some(Verdict::Verified)),
            rejected: Figure::verdicts(&of, Some(Verdict::Rejected)),
            turnaround_hours: work.map(|work| (work.as_secs_f64() / 360.0).round() / 10.0),
            reputation: of.reputation,
            earned: rules::sums(&of.now).iter().map(EarnedSum::from).collect(),
            days: by_day(&of.now),
        }
    }
}

/// What was earned in one currency, in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierEarningsSum)]
struct EarnedSum {
    currency: Asset,
    jobs: i64,
    /// After fees and refunds.
    earned: i64,
    fees: i64,
    /// What disputes gave back to owners.
    refunded: i64,
    /// What was earned, for people.
    display: String,
}

impl From<&Sum> for EarnedSum {
    fn from(sum: &Sum) -> Self {
        Self {
            currency: sum.currency,
            jobs: sum.count,
            earned: sum.earned(),
            fees: sum.fees,
            refunded: sum.refunded,
            display: Money::new(sum.earned(), sum.currency).to_string(),
        }
    }
}

/// Where all earnings stand now, in minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierEarningsStanding)]
struct Standing {
    currency: Asset,
    /// Still open to dispute.
    pending: i64,
    /// Free to be paid out.
    available: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierEarningsSummary)]
struct EarningsSummary {
    from: Timestamp,
    to: Timestamp,
    earned: Vec<EarnedSum>,
    balances: Vec<Standing>,
}

impl From<Earnings> for EarningsSummary {
    fn from(of: Earnings) -> Self {
        let standing = |(pending, available): &(Money, Money)| Standing {
            currency: pending.asset,
            pending: pending.minor,
            available: available.minor,
        };
        Self {
            from: of.span.first.begins(),
            to: of.span.last.ends(),
            earned: of.sums.iter().map(EarnedSum::from).collect(),
            balances: of.standing.iter().map(standing).collect(),
        }
    }
}

/// A job that was paid for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierPaidJob)]
struct PaidJob {
    verification_id: VerificationId,
    status: State,
    service: String,
    /// Minor units, after the fee and what was refunded.
    amount: i64,
    price: i64,
    fee: i64,
    refunded: i64,
    currency: Asset,
    /// The amount for people.
    display: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
}

impl From<Verification> for PaidJob {
    fn from(one: Verification) -> Self {
        let fee = one.fee.unwrap_or_default();
        let amount = one.price - one.refunded - fee;
        Self {
            verification_id: one.id,
            status: one.state,
            service: one.service_title,
            amount,
            price: one.price,
            fee,
            refunded: one.refunded,
            currency: one.currency,
            display: Money::new(amount, one.currency).to_string(),
            completed_at: one.ended_at,
        }
    }
}

async fn dashboard(On(service): On<Arc<Service>>, By(caller): By) -> Reply<Json<UserDashboard>> {
    Ok(Json(service.dashboard(&caller).await?.into()))
}

async fn of_owner(
    On(service): On<Arc<Service>>,
    By(caller): By,
    Query(query): Query<PeriodQuery>,
) -> Reply<Json<UserAnalytics>> {
    Ok(Json(service.of_owner(&caller, query.parse()?).await?.into()))
}

async fn dashboard_of_organization(
    On(service): On<Arc<Service>>,
    By(caller): By,
) -> Reply<Json<UserDashboard>> {
    Ok(Json(service.dashboard(&caller).await?.into()))
}

async fn of_organization(
    On(service): On<Arc<Service>>,
    By(caller): By,
    Query(query): Query<PeriodQuery>,
) -> Reply<Json<UserAnalytics>> {
    Ok(Json(service.of_owner(&caller, query.parse()?).await?.into()))
}

async fn of_verifier(
    On(service): On<Arc<Service>>,
    By(caller): By,
    Query(query): Query<PeriodQuery>,
) -> Reply<Json<VerifierAnalytics>> {
    Ok(Json(service.of_verifier(&caller, query.parse()?).await?.into()))
}

async fn earnings(
    On(service): On<Arc<Service>>,
    By(caller): By,
    Query(query): Query<PeriodQuery>,
) -> Reply<Json<EarningsSummary>> {
    Ok(Json(service.earnings(&caller, query.parse()?).await?.into()))
}

async fn paid(
    On(service): On<Arc<Service>>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<PaidJob>> {
    let page = service.paid(&caller, &paging.page).await?;
    Ok(paging.reply(page.map(PaidJob::from)))
}
