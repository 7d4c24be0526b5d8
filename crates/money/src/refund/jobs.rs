//! Jobs of the refunds.

use std::time::Duration;

use kernel::Id;
use kernel::id::kinds::Refund;
use platform::jobs::{Job, Registry};
use serde::{Deserialize, Serialize};

use super::service::Service;

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Sends a refund that was asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Send {
    pub id: Id<Refund>,
}

impl Job for Send {
    const KIND: &'static str = "refund.send";
}

/// Registers who runs them.
pub(crate) fn register(service: &Service, registry: &mut Registry) {
    let sending = service.clone();
    registry.on(move |job: Send, run| {
        let service = sending.clone();
        async move { service.send(&job, &run).await }
    });
    let sweeping = service.clone();
    registry.every("refund.sweep", SWEEP_EVERY, move || {
        let service = sweeping.clone();
        async move { service.sweep().await }
    });
}
