//! What the platform sees of the sandbox.

use http::{HeaderMap, StatusCode};
use kernel::{Asset, Money, Result, Timestamp};
use serde::de::DeserializeOwned;

use super::Options;
use super::wire::{
    Collection, Envelope, NewCollection, PayoutWire, SIGNATURE_HEADER, Status, is_signed,
};
use crate::provider::{
    Answer, Capabilities, Checkout, Destination, DestinationKind, Event, Failure, Known, Order,
    Payout, PayoutState, Provider, ProviderName, Seen, SeenPayout, SeenState, Webhook, client,
};

/// Speaks to a sandbox server over HTTP.
pub struct Adapter {
    client: reqwest::Client,
    options: Options,
    capabilities: Capabilities,
}

impl Adapter {
    /// # Errors
    /// Internal when there is no TLS to be had.
    pub fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            client: client()?,
            options: options.clone(),
            capabilities: Capabilities {
                currencies: Asset::ALL.to_vec(),
                methods: vec!["card", "bank"],
                payouts: Asset::ALL.iter().map(|asset| (DestinationKind::Bank, *asset)).collect(),
                finds_payouts: true,
                refunds: false,
                has_arrivals: false,
                ..Capabilities::default()
            },
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}/sandbox/collections{path}", self.options.base_url)
    }

    async fn create(&self, order: &Order) -> Result<Checkout, Failure> {
        let collection = NewCollection {
            reference: order.reference.clone(),
            amount: order.amount.minor,
            currency: order.amount.asset,
            email: order.email.clone(),
        };
        let answer = self
            .client
            .post(self.url(""))
            .bearer_auth(self.options.secret.expose())
            .json(&collection)
            .send()
            .await
            .map_err(|error| not_sent(&error))?;
        let made: Collection = read(answer).await?;
        if made.reference != order.reference || money(made.amount, &made) != order.amount {
            let what = format!("asked for {order:?}, and was given {made:?}");
            return Err(Failure::Invalid(what));
        }
        Ok(Checkout {
            provider_ref: made.reference,
            access_code: made.access_code,
            url: made.checkout_url,
        })
    }

    async fn fetch(&self, reference: &str) -> Result<Option<Seen>, Failure> {
        let answer = self
            .client
            .get(self.url(&format!("/{reference}")))
            .bearer_auth(self.options.secret.expose())
            .send()
            .await
            .map_err(|error| not_sent(&error))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let found: Collection = read(answer).await?;
        if found.live {
            return Err(Failure::Invalid("a sandbox that says it is live".into()));
        }
        let state = match found.status {
            Status::Pending => SeenState::Open,
            Status::Declined => SeenState::Failed { reason: "declined".into() },
            Status::Paid => SeenState::Paid {
                received: money(found.paid, &found),
                fee: money(found.fee, &found),
            },
        };
        Ok(Some(Seen { reference: found.reference, state, disputes: Vec::new() }))
    }

    async fn pay_out(&self, payout: &Payout) -> Result<SeenPayout, Failure> {
        let Money { minor: amount, asset: currency } = payout.amount;
        let wire = PayoutWire { reference: payout.reference.clone(), amount, currency };
        let request = self.client.post(format!("{}/sandbox/payouts", self.options.base_url));
        let request = request.bearer_auth(self.options.secret.expose()).json(&wire);
        let answer = request.send().await.map_err(|error| not_sent(&error))?;
        Ok(seen_payout(read(answer).await?))
    }

    async fn find_payout(&self, reference: &str) -> Result<Option<SeenPayout>, Failure> {
        let url = format!("{}/sandbox/payouts/{reference}", self.options.base_url);
        let request = self.client.get(url).bearer_auth(self.options.secret.expose());
        let answer = request.send().await.map_err(|error| not_sent(&error))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(seen_payout(read(answer).await?)))
    }
}

fn seen_payout(wire: PayoutWire) -> SeenPayout {
    let amount = Money::new(wire.amount, wire.currency);
    let state = PayoutState::Settled { cost: Money::new(0, wire.currency) };
    SeenPayout { provider_ref: wire.reference.clone(), reference: wire.reference, amount, state }
}

fn money(minor: i64, collection: &Collection) -> Money {
    Money::new(minor, collection.currency)
}

/// A request that got no answer. Only one that never left is known to have done nothing.
fn not_sent(error: &reqwest::Error) -> Failure {
    let what = format!("the sandbox does not answer: {error:?}");
    if error.is_connect() { Failure::Retryable(what) } else { Failure::Unknown(what) }
}

async fn read<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T, Failure> {
    let status = answer.status();
    if status.is_success() {
        let unreadable = |error| Failure::Unknown(format!("an answer broke off: {error}"));
        let bytes = answer.bytes().await.map_err(unreadable)?;
        return serde_json::from_slice(&bytes)
            .map_err(|error| Failure::Invalid(format!("an answer is no JSON of ours: {error}")));
    }
    let what = format!("the sandbox answered {status}");
    Err(match status {
        StatusCode::PAYMENT_REQUIRED => Failure::Declined { reason: "declined".into() },
        StatusCode::TOO_MANY_REQUESTS => Failure::Retryable(what),
        status if status.is_server_error() => Failure::Unknown(what),
        _ => Failure::Invalid(what),
    })
}

impl Provider for Adapter {
    fn name(&self) -> ProviderName {
        ProviderName::Sandbox
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
        Box::pin(self.fetch(payment.reference))
    }

    fn create_payout<'a>(&'a self, payout: &'a Payout) -> Answer<'a, SeenPayout> {
        Box::pin(self.pay_out(payout))
    }

    fn fetch_payout<'a>(&'a self, payout: Known<'a>) -> Answer<'a, Option<SeenPayout>> {
        Box::pin(self.find_payout(payout.reference))
    }

    /// Every account is one here.
    fn validate_destination<'a>(&'a self, to: &'a Destination) -> Answer<'a, Destination> {
        Box::pin(async { Ok(to.clone()) })
    }

    fn verify_webhook<'a>(
        &'a self,
        body: &'a [u8],
        headers: &'a HeaderMap,
        _now: Timestamp,
    ) -> Answer<'a, Webhook> {
        let events = self.events(body, headers);
        Box::pin(async { Ok(events.map_or(Webhook::Forged, Webhook::Genuine)) })
    }
}

impl Adapter {
    fn events(&self, body: &[u8], headers: &HeaderMap) -> Option<Vec<Event>> {
        let signature = headers.get(SIGNATURE_HEADER)?.to_str().ok()?;
        if !is_signed(self.options.webhook_secret.expose(), body, signature) {
            return None;
        }
        let Envelope { id, r#type, data } = serde_json::from_slice(body).ok()?;
        Some(vec![Event { dedupe_key: id, kind: r#type, reference: data.reference }])
    }
}
