//! How the limits follow what is seen.

use std::time::Duration;

/// Between which bounds the limits move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Requests of one route that may always be under way, however slow they are.
    pub concurrency_min: u32,
    /// Requests of one route that may be under way at most.
    pub concurrency_max: u32,
    /// How long tasks may wait for a processor before fewer requests are let in.
    pub lag_max: Duration,
    /// Requests let in a second, whatever is seen; without it, as many as can be done.
    pub rate_max: Option<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency_min: 256,
            concurrency_max: 2048,
            lag_max: Duration::from_millis(25),
            rate_max: None,
        }
    }
}

/// What was seen of one route since the last look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Requests that were answered, and how many of them were slow.
    pub(super) samples: u64,
    pub(super) slow: u64,
    /// The most that were under way at one moment.
    pub(super) peak: u32,
}

/// How many requests of one route may be under way.
#[derive(Debug)]
pub(super) struct Concurrency(f64);

/// This share of the requests must be slow, and so many there must be, before it means something.
const SLOW_SHARE: f64 = 0.1;
const SAMPLES_MIN: u64 = 10;
/// What is left of the limit then.
const CONCURRENCY_LEFT: f64 = 0.85;

impl Concurrency {
    pub(super) fn new(policy: &Policy) -> Self {
        Self(f64::from(policy.concurrency_max.max(policy.concurrency_min).max(1)))
    }

    pub(super) fn limit(&self) -> u32 {
        // Between two numbers of this type.
        self.0 as u32
    }

    pub(super) fn look(&mut self, policy: &Policy, seen: &Seen) {
        let min = f64::from(policy.concurrency_min.max(1));
        let max = f64::from(policy.concurrency_max).max(min);
        let peak = f64::from(seen.peak);
        let is_slow =
            seen.samples >= SAMPLES_MIN && seen.slow as f64 > seen.samples as f64 * SLOW_SHARE;
        if is_slow {
            // From what was used: a limit that nobody has reached says nothing.
            self.0 = self.0.min(peak) * CONCURRENCY_LEFT;
        } else if peak >= self.0 / 2.0 {
            self.0 += self.0.sqrt();
        }
        self.0 = self.0.clamp(min, max);
    }
}

/// What was seen of all routes since the last look.
#[derive(Debug, Clone, Copy)]
pub(super) struct RateSeen {
    pub(super) passed: Duration,
    /// The least time that a task has waited for a processor.
    pub(super) lag: Duration,
    /// Requests let in.
    pub(super) admitted: u64,
    /// Requests that are under way now.
    pub(super) under_way: u32,
}

/// How many requests a second are let in.
#[derive(Debug)]
pub(super) struct Rate {
    /// None while all are.
    rate: Option<f64>,
    /// The most that was done in a second, of late.
    best: f64,
    /// How many were under way at the last look.
    under_way: u32,
}

/// What is left of the rate after a look that saw lag, and what it grows by after another.
const RATE_LEFT: f64 = 0.9;
const RATE_STEP: f64 = 0.05;
/// The share of the best that is let in whatever is seen: refusing costs time too, and a limit that
/// only ever shrank would end with nothing being done but refusing.
const RATE_FLOOR: f64 = 0.5;
/// How much of the best is still believed a look later: half of it after seven seconds.
const BEST_KEPT: f64 = 0.99;
/// So many requests may always stand in line, or be under way, however long it takes: those of a few
/// hundred clients that wait for their answers are no overload, and refusing them makes none of them
/// faster.
pub(super) const LINE_MIN: u64 = 320;
/// A rate so far above what comes has no effect and is taken away.
const RATE_NEEDLESS: f64 = 2.0;

impl Rate {
    pub(super) const fn new() -> Self {
        Self { rate: None, best: 0.0, under_way: 0 }
    }

    /// Requests a second; none where all are let in.
    pub(super) fn limit(&self, policy: &Policy) -> Option<f64> {
        let most = policy.rate_max.map(f64::from);
        match (self.rate, most) {
            (Some(rate), Some(most)) => Some(rate.min(most)),
            (rate, most) => rate.or(most),
        }
    }

    pub(super) fn look(&mut self, policy: &Policy, seen: &RateSeen) {
        let seconds = seen.passed.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let came = seen.admitted as f64 / seconds;
        // What a rush has let in and nobody has done yet says nothing of what can be done.
        let more = f64::from(seen.under_way) - f64::from(self.under_way);
        let done = (seen.admitted as f64 - more).max(0.0) / seconds;
        self.under_way = seen.under_way;
        self.best = (self.best * BEST_KEPT).max(done);
        // Before they are begun, by Little's law; or after.
        let line = (came * seen.lag.as_secs_f64()).max(seen.under_way.into());
        if seen.lag > policy.lag_max && line >= LINE_MIN as f64 {
            let rate = self.rate.unwrap_or(done) * RATE_LEFT;
            self.rate = Some(rate.max(self.best * RATE_FLOOR).max(1.0));
        } else if let Some(rate) = self.rate {
            let rate = rate * (1.0 + RATE_STEP);
            self.rate = (rate < came * RATE_NEEDLESS).then_some(rate);
        }
    }
}
