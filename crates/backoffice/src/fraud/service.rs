//! The verbs.

use futures_util::future::BoxFuture;
use kernel::id::kinds::{Alert as AlertKind, User};
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::db::{Db, Tx};
use platform::journal::Fact;

use super::model::{Alert, AlertState, Rule};
use super::store;

/// What a rule that enforces does.
pub trait Brake: Send + Sync {
    /// Freezes somebody's wallet until an admin thaws it. Doing it twice changes nothing more.
    fn freeze<'a>(&'a self, tx: &'a Tx, person: Id<User>) -> BoxFuture<'a, Result<()>>;
}

/// Alerts, for admins. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) db: Db,
}

impl Service {
    /// Newest first.
    pub async fn list(
        &self,
        state: Option<AlertState>,
        rule: Option<Rule>,
        page: &PageRequest,
    ) -> Result<Page<Alert>> {
        store::list(&self.db, state, rule, page).await
    }

    /// One alert.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: Id<AlertKind>) -> Result<Alert> {
        store::get(&self.db, id).await?.ok_or_else(unknown)
    }

    /// Says that there is nothing to it.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` when it is dismissed.
    pub async fn dismiss(&self, caller: &Caller, id: Id<AlertKind>, note: &str) -> Result<Alert> {
        self.decide(caller, id, AlertState::Dismissed, note).await
    }

    /// Says that somebody has to look into it.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` unless it is open.
    pub async fn escalate(&self, caller: &Caller, id: Id<AlertKind>, note: &str) -> Result<Alert> {
        self.decide(caller, id, AlertState::Escalated, note).await
    }

    async fn decide(
        &self,
        caller: &Caller,
        id: Id<AlertKind>,
        to: AlertState,
        note: &str,
    ) -> Result<Alert> {
        let admin = caller.user()?;
        self.db
            .run("fraud.decide", |tx| async move {
                let alert = store::get(&tx, id).await?.ok_or_else(unknown)?;
                let verb = match (alert.state, to) {
                    (AlertState::Open, AlertState::Escalated) => "alert.escalated",
                    (AlertState::Open | AlertState::Escalated, AlertState::Dismissed) => {
                        "alert.dismissed"
                    }
                    _ => return Err(wrong_state()),
                };
                if !store::decide(&tx, id, alert.state, to, note, admin).await? {
                    return Err(wrong_state());
                }
                tx.record(Fact::by(caller, verb).on(id).with("rule", alert.rule));
                store::get(&tx, id).await?.ok_or_else(unknown)
            })
            .await
    }

    /// Forgets what no rule looks at any more.
    pub async fn prune(&self) -> Result<u64> {
        self.db.run("fraud.prune", |tx| async move { store::prune(&tx).await }).await
    }
}

fn unknown() -> Error {
    Error::not_found("fraud alert")
}

fn wrong_state() -> Error {
    Error::conflict("wrong_state", "This alert has been decided about.")
}
