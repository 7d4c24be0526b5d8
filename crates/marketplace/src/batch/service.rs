//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use documents::credential::Service as Credentials;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kernel::caller::{Acting, Actor};
use kernel::id::kinds;
use kernel::{
    Caller, Error, Id, Kind, Page, PageRequest, Permission, Permissions, Principal, Result, Role,
};
use platform::db::{Db, Tx, with_body};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;
use rpc::users::{Status, Users};
use uuid::Uuid;

use super::jobs::Work;
use super::model::{Batch, Estimate, NewBatch, Problem, Row, RowState, State, View};
use super::receive::Incoming;
use super::store;
use crate::{commission, verifier};

/// Rows that one job does, as long as they take less than [`PATIENCE`].
const CHUNK: i64 = 200;
/// How long a job does rows: what is left then is another one's. Well within a job's lease, so that
/// slow rows do not cost it its attempts.
const PATIENCE: Duration = Duration::from_secs(25);
/// Batches that one transaction leaves a job for.
const RESUMED_TOGETHER: i64 = 100;
/// Rows that are done side by side, where that makes commits fewer: on the embedded store. On a
/// shared one they would wait for each other at the one wallet that pays for all of them.
const SIDE_BY_SIDE: usize = 16;
/// Rows that one transaction deletes.
const DELETED_TOGETHER: i64 = 1000;
/// A table that has been coming in for this long comes no more.
const STALLED: Duration = Duration::from_secs(2 * 3600);

/// Batches.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) users: Arc<dyn Users>,
    pub(crate) verifiers: Arc<verifier::Service>,
    pub(crate) credentials: Credentials,
    pub(crate) commissions: Arc<commission::Service>,
}

impl Service {
    /// What a table comes to, without doing any of it.
    ///
    /// # Errors
    /// `Invalid` for what is no table: `unsupported_encoding`, `no_header`, `invalid_json`,
    /// `empty_table`, `too_many_rows`, and field errors at `/columns`.
    pub async fn estimate(&self, caller: &Caller, new: &NewBatch, body: Body) -> Result<Estimate> {
        let owner = caller.user()?;
        self.read(owner, (new.format, &new.defaults), None, &mut Incoming::new(body)).await
    }

    /// Takes a table in, and begins to do its rows. Rows that cannot be done are said so, and keep
    /// no other from it.
    ///
    /// The idempotency key is used when all of the table has come in, and stands for what is in it:
    /// what is no table, or broke off, leaves the key as it was.
    ///
    /// # Errors
    /// As of [`Self::estimate`]; nothing is left of what is no table. `Invalid`
    /// `idempotency_key_reused` for another table than the first with this key.
    pub async fn submit(
        &self,
        caller: &Caller,
        new: &NewBatch,
        body: Body,
    ) -> Result<(View, Option<Estimate>)> {
        let table = Incoming::new(body);
        // A repeated request costs no more than the reading of its table.
        if self.db.is_remembered(caller).await? {
            let id = self.recall(&with_body(caller, table.sha256().await?)).await?;
            return Ok((self.find(caller, id).await?, None));
        }
        let id = self.begin(caller, new).await?;
        match self.take_in(caller, id, new, table).await {
            Ok((first, _)) if first != id => {
                // The same request has come in twice at the same time, and the other was quicker.
                self.give_up(id).await?;
                Ok((self.find(caller, first).await?, None))
            }
            Ok((_, estimate)) => Ok((self.find(caller, id).await?, Some(estimate))),
            Err(error) => {
                self.give_up(id).await?;
                Err(error)
            }
        }
    }

    /// The batch that a key which is in use stands for.
    async fn recall(&self, caller: &Caller) -> Result<Id<kinds::Batch>> {
        let forgotten = |_| async {
            let message = "The reply to this Idempotency-Key was forgotten just now. Try again.";
            Err(Error::unavailable("busy", message).retry_after(1))
        };
        self.db.once(caller, "batch.submit", forgotten).await
    }

    /// Reads a table into its batch, and starts that; answers the batch that was started, which is
    /// another one if the same request was answered meanwhile.
    async fn take_in(
        &self,
        caller: &Caller,
        id: Id<kinds::Batch>,
        new: &NewBatch,
        mut table: Incoming,
    ) -> Result<(Id<kinds::Batch>, Estimate)> {
        let how = (new.format, &new.defaults);
        let estimate = self.read(caller.user()?, how, Some(id), &mut table).await?;
        let caller = with_body(caller, table.sha256().await?);
        Ok((self.start(&caller, id, &estimate).await?, estimate))
    }

