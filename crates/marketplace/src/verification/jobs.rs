//! Time runs out.

use std::sync::Arc;
use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

/// How late an expiry may be noticed.
const PERIOD: Duration = Duration::from_secs(60);

pub fn register(service: &Arc<Service>, registry: &mut Registry) {
    let service = Arc::clone(service);
    registry.every("verification.expire", PERIOD, move || {
        let service = Arc::clone(&service);
        async move {
            let expired = service.expire_due().await?;
            if expired > 0 {
                metrics::counter!("verifications_expired_total").increment(expired);
                tracing::info!(expired, "verifications have run out of time");
            }
            Ok(())
        }
    });
}
