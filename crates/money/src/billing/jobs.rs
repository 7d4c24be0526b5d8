//! What bills do by themselves.

use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

const COLLECT_EVERY: Duration = Duration::from_secs(300);
const RENEW_EVERY: Duration = Duration::from_secs(300);
const RECOGNISE_EVERY: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn register(service: &Service, registry: &mut Registry) {
    let collecting = service.clone();
    registry.every("invoice.collect_due", COLLECT_EVERY, move || {
        let service = collecting.clone();
        async move { service.collect_due().await }
    });
    let renewing = service.clone();
    registry.every("subscription.renew_due", RENEW_EVERY, move || {
        let service = renewing.clone();
        async move { service.renew_due().await }
    });
    let recognising = service.clone();
    registry.every("invoice.recognise", RECOGNISE_EVERY, move || {
        let service = recognising.clone();
        async move { service.recognise().await }
    });
}
