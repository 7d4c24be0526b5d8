//! Pure decisions: tiers, and who gets what of a pool.

use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Error, Id, Money, Result};

/// A tier, reached with so much at stake.
#[derive(Debug, Clone)]
pub struct Tier {
    pub name: String,
    /// Minor units of the default currency.
    pub minimum: i64,
}

/// What the operator pays for bonds.
#[derive(Debug, Clone, Copy)]
pub struct Rewards {
    /// Given out at the end of every epoch.
    pub pool: Money,
    pub epoch: Duration,
}

/// How bonds work here.
#[derive(Debug, Clone)]
pub struct Policy {
    /// From the wish to unstake until the money is free.
    pub cooling: Duration,
    /// The least that can be staked or unstaked at once.
    pub minimum: i64,
    /// In ascending order of what they take.
    pub tiers: Vec<Tier>,
    /// None: bonds earn nothing.
    pub rewards: Option<Rewards>,
}

impl Default for Policy {
    fn default() -> Self {
        let tier = |name: &str, minimum| Tier { name: name.to_owned(), minimum };
        Self {
            cooling: Duration::from_secs(14 * 24 * 3600),
            minimum: 100,
            tiers: vec![
                tier("none", 0),
                tier("bronze", 10_000),
                tier("silver", 100_000),
                tier("gold", 1_000_000),
            ],
            rewards: None,
        }
    }
}

impl Policy {
    /// The tier that an amount at stake reaches, and the next one.
    pub fn tier(&self, staked: i64) -> (Option<&Tier>, Option<&Tier>) {
        let next = self.tiers.iter().position(|tier| tier.minimum > staked);
        let reached = next.unwrap_or(self.tiers.len()).checked_sub(1);
        (reached.and_then(|at| self.tiers.get(at)), next.and_then(|at| self.tiers.get(at)))
    }
}

/// Splits a pool by weights: the largest remainders get what is left, ties by position. The
/// parts come to the pool exactly; with no weight at all nobody gets anything.
///
/// # Errors
/// Internal when the weights do not fit.
pub(super) fn split(pool: Money, weights: &[(Id<User>, i128)]) -> Result<Vec<(Id<User>, Money)>> {
    let unfit = || Error::internal("the weights of a pool do not fit");
    let total = weights.iter().try_fold(0_i128, |sum, (_, it)| sum.checked_add(*it));
    let total = total.ok_or_else(unfit)?;
    if total <= 0 {
        return Ok(Vec::new());
    }
    let mut parts = Vec::with_capacity(weights.len());
    let mut given = 0_i64;
    for (owner, weight) in weights {
        let whole = i128::from(pool.minor).checked_mul(*weight).ok_or_else(unfit)?;
        let part = i64::try_from(whole / total).map_err(|_| unfit())?;
        given += part;
        parts.push((*owner, part, whole % total));
    }
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(parts[*at].2));
    let left = usize::try_from(pool.minor - given).map_err(|_| unfit())?;
    for at in order.into_iter().take(left) {
        parts[at].1 += 1;
    }
    Ok(parts.into_iter().map(|(owner, part, _)| (owner, Money::new(part, pool.asset))).collect())
}

/// Stake-seconds: what stood there, for how long. `history` has the balance from each instant on,
/// in order.
pub(super) fn weight(history: &[(i64, i64)], until: i64) -> i128 {
    let ends = history.iter().skip(1).map(|(at, _)| *at).chain([until]);
    history
        .iter()
        .zip(ends)
        .map(|((from, balance), to)| {
            i128::from(*balance) * i128::from((to - from).max(0)) / 1_000_000
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use kernel::Asset;

    use super::*;

    proptest::proptest! {
        #[test]
        fn b3_the_parts_of_a_pool_come_to_the_pool(
            pool in 1_i64..1_000_000_000,
            weights in proptest::collection::vec(0_i128..1 << 60, 1..40),
        ) {
            let owner = |at: usize| Id::from_uuid(uuid::Uuid::from_u128(at as u128 + 1));
            let numbered = weights.into_iter().enumerate();
            let weights: Vec<_> = numbered.map(|(at, it)| (owner(at), it)).collect();
            let parts = split(Money::new(pool, Asset::NGN), &weights).unwrap();
            let sum: i64 = parts.iter().map(|(_, part)| part.minor).sum();
            let anybody = weights.iter().any(|(_, weight)| *weight > 0);
            proptest::prop_assert_eq!(sum, if anybody { pool } else { 0 });
            proptest::prop_assert!(parts.iter().all(|(_, part)| part.minor >= 0));
        }
    }

    proptest::proptest! {
        #[test]
        fn m1_equal_parts_of_an_amount_differ_by_one_unit_at_most_and_come_to_it(
            amount in 1_i64..=Money::MAX_MINOR,
            parts in 1_usize..50,
            weight in 1_i128..1 << 40,
        ) {
            let owner = |at: usize| Id::from_uuid(uuid::Uuid::from_u128(at as u128 + 1));
            let weights: Vec<_> = (0..parts).map(|at| (owner(at), weight)).collect();
            let split = split(Money::new(amount, Asset::NGN), &weights).unwrap();
            let minor = || split.iter().map(|(_, part)| part.minor);
            proptest::prop_assert_eq!(minor().sum::<i64>(), amount);
            let (least, most) = (minor().min().unwrap(), minor().max().unwrap());
            proptest::prop_assert!(most - least <= 1, "{} and {}", least, most);
            // Ties go by position: who comes first has the unit that is left over.
            proptest::prop_assert!(split.windows(2).all(|it| it[0].1.minor >= it[1].1.minor));
        }
    }

    #[test]
    fn a_tier_is_reached_with_its_minimum() {
        let policy = Policy::default();
        let names = |staked| {
            let (reached, next) = policy.tier(staked);
            (reached.map(|it| it.name.as_str()), next.map(|it| it.name.as_str()))
        };
        assert_eq!(names(0), (Some("none"), Some("bronze")));
        assert_eq!(names(9_999), (Some("none"), Some("bronze")));
        assert_eq!(names(10_000), (Some("bronze"), Some("silver")));
        assert_eq!(names(i64::MAX), (Some("gold"), None));
    }

    #[test]
    fn what_stands_longer_weighs_more() {
        let second = 1_000_000;
        assert_eq!(weight(&[(0, 10), (second, 30)], 3 * second), 10 + 60);
        assert_eq!(weight(&[], 5), 0);
    }
}
