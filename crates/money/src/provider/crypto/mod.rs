//! Money on chains, behind a signer that is somebody else's process: no key is ever in ours.
//!
//! The signer is reached over HTTP (its interface: `docs/guide/signer.md`). It knows which
//! addresses are ours, watches the chain, and signs, keeps and broadcasts what is paid out: once
//! for each reference, of which the same bytes are sent again where they were lost.
//!
//! A wallet has one address for each asset. What arrives there counts when so many blocks vouch for
//! it as the operator wants; a block that is replaced before that has never held anything for us.
//! Amounts are integers in the chain's units; what is below our last digit is noted and credited
//! to nobody.

mod address;
#[cfg(test)]
mod tests;
mod wire;

use http::{HeaderMap, Method, StatusCode};
use kernel::{Money, Result, Secret, Timestamp};
use platform::db::Db;
use platform::http::escape;
use serde_json::{Value as Json, json};

pub(crate) use self::address::parse as parse_address;
use self::wire::{ASSETS, Address, Balances, Refusal, Transfer, TransferId, Transfers, Withdrawal};
pub(crate) use self::wire::{counted, raw};
use super::port::{
    Answer, Arrival, Arrivals, Capabilities, Checkout, Destination, DestinationKind, DisputeStage,
    Event, Failure, Known, Order, Payout, PayoutState, Provider, ProviderName, Seen, SeenDispute,
    SeenPayout, SeenState, Webhook,
};
use super::stripe::is_signed;
use super::transport::{Answered, Body, Request, Transport};

/// Carries time and signature of a callback, in the form of Stripe's.
pub const SIGNATURE_HEADER: &str = "x-signer-signature";
/// Transfers that are looked at in one go.
const ARRIVALS_MAX: u32 = 100;
/// EIP-155 ids of chains whose coins are worth nothing.
const TEST_CHAINS: [u64; 4] = [31_337, 1_337, 11_155_111, 17_000];

/// A signer, and how far its chain is trusted.
#[derive(Debug, Clone)]
pub struct Settings {
    pub base_url: String,
    pub key: Secret<String>,
    /// What callbacks are signed with.
    pub webhook_secret: Secret<String>,
    /// The chain (EIP-155): transfers on another one are none of ours.
    pub chain: u64,
    /// Blocks that have to vouch for a transfer, its own included.
    pub confirmations: u64,
}

/// The adapter.
pub struct Adapter {
    transport: Transport,
    settings: Settings,
    capabilities: Capabilities,
}

fn classify(answered: &Answered) -> Failure {
    let Refusal { code } = serde_json::from_slice(&answered.body).unwrap_or_default();
    let what = format!("{}: {code}", answered.status);
    match answered.status {
        StatusCode::TOO_MANY_REQUESTS => Failure::Retryable(what),
        // There is something of this reference, and not what we have asked for: it is looked for.
        StatusCode::CONFLICT => Failure::Unknown(what),
        StatusCode::UNPROCESSABLE_ENTITY => Failure::Declined { reason: code },
        status if status.is_server_error() => Failure::Unknown(what),
        _ => Failure::Invalid(what),
    }
}

