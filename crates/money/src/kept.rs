//! Amounts in replies that are remembered for an `Idempotency-Key`: minor units and the asset.

use kernel::{Asset, Money};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer>(money: &Money, to: S) -> Result<S::Ok, S::Error> {
    (money.minor, money.asset).serialize(to)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Money, D::Error> {
    let (minor, asset) = <(i64, Asset)>::deserialize(from)?;
    Ok(Money::new(minor, asset))
}
