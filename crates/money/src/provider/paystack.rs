//! Paystack: collections and payouts in Nigeria, Ghana, Kenya and South Africa.
//!
//! Its API has no version to pin. Webhooks are signed with HMAC-SHA-512 under the secret key
//! itself, carry no id and no time: the key of an event is a hash of what it says.

use http::{HeaderMap, Method, StatusCode};
use kernel::{Asset, Money, Result, Secret, Timestamp};
use platform::crypto::sha256;
use platform::db::Db;
use platform::http::escape;
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

use super::port::{
    Answer, Capabilities, Checkout, Destination, DestinationKind, DisputeStage, Event, Failure,
    Known, Order, Payout, PayoutState, Provider, ProviderName, RefundState, Seen, SeenDispute,
    SeenPayout, SeenRefund, SeenState, Webhook,
};
use super::signature::{hmac_sha512_hex, is_same};
use super::transport::{Answered, Body, Request, Transport};

/// Carries the signature of a webhook.
pub const SIGNATURE_HEADER: &str = "x-paystack-signature";
/// Where Paystack is.
pub const BASE_URL: &str = "https://api.paystack.co";

const CURRENCIES: [Asset; 5] = [Asset::NGN, Asset::GHS, Asset::ZAR, Asset::KES, Asset::USD];

/// An account at Paystack.
#[derive(Debug, Clone)]
pub struct Settings {
    pub base_url: String,
    /// `sk_live_...` or `sk_test_...`: the key says whether money is real.
    pub secret_key: Secret<String>,
    /// Where a payer's browser goes afterwards.
    pub return_url: Option<String>,
}

/// The adapter.
pub struct Adapter {
    transport: Transport,
    settings: Settings,
    capabilities: Capabilities,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Started {
    authorization_url: String,
    access_code: String,
    reference: String,
}

#[derive(Deserialize)]
struct Transaction {
    id: Json,
    domain: String,
    status: String,
    reference: String,
    #[serde(deserialize_with = "minor")]
    amount: i64,
    currency: String,
    #[serde(default, deserialize_with = "some_minor")]
    fees: Option<i64>,
    #[serde(default)]
    gateway_response: Option<String>,
}

#[derive(Deserialize)]
struct DisputeWire {
    id: Json,
    #[serde(default, deserialize_with = "some_minor")]
    refund_amount: Option<i64>,
    status: String,
    #[serde(default)]
    resolution: Option<String>,
}

#[derive(Deserialize)]
struct Recipient {
    recipient_code: String,
}

#[derive(Deserialize)]
struct Transfer {
    transfer_code: String,
    reference: String,
    status: String,
    #[serde(deserialize_with = "minor")]
    amount: i64,
    currency: String,
    #[serde(default, deserialize_with = "some_minor")]
    fee_charged: Option<i64>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Resolved {
    account_number: String,
    account_name: String,
}

#[derive(Deserialize)]
struct BalanceWire {
    currency: String,
    #[serde(deserialize_with = "minor")]
    balance: i64,
}

#[derive(Deserialize)]
struct RefundWire {
    id: Json,
    status: String,
    #[serde(deserialize_with = "minor")]
    amount: i64,
    currency: String,
    #[serde(default)]
    merchant_note: Option<String>,
}

impl RefundWire {
    fn is_ours(&self) -> bool {
        self.merchant_note.as_deref().and_then(crate::refund::parse_reference).is_some()
    }
}

#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: String,
}

/// Amounts are integers; some of Paystack's answers write them as text.
fn minor<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    some_minor(from)?.ok_or_else(|| serde::de::Error::custom("an amount that is null"))
}

