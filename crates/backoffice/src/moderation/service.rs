//! The verbs.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kernel::id::kinds;
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::db::{Db, Tx};
use platform::journal::Fact;

use super::model::{Action, Flag, NewFlag, State, Subject};
use super::rules;
use super::store::{self, Filter};

/// A thing that may be flagged.
#[derive(Debug, Clone)]
pub struct Found {
    /// Whose it is.
    pub holder: Id<kinds::User>,
    /// What of it an admin has to see, also when it is gone; may be empty.
    pub excerpt: String,
}

/// What is done to a thing or to whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sanction {
    Remove,
    Revoke,
    Suspend,
}

/// Those who keep what can be flagged.
pub trait Owners: Send + Sync {
    /// What `by` sees under an id.
    ///
    /// # Errors
    /// `NotFound`, also for what somebody else sees.
    fn find<'a>(&'a self, by: &'a Caller, subject: Subject) -> BoxFuture<'a, Result<Found>>;

    /// Does something about it, with its own fact, in the transaction of the decision.
    ///
    /// # Errors
    /// `NotFound` where it is gone; `Conflict` where it cannot be done.
    fn carry_out<'a>(
        &'a self,
        tx: &'a Tx,
        by: &'a Caller,
        sanction: Sanction,
        flag: &'a Flag,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<()>>;
}

/// Flags. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) db: Db,
    pub(crate) owners: Arc<dyn Owners>,
}

impl Service {
    /// Raises a flag.
    ///
    /// # Errors
    /// `NotFound` for what the caller does not see; `Conflict` `own_thing`, `flag_exists`,
    /// `too_many_flags`.
    pub async fn raise(&self, caller: &Caller, new: &NewFlag) -> Result<Flag> {
        let reporter = caller.user()?;
        let found = &self.owners.find(caller, new.subject).await?;
        if found.holder == reporter {
            return Err(Error::conflict("own_thing", "This is your own."));
        }
        self.db
            .once(caller, "flag.raise", |tx| async move {
                if store::open_of(&tx, reporter).await? >= rules::OPEN_MAX {
                    let message = "Many of your flags are open. Wait until they are looked at.";
                    return Err(Error::conflict("too_many_flags", message));
                }
                let flag = Flag {
                    id: tx.world().id(),
                    subject: new.subject.to_string(),
                    kind: new.subject.kind(),
                    holder: found.holder,
                    excerpt: found.excerpt.clone(),
                    reporter,
                    reason: new.reason,
                    details: new.details.clone(),
                    state: State::Open,
                    action: None,
                    resolution: None,
                    resolved_by: None,
                    created_at: tx.now(),
                    resolved_at: None,
                };
                if !store::insert(&tx, &flag).await? {
                    let message = "You have flagged this already. It is going to be looked at.";
                    return Err(Error::conflict("flag_exists", message));
                }
                // About nobody else: whose it is must not learn who has flagged it.
                tx.record(
                    Fact::by(caller, "flag.raised")
                        .on(flag.id)
                        .with("subject", &flag.subject)
                        .with("reason", flag.reason),
                );
                Ok(flag)
            })
            .await
    }

    /// Flags for admins, newest first, each with how many are open about the same thing.
    pub async fn list(&self, filter: &Filter, page: &PageRequest) -> Result<Page<(Flag, i64)>> {
        store::list(&self.db, filter, page).await
    }

    /// Decides about the thing of a flag: all open flags of it are answered.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` when it is resolved; `Forbidden` `own_flag`; a field
    /// error on `/action`; what the thing's owner refuses.
    pub async fn resolve(
        &self,
        caller: &Caller,
        id: Id<kinds::Flag>,
        action: Action,
        reason: &str,
    ) -> Result<Flag> {
        let admin = caller.user()?;
        self.db
            .once(caller, "flag.resolve", |tx| async move {
                let flag = store::get(&tx, id).await?.ok_or_else(unknown)?;
                rules::allow(flag.kind, action)?;
                let state = match action {
                    Action::Dismiss => State::Dismissed,
                    _ => State::Upheld,
                };
                // First, so that of two admins at once the second waits here and finds nothing.
                let reporters =
                    store::resolve(&tx, &flag.subject, state, action, reason, admin).await?;
                if flag.state != State::Open || reporters.is_empty() {
                    let message = "This flag has been resolved.";
                    return Err(Error::conflict("wrong_state", message));
                }
                if reporters.contains(&admin) || flag.holder == admin {
                    let message = "Somebody else has to decide about what you have flagged.";
                    return Err(Error::forbidden("own_flag", message));
                }
                let fact = Fact::by(caller, "flag.resolved").on(id).with("action", action);
                let fact = fact.with("subject", &flag.subject).with("flags", reporters.len());
                tx.record(reporters.into_iter().fold(fact, Fact::about));
                self.carry_out(&tx, caller, action, &flag, reason).await?;
                store::get(&tx, id).await?.ok_or_else(unknown)
            })
            .await
    }

    async fn carry_out(
        &self,
        tx: &Tx,
        caller: &Caller,
        action: Action,
        flag: &Flag,
        reason: &str,
    ) -> Result<()> {
        let sanction = match action {
            Action::Dismiss => return Ok(()),
            Action::Warn => {
                let fact = Fact::by(caller, "user.warned").on(flag.holder).about(flag.holder);
                tx.record(fact.with("subject", &flag.subject).with("reason", flag.reason));
                return Ok(());
            }
            Action::Remove => Sanction::Remove,
            Action::Revoke => Sanction::Revoke,
            Action::Suspend => Sanction::Suspend,
        };
        self.owners.carry_out(tx, caller, sanction, flag, reason).await
    }
}

fn unknown() -> Error {
    Error::not_found("flag")
}
