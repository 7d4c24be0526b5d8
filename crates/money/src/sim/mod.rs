//! A simulator of payment providers: their endpoints, their signatures, their webhooks, and what
//! can go wrong with all of them.
//!
//! It stands in for the real ones behind the adapters' base URLs: `{base}/paystack`,
//! `{base}/stripe`, `{base}/paypal`, `{base}/crypto`. Tests drive it by hand ([`Sim::pay`],
//! [`Sim::deliver`] ...); as `verza sim` it is a server with checkout pages that a person can
//! click, and a control API below `/_sim`:
//!
//! ```text
//! GET  /_sim/state                                     everything that it remembers
//! POST /_sim/faults     {"provider","call","kind","times"}
//! POST /_sim/mishaps    {"duplicate","lose","forge","reorder","delaySeconds"}
//! POST /_sim/collections/{reference}/{approve|decline|expire|dispute|win|lose|refund}
//! POST /_sim/payouts/{reference}/{settle|fail|return}
//! POST /_sim/chain/{mine|reorganise}/{blocks}
//! POST /_sim/chain/transfers  {"to","asset","amount"}     in the chain's units
//! POST /_sim/chain/transfers/{id}/drop
//! ```
//!
//! No money moves here, and nothing is kept: when it ends, it has forgotten everything.

mod control;
mod crypto;
mod page;
pub(crate) mod paypal;
mod paystack;
mod post;
mod stripe;
mod world;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{HeaderMap, Method, StatusCode};
use kernel::{Error, Money, Result, Secret, World as Chance};
use parking_lot::Mutex;
use serde_json::Value as Json;

pub use post::{Delivered, Mishaps};
pub use world::{Fault, FaultKind};
use world::{Outcome, World};

use crate::provider::ProviderName;

/// The most that a provider reads of a request.
const BODY_MAX: usize = 256 * 1024;

/// How the simulator and the platform find and trust each other.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where payers' browsers find the simulator.
    pub public_url: String,
    /// Where webhooks go: the platform's `/v1/payments/webhook`, the provider's name follows.
    pub webhook_url: String,
    pub paystack_key: String,
    pub stripe_key: String,
    pub stripe_webhook_secret: String,
    pub paypal_client_id: String,
    pub paypal_client_secret: String,
    pub paypal_webhook_id: String,
    pub crypto_key: String,
    pub crypto_webhook_secret: String,
}

impl Options {
    /// With secrets that everybody knows: for tests and demonstrations.
    pub fn at(public_url: &str, platform_url: &str) -> Self {
        Self {
            public_url: public_url.trim_end_matches('/').to_owned(),
            webhook_url: format!("{}/v1/payments/webhook", platform_url.trim_end_matches('/')),
            paystack_key: "sk_test_simulated".to_owned(),
            stripe_key: "sk_test_simulated".to_owned(),
            stripe_webhook_secret: "whsec_simulated".to_owned(),
            paypal_client_id: "simulated".to_owned(),
            paypal_client_secret: "secret-of-the-simulated-client".to_owned(),
            paypal_webhook_id: "WH-SIMULATED".to_owned(),
            crypto_key: "key-of-the-simulated-signer".to_owned(),
            crypto_webhook_secret: "secret-of-the-simulated-signer".to_owned(),
        }
    }
}

impl Options {
    /// How the platform finds the simulated Paystack.
    pub fn paystack(&self) -> crate::provider::paystack::Settings {
        crate::provider::paystack::Settings {
            base_url: format!("{}/paystack", self.public_url),
            secret_key: Secret::new(self.paystack_key.clone()),
            return_url: None,
        }
    }

    /// How the platform finds the simulated Stripe.
    pub fn stripe(&self) -> crate::provider::stripe::Settings {
        crate::provider::stripe::Settings {
            base_url: format!("{}/stripe", self.public_url),
            secret_key: Secret::new(self.stripe_key.clone()),
            webhook_secret: Secret::new(self.stripe_webhook_secret.clone()),
            return_url: self.public_url.clone(),
        }
    }

    /// How the platform finds the simulated signer.
    pub fn crypto(&self) -> crate::provider::crypto::Settings {
        crate::provider::crypto::Settings {
            base_url: format!("{}/crypto", self.public_url),
            key: Secret::new(self.crypto_key.clone()),
            webhook_secret: Secret::new(self.crypto_webhook_secret.clone()),
            chain: crypto::CHAIN,
            confirmations: crypto::CONFIRMATIONS,
        }
    }

