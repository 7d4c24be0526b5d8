//! The worker: claims jobs, runs them side by side, and hands back what it cannot finish.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kernel::caller::RequestId;
use kernel::{Error, Result, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use uuid::Uuid;

use super::store::Turn;
use super::{Hopeless, Job, LEASE, Run, store};
use crate::db::{Db, Tx};

/// Jobs run side by side by one worker, where it is not told otherwise.
const CONCURRENCY: usize = 8;
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

    /// `work` runs once every `period` in the whole fleet, from the first start on. What fails, or
    /// is cut short, comes again before its period is over. It takes no input: it finds out itself
    /// what is to be done, and doing it twice does no harm.
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
    /// The kinds of jobs that it can run; others are left to workers of newer or older releases.
    kinds: Vec<&'static str>,
    id: Uuid,
    /// Jobs that it runs side by side.
    width: usize,
}

impl Worker {
    pub fn new(db: Db, registry: Registry) -> Self {
        let id = db.world().id::<kernel::id::kinds::Job>().uuid();
        let kinds = registry.handlers.keys().copied().collect();
        Self { db, registry, kinds, id, width: CONCURRENCY }
    }

    /// Runs so many jobs side by side: for a worker whose jobs wait for others most of the time.
    #[must_use]
    pub fn wide(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Runs what is due now, as much as runs side by side; answers how many jobs that were.
    pub async fn run_due(&self) -> Result<usize> {
        let mut taken = Vec::new();
        let outcome = self.take(self.width, &mut taken).await;
        let ran = taken.len();
        join_all(taken).await;
        outcome.map(|()| ran)
    }

    /// Takes on what is due, jobs as far as there is room for them. What was taken before a
    /// failure is in our hands nevertheless, and is to be run.
    async fn take<'a>(&'a self, room: usize, taken: &mut Vec<BoxFuture<'a, ()>>) -> Result<()> {
        self.take_turns(taken).await?;
        let now = self.db.world().now();
        if room == 0 || self.next_job().await?.is_none_or(|due| due > now) {
            return Ok(());
        }
        let kinds = &self.kinds;
        let claim = |tx| async move { store::claim(&tx, self.id, kinds, room).await };
        let runs = self.db.run("jobs.claim", claim).await?;
        taken.extend(runs.into_iter().map(|run| async move { self.run_one(&run).await }.boxed()));
        Ok(())
    }

    /// When the next job is due that this worker can run.
    async fn next_job(&self) -> Result<Option<Timestamp>> {
        store::next_due(&self.db, &self.kinds).await
    }

    async fn take_turns<'a>(&'a self, taken: &mut Vec<BoxFuture<'a, ()>>) -> Result<()> {
        let turns = store::turns(&self.db).await?;
        for (name, period, work) in &self.registry.periodic {
            let (name, period) = (*name, *period);
            if turns.get(name).is_some_and(|next| *next > self.db.world().now()) {
                continue;
            }
            let take = |tx: Tx| async move { store::take_turn(&tx, name, self.id).await };
            if let Some(turn) = self.db.run("jobs.turn", take).await? {
                taken.push(self.run_turn(turn, period, work).boxed());
            }
        }
        Ok(())
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

    async fn run_turn(&self, turn: Turn, period: Duration, work: &Periodic) {
        let name = turn.name;
        let outcome = guarded(|| work()).await;
        if let Err(error) = &outcome {
            let attempt = turn.attempt;
            tracing::error!(%error, job = name, attempt, "a periodic job failed");
            metrics::counter!("jobs_failed_total", "kind" => name).increment(1);
        }
        let (turn, done) = (&turn, outcome.is_ok());
        let end = |tx: Tx| async move { store::end_turn(&tx, turn, period, done).await };
        if let Err(error) = self.db.run("jobs.end_turn", end).await {
            // The lease brings it back.
            tracing::error!(job = name, %error, "a periodic job was not ended");
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
        let span = tracing::info_span!("job", kind = run.kind, trace_id = Empty);
        let work = guarded(|| handler(run.clone()));
        crate::trace::within(span, RequestId::None, run.trace, work).await
    }

    /// Works until told to stop; then finishes what it holds within `grace`, and hands back the
    /// rest. A job that takes long holds up its own place and nobody else's.
    pub async fn run(&self, stop: CancellationToken, grace: Duration) {
        let mut running = FuturesUnordered::new();
        let mut written = self.db.jobs_written();
        while !stop.is_cancelled() {
            // What is written from here on rings, also while this one looks.
            written.mark_unchanged();
            let room = self.width.saturating_sub(running.len());
            let mut taken = Vec::new();
            if let Err(error) = beside(&mut running, self.take(room, &mut taken)).await {
                tracing::error!(%error, "the worker cannot claim jobs");
            }
            running.extend(taken);
            let room = self.width.saturating_sub(running.len());
            let next = beside(&mut running, self.until_next()).await;
            let rest = if room > 0 { next } else { REST_MAX };
            tokio::select! {
                Some(()) = running.next() => {}
                Ok(()) = written.changed(), if room > 0 => {}
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => {}
            }
        }
        let finish = async { while running.next().await.is_some() {} };
        if tokio::time::timeout(grace, finish).await.is_err() {
            drop(running);
            self.hand_back().await;
        }
    }

    /// How long there is nothing to take on, as far as this process knows.
    async fn until_next(&self) -> Duration {
        match self.next_job().await {
            Ok(Some(due)) => due.since(self.db.world().now()).min(REST_MAX),
            Ok(None) | Err(_) => REST_MAX,
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
                store::release_turns(&tx, self.id).await
            })
            .await;
        if let Err(error) = outcome {
            tracing::error!(%error, "jobs were not handed back; their leases will end");
        }
    }
}

/// Waits for something while the jobs go on: one of them may hold what it waits for.
async fn beside<T>(
    running: &mut FuturesUnordered<BoxFuture<'_, ()>>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(()) = running.next() => {}
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
