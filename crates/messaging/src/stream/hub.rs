//! The seats of this process: who listens, to what, and who is rung.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kernel::id::kinds::{Session, User};
use kernel::{Error, Id, Kind, Principal, Result};
use parking_lot::Mutex;
use platform::db::Db;
use platform::fleet::{Follower, Notice};
use platform::journal;
use rpc::users::Users;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::feed::Feed;
use super::model::{End, Signal, Source, Thing, Topic};
use crate::notification;

/// How many streams there may be, and how they are kept.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Of one user, in this process.
    pub per_user: usize,
    /// Of all users, in this process.
    pub all: usize,
    /// Things that wait for one reader.
    pub waiting_max: usize,
    /// How often something is sent where nothing happens, so that nobody on the way takes the
    /// connection for dead.
    pub heartbeat: Duration,
    /// How often a session is looked at where nobody says that it has changed: it may be over.
    pub look: Duration,
    /// How long a client may take over reading one thing.
    pub unread: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            per_user: 20,
            all: 10_000,
            waiting_max: 256,
            heartbeat: Duration::from_secs(15),
            look: Duration::from_secs(60),
            unread: Duration::from_secs(30),
        }
    }
}

/// Things read from the store at once, for a stream that has something to catch up on.
pub(super) const PAGE: usize = 100;
/// After how many seconds to come back to a process that stops, or has no room.
const COME_BACK: u32 = 2;

/// All streams of one process.
pub struct Hub {
    pub(super) db: Db,
    pub(super) users: Arc<dyn Users>,
    pub(super) policy: Policy,
    pub(super) seats: Mutex<Seats>,
    /// Rung when somebody has come, or there is something new.
    pub(super) come: Notify,
    /// Rung when somebody has left.
    pub(super) left: Notify,
}

/// Who listens.
#[derive(Default)]
pub(super) struct Seats {
    of_user: HashMap<Id<User>, Vec<Arc<Seat>>>,
    /// Those, of them, who listen to all of support's conversations.
    pub(super) support: Vec<Arc<Seat>>,
    pub(super) open: usize,
    /// Of each source.
    listeners: [usize; Source::ALL.len()],
    /// How far each source has been handed out; nothing while nobody listens to it.
    pub(super) at: [Option<i64>; Source::ALL.len()],
    closed: bool,
}

impl Seats {
    /// Who listens of a user.
    pub(super) fn of(&self, user: Id<User>) -> &[Arc<Seat>] {
        self.of_user.get(&user).map_or(&[], Vec::as_slice)
    }
}

/// Where one stream waits for what it is to tell.
pub(super) struct Seat {
    pub(super) user: Id<User>,
    pub(super) session: Id<Session>,
    pub(super) topic: Topic,
    queue: Mutex<Queue>,
    pub(super) bell: Notify,
    /// How often it was asked to look at its session.
    looks: AtomicU64,
    /// Since when its client has something to read, and does not ask for more.
    handed_at: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Queue {
    things: VecDeque<Thing>,
    end: Option<End>,
}

impl Seat {
    fn new(principal: &Principal, topic: Topic) -> Arc<Self> {
        Arc::new(Self {
            user: principal.user,
            session: principal.session,
            topic,
            queue: Mutex::default(),
            bell: Notify::new(),
            // Once at the beginning: it may have ended while the seat was taken.
            looks: AtomicU64::new(1),
            // Its client may never read anything.
            handed_at: Mutex::new(Some(Instant::now())),
        })
    }

    /// Its client has been handed something, or asks for more.
    pub(super) fn handed(&self, at: Option<Instant>) {
        *self.handed_at.lock() = at;
    }

    /// Hands something over. Where too much waits already, it ends the stream instead.
    pub(super) fn push(&self, thing: Thing, waiting_max: usize) {
        let mut queue = self.queue.lock();
        if queue.end.is_some() {
            return;
        }
        if queue.things.len() < waiting_max {
            queue.things.push_back(thing);
        } else {
            *queue = Queue { things: VecDeque::new(), end: Some(End::SlowReader) };
        }
        drop(queue);
        self.bell.notify_one();
    }

    /// Hands something over that may as well be lost.
    fn push_if_idle(&self, thing: Thing, waiting_max: usize) {
        if self.queue.lock().things.len() < waiting_max / 2 {
            self.push(thing, waiting_max);
        }
    }

