//! What the user service has answered and may be believed for a moment.
//!
//! It says itself for how long: until what it knows would be [`STALE_MAX`] old, so that this end is
//! no further behind the store than any process may be. Nothing prolongs it. What is told of a user
//! ends it for all users of the same shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kernel::{Principal, Timestamp};
use parking_lot::RwLock;
use platform::crypto::sha256;
use platform::fleet::{Follower, Notice, SHARDS, STALE_MAX};

/// Into how many parts the answers are divided, each behind a lock of its own.
const PARTS: usize = 16;
/// Answers in one part: what is remembered beyond them is not worth its memory.
const PART_MAX: usize = 4096;

type Key = [u8; 32];

struct Slot {
    principal: Arc<Principal>,
    asked: Ticket,
    until: Timestamp,
}

/// When a question was asked, counted in what had been told before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

pub(super) struct Memory {
    parts: Box<[RwLock<HashMap<Key, Slot>>]>,
    /// How often something was told.
    told: AtomicU64,
    /// How often something had been told when this shard was last told of.
    of_shard: Box<[AtomicU64]>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| RwLock::default()).collect(),
            told: AtomicU64::new(0),
            of_shard: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Take this before asking what is to be remembered.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.told.load(Ordering::Acquire))
    }

    /// Whoever a text was answered for, where that can be believed now.
    pub(super) fn get(&self, presented: &str, now: Timestamp) -> Option<Arc<Principal>> {
        let key = sha256(presented);
        let part = self.part(&key).read();
        let slot = part.get(&key)?;
        // A clock that was set back shows nothing.
        let is_good = now < slot.until && slot.until <= now + STALE_MAX && self.is_untold(slot);
        is_good.then(|| Arc::clone(&slot.principal))
    }

    /// Remembers an answer to what was asked with a ticket, at a time.
    pub(super) fn remember(
        &self,
        presented: &str,
        principal: &Arc<Principal>,
        (asked, at): (Ticket, Timestamp),
        long: Duration,
    ) {
        if long.is_zero() {
            return;
        }
        let key = sha256(presented);
        let slot =
            Slot { principal: Arc::clone(principal), asked, until: at + long.min(STALE_MAX) };
        let mut part = self.part(&key).write();
        if part.len() >= PART_MAX && !part.contains_key(&key) {
            part.retain(|_, slot| at < slot.until && self.is_untold(slot));
            if part.len() >= PART_MAX {
                part.clear();
            }
        }
        part.insert(key, slot);
    }

    fn is_untold(&self, slot: &Slot) -> bool {
        let shard = Notice::shard_of(slot.principal.user.uuid());
        self.of_shard[shard].load(Ordering::Acquire) <= slot.asked.0
    }

    fn part(&self, key: &Key) -> &RwLock<HashMap<Key, Slot>> {
        &self.parts[usize::from(key[0]) % PARTS]
    }
}

impl Follower for Memory {
    fn forget(&self, notice: &Notice) {
        self.forget_shard(Notice::shard_of(notice.about));
    }

    fn forget_shard(&self, shard: usize) {
        let told = self.told.fetch_add(1, Ordering::AcqRel) + 1;
        self.of_shard[shard].fetch_max(told, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use kernel::{Id, Role};
    use platform::testing::ManualClock;
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = ManualClock::START;
    const LONG: Duration = Duration::from_millis(600);

    fn principal(user: u128) -> Arc<Principal> {
        let id = Uuid::from_u128(user);
        Arc::new(Principal::new(Id::from_uuid(id), Role::User, Id::from_uuid(id)))
    }

    #[test]
    fn what_was_answered_is_believed_for_as_long_as_was_said() {
        let memory = Memory::new();
        let asked = (memory.ticket(), NOW);
        memory.remember("a", &principal(1), asked, LONG);
        memory.remember("b", &principal(1), asked, Duration::ZERO);
        memory.remember("c", &principal(1), asked, Duration::from_secs(60));
        assert_eq!(memory.get("a", NOW).unwrap(), principal(1));
        assert!(memory.get("a", NOW + LONG).is_none());
        assert!(memory.get("b", NOW).is_none());
        assert!(memory.get("c", NOW + STALE_MAX / 2).is_some());
        assert!(memory.get("c", NOW + STALE_MAX).is_none(), "no longer than anybody believes");
        let before = Timestamp::from_micros(NOW.micros() - 5_000_000);
        assert!(memory.get("a", before).is_none(), "the clock was set back");
    }

    #[test]
    fn what_is_told_of_a_user_ends_it_also_while_the_answer_was_on_its_way() {
        let memory = Memory::new();
        let (asked, other) = ((memory.ticket(), NOW), 2);
        memory.remember("a", &principal(1), asked, LONG);
        memory.remember("b", &principal(other), asked, LONG);
        memory.forget(&Notice::part_of(Uuid::from_u128(1), Uuid::nil()));
        assert!(memory.get("a", NOW).is_none() && memory.get("b", NOW).is_some());
        memory.remember("a", &principal(1), asked, LONG);
        assert!(memory.get("a", NOW).is_none(), "asked before it was told");
        memory.remember("a", &principal(1), (memory.ticket(), NOW), LONG);
        assert!(memory.get("a", NOW).is_some());
        memory.forget_shard(1);
        assert!(memory.get("a", NOW).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let memory = Memory::new();
        for number in 0..(2 * PARTS * PART_MAX) {
            let asked = (memory.ticket(), NOW);
            memory.remember(&number.to_string(), &principal(1), asked, LONG);
        }
        assert!(memory.parts.iter().all(|part| part.read().len() <= PART_MAX));
    }
}
