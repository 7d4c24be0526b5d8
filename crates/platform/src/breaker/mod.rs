//! Circuit breakers: who fails again and again is left alone for a while, so that nobody waits for
//! a time-out that is to be expected, and whoever is overloaded gets air.
//!
//! ```text
//!            more than `failures_max` failures in a row
//!   closed ---------------------------------------------> open
//!     ^  <- every `interval` the failures are forgotten     |
//!     |                                                     | after `rest`
//!     |     `trials` successes in a row                     v
//!     +----------------------------------------------- half-open -> open again at one failure
//! ```
//!
//! - **Only infrastructure counts.** A refusal is an answer: somebody is there and has judged.
//!   [`is_infrastructure`] is the one place that says which errors are none.
//! - **An outcome counts for the state in which its call began.** What was sent before the breaker
//!   opened says nothing about whether the rest has helped. It counts for the interval in which it
//!   comes: calls that hang for longer than an interval would otherwise never count.
//! - **A call that is given up counts for nothing**, and its place among the trials is free again.
//! - While half-open no more than `trials` calls are under way or have succeeded; all others are
//!   refused as while open.
//!
//! To use one, share it beside the client of the service that it protects and send every call
//! through it:
//!
//! ```ignore
//! let breaker = Breaker::new("users", policy);
//! let profile = breaker.call(&world, client.profile(id)).await?;
//! ```
//!
//! Where an outcome is not a [`kernel::Result`], ask [`Breaker::enter`] and tell the [`Permit`] how
//! it ended. The state of each breaker is the gauge `breaker_state{breaker}`: 0 closed, 1
//! half-open, 2 open.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Kind, Result, Timestamp, World};
use metrics::{Counter, Gauge};
use parking_lot::Mutex;

/// When a breaker opens, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// It opens at one failure in a row more than this.
    pub failures_max: u32,
    /// While it is closed, failures are forgotten every so often.
    pub interval: Duration,
    /// How long nobody is let through once it is open.
    pub rest: Duration,
    /// Calls let through to try, and that must all succeed before it closes. At least one.
    pub trials: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            failures_max: 5,
            interval: Duration::from_secs(60),
            rest: Duration::from_secs(300),
            trials: 5,
        }
    }
}

/// What a breaker does with the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Lets it through.
    Closed,
    /// Lets it through if it is one of the trials.
    HalfOpen,
    /// Refuses it.
    Open,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { failures: u32, since: Timestamp },
    HalfOpen { under_way: u32, succeeded: u32 },
    Open { since: Timestamp },
}

#[derive(Debug)]
struct Inside {
    phase: Phase,
    /// Grows with each change of state: outcomes of earlier calls are told by it.
    generation: u64,
}

/// A breaker before one service. Cheap to clone; clones share the state.
#[derive(Clone)]
pub struct Breaker(Arc<Shared>);

struct Shared {
    name: &'static str,
    policy: Policy,
    inside: Mutex<Inside>,
    state: Gauge,
    refused: Counter,
}

/// One call that a breaker has let through. Dropped without a word, it counts for nothing.
#[must_use = "tell how the call ended"]
pub struct Permit {
    breaker: Breaker,
    generation: u64,
    is_told: bool,
}

impl Breaker {
    /// A closed breaker. `name` says in the metrics and the log what it protects.
    pub fn new(name: &'static str, policy: Policy) -> Self {
        let policy = Policy { trials: policy.trials.max(1), ..policy };
        let state = metrics::gauge!("breaker_state", "breaker" => name);
        state.set(0.0);
        Self(Arc::new(Shared {
            name,
            policy,
            // The interval begins with the first call.
            inside: Mutex::new(Inside {
                phase: Phase::Closed { failures: 0, since: Timestamp::default() },
                generation: 0,
            }),
            state,
            refused: metrics::counter!("breaker_refused_total", "breaker" => name),
        }))
    }

    /// Sends a call through, or refuses it: then `work` is dropped and never polled.
    ///
    /// # Errors
    /// Those of `work`; and `Unavailable` `circuit_open`, which says when to try again.
    pub async fn call<T>(&self, world: &World, work: impl Future<Output = Result<T>>) -> Result<T> {
        let permit = self.enter(world.now()).map_err(|rest| self.refusal(rest))?;
        let outcome = work.await;
        match &outcome {
            Err(error) if is_infrastructure(error) => permit.failed(world.now()),
            Ok(_) | Err(_) => permit.succeeded(world.now()),
        }
        outcome
    }

    /// Whether one more call may be made; else after how long it is worth asking again.
    pub fn enter(&self, now: Timestamp) -> Result<Permit, Duration> {
        let Shared { policy, inside, refused, .. } = &*self.0;
        let mut inside = inside.lock();
        self.let_time_pass(&mut inside, now);
        let refuse = |rest| {
            refused.increment(1);
            Err(rest)
        };
        match &mut inside.phase {
            Phase::Closed { .. } => {}
            Phase::Open { since } => return refuse(policy.rest.saturating_sub(now.since(*since))),
            // How long the trials take nobody knows: a moment is a guess that costs little.
            Phase::HalfOpen { under_way, succeeded }
                if *under_way + *succeeded >= policy.trials =>
            {
                return refuse(Duration::from_secs(1));
            }
            Phase::HalfOpen { under_way, .. } => *under_way += 1,
        }
        let generation = inside.generation;
        Ok(Permit { breaker: self.clone(), generation, is_told: false })
    }

