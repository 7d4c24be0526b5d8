use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::testing::ManualClock;

const NOW: Timestamp = ManualClock::START;
const SECOND: Duration = Duration::from_secs(1);

fn breaker() -> Breaker {
    Breaker::new("test", Policy::default())
}

fn fail(breaker: &Breaker, times: u32, now: Timestamp) {
    for _ in 0..times {
        breaker.enter(now).ok().unwrap().failed(now);
    }
}

#[test]
fn it_opens_at_the_sixth_failure_in_a_row_and_rests_five_minutes() {
    let breaker = breaker();
    fail(&breaker, 5, NOW);
    assert_eq!(breaker.state(NOW), State::Closed);
    fail(&breaker, 1, NOW);
    assert_eq!(breaker.state(NOW), State::Open);
    assert_eq!(breaker.enter(NOW + SECOND).err(), Some(299 * SECOND));
    assert_eq!(breaker.enter(NOW + 299 * SECOND).err(), Some(SECOND));
    assert!(breaker.enter(NOW + 300 * SECOND).is_ok());
}

#[test]
fn an_answer_in_between_begins_the_count_anew() {
    let breaker = breaker();
    for _ in 0..100 {
        fail(&breaker, 5, NOW);
        breaker.enter(NOW).ok().unwrap().succeeded(NOW);
    }
    assert_eq!(breaker.state(NOW), State::Closed);
}

#[test]
fn failures_are_forgotten_when_the_interval_is_over() {
    let breaker = breaker();
    fail(&breaker, 5, NOW);
    let later = NOW + 60 * SECOND;
    fail(&breaker, 5, later);
    assert_eq!(breaker.state(later), State::Closed);
    fail(&breaker, 1, later);
    assert_eq!(breaker.state(later), State::Open);
}

#[test]
fn five_may_try_and_five_successes_close_it() {
    let breaker = breaker();
    fail(&breaker, 6, NOW);
    let later = NOW + 300 * SECOND;
    let mut trials: Vec<_> = (0..5).map(|_| breaker.enter(later).ok().unwrap()).collect();
    assert!(breaker.enter(later).is_err(), "a sixth does not try");
    for trial in trials.drain(..4) {
        trial.succeeded(later);
    }
    assert!(breaker.enter(later).is_err(), "one is still under way");
    assert_eq!(breaker.state(later), State::HalfOpen);
    trials.remove(0).succeeded(later);
    assert_eq!(breaker.state(later), State::Closed);
}

#[test]
fn one_failed_trial_opens_it_again_and_the_others_count_no_more() {
    let breaker = breaker();
    fail(&breaker, 6, NOW);
    let later = NOW + 300 * SECOND;
    let mut trials: Vec<_> = (0..5).map(|_| breaker.enter(later).ok().unwrap()).collect();
    trials.remove(0).failed(later);
    assert_eq!(breaker.enter(later).err(), Some(300 * SECOND));
    for trial in trials {
        trial.succeeded(later);
    }
    assert_eq!(breaker.state(later), State::Open);
}

#[test]
fn what_began_before_it_opened_says_nothing_about_the_rest() {
    let breaker = breaker();
    let early = breaker.enter(NOW).ok().unwrap();
    fail(&breaker, 6, NOW);
    let later = NOW + 300 * SECOND;
    let trial = breaker.enter(later).ok().unwrap();
    early.failed(later);
    assert_eq!(breaker.state(later), State::HalfOpen);
    trial.succeeded(later);
}

#[test]
fn a_trial_that_is_given_up_leaves_its_place_to_another() {
    let breaker = breaker();
    fail(&breaker, 6, NOW);
    let later = NOW + 300 * SECOND;
    for _ in 0..100 {
        drop(breaker.enter(later).ok().unwrap());
    }
    assert_eq!(breaker.state(later), State::HalfOpen);
}

#[test]
fn a_clock_that_is_set_back_does_not_prolong_the_rest() {
    let breaker = breaker();
    fail(&breaker, 6, NOW);
    let earlier = NOW - 3600 * SECOND;
    assert_eq!(breaker.enter(earlier).err(), Some(300 * SECOND));
    assert!(breaker.enter(earlier + 300 * SECOND).is_ok());
}

