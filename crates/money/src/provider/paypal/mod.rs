//! PayPal: collections by Orders v2, payouts by Payouts v1, refunds, and charge-backs.
//!
//! An order is approved by the payer and captured by us; only what was captured is money. Payouts
//! go in batches of one, whose `sender_batch_id` is our reference: PayPal refuses a second batch of
//! the same id for 30 days and says where the first one is. Its request ids are forgotten sooner
//! (orders after six hours), so nothing rests on them alone.
//!
//! NGN, GHS, KES and ZAR are no currencies there.

mod webhook;
mod wire;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, StatusCode};
use kernel::id::kinds::Withdrawal;
use kernel::{Id, Money, Result, Secret, Timestamp};
use platform::db::Db;
use platform::http::escape;
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;

use self::webhook::Verifier;
pub(crate) use self::webhook::signed_text;
use self::wire::{
    Balances, Batch, BatchHeader, CURRENCIES, Capture, DisputeWire, Disputes, Granted, OrderWire,
    RefundWire, Refusal, STEPS, Unit,
};
pub(crate) use self::wire::{read, written};
use super::port::{
    Answer, Capabilities, Checkout, Destination, DestinationKind, DisputeStage, Event, Failure,
    Known, Order, Payout, PayoutState, Provider, ProviderName, RefundState, Seen, SeenDispute,
    SeenPayout, SeenRefund, SeenState, Webhook,
};
use super::transport::{Answered, Body, Request, Transport};
use crate::payment::parse_email;

/// Carries the signature of a webhook; four more headers say how it was made.
pub const SIGNATURE_HEADER: &str = "paypal-transmission-sig";
/// Where PayPal is.
pub const BASE_URL: &str = "https://api-m.paypal.com";
/// Where PayPal is without real money.
pub const SANDBOX_URL: &str = "https://api-m.sandbox.paypal.com";

/// A token is not used in its last moments: it has to last for the call.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// For so long PayPal knows the id of a batch, less a day.
const BATCH_KNOWN: Duration = Duration::from_secs(29 * 24 * 3600);
/// How a failure begins that tells of the first batch of an id.
const DUPLICATE: &str = "the batch was made before: ";
/// Refusals to capture after which the order says how it stands.
const LOOK_AGAIN: [&str; 4] = [
    "ORDER_ALREADY_CAPTURED",
    "ORDER_NOT_APPROVED",
    "PAYER_ACTION_REQUIRED",
    "ORDER_COMPLETION_IN_PROGRESS",
];

/// An account at PayPal.
#[derive(Debug, Clone)]
pub struct Settings {
    /// [`BASE_URL`] moves real money.
    pub base_url: String,
    pub client_id: String,
    pub client_secret: Secret<String>,
    /// The id of the webhook, as PayPal shows it where it is set up: a part of what is signed.
    pub webhook_id: String,
    /// The SHA-256 of the root that vouches for PayPal's certificate, in hexadecimal digits;
    /// without it, any root that the system trusts.
    pub certificate_root: Option<String>,
    /// Where a payer's browser goes afterwards.
    pub return_url: String,
}

/// The adapter.
pub struct Adapter {
    transport: Transport,
    verifier: Verifier,
    settings: Settings,
    capabilities: Capabilities,
    /// Locked while one is asked for, so that everybody waits for the same.
    token: Mutex<Option<Token>>,
    db: Db,
}

struct Token {
    text: Secret<String>,
    until: Timestamp,
}

/// A request, before it has its token.
struct Call<'a> {
    verb: &'static str,
    reference: &'a str,
    method: Method,
    path: String,
    body: Option<Json>,
    /// The `PayPal-Request-Id`.
    key: Option<String>,
}

impl<'a> Call<'a> {
    fn get(verb: &'static str, reference: &'a str, path: String) -> Self {
        Self { verb, reference, method: Method::GET, path, body: None, key: None }
    }

    fn post(verb: &'static str, reference: &'a str, path: String, body: Json) -> Self {
        let key = Some(format!("verza-{reference}-{verb}"));
        Self { verb, reference, method: Method::POST, path, body: Some(body), key }
    }
}

