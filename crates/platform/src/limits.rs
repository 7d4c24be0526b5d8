//! Rate limits: one mechanism for every door, keyed by a class and a subject.
//!
//! GCRA, the generic cell rate algorithm: of each bucket only one number is kept, the time at
//! which it will be full again (the *theoretical arrival time*). A bucket that is full is the
//! same as one that does not exist, so what is not used costs nothing and is swept out. The
//! limits hold for one process; among replicas each has its own.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use kernel::{Error, Result, Timestamp};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::http::Limit;

/// How much of something is allowed: `burst` at once, and one more every `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub burst: u32,
    pub every: Duration,
}

impl Quota {
    pub const fn per_minute(count: u32) -> Self {
        Self::over(Duration::from_secs(60), count)
    }

    pub const fn per_hour(count: u32) -> Self {
        Self::over(Duration::from_secs(3600), count)
    }

    const fn over(period: Duration, count: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        Self { burst: count, every: Duration::from_nanos(period.as_nanos() as u64 / count as u64) }
    }

    /// Another number at once; the long-term rate stays.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// The time for one, in microseconds; never zero.
    fn step_us(self) -> i64 {
        i64::try_from(self.every.as_micros()).unwrap_or(i64::MAX).max(1)
    }

    /// The time in which an empty bucket fills, in microseconds.
    fn depth_us(self) -> i64 {
        self.step_us().saturating_mul(i64::from(self.burst.max(1)))
    }
}

/// The quotas of the route classes; none where a class is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    pub read: Option<Quota>,
    pub write: Option<Quota>,
    pub heavy: Option<Quota>,
    pub login: Option<Quota>,
    pub register: Option<Quota>,
    pub mail: Option<Quota>,
    pub refresh: Option<Quota>,
    pub webhook: Option<Quota>,
}

impl Default for Quotas {
    /// Generous to people and to front ends, tight where a guesser or a spammer would knock.
    fn default() -> Self {
        Self {
            read: Some(Quota::per_minute(1200)),
            write: Some(Quota::per_minute(300)),
            heavy: Some(Quota::per_minute(60)),
            login: Some(Quota::per_minute(10)),
            register: Some(Quota::per_hour(20).burst(10)),
            mail: Some(Quota::per_hour(20).burst(5)),
            refresh: Some(Quota::per_minute(60)),
            webhook: Some(Quota::per_minute(1200)),
        }
    }
}

impl Quotas {
    /// No limits at all: for benchmarks.
    pub const NONE: Self = Self {
        read: None,
        write: None,
        heavy: None,
        login: None,
        register: None,
        mail: None,
        refresh: None,
        webhook: None,
    };