    pub(super) fn pop(&self) -> Option<Thing> {
        self.queue.lock().things.pop_front()
    }

    /// Ends the stream; the first reason stands.
    pub(super) fn end(&self, end: End) {
        let mut queue = self.queue.lock();
        queue.things = VecDeque::new();
        queue.end.get_or_insert(end);
        drop(queue);
        self.bell.notify_one();
    }

    pub(super) fn ended(&self) -> Option<End> {
        self.queue.lock().end
    }

    pub(super) fn look(&self) {
        self.looks.fetch_add(1, Ordering::AcqRel);
        self.bell.notify_one();
    }

    pub(super) fn looks(&self) -> u64 {
        self.looks.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().things.len()
    }
}

impl Hub {
    /// Hears from now on of sessions that end.
    pub fn new(db: Db, users: Arc<dyn Users>, policy: Policy) -> Arc<Self> {
        let hub = Arc::new(Self {
            db,
            users,
            policy,
            seats: Mutex::default(),
            come: Notify::new(),
            left: Notify::new(),
        });
        hub.db.board().follow(&hub);
        hub
    }

    /// Opens a stream that tells everything behind `after`, or from now on. A cursor beyond the
    /// end of the journal counts as its end.
    ///
    /// # Errors
    /// `Limited` `too_many_streams` of one user; `Unavailable` `too_many_streams` of all,
    /// `stopping`.
    pub async fn open(
        self: &Arc<Self>,
        principal: &Principal,
        topic: Topic,
        after: Option<i64>,
    ) -> Result<Feed> {
        let seat = self.take_seat(principal, topic)?;
        // From here on dropping the feed gives the seat back.
        let mut feed = Feed::new(Arc::clone(self), seat);
        let head = self.head(topic.source()).await?;
        let upto = self.listen_from(topic.source(), head);
        feed.begin(after.map_or(upto, |after| after.min(upto)), upto);
        self.come.notify_one();
        Ok(feed)
    }

    fn take_seat(&self, principal: &Principal, topic: Topic) -> Result<Arc<Seat>> {
        let mut seats = self.seats.lock();
        let refused = |why: &'static str| {
            metrics::counter!("streams_refused_total", "why" => why).increment(1);
        };
        if seats.closed {
            refused("stopping");
            let message = "This server stops. Come back in a moment.";
            return Err(Error::unavailable("stopping", message).retry_after(COME_BACK));
        }
        if seats.open >= self.policy.all {
            refused("all");
            let message = "Too many streams are open. Come back in a moment.";
            return Err(Error::unavailable("too_many_streams", message).retry_after(COME_BACK));
        }
        let own = seats.of_user.entry(principal.user).or_default();
        if own.len() >= self.policy.per_user {
            refused("user");
            let message = "You have too many streams open. Close one, and try again.";
            let error = Error::new(Kind::Limited, "too_many_streams", message);
            return Err(error.retry_after(COME_BACK));
        }
        let seat = Seat::new(principal, topic);
        own.push(Arc::clone(&seat));
        if topic == (Topic::Chat { support: true }) {
            seats.support.push(Arc::clone(&seat));
        }
        seats.open += 1;
        seats.listeners[topic.source() as usize] += 1;
        metrics::gauge!("streams_open", "topic" => topic.as_str()).increment(1.0);
        Ok(seat)
    }

    /// From where on a seat that was taken before `head` was read is handed everything.
    fn listen_from(&self, source: Source, head: i64) -> i64 {
        let at = &mut self.seats.lock().at[source as usize];
        (*at.get_or_insert(head)).max(head)
    }

    pub(super) fn leave(&self, seat: &Arc<Seat>) {
        let mut seats = self.seats.lock();
        let Some(own) = seats.of_user.get_mut(&seat.user) else { return };
        let taken = own.len();
        own.retain(|other| !Arc::ptr_eq(other, seat));
        if own.len() == taken {
            // It was taken away before.
            return;
        }
        if own.is_empty() {
            seats.of_user.remove(&seat.user);
        }
        seats.support.retain(|other| !Arc::ptr_eq(other, seat));
        seats.open -= 1;
        let source = seat.topic.source() as usize;
        seats.listeners[source] -= 1;
        if seats.listeners[source] == 0 {
            seats.at[source] = None;
        }
        drop(seats);
        metrics::gauge!("streams_open", "topic" => seat.topic.as_str()).decrement(1.0);
        self.left.notify_waiters();
    }