fn classify(answered: &Answered) -> Failure {
    let refusal: Refusal = serde_json::from_slice(&answered.body).unwrap_or_default();
    let issues: Vec<&str> = refusal.details.iter().map(|it| it.issue.as_str()).collect();
    let what = format!("{}: {} {}", answered.status, refusal.name, issues.join(" "));
    let is_declined = ["INSUFFICIENT_FUNDS", "INSTRUMENT_DECLINED", "PAYER_CANNOT_PAY"]
        .into_iter()
        .find(|word| refusal.name == *word || issues.contains(word));
    match answered.status {
        // The token is stale, or we are too fast: this did nothing.
        StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS => Failure::Retryable(what),
        _ if refusal.details.iter().any(|it| it.field == "SENDER_BATCH_ID") => {
            let first = refusal.links.iter().find_map(|link| link.href.rsplit('/').next());
            Failure::Unknown(format!("{DUPLICATE}{}", first.unwrap_or_default()))
        }
        status if status.is_server_error() => Failure::Unknown(what),
        _ => match is_declined {
            Some(word) => Failure::Declined { reason: word.to_lowercase() },
            None => Failure::Invalid(what),
        },
    }
}

fn or_none<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Invalid(what)) if what.starts_with("404") => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A failure of something that moves no money.
fn without_effect(failure: Failure) -> Failure {
    match failure {
        Failure::Unknown(what) => Failure::Retryable(what),
        other => other,
    }
}

impl Adapter {
    /// # Errors
    /// When the base URL is none, or the root's fingerprint is none.
    pub fn new(settings: Settings, db: Db) -> Result<Self> {
        let settings =
            Settings { base_url: settings.base_url.trim_end_matches('/').to_owned(), ..settings };
        let base = settings.base_url.as_str();
        let transport = Transport::new(ProviderName::Paypal, base, db.clone())?;
        let root = settings.certificate_root.as_deref();
        let verifier = Verifier::new(base, &settings.webhook_id, root, &db)?;
        let capabilities = Capabilities {
            currencies: CURRENCIES.to_vec(),
            methods: vec!["paypal"],
            live: base == BASE_URL,
            needs_email: false,
            steps: STEPS,
            payouts: CURRENCIES.map(|asset| (DestinationKind::Paypal, asset)).to_vec(),
            finds_payouts: false,
            refunds: true,
            has_arrivals: false,
        };
        Ok(Self { transport, verifier, settings, capabilities, token: Mutex::default(), db })
    }

    /// The token that calls carry: a new one when the last is about to end.
    async fn bearer(&self) -> Result<String, Failure> {
        let mut kept = self.token.lock().await;
        let now = self.db.world().now();
        if let Some(token) = kept.as_ref().filter(|token| token.until > now) {
            return Ok(token.text.expose().clone());
        }
        let Settings { client_id, client_secret, .. } = &self.settings;
        let basic = STANDARD.encode(format!("{client_id}:{}", client_secret.expose()));
        let request = Request {
            verb: "token",
            reference: "",
            method: Method::POST,
            path: "/v1/oauth2/token".to_owned(),
            body: Body::Form(vec![("grant_type".to_owned(), "client_credentials".to_owned())]),
            headers: vec![("authorization", format!("Basic {basic}"))],
        };
        let answer = self.transport.send(request, classify).await.map_err(without_effect)?;
        let granted: Granted = answer.read().map_err(without_effect)?;
        let lasting = Duration::from_secs(granted.expires_in.into()).saturating_sub(TOKEN_MARGIN);
        let text = granted.access_token;
        *kept = Some(Token { text: Secret::new(text.clone()), until: now + lasting });
        Ok(text)
    }

    /// Forgets a token that was refused, unless somebody has a new one already.
    async fn forget(&self, refused: &str) {
        let mut kept = self.token.lock().await;
        if kept.as_ref().is_some_and(|token| token.text.expose() == refused) {
            *kept = None;
        }
    }

    async fn ask(&self, call: Call<'_>) -> Result<Answered, Failure> {
        let bearer = self.bearer().await?;
        match self.send(&call, &bearer).await {
            Err(Failure::Retryable(what)) if what.starts_with("401") => {
                self.forget(&bearer).await;
                let bearer = self.bearer().await?;
                self.send(&call, &bearer).await
            }
            answer => answer,
        }
    }

