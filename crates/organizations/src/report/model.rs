//! The nouns.

use std::str::FromStr;
use std::time::Duration;

use kernel::id::kinds::{Organization, User};
use kernel::{Error, Id, Result, Timestamp};
use platform::journal::Recorded;

const DAYS_MAX: u64 = 366;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a report is about: the days before now (`30d`), or a month in UTC (`2026-11`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Days(u64),
    /// From the one time on, before the other.
    Month(Timestamp, Timestamp),
}

impl Period {
    /// From when on, and before when.
    pub(super) fn bounds(self, now: Timestamp) -> (Timestamp, Timestamp) {
        match self {
            Self::Days(days) => (now - DAY * u32::try_from(days).unwrap_or(u32::MAX), now),
            Self::Month(from, to) => (from, to),
        }
    }
}

impl FromStr for Period {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let message = format!("days as in 30d, at most {DAYS_MAX}, or a month as in 2026-11");
            Error::field("/period", "invalid", message)
        };
        if let Some(days) = text.strip_suffix('d') {
            let days = days.parse().map_err(|_| wrong())?;
            return if (1..=DAYS_MAX).contains(&days) {
                Ok(Self::Days(days))
            } else {
                Err(wrong())
            };
        }
        let (year, month) = text.split_once('-').ok_or_else(wrong)?;
        let has_form = year.len() == 4 && month.len() == 2;
        let (year, month): (u16, u8) =
            (year.parse().map_err(|_| wrong())?, month.parse().map_err(|_| wrong())?);
        if !has_form || !(2000..=9998).contains(&year) || !(1..=12).contains(&month) {
            return Err(wrong());
        }
        let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        let first = |year: u16, month: u8| {
            format!("{year:04}-{month:02}-01T00:00:00Z").parse::<Timestamp>().map_err(|_| wrong())
        };
        Ok(Self::Month(first(year, month)?, first(next_year, next_month)?))
    }
}

/// What has happened for an organization.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub organization: Id<Organization>,
    pub from: Timestamp,
    /// The report is about what was before this.
    pub to: Timestamp,
    pub made_at: Timestamp,
    /// How often each action was done, by its name.
    pub actions: Vec<(String, i64)>,
    /// Who looked at what is the organization's, newest first.
    pub accesses: Vec<Access>,
    /// Whether there were more of them.
    pub has_more_accesses: bool,
    /// Days for which records of decisions are kept after an account was closed.
    pub retention_days: u32,
}

impl Report {
    /// How often the actions of a noun were done, by what comes after the dot.
    pub(super) fn of(&self, noun: &str) -> impl Iterator<Item = (&str, i64)> {
        self.actions.iter().filter_map(move |(action, count)| {
            let (of, verb) = action.split_once('.')?;
            (of == noun).then_some((verb, *count))
        })
    }
}

/// Somebody looked at something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access {
    pub at: Timestamp,
    pub actor: Option<Id<User>>,
    pub action: String,
    pub resource: String,
}

impl From<Recorded> for Access {
    fn from(fact: Recorded) -> Self {
        Self { at: fact.at, actor: fact.actor, action: fact.verb, resource: fact.subject }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_days_or_a_month() {
        let now = Timestamp::from_seconds(1_767_225_600);
        let bounds = |text: &str| text.parse::<Period>().map(|period| period.bounds(now)).unwrap();
        let day = |text: &str| format!("{text}T00:00:00Z").parse::<Timestamp>().unwrap();
        assert_eq!(bounds("31d"), (day("2025-12-01"), day("2026-01-01")));
        assert_eq!(bounds("2025-12"), (day("2025-12-01"), day("2026-01-01")));
        assert_eq!(bounds("2024-02"), (day("2024-02-01"), day("2024-03-01")));
        for text in [
            "",
            "d",
            "0d",
            "367d",
            "-1d",
            "2026",
            "2026-13",
            "2026-00",
            "26-01",
            "2026-1",
            "2026-01-01",
            "x",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
