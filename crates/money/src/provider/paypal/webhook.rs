//! PayPal's webhooks: a signature that a certificate proves, checked here and not by asking.
//!
//! What is signed is `transmission id | time | our webhook's id | CRC-32 of the raw body`, with RSA
//! and SHA-256. The certificate's address stands in a header, which anybody can write: it is
//! fetched from PayPal's own API hosts only, must lead to a root that we trust, and must be the
//! one that PayPal signs its messages with.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, StatusCode};
use kernel::{Error, Result, Timestamp};
use parking_lot::Mutex;
use platform::crypto::sha256;
use platform::db::Db;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value as Json;
use webpki::{EndEntityCert, KeyUsage};

use super::{BASE_URL, SANDBOX_URL, SIGNATURE_HEADER};
use crate::provider::transport::{Answered, Body, Request, Transport};
use crate::provider::{Event, Failure, ProviderName};

/// How far a webhook's time may be from ours.
const TOLERANCE: Duration = Duration::from_secs(300);
/// Where certificates are, on each host that has them.
const CERTIFICATES: &str = "/v1/notifications/certs/";
/// PayPal replaces its certificate once a year or so: more at once is nobody's need.
const KEPT_MAX: usize = 8;

type Chain = Arc<Vec<CertificateDer<'static>>>;

/// Who signs PayPal's webhooks, and how that is found out.
pub(super) struct Verifier {
    webhook_id: String,
    /// Addresses that certificates may come from.
    sources: Vec<(String, Transport)>,
    /// Whose certificate it must be.
    subject: ServerName<'static>,
    /// The SHA-256 of the root that chains must lead to; without it, any of the system's.
    pinned: Option<[u8; 32]>,
    kept: Mutex<Vec<(String, Chain)>>,
}

/// What the headers of a webhook say.
struct Claim<'a> {
    id: &'a str,
    time: &'a str,
    certificate: &'a str,
    signature: Vec<u8>,
}

impl<'a> Claim<'a> {
    fn read(headers: &'a HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        if text("paypal-auth-algo")? != "SHA256withRSA" {
            return None;
        }
        Some(Self {
            id: text("paypal-transmission-id")?,
            time: text("paypal-transmission-time")?,
            certificate: text("paypal-cert-url")?,
            signature: STANDARD.decode(text(SIGNATURE_HEADER)?).ok()?,
        })
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        let at = self.time.parse::<Timestamp>();
        at.is_ok_and(|at| at.since(now) <= TOLERANCE && now.since(at) <= TOLERANCE)
    }
}

impl Verifier {
    /// # Errors
    /// Invalid when the root's fingerprint is none.
    pub(super) fn new(base: &str, webhook_id: &str, root: Option<&str>, db: &Db) -> Result<Self> {
        let (origins, subject): (Vec<&str>, _) = match base {
            BASE_URL => {
                (vec!["https://api.paypal.com", BASE_URL], "messageverificationcerts.paypal.com")
            }
            SANDBOX_URL => (
                vec!["https://api.sandbox.paypal.com", SANDBOX_URL],
                "messageverificationcerts.sandbox.paypal.com",
            ),
            // A simulator signs with a certificate of its own.
            other => (vec![other], "messageverificationcerts.sim.test"),
        };
        let source = |origin: &&str| {
            let transport = Transport::new(ProviderName::Paypal, origin, db.clone())?;
            Ok(((*origin).to_owned(), transport))
        };
        let sources = origins.iter().map(source).collect::<Result<_>>()?;
        let subject = ServerName::try_from(subject)
            .map_err(|error| Error::internal("no name of a server").because(error))?;
        let pinned = root.map(fingerprint).transpose()?;
        let (webhook_id, kept) = (webhook_id.to_owned(), Mutex::default());
        Ok(Self { webhook_id, sources, subject, pinned, kept })
    }

    /// Whether PayPal has sent this, to us, and just now.
    ///
    /// # Errors
    /// Retryable or unknown when the certificate cannot be had at the moment.
    pub(super) async fn is_genuine(
        &self,
        body: &[u8],
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let Some(claim) = Claim::read(headers).filter(|claim| claim.is_fresh(now)) else {
            return Ok(false);
        };
        let Some(chain) = self.chain(claim.certificate).await? else { return Ok(false) };
        let signed = signed_text(claim.id, claim.time, &self.webhook_id, body);
        Ok(self.holds(&chain, now, signed.as_bytes(), &claim.signature).is_some())
    }

    /// The certificate at an address, with those that vouch for it; none where there is none, or
    /// where it would be fetched from somebody else.
    async fn chain(&self, url: &str) -> Result<Option<Chain>, Failure> {
        if let Some((_, chain)) = self.kept.lock().iter().find(|(own, _)| own == url) {
            return Ok(Some(chain.clone()));
        }
        let found = self.sources.iter().find_map(|(origin, transport)| {
            let path = url.strip_prefix(origin.as_str())?;
            let name = path.strip_prefix(CERTIFICATES)?;
            let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_".contains(&letter);
            (!name.is_empty() && name.bytes().all(is_plain)).then_some((path, transport))
        });
        let Some((path, transport)) = found else { return Ok(None) };
        let request = Request {
            verb: "verify_webhook",
            reference: "",
            method: Method::GET,
            path: path.to_owned(),
            body: Body::Empty,
            headers: Vec::new(),
        };
        let answer = match transport.send(request, refused).await {
            Ok(answer) => answer,
            Err(Failure::Invalid(_)) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let chain: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&answer.body).collect();
        let Ok(chain) = chain.map(Arc::new) else { return Ok(None) };
        let mut kept = self.kept.lock();
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push((url.to_owned(), chain.clone()));
        Ok(Some(chain))
    }

