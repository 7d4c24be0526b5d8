//! The one form in which times are signed: `2026-11-22T10:00:00Z`.
//!
//! VC Data Model 2.0 section 4.9 allows offsets and fractions. One form for one instant keeps a
//! signed document free of choices, so everything else is refused.

use std::fmt;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time that is not, or cannot be, written as `YYYY-MM-DDThh:mm:ssZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampError;

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time must have the form YYYY-MM-DDThh:mm:ssZ")
    }
}

impl std::error::Error for TimestampError {}

/// Writes seconds since the Unix epoch; fails outside of the years 0 to 9999.
pub fn format(unix_seconds: i64) -> Result<String, TimestampError> {
    let time = OffsetDateTime::from_unix_timestamp(unix_seconds).map_err(|_| TimestampError)?;
    time.format(&Rfc3339).map_err(|_| TimestampError)
}

/// Reads seconds since the Unix epoch, from exactly what [`format`] writes.
pub fn parse(text: &str) -> Result<i64, TimestampError> {
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
    let seconds = time.unix_timestamp();
    if format(seconds)? == text { Ok(seconds) } else { Err(TimestampError) }
}
