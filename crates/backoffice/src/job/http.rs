//! Jobs over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::http::{At, Audience, By, Json, List, Paging, Query, Reply, Route, get, post, table};
use platform::jobs::{JobFilter, JobState, Queue, Queued};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::service::Service;

// Named without its parameter, which has no schema of its own.
type JobId = Id<kinds::Job>;

pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/jobs")
                .summary("List background jobs that are not done, newest first")
                .describe("A job that is done is gone. `?state=dead` lists the dead letters.")
                .query::<JobQuery>()
                .paged()
                .returns::<Vec<JobBody>>(200)
                .to(list),
            get(Audience::Admin, "/v1/admin/jobs/queues")
                .summary("Count background jobs by kind")
                .returns::<Vec<QueueBody>>(200)
                .to(queues),
            post(Audience::Admin, "/v1/admin/jobs/{id}/retry")
                .summary("Try a dead letter again")
                .returns::<JobBody>(200)
                .to(retry),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct JobQuery {
    #[param(inline)]
    state: Option<JobState>,
    /// A kind, such as `mail.send`.
    kind: Option<String>,
    /// Only those that have failed at least once.
    #[serde(default)]
    failed: bool,
}

/// A background job.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Job)]
struct JobBody {
    id: JobId,
    kind: String,
    #[schema(inline)]
    state: JobState,
    attempts: i64,
    max_attempts: i64,
    /// When it is due; of one that runs, when another worker takes it over; of a dead one, when it
    /// was given up.
    run_at: Timestamp,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl From<Queued> for JobBody {
    fn from(job: Queued) -> Self {
        Self {
            id: job.id,
            kind: job.kind,
            state: job.state,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            run_at: job.run_at,
            created_at: job.created_at,
            last_error: job.last_error,
        }
    }
}

/// The jobs of one kind.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = JobQueue)]
pub(crate) struct QueueBody {
    kind: String,
    ready: i64,
    running: i64,
    dead: i64,
    /// Since when the longest overdue job waits; absent where none is overdue.
    #[serde(skip_serializing_if = "Option::is_none")]
    due_since: Option<Timestamp>,
}

impl From<Queue> for QueueBody {
    fn from(Queue { kind, ready, running, dead, due_since }: Queue) -> Self {
        Self { kind, ready, running, dead, due_since }
    }
}

async fn list(
    State(service): State<Service>,
    Query(query): Query<JobQuery>,
    paging: Paging,
) -> Reply<List<JobBody>> {
    let kind = query.kind.filter(|kind| !kind.is_empty());
    let filter = JobFilter { state: query.state, kind, failed: query.failed };
    let page = service.list(&filter, &paging.page).await?;
    Ok(paging.reply(page.map(JobBody::from)))
}

async fn queues(State(service): State<Service>) -> Reply<Json<Vec<QueueBody>>> {
    let queues = service.queues().await?;
    Ok(Json(queues.into_iter().map(QueueBody::from).collect()))
}

async fn retry(
    State(service): State<Service>,
    By(caller): By,
    At(id): At<JobId>,
) -> Reply<Json<JobBody>> {
    Ok(Json(service.retry(&caller, id).await?.into()))
}
