//! Paystack, as its documentation has it.

use http::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::post::money;
use super::world::{Collection, DisputeOf, Outcome, PayoutOf, Refund, World};
use super::{Asked, Options, Replied};
use crate::provider::{ProviderName, hmac_sha512_hex};

/// Its signature of a body.
pub(super) fn sign(key: &str, body: &[u8]) -> String {
    hmac_sha512_hex(key, body)
}

/// A refusal in its shape.
pub(super) fn refusal(status: StatusCode, code: &str) -> Replied {
    let kind = if status == StatusCode::BAD_REQUEST { "validation_error" } else { "api_error" };
    (status, json!({ "status": false, "message": code, "type": kind, "code": code }))
}

fn good(status: StatusCode, data: &Json) -> Replied {
    (status, json!({ "status": true, "message": "ok", "data": data }))
}

pub(super) fn answer(world: &mut World, asked: &Asked<'_>, options: &Options) -> Replied {
    if !asked.is_bearer(&options.paystack_key) {
        return (StatusCode::UNAUTHORIZED, json!({ "status": false, "message": "Invalid key" }));
    }
    match (asked.method, asked.segments().as_slice()) {
        (&Method::POST, ["transaction", "initialize"]) => initialize(world, &asked.json()),
        (&Method::GET, ["transaction", "verify", reference]) => match world.collection(reference) {
            Some(at) => good(StatusCode::OK, &transaction(&world.collections[at])),
            None => refusal(StatusCode::BAD_REQUEST, "transaction_not_found"),
        },
        (&Method::GET, ["dispute", "transaction", id]) => {
            let own = world.collections.iter().find(|it| it.number.to_string() == *id);
            match own.and_then(dispute) {
                Some(dispute) => good(StatusCode::OK, &dispute),
                None => refusal(StatusCode::NOT_FOUND, "dispute_not_found"),
            }
        }
        (&Method::GET, ["bank", "resolve"]) => resolve(asked),
        (&Method::POST, ["transferrecipient"]) => recipient(world, &asked.json()),
        (&Method::POST, ["transfer"]) => send(world, &asked.json()),
        (&Method::GET, ["transfer", "verify", reference]) => {
            match world.payouts.iter().find(|it| it.reference == *reference) {
                Some(payout) => good(StatusCode::OK, &transfer(payout)),
                None => refusal(StatusCode::NOT_FOUND, "transfer_not_found"),
            }
        }
        (&Method::POST, ["refund"]) => give_back(world, &asked.json()),
        (&Method::GET, ["refund"]) => refunds(world, asked),
        (&Method::GET, ["balance"]) => {
            let balances = world.balances(ProviderName::Paystack);
            let shown =
                balances.iter().map(|it| json!({ "currency": it.asset, "balance": it.minor }));
            good(StatusCode::OK, &shown.collect())
        }
        _ => refusal(StatusCode::NOT_FOUND, "unknown_endpoint"),
    }
}

fn initialize(world: &mut World, body: &Json) -> Replied {
    let reference = body["reference"].as_str().unwrap_or_default();
    let amount = body["amount"].as_i64().zip(body["currency"].as_str());
    let Some(amount) = amount.and_then(|(minor, currency)| money(minor, currency)) else {
        return refusal(StatusCode::BAD_REQUEST, "invalid_amount");
    };
    if body["email"].as_str().is_none() {
        return refusal(StatusCode::BAD_REQUEST, "invalid_email_address");
    }
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.=".contains(letter);
    if reference.is_empty() || !reference.chars().all(is_plain) {
        return refusal(StatusCode::BAD_REQUEST, "invalid_reference");
    }
    if world.collection(reference).is_some() {
        return refusal(StatusCode::BAD_REQUEST, "duplicate_reference");
    }
    let back = body["callback_url"].as_str().unwrap_or_default();
    let made = world.collect(ProviderName::Paystack, reference, amount, back);
    let started = json!({
        "authorization_url": world.page(&made),
        "access_code": format!("access{}", made.number),
        "reference": reference,
    });
    good(StatusCode::OK, &started)
}

fn transaction(collection: &Collection) -> Json {
    let status = match collection.outcome {
        Outcome::Pending => "abandoned",
        Outcome::Done => "success",
        _ => "failed",
    };
    let is_paid = collection.outcome == Outcome::Done;
    let amount = if is_paid { collection.paid } else { collection.amount };
    json!({
        "id": collection.number,
        "domain": "test",
        "status": status,
        "reference": collection.reference,
        "amount": amount,
        "requested_amount": collection.amount,
        "currency": collection.asset,
        "fees": is_paid.then_some(collection.fee),
        "channel": "card",
        "gateway_response": if status == "failed" { "Declined" } else { "Successful" },
        "authorization": { "authorization_code": "AUTH_simulated", "last4": "4081" },
        "customer": { "email": "payer@example.com" },
    })
}

/// The latest one: Paystack shows no other.
fn dispute(collection: &Collection) -> Option<Json> {
    let of = collection.disputes.last()?;
    let (status, resolution) = match of.state {
        DisputeOf::Won => ("resolved", Some("declined")),
        DisputeOf::Lost => ("resolved", Some("merchant-accepted")),
        DisputeOf::Open => ("awaiting-merchant-feedback", None),
    };
    Some(json!({
        "id": of.number + 1_000_000,
        "status": status,
        "resolution": resolution,
        "refund_amount": of.amount,
        "currency": collection.asset,
        "transaction": { "reference": collection.reference, "amount": collection.paid },
    }))
}

