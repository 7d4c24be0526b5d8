//! Stripe: collections by Checkout, and refunds.
//!
//! Paying third parties out through Stripe needs connected accounts, so payouts go elsewhere.
//! Money that Stripe takes in another currency than the payment's (its fee, where the account is
//! settled in one) is not booked here and shows in the reconciliation.

use http::{HeaderMap, Method, StatusCode};
use kernel::{Asset, Money, Result, Secret, Timestamp};
use platform::db::Db;
use platform::http::escape;
use serde::Deserialize;
use serde_json::Value as Json;

use super::port::{
    Answer, Capabilities, Checkout, DisputeStage, Event, Failure, Known, Order, Provider,
    ProviderName, RefundState, Seen, SeenDispute, SeenRefund, SeenState, Webhook,
};
use super::signature::{hmac_sha256_hex, is_same};
use super::transport::{Answered, Body, Request, Transport};

/// Carries time and signatures of a webhook.
pub const SIGNATURE_HEADER: &str = "stripe-signature";
/// Where Stripe is.
pub const BASE_URL: &str = "https://api.stripe.com";
/// The dated API that this adapter was written against; endpoints for webhooks are to be set to
/// the same.
pub const API_VERSION: &str = "2026-10-28.endive";

/// How far a webhook's time may be from ours, in seconds.
const TOLERANCE: i64 = 300;
const CURRENCIES: [Asset; 14] = [
    Asset::USD,
    Asset::EUR,
    Asset::GBP,
    Asset::NGN,
    Asset::GHS,
    Asset::KES,
    Asset::ZAR,
    Asset::CAD,
    Asset::CHF,
    Asset::INR,
    Asset::HUF,
    Asset::TWD,
    Asset::JPY,
    Asset::KWD,
];
/// Of the currencies with three decimals Stripe takes two.
const STEPS: &[(Asset, i64)] = &[(Asset::KWD, 10)];

/// An account at Stripe.
#[derive(Debug, Clone)]
pub struct Settings {
    pub base_url: String,
    /// `sk_live_...` or `sk_test_...`: the key says whether money is real.
    pub secret_key: Secret<String>,
    /// The webhook endpoint's `whsec_...`, used as it is written.
    pub webhook_secret: Secret<String>,
    /// Where a payer's browser goes afterwards.
    pub return_url: String,
}

/// The adapter.
pub struct Adapter {
    transport: Transport,
    settings: Settings,
    capabilities: Capabilities,
}

#[derive(Deserialize)]
struct Session {
    id: String,
    url: Option<String>,
    status: Option<String>,
    payment_status: String,
    client_reference_id: Option<String>,
    amount_total: Option<i64>,
    currency: Option<String>,
    livemode: bool,
    payment_intent: Option<Expandable<Intent>>,
}

/// A part that is whole where we asked for it, and an id elsewhere.
#[derive(Deserialize)]
#[serde(untagged)]
enum Expandable<T> {
    Whole(Box<T>),
    Id(String),
}

