//! All SQL of the refunds.

use kernel::id::kinds::{Payment as PaymentKind, Refund as RefundKind};
use kernel::{Id, Money, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Refund, State};
use super::rules::{next_check, next_look};

const COLUMNS: &str = "id, payment, owner, provider, source, amount, asset, state, reason, failure,
                       requested_by, provider_ref, created_at, updated_at, version";

fn read(row: &Row<'_>) -> Result<Refund, DbError> {
    Ok(Refund {
        id: row.take()?,
        payment: row.take()?,
        owner: row.take()?,
        provider: row.take()?,
        source: row.take()?,
        amount: Money::new(row.take()?, row.take()?),
        state: row.take()?,
        reason: row.take()?,
        failure: row.take()?,
        requested_by: row.take()?,
        provider_ref: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
        version: row.take()?,
    })
}

pub(super) async fn insert(tx: &Tx, refund: &Refund) -> Result<()> {
    let sql = "INSERT INTO refunds (id, payment, owner, provider, source, asset, amount, state,
                                    reason, requested_by, version, checks, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, 0, $11, $11)";
    let Refund { id, payment, owner, amount, reason, requested_by, .. } = refund;
    let (provider, source) = (refund.provider.as_str(), refund.source.as_str());
    let (minor, asset, state) = (amount.minor, amount.asset, refund.state.as_str());
    let now = tx.now();
    let row = params![
        id,
        payment,
        owner,
        provider,
        source,
        asset,
        minor,
        state,
        reason,
        requested_by,
        now
    ];
    tx.execute(sql, row).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<RefundKind>) -> Result<Option<Refund>> {
    let sql = format!("SELECT {COLUMNS} FROM refunds WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// What has gone back of a payment, or is on its way.
pub(super) async fn sum(db: &impl Read, payment: Id<PaymentKind>) -> Result<i64> {
    let sql = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM refunds
               WHERE payment = $1 AND state <> 'failed'";
    Ok(db.one(sql, params![payment], |row| row.take()).await?)
}

/// The refunds of a payment that are not over, or may come back.
pub(super) async fn open_of(
    db: &impl Read,
    payment: Id<PaymentKind>,
) -> Result<Vec<Id<RefundKind>>> {
    let sql = "SELECT id FROM refunds
               WHERE payment = $1 AND state IN ('submitting', 'unknown', 'submitted', 'settled')
               ORDER BY id";
    Ok(db.all(sql, params![payment], |row| row.take()).await?)
}

/// Moves a refund on from the version that was decided about.
pub(super) async fn move_to(
    tx: &Tx,
    refund: &Refund,
    state: State,
    failure: Option<&str>,
) -> Result<bool> {
    let sql = "UPDATE refunds SET state = $3, failure = $4, version = version + 1,
                      updated_at = $5, next_check_at = $6
               WHERE id = $1 AND version = $2";
    let next = match state {
        State::Settled => next_look(tx.now(), tx.now()),
        state => state.is_in_flight().then(|| next_check(tx.now(), 0)),
    };
    let (id, version, state, now) = (refund.id, refund.version, state.as_str(), tx.now());
    Ok(tx.touch(sql, params![id, version, state, failure, now, next]).await?)
}

/// Keeps the provider's name of a refund.
pub(super) async fn heard(tx: &Tx, id: Id<RefundKind>, provider_ref: &str) -> Result<()> {
    let sql = "UPDATE refunds SET provider_ref = $2 WHERE id = $1";
    tx.execute(sql, params![id, provider_ref]).await?;
    Ok(())
}

/// Refunds that it is time to ask the provider about, how often that was done, and since when they
/// are settled, where they are.
pub(super) async fn due(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(Id<RefundKind>, i64, Option<Timestamp>)>> {
    let sql = "SELECT id, checks, CASE WHEN state = 'settled' THEN updated_at END FROM refunds
               WHERE next_check_at <= $1 ORDER BY next_check_at LIMIT $2";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?));
    Ok(db.all(sql, params![now, limit], read).await?)
}

pub(super) async fn checked(tx: &Tx, id: Id<RefundKind>, next: Option<Timestamp>) -> Result<()> {
    let sql = "UPDATE refunds SET checks = checks + 1, next_check_at = $2
               WHERE id = $1 AND next_check_at IS NOT NULL";
    tx.execute(sql, params![id, next]).await?;
    Ok(())
}

/// All refunds, or those of a state, the latest first.
pub(super) async fn list(
    db: &impl Read,
    state: Option<State>,
    page: &PageRequest,
) -> Result<Vec<Refund>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM refunds
         WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) AND id < $2
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let (state, after, fetch) = (state.map(State::as_str), page.after_id(), page.fetch());
    let row = params![state, after, fetch, page.offset];
    Ok(db.all(&sql, row, read).await?)
}
