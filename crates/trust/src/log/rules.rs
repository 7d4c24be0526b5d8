//! What a log is called, and after which log comes which. Pure decisions.

use std::fmt;

use verify::log::checkpoint::Checkpoint;
use verify::log::merkle::Hash;

/// The last part of an origin: the year in which the log began, and its number among those of
/// that year. `2026`, then `2026-2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term {
    pub(super) year: u32,
    pub(super) number: u32,
}

impl Term {
    pub(super) const fn first_of(year: u32) -> Self {
        Self { year, number: 1 }
    }

    /// Reads it, in its one spelling.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (year, number) = match text.split_once('-') {
            Some((year, number)) => (year.parse().ok()?, number.parse().ok()?),
            None => (text.parse().ok()?, 1),
        };
        let term = Self { year, number };
        (term.to_string() == text).then_some(term)
    }

    /// The first term that comes after all of these and not before this year.
    pub(super) fn after(year: u32, taken: &[Self]) -> Self {
        let first = Self::first_of(year);
        taken.iter().fold(first, |next, taken| match next > *taken {
            true => next,
            false => Self { year: taken.year, number: taken.number.saturating_add(1) },
        })
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            1 => write!(f, "{}", self.year),
            number => write!(f, "{}-{number}", self.year),
        }
    }
}

/// Whose log this is, and of which term.
fn parts(origin: &str) -> Option<(&str, Term)> {
    let (platform, term) = origin.rsplit_once('/')?;
    Some((platform, Term::parse(term)?))
}

/// Whether a log of this origin comes after another one of the same platform.
pub fn follows(origin: &str, other: &str) -> bool {
    match (parts(origin), parts(other)) {
        (Some((platform, term)), Some((own, before))) => platform == own && term > before,
        _ => false,
    }
}

/// Why a log ends and another one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Year,
    /// Something was signed that this log does not continue: it was set back, or rewritten.
    Fork,
}

impl Cause {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Fork => "fork",
        }
    }
}

/// How a log stands to a checkpoint that somebody has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuity {
    /// What the checkpoint vouches for is the beginning of this log.
    Continues { size: u64 },
    /// The checkpoint vouches for more than is here: the log was set back, or this is a copy from
    /// before. Whatever is appended now forks it.
    Behind { seen: u64, here: u64 },
    /// The same number of leaves gives another root: the past was rewritten.
    Forked { size: u64 },
    /// The checkpoint is of another log, or not signed by this one's keys.
    Foreign(String),
}

impl Continuity {
    /// Whether going on under the same name would show two histories of one log.
    pub(super) const fn is_fork(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::Forked { .. })
    }
}

/// Compares a checkpoint that was seen with a log of `size` leaves, whose first `seen.size` leaves
/// have the root `then`, where it has as many.
pub(super) fn compare(seen: &Checkpoint, size: u64, then: Option<Hash>) -> Continuity {
    if seen.size > size {
        Continuity::Behind { seen: seen.size, here: size }
    } else if then == Some(seen.root) {
        Continuity::Continues { size: seen.size }
    } else {
        Continuity::Forked { size: seen.size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_have_one_spelling_and_one_order() {
        for text in ["2026", "2026-2", "2027", "2027-11"] {
            assert_eq!(Term::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "2026-1", "2026-02", "02026", "2026-", "+2026", "audit", "2026-0x2"] {
            assert_eq!(Term::parse(text), None, "{text}");
        }
        let term = |text| Term::parse(text).unwrap();
        assert_eq!(Term::after(2027, &[term("2026-3")]), term("2027"));
        assert_eq!(Term::after(2026, &[term("2026")]), term("2026-2"));
        assert_eq!(Term::after(2026, &[term("2026"), term("2027-4")]), term("2027-5"));
        assert_eq!(Term::after(2027, &[term("2026"), term("2027")]), term("2027-2"));
    }

    #[test]
    fn logs_of_one_platform_follow_one_another_by_number_and_not_by_letter() {
        let log = |term: &str| format!("a.example/audit/{term}");
        for (later, earlier) in [("2026-2", "2026"), ("2026-10", "2026-9"), ("2027", "2026-3")] {
            assert!(follows(&log(later), &log(earlier)), "{later}");
            assert!(!follows(&log(earlier), &log(later)), "{earlier}");
        }
        assert!(!follows(&log("2026"), &log("2026")));
        assert!(!follows("b.example/audit/2027", &log("2026")));
        assert!(!follows(&log("audit"), &log("2026")) && !follows("", ""));
    }
}
