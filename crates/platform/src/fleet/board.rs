//! What this process has heard, and who is told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use kernel::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{STALE_MAX, Shards};

/// Into how many shards what can change is divided. What is lost on the way costs the memory of
/// one shard, so more of them are better; all of their counters are read at once, so fewer are.
pub const SHARDS: usize = 128;

/// Numbers of one shard that are kept because an earlier one is still on its way.
const AHEAD_MAX: usize = 64;
/// Notices that wait to be published; those beyond are left to the counters.
const OUTBOX_MAX: usize = 4096;
/// More notices of one shard in one transaction than this are told as "all of the shard".
const NOTICES_MAX: usize = 64;
/// The stream answers at least four times a second. Unheard of for this long, it is dead.
const SILENCE_MAX: Duration = Duration::from_millis(750);
/// For how long a reading waits for the stream to bring what the counters already show: the
/// message is a moment behind its commit.
const STREAM_BEHIND: Duration = Duration::from_millis(100);
const STREAM_BEHIND_STEP: Duration = Duration::from_millis(10);

/// Something that processes may remember is no longer so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notice {
    /// Of what, or of whom: an id of any kind.
    pub about: Uuid,
    /// The one part of it that changed, such as one session of a user; else all.
    pub part: Option<Uuid>,
}

impl Notice {
    pub const fn all_of(about: Uuid) -> Self {
        Self { about, part: None }
    }

    pub const fn part_of(about: Uuid, part: Uuid) -> Self {
        Self { about, part: Some(part) }
    }

    /// The shard of everything about this id: its last byte is random in a UUIDv7.
    pub const fn shard_of(about: Uuid) -> usize {
        about.as_bytes()[15] as usize % SHARDS
    }
}

/// Whoever remembers something.
pub trait Follower: Send + Sync {
    /// Forgets what the notice says. Must not wait: callers are about to be answered.
    fn forget(&self, notice: &Notice);
    /// Forgets everything about ids of this shard; see [`Notice::shard_of`].
    fn forget_shard(&self, shard: usize);
}

/// What one transaction has told about one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) shard: usize,
    /// The shard's counter after it; zero where nothing is counted.
    pub(crate) number: i64,
    /// Of these; of the whole shard when there are none.
    pub(crate) notices: Vec<Notice>,
}

impl Told {
    /// In the order of shards, which is the order in which their counters are locked.
    pub(crate) fn by_shard(mut notices: Vec<Notice>) -> Vec<Self> {
        notices.sort_unstable_by_key(|notice| (Notice::shard_of(notice.about), *notice));
        notices.dedup();
        let runs = notices.chunk_by(|a, b| Notice::shard_of(a.about) == Notice::shard_of(b.about));
        runs.map(|run| Self {
            shard: run.first().map_or(0, |notice| Notice::shard_of(notice.about)),
            number: 0,
            notices: if run.len() > NOTICES_MAX { Vec::new() } else { run.to_vec() },
        })
        .collect()
    }
}

impl PartialOrd for Notice {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Notice {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.about, self.part).cmp(&(other.about, other.part))
    }
}

/// How soon this process hears of changes that others make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Nobody else writes to the store.
    Alone,
    /// The stream brings changes within milliseconds.
    Live,
    /// Only the counters tell, up to a second late.
    Behind,
}

impl Liveness {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Live => "live",
            Self::Behind => "behind",
        }
    }

    /// Whether changes made elsewhere are known here as good as at once.
    pub const fn is_prompt(self) -> bool {
        !matches!(self, Self::Behind)
    }
}

/// The numbers of one shard that were heard.
#[derive(Debug, Default)]
struct Heard {
    /// All up to here.
    number: i64,
    /// And these, further on.
    ahead: BTreeSet<i64>,
}

impl Heard {
    fn note(&mut self, number: i64) {
        if number > self.number {
            self.ahead.insert(number);
        }
        while self.ahead.remove(&(self.number + 1)) {
            self.number += 1;
        }
        if self.ahead.len() > AHEAD_MAX {
            self.ahead.clear();
        }
    }

    fn set(&mut self, number: i64) {
        self.number = number;
        self.ahead.retain(|later| *later > number);
        self.note(number);
    }
}

/// A reading of the counters that is under way.
#[derive(Debug)]
pub(super) struct Reading {
    begun: Timestamp,
    /// What was heard before it began: the counters cannot show less.
    before: [i64; SHARDS],
}

/// The board of one process over one store. It belongs to the [`Db`](crate::db::Db).
pub struct Board {
    is_shared: bool,
    followers: RwLock<Vec<Weak<dyn Follower>>>,
    heard: Box<[Mutex<Heard>]>,
    /// Whatever had committed by then is known here; in microseconds.
    known_until: AtomicI64,
    outbox: OnceLock<mpsc::Sender<Told>>,
    started: Instant,
    /// When the stream last answered, in microseconds since the start; zero for never, or dead.
    stream_heard: AtomicU64,
}

impl Board {
    /// `is_shared` says that other processes write to the store.
    pub fn new(is_shared: bool) -> Self {
        Self {
            is_shared,
            followers: RwLock::default(),
            heard: (0..SHARDS).map(|_| Mutex::default()).collect(),
            known_until: AtomicI64::new(i64::MIN),
            outbox: OnceLock::new(),
            started: Instant::now(),
            stream_heard: AtomicU64::new(0),
        }
    }

