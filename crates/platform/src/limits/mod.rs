//! Rate limits: one mechanism for every door, keyed by a class and a subject.
//!
//! GCRA, the generic cell rate algorithm: of each bucket only one number is kept, the time at
//! which it will be full again (the *theoretical arrival time*). A bucket that is full is the
//! same as one that does not exist, so what is not used costs nothing and is swept out.
//!
//! Without Redis the buckets are this process's own. With it ([`Limiter::shared`]) replicas share
//! them, in one of two ways:
//!
//! - **Exact** ([`Limiter::charge`]; the classes of [`Limiter::is_exact`]): the bucket is in Redis
//!   and is asked each time, one round trip. For guessing, registering and sending mail, where
//!   one more is one too many.
//! - **Settled** ([`Limiter::check`]): each replica decides by its own bucket and settles ten
//!   times a second what it has let pass. No request waits. A subject that comes to all of `n`
//!   replicas at the same moment can get `n` bursts, once, and waits the debt off.

mod quota;
mod shared;
mod subject;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kernel::{Error, Result, Secret, Timestamp};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use quota::{Quota, Quotas};
pub use subject::Subject;

use crate::fleet::Redis;
use crate::http::Limit;
use shared::{SETTLE_EVERY, SETTLED_AT_ONCE, Shared, Spent};

/// One of `class`, to be counted for `subject` against `quota`.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub class: &'static str,
    pub subject: Subject<'a>,
    pub quota: Quota,
}

/// What exact limits do while Redis does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAway {
    /// Each replica counts by itself: `n` replicas let `n` times as many pass.
    Local,
    /// Nobody passes: `Unavailable`.
    Refuse,
}

/// What the limiter says, with all that the `RateLimit` headers need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// How many fit at once.
    pub limit: u32,
    /// How many are left now.
    pub remaining: u32,
    /// The time in which that many come back.
    pub window: Duration,
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
    /// What is to be settled with Redis.
    spent: HashMap<u64, Spent, BuildHasherDefault<AsIs>>,
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
    shared: Option<Shared>,
    when_away: WhenAway,
    /// Whether it was said that Redis is away.
    is_away: AtomicBool,
}

impl Limiter {
    /// Buckets kept at most, at 16 bytes and a little each.
    pub const KEYS_MAX: usize = 1 << 20;

    pub fn new(quotas: Quotas) -> Self {
        Self::bounded(quotas, Self::KEYS_MAX)
    }

    /// Keeps at most `keys_max` buckets, rounded to a multiple of the shards.
    pub fn bounded(quotas: Quotas, keys_max: usize) -> Self {
        let shard = || Shard {
            full_at: HashMap::default(),
            spent: HashMap::default(),
            sweep_at: SWEEP_MIN,
        };
        Self {
            quotas,
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            shard_max: (keys_max / SHARDS).max(2),
            hash: RandomState::new(),
            shared: None,
            when_away: WhenAway::Local,
            is_away: AtomicBool::new(false),
        }
    }

    /// Shares the buckets with all who use the same Redis and `key`, under which subjects are
    /// hashed there. [`Limiter::settle`] must run.
    #[must_use]
    pub fn shared(self, redis: Arc<Redis>, key: Secret<[u8; 32]>, when_away: WhenAway) -> Self {
        Self { shared: Some(Shared::new(redis, key)), when_away, ..self }
    }

    /// The classes of which replicas together let no more pass than one would.
    pub const fn is_exact(class: Limit) -> bool {
        matches!(class, Limit::Login | Limit::Register | Limit::Mail)
    }

    /// Counts one request of a route class; `None` when the class is not limited. Of an exact
    /// class this process counts for itself: use [`Limiter::admit`] for those.
    pub fn check(&self, class: Limit, subject: Subject<'_>, now: Timestamp) -> Option<Decision> {
        let quota = self.quotas.of(class)?;
        let ask = Ask { class: class.as_str(), subject, quota };
        let decision = self.take(ask.class, subject, quota, now);
        if decision.allowed && self.shared.is_some() {
            self.spend(ask, 1);
        }
        Some(decision)
    }

