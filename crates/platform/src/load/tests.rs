use proptest::prelude::*;

use super::control::{Concurrency, Seen};
use super::*;

const LOOK: Duration = Duration::from_millis(100);
const MILLI: Duration = Duration::from_millis(1);
const POLICY: Policy = Policy {
    concurrency_min: 16,
    concurrency_max: 2048,
    lag_max: Duration::from_millis(25),
    rate_max: None,
};

#[test]
fn what_is_slow_shrinks_the_limit_and_what_is_not_lets_it_grow_again() {
    let mut control = Concurrency::new(&POLICY);
    let slow = Seen { samples: 100, slow: 50, peak: 400 };
    control.look(&POLICY, &slow);
    assert_eq!(control.limit(), 340, "from what was used");
    for _ in 0..100 {
        control.look(&POLICY, &Seen { peak: control.limit(), ..slow });
    }
    assert_eq!(control.limit(), POLICY.concurrency_min);
    for _ in 0..1000 {
        control.look(&POLICY, &Seen { peak: control.limit(), slow: 0, ..slow });
    }
    assert_eq!(control.limit(), POLICY.concurrency_max);
}

fn lane() -> Lane {
    Lane::new(&POLICY, Arc::default())
}

#[test]
fn a_few_slow_requests_mean_nothing() {
    let mut control = Concurrency::new(&POLICY);
    for (samples, slow) in [(9, 9), (100, 10), (0, 0)] {
        control.look(&POLICY, &Seen { samples, slow, peak: 50 });
        assert_eq!(control.limit(), POLICY.concurrency_max);
    }
}

#[test]
fn a_limit_that_nobody_reaches_does_not_grow() {
    let mut control = Concurrency::new(&POLICY);
    control.look(&POLICY, &Seen { samples: 100, slow: 50, peak: 100 });
    for _ in 0..100 {
        control.look(&POLICY, &Seen { samples: 100, slow: 0, peak: 10 });
    }
    assert_eq!(control.limit(), 85);
}

/// A machine that does `capacity` requests a second, of which `offered` come, and for which a
/// refusal is a twentieth of a request. What was not looked at yet waits in line, and shows as lag.
/// Answers what was done in each second.
fn play(offered: impl Fn(u32) -> f64, capacity: f64, seconds: u32) -> Vec<f64> {
    let mut rate = Rate::new();
    let (mut waiting, mut done) = (0.0_f64, Vec::new());
    for second in 0..seconds {
        let mut finished = 0.0;
        for _ in 0..10 {
            waiting += offered(second) / 10.0;
            let limit = rate.limit(&POLICY);
            let able = capacity / 10.0;
            let admitted = waiting.min(able).min(limit.map_or(able, |rate| rate / 10.0));
            waiting -= admitted;
            if limit.is_some() {
                waiting -= waiting.min((able - admitted) * 20.0);
            }
            finished += admitted;
            let lag = Duration::from_secs_f64(waiting / capacity);
            let admitted = admitted as u64;
            rate.look(&POLICY, &RateSeen { passed: LOOK, lag, admitted, under_way: 0 });
        }
        done.push(finished);
    }
    done
}

#[test]
fn with_four_times_as_much_as_it_can_do_it_goes_on_doing_most_of_what_it_can() {
    let done = play(|_| 4000.0, 1000.0, 60);
    for (second, done) in done.iter().enumerate().skip(1) {
        assert!(*done > 700.0, "{done} in second {second}");
    }
}

#[test]
fn nobody_is_refused_while_there_is_room_and_nobody_for_long_after_a_rush() {
    let done = play(|_| 800.0, 1000.0, 30);
    assert!(done.iter().skip(1).all(|done| *done > 790.0), "{done:?}");
    let rush = |second| if (10..20).contains(&second) { 4000.0 } else { 500.0 };
    let done = play(rush, 1000.0, 60);
    assert!(done.iter().skip(21).all(|done| *done > 495.0), "{done:?}");
}

#[test]
fn a_route_is_measured_against_itself() {
    let (login, read) = (lane(), lane());
    for _ in 0..100 {
        assert!(!login.learn(40 * MILLI));
        assert!(!read.learn(MILLI));
    }
    assert!(!login.learn(150 * MILLI));
    assert!(login.learn(200 * MILLI));
    assert!(!read.learn(49 * MILLI), "quick enough, whatever is usual");
    assert!(read.learn(51 * MILLI));
    for _ in 0..100 {
        assert!(read.learn(200 * MILLI), "a hundred do not make it usual");
    }
    for _ in 0..10_000 {
        read.learn(200 * MILLI);
    }
    assert!(!read.learn(200 * MILLI), "a lasting change does in time");
}

#[test]
fn a_full_lane_refuses_and_what_has_ended_makes_room() {
    let load = Load::new(Policy { concurrency_min: 2, concurrency_max: 2, ..POLICY });
    let (lane, other) = (load.lane(), load.lane());
    let first = lane.begin().ok().unwrap();
    let _second = lane.begin().ok().unwrap();
    let refused = lane.begin().err().unwrap();
    assert_eq!((refused.code(), refused.retry_after_seconds()), ("overloaded", Some(1)));
    assert!(other.begin().is_ok(), "another route has places of its own");
    drop(first);
    assert!(lane.begin().is_ok());
    assert_eq!(lane.under_way(), 1);
}

