//! Periods, and what is counted in them.

use std::time::Duration;

use kernel::{Asset, Error, Result, Timestamp};

use crate::verification::model::Verdict;

/// A number of days, today among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub days: u16,
}

impl Period {
    const MAX: u16 = 366;
    const DEFAULT: Self = Self { days: 30 };

    /// `30d`; thirty days where nothing is said.
    ///
    /// # Errors
    /// A field error at `/period`.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Self::DEFAULT) };
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
        match days.filter(|days| (1..=Self::MAX).contains(days)) {
            Some(days) => Ok(Self { days }),
            None => Err(Error::field("/period", "invalid", "days, from 1d to 366d")),
        }
    }

    /// As many days up to this one, and as many before them.
    pub fn spans(self, now: Timestamp) -> (Span, Span) {
        let (today, days) = (Day::of(now), i64::from(self.days));
        let span = |last: Day| Span { first: last.before(days - 1), last };
        (span(today), span(today.before(days)))
    }
}

pub(super) const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

/// A day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// The day of an instant.
    pub fn of(at: Timestamp) -> Self {
        Self(at.micros().div_euclid(DAY_MICROS))
    }

    /// The day with this number, counted from 1970-01-01.
    pub const fn numbered(number: i64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> i64 {
        self.0
    }

    /// Its first instant.
    pub fn begins(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_mul(DAY_MICROS))
    }

    /// The first instant of the next one.
    pub fn ends(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_add(1).saturating_mul(DAY_MICROS))
    }

    fn before(self, days: i64) -> Self {
        Self(self.0 - days)
    }
}

/// Days, from the first to the last, both among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub first: Day,
    pub last: Day,
}

/// The verdicts of one day, one kind and one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Midnight UTC.
    pub day: Timestamp,
    pub verdict: Verdict,
    pub currency: Asset,
    pub count: i64,
    /// Minor units, as the owners paid them, less what came back.
    pub paid: i64,
    /// Of that, the platform's part.
    pub fees: i64,
    pub refunded: i64,
    /// From the acceptance to the verdict, all together.
    pub work: Duration,
}
