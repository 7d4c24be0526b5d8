//! Seals: a chain of hashes over the books, so that nobody changes what was booked and leaves no
//! trace.
//!
//! A seal covers a stretch of transactions, in the order of their ids:
//!
//! `hash = SHA-256("verza.ledger.seal" || previous || for each: id || time || key || content)`
//!
//! where the content's hash is made anew from the rows as they stand, and the texts bear their
//! length in front. Ids begin with the time at which they were made, so what is older than
//! [`SETTLED`] stands: no transaction takes that long, and no two clocks differ by as much. Writers
//! wait for nobody.

use std::time::Duration;

use kernel::id::kinds::{Account, Transaction};
use kernel::{Caller, Id, Result, Timestamp};
use platform::db::{Db, Read};
use platform::journal::Fact;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{rules, store};

/// How old a transaction must be to be sealed.
const SETTLED: Duration = Duration::from_secs(15 * 60);
/// Transactions that are read in one go.
const READ_MAX: i64 = 500;
/// Contradictions that are named.
const NAMED_MAX: usize = 10;

/// A stretch of the books under its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Counts from one.
    pub number: i64,
    /// The first id that is not sealed any more.
    pub(super) bound: Uuid,
    pub transactions: i64,
    pub hash: [u8; 32],
    pub sealed_at: Timestamp,
}

/// A transaction as a seal sees it.
pub(super) struct Booked {
    pub(super) id: Id<Transaction>,
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) content_hash: [u8; 32],
    pub(super) subject: String,
    pub(super) reverses: Option<Id<Transaction>>,
    pub(super) recorded_at: Timestamp,
    /// Debited, credited, and how much.
    pub(super) postings: Vec<(Id<Account>, Id<Account>, i64)>,
}

impl Booked {
    fn content(&self) -> [u8; 32] {
        let Self { kind, subject, reverses, postings, .. } = self;
        rules::hash_of(kind, subject, *reverses, postings)
    }
}

/// A stretch that is being read.
struct Stretch {
    hash: Sha256,
    transactions: i64,
    /// Transactions whose rows are not what was booked.
    changed: Vec<String>,
}

impl Stretch {
    fn after(previous: &[u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"verza.ledger.seal").chain_update(previous);
        Self { hash, transactions: 0, changed: Vec::new() }
    }

    fn add(&mut self, booked: &Booked) {
        let content = booked.content();
        if content != booked.content_hash && self.changed.len() < NAMED_MAX {
            self.changed.push(format!("{} is not what was booked", booked.id));
        }
        self.transactions += 1;
        self.hash.update(booked.id.uuid().as_bytes());
        self.hash.update(booked.recorded_at.micros().to_be_bytes());
        self.hash.update((booked.key.len() as u64).to_be_bytes());
        self.hash.update(&booked.key);
        self.hash.update(content);
    }

    /// Reads all transactions with ids from `from` to `bound`, without it.
    async fn read(mut self, db: &impl Read, from: Uuid, bound: Uuid) -> Result<Self> {
        let mut from = from;
        loop {
            let page = store::booked(db, from, bound, READ_MAX).await?;
            for booked in &page {
                self.add(booked);
            }
            match page.last() {
                Some(last) if i64::try_from(page.len()) == Ok(READ_MAX) => {
                    from = after(last.id.uuid());
                }
                _ => return Ok(self),
            }
        }
    }
}

/// The next id.
const fn after(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

/// Seals what has settled since the last seal; nothing where nothing was booked.
///
/// # Errors
/// Those of the store. Who is second of two at once changes nothing.
pub async fn seal(db: &Db) -> Result<Option<Seal>> {
    let last = store::last_seal(db).await?;
    let (number, from, previous) =
        last.map_or((0, Uuid::nil(), [0; 32]), |it| (it.number, it.bound, it.hash));
    let now = db.world().now();
    let settled = i64::try_from(SETTLED.as_micros()).unwrap_or(i64::MAX);
    let bound = Id::<Transaction>::first_at(Timestamp::from_micros(now.micros() - settled)).uuid();
    if bound <= from {
        return Ok(None);
    }
    let stretch = Stretch::after(&previous).read(db, from, bound).await?;
    if stretch.transactions == 0 {
        return Ok(None);
    }
    let (transactions, hash) = (stretch.transactions, stretch.hash.finalize().into());
    let seal = Seal { number: number + 1, bound, transactions, hash, sealed_at: now };
    let is_first = db
        .run("ledger.seal", |tx| async move {
            if !store::insert_seal(&tx, &seal).await? {
                return Ok(false);
            }
            tx.record(
                Fact::by(&Caller::nobody(), "ledger.sealed")
                    .with("number", seal.number)
                    .with("transactions", seal.transactions)
                    .with("hash", hex::encode(seal.hash)),
            );
            Ok(true)
        })
        .await?;
    Ok(is_first.then_some(seal))
}

/// What contradicts the seals: transactions that are not what was booked, and seals that do not
/// follow from the transactions they cover. Reads the whole books.
pub(super) async fn contradictions(db: &impl Read) -> Result<(Vec<String>, Vec<String>)> {
    let (mut from, mut previous) = (Uuid::nil(), [0; 32]);
    let (mut changed, mut broken) = (Vec::new(), Vec::new());
    for (expected, seal) in (1_i64..).zip(store::seals(db).await?) {
        let stretch = Stretch::after(&previous).read(db, from, seal.bound).await?;
        changed.extend(stretch.changed);
        let hash: [u8; 32] = stretch.hash.finalize().into();
        let is_whole = seal.number == expected && stretch.transactions == seal.transactions;
        if (!is_whole || hash != seal.hash) && broken.len() < NAMED_MAX {
            let Seal { number, transactions, .. } = seal;
            let found = stretch.transactions;
            broken.push(format!(
                "seal {number} of {transactions} transactions does not fit the {found} that stand \
                 there"
            ));
        }
        (from, previous) = (seal.bound, seal.hash);
    }
    let rest = Stretch::after(&previous).read(db, from, Uuid::max()).await?;
    changed.extend(rest.changed);
    changed.truncate(NAMED_MAX);
    Ok((changed, broken))
}