    /// How the platform finds the simulated PayPal.
    pub fn paypal(&self) -> crate::provider::paypal::Settings {
        crate::provider::paypal::Settings {
            base_url: format!("{}/paypal", self.public_url),
            client_id: self.paypal_client_id.clone(),
            client_secret: Secret::new(self.paypal_client_secret.clone()),
            webhook_id: self.paypal_webhook_id.clone(),
            certificate_root: Some(paypal::ROOT.to_owned()),
            return_url: self.public_url.clone(),
        }
    }
}

/// The simulator. Cheap to clone; clones share one memory.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
    options: Arc<Options>,
    chance: Chance,
    client: reqwest::Client,
}

/// A request to a simulated provider, taken apart.
struct Asked<'a> {
    method: &'a Method,
    /// Without the provider's own prefix.
    path: &'a str,
    query: Vec<(String, String)>,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl Asked<'_> {
    fn segments(&self) -> Vec<&str> {
        self.path.trim_matches('/').split('/').collect()
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn json(&self) -> Json {
        serde_json::from_slice(self.body).unwrap_or_default()
    }

    fn is_bearer(&self, key: &str) -> bool {
        self.header("authorization") == Some(format!("Bearer {key}").as_str())
    }
}

/// What a simulated provider answers.
type Replied = (StatusCode, Json);

impl Sim {
    /// # Errors
    /// When there is no HTTP client to be had.
    pub fn new(options: Options, chance: Chance) -> Result<Self> {
        Ok(Self {
            world: Arc::new(Mutex::new(World::new(options.public_url.clone()))),
            options: Arc::new(options),
            chance,
            client: crate::provider::client()?,
        })
    }

    /// Everything that the simulator serves.
    pub fn router(&self) -> Router {
        Router::new()
            .merge(control::routes())
            .merge(page::routes())
            .route("/{provider}/{*path}", any(serve))
            .with_state(self.clone())
    }

    /// What happens from here on when the provider is called.
    pub fn fault(&self, fault: Fault) {
        self.world.lock().faults.push(fault);
    }

    /// What was still to go wrong does not.
    pub fn heal(&self) {
        self.world.lock().faults.clear();
    }

    /// What happens from here on to webhooks.
    pub fn mishaps(&self, mishaps: Mishaps) {
        self.world.lock().mishaps = mishaps;
    }

    /// Whether payouts are paid at once, or wait for [`Self::settle_payout`].
    pub fn pay_out_at_once(&self, at_once: bool) {
        self.world.lock().payouts_at_once = at_once;
    }

    /// Puts money of ours at a provider.
    pub fn fund(&self, provider: ProviderName, amount: Money) {
        self.world.lock().credit(provider, amount);
    }

    /// What of ours is at a provider.
    pub fn balance(&self, provider: ProviderName, asset: kernel::Asset) -> Money {
        self.world.lock().balance(provider, asset)
    }

    /// How many payouts there are for a reference: never more than one.
    pub fn payouts(&self, reference: &str) -> usize {
        self.world.lock().payouts.iter().filter(|it| it.reference == reference).count()
    }

    /// Somebody sends so many of a chain's units to an address; no block holds them yet. Answers
    /// the transfer's id.
    pub fn arrive(&self, to: &str, asset: kernel::Asset, raw: &str) -> String {
        let mut world = self.world.lock();
        let id = world.arrive(to, asset, raw);
        self.call_back(&mut world, "transfer.seen", std::slice::from_ref(&id));
        id
    }

    /// So many blocks more.
    pub fn mine(&self, blocks: u64) {
        let mut world = self.world.lock();
        let confirmed = world.mine(blocks);
        self.call_back(&mut world, "transfer.confirmed", &confirmed);
    }

    /// The last blocks are replaced by others that hold nothing of ours.
    pub fn reorganise(&self, depth: u64) {
        let mut world = self.world.lock();
        let left = world.reorganise(depth);
        self.call_back(&mut world, "transfer.orphaned", &left);
    }

    /// A transfer that no block holds is replaced by another transaction for good.
    ///
    /// # Errors
    /// Not found.
    pub fn drop_transfer(&self, id: &str) -> Result<()> {
        let mut world = self.world.lock();
        if !world.drop_transfer(id) {
            return Err(Error::not_found("transfer"));
        }
        self.call_back(&mut world, "transfer.dropped", &[id.to_owned()]);
        Ok(())
    }

