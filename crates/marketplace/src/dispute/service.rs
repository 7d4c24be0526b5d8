//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use documents::file;
use kernel::id::kinds;
use kernel::{Caller, Error, Id, Kind, Page, PageRequest, Result, Role};
use platform::db::{Db, Tx};
use platform::journal::{self, Fact};
use rpc::users::{Status, Users};

use super::model::{Dispute, Evidence, Ground, NewEvidence, Ruling, State};
use super::rules::{self, Command, Party, Refusal};
use super::store::{self, Whose};
use crate::verification;

/// Pieces of evidence that one side may give.
const EVIDENCE_MAX: i64 = 50;
/// Disputes that the timer looks at in one go.
const DUE_BATCH: i64 = 100;

/// Disputes.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) users: Arc<dyn Users>,
    pub(crate) verifications: Arc<verification::Service>,
    pub(crate) files: documents::file::Service,
    /// How long a decision can be appealed before it is carried out.
    pub(crate) appeal_window: Duration,
}

impl Service {
    /// The owner of a credential contests the verdict about it, or the verifier their own, and says
    /// why.
    ///
    /// # Errors
    /// Those of [`verification::Service::contest`]; a field error at `/fileId`.
    pub async fn open(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        ground: Ground,
        evidence: &NewEvidence,
    ) -> Result<Dispute> {
        self.db
            .once(caller, "dispute.open", |tx| {
                Box::pin(async move {
                    let opener = caller.user()?;
                    let contested = self.verifications.contest(&tx, caller, id).await?;
                    let dispute_id = tx.world().id();
                    self.take_file(&tx, caller, dispute_id, evidence).await?;
                    let dispute = Dispute {
                        id: dispute_id,
                        verification: id,
                        owner: contested.owner,
                        verifier: contested.taken_by()?,
                        ground,
                        state: State::Open,
                        version: 1,
                        assignee: None,
                        resolution: None,
                        refund_bps: None,
                        reasoning: None,
                        decided_by: None,
                        decided_at: None,
                        final_at: None,
                        appealed_by: None,
                        appealed_at: None,
                        opened_at: tx.now(),
                        closed_at: None,
                        opened_by: Some(opener).filter(|opener| *opener != contested.owner),
                    };
                    store::insert(&tx, &dispute).await?;
                    store::insert_evidence(&tx, &dispute, opener, evidence).await?;
                    tx.record(fact(caller, "dispute.opened", &dispute).with("reason", ground));
                    Ok(dispute)
                })
            })
            .await
    }

    /// The disputes that the caller is a side of, newest first.
    pub async fn list(
        &self,
        caller: &Caller,
        state: Option<State>,
        page: &PageRequest,
    ) -> Result<Page<Dispute>> {
        store::list(&self.db, Whose::Side(caller.user()?), state, page).await
    }

    /// A dispute that the caller is a side of, with all that was said.
    pub async fn find(
        &self,
        caller: &Caller,
        id: Id<kinds::Dispute>,
    ) -> Result<(Dispute, Vec<Evidence>)> {
        let (dispute, evidence) = self.look(id).await?;
        if Party::of(caller, &dispute) != Party::Side {
            return Err(Refusal::NoSuchThing.into());
        }
        Ok((dispute, evidence))
    }

    /// Everybody's disputes, newest first; for admins. Narrowed to the id of a dispute, of its
    /// verification or of a side, or to a ground.
    ///
    /// # Errors
    /// A field error at `/q` for any other text.
    pub async fn search(
        &self,
        sought: Option<&str>,
        state: Option<State>,
        page: &PageRequest,
    ) -> Result<Page<Dispute>> {
        let whose = sought.map_or(Ok(Whose::Everybody), sought_by)?;
        store::list(&self.db, whose, state, page).await
    }

    /// Anybody's dispute; for admins.
    pub async fn look(&self, id: Id<kinds::Dispute>) -> Result<(Dispute, Vec<Evidence>)> {
        let dispute = store::get(&self.db, id).await?.ok_or(Refusal::NoSuchThing)?;
        Ok((dispute, store::evidence(&self.db, id).await?))
    }

    /// A side says or shows something more.
    pub async fn add_evidence(
        &self,
        caller: &Caller,
        id: Id<kinds::Dispute>,
        evidence: &NewEvidence,
    ) -> Result<Dispute> {
        let author = caller.user()?;
        self.db
            .once(caller, "dispute.add_evidence", |tx| async move {
                let mut dispute = act(&tx, caller, id, Command::AddEvidence).await?;
                if store::count_evidence(&tx, id, author).await? >= EVIDENCE_MAX {
                    let message = "You have said as much as can be said in one dispute.";
                    return Err(Error::conflict("too_much_evidence", message));
                }
                self.take_file(&tx, caller, id, evidence).await?;
                store::save(&tx, &mut dispute).await?;
                store::insert_evidence(&tx, &dispute, author, evidence).await?;
                tx.record(fact(caller, "dispute.evidence_added", &dispute));
                Ok(dispute)
            })
            .await
    }