    /// Ends the streams of those who have stopped reading, and gives their seats to others: while a
    /// client does not read, nobody asks its stream to go on, and so it would never end by itself.
    pub(super) fn end_unread(&self, now: Instant) {
        let is_unread = |seat: &&Arc<Seat>| {
            let handed_at = *seat.handed_at.lock();
            handed_at.is_some_and(|at| now.duration_since(at) >= self.policy.unread)
        };
        let seats = self.seats.lock();
        let unread: Vec<_> =
            seats.of_user.values().flatten().filter(is_unread).map(Arc::clone).collect();
        drop(seats);
        for seat in unread {
            seat.end(End::SlowReader);
            self.leave(&seat);
        }
    }

    /// How many have something to read.
    #[cfg(test)]
    pub(super) fn unread(&self) -> usize {
        let seats = self.seats.lock();
        seats.of_user.values().flatten().filter(|seat| seat.handed_at.lock().is_some()).count()
    }

    /// Says to those who listen to a user's conversations what is so at this moment. Who has much
    /// to read already is spared.
    pub fn signal(&self, user: Id<User>, signal: Signal) {
        let seats = self.seats.lock();
        let listening =
            seats.of(user).iter().filter(|seat| matches!(seat.topic, Topic::Chat { .. }));
        listening
            .for_each(|seat| seat.push_if_idle(Thing::Signal(signal), self.policy.waiting_max));
    }

    /// Whether somebody listens, in this process, to their conversations.
    pub fn is_online(&self, user: Id<User>) -> bool {
        let seats = self.seats.lock();
        seats.of(user).iter().any(|seat| matches!(seat.topic, Topic::Chat { .. }))
    }

    /// Those who listen, in this process, to their conversations.
    pub fn chatting(&self) -> Vec<Id<User>> {
        let seats = self.seats.lock();
        let listens =
            |seat: &Arc<Seat>| matches!(seat.topic, Topic::Chat { .. }).then_some(seat.user);
        seats.of_user.values().filter_map(|own| own.iter().find_map(listens)).collect()
    }

    /// Whether there are any.
    pub fn is_anybody_chatting(&self) -> bool {
        let seats = self.seats.lock();
        seats.of_user.values().flatten().any(|seat| matches!(seat.topic, Topic::Chat { .. }))
    }

    /// There is something to be handed out.
    pub(crate) fn ring(&self) {
        self.come.notify_one();
    }

    /// How many streams are open.
    pub fn open_streams(&self) -> usize {
        self.seats.lock().open
    }

    /// Ends all streams, and lets no new ones in.
    pub fn close(&self) {
        let mut seats = self.seats.lock();
        seats.closed = true;
        seats.of_user.values().flatten().for_each(|seat| seat.end(End::Shutdown));
    }

    pub(super) async fn head(&self, source: Source) -> Result<i64> {
        match source {
            Source::Facts => journal::head(&self.db).await,
            Source::Notifications => notification::head(&self.db).await,
        }
    }

    /// What one user is told between two places: the next things, in order, at most [`PAGE`].
    pub(super) async fn page(
        &self,
        user: Id<User>,
        source: Source,
        between: (i64, i64),
        limit: usize,
    ) -> Result<VecDeque<Thing>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(match source {
            Source::Facts => {
                let facts = journal::of_party_between(&self.db, user, between, limit).await?;
                facts.into_iter().map(|fact| Thing::Fact(Arc::new(fact))).collect()
            }
            Source::Notifications => {
                let told = notification::of_user_between(&self.db, user, between, limit).await?;
                told.into_iter().map(|(seq, it)| Thing::Notification(seq, Arc::new(it))).collect()
            }
        })
    }
}

impl Follower for Hub {
    fn forget(&self, notice: &Notice) {
        let seats = self.seats.lock();
        let concerned =
            |seat: &&Arc<Seat>| notice.part.is_none_or(|session| session == seat.session.uuid());
        let own = seats.of(Id::from_uuid(notice.about));
        own.iter().filter(concerned).for_each(|seat| seat.look());
    }

    fn forget_shard(&self, shard: usize) {
        let seats = self.seats.lock();
        let concerned =
            seats.of_user.iter().filter(|(user, _)| Notice::shard_of(user.uuid()) == shard);
        concerned.flat_map(|(_, own)| own).for_each(|seat| seat.look());
    }
}
