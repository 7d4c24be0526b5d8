//! The port: what every provider is asked, and what it may answer.

use std::fmt;
use std::str::FromStr;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use kernel::id::kinds::User;
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
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

/// What an adapter can do.
#[derive(Debug, Clone, Default)]
pub struct Capabilities {
    /// The currencies it collects; an amount in another one is never sent to it.
    pub currencies: Vec<Asset>,
    /// How a payer can pay: `card`, `bank` ...
    pub methods: Vec<&'static str>,
    /// Whether real money moves.
    pub live: bool,
    /// Whether it collects from nobody whose mail address it does not know.
    pub needs_email: bool,
    /// Currencies of which it takes no more than every so many minor units: 100 where it takes
    /// no decimals and we keep two.
    pub steps: &'static [(Asset, i64)],
    /// Whom it pays out to, and in which currencies.
    pub payouts: Vec<(DestinationKind, Asset)>,
    /// Whether it finds a payout by our reference alone, so that one it does not know was never made.
    pub finds_payouts: bool,
    /// Whether it sends money of a payment back to where it came from.
    pub refunds: bool,
    /// Whether money comes by itself to addresses that wallets have there.
    pub has_arrivals: bool,
}

impl Capabilities {
    /// Refuses an amount that this provider cannot write down.
    ///
    /// # Errors
    /// Invalid, at `/amount`.
    pub fn represent(&self, amount: Money) -> Result<()> {
        let step = self.steps.iter().find(|(asset, _)| *asset == amount.asset);
        match step {
            Some((asset, step)) if amount.minor % step != 0 => {
                let least = Money::new(*step, *asset);
                let message = format!("a multiple of {step}, which is {least}");
                Err(Error::field("/amount", "not_representable", message))
            }
            _ => Ok(()),
        }
    }

    pub fn pays_out(&self, kind: DestinationKind, asset: Asset) -> bool {
        self.payouts.contains(&(kind, asset))
    }
}

/// What the provider is asked to collect.
#[derive(Debug, Clone)]
pub struct Order {
    /// Into whose wallet it goes.
    pub payer: Id<User>,
    /// Ours, and the provider's idempotency key: the same reference is the same payment.
    pub reference: String,
    pub amount: Money,
    /// The payer's, for the provider's receipt. Passed on, and not kept.
    pub email: Option<String>,
    pub method: Option<String>,
    /// Where the payer's browser goes when the payer is done.
    pub return_url: Option<String>,
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

/// What is asked about: our reference, and the provider's own where we have heard it.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    pub reference: &'a str,
    pub provider_ref: Option<&'a str>,
    /// Whether to look for charge-backs as well, where that is a question of its own, and for refunds
    /// that nobody here has asked for.
    pub with_dispute: bool,
}

impl<'a> Known<'a> {
    pub const fn by(reference: &'a str, provider_ref: Option<&'a str>) -> Self {
        Self { reference, provider_ref, with_dispute: false }
    }
}

/// A payment as the provider sees it: the only ground on which a wallet is credited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub reference: String,
    pub state: SeenState,
    /// What others want back of it or have sent back, as far as that has come.
    pub disputes: Vec<SeenDispute>,
}

/// What has become of it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenState {
    /// The payer has not paid yet.
    Open,
    /// The payer has agreed, and the money is there for the asking: complete it.
    Approved,
    /// The money is there: what came, and what the provider keeps of it.
    Paid { received: Money, fee: Money },
    /// It will not come, for this reason.
    Failed { reason: String },
}

/// Money that has come, or is coming, to an address that a wallet has at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// What it is for ever, also where it moves to another block.
    pub provider_ref: String,
    /// The address.
    pub to: String,
    pub asset: Asset,
    /// None when it is too little or too much to be counted.
    pub amount: Option<Money>,
    /// As the chain counts it, and what of that is below our last digit.
    pub raw: String,
    pub rest: String,
}

