//! Background jobs: rows of a table, enqueued in the transaction that needs them done.
//!
//! A job runs at least once and is meant to be idempotent; [`Run::done_in`] makes its effect and
//! its end one transaction. A worker holds a job by a lease: when the worker dies, the lease
//! runs out and another takes over. Failures are tried again with growing pauses; what fails too
//! often, or for a reason that time does not cure ([`hopeless`]), is kept as a dead letter for an
//! admin to see and to retry.

mod runner;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kernel::id::kinds::Job as JobKind;
use kernel::{Error, Id, Result, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::db::Tx;
use crate::trace::TraceContext;

pub use runner::{Registry, Worker};
pub(crate) use store::insert;
pub use store::{
    JobFilter, JobState, Queue, Queued, dead_letters, depth, get, list, queues, retry,
};

/// How long a worker may hold a job.
pub const LEASE: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 12;

/// What a kind of job is called and carries. Old kinds stay readable until their queue is empty.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// `noun.verb`, such as `mail.send`.
    const KIND: &'static str;
}

/// A job about to be enqueued.
#[derive(Debug, Clone)]
pub struct NewJob {
    kind: &'static str,
    payload: String,
    delay: Duration,
    unique_key: Option<String>,
    attempts: u32,
    /// What has left it to be done.
    trace: Option<TraceContext>,
}

impl NewJob {
    pub fn new<J: Job>(job: &J) -> Result<Self> {
        let payload = serde_json::to_string(job)
            .map_err(|error| Error::internal("a job cannot be written").because(error))?;
        Ok(Self {
            kind: J::KIND,
            payload,
            delay: Duration::ZERO,
            unique_key: None,
            attempts: ATTEMPTS,
            trace: crate::trace::current(),
        })
    }

    /// Not before this much time has passed.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// While a job of the kind with this key waits or runs, a second one is not added.
    #[must_use]
    pub fn unique(mut self, key: impl Into<String>) -> Self {
        self.unique_key = Some(key.into());
        self
    }

    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }
}

/// A job in a worker's hands.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: Id<JobKind>,
    /// Counted from one.
    pub attempt: i64,
    worker: uuid::Uuid,
    kind: String,
    payload: String,
    max_attempts: i64,
    trace: Option<TraceContext>,
}

impl Run {
    /// Ends the job in the transaction of its effect. When another worker has taken the job over
    /// meanwhile, this fails, and the effect with it.
    pub async fn done_in(&self, tx: &Tx) -> Result<()> {
        if store::finish(tx, self).await? {
            return Ok(());
        }
        Err(Error::conflict("lease_lost", "Another worker has taken this job over."))
    }
}

/// Why a job is not worth another attempt.
#[derive(Debug)]
struct Hopeless;

impl std::fmt::Display for Hopeless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("another attempt would change nothing")
    }
}

impl std::error::Error for Hopeless {}

/// The failure of a job that no further attempt would cure: it becomes a dead letter at once.
pub fn hopeless(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::internal(why).because(Hopeless)
}

/// When to try again after the given attempt: 2 s, doubling to an hour, give or take a quarter.
fn backoff(attempt: i64, dice: u8) -> Duration {
    let base_ms = 2_000_u64 << attempt.clamp(1, 12).saturating_sub(1);
    let base_ms = base_ms.min(3_600_000);
    let jitter = base_ms / 2 * u64::from(dice) / 255;
    Duration::from_millis(base_ms - base_ms / 4 + jitter)
}

fn due(now: Timestamp, job: &NewJob) -> Timestamp {
    now + job.delay
}
