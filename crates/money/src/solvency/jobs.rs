//! What is stated every day.

use std::time::Duration;

use kernel::Caller;
use platform::jobs::Registry;

use super::Service;

const EVERY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn register(service: &Service, registry: &mut Registry) {
    if !service.is_on() {
        return;
    }
    let service = service.clone();
    registry.every("solvency.publish", EVERY, move || {
        let service = service.clone();
        async move { service.publish(&Caller::nobody()).await.map(drop) }
    });
}
