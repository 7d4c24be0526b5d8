//! What is done at Kratos after something was done here, and the other way round.

use std::sync::Arc;
use std::time::Duration;

use kernel::Result;
use platform::jobs::{Job, NewJob, Registry};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Service;

/// Tries to end a session at Kratos: about two days, at an hour's distance in the end.
const REVOKE_ATTEMPTS: u32 = 60;

/// Ends a session at Kratos that has ended here.
#[derive(Serialize, Deserialize)]
pub(super) struct Revoke {
    /// Kratos's id of the session.
    pub(super) session: Uuid,
}

impl Job for Revoke {
    const KIND: &'static str = "kratos.revoke";
}

impl Revoke {
    pub(super) fn new_job(session: Uuid) -> Result<NewJob> {
        let job = NewJob::new(&Self { session })?;
        Ok(job.unique(session.to_string()).attempts(REVOKE_ATTEMPTS))
    }
}

/// Compares the sessions of an identity here with those at Kratos.
#[derive(Serialize, Deserialize)]
pub(super) struct Compare {
    pub(super) identity: Uuid,
}

impl Job for Compare {
    const KIND: &'static str = "kratos.compare";
}

impl Compare {
    pub(super) fn new_job(identity: Uuid) -> Result<NewJob> {
        Ok(NewJob::new(&Self { identity })?.unique(identity.to_string()))
    }
}

pub(crate) fn register(service: &Arc<Service>, registry: &mut Registry) {
    let Some(remote) = service.remote() else { return };
    let mine = Arc::clone(remote);
    registry.on(move |job: Revoke, run| {
        let remote = Arc::clone(&mine);
        async move { remote.revoke(job.session, &run).await }
    });
    let mine = Arc::clone(remote);
    registry.on(move |job: Compare, _| {
        let remote = Arc::clone(&mine);
        async move { remote.compare(job.identity).await }
    });
    let mine = Arc::clone(remote);
    // What ended by a verb that does not know of Kratos.
    registry.every("kratos.revoke_ended", Duration::from_secs(600), move || {
        let remote = Arc::clone(&mine);
        async move { remote.revoke_any_ended().await }
    });
    let mine = Arc::clone(remote);
    registry.every("kratos.sweep", Duration::from_secs(3600), move || {
        let remote = Arc::clone(&mine);
        async move { remote.sweep().await }
    });
}