/// What has arrived since, in the order in which it did.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    pub arrivals: Vec<Arrival>,
    /// From where to go on.
    pub next: String,
}

/// A payment, or a part of one, that the payer's bank wants back, or that was sent back at the
/// provider without us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDispute {
    /// The provider's own name for it.
    pub id: String,
    pub amount: Money,
    pub stage: DisputeStage,
}

/// How far a charge-back has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeStage {
    /// The bank asks; nothing is decided.
    Open,
    /// The money is gone from our account at the provider.
    Lost,
    /// The money stays with us, or is back.
    Won,
}

/// To whom money goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DestinationKind {
    /// An account at a bank: number, and the bank's code.
    Bank,
    /// A PayPal account, by its mail address.
    Paypal,
    /// An address on a chain.
    Crypto,
}

impl DestinationKind {
    pub const ALL: [Self; 3] = [Self::Bank, Self::Paypal, Self::Crypto];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Paypal => "paypal",
            Self::Crypto => "crypto",
        }
    }
}

/// Where a payout goes, in the terms of providers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub kind: DestinationKind,
    pub asset: Asset,
    /// The account number, mail address or chain address.
    pub account: String,
    /// The bank's code; none where there is no bank.
    pub bank: Option<String>,
    /// Whose it is, as the provider says or the user has written.
    pub name: Option<String>,
}

/// A payout about to be made. The reference makes it one: asked for twice, a provider makes one
/// payout, or refuses the second as a duplicate of the first.
#[derive(Debug, Clone)]
pub struct Payout {
    pub reference: String,
    pub amount: Money,
    pub to: Destination,
}

/// A payout, as the provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenPayout {
    pub reference: String,
    pub provider_ref: String,
    pub amount: Money,
    pub state: PayoutState,
}

/// How far a payout has come there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayoutState {
    /// On its way; nothing is conclusive.
    Pending,
    /// Paid, and what the provider took for it.
    Settled { cost: Money },
    /// Conclusively not paid.
    Failed { reason: String },
    /// Was paid, and came back.
    Returned { reason: String },
}

/// Money sent back to where a payment came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRefund {
    pub provider_ref: String,
    pub amount: Money,
    pub state: RefundState,
}

impl SeenRefund {
    /// What a refund is that nobody here has asked for, in the provider's dashboard, say: the money
    /// goes as it does by a charge-back.
    pub(super) fn into_dispute(self) -> SeenDispute {
        let stage = match self.state {
            RefundState::Pending | RefundState::NeedsAction => DisputeStage::Open,
            RefundState::Settled => DisputeStage::Lost,
            RefundState::Failed => DisputeStage::Won,
        };
        // Some providers number both alike.
        SeenDispute { id: format!("refund:{}", self.provider_ref), amount: self.amount, stage }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundState {
    Pending,
    Settled,
    Failed,
    /// The provider wants something from us before it goes on.
    NeedsAction,
}

/// What a webhook says: a hint to go and look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The same for every delivery of one event.
    pub dedupe_key: String,
    pub kind: String,
    /// What it is about: our reference, or the provider's own id of the payment where the event
    /// does not carry ours.
    pub reference: String,
}

/// What came of checking a webhook.
#[derive(Debug)]
pub enum Webhook {
    /// Its signature holds; what it says. Kinds of events that are nobody's concern are left out.
    Genuine(Vec<Event>),
    /// It does not, whatever is wrong with it.
    Forged,
}

/// Why a provider did not do what it was asked. The fourth class is the one that loses money
/// where it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Final: the payer is told.
    Declined { reason: String },
    /// We asked for something that makes no sense, or do not understand the answer: our defect.
    /// It certainly had no effect.
    Invalid(String),
    /// It certainly had no effect: asking again is safe.
    Retryable(String),
    /// Nobody knows whether it had an effect. Never ask for a second one: fetch by our reference
    /// until that is conclusive.
    Unknown(String),
}

