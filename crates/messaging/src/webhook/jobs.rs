//! The jobs of webhooks: calling endpoints, waking what waits, and sending again what was missed.

use std::time::Duration;

use kernel::id::kinds::{Fact, Webhook};
use kernel::{Cursor, Id, PageRequest, Result, Timestamp};
use platform::jobs::{Job, NewJob, Registry, Run};
use platform::journal::{self, Filter};
use serde::{Deserialize, Serialize};

use super::catalogue::VERBS;
use super::{Service, feed, service, store};

const SWEEP_EVERY: Duration = Duration::from_secs(300);
/// How long deliveries are kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Facts that one step of a recovery looks at.
const STEP: i64 = 100;

/// Calls an endpoint with all that is due there. There is one such job for an endpoint at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Deliver {
    pub(super) endpoint: Id<Webhook>,
}

impl Job for Deliver {
    const KIND: &'static str = "webhook.deliver";
}

/// Lets an endpoint's job look again, at the time of its next try.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wake {
    pub(super) endpoint: Id<Webhook>,
}

impl Job for Wake {
    const KIND: &'static str = "webhook.wake";
}

/// Sends again what an endpoint has missed, newest first, a step at a time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recover {
    pub(super) endpoint: Id<Webhook>,
    pub(super) since: Timestamp,
    pub(super) before: Option<Id<Fact>>,
}

impl Job for Recover {
    const KIND: &'static str = "webhook.recover";
}

pub(super) fn register(of: &Service, registry: &mut Registry) {
    let service = of.clone();
    registry.on(move |job: Wake, run| {
        let service = service.clone();
        async move { service.woken(&job, &run).await }
    });
    let service = of.clone();
    registry.on(move |job: Recover, run| {
        let service = service.clone();
        async move { service.recover_step(&job, &run).await }
    });
    let service = of.clone();
    registry.every("webhook.sweep", SWEEP_EVERY, move || {
        let service = service.clone();
        async move { service.sweep().await }
    });
}

pub(super) fn register_calls(of: &Service, registry: &mut Registry) {
    let service = of.clone();
    registry.on(move |job: Deliver, run| {
        let service = service.clone();
        async move { service.deliver(job.endpoint, &run).await }
    });
}

impl Service {
    async fn woken(&self, job: &Wake, run: &Run) -> Result<()> {
        self.db()
            .run("webhook.wake", |tx| async move {
                service::wake(&tx, job.endpoint).await?;
                run.done_in(&tx).await
            })
            .await
    }

    async fn recover_step(&self, job: &Recover, run: &Run) -> Result<()> {
        self.db()
            .run("webhook.recover_step", |tx| async move {
                let found = store::get(&tx, job.endpoint).await?;
                let Some(it) = found.filter(store::is_live) else { return run.done_in(&tx).await };
                let filter = Filter { from: Some(job.since), among: VERBS, ..Filter::default() };
                let after = job.before.map(Cursor::by_id);
                let page = PageRequest { limit: STEP, after, offset: 0 };
                let page = journal::of_party(&tx, it.organization, &filter, &page).await?;
                for fact in &page.items {
                    // What has no place yet is still to be read.
                    if fact.seq.is_some() && feed::wants(&it, fact) {
                        store::add_again(&tx, it.id, fact).await?;
                    }
                }
                service::wake(&tx, it.id).await?;
                if let (Some(_), Some(last)) = (page.next, page.items.last()) {
                    let next = Recover { before: Some(last.id), ..*job };
                    let key = format!("{}/{}/{}", it.id, job.since, last.id);
                    tx.enqueue(NewJob::new(&next)?.unique(key));
                }
                run.done_in(&tx).await
            })
            .await
    }

    /// Takes away what is old, and wakes what a lost job has left lying.
    async fn sweep(&self) -> Result<()> {
        let now = self.db().world().now();
        let overdue = &store::overdue(self.db(), now - SWEEP_EVERY).await?;
        self.db()
            .run("webhook.sweep", |tx| async move {
                for endpoint in overdue {
                    service::wake(&tx, *endpoint).await?;
                }
                Ok(())
            })
            .await?;
        let before = now - KEPT;
        while self
            .db()
            .run("webhook.forget", |tx| async move { store::sweep(&tx, before).await })
            .await?
            > 0
        {}
        Ok(())
    }
}
