//! Batches over HTTP.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State as On};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use kernel::id::kinds;
use kernel::{Asset, Caller, Cursor, Error, Id, Money, PageRequest, Permission, Result, Timestamp};
use platform::http::{
    At, Audience, By, Json, Limit, List, Once, Paging, Query, Reply, Route, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{
    self, BODY_BYTES_MAX, Batch, COLUMNS, Counts, Defaults, Estimate, Format, NewBatch, Problem,
    Row, RowState, State, View,
};
use super::{Service, csv};

// Named without their parameters, which have no schemas of their own.
type BatchId = Id<kinds::Batch>;
type UserId = Id<kinds::User>;
type KeyId = Id<kinds::ApiKey>;
type VerifierId = Id<kinds::Verifier>;
type ServiceId = Id<kinds::Service>;
type VerificationId = Id<kinds::Verification>;

const TABLE: &str = "The table: CSV (`text/csv`) whose first line names the columns, a JSON array of \
    objects, one object a line (`application/x-ndjson`), or the first sheet of a workbook (`.xlsx`, \
    `application/vnd.openxmlformats-officedocument.spreadsheetml.sheet`). At most 100000 rows and \
    64 MiB, of a workbook 16 MiB.";

const SUBMIT: &str = "The columns are those of the template; those that are not needed may be left \
    out. Each row becomes a verification of its own. Rows that cannot be done keep no other from it: \
    what is wrong with each is in the batch's rows and its errors.csv. A table that cannot be read as \
    one is refused whole. With `dryRun` nothing is done, and the answer (200) says what it would come \
    to. With `budget`, rows beyond it are not done.";

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Key, "/v1/enterprise/verifications/batch")
                .summary("Ask for many verifications at once")
                .describe(SUBMIT)
                .needs(Permission::VerificationsWrite)
                .limit(Limit::Heavy)
                .once(Once::Required)
                .streams(BODY_BYTES_MAX + 1)
                .query::<SubmitQuery>()
                .takes_media("text/csv", TABLE)
                .returns::<SubmittedBody>(202)
                .to(submit),
            get(Audience::Key, "/v1/enterprise/verifications/batch")
                .summary("List the organization's batches, newest first")
                .needs(Permission::VerificationsRead)
                .paged()
                .returns::<Vec<BatchBody>>(200)
                .to(list),
            get(Audience::Key, "/v1/enterprise/verifications/batch/template.csv")
                .summary("Download an empty table")
                .needs(Permission::VerificationsRead)
                .returns_media(200, "text/csv", "The first line of a table.")
                .to(template),
            get(Audience::Key, "/v1/enterprise/verifications/batch/{id}")
                .summary("Read how far a batch is")
                .needs(Permission::VerificationsRead)
                .returns::<ProgressBody>(200)
                .to(read),
            get(Audience::Key, "/v1/enterprise/verifications/batch/{id}/rows")
                .summary("List the rows of a batch, and what has become of each")
                .needs(Permission::VerificationsRead)
                .query::<RowsQuery>()
                .paged()
                .returns::<Vec<RowBody>>(200)
                .to(rows),
            get(Audience::Key, "/v1/enterprise/verifications/batch/{id}/errors.csv")
                .summary("Download the rows that have failed, and why")
                .describe(
                    "With the columns of the template behind `row`, `code`, `field` and `error`. Mend \
                     the rows and send the file again: these four are passed over.",
                )
                .needs(Permission::VerificationsRead)
                .limit(Limit::Heavy)
                .returns_media(200, "text/csv", "The failed rows.")
                .to(errors),
            post(Audience::Key, "/v1/enterprise/verifications/batch/{id}/retry")
                .summary("Do failed rows again, where that can help")
                .needs(Permission::VerificationsWrite)
                .takes::<RetryBody>()
                .returns::<ProgressBody>(200)
                .to(retry),
            post(Audience::Key, "/v1/enterprise/verifications/batch/{id}/cancel")
                .summary("Call off the rows of a batch that wait")
                .describe("What is done stays so: each verification can be cancelled by itself.")
                .needs(Permission::VerificationsWrite)
                .returns::<ProgressBody>(200)
                .to(cancel),
        ],
    )
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
struct SubmitQuery {
    /// Only say what it would come to.
    #[serde(default)]
    dry_run: bool,
    /// What the batch is called.
    #[serde(default)]
    name: String,
    /// For rows that name no verifier.
    #[param(value_type = Option<String>)]
    verifier_id: Option<VerifierId>,
    /// For rows that name no service.
    #[param(value_type = Option<String>)]
    service_id: Option<ServiceId>,
    /// What the batch may cost at most, in minor units of `currency`.
    budget: Option<i64>,
    /// Of the budget, such as `USD`. Rows in another currency are not done.
    currency: Option<String>,
}

