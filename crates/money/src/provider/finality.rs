//! When to look again at what is final, and may be taken back all the same.

use std::time::Duration;

use kernel::Timestamp;

/// The first look, and the longest pause before a further one.
const FIRST: Duration = Duration::from_secs(6 * 3600);
const PAUSE_MAX: Duration = Duration::from_secs(14 * 24 * 3600);

/// When to ask a provider again about something that became final at `since` and may come back for
/// `window`: after six hours, then after as long as it has been final, up to two weeks. Around
/// twenty questions in half a year; none when the window is over.
pub(crate) fn next_look(since: Timestamp, window: Duration, now: Timestamp) -> Option<Timestamp> {
    let age = now.since(since);
    (age < window).then(|| now + age.clamp(FIRST, PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_final_is_looked_at_less_and_less_until_it_cannot_come_back() {
        let began = Timestamp::from_seconds(0);
        let (mut now, mut hours) = (began, Vec::new());
        while let Some(next) = next_look(began, Duration::from_secs(60 * 24 * 3600), now) {
            hours.push(next.since(now).as_secs() / 3600);
            now = next;
        }
        assert_eq!(hours, [6, 6, 12, 24, 48, 96, 192, 336, 336, 336, 336]);
    }
}