    /// Counts one request of an exact route class: for its subject, and for everyone where the
    /// class has a quota for all together. `None` when the class is not limited.
    ///
    /// # Errors
    /// As of [`Limiter::charge`].
    pub async fn admit(
        &self,
        class: Limit,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Result<Option<Decision>> {
        let name = class.as_str();
        let own = self.quotas.of(class).map(|quota| Ask { class: name, subject, quota });
        let all = self.quotas.of_everyone(class);
        let all = all.map(|quota| Ask { class: name, subject: Subject::Everyone, quota });
        let asks: Vec<Ask<'_>> = own.into_iter().chain(all).collect();
        if asks.is_empty() { Ok(None) } else { self.charge(&asks, now).await.map(Some) }
    }

    /// Counts one for each of several, or none when one of them has no more: exactly, also among
    /// replicas. The decision is the refusing one's; else the first's.
    ///
    /// # Errors
    /// `Unavailable` `redis_away` where that is what the configuration says.
    pub async fn charge(&self, asks: &[Ask<'_>], now: Timestamp) -> Result<Decision> {
        let shared = self.shared.as_ref().filter(|_| !asks.is_empty());
        let Some(shared) = shared else { return Ok(self.charge_here(asks, now)) };
        let buckets: Vec<_> =
            asks.iter().map(|ask| (shared.name(ask.class, ask.subject), ask.quota)).collect();
        match shared.take(&buckets).await {
            Ok((refused, until_full)) => {
                self.note_away(None);
                // Kept here as well, so that a bucket that is empty stays so without Redis.
                for (ask, until_full) in asks.iter().zip(&until_full) {
                    let key = self.key(ask.class, ask.subject);
                    self.shard(key).lock().put(key, now, *until_full, self.shard_max);
                }
                let shown = refused.unwrap_or(0);
                let (Some(ask), Some(until_full)) = (asks.get(shown), until_full.get(shown)) else {
                    return Err(Error::internal("a limit was asked for nothing"));
                };
                Ok(decide(ask.quota, refused.is_none(), *until_full))
            }
            Err(error) => {
                self.note_away(Some(&error));
                let class = asks.first().map_or("", |ask| ask.class);
                metrics::counter!("limits_without_redis_total", "class" => class).increment(1);
                match self.when_away {
                    WhenAway::Local => Ok(self.charge_here(asks, now)),
                    WhenAway::Refuse => Err(error),
                }
            }
        }
    }

    fn charge_here(&self, asks: &[Ask<'_>], now: Timestamp) -> Decision {
        let mut first = None;
        for (index, ask) in asks.iter().enumerate() {
            let decision = self.take(ask.class, ask.subject, ask.quota, now);
            if !decision.allowed {
                for ask in &asks[..index] {
                    self.give_back(ask.class, ask.subject, ask.quota);
                }
                return decision;
            }
            first = first.or(Some(decision));
        }
        first.unwrap_or(Decision {
            allowed: true,
            limit: 0,
            remaining: 0,
            window: Duration::ZERO,
            reset: Duration::ZERO,
            retry_after: Duration::ZERO,
        })
    }

    /// Gives back what [`Limiter::charge`] has counted: it turned out not to be what is limited.
    /// It reaches the other replicas with the next settlement.
    pub fn refund(&self, asks: &[Ask<'_>]) {
        for ask in asks {
            self.give_back(ask.class, ask.subject, ask.quota);
            if self.shared.is_some() {
                self.spend(*ask, -1);
            }
        }
    }

    /// Says once that Redis is away, and once that it is back.
    fn note_away(&self, error: Option<&Error>) {
        if self.is_away.load(Ordering::Relaxed) == error.is_some() {
            return;
        }
        if self.is_away.swap(error.is_some(), Ordering::Relaxed) == error.is_some() {
            return;
        }
        match (error, self.when_away) {
            (Some(error), WhenAway::Local) => {
                tracing::warn!(%error, "limits are counted by each replica for itself");
            }
            (Some(error), WhenAway::Refuse) => {
                tracing::warn!(%error, "what is limited exactly is refused");
            }
            (None, _) => tracing::info!("limits are counted by all replicas together again"),
        }
    }

    fn spend(&self, ask: Ask<'_>, count: i64) {
        let Some(shared) = &self.shared else { return };
        let key = self.key(ask.class, ask.subject);
        let mut shard = self.shard(key).lock();
        if let Some(spent) = shard.spent.get_mut(&key) {
            spent.count += count;
        } else if shard.spent.len() < self.shard_max {
            let name = shared.name(ask.class, ask.subject);
            shard.spent.insert(key, Spent { name, quota: ask.quota, count });
        }
    }

    /// Settles with Redis what was let pass, ten times a second, until told to stop.
    pub async fn settle(&self, world: &kernel::World, stop: &CancellationToken) {
        while self.shared.is_some() && !stop.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(SETTLE_EVERY) => {}
                () = stop.cancelled() => {}
            }
            self.settle_once(world.now()).await;
        }
    }

    /// One round of [`Limiter::settle`]. What cannot be settled is forgotten: it was counted
    /// here.
    pub async fn settle_once(&self, now: Timestamp) {
        let Some(shared) = &self.shared else { return };
        let mut open = Vec::new();
        for shard in &self.shards {
            open.extend(shard.lock().spent.drain());
        }
        for part in open.chunks(SETTLED_AT_ONCE) {
            let spent: Vec<Spent> = part.iter().map(|(_, spent)| *spent).collect();
            let settled = shared.settle(&spent).await;
            self.note_away(settled.as_ref().err());
            let Ok(until_full) = settled else { return };
            for ((key, spent), until_full) in part.iter().zip(until_full) {
                let mut shard = self.shard(*key).lock();
                // What has passed since the drain is not settled yet.
                let since = shard.spent.get(key).map_or(0, |spent| spent.count);
                let since = spent.quota.step_us().saturating_mul(since);
                shard.put(*key, now, until_full.saturating_add(since), self.shard_max);
            }
        }
    }

    /// Counts one of `class` against a quota that the caller brings.
    pub fn take(
        &self,
        class: &'static str,
        subject: Subject<'_>,
        quota: Quota,
        now: Timestamp,
    ) -> Decision {
        let key = self.key(class, subject);
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
        let key = self.key(class, subject);
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

    fn key(&self, class: &'static str, subject: Subject<'_>) -> u64 {
        self.hash.hash_one((class, subject))
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
        window: duration(depth),
        remaining: u32::try_from(free / step).unwrap_or(u32::MAX),
        reset: duration(until_full),
        retry_after: duration(wait),
    }
}

impl Shard {
    /// Takes over what is known elsewhere of a bucket.
    fn put(&mut self, key: u64, now: Timestamp, until_full: i64, max: usize) {
        if until_full > 0 {
            self.full_at.insert(key, now.micros().saturating_add(until_full));
            self.make_room(now.micros(), max);
        } else {
            self.full_at.remove(&key);
        }
    }

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
