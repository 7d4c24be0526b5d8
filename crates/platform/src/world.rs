//! The real clock and the system's random source.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use kernel::{Clock, Random, Timestamp, World};
use zeroize::Zeroize;

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp::default() + since.unwrap_or(Duration::ZERO)
    }
}

/// Random bytes that a thread has fetched ahead: a request takes a few, and a system call for
/// each of them costs more than all else that its id does.
const FETCHED: usize = 1024;

struct Pool {
    bytes: [u8; FETCHED],
    /// Bytes before this one are given away and wiped.
    taken: usize,
}

thread_local! {
    static POOL: RefCell<Pool> =
        const { RefCell::new(Pool { bytes: [0; FETCHED], taken: FETCHED }) };
}

impl Pool {
    fn fill(&mut self, bytes: &mut [u8]) {
        if FETCHED - self.taken < bytes.len() {
            fetch(&mut self.bytes);
            self.taken = 0;
        }
        let given = &mut self.bytes[self.taken..self.taken + bytes.len()];
        bytes.copy_from_slice(given);
        given.zeroize();
        self.taken += bytes.len();
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that asks for chance")]
#[expect(clippy::expect_used, reason = "without randomness no key is safe: better to stop")]
fn fetch(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives no random bytes");
}

struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > FETCHED {
            return fetch(bytes);
        }
        // A thread that is ending has no pool any more.
        let pooled = POOL.try_with(|pool| pool.borrow_mut().fill(bytes));
        if pooled.is_err() {
            fetch(bytes);
        }
    }
}

/// The world as it is.
pub fn system() -> World {
    World::new(Arc::new(SystemClock), Arc::new(SystemRandom))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_byte_of_chance_is_given_twice() {
        let world = system();
        let threads = (0..4).map(|_| {
            let world = world.clone();
            std::thread::spawn(move || (0..1000).map(|_| world.random::<24>()).collect::<Vec<_>>())
        });
        let threads: Vec<_> = threads.collect();
        let drawn: Vec<_> = threads.into_iter().flat_map(|it| it.join().unwrap()).collect();
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 4000);
        assert!(drawn.iter().all(|bytes| bytes.iter().any(|byte| *byte != 0)));
    }

    #[test]
    fn large_and_empty_requests_are_served() {
        let mut large = vec![0; 5000];
        SystemRandom.fill(&mut large);
        assert!(large.chunks(100).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
        SystemRandom.fill(&mut []);
    }
}