    async fn send(&self, call: &Call<'_>, bearer: &str) -> Result<Answered, Failure> {
        let mut headers = vec![
            ("authorization", format!("Bearer {bearer}")),
            ("prefer", "return=representation".to_owned()),
        ];
        if let Some(key) = &call.key {
            headers.push(("paypal-request-id", key.clone()));
        }
        let body = call.body.clone().map_or(Body::Empty, Body::Json);
        let (method, path) = (call.method.clone(), call.path.clone());
        let (verb, reference) = (call.verb, call.reference);
        let request = Request { verb, reference, method, path, body, headers };
        self.transport.send(request, classify).await
    }

    async fn create(&self, order: &Order) -> Result<Checkout, Failure> {
        let (amount, reference) = (order.amount, order.reference.as_str());
        let back = order.return_url.as_ref().unwrap_or(&self.settings.return_url);
        let body = json!({
            "intent": "CAPTURE",
            "purchase_units": [{
                "custom_id": reference,
                "invoice_id": reference,
                "amount": { "currency_code": amount.asset, "value": written(amount)? },
            }],
            "payment_source": { "paypal": { "experience_context": {
                "return_url": back,
                "cancel_url": back,
                "user_action": "PAY_NOW",
                "shipping_preference": "NO_SHIPPING",
            } } },
        });
        let path = "/v2/checkout/orders".to_owned();
        let call = Call::post("create_collection", reference, path, body);
        let made: OrderWire = self.ask(call).await?.read()?;
        let page = made.links.iter().find(|it| matches!(&*it.rel, "payer-action" | "approve"));
        let url = page.map(|link| link.href.clone());
        let url = url.ok_or_else(|| Failure::Unknown("an order without a page".into()))?;
        Ok(Checkout { access_code: made.id.clone(), provider_ref: made.id, url })
    }

    async fn order(
        &self,
        verb: &'static str,
        known: Known<'_>,
    ) -> Result<Option<OrderWire>, Failure> {
        // The page's address came with the id: where we have not heard the id, nobody can pay.
        let Some(id) = known.provider_ref else { return Ok(None) };
        let path = format!("/v2/checkout/orders/{}", escape(id));
        match or_none(self.ask(Call::get(verb, known.reference, path)).await)? {
            Some(answer) => answer.read().map(Some),
            None => Ok(None),
        }
    }

    async fn fetch(&self, known: Known<'_>) -> Result<Option<Seen>, Failure> {
        let Some(order) = self.order("fetch_collection", known).await? else { return Ok(None) };
        self.seen(&order, known).await.map(Some)
    }

    async fn seen(&self, order: &OrderWire, known: Known<'_>) -> Result<Seen, Failure> {
        let unit = order.purchase_units.first().unwrap_or(&NO_UNIT);
        let reference = unit.custom_id.clone().unwrap_or_default();
        let state = seen_state(order, unit)?;
        let capture = unit.payments.captures.iter().find(|it| it.is_paid());
        let disputes = match capture.filter(|_| known.with_dispute) {
            Some(capture) => {
                let mut disputes = self.disputes(known.reference, &capture.id).await?;
                for refund in unit.payments.refunds.iter().filter(|it| !it.is_ours()) {
                    disputes.push(seen_refund(refund, None)?.into_dispute());
                }
                disputes
            }
            None => Vec::new(),
        };
        Ok(Seen { reference, state, disputes })
    }

