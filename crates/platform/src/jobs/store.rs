//! All SQL of the jobs.

use std::collections::HashMap;
use std::time::Duration;

use kernel::id::kinds::Job;
use kernel::{Cursor, Error, Id, Page, PageRequest, Result, Timestamp};
use uuid::Uuid;

use super::{LEASE, NewJob, Run, backoff, due};
use crate::db::{DbError, Read, Row, Tx, Value, together};
use crate::params;

pub(crate) async fn insert(tx: &Tx, jobs: &[NewJob]) -> Result<()> {
    together(jobs.iter().map(|job| insert_one(tx, job))).await?;
    Ok(())
}

async fn insert_one(tx: &Tx, job: &NewJob) -> Result<()> {
    tx.execute(
        "INSERT INTO jobs (id, kind, payload, state, run_at, attempts, max_attempts, unique_key,
                           created_at, trace)
         VALUES ($1, $2, $3, 'ready', $4, 0, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        params![
            tx.world().id::<Job>(),
            job.kind,
            job.payload,
            due(tx.now(), job),
            job.attempts,
            job.unique_key,
            tx.now(),
            job.trace.map(|trace| trace.to_string())
        ],
    )
    .await?;
    Ok(())
}

/// Takes up to `limit` due jobs of these kinds for this worker, also those whose worker let the
/// lease run out.
pub(super) async fn claim(
    tx: &Tx,
    worker: Uuid,
    kinds: &[&'static str],
    limit: usize,
) -> Result<Vec<Run>> {
    // A running job's `run_at` is the end of its lease: one index finds all that is due.
    let (now, lease_end) = (tx.now(), tx.now() + LEASE);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut params = params![now, lease_end, worker, limit].to_vec();
    let sql = format!(
        "UPDATE jobs SET state = 'running', attempts = attempts + 1, run_at = $2, worker = $3
         WHERE id IN (SELECT id FROM jobs WHERE state IN ('ready', 'running') AND run_at <= $1
                          AND kind IN ({})
                      ORDER BY run_at, id LIMIT $4 {})
         RETURNING id, kind, payload, attempts, max_attempts, trace",
        markers(&mut params, kinds),
        tx.skip_locked()
    );
    Ok(tx.all(&sql, &params, |row| read_run(row, worker)).await?)
}

/// Adds the kinds to the parameters, and answers their markers; a list that matches nothing when
/// there are none.
fn markers<'a>(params: &mut Vec<Value<'a>>, kinds: &[&'static str]) -> String {
    let mut list = String::from("NULL");
    for kind in kinds {
        params.push(Value::Text(kind));
        list.push_str(&format!(", ${}", params.len()));
    }
    list
}

fn read_run(row: &Row<'_>, worker: Uuid) -> Result<Run, DbError> {
    Ok(Run {
        id: row.take()?,
        kind: row.take()?,
        payload: row.take()?,
        attempt: row.take()?,
        max_attempts: row.take()?,
        trace: row.take::<Option<String>>()?.and_then(|text| text.parse().ok()),
        worker,
    })
}

const HELD: &str = "id = $1 AND worker = $2 AND attempts = $3 AND state = 'running'";

/// Ends a job that this worker still holds.
pub(super) async fn finish(tx: &Tx, run: &Run) -> Result<bool> {
    let sql = format!("DELETE FROM jobs WHERE {HELD}");
    Ok(tx.touch(&sql, params![run.id, run.worker, run.attempt]).await?)
}

/// Puts a failed job back with a pause, or aside for good; answers whether it is dead.
pub(super) async fn fail(tx: &Tx, run: &Run, error: &str, hopeless: bool) -> Result<bool> {
    let dead = hopeless || run.attempt >= run.max_attempts;
    let [dice] = tx.world().random::<1>();
    let (state, run_at) =
        if dead { ("dead", tx.now()) } else { ("ready", tx.now() + backoff(run.attempt, dice)) };
    let sql = format!(
        "UPDATE jobs SET state = $4, run_at = $5, last_error = $6, worker = NULL WHERE {HELD}"
    );
    tx.touch(&sql, params![run.id, run.worker, run.attempt, state, run_at, error]).await?;
    Ok(dead)
}

/// Gives back a job that was claimed and not run, as if it had never been claimed.
pub(super) async fn release(tx: &Tx, run: &Run) -> Result<()> {
    let sql = format!(
        "UPDATE jobs SET state = 'ready', run_at = $4, attempts = attempts - 1, worker = NULL
         WHERE {HELD}"
    );
    tx.touch(&sql, params![run.id, run.worker, run.attempt, tx.now()]).await?;
    Ok(())
}

/// A periodic job whose turn a worker has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) name: &'static str,
    /// When it was taken: its next period counts from here.
    began: Timestamp,
    /// Counted from one since it last succeeded.
    pub(super) attempt: i64,
    worker: Uuid,
}

