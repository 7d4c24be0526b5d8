//! The port to payment providers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use kernel::{Asset, Error, Money, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The providers that there are adapters and accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PaymentProvider)]
pub enum ProviderName {
    Sandbox,
    Paystack,
    Stripe,
    Paypal,
    Crypto,
}

impl ProviderName {
    pub const ALL: [Self; 5] =
        [Self::Sandbox, Self::Paystack, Self::Stripe, Self::Paypal, Self::Crypto];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Paystack => "paystack",
            Self::Stripe => "stripe",
            Self::Paypal => "paypal",
            Self::Crypto => "crypto",
        }
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProviderName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| Error::not_found("payment provider"))
    }
}

/// What an adapter can do. Collecting is all so far; payouts and refunds will be verbs of the
/// same port, found by our own reference like everything else.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// The currencies it collects; an amount in another one is never sent to it.
    pub currencies: Vec<Asset>,
    /// How a payer can pay: `card`, `bank` ...
    pub methods: Vec<&'static str>,
    /// Whether real money moves.
    pub live: bool,
}

/// What the provider is asked to collect.
#[derive(Debug, Clone)]
pub struct Order {
    /// Ours, and the provider's idempotency key: the same reference is the same payment.
    pub reference: String,
    pub amount: Money,
    /// The payer's, for the provider's receipt. Passed on, and not kept.
    pub email: Option<String>,
    pub method: Option<String>,
}

/// Where the payer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The provider's own name for the payment.
    pub provider_ref: String,
    /// What a client of the provider's library starts with.
    pub access_code: String,
    /// The page on which the payer pays.
    pub url: String,
}

/// A payment as the provider sees it: the only ground on which a wallet is credited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub reference: String,
    pub state: SeenState,
}

/// What has become of it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenState {
    /// The payer has not paid yet.
    Open,
    /// The money is there: what came, and what the provider keeps of it.
    Paid { received: Money, fee: Money },
    /// It will not come, for this reason.
    Failed { reason: String },
}

/// What a webhook says: a hint to go and look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The same for every delivery of one event.
    pub dedupe_key: String,
    pub kind: String,
    /// Our reference of the payment that it is about.
    pub reference: String,
}

/// Why a provider did not do what it was asked. The fourth class is the one that loses money
/// where it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Final: the payer is told.
    Declined { reason: String },
    /// We asked for something that makes no sense, or do not understand the answer: our defect.
    Invalid(String),
    /// It certainly had no effect: asking again is safe.
    Retryable(String),
    /// Nobody knows whether it had an effect. Never ask for a second one: fetch by our reference
    /// until that is conclusive.
    Unknown(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Declined { reason } => {
                Self::conflict("payment_declined", "The provider has declined this payment.")
                    .because(Self::internal(reason))
            }
            Failure::Invalid(what) => Self::internal(format!("payment provider: {what}")),
            Failure::Retryable(what) | Failure::Unknown(what) => Self::unavailable(
                "provider_unavailable",
                "The payment provider does not answer. Send the same request again, with the \
                 same Idempotency-Key.",
            )
            .retry_after(5)
            .because(Self::internal(what)),
        }
    }
}

/// A payment provider. Adapters classify what they hear and decide nothing.
pub trait Provider: Send + Sync {
    fn name(&self) -> ProviderName;

    fn capabilities(&self) -> &Capabilities;

    /// The header that carries the signature of its webhooks, in lower case.
    fn signature_header(&self) -> &'static str;

    /// Asks for a payment. Sent again with the same reference and amount, it answers the first.
    fn create_collection<'a>(
        &'a self,
        order: &'a Order,
    ) -> BoxFuture<'a, Result<Checkout, Failure>>;

    /// The payment of our reference, or none when the provider does not know it.
    fn fetch_collection<'a>(
        &'a self,
        reference: &'a str,
    ) -> BoxFuture<'a, Result<Option<Seen>, Failure>>;

    /// The events of a webhook whose signature over the raw body holds; none when it does not.
    /// Looks at nothing but its arguments.
    fn verify_webhook(&self, body: &[u8], headers: &HeaderMap) -> Option<Vec<Event>>;
}

/// The HTTP client of adapters: bounded in time, and led nowhere by redirects. Base URLs are
/// the operator's configuration, so private addresses are as good as others.
pub(crate) fn client() -> Result<reqwest::Client> {
    let broken = |what: &'static str| Error::internal(what);
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| broken("no usable TLS versions").because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| broken("no HTTP client for providers").because(error))
}