    /// Whether the chain holds, is the right one, and its key has made the signature.
    fn holds(
        &self,
        chain: &[CertificateDer<'static>],
        now: Timestamp,
        message: &[u8],
        signature: &[u8],
    ) -> Option<()> {
        let (leaf, others) = chain.split_first()?;
        let leaf = EndEntityCert::try_from(leaf).ok()?;
        let pinned: Vec<_>;
        let anchors = match &self.pinned {
            Some(pin) => {
                let own = others.iter().filter(|it| sha256(it.as_ref()) == *pin);
                pinned = own.filter_map(|it| webpki::anchor_from_trusted_cert(it).ok()).collect();
                pinned.as_slice()
            }
            None => platform::outbound::authorities().roots.as_slice(),
        };
        let seconds = u64::try_from(now.seconds()).ok()?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let usage = KeyUsage::server_auth();
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        leaf.verify_for_usage(algorithms, anchors, others, time, usage, None, None).ok()?;
        leaf.verify_is_valid_for_subject_name(&self.subject).ok()?;
        let algorithm = webpki::ring::RSA_PKCS1_2048_8192_SHA256;
        leaf.verify_signature(algorithm, message, signature).ok()
    }
}

/// What an answer without a certificate means: that there is none, unless the host is in trouble.
fn refused(answered: &Answered) -> Failure {
    let (status, what) = (answered.status, answered.status.to_string());
    match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        true => Failure::Retryable(what),
        false => Failure::Invalid(what),
    }
}

fn fingerprint(text: &str) -> Result<[u8; 32]> {
    let bytes = hex::decode(text.replace(':', "")).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        let message = "The fingerprint of PayPal's root certificate is 64 hexadecimal digits.";
        Error::invalid("invalid_fingerprint", message)
    })
}

/// What PayPal signs.
pub(crate) fn signed_text(id: &str, time: &str, webhook_id: &str, body: &[u8]) -> String {
    format!("{id}|{time}|{webhook_id}|{}", crc32fast::hash(body))
}

/// The events of a genuine webhook; none when it cannot be read.
pub(super) fn events(body: &[u8]) -> Option<Vec<Event>> {
    let event: Json = serde_json::from_slice(body).ok()?;
    let (kind, resource) = (event["event_type"].as_str()?, &event["resource"]);
    let related = &resource["supplementary_data"]["related_ids"]["order_id"];
    let candidates = if kind.starts_with("CHECKOUT.") {
        vec![&resource["purchase_units"][0]["custom_id"], &resource["order_id"], &resource["id"]]
    } else if kind == "PAYMENT.CAPTURE.REFUNDED" {
        // It is about the refund: the payment is named by its order, or by a link.
        let up = resource["links"].as_array().into_iter().flatten().find(|it| it["rel"] == "up");
        vec![related, up.map_or(&Json::Null, |link| &link["href"])]
    } else if kind.starts_with("PAYMENT.CAPTURE.") {
        vec![&resource["custom_id"], related, &resource["id"]]
    } else if kind.starts_with("CUSTOMER.DISPUTE.") {
        let about = &resource["disputed_transactions"][0];
        vec![&about["custom"], &about["invoice_number"], &about["seller_transaction_id"]]
    } else if kind.starts_with("PAYMENT.PAYOUTS-ITEM.") {
        vec![&resource["payout_item"]["sender_item_id"]]
    } else if kind.starts_with("PAYMENT.PAYOUTSBATCH.") {
        vec![&resource["batch_header"]["sender_batch_header"]["sender_batch_id"]]
    } else {
        return Some(Vec::new());
    };
    let reference = candidates.into_iter().find_map(Json::as_str)?;
    let reference = reference.rsplit('/').next()?.to_owned();
    let (dedupe_key, kind) = (event["id"].as_str()?.to_owned(), kind.to_owned());
    Some(vec![Event { dedupe_key, kind, reference }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_what_other_implementations_sign() {
        let body = concat!(
            r#"{"event":"charge.success","data":{"id":302961,"reference":"qTPrJoy9Bx","#,
            r#""amount":10000,"currency":"NGN"}}"#
        );
        let text = signed_text("i", "t", "w", body.as_bytes());
        assert_eq!(text, "i|t|w|3509684333");
    }

    #[test]
    fn an_event_is_about_our_reference_whatever_it_tells_of() {
        let about = |kind: &str, resource: Json| {
            let event = serde_json::json!({ "id": "WH-1", "event_type": kind,
                                            "resource": resource });
            events(event.to_string().as_bytes()).unwrap().pop().map(|it| it.reference)
        };
        let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        for (kind, resource) in [
            ("CHECKOUT.ORDER.APPROVED", r#"{"id":"O","purchase_units":[{"custom_id":"r"}]}"#),
            ("PAYMENT.CAPTURE.COMPLETED", r#"{"id":"C","custom_id":"r"}"#),
            (
                "PAYMENT.CAPTURE.REFUNDED",
                r#"{"id":"R","custom_id":"ours","links":[{"rel":"up","href":"https://x/y/r"}]}"#,
            ),
            ("CUSTOMER.DISPUTE.CREATED", r#"{"disputed_transactions":[{"custom":"r"}]}"#),
            ("PAYMENT.PAYOUTS-ITEM.SUCCEEDED", r#"{"payout_item":{"sender_item_id":"r"}}"#),
            (
                "PAYMENT.PAYOUTSBATCH.DENIED",
                r#"{"batch_header":{"sender_batch_header":{"sender_batch_id":"r"}}}"#,
            ),
        ] {
            assert_eq!(about(kind, json(resource)).as_deref(), Some("r"), "{kind}");
        }
        assert_eq!(about("BILLING.PLAN.CREATED", Json::Null), None);
        assert!(events(b"{}").is_none());
    }
}