    fn call_back(&self, world: &mut World, kind: &str, about: &[String]) {
        for id in about {
            let event = crypto::event(world, kind, id);
            self.post(world, ProviderName::Crypto, Some(event));
        }
    }

    /// The token that PayPal has given out is good no longer.
    pub fn revoke_token(&self) {
        self.world.lock().paypal_token = None;
    }

    /// How many tokens PayPal has given out.
    pub fn tokens(&self) -> u32 {
        self.world.lock().paypal_tokens
    }

    /// How many collections there are in all.
    pub fn collections(&self) -> usize {
        self.world.lock().collections.len()
    }

    /// The payer pays: what was asked for, or another amount.
    ///
    /// # Errors
    /// Not found; `decided` (conflict).
    pub fn pay(&self, reference: &str, paid: Option<Money>) -> Result<()> {
        self.decide(reference, |world, at| world.pay(at, paid))
    }

    /// The payer declines.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub fn decline(&self, reference: &str) -> Result<()> {
        self.decide(reference, World::decline)
    }

    /// The payer's bank wants the money back.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub fn dispute(&self, reference: &str) -> Result<()> {
        self.decide(reference, |world, at| world.dispute(at, None))
    }

    /// The payer's bank wants a part of the money back.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub fn dispute_part(&self, reference: &str, amount: i64) -> Result<()> {
        self.decide(reference, |world, at| world.dispute(at, Some(amount)))
    }

    /// The bank wants another amount from here on.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub fn amend_dispute(&self, reference: &str, amount: i64) -> Result<()> {
        self.decide(reference, |world, at| world.amend_dispute(at, amount))
    }

    /// Somebody sends a part of the money back in the provider's dashboard.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub fn send_back(&self, reference: &str, amount: i64) -> Result<()> {
        self.decide(reference, |world, at| world.send_back(at, amount))
    }

    /// The payer's bank sends a refund through Stripe back, after it was paid.
    ///
    /// # Errors
    /// Not found.
    pub fn return_refund(&self, reference: &str) -> Result<()> {
        let mut world = self.world.lock();
        let Some((collection, refund)) = world.return_refund(reference) else {
            return Err(Error::not_found("refund"));
        };
        let event = stripe::refund_event(&mut world, &refund, &collection);
        self.post(&mut world, ProviderName::Stripe, Some(event));
        Ok(())
    }

    /// The bank's claim is decided.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub fn decide_dispute(&self, reference: &str, is_won: bool) -> Result<()> {
        self.decide(reference, |world, at| world.decide_dispute(at, is_won))
    }

    /// # Errors
    /// As [`Self::pay`].
    pub fn settle_payout(&self, reference: &str) -> Result<()> {
        self.move_payout(reference, Outcome::Done)
    }

    /// # Errors
    /// As [`Self::pay`].
    pub fn fail_payout(&self, reference: &str) -> Result<()> {
        self.move_payout(reference, Outcome::Failed)
    }

    /// A payout that was paid comes back.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub fn return_payout(&self, reference: &str) -> Result<()> {
        self.move_payout(reference, Outcome::Returned)
    }

    fn decide(
        &self,
        reference: &str,
        how: impl FnOnce(&mut World, usize) -> Result<&'static str>,
    ) -> Result<()> {
        let mut world = self.world.lock();
        let at = world.collection(reference).ok_or_else(|| Error::not_found("collection"))?;
        let happened = how(&mut world, at)?;
        let collection = world.collections[at].clone();
        let event = match collection.provider {
            ProviderName::Stripe => stripe::collection_event(&mut world, &collection, happened),
            ProviderName::Paypal => paypal::collection_event(&mut world, &collection, happened),
            ProviderName::Crypto => crypto::collection_event(&mut world, &collection, happened),
            _ => paystack::collection_event(&collection, happened),
        };
        self.post(&mut world, collection.provider, event);
        Ok(())
    }

    fn move_payout(&self, reference: &str, to: Outcome) -> Result<()> {
        let mut world = self.world.lock();
        world.move_payout(reference, to)?;
        self.tell_payout(&mut world, reference);
        Ok(())
    }

    /// The webhook about a payout, where its provider sends one.
    fn tell_payout(&self, world: &mut World, reference: &str) {
        let found = world.payouts.iter().find(|it| it.reference == reference).cloned();
        let Some(payout) = found else { return };
        let event = match payout.provider {
            ProviderName::Paypal => paypal::payout_event(world, &payout),
            ProviderName::Crypto => {
                Some(crypto::event(world, "withdrawal.changed", &payout.reference))
            }
            _ => paystack::payout_event(&payout),
        };
        self.post(world, payout.provider, event);
    }

    fn handle(&self, provider: ProviderName, asked: &Asked<'_>) -> Served {
        let mut world = self.world.lock();
        let call = format!("{} {}", asked.method, asked.path);
        let fault = world.next_fault(provider, &call);
        match fault {
            Some(FaultKind::ErrorBefore) => return Served::now(StatusCode::SERVICE_UNAVAILABLE),
            Some(FaultKind::RateLimit) => return limited(provider),
            Some(FaultKind::Decline) => return Served::Reply(declined(provider, asked.path)),
            Some(FaultKind::LoseRequest) => return Served::Broken,
            Some(FaultKind::LoseReply | FaultKind::ErrorAfter) | None => {}
        }
        if provider == ProviderName::Paypal
            && let Some(text) = paypal::certificate(asked)
        {
            return Served::Text(text);
        }
        let before = world.payouts.len();
        let replied = match provider {
            ProviderName::Paystack => paystack::answer(&mut world, asked, &self.options),
            ProviderName::Stripe => stripe::answer(&mut world, asked, &self.options),
            ProviderName::Paypal => paypal::answer(&mut world, asked, &self.options),
            ProviderName::Crypto => crypto::answer(&mut world, asked, &self.options),
            _ => (StatusCode::NOT_FOUND, Json::Null),
        };
        if let Some(made) = world.payouts.get(before).map(|it| it.reference.clone())
            && world.payouts_at_once
        {
            self.tell_payout(&mut world, &made);
        }
        for event in std::mem::take(&mut world.told) {
            self.post(&mut world, provider, Some(event));
        }
        match fault {
            Some(FaultKind::LoseReply) => Served::Broken,
            Some(FaultKind::ErrorAfter) => Served::now(StatusCode::INTERNAL_SERVER_ERROR),
            _ => Served::Reply(replied),
        }
    }
}