/// Takes a periodic job for this worker if its time has come, also one whose worker let the lease
/// run out.
pub(super) async fn take_turn(tx: &Tx, name: &'static str, worker: Uuid) -> Result<Option<Turn>> {
    // While it runs, `next_at` is the end of its lease: a worker that dies loses no period.
    let sql = "INSERT INTO periodic_jobs (name, next_at, worker, attempts) VALUES ($1, $2, $3, 1)
               ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at,
                   worker = excluded.worker, attempts = periodic_jobs.attempts + 1
               WHERE periodic_jobs.next_at <= $4
               RETURNING attempts";
    let (now, lease_end) = (tx.now(), tx.now() + LEASE);
    let params = params![name, lease_end, worker, now];
    let attempt = tx.maybe(sql, params, |row| row.take()).await?;
    Ok(attempt.map(|attempt| Turn { name, began: now, attempt, worker }))
}

/// Ends a turn that this worker still holds: the next one is a period after this one began, and
/// where it failed, after a pause if that is sooner.
pub(super) async fn end_turn(tx: &Tx, turn: &Turn, period: Duration, done: bool) -> Result<()> {
    let next_at = turn.began + period;
    let (next_at, attempts) = if done {
        (next_at, 0)
    } else {
        let [dice] = tx.world().random::<1>();
        (next_at.min(tx.now() + backoff(turn.attempt, dice)), turn.attempt)
    };
    let sql = "UPDATE periodic_jobs SET next_at = $4, attempts = $5, worker = NULL
               WHERE name = $1 AND worker = $2 AND attempts = $3";
    let params = params![turn.name, turn.worker, turn.attempt, next_at, attempts];
    // Where another worker has taken it over, that one ends it.
    tx.touch(sql, params).await?;
    Ok(())
}

/// Gives back the turns that this worker took and did not end, as if they had never been taken.
pub(super) async fn release_turns(tx: &Tx, worker: Uuid) -> Result<()> {
    let sql = "UPDATE periodic_jobs SET next_at = $2, attempts = attempts - 1, worker = NULL
               WHERE worker = $1";
    tx.execute(sql, params![worker, tx.now()]).await?;
    Ok(())
}

/// When the next periodic jobs are due, of those that ran before.
pub(super) async fn turns(db: &impl Read) -> Result<HashMap<String, Timestamp>> {
    let sql = "SELECT name, next_at FROM periodic_jobs";
    let turns = db.all(sql, &[], |row| Ok((row.take()?, row.take()?))).await?;
    Ok(turns.into_iter().collect())
}

/// When the next job of these kinds is due, if any waits.
pub(super) async fn next_due(db: &impl Read, kinds: &[&'static str]) -> Result<Option<Timestamp>> {
    let mut params = Vec::new();
    let sql = format!(
        "SELECT run_at FROM jobs WHERE state IN ('ready', 'running') AND kind IN ({})
         ORDER BY run_at, id LIMIT 1",
        markers(&mut params, kinds)
    );
    Ok(db.maybe(&sql, &params, |row| row.take()).await?)
}

/// How many jobs wait or run, and how many are dead.
pub async fn depth(db: &impl Read) -> Result<(i64, i64)> {
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'dead' THEN 0 ELSE 1 END), 0) AS BIGINT),
                      CAST(COALESCE(SUM(CASE WHEN state = 'dead' THEN 1 ELSE 0 END), 0) AS BIGINT)
               FROM jobs";
    Ok(db.one(sql, &[], |row| Ok((row.take()?, row.take()?))).await?)
}

/// What a list of jobs is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// `ready`, `running` or `dead`.
    pub state: Option<JobState>,
    pub kind: Option<String>,
    /// Only those that have failed at least once.
    pub failed: bool,
}

/// Where a job stands. One that is done is gone.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its time, or for a worker.
    Ready,
    Running,
    /// Given up: a dead letter.
    Dead,
}

impl JobState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "dead" => Self::Dead,
            "running" => Self::Running,
            _ => Self::Ready,
        }
    }
}

