//! Sums and comparisons.

use std::time::Duration;

use kernel::Asset;

use super::model::Line;
use crate::verification::model::Verdict;

/// How many verdicts of a kind; of any kind where none is named.
pub fn count(lines: &[Line], verdict: Option<Verdict>) -> i64 {
    let wanted = |line: &&Line| verdict.is_none_or(|verdict| line.verdict == verdict);
    lines.iter().filter(wanted).map(|line| line.count).sum()
}

/// The change from one figure to the next in percent, to one decimal. From nothing to something it
/// is a hundred.
pub fn percent_change(before: i64, now: i64) -> f64 {
    if before == 0 {
        return if now == 0 { 0.0 } else { 100.0 };
    }
    ((now - before) as f64 * 1000.0 / before as f64).round() / 10.0
}

/// Money of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    pub currency: Asset,
    pub count: i64,
    pub paid: i64,
    pub fees: i64,
    pub refunded: i64,
}

impl Sum {
    /// What the verifier has of it.
    pub const fn earned(&self) -> i64 {
        self.paid - self.fees
    }
}

/// One sum a currency, the one with the most verdicts first.
pub fn sums(lines: &[Line]) -> Vec<Sum> {
    let mut sums: Vec<Sum> = Vec::new();
    for line in lines {
        let known = sums.iter().position(|sum| sum.currency == line.currency);
        let place = known.unwrap_or_else(|| {
            let currency = line.currency;
            sums.push(Sum { currency, count: 0, paid: 0, fees: 0, refunded: 0 });
            sums.len() - 1
        });
        let sum = &mut sums[place];
        sum.count += line.count;
        sum.paid += line.paid;
        sum.fees += line.fees;
        sum.refunded += line.refunded;
    }
    sums.sort_by_key(|sum| (std::cmp::Reverse(sum.count), sum.currency.code()));
    sums
}

/// The mean time from acceptance to verdict; none without a verdict.
pub fn mean_work(lines: &[Line]) -> Option<Duration> {
    let count = u32::try_from(count(lines, None)).ok().filter(|count| *count > 0)?;
    Some(lines.iter().map(|line| line.work).sum::<Duration>() / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_can_be_recomputed_from_both_figures() {
        for (before, now, percent) in
            [(0, 0, 0.0), (0, 3, 100.0), (4, 4, 0.0), (3, 0, -100.0), (200, 217, 8.5), (3, 4, 33.3)]
        {
            let is = percent_change(before, now);
            assert!((is - percent).abs() < 1e-9, "{before} {now}: {is}");
        }
    }
}