    async fn begin(&self, caller: &Caller, new: &NewBatch) -> Result<Id<kinds::Batch>> {
        let principal = caller.principal()?;
        let api_key = match principal.acting {
            Some(Acting { by: Actor::Key(key), .. }) => Some(key),
            _ => None,
        };
        self.db
            .run("batch.begin", |tx| async move {
                let batch = Batch {
                    id: tx.world().id(),
                    organization: principal.user,
                    name: new.name.clone(),
                    state: State::Receiving,
                    person: principal.person(),
                    api_key,
                    defaults: new.defaults,
                    budget: new.budget,
                    created_at: tx.now(),
                    ended_at: None,
                };
                store::insert(&tx, &batch).await?;
                Ok(batch.id)
            })
            .await
    }

    async fn start(
        &self,
        caller: &Caller,
        id: Id<kinds::Batch>,
        estimate: &Estimate,
    ) -> Result<Id<kinds::Batch>> {
        self.db
            .once(caller, "batch.submit", |tx| async move {
                if !store::set_state(&tx, id, State::Receiving, State::Running).await? {
                    return Err(Error::gone("batch_given_up", "The table took too long."));
                }
                enqueue(&tx, id)?;
                let fact = Fact::by(caller, "batch.submitted").on(id);
                tx.record(fact.with("good", estimate.good).with("bad", estimate.bad));
                Ok(id)
            })
            .await
    }

    /// Nothing is left of a table that did not come in, but that it was there.
    async fn give_up(&self, id: Id<kinds::Batch>) -> Result<()> {
        let broken = self
            .db
            .run("batch.give_up", |tx| async move {
                store::set_state(&tx, id, State::Receiving, State::Broken).await
            })
            .await?;
        if !broken {
            return Ok(());
        }
        // Rows are written and deleted in their order, without gaps: the first stretch without any
        // is the end.
        let Some(first) = store::first_row(&self.db, id).await? else { return Ok(()) };
        let mut behind = first - 1;
        loop {
            let stretch = (behind, behind + DELETED_TOGETHER);
            let delete = |tx: Tx| async move { store::delete_rows(&tx, id, stretch).await };
            if self.db.run("batch.delete_rows", delete).await? == 0 {
                return Ok(());
            }
            behind = stretch.1;
        }
    }

    /// Gives up tables that have stopped coming in, as those of a process that died; answers how
    /// many.
    pub async fn sweep(&self) -> Result<usize> {
        let stalled = store::stalled(&self.db, self.db.world().now() - STALLED).await?;
        for id in &stalled {
            self.give_up(*id).await?;
        }
        Ok(stalled.len())
    }

    /// Leaves a job for batches that run and have none: theirs has failed too often, and its dead
    /// letter holds up no batch.
    pub async fn resume(&self) -> Result<()> {
        let mut behind = Id::from_uuid(Uuid::nil());
        loop {
            let running = store::running(&self.db, behind, RESUMED_TOGETHER).await?;
            let Some(last) = running.last() else { return Ok(()) };
            behind = *last;
            let running = &running;
            self.db
                .run("batch.resume", |tx| async move {
                    running.iter().try_for_each(|id| enqueue(&tx, *id))
                })
                .await?;
        }
    }

    /// The organization's batches, newest first.
    pub async fn list(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Batch>> {
        store::list(&self.db, caller.user()?, page).await
    }

    /// One of the organization's batches, and how far it is.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn find(&self, caller: &Caller, id: Id<kinds::Batch>) -> Result<View> {
        let batch = self.owned(&self.db, caller, id).await?;
        let counts = store::counts(&self.db, id).await?;
        let spent = store::spent(&self.db, id).await?;
        Ok(View { batch, counts, spent })
    }

