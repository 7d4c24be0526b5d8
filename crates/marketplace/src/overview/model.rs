//! Periods, and what is counted in them.

use std::time::Duration;

use kernel::{Asset, Error, Result, Timestamp};

use crate::verification::model::Verdict;

/// A number of days that ends now.
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

    fn length(self) -> Duration {
        Duration::from_secs(u64::from(self.days) * 24 * 3600)
    }

    /// The period that ends now, and the one before it.
    pub fn spans(self, now: Timestamp) -> (Span, Span) {
        let length = i64::try_from(self.length().as_micros()).unwrap_or(i64::MAX);
        let back = |times: i64| Timestamp::from_micros(now.micros() - times * length);
        (Span { from: back(1), to: now }, Span { from: back(2), to: back(1) })
    }
}

/// From one instant on, to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
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
