//! The line in which requests stand before they are begun, seen from its end: whoever has come to
//! the front knows how many were begun since it arrived, and those stood before it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time is divided into ticks of this length, and as many of them are remembered.
const TICK: Duration = Duration::from_millis(4);
const TICKS: usize = 256;

/// How many requests were begun, by the tick.
pub(super) struct Line {
    /// Nothing is before this.
    origin: Instant,
    begun: AtomicU64,
    /// Of one tick each: its number, and how many had been begun before it, 32 bits of both.
    ticks: Box<[AtomicU64]>,
}

impl Line {
    pub(super) fn new(origin: Instant) -> Self {
        let ticks = (0..TICKS).map(|_| AtomicU64::new(u64::MAX)).collect();
        Self { origin, begun: AtomicU64::new(0), ticks }
    }

    /// A request is begun now.
    pub(super) fn begin(&self, now: Instant) {
        let before = self.begun.fetch_add(1, Ordering::Relaxed);
        let tick = self.tick(now);
        let place = &self.ticks[tick as usize % TICKS];
        // The first of a tick says so. Of two at once, either's word will do.
        if place.load(Ordering::Relaxed) >> 32 != u64::from(tick) {
            place.store(u64::from(tick) << 32 | (before & u64::from(u32::MAX)), Ordering::Relaxed);
        }
    }

    /// How many were begun since `arrived`, a tick less or more; as many as are remembered where it
    /// is further back.
    pub(super) fn since(&self, arrived: Instant, now: Instant) -> u64 {
        let last = self.tick(now);
        let first = self.tick(arrived).max(last.saturating_sub(TICKS as u32 - 1));
        let noted = (first..=last).find_map(|tick| {
            let place = self.ticks[tick as usize % TICKS].load(Ordering::Relaxed);
            // In a tick in which none was begun, none is missed.
            (place >> 32 == u64::from(tick)).then_some(place as u32)
        });
        let begun = self.begun.load(Ordering::Relaxed) as u32;
        noted.map_or(0, |before| begun.wrapping_sub(before).into())
    }

    /// Two years of ticks, and they begin anew.
    fn tick(&self, at: Instant) -> u32 {
        let since = at.saturating_duration_since(self.origin);
        (since.as_millis() / TICK.as_millis()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn whoever_comes_to_the_front_knows_how_many_stood_before_it() {
        let origin = Instant::now();
        let line = Line::new(origin);
        let at = |milli: u32| origin + milli * MILLI;
        assert_eq!(line.since(at(0), at(9)), 0, "nobody was begun");
        // One a millisecond for two seconds, longer than is remembered.
        (0..2000).for_each(|milli| line.begin(at(milli)));
        assert_eq!(line.since(at(1980), at(1999)), 20);
        assert_eq!(line.since(at(1600), at(1999)), 400);
        let remembered = line.since(at(0), at(1999));
        assert!((1000..=1024).contains(&remembered), "{remembered}");
        // Nobody since.
        assert_eq!(line.since(at(2100), at(2150)), 0);
        (2200..2210).for_each(|milli| line.begin(at(milli)));
        assert_eq!(line.since(at(2100), at(2210)), 10);
    }

    #[test]
    fn many_at_once_are_counted_once_each() {
        let line = Line::new(Instant::now());
        let (begun, threads, each) = (Instant::now(), 4, 5_000);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..each).for_each(|_| line.begin(begun)));
            }
        });
        assert_eq!(line.begun.load(Ordering::Relaxed), threads * each);
        let seen = line.since(begun, begun);
        // Those at the very beginning of a tick may be missed.
        assert!((threads * each - threads..=threads * each).contains(&seen), "{seen}");
    }
}
