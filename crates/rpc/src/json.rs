//! The JSON mapping of proto3, as far as our messages need it: 64-bit numbers are texts, numbers
//! are read from texts as well, null is the default, and what has its default is left out.

use serde::{Deserialize, Deserializer};

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Null stands for the default.
pub(crate) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Number<'a> {
    Whole(i64),
    /// `1.0` is a whole number to proto3.
    Float(f64),
    #[serde(borrow)]
    Text(std::borrow::Cow<'a, str>),
}

/// The largest number up to which every whole number is a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    use serde::de::Error;
    match Option::<Number<'_>>::deserialize(deserializer)? {
        None => Ok(0),
        Some(Number::Whole(number)) => Ok(number),
        Some(Number::Float(float)) if float.fract() == 0.0 && float.abs() <= EXACT => {
            Ok(float as i64)
        }
        Some(Number::Float(_)) => Err(D::Error::custom("not a whole number")),
        Some(Number::Text(text)) => {
            text.parse().map_err(|_| D::Error::custom("not a whole number of 64 bits"))
        }
    }
}

pub(crate) mod int64 {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        super::number(deserializer)
    }
}

pub(crate) mod int32 {
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i32(*value)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        use serde::de::Error;
        let number = super::number(deserializer)?;
        i32::try_from(number).map_err(|_| D::Error::custom("not a whole number of 32 bits"))
    }
}
