//! The verbs. They join the transaction of whoever moves the money.

use futures_util::future::join_all;
use kernel::id::kinds::{self, User};
use kernel::{Asset, Caller, Cursor, Error, Id, Money, Page, PageRequest, Result, Timestamp};
use platform::db::{Read, Tx};
use platform::journal::Fact;

use super::chart::{Account, Code};
use super::model::{Entry, NewTransaction, Posted, Posting, Transaction, TrialLine};
use super::{rules, store};

/// Statements that travel to the database together, at most. Futures in such a small set are
/// polled in order, and so the rows of a transaction are taken in order.
const TOGETHER: usize = 16;

/// Posts a transaction: once for each key, all of it or nothing.
///
/// Costs one statement, one more for each account, and two for each posting; on PostgreSQL three
/// round trips. A key that was posted before with the same content answers the old transaction.
///
/// # Errors
/// `insufficient_funds` (conflict) when a guarded account would go below zero;
/// `transaction_differs` (conflict) when the key was posted with another content;
/// `already_reversed` (conflict); invalid amounts are refused before anything is written.
pub async fn post(tx: &Tx, new: NewTransaction) -> Result<Posted> {
    new.check()?;
    let id = tx.world().id::<kinds::Transaction>();
    let changes = rules::changes(id, &new.postings)?;
    let content_hash = rules::content_hash(&new);
    if !store::insert(tx, id, &new, &content_hash).await? {
        return posted_before(tx, &new, &content_hash).await;
    }
    let mut after = Vec::with_capacity(changes.len());
    for together in changes.chunks(TOGETHER) {
        after.extend(all(together.iter().map(|change| store::update(tx, change))).await?);
    }
    for (change, after) in changes.iter().zip(&mut after) {
        if after.is_none() {
            // Its first movement. Few transactions come this way, one round trip an account.
            store::open(tx, change).await?;
            *after = store::update(tx, change).await?;
        }
    }
    let after: Vec<_> = after.into_iter().flatten().collect();
    if after.len() != changes.len() {
        return Err(Error::internal("an account that was just opened is not there"));
    }
    let entries = rules::entries(&new.postings, &changes, &after);
    let rows: Vec<_> = (0_i64..).zip(new.postings.iter().zip(&entries)).collect();
    for together in rows.chunks(TOGETHER) {
        all(together.iter().map(|(seq, (posting, entries))| {
            store::insert_posting(tx, id, *seq, posting, entries)
        }))
        .await?;
    }
    let guarded = changes.iter().zip(&after).filter(|(c, _)| c.account.code.is_guarded());
    let after = guarded
        .map(|(change, after)| {
            let side = change.account.code.side();
            let balance = rules::balance(side, after.debits, after.credits);
            (change.id, Money::new(balance, change.asset))
        })
        .collect();
    Ok(Posted { id, is_new: true, recorded_at: tx.now(), after })
}

/// The values of statements that were sent together, or the error of the first that failed: after
/// it PostgreSQL refuses the others, and what those say is of no use to anybody.
async fn all<T>(
    statements: impl Iterator<Item = impl Future<Output = Result<T>>>,
) -> Result<Vec<T>> {
    join_all(statements).await.into_iter().collect()
}

async fn posted_before(tx: &Tx, new: &NewTransaction, content_hash: &[u8; 32]) -> Result<Posted> {
    match store::by_key(tx, &new.key).await? {
        Some((id, hash, recorded_at)) if hash == *content_hash => {
            Ok(Posted { id, is_new: false, recorded_at, after: Vec::new() })
        }
        Some(_) => Err(Error::conflict(
            "transaction_differs",
            "This was booked before, with another content.",
        )),
        // Only one other index can have refused.
        None => Err(Error::conflict("already_reversed", "This transaction is reversed already.")),
    }
}

/// The transaction of a key, with its postings.
pub async fn by_key(db: &impl Read, key: &str) -> Result<Option<Transaction>> {
    match store::by_key(db, key).await? {
        Some((id, ..)) => store::get(db, id).await,
        None => Ok(None),
    }
}

