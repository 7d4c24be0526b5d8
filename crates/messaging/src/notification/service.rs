//! What users do with their notifications.

use std::sync::Arc;

use kernel::id::kinds::Notification as NotificationKind;
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::db::Db;
use platform::journal::Fact;

use super::model::Notification;
use super::store;
use crate::stream::Hub;

/// The verbs of notifications. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    db: Db,
    hub: Arc<Hub>,
}

impl Service {
    pub(crate) fn new(db: Db, hub: Arc<Hub>) -> Self {
        Self { db, hub }
    }

    /// Where those listen who want to be told at once.
    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The caller's notifications, newest first.
    pub async fn list(
        &self,
        caller: &Caller,
        only_unread: bool,
        page: &PageRequest,
    ) -> Result<Page<Notification>> {
        store::list(&self.db, caller.user()?, only_unread, page).await
    }

    /// Marks one as read; doing it again changes nothing.
    ///
    /// # Errors
    /// Not found, also for another user's.
    pub async fn read(&self, caller: &Caller, id: Id<NotificationKind>) -> Result<()> {
        let user = caller.user()?;
        self.db
            .run("notification.read", |tx| async move {
                if !store::is_of(&tx, id, user).await? {
                    return Err(Error::not_found("notification"));
                }
                if store::mark_read(&tx, id).await? {
                    tx.record(Fact::by(caller, "notification.read").on(id));
                }
                Ok(())
            })
            .await
    }

    /// Marks all as read; answers how many were not.
    pub async fn read_all(&self, caller: &Caller) -> Result<u64> {
        let user = caller.user()?;
        self.db
            .run("notification.read_all", |tx| async move {
                let unread = store::mark_all_read(&tx, user).await?;
                if unread > 0 {
                    let fact = Fact::by(caller, "notification.all_read").on(user);
                    tx.record(fact.with("notifications", unread));
                }
                Ok(unread)
            })
            .await
    }
}
