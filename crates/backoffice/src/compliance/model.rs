//! The nouns.

use std::str::FromStr;

use kernel::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose controls are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ComplianceFramework)]
pub enum Framework {
    /// AICPA's trust services criteria of 2017.
    Soc2,
    /// ISO/IEC 27001:2022, annex A.
    Iso27001,
    /// Regulation (EU) 2016/679.
    Gdpr,
}

/// A year, a quarter or a month, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub from: Timestamp,
    /// The instant after the last one.
    pub to: Timestamp,
}

impl Period {
    /// The month that an instant is in.
    pub fn month_of(now: Timestamp) -> Result<Self> {
        // RFC 3339: the year and the month come first.
        let text = now.to_string();
        text.get(..7).unwrap_or_default().parse()
    }

    fn months(year: i64, first: i64, count: i64) -> Result<Self> {
        let start = |months: i64| -> Result<Timestamp> {
            let (year, month) = (year + (months - 1) / 12, (months - 1) % 12 + 1);
            format!("{year:04}-{month:02}-01T00:00:00Z").parse().map_err(|_| wrong())
        };
        Ok(Self { from: start(first)?, to: start(first + count)? })
    }
}

impl FromStr for Period {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (year, part) = text.split_once('-').map_or((text, None), |(y, p)| (y, Some(p)));
        let is_year = year.len() == 4 && year.bytes().all(|digit| digit.is_ascii_digit());
        let year: i64 = year.parse().ok().filter(|_| is_year).ok_or_else(wrong)?;
        let (first, count) = match part {
            None => (1, 12),
            Some(part) => match part.strip_prefix('Q') {
                Some(quarter) => match quarter {
                    "1" => (1, 3),
                    "2" => (4, 3),
                    "3" => (7, 3),
                    "4" => (10, 3),
                    _ => return Err(wrong()),
                },
                None if part.len() == 2 => {
                    let month: i64 = part.parse().map_err(|_| wrong())?;
                    (Some(month).filter(|it| (1..=12).contains(it)).ok_or_else(wrong)?, 1)
                }
                None => return Err(wrong()),
            },
        };
        if !(2000..=9000).contains(&year) {
            return Err(wrong());
        }
        Self::months(year, first, count)
    }
}

fn wrong() -> Error {
    Error::field("/period", "invalid", "a year, a quarter or a month: 2026, 2026-Q1 or 2026-01")
}