/// A refusal that is final, in the provider's own words.
fn declined(provider: ProviderName, path: &str) -> Replied {
    match provider {
        ProviderName::Paypal => paypal::declined(path),
        ProviderName::Crypto => {
            crypto::refusal(StatusCode::UNPROCESSABLE_ENTITY, "insufficient_balance")
        }
        ProviderName::Stripe => stripe::refusal(StatusCode::PAYMENT_REQUIRED, "card_declined"),
        _ => paystack::refusal(StatusCode::BAD_REQUEST, "insufficient_balance"),
    }
}

/// Too fast, in the provider's own words where those were heard.
fn limited(provider: ProviderName) -> Served {
    let status = StatusCode::TOO_MANY_REQUESTS;
    match provider {
        ProviderName::Stripe => Served::Reply(stripe::refusal(status, "rate_limit")),
        _ => Served::now(status),
    }
}

enum Served {
    Reply(Replied),
    Text(&'static str),
    /// The connection breaks instead of an answer.
    Broken,
}

impl Served {
    const fn now(status: StatusCode) -> Self {
        Self::Reply((status, Json::Null))
    }
}

impl IntoResponse for Served {
    fn into_response(self) -> Response {
        match self {
            Self::Reply((status, json)) => (status, axum::Json(json)).into_response(),
            Self::Text(text) => text.into_response(),
            Self::Broken => {
                let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                let body = futures_util::stream::iter([Err::<bytes::Bytes, _>(broken)]);
                Response::new(Body::from_stream(body))
            }
        }
    }
}

async fn serve(
    State(sim): State<Sim>,
    Path((provider, path)): Path<(String, String)>,
    request: Request,
) -> Response {
    let Ok(provider) = provider.parse::<ProviderName>() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let query = parts.uri.query().unwrap_or_default();
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let path = format!("/{path}");
    let (method, headers) = (&parts.method, &parts.headers);
    let asked = Asked { method, path: &path, query, headers, body: &body };
    sim.handle(provider, &asked).into_response()
}
