//! PayPal, as its documentation has it: tokens, orders that are approved and captured, payouts in
//! batches, refunds, charge-backs, and webhooks signed with a certificate.
//!
//! The key beside this file is known to everybody and vouched for by a root that nobody trusts who
//! was not told to ([`ROOT`]).

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use kernel::{Money, Timestamp};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::Signer;
use serde_json::{Value as Json, json};

use super::world::{
    Collection, Dispute, DisputeOf, Outcome, PayoutOf, Refund, World, payout_cost_asset,
};
use super::{Asked, Options, Replied};
use crate::provider::ProviderName;
use crate::provider::paypal::{SIGNATURE_HEADER, read, signed_text, written};

/// The SHA-256 of the root of [`CERTIFICATES`].
pub(super) const ROOT: &str = "e1508e696c38c1b97034997c2febd60705753573959777d727859e6c48f89ae2";
/// The certificate that webhooks are signed with, and the root that vouches for it.
const CERTIFICATES: &str = include_str!("certificates.pem");
const KEY: &str = include_str!("key.pem");
const CERTIFICATE_PATH: &str = "/v1/notifications/certs/CERT-simulated";
/// Seconds that a token lasts.
const TOKEN_LASTS: u32 = 32_400;

static SIGNER: LazyLock<Option<Box<dyn Signer>>> = LazyLock::new(|| {
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).ok()?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).ok()?;
    key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
});

/// The headers of a webhook for a body.
pub(crate) fn headers(
    options: &Options,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let time = now.to_second_text();
    let text = signed_text(id, &time, &options.paypal_webhook_id, body);
    let signed = SIGNER.as_ref().and_then(|signer| signer.sign(text.as_bytes()).ok());
    vec![
        ("paypal-transmission-id", id.to_owned()),
        ("paypal-transmission-time", time),
        ("paypal-auth-algo", "SHA256withRSA".to_owned()),
        ("paypal-cert-url", format!("{}/paypal{CERTIFICATE_PATH}", options.public_url)),
        (SIGNATURE_HEADER, STANDARD.encode(signed.unwrap_or_default())),
    ]
}

