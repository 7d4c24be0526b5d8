//! All SQL of destinations and withdrawals.

use kernel::id::kinds::{Destination, User, Withdrawal as WithdrawalKind};
use kernel::{Id, Money, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Saved, State, Withdrawal};
use super::rules::{next_check, next_look};

/// Where sealed texts stand.
pub(super) const ACCOUNT: &str = "payout_destinations.account";
pub(super) const NAME: &str = "payout_destinations.name";

const SAVED: &str = "id, owner, provider, kind, asset, mask, usable_at, created_at, account, bank,
                     name";

fn read_saved(row: &Row<'_>) -> Result<Saved, DbError> {
    Ok(Saved {
        id: row.take()?,
        owner: row.take()?,
        provider: row.take()?,
        kind: row.take()?,
        asset: row.take()?,
        mask: row.take()?,
        usable_at: row.take()?,
        created_at: row.take()?,
        account: row.take()?,
        bank: row.take()?,
        name: row.take()?,
    })
}

pub(super) async fn insert_destination(tx: &Tx, saved: &Saved) -> Result<()> {
    let sql = "INSERT INTO payout_destinations (id, owner, provider, kind, asset, account, bank,
                                                name, mask, usable_at, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let Saved { id, owner, asset, account, bank, name, mask, usable_at, created_at, .. } = saved;
    let (provider, kind) = (saved.provider.as_str(), saved.kind.as_str());
    let row =
        params![id, owner, provider, kind, asset, account, bank, name, mask, usable_at, created_at];
    tx.execute(sql, row).await?;
    Ok(())
}

/// An owner's destinations that are not removed, the latest first.
pub(super) async fn destinations(db: &impl Read, owner: Id<User>) -> Result<Vec<Saved>> {
    let sql = format!(
        "SELECT {SAVED} FROM payout_destinations WHERE owner = $1 AND removed_at IS NULL
         ORDER BY id DESC LIMIT 200"
    );
    Ok(db.all(&sql, params![owner], read_saved).await?)
}

/// A destination, also a removed one: a withdrawal that is on its way still goes there.
pub(super) async fn destination(db: &impl Read, id: Id<Destination>) -> Result<Option<Saved>> {
    let sql = format!("SELECT {SAVED} FROM payout_destinations WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read_saved).await?)
}

/// Takes a destination, so that it is not removed while money is asked to go there; false when it
/// was.
pub(super) async fn take_destination(tx: &Tx, id: Id<Destination>) -> Result<bool> {
    let sql = "UPDATE payout_destinations SET removed_at = NULL
               WHERE id = $1 AND removed_at IS NULL";
    Ok(tx.touch(sql, params![id]).await?)
}

pub(super) async fn remove(tx: &Tx, owner: Id<User>, id: Id<Destination>) -> Result<bool> {
    let sql = "UPDATE payout_destinations SET removed_at = $3
               WHERE id = $1 AND owner = $2 AND removed_at IS NULL";
    Ok(tx.touch(sql, params![id, owner, tx.now()]).await?)
}

const COLUMNS: &str = "id, owner, provider, source, amount, asset, fee, destination, mask, state,
                       review, reason, provider_ref, created_at, updated_at, version";

fn read(row: &Row<'_>) -> Result<Withdrawal, DbError> {
    let (id, owner, provider, source) = (row.take()?, row.take()?, row.take()?, row.take()?);
    let amount = Money::new(row.take()?, row.take()?);
    Ok(Withdrawal {
        id,
        owner,
        provider,
        source,
        amount,
        fee: Money::new(row.take()?, amount.asset),
        destination: row.take()?,
        mask: row.take()?,
        state: row.take()?,
        review: row.take()?,
        reason: row.take()?,
        provider_ref: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
        version: row.take()?,
    })
}

pub(super) async fn insert(tx: &Tx, withdrawal: &Withdrawal) -> Result<()> {
    let sql = "INSERT INTO withdrawals (id, owner, provider, source, asset, amount, fee,
                                        destination, mask, state, review, cost, version, checks,
                                        created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, 1, 0, $12, $12)";
    let Withdrawal { id, owner, amount, fee, destination, mask, review, .. } = withdrawal;
    let (provider, source) = (withdrawal.provider.as_str(), withdrawal.source.as_str());
    let (minor, asset, fee) = (amount.minor, amount.asset, fee.minor);
    let (state, now) = (withdrawal.state.as_str(), tx.now());
    let row = params![
        id,
        owner,
        provider,
        source,
        asset,
        minor,
        fee,
        destination,
        mask,
        state,
        review,
        now
    ];
    tx.execute(sql, row).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<WithdrawalKind>) -> Result<Option<Withdrawal>> {
    let sql = format!("SELECT {COLUMNS} FROM withdrawals WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// How many withdrawals an owner has asked for since, and how much of one asset they come to.
/// Those that were taken back do not count.
pub(super) async fn since(
    tx: &Tx,
    owner: Id<User>,
    asset: kernel::Asset,
    since: Timestamp,
) -> Result<(i64, i64)> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT),
                      CAST(COALESCE(SUM(CASE WHEN asset = $3 THEN amount ELSE 0 END), 0) AS BIGINT)
               FROM withdrawals WHERE owner = $1 AND created_at > $2
                    AND state NOT IN ('cancelled', 'rejected', 'failed', 'returned')";
    let row = params![owner, since, asset];
    Ok(tx.one(sql, row, |row| Ok((row.take()?, row.take()?))).await?)
}