fn or_none<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Invalid(what)) if what.starts_with("404") => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl Adapter {
    /// # Errors
    /// When the base URL is none.
    pub fn new(settings: Settings, db: Db) -> Result<Self> {
        let transport = Transport::new(ProviderName::Crypto, &settings.base_url, db)?;
        let assets = ASSETS.map(|it| it.asset);
        let capabilities = Capabilities {
            currencies: assets.to_vec(),
            methods: vec!["crypto"],
            live: !TEST_CHAINS.contains(&settings.chain),
            needs_email: false,
            steps: &[],
            payouts: assets.map(|asset| (DestinationKind::Crypto, asset)).to_vec(),
            finds_payouts: true,
            refunds: false,
            has_arrivals: true,
        };
        Ok(Self { transport, settings, capabilities })
    }

    async fn ask(
        &self,
        verb: &'static str,
        reference: &str,
        method: Method,
        path: String,
        body: Body,
    ) -> Result<Answered, Failure> {
        let bearer = format!("Bearer {}", self.settings.key.expose());
        let headers = vec![("authorization", bearer)];
        let request = Request { verb, reference, method, path, body, headers };
        self.transport.send(request, classify).await
    }

    async fn get(
        &self,
        verb: &'static str,
        about: &str,
        path: String,
    ) -> Result<Answered, Failure> {
        self.ask(verb, about, Method::GET, path, Body::Empty).await
    }

    async fn post(
        &self,
        verb: &'static str,
        about: &str,
        path: &str,
        body: Json,
    ) -> Result<Answered, Failure> {
        self.ask(verb, about, Method::POST, path.to_owned(), Body::Json(body)).await
    }

    /// The address of the payer's wallet: asked again, it is the same one.
    async fn create(&self, order: &Order) -> Result<Checkout, Failure> {
        let asset = order.amount.asset;
        // The reference and the amount are for the signer's page, where it has one.
        let body = json!({ "label": order.payer, "asset": asset, "reference": order.reference,
                           "amount": raw(order.amount)? });
        let verb = "create_collection";
        let made: Address =
            self.post(verb, &order.reference, "/v1/addresses", body).await?.read()?;
        let Some(address) = parse_address(&made.address) else {
            return Err(Failure::Unknown("an address that is none".into()));
        };
        let url = match made.page {
            Some(page) => page,
            None => self.link(&address, order.amount)?,
        };
        Ok(Checkout { provider_ref: address.clone(), access_code: address, url })
    }

    /// What a wallet program opens (ERC-681).
    fn link(&self, address: &str, amount: Money) -> Result<String, Failure> {
        let (chain, units) = (self.settings.chain, raw(amount)?);
        Ok(match wire::on_chain(amount.asset)?.contract {
            None => format!("ethereum:{address}@{chain}?value={units}"),
            Some(token) => {
                format!("ethereum:{token}@{chain}/transfer?address={address}&uint256={units}")
            }
        })
    }

    async fn fetch(&self, known: Known<'_>) -> Result<Option<Seen>, Failure> {
        let Some(named) = known.provider_ref else { return Ok(None) };
        let reference = known.reference.to_owned();
        let Some(TransferId { chain, tx, index }) = TransferId::parse(named) else {
            // An address: nothing has arrived yet.
            return Ok(Some(Seen { reference, state: SeenState::Open, disputes: Vec::new() }));
        };
        let path = format!("/v1/transfers/{}/{}/{}", escape(chain), escape(tx), escape(index));
        let answer = or_none(self.get("fetch_collection", known.reference, path).await)?;
        let Some(answer) = answer else { return Ok(None) };
        let found: Transfer = answer.read()?;
        if found.chain != self.settings.chain || found.id() != named {
            return Err(Failure::Invalid(format!("a transfer on chain {}", found.chain)));
        }
        let state = self.state(&found)?;
        let dispute = if known.with_dispute { self.reorganised(&found)? } else { None };
        Ok(Some(Seen { reference, state, disputes: Vec::from_iter(dispute) }))
    }

    fn is_final(&self, transfer: &Transfer) -> bool {
        !transfer.dropped && transfer.confirmations >= self.settings.confirmations
    }

    fn state(&self, transfer: &Transfer) -> Result<SeenState, Failure> {
        if transfer.dropped {
            return Ok(SeenState::Failed { reason: "orphaned".to_owned() });
        }
        match transfer.counted()?.0 {
            Some(received) if self.is_final(transfer) => {
                let fee = Money::new(0, received.asset);
                Ok(SeenState::Paid { received, fee })
            }
            _ => Ok(SeenState::Open),
        }
    }

    /// A block that was replaced after we had credited what it held is a charge-back: lost when the
    /// transfer is gone, won when it is in the chain again.
    fn reorganised(&self, transfer: &Transfer) -> Result<Option<SeenDispute>, Failure> {
        let Some(amount) = transfer.counted()?.0.filter(|_| transfer.unmined > 0) else {
            return Ok(None);
        };
        let stage = match (transfer.dropped, self.is_final(transfer)) {
            (true, _) => DisputeStage::Lost,
            (false, true) => DisputeStage::Won,
            (false, false) => DisputeStage::Open,
        };
        let id = format!("{}:{}", transfer.id(), transfer.unmined);
        Ok(Some(SeenDispute { id, amount, stage }))
    }

    async fn arrived(&self, after: Option<&str>) -> Result<Arrivals, Failure> {
        let after = escape(after.unwrap_or_default());
        let path = format!("/v1/transfers?after={after}&limit={ARRIVALS_MAX}");
        let found: Transfers = self.get("arrivals", "", path).await?.read()?;
        let own = found.transfers.iter().filter(|it| it.chain == self.settings.chain);
        let arrival = |it: &Transfer| {
            let asset = it.asset.parse().ok()?;
            let (amount, rest) = it.counted().ok()?;
            let to = parse_address(&it.to)?;
            Some(Arrival { provider_ref: it.id(), to, asset, amount, raw: it.amount.clone(), rest })
        };
        // What cannot be read must not stand in the way of the rest for ever.
        let read = own.filter_map(|it| {
            let read = arrival(it);
            if read.is_none() {
                tracing::error!(transfer = it.id(), it.asset, "a transfer that cannot be read");
            }
            read
        });
        Ok(Arrivals { arrivals: read.collect(), next: found.next })
    }

    async fn pay_out(&self, payout: &Payout) -> Result<SeenPayout, Failure> {
        let Payout { reference, amount, to } = payout;
        let body = json!({ "id": reference, "asset": amount.asset, "to": to.account,
                           "amount": raw(*amount)? });
        let answer = self.post("create_payout", reference, "/v1/withdrawals", body).await?;
        self.seen_payout(answer.read()?)
    }

    async fn find_payout(&self, reference: &str) -> Result<Option<SeenPayout>, Failure> {
        let path = format!("/v1/withdrawals/{}", escape(reference));
        match or_none(self.get("fetch_payout", reference, path).await)? {
            Some(answer) => self.seen_payout(answer.read()?).map(Some),
            None => Ok(None),
        }
    }

    fn seen_payout(&self, found: Withdrawal) -> Result<SeenPayout, Failure> {
        let amount = wire::Units { asset: found.asset, amount: found.amount }.money()?;
        let state = match found.state.as_str() {
            "failed" => PayoutState::Failed { reason: "not_broadcast".to_owned() },
            "dropped" => PayoutState::Returned { reason: "orphaned".to_owned() },
            _ if found.confirmations >= self.settings.confirmations => {
                // In a coin that is not kept here it shows in the reconciliation, if at all.
                let cost = found.fee.as_ref().and_then(|fee| fee.money().ok());
                PayoutState::Settled { cost: cost.unwrap_or(Money::new(0, amount.asset)) }
            }
            _ => PayoutState::Pending,
        };
        let provider_ref = found.tx.unwrap_or_else(|| found.id.clone());
        Ok(SeenPayout { reference: found.id, provider_ref, amount, state })
    }

    /// What is sent to a token's contract is lost, and what is sent to an address of ours comes
    /// back as a deposit.
    async fn check(&self, to: &Destination) -> Result<Destination, Failure> {
        let declined = |reason: &str| Failure::Declined { reason: reason.to_owned() };
        let account = parse_address(&to.account).ok_or_else(|| declined("no address"))?;
        if ASSETS.iter().any(|it| it.contract == Some(account.as_str())) {
            return Err(declined("the address of a token"));
        }
        let path = format!("/v1/addresses/{account}");
        match or_none(self.get("validate_destination", "", path).await)? {
            Some(_) => Err(declined("an address of our own")),
            None => Ok(Destination { account, ..to.clone() }),
        }
    }

    async fn balances(&self) -> Result<Vec<Money>, Failure> {
        let answer = self.get("balance", "", "/v1/balances".to_owned()).await?;
        answer.read::<Balances>()?.balances.iter().map(wire::Units::money).collect()
    }

    fn events(&self, body: &[u8], headers: &HeaderMap, now: Timestamp) -> Option<Vec<Event>> {
        let header = headers.get(SIGNATURE_HEADER)?.to_str().ok()?;
        if !is_signed(self.settings.webhook_secret.expose(), header, body, now.seconds()) {
            return None;
        }
        let event: Json = serde_json::from_slice(body).ok()?;
        if event["chain"].as_u64()? != self.settings.chain {
            return None;
        }
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let (dedupe_key, kind, reference) = (text("id")?, text("type")?, text("subject")?);
        Some(vec![Event { dedupe_key, kind, reference }])
    }
}

