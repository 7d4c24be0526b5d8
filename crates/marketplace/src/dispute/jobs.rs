//! Decisions become final.

use std::sync::Arc;
use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

/// How late the end of the time to appeal may be noticed.
const PERIOD: Duration = Duration::from_secs(60);

pub fn register(service: &Arc<Service>, registry: &mut Registry) {
    let service = Arc::clone(service);
    registry.every("dispute.close", PERIOD, move || {
        let service = Arc::clone(&service);
        async move {
            let closed = service.close_due().await?;
            if closed > 0 {
                metrics::counter!("disputes_closed_total").increment(closed);
                tracing::info!(closed, "decisions have become final");
            }
            Ok(())
        }
    });
}