fn resolve(asked: &Asked<'_>) -> Replied {
    let account = asked.query("account_number").unwrap_or_default();
    let is_account = account.len() == 10 && account.bytes().all(|it| it.is_ascii_digit());
    // Accounts of nines are nobody's.
    if !is_account || account.starts_with("9999") || asked.query("bank_code").is_none() {
        return refusal(StatusCode::UNPROCESSABLE_ENTITY, "invalid_account");
    }
    let found = json!({ "account_number": account, "account_name": "ADA LOVELACE" });
    good(StatusCode::OK, &found)
}

fn recipient(world: &mut World, body: &Json) -> Replied {
    let Some(account) = body["account_number"].as_str() else {
        return refusal(StatusCode::BAD_REQUEST, "invalid_account");
    };
    let known = world.recipients.iter().find(|(_, own)| own == account);
    let code = match known {
        Some((code, _)) => code.clone(),
        None => {
            let code = format!("RCP_{}", world.next());
            world.recipients.push((code.clone(), account.to_owned()));
            code
        }
    };
    good(StatusCode::CREATED, &json!({ "recipient_code": code }))
}

fn send(world: &mut World, body: &Json) -> Replied {
    let reference = body["reference"].as_str().unwrap_or_default().to_owned();
    let is_plain = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter)
    };
    if reference.len() < 16 || !reference.chars().all(is_plain) {
        return refusal(StatusCode::BAD_REQUEST, "invalid_reference");
    }
    if world.payouts.iter().any(|it| it.reference == reference) {
        return refusal(StatusCode::BAD_REQUEST, "duplicate_reference");
    }
    let amount = body["amount"].as_i64().zip(body["currency"].as_str());
    let Some(amount) = amount.and_then(|(minor, currency)| money(minor, currency)) else {
        return refusal(StatusCode::BAD_REQUEST, "invalid_amount");
    };
    let code = body["recipient"].as_str().unwrap_or_default();
    let known = world.recipients.iter().find(|(own, _)| own == code);
    let Some((_, account)) = known.cloned() else {
        return refusal(StatusCode::BAD_REQUEST, "invalid_transfer_recipient");
    };
    if world.balance(ProviderName::Paystack, amount.asset).minor < amount.minor {
        return refusal(StatusCode::BAD_REQUEST, "insufficient_balance");
    }
    let made = world.pay_out(ProviderName::Paystack, &reference, amount, &account);
    good(StatusCode::OK, &transfer(&made))
}

fn transfer(payout: &PayoutOf) -> Json {
    let status = match payout.outcome {
        Outcome::Done => "success",
        Outcome::Failed | Outcome::Expired => "failed",
        Outcome::Returned => "reversed",
        Outcome::Pending | Outcome::Approved => "pending",
    };
    json!({
        "id": payout.number,
        "transfer_code": format!("TRF_{}", payout.number),
        "reference": payout.reference,
        "status": status,
        "amount": payout.amount,
        "currency": payout.asset,
        "fee_charged": payout.cost,
        "domain": "test",
        "session": { "provider": "nip", "id": payout.number.to_string() },
    })
}

fn give_back(world: &mut World, body: &Json) -> Replied {
    let reference = body["transaction"].as_str().unwrap_or_default();
    let Some(at) = world.collection(reference) else {
        return refusal(StatusCode::NOT_FOUND, "transaction_not_found");
    };
    let amount = body["amount"].as_i64().unwrap_or(world.collections[at].paid);
    let note = body["merchant_note"].as_str().unwrap_or_default();
    match world.give_back(at, amount, note) {
        Some(refund) => good(StatusCode::OK, &refund_of(&refund, world.collections[at].asset)),
        None => refusal(StatusCode::BAD_REQUEST, "invalid_amount"),
    }
}

fn refund_of(refund: &Refund, asset: kernel::Asset) -> Json {
    json!({
        "id": refund.number,
        "status": "processed",
        // Some of its samples write amounts as text.
        "amount": refund.amount.to_string(),
        "currency": asset,
        "merchant_note": refund.reference,
    })
}

fn refunds(world: &World, asked: &Asked<'_>) -> Replied {
    let reference = asked.query("transaction").unwrap_or_default();
    let found = world.collection(reference).map(|at| &world.collections[at]);
    let shown = found.into_iter().flat_map(|it| it.refunds.iter().map(|r| refund_of(r, it.asset)));
    good(StatusCode::OK, &shown.collect())
}

/// The webhook about something that happened to a collection; none where Paystack sends none.
pub(super) fn collection_event(collection: &Collection, happened: &str) -> Option<Json> {
    let (event, data) = match happened {
        "paid" => ("charge.success", transaction(collection)),
        "disputed" => ("charge.dispute.create", dispute(collection)?),
        "dispute changed" => ("charge.dispute.remind", dispute(collection)?),
        "dispute decided" => ("charge.dispute.resolve", dispute(collection)?),
        "refunded" => {
            let mut refund = refund_of(collection.refunds.last()?, collection.asset);
            refund["transaction_reference"] = json!(collection.reference);
            ("refund.processed", refund)
        }
        _ => return None,
    };
    Some(json!({ "event": event, "data": data }))
}

pub(super) fn payout_event(payout: &PayoutOf) -> Option<Json> {
    let event = match payout.outcome {
        Outcome::Done => "transfer.success",
        Outcome::Failed => "transfer.failed",
        Outcome::Returned => "transfer.reversed",
        Outcome::Pending | Outcome::Approved | Outcome::Expired => return None,
    };
    Some(json!({ "event": event, "data": transfer(payout) }))
}
