//! Reputations are gone over in the background.

use std::sync::Arc;
use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

/// How often it is looked whose reputation is due.
const PERIOD: Duration = Duration::from_secs(3600);

pub fn register(service: &Arc<Service>, registry: &mut Registry) {
    let service = Arc::clone(service);
    registry.every("verifier.repute", PERIOD, move || {
        let service = Arc::clone(&service);
        async move { service.repute_due().await.map(drop) }
    });
}
