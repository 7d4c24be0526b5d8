//! Load shedding: what is more than can be done is refused at once, so that the rest is done in
//! time.
//!
//! Nobody knows beforehand how much a machine can do, so limits follow what is seen:
//!
//! - **Concurrency, of each route for itself** ([`Lane`]): how many of its requests may be under
//!   way. It shrinks when they take much longer than they do when all is well, which is how a slow
//!   database or service shows. Only the routes that need it are refused, and a login, which takes
//!   thousands of times as long as reading a session, is measured against logins.
//! - **Rate, of all together** ([`Load`]): how many requests a second are let in. There is none
//!   until tasks that could run stand in line for a processor (the *lag*), which is how too little
//!   machine shows: work that never waits stands in line before it is begun, and looks as quick as
//!   ever.
//!
//! - **Waiting, of each request for itself** ([`Load::admit`]): whoever has waited in the socket longer
//!   than tasks may wait, behind a line of hundreds or beside hundreds that are under way, is refused.
//!   Limits that follow what was seen take a while; this one holds from the first request of a rush.
//!
//! The first two shrink by a factor and grow by steps (AIMD). `control` holds the decisions, without
//! time or chance; [`Load::watch`] looks ten times a second.

mod control;
mod lane;
mod line;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kernel::{Error, Result};
use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use control::Policy;
pub use lane::{Lane, UnderWay};

use control::{LINE_MIN, Rate, RateSeen};
use line::Line;

/// How often the limits are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// From this part of the longest lag on, requests are looked at for when they arrived.
const LAG_NOTICED: u32 = 8;
/// How often it is measured how long a task waits for a processor.
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// What one process bears. Shared by all its listeners.
pub struct Load {
    policy: Policy,
    lanes: Mutex<Vec<Arc<Lane>>>,
    rate: Mutex<Rate>,
    is_throttled: AtomicBool,
    /// Requests that may still be let in until the next probe; not counted while there is no rate.
    allowance: AtomicI64,
    /// The part of a request that the last allowance was short of.
    part: Mutex<f64>,
    /// Of all lanes together.
    under_way: Arc<AtomicU32>,
    admitted: AtomicU64,
    line: Line,
    /// Whether tasks wait for a processor at all.
    is_lagging: AtomicBool,
    shed: Counter,
    shed_late: Counter,
    gauges: Gauges,
}

struct Gauges {
    limited: Gauge,
    rate: Gauge,
    under_way: Gauge,
    lag: Gauge,
}

impl Load {
    pub fn new(policy: Policy) -> Arc<Self> {
        let load = Self {
            policy,
            lanes: Mutex::default(),
            rate: Mutex::new(Rate::new()),
            is_throttled: AtomicBool::new(false),
            allowance: AtomicI64::new(0),
            part: Mutex::new(0.0),
            under_way: Arc::default(),
            admitted: AtomicU64::new(0),
            line: Line::new(Instant::now()),
            is_lagging: AtomicBool::new(false),
            shed: metrics::counter!("http_requests_shed_total", "reason" => "rate"),
            shed_late: metrics::counter!("http_requests_shed_total", "reason" => "waited"),
            gauges: Gauges {
                limited: metrics::gauge!("http_routes_limited"),
                rate: metrics::gauge!("http_rate_limit"),
                under_way: metrics::gauge!("http_requests_under_way"),
                lag: metrics::gauge!("runtime_lag_seconds"),
            },
        };
        load.refill(LOOK_EVERY);
        Arc::new(load)
    }

    /// A lane for one route, whose limit is looked after from here on.
    pub fn lane(&self) -> Arc<Lane> {
        let lane = Arc::new(Lane::new(&self.policy, self.under_way.clone()));
        self.lanes.lock().push(lane.clone());
        lane
    }

    /// Whether it is worth the trouble to know when requests have arrived.
    pub fn is_lagging(&self) -> bool {
        self.is_lagging.load(Ordering::Relaxed)
    }

