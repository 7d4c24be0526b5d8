//! Verdicts that were revoked elsewhere: by the owner, by an admin, by a dispute.

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds;
use kernel::{Id, Result};
use platform::db::Tx;
use platform::journal::{Reader, Recorded};

use super::Service;

/// Follows the revocations of signed credentials.
pub struct Follower;

impl Reader for Follower {
    fn name(&self) -> &'static str {
        "marketplace.revocations"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            for fact in facts.iter().filter(|fact| fact.verb == "credential.revoked") {
                // Recorded on the credential as well, whose id is of another kind.
                if let Ok(issued) = fact.subject.parse::<Id<kinds::Issued>>() {
                    Service::revoked(tx, issued).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }
}
