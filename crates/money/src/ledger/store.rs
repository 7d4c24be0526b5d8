//! All SQL of the ledger.

use kernel::id::kinds::{self, User};
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use uuid::Uuid;

use super::chart::{Account, Code};
use super::model::{Entry, NewTransaction, Posting, Transaction, TrialLine};
use super::rules::{After, Change, NewEntry};
use super::seal::{Booked, Seal};

/// The name of the CHECK that keeps guarded accounts from going below zero.
const GUARD: &str = "ledger_balance_guard";

/// Writes the transaction's row; false when its key, or what it reverses, is taken.
pub(super) async fn insert(
    tx: &Tx,
    id: Id<kinds::Transaction>,
    new: &NewTransaction,
    content_hash: &[u8; 32],
) -> Result<bool> {
    let meta = serde_json::to_string(&new.meta)
        .map_err(|error| Error::internal("a note cannot be written").because(error))?;
    let sql = "INSERT INTO ledger_tx (id, kind, idem_key, content_hash, subject, reverses, meta,
                                      recorded_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    let (kind, key, subject, now) = (new.kind, &new.key, &new.subject, tx.now());
    let row = params![id, kind, key, content_hash, subject, new.reverses, meta, now];
    Ok(tx.touch(sql, row).await?)
}

/// The transaction of a key, the hash of its content, and when it was booked.
pub(super) async fn by_key(
    db: &impl Read,
    key: &str,
) -> Result<Option<(Id<kinds::Transaction>, [u8; 32], Timestamp)>> {
    let sql = "SELECT id, content_hash, recorded_at FROM ledger_tx WHERE idem_key = $1";
    Ok(db.maybe(sql, params![key], |row| Ok((row.take()?, row.take()?, row.take()?))).await?)
}

/// Applies a change to its balance row; none when the account has no such row yet.
///
/// # Errors
/// `insufficient_funds` (conflict) when the guard refuses.
pub(super) async fn update(tx: &Tx, change: &Change) -> Result<Option<After>> {
    let sql = "UPDATE ledger_balance
               SET debits = debits + $3, credits = credits + $4, version = version + $5,
                   moved_at = CASE WHEN moved_at > $6 THEN moved_at ELSE $6 END
               WHERE account_id = $1 AND shard = $2
               RETURNING debits, credits, version, moved_at";
    let Change { id, shard, debits, credits, entries, .. } = change;
    let now = tx.now();
    let values = params![id, shard, debits, credits, entries, now];
    let updated = tx
        .maybe(sql, values, |row| {
            Ok(After {
                debits: row.take()?,
                credits: row.take()?,
                version: row.take()?,
                moved_at: row.take()?,
            })
        })
        .await;
    updated.map_err(|error| match error {
        DbError::Check(name) if name == GUARD => {
            Error::conflict("insufficient_funds", "There is not enough money for this.")
                .because(DbError::Check(name))
        }
        error => error.into(),
    })
}

/// Takes the row of a guarded account for this transaction; none when it was never opened.
pub(super) async fn take(tx: &Tx, id: Id<kinds::Account>) -> Result<Option<(i64, i64)>> {
    let sql = "UPDATE ledger_balance SET version = version WHERE account_id = $1 AND shard = 0
               RETURNING debits, credits";
    Ok(tx.maybe(sql, params![id], |row| Ok((row.take()?, row.take()?))).await?)
}

/// Opens an account, or a further row of one; whoever comes second finds it open.
pub(super) async fn open(tx: &Tx, change: &Change) -> Result<()> {
    let Change { id, account, asset, shard, .. } = change;
    let (code, owner) = (account.code, account.owner_uuid());
    let (side, guard) = (code.side().as_str(), code.is_guarded());
    tx.execute(
        "INSERT INTO ledger_account (id, code, owner, asset, side, guard, opened_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        params![id, code.as_str(), owner, asset, side, guard, tx.now()],
    )
    .await?;
    tx.execute(
        "INSERT INTO ledger_balance (account_id, shard, side, guard, debits, credits, version,
                                     moved_at)
         VALUES ($1, $2, $3, $4, 0, 0, 0, $5) ON CONFLICT DO NOTHING",
        params![id, shard, side, guard, tx.now()],
    )
    .await?;
    Ok(())
}

