//! What the simulated providers remember.

use std::collections::HashMap;

use kernel::{Asset, Error, Money, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::crypto::Chain;
use super::post::{Mishaps, Parcel};
use crate::provider::ProviderName;

/// What a provider keeps of a payment, in hundredths of a percent.
const FEE_BPS: u16 = 150;
/// What a payout costs, in minor units.
const PAYOUT_COST: i64 = 1_000;

/// Something that goes wrong with the next calls.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Any provider when left out.
    #[serde(default)]
    pub provider: Option<ProviderName>,
    /// Which call: `POST /transfer`, or how it begins: `GET /transfer/*`.
    pub call: String,
    pub kind: FaultKind,
    /// For so many calls.
    #[serde(default = "once")]
    pub times: u32,
}

const fn once() -> u32 {
    1
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 503, and nothing has happened.
    ErrorBefore,
    /// 500, and it has happened.
    ErrorAfter,
    /// It has happened, and the connection breaks instead of an answer.
    LoseReply,
    /// The connection breaks, and nothing has happened.
    LoseRequest,
    /// 429.
    RateLimit,
    /// A final no.
    Decline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Pending,
    /// The payer has agreed; the money is there for the asking.
    Approved,
    Done,
    Failed,
    Expired,
    Returned,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Collection {
    pub provider: ProviderName,
    pub reference: String,
    /// The provider's number of it, also part of its ids.
    pub number: u64,
    pub amount: i64,
    pub asset: Asset,
    pub outcome: Outcome,
    pub paid: i64,
    pub fee: i64,
    pub return_url: String,
    pub disputes: Vec<Dispute>,
    pub refunds: Vec<Refund>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Dispute {
    pub number: u64,
    pub amount: i64,
    pub state: DisputeOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DisputeOf {
    Open,
    Won,
    Lost,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Refund {
    pub number: u64,
    pub amount: i64,
    pub reference: String,
    /// The payer's bank has sent it back.
    pub came_back: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct PayoutOf {
    pub provider: ProviderName,
    pub reference: String,
    pub number: u64,
    pub amount: i64,
    pub asset: Asset,
    pub account: String,
    pub outcome: Outcome,
    pub cost: i64,
}

/// The memory of all providers.
pub(super) struct World {
    pub public_url: String,
    pub collections: Vec<Collection>,
    by_reference: HashMap<String, usize>,
    pub payouts: Vec<PayoutOf>,
    pub recipients: Vec<(String, String)>,
    balances: HashMap<(ProviderName, Asset), i64>,
    /// Answers by idempotency key: what was asked, and what was answered.
    pub remembered: HashMap<String, (Vec<u8>, u16, Json)>,
    pub faults: Vec<Fault>,
    pub mishaps: Mishaps,
    pub outbox: Vec<Parcel>,
    pub payouts_at_once: bool,
    /// Webhooks about what a call has just done.
    pub told: Vec<Json>,
    /// The token that PayPal takes, and how many it has given out.
    pub paypal_token: Option<String>,
    pub paypal_tokens: u32,
    pub chain: Chain,
    last: u64,
}

impl World {
    pub(super) fn new(public_url: String) -> Self {
        Self {
            public_url,
            collections: Vec::new(),
            by_reference: HashMap::new(),
            payouts: Vec::new(),
            recipients: Vec::new(),
            balances: HashMap::new(),
            remembered: HashMap::new(),
            faults: Vec::new(),
            mishaps: Mishaps::default(),
            outbox: Vec::new(),
            payouts_at_once: true,
            told: Vec::new(),
            paypal_token: None,
            paypal_tokens: 0,
            chain: Chain::default(),
            last: 1_000,
        }
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn collection(&self, reference: &str) -> Option<usize> {
        self.by_reference.get(reference).copied()
    }

    pub(super) fn collect(
        &mut self,
        provider: ProviderName,
        reference: &str,
        amount: Money,
        return_url: &str,
    ) -> Collection {
        let number = self.next();
        let collection = Collection {
            provider,
            reference: reference.to_owned(),
            number,
            amount: amount.minor,
            asset: amount.asset,
            outcome: Outcome::Pending,
            paid: 0,
            fee: 0,
            return_url: return_url.to_owned(),
            disputes: Vec::new(),
            refunds: Vec::new(),
        };
        self.by_reference.insert(collection.reference.clone(), self.collections.len());
        self.collections.push(collection.clone());
        collection
    }

    /// The page on which a payer pays.
    pub(super) fn page(&self, collection: &Collection) -> String {
        format!("{}/pay/{}", self.public_url, collection.reference)
    }

    pub(super) fn balance(&self, provider: ProviderName, asset: Asset) -> Money {
        Money::new(self.balances.get(&(provider, asset)).copied().unwrap_or_default(), asset)
    }

    pub(super) fn balances(&self, provider: ProviderName) -> Vec<Money> {
        let own = self.balances.iter().filter(|((name, _), _)| *name == provider);
        own.map(|((_, asset), minor)| Money::new(*minor, *asset)).collect()
    }

    pub(super) fn credit(&mut self, provider: ProviderName, amount: Money) {
        *self.balances.entry((provider, amount.asset)).or_default() += amount.minor;
    }

    pub(super) fn debit(&mut self, provider: ProviderName, amount: Money) {
        self.credit(provider, Money::new(-amount.minor, amount.asset));
    }

    pub(super) fn next_fault(&mut self, provider: ProviderName, call: &str) -> Option<FaultKind> {
        let fits = |fault: &Fault| {
            let fits = match fault.call.strip_suffix('*') {
                Some(start) => call.starts_with(start),
                None => call == fault.call,
            };
            fits && fault.provider.is_none_or(|name| name == provider)
        };
        let at = self.faults.iter().position(fits)?;
        let fault = &mut self.faults[at];
        let kind = fault.kind;
        fault.times = fault.times.saturating_sub(1);
        if fault.times == 0 {
            self.faults.remove(at);
        }
        Some(kind)
    }

    pub(super) fn pay(&mut self, at: usize, paid: Option<Money>) -> Result<&'static str> {
        let collection = &mut self.collections[at];
        // A payer may be late: what has expired can still be paid.
        if matches!(collection.outcome, Outcome::Approved | Outcome::Done | Outcome::Failed) {
            return Err(Error::conflict("decided", "This payment is decided."));
        }
        let asked = Money::new(collection.amount, collection.asset);
        let paid = paid.unwrap_or(asked);
        (collection.paid, collection.asset) = (paid.minor, paid.asset);
        if collection.provider == ProviderName::Paypal {
            collection.outcome = Outcome::Approved;
            return Ok("approved");
        }
        if collection.provider == ProviderName::Crypto {
            self.pay_on_chain(at);
            return Ok("paid");
        }
        self.receive(at);
        Ok("paid")
    }

    /// The money is there, less what the provider keeps.
    pub(super) fn receive(&mut self, at: usize) {
        let collection = &mut self.collections[at];
        let paid = Money::new(collection.paid, collection.asset);
        collection.outcome = Outcome::Done;
        collection.fee = paid.share(FEE_BPS).minor;
        let (provider, net) = (collection.provider, paid.minor - collection.fee);
        self.credit(provider, Money::new(net, paid.asset));
    }

    pub(super) fn decline(&mut self, at: usize) -> Result<&'static str> {
        self.end(at, Outcome::Failed, "declined")
    }

    pub(super) fn expire(&mut self, at: usize) -> Result<&'static str> {
        self.end(at, Outcome::Expired, "expired")
    }

    fn end(&mut self, at: usize, to: Outcome, word: &'static str) -> Result<&'static str> {
        let collection = &mut self.collections[at];
        if collection.outcome != Outcome::Pending {
            return Err(Error::conflict("decided", "This payment is decided."));
        }
        collection.outcome = to;
        Ok(word)
    }

    /// Opens a dispute about a part of what was paid, or about all that no other is about.
    pub(super) fn dispute(&mut self, at: usize, amount: Option<i64>) -> Result<&'static str> {
        let number = self.next();
        let collection = &mut self.collections[at];
        let left = collection.paid - collection.disputes.iter().map(|it| it.amount).sum::<i64>();
        let amount = amount.unwrap_or(left);
        if collection.outcome != Outcome::Done || amount <= 0 || amount > left {
            return Err(Error::conflict("decided", "There is nothing to dispute."));
        }
        collection.disputes.push(Dispute { number, amount, state: DisputeOf::Open });
        if collection.provider == ProviderName::Crypto {
            let reference = collection.reference.clone();
            self.unpay_on_chain(&reference, None);
        }
        Ok("disputed")
    }

    pub(super) fn decide_dispute(&mut self, at: usize, is_won: bool) -> Result<&'static str> {
        let collection = &mut self.collections[at];
        let (provider, asset) = (collection.provider, collection.asset);
        let dispute = open_of(collection)?;
        dispute.state = if is_won { DisputeOf::Won } else { DisputeOf::Lost };
        let disputed = Money::new(dispute.amount, asset);
        if provider == ProviderName::Crypto {
            let reference = collection.reference.clone();
            self.unpay_on_chain(&reference, Some(!is_won));
        } else if !is_won {
            self.debit(provider, disputed);
        }
        Ok("dispute decided")
    }

    /// The bank wants another amount of it now.
    pub(super) fn amend_dispute(&mut self, at: usize, amount: i64) -> Result<&'static str> {
        open_of(&mut self.collections[at])?.amount = amount;
        Ok("dispute changed")
    }

    /// Sends a part of what was paid back, under a name; none when there is not so much left of it.
    pub(super) fn give_back(&mut self, at: usize, amount: i64, reference: &str) -> Option<Refund> {
        let number = self.next();
        let collection = &mut self.collections[at];
        let back: i64 = collection.refunds.iter().map(|it| it.amount).sum();
        if collection.outcome != Outcome::Done || amount <= 0 || back + amount > collection.paid {
            return None;
        }
        let refund = Refund { number, amount, reference: reference.to_owned(), came_back: false };
        collection.refunds.push(refund.clone());
        let (provider, asset) = (collection.provider, collection.asset);
        self.debit(provider, Money::new(amount, asset));
        Some(refund)
    }

    /// Somebody sends a part back in the provider's dashboard.
    pub(super) fn send_back(&mut self, at: usize, amount: i64) -> Result<&'static str> {
        let refund = self.give_back(at, amount, "");
        let refused = || Error::conflict("decided", "There is nothing to send back.");
        refund.map(|_| "refunded").ok_or_else(refused)
    }

    /// Makes a payout; the money leaves our balance at once.
    pub(super) fn pay_out(
        &mut self,
        provider: ProviderName,
        reference: &str,
        amount: Money,
        account: &str,
    ) -> PayoutOf {
        let number = self.next();
        let payout = PayoutOf {
            provider,
            reference: reference.to_owned(),
            number,
            amount: amount.minor,
            asset: amount.asset,
            account: account.to_owned(),
            outcome: Outcome::Pending,
            cost: 0,
        };
        self.debit(provider, amount);
        self.payouts.push(payout);
        if self.payouts_at_once {
            // It was just made, so it can be moved.
            let _ = self.move_payout(reference, Outcome::Done);
        }
        self.payouts[self.payouts.len() - 1].clone()
    }

    pub(super) fn return_refund(&mut self, reference: &str) -> Option<(Collection, Refund)> {
        let is_it = |it: &&mut Refund| it.reference == reference && !it.came_back;
        let found = self.collections.iter_mut().find_map(|collection| {
            let refund = collection.refunds.iter_mut().find(is_it)?;
            refund.came_back = true;
            let refund = refund.clone();
            Some((collection.clone(), refund))
        });
        let (collection, refund) = found?;
        self.credit(collection.provider, Money::new(refund.amount, collection.asset));
        Some((collection, refund))
    }

    pub(super) fn move_payout(&mut self, reference: &str, to: Outcome) -> Result<()> {
        let found = self.payouts.iter_mut().find(|it| it.reference == reference);
        let payout = found.ok_or_else(|| Error::not_found("payout"))?;
        let (provider, amount) = (payout.provider, Money::new(payout.amount, payout.asset));
        let (back, cost) = match (payout.outcome, to) {
            (Outcome::Pending, Outcome::Done) => (None, PAYOUT_COST),
            (Outcome::Pending, Outcome::Failed) | (Outcome::Done, Outcome::Returned) => {
                (Some(amount), 0)
            }
            _ => return Err(Error::conflict("decided", "This payout is decided.")),
        };
        payout.outcome = to;
        payout.cost += cost;
        if let Some(back) = back {
            self.credit(provider, back);
        }
        let asset = payout_cost_asset(provider, amount.asset);
        self.debit(provider, Money::new(cost, asset));
        Ok(())
    }
}

/// In what a provider takes the cost of a payout: chains in their own coin, PayPal in dollars.
pub(super) const fn payout_cost_asset(provider: ProviderName, paid: Asset) -> Asset {
    match provider {
        ProviderName::Crypto => Asset::ETH,
        ProviderName::Paypal => Asset::USD,
        _ => paid,
    }
}

/// The oldest dispute of a collection that nobody has decided.
fn open_of(collection: &mut Collection) -> Result<&mut Dispute> {
    let open = collection.disputes.iter_mut().find(|it| it.state == DisputeOf::Open);
    open.ok_or_else(|| Error::conflict("decided", "There is no open dispute."))
}
