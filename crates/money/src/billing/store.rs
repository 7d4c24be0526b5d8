//! All SQL of the bills.

use kernel::id::kinds::{Invoice as InvoiceKind, User};
use kernel::{Error, Id, Money, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Invoice, InvoiceState, Subscription, SubscriptionState};

fn read_subscription(row: &Row<'_>) -> Result<Subscription, DbError> {
    Ok(Subscription {
        id: row.take()?,
        owner: row.take()?,
        plan: row.take()?,
        next_plan: row.take()?,
        ends: row.take()?,
        state: row.take()?,
        period_start: row.take()?,
        period_end: row.take()?,
        version: row.take()?,
    })
}

const SUBSCRIPTION: &str =
    "id, owner, plan, next_plan, ends, state, period_start, period_end, version";

pub(super) async fn subscription(db: &impl Read, owner: Id<User>) -> Result<Option<Subscription>> {
    let sql = format!("SELECT {SUBSCRIPTION} FROM subscriptions WHERE owner = $1");
    Ok(db.maybe(&sql, params![owner], read_subscription).await?)
}

pub(super) async fn insert_subscription(tx: &Tx, new: &Subscription) -> Result<bool> {
    let sql = "INSERT INTO subscriptions (id, owner, plan, state, period_start, period_end,
                                          version, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7) ON CONFLICT DO NOTHING";
    let Subscription { id, owner, plan, period_start, period_end, .. } = new;
    let (state, now) = (new.state.as_str(), tx.now());
    Ok(tx.touch(sql, params![id, owner, plan, state, period_start, period_end, now]).await?)
}

/// Writes a subscription down as it is now, from the version that it was read at.
pub(super) async fn update_subscription(tx: &Tx, it: &Subscription) -> Result<()> {
    let sql = "UPDATE subscriptions SET plan = $3, next_plan = $4, state = $5, period_start = $6,
                      period_end = $7, version = version + 1, updated_at = $8, ends = $9
               WHERE id = $1 AND version = $2";
    let Subscription { id, version, plan, next_plan, ends, period_start, period_end, .. } = it;
    let (state, now) = (it.state.as_str(), tx.now());
    let row = params![id, version, plan, next_plan, state, period_start, period_end, now, ends];
    if tx.touch(sql, row).await? {
        return Ok(());
    }
    Err(Error::conflict("subscription_changed", "Somebody else has changed it meanwhile."))
}

/// Subscriptions whose period is over.
pub(super) async fn ended(db: &impl Read, now: Timestamp, limit: i64) -> Result<Vec<Id<User>>> {
    let sql = "SELECT owner FROM subscriptions
               WHERE period_end <= $1 AND state IN ('active', 'past_due')
               ORDER BY period_end LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| row.take()).await?)
}

/// The next number. Whoever comes second waits for the first one's transaction.
pub(super) async fn next_number(tx: &Tx) -> Result<i64> {
    let sql = "INSERT INTO invoice_numbers (series, last) VALUES ('invoice', 1)
               ON CONFLICT (series) DO UPDATE SET last = invoice_numbers.last + 1
               RETURNING last";
    Ok(tx.one(sql, &[], |row| row.take()).await?)
}

const INVOICE: &str =
    "id, owner, number, asset, net, used, tax, credited, recognised, lines, state,
                       period_start, period_end, issued_at, due_at, paid_at, attempts, version";

fn read_invoice(row: &Row<'_>) -> Result<Invoice, DbError> {
    let (id, owner, number, asset) = (row.take()?, row.take()?, row.take()?, row.take()?);
    let money = |minor| Money::new(minor, asset);
    let (net, used) = (money(row.take()?), money(row.take()?));
    let (tax, credited, recognised) = (money(row.take()?), money(row.take()?), money(row.take()?));
    let lines: String = row.take()?;
    let lines = serde_json::from_str(&lines)
        .map_err(|error| DbError::Other(format!("the lines of an invoice: {error}")))?;
    Ok(Invoice {
        id,
        owner,
        number,
        net,
        used,
        tax,
        credited,
        recognised,
        lines,
        state: row.take()?,
        period_start: row.take()?,
        period_end: row.take()?,
        issued_at: row.take()?,
        due_at: row.take()?,
        paid_at: row.take()?,
        attempts: row.take()?,
        version: row.take()?,
    })
}

pub(super) async fn insert_invoice(tx: &Tx, it: &Invoice) -> Result<()> {
    let sql = "INSERT INTO invoices (id, owner, number, asset, net, used, tax, credited,
                                     recognised, lines, state, period_start, period_end, issued_at,
                                     due_at, attempts, next_attempt_at, version)
               VALUES ($1, $2, $3, $4, $5, $12, $6, 0, $12, $7, 'open', $8, $9, $10, $11, 0, $10,
                       1)";
    let Invoice {
        id, owner, number, net, tax, period_start, period_end, issued_at, due_at, ..
    } = it;
    let lines = serde_json::to_string(&it.lines)
        .map_err(|error| Error::internal("the lines cannot be written").because(error))?;
    let (asset, net, tax, used) = (net.asset, net.minor, tax.minor, it.used.minor);
    let row = params![
        id,
        owner,
        number,
        asset,
        net,
        tax,
        lines,
        period_start,
        period_end,
        issued_at,
        due_at,
        used
    ];
    tx.execute(sql, row).await?;
    Ok(())
}