    /// Takes the money of an approved order. The key changes when the payer approves anew, so that
    /// a declined card is not remembered for the next one; an order is captured once in any case.
    async fn capture(&self, known: Known<'_>) -> Result<Option<Seen>, Failure> {
        let Some(order) = self.order("fetch_collection", known).await? else { return Ok(None) };
        if order.status != "APPROVED" {
            return self.seen(&order, known).await.map(Some);
        }
        let verb = "complete_collection";
        let path = format!("/v2/checkout/orders/{}/capture", escape(&order.id));
        let at = order.update_time.as_deref().unwrap_or_default();
        let key = Some(format!("verza-{}-capture-{at}", known.reference));
        let call = Call { key, ..Call::post(verb, known.reference, path, json!({})) };
        match self.ask(call).await {
            Ok(answer) => {
                let order: OrderWire = answer.read()?;
                self.seen(&order, known).await.map(Some)
            }
            // The payer's turn again, or somebody else was first: the order says how it stands.
            Err(Failure::Declined { .. }) => self.fetch(known).await,
            Err(Failure::Invalid(what)) if LOOK_AGAIN.iter().any(|it| what.contains(it)) => {
                self.fetch(known).await
            }
            Err(failure) => Err(failure),
        }
    }

    async fn disputes(&self, own: &str, capture: &str) -> Result<Vec<SeenDispute>, Failure> {
        let verb = "fetch_collection";
        let of = escape(capture);
        let path = format!("/v1/customer/disputes?disputed_transaction_id={of}&page_size=50");
        let listed: Disputes = self.ask(Call::get(verb, own, path)).await?.read()?;
        let mut disputes = Vec::new();
        for named in listed.items {
            let path = format!("/v1/customer/disputes/{}", escape(&named.dispute_id));
            disputes.push(seen_dispute(self.ask(Call::get(verb, own, path)).await?.read()?)?);
        }
        Ok(disputes)
    }

    /// Orders and captures are named alike: an order is more likely to be asked about.
    async fn find_reference(&self, id: &str) -> Result<Option<String>, Failure> {
        let is_plain = |it: u8| it.is_ascii_uppercase() || it.is_ascii_digit();
        if id.len() != 17 || !id.bytes().all(is_plain) {
            return Ok(None);
        }
        if let Some(order) = self.order("reference_of", Known::by(id, Some(id))).await? {
            return Ok(order.purchase_units.into_iter().find_map(|unit| unit.custom_id));
        }
        let path = format!("/v2/payments/captures/{id}");
        match or_none(self.ask(Call::get("reference_of", id, path)).await)? {
            Some(answer) => Ok(answer.read::<Capture>()?.custom_id),
            None => Ok(None),
        }
    }

    async fn pay_out(&self, payout: &Payout) -> Result<SeenPayout, Failure> {
        let reference = payout.reference.as_str();
        if let Some(id) = crate::payout::parse_reference(reference)
            && id.uuid() < Id::<Withdrawal>::first_at(self.db.world().now() - BATCH_KNOWN).uuid()
        {
            // PayPal would take it for a new one.
            return Err(Failure::Unknown("too old to be asked for again".into()));
        }
        let body = json!({
            "sender_batch_header": {
                "sender_batch_id": reference,
                "email_subject": "You have received a payment",
            },
            "items": [{
                "recipient_type": "EMAIL",
                "receiver": payout.to.account,
                "amount": { "currency": payout.amount.asset, "value": written(payout.amount)? },
                "sender_item_id": reference,
            }],
        });
        let path = "/v1/payments/payouts".to_owned();
        match self.ask(Call::post("create_payout", reference, path, body)).await {
            Ok(answer) => {
                let made = answer.read::<Batch>()?.batch_header;
                let (reference, provider_ref) = (reference.to_owned(), made.payout_batch_id);
                let (amount, state) = (payout.amount, PayoutState::Pending);
                Ok(SeenPayout { reference, provider_ref, amount, state })
            }
            Err(Failure::Unknown(what)) => match what.strip_prefix(DUPLICATE) {
                Some(first) if !first.is_empty() => {
                    let found = self.find_payout(Known::by(reference, Some(first))).await?;
                    found.ok_or(Failure::Unknown(what))
                }
                _ => Err(Failure::Unknown(what)),
            },
            Err(failure) => Err(failure),
        }
    }

    /// PayPal finds batches by its own ids. Where we have not heard that, asking again under our
    /// reference is answered with it.
    async fn find_payout(&self, known: Known<'_>) -> Result<Option<SeenPayout>, Failure> {
        let Some(id) = known.provider_ref else { return Ok(None) };
        let path = format!("/v1/payments/payouts/{}", escape(id));
        match or_none(self.ask(Call::get("fetch_payout", known.reference, path)).await)? {
            Some(answer) => seen_payout(answer.read()?),
            None => Ok(None),
        }
    }

