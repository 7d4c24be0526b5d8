//! The verbs.

use std::time::Duration;

use kernel::id::kinds::Proposal as ProposalKind;
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::db::Db;
use platform::journal::Fact;
use platform::live::Live;

use super::model::{Among, NewProposal, Proposal, Status, Tally, Vote};
use super::{rules, store};
use crate::setting;

/// How proposals made from now on are voted on.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How many must vote.
    pub quorum: Live<i64>,
    pub voting: Live<Duration>,
}

impl Default for Policy {
    /// Two voters, and a week.
    fn default() -> Self {
        Self { quorum: 2.into(), voting: Duration::from_secs(7 * 24 * 3600).into() }
    }
}

/// Proposals. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) db: Db,
    pub(crate) settings: setting::Service,
    pub(crate) policy: Policy,
}

/// A proposal as somebody sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub proposal: Proposal,
    pub status: Status,
    /// What the one who looks has voted; none also in lists.
    pub own: Option<Vote>,
}

impl Service {
    /// Proposes a change of settings.
    ///
    /// # Errors
    /// Field errors below `/values` for what no setting takes.
    pub async fn propose(&self, caller: &Caller, new: &NewProposal) -> Result<Seen> {
        self.settings.check(&new.changes)?;
        let proposer = caller.user()?;
        let (quorum, voting) = (self.policy.quorum.get(), self.policy.voting.get());
        let id = self
            .db
            .once(caller, "proposal.create", |tx| async move {
                let proposal = Proposal {
                    id: tx.world().id(),
                    title: new.title.clone(),
                    description: new.description.clone(),
                    changes: new.changes.clone(),
                    proposer,
                    quorum,
                    closes_at: tx.now() + voting,
                    settings_version: None,
                    executed_by: None,
                    executed_at: None,
                    created_at: tx.now(),
                    tally: Tally::default(),
                };
                store::insert(&tx, &proposal).await?;
                let fact = Fact::by(caller, "proposal.created").on(proposal.id);
                tx.record(fact.with("changes", &new.changes).with("quorum", quorum));
                Ok(proposal.id)
            })
            .await?;
        self.get(caller, id).await
    }

    /// Newest first.
    pub async fn list(&self, among: Among, page: &PageRequest) -> Result<Page<Seen>> {
        let now = self.db.world().now();
        let page = store::list(&self.db, among, now, page).await?;
        Ok(page.map(|proposal| Seen { status: rules::status(&proposal, now), proposal, own: None }))
    }

    /// One of them, with the caller's own vote.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, caller: &Caller, id: Id<ProposalKind>) -> Result<Seen> {
        let proposal = store::get(&self.db, id).await?.ok_or_else(unknown)?;
        let own = store::vote_of(&self.db, id, caller.user()?).await?;
        let status = rules::status(&proposal, self.db.world().now());
        Ok(Seen { proposal, status, own })
    }

    /// Votes, or votes otherwise.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `proposal_closed` after the deadline.
    pub async fn vote(&self, caller: &Caller, id: Id<ProposalKind>, vote: Vote) -> Result<Seen> {
        let voter = caller.user()?;
        self.db
            .run("proposal.vote", |tx| async move {
                store::get(&tx, id).await?.ok_or_else(unknown)?;
                if !store::touch_open(&tx, id).await? {
                    let message = "The deadline for votes is over.";
                    return Err(Error::conflict("proposal_closed", message));
                }
                store::vote(&tx, id, voter, vote).await?;
                tx.record(Fact::by(caller, "proposal.voted").on(id).with("vote", vote));
                Ok(())
            })
            .await?;
        self.get(caller, id).await
    }

    /// Carries out what has passed.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `proposal_open`, `proposal_rejected`, `wrong_state` when it was
    /// executed; field errors where a setting has changed so that it no longer takes the value.
    pub async fn execute(&self, caller: &Caller, id: Id<ProposalKind>) -> Result<Seen> {
        let by = caller.user()?;
        self.db
            .run("proposal.execute", |tx| async move {
                store::get(&tx, id).await?.ok_or_else(unknown)?;
                // First, so that no vote comes in and nobody else executes while it is counted.
                let is_first = store::execute(&tx, id, by).await?;
                let executed = store::get(&tx, id).await?.ok_or_else(unknown)?;
                let before = Proposal {
                    executed_at: executed.executed_at.filter(|_| !is_first),
                    ..executed
                };
                rules::may_execute(rules::status(&before, tx.now()))?;
                self.settings.check(&before.changes)?;
                let version =
                    self.settings.change_in(&tx, caller, &before.changes, Some(id)).await?;
                store::set_version(&tx, id, version).await?;
                tx.record(Fact::by(caller, "proposal.executed").on(id).with("version", version));
                Ok(())
            })
            .await?;
        self.settings.reload().await?;
        self.get(caller, id).await
    }
}

fn unknown() -> Error {
    Error::not_found("proposal")
}
