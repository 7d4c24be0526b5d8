//! Sessions as this process remembers them.
//!
//! Two maps. `presented` leads from the hash of what a client presents (the cookie's token or an
//! access token) to the session; it is bounded, and what has not been used since the hand came by
//! last gives way. `of_user` leads from a user to the sessions that are remembered for them, so
//! that ending one finds it under all of its presentations.
//!
//! A fill reads the store and then remembers what it read; when something was forgotten in
//! between, what it read may be older than that, and is not remembered. So the order "read, end,
//! remember" cannot bring an ended session back.
//!
//! What ends sessions here or in another process is told by the [`Board`], which also says for how
//! long what is remembered may be believed without asking the store.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use kernel::id::kinds::{Session, User};
use kernel::{Id, Principal, Timestamp};
use parking_lot::{Mutex, RwLock};
use platform::fleet::{self, Board, Follower, Notice, STALE_MAX};

const SHARDS: usize = 32;
/// From this age on, one request goes to confirm it while the others go on. Where the board is
/// kept up nothing gets this old.
const CONFIRM_EARLY: Duration = Duration::from_millis(500);
/// How much later than written a session must have been seen for it to be written again.
const SEEN_STEP: Duration = Duration::from_secs(60);

/// Times seen that wait to be written; more are lost, which costs nobody more than accuracy.
const UNWRITTEN_MAX: usize = 100_000;

/// A session that is remembered.
pub(super) struct Live {
    pub(super) principal: Arc<Principal>,
    /// The answer of `GET /v1/me`.
    pub(super) me: Bytes,
    /// What else was made of the session and its account; see [`super::Service::kept`].
    /// Boxed, since of most sessions nothing else is.
    pub(super) kept: OnceLock<Box<Bytes>>,
    /// The account's version that this was made of.
    pub(super) version: i64,
    /// The session's epoch.
    pub(super) epoch: i64,
    pub(super) expires_at: Timestamp,
    pub(super) idle: Duration,
    seen: AtomicI64,
    /// The last time seen that the store knows of.
    written: AtomicI64,
    confirmed: AtomicI64,
    confirming: AtomicBool,
    /// It has ended, or its account has changed: ask the store.
    stale: AtomicBool,
}

impl Live {
    pub(super) fn new(
        principal: Principal,
        me: Bytes,
        (version, epoch): (i64, i64),
        (expires_at, idle): (Timestamp, Duration),
        last_seen: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            principal: Arc::new(principal),
            me,
            kept: OnceLock::new(),
            version,
            epoch,
            expires_at,
            idle,
            seen: AtomicI64::new(now.micros()),
            written: AtomicI64::new(last_seen.micros()),
            confirmed: AtomicI64::new(now.micros()),
            confirming: AtomicBool::new(false),
            stale: AtomicBool::new(false),
        }
    }

    /// Whether both were read of the same state of session and account.
    fn says_the_same_as(&self, other: &Self) -> bool {
        (self.version, self.epoch) == (other.version, other.epoch)
            && self.principal == other.principal
            && self.expires_at == other.expires_at
    }

    pub(super) fn seen(&self) -> Timestamp {
        Timestamp::from_micros(self.seen.load(Ordering::Relaxed))
    }

    /// Whether this can be believed now without asking the store.
    fn is_good(&self, now: Timestamp, board: &Board) -> bool {
        if self.stale.load(Ordering::Acquire)
            || self.expires_at <= now
            || now.since(self.seen()) > self.idle
        {
            return false;
        }
        let confirmed = Timestamp::from_micros(self.confirmed.load(Ordering::Acquire));
        match board.age(confirmed, now) {
            age if age < CONFIRM_EARLY => true,
            age if age < STALE_MAX => self.confirming.swap(true, Ordering::Relaxed),
            _ => false,
        }
    }

    /// For how long from `now` on this is no further behind the store than anybody may be.
    fn believable(&self, now: Timestamp, board: &Board) -> Duration {
        let confirmed = Timestamp::from_micros(self.confirmed.load(Ordering::Acquire));
        STALE_MAX.saturating_sub(board.age(confirmed, now))
    }

    fn confirm(&self, now: Timestamp) {
        self.confirmed.fetch_max(now.micros(), Ordering::AcqRel);
        self.confirming.store(false, Ordering::Relaxed);
        self.see(now);
    }

    fn see(&self, now: Timestamp) {
        // A plain store: of two requests at once, either's time will do.
        self.seen.store(now.micros(), Ordering::Relaxed);
    }

    /// The time to write, when it is worth it.
    fn unwritten(&self) -> Option<Timestamp> {
        let written = Timestamp::from_micros(self.written.load(Ordering::Relaxed));
        let seen = self.seen();
        (seen.since(written) >= SEEN_STEP).then_some(seen)
    }
}