/// Moves a withdrawal on from the version that was decided about.
pub(super) async fn move_to(
    tx: &Tx,
    withdrawal: &Withdrawal,
    state: State,
    reason: Option<&str>,
) -> Result<bool> {
    let sql = "UPDATE withdrawals SET state = $3, reason = $4, version = version + 1,
                      updated_at = $5, next_check_at = $6
               WHERE id = $1 AND version = $2";
    let next = match state {
        State::Settled => next_look(tx.now(), tx.now()),
        state => state.is_in_flight().then(|| next_check(tx.now(), 0)),
    };
    let (id, version, state, now) = (withdrawal.id, withdrawal.version, state.as_str(), tx.now());
    let row = params![id, version, state, reason, now, next];
    Ok(tx.touch(sql, row).await?)
}

/// Keeps the provider's name of a payout and what it took.
pub(super) async fn heard(tx: &Tx, id: Id<WithdrawalKind>, provider_ref: &str) -> Result<()> {
    let sql = "UPDATE withdrawals SET provider_ref = $2 WHERE id = $1";
    tx.execute(sql, params![id, provider_ref]).await?;
    Ok(())
}

pub(super) async fn decided_by(tx: &Tx, id: Id<WithdrawalKind>, admin: Id<User>) -> Result<()> {
    tx.execute("UPDATE withdrawals SET decided_by = $2 WHERE id = $1", params![id, admin]).await?;
    Ok(())
}

/// Withdrawals that it is time to ask the provider about, with when they became what they are:
/// those that are settled, or the others.
pub(super) async fn due(
    db: &impl Read,
    is_settled: bool,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(Id<WithdrawalKind>, i64, Timestamp)>> {
    let sql = "SELECT id, checks, updated_at FROM withdrawals
               WHERE next_check_at <= $1 AND (state = 'settled') = $3
               ORDER BY next_check_at LIMIT $2";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?));
    Ok(db.all(sql, params![now, limit, is_settled], read).await?)
}

pub(super) async fn checked(
    tx: &Tx,
    id: Id<WithdrawalKind>,
    next: Option<Timestamp>,
) -> Result<()> {
    let sql = "UPDATE withdrawals SET checks = checks + 1, next_check_at = $2
               WHERE id = $1 AND next_check_at IS NOT NULL";
    tx.execute(sql, params![id, next]).await?;
    Ok(())
}

/// All withdrawals, or those of a state, the latest first.
pub(super) async fn list(
    db: &impl Read,
    state: Option<State>,
    page: &PageRequest,
) -> Result<Vec<Withdrawal>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM withdrawals
         WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) AND id < $2
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let state = state.map(State::as_str);
    let (after, fetch) = (page.after_id(), page.fetch());
    let row = params![state, after, fetch, page.offset];
    Ok(db.all(&sql, row, read).await?)
}
