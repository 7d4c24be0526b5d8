//! Forgetting links whose time is over.

use std::sync::Arc;
use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

pub(crate) fn register(service: &Arc<Service>, registry: &mut Registry) {
    let service = Arc::clone(service);
    registry.every("setup.sweep", Duration::from_secs(24 * 3600), move || {
        let service = Arc::clone(&service);
        async move { service.sweep().await }
    });
}