/// One presentation of a session.
struct Slot {
    key: [u8; 32],
    live: Arc<Live>,
    /// When the presentation itself is over: an access token's `exp`.
    until: Timestamp,
    /// Whether it was asked for again since the hand came by. A new one has yet to be.
    used: AtomicBool,
}

/// Presentations, in places that a hand goes round over: CLOCK, the cheap kin of LRU.
#[derive(Default)]
struct Slots {
    index: HashMap<[u8; 32], usize>,
    slots: Vec<Slot>,
    hand: usize,
}

impl Slots {
    /// Puts a slot in, and hands back the one that had to give way.
    fn put(&mut self, slot: Slot, max: usize) -> Option<Slot> {
        if let Some(place) = self.index.get(&slot.key) {
            return Some(std::mem::replace(&mut self.slots[*place], slot));
        }
        if self.slots.len() < max {
            self.index.insert(slot.key, self.slots.len());
            self.slots.push(slot);
            return None;
        }
        while self.slots[self.hand].used.swap(false, Ordering::Relaxed) {
            self.hand = (self.hand + 1) % self.slots.len();
        }
        let place = self.hand;
        self.hand = (self.hand + 1) % self.slots.len();
        self.index.remove(&self.slots[place].key);
        self.index.insert(slot.key, place);
        Some(std::mem::replace(&mut self.slots[place], slot))
    }
}

/// What was forgotten before this was taken is known to whoever holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

/// The users of one shard of the fleet's notices.
#[derive(Default)]
struct OfUsers {
    lives: HashMap<Id<User>, Vec<Weak<Live>>>,
    /// The epoch in which something of this shard was last forgotten.
    forgotten: u64,
}

thread_local! {
    /// The session that a cache found last on this thread, behind the cache's number: the verb behind
    /// the edge, which often asks for the same one by its id, need not look for it again.
    static LAST: RefCell<Option<(u64, Weak<Live>)>> = const { RefCell::new(None) };
}

/// Numbers caches: a process may have several, of which each forgets for itself.
static CACHES: AtomicU64 = AtomicU64::new(0);

pub(super) struct Cache {
    number: u64,
    presented: Box<[RwLock<Slots>]>,
    of_user: Box<[Mutex<OfUsers>]>,
    /// Grows whenever something is forgotten.
    epoch: AtomicU64,
    shard_max: usize,
    board: Arc<Board>,
    /// Times seen of sessions that had to give way before they were written.
    unwritten: Mutex<HashMap<Id<Session>, Timestamp>>,
}

impl Cache {
    /// Remembers at most about `max` presentations, and follows the board.
    pub(super) fn new(max: usize, board: Arc<Board>) -> Arc<Self> {
        let cache = Arc::new(Self {
            number: CACHES.fetch_add(1, Ordering::Relaxed),
            presented: (0..SHARDS).map(|_| RwLock::default()).collect(),
            of_user: (0..fleet::SHARDS).map(|_| Mutex::default()).collect(),
            epoch: AtomicU64::new(0),
            shard_max: (max / SHARDS).max(1),
            board,
            unwritten: Mutex::default(),
        });
        cache.board.follow(&cache);
        cache
    }

    /// The session behind a presentation, when it can be believed now.
    pub(super) fn get(&self, key: &[u8; 32], now: Timestamp) -> Option<Arc<Live>> {
        let slots = self.presented[usize::from(key[0]) % SHARDS].read();
        let slot = &slots.slots[*slots.index.get(key)?];
        if slot.until <= now || !slot.live.is_good(now, &self.board) {
            return None;
        }
        // Read first: a line that many cores only read stays in all of their caches.
        if !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        slot.live.see(now);
        LAST.set(Some((self.number, Arc::downgrade(&slot.live))));
        Some(Arc::clone(&slot.live))
    }

    /// The session behind a presentation, and for how long from `now` on it may be believed without
    /// asking here.
    pub(super) fn believable(
        &self,
        key: &[u8; 32],
        now: Timestamp,
    ) -> Option<(Arc<Live>, Duration)> {
        let slots = self.presented[usize::from(key[0]) % SHARDS].read();
        let Slot { live, until, .. } = &slots.slots[*slots.index.get(key)?];
        let left = [*until, live.expires_at].into_iter().map(|end| end.since(now)).min()?;
        let long = live.believable(now, &self.board).min(left);
        // Whoever asks took note of what was told before the question: what is told from here on is
        // after it.
        let is_good = !live.stale.load(Ordering::Acquire);
        is_good.then(|| (Arc::clone(live), long))
    }