impl SubmitQuery {
    fn parse(&self, content_type: &str) -> Result<NewBatch> {
        let format = Format::of(content_type)?;
        let name = self.name.trim();
        if name.chars().count() > 100 || name.chars().any(char::is_control) {
            return Err(Error::field("/name", "invalid", "one line of at most 100 characters"));
        }
        let currency = self.currency.as_deref().map(model::currency).transpose()?;
        let budget = match (self.budget, currency) {
            (None, None) => None,
            (Some(minor), Some(asset)) => {
                check_budget(minor)?;
                Some(Money::new(minor, asset))
            }
            (Some(_), None) => {
                return Err(Error::field("/currency", "required", "say what the budget is in"));
            }
            (None, Some(_)) => {
                return Err(Error::field("/budget", "required", "a currency needs a budget"));
            }
        };
        let defaults = Defaults { verifier: self.verifier_id, service: self.service_id };
        Ok(NewBatch { format, name: name.to_owned(), defaults, budget })
    }
}

fn check_budget(minor: i64) -> Result<()> {
    if (1..=Money::MAX_MINOR).contains(&minor) {
        return Ok(());
    }
    let message = format!("minor units, from 1 to {}", Money::MAX_MINOR);
    Err(Error::field("/budget", "out_of_range", message))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
struct RowsQuery {
    /// `queued`, `done`, `failed` or `cancelled`.
    state: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = BatchRetry)]
struct RetryBody {
    /// Another budget, with what is spent included; in the currency of the first.
    budget: Option<i64>,
}

/// A sum of one currency.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchSum)]
struct SumBody {
    /// Minor units.
    amount: i64,
    currency: Asset,
    display: String,
}

impl From<Money> for SumBody {
    fn from(sum: Money) -> Self {
        Self { amount: sum.minor, currency: sum.asset, display: sum.to_string() }
    }
}

/// A batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Batch)]
struct BatchBody {
    id: BatchId,
    name: String,
    #[schema(inline)]
    status: State,
    /// Who has sent it.
    created_by: UserId,
    /// The API key that has.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<SumBody>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
}

impl From<Batch> for BatchBody {
    fn from(batch: Batch) -> Self {
        Self {
            id: batch.id,
            name: batch.name,
            status: batch.state,
            created_by: batch.person,
            api_key_id: batch.api_key,
            budget: batch.budget.map(SumBody::from),
            created_at: batch.created_at,
            ended_at: batch.ended_at,
        }
    }
}

/// How many rows stand where.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchCounts)]
struct CountsBody {
    total: i64,
    queued: i64,
    done: i64,
    failed: i64,
    cancelled: i64,
}

impl From<Counts> for CountsBody {
    fn from(counts: Counts) -> Self {
        let Counts { queued, done, failed, cancelled } = counts;
        Self { total: counts.total(), queued, done, failed, cancelled }
    }
}

/// A batch, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchProgress)]
struct ProgressBody {
    #[serde(flatten)]
    batch: BatchBody,
    rows: CountsBody,
    /// From 0 to 100: rows that have an outcome.
    percent: i64,
    /// What is held or paid for the rows that are done.
    spent: Vec<SumBody>,
}

impl From<View> for ProgressBody {
    fn from(view: View) -> Self {
        let View { batch, counts, spent } = view;
        let total = counts.total().max(1);
        Self {
            batch: batch.into(),
            percent: (counts.total() - counts.queued) * 100 / total,
            rows: counts.into(),
            spent: spent.into_iter().map(SumBody::from).collect(),
        }
    }
}

/// What is wrong with a row.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchRowError)]
struct ProblemBody {
    /// For programs, such as `required`, `duplicate`, `wrong_columns`, `insufficient_funds`.
    code: String,
    /// The column, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    message: String,
    /// Whether the same row may be done later.
    retryable: bool,
}

impl From<Problem> for ProblemBody {
    fn from(of: Problem) -> Self {
        let Problem { code, field, message, retryable } = of;
        Self { code, field, message, retryable }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchRow)]
struct RowBody {
    /// Counted from one, without the first line of CSV.
    row: i64,
    #[schema(inline)]
    state: RowState,
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_id: Option<VerificationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<SumBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ProblemBody>,
}

impl From<Row> for RowBody {
    fn from(row: Row) -> Self {
        Self {
            row: row.place,
            state: row.state,
            reference: row.reference,
            verification_id: row.verification,
            price: row.price.map(SumBody::from),
            error: row.problem.map(ProblemBody::from),
        }
    }
}

/// One of the rows that are not good.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchBadRow)]
struct BadRowBody {
    row: i64,
    #[serde(flatten)]
    problem: ProblemBody,
}

/// What a table comes to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BatchEstimate)]
struct EstimateBody {
    good: i64,
    bad: i64,
    /// What the good rows cost.
    price: Vec<SumBody>,
    /// The first hundred rows that are not good.
    errors: Vec<BadRowBody>,
}