    /// The state at this time.
    pub fn state(&self, now: Timestamp) -> State {
        let mut inside = self.0.inside.lock();
        self.let_time_pass(&mut inside, now);
        inside.phase.state()
    }

    /// The error of a call that is refused.
    fn refusal(&self, rest: Duration) -> Error {
        let message = "A part of the platform does not answer. Try again later.";
        let seconds = u32::try_from(rest.as_millis().div_ceil(1000).max(1)).unwrap_or(u32::MAX);
        Error::unavailable("circuit_open", message)
            .retry_after(seconds)
            .because(Refused(self.0.name))
    }

    fn let_time_pass(&self, inside: &mut Inside, now: Timestamp) {
        let policy = &self.0.policy;
        match &mut inside.phase {
            Phase::Closed { failures, since } => {
                if *since > now || now.since(*since) >= policy.interval {
                    (*failures, *since) = (0, now);
                }
            }
            Phase::Open { since } => {
                // A clock that was set back must not prolong the rest.
                *since = (*since).min(now);
                if now.since(*since) >= policy.rest {
                    self.enter_phase(inside, Phase::HalfOpen { under_way: 0, succeeded: 0 });
                }
            }
            Phase::HalfOpen { .. } => {}
        }
    }

    fn enter_phase(&self, inside: &mut Inside, phase: Phase) {
        inside.phase = phase;
        inside.generation += 1;
        let breaker = self.0.name;
        match phase.state() {
            State::Closed => {
                self.0.state.set(0.0);
                tracing::info!(breaker, "the circuit is closed: all is well again");
            }
            State::HalfOpen => {
                self.0.state.set(1.0);
                tracing::info!(breaker, "the circuit is half-open: a few may try");
            }
            State::Open => {
                self.0.state.set(2.0);
                metrics::counter!("breaker_opened_total", "breaker" => breaker).increment(1);
                let rest = self.0.policy.rest.as_secs();
                tracing::warn!(breaker, rest, "the circuit is open: too many failures in a row");
            }
        }
    }

    fn settle(&self, generation: u64, outcome: Outcome, now: Option<Timestamp>) {
        let policy = self.0.policy;
        let mut inside = self.0.inside.lock();
        if let Some(now) = now {
            self.let_time_pass(&mut inside, now);
        }
        if inside.generation != generation {
            return;
        }
        match (&mut inside.phase, outcome) {
            (Phase::Closed { failures, .. }, Outcome::Success) => *failures = 0,
            (Phase::Closed { failures, .. }, Outcome::Failure(now)) => {
                *failures += 1;
                if *failures > policy.failures_max {
                    self.enter_phase(&mut inside, Phase::Open { since: now });
                }
            }
            (Phase::HalfOpen { under_way, succeeded }, Outcome::Success) => {
                (*under_way, *succeeded) = (under_way.saturating_sub(1), *succeeded + 1);
                if *succeeded >= policy.trials {
                    let since = now.unwrap_or_default();
                    self.enter_phase(&mut inside, Phase::Closed { failures: 0, since });
                }
            }
            (Phase::HalfOpen { .. }, Outcome::Failure(now)) => {
                self.enter_phase(&mut inside, Phase::Open { since: now });
            }
            (Phase::HalfOpen { under_way, .. }, Outcome::GivenUp) => {
                *under_way = under_way.saturating_sub(1);
            }
            (Phase::Closed { .. } | Phase::Open { .. }, _) => {}
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Success,
    Failure(Timestamp),
    GivenUp,
}

impl Phase {
    const fn state(self) -> State {
        match self {
            Self::Closed { .. } => State::Closed,
            Self::HalfOpen { .. } => State::HalfOpen,
            Self::Open { .. } => State::Open,
        }
    }
}

impl Permit {
    /// There was an answer, whatever it said.
    pub fn succeeded(mut self, now: Timestamp) {
        self.is_told = true;
        self.breaker.settle(self.generation, Outcome::Success, Some(now));
    }

    /// There was none, or none that can be used.
    pub fn failed(mut self, now: Timestamp) {
        self.is_told = true;
        self.breaker.settle(self.generation, Outcome::Failure(now), Some(now));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_told {
            self.breaker.settle(self.generation, Outcome::GivenUp, None);
        }
    }
}

/// Whether an error says that nobody usable is there: `Unavailable`, which is what clients make of
/// lost connections, missed deadlines and answers that cannot be read. Everything else is the
/// answer of somebody who lives, and so is an `Unavailable` that says when to come again: a service
/// that sheds load in good order must not be cut off for minutes because of it.
pub fn is_infrastructure(error: &Error) -> bool {
    error.kind() == Kind::Unavailable && error.retry_after_seconds().is_none()
}

/// Which breaker has refused, for the log.
#[derive(Debug)]
struct Refused(&'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the circuit to {} is open", self.0)
    }
}

impl std::error::Error for Refused {}