/// Writes a posting and its two entries.
pub(super) async fn insert_posting(
    tx: &Tx,
    id: Id<kinds::Transaction>,
    seq: i64,
    posting: &Posting,
    entries: &[NewEntry; 2],
) -> Result<()> {
    let [debit, credit] = entries;
    let posting_sql =
        "INSERT INTO ledger_posting (tx_id, seq, debit_account, credit_account, asset, amount)
         VALUES ($1, $2, $3, $4, $5, $6)";
    let Money { minor, asset } = posting.amount;
    let posting_row = params![id, seq, debit.account, credit.account, asset, minor];
    let entries_sql =
        "INSERT INTO ledger_entry (account_id, shard, version, tx_id, seq, delta, balance_after,
                                   recorded_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8), ($9, $10, $11, $4, $5, $12, $13, $14)";
    let entries_row = params![
        debit.account,
        debit.shard,
        debit.version,
        id,
        seq,
        debit.delta,
        debit.balance_after,
        debit.recorded_at,
        credit.account,
        credit.shard,
        credit.version,
        credit.delta,
        credit.balance_after,
        credit.recorded_at
    ];
    // Both are waited for, so that the error is the first one's.
    let (posting, entries) = futures_util::join!(
        tx.execute(posting_sql, posting_row),
        tx.execute(entries_sql, entries_row)
    );
    posting?;
    entries?;
    Ok(())
}

/// A transaction, with its postings.
pub(super) async fn get(db: &impl Read, id: Id<kinds::Transaction>) -> Result<Option<Transaction>> {
    let sql = "SELECT kind, subject, reverses, recorded_at FROM ledger_tx WHERE id = $1";
    let read = |row: &Row<'_>| {
        Ok(Transaction {
            id,
            kind: row.take()?,
            subject: row.take()?,
            reverses: row.take()?,
            recorded_at: row.take()?,
            postings: Vec::new(),
        })
    };
    let Some(found) = db.maybe(sql, params![id], read).await? else { return Ok(None) };
    Ok(Some(Transaction { postings: postings(db, id).await?, ..found }))
}

async fn postings(db: &impl Read, id: Id<kinds::Transaction>) -> Result<Vec<Posting>> {
    let sql = "SELECT d.code, d.owner, c.code, c.owner, p.amount, p.asset
               FROM ledger_posting AS p
               JOIN ledger_account AS d ON d.id = p.debit_account
               JOIN ledger_account AS c ON c.id = p.credit_account
               WHERE p.tx_id = $1 ORDER BY p.seq";
    let read = |row: &Row<'_>| {
        Ok(Posting {
            debit: Account { code: code(row)?, owner: owner(row)? },
            credit: Account { code: code(row)?, owner: owner(row)? },
            amount: Money::new(row.take()?, row.take()?),
        })
    };
    Ok(db.all(sql, params![id], read).await?)
}

fn code(row: &Row<'_>) -> Result<Code, DbError> {
    let text: String = row.take()?;
    Code::ALL
        .iter()
        .copied()
        .find(|code| code.as_str() == text)
        .ok_or_else(|| DbError::Other(format!("{text} is not in the chart of accounts")))
}

fn owner(row: &Row<'_>) -> Result<Option<Id<User>>, DbError> {
    let owner: Uuid = row.take()?;
    Ok((!owner.is_nil()).then(|| Id::from_uuid(owner)))
}

/// What was debited and credited to an account so far, over all of its rows.
pub(super) async fn sums(db: &impl Read, account: Id<kinds::Account>) -> Result<(i64, i64)> {
    let sql = "SELECT CAST(COALESCE(SUM(debits), 0) AS BIGINT),
                      CAST(COALESCE(SUM(credits), 0) AS BIGINT)
               FROM ledger_balance WHERE account_id = $1";
    Ok(db.one(sql, params![account], |row| Ok((row.take()?, row.take()?))).await?)
}

/// The accounts of an owner with what was debited and credited to each.
pub(super) async fn of_owner(
    db: &impl Read,
    owner_id: Id<User>,
) -> Result<Vec<(Code, Asset, i64, i64)>> {
    let sql = "SELECT a.code, a.asset, CAST(SUM(b.debits) AS BIGINT),
                      CAST(SUM(b.credits) AS BIGINT)
               FROM ledger_account AS a JOIN ledger_balance AS b ON b.account_id = a.id
               WHERE a.owner = $1 GROUP BY a.code, a.asset ORDER BY a.code, a.asset";
    let read = |row: &Row<'_>| Ok((code(row)?, row.take()?, row.take()?, row.take()?));
    Ok(db.all(sql, params![owner_id], read).await?)
}