/// The certificates, which are no JSON.
pub(super) fn certificate(asked: &Asked<'_>) -> Option<&'static str> {
    (asked.method == Method::GET && asked.path == CERTIFICATE_PATH).then_some(CERTIFICATES)
}

/// A refusal in its shape.
pub(super) fn refusal(status: StatusCode, name: &str, issue: &str) -> Replied {
    let details = json!([{ "issue": issue, "description": issue }]);
    (status, json!({ "name": name, "message": issue, "debug_id": "0", "details": details }))
}

fn missing() -> Replied {
    refusal(StatusCode::NOT_FOUND, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID")
}

fn wrong(issue: &str) -> Replied {
    refusal(StatusCode::UNPROCESSABLE_ENTITY, "UNPROCESSABLE_ENTITY", issue)
}

/// Declined for good, or until the payer has another card.
pub(super) fn declined(path: &str) -> Replied {
    if path.ends_with("/capture") {
        return wrong("INSTRUMENT_DECLINED");
    }
    refusal(StatusCode::UNPROCESSABLE_ENTITY, "INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS")
}

pub(super) fn answer(world: &mut World, asked: &Asked<'_>, options: &Options) -> Replied {
    if (asked.method, asked.path) == (&Method::POST, "/v1/oauth2/token") {
        return grant(world, asked, options);
    }
    if !world.paypal_token.as_ref().is_some_and(|token| asked.is_bearer(token)) {
        return (StatusCode::UNAUTHORIZED, json!({ "error": "invalid_token" }));
    }
    let key = asked.header("paypal-request-id").filter(|_| asked.method == Method::POST);
    let Some(key) = key.map(|key| format!("paypal {key}")) else { return act(world, asked) };
    if let Some((body, _, answer)) = world.remembered.get(&key) {
        if body != asked.body {
            return wrong("DUPLICATE_REQUEST_ID");
        }
        return (StatusCode::OK, answer.clone());
    }
    let (status, answer) = act(world, asked);
    if status.is_success() {
        let kept = (asked.body.to_vec(), status.as_u16(), answer.clone());
        world.remembered.insert(key, kept);
    }
    (status, answer)
}

fn grant(world: &mut World, asked: &Asked<'_>, options: &Options) -> Replied {
    let own = format!("{}:{}", options.paypal_client_id, options.paypal_client_secret);
    let own = format!("Basic {}", STANDARD.encode(own));
    if asked.header("authorization") != Some(own.as_str()) {
        return (StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" }));
    }
    let token = format!("A21.simulated.{}", world.next());
    world.paypal_token = Some(token.clone());
    world.paypal_tokens += 1;
    let granted =
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LASTS });
    (StatusCode::OK, granted)
}

fn act(world: &mut World, asked: &Asked<'_>) -> Replied {
    match (asked.method, asked.segments().as_slice()) {
        (&Method::POST, ["v2", "checkout", "orders"]) => create(world, &asked.json()),
        (&Method::GET, ["v2", "checkout", "orders", id]) => match by_id(world, 'O', id) {
            Some(at) => (StatusCode::OK, order(world, &world.collections[at])),
            None => missing(),
        },
        (&Method::POST, ["v2", "checkout", "orders", id, "capture"]) => capture(world, id),
        (&Method::GET, ["v2", "payments", "captures", id]) => match by_id(world, 'C', id) {
            Some(at) => (StatusCode::OK, captured(&world.collections[at])),
            None => missing(),
        },
        (&Method::POST, ["v2", "payments", "captures", id, "refund"]) => {
            give_back(world, id, &asked.json())
        }
        (&Method::POST, ["v1", "payments", "payouts"]) => send(world, &asked.json()),
        (&Method::GET, ["v1", "payments", "payouts", id]) => {
            let own = |it: &&PayoutOf| batch_id(it) == *id;
            match world.payouts.iter().find(own) {
                Some(payout) => (StatusCode::OK, batch(payout)),
                None => missing(),
            }
        }
        (&Method::GET, ["v1", "customer", "disputes"]) => {
            let id = asked.query("disputed_transaction_id").unwrap_or_default();
            let found = by_id(world, 'C', id).map(|at| &world.collections[at]);
            let shown = found.into_iter().flat_map(|c| c.disputes.iter().map(|d| dispute(d, c)));
            (StatusCode::OK, json!({ "items": Vec::from_iter(shown) }))
        }
        (&Method::GET, ["v1", "customer", "disputes", id]) => {
            let all = world.collections.iter().flat_map(|c| c.disputes.iter().map(move |d| (d, c)));
            match all.into_iter().find(|(of, _)| dispute_id(of) == *id) {
                Some((of, collection)) => (StatusCode::OK, dispute(of, collection)),
                None => missing(),
            }
        }
        (&Method::GET, ["v1", "reporting", "balances"]) => {
            let balances = world.balances(ProviderName::Paypal);
            let shown = balances.iter().map(|it| json!({ "total_balance": amount(*it) }));
            (StatusCode::OK, json!({ "balances": Vec::from_iter(shown) }))
        }
        _ => missing(),
    }
}

/// Seventeen letters and digits, as PayPal names things; the first one tells what it is.
fn id_of(kind: char, number: u64) -> String {
    format!("{kind}{number:016}")
}

fn batch_id(payout: &PayoutOf) -> String {
    id_of('B', payout.number)
}

fn dispute_id(of: &Dispute) -> String {
    format!("PP-D-{}", of.number)
}

fn by_id(world: &World, kind: char, id: &str) -> Option<usize> {
    let own = |it: &Collection| it.provider == ProviderName::Paypal && id_of(kind, it.number) == id;
    world.collections.iter().position(own)
}

fn amount(of: Money) -> Json {
    json!({ "currency_code": of.asset, "value": written(of).unwrap_or_default() })
}

fn asked_for(amount: &Json) -> Option<Money> {
    let currency = amount["currency_code"].as_str().or(amount["currency"].as_str())?;
    let asked = read(amount["value"].as_str()?, currency).ok()?;
    Money::requested(asked.minor, asked.asset).ok()
}

fn create(world: &mut World, body: &Json) -> Replied {
    let unit = &body["purchase_units"][0];
    let Some(amount) = asked_for(&unit["amount"]) else { return wrong("DECIMAL_PRECISION") };
    let (Some(reference), "CAPTURE") = (unit["custom_id"].as_str(), &*text(&body["intent"])) else {
        return wrong("MISSING_REQUIRED_PARAMETER");
    };
    let back = text(&body["payment_source"]["paypal"]["experience_context"]["return_url"]);
    let made = world.collect(ProviderName::Paypal, reference, amount, &back);
    (StatusCode::CREATED, order(world, &made))
}

fn text(json: &Json) -> String {
    json.as_str().unwrap_or_default().to_owned()
}

fn order(world: &World, collection: &Collection) -> Json {
    let status = match collection.outcome {
        Outcome::Pending => "PAYER_ACTION_REQUIRED",
        Outcome::Approved => "APPROVED",
        Outcome::Done => "COMPLETED",
        Outcome::Failed | Outcome::Expired | Outcome::Returned => "VOIDED",
    };
    let asset = collection.asset;
    let captures = (collection.outcome == Outcome::Done).then(|| captured(collection));
    let refunds = collection.refunds.iter().map(|it| refund_of(it, collection));
    json!({
        "id": id_of('O', collection.number),
        "intent": "CAPTURE",
        "status": status,
        "update_time": "2026-01-01T00:00:00Z",
        "payer": { "name": { "given_name": "Ada" }, "email_address": "payer@example.com" },
        "purchase_units": [{
            "reference_id": "default",
            "custom_id": collection.reference,
            "invoice_id": collection.reference,
            "amount": amount(Money::new(collection.amount, asset)),
            "payments": {
                "captures": Vec::from_iter(captures),
                "refunds": Vec::from_iter(refunds),
            },
        }],
        "links": [{ "rel": "payer-action", "href": world.page(collection), "method": "GET" }],
    })
}

fn captured(collection: &Collection) -> Json {
    let of = |minor| amount(Money::new(minor, collection.asset));
    let back: i64 = collection.refunds.iter().map(|it| it.amount).sum();
    let status = match back {
        0 => "COMPLETED",
        back if back < collection.paid => "PARTIALLY_REFUNDED",
        _ => "REFUNDED",
    };
    json!({
        "id": id_of('C', collection.number),
        "status": status,
        "amount": of(collection.paid),
        "custom_id": collection.reference,
        "seller_receivable_breakdown": {
            "gross_amount": of(collection.paid),
            "paypal_fee": of(collection.fee),
            "net_amount": of(collection.paid - collection.fee),
        },
    })
}

fn capture(world: &mut World, id: &str) -> Replied {
    let Some(at) = by_id(world, 'O', id) else { return missing() };
    match world.collections[at].outcome {
        Outcome::Approved => {}
        Outcome::Done => return wrong("ORDER_ALREADY_CAPTURED"),
        _ => return wrong("ORDER_NOT_APPROVED"),
    }
    world.receive(at);
    let collection = world.collections[at].clone();
    let event = event(world, "PAYMENT.CAPTURE.COMPLETED", &captured(&collection));
    world.told.push(event);
    (StatusCode::CREATED, order(world, &collection))
}

fn give_back(world: &mut World, id: &str, body: &Json) -> Replied {
    let Some(at) = by_id(world, 'C', id) else { return missing() };
    let collection = &world.collections[at];
    let paid = Money::new(collection.paid, collection.asset);
    let asked = if body["amount"].is_null() { Some(paid) } else { asked_for(&body["amount"]) };
    let Some(asked) = asked.filter(|it| it.asset == paid.asset) else {
        return wrong("CURRENCY_MISMATCH");
    };
    match world.give_back(at, asked.minor, &text(&body["custom_id"])) {
        Some(refund) => (StatusCode::CREATED, refund_of(&refund, &world.collections[at])),
        None => wrong("REFUND_AMOUNT_EXCEEDED"),
    }
}

fn refund_of(refund: &Refund, collection: &Collection) -> Json {
    json!({
        "id": id_of('R', refund.number),
        "status": "COMPLETED",
        "amount": amount(Money::new(refund.amount, collection.asset)),
        "custom_id": refund.reference,
    })
}

fn dispute(of: &Dispute, collection: &Collection) -> Json {
    let (status, outcome) = match of.state {
        DisputeOf::Won => ("RESOLVED", Some("RESOLVED_SELLER_FAVOUR")),
        DisputeOf::Lost => ("RESOLVED", Some("RESOLVED_BUYER_FAVOUR")),
        DisputeOf::Open => ("WAITING_FOR_SELLER_RESPONSE", None),
    };
    json!({
        "dispute_id": dispute_id(of),
        "status": status,
        "dispute_amount": amount(Money::new(of.amount, collection.asset)),
        "dispute_outcome": outcome.map(|code| json!({ "outcome_code": code })),
        "disputed_transactions": [{
            "seller_transaction_id": id_of('C', collection.number),
            "custom": collection.reference,
        }],
    })
}

fn send(world: &mut World, body: &Json) -> Replied {
    let reference = text(&body["sender_batch_header"]["sender_batch_id"]);
    if let Some(first) = world.payouts.iter().find(|it| it.reference == reference) {
        let href = format!("{}/paypal/v1/payments/payouts/{}", world.public_url, batch_id(first));
        let (status, mut refused) =
            refusal(StatusCode::BAD_REQUEST, "USER_BUSINESS_ERROR", "DUPLICATE_BATCH");
        refused["details"][0]["field"] = json!("SENDER_BATCH_ID");
        refused["links"] = json!([{ "rel": "self", "href": href }]);
        return (status, refused);
    }
    let item = &body["items"][0];
    let (to, asked) = (text(&item["receiver"]), asked_for(&item["amount"]));
    let Some(asked) = asked.filter(|_| !reference.is_empty() && to.contains('@')) else {
        return refusal(StatusCode::BAD_REQUEST, "VALIDATION_ERROR", "INVALID_REQUEST");
    };
    if world.balance(ProviderName::Paypal, asked.asset).minor < asked.minor {
        return declined("");
    }
    let made = world.pay_out(ProviderName::Paypal, &reference, asked, &to);
    let header = batch(&made)["batch_header"].clone();
    (StatusCode::CREATED, json!({ "batch_header": header }))
}

fn batch(payout: &PayoutOf) -> Json {
    let is_open = payout.outcome == Outcome::Pending;
    json!({
        "batch_header": {
            "payout_batch_id": batch_id(payout),
            "batch_status": if is_open { "PROCESSING" } else { "SUCCESS" },
            "sender_batch_header": { "sender_batch_id": payout.reference },
        },
        "items": [item(payout)],
    })
}

fn item(payout: &PayoutOf) -> Json {
    let status = match payout.outcome {
        Outcome::Done => "SUCCESS",
        Outcome::Failed | Outcome::Expired => "FAILED",
        Outcome::Returned => "RETURNED",
        Outcome::Pending | Outcome::Approved => "PENDING",
    };
    let of = |minor, asset| {
        let value = written(Money::new(minor, asset)).unwrap_or_default();
        json!({ "currency": asset, "value": value })
    };
    let cost = of(payout.cost, payout_cost_asset(payout.provider, payout.asset));
    json!({
        "payout_item_id": id_of('I', payout.number),
        "payout_batch_id": batch_id(payout),
        "transaction_status": status,
        "payout_item_fee": cost,
        "payout_item": {
            "recipient_type": "EMAIL",
            "receiver": payout.account,
            "sender_item_id": payout.reference,
            "amount": of(payout.amount, payout.asset),
        },
    })
}

fn event(world: &mut World, kind: &str, resource: &Json) -> Json {
    let id = format!("WH-{}", world.next());
    json!({ "id": id, "event_type": kind, "event_version": "1.0", "resource": resource })
}

/// The webhook about something that happened to a collection.
pub(super) fn collection_event(
    world: &mut World,
    collection: &Collection,
    happened: &str,
) -> Option<Json> {
    let latest = collection.disputes.last().map(|it| dispute(it, collection));
    let (kind, resource) = match happened {
        "approved" => ("CHECKOUT.ORDER.APPROVED", order(world, collection)),
        "disputed" => ("CUSTOMER.DISPUTE.CREATED", latest?),
        "dispute changed" => ("CUSTOMER.DISPUTE.UPDATED", latest?),
        "dispute decided" => ("CUSTOMER.DISPUTE.RESOLVED", latest?),
        "refunded" => {
            let mut refund = refund_of(collection.refunds.last()?, collection);
            let capture = id_of('C', collection.number);
            let href = format!("{}/paypal/v2/payments/captures/{capture}", world.public_url);
            refund["links"] = json!([{ "rel": "up", "href": href }]);
            ("PAYMENT.CAPTURE.REFUNDED", refund)
        }
        _ => return None,
    };
    Some(event(world, kind, &resource))
}

pub(super) fn payout_event(world: &mut World, payout: &PayoutOf) -> Option<Json> {
    let kind = match payout.outcome {
        Outcome::Done => "PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
        Outcome::Failed => "PAYMENT.PAYOUTS-ITEM.FAILED",
        Outcome::Returned => "PAYMENT.PAYOUTS-ITEM.RETURNED",
        Outcome::Pending | Outcome::Approved | Outcome::Expired => return None,
    };
    Some(event(world, kind, &item(payout)))
}
