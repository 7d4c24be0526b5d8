//! The worker: claims jobs, runs them side by side, and hands back what it cannot finish.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use kernel::{Error, Result};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Hopeless, Job, LEASE, Run, store};
use crate::db::Db;

/// Jobs run side by side by one worker.
const CONCURRENCY: i64 = 8;
/// How long a worker rests when nothing rings: other replicas' commits do not ring here.
const REST_MAX: Duration = Duration::from_secs(1);
/// A handler is stopped before its lease ends.
const RUN_MAX: Duration = Duration::from_secs(LEASE.as_secs() - 10);

type Handler = Arc<dyn Fn(Run) -> BoxFuture<'static, Result<()>> + Send + Sync>;
type Periodic = Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Who runs which kind of job.
#[derive(Default, Clone)]
pub struct Registry {
    handlers: HashMap<&'static str, Handler>,
    periodic: Vec<(&'static str, Duration, Periodic)>,
}

impl Registry {
    /// `handler` runs jobs of the kind `J`. It must stand being run twice.
    pub fn on<J: Job, F>(&mut self, handler: impl Fn(J, Run) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let run: Handler = Arc::new(move |run: Run| match serde_json::from_str(&run.payload) {
            Ok(job) => handler(job, run).boxed(),
            Err(error) => {
                let unreadable = Error::internal("a job's payload is unreadable").because(error);
                std::future::ready(Err(unreadable)).boxed()
            }
        });
        let before = self.handlers.insert(J::KIND, run);
        assert!(before.is_none(), "two handlers for {}", J::KIND);
    }

    /// `work` runs once every `period` in the whole fleet, from the first start on. It takes no
    /// input: it finds out itself what is to be done, and doing it twice does no harm.
    pub fn every<F>(
        &mut self,
        name: &'static str,
        period: Duration,
        work: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.periodic.push((name, period, Arc::new(move || work().boxed())));
    }

    /// All kinds, for the documentation and the tests.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.handlers.keys().copied().collect();
        kinds.extend(self.periodic.iter().map(|(name, ..)| *name));
        kinds.sort_unstable();
        kinds
    }
}

/// One worker of the fleet.
pub struct Worker {
    db: Db,
    registry: Registry,
    id: Uuid,
}

impl Worker {
    pub fn new(db: Db, registry: Registry) -> Self {
        let id = db.world().id::<kernel::id::kinds::Job>().uuid();
        Self { db, registry, id }
    }

    /// Runs what is due now; answers how many jobs that were.
    pub async fn run_due(&self) -> Result<usize> {
        let mut ran = 0;
        for (name, period, work) in &self.registry.periodic {
            ran += usize::from(self.run_periodic(name, *period, work).await?);
        }
        let runs = self
            .db
            .run("jobs.claim", |tx| async move { store::claim(&tx, self.id, CONCURRENCY).await })
            .await?;
        ran += runs.len();
        join_all(runs.iter().map(|run| self.run_one(run))).await;
        Ok(ran)
    }

    /// Runs until nothing is due; for tests and for `verza` commands that end.
    pub async fn drain(&self) -> Result<usize> {
        let mut ran = 0;
        loop {
            match self.run_due().await? {
                0 => return Ok(ran),
                some => ran += some,
            }
        }
    }

    async fn run_periodic(&self, name: &str, period: Duration, work: &Periodic) -> Result<bool> {
        let turn =
            self.db
                .run("jobs.turn", |tx| async move {
                    store::take_turn(&tx, name, tx.now() + period).await
                })
                .await?;
        if turn && let Err(error) = guarded(|| work()).await {
            tracing::error!(%error, job = name, "a periodic job failed");
            metrics::counter!("jobs_failed_total", "kind" => name.to_owned()).increment(1);
        }
        Ok(turn)
    }

    async fn run_one(&self, run: &Run) {
        let started = Instant::now();
        let outcome = self.handle(run).await;
        let kind = run.kind.clone();
        metrics::histogram!("job_seconds", "kind" => kind.clone())
            .record(started.elapsed().as_secs_f64());
        let held = &outcome;
        let ended = self
            .db
            .run("jobs.end", |tx| async move {
                match held {
                    // Already gone when the handler ended it in its own transaction.
                    Ok(()) => store::finish(&tx, run).await.map(|_| false),
                    Err(error) => {
                        let hopeless = error.cause::<Hopeless>().is_some();
                        store::fail(&tx, run, &error.to_string(), hopeless).await
                    }
                }
            })
            .await;
        let millis = started.elapsed().as_millis();
        match (outcome, ended) {
            (Ok(()), Ok(_)) => {
                metrics::counter!("jobs_done_total", "kind" => kind.clone()).increment(1);
                tracing::info!(job = %run.id, kind, attempt = run.attempt, millis, "job done");
            }
            (Err(error), Ok(dead)) => {
                metrics::counter!("jobs_failed_total", "kind" => kind.clone()).increment(1);
                let attempt = run.attempt;
                tracing::warn!(job = %run.id, kind, attempt, dead, millis, %error, "job failed");
            }
            // The lease brings it back.
            (_, Err(error)) => tracing::error!(job = %run.id, kind, %error, "job not ended"),
        }
    }

    /// Runs the handler of a job.
    async fn handle(&self, run: &Run) -> Result<()> {
        let Some(handler) = self.registry.handlers.get(run.kind.as_str()) else {
            return Err(Error::internal(format!("nobody runs {} here", run.kind)));
        };
        if run.attempt > run.max_attempts {
            // It came back because its lease ran out, every time: it may be what kills workers.
            return Err(Error::internal("no worker lived to tell how the job ended"));
        }
        guarded(|| handler(run.clone())).await
    }

    /// Works until told to stop; then finishes what it holds within `grace`, and hands back the
    /// rest.
    pub async fn run(&self, stop: CancellationToken, grace: Duration) {
        while !stop.is_cancelled() {
            let ran = tokio::select! {
                ran = self.run_due() => ran,
                () = expire(&stop, grace) => {
                    self.hand_back().await;
                    return;
                }
            };
            match ran {
                Ok(0) => self.rest(&stop).await,
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "the worker cannot claim jobs");
                    tokio::select! {
                        () = tokio::time::sleep(REST_MAX) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        }
    }

    async fn rest(&self, stop: &CancellationToken) {
        let next = store::next_due(&self.db).await.unwrap_or_default();
        let until = next.map_or(REST_MAX, |due| due.since(self.db.world().now()));
        tokio::select! {
            () = self.db.jobs_written() => {}
            () = tokio::time::sleep(until.min(REST_MAX)) => {}
            () = stop.cancelled() => {}
        }
    }

    /// What was cut off becomes ready at once instead of when its lease ends.
    async fn hand_back(&self) {
        let outcome = self
            .db
            .run("jobs.hand_back", |tx| async move {
                for run in store::held(&tx, self.id).await? {
                    store::release(&tx, &run).await?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = outcome {
            tracing::error!(%error, "jobs were not handed back; their leases will end");
        }
    }
}

/// Runs a handler; a panic or a run beyond its time is a failure like any other.
async fn guarded(work: impl FnOnce() -> BoxFuture<'static, Result<()>>) -> Result<()> {
    let work = std::panic::AssertUnwindSafe(async { work().await }).catch_unwind();
    match tokio::time::timeout(RUN_MAX, work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::internal("the job panicked")),
        Err(_) => Err(Error::internal("the job ran longer than its lease allows")),
    }
}

async fn expire(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}