    /// Says whether tasks wait, as [`Self::watch`] does.
    pub fn set_lagging(&self, is_lagging: bool) {
        self.is_lagging.store(is_lagging, Ordering::Relaxed);
    }

    /// Lets a request in that is begun `now`, or refuses it before any work is done for it.
    /// `arrived` is when its last bytes came to this machine, where that is known.
    ///
    /// # Errors
    /// `Unavailable` `overloaded`, to be tried again after a second.
    pub fn admit(&self, now: Instant, arrived: Option<Instant>) -> Result<()> {
        // Whether it is let in or not: it stood before the others.
        self.line.begin(now);
        if let Some(arrived) = arrived
            && now.saturating_duration_since(arrived) > self.policy.lag_max
            && self.are_many(arrived, now)
        {
            self.shed_late.increment(1);
            return Err(overloaded());
        }
        if self.is_throttled.load(Ordering::Relaxed)
            && self.allowance.fetch_sub(1, Ordering::Relaxed) <= 0
        {
            self.shed.increment(1);
            return Err(overloaded());
        }
        self.admitted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether those who stood before a request, or those who are under way, are more than the clients
    /// of a busy hour who wait for their answers.
    fn are_many(&self, arrived: Instant, now: Instant) -> bool {
        u64::from(self.under_way.load(Ordering::Relaxed)) >= LINE_MIN
            || self.line.since(arrived, now) >= LINE_MIN
    }

    /// Looks at what was seen in the time `passed` since the last look, with `lag` the least that a
    /// task has waited for a processor in it, and sets the limits.
    pub fn look(&self, passed: Duration, lag: Duration) {
        let admitted = self.admitted.swap(0, Ordering::Relaxed);
        let under_way = self.under_way.load(Ordering::Relaxed);
        self.rate.lock().look(&self.policy, &RateSeen { passed, lag, admitted, under_way });
        let limited: u32 =
            self.lanes.lock().iter().map(|lane| u32::from(lane.look(&self.policy))).sum();
        self.gauges.under_way.set(f64::from(under_way));
        self.gauges.limited.set(f64::from(limited));
        self.gauges.lag.set(lag.as_secs_f64());
    }

    /// Lets in as many more as the rate allows for the time `passed`: a little at a time, since what
    /// is let in at once stands in line together.
    pub fn refill(&self, passed: Duration) {
        let rate = self.rate.lock().limit(&self.policy);
        if let Some(rate) = rate {
            let mut part = self.part.lock();
            let earned = *part + rate * passed.as_secs_f64();
            *part = earned.fract();
            // What was left over is not saved up: it would be let in all at once.
            self.allowance.store(earned.trunc() as i64, Ordering::Relaxed);
        }
        self.is_throttled.store(rate.is_some(), Ordering::Relaxed);
        self.gauges.rate.set(rate.unwrap_or(f64::INFINITY));
    }

    /// Measures and looks until told to stop.
    pub async fn watch(&self, stop: CancellationToken) {
        let (mut last, mut refilled) = (Instant::now(), Instant::now());
        let mut lag = Duration::MAX;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(PROBE_EVERY) => {}
                () = stop.cancelled() => return,
            }
            // Behind everything else that is ready now.
            tokio::task::yield_now().await;
            let waited = begun.elapsed().saturating_sub(PROBE_EVERY);
            self.set_lagging(waited > self.policy.lag_max / LAG_NOTICED);
            // The least of several: what stands in line all the time, and not one slow task.
            lag = lag.min(waited);
            if last.elapsed() >= LOOK_EVERY {
                self.look(last.elapsed(), lag);
                (last, lag) = (Instant::now(), Duration::MAX);
            }
            self.refill(refilled.elapsed().min(LOOK_EVERY));
            refilled = Instant::now();
        }
    }
}

fn overloaded() -> Error {
    let message = "There is more to do than can be done at this moment. Try again.";
    Error::unavailable("overloaded", message).retry_after(1)
}
