//! What happens to uploads in the background.

use std::time::Duration;

use platform::jobs::Registry;

use super::Service;

const PERIOD: Duration = Duration::from_secs(10 * 60);

pub fn register(registry: &mut Registry, service: &Service) {
    let uploads = service.clone();
    registry.every("upload.expire", PERIOD, move || {
        let uploads = uploads.clone();
        async move { uploads.expire().await.map(drop) }
    });
}
