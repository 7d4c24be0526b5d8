//! What wallets do by themselves.

use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

/// How late an earning may become free, at most.
const RELEASE_EVERY: Duration = Duration::from_secs(300);

pub(crate) fn register(service: &Service, registry: &mut Registry) {
    let service = service.clone();
    registry.every("earning.release_due", RELEASE_EVERY, move || {
        let service = service.clone();
        async move { service.release_due().await.map(drop) }
    });
}