impl<T> Expandable<T> {
    fn whole(&self) -> Option<&T> {
        match self {
            Self::Whole(it) => Some(it),
            Self::Id(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    status: String,
    amount_received: Option<i64>,
    currency: String,
    #[serde(default)]
    metadata: Json,
    latest_charge: Option<Expandable<Charge>>,
    last_payment_error: Option<Json>,
}

#[derive(Deserialize)]
struct Charge {
    #[serde(default)]
    disputed: bool,
    balance_transaction: Option<Expandable<BalanceTransaction>>,
}

#[derive(Deserialize)]
struct BalanceTransaction {
    fee: i64,
    currency: String,
}

#[derive(Deserialize)]
struct Listed<T> {
    data: Vec<T>,
}

#[derive(Deserialize)]
struct DisputeWire {
    id: String,
    amount: i64,
    currency: String,
    status: String,
}

#[derive(Deserialize)]
struct RefundWire {
    id: String,
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    metadata: Json,
}

impl RefundWire {
    fn is_ours(&self) -> bool {
        let own = self.metadata["reference"].as_str();
        own.and_then(crate::refund::parse_reference).is_some()
    }
}

#[derive(Deserialize)]
struct BalanceWire {
    #[serde(default)]
    available: Vec<Part>,
    #[serde(default)]
    pending: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    amount: i64,
    currency: String,
}

fn classify(answered: &Answered) -> Failure {
    let body: Json = serde_json::from_slice(&answered.body).unwrap_or_default();
    let error = &body["error"];
    let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    let what =
        format!("{}: {} {} {}", answered.status, word("type"), word("code"), word("message"));
    match answered.status {
        StatusCode::PAYMENT_REQUIRED => {
            let reason = [word("decline_code"), word("code"), "declined".into()];
            let reason = reason.into_iter().find(|it| !it.is_empty()).unwrap_or_default();
            Failure::Declined { reason }
        }
        // Another request with the same key runs, or we are too fast: this one did nothing.
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => Failure::Retryable(what),
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

fn money(minor: i64, currency: &str) -> Result<Money, Failure> {
    let asset = currency.to_uppercase().parse();
    asset
        .map(|asset| Money::new(minor, asset))
        .map_err(|_| Failure::Invalid(format!("an amount in {currency}")))
}

impl Adapter {
    /// # Errors
    /// When the base URL is none.
    pub fn new(settings: Settings, db: Db) -> Result<Self> {
        let transport = Transport::new(ProviderName::Stripe, &settings.base_url, db)?;
        let capabilities = Capabilities {
            currencies: CURRENCIES.to_vec(),
            methods: vec!["card"],
            live: settings.secret_key.expose().starts_with("sk_live"),
            needs_email: false,
            steps: STEPS,
            payouts: Vec::new(),
            finds_payouts: false,
            refunds: true,
            has_arrivals: false,
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
        let mut headers = vec![
            ("authorization", format!("Bearer {}", self.settings.secret_key.expose())),
            ("stripe-version", API_VERSION.to_owned()),
        ];
        if method == Method::POST {
            headers.push(("idempotency-key", format!("verza-{reference}-{verb}")));
        }
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

    async fn create(&self, order: &Order) -> Result<Checkout, Failure> {
        let (amount, reference) = (order.amount, &order.reference);
        let back = order.return_url.as_ref().unwrap_or(&self.settings.return_url);
        let mut form = vec![
            ("mode", "payment".to_owned()),
            ("line_items[0][quantity]", "1".to_owned()),
            ("line_items[0][price_data][currency]", amount.asset.code().to_lowercase()),
            ("line_items[0][price_data][unit_amount]", amount.minor.to_string()),
            ("line_items[0][price_data][product_data][name]", "Deposit".to_owned()),
            ("success_url", back.clone()),
            ("cancel_url", back.clone()),
            ("client_reference_id", reference.clone()),
            ("metadata[reference]", reference.clone()),
            ("payment_intent_data[metadata][reference]", reference.clone()),
        ];
        if let Some(email) = &order.email {
            form.push(("customer_email", email.clone()));
        }
        let form = form.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let path = "/v1/checkout/sessions".to_owned();
        let answer =
            self.ask("create_collection", reference, Method::POST, path, Body::Form(form)).await?;
        let session: Session = answer.read()?;
        let url = session.url.ok_or_else(|| Failure::Unknown("a session without a page".into()))?;
        Ok(Checkout { access_code: session.id.clone(), provider_ref: session.id, url })
    }

    async fn fetch(&self, known: Known<'_>) -> Result<Option<Seen>, Failure> {
        // The page's address came with the id: where we have not heard the id, nobody can pay.
        let Some(id) = known.provider_ref else { return Ok(None) };
        let part = "payment_intent.latest_charge.balance_transaction";
        let path = format!("/v1/checkout/sessions/{}?expand[]={part}", escape(id));
        let answer = self.get("fetch_collection", known.reference, path).await;
        let Some(answer) = or_none(answer)? else { return Ok(None) };
        let session: Session = answer.read()?;
        if session.livemode != self.capabilities.live {
            return Err(Failure::Invalid("a payment of the other mode".into()));
        }
        let reference = session.client_reference_id.clone().unwrap_or_default();
        let intent = session.payment_intent.as_ref().and_then(Expandable::whole);
        let charge = intent.and_then(|it| it.latest_charge.as_ref()).and_then(Expandable::whole);
        let mut disputes = Vec::new();
        if let Some(intent) = intent {
            if charge.is_some_and(|it| it.disputed) {
                disputes = self.disputes(known.reference, &intent.id).await?;
            }
            if known.with_dispute {
                disputes.extend(self.foreign_refunds(known.reference, &intent.id).await?);
            }
        }
        let state = seen_state(&session, intent, charge)?;
        Ok(Some(Seen { reference, state, disputes }))
    }

    async fn disputes(&self, about: &str, intent: &str) -> Result<Vec<SeenDispute>, Failure> {
        let path = format!("/v1/disputes?limit=100&payment_intent={}", escape(intent));
        let answer = self.get("fetch_collection", about, path).await?;
        let found = answer.read::<Listed<DisputeWire>>()?.data;
        found.into_iter().map(seen_dispute).collect()
    }

    /// What was sent back of a payment without us.
    async fn foreign_refunds(
        &self,
        about: &str,
        intent: &str,
    ) -> Result<Vec<SeenDispute>, Failure> {
        let refunds = self.refunds("fetch_collection", about, intent).await?;
        let foreign = refunds.into_iter().filter(|it| !it.is_ours());
        foreign.map(|it| Ok(seen_refund(it)?.into_dispute())).collect()
    }

    async fn find_reference(&self, id: &str) -> Result<Option<String>, Failure> {
        if !id.starts_with("pi_") {
            return Ok(None);
        }
        let path = format!("/v1/payment_intents/{}", escape(id));
        let answer = or_none(self.get("reference_of", id, path).await)?;
        let Some(answer) = answer else { return Ok(None) };
        let intent: Intent = answer.read()?;
        Ok(intent.metadata["reference"].as_str().map(str::to_owned))
    }

    async fn refund(
        &self,
        payment: Known<'_>,
        refund: &str,
        amount: Money,
    ) -> Result<SeenRefund, Failure> {
        let intent = self.intent_of(payment).await?;
        let form = [
            ("payment_intent", intent),
            ("amount", amount.minor.to_string()),
            ("metadata[reference]", refund.to_owned()),
        ];
        let form = form.map(|(key, value)| (key.to_owned(), value)).to_vec();
        let path = "/v1/refunds".to_owned();
        let answer =
            self.ask("create_refund", refund, Method::POST, path, Body::Form(form)).await?;
        seen_refund(answer.read()?)
    }

    async fn intent_of(&self, payment: Known<'_>) -> Result<String, Failure> {
        let id = payment.provider_ref.unwrap_or_default();
        let path = format!("/v1/checkout/sessions/{}", escape(id));
        let session: Session =
            self.get("fetch_collection", payment.reference, path).await?.read()?;
        match session.payment_intent {
            Some(Expandable::Id(id)) => Ok(id),
            Some(Expandable::Whole(intent)) => Ok(intent.id),
            None => Err(Failure::Invalid("a payment that was never paid".into())),
        }
    }

    async fn find_refund(
        &self,
        payment: Known<'_>,
        own: &str,
    ) -> Result<Option<SeenRefund>, Failure> {
        let intent = self.intent_of(payment).await?;
        let refunds = self.refunds("fetch_refund", own, &intent).await?;
        let is_own = |refund: &RefundWire| refund.metadata["reference"] == *own;
        refunds.into_iter().find(is_own).map(seen_refund).transpose()
    }

    async fn refunds(
        &self,
        verb: &'static str,
        about: &str,
        intent: &str,
    ) -> Result<Vec<RefundWire>, Failure> {
        let path = format!("/v1/refunds?limit=100&payment_intent={}", escape(intent));
        Ok(self.get(verb, about, path).await?.read::<Listed<RefundWire>>()?.data)
    }

    async fn balances(&self) -> Result<Vec<Money>, Failure> {
        let answer = self.get("balance", "", "/v1/balance".to_owned()).await?;
        let BalanceWire { available, pending } = answer.read()?;
        let mut sums: Vec<Money> = Vec::new();
        for part in available.into_iter().chain(pending) {
            let part = money(part.amount, &part.currency)?;
            match sums.iter_mut().find(|sum| sum.asset == part.asset) {
                Some(sum) => sum.minor += part.minor,
                None => sums.push(part),
            }
        }
        Ok(sums)
    }

    fn events(&self, body: &[u8], headers: &HeaderMap, now: Timestamp) -> Option<Vec<Event>> {
        let header = headers.get(SIGNATURE_HEADER)?.to_str().ok()?;
        if !is_signed(self.settings.webhook_secret.expose(), header, body, now.seconds()) {
            return None;
        }
        let event: Json = serde_json::from_slice(body).ok()?;
        if event["livemode"].as_bool()? != self.capabilities.live {
            return None;
        }
        let (kind, object) = (event["type"].as_str()?, &event["data"]["object"]);
        let family = ["checkout.session.", "payment_intent.", "charge.", "refund."];
        if !family.iter().any(|family| kind.starts_with(family)) {
            return Some(Vec::new());
        }
        let own = object["metadata"]["reference"].as_str();
        let reference = own
            .filter(|_| !kind.starts_with("refund."))
            .or_else(|| object["client_reference_id"].as_str())
            .or_else(|| object["payment_intent"].as_str())
            .or_else(|| object["id"].as_str())?;
        let (dedupe_key, kind) = (event["id"].as_str()?.to_owned(), kind.to_owned());
        Some(vec![Event { dedupe_key, kind, reference: reference.to_owned() }])
    }
}

/// Whether a header of `t=...,v1=...` signs a body, and not too long ago; one of several `v1`
/// may be the one, while a secret is being replaced.
pub(super) fn is_signed(secret: &str, header: &str, body: &[u8], now: i64) -> bool {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find(|(name, _)| *name == "t").map(|(_, value)| value);
    let Some((text, time)) = time.and_then(|text| Some((text, text.parse::<i64>().ok()?))) else {
        return false;
    };
    if now.saturating_sub(time).saturating_abs() > TOLERANCE {
        return false;
    }
    let expected = hmac_sha256_hex(secret, &[text.as_bytes(), b".", body]);
    parts().any(|(name, value)| name == "v1" && is_same(value, &expected))
}

fn seen_dispute(found: DisputeWire) -> Result<SeenDispute, Failure> {
    let stage = match found.status.as_str() {
        "won" | "warning_closed" | "prevented" => DisputeStage::Won,
        "lost" => DisputeStage::Lost,
        _ => DisputeStage::Open,
    };
    let amount = money(found.amount, &found.currency)?;
    Ok(SeenDispute { id: found.id, amount, stage })
}

fn seen_state(
    session: &Session,
    intent: Option<&Intent>,
    charge: Option<&Charge>,
) -> Result<SeenState, Failure> {
    if session.payment_status == "paid" {
        let (total, currency) = (session.amount_total, session.currency.as_deref());
        let total = intent.and_then(|it| it.amount_received).or(total).unwrap_or_default();
        let currency = intent.map(|it| it.currency.as_str()).or(currency).unwrap_or_default();
        let received = money(total, currency)?;
        let cost = charge.and_then(|it| it.balance_transaction.as_ref()?.whole());
        let fee = cost.filter(|cost| cost.currency.eq_ignore_ascii_case(received.asset.code()));
        let fee = Money::new(fee.map_or(0, |cost| cost.fee), received.asset);
        return Ok(SeenState::Paid { received, fee });
    }
    let is_over = session.status.as_deref() == Some("expired");
    let is_canceled = intent.is_some_and(|it| it.status == "canceled");
    if is_over || is_canceled {
        let reason = intent
            .and_then(|it| it.last_payment_error.as_ref()?["code"].as_str())
            .unwrap_or(if is_canceled { "canceled" } else { "expired" });
        return Ok(SeenState::Failed { reason: reason.to_owned() });
    }
    Ok(SeenState::Open)
}

fn seen_refund(refund: RefundWire) -> Result<SeenRefund, Failure> {
    let state = match refund.status.as_str() {
        "succeeded" => RefundState::Settled,
        "failed" | "canceled" => RefundState::Failed,
        "requires_action" => RefundState::NeedsAction,
        _ => RefundState::Pending,
    };
    let amount = money(refund.amount, &refund.currency)?;
    Ok(SeenRefund { provider_ref: refund.id, amount, state })
}

impl Provider for Adapter {
    fn name(&self) -> ProviderName {
        ProviderName::Stripe
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

    fn reference_of<'a>(&'a self, id: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(self.find_reference(id))
    }

    fn create_refund<'a>(
        &'a self,
        payment: Known<'a>,
        refund: &'a str,
        amount: Money,
    ) -> Answer<'a, SeenRefund> {
        Box::pin(self.refund(payment, refund, amount))
    }

    fn fetch_refund<'a>(
        &'a self,
        payment: Known<'a>,
        refund: &'a str,
    ) -> Answer<'a, Option<SeenRefund>> {
        Box::pin(self.find_refund(payment, refund))
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

    fn balance(&self) -> Answer<'_, Vec<Money>> {
        Box::pin(self.balances())
    }
}