    /// Tells a follower from now on, for as long as it lives.
    pub fn follow(&self, follower: &Arc<impl Follower + 'static>) {
        let follower: Weak<dyn Follower> = Arc::<_>::downgrade(follower) as _;
        let mut followers = self.followers.write();
        followers.retain(|follower| follower.strong_count() > 0);
        followers.push(follower);
    }

    /// Whether something that was read from the store at `read_at` may be believed at `now`:
    /// always where nobody else writes, else when it, or what others have told, is fresh.
    pub fn believes(&self, read_at: Timestamp, now: Timestamp) -> bool {
        self.age(read_at, now) < STALE_MAX
    }

    /// How far behind the store something read at `read_at` may be at `now`. A time that is still
    /// to come says nothing: the clock was set back since.
    pub fn age(&self, read_at: Timestamp, now: Timestamp) -> Duration {
        if !self.is_shared {
            return Duration::ZERO;
        }
        let known = Timestamp::from_micros(self.known_until.load(Ordering::Acquire));
        // Of two requests at once, one may have read the clock a moment before the other.
        let since = |at| if at > now + STALE_MAX { Duration::MAX } else { now.since(at) };
        since(known).min(since(read_at))
    }

    pub fn liveness(&self) -> Liveness {
        if !self.is_shared {
            return Liveness::Alone;
        }
        let heard = self.stream_heard.load(Ordering::Acquire);
        let silent = self.since_start().saturating_sub(heard);
        if heard != 0 && silent < SILENCE_MAX.as_micros() as u64 {
            Liveness::Live
        } else {
            Liveness::Behind
        }
    }

    /// What a transaction of this process has told: after its commit, before its answer.
    pub(crate) fn told_here(&self, told: Vec<Told>) {
        for told in told {
            self.apply(&told);
            if let Some(outbox) = self.outbox.get()
                && outbox.try_send(told).is_err()
            {
                metrics::counter!("notices_unpublished_total").increment(1);
            }
        }
    }

    /// What another process has told.
    pub(super) fn told_elsewhere(&self, told: &Told) {
        metrics::counter!("notices_heard_total").increment(1);
        self.apply(told);
    }

    fn apply(&self, told: &Told) {
        for follower in self.followers() {
            if told.notices.is_empty() {
                follower.forget_shard(told.shard);
            }
            for notice in &told.notices {
                follower.forget(notice);
            }
        }
        if told.number > 0
            && let Some(heard) = self.heard.get(told.shard)
        {
            heard.lock().note(told.number);
        }
    }

    /// What a process that was asked to do something has told meanwhile: forgotten here before its
    /// answer is passed on, and not when the stream or the counters come round to it.
    pub fn forget_shards(&self, shards: Shards) {
        for shard in shards.iter() {
            self.followers().iter().for_each(|follower| follower.forget_shard(shard));
        }
    }

    fn followers(&self) -> Vec<Arc<dyn Follower>> {
        self.followers.read().iter().filter_map(Weak::upgrade).collect()
    }

    /// Forgets everything: what was told meanwhile cannot be known.
    pub(super) fn forget_all(&self) {
        let followers = self.followers();
        for shard in 0..SHARDS {
            followers.iter().for_each(|follower| follower.forget_shard(shard));
        }
    }

    /// Where what is told here waits to be published. The first to ask has it.
    pub(super) fn outbox(&self) -> Option<mpsc::Receiver<Told>> {
        let (sender, receiver) = mpsc::channel(OUTBOX_MAX);
        self.outbox.set(sender).is_ok().then_some(receiver)
    }

    pub(super) fn stream_answered(&self) {
        self.stream_heard.store(self.since_start().max(1), Ordering::Release);
    }

    pub(super) fn stream_broke(&self) {
        self.stream_heard.store(0, Ordering::Release);
    }

    fn since_start(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn begin_reading(&self, now: Timestamp) -> Reading {
        Reading { begun: now, before: std::array::from_fn(|shard| self.number(shard)) }
    }

    /// Forgets the shards of which the counters show more than was heard, or less than was heard
    /// before they were read (the store was set back). While the stream lives it is given a
    /// moment to bring the rest itself, with names.
    pub(super) async fn finish_reading(&self, reading: Reading, counted: &[i64; SHARDS]) {
        let differs = |shard: &usize| {
            let (number, counted) = (self.number(*shard), counted[*shard]);
            counted > number || counted < reading.before[*shard]
        };
        if self.liveness() == Liveness::Live {
            let mut waited = Duration::ZERO;
            while waited < STREAM_BEHIND && (0..SHARDS).any(|shard| differs(&shard)) {
                tokio::time::sleep(STREAM_BEHIND_STEP).await;
                waited += STREAM_BEHIND_STEP;
            }
        }
        let followers = self.followers();
        for shard in (0..SHARDS).filter(differs) {
            metrics::counter!("notices_missed_total").increment(1);
            followers.iter().for_each(|follower| follower.forget_shard(shard));
            self.heard[shard].lock().set(counted[shard]);
        }
        self.known_until.store(reading.begun.micros(), Ordering::Release);
    }

    fn number(&self, shard: usize) -> i64 {
        self.heard[shard].lock().number
    }
}
