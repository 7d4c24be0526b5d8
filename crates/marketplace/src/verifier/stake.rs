//! What verifiers have staked, for the marketplace's list: it follows the facts about stakes.

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds;
use kernel::{Asset, Id, Result};
use platform::db::Tx;
use platform::journal::{Reader, Recorded};

use super::store;

/// Looks at what is staked after each change of it, rather than adding up: reading a fact twice
/// changes nothing.
pub struct Follower {
    pub(crate) bonds: money::staking::Service,
}

impl Reader for Follower {
    fn name(&self) -> &'static str {
        "marketplace.stakes"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            for fact in facts.iter().filter(|fact| is_of_stakes(&fact.verb)) {
                let owner = fact.subject.parse::<Id<kinds::User>>().ok();
                let asset = fact.data["currency"].as_str().and_then(|it| it.parse::<Asset>().ok());
                if let Some((owner, asset)) = owner.zip(asset) {
                    let staked = self.bonds.staked(tx, owner, asset).await?;
                    store::set_staked(tx, owner.same_as(), staked).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }
}

fn is_of_stakes(verb: &str) -> bool {
    verb.starts_with("stake.") || verb.starts_with("unstake.")
}
