//! Latencies, counted in buckets whose width grows with the value.

use std::time::Duration;

/// Sub-buckets of each power of two: a value is known to 1/64, which is 1.6 %.
const STEPS_BITS: u32 = 6;
const STEPS: usize = 1 << STEPS_BITS;
/// Enough for every value of 64 bits.
const BUCKETS: usize = (64 - STEPS_BITS as usize + 1) * STEPS;

/// How often each latency occurred; constant time to record, whatever the spread.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0 }
    }

    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// The latency that `fraction` of all stay at or below, to 1.6 %; zero when nothing was
    /// recorded.
    pub fn quantile(&self, fraction: f64) -> Duration {
        let wanted = (fraction * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(middle(index));
            }
        }
        Duration::ZERO
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

/// Values below 64 have a bucket each; above, the six bits after the leading one choose.
fn bucket(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(STEPS_BITS + 1);
    let row = if value < STEPS as u64 { 0 } else { shift as usize + 1 };
    row * STEPS + ((value >> shift) as usize & (STEPS - 1))
}

/// The value in the middle of a bucket.
fn middle(index: usize) -> u64 {
    let (row, step) = (index / STEPS, (index % STEPS) as u64);
    if row == 0 {
        return step;
    }
    let shift = row - 1;
    ((STEPS as u64 + step) << shift) + ((1_u64 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_known_to_one_part_in_sixty_four() {
        let mut value = 1_u64;
        while value < 1 << 62 {
            for probe in [value, value + value / 3, value + value / 2, 2 * value - 1] {
                let known = middle(bucket(probe));
                assert!(known.abs_diff(probe) <= probe / 64 + 1, "{probe} is known as {known}");
            }
            value *= 2;
        }
        assert!(bucket(u64::MAX) < BUCKETS);
        assert_eq!(middle(bucket(0)), 0);
    }

    #[test]
    fn quantiles_of_a_known_sequence() {
        let mut histogram = Histogram::new();
        for microseconds in 1..=1000 {
            histogram.record(Duration::from_micros(microseconds));
        }
        let close = |fraction, expected: f64| {
            let found = histogram.quantile(fraction).as_secs_f64() * 1e6;
            assert!((found / expected - 1.0).abs() < 0.02, "{fraction}: {found}");
        };
        close(0.5, 500.0);
        close(0.99, 990.0);
        close(1.0, 1000.0);
        assert_eq!(histogram.total(), 1000);
        assert_eq!(Histogram::new().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn merging_adds() {
        let (mut fast, mut slow) = (Histogram::new(), Histogram::new());
        fast.record(Duration::from_micros(1));
        slow.record(Duration::from_millis(1));
        fast.merge(&slow);
        assert_eq!(fast.total(), 2);
        assert!(fast.quantile(1.0) > Duration::from_micros(980));
    }
}
