//! Money that comes by itself: transfers to addresses that wallets have on chains.
//!
//! A transfer that is seen becomes a payment of what was sent: the one that its owner has started
//! and not yet paid, or a new one. From there on it is a payment like any other, fetched from the
//! provider until it is final. A transfer is known by what it is and not by its block, so one that
//! moves to another block is the same payment still.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Caller, Error, Result};
use platform::db::Tx;

use super::model::{Payment, State};
use super::service::{Service, fact};
use super::store;
use crate::provider::{Arrival, Provider, ProviderName};

/// How long a transfer that was seen may take to become final, before nobody asks about it any
/// more unasked.
const SEEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

impl Service {
    /// Looks for transfers at every provider that has addresses of wallets.
    pub(crate) async fn watch(&self) {
        for provider in self.providers().iter().filter(|it| it.capabilities().has_arrivals) {
            if let Err(error) = self.watch_one(provider).await {
                tracing::warn!(%error, provider = %provider.name(), "arrivals cannot be read");
            }
        }
    }

    /// Takes in what has arrived since the last time, page by page: each page and how far it goes
    /// are one transaction.
    pub(super) async fn watch_one(&self, provider: &Arc<dyn Provider>) -> Result<()> {
        let (db, name) = (self.db(), provider.name());
        loop {
            let place = store::place(db, name).await?;
            let found = provider.arrivals(place.as_deref()).await?;
            if place.as_ref() == Some(&found.next) || found.next.is_empty() {
                return Ok(());
            }
            let (place, found) = (&place, &found);
            let is_ours = db
                .run("payment.arrive", |tx| async move {
                    // Whoever moves the place takes the page: nobody else does.
                    if !store::move_place(&tx, name, place.as_deref(), &found.next).await? {
                        return Ok(false);
                    }
                    for arrival in &found.arrivals {
                        arrive(&tx, name, arrival).await?;
                    }
                    Ok(true)
                })
                .await?;
            // A page that somebody else has taken may not be theirs for all to see yet, and there
            // may be more behind it: whoever waits for an arrival looks again.
            if is_ours && found.arrivals.is_empty() {
                return Ok(());
            }
        }
    }
}

async fn arrive(tx: &Tx, provider: ProviderName, arrival: &Arrival) -> Result<()> {
    let Arrival { to, asset, amount, .. } = arrival;
    let Some(owner) = store::owner_of(tx, provider, *asset, to).await? else {
        tracing::error!(%provider, transfer = arrival.provider_ref, "it is to nobody's address");
        return Ok(());
    };
    let Some(amount) = *amount else {
        tracing::warn!(%provider, transfer = arrival.provider_ref, "an amount beyond counting");
        store::insert_arrival(tx, provider, arrival, None).await?;
        return Ok(());
    };
    let waiting = store::waiting(tx, owner, provider, *asset).await?;
    let id = waiting.unwrap_or_else(|| tx.world().id());
    if !store::insert_arrival(tx, provider, arrival, Some(id)).await? {
        return Ok(());
    }
    let payment = Payment {
        id,
        owner,
        provider,
        amount,
        invoice: None,
        method: None,
        state: State::Pending,
        reason: None,
        provider_ref: Some(arrival.provider_ref.clone()),
        access_code: None,
        checkout_url: None,
        expires_at: tx.now() + SEEN_LIFETIME,
        created_at: tx.now(),
        updated_at: tx.now(),
        version: 1,
    };
    if waiting.is_none() {
        store::insert(tx, &payment, tx.now()).await?;
    }
    if !store::seen(tx, &payment).await? {
        // It was over before this was written: the page is taken once more, and this becomes another
        // payment.
        let message = "The payment that waited for this has ended meanwhile.";
        return Err(Error::conflict("payment_moved", message));
    }
    tx.record(fact(&Caller::nobody(), "deposit.pending", &payment));
    Ok(())
}