/// Takes a transaction back by posting its mirror image. A transaction is reversed at most once,
/// and a reversal never.
///
/// # Errors
/// Not found; `is_reversal` or `already_reversed` (conflict); `insufficient_funds` (conflict)
/// when the money is no longer where it went.
pub async fn reverse(
    tx: &Tx,
    caller: &Caller,
    id: Id<kinds::Transaction>,
    reason: &str,
) -> Result<Posted> {
    let found = store::get(tx, id).await?;
    let transaction = found.ok_or_else(|| Error::not_found("transaction"))?;
    if transaction.reverses.is_some() {
        return Err(Error::conflict("is_reversal", "A reversal cannot be reversed."));
    }
    let nonce = tx.world().id::<kinds::Transaction>();
    let mut mirror = NewTransaction::new("reversal", format!("rev:{nonce}"), transaction.subject)
        .note("reason", reason);
    mirror.reverses = Some(id);
    for Posting { debit, credit, amount } in transaction.postings {
        mirror = mirror.post(credit, debit, amount);
    }
    let posted = post(tx, mirror).await?;
    let fact = Fact::by(caller, "transaction.reversed").on(id).with("reversal", posted.id);
    tx.record(fact.with("reason", reason));
    Ok(posted)
}

/// The balance of an account, as its side counts it. An account that nothing was ever posted to
/// has zero.
pub async fn balance(db: &impl Read, account: Account, asset: Asset) -> Result<Money> {
    let (debits, credits) = store::sums(db, account.id(asset)).await?;
    Ok(Money::new(rules::balance(account.code.side(), debits, credits), asset))
}

/// The balances of guarded accounts, which nobody else moves from here on until this transaction
/// ends: for those who take no more than there is. They are taken in the order of all writers.
pub async fn take(tx: &Tx, accounts: &[Account], asset: Asset) -> Result<Vec<Money>> {
    let mut ids: Vec<_> = accounts.iter().map(|account| account.id(asset)).collect();
    ids.sort_unstable();
    let mut taken = Vec::with_capacity(ids.len());
    for id in ids {
        taken.push((id, store::take(tx, id).await?.unwrap_or_default()));
    }
    let of = |account: &Account| {
        let id = account.id(asset);
        let found = taken.iter().find(|(own, _)| *own == id);
        let (debits, credits) = found.map_or((0, 0), |(_, sums)| *sums);
        Money::new(rules::balance(account.code.side(), debits, credits), asset)
    };
    Ok(accounts.iter().map(of).collect())
}

/// The balance of an account as it was right after all that was recorded at `at` or before.
pub async fn balance_at(
    db: &impl Read,
    account: Account,
    asset: Asset,
    at: Timestamp,
) -> Result<Money> {
    let id = account.id(asset);
    let mut balance = Money::new(0, asset);
    for shard in 0..account.code.shards() {
        let version = store::version_at(db, id, shard, at).await?;
        let entry = store::entry_at(db, id, shard, version).await?;
        balance = balance.plus(Money::new(entry.map_or(0, |(after, _)| after), asset))?;
    }
    Ok(balance)
}

/// The balances of all accounts of an owner.
pub async fn balances(db: &impl Read, owner: Id<User>) -> Result<Vec<(Code, Money)>> {
    let rows = store::of_owner(db, owner).await?;
    let show = |(code, asset, debits, credits): (Code, Asset, i64, i64)| {
        (code, Money::new(rules::balance(code.side(), debits, credits), asset))
    };
    Ok(rows.into_iter().map(show).collect())
}

/// Whether an owner has an account of a code, in any asset.
pub async fn has_account(db: &impl Read, owner: Id<User>, code: Code) -> Result<bool> {
    store::has_account(db, owner, code).await
}

