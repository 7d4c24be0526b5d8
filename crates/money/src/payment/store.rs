//! All SQL of the payments and of what providers told us.

use kernel::id::kinds::{Payment as PaymentKind, User};
use kernel::{Id, Money, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Payment, State};
use crate::provider::{Checkout, Event, ProviderName};

const COLUMNS: &str = "id, owner, provider, amount, asset, method, state, reason, provider_ref,
                       access_code, checkout_url, expires_at, created_at, updated_at, version";

fn read(row: &Row<'_>) -> Result<Payment, DbError> {
    Ok(Payment {
        id: row.take()?,
        owner: row.take()?,
        provider: row.take()?,
        amount: Money::new(row.take()?, row.take()?),
        method: row.take()?,
        state: row.take()?,
        reason: row.take()?,
        provider_ref: row.take()?,
        access_code: row.take()?,
        checkout_url: row.take()?,
        expires_at: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
        version: row.take()?,
    })
}

pub(super) async fn insert(tx: &Tx, payment: &Payment, next_check: Timestamp) -> Result<()> {
    let Payment { id, owner, provider, amount, method, state, expires_at, created_at, .. } =
        payment;
    let sql = "INSERT INTO payments (id, owner, provider, amount, asset, method, state, version,
                                     checks, next_check_at, expires_at, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0, $8, $9, $10, $10)";
    let (provider, state) = (provider.as_str(), state.as_str());
    let (minor, asset) = (amount.minor, amount.asset);
    let row = params![
        id, owner, provider, minor, asset, method, state, next_check, expires_at, created_at
    ];
    tx.execute(sql, row).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<PaymentKind>) -> Result<Option<Payment>> {
    let sql = format!("SELECT {COLUMNS} FROM payments WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// An owner's payment.
pub(super) async fn of_owner(
    db: &impl Read,
    owner: Id<User>,
    id: Id<PaymentKind>,
) -> Result<Option<Payment>> {
    let sql = format!("SELECT {COLUMNS} FROM payments WHERE id = $1 AND owner = $2");
    Ok(db.maybe(&sql, params![id, owner], read).await?)
}

/// Keeps where the payer goes; the first to come is kept.
pub(super) async fn opened(tx: &Tx, id: Id<PaymentKind>, checkout: &Checkout) -> Result<bool> {
    let sql = "UPDATE payments SET provider_ref = $2, access_code = $3, checkout_url = $4,
                      state = CASE WHEN state = 'created' THEN 'pending' ELSE state END,
                      version = version + 1, updated_at = $5
               WHERE id = $1 AND checkout_url IS NULL";
    let Checkout { provider_ref, access_code, url } = checkout;
    Ok(tx.touch(sql, params![id, provider_ref, access_code, url, tx.now()]).await?)
}

/// Moves a payment on from the version that was decided about. Only what can still change is
/// looked at again.
pub(super) async fn move_to(
    tx: &Tx,
    payment: &Payment,
    state: State,
    reason: Option<&str>,
) -> Result<bool> {
    let sql = "UPDATE payments SET state = $3, reason = $4, version = version + 1, updated_at = $5,
                      next_check_at = CASE WHEN $6 THEN next_check_at ELSE NULL END
               WHERE id = $1 AND version = $2";
    let is_open = matches!(state, State::Created | State::Pending);
    let (id, version, state) = (payment.id, payment.version, state.as_str());
    Ok(tx.touch(sql, params![id, version, state, reason, tx.now(), is_open]).await?)
}

/// Payments that it is time to ask the provider about.
pub(super) async fn due(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(Id<PaymentKind>, i64)>> {
    let sql = "SELECT id, checks FROM payments WHERE next_check_at <= $1
               ORDER BY next_check_at LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| Ok((row.take()?, row.take()?))).await?)
}

/// Notes that a payment is being asked about, and when it is to be next.
pub(super) async fn checked(tx: &Tx, id: Id<PaymentKind>, next: Timestamp) -> Result<()> {
    let sql = "UPDATE payments SET checks = checks + 1, next_check_at = $2
               WHERE id = $1 AND next_check_at IS NOT NULL";
    tx.execute(sql, params![id, next]).await?;
    Ok(())
}

/// Keeps an event; false when it is here already.
pub(super) async fn insert_event(
    tx: &Tx,
    provider: ProviderName,
    event: &Event,
    body: &str,
) -> Result<bool> {
    let sql = "INSERT INTO provider_events (provider, dedupe_key, kind, reference, body, state,
                                            received_at)
               VALUES ($1, $2, $3, $4, $5, 'new', $6) ON CONFLICT DO NOTHING";
    let Event { dedupe_key, kind, reference } = event;
    let (provider, now) = (provider.as_str(), tx.now());
    let row = params![provider, dedupe_key, kind, reference, body, now];
    Ok(tx.touch(sql, row).await?)
}

/// The kind and the reference of an event that is still to be acted on.
pub(super) async fn open_event(
    db: &impl Read,
    provider: ProviderName,
    dedupe_key: &str,
) -> Result<Option<(String, String)>> {
    let sql = "SELECT kind, reference FROM provider_events
               WHERE provider = $1 AND dedupe_key = $2 AND state <> 'done'";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?));
    Ok(db.maybe(sql, params![provider.as_str(), dedupe_key], read).await?)
}

pub(super) async fn event_became(
    tx: &Tx,
    provider: ProviderName,
    dedupe_key: &str,
    state: &str,
) -> Result<()> {
    let sql = "UPDATE provider_events SET state = $3 WHERE provider = $1 AND dedupe_key = $2";
    tx.execute(sql, params![provider.as_str(), dedupe_key, state]).await?;
    Ok(())
}
