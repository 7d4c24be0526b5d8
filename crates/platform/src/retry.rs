//! Retry budgets: trying again helps against what happens now and then, and makes worse what
//! happens all the time.

use std::sync::atomic::{AtomicI64, Ordering};

/// One retry in hundredths: budgets are counted in whole numbers.
const RETRY: i64 = 100;

/// How many retries there may be beside the first attempts. A few may always be saved up; beyond
/// that they are a share of the first attempts, so that a service that answers nobody is asked only
/// that much more often than without retries.
///
/// ```ignore
/// budget.attempted();
/// while let Err(error) = &outcome && is_safe_to_repeat(error) && budget.may_retry() {
///     outcome = ask().await;
/// }
/// ```
#[derive(Debug)]
pub struct Budget {
    percent: i64,
    most: i64,
    balance: AtomicI64,
}

impl Budget {
    /// A full budget: `reserve` retries at once, and `percent` of a hundred first attempts.
    pub const fn new(percent: u32, reserve: u32) -> Self {
        let most = reserve as i64 * RETRY;
        Self { percent: percent as i64, most, balance: AtomicI64::new(most) }
    }

    /// Counts a first attempt.
    pub fn attempted(&self) {
        self.change(|balance| Some((balance + self.percent).min(self.most)));
    }

    /// Whether there may be one more retry; it is counted if so.
    pub fn may_retry(&self) -> bool {
        self.change(|balance| (balance >= RETRY).then(|| balance - RETRY))
    }

    fn change(&self, to: impl Fn(i64) -> Option<i64>) -> bool {
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, to).is_ok()
    }
}

impl Default for Budget {
    /// Ten at once, and one in ten.
    fn default() -> Self {
        Self::new(10, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_share_of_the_attempts_and_a_few() {
        let budget = Budget::default();
        let mut retries = 0;
        for _ in 0..1000 {
            budget.attempted();
            while budget.may_retry() {
                retries += 1;
            }
        }
        assert!((100..=110).contains(&retries), "{retries}");
    }

    #[test]
    fn what_is_saved_up_is_bounded() {
        let budget = Budget::new(50, 3);
        for _ in 0..1000 {
            budget.attempted();
        }
        assert_eq!((0..10).filter(|_| budget.may_retry()).count(), 3);
        assert!(!budget.may_retry());
        budget.attempted();
        assert!(!budget.may_retry(), "half of one");
        budget.attempted();
        assert!(budget.may_retry());
    }
}
