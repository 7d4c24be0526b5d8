//! Pure decisions: what a transaction changes, and in what order.

use kernel::id::kinds;
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
use sha2::{Digest, Sha256};

use super::chart::{Account, Side};
use super::model::{NewTransaction, Posting};

/// Bounds how long one transaction can hold its rows.
pub(super) const POSTINGS_MAX: usize = 1_000;

/// The change of one balance row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub id: Id<kinds::Account>,
    pub account: Account,
    pub asset: Asset,
    pub shard: u8,
    pub debits: i64,
    pub credits: i64,
    /// How many entries it gets.
    pub entries: i64,
}

/// A balance row after its change.
#[derive(Debug, Clone, Copy)]
pub(super) struct After {
    pub debits: i64,
    pub credits: i64,
    pub version: i64,
    /// Not before any earlier entry of the row.
    pub moved_at: Timestamp,
}

/// An entry about to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NewEntry {
    pub account: Id<kinds::Account>,
    pub shard: u8,
    pub version: i64,
    pub delta: i64,
    pub balance_after: i64,
    pub recorded_at: Timestamp,
}

/// The change of each account, netted, in the one order in which all writers take their rows:
/// two transactions over the same accounts queue up and never wait for each other in a circle.
pub(super) fn changes(id: Id<kinds::Transaction>, postings: &[Posting]) -> Result<Vec<Change>> {
    let mut changes: Vec<Change> = Vec::with_capacity(postings.len() * 2);
    for posting in postings {
        let Money { minor, asset } = posting.amount;
        for (account, debits, credits) in [(posting.debit, minor, 0), (posting.credit, 0, minor)] {
            let same = |change: &&mut Change| change.account == account && change.asset == asset;
            if let Some(change) = changes.iter_mut().find(same) {
                change.debits = sum(change.debits, debits)?;
                change.credits = sum(change.credits, credits)?;
                change.entries += 1;
                continue;
            }
            let shard = id.uuid().as_bytes()[15] % account.code.shards();
            let id = account.id(asset);
            changes.push(Change { id, account, asset, shard, debits, credits, entries: 1 });
        }
    }
    changes.sort_unstable_by_key(|change| change.id);
    Ok(changes)
}

fn sum(a: i64, b: i64) -> Result<i64> {
    a.checked_add(b).ok_or_else(|| Error::internal("the postings do not fit 64 bits"))
}

/// The balance as the account's side counts it.
pub(super) const fn balance(side: Side, debits: i64, credits: i64) -> i64 {
    // Both are at least zero, so the difference fits.
    match side {
        Side::Debit => debits - credits,
        Side::Credit => credits - debits,
    }
}

/// The two entries of each posting: the debited account's and the credited account's.
pub(super) fn entries(
    postings: &[Posting],
    changes: &[Change],
    after: &[After],
) -> Vec<[NewEntry; 2]> {
    // Where each row stood before its first entry of this transaction.
    let mut rows: Vec<(Change, i64, i64)> = changes
        .iter()
        .zip(after)
        .map(|(change, after)| {
            let side = change.account.code.side();
            let now = balance(side, after.debits, after.credits);
            let moved = balance(side, change.debits, change.credits);
            (*change, after.version - change.entries, now - moved)
        })
        .collect();
    let mut entry = |account: Account, asset: Asset, debit: i64, credit: i64| {
        let index = rows
            .iter()
            .position(|(change, ..)| change.account == account && change.asset == asset)
            .unwrap_or_default();
        let (change, version, standing) = &mut rows[index];
        let delta = balance(account.code.side(), debit, credit);
        *version += 1;
        *standing += delta;
        NewEntry {
            account: change.id,
            shard: change.shard,
            version: *version,
            delta,
            balance_after: *standing,
            recorded_at: after[index].moved_at,
        }
    };
    postings
        .iter()
        .map(|posting| {
            let Money { minor, asset } = posting.amount;
            [entry(posting.debit, asset, minor, 0), entry(posting.credit, asset, 0, minor)]
        })
        .collect()
}

/// SHA-256 over what is posted: kind, subject, what it reverses and the postings in order. The
/// fields are length-prefixed, so that no two contents read alike.
pub(super) fn content_hash(new: &NewTransaction) -> [u8; 32] {
    let postings = new.postings.iter().map(|posting| {
        let Money { minor, asset } = posting.amount;
        (posting.debit.id(asset), posting.credit.id(asset), minor)
    });
    let postings: Vec<_> = postings.collect();
    hash_of(new.kind, &new.subject, new.reverses, &postings)
}

/// The hash of a content: of what happened, to what, and what was debited and credited for it.
pub(super) fn hash_of(
    kind: &str,
    subject: &str,
    reverses: Option<Id<kinds::Transaction>>,
    postings: &[(Id<kinds::Account>, Id<kinds::Account>, i64)],
) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut text = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    text(kind.as_bytes());
    text(subject.as_bytes());
    text(reverses.map(Id::uuid).unwrap_or_default().as_bytes());
    for (debit, credit, minor) in postings {
        text(debit.uuid().as_bytes());
        text(credit.uuid().as_bytes());
        text(&minor.to_be_bytes());
    }
    hash.finalize().into()
}