    /// An admin takes a dispute on, or gives it to another admin.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `not_yours_to_do`; `Conflict` `wrong_state`; a field error at
    /// `/assigneeId` for who is no active admin, or a side of it, or has acted for one.
    pub async fn assign(
        &self,
        caller: &Caller,
        id: Id<kinds::Dispute>,
        assignee: Id<kinds::User>,
    ) -> Result<Dispute> {
        let is_admin = self.is_admin(assignee).await?;
        self.db
            .once(caller, "dispute.assign", |tx| async move {
                let mut dispute = act(&tx, caller, id, Command::Assign).await?;
                if took_part(&tx, &dispute, caller.user()?).await? {
                    return Err(Refusal::TookPart.into());
                }
                let is_side = assignee == dispute.owner || assignee == dispute.verifier.same_as();
                if !is_admin || is_side || took_part(&tx, &dispute, assignee).await? {
                    let message = "an active admin who is no side of it";
                    return Err(Error::field("/assigneeId", "not_allowed", message));
                }
                dispute.assignee = Some(assignee);
                store::save(&tx, &mut dispute).await?;
                tx.record(fact(caller, "dispute.assigned", &dispute).with("assignee", assignee));
                Ok(dispute)
            })
            .await
    }

    async fn is_admin(&self, user: Id<kinds::User>) -> Result<bool> {
        match self.users.profile(user).await {
            Ok(profile) => Ok(profile.role == Role::Admin && profile.status == Status::Active),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// An admin decides. A first decision is carried out when nobody has appealed it in time; the
    /// decision about an appeal is carried out at once.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `not_yours_to_do`; `Conflict` `wrong_state`.
    pub async fn resolve(
        &self,
        caller: &Caller,
        id: Id<kinds::Dispute>,
        ruling: &Ruling,
    ) -> Result<Dispute> {
        let judge = caller.user()?;
        self.db
            .once(caller, "dispute.resolve", |tx| {
                Box::pin(async move {
                    let mut dispute = act(&tx, caller, id, Command::Resolve).await?;
                    if took_part(&tx, &dispute, judge).await? {
                        return Err(Refusal::TookPart.into());
                    }
                    rules::decide(&mut dispute, ruling, tx.now(), self.appeal_window);
                    dispute.decided_by = Some(judge);
                    store::save(&tx, &mut dispute).await?;
                    tx.record(
                        fact(caller, "dispute.resolved", &dispute)
                            .with("resolution", ruling.resolution)
                            .with("refundBasisPoints", ruling.refund_bps)
                            .with("finalAt", dispute.final_at),
                    );
                    if dispute.state == State::Closed {
                        self.carry_out(&tx, caller, &dispute).await?;
                    }
                    Ok(dispute)
                })
            })
            .await
    }

    /// A side contests the decision, once between them.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state`, and `window_over` from `final_at` on; a field error at
    /// `/fileId`.
    pub async fn appeal(
        &self,
        caller: &Caller,
        id: Id<kinds::Dispute>,
        evidence: &NewEvidence,
    ) -> Result<Dispute> {
        let user = caller.user()?;
        self.db
            .once(caller, "dispute.appeal", |tx| async move {
                let mut dispute = act(&tx, caller, id, Command::Appeal).await?;
                self.take_file(&tx, caller, id, evidence).await?;
                (dispute.appealed_by, dispute.appealed_at) = (Some(user), Some(tx.now()));
                (dispute.final_at, dispute.assignee) = (None, None);
                store::save(&tx, &mut dispute).await?;
                store::insert_evidence(&tx, &dispute, user, evidence).await?;
                tx.record(fact(caller, "dispute.appealed", &dispute));
                Ok(dispute)
            })
            .await
    }

    /// Carries out decisions that nobody has appealed in time; answers how many. Several workers
    /// may do this at once: each dispute is closed once.
    pub async fn close_due(&self) -> Result<u64> {
        let mut closed = 0;
        loop {
            let due = store::due(&self.db, self.db.world().now(), DUE_BATCH).await?;
            let mut moved = 0;
            for id in due {
                match self.close(id).await {
                    Ok(is_mine) => moved += u64::from(is_mine),
                    // An appeal was quicker.
                    Err(error) if error.kind() == Kind::Conflict => {}
                    // One that cannot be closed must not keep the others from it.
                    Err(error) => tracing::error!(%error, dispute = %id, "closing failed"),
                }
            }
            closed += moved;
            if moved == 0 {
                return Ok(closed);
            }
        }
    }

    async fn close(&self, id: Id<kinds::Dispute>) -> Result<bool> {
        let nobody = &Caller::nobody();
        self.db
            .run("dispute.close", |tx| {
                Box::pin(async move {
                    let mut dispute = load(&tx, id).await?;
                    if !rules::is_final(&dispute, tx.now()) {
                        return Ok(false);
                    }
                    dispute.state = rules::step(dispute.state, Party::Timer, Command::Close)?;
                    dispute.closed_at = Some(tx.now());
                    store::save(&tx, &mut dispute).await?;
                    self.carry_out(&tx, nobody, &dispute).await?;
                    Ok(true)
                })
            })
            .await
    }

    /// What was decided, done: with the dispute's own end in one transaction.
    async fn carry_out(&self, tx: &Tx, caller: &Caller, dispute: &Dispute) -> Result<()> {
        let ending = rules::ending(dispute);
        let ending = ending.ok_or_else(|| Error::internal("a dispute ends without a decision"))?;
        self.verifications.conclude(tx, caller, dispute.verification, ending).await?;
        // What was shown is its author's again, to keep or to delete.
        for shown in store::evidence(tx, dispute.id).await?.into_iter().filter_map(|one| one.file) {
            file::end_use(tx, shown, &dispute.id.to_string()).await?;
        }
        tx.record(
            fact(caller, "dispute.closed", dispute)
                .with("resolution", dispute.resolution)
                .with("overturned", ending.overturned),
        );
        Ok(())
    }

    /// Evidence is the author's own file, and nobody else's; it stays until the dispute is closed.
    async fn take_file(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<kinds::Dispute>,
        evidence: &NewEvidence,
    ) -> Result<()> {
        let Some(file) = evidence.file else { return Ok(()) };
        let used_in = id.to_string();
        self.verifications.take_file(tx, caller.user()?, file, ("/fileId", &used_in)).await
    }
}

/// Which disputes an admin looks for by this text.
fn sought_by(text: &str) -> Result<Whose> {
    let text = text.trim();
    let side = text.parse::<Id<kinds::User>>().ok();
    let side = side.or_else(|| text.parse::<Id<kinds::Verifier>>().ok().map(Id::same_as));
    let found = side
        .map(Whose::Side)
        .or_else(|| text.parse().ok().map(Whose::One))
        .or_else(|| text.parse().ok().map(Whose::Of))
        .or_else(|| text.parse().ok().map(Whose::Because));
    found.ok_or_else(|| {
        let message = "the id of a dispute, of a verification or of a side, or a reason such as \
                       wrong_verdict";
        Error::field("/q", "invalid", message)
    })
}

async fn load(tx: &Tx, id: Id<kinds::Dispute>) -> Result<Dispute> {
    Ok(store::get(tx, id).await?.ok_or(Refusal::NoSuchThing)?)
}

/// Whether somebody has acted in the case for one of its sides, as a member of an organization does:
/// who is made an admin afterwards does not judge what they have sent in.
async fn took_part(tx: &Tx, dispute: &Dispute, person: Id<kinds::User>) -> Result<bool> {
    for subject in [dispute.verification.to_string(), dispute.id.to_string()] {
        let filter = journal::Filter {
            actor: Some(person),
            among: rules::OF_SIDES,
            resource: Some(subject),
            ..journal::Filter::default()
        };
        if !journal::search(tx, &filter, &PageRequest::first(1)).await?.items.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Loads a dispute and takes the caller's step; it is still to be saved.
async fn act(
    tx: &Tx,
    caller: &Caller,
    id: Id<kinds::Dispute>,
    command: Command,
) -> Result<Dispute> {
    let mut dispute = load(tx, id).await?;
    let is = dispute.state;
    let taken = rules::step_at(&dispute, Party::of(caller, &dispute), command, tx.now());
    if !matches!(taken, Err(Refusal::NoSuchThing | Refusal::NotTheirs)) {
        let tell = |stale: Error| stale.with_member("state", is.as_str());
        caller.expect(dispute.version).map_err(tell)?;
    }
    dispute.state = taken?;
    Ok(dispute)
}

/// A fact that concerns both sides.
pub(super) fn fact(caller: &Caller, verb: &'static str, dispute: &Dispute) -> Fact {
    Fact::by(caller, verb)
        .on(dispute.id)
        .about(dispute.owner)
        .about(dispute.verifier.same_as())
        .with("status", dispute.state)
        .with("verification", dispute.verification)
}
