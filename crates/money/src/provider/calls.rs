//! The record of what was asked of providers and what they answered, for audit.
//!
//! Only fields that are named here are kept as they are; everything else is a person's or a
//! secret until somebody decides otherwise, and stands there as `*`. Rows are kept for
//! [`KEPT`], then swept.

use std::time::Duration;

use kernel::{Result, Timestamp};
use platform::db::{Db, Read};
use platform::params;
use serde_json::{Map, Value as Json};

use super::port::ProviderName;

/// How long records are kept.
pub const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Longer texts are cut: a record says what happened, it is no archive.
const TEXT_MAX: usize = 4_000;

/// What may be read in the clear.
const PLAIN: &[&str] = &[
    "amount",
    "amount_total",
    "asset",
    "balance",
    "batch_status",
    "code",
    "confirmations",
    "currency",
    "custom_id",
    "data",
    "currency_code",
    "decline_code",
    "dispute_id",
    "error",
    "event_type",
    "fee",
    "fees",
    "id",
    "intent",
    "issue",
    "livemode",
    "message",
    "metadata",
    "mode",
    "net",
    "object",
    "outcome_code",
    "payment_intent",
    "payment_status",
    "payout_batch_id",
    "provider",
    "purchase_units",
    "reason",
    "reference",
    "requested_amount",
    "resolution",
    "sender_batch_id",
    "sender_item_id",
    "state",
    "status",
    "transaction_status",
    "transfer_code",
    "type",
    "value",
    "client_reference_id",
    "details",
    "raw_amount",
    "items",
    "available",
    "domain",
    "payments",
    "captures",
    "reference_id",
];

/// A call to a provider.
#[derive(Debug, Clone)]
pub struct Call {
    pub provider: ProviderName,
    /// `create_payout`.
    pub verb: &'static str,
    /// Ours.
    pub reference: String,
    /// Method, path and redacted body.
    pub request: String,
    /// None when there was no answer.
    pub status: Option<u16>,
    pub response: String,
    /// `ok`, or the class of the failure.
    pub outcome: &'static str,
    pub took: Duration,
    pub at: Timestamp,
}

/// Keeps a call. A record that cannot be written must not undo what was asked: it is logged.
pub(super) async fn keep(db: &Db, call: &Call) {
    let written = db.run("provider_call.keep", |tx| async move {
        let sql = "INSERT INTO provider_calls (id, provider, verb, reference, request, status,
                                               response, outcome, took_micros, at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let id = tx.world().id::<kernel::id::kinds::Payment>();
        let took = i64::try_from(call.took.as_micros()).unwrap_or(i64::MAX);
        let (provider, status) = (call.provider.as_str(), call.status.map(i64::from));
        let Call { verb, reference, request, response, outcome, at, .. } = call;
        let row =
            params![id, provider, verb, reference, request, status, response, outcome, took, at];
        tx.execute(sql, row).await?;
        Ok(())
    });
    if let Err(error) = written.await {
        tracing::error!(%error, verb = call.verb, "a call to a provider could not be recorded");
    }
}

/// The calls about one of our references, oldest first.
pub async fn of_reference(db: &impl Read, reference: &str) -> Result<Vec<Call>> {
    let sql =
        "SELECT provider, verb, reference, request, status, response, outcome, took_micros, at
               FROM provider_calls WHERE reference = $1 ORDER BY at, id";
    Ok(db
        .all(sql, params![reference], |row| {
            let provider = row.take()?;
            let verb: String = row.take()?;
            Ok(Call {
                provider,
                verb: known(&verb),
                reference: row.take()?,
                request: row.take()?,
                status: row.take::<Option<i64>>()?.and_then(|code| u16::try_from(code).ok()),
                response: row.take()?,
                outcome: known(&row.take::<String>()?),
                took: Duration::from_micros(row.take::<i64>()?.unsigned_abs()),
                at: row.take()?,
            })
        })
        .await?)
}

fn known(text: &str) -> &'static str {
    const WORDS: &[&str] = &[
        "create_collection",
        "complete_collection",
        "fetch_collection",
        "reference_of",
        "arrivals",
        "create_payout",
        "fetch_payout",
        "create_refund",
        "fetch_refund",
        "verify_webhook",
        "validate_destination",
        "balance",
        "token",
        "ok",
        "declined",
        "invalid",
        "retryable",
        "unknown",
    ];
    WORDS.iter().find(|word| **word == text).copied().unwrap_or("other")
}

/// Drops what is older than [`KEPT`].
pub(crate) async fn sweep(db: &Db) -> Result<()> {
    let before = db.world().now().micros() - i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
    db.run("provider_call.sweep", |tx| async move {
        tx.execute("DELETE FROM provider_calls WHERE at < $1", params![before]).await?;
        Ok(())
    })
    .await
}

/// A body without secrets and personal data. What is no JSON is not shown at all.
pub(super) fn redact(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    let Ok(json) = serde_json::from_slice::<Json>(body) else {
        return format!("({} bytes)", body.len());
    };
    cut(hide(json).to_string())
}

/// A form's fields without secrets and personal data: a bracketed key is known by its last name.
pub(super) fn redact_form(fields: &[(String, String)]) -> String {
    let shown = fields.iter().map(|(key, value)| {
        let name = key.trim_end_matches(']').rsplit('[').next().unwrap_or(key);
        if PLAIN.contains(&name) { format!("{key}={value}") } else { format!("{key}=*") }
    });
    cut(shown.collect::<Vec<_>>().join("&"))
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn hide(json: Json) -> Json {
    match json {
        Json::Object(members) => {
            let shown = members.into_iter().map(|(key, value)| {
                let value = match value {
                    Json::Object(_) | Json::Array(_) => hide(value),
                    Json::Null | Json::Bool(_) => value,
                    _ if PLAIN.contains(&key.as_str()) => value,
                    _ => Json::from("*"),
                };
                (key, value)
            });
            Json::Object(shown.collect::<Map<_, _>>())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(hide_item).collect()),
        other => other,
    }
}

/// A bare text in a list has no name by which it could be known.
fn hide_item(item: Json) -> Json {
    match item {
        Json::String(_) | Json::Number(_) => Json::from("*"),
        other => hide(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_kept() {
        let body = br#"{"status":true,"data":{"reference":"pay-1","amount":5,
            "authorization":{"authorization_code":"AUTH_x","last4":"4081"},
            "customer":{"email":"ada@example.com"},"log":["10.0.0.7"]}}"#;
        let kept = redact(body);
        assert!(kept.contains("pay-1") && kept.contains("\"amount\":5"));
        for secret in ["AUTH_x", "4081", "ada@", "10.0.0.7"] {
            assert!(!kept.contains(secret), "{kept}");
        }
        // A recipient's name is a person's.
        assert!(!redact(br#"{"type":"nuban","name":"ADA LOVELACE"}"#).contains("ADA"));
        let form = [("metadata[reference]", "pay-1"), ("customer_email", "ada@example.com")];
        let form = form.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(redact_form(&form), "metadata[reference]=pay-1&customer_email=*");
        assert_eq!(redact(b"<html>"), "(6 bytes)");
    }
}