    /// The session that was found last on this thread, if it is this one.
    fn last(&self, user: Id<User>, session: Id<Session>) -> Option<Arc<Live>> {
        let live = LAST.with_borrow(|last| match last {
            Some((cache, live)) if *cache == self.number => live.upgrade(),
            _ => None,
        });
        live.filter(|live| (live.principal.user, live.principal.session) == (user, session))
    }

    /// A session by its id, when it can be believed now.
    pub(super) fn find(
        &self,
        user: Id<User>,
        session: Id<Session>,
        now: Timestamp,
    ) -> Option<Arc<Live>> {
        let live = self.peek(user, session)?;
        live.is_good(now, &self.board).then_some(live)
    }

    /// A session by its id, whatever may be thought of it.
    pub(super) fn peek(&self, user: Id<User>, session: Id<Session>) -> Option<Arc<Live>> {
        let is_fresh = |live: &Arc<Live>| !live.stale.load(Ordering::Acquire);
        if let Some(live) = self.last(user, session).filter(is_fresh) {
            return Some(live);
        }
        let of_user = self.of_user(user).lock();
        let mut lives = of_user.lives.get(&user)?.iter().filter_map(Weak::upgrade);
        lives.find(|live| live.principal.session == session && is_fresh(live))
    }

    /// Take this before reading what is to be remembered.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.epoch.load(Ordering::Acquire))
    }

    /// Remembers a session that was just read from the store, under a presentation of it.
    pub(super) fn remember(
        &self,
        ticket: Ticket,
        key: [u8; 32],
        until: Timestamp,
        read: Live,
        now: Timestamp,
    ) -> Arc<Live> {
        let read = Arc::new(read);
        match self.join(ticket, &read, now) {
            Some(live) => self.present(key, until, live, now),
            // Good for this once: the read was under way when something was forgotten.
            None => read,
        }
    }

    /// Enters a session that was read among those of its user, or confirms the one that is known.
    /// None when something was forgotten since the ticket was taken.
    fn join(&self, ticket: Ticket, read: &Arc<Live>, now: Timestamp) -> Option<Arc<Live>> {
        let user = read.principal.user;
        let mut of_user = self.of_user(user).lock();
        if of_user.forgotten > ticket.0 {
            return None;
        }
        let lives = of_user.lives.entry(user).or_default();
        lives.retain(|live| live.strong_count() > 0);
        let session = read.principal.session;
        let known = lives
            .iter()
            .filter_map(Weak::upgrade)
            .find(|live| live.principal.session == session && !live.stale.load(Ordering::Acquire));
        if let Some(known) = known {
            if known.says_the_same_as(read) {
                known.confirm(now);
                return Some(known);
            }
            known.stale.store(true, Ordering::Release);
        }
        lives.push(Arc::downgrade(read));
        Some(Arc::clone(read))
    }

    /// Remembers a presentation of a session. When the session was forgotten meanwhile it is
    /// marked as such, and the presentation leads to nothing.
    pub(super) fn present(
        &self,
        key: [u8; 32],
        until: Timestamp,
        live: Arc<Live>,
        now: Timestamp,
    ) -> Arc<Live> {
        live.see(now);
        let slot = Slot { key, live: Arc::clone(&live), until, used: AtomicBool::new(false) };
        let shard = &self.presented[usize::from(key[0]) % SHARDS];
        let gone = shard.write().put(slot, self.shard_max);
        if let Some(gone) = gone {
            self.let_go(gone.live);
        }
        live
    }

    fn forget_where(&self, user: Id<User>, matches: impl Fn(&Live) -> bool) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        let mut of_user = self.of_user(user).lock();
        of_user.forgotten = of_user.forgotten.max(epoch);
        let Some(lives) = of_user.lives.get_mut(&user) else { return };
        lives.retain(|live| match live.upgrade() {
            Some(live) if matches(&live) => {
                live.stale.store(true, Ordering::Release);
                false
            }
            Some(_) => true,
            None => false,
        });
        if lives.is_empty() {
            of_user.lives.remove(&user);
        }
    }

    /// After a presentation has given way: keeps the time seen, and forgets the session when this
    /// was its last presentation.
    fn let_go(&self, live: Arc<Live>) {
        let user = live.principal.user;
        if let Some(seen) = live.unwritten() {
            let mut unwritten = self.unwritten.lock();
            if unwritten.len() < UNWRITTEN_MAX {
                unwritten.insert(live.principal.session, seen);
            }
        }
        drop(live);
        let mut of_user = self.of_user(user).lock();
        if let Some(lives) = of_user.lives.get_mut(&user) {
            lives.retain(|live| live.strong_count() > 0);
            if lives.is_empty() {
                of_user.lives.remove(&user);
            }
        }
    }

    /// How many presentations are remembered. What was refused is not among them.
    pub(super) fn presentations(&self) -> usize {
        self.presented.iter().map(|shard| shard.read().slots.len()).sum()
    }

    /// The times seen that the store does not know yet.
    pub(super) fn take_unwritten(&self) -> Vec<(Id<Session>, Timestamp)> {
        let mut times = std::mem::take(&mut *self.unwritten.lock());
        for shard in &self.of_user {
            for live in shard.lock().lives.values().flatten().filter_map(Weak::upgrade) {
                if live.stale.load(Ordering::Acquire) {
                    continue;
                }
                if let Some(seen) = live.unwritten() {
                    live.written.store(seen.micros(), Ordering::Relaxed);
                    times.insert(live.principal.session, seen);
                }
            }
        }
        times.into_iter().collect()
    }

    fn of_user(&self, user: Id<User>) -> &Mutex<OfUsers> {
        &self.of_user[Notice::shard_of(user.uuid())]
    }
}

