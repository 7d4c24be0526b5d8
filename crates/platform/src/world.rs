//! The real clock and the system's random source.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use kernel::{Clock, Random, Timestamp, World};

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp::default() + since.unwrap_or(Duration::ZERO)
    }
}

struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks for chance")]
    #[expect(clippy::expect_used, reason = "without randomness no key is safe: better to stop")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system gives no random bytes");
    }
}

/// The world as it is.
pub fn system() -> World {
    World::new(Arc::new(SystemClock), Arc::new(SystemRandom))
}
