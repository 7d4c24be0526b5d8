//! Stripe, as its documentation has it: Checkout, idempotency keys, charge-backs, refunds.

use http::{Method, StatusCode};
use kernel::Timestamp;
use serde_json::{Value as Json, json};

use super::post::money;
use super::world::{Collection, Dispute, DisputeOf, Outcome, Refund, World};
use super::{Asked, Options, Replied};
use crate::provider::{ProviderName, hmac_sha256_hex};

/// Its signature header for a body.
pub(super) fn sign(secret: &str, now: Timestamp, body: &[u8]) -> String {
    let time = now.seconds().to_string();
    let signature = hmac_sha256_hex(secret, &[time.as_bytes(), b".", body]);
    format!("t={time},v1={signature},v0=0")
}

/// A refusal in its shape.
pub(super) fn refusal(status: StatusCode, code: &str) -> Replied {
    let kind = match status {
        StatusCode::PAYMENT_REQUIRED => "card_error",
        StatusCode::BAD_REQUEST if code == "idempotency" => "idempotency_error",
        _ => "invalid_request_error",
    };
    (status, json!({ "error": { "type": kind, "code": code, "message": code } }))
}

pub(super) fn answer(world: &mut World, asked: &Asked<'_>, options: &Options) -> Replied {
    if !asked.is_bearer(&options.stripe_key) {
        return refusal(StatusCode::UNAUTHORIZED, "invalid_api_key");
    }
    if asked.header("stripe-version").is_none() {
        return refusal(StatusCode::BAD_REQUEST, "version_not_pinned");
    }
    let Some(key) = asked.header("idempotency-key").filter(|_| asked.method == Method::POST) else {
        return act(world, asked);
    };
    if let Some((body, status, answer)) = world.remembered.get(key) {
        if !is_same_form(body, asked.body) {
            return refusal(StatusCode::BAD_REQUEST, "idempotency");
        }
        return (StatusCode::from_u16(*status).unwrap_or_default(), answer.clone());
    }
    let (status, answer) = act(world, asked);
    // Refused parameters are not remembered.
    if status.is_success() || status.is_server_error() {
        let kept = (asked.body.to_vec(), status.as_u16(), answer.clone());
        world.remembered.insert(key.to_owned(), kept);
    }
    (status, answer)
}

/// Whether two bodies have the same parameters, in whatever order.
fn is_same_form(one: &[u8], two: &[u8]) -> bool {
    let sorted = |body: &[u8]| {
        let mut parameters: Vec<_> = form_urlencoded::parse(body).into_owned().collect();
        parameters.sort();
        parameters
    };
    sorted(one) == sorted(two)
}

fn act(world: &mut World, asked: &Asked<'_>) -> Replied {
    match (asked.method, asked.segments().as_slice()) {
        (&Method::POST, ["v1", "checkout", "sessions"]) => create(world, asked),
        (&Method::GET, ["v1", "checkout", "sessions", id]) => match by_number(world, id) {
            Some(collection) => (StatusCode::OK, session(world, collection)),
            None => refusal(StatusCode::NOT_FOUND, "resource_missing"),
        },
        (&Method::GET, ["v1", "payment_intents", id]) => match by_number(world, id) {
            Some(collection) => (StatusCode::OK, intent(collection)),
            None => refusal(StatusCode::NOT_FOUND, "resource_missing"),
        },
        (&Method::GET, ["v1", "disputes"]) => {
            let found = asked.query("payment_intent").and_then(|id| by_number(world, id));
            // The latest first.
            let shown =
                found.into_iter().flat_map(|c| c.disputes.iter().rev().map(|d| dispute(d, c)));
            (StatusCode::OK, json!({ "object": "list", "data": Vec::from_iter(shown) }))
        }
        (&Method::POST, ["v1", "refunds"]) => give_back(world, asked),
        (&Method::GET, ["v1", "refunds"]) => {
            let found = asked.query("payment_intent").and_then(|id| by_number(world, id));
            let shown = found.into_iter().flat_map(|c| c.refunds.iter().map(|r| refund_of(r, c)));
            (StatusCode::OK, json!({ "object": "list", "data": Vec::from_iter(shown) }))
        }
        (&Method::GET, ["v1", "balance"]) => {
            let parts = world.balances(ProviderName::Stripe);
            let parts = parts.iter().map(
                |it| json!({ "amount": it.minor, "currency": it.asset.code().to_lowercase() }),
            );
            (StatusCode::OK, json!({ "available": Vec::from_iter(parts), "pending": [] }))
        }
        _ => refusal(StatusCode::NOT_FOUND, "unknown_endpoint"),
    }
}

fn by_number<'a>(world: &'a World, id: &str) -> Option<&'a Collection> {
    let number: u64 = id.rsplit('_').next()?.parse().ok()?;
    let own = |it: &&Collection| it.provider == ProviderName::Stripe && it.number == number;
    world.collections.iter().find(own)
}

fn field(asked: &Asked<'_>, name: &str) -> Option<String> {
    form_urlencoded::parse(asked.body).find(|(key, _)| key == name).map(|(_, it)| it.into_owned())
}

