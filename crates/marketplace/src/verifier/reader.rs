//! How the marketplace learns of verifiers: it follows the journal's facts about users.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds;
use kernel::{Id, Result, Role};
use platform::db::Tx;
use platform::journal::{Reader, Recorded};

use super::store;
use crate::verification;

/// How long jobs wait for a verifier who was suspended.
pub(crate) const SUSPENDED_MAX: Duration = Duration::from_secs(3 * 24 * 3600);

/// Knows verifiers from their registration on, and shows them while they are approved and not
/// suspended; what an overturned verdict costs of their reputation, they lose here, once. Whoever has
/// asked one who was banned does not wait for them, nor for one who is suspended longer than
/// [`SUSPENDED_MAX`]. It waits for nothing but the database: names come later, see [`super::service`].
pub struct Follower;

impl Reader for Follower {
    fn name(&self) -> &'static str {
        "marketplace.verifiers"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            for fact in facts {
                follow(tx, fact).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

async fn follow(tx: &Tx, fact: &Recorded) -> Result<()> {
    if fact.verb == "verification.overturned" {
        let verifier = fact.data["verifier"].as_str().and_then(|id| id.parse().ok());
        return match verifier {
            Some(verifier) => store::lose_reputation(tx, verifier).await,
            None => Ok(()),
        };
    }
    if !fact.verb.starts_with("user.") {
        return Ok(());
    }
    let Ok(user) = fact.subject.parse::<Id<kinds::User>>() else { return Ok(()) };
    let id = user.same_as();
    if fact.data["role"] == Role::Verifier.as_str() {
        let approved = fact.data["approved"].as_bool().unwrap_or_default();
        store::know(tx, id, approved, fact.at).await?;
    }
    // Of users who are no verifiers there is no row, and these touch none.
    match fact.verb.as_str() {
        "user.approved" => store::set_approved(tx, id, true).await,
        "user.rejected" => store::set_approved(tx, id, false).await,
        "user.suspended" => {
            verification::store::hurry(tx, id, fact.at + SUSPENDED_MAX).await?;
            store::set_suspended(tx, id, true).await
        }
        "user.banned" => {
            verification::store::hurry(tx, id, fact.at).await?;
            store::set_suspended(tx, id, true).await
        }
        // Who has closed their account may have it opened again; the erasure comes by itself.
        "user.closed" => store::set_suspended(tx, id, true).await,
        "user.unsuspended" | "user.unbanned" => store::set_suspended(tx, id, false).await,
        // It stands as it stood before: a ban outlives being closed.
        "user.reopened" => {
            let is_active = fact.data["status"] == "active";
            store::set_suspended(tx, id, !is_active).await
        }
        "user.deleted" => store::forget(tx, id).await,
        _ => Ok(()),
    }
}