pub(super) async fn has_account(db: &impl Read, owner: Id<User>, code: Code) -> Result<bool> {
    let sql = "SELECT 1 FROM ledger_account WHERE owner = $1 AND code = $2 LIMIT 1";
    Ok(db.maybe(sql, params![owner, code.as_str()], |_| Ok(())).await?.is_some())
}

pub(super) async fn owners(db: &impl Read, code: Code, asset: Asset) -> Result<Vec<Id<User>>> {
    let sql = "SELECT owner FROM ledger_account WHERE code = $1 AND asset = $2 ORDER BY owner";
    Ok(db.all(sql, params![code.as_str(), asset], |row| row.take()).await?)
}

/// Times and balances of the entries after one version, up to another.
pub(super) async fn entries_between(
    db: &impl Read,
    account: Id<kinds::Account>,
    after: i64,
    last: i64,
) -> Result<Vec<(i64, i64)>> {
    let sql = "SELECT recorded_at, balance_after FROM ledger_entry
               WHERE account_id = $1 AND shard = 0 AND version > $2 AND version <= $3
               ORDER BY version";
    let row = params![account, after, last];
    Ok(db.all(sql, row, |row| Ok((row.take()?, row.take()?))).await?)
}

pub(super) async fn trial(db: &impl Read) -> Result<Vec<TrialLine>> {
    let sql = "SELECT a.code, a.asset, CAST(SUM(b.debits) AS BIGINT),
                      CAST(SUM(b.credits) AS BIGINT)
               FROM ledger_account AS a JOIN ledger_balance AS b ON b.account_id = a.id
               GROUP BY a.code, a.asset ORDER BY a.code, a.asset";
    let read = |row: &Row<'_>| {
        let (code, asset) = (code(row)?, row.take()?);
        Ok(TrialLine { code, asset, debits: row.take()?, credits: row.take()? })
    };
    Ok(db.all(sql, &[], read).await?)
}

/// The last version of a row whose entry was recorded at `at` or before; zero when there is none.
/// Versions have no gaps and times never run backwards, so halving finds it: in some twenty
/// steps among a million entries, without an index of its own.
pub(super) async fn version_at(
    db: &impl Read,
    account: Id<kinds::Account>,
    shard: u8,
    at: Timestamp,
) -> Result<i64> {
    let sql = "WITH RECURSIVE halved (low, high) AS (
                   SELECT CAST(0 AS BIGINT), version FROM ledger_balance
                   WHERE account_id = $1 AND shard = $2
                   UNION ALL
                   SELECT CASE WHEN e.recorded_at <= $3 THEN e.version ELSE h.low END,
                          CASE WHEN e.recorded_at <= $3 THEN h.high ELSE e.version - 1 END
                   FROM halved AS h JOIN ledger_entry AS e
                     ON e.account_id = $1 AND e.shard = $2 AND e.version = (h.low + h.high + 1) / 2
                   WHERE h.low < h.high)
               SELECT low FROM halved WHERE low >= high";
    Ok(db.maybe(sql, params![account, shard, at], |row| row.take()).await?.unwrap_or_default())
}

/// An entry's balance and time.
pub(super) async fn entry_at(
    db: &impl Read,
    account: Id<kinds::Account>,
    shard: u8,
    version: i64,
) -> Result<Option<(i64, Timestamp)>> {
    let sql = "SELECT balance_after, recorded_at FROM ledger_entry
               WHERE account_id = $1 AND shard = $2 AND version = $3";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?));
    Ok(db.maybe(sql, params![account, shard, version], read).await?)
}

const ENTRY: &str = "SELECT e.tx_id, e.account_id, e.version, e.delta, e.balance_after, p.asset,
                            e.recorded_at, t.kind, t.subject, o.code, o.owner
                     FROM ledger_entry AS e
                     JOIN ledger_tx AS t ON t.id = e.tx_id
                     JOIN ledger_posting AS p ON p.tx_id = e.tx_id AND p.seq = e.seq
                     JOIN ledger_account AS o ON o.id = CASE WHEN p.debit_account = e.account_id
                          THEN p.credit_account ELSE p.debit_account END";

fn entry(row: &Row<'_>) -> Result<Entry, DbError> {
    let (transaction, account, version) = (row.take()?, row.take()?, row.take()?);
    let (delta, balance_after, asset) = (row.take()?, row.take()?, row.take()?);
    Ok(Entry {
        transaction,
        account,
        version,
        delta: Money::new(delta, asset),
        balance_after: Money::new(balance_after, asset),
        recorded_at: row.take()?,
        kind: row.take()?,
        subject: row.take()?,
        other_code: code(row)?,
        other_owner: owner(row)?,
    })
}

