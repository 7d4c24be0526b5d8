//! From facts to notifications.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use platform::db::Tx;
use platform::journal::{Reader, Recorded};

use super::rules::Template;
use super::store;
use crate::stream::Hub;

/// Follows the journal and tells users what concerns them.
pub struct Notifier {
    hub: Arc<Hub>,
}

impl Notifier {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }
}

impl Reader for Notifier {
    fn name(&self) -> &'static str {
        "messaging.notifications"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            let mut told = false;
            for fact in facts {
                let Some(template) = Template::of(fact) else { continue };
                for user in fact.parties(tx).await? {
                    if template.is_for(user, fact) {
                        store::insert(tx, user, fact, template).await?;
                        told = true;
                    }
                }
            }
            if told {
                // Not always with the facts' places: a reader that has failed reads later.
                let hub = Arc::clone(&self.hub);
                tx.after_commit(move || hub.ring());
            }
            Ok(())
        }
        .boxed()
    }
}