    async fn refund(
        &self,
        payment: Known<'_>,
        refund: &str,
        amount: Money,
    ) -> Result<SeenRefund, Failure> {
        let order = self.order("create_refund", payment).await?;
        let units = order.into_iter().flat_map(|it| it.purchase_units);
        let captures: Vec<_> = units.flat_map(|it| it.payments.captures).collect();
        let Some(capture) = captures.iter().find(|it| it.is_paid()) else {
            return Err(Failure::Invalid("a payment that was never paid".into()));
        };
        let body = json!({
            "amount": { "currency_code": amount.asset, "value": written(amount)? },
            "custom_id": refund,
        });
        let path = format!("/v2/payments/captures/{}/refund", escape(&capture.id));
        let made: RefundWire =
            self.ask(Call::post("create_refund", refund, path, body)).await?.read()?;
        seen_refund(&made, Some(amount))
    }

    async fn find_refund(
        &self,
        payment: Known<'_>,
        own: &str,
    ) -> Result<Option<SeenRefund>, Failure> {
        let Some(order) = self.order("fetch_refund", payment).await? else { return Ok(None) };
        let refunds = order.purchase_units.into_iter().flat_map(|it| it.payments.refunds);
        let mut own = refunds.filter(|it| it.custom_id.as_deref() == Some(own));
        let Some(found) = own.next() else { return Ok(None) };
        seen_refund(&found, None).map(Some)
    }

    async fn balances(&self) -> Result<Vec<Money>, Failure> {
        let call = Call::get("balance", "", "/v1/reporting/balances".to_owned());
        let answer: Balances = self.ask(call).await?.read()?;
        // What it holds in a currency that we do not know is no money of ours to speak of.
        Ok(answer.balances.iter().filter_map(|it| it.total_balance.money().ok()).collect())
    }

