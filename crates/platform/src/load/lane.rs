//! One route's share: how many of its requests are under way, and how long they take when all is
//! well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kernel::Result;
use parking_lot::Mutex;

use super::control::{Concurrency, Policy, Seen};
use super::overloaded;

/// Nothing that is quicker than this is called slow.
const QUICK: Duration = Duration::from_millis(50);
/// So many times the usual time is slow.
const SLOW: u64 = 4;
/// The size of a step towards a slower time: what is usual is learned from thousands of requests,
/// so that it is not what it has been since the trouble began. And of one towards a quicker time.
const UP: u64 = 1024;
const DOWN: u64 = 8;

/// One route's share.
pub struct Lane {
    control: Mutex<Concurrency>,
    limit: AtomicU32,
    under_way: AtomicU32,
    /// Of all lanes together.
    all_under_way: Arc<AtomicU32>,
    /// Since the last look.
    peak: AtomicU32,
    samples: AtomicU64,
    slow: AtomicU64,
    /// Nanoseconds; zero before the first request.
    usual: AtomicU64,
}

/// A request under way; it is over when this is dropped.
#[must_use]
pub struct UnderWay<'a> {
    lane: &'a Lane,
    begun: Instant,
}

impl Lane {
    pub(super) fn new(policy: &Policy, all_under_way: Arc<AtomicU32>) -> Self {
        let control = Concurrency::new(policy);
        Self {
            limit: AtomicU32::new(control.limit()),
            control: Mutex::new(control),
            under_way: AtomicU32::new(0),
            all_under_way,
            peak: AtomicU32::new(0),
            samples: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            usual: AtomicU64::new(0),
        }
    }

    /// Begins a request of this route, from where its client is not waited for any more: a client
    /// that sends slowly must not make the route look slow, nor take up its places.
    ///
    /// # Errors
    /// `Unavailable` `overloaded`, to be tried again after a second.
    pub fn begin(&self) -> Result<UnderWay<'_>> {
        let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        if now > self.limit.load(Ordering::Relaxed) {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            metrics::counter!("http_requests_shed_total", "reason" => "concurrency").increment(1);
            return Err(overloaded());
        }
        self.all_under_way.fetch_add(1, Ordering::Relaxed);
        self.peak.fetch_max(now, Ordering::Relaxed);
        Ok(UnderWay { lane: self, begun: Instant::now() })
    }

    /// How many are under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Sets the limit by what was seen; answers whether there is one to speak of.
    pub(super) fn look(&self, policy: &Policy) -> bool {
        let now = self.under_way();
        let seen = Seen {
            samples: self.samples.swap(0, Ordering::Relaxed),
            slow: self.slow.swap(0, Ordering::Relaxed),
            peak: self.peak.swap(now, Ordering::Relaxed).max(now),
        };
        let mut control = self.control.lock();
        control.look(policy, &seen);
        self.limit.store(control.limit(), Ordering::Relaxed);
        control.limit() < policy.concurrency_max
    }

    /// Learns from a request that took so long, and answers whether that was slow.
    pub(super) fn learn(&self, took: Duration) -> bool {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let usual = self.usual.load(Ordering::Relaxed);
        let next = match usual {
            0 => took,
            _ if took < usual => usual - (usual - took).div_ceil(DOWN),
            // However slow one is, it moves what is usual by as much as one of twice the time.
            _ => usual + (took - usual).min(usual) / UP,
        };
        // Two at once may overwrite each other: a step is lost, and there are thousands.
        self.usual.store(next, Ordering::Relaxed);
        let quick = u64::try_from(QUICK.as_nanos()).unwrap_or(u64::MAX);
        usual > 0 && took > usual.saturating_mul(SLOW).max(quick)
    }
}

impl UnderWay<'_> {
    /// It was answered as it is when all is well. Refusals are quick, and would make what is done
    /// look slow beside them: of them nothing is learned.
    pub fn done(self) {
        self.lane.samples.fetch_add(1, Ordering::Relaxed);
        if self.lane.learn(self.begun.elapsed()) {
            self.lane.slow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Time ran out on it: that is slow, whatever is usual.
    pub fn timed_out(self) {
        self.lane.samples.fetch_add(1, Ordering::Relaxed);
        self.lane.slow.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.lane.under_way.fetch_sub(1, Ordering::Relaxed);
        self.lane.all_under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
