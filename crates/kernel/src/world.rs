//! Time and chance, handed in: whoever decides something receives the world it decides in.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use uuid::Uuid;

use crate::{Id, Timestamp};

/// Tells the time. A verb reads it once and uses that one instant throughout.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// A source of chance fit for keys and tokens.
pub trait Random: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}

/// The clock, the random source and the ids made of both. Cheap to clone.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// The last id's time in quarters of a microsecond: ids of one process only ever grow.
    last: Arc<AtomicI64>,
}

impl World {
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random, last: Arc::new(AtomicI64::new(0)) }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    /// A new UUIDv7 id. Of two ids made in one process the later one is the greater, also within
    /// a microsecond: RFC 9562 section 6.2, method 3, with the fraction of the millisecond in
    /// `rand_a` and the clock never running backwards.
    pub fn id<K>(&self) -> Id<K> {
        let wanted = self.now().micros().saturating_mul(4);
        let previous = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(wanted.max(last.saturating_add(1)))
            })
            .unwrap_or_default();
        let tick = wanted.max(previous.saturating_add(1));
        let millis = tick.div_euclid(4000);
        let fraction = tick.rem_euclid(4000);

        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..8].copy_from_slice(&(fraction as u16 | 0x7000).to_be_bytes());
        self.random.fill(&mut bytes[8..]);
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Id::from_uuid(Uuid::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::kinds::User;

    struct Still;
    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(1_795_328_715_500_999)
        }
    }
    struct Zeros;
    impl Random for Zeros {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    #[test]
    fn ids_grow_although_the_clock_stands_still() {
        let world = World::new(Arc::new(Still), Arc::new(Zeros));
        let ids: Vec<Id<User>> = (0..10_000).map(|_| world.id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn an_id_is_a_version_7_uuid_of_its_millisecond() {
        let world = World::new(Arc::new(Still), Arc::new(Zeros));
        let uuid = world.id::<User>().uuid();
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(uuid.as_u128() >> 80, 1_795_328_715_500);
    }
}
