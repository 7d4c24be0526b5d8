//! What is left to do of declared compromises, also after whoever declared them was interrupted.

use std::time::Duration;

use platform::jobs::Registry;

use super::service::Service;

const PERIOD: Duration = Duration::from_secs(60);

pub(crate) fn register(registry: &mut Registry, compromises: &Service) {
    let service = compromises.clone();
    registry.every("key.compromises", PERIOD, move || {
        let service = service.clone();
        async move { service.carry_out_all().await }
    });
}