#[test]
fn a_configured_rate_holds_whatever_is_seen() {
    let load = Load::new(Policy { rate_max: Some(100), ..POLICY });
    for _ in 0..3 {
        let admitted = (0..1000).filter(|_| load.admit(Instant::now(), None).is_ok()).count();
        assert_eq!(admitted, 10, "of a tenth of a second");
        load.look(LOOK, Duration::ZERO);
        load.refill(LOOK);
    }
    let little = (0..100).map(|_| {
        load.refill(MILLI * 4);
        (0..1000).filter(|_| load.admit(Instant::now(), None).is_ok()).count()
    });
    let little: Vec<_> = little.collect();
    assert!(little.iter().all(|admitted| *admitted <= 1), "never many at once");
    assert_eq!(little.iter().sum::<usize>(), 40, "and no part of one is lost");
}

#[test]
fn without_lag_there_is_no_rate_and_with_it_there_is() {
    let load = Load::new(POLICY);
    let admit = || (0..1000).filter(|_| load.admit(Instant::now(), None).is_ok()).count();
    assert_eq!(admit(), 1000);
    let look = |lag| {
        load.look(LOOK, lag);
        load.refill(LOOK);
    };
    look(20 * MILLI);
    assert_eq!(admit(), 1000);
    look(60 * MILLI);
    assert_eq!(admit(), 900);
}

#[test]
fn a_few_hundred_clients_that_wait_for_their_answers_are_no_overload() {
    let mut rate = Rate::new();
    for _ in 0..100 {
        // 256 clients that ask again when they are answered, each after 60 ms.
        let seen = RateSeen { passed: LOOK, lag: 60 * MILLI, admitted: 427, under_way: 256 };
        rate.look(&POLICY, &seen);
        assert_eq!(rate.limit(&POLICY), None);
    }
    let seen = RateSeen { passed: LOOK, lag: 60 * MILLI, admitted: 1000, under_way: 0 };
    rate.look(&POLICY, &seen);
    assert!(rate.limit(&POLICY).is_some(), "more than twice as many are a line");
}

#[test]
fn what_is_let_in_follows_what_was_done_and_not_what_a_rush_has_let_in() {
    let mut rate = Rate::new();
    let seen = |lag: u32, admitted, under_way| RateSeen {
        passed: LOOK,
        lag: lag * MILLI,
        admitted,
        under_way,
    };
    rate.look(&POLICY, &seen(60, 1000, 600));
    assert_eq!(rate.limit(&POLICY), Some(3600.0), "nine tenths of the 400 that were done");
    rate.look(&POLICY, &seen(60, 360, 560));
    assert_eq!(rate.limit(&POLICY), Some(3240.0), "hundreds are under way still");
    rate.look(&POLICY, &seen(20, 324, 500));
    assert!(
        rate.limit(&POLICY).is_some_and(|rate| rate > 3240.0),
        "and none waits for a processor"
    );
}

#[test]
fn whoever_has_waited_beside_hundreds_under_way_is_refused() {
    let load = Load::new(Policy { concurrency_min: 2048, ..POLICY });
    let (lane, begin) = (load.lane(), Instant::now());
    let now = begin + 100 * MILLI;
    let some: Vec<_> = (1..LINE_MIN).map(|_| lane.begin().ok().unwrap()).collect();
    assert!(load.admit(now, Some(begin)).is_ok());
    let last = lane.begin().ok().unwrap();
    assert!(load.admit(now, Some(begin)).is_err());
    assert!(load.admit(now, Some(now - 20 * MILLI)).is_ok(), "it has just come");
    drop((last, some));
    assert!(load.admit(now, Some(begin)).is_ok());
}

#[test]
fn whoever_has_waited_behind_hundreds_is_refused_and_nobody_else() {
    let begin = Instant::now();
    let at = |milli: u32| begin + milli * MILLI;
    let load = || Load::new(POLICY);
    // A thousand stand in line, and one a tenth of a millisecond is begun.
    let admitted = |load: &Load, waiting: u32, arrived: u32| {
        let outcomes = (0..waiting).map(|place| {
            let now = begin + place * MILLI / 10;
            load.admit(now, Some(at(arrived))).is_ok()
        });
        outcomes.filter(|is_in| *is_in).count() as u64
    };
    let all = admitted(&load(), 1000, 0);
    assert!((LINE_MIN - 1..LINE_MIN + 40).contains(&all), "{all}: those behind so many");
    assert_eq!(admitted(&load(), 300, 0), 300, "clients that wait for their answers");
    assert_eq!(admitted(&load(), 1000, 80), 1000, "they have just come");
    let load = load();
    let long = |now: u32| load.admit(at(now), Some(at(now - 1000))).is_ok();
    assert!((2000..2300).all(|_| long(5000)), "long, and behind few: nobody is faster for it");
    let error = (0..200).find_map(|_| load.admit(at(5000), Some(at(4000))).err()).unwrap();
    assert_eq!((error.code(), error.retry_after_seconds()), ("overloaded", Some(1)));
    assert!(load.admit(at(5000), None).is_ok(), "nobody knows how long it has waited");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_limits_stay_within_their_bounds(
        looks in prop::collection::vec(
            (0..2000_u64, 0..5000_u64, 0..5000_u64, 0..10_000_u32, 0..200_u64), 1..200),
        min in 0..64_u32, max in 0..5000_u32,
    ) {
        let policy = Policy { concurrency_min: min, concurrency_max: max, ..POLICY };
        let (mut concurrency, mut rate) = (Concurrency::new(&policy), Rate::new());
        for (lag, admitted, samples, peak, passed) in looks {
            let (lag, passed) = (Duration::from_millis(lag), Duration::from_millis(passed));
            concurrency.look(&policy, &Seen { samples, slow: samples / 3, peak });
            rate.look(&policy, &RateSeen { passed, lag, admitted, under_way: peak });
            prop_assert!((min.max(1)..=max.max(min).max(1)).contains(&concurrency.limit()));
            prop_assert!(rate.limit(&policy).is_none_or(|rate| rate.is_finite() && rate > 0.0));
        }
    }
}
