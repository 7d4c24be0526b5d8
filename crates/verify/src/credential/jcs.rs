//! JSON that has one meaning (I-JSON, RFC 7493) and one spelling (JCS, RFC 8785).
//!
//! Signatures are over the spelling, so the meaning must not depend on the reader: a name that
//! stands twice in an object, or a number that some parsers round, is refused instead of repaired.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

/// The largest integer that every JSON reader keeps exactly, RFC 7493 section 2.2.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;
/// The most values that are read of one text, each item and member counted. A value takes hundreds
/// of bytes of memory where its text took four.
pub const VALUES_MAX: u32 = 50_000;

/// Why text is not I-JSON, or a value has no canonical spelling here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// Not JSON, nested too deeply, of too many values, or with a repeated name; the text says
    /// where.
    Malformed(String),
    /// A fraction, an exponent, or an integer beyond 2^53 - 1.
    Number,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) => write!(f, "not acceptable JSON: {reason}"),
            Self::Number => f.write_str("a number is not an integer within 2^53 - 1"),
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads JSON text, refusing repeated names, every number but the safe integers, and more than
/// [`VALUES_MAX`] values.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    Budget::default().parse(text)
}

/// How many values may still be read: of one text, or of several that belong together.
#[derive(Clone, Debug)]
pub struct Budget(Cell<u32>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(VALUES_MAX))
    }
}

impl Budget {
    /// [`parse`], of as many values as are left.
    pub fn parse(&self, text: &str) -> Result<Value, JsonError> {
        read(text, self, false)
    }
}

/// Whether [`parse`] refuses a text for nothing but its numbers.
pub fn has_odd_numbers(text: &str) -> bool {
    read(text, &Budget::default(), true).is_ok_and(|value| !is_spellable(&value))
}

fn read(text: &str, budget: &Budget, takes_any_number: bool) -> Result<Value, JsonError> {
    let Budget(left) = budget;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { left, takes_any_number }.deserialize(&mut reader);
    value
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| JsonError::Malformed(error.to_string()))
}

/// The canonical spelling of a value, RFC 8785.
///
/// The scheme would print any number as the nearest double; here a number that this could change
/// is an error, because the signature would then cover another value than the one shown.
pub fn canonicalize(value: &Value) -> Result<String, JsonError> {
    check_numbers(value)?;
    serde_json_canonicalizer::to_string(value)
        .map_err(|error| JsonError::Malformed(error.to_string()))
}

/// Whether a value has a canonical spelling here.
pub fn is_spellable(value: &Value) -> bool {
    check_numbers(value).is_ok()
}

/// SHA-256 over the canonical spelling.
pub fn digest(value: &Value) -> Result<[u8; 32], JsonError> {
    Ok(Sha256::digest(canonicalize(value)?).into())
}

fn check_numbers(value: &Value) -> Result<(), JsonError> {
    match value {
        Value::Number(number) if !is_safe(number) => Err(JsonError::Number),
        Value::Array(items) => items.iter().try_for_each(check_numbers),
        Value::Object(members) => members.values().try_for_each(check_numbers),
        _ => Ok(()),
    }
}

fn is_safe(number: &Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(positive), _) => positive <= SAFE_INTEGER_MAX,
        (None, Some(negative)) => negative.unsigned_abs() <= SAFE_INTEGER_MAX,
        (None, None) => false,
    }
}

/// Reads a [`Value`] without forgiveness; serde_json itself keeps the last of two equal names.
#[derive(Clone, Copy)]
struct Strict<'a> {
    /// How many values may still come.
    left: &'a Cell<u32>,
    takes_any_number: bool,
}

impl Strict<'_> {
    fn number<E: serde::de::Error>(self, number: Number) -> Result<Value, E> {
        if self.takes_any_number || is_safe(&number) {
            Ok(Value::Number(number))
        } else {
            Err(E::custom(JsonError::Number))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.get().checked_sub(1) else {
            return Err(D::Error::custom(format_args!("there are more than {VALUES_MAX} values")));
        };
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.number(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.number(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .ok_or_else(|| E::custom(JsonError::Number))
            .and_then(|number| self.number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name {name:?} stands twice")));
            }
            let value = members.next_value_seed(self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}
