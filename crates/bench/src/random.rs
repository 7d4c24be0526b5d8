//! Chance that can be repeated, and unique keys that cannot.

use std::hash::{BuildHasher, RandomState};

/// SplitMix64: a few instructions a number, good enough to choose rows with.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is uniform enough: the bias is bound / 2^64.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`.
    pub fn fraction(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Ranks drawn so that rank k comes up in proportion to `1 / (k + 1)^exponent`: a few items are
/// popular, most are rare, as sessions and documents are.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// The sum of the weights up to and with each rank.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub fn new(count: usize, exponent: f64) -> Zipf {
        let weights = (1..=count).map(|rank| (rank as f64).powf(-exponent));
        let cumulative = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Zipf { cumulative: cumulative.collect() }
    }

    /// A rank in `0..count`.
    pub fn rank(&self, random: &mut Random) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let target = random.fraction() * total;
        let rank = self.cumulative.partition_point(|sum| *sum <= target);
        rank.min(self.cumulative.len().saturating_sub(1))
    }
}

/// Keys that no other run has used, so that a server which remembers them (Idempotency-Key) does
/// the work each time.
#[derive(Debug)]
pub struct FreshKeys {
    run: u64,
    count: u64,
}

impl FreshKeys {
    pub fn new() -> FreshKeys {
        // The standard library seeds its hash maps from the system's randomness.
        FreshKeys { run: RandomState::new().hash_one(std::process::id()), count: 0 }
    }

    pub fn fresh(&mut self) -> u128 {
        self.count += 1;
        (u128::from(self.run) << 64) | u128::from(self.count)
    }
}

impl Default for FreshKeys {
    fn default() -> FreshKeys {
        FreshKeys::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_repeats_and_stays_below_the_bound() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| random.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!((0..10).all(|digit| draw(7).contains(&digit)));
        assert_eq!(Random::new(1).below(0), 0);
    }

    #[test]
    fn popular_ranks_come_up_in_proportion() {
        let zipf = Zipf::new(1000, 1.0);
        let mut random = Random::new(1);
        let mut counts = vec![0_u32; 1000];
        for _ in 0..100_000 {
            counts[zipf.rank(&mut random)] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((8.0..12.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn fresh_keys_differ() {
        let (mut first, mut second) = (FreshKeys::new(), FreshKeys::new());
        let keys = [first.fresh(), first.fresh(), second.fresh(), second.fresh()];
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
