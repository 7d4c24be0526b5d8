//! From facts to notifications.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Result;
use platform::db::Tx;
use platform::journal::{Reader, Recorded};

use super::rules::Template;
use super::store;

/// Follows the journal and tells users what concerns them.
#[derive(Debug)]
pub struct Notifier;

impl Reader for Notifier {
    fn name(&self) -> &'static str {
        "messaging.notifications"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            for fact in facts {
                let Some(template) = Template::of(fact) else { continue };
                for user in fact.parties(tx).await? {
                    if template.is_for(user, fact) {
                        store::insert(tx, user, fact, template).await?;
                    }
                }
            }
            Ok(())
        }
        .boxed()
    }
}