impl Follower for Cache {
    /// Nobody who asks from now on is told of the session, or of any of the user's.
    fn forget(&self, notice: &Notice) {
        let user = Id::from_uuid(notice.about);
        match notice.part.map(Id::<Session>::from_uuid) {
            Some(session) => self.forget_where(user, |live| live.principal.session == session),
            None => self.forget_where(user, |_| true),
        }
    }

    fn forget_shard(&self, shard: usize) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        let mut of_users = self.of_user[shard].lock();
        of_users.forgotten = of_users.forgotten.max(epoch);
        for live in of_users.lives.drain().flat_map(|(_, lives)| lives) {
            if let Some(live) = live.upgrade() {
                live.stale.store(true, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::Role;
    use platform::testing::ManualClock;

    use super::*;

    const NOW: Timestamp = ManualClock::START;
    const HOUR: Duration = Duration::from_secs(3600);

    fn live(user: u128, session: u128, version: i64) -> Live {
        let id = uuid::Uuid::from_u128;
        let (user, session) = (Id::from_uuid(id(user)), Id::from_uuid(id(session)));
        let principal = Principal::new(user, Role::User, session);
        Live::new(principal, Bytes::new(), (version, 0), (NOW + HOUR * 2, HOUR), NOW, NOW)
    }

    fn key(number: u32) -> [u8; 32] {
        platform::crypto::sha256(number.to_be_bytes())
    }

    fn alone(max: usize) -> Arc<Cache> {
        Cache::new(max, Arc::new(Board::new(false)))
    }

    fn one(user: u128, session: u128) -> Notice {
        Notice::part_of(uuid::Uuid::from_u128(user), uuid::Uuid::from_u128(session))
    }

    fn all(user: u128) -> Notice {
        Notice::all_of(uuid::Uuid::from_u128(user))
    }

    #[test]
    fn what_was_forgotten_during_the_read_is_not_remembered() {
        let cache = alone(100);
        let ticket = cache.ticket();
        cache.forget(&one(1, 1));
        cache.remember(ticket, key(1), NOW + HOUR, live(1, 1, 1), NOW);
        assert!(cache.get(&key(1), NOW).is_none());
        cache.remember(cache.ticket(), key(1), NOW + HOUR, live(1, 1, 1), NOW);
        assert!(cache.get(&key(1), NOW).is_some());
    }

    #[test]
    fn a_session_is_forgotten_under_all_of_its_presentations() {
        let cache = alone(100);
        for number in 0..3 {
            cache.remember(cache.ticket(), key(number), NOW + HOUR, live(1, 1, 1), NOW);
        }
        cache.remember(cache.ticket(), key(9), NOW + HOUR, live(1, 2, 1), NOW);
        cache.forget(&one(1, 1));
        assert!((0..3).all(|number| cache.get(&key(number), NOW).is_none()));
        assert!(cache.get(&key(9), NOW).is_some());
        cache.forget(&all(1));
        assert!(cache.get(&key(9), NOW).is_none());
    }

    #[test]
    fn what_was_found_last_is_its_cache_s_own_and_its_user_s_and_goes_when_it_is_forgotten() {
        let [cache, other] = [alone(100), alone(100)];
        let [user, stranger] = [1, 2].map(|user| live(user, 1, 1).principal.user);
        let session = live(1, 1, 1).principal.session;
        other.remember(other.ticket(), key(1), NOW + HOUR, live(1, 1, 2), NOW);
        cache.remember(cache.ticket(), key(1), NOW + HOUR, live(1, 1, 1), NOW);
        assert!(cache.get(&key(1), NOW).is_some());
        assert_eq!(cache.peek(user, session).unwrap().version, 1);
        assert_eq!(other.peek(user, session).unwrap().version, 2);
        assert!(cache.peek(stranger, session).is_none());
        cache.forget(&one(1, 1));
        assert!(cache.peek(user, session).is_none());
    }

    #[test]
    fn a_shard_is_forgotten_whole_and_alone() {
        let cache = alone(100);
        let neighbour = 1 + fleet::SHARDS as u128;
        let ticket = cache.ticket();
        for (number, user) in [(1, 1), (2, neighbour), (3, 2)] {
            cache.remember(ticket, key(number), NOW + HOUR, live(user, user, 1), NOW);
        }
        cache.forget_shard(1);
        let is_known = |number| cache.get(&key(number), NOW).is_some();
        assert_eq!([1, 2, 3].map(is_known), [false, false, true]);
        // Reads that were under way: of this shard they may be old, of others they are not.
        cache.remember(ticket, key(1), NOW + HOUR, live(1, 1, 1), NOW);
        cache.remember(ticket, key(4), NOW + HOUR, live(2, 9, 1), NOW);
        assert!(cache.get(&key(1), NOW).is_none() && cache.get(&key(4), NOW).is_some());
    }

    #[test]
    fn a_changed_account_replaces_what_was_known() {
        let cache = alone(100);
        cache.remember(cache.ticket(), key(1), NOW + HOUR, live(1, 1, 1), NOW);
        cache.remember(cache.ticket(), key(2), NOW + HOUR, live(1, 1, 2), NOW);
        assert!(cache.get(&key(1), NOW).is_none());
        assert_eq!(cache.get(&key(2), NOW).unwrap().version, 2);
    }

    #[test]
    fn a_renewed_session_replaces_what_was_known() {
        let cache = alone(100);
        cache.remember(cache.ticket(), key(1), NOW + HOUR, live(1, 1, 1), NOW);
        // Read by another presentation, as it stands since another replica has renewed it.
        let renewed = Live { epoch: 1, ..live(1, 1, 1) };
        cache.remember(cache.ticket(), key(2), NOW + HOUR, renewed, NOW);
        assert!(cache.get(&key(1), NOW).is_none());
        assert_eq!(cache.get(&key(2), NOW).unwrap().epoch, 1);
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let cache = alone(SHARDS * 10);
        cache.remember(cache.ticket(), key(0), NOW + HOUR, live(7, 7, 1), NOW);
        for number in 1..5_000 {
            let live = live(number.into(), number.into(), 1);
            cache.remember(cache.ticket(), key(number), NOW + HOUR, live, NOW);
            assert!(cache.get(&key(0), NOW).is_some(), "{number}");
        }
        let presented = cache.presentations();
        let users: usize = cache.of_user.iter().map(|shard| shard.lock().lives.len()).sum();
        assert!(presented <= SHARDS * 10 && users <= presented, "{presented} {users}");
    }

    #[test]
    fn what_is_over_is_not_believed() {
        let cache = alone(100);
        let remember = || {
            cache.forget(&all(1));
            cache.remember(cache.ticket(), key(1), NOW + HOUR / 2, live(1, 1, 1), NOW);
        };
        remember();
        assert!(cache.get(&key(1), NOW + HOUR / 2).is_none(), "the presentation is over");
        let mut now = NOW;
        cache.remember(cache.ticket(), key(2), NOW + HOUR * 9, live(1, 1, 1), NOW);
        assert!(cache.get(&key(2), NOW + HOUR + Duration::from_secs(1)).is_none(), "idle");
        for _ in 0..3 {
            assert!(cache.get(&key(2), now).is_some());
            now = now + HOUR / 2;
        }
        assert!(cache.get(&key(2), NOW + HOUR * 2).is_none(), "too old");
    }
}