impl Provider for Adapter {
    fn name(&self) -> ProviderName {
        ProviderName::Crypto
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn signature_header(&self) -> &'static str {
        SIGNATURE_HEADER
    }

    fn create_collection<'a>(&'a self, order: &'a Order) -> Answer<'a, Checkout> {
        Box::pin(self.create(order))
    }

    fn fetch_collection<'a>(&'a self, payment: Known<'a>) -> Answer<'a, Option<Seen>> {
        Box::pin(self.fetch(payment))
    }

    fn arrivals<'a>(&'a self, after: Option<&'a str>) -> Answer<'a, Arrivals> {
        Box::pin(self.arrived(after))
    }

    fn create_payout<'a>(&'a self, payout: &'a Payout) -> Answer<'a, SeenPayout> {
        Box::pin(self.pay_out(payout))
    }

    fn fetch_payout<'a>(&'a self, payout: Known<'a>) -> Answer<'a, Option<SeenPayout>> {
        Box::pin(self.find_payout(payout.reference))
    }

    fn verify_webhook<'a>(
        &'a self,
        body: &'a [u8],
        headers: &'a HeaderMap,
        now: Timestamp,
    ) -> Answer<'a, Webhook> {
        let events = self.events(body, headers, now);
        Box::pin(async { Ok(events.map_or(Webhook::Forged, Webhook::Genuine)) })
    }

    fn validate_destination<'a>(&'a self, to: &'a Destination) -> Answer<'a, Destination> {
        Box::pin(self.check(to))
    }

    fn balance(&self) -> Answer<'_, Vec<Money>> {
        Box::pin(self.balances())
    }
}
