//! When to try again, and when to give up.

use std::time::Duration;

/// Pauses before the second and all further tries of a delivery, in seconds: over three days.
const SCHEDULE: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The longest pause that a receiver may ask for.
const ASKED_MAX: Duration = Duration::from_secs(3600);
/// Failures in a row after which an endpoint is left alone for a while between two calls.
const PATIENCE: i64 = 3;
const PAUSE_FIRST: u64 = 10;
const PAUSE_MAX: u64 = 600;

/// An endpoint that has done nothing but fail for so long is disabled.
pub(super) const DISABLE_AFTER: Duration = Duration::from_secs(5 * 24 * 3600);
/// And for so long, its organization is told.
pub(super) const WARN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What an answer, or none, makes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// Once more, after a while.
    Again(Duration),
    /// It was the last try.
    Exhausted,
    /// Nobody wants to hear anything there any more.
    Gone,
}

/// `status` none is no answer. `tries` counts this one; `asked` is what the receiver has said in
/// `Retry-After`; `dice` spreads the pauses by a tenth either way.
pub(super) fn judge(status: Option<u16>, asked: Option<Duration>, tries: i64, dice: u8) -> Verdict {
    match status {
        Some(200..=299) => return Verdict::Delivered,
        Some(410) => return Verdict::Gone,
        _ => {}
    }
    let step = usize::try_from(tries - 1).unwrap_or(0);
    let Some(seconds) = SCHEDULE.get(step) else { return Verdict::Exhausted };
    let millis = seconds * 1000;
    let pause = Duration::from_millis(millis - millis / 10 + millis / 5 * u64::from(dice) / 255);
    let asked = asked.filter(|_| matches!(status, Some(429 | 503))).unwrap_or_default();
    Verdict::Again(pause.max(asked.min(ASKED_MAX)))
}

/// How long an endpoint is left alone after so many failures in a row: what waits for a dead one is
/// then not tried out one after another, each for as long as a call may take.
pub(super) fn breather(failures: i64) -> Duration {
    if failures < PATIENCE {
        return Duration::ZERO;
    }
    let doubled = u32::try_from(failures - PATIENCE).unwrap_or(u32::MAX).min(10);
    Duration::from_secs((PAUSE_FIRST << doubled).min(PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_follow_the_schedule_over_days_and_end() {
        let mut total = [Duration::ZERO; 2];
        for tries in 1..=9 {
            for (place, dice) in [0, 255].into_iter().enumerate() {
                let Verdict::Again(pause) = judge(Some(500), None, tries, dice) else { panic!() };
                total[place] += pause;
            }
        }
        let [least, most] = total.map(|total| total.as_secs() / 3600);
        assert!(least >= 67 && most <= 84 && least < most, "{least} to {most} hours");
        assert_eq!(judge(None, None, 10, 0), Verdict::Exhausted);
        assert_eq!(judge(Some(204), None, 10, 0), Verdict::Delivered);
        for status in [301, 302, 304, 400, 404, 500] {
            assert!(matches!(judge(Some(status), None, 1, 0), Verdict::Again(_)), "{status}");
        }
        assert_eq!(judge(Some(410), None, 1, 0), Verdict::Gone);
    }

    #[test]
    fn who_asks_for_time_gets_it_within_bounds() {
        let asked = |status, seconds| judge(Some(status), Some(Duration::from_secs(seconds)), 1, 0);
        assert_eq!(asked(429, 100), Verdict::Again(Duration::from_secs(100)));
        assert_eq!(asked(503, 100_000), Verdict::Again(ASKED_MAX));
        assert!(matches!(asked(500, 100), Verdict::Again(pause) if pause < Duration::from_secs(6)));
        assert!(matches!(asked(429, 0), Verdict::Again(pause) if !pause.is_zero()));
    }

    #[test]
    fn a_dead_endpoint_is_left_alone_for_longer_and_longer() {
        let seconds: Vec<_> = (1..20).map(|failures| breather(failures).as_secs()).collect();
        assert_eq!(seconds[..5], [0, 0, 10, 20, 40]);
        assert!(seconds.is_sorted() && seconds[18] == PAUSE_MAX);
    }
}
