//! The breaker before a provider: one that fails again and again is left alone for a while, so
//! that nobody waits for a time-out that is to be expected.

use std::time::Duration;

use kernel::Timestamp;
use parking_lot::Mutex;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// How long the provider is left alone.
const REST: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    until: Option<Timestamp>,
}

/// Closed, open, and in between one who tries.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

impl Breaker {
    /// Whether to ask at all.
    pub(super) fn may_enter(&self, now: Timestamp) -> bool {
        let mut state = self.0.lock();
        match state.until {
            Some(until) if until > now => false,
            Some(_) => {
                // Should whoever tries never come back, another one tries after the next rest.
                state.until = Some(now + REST);
                true
            }
            None => true,
        }
    }

    /// There was an answer, whatever it said.
    pub(super) fn answered(&self) {
        *self.0.lock() = State::default();
    }

    /// There was none.
    pub(super) fn failed(&self, now: Timestamp) {
        let mut state = self.0.lock();
        state.failures += 1;
        if state.failures >= FAILURES_MAX {
            state.until = Some(now + REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use platform::testing::ManualClock;

    use super::*;

    #[test]
    fn five_failures_in_a_row_open_it_and_one_answer_closes_it() {
        let (breaker, now) = (Breaker::default(), ManualClock::START);
        for _ in 1..FAILURES_MAX {
            breaker.failed(now);
        }
        assert!(breaker.may_enter(now));
        breaker.failed(now);
        assert!(!breaker.may_enter(now));
        let later = now + REST;
        assert!(breaker.may_enter(later), "one tries");
        assert!(!breaker.may_enter(later), "the others wait");
        breaker.answered();
        assert!(breaker.may_enter(later) && breaker.may_enter(later));
    }
}
