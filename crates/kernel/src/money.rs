//! Amounts of money: a whole number of the asset's smallest unit, and the asset.
//!
//! **5000 with NGN is fifty naira.** There are no floats anywhere near money, an amount in a
//! request is never negative, and arithmetic that does not fit is an error.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// What an amount is counted in. Only the assets of [`Asset::ALL`] exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asset(&'static Definition);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Definition {
    code: &'static str,
    /// Digits behind the point: ISO 4217 for currencies, capped for chains so that i64 holds
    /// every amount (ETH in gwei).
    scale: u8,
    symbol: &'static str,
}

macro_rules! assets {
    ($($name:ident $scale:literal $symbol:literal)*) => {
        impl Asset {
            $(pub const $name: Self =
                Self(&Definition { code: stringify!($name), scale: $scale, symbol: $symbol });)*
            /// Every asset there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

assets! {
    NGN 2 "₦"
    USD 2 "$"
    EUR 2 "€"
    GBP 2 "£"
    GHS 2 "GH₵"
    KES 2 "KSh"
    ZAR 2 "R"
    CAD 2 "CA$"
    CHF 2 "CHF "
    INR 2 "₹"
    HUF 2 "Ft"
    TWD 2 "NT$"
    JPY 0 "¥"
    KWD 3 "KD"
    BTC 8 "₿"
    ETH 9 "Ξ"
    USDC 6 "USDC "
    USDT 6 "USDT "
    VZT 6 "VZT "
}

impl Asset {
    pub const fn code(self) -> &'static str {
        self.0.code
    }

    /// Digits behind the point.
    pub const fn scale(self) -> u8 {
        self.0.scale
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Asset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|asset| asset.code() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|asset| asset.code()).collect();
            Error::field("/currency", "unknown_currency", format!("one of {}", known.join(", ")))
        })
    }
}

impl Serialize for Asset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Asset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("not a currency that is known here"))
    }
}

impl utoipa::PartialSchema for Asset {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .enum_values(Some(Self::ALL.iter().map(|asset| asset.code())))
            .into()
    }
}

impl utoipa::ToSchema for Asset {
    fn name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }
}

/// An amount of an asset, in minor units. May be negative inside (a change, a difference).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    pub minor: i64,
    pub asset: Asset,
}

impl Money {
    /// The largest amount one request may move: far above any fee, far below what sums break at.
    pub const MAX_MINOR: i64 = 1_000_000_000_000_000;

    pub const fn new(minor: i64, asset: Asset) -> Self {
        Self { minor, asset }
    }

    /// An amount that a client asked to move: positive, and not absurdly large.
    pub fn requested(minor: i64, asset: Asset) -> Result<Self> {
        if minor <= 0 {
            return Err(Error::field("/amount", "not_positive", "a whole number above zero"));
        }
        if minor > Self::MAX_MINOR {
            let message = format!("at most {}", Self::MAX_MINOR);
            return Err(Error::field("/amount", "too_large", message));
        }
        Ok(Self { minor, asset })
    }

    pub fn plus(self, other: Self) -> Result<Self> {
        self.combine(other, i64::checked_add)
    }

    pub fn minus(self, other: Self) -> Result<Self> {
        self.combine(other, i64::checked_sub)
    }

    fn combine(self, other: Self, with: fn(i64, i64) -> Option<i64>) -> Result<Self> {
        if self.asset != other.asset {
            let (a, b) = (self.asset, other.asset);
            return Err(Error::internal(format!("{a} and {b} cannot be added up")));
        }
        with(self.minor, other.minor)
            .map(|minor| Self { minor, ..self })
            .ok_or_else(|| Error::internal("an amount does not fit 64 bits"))
    }

    /// The share of `basis_points` hundredths of a percent, rounded down: what is left over
    /// stays with the other side.
    pub fn share(self, basis_points: u16) -> Self {
        let share = i128::from(self.minor) * i128::from(basis_points) / 10_000;
        // A share is at most six and a half times the amount; a request's amount leaves room.
        Self { minor: i64::try_from(share).unwrap_or(i64::MAX), ..self }
    }
}

impl fmt::Display for Money {
    /// For people: `₦5,000.00`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.asset.0.scale);
        let digits = format!("{:0>width$}", self.minor.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        if self.minor < 0 {
            f.write_str("-")?;
        }
        f.write_str(self.asset.0.symbol)?;
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index) % 3 == 0 {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        if scale > 0 { write!(f, ".{fraction}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_shows_in_its_own_scale() {
        assert_eq!(Money::new(500_000, Asset::NGN).to_string(), "₦5,000.00");
        assert_eq!(Money::new(5, Asset::USD).to_string(), "$0.05");
        assert_eq!(Money::new(-1_234_567, Asset::JPY).to_string(), "-¥1,234,567");
        assert_eq!(Money::new(1_000, Asset::KWD).to_string(), "KD1.000");
        assert_eq!(Money::new(i64::MIN, Asset::USD).to_string(), "-$92,233,720,368,547,758.08");
    }

    #[test]
    fn nothing_wraps_and_nothing_mixes() {
        let most = Money::new(i64::MAX, Asset::USD);
        assert!(most.plus(Money::new(1, Asset::USD)).is_err());
        assert!(most.minus(Money::new(1, Asset::EUR)).is_err());
        assert!(Money::requested(0, Asset::USD).is_err());
        assert!(Money::requested(-1, Asset::USD).is_err());
        assert!(Money::requested(i64::MAX, Asset::USD).is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_split_loses_nothing(minor in 1..Money::MAX_MINOR, bps in 0u16..=10_000) {
            let price = Money::new(minor, Asset::NGN);
            let fee = price.share(bps);
            let rest = price.minus(fee).unwrap();
            proptest::prop_assert!(fee.minor >= 0 && rest.minor >= 0);
            proptest::prop_assert_eq!(fee.plus(rest).unwrap(), price);
        }
    }
}
