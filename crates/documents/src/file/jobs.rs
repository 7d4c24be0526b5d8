//! What happens to files in the background.

use std::time::Duration;

use kernel::Id;
use kernel::id::kinds::File;
use platform::jobs::{Job, Registry};
use serde::{Deserialize, Serialize};

use super::Service;

/// Removes the bytes of a deleted file.
#[derive(Serialize, Deserialize)]
pub(super) struct Erase {
    pub(super) file: Id<File>,
}

impl Job for Erase {
    const KIND: &'static str = "file.erase";
}

/// Has the virus scanner look at a file.
#[derive(Serialize, Deserialize)]
pub(super) struct Scan {
    pub(super) file: Id<File>,
}

impl Job for Scan {
    const KIND: &'static str = "file.scan";
}

/// Has the signatures in a file looked at.
#[derive(Serialize, Deserialize)]
pub(super) struct Inspect {
    pub(super) file: Id<File>,
}

impl Job for Inspect {
    const KIND: &'static str = "file.inspect";
}

/// One slice of the store is swept at a time, so that no sweep takes long however many files
/// there are; all 256 are done within two days.
const SWEEP_PERIOD: Duration = Duration::from_secs(10 * 60);

pub fn register(registry: &mut Registry, service: &Service) {
    let files = service.clone();
    registry.on(move |job: Erase, run| {
        let files = files.clone();
        async move { files.erase(job.file, &run).await }
    });
    let files = service.clone();
    registry.on(move |job: Scan, run| {
        let files = files.clone();
        async move { files.scan(job.file, &run).await }
    });
    let files = service.clone();
    registry.on(move |job: Inspect, run| {
        let files = files.clone();
        async move { files.inspect(job.file, &run).await }
    });
    let files = service.clone();
    registry.every("file.sweep", SWEEP_PERIOD, move || {
        let files = files.clone();
        async move {
            let swept = files.sweep(files.slice_in_turn()).await?;
            if swept > 0 {
                tracing::info!(swept, "removed what cut-off uploads had left");
            }
            Ok(())
        }
    });
}

impl Service {
    /// Which slice's turn it is.
    fn slice_in_turn(&self) -> u8 {
        let turn = self.now().seconds() / SWEEP_PERIOD.as_secs().cast_signed();
        u8::try_from(turn.rem_euclid(256)).unwrap_or_default()
    }
}
