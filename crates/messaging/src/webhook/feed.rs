//! From facts to deliveries.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::Id;
use kernel::Result;
use kernel::id::kinds::User;
use platform::db::Tx;
use platform::journal::{Reader, Recorded};

use super::catalogue::{self, TESTED};
use super::model::{Endpoint, State};
use super::{service, store};

/// Follows the journal and puts what organizations want to know on its way to them.
#[derive(Debug)]
pub struct Feed;

impl Reader for Feed {
    fn name(&self) -> &'static str {
        "messaging.webhooks"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        read(tx, facts).boxed()
    }
}

async fn read(tx: &Tx, facts: &[Recorded]) -> Result<()> {
    let told: Vec<_> = facts.iter().filter(|fact| catalogue::find(&fact.verb).is_some()).collect();
    // Most platforms have no webhook, and most facts are nobody's who has one.
    if told.is_empty() || !store::is_any(tx).await? {
        return Ok(());
    }
    let mut known: HashMap<Id<User>, Vec<Endpoint>> = HashMap::new();
    let mut woken = Vec::new();
    for fact in told {
        for party in fact.parties(tx).await? {
            let endpoints = match known.entry(party) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(store::all_of(tx, party).await?),
            };
            for endpoint in endpoints.iter().filter(|endpoint| wants(endpoint, fact)) {
                store::add(tx, endpoint.id, fact).await?;
                if !woken.contains(&endpoint.id) {
                    woken.push(endpoint.id);
                }
            }
        }
    }
    // In one order everywhere: two transactions that wake the same endpoints must not wait for each
    // other.
    woken.sort_unstable();
    for endpoint in woken {
        service::wake(tx, endpoint).await?;
    }
    Ok(())
}

/// Whether an endpoint is told of a fact that concerns its organization.
pub(super) fn wants(endpoint: &Endpoint, fact: &Recorded) -> bool {
    if endpoint.state != State::Enabled {
        return false;
    }
    if fact.verb == TESTED {
        return fact.subject == endpoint.id.to_string();
    }
    // Nobody is told of what happened before they asked.
    fact.at >= endpoint.created_at && endpoint.events.includes(&fact.verb)
}