/// Entries of an account with one row, newest first, from `below` a version on.
pub(super) async fn entries_below(
    db: &impl Read,
    account: Id<kinds::Account>,
    below: i64,
    limit: i64,
) -> Result<Vec<Entry>> {
    let sql = format!(
        "{ENTRY} WHERE e.account_id = $1 AND e.shard = 0 AND e.version < $2
         ORDER BY e.version DESC LIMIT $3"
    );
    Ok(db.all(&sql, params![account, below, limit], entry).await?)
}

/// Entries of an account with one row, oldest first, after one version and up to another.
pub(super) async fn entries_after(
    db: &impl Read,
    account: Id<kinds::Account>,
    after: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<Entry>> {
    let sql = format!(
        "{ENTRY} WHERE e.account_id = $1 AND e.shard = 0 AND e.version > $2 AND e.version <= $3
         ORDER BY e.version LIMIT $4"
    );
    Ok(db.all(&sql, params![account, after, last, limit], entry).await?)
}

/// The entries of a transaction on one owner's accounts of a code.
pub(super) async fn entries_of(
    db: &impl Read,
    id: Id<kinds::Transaction>,
    owner: Id<User>,
    code: Code,
) -> Result<Vec<Entry>> {
    let sql = format!(
        "{ENTRY} JOIN ledger_account AS a ON a.id = e.account_id
         WHERE e.tx_id = $1 AND a.owner = $2 AND a.code = $3 ORDER BY e.seq, e.version"
    );
    Ok(db.all(&sql, params![id, owner, code.as_str()], entry).await?)
}

/// Transactions with ids from `from` to `bound`, without it, in the order of their ids.
pub(super) async fn booked(
    db: &impl Read,
    from: Uuid,
    bound: Uuid,
    most: i64,
) -> Result<Vec<Booked>> {
    let sql = "SELECT id, kind, idem_key, content_hash, subject, reverses, recorded_at
               FROM ledger_tx WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3";
    let mut page = db
        .all(sql, params![from, bound, most], |row| {
            Ok(Booked {
                id: row.take()?,
                kind: row.take()?,
                key: row.take()?,
                content_hash: row.take()?,
                subject: row.take()?,
                reverses: row.take()?,
                recorded_at: row.take()?,
                postings: Vec::new(),
            })
        })
        .await?;
    let Some(last) = page.last().map(|booked| booked.id) else { return Ok(page) };
    let sql = "SELECT tx_id, debit_account, credit_account, amount FROM ledger_posting
               WHERE tx_id >= $1 AND tx_id <= $2 ORDER BY tx_id, seq";
    let rows = db
        .all(sql, params![from, last], |row| {
            let id: Id<kinds::Transaction> = row.take()?;
            Ok((id, (row.take()?, row.take()?, row.take()?)))
        })
        .await?;
    for (id, posting) in rows {
        // What was booked between the two statements is read another time.
        if let Ok(place) = page.binary_search_by_key(&id, |booked| booked.id) {
            page[place].postings.push(posting);
        }
    }
    Ok(page)
}

fn seal_of(row: &Row<'_>) -> Result<Seal, DbError> {
    Ok(Seal {
        number: row.take()?,
        bound: row.take()?,
        transactions: row.take()?,
        hash: row.take()?,
        sealed_at: row.take()?,
    })
}

/// All seals, from the first.
pub(super) async fn seals(db: &impl Read) -> Result<Vec<Seal>> {
    let sql = "SELECT number, bound, transactions, hash, sealed_at FROM ledger_seal
               ORDER BY number";
    Ok(db.all(sql, &[], seal_of).await?)
}

/// The newest seal.
pub(super) async fn last_seal(db: &impl Read) -> Result<Option<Seal>> {
    let sql = "SELECT number, bound, transactions, hash, sealed_at FROM ledger_seal
               ORDER BY number DESC LIMIT 1";
    Ok(db.maybe(sql, &[], seal_of).await?)
}

/// False when there is a seal of this number already.
pub(super) async fn insert_seal(tx: &Tx, seal: &Seal) -> Result<bool> {
    let sql = "INSERT INTO ledger_seal (number, bound, transactions, hash, sealed_at)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let Seal { number, bound, transactions, hash, sealed_at } = seal;
    Ok(tx.touch(sql, params![number, bound, transactions, hash, sealed_at]).await?)
}
