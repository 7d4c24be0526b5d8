//! Erasing what was closed, when its time has come.

use std::sync::Arc;
use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

pub(crate) fn register(service: &Arc<Service>, registry: &mut Registry) {
    let service = Arc::clone(service);
    registry.every("closing.erase_due", Duration::from_secs(3600), move || {
        let service = Arc::clone(&service);
        async move { service.erase_due().await.map(drop) }
    });
}
