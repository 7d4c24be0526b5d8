//! The breaker before Kratos: when it fails again and again it is left alone for a while, so that
//! nobody waits for a time-out that is to be expected.

use std::time::Duration;

use kernel::Timestamp;
use parking_lot::Mutex;

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// How long Kratos is left alone.
const REST: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        failures: u32,
    },
    /// Then one may try; the others go on waiting until it is seen how that ended.
    Open {
        until: Timestamp,
    },
}

/// Closed, open, and in between one who tries.
#[derive(Debug)]
pub(super) struct Breaker(Mutex<State>);

impl Breaker {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }

    /// Whether to ask; else for how long not to.
    pub(super) fn enter(&self, now: Timestamp) -> Result<(), Duration> {
        let mut state = self.0.lock();
        match *state {
            State::Open { until } if until > now => Err(until.since(now)),
            State::Open { .. } => {
                // Should whoever tries never come back, another one tries after the next rest.
                *state = State::Open { until: now + REST };
                Ok(())
            }
            State::Closed { .. } => Ok(()),
        }
    }

    /// There was an answer, whatever it said.
    pub(super) fn answered(&self) {
        *self.0.lock() = State::Closed { failures: 0 };
    }

    /// There was none.
    pub(super) fn failed(&self, now: Timestamp) {
        let mut state = self.0.lock();
        *state = match *state {
            State::Closed { failures } if failures + 1 < FAILURES_MAX => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } | State::Open { .. } => State::Open { until: now + REST },
        };
    }
}

#[cfg(test)]
mod tests {
    use platform::testing::ManualClock;

    use super::*;

    const NOW: Timestamp = ManualClock::START;

    #[test]
    fn five_failures_in_a_row_open_it_and_one_answer_closes_it() {
        let breaker = Breaker::new();
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                breaker.failed(NOW);
            }
            assert!(breaker.enter(NOW).is_ok());
            breaker.answered();
        }
        for _ in 0..FAILURES_MAX {
            breaker.failed(NOW);
        }
        assert_eq!(breaker.enter(NOW), Err(REST));
        let later = NOW + REST;
        assert!(breaker.enter(later).is_ok(), "one tries");
        assert!(breaker.enter(later).is_err(), "the others wait");
        breaker.failed(later);
        assert_eq!(breaker.enter(later), Err(REST));
        assert!(breaker.enter(later + REST).is_ok());
        breaker.answered();
        assert!(breaker.enter(later + REST).is_ok() && breaker.enter(later + REST).is_ok());
    }
}
