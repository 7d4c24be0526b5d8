//! What Kratos has answered lately, and which questions to it are under way.
//!
//! Two memories, both bounded: of credentials that lead to a session, and of those that do not.
//! They are apart so that whoever makes credentials up pushes out nobody's session. What leads to
//! a session is kept beyond its time, so that a session of which Kratos one day says that it is
//! over is known here by name.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use kernel::{Error, Result, Timestamp};
use parking_lot::Mutex;

use super::model::Admitted;

/// Refused credentials that are remembered.
const REFUSED_MAX: usize = 10_000;

/// The hash of what was presented.
pub(super) type Key = [u8; 32];

/// A question to Kratos that several wait for.
type Flight = Shared<BoxFuture<'static, Result<Admitted>>>;

pub(super) struct Answers {
    admitted: Mutex<Bounded<Admitted>>,
    refused: Mutex<Bounded<Error>>,
    flights: Mutex<HashMap<Key, WeakShared<BoxFuture<'static, Result<Admitted>>>>>,
}

impl Answers {
    pub(super) fn new(admitted_max: usize) -> Self {
        Self {
            admitted: Mutex::new(Bounded::new(admitted_max)),
            refused: Mutex::new(Bounded::new(REFUSED_MAX)),
            flights: Mutex::default(),
        }
    }

    /// The answer and until when it holds, when it still does.
    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Option<Result<(Admitted, Timestamp)>> {
        if let Some((admitted, until)) = self.admitted.lock().get(key)
            && *until > now
        {
            return Some(Ok((*admitted, *until)));
        }
        let refused = self.refused.lock();
        let (error, _) = refused.get(key).filter(|(_, until)| *until > now)?;
        Some(Err(error.clone()))
    }

    /// Where the credential led to when Kratos last believed it.
    pub(super) fn known(&self, key: &Key) -> Option<Admitted> {
        self.admitted.lock().get(key).map(|(admitted, _)| *admitted)
    }

    pub(super) fn admit(&self, key: Key, admitted: Admitted, until: Timestamp) {
        self.refused.lock().forget(&key);
        self.admitted.lock().put(key, admitted, until);
    }

    pub(super) fn refuse(&self, key: Key, error: Error, until: Timestamp) {
        self.admitted.lock().forget(&key);
        self.refused.lock().put(key, error, until);
    }

    /// Asks once for all who ask at the same time. A question that everybody has stopped waiting
    /// for is given up.
    pub(super) async fn once(
        self: &Arc<Self>,
        key: Key,
        ask: impl FnOnce() -> BoxFuture<'static, Result<Admitted>>,
    ) -> Result<Admitted> {
        let flight: Flight = {
            let mut flights = self.flights.lock();
            match flights.get(&key).and_then(WeakShared::upgrade) {
                Some(flight) => flight,
                None => {
                    let landing = Landing { answers: Arc::clone(self), key };
                    let asked = ask();
                    let flight = async move {
                        let _landing = landing;
                        asked.await
                    };
                    let flight = flight.boxed().shared();
                    flight.downgrade().and_then(|weak| flights.insert(key, weak));
                    flight
                }
            }
        };
        flight.await
    }

    /// How much is kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize, usize) {
        let refused = self.refused.lock();
        assert!(refused.order.len() <= REFUSED_MAX);
        (self.admitted.lock().entries.len(), refused.entries.len(), self.flights.lock().len())
    }
}

/// Takes a question off the list when it is over, however it ended.
struct Landing {
    answers: Arc<Answers>,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.answers.flights.lock().remove(&self.key);
    }
}

/// A map whose oldest entries give way.
struct Bounded<T> {
    entries: HashMap<Key, (T, Timestamp)>,
    /// Every entry once for each time it was put, oldest first.
    order: VecDeque<(Key, Timestamp)>,
    max: usize,
}

impl<T> Bounded<T> {
    fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), max: max.max(1) }
    }

    fn get(&self, key: &Key) -> Option<&(T, Timestamp)> {
        self.entries.get(key)
    }

    fn put(&mut self, key: Key, value: T, until: Timestamp) {
        self.entries.insert(key, (value, until));
        self.order.push_back((key, until));
        while self.order.len() > self.max {
            let Some((key, until)) = self.order.pop_front() else { break };
            // One that was put again since stays until its later turn.
            if self.entries.get(&key).is_some_and(|(_, current)| *current <= until) {
                self.entries.remove(&key);
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        self.entries.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use platform::testing::ManualClock;

    use super::*;

    const NOW: Timestamp = ManualClock::START;

    #[test]
    fn the_oldest_give_way_and_what_is_renewed_stays() {
        let later = |seconds| NOW + Duration::from_secs(seconds);
        let key = |number: u64| platform::crypto::sha256(number.to_be_bytes());
        let mut map = Bounded::new(10);
        for number in 0..1000 {
            map.put(key(number), number, later(number));
            map.put(key(5000), 0, later(number));
            assert!(map.entries.len() <= 10 && map.order.len() <= 10);
        }
        assert!(map.get(&key(5000)).is_some() && map.get(&key(999)).is_some());
        assert!(map.get(&key(0)).is_none());
    }

    #[tokio::test]
    async fn a_question_nobody_waits_for_is_given_up() {
        let answers = Arc::new(Answers::new(10));
        let never = || std::future::pending().boxed();
        let waiting = answers.once([1; 32], never);
        assert!(waiting.now_or_never().is_none());
        assert_eq!(answers.len(), (0, 0, 0), "it is no longer under way");
    }
}
