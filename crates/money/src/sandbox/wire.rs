//! What travels between the two halves.

use kernel::{Asset, Timestamp};
use serde::{Deserialize, Serialize};

use crate::provider::{hmac_sha512_hex, is_same};

/// Carries the signature of a webhook.
pub const SIGNATURE_HEADER: &str = "x-sandbox-signature";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewCollection {
    pub reference: String,
    pub amount: i64,
    pub currency: Asset,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Pending,
    Paid,
    Declined,
}

/// A collection, as the server shows it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Collection {
    pub reference: String,
    pub status: Status,
    /// What was asked for.
    pub amount: i64,
    pub currency: Asset,
    /// What was paid; zero until then.
    pub paid: i64,
    pub fee: i64,
    pub access_code: String,
    pub checkout_url: String,
    /// Always false: no real money moves.
    pub live: bool,
    pub created_at: Timestamp,
    pub decided_at: Option<Timestamp>,
}

/// A payout, asked for and answered: the sandbox pays at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PayoutWire {
    pub reference: String,
    pub amount: i64,
    pub currency: Asset,
}

/// A webhook.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub id: String,
    pub r#type: String,
    pub data: EnvelopeData,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EnvelopeData {
    pub reference: String,
}

/// The signature of a body: HMAC-SHA-512 (RFC 4231) in lower-case hex.
pub fn sign(secret: &str, body: &[u8]) -> String {
    hmac_sha512_hex(secret, body)
}

/// Whether a signature belongs to a body; takes as long for a near miss as for a far one.
pub(super) fn is_signed(secret: &str, body: &[u8], signature: &str) -> bool {
    is_same(signature, &sign(secret, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_hmac_sha_512_in_hex() {
        // Made by hand with another implementation, in the form that Paystack signs in.
        let body = concat!(
            r#"{"event":"charge.success","data":{"id":302961,"reference":"qTPrJoy9Bx","#,
            r#""amount":10000,"currency":"NGN"}}"#
        );
        assert_eq!(
            sign("sk_test_verza", body.as_bytes()),
            "dfef8b82c2c6b1313a197b4766cc212f007c24c3acf40d785ea101c86e4ae6498a1a25a28e309f09\
             b1f5a981fad2831d520f33f0e7049169888336a585dacb99"
        );
    }
}
