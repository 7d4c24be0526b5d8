//! Keys as this process remembers them.
//!
//! As with sessions: what was read from the store is believed for as long as the [`Board`] says,
//! and what the board tells of an organization is forgotten. A fill that began before something was
//! forgotten is not remembered, so that the order "read, revoke, remember" brings nothing back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use kernel::{Principal, Timestamp};
use parking_lot::RwLock;
use platform::fleet::{Board, Follower, Notice};
use platform::network::Network;
use uuid::Uuid;

use super::model::ApiKey;

/// Keys that are remembered at once; beyond them all are read anew.
const KEYS_MAX: usize = 10_000;
/// How much later than written a key must have been used for it to be written again.
const USED_STEP: Duration = Duration::from_secs(60);

/// A key that is remembered.
pub(super) struct Live {
    pub(super) principal: Arc<Principal>,
    pub(super) expires_at: Option<Timestamp>,
    /// From where it may be used; none is from everywhere.
    allowed: Vec<Network>,
    read_at: Timestamp,
    /// The last use that the store knows of, in microseconds.
    written: AtomicI64,
}

impl Live {
    pub(super) fn new(principal: Principal, key: &ApiKey, now: Timestamp) -> Self {
        let written = key.last_used_at.map_or(i64::MIN, Timestamp::micros);
        Self {
            principal: Arc::new(principal),
            expires_at: key.expires_at,
            allowed: key.allowed.clone(),
            read_at: now,
            written: AtomicI64::new(written),
        }
    }

    /// Whether it may be used from there.
    pub(super) fn is_for(&self, from: IpAddr) -> bool {
        self.allowed.is_empty() || self.allowed.iter().any(|network| network.contains(from))
    }

    /// Whether a use at `now` is to be written. Of those who ask at once, one is told so.
    pub(super) fn is_to_be_written(&self, now: Timestamp) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        let due = written == i64::MIN || now.since(Timestamp::from_micros(written)) >= USED_STEP;
        let taken = |written| {
            let (now, relaxed) = (now.micros(), Ordering::Relaxed);
            self.written.compare_exchange(written, now, relaxed, relaxed).is_ok()
        };
        due && taken(written)
    }
}

/// What was forgotten before this was taken is known to whoever holds it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket(u64);

#[derive(Default)]
struct Kept {
    by_hash: HashMap<[u8; 32], Arc<Live>>,
    of_organization: HashMap<Uuid, Vec<[u8; 32]>>,
}

pub(super) struct Cache {
    kept: RwLock<Kept>,
    /// Grows whenever something about an organization is told.
    epoch: AtomicU64,
    board: Arc<Board>,
}

impl Cache {
    pub(super) fn new(board: Arc<Board>) -> Arc<Self> {
        let cache = Arc::new(Self { kept: RwLock::default(), epoch: AtomicU64::new(0), board });
        cache.board.follow(&cache);
        cache
    }

    pub(super) fn get(&self, hash: &[u8; 32], now: Timestamp) -> Option<Arc<Live>> {
        let live = Arc::clone(self.kept.read().by_hash.get(hash)?);
        let is_good =
            self.board.believes(live.read_at, now) && live.expires_at.is_none_or(|end| now < end);
        is_good.then_some(live)
    }

    /// Take this before reading what is to be remembered.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.epoch.load(Ordering::Acquire))
    }

    pub(super) fn remember(&self, ticket: Ticket, hash: [u8; 32], live: &Arc<Live>) {
        let mut kept = self.kept.write();
        if self.epoch.load(Ordering::Acquire) != ticket.0 {
            return;
        }
        if kept.by_hash.len() >= KEYS_MAX {
            *kept = Kept::default();
        }
        let organization = live.principal.user.uuid();
        if kept.by_hash.insert(hash, Arc::clone(live)).is_none() {
            kept.of_organization.entry(organization).or_default().push(hash);
        }
    }

    fn forget_where(&self, matches: impl Fn(&Uuid) -> bool) {
        // Told of every user whose sessions change; hardly any is an organization with keys.
        if !self.kept.read().of_organization.keys().any(&matches) {
            return;
        }
        let mut kept = self.kept.write();
        let Kept { by_hash, of_organization } = &mut *kept;
        of_organization.retain(|organization, hashes| {
            let goes = matches(organization);
            if goes {
                hashes.iter().for_each(|hash| drop(by_hash.remove(hash)));
            }
            !goes
        });
    }
}

impl Follower for Cache {
    /// All keys of whom it is about: an account's notice ends what it may do, a key's names it.
    fn forget(&self, notice: &Notice) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let about = &notice.about;
        if self.kept.read().of_organization.contains_key(about) {
            self.forget_where(|organization| organization == about);
        }
    }

    fn forget_shard(&self, shard: usize) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.forget_where(|organization| Notice::shard_of(*organization) == shard);
    }
}