    async fn check(
        &self,
        body: &[u8],
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Webhook, Failure> {
        let is_genuine = self.verifier.is_genuine(body, headers, now).await?;
        let events: Option<Vec<Event>> = if is_genuine { webhook::events(body) } else { None };
        Ok(events.map_or(Webhook::Forged, Webhook::Genuine))
    }
}

static NO_UNIT: Unit =
    Unit { custom_id: None, payments: wire::Moved { captures: Vec::new(), refunds: Vec::new() } };

fn seen_state(order: &OrderWire, unit: &Unit) -> Result<SeenState, Failure> {
    let captures = &unit.payments.captures;
    if let Some(capture) = captures.iter().find(|it| it.is_paid()) {
        let received = capture.amount.money()?;
        let kept = capture.seller_receivable_breakdown.as_ref();
        let fee = kept.and_then(|it| it.paypal_fee.as_ref()).map(wire::Amount::money);
        let fee = fee.transpose()?.filter(|fee| fee.asset == received.asset);
        return Ok(SeenState::Paid { received, fee: fee.unwrap_or(Money::new(0, received.asset)) });
    }
    let is_over = !captures.is_empty()
        && captures.iter().all(|it| matches!(it.status.as_str(), "DECLINED" | "FAILED"));
    Ok(match order.status.as_str() {
        "APPROVED" => SeenState::Approved,
        "VOIDED" => SeenState::Failed { reason: "voided".to_owned() },
        "COMPLETED" if is_over => SeenState::Failed { reason: "declined".to_owned() },
        _ => SeenState::Open,
    })
}

fn seen_payout(batch: Batch) -> Result<Option<SeenPayout>, Failure> {
    let BatchHeader { payout_batch_id: provider_ref, batch_status } = batch.batch_header;
    let Some(item) = batch.items.into_iter().next() else { return Ok(None) };
    let amount = item.payout_item.amount.money()?;
    let reason = |status: &str| {
        let told = item.errors.as_ref().map(|it| it.issue.to_lowercase());
        told.filter(|it| !it.is_empty()).unwrap_or_else(|| status.to_lowercase())
    };
    let state = match item.transaction_status.as_str() {
        "SUCCESS" => {
            let cost = item.payout_item_fee.as_ref().map(wire::Amount::money).transpose()?;
            PayoutState::Settled { cost: cost.unwrap_or(Money::new(0, amount.asset)) }
        }
        status @ ("FAILED" | "BLOCKED" | "DENIED") => {
            PayoutState::Failed { reason: reason(status) }
        }
        status @ ("RETURNED" | "REFUNDED" | "REVERSED") => {
            PayoutState::Returned { reason: reason(status) }
        }
        // Nobody has claimed it yet, or PayPal looks at it; in a batch that was refused, nobody
        // ever will.
        _ if matches!(batch_status.as_str(), "DENIED" | "CANCELED") => {
            PayoutState::Failed { reason: reason(&batch_status) }
        }
        _ => PayoutState::Pending,
    };
    let reference = item.payout_item.sender_item_id;
    Ok(Some(SeenPayout { reference, provider_ref, amount, state }))
}

fn seen_dispute(found: DisputeWire) -> Result<SeenDispute, Failure> {
    let outcome = found.dispute_outcome.unwrap_or_default();
    let stage = match (found.status.as_str(), outcome.outcome_code.as_str()) {
        ("RESOLVED", "RESOLVED_BUYER_FAVOUR" | "ACCEPTED") => DisputeStage::Lost,
        (
            "RESOLVED",
            "RESOLVED_SELLER_FAVOUR" | "RESOLVED_WITH_PAYOUT" | "CANCELED_BY_BUYER" | "DENIED",
        ) => DisputeStage::Won,
        _ => DisputeStage::Open,
    };
    // What was decided may be less than what was wanted.
    let decided = outcome.amount_refunded.filter(|_| stage == DisputeStage::Lost);
    let amount = decided.unwrap_or(found.dispute_amount).money()?;
    Ok(SeenDispute { id: found.dispute_id, amount, stage })
}

/// `asked` is what to take for the amount where the answer names none.
fn seen_refund(refund: &RefundWire, asked: Option<Money>) -> Result<SeenRefund, Failure> {
    let state = match refund.status.as_str() {
        "COMPLETED" => RefundState::Settled,
        "FAILED" | "CANCELLED" => RefundState::Failed,
        _ => RefundState::Pending,
    };
    let amount = refund.amount.as_ref().map(wire::Amount::money).transpose()?.or(asked);
    let amount = amount.ok_or_else(|| Failure::Invalid("a refund of no amount".into()))?;
    Ok(SeenRefund { provider_ref: refund.id.clone(), amount, state })
}

/// PayPal finds accounts when it pays them; all that can be said before is what no address is.
fn destination(to: &Destination) -> Result<Destination, Failure> {
    match parse_email(&to.account) {
        Ok(account) => Ok(Destination { account: account.to_owned(), ..to.clone() }),
        Err(_) => Err(Failure::Declined { reason: "no mail address".into() }),
    }
}

impl Provider for Adapter {
    fn name(&self) -> ProviderName {
        ProviderName::Paypal
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

    fn complete_collection<'a>(&'a self, payment: Known<'a>) -> Answer<'a, Option<Seen>> {
        Box::pin(self.capture(payment))
    }

    fn fetch_collection<'a>(&'a self, payment: Known<'a>) -> Answer<'a, Option<Seen>> {
        Box::pin(self.fetch(payment))
    }

    fn reference_of<'a>(&'a self, id: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(self.find_reference(id))
    }

    fn create_payout<'a>(&'a self, payout: &'a Payout) -> Answer<'a, SeenPayout> {
        Box::pin(self.pay_out(payout))
    }

    fn fetch_payout<'a>(&'a self, payout: Known<'a>) -> Answer<'a, Option<SeenPayout>> {
        Box::pin(self.find_payout(payout))
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
        Box::pin(self.check(body, headers, now))
    }

    fn validate_destination<'a>(&'a self, to: &'a Destination) -> Answer<'a, Destination> {
        let found = destination(to);
        Box::pin(async { found })
    }

    fn balance(&self) -> Answer<'_, Vec<Money>> {
        Box::pin(self.balances())
    }
}