fn create(world: &mut World, asked: &Asked<'_>) -> Replied {
    let price = |name: &str| field(asked, &format!("line_items[0][price_data]{name}"));
    let minor = price("[unit_amount]").and_then(|it| it.parse().ok());
    let amount = minor.zip(price("[currency]")).and_then(|(minor, it)| money(minor, &it));
    let reference = field(asked, "client_reference_id");
    let (Some(amount), Some(reference)) = (amount, reference) else {
        return refusal(StatusCode::BAD_REQUEST, "parameter_missing");
    };
    if amount.asset == kernel::Asset::KWD && amount.minor % 10 != 0 {
        return refusal(StatusCode::BAD_REQUEST, "invalid_amount");
    }
    let Some(back) = field(asked, "success_url") else {
        return refusal(StatusCode::BAD_REQUEST, "parameter_missing");
    };
    let made = world.collect(ProviderName::Stripe, &reference, amount, &back);
    (StatusCode::OK, session(world, &made))
}

fn session(world: &World, collection: &Collection) -> Json {
    let is_paid = collection.outcome == Outcome::Done;
    let status = match collection.outcome {
        Outcome::Pending => "open",
        Outcome::Done => "complete",
        _ => "expired",
    };
    json!({
        "id": format!("cs_test_{}", collection.number),
        "object": "checkout.session",
        "url": (status == "open").then(|| world.page(collection)),
        "status": status,
        "payment_status": if is_paid { "paid" } else { "unpaid" },
        "client_reference_id": collection.reference,
        "amount_total": if is_paid { collection.paid } else { collection.amount },
        "currency": collection.asset.code().to_lowercase(),
        "livemode": false,
        "metadata": { "reference": collection.reference },
        "payment_intent": is_paid.then(|| intent(collection)),
    })
}

fn intent(collection: &Collection) -> Json {
    let currency = collection.asset.code().to_lowercase();
    json!({
        "id": format!("pi_{}", collection.number),
        "object": "payment_intent",
        "status": match collection.outcome {
            Outcome::Done => "succeeded",
            Outcome::Pending => "requires_payment_method",
            _ => "canceled",
        },
        "amount": collection.amount,
        "amount_received": collection.paid,
        "currency": currency,
        "livemode": false,
        "metadata": { "reference": collection.reference },
        "last_payment_error": null,
        "latest_charge": {
            "id": format!("ch_{}", collection.number),
            "disputed": !collection.disputes.is_empty(),
            "balance_transaction": {
                "amount": collection.paid,
                "fee": collection.fee,
                "net": collection.paid - collection.fee,
                "currency": currency,
            },
        },
    })
}

fn dispute(of: &Dispute, collection: &Collection) -> Json {
    json!({
        "id": format!("du_{}", of.number),
        "object": "dispute",
        "amount": of.amount,
        "currency": collection.asset.code().to_lowercase(),
        "payment_intent": format!("pi_{}", collection.number),
        "status": match of.state {
            DisputeOf::Won => "won",
            DisputeOf::Lost => "lost",
            DisputeOf::Open => "needs_response",
        },
    })
}

fn give_back(world: &mut World, asked: &Asked<'_>) -> Replied {
    let own = field(asked, "payment_intent");
    let found = own.as_deref().and_then(|id| by_number(world, id)).map(|it| it.reference.clone());
    let Some(at) = found.and_then(|reference| world.collection(&reference)) else {
        return refusal(StatusCode::NOT_FOUND, "resource_missing");
    };
    let paid = world.collections[at].paid;
    let amount = field(asked, "amount").and_then(|it| it.parse().ok()).unwrap_or(paid);
    let reference = field(asked, "metadata[reference]").unwrap_or_default();
    match world.give_back(at, amount, &reference) {
        Some(refund) => (StatusCode::OK, refund_of(&refund, &world.collections[at])),
        None => refusal(StatusCode::BAD_REQUEST, "charge_already_refunded"),
    }
}

fn refund_of(refund: &Refund, collection: &Collection) -> Json {
    json!({
        "id": format!("re_{}", refund.number),
        "object": "refund",
        "amount": refund.amount,
        "currency": collection.asset.code().to_lowercase(),
        "status": if refund.came_back { "failed" } else { "succeeded" },
        "payment_intent": format!("pi_{}", collection.number),
        "metadata": { "reference": refund.reference },
    })
}

/// The webhook about a refund that came back.
pub(super) fn refund_event(world: &mut World, refund: &Refund, collection: &Collection) -> Json {
    let id = format!("evt_{}", world.next());
    json!({
        "id": id,
        "object": "event",
        "type": "refund.failed",
        "api_version": crate::provider::stripe::API_VERSION,
        "livemode": false,
        "data": { "object": refund_of(refund, collection) },
    })
}

/// The webhook about something that happened to a collection.
pub(super) fn collection_event(
    world: &mut World,
    collection: &Collection,
    happened: &str,
) -> Option<Json> {
    let latest = collection.disputes.last().map(|it| dispute(it, collection));
    let (kind, object) = match happened {
        "paid" => ("checkout.session.completed", session(world, collection)),
        "expired" => ("checkout.session.expired", session(world, collection)),
        "declined" => ("payment_intent.payment_failed", intent(collection)),
        "disputed" => ("charge.dispute.created", latest?),
        "dispute changed" => ("charge.dispute.updated", latest?),
        "dispute decided" => ("charge.dispute.closed", latest?),
        "refunded" => ("refund.created", refund_of(collection.refunds.last()?, collection)),
        _ => return None,
    };
    let id = format!("evt_{}", world.next());
    Some(json!({
        "id": id,
        "object": "event",
        "type": kind,
        "api_version": crate::provider::stripe::API_VERSION,
        "livemode": false,
        "data": { "object": object },
    }))
}