    /// Its rows, in their order.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn rows(
        &self,
        caller: &Caller,
        id: Id<kinds::Batch>,
        state: Option<RowState>,
        page: &PageRequest,
    ) -> Result<Page<Row>> {
        self.owned(&self.db, caller, id).await?;
        store::rows(&self.db, id, state, page).await
    }

    /// Does failed rows again where that can help; with another budget, where one is given.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` while it is not at its end, `nothing_to_retry`,
    /// `budget_spent`.
    pub async fn retry(
        &self,
        caller: &Caller,
        id: Id<kinds::Batch>,
        budget: Option<i64>,
    ) -> Result<View> {
        self.db
            .run("batch.retry", |tx| async move {
                let batch = self.owned(&tx, caller, id).await?;
                if batch.state != State::Completed {
                    return Err(wrong_state(&batch, "tried again"));
                }
                if let Some(budget) = budget
                    && !store::set_budget(&tx, id, budget).await?
                {
                    let message = "The batch has no budget, or has spent more than this already.";
                    return Err(Error::conflict("budget_spent", message));
                }
                let rows = store::requeue(&tx, id).await?;
                if rows == 0 {
                    let message = "No failed row would be done by trying it again as it is.";
                    return Err(Error::conflict("nothing_to_retry", message));
                }
                store::set_state(&tx, id, State::Completed, State::Running).await?;
                enqueue(&tx, id)?;
                tx.record(Fact::by(caller, "batch.retried").on(id).with("rows", rows));
                Ok(())
            })
            .await?;
        self.find(caller, id).await
    }

    /// Calls off the rows that wait. What is done stays so: each verification can be cancelled by
    /// itself.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` at its end.
    pub async fn cancel(&self, caller: &Caller, id: Id<kinds::Batch>) -> Result<View> {
        self.db
            .run("batch.cancel", |tx| async move {
                let batch = self.owned(&tx, caller, id).await?;
                if !store::set_state(&tx, id, State::Running, State::Cancelled).await? {
                    return Err(wrong_state(&batch, "cancelled"));
                }
                let rows = store::call_off(&tx, id).await?;
                tx.record(Fact::by(caller, "batch.cancelled").on(id).with("rows", rows));
                Ok(())
            })
            .await?;
        self.find(caller, id).await
    }

    async fn owned(
        &self,
        db: &impl platform::db::Read,
        caller: &Caller,
        id: Id<kinds::Batch>,
    ) -> Result<Batch> {
        let organization = caller.user()?;
        let found = store::get(db, id).await?;
        let theirs = found.filter(|batch| batch.organization == organization);
        theirs.ok_or_else(|| Error::not_found("batch"))
    }

    /// Does the next rows of a batch. A job that dies half way leaves rows that are done and rows
    /// that wait, and another one goes on with these.
    pub(super) async fn work(&self, id: Id<kinds::Batch>, run: &Run) -> Result<()> {
        let batch = store::get(&self.db, id).await?;
        let batch = batch.filter(|batch| batch.state == State::Running);
        let mut is_told = false;
        if let Some(batch) = &batch {
            let caller = &caller_of(batch);
            if !self.may_act(batch).await? {
                self.cancel(caller, id).await?;
            }
            is_told = self.do_rows(caller, batch).await?;
        }
        self.db
            .run("batch.work", |tx| async move {
                let batch = store::get(&tx, id).await?.filter(|b| b.state == State::Running);
                let Some(batch) = batch else { return run.done_in(&tx).await };
                if store::queued(&tx, id, 1).await?.is_empty() {
                    self.complete(&tx, id).await?;
                } else {
                    if is_told {
                        tell(&tx, &batch, "batch.progressed").await?;
                    }
                    enqueue(&tx, id)?;
                }
                run.done_in(&tx).await
            })
            .await
    }

    async fn complete(&self, tx: &Tx, id: Id<kinds::Batch>) -> Result<()> {
        if let Some(batch) = store::get(tx, id).await?
            && store::set_state(tx, id, State::Running, State::Completed).await?
        {
            tell(tx, &batch, "batch.completed").await?;
        }
        Ok(())
    }

    /// An organization that may not act any more spends no more.
    async fn may_act(&self, batch: &Batch) -> Result<bool> {
        match self.users.profile(batch.organization).await {
            Ok(profile) => Ok(profile.status == Status::Active),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Does the next rows; whether with these the batch has come so far that it is told.
    async fn do_rows(&self, caller: &Caller, batch: &Batch) -> Result<bool> {
        let rows = store::queued(&self.db, batch.id, CHUNK).await?;
        let at_once = if self.db.is_shared() { 1 } else { SIDE_BY_SIDE };
        // Boxed: they are large, and as many as a chunk has rows.
        let work: Vec<_> = rows.iter().map(|row| self.do_row(caller, batch, row).boxed()).collect();
        let (mut waiting, mut running) = (work.into_iter(), FuturesUnordered::new());
        let (until, mut begun) = (self.db.world().now() + PATIENCE, 0);
        loop {
            // A job that does one row at least comes to its end.
            let in_time = begun == 0 || self.db.world().now() < until;
            if in_time
                && running.len() < at_once
                && let Some(row) = waiting.next()
            {
                running.push(row);
                begun += 1;
                continue;
            }
            match running.next().await {
                // What is not possible now is tried again with the job, later and later.
                Some(outcome) => outcome?,
                None => break,
            }
        }
        let done = rows.get(..begun).unwrap_or_default();
        let places = done.first().map(|row| row.place).zip(done.last().map(|row| row.place));
        Ok(places.is_some_and(|(first, last)| is_told(first, last)))
    }

    async fn do_row(&self, caller: &Caller, batch: &Batch, row: &Row) -> Result<()> {
        let outcome = match row.cells.as_ref().map(|cells| cells.commission(&batch.defaults)) {
            Some(Ok(asked)) => self.request(caller, batch, row.place, &asked).await,
            Some(Err(problem)) => return self.fail(batch, row.place, &problem).await,
            None => Err(Error::internal("a row waits without its cells")),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if error.code() == TAKEN => Ok(()),
            Err(error) if error.kind() == Kind::Unavailable => Err(error),
            Err(error) => {
                if error.kind() == Kind::Internal {
                    tracing::error!(%error, batch = %batch.id, row = row.place, "a row failed");
                }
                self.fail(batch, row.place, &Problem::of(&error)).await
            }
        }
    }

    async fn request(
        &self,
        caller: &Caller,
        batch: &Batch,
        place: i64,
        asked: &commission::model::NewCommission,
    ) -> Result<()> {
        let row = (batch.id, place);
        self.db
            .run("batch.row", |tx| {
                Box::pin(async move {
                    let made = self.commissions.request_in(&tx, caller, asked, Some(row)).await?;
                    let price = made.verification.price();
                    if batch.budget.is_some() && !store::spend(&tx, batch.id, price).await? {
                        let message = "The budget of the batch does not cover this row.";
                        return Err(Error::conflict("budget_exceeded", message));
                    }
                    // Whoever else had this row has ended it, and all of this is undone.
                    if !store::done(&tx, row, made.verification.id, price).await? {
                        return Err(Error::conflict(TAKEN, "Somebody else has done this row."));
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn fail(&self, batch: &Batch, place: i64, why: &Problem) -> Result<()> {
        let row = (batch.id, place);
        self.db
            .run("batch.row_failed", |tx| async move { store::failed(&tx, row, why).await })
            .await
            .map(drop)
    }
}

/// Leaves the next rows of a batch to a job, unless one has them already.
fn enqueue(tx: &Tx, id: Id<kinds::Batch>) -> Result<()> {
    tx.enqueue(NewJob::new(&Work { batch: id })?.unique(id.to_string()));
    Ok(())
}

/// Whether progress is told after these rows: at the first thousand each time, and then at each
/// thousand. Rows are counted for it, and a hundred thousand are not counted five hundred times.
const fn is_told(first: i64, last: i64) -> bool {
    last <= 1_000 || first / 1_000 != last / 1_000
}

/// Tells the organization how far its batch is: whoever listens to its events sees it move.
async fn tell(tx: &Tx, batch: &Batch, verb: &'static str) -> Result<()> {
    let counts = store::counts(tx, batch.id).await?;
    let fact = Fact::by(&Caller::nobody(), verb).on(batch.id).about(batch.organization);
    let fact = fact.with("done", counts.done).with("failed", counts.failed);
    tx.record(fact.with("total", counts.total()));
    Ok(())
}

/// A row that was done by another worker.
const TAKEN: &str = "row_taken";

fn wrong_state(batch: &Batch, done: &str) -> Error {
    let status = batch.state.as_str();
    let message = format!("This batch is {status}: it cannot be {done} now.");
    Error::conflict("wrong_state", message)
        .with_member("state", status)
        .with_member("allowed", batch.state.allowed())
}

/// Who has sent a batch, for the facts of its rows: the request is over, and its origin with it.
fn caller_of(batch: &Batch) -> Caller {
    let may = Permissions::of(&[Permission::VerificationsWrite]);
    let by = match batch.api_key {
        Some(key) => Some(Actor::Key(key)),
        None if batch.person == batch.organization => None,
        None => Some(Actor::Member(batch.person)),
    };
    Caller::of(Principal {
        acting: by.map(|by| Acting { by, may }),
        ..Principal::new(batch.organization, Role::Enterprise, batch.id.same_as())
    })
}
