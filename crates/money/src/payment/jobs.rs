//! Jobs of the payments.

use std::time::Duration;

use platform::jobs::{Job, Registry};
use serde::{Deserialize, Serialize};

use super::service::Service;
use crate::provider::ProviderName;

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Acts on an event that a provider has sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ActOnEvent {
    pub provider: ProviderName,
    pub key: String,
}

impl Job for ActOnEvent {
    const KIND: &'static str = "payment.act_on_event";
}

/// Registers who runs them.
pub(crate) fn register(service: &Service, registry: &mut Registry) {
    let acting = service.clone();
    registry.on(move |event: ActOnEvent, run| {
        let service = acting.clone();
        async move { service.act_on(&event, &run).await }
    });
    let sweeping = service.clone();
    registry.every("payment.sweep", SWEEP_EVERY, move || {
        let service = sweeping.clone();
        async move { service.sweep().await }
    });
}
