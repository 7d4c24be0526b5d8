//! Jobs of the payouts.

use std::time::Duration;

use kernel::Id;
use kernel::id::kinds::Withdrawal;
use platform::jobs::{Job, Registry};
use serde::{Deserialize, Serialize};

use super::service::Service;

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Sends an approved withdrawal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Send {
    pub id: Id<Withdrawal>,
}

impl Job for Send {
    const KIND: &'static str = "withdrawal.send";
}

/// Registers who runs them.
pub(crate) fn register(service: &Service, registry: &mut Registry) {
    let sending = service.clone();
    registry.on(move |job: Send, run| {
        let service = sending.clone();
        async move { service.send(&job, &run).await }
    });
    let sweeping = service.clone();
    registry.every("withdrawal.sweep", SWEEP_EVERY, move || {
        let service = sweeping.clone();
        async move { service.sweep().await }
    });
}