fn some_minor<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }
    match Option::<Either>::deserialize(from)? {
        None => Ok(None),
        Some(Either::Number(number)) => Ok(Some(number)),
        Some(Either::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// An id that is written as a number or as text.
fn text(id: &Json) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn classify(answered: &Answered) -> Failure {
    let Refusal { message, code } = serde_json::from_slice(&answered.body).unwrap_or_default();
    let what = format!("{}: {code} {message}", answered.status);
    match answered.status {
        StatusCode::TOO_MANY_REQUESTS => Failure::Retryable(what),
        // Ours was used before: whatever was asked for the first time exists.
        _ if code == "duplicate_reference" => Failure::Unknown(what),
        _ if matches!(code.as_str(), "insufficient_balance" | "invalid_transfer_recipient") => {
            Failure::Declined { reason: code }
        }
        status if status.is_server_error() => Failure::Unknown(what),
        _ => Failure::Invalid(what),
    }
}

/// What cannot be found is an answer, and no failure.
fn or_none<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Invalid(what)) if what.starts_with("404") || what.contains("not_found") => {
            Ok(None)
        }
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
        let transport = Transport::new(ProviderName::Paystack, &settings.base_url, db)?;
        let bank = [Asset::NGN, Asset::GHS, Asset::ZAR, Asset::KES];
        let capabilities = Capabilities {
            currencies: CURRENCIES.to_vec(),
            methods: vec!["card", "bank", "bank_transfer", "ussd", "qr", "mobile_money"],
            live: settings.secret_key.expose().starts_with("sk_live"),
            needs_email: true,
            steps: &[],
            payouts: bank.map(|asset| (DestinationKind::Bank, asset)).to_vec(),
            finds_payouts: true,
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
        let bearer = format!("Bearer {}", self.settings.secret_key.expose());
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

    async fn create(&self, order: &Order) -> Result<Checkout, Failure> {
        let mut body = json!({
            "email": order.email,
            "amount": order.amount.minor,
            "currency": order.amount.asset,
            "reference": order.reference,
            "metadata": { "reference": order.reference },
        });
        if let Some(url) = order.return_url.as_ref().or(self.settings.return_url.as_ref()) {
            body["callback_url"] = json!(url);
        }
        if let Some(method) = &order.method {
            body["channels"] = json!([method]);
        }
        let verb = "create_collection";
        let answer = self.post(verb, &order.reference, "/transaction/initialize", body).await;
        let started: Envelope<Started> = match answer {
            Ok(answer) => answer.read()?,
            // It was made before and the answer with its page was lost: nobody can pay it.
            Err(Failure::Unknown(what)) if what.contains("duplicate_reference") => {
                return Err(Failure::Declined { reason: "lost_page".into() });
            }
            Err(failure) => return Err(failure),
        };
        let Started { authorization_url, access_code, reference } = started.data;
        if reference != order.reference {
            let what = format!("asked for {}, and was given {reference}", order.reference);
            return Err(Failure::Unknown(what));
        }
        Ok(Checkout { provider_ref: reference, access_code, url: authorization_url })
    }

    async fn fetch(&self, known: Known<'_>) -> Result<Option<Seen>, Failure> {
        let path = format!("/transaction/verify/{}", escape(known.reference));
        let answer = self.get("fetch_collection", known.reference, path).await;
        let Some(answer) = or_none(answer)? else { return Ok(None) };
        let found = answer.read::<Envelope<Transaction>>()?.data;
        if (found.domain == "live") != self.capabilities.live {
            return Err(Failure::Invalid(format!("a payment of the {} mode", found.domain)));
        }
        let received = money(found.amount, &found.currency)?;
        let state = match found.status.as_str() {
            "success" => {
                let fee = Money::new(found.fees.unwrap_or_default(), received.asset);
                SeenState::Paid { received, fee }
            }
            "failed" | "reversed" => {
                let reason = found.gateway_response.unwrap_or(found.status);
                SeenState::Failed { reason }
            }
            // Abandoned is no end: the payer can come back to the page.
            _ => SeenState::Open,
        };
        let mut disputes = Vec::new();
        if known.with_dispute {
            disputes.extend(self.dispute(known.reference, &text(&found.id), received).await?);
            disputes.extend(self.foreign_refunds(known.reference).await?);
        }
        Ok(Some(Seen { reference: found.reference, state, disputes }))
    }

    /// What was sent back of a payment without us.
    async fn foreign_refunds(&self, payment: &str) -> Result<Vec<SeenDispute>, Failure> {
        let refunds = self.refunds("fetch_collection", payment, payment).await?;
        let foreign = refunds.into_iter().filter(|it| !it.is_ours());
        foreign.map(|it| Ok(seen_refund(it)?.into_dispute())).collect()
    }

    async fn refunds(
        &self,
        verb: &'static str,
        about: &str,
        payment: &str,
    ) -> Result<Vec<RefundWire>, Failure> {
        let path = format!("/refund?transaction={}", escape(payment));
        match or_none(self.get(verb, about, path).await)? {
            Some(answer) => Ok(answer.read::<Envelope<Vec<RefundWire>>>()?.data),
            None => Ok(Vec::new()),
        }
    }

    async fn dispute(
        &self,
        reference: &str,
        transaction: &str,
        paid: Money,
    ) -> Result<Option<SeenDispute>, Failure> {
        let path = format!("/dispute/transaction/{}", escape(transaction));
        let answer = self.get("fetch_collection", reference, path).await;
        let Some(answer) = or_none(answer)? else { return Ok(None) };
        let found = answer.read::<Envelope<DisputeWire>>()?.data;
        let stage = match (found.status.as_str(), found.resolution.as_deref()) {
            ("resolved", Some("declined")) => DisputeStage::Won,
            ("resolved", _) => DisputeStage::Lost,
            _ => DisputeStage::Open,
        };
        let amount = Money::new(found.refund_amount.unwrap_or(paid.minor), paid.asset);
        Ok(Some(SeenDispute { id: text(&found.id), amount, stage }))
    }

    async fn pay_out(&self, payout: &Payout) -> Result<SeenPayout, Failure> {
        let Payout { reference, amount, to } = payout;
        let kind = match amount.asset {
            Asset::GHS => "ghipss",
            Asset::ZAR => "basa",
            Asset::KES => "kepss",
            _ => "nuban",
        };
        let recipient = json!({
            "type": kind,
            "name": to.name,
            "account_number": to.account,
            "bank_code": to.bank,
            "currency": amount.asset,
        });
        // The same account is the same recipient there, however often it is named.
        let recipient: Envelope<Recipient> =
            match self.post("create_payout", reference, "/transferrecipient", recipient).await {
                Ok(answer) => answer.read()?,
                // Naming a recipient moves no money.
                Err(Failure::Unknown(what)) => return Err(Failure::Retryable(what)),
                Err(failure) => return Err(failure),
            };
        let transfer = json!({
            "source": "balance",
            "amount": amount.minor,
            "currency": amount.asset,
            "recipient": recipient.data.recipient_code,
            "reference": reference,
            "reason": "Withdrawal",
        });
        let answer = self.post("create_payout", reference, "/transfer", transfer).await?;
        let mut seen = seen_payout(answer.read::<Envelope<Transfer>>()?.data)?;
        if let PayoutState::Settled { .. } = seen.state {
            // What it cost stands in the full transfer only.
            seen = self.find_payout(reference).await?.unwrap_or(seen);
        }
        Ok(seen)
    }

    async fn find_payout(&self, reference: &str) -> Result<Option<SeenPayout>, Failure> {
        let path = format!("/transfer/verify/{}", escape(reference));
        match or_none(self.get("fetch_payout", reference, path).await)? {
            Some(answer) => seen_payout(answer.read::<Envelope<Transfer>>()?.data).map(Some),
            None => Ok(None),
        }
    }

    async fn resolve(&self, to: &Destination) -> Result<Destination, Failure> {
        let bank = to.bank.as_deref().unwrap_or_default();
        let path = format!(
            "/bank/resolve?account_number={}&bank_code={}",
            escape(&to.account),
            escape(bank)
        );
        match self.get("validate_destination", "", path).await {
            Ok(answer) => {
                let Resolved { account_number, account_name } =
                    answer.read::<Envelope<Resolved>>()?.data;
                Ok(Destination { account: account_number, name: Some(account_name), ..to.clone() })
            }
            Err(Failure::Invalid(_)) => Err(Failure::Declined { reason: "unknown account".into() }),
            Err(failure) => Err(failure),
        }
    }

    /// The refund of ours among those of a payment: Paystack knows no reference of a refund, so
    /// ours stands in its note.
    async fn find_refund(
        &self,
        payment: Known<'_>,
        own: &str,
    ) -> Result<Option<SeenRefund>, Failure> {
        let refunds = self.refunds("fetch_refund", own, payment.reference).await?;
        let is_own = |refund: &RefundWire| refund.merchant_note.as_deref() == Some(own);
        refunds.into_iter().find(is_own).map(seen_refund).transpose()
    }

    async fn refund(
        &self,
        payment: Known<'_>,
        refund: &str,
        amount: Money,
    ) -> Result<SeenRefund, Failure> {
        if let Some(found) = self.find_refund(payment, refund).await? {
            return Ok(found);
        }
        let body = json!({
            "transaction": payment.reference,
            "amount": amount.minor,
            "currency": amount.asset,
            "merchant_note": refund,
        });
        let answer = self.post("create_refund", refund, "/refund", body).await?;
        seen_refund(answer.read::<Envelope<RefundWire>>()?.data)
    }

    async fn balances(&self) -> Result<Vec<Money>, Failure> {
        let answer = self.get("balance", "", "/balance".to_owned()).await?;
        let balances = answer.read::<Envelope<Vec<BalanceWire>>>()?.data;
        balances.into_iter().map(|it| money(it.balance, &it.currency)).collect()
    }

    fn events(&self, body: &[u8], headers: &HeaderMap) -> Option<Vec<Event>> {
        let signature = headers.get(SIGNATURE_HEADER)?.to_str().ok()?;
        if !is_same(signature, &hmac_sha512_hex(self.settings.secret_key.expose(), body)) {
            return None;
        }
        let event: Json = serde_json::from_slice(body).ok()?;
        let (kind, data) = (event["event"].as_str()?, &event["data"]);
        if data["domain"].as_str().is_some_and(|it| (it == "live") != self.capabilities.live) {
            return None;
        }
        let reference = match kind.split('.').next()? {
            "transfer" => data["reference"].as_str(),
            "refund" => data["transaction_reference"].as_str(),
            "charge" if kind.starts_with("charge.dispute") => {
                data["transaction"]["reference"].as_str()
            }
            "charge" => data["reference"].as_str(),
            _ => return Some(Vec::new()),
        };
        let id = text(&data["id"]);
        let said = format!("{kind}|{id}|{}|{}", reference?, data["status"]);
        let dedupe_key = hex::encode(sha256(said));
        Some(vec![Event { dedupe_key, kind: kind.to_owned(), reference: reference?.to_owned() }])
    }
}

fn seen_payout(transfer: Transfer) -> Result<SeenPayout, Failure> {
    let amount = money(transfer.amount, &transfer.currency)?;
    let reason = |status: &str| transfer.reason.clone().unwrap_or_else(|| status.to_owned());
    let state = match transfer.status.as_str() {
        "success" => {
            let cost = Money::new(transfer.fee_charged.unwrap_or_default(), amount.asset);
            PayoutState::Settled { cost }
        }
        status @ ("failed" | "abandoned" | "blocked" | "rejected") => {
            PayoutState::Failed { reason: reason(status) }
        }
        status @ "reversed" => PayoutState::Returned { reason: reason(status) },
        _ => PayoutState::Pending,
    };
    let (reference, provider_ref) = (transfer.reference, transfer.transfer_code);
    Ok(SeenPayout { reference, provider_ref, amount, state })
}

fn seen_refund(refund: RefundWire) -> Result<SeenRefund, Failure> {
    let state = match refund.status.as_str() {
        "processed" => RefundState::Settled,
        "failed" => RefundState::Failed,
        "needs-attention" => RefundState::NeedsAction,
        _ => RefundState::Pending,
    };
    let amount = money(refund.amount, &refund.currency)?;
    Ok(SeenRefund { provider_ref: text(&refund.id), amount, state })
}

impl Provider for Adapter {
    fn name(&self) -> ProviderName {
        ProviderName::Paystack
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

    fn create_payout<'a>(&'a self, payout: &'a Payout) -> Answer<'a, SeenPayout> {
        Box::pin(self.pay_out(payout))
    }

    fn fetch_payout<'a>(&'a self, payout: Known<'a>) -> Answer<'a, Option<SeenPayout>> {
        Box::pin(self.find_payout(payout.reference))
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
        _now: Timestamp,
    ) -> Answer<'a, Webhook> {
        let events = self.events(body, headers);
        Box::pin(async { Ok(events.map_or(Webhook::Forged, Webhook::Genuine)) })
    }

    fn validate_destination<'a>(&'a self, to: &'a Destination) -> Answer<'a, Destination> {
        Box::pin(self.resolve(to))
    }

    fn balance(&self) -> Answer<'_, Vec<Money>> {
        Box::pin(self.balances())
    }
}