    pub const fn of(&self, class: Limit) -> Option<Quota> {
        match class {
            Limit::Free => None,
            Limit::Read => self.read,
            Limit::Write => self.write,
            Limit::Heavy => self.heavy,
            Limit::Login => self.login,
            Limit::Register => self.register,
            Limit::Mail => self.mail,
            Limit::Refresh => self.refresh,
            Limit::Webhook => self.webhook,
        }
    }
}

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    Address(IpAddr),
    Id(Uuid),
    Text(&'a str),
    /// A name from an address: somebody guessing at one account.
    Pair(&'a str, IpAddr),
}

impl<'a> Subject<'a> {
    /// An IPv6 customer holds at least a /64, so that is what is counted; an IPv4 address is
    /// itself, also where it is written as IPv6.
    pub fn address(ip: IpAddr) -> Self {
        Self::Address(network(ip))
    }

    pub fn pair(name: &'a str, ip: IpAddr) -> Self {
        Self::Pair(name, network(ip))
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

/// What the limiter says, with all that the `RateLimit` headers need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// How many fit at once.
    pub limit: u32,
    /// How many are left now.
    pub remaining: u32,
    /// When all of them are there again.
    pub reset: Duration,
    /// When the next one is; zero when allowed.
    pub retry_after: Duration,
}

impl Decision {
    /// The refusal as an error, with the whole seconds to wait.
    pub fn check(self) -> Result<Self> {
        if self.allowed {
            return Ok(self);
        }
        let seconds = self.retry_after.as_millis().div_ceil(1000).max(1);
        Err(Error::limited(u32::try_from(seconds).unwrap_or(u32::MAX)))
    }
}

const SHARDS: usize = 64;
/// A shard is not swept while it is smaller than this.
const SWEEP_MIN: usize = 256;

/// Keys are hashes under a random key already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// The buckets: from a key to the time, in microseconds, at which the bucket is full again.
struct Shard {
    full_at: HashMap<u64, i64, BuildHasherDefault<AsIs>>,
    /// Sweep when there are as many as this.
    sweep_at: usize,
}

/// The limiter of one process. Its memory is bounded: when there are too many buckets, those that
/// are nearest to full are dropped, which can only let somebody pass, never lock anybody out.
pub struct Limiter {
    quotas: Quotas,
    shards: Box<[Mutex<Shard>]>,
    shard_max: usize,
    hash: RandomState,
}

impl Limiter {
    /// Buckets kept at most, at 16 bytes and a little each.
    pub const KEYS_MAX: usize = 1 << 20;

    pub fn new(quotas: Quotas) -> Self {
        Self::bounded(quotas, Self::KEYS_MAX)
    }

    /// Keeps at most `keys_max` buckets, rounded to a multiple of the shards.
    pub fn bounded(quotas: Quotas, keys_max: usize) -> Self {
        let shard = || Mutex::new(Shard { full_at: HashMap::default(), sweep_at: SWEEP_MIN });
        Self {
            quotas,
            shards: (0..SHARDS).map(|_| shard()).collect(),
            shard_max: (keys_max / SHARDS).max(2),
            hash: RandomState::new(),
        }
    }

    /// Counts one request of a route class; `None` when the class is not limited.
    pub fn check(&self, class: Limit, subject: Subject<'_>, now: Timestamp) -> Option<Decision> {
        let quota = self.quotas.of(class)?;
        Some(self.take(class.as_str(), subject, quota, now))
    }

    /// Counts one of `class` against a quota that the caller brings.
    pub fn take(
        &self,
        class: &'static str,
        subject: Subject<'_>,
        quota: Quota,
        now: Timestamp,
    ) -> Decision {
        let key = self.hash.hash_one((class, subject));
        let (now, step, depth) = (now.micros(), quota.step_us(), quota.depth_us());
        let mut shard = self.shard(key).lock();
        let full_at = shard.full_at.get(&key).map_or(now, |at| (*at).max(now));
        let wanted = full_at.saturating_add(step);
        let allowed = wanted.saturating_sub(now) <= depth;
        let full_at = if allowed { wanted } else { full_at };
        if allowed {
            shard.full_at.insert(key, full_at);
            shard.make_room(now, self.shard_max);
        }
        drop(shard);
        decide(quota, allowed, full_at.saturating_sub(now))
    }

    /// Gives one back: what was counted turned out not to be what is limited.
    pub fn give_back(&self, class: &'static str, subject: Subject<'_>, quota: Quota) {
        let key = self.hash.hash_one((class, subject));
        if let Some(full_at) = self.shard(key).lock().full_at.get_mut(&key) {
            *full_at = full_at.saturating_sub(quota.step_us());
        }
    }

    /// Drops all buckets that are full. Costs nothing to call often, and need not be called: a
    /// growing shard sweeps itself.
    pub fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            shard.lock().sweep(now.micros());
        }
    }

    /// How many buckets are kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().full_at.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        // The map takes the low and the highest bits; these are neither.
        &self.shards[(key >> 40) as usize % SHARDS]
    }
}