impl From<Estimate> for EstimateBody {
    fn from(of: Estimate) -> Self {
        let bad = |(row, problem): (i64, Problem)| BadRowBody { row, problem: problem.into() };
        Self {
            good: of.good,
            bad: of.bad,
            price: of.price.into_iter().map(SumBody::from).collect(),
            errors: of.problems.into_iter().map(bad).collect(),
        }
    }
}

/// A batch that was taken in; or, of a dry run, none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SubmittedBatch)]
struct SubmittedBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<ProgressBody>,
    /// None with the answer to a request that was sent twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<EstimateBody>,
}

type Services = On<Arc<Service>>;

async fn submit(
    On(service): Services,
    By(caller): By,
    Query(query): Query<SubmitQuery>,
    request: Request,
) -> Reply<Response> {
    let media = request.headers().get(header::CONTENT_TYPE);
    let media = media.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let new = query.parse(media)?;
    let body = request.into_body();
    if query.dry_run {
        let estimate = service.estimate(&caller, &new, body).await?;
        let body = SubmittedBody { batch: None, estimate: Some(estimate.into()) };
        return Ok(Json(body).into_response());
    }
    let (view, estimate) = service.submit(&caller, &new, body).await?;
    let body = SubmittedBody { batch: Some(view.into()), estimate: estimate.map(Into::into) };
    let mut response = Json(body).into_response();
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

async fn list(On(service): Services, By(caller): By, paging: Paging) -> Reply<List<BatchBody>> {
    let page = service.list(&caller, &paging.page).await?;
    Ok(paging.reply(page.map(BatchBody::from)))
}

async fn template() -> Response {
    download("verza-batch.csv", Body::from(csv::line(COLUMNS)))
}

async fn read(
    On(service): Services,
    By(caller): By,
    At(id): At<BatchId>,
) -> Reply<Json<ProgressBody>> {
    Ok(Json(service.find(&caller, id).await?.into()))
}

async fn rows(
    On(service): Services,
    By(caller): By,
    At(id): At<BatchId>,
    Query(query): Query<RowsQuery>,
    paging: Paging,
) -> Reply<List<RowBody>> {
    let state = query.state.as_deref().filter(|text| !text.is_empty());
    let state = state.map(str::parse).transpose()?;
    let page = service.rows(&caller, id, state, &paging.page).await?;
    Ok(paging.reply(page.map(RowBody::from)))
}

async fn errors(On(service): Services, By(caller): By, At(id): At<BatchId>) -> Reply<Response> {
    // Whose it is, and the first page, before anything is answered.
    let first = failed(&service, &caller, id, None).await?;
    let head = csv::line(csv::BESIDE.into_iter().chain(COLUMNS));
    let state = (service, caller, Some((head + &first.0, first.1)));
    let pages = stream::try_unfold(state, move |(service, caller, page)| async move {
        let Some((text, next)) = page else { return Ok(None) };
        let page = match next {
            Some(cursor) => Some(failed(&service, &caller, id, Some(cursor)).await?),
            None => None,
        };
        Ok::<_, Error>(Some((Bytes::from(text), (service, caller, page))))
    });
    Ok(download(&format!("{id}-errors.csv"), Body::from_stream(pages)))
}

/// Some failed rows as CSV, and where the next ones are.
async fn failed(
    service: &Service,
    caller: &Caller,
    id: BatchId,
    after: Option<Cursor>,
) -> Result<(String, Option<Cursor>)> {
    let request = PageRequest { limit: 1000, after, offset: 0 };
    let page = service.rows(caller, id, Some(RowState::Failed), &request).await?;
    let mut text = String::new();
    for row in page.items {
        let (place, cells) = (row.place.to_string(), row.cells.unwrap_or_default());
        let problem = row.problem.unwrap_or_else(|| Problem::new("", ""));
        let why =
            [&*place, &*problem.code, problem.field.as_deref().unwrap_or(""), &*problem.message];
        text += &csv::line(why.into_iter().chain(cells.0.iter().map(String::as_str)));
    }
    Ok((text, page.next))
}

async fn retry(
    On(service): Services,
    By(caller): By,
    At(id): At<BatchId>,
    Json(body): Json<RetryBody>,
) -> Reply<Json<ProgressBody>> {
    body.budget.map(check_budget).transpose()?;
    Ok(Json(service.retry(&caller, id, body.budget).await?.into()))
}

async fn cancel(
    On(service): Services,
    By(caller): By,
    At(id): At<BatchId>,
) -> Reply<Json<ProgressBody>> {
    Ok(Json(service.cancel(&caller, id).await?.into()))
}

/// A CSV file, for browsers to save and nobody to guess about.
fn download(name: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let media = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
    response
}
