//! The verbs.

use kernel::id::kinds::Job;
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::db::Db;
use platform::jobs::{self, JobFilter, JobState, Queue, Queued};
use platform::journal::Fact;

use crate::Scrub;

/// The queues. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) db: Db,
    pub(crate) scrub: Scrub,
}

impl Service {
    /// Jobs, newest first.
    pub async fn list(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<Queued>> {
        let page = jobs::list(&self.db, filter, page).await?;
        Ok(page.map(|job| self.shown(job)))
    }

    /// Each kind of which there are jobs.
    pub async fn queues(&self) -> Result<Vec<Queue>> {
        jobs::queues(&self.db, self.db.world().now()).await
    }

    /// Gives a dead letter another round of attempts.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` for a job that is not dead, `job_exists` while
    /// another one does the same.
    pub async fn retry(&self, caller: &Caller, id: Id<Job>) -> Result<Queued> {
        let job = self
            .db
            .run("job.retry", |tx| async move {
                let job = jobs::get(&tx, id).await?;
                if job.state != JobState::Dead {
                    let message = "Only a job that was given up is tried again by hand.";
                    return Err(Error::conflict("wrong_state", message));
                }
                jobs::retry(&tx, id).await?;
                let fact = Fact::by(caller, "job.retried").on(id);
                tx.record(fact.with("kind", &job.kind).with("attempts", job.attempts));
                jobs::get(&tx, id).await
            })
            .await?;
        Ok(self.shown(job))
    }

    fn shown(&self, job: Queued) -> Queued {
        let last_error = job.last_error.map(|text| (self.scrub)(&text).into_owned());
        Queued { last_error, ..job }
    }
}