impl Failure {
    /// The class, for records and metrics.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Declined { .. } => "declined",
            Self::Invalid(_) => "invalid",
            Self::Retryable(_) => "retryable",
            Self::Unknown(_) => "unknown",
        }
    }

    /// A verb that the provider does not have.
    pub(crate) fn not_offered(verb: &str) -> Self {
        Self::Invalid(format!("this provider has no {verb}"))
    }
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

/// What a verb answers, in time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// A payment provider. Adapters classify what they hear and decide nothing. The verbs that a
/// provider does not have answer [`Failure::Invalid`].
pub trait Provider: Send + Sync {
    fn name(&self) -> ProviderName;

    fn capabilities(&self) -> &Capabilities;

    /// The header that carries the signature of its webhooks, in lower case.
    fn signature_header(&self) -> &'static str;

    /// Asks for a payment. Sent again with the same reference and amount, it answers the first.
    fn create_collection<'a>(&'a self, order: &'a Order) -> Answer<'a, Checkout>;

    /// Takes the money of an approved payment; done twice, it is taken once.
    fn complete_collection<'a>(&'a self, payment: Known<'a>) -> Answer<'a, Option<Seen>> {
        self.fetch_collection(payment)
    }

    /// The payment of our reference, or none when the provider does not know it.
    fn fetch_collection<'a>(&'a self, payment: Known<'a>) -> Answer<'a, Option<Seen>>;

    /// Our reference of a payment that the provider names by an id of its own; none when that is
    /// no payment of ours.
    fn reference_of<'a>(&'a self, _id: &'a str) -> Answer<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }

    /// What has arrived at wallets' addresses since `after`; everything without it.
    fn arrivals<'a>(&'a self, _after: Option<&'a str>) -> Answer<'a, Arrivals> {
        Box::pin(async { Err(Failure::not_offered("arrivals")) })
    }

    fn create_payout<'a>(&'a self, _payout: &'a Payout) -> Answer<'a, SeenPayout> {
        Box::pin(async { Err(Failure::not_offered("payouts")) })
    }

    /// The payout of our reference, or none when the provider does not know it.
    fn fetch_payout<'a>(&'a self, _payout: Known<'a>) -> Answer<'a, Option<SeenPayout>> {
        Box::pin(async { Err(Failure::not_offered("payouts")) })
    }

    /// Sends money of a payment back to where it came from; once for each `refund` reference.
    fn create_refund<'a>(
        &'a self,
        _payment: Known<'a>,
        _refund: &'a str,
        _amount: Money,
    ) -> Answer<'a, SeenRefund> {
        Box::pin(async { Err(Failure::not_offered("refunds")) })
    }

    /// The refund of our reference, or none when the provider does not know it.
    fn fetch_refund<'a>(
        &'a self,
        _payment: Known<'a>,
        _refund: &'a str,
    ) -> Answer<'a, Option<SeenRefund>> {
        Box::pin(async { Err(Failure::not_offered("refunds")) })
    }

    /// The events of a webhook whose signature over the raw body holds.
    ///
    /// # Errors
    /// Retryable or unknown when the provider itself has to be asked and does not answer.
    fn verify_webhook<'a>(
        &'a self,
        body: &'a [u8],
        headers: &'a HeaderMap,
        now: Timestamp,
    ) -> Answer<'a, Webhook>;

    /// The destination as the provider writes it, with whose it is where the provider knows.
    ///
    /// # Errors
    /// Declined when there is no such destination.
    fn validate_destination<'a>(&'a self, _to: &'a Destination) -> Answer<'a, Destination> {
        Box::pin(async { Err(Failure::not_offered("payouts")) })
    }

    /// What of ours is at the provider, in each currency.
    fn balance(&self) -> Answer<'_, Vec<Money>> {
        Box::pin(async { Err(Failure::not_offered("balance")) })
    }
}
