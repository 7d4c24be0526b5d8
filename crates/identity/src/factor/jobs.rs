//! Forgetting what was not finished in time.

use std::sync::Arc;
use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

pub(crate) fn register(service: &Arc<Service>, registry: &mut Registry) {
    let service = Arc::clone(service);
    registry.every("factor.sweep", Duration::from_secs(600), move || {
        let service = Arc::clone(&service);
        async move { service.sweep().await }
    });
}
