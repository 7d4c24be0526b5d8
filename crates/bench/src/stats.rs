//! The statistics of a run: medians, and how far to trust them.

use crate::random::Random;

/// A median and the interval that 90 % of resampled medians fall into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

/// The middle value, or the mean of the two middle ones; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0)
}

/// The 90 % percentile bootstrap interval of the median; `None` of nothing.
///
/// The resampling has a fixed seed: the same ratios always give the same interval.
pub fn bootstrap(values: &[f64]) -> Option<Interval> {
    const RESAMPLES: usize = 4_000;
    let median_of_all = median(values)?;
    let mut random = Random::new(0x5eed);
    let mut medians = Vec::with_capacity(RESAMPLES);
    let mut sample = vec![0.0; values.len()];
    for _ in 0..RESAMPLES {
        for slot in &mut sample {
            *slot = values[random.below(values.len() as u64) as usize];
        }
        medians.extend(median(&sample));
    }
    medians.sort_unstable_by(f64::total_cmp);
    let at = |fraction: f64| medians[(fraction * (RESAMPLES - 1) as f64).round() as usize];
    Some(Interval { low: at(0.05), median: median_of_all, high: at(0.95) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn equal_ratios_leave_no_doubt() {
        let interval = bootstrap(&[0.9; 21]).unwrap();
        assert_eq!(interval, Interval { low: 0.9, median: 0.9, high: 0.9 });
        assert_eq!(bootstrap(&[]), None);
    }

    #[test]
    fn one_outlier_does_not_move_the_interval() {
        let mut ratios: Vec<f64> = (0..21).map(|step| 1.0 + f64::from(step) / 1000.0).collect();
        let calm = bootstrap(&ratios).unwrap();
        ratios[20] = 50.0;
        let disturbed = bootstrap(&ratios).unwrap();
        assert_eq!(calm.median, disturbed.median);
        assert!(disturbed.high < 1.02, "{disturbed:?}");
        assert!(calm.low < calm.median && calm.median < calm.high);
    }

    #[test]
    fn the_interval_covers_the_true_median_about_nine_times_in_ten() {
        let mut random = Random::new(3);
        let covered = (0..100)
            .filter(|_| {
                let sample: Vec<f64> = (0..21).map(|_| random.fraction()).collect();
                bootstrap(&sample).is_some_and(|found| found.low <= 0.5 && 0.5 <= found.high)
            })
            .count();
        assert!((80..=99).contains(&covered), "{covered}");
    }
}