pub(super) async fn invoice(db: &impl Read, id: Id<InvoiceKind>) -> Result<Option<Invoice>> {
    let sql = format!("SELECT {INVOICE} FROM invoices WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read_invoice).await?)
}

/// Takes an invoice: whoever else wants to change it waits, and then sees what became of it.
pub(super) async fn take(tx: &Tx, id: Id<InvoiceKind>) -> Result<Option<Invoice>> {
    let sql = "UPDATE invoices SET version = version WHERE id = $1";
    tx.execute(sql, params![id]).await?;
    invoice(tx, id).await
}

/// An owner's invoices, the latest first.
pub(super) async fn invoices(
    db: &impl Read,
    owner: Id<User>,
    page: &PageRequest,
) -> Result<Vec<Invoice>> {
    let sql = format!(
        "SELECT {INVOICE} FROM invoices WHERE owner = $1 AND number < $2
         ORDER BY number DESC LIMIT $3 OFFSET $4"
    );
    let (key, fetch) = (page.after_key(), page.fetch());
    Ok(db.all(&sql, params![owner, key, fetch, page.offset], read_invoice).await?)
}

/// Everybody's invoices, the latest first.
pub(super) async fn all_invoices(
    db: &impl Read,
    state: Option<InvoiceState>,
    page: &PageRequest,
) -> Result<Vec<Invoice>> {
    let sql = format!(
        "SELECT {INVOICE} FROM invoices
         WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) AND number < $2
         ORDER BY number DESC LIMIT $3 OFFSET $4"
    );
    let (state, key, fetch) = (state.map(InvoiceState::as_str), page.after_key(), page.fetch());
    Ok(db.all(&sql, params![state, key, fetch, page.offset], read_invoice).await?)
}

/// The invoices of an owner of which not everything is served.
pub(super) async fn deferred_of(db: &impl Read, owner: Id<User>) -> Result<Vec<Invoice>> {
    let sql = format!(
        "SELECT {INVOICE} FROM invoices WHERE owner = $1 AND recognised < net ORDER BY number"
    );
    Ok(db.all(&sql, params![owner], read_invoice).await?)
}

/// Invoices of which not everything is served, after an id.
pub(super) async fn deferred(
    db: &impl Read,
    after: uuid::Uuid,
    limit: i64,
) -> Result<Vec<Id<InvoiceKind>>> {
    let sql = "SELECT id FROM invoices WHERE recognised < net AND id > $1 ORDER BY id LIMIT $2";
    Ok(db.all(sql, params![after, limit], |row| row.take()).await?)
}

/// Open invoices that it is time to try.
pub(super) async fn due(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Id<InvoiceKind>>> {
    let sql = "SELECT id FROM invoices WHERE state = 'open' AND next_attempt_at <= $1
               ORDER BY next_attempt_at LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| row.take()).await?)
}

/// Whether an owner has open invoices.
pub(super) async fn has_open(db: &impl Read, owner: Id<User>) -> Result<bool> {
    let sql = "SELECT 1 FROM invoices WHERE owner = $1 AND state = 'open' LIMIT 1";
    Ok(db.maybe(sql, params![owner], |_| Ok(())).await?.is_some())
}

/// Ends an open invoice that is paid.
pub(super) async fn pay(tx: &Tx, it: &Invoice) -> Result<bool> {
    let sql = "UPDATE invoices SET state = 'paid', paid_at = $3, next_attempt_at = NULL,
                      version = version + 1
               WHERE id = $1 AND version = $2 AND state = 'open'";
    Ok(tx.touch(sql, params![it.id, it.version, tx.now()]).await?)
}

/// Ends an open invoice that nobody pays: nothing of it is still to be served.
pub(super) async fn end(tx: &Tx, it: &Invoice, state: InvoiceState, credited: i64) -> Result<bool> {
    let sql = "UPDATE invoices SET state = $3, recognised = net, credited = $4,
                      next_attempt_at = NULL, version = version + 1
               WHERE id = $1 AND version = $2 AND state = 'open'";
    Ok(tx.touch(sql, params![it.id, it.version, state.as_str(), credited]).await?)
}

/// Counts an attempt that failed, unless one of this turn is counted.
pub(super) async fn attempted(tx: &Tx, it: &Invoice, next: Option<Timestamp>) -> Result<bool> {
    let sql = "UPDATE invoices SET attempts = attempts + 1, next_attempt_at = $3,
                      version = version + 1
               WHERE id = $1 AND version = $2 AND next_attempt_at <= $4";
    Ok(tx.touch(sql, params![it.id, it.version, next, tx.now()]).await?)
}

/// Writes down how much was served and credited.
pub(super) async fn recognised(
    tx: &Tx,
    it: &Invoice,
    recognised: i64,
    credited: i64,
) -> Result<bool> {
    let sql = "UPDATE invoices SET recognised = $3, credited = $4, version = version + 1
               WHERE id = $1 AND version = $2";
    Ok(tx.touch(sql, params![it.id, it.version, recognised, credited]).await?)
}

/// Counts what was used of a plan.
pub(super) async fn count(
    tx: &Tx,
    owner: Id<User>,
    metric: &str,
    period_start: Timestamp,
    more: i64,
) -> Result<()> {
    let sql = "INSERT INTO usage_counts (owner, metric, period_start, count)
               VALUES ($1, $2, $3, $4)
               ON CONFLICT (owner, metric, period_start)
               DO UPDATE SET count = usage_counts.count + $4";
    tx.execute(sql, params![owner, metric, period_start, more]).await?;
    Ok(())
}

pub(super) async fn used(
    db: &impl Read,
    owner: Id<User>,
    metric: &str,
    period_start: Timestamp,
) -> Result<i64> {
    let sql = "SELECT count FROM usage_counts
               WHERE owner = $1 AND metric = $2 AND period_start = $3";
    let row = params![owner, metric, period_start];
    Ok(db.maybe(sql, row, |row| row.take()).await?.unwrap_or_default())
}

pub(super) const fn is_live(state: SubscriptionState) -> bool {
    matches!(state, SubscriptionState::Active | SubscriptionState::PastDue)
}
