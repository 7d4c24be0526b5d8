//! What bonds do by themselves.

use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

/// How late what has cooled down may become free, at most.
const FINISH_EVERY: Duration = Duration::from_secs(300);
const REWARD_EVERY: Duration = Duration::from_secs(3600);

pub(crate) fn register(service: &Service, registry: &mut Registry) {
    let finishing = service.clone();
    registry.every("unstake.finish_due", FINISH_EVERY, move || {
        let service = finishing.clone();
        async move { service.finish_due().await.map(drop) }
    });
    let rewarding = service.clone();
    registry.every("reward.accrue_due", REWARD_EVERY, move || {
        let service = rewarding.clone();
        async move { service.reward_due().await }
    });
}
