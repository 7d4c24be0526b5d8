//! Housekeeping.

use std::time::Duration;

use platform::jobs::Registry;

use super::service::Service;

pub(crate) fn register(service: &Service, registry: &mut Registry) {
    let service = service.clone();
    registry.every("ticket.sweep", Duration::from_secs(3600), move || {
        let service = service.clone();
        async move { service.sweep().await.map(drop) }
    });
}