#[tokio::test]
async fn a_thousand_refusals_leave_it_closed_and_six_silences_open_it() {
    let (world, clock) = crate::testing::world();
    let breaker = breaker();
    let ask = async |error: Error| {
        let outcome: Result<()> = breaker.call(&world, async { Err(error) }).await;
        outcome.unwrap_err().code().to_owned()
    };
    for _ in 0..1000 {
        let wrong = Error::unauthenticated("invalid_credentials", "Wrong.");
        assert_eq!(ask(wrong).await, "invalid_credentials");
        let busy = Error::unavailable("busy", "Later.").retry_after(2);
        assert_eq!(ask(busy).await, "busy");
        assert_eq!(ask(Error::internal("a defect")).await, "internal");
    }
    for _ in 0..6 {
        assert_eq!(ask(Error::unavailable("gone", "Away.")).await, "gone");
    }
    let outcome: Result<()> = breaker.call(&world, async { panic!("nobody is asked") }).await;
    let refused = outcome.unwrap_err();
    assert_eq!((refused.code(), refused.retry_after_seconds()), ("circuit_open", Some(300)));
    clock.advance(300 * SECOND);
    breaker.call(&world, async { Ok(()) }).await.unwrap();
}

/// What happens to a breaker.
#[derive(Debug, Clone)]
enum Act {
    Enter,
    Succeed(usize),
    Fail(usize),
    GiveUp(usize),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => Just(Act::Enter),
        2 => (0..8_usize).prop_map(Act::Succeed),
        4 => (0..8_usize).prop_map(Act::Fail),
        1 => (0..8_usize).prop_map(Act::GiveUp),
        1 => (0..40_u64).prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 1..200)
}

/// The same, told as its whole history: slow and plain.
struct Model {
    policy: Policy,
    state: State,
    since: Timestamp,
    /// Outcomes of calls that began in this round, and the calls under way in it.
    successes: u32,
    failures: u32,
    under_way: u32,
    round: u32,
}

impl Model {
    fn go(&mut self, state: State, now: Timestamp) {
        let round = self.round + 1;
        let (successes, failures, under_way) = (0, 0, 0);
        let policy = self.policy;
        *self = Self { policy, state, since: now, successes, failures, under_way, round };
    }

    fn wait(&mut self, now: Timestamp) {
        let passed = now.since(self.since);
        match self.state {
            State::Open if passed >= self.policy.rest => self.go(State::HalfOpen, now),
            State::Closed if passed >= self.policy.interval => {
                (self.failures, self.since) = (0, now)
            }
            _ => {}
        }
    }

    fn enter(&mut self) -> bool {
        let is_let_in = match self.state {
            State::Closed => true,
            State::HalfOpen => self.under_way + self.successes < self.policy.trials,
            State::Open => false,
        };
        self.under_way += u32::from(is_let_in);
        is_let_in
    }

    fn end(&mut self, round: u32, outcome: Option<bool>, now: Timestamp) {
        if round != self.round {
            return;
        }
        self.under_way -= 1;
        match (self.state, outcome) {
            (State::Closed, Some(true)) => self.failures = 0,
            (State::Closed, Some(false)) => {
                self.failures += 1;
                if self.failures > self.policy.failures_max {
                    self.go(State::Open, now);
                }
            }
            (State::HalfOpen, Some(true)) => {
                self.successes += 1;
                if self.successes >= self.policy.trials {
                    self.go(State::Closed, now);
                }
            }
            (State::HalfOpen, Some(false)) => self.go(State::Open, now),
            (_, None) | (State::Open, _) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_its_history_says(
        acts in acts(), failures_max in 0..4_u32, trials in 1..4_u32,
    ) {
        let policy = Policy { failures_max, trials, interval: 60 * SECOND, rest: 30 * SECOND };
        let breaker = Breaker::new("model", policy);
        let mut now = NOW;
        let mut model = Model {
            policy, state: State::Closed, since: NOW,
            successes: 0, failures: 0, under_way: 0, round: 0,
        };
        // The breaker's first interval begins with its first look at the clock.
        breaker.state(now);
        let mut calls: HashMap<usize, (Permit, u32)> = HashMap::new();
        let mut next = 0;
        for act in acts {
            model.wait(now);
            let mut end = |which: usize, model: &mut Model, outcome: Option<bool>| {
                let mut open: Vec<_> = calls.keys().copied().collect();
                open.sort_unstable();
                if open.is_empty() {
                    return;
                }
                let (permit, round) = calls.remove(&open[which % open.len()]).unwrap();
                match outcome {
                    Some(true) => permit.succeeded(now),
                    Some(false) => permit.failed(now),
                    None => drop(permit),
                }
                model.end(round, outcome, now);
            };
            match act {
                Act::Wait(seconds) => now = now + Duration::from_secs(seconds),
                Act::Enter => {
                    let entered = breaker.enter(now);
                    prop_assert_eq!(entered.is_ok(), model.enter());
                    if let Ok(permit) = entered {
                        calls.insert(next, (permit, model.round));
                        next += 1;
                    }
                }
                Act::Succeed(which) => end(which, &mut model, Some(true)),
                Act::Fail(which) => end(which, &mut model, Some(false)),
                Act::GiveUp(which) => end(which, &mut model, None),
            }
            model.wait(now);
            prop_assert_eq!(breaker.state(now), model.state);
        }
    }
}
