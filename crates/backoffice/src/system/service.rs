//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use kernel::{Page, PageRequest, Result, Timestamp};
use platform::db::Db;
use platform::{jobs, journal};
use tokio_util::sync::CancellationToken;

use super::inbox::{Inbox, lost};
use super::machine::{self, Memory, Processor};
use super::model::{Component, Line, LogFilter, State};
use super::rules::{self, Figure};
use super::store;

/// Lines written at once.
const BATCH: usize = 200;
/// How long lines are gathered: a storm becomes a few transactions.
const GATHER: Duration = Duration::from_secs(1);
/// How long lines are kept, and how many of them.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
const KEPT_MOST: i64 = 20_000;

/// Asks one component how it is. It answers soon, also when the component does not.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Component> + Send + Sync>;
/// The metrics of this process in Prometheus's text format, brought up to date.
pub type Metrics = Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// Where the service looks.
#[derive(Clone)]
pub struct Sources {
    /// What part of the platform this process is.
    pub service: &'static str,
    /// When this process began.
    pub began: Timestamp,
    /// Components that this context does not know: blobs, mail, Redis.
    pub probes: Vec<Probe>,
    pub metrics: Option<Metrics>,
    pub inbox: Arc<Inbox>,
}

impl Sources {
    /// A process of which nothing is known but that it began.
    pub fn since(began: Timestamp) -> Self {
        Self { service: "all", began, probes: Vec::new(), metrics: None, inbox: Arc::default() }
    }
}

/// The state of the platform. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    sources: Sources,
    processor: Processor,
}

/// How the platform is, as this process sees it.
#[derive(Debug, Clone)]
pub(super) struct Health {
    pub(super) status: &'static str,
    pub(super) at: Timestamp,
    pub(super) service: &'static str,
    pub(super) up_for: Duration,
    pub(super) processors: usize,
    /// Processors that this process keeps busy; none where the system does not say.
    pub(super) busy: Option<f64>,
    pub(super) memory: Option<Memory>,
    pub(super) components: Vec<Component>,
}

impl Service {
    pub(crate) fn new(db: Db, sources: Sources) -> Self {
        Self(Arc::new(Inner { db, sources, processor: Processor::default() }))
    }

    /// Asks everybody how they are.
    pub(super) async fn health(&self) -> Health {
        let Inner { db, sources, processor } = &*self.0;
        let now = db.world().now();
        let mut components = vec![self.database().await];
        if components.iter().all(|component| component.state == State::Up) {
            components.extend(self.journal(now).await.unwrap_or_else(|error| {
                vec![Component::new("journal", State::Down).with("error", error.code())]
            }));
            components.push(self.jobs(now).await.unwrap_or_else(|error| {
                Component::new("jobs", State::Down).with("error", error.code())
            }));
        }
        components.extend(join_all(sources.probes.iter().map(|probe| probe())).await);
        Health {
            status: rules::overall(&components),
            at: now,
            service: sources.service,
            up_for: now.since(sources.began),
            processors: machine::processors(),
            busy: processor.busy(now, sources.began),
            memory: machine::memory(),
            components,
        }
    }

    async fn database(&self) -> Component {
        let db = &self.0.db;
        let answer = db.ping().await;
        let state = if answer.is_ok() { State::Up } else { State::Down };
        let mut component = Component::new("database", state).with("engine", db.engine_name());
        if let Some(connections) = db.connections() {
            component = component
                .with("connectionsMax", connections.max)
                .with("connectionsOpen", connections.open)
                .with("connectionsWaiting", connections.waiting);
        }
        match answer {
            Ok(()) => component,
            Err(error) => component.with("error", error.code()),
        }
    }

    /// The sequencer, and everybody who follows it.
    async fn journal(&self, now: Timestamp) -> Result<Vec<Component>> {
        let progress = journal::progress(&self.0.db).await?;
        let waiting = progress.waiting_since.map(|since| now.since(since));
        let sequencer = Component::new("sequencer", rules::sequencer(waiting))
            .with("head", progress.head)
            .with("waitingSeconds", waiting.unwrap_or_default().as_secs());
        let mut readers = Component::new("journalReaders", State::Up);
        for (name, seq) in progress.readers {
            let behind = (progress.head - seq).max(0);
            readers.state = readers.state.max(rules::reader(behind));
            readers = readers.with(&name, behind);
        }
        Ok(vec![sequencer, readers])
    }

    async fn jobs(&self, now: Timestamp) -> Result<Component> {
        let queues = jobs::queues(&self.0.db, now).await?;
        let sum = |part: fn(&jobs::Queue) -> i64| queues.iter().map(part).sum::<i64>();
        let dead = sum(|queue| queue.dead);
        let overdue = queues.iter().filter_map(|queue| queue.due_since).min();
        let overdue = overdue.map(|since| now.since(since));
        Ok(Component::new("jobs", rules::jobs(overdue, dead))
            .with("ready", sum(|queue| queue.ready))
            .with("running", sum(|queue| queue.running))
            .with("dead", dead)
            .with("overdueSeconds", overdue.unwrap_or_default().as_secs()))
    }

    /// The metrics whose names begin with a prefix.
    pub(super) async fn figures(&self, prefix: &str) -> Vec<Figure> {
        let Some(metrics) = &self.0.sources.metrics else { return Vec::new() };
        let text = metrics().await;
        text.map(|text| rules::figures(&text, prefix)).unwrap_or_default()
    }

    /// What processes have complained of, newest first.
    pub async fn lines(&self, filter: &LogFilter, page: &PageRequest) -> Result<Page<Line>> {
        store::list(&self.0.db, filter, page).await
    }

    /// Writes down what this process complains of, until told to stop.
    pub async fn keep_lines(&self, stop: CancellationToken) {
        let inbox = Arc::clone(&self.0.sources.inbox);
        while !stop.is_cancelled() {
            tokio::select! {
                () = inbox.filled() => {}
                () = stop.cancelled() => {}
            }
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = stop.cancelled() => {}
            }
            while self.keep_some().await > 0 {}
        }
    }

    /// Writes down some lines; answers how many there were. What cannot be written is lost: to
    /// complain of that here would go round in a circle.
    pub async fn keep_some(&self) -> usize {
        let Inner { db, sources, .. } = &*self.0;
        let lines = sources.inbox.take(BATCH);
        if lines.is_empty() {
            return 0;
        }
        let (all, service) = (&lines, sources.service);
        let written = db
            .run("system.keep_lines", |tx| async move {
                for line in all {
                    store::insert(&tx, service, line).await?;
                }
                Ok(())
            })
            .await;
        if written.is_err() {
            lost(lines.len());
        }
        lines.len()
    }

    /// Forgets old lines, and those that are too many.
    pub async fn prune(&self) -> Result<u64> {
        self.0
            .db
            .run("system.prune", |tx| async move {
                let kept = i64::try_from(KEPT_FOR.as_micros()).unwrap_or(i64::MAX);
                let before = Timestamp::from_micros(tx.now().micros().saturating_sub(kept));
                store::prune(&tx, before, KEPT_MOST).await
            })
            .await
    }
}