/// The statement of an owner's accounts of one code, newest first: in one asset, or in all that
/// the owner has. The cost of a page does not grow with the statement.
pub async fn statement(
    db: &impl Read,
    owner: Id<User>,
    code: Code,
    asset: Option<Asset>,
    page: &PageRequest,
) -> Result<Page<Entry>> {
    let assets = match asset {
        Some(asset) => vec![asset],
        None => {
            let open = store::of_owner(db, owner).await?;
            open.into_iter().filter(|(c, ..)| *c == code).map(|(_, asset, ..)| asset).collect()
        }
    };
    let accounts: Vec<_> =
        assets.into_iter().map(|asset| Account::of(owner, code).id(asset)).collect();
    let mut rows = Vec::new();
    for account in &accounts {
        let below = version_below(db, *account, page.after, &accounts).await?;
        let fetch = page.fetch().saturating_add(page.offset);
        rows.extend(store::entries_below(db, *account, below, fetch).await?);
    }
    rows.sort_unstable_by_key(|entry| {
        std::cmp::Reverse((entry.recorded_at, entry.account, entry.version))
    });
    let skip = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let rows = rows.into_iter().skip(skip).collect();
    Ok(page.page(rows, |entry| Cursor { key: entry.version, id: entry.account.uuid() }))
}

/// Where a page starts in one of the accounts of a statement: the cursor names an entry of one
/// of them, and in the others time says how far the last page went.
async fn version_below(
    db: &impl Read,
    account: Id<kinds::Account>,
    after: Option<Cursor>,
    accounts: &[Id<kinds::Account>],
) -> Result<i64> {
    let Some(cursor) = after else { return Ok(i64::MAX) };
    let named = Id::from_uuid(cursor.id);
    if named == account {
        return Ok(cursor.key);
    }
    let entry = if accounts.contains(&named) {
        store::entry_at(db, named, 0, cursor.key).await?
    } else {
        None
    };
    let (_, at) = entry.ok_or_else(|| {
        Error::field("/cursor", "invalid", "not one that this list gave out; drop it to start over")
    })?;
    // Entries of one instant stand in the order of their accounts.
    let until = if account < named { at } else { Timestamp::from_micros(at.micros() - 1) };
    Ok(store::version_at(db, account, 0, until).await? + 1)
}

/// The entries of a transaction on an owner's accounts of one code; empty when it is not theirs.
pub async fn entries(
    db: &impl Read,
    id: Id<kinds::Transaction>,
    owner: Id<User>,
    code: Code,
) -> Result<Vec<Entry>> {
    store::entries_of(db, id, owner, code).await
}

/// How far an account with one row had come after all that was recorded at `at` or before: its
/// last version, zero before the first one, and its balance.
pub async fn place_at(
    db: &impl Read,
    account: Account,
    asset: Asset,
    at: Timestamp,
) -> Result<(i64, Money)> {
    let id = account.id(asset);
    let version = store::version_at(db, id, 0, at).await?;
    let entry = store::entry_at(db, id, 0, version).await?;
    Ok((version, Money::new(entry.map_or(0, |(after, _)| after), asset)))
}

/// Entries of an account with one row, oldest first, after one version and up to another.
pub async fn entries_after(
    db: &impl Read,
    account: Account,
    asset: Asset,
    after: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<Entry>> {
    store::entries_after(db, account.id(asset), after, last, limit).await
}

/// Who has an account of a code and asset.
pub async fn owners(db: &impl Read, code: Code, asset: Asset) -> Result<Vec<Id<User>>> {
    store::owners(db, code, asset).await
}

/// How the balance of an account with one row changed after `from`, until `until`: each instant in
/// microseconds, and the balance from then on.
pub async fn history(
    db: &impl Read,
    account: Account,
    asset: Asset,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<(i64, i64)>> {
    let id = account.id(asset);
    let after = store::version_at(db, id, 0, from).await?;
    let last = store::version_at(db, id, 0, until).await?;
    store::entries_between(db, id, after, last).await
}

/// All that was ever debited and credited, by line of the chart and asset.
pub async fn trial_balance(db: &impl Read) -> Result<Vec<TrialLine>> {
    store::trial(db).await
}
