//! Months, and what a statement spans.

use std::fmt;
use std::str::FromStr;

use kernel::id::kinds::User;
use kernel::{Error, Id, Money, Result, Timestamp};
use serde::{Deserialize, Deserializer};

/// A calendar month, in UTC: `2026-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: u16,
    month: u8,
}

impl Month {
    /// Its first instant.
    pub fn start(self) -> Timestamp {
        // Every month of the years that parse has one.
        format!("{self}-01T00:00:00Z").parse().unwrap_or_default()
    }

    /// The first instant that is no longer in it.
    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    #[must_use]
    pub const fn next(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { month: month + 1, ..self },
        }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let is_plain =
            |part: &str, len| part.len() == len && part.bytes().all(|digit| digit.is_ascii_digit());
        let parsed = text.split_once('-').filter(|(y, m)| is_plain(y, 4) && is_plain(m, 2));
        let parsed = parsed.and_then(|(y, m)| Some((y.parse().ok()?, m.parse().ok()?)));
        match parsed {
            Some((year @ 1970..=9998, month @ 1..=12)) => Ok(Self { year, month }),
            _ => Err(Error::not_found("month")),
        }
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("a month, such as 2026-01"))
    }
}

/// How it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PaperFormat)]
pub enum Format {
    Pdf,
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// The entries of the longest statement on pages: some four hundred of them. Tables have no bound.
pub(super) const PRINTED_MAX: i64 = 10_000;

impl Format {
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Jsonl => "application/x-ndjson",
        }
    }

    pub const fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// What a statement is about, known before its first line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub owner: Id<User>,
    pub month: Month,
    /// The end of the month, or now.
    pub until: Timestamp,
    pub opening: Money,
    pub closing: Money,
    /// The entries of the account after this one ...
    pub(super) after: i64,
    /// ... up to this one.
    pub(super) last: i64,
}

impl Span {
    /// How many entries are on it.
    pub const fn entries(&self) -> i64 {
        self.last - self.after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_where_the_last_one_ends() {
        let month: Month = "2026-12".parse().unwrap();
        assert_eq!(month.start().to_string(), "2026-12-01T00:00:00Z");
        assert_eq!(month.end().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(month.next().to_string(), "2027-01");
        let leap: Month = "2028-02".parse().unwrap();
        assert_eq!(leap.end().since(leap.start()).as_secs(), 29 * 24 * 3600);
    }

    #[test]
    fn what_is_no_month_is_not_there() {
        for text in ["", "2026", "2026-1", "2026-00", "2026-13", "26-01", "2026-01-01", "+026-01"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
