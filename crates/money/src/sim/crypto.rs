//! A signer, and the chain behind it: addresses, transfers that move between blocks, withdrawals.

use std::collections::HashMap;

use http::{Method, StatusCode};
use kernel::{Asset, Money};
use platform::crypto::sha256;
use serde_json::{Value as Json, json};

use super::world::{Collection, Outcome, PayoutOf, World, payout_cost_asset};
use super::{Asked, Options, Replied};
use crate::provider::ProviderName;
use crate::provider::crypto::{counted, parse_address, raw};

/// The chain's id (EIP-155).
pub(super) const CHAIN: u64 = 31_337;
/// Blocks after which a transfer is said to be confirmed.
pub(super) const CONFIRMATIONS: u64 = 12;

/// A chain.
#[derive(Default)]
pub(super) struct Chain {
    height: u64,
    /// By label and asset.
    addresses: HashMap<(String, Asset), String>,
    /// The address that was given out for a reference.
    asked: HashMap<String, String>,
    /// The transfer by which a reference was paid.
    paid: HashMap<String, usize>,
    pub transfers: Vec<Transfer>,
}

/// A transfer to an address of ours.
#[derive(Clone)]
pub(super) struct Transfer {
    tx: String,
    to: String,
    asset: Asset,
    raw: String,
    block: Option<u64>,
    dropped: bool,
    unmined: u64,
}

impl Transfer {
    pub(super) fn id(&self) -> String {
        format!("{CHAIN}:{}:0", self.tx)
    }

    /// What the signer has more when a block holds it.
    fn amount(&self) -> Money {
        let read = counted(&self.raw, self.asset).ok().and_then(|(amount, _)| amount);
        read.unwrap_or(Money::new(0, self.asset))
    }
}

impl World {
    /// A transfer that no block holds yet.
    pub(super) fn arrive(&mut self, to: &str, asset: Asset, raw: &str) -> String {
        let tx = format!("0x{}", hex::encode(sha256(self.next().to_string())));
        let (to, raw) = (to.to_owned(), raw.to_owned());
        let transfer = Transfer { tx, to, asset, raw, block: None, dropped: false, unmined: 0 };
        let id = transfer.id();
        self.chain.transfers.push(transfer);
        id
    }

    /// So many blocks more; the first of them holds what waited. Answers what is confirmed by it.
    pub(super) fn mine(&mut self, blocks: u64) -> Vec<String> {
        if blocks == 0 {
            return Vec::new();
        }
        let (before, height) = (self.chain.height, self.chain.height + blocks);
        self.chain.height = height;
        let is_confirmed = |at: u64, height: u64| at + CONFIRMATIONS <= height + 1;
        let (mut mined, mut confirmed) = (Vec::new(), Vec::new());
        for transfer in self.chain.transfers.iter_mut().filter(|it| !it.dropped) {
            let was_confirmed = transfer.block.is_some_and(|at| is_confirmed(at, before));
            if transfer.block.is_none() {
                transfer.block = Some(before + 1);
                mined.push(transfer.amount());
            }
            if !was_confirmed && transfer.block.is_some_and(|at| is_confirmed(at, height)) {
                confirmed.push(transfer.id());
            }
        }
        for amount in mined {
            self.credit(ProviderName::Crypto, amount);
        }
        confirmed
    }

    /// The last blocks are replaced by others that hold nothing of ours. Answers what they held.
    pub(super) fn reorganise(&mut self, depth: u64) -> Vec<String> {
        let last = self.chain.height.saturating_sub(depth);
        let (mut left, mut gone) = (Vec::new(), Vec::new());
        for transfer in &mut self.chain.transfers {
            if transfer.block.is_some_and(|at| at > last) {
                transfer.block = None;
                transfer.unmined += 1;
                left.push(transfer.id());
                gone.push(transfer.amount());
            }
        }
        for amount in gone {
            self.debit(ProviderName::Crypto, amount);
        }
        left
    }

    /// A transfer that no block holds is replaced by another transaction for good.
    pub(super) fn drop_transfer(&mut self, id: &str) -> bool {
        let waiting = |it: &&mut Transfer| it.id() == id && it.block.is_none();
        let found = self.chain.transfers.iter_mut().find(waiting);
        found.map(|transfer| transfer.dropped = true).is_some()
    }

