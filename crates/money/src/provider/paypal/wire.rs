//! PayPal's shapes: amounts as decimal text, orders, payouts, disputes, refusals.

use kernel::{Asset, Money};
use serde::Deserialize;

use crate::provider::Failure;

/// Currencies that PayPal holds and we know.
pub(super) const CURRENCIES: [Asset; 8] = [
    Asset::USD,
    Asset::EUR,
    Asset::GBP,
    Asset::CAD,
    Asset::CHF,
    Asset::HUF,
    Asset::TWD,
    Asset::JPY,
];
/// Of these it takes no decimals, where ISO 4217 has two.
pub(super) const STEPS: &[(Asset, i64)] = &[(Asset::HUF, 100), (Asset::TWD, 100)];

/// Digits behind the point as PayPal counts them.
fn places(asset: Asset) -> usize {
    if STEPS.iter().any(|(own, _)| *own == asset) { 0 } else { asset.scale().into() }
}

/// An amount as PayPal writes it: `12.30` dollars, `1230` forint.
///
/// # Errors
/// Invalid when the currency has no place for its last digits there.
pub(crate) fn written(amount: Money) -> Result<String, Failure> {
    let (scale, places) = (usize::from(amount.asset.scale()), places(amount.asset));
    let digits = format!("{:0>width$}", amount.minor.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let (kept, cut) = fraction.split_at(places);
    if cut.bytes().any(|digit| digit != b'0') {
        return Err(Failure::Invalid(format!("{amount} has decimals that PayPal does not take")));
    }
    let sign = if amount.minor < 0 { "-" } else { "" };
    Ok(if kept.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{kept}") })
}

/// The amount of a decimal text. Nothing is rounded: what does not fit is no amount.
///
/// # Errors
/// Invalid.
pub(crate) fn read(value: &str, currency: &str) -> Result<Money, Failure> {
    let wrong = || Failure::Invalid(format!("an amount of {value:?} {currency:?}"));
    let asset: Asset = currency.parse().map_err(|_| wrong())?;
    let (sign, digits) = value.strip_prefix('-').map_or(("", value), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_plain = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || !is_plain(whole) || !is_plain(fraction) {
        return Err(wrong());
    }
    if fraction.len() > places(asset) {
        return Err(wrong());
    }
    let scale = usize::from(asset.scale());
    let minor = format!("{sign}{whole}{fraction:0<scale$}").parse().map_err(|_| wrong())?;
    Ok(Money::new(minor, asset))
}

/// `{currency_code, value}` of the newer interfaces, `{currency, value}` of the older ones.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Amount {
    #[serde(alias = "currency_code")]
    currency: String,
    value: String,
}

impl Amount {
    pub(super) fn money(&self) -> Result<Money, Failure> {
        read(&self.value, &self.currency)
    }
}

#[derive(Deserialize)]
pub(super) struct Granted {
    pub access_token: String,
    /// Seconds.
    pub expires_in: u32,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Link {
    pub href: String,
    pub rel: String,
}

#[derive(Deserialize)]
pub(super) struct OrderWire {
    pub id: String,
    pub status: String,
    #[serde(default)]
    pub update_time: Option<String>,
    #[serde(default)]
    pub purchase_units: Vec<Unit>,
    #[serde(default)]
    pub links: Vec<Link>,
}

#[derive(Deserialize, Default)]
pub(super) struct Unit {
    #[serde(default)]
    pub custom_id: Option<String>,
    #[serde(default)]
    pub payments: Moved,
}

#[derive(Deserialize, Default)]
pub(super) struct Moved {
    #[serde(default)]
    pub captures: Vec<Capture>,
    #[serde(default)]
    pub refunds: Vec<RefundWire>,
}

#[derive(Deserialize)]
pub(super) struct Capture {
    pub id: String,
    pub status: String,
    pub amount: Amount,
    /// Absent while it is pending.
    #[serde(default)]
    pub seller_receivable_breakdown: Option<Breakdown>,
    #[serde(default)]
    pub custom_id: Option<String>,
}

impl Capture {
    /// Whether the money came. What is refunded afterwards came all the same.
    pub(super) fn is_paid(&self) -> bool {
        matches!(self.status.as_str(), "COMPLETED" | "PARTIALLY_REFUNDED" | "REFUNDED")
    }
}

#[derive(Deserialize)]
pub(super) struct Breakdown {
    #[serde(default)]
    pub paypal_fee: Option<Amount>,
}

#[derive(Deserialize)]
pub(super) struct RefundWire {
    pub id: String,
    pub status: String,
    #[serde(default)]
    pub amount: Option<Amount>,
    #[serde(default)]
    pub custom_id: Option<String>,
}

impl RefundWire {
    /// Whether it was asked for here.
    pub(super) fn is_ours(&self) -> bool {
        self.custom_id.as_deref().and_then(crate::refund::parse_reference).is_some()
    }
}

#[derive(Deserialize)]
pub(super) struct Batch {
    pub batch_header: BatchHeader,
    #[serde(default)]
    pub items: Vec<Item>,
}

#[derive(Deserialize)]
pub(super) struct BatchHeader {
    pub payout_batch_id: String,
    pub batch_status: String,
}

#[derive(Deserialize)]
pub(super) struct Item {
    pub transaction_status: String,
    pub payout_item: ItemAsked,
    #[serde(default)]
    pub payout_item_fee: Option<Amount>,
    #[serde(default)]
    pub errors: Option<Issue>,
}

#[derive(Deserialize)]
pub(super) struct ItemAsked {
    pub amount: Amount,
    pub sender_item_id: String,
}

#[derive(Deserialize)]
pub(super) struct Disputes {
    #[serde(default)]
    pub items: Vec<Named>,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub dispute_id: String,
}

#[derive(Deserialize)]
pub(super) struct DisputeWire {
    pub dispute_id: String,
    pub status: String,
    pub dispute_amount: Amount,
    #[serde(default)]
    pub dispute_outcome: Option<Outcome>,
}

#[derive(Deserialize, Default)]
pub(super) struct Outcome {
    #[serde(default)]
    pub outcome_code: String,
    #[serde(default)]
    pub amount_refunded: Option<Amount>,
}

#[derive(Deserialize)]
pub(super) struct Balances {
    pub balances: Vec<Balance>,
}

#[derive(Deserialize)]
pub(super) struct Balance {
    pub total_balance: Amount,
}

/// A refusal: what to do about it is told by the issues of its details.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub details: Vec<Issue>,
    #[serde(default)]
    pub links: Vec<Link>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Issue {
    #[serde(default, alias = "name")]
    pub issue: String,
    #[serde(default)]
    pub field: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_written_as_paypal_counts() {
        for (minor, asset, text) in [
            (1, Asset::USD, "0.01"),
            (123_456, Asset::EUR, "1234.56"),
            (1_000, Asset::JPY, "1000"),
            (150_000, Asset::HUF, "1500"),
            (-5, Asset::GBP, "-0.05"),
        ] {
            assert_eq!(written(Money::new(minor, asset)).unwrap(), text);
            assert_eq!(read(text, asset.code()).unwrap(), Money::new(minor, asset));
        }
    }

    #[test]
    fn m3_what_cannot_be_written_down_is_no_amount() {
        for (minor, asset) in [(150_050, Asset::HUF), (1, Asset::TWD), (99, Asset::HUF)] {
            assert!(written(Money::new(minor, asset)).is_err());
        }
        let wrong = [
            ("1.5", "JPY"),
            ("1500.5", "HUF"),
            ("0.001", "USD"),
            ("", "USD"),
            (".5", "USD"),
            ("1e3", "USD"),
            ("1,000.00", "USD"),
            ("+1", "USD"),
            ("--1", "USD"),
            ("99999999999999999999", "USD"),
            ("1.00", "usd"),
            ("1.00", "XXX"),
        ];
        for (value, currency) in wrong {
            assert!(read(value, currency).is_err(), "{value} {currency}");
        }
    }

    proptest::proptest! {
        #[test]
        fn m2_what_is_written_is_read_back(
            minor in proptest::num::i64::ANY, at in 0..CURRENCIES.len()
        ) {
            let asset = CURRENCIES[at];
            let step = STEPS.iter().find(|(own, _)| *own == asset).map_or(1, |(_, step)| *step);
            let amount = Money::new(minor / step * step, asset);
            let text = written(amount).unwrap();
            proptest::prop_assert_eq!(read(&text, asset.code()).unwrap(), amount);
        }
    }
}
