//! Rows are done in the background, some at a time.

use std::sync::Arc;
use std::time::Duration;

use kernel::Id;
use kernel::id::kinds;
use platform::jobs::{Job, Registry};
use serde::{Deserialize, Serialize};

use super::Service;

/// How often tables that broke off are looked for, and batches that nobody works on.
const PERIOD: Duration = Duration::from_secs(600);

/// Do the next rows of a batch, and leave a job for those behind them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) batch: Id<kinds::Batch>,
}

impl Job for Work {
    const KIND: &'static str = "batch.work";
}

pub fn register(service: &Arc<Service>, registry: &mut Registry) {
    let worker = Arc::clone(service);
    registry.on(move |job: Work, run| {
        let worker = Arc::clone(&worker);
        async move { worker.work(job.batch, &run).await }
    });
    let service = Arc::clone(service);
    registry.every("batch.sweep", PERIOD, move || {
        let service = Arc::clone(&service);
        async move {
            service.sweep().await?;
            service.resume().await
        }
    });
}
