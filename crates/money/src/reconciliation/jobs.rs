//! What is looked at every night.

use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

const EVERY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn register(service: &Service, registry: &mut Registry) {
    let comparing = service.clone();
    registry.every("reconciliation.compare", EVERY, move || {
        let service = comparing.clone();
        async move { service.tell().await }
    });
    let sealing = service.clone();
    registry.every("ledger.seal", EVERY, move || {
        let service = sealing.clone();
        async move { service.seal().await }
    });
    let proving = service.clone();
    registry.every("ledger.check", EVERY, move || {
        let service = proving.clone();
        async move { service.prove().await }
    });
}
