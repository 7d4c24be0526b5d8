//! The chart of accounts.

use std::fmt;

use kernel::id::kinds;
use kernel::{Asset, Id};
use platform::crypto::sha256;
use uuid::Uuid;

use crate::provider::ProviderName;

/// The side on which an account grows: assets and expenses by debit, liabilities and income by
/// credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    Debit,
    Credit,
}

impl Side {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "D",
            Self::Credit => "C",
        }
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Definition {
    code: &'static str,
    name: &'static str,
    side: Side,
    guarded: bool,
}

/// What kind of account: a line of the chart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(&'static Definition);

macro_rules! chart {
    ($($constant:ident $code:literal $side:ident $guarded:literal $name:literal;)*) => {
        impl Code {
            $(#[doc = $name]
              pub const $constant: Self = Self(&Definition {
                  code: $code, name: $name, side: Side::$side, guarded: $guarded,
              });)*
            /// The whole chart.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

chart! {
    CLEARING_SANDBOX "as.clearing.sandbox" Debit false "Money at the sandbox";
    CLEARING_PAYSTACK "as.clearing.paystack" Debit false "Money at Paystack";
    CLEARING_STRIPE "as.clearing.stripe" Debit false "Money at Stripe";
    CLEARING_PAYPAL "as.clearing.paypal" Debit false "Money at PayPal";
    CLEARING_CRYPTO "as.clearing.crypto" Debit false "Money on chains";
    BANK "as.bank" Debit false "Money at our own bank";
    WALLET "li.wallet" Credit true "Spendable money of a user";
    HELD "li.held" Credit true "Reserved money of a user";
    EARN_PENDING "li.earn.pending" Credit true "Earned, and still open to dispute";
    EARN "li.earn" Credit true "Earned, and free to be paid out";
    WITHDRAW "li.withdraw" Credit true "On its way out to a user";
    REFUND "li.refund" Credit true "On its way back to a payer";
    SUSPENSE_SANDBOX "li.suspense.sandbox" Credit false "Unmatched money at the sandbox";
    SUSPENSE_PAYSTACK "li.suspense.paystack" Credit false "Unmatched money at Paystack";
    SUSPENSE_STRIPE "li.suspense.stripe" Credit false "Unmatched money at Stripe";
    SUSPENSE_PAYPAL "li.suspense.paypal" Credit false "Unmatched money at PayPal";
    SUSPENSE_CRYPTO "li.suspense.crypto" Credit false "Unmatched money on chains";
    STAKE "li.stake" Credit true "Bonded by a verifier";
    UNSTAKE "li.unstake" Credit true "Cooling down on its way out of a bond";
    REWARD "li.reward" Credit true "Rewards of a verifier, unclaimed";
    SLASH "li.slash" Credit true "Taken from bonds, for those who were harmed";
    DEFERRED "li.deferred" Credit true "Paid for, and not yet served to an enterprise";
    TAX "li.tax" Credit false "Tax collected";
    RECEIVABLE_INVOICE "as.recv.invoice" Debit true "Billed to an enterprise, and not yet paid";
    RECEIVABLE_NEGATIVE "as.recv.negative" Debit true "Owed by a user after a charge-back";
    FEE_JOB "in.fee.job" Credit false "The platform's share of jobs";
    FEE_WITHDRAW "in.fee.withdraw" Credit false "What withdrawals cost their owners";
    SUBSCRIPTION "in.subscription" Credit false "Plans that were served";
    ORDER "in.order" Credit false "What orders cost their owners";
    PROVIDER_COST "ex.provider" Debit false "What providers charge us";
    CHARGEBACK_COST "ex.chargeback" Debit false "Charge-backs that nobody pays back";
    BAD_DEBT_COST "ex.baddebt" Debit false "Bills that nobody pays";
    REWARD_COST "ex.reward" Debit false "Rewards for bonds";
    GOODWILL_COST "ex.goodwill" Debit false "Paid out of our own pocket";
}

impl Code {
    pub const fn as_str(self) -> &'static str {
        self.0.code
    }

    /// What it holds, for people.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    pub const fn side(self) -> Side {
        self.0.side
    }

    /// Whether it may never be below zero.
    pub const fn is_guarded(self) -> bool {
        self.0.guarded
    }

    /// Where our money at a provider stands.
    pub const fn clearing(provider: ProviderName) -> Self {
        match provider {
            ProviderName::Sandbox => Self::CLEARING_SANDBOX,
            ProviderName::Paystack => Self::CLEARING_PAYSTACK,
            ProviderName::Stripe => Self::CLEARING_STRIPE,
            ProviderName::Paypal => Self::CLEARING_PAYPAL,
            ProviderName::Crypto => Self::CLEARING_CRYPTO,
        }
    }

    /// Where money stands that came from a provider and is nobody's yet.
    pub const fn suspense(provider: ProviderName) -> Self {
        match provider {
            ProviderName::Sandbox => Self::SUSPENSE_SANDBOX,
            ProviderName::Paystack => Self::SUSPENSE_PAYSTACK,
            ProviderName::Stripe => Self::SUSPENSE_STRIPE,
            ProviderName::Paypal => Self::SUSPENSE_PAYPAL,
            ProviderName::Crypto => Self::SUSPENSE_CRYPTO,
        }
    }

    /// How many balance rows an account of this code is spread over. A guard needs the whole
    /// balance in one row; the platform's own accounts are in every transaction, and writers
    /// would queue up for a single row. Eight buy nearly all that more would.
    pub(super) fn shards(self) -> u8 {
        if self.is_guarded() { 1 } else { spread() }
    }
}

const SPREAD: u8 = 8;

#[cfg(not(test))]
const fn spread() -> u8 {
    SPREAD
}

#[cfg(test)]
tokio::task_local! {
    /// Another number of rows, for a test.
    pub(super) static OTHER_SPREAD: u8;
}

#[cfg(test)]
fn spread() -> u8 {
    OTHER_SPREAD.try_with(|spread| *spread).unwrap_or(SPREAD)
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A line of the chart and whose it is. With an asset it names one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Account {
    pub code: Code,
    /// None for the platform itself.
    pub owner: Option<Id<kinds::User>>,
}

impl Account {
    pub const fn of(owner: Id<kinds::User>, code: Code) -> Self {
        Self { code, owner: Some(owner) }
    }

    pub const fn platform(code: Code) -> Self {
        Self { code, owner: None }
    }

    /// As it is stored: the platform owns what the nil id owns.
    pub(super) fn owner_uuid(self) -> Uuid {
        self.owner.map_or(Uuid::nil(), Id::uuid)
    }

    /// The account's id: a UUIDv8 (RFC 9562 section 5.8) over what it is. So an account needs no
    /// lookup, is the same on every replica, and cannot be opened twice.
    pub fn id(self, asset: Asset) -> Id<kinds::Account> {
        let owner = self.owner_uuid();
        let named: [&[u8]; 6] = [
            b"verza.ledger.account\0",
            self.code.as_str().as_bytes(),
            b"\0",
            asset.code().as_bytes(),
            b"\0",
            owner.as_bytes(),
        ];
        let hash = sha256(named.concat());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Id::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}