    /// The payer sends it, and it is confirmed.
    pub(super) fn pay_on_chain(&mut self, at: usize) {
        let Collection { reference, paid, asset, .. } = self.collections[at].clone();
        let to = self.chain.asked.get(&reference).cloned().unwrap_or_default();
        let units = raw(Money::new(paid, asset)).unwrap_or_default();
        self.arrive(&to, asset, &units);
        self.chain.paid.insert(reference, self.chain.transfers.len() - 1);
        self.mine(CONFIRMATIONS);
        self.collections[at].outcome = Outcome::Done;
    }

    /// The block that held a payment is replaced; the payment is gone, or in another block.
    pub(super) fn unpay_on_chain(&mut self, reference: &str, is_gone: Option<bool>) {
        let Some(&at) = self.chain.paid.get(reference) else { return };
        match is_gone {
            None => {
                let depth =
                    self.chain.transfers[at].block.map_or(0, |it| self.chain.height - it + 1);
                self.reorganise(depth);
            }
            Some(true) => self.chain.transfers[at].dropped = true,
            Some(false) => {
                self.mine(CONFIRMATIONS);
            }
        }
    }
}

/// A refusal in its shape.
pub(super) fn refusal(status: StatusCode, code: &str) -> Replied {
    (status, json!({ "code": code }))
}

pub(super) fn answer(world: &mut World, asked: &Asked<'_>, options: &Options) -> Replied {
    if !asked.is_bearer(&options.crypto_key) {
        return refusal(StatusCode::UNAUTHORIZED, "unknown_key");
    }
    match (asked.method, asked.segments().as_slice()) {
        (&Method::POST, ["v1", "addresses"]) => give_address(world, &asked.json()),
        (&Method::GET, ["v1", "addresses", address]) => {
            match world.chain.addresses.values().any(|own| own == address) {
                true => (StatusCode::OK, json!({ "address": address })),
                false => refusal(StatusCode::NOT_FOUND, "unknown_address"),
            }
        }
        (&Method::GET, ["v1", "transfers"]) => transfers(world, asked),
        (&Method::GET, ["v1", "transfers", chain, tx, index]) => {
            let id = format!("{chain}:{tx}:{index}");
            match world.chain.transfers.iter().find(|it| it.id() == id) {
                Some(transfer) => (StatusCode::OK, shown(&world.chain, transfer)),
                None => refusal(StatusCode::NOT_FOUND, "unknown_transfer"),
            }
        }
        (&Method::POST, ["v1", "withdrawals"]) => send(world, &asked.json()),
        (&Method::GET, ["v1", "withdrawals", id]) => {
            let own = |it: &&PayoutOf| it.provider == ProviderName::Crypto && it.reference == *id;
            match world.payouts.iter().find(own) {
                Some(payout) => (StatusCode::OK, withdrawal(payout)),
                None => refusal(StatusCode::NOT_FOUND, "unknown_withdrawal"),
            }
        }
        (&Method::GET, ["v1", "balances"]) => {
            let balances = world.balances(ProviderName::Crypto);
            let shown = balances
                .iter()
                .map(|it| json!({ "asset": it.asset, "amount": raw(*it).unwrap_or_default() }));
            (StatusCode::OK, json!({ "balances": Vec::from_iter(shown) }))
        }
        _ => refusal(StatusCode::NOT_FOUND, "unknown_endpoint"),
    }
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

fn give_address(world: &mut World, body: &Json) -> Replied {
    let (label, reference) = (text(&body["label"]).to_owned(), text(&body["reference"]).to_owned());
    let Ok(asset) = text(&body["asset"]).parse::<Asset>() else {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "unknown_asset");
    };
    let hash = hex::encode(&sha256(format!("{label} {asset}"))[..20]);
    let own = parse_address(&format!("0x{hash}")).unwrap_or_default();
    let own = world.chain.addresses.entry((label, asset)).or_insert(own).clone();
    let mut given = json!({ "address": own });
    if !reference.is_empty() {
        if world.collection(&reference).is_none() {
            let amount = counted(text(&body["amount"]), asset).ok().and_then(|(amount, _)| amount);
            let amount = amount.unwrap_or(Money::new(1, asset));
            world.collect(ProviderName::Crypto, &reference, amount, "");
        }
        given["page"] = json!(format!("{}/pay/{reference}", world.public_url));
        world.chain.asked.insert(reference, own);
    }
    (StatusCode::OK, given)
}

