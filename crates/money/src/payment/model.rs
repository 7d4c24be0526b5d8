//! Payments.

use std::fmt;

use kernel::id::kinds::{Invoice as InvoiceKind, Payment as PaymentKind, User};
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
use platform::db::{Column, FromColumn};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::provider::ProviderName;

/// What has become of a payment. The states and their order: see the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PaymentState)]
pub enum State {
    /// Stored here; the provider may not have heard of it.
    Created,
    /// The payer can pay.
    Pending,
    /// The wallet is credited.
    Settled,
    /// The provider says that no money will come.
    Failed,
    /// The time to pay is over.
    Expired,
    /// Money came, and not what was asked for, or for somebody who may not be paid.
    Suspended,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Created, Self::Pending, Self::Settled, Self::Failed, Self::Expired, Self::Suspended];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Pending => "pending",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Suspended => "suspended",
        }
    }

    /// Whether the money has come: nothing that a provider says changes this any more.
    pub const fn has_money(self) -> bool {
        matches!(self, Self::Settled | Self::Suspended)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromColumn for State {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl FromColumn for ProviderName {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        text.parse().ok()
    }
}

/// Why a payment is suspended while nobody has decided about it: another amount came than was
/// asked for, or its owner's account is suspended, banned or closed.
pub(super) const WRONG_AMOUNT: &str = "wrong_amount";
pub(super) const INACTIVE_OWNER: &str = "inactive_owner";
pub(super) const UNDECIDED: [&str; 2] = [WRONG_AMOUNT, INACTIVE_OWNER];
/// Why it is suspended still while its money is sent back.
pub(crate) const REFUNDING: &str = "refunding";
/// Why it is suspended for ever: the payer's bank has taken the money.
pub(crate) const CHARGED_BACK: &str = "charged_back";

/// A payment, as it is stored.
#[derive(Debug, Clone)]
pub struct Payment {
    pub id: Id<PaymentKind>,
    pub owner: Id<User>,
    pub provider: ProviderName,
    pub amount: Money,
    /// What it is to pay, once it has been credited.
    pub invoice: Option<Id<InvoiceKind>>,
    pub method: Option<String>,
    pub state: State,
    /// Why it failed or is suspended.
    pub reason: Option<String>,
    /// The provider's own name for it.
    pub provider_ref: Option<String>,
    pub access_code: Option<String>,
    pub checkout_url: Option<String>,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub(super) version: i64,
}

impl Payment {
    /// The reference under which the provider knows it.
    pub fn reference(&self) -> String {
        reference(self.id)
    }

    /// Whether its money waits for an admin: something else came than was asked for, or for
    /// somebody who may not be paid, and nobody has decided what becomes of it.
    pub fn is_undecided(&self) -> bool {
        let is_open = |reason: &str| UNDECIDED.contains(&reason);
        self.state == State::Suspended && self.reason.as_deref().is_some_and(is_open)
    }

    /// Why it waits for an admin, after so much has come.
    pub(crate) fn why_undecided(&self, came: Money) -> &'static str {
        if came == self.amount { INACTIVE_OWNER } else { WRONG_AMOUNT }
    }

    /// Whether its money waits for a refund that is on its way.
    pub(crate) fn is_refunding(&self) -> bool {
        self.state == State::Suspended && self.reason.as_deref() == Some(REFUNDING)
    }

    /// Whether its money was taken back before anybody had decided about it.
    pub(crate) fn is_charged_back(&self) -> bool {
        self.state == State::Suspended && self.reason.as_deref() == Some(CHARGED_BACK)
    }
}

/// A payment's reference is its id, written in the letters that every provider takes.
pub(crate) fn reference(id: Id<PaymentKind>) -> String {
    id.to_string().replace('_', "-")
}

/// The id behind a reference; an id as such is taken as well.
pub(super) fn parse_reference(text: &str) -> Option<Id<PaymentKind>> {
    text.replacen("pay-", "pay_", 1).parse().ok()
}

/// What a user wants to pay in.
#[derive(Debug, Clone, Default)]
pub struct NewDeposit {
    /// Whole minor units.
    pub amount: i64,
    pub currency: Option<Asset>,
    pub provider: Option<ProviderName>,
    pub method: Option<String>,
    pub email: Option<String>,
}

/// How somebody wants to pay an invoice.
#[derive(Debug, Clone, Default)]
pub struct NewCheckout {
    pub provider: Option<ProviderName>,
    pub method: Option<String>,
    pub email: Option<String>,
}

/// The longest address that mail can carry (RFC 5321 section 4.5.3.1).
const EMAIL_MAX: usize = 254;

/// An address to pass on to a provider. Whether it exists is the provider's to find out.
pub(crate) fn parse_email(text: &str) -> Result<&str> {
    let parts = text.split_once('@');
    let is_plausible = parts.is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    let is_plain = !text.chars().any(|letter| letter.is_whitespace() || letter.is_control());
    if is_plausible && is_plain && text.len() <= EMAIL_MAX {
        return Ok(text);
    }
    Err(Error::field("/email", "invalid", "an e-mail address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_id_in_letters_that_every_provider_takes() {
        let id = Id::from_uuid(uuid::Uuid::from_u128(7));
        let text = reference(id);
        assert!(text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-'));
        assert_eq!(parse_reference(&text), Some(id));
        assert_eq!(parse_reference(&id.to_string()), Some(id));
        for wrong in ["", "pay-", "u_00000000000000000000000007", "pay-7", "x"] {
            assert_eq!(parse_reference(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert!(parse_email("user@example.com").is_ok());
        let long = format!("{}@example.com", "x".repeat(300));
        for wrong in ["", "@", "a@", "@b", "a@b@c", "a b@c", "a@b\r\nBcc: x", long.as_str()] {
            assert!(parse_email(wrong).is_err(), "{wrong:?}");
        }
    }
}
