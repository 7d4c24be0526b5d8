//! What the log does in the background.

use std::time::Duration;

use platform::jobs::Registry;

use super::service::Service;

/// How often witnesses are shown the newest checkpoint.
const WITNESS_PERIOD: Duration = Duration::from_secs(5);
/// How often the log looks at a stretch of itself.
const PATROL_PERIOD: Duration = Duration::from_secs(60);

pub(crate) fn register(registry: &mut Registry, log: &Service) {
    let service = log.clone();
    registry.every("log.witness", WITNESS_PERIOD, move || {
        let service = service.clone();
        async move { service.call_witnesses().await }
    });
    let service = log.clone();
    registry.every("log.patrol", PATROL_PERIOD, move || {
        let service = service.clone();
        async move { service.patrol().await.map(drop) }
    });
}
