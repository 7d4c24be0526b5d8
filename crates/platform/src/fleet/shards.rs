//! What a piece of work has told, for whoever asked for it from another process.

use std::cell::Cell;
use std::future::Future;

use super::board::Told;
use super::{Notice, SHARDS};

tokio::task_local! {
    /// What the transactions of this work have told.
    static TOLD: Cell<Shards>;
}

/// A set of shards; see [`Notice::shard_of`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shards(u128);

const _: () = assert!(SHARDS == u128::BITS as usize, "one bit each");

impl Shards {
    /// The shard of what a notice is about.
    pub const fn of(notice: &Notice) -> Self {
        Self(1 << Notice::shard_of(notice.about))
    }

    /// Read from what [`Self::to_bytes`] wrote; nothing says none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::default()),
            bytes => bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes))),
        }
    }

    /// Sixteen bytes; none of an empty set.
    pub fn to_bytes(self) -> Vec<u8> {
        if self.0 == 0 { Vec::new() } else { self.0.to_be_bytes().to_vec() }
    }

    /// The numbers of the shards.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..SHARDS).filter(move |shard| self.0 >> shard & 1 == 1)
    }
}

/// Does some work, and says of which shards its transactions have told something. Of one that did
/// not commit it says so as well: to forget too much costs a question.
pub async fn gather<T>(work: impl Future<Output = T>) -> (T, Shards) {
    TOLD.scope(Cell::default(), async move {
        let outcome = work.await;
        (outcome, TOLD.with(Cell::get))
    })
    .await
}

/// Notes what a transaction of the work that runs here is about to tell.
pub(crate) fn note(told: &[Told]) {
    let bits = told.iter().fold(0, |bits, told| bits | 1 << told.shard);
    // Work of which nobody asks for this is not gathered.
    let _ = TOLD.try_with(|noted| noted.set(Shards(noted.get().0 | bits)));
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn what_is_told_is_gathered_and_crosses_as_bytes() {
        let told = |ids: &[u128]| {
            Told::by_shard(ids.iter().map(|id| Notice::all_of(Uuid::from_u128(*id))).collect())
        };
        note(&told(&[9]));
        let ((), shards) = gather(async {
            note(&told(&[0, 127]));
            tokio::task::yield_now().await;
            note(&told(&[128 + 3]));
        })
        .await;
        assert_eq!(shards.iter().collect::<Vec<_>>(), [0, 3, 127]);
        assert_eq!(Shards::from_bytes(&shards.to_bytes()), Some(shards));
        assert_eq!(Shards::from_bytes(&[1, 2]), None);
        let ((), none) = gather(async {}).await;
        assert_eq!((none.to_bytes().len(), Shards::from_bytes(&[])), (0, Some(none)));
    }
}