fn decide(quota: Quota, allowed: bool, until_full: i64) -> Decision {
    let (step, depth) = (quota.step_us(), quota.depth_us());
    let free = depth.saturating_sub(until_full).max(0);
    let wait = if allowed { 0 } else { until_full.saturating_add(step).saturating_sub(depth) };
    let duration = |us: i64| Duration::from_micros(us.max(0).unsigned_abs());
    Decision {
        allowed,
        limit: quota.burst.max(1),
        remaining: u32::try_from(free / step).unwrap_or(u32::MAX),
        reset: duration(until_full),
        retry_after: duration(wait),
    }
}

impl Shard {
    fn sweep(&mut self, now: i64) {
        self.full_at.retain(|_, full_at| *full_at > now);
        self.sweep_at = (self.full_at.len() * 2).max(SWEEP_MIN);
        if self.full_at.capacity() > self.sweep_at * 4 {
            self.full_at.shrink_to(self.sweep_at);
        }
    }

    /// Keeps the shard within its bound; a step's share of the work is constant.
    fn make_room(&mut self, now: i64, max: usize) {
        if self.full_at.len() < self.sweep_at.min(max) {
            return;
        }
        self.sweep(now);
        if self.full_at.len() < max {
            return;
        }
        let mut times: Vec<i64> = self.full_at.values().copied().collect();
        let middle = times.len() / 2;
        let (_, median, fuller) = times.select_nth_unstable(middle);
        let median = *median;
        let later = fuller.iter().filter(|full_at| **full_at > median).count();
        // Many may share the one time in the middle: of those, as many as there is room for.
        let mut room = (max / 2).saturating_sub(later);
        self.full_at.retain(|_, full_at| {
            let is_middle = *full_at == median && room > 0;
            room -= usize::from(is_middle);
            is_middle || *full_at > median
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::ManualClock;

    const CLASS: &str = "test";

    fn at(micros: i64) -> Timestamp {
        ManualClock::START + Duration::from_micros(micros.unsigned_abs())
    }

    /// A bucket of tokens counted out in whole steps of time: slow, and plainly right.
    struct Model {
        quota: Quota,
        /// In microseconds of filling.
        level: i64,
        last: i64,
    }

    impl Model {
        fn take(&mut self, now: i64) -> (bool, u32) {
            let (step, depth) = (self.quota.step_us(), self.quota.depth_us());
            self.level = (self.level + (now - self.last)).min(depth);
            self.last = now;
            let allowed = self.level >= step;
            if allowed {
                self.level -= step;
            }
            (allowed, u32::try_from(self.level / step).unwrap())
        }
    }

    proptest! {
        #[test]
        fn the_limiter_decides_as_a_bucket_of_tokens_does(
            burst in 1_u32..20,
            every_us in 1_u64..5_000,
            pauses in prop::collection::vec(0_i64..20_000, 1..200),
        ) {
            let quota = Quota { burst, every: Duration::from_micros(every_us) };
            let limiter = Limiter::new(Quotas::NONE);
            let mut model = Model { quota, level: quota.depth_us(), last: 0 };
            let mut now = 0;
            for pause in pauses {
                now += pause;
                let decision = limiter.take(CLASS, Subject::Text("x"), quota, at(now));
                let (allowed, remaining) = model.take(now);
                prop_assert_eq!((decision.allowed, decision.remaining), (allowed, remaining));
                prop_assert_eq!(decision.reset.as_micros() as i64, quota.depth_us() - model.level);
            }
        }

        #[test]
        fn whoever_waits_as_told_gets_in_and_a_moment_earlier_does_not(
            burst in 1_u32..20,
            every_us in 2_u64..5_000,
        ) {
            let quota = Quota { burst, every: Duration::from_micros(every_us) };
            let limiter = Limiter::new(Quotas::NONE);
            let take = |now| limiter.take(CLASS, Subject::Text("x"), quota, at(now));
            while take(0).allowed {}
            let wait = i64::try_from(take(0).retry_after.as_micros()).unwrap();
            prop_assert!(!take(wait - 1).allowed);
            prop_assert!(take(wait).allowed);
        }

        #[test]
        fn what_is_given_back_can_be_taken_again(burst in 1_u32..20) {
            let quota = Quota::per_hour(10).burst(burst);
            let limiter = Limiter::new(Quotas::NONE);
            for _ in 0..100 {
                prop_assert!(limiter.take(CLASS, Subject::Text("x"), quota, at(0)).allowed);
                limiter.give_back(CLASS, Subject::Text("x"), quota);
            }
        }
    }

    #[test]
    fn subjects_and_classes_do_not_share_a_bucket() {
        let limiter = Limiter::new(Quotas::NONE);
        let quota = Quota::per_minute(1);
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let id = Uuid::from_u128(1);
        for class in ["a", "b"] {
            for subject in [
                Subject::address(ip),
                Subject::Id(id),
                Subject::Text("x"),
                Subject::Text("y"),
                Subject::pair("x", ip),
            ] {
                assert!(limiter.take(class, subject, quota, at(0)).allowed, "{class} {subject:?}");
                assert!(!limiter.take(class, subject, quota, at(0)).allowed);
            }
        }
    }

    #[test]
    fn an_ipv6_network_counts_as_one_and_an_ipv4_address_as_itself() {
        let subject = |ip: &str| Subject::address(ip.parse().unwrap());
        assert_eq!(subject("2001:db8::1"), subject("2001:db8::ffff:1"));
        assert_ne!(subject("2001:db8:0:1::1"), subject("2001:db8:0:2::1"));
        assert_eq!(subject("::ffff:192.0.2.1"), subject("192.0.2.1"));
        assert_ne!(subject("192.0.2.1"), subject("192.0.2.2"));
    }

    #[test]
    fn unused_buckets_are_forgotten() {
        let limiter = Limiter::new(Quotas::default());
        for n in 0..10_000_u32 {
            let subject = Subject::Id(Uuid::from_u128(n.into()));
            limiter.check(Limit::Login, subject, at(0)).unwrap();
        }
        assert_eq!(limiter.len(), 10_000);
        limiter.sweep(at(6_000_000));
        assert!(limiter.is_empty());
    }

    #[test]
    fn a_flood_of_subjects_stays_within_the_bound_and_keeps_the_worst() {
        let limiter = Limiter::bounded(Quotas::NONE, 64 * 100);
        let (worst, quota) = (Subject::Text("worst"), Quota::per_minute(10));
        while limiter.take(CLASS, worst, quota, at(0)).allowed {}
        for n in 0..100_000_u32 {
            limiter.take(CLASS, Subject::Id(Uuid::from_u128(n.into())), quota, at(0));
            assert!(limiter.len() <= 64 * 100);
        }
        assert!(!limiter.take(CLASS, worst, quota, at(0)).allowed);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_away() {
        let limiter = Limiter::new(Quotas::NONE);
        let quota = Quota::per_minute(2);
        assert!(limiter.take(CLASS, Subject::Text("x"), quota, at(10_000_000)).allowed);
        assert!(!limiter.take(CLASS, Subject::Text("x"), quota, at(0)).allowed);
    }

    #[test]
    fn a_refusal_names_the_seconds_to_wait() {
        let limiter = Limiter::new(Quotas::NONE);
        let quota = Quota::per_minute(60).burst(1);
        assert!(limiter.take(CLASS, Subject::Text("x"), quota, at(0)).check().is_ok());
        let refused = limiter.take(CLASS, Subject::Text("x"), quota, at(100_000)).check();
        assert_eq!(refused.unwrap_err().retry_after_seconds(), Some(1));
    }

    #[test]
    fn free_routes_are_not_counted() {
        let limiter = Limiter::new(Quotas::default());
        for class in Limit::ALL {
            let decision = limiter.check(class, Subject::Text("x"), at(0));
            assert_eq!(decision.is_none(), class == Limit::Free);
        }
    }
}