fn transfers(world: &World, asked: &Asked<'_>) -> Replied {
    let after: usize = asked.query("after").and_then(|it| it.parse().ok()).unwrap_or_default();
    let limit: usize = asked.query("limit").and_then(|it| it.parse().ok()).unwrap_or(100);
    let all = world.chain.transfers.iter().skip(after).take(limit);
    let page: Vec<Json> = all.map(|it| shown(&world.chain, it)).collect();
    let next = (after + page.len()).to_string();
    (StatusCode::OK, json!({ "transfers": page, "next": next }))
}

fn shown(chain: &Chain, transfer: &Transfer) -> Json {
    json!({
        "chain": CHAIN,
        "tx": transfer.tx,
        "index": 0,
        "to": transfer.to,
        "asset": transfer.asset,
        "amount": transfer.raw,
        "confirmations": transfer.block.map_or(0, |at| chain.height - at + 1),
        "dropped": transfer.dropped,
        "unmined": transfer.unmined,
    })
}

fn send(world: &mut World, body: &Json) -> Replied {
    let id = text(&body["id"]).to_owned();
    let to = parse_address(text(&body["to"]));
    let asset = text(&body["asset"]).parse::<Asset>().ok();
    let amount = asset.and_then(|asset| counted(text(&body["amount"]), asset).ok()?.0);
    let (Some(to), Some(amount)) = (to, amount) else {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "invalid_withdrawal");
    };
    if let Some(first) = world.payouts.iter().find(|it| it.reference == id) {
        let is_same =
            first.account == to && (first.amount, first.asset) == (amount.minor, amount.asset);
        return match is_same {
            true => (StatusCode::OK, withdrawal(first)),
            false => refusal(StatusCode::CONFLICT, "another_withdrawal"),
        };
    }
    if world.balance(ProviderName::Crypto, amount.asset).minor < amount.minor {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "insufficient_balance");
    }
    let made = world.pay_out(ProviderName::Crypto, &id, amount, &to);
    (StatusCode::CREATED, withdrawal(&made))
}

fn withdrawal(payout: &PayoutOf) -> Json {
    let state = match payout.outcome {
        Outcome::Failed | Outcome::Expired => "failed",
        Outcome::Returned => "dropped",
        Outcome::Pending | Outcome::Approved | Outcome::Done => "broadcast",
    };
    let units = |minor, asset| raw(Money::new(minor, asset)).unwrap_or_default();
    let coin = payout_cost_asset(payout.provider, payout.asset);
    json!({
        "id": payout.reference,
        "asset": payout.asset,
        "amount": units(payout.amount, payout.asset),
        "state": state,
        "tx": format!("0x{}", hex::encode(sha256(&payout.reference))),
        "confirmations": if payout.outcome == Outcome::Done { CONFIRMATIONS } else { 0 },
        "fee": { "asset": coin, "amount": units(payout.cost, coin) },
    })
}

/// A callback about a transfer or a withdrawal.
pub(super) fn event(world: &mut World, kind: &str, subject: &str) -> Json {
    let id = format!("cb_{}", world.next());
    json!({ "id": id, "type": kind, "chain": CHAIN, "subject": subject })
}

/// The callback about something that happened to a collection.
pub(super) fn collection_event(
    world: &mut World,
    collection: &Collection,
    happened: &str,
) -> Option<Json> {
    let at = *world.chain.paid.get(&collection.reference)?;
    let id = world.chain.transfers[at].id();
    let kind = match happened {
        "paid" => "transfer.confirmed",
        "disputed" => "transfer.orphaned",
        "dispute decided" => "transfer.decided",
        _ => return None,
    };
    Some(event(world, kind, &id))
}
