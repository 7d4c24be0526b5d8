//! Webhooks: how they are sent, and what happens to them on the way.

use std::collections::VecDeque;
use std::time::Duration;

use kernel::{Money, Timestamp};
use serde::Deserialize;
use serde_json::Value as Json;

use super::world::World;
use super::{Sim, paypal, paystack, stripe};
use crate::provider::{
    ProviderName, crypto as real_crypto, paystack as real_paystack, stripe as real_stripe,
};

/// Tries before a webhook is given up.
const TRIES_MAX: u32 = 8;

/// What happens to webhooks, each in percent of them.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Mishaps {
    /// Sent twice.
    pub duplicate: u8,
    /// Never sent.
    pub lose: u8,
    /// Sent, with a second one beside it that somebody else has made up.
    pub forge: u8,
    /// Sent in any order.
    pub reorder: bool,
    /// Sent so much later.
    pub delay_seconds: u64,
}

/// A webhook that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    provider: ProviderName,
    body: String,
    due: Timestamp,
    tries: u32,
    is_forged: bool,
}

/// What became of the webhooks that were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    pub taken: usize,
    /// Refused as forged ones should be.
    pub forged_refused: usize,
    /// Forged ones that were taken: never.
    pub forged_taken: usize,
    /// To be sent again.
    pub failed: usize,
}

/// Parcels on their way. Those of a delivery that is given up half way are not lost: they are sent
/// by the next one.
struct Bag<'a> {
    sim: &'a Sim,
    parcels: VecDeque<Parcel>,
}

impl Drop for Bag<'_> {
    fn drop(&mut self) {
        self.sim.world.lock().outbox.extend(self.parcels.drain(..));
    }
}

impl Sim {
    pub(super) fn post(&self, world: &mut World, provider: ProviderName, event: Option<Json>) {
        let Some(event) = event else { return };
        let mishaps = world.mishaps;
        let chance =
            |percent: u8| u16::from(self.chance.random::<1>()[0]) * 100 / 256 < percent.into();
        if chance(mishaps.lose) {
            return;
        }
        let due = self.chance.now() + Duration::from_secs(mishaps.delay_seconds);
        let parcel = Parcel { provider, body: event.to_string(), due, tries: 0, is_forged: false };
        if chance(mishaps.forge) {
            let body = parcel.body.replacen("\"amount\":", "\"amount\":9", 1);
            world.outbox.push(Parcel { body, is_forged: true, ..parcel.clone() });
        }
        if chance(mishaps.duplicate) {
            world.outbox.push(parcel.clone());
        }
        world.outbox.push(parcel);
    }

    /// Sends every webhook that is due, once. What is not taken is sent again by a later call,
    /// after a minute and then after twice as long each time.
    pub async fn deliver(&self) -> Delivered {
        let now = self.chance.now();
        let (mut due, shuffled) = {
            let mut world = self.world.lock();
            let all = std::mem::take(&mut world.outbox);
            let (due, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.due <= now);
            world.outbox = later;
            (due, world.mishaps.reorder)
        };
        if shuffled {
            for at in (1..due.len()).rev() {
                let dice = u64::from_le_bytes(self.chance.random::<8>());
                let other = usize::try_from(dice % (at as u64 + 1)).unwrap_or_default();
                due.swap(at, other);
            }
        }
        let mut delivered = Delivered::default();
        let mut bag = Bag { sim: self, parcels: due.into() };
        while let Some(parcel) = bag.parcels.front().cloned() {
            let is_taken = self.send(&parcel, now).await;
            bag.parcels.pop_front();
            match (is_taken, parcel.is_forged) {
                (true, false) => delivered.taken += 1,
                (true, true) => delivered.forged_taken += 1,
                (false, true) => delivered.forged_refused += 1,
                (false, false) => {
                    delivered.failed += 1;
                    self.again(parcel, now);
                }
            }
        }
        delivered
    }

    fn again(&self, mut parcel: Parcel, now: Timestamp) {
        parcel.tries += 1;
        if parcel.tries < TRIES_MAX {
            parcel.due = now + Duration::from_secs(60 << parcel.tries.min(6));
            self.world.lock().outbox.push(parcel);
        }
    }

    async fn send(&self, parcel: &Parcel, now: Timestamp) -> bool {
        let url = format!("{}/{}", self.options.webhook_url, parcel.provider);
        let mut request = self.client.post(url).header("content-type", "application/json");
        for (name, value) in self.signed(parcel, now) {
            request = request.header(name, value);
        }
        request
            .body(parcel.body.clone())
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
    }

    /// The headers that prove who sends it; those of a forged one prove nothing.
    fn signed(&self, parcel: &Parcel, now: Timestamp) -> Vec<(&'static str, String)> {
        let (body, options) = (parcel.body.as_bytes(), &*self.options);
        let forged = "not-the-key-that-you-know";
        let key = |own: &str| if parcel.is_forged { forged.to_owned() } else { own.to_owned() };
        match parcel.provider {
            ProviderName::Stripe => {
                let key = key(&options.stripe_webhook_secret);
                vec![(real_stripe::SIGNATURE_HEADER, stripe::sign(&key, now, body))]
            }
            ProviderName::Paypal => {
                let signed = if parcel.is_forged { forged.as_bytes() } else { body };
                let id = hex::encode(self.chance.random::<16>());
                paypal::headers(options, &id, now, signed)
            }
            ProviderName::Crypto => {
                let key = key(&options.crypto_webhook_secret);
                vec![(real_crypto::SIGNATURE_HEADER, stripe::sign(&key, now, body))]
            }
            _ => {
                let key = key(&options.paystack_key);
                vec![(real_paystack::SIGNATURE_HEADER, paystack::sign(&key, body))]
            }
        }
    }
}

/// An amount as it stands in bodies.
pub(super) fn money(minor: i64, currency: &str) -> Option<Money> {
    let asset = currency.to_uppercase().parse().ok()?;
    Money::requested(minor, asset).ok()
}