/// A job as it stands in the queue, without what it carries: payloads are for workers.
#[derive(Debug, Clone)]
pub struct Queued {
    pub id: Id<Job>,
    pub kind: String,
    pub state: JobState,
    pub attempts: i64,
    pub max_attempts: i64,
    /// When it is due; of one that runs, when its worker's lease ends; of a dead one, when it died.
    pub run_at: Timestamp,
    pub created_at: Timestamp,
    pub last_error: Option<String>,
}

/// The jobs, newest first.
pub async fn list(db: &impl Read, filter: &JobFilter, page: &PageRequest) -> Result<Page<Queued>> {
    let sql = "SELECT id, kind, state, attempts, max_attempts, run_at, created_at, last_error
               FROM jobs
               WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR state = $2)
                   AND (CAST($3 AS TEXT) IS NULL OR kind = $3)
                   AND ($4 = FALSE OR last_error IS NOT NULL)
               ORDER BY id DESC LIMIT $5 OFFSET $6";
    let (state, after, fetch) = (filter.state.map(JobState::as_str), page.after_id(), page.fetch());
    let params = params![after, state, filter.kind, filter.failed, fetch, page.offset];
    let rows = db.all(sql, params, read_queued).await?;
    Ok(page.page(rows, |job| Cursor::by_id(job.id)))
}

/// One job.
pub async fn get(db: &impl Read, id: Id<Job>) -> Result<Queued> {
    let sql = "SELECT id, kind, state, attempts, max_attempts, run_at, created_at, last_error
               FROM jobs WHERE id = $1";
    db.maybe(sql, params![id], read_queued).await?.ok_or_else(|| Error::not_found("job"))
}

fn read_queued(row: &Row<'_>) -> Result<Queued, DbError> {
    Ok(Queued {
        id: row.take()?,
        kind: row.take()?,
        state: JobState::of(&row.take::<String>()?),
        attempts: row.take()?,
        max_attempts: row.take()?,
        run_at: row.take()?,
        created_at: row.take()?,
        last_error: row.take()?,
    })
}

/// The jobs of one kind, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    pub kind: String,
    pub ready: i64,
    pub running: i64,
    pub dead: i64,
    /// Since when the longest overdue of those that wait has been due.
    pub due_since: Option<Timestamp>,
}

/// Every kind of which there are jobs, by name.
pub async fn queues(db: &impl Read, now: Timestamp) -> Result<Vec<Queue>> {
    let sql = "SELECT kind,
                   CAST(SUM(CASE WHEN state = 'ready' THEN 1 ELSE 0 END) AS BIGINT),
                   CAST(SUM(CASE WHEN state = 'running' THEN 1 ELSE 0 END) AS BIGINT),
                   CAST(SUM(CASE WHEN state = 'dead' THEN 1 ELSE 0 END) AS BIGINT),
                   MIN(CASE WHEN state = 'ready' AND run_at <= $1 THEN run_at END)
               FROM jobs GROUP BY kind ORDER BY kind";
    let read = |row: &Row<'_>| {
        Ok(Queue {
            kind: row.take()?,
            ready: row.take()?,
            running: row.take()?,
            dead: row.take()?,
            due_since: row.take()?,
        })
    };
    Ok(db.all(sql, params![now], read).await?)
}

/// The dead letters, newest first.
pub async fn dead_letters(db: &impl Read, page: &PageRequest) -> Result<Page<Queued>> {
    let filter = JobFilter { state: Some(JobState::Dead), ..JobFilter::default() };
    list(db, &filter, page).await
}

/// Gives a dead job another round of attempts.
///
/// # Errors
/// Not found where no such job is dead; `job_exists` (conflict) while another one does the same.
pub async fn retry(tx: &Tx, id: Id<Job>) -> Result<()> {
    let sql = "UPDATE jobs SET state = 'ready', run_at = $2, attempts = 0
               WHERE id = $1 AND state = 'dead'";
    match tx.touch(sql, params![id, tx.now()]).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::not_found("dead job")),
        Err(DbError::Unique(_)) => {
            let message = "Another job does the same and is not done: this one is not needed.";
            Err(Error::conflict("job_exists", message))
        }
        Err(error) => Err(error.into()),
    }
}

/// The jobs that a worker holds.
pub(super) async fn held(tx: &Tx, worker: Uuid) -> Result<Vec<Run>> {
    let sql = "SELECT id, kind, payload, attempts, max_attempts, trace FROM jobs
               WHERE worker = $1 AND state = 'running'";
    Ok(tx.all(sql, params![worker], |row| read_run(row, worker)).await?)
}
