//! Invitations that nobody has accepted.

use std::sync::Arc;
use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

const PERIOD: Duration = Duration::from_secs(6 * 3600);

pub fn register(service: &Arc<Service>, registry: &mut Registry) {
    let service = Arc::clone(service);
    registry.every("invitation.sweep", PERIOD, move || {
        let service = Arc::clone(&service);
        async move { service.sweep().await.map(drop) }
    });
}
