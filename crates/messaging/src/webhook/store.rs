//! All SQL of webhooks.

use kernel::id::kinds::{Delivery as DeliveryKind, User, Webhook};
use kernel::{Cursor, Id, Page, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx, Value};
use platform::journal::Recorded;
use platform::params;

use super::catalogue::Wanted;
use super::model::{Attempt, Delivery, DeliveryState, Endpoint, FAILING, Sealed, State};

const ENDPOINT: &str = "id, organization, provider, url, description, events, state, reason, \
                        failures, failing_since, warned, resume_at, old_until, created_at, \
                        updated_at";
const DELIVERY: &str = "id, endpoint, fact, seq, verb, state, attempts, tries, next_at, created_at";

/// Rows that one sweep takes away.
const SWEEP: i64 = 5000;

fn word<T: std::str::FromStr<Err = kernel::Error>>(row: &Row<'_>) -> Result<T, DbError> {
    row.take::<String>()?.parse().map_err(|error: T::Err| DbError::Other(error.to_string()))
}

fn read_endpoint(row: &Row<'_>) -> Result<Endpoint, DbError> {
    Ok(Endpoint {
        id: row.take()?,
        organization: row.take()?,
        provider: word(row)?,
        url: row.take()?,
        description: row.take()?,
        events: Wanted::from_text(&row.take::<String>()?),
        state: word(row)?,
        reason: row.take()?,
        failures: row.take()?,
        failing_since: row.take()?,
        warned: row.take()?,
        resume_at: row.take()?,
        old_until: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}

fn read_delivery(row: &Row<'_>) -> Result<Delivery, DbError> {
    Ok(Delivery {
        id: row.take()?,
        endpoint: row.take()?,
        fact: row.take()?,
        seq: row.take()?,
        verb: row.take()?,
        state: word(row)?,
        attempts: row.take()?,
        tries: row.take()?,
        next_at: row.take()?,
        created_at: row.take()?,
    })
}

fn read_attempt(row: &Row<'_>) -> Result<Attempt, DbError> {
    Ok(Attempt {
        delivery: row.take()?,
        number: row.take()?,
        at: row.take()?,
        status: row.take::<Option<i64>>()?.and_then(|status| u16::try_from(status).ok()),
        latency_ms: row.take()?,
        answer: row.take()?,
        error: row.take()?,
    })
}

pub(super) async fn insert(tx: &Tx, new: &Endpoint, secret: &[u8], by: Id<User>) -> Result<()> {
    let sql = "INSERT INTO webhook_endpoints (id, organization, provider, url, description, events,
                   state, secret, failures, warned, resume_at, wakes, created_by, created_at,
                   updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, FALSE, $9, 0, $10, $9, $9)";
    tx.execute(
        sql,
        params![
            new.id,
            new.organization,
            new.provider.as_str(),
            new.url,
            new.description,
            new.events.to_text(),
            new.state.as_str(),
            secret,
            new.created_at,
            by
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<Webhook>) -> Result<Option<Endpoint>> {
    let sql = format!("SELECT {ENDPOINT} FROM webhook_endpoints WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read_endpoint).await?)
}

pub(super) async fn sealed(db: &impl Read, id: Id<Webhook>) -> Result<Option<Sealed>> {
    let sql = "SELECT secret, old_secret FROM webhook_endpoints WHERE id = $1";
    let read = |row: &Row<'_>| Ok(Sealed { secret: row.take()?, old: row.take()? });
    Ok(db.maybe(sql, params![id], read).await?)
}

/// The organization's webhooks, newest first.
pub(super) async fn list(
    db: &impl Read,
    of: Id<User>,
    page: &PageRequest,
) -> Result<Page<Endpoint>> {
    let sql = format!(
        "SELECT {ENDPOINT} FROM webhook_endpoints
         WHERE organization = $1 AND provider = 'webhook' AND id < $2
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let after = page.after_id();
    let rows = db.all(&sql, params![of, after, page.fetch(), page.offset], read_endpoint).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

/// All that an organization has: they are few.
pub(super) async fn all_of(db: &impl Read, of: Id<User>) -> Result<Vec<Endpoint>> {
    let sql =
        format!("SELECT {ENDPOINT} FROM webhook_endpoints WHERE organization = $1 ORDER BY id");
    Ok(db.all(&sql, params![of], read_endpoint).await?)
}

/// Whether anybody has one at all.
pub(super) async fn is_any(db: &impl Read) -> Result<bool> {
    let sql = "SELECT id FROM webhook_endpoints LIMIT 1";
    Ok(db.maybe(sql, &[], |_| Ok(())).await?.is_some())
}

/// Writes what the organization may change, and begins anew with its health.
pub(super) async fn save(tx: &Tx, endpoint: &Endpoint, secret: Option<&[u8]>) -> Result<bool> {
    let sql = "UPDATE webhook_endpoints SET url = $2, description = $3, events = $4, state = $5,
                   reason = NULL, failures = 0, failing_since = NULL, warned = FALSE,
                   resume_at = $6, updated_at = $6, secret = COALESCE($7, secret)
               WHERE id = $1";
    Ok(tx
        .touch(
            sql,
            params![
                endpoint.id,
                endpoint.url,
                endpoint.description,
                endpoint.events.to_text(),
                endpoint.state.as_str(),
                tx.now(),
                secret
            ],
        )
        .await?)
}

/// A new key signs from now on; the one of before signs too until then.
pub(super) async fn rotate(
    tx: &Tx,
    id: Id<Webhook>,
    secret: &[u8],
    old_until: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE webhook_endpoints SET old_secret = secret, secret = $2, old_until = $3,
                   updated_at = $4
               WHERE id = $1";
    Ok(tx.touch(sql, params![id, secret, old_until, tx.now()]).await?)
}

pub(super) async fn delete(tx: &Tx, id: Id<Webhook>) -> Result<bool> {
    for sql in [
        "DELETE FROM webhook_attempts WHERE delivery IN
             (SELECT id FROM webhook_deliveries WHERE endpoint = $1)",
        "DELETE FROM webhook_deliveries WHERE endpoint = $1",
    ] {
        tx.execute(sql, params![id]).await?;
    }
    Ok(tx.touch("DELETE FROM webhook_endpoints WHERE id = $1", params![id]).await?)
}

/// Whoever changes what there is to do at an endpoint does this first, so that they and the job that
/// finds nothing left to do come one after the other.
pub(super) async fn touch(tx: &Tx, id: Id<Webhook>) -> Result<bool> {
    let sql = "UPDATE webhook_endpoints SET wakes = wakes + 1 WHERE id = $1";
    Ok(tx.touch(sql, params![id]).await?)
}

/// It has answered as it should.
pub(super) async fn is_well(tx: &Tx, id: Id<Webhook>) -> Result<()> {
    let sql = "UPDATE webhook_endpoints SET failures = 0, failing_since = NULL, warned = FALSE,
                   resume_at = $2
               WHERE id = $1 AND failures > 0";
    tx.touch(sql, params![id, tx.now()]).await?;
    Ok(())
}

/// It has failed once more.
pub(super) async fn fails(tx: &Tx, endpoint: &Endpoint) -> Result<()> {
    let sql = "UPDATE webhook_endpoints SET failures = $2, failing_since = $3, warned = $4,
                   resume_at = $5
               WHERE id = $1";
    let Endpoint { id, failures, failing_since, warned, resume_at, .. } = endpoint;
    tx.touch(sql, params![id, failures, failing_since, warned, resume_at]).await?;
    Ok(())
}

/// Disables it, with all that waits; `false` where it is not enabled any more.
pub(super) async fn disable(tx: &Tx, id: Id<Webhook>, reason: &str) -> Result<bool> {
    let sql = "UPDATE webhook_endpoints SET state = 'disabled', reason = $2, updated_at = $3
               WHERE id = $1 AND state = 'enabled'";
    let done = tx.touch(sql, params![id, reason, tx.now()]).await?;
    let sql = "UPDATE webhook_deliveries SET state = 'failed'
               WHERE endpoint = $1 AND state = 'waiting'";
    tx.execute(sql, params![id]).await?;
    Ok(done)
}

/// Adds the delivery of a fact; one that is there stays as it is.
pub(super) async fn add(tx: &Tx, endpoint: Id<Webhook>, fact: &Recorded) -> Result<()> {
    insert_delivery(tx, endpoint, fact, "DO NOTHING").await
}

/// Adds the delivery of a fact, or gives one that has failed another round; answers nothing of one
/// that waits or is done.
pub(super) async fn add_again(tx: &Tx, endpoint: Id<Webhook>, fact: &Recorded) -> Result<()> {
    let conflict = "DO UPDATE SET state = 'waiting', tries = 0, next_at = excluded.next_at
                    WHERE webhook_deliveries.state = 'failed'";
    insert_delivery(tx, endpoint, fact, conflict).await
}

async fn insert_delivery(
    tx: &Tx,
    endpoint: Id<Webhook>,
    fact: &Recorded,
    conflict: &str,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO webhook_deliveries (id, endpoint, fact, seq, verb, state, attempts, tries,
             next_at, created_at)
         VALUES ($1, $2, $3, $4, $5, 'waiting', 0, 0, $6, $6)
         ON CONFLICT (endpoint, fact) {conflict}"
    );
    let id = tx.world().id::<DeliveryKind>();
    let seq = fact.seq.unwrap_or_default();
    tx.execute(&sql, params![id, endpoint, fact.id, seq, fact.verb, tx.now()]).await?;
    Ok(())
}

/// What is due at an endpoint, in the journal's order.
pub(super) async fn due(
    db: &impl Read,
    endpoint: Id<Webhook>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Delivery>> {
    let sql = format!(
        "SELECT {DELIVERY} FROM webhook_deliveries
         WHERE endpoint = $1 AND state = 'waiting' AND next_at <= $2 ORDER BY seq LIMIT $3"
    );
    Ok(db.all(&sql, params![endpoint, now, limit], read_delivery).await?)
}

/// When the next delivery to an endpoint is due, if any waits.
pub(super) async fn next_due(db: &impl Read, endpoint: Id<Webhook>) -> Result<Option<Timestamp>> {
    let sql = "SELECT MIN(next_at) FROM webhook_deliveries
               WHERE endpoint = $1 AND state = 'waiting'";
    Ok(db.one(sql, params![endpoint], |row| row.take()).await?)
}

pub(super) async fn delivery(db: &impl Read, id: Id<DeliveryKind>) -> Result<Option<Delivery>> {
    let sql = format!("SELECT {DELIVERY} FROM webhook_deliveries WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read_delivery).await?)
}

/// Deliveries to an endpoint, newest first.
pub(super) async fn deliveries(
    db: &impl Read,
    endpoint: Id<Webhook>,
    state: Option<DeliveryState>,
    verb: Option<&str>,
    page: &PageRequest,
) -> Result<Page<Delivery>> {
    let state = state.map(DeliveryState::as_str);
    let sql = format!(
        "SELECT {DELIVERY} FROM webhook_deliveries
         WHERE endpoint = $1 AND id < $2
             AND (CAST($3 AS TEXT) IS NULL OR state = $3)
             AND (CAST($4 AS TEXT) IS NULL OR verb = $4)
         ORDER BY id DESC LIMIT $5 OFFSET $6"
    );
    let after = page.after_id();
    let rows = db
        .all(&sql, params![endpoint, after, state, verb, page.fetch(), page.offset], read_delivery)
        .await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

/// The attempts of these deliveries, in order.
pub(super) async fn attempts(db: &impl Read, of: &[Delivery]) -> Result<Vec<Attempt>> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let markers: Vec<_> = (1..=of.len()).map(|place| format!("${place}")).collect();
    let ids: Vec<Value<'_>> = of.iter().map(|one| Value::Uuid(one.id.uuid())).collect();
    let sql = format!(
        "SELECT delivery, number, at, status, latency_ms, answer, error FROM webhook_attempts
         WHERE delivery IN ({}) ORDER BY delivery, number",
        markers.join(", ")
    );
    Ok(db.all(&sql, &ids, read_attempt).await?)
}

/// Begins another round; `false` where it waits already.
pub(super) async fn again(tx: &Tx, id: Id<DeliveryKind>) -> Result<bool> {
    let sql = "UPDATE webhook_deliveries SET state = 'waiting', tries = 0, next_at = $2
               WHERE id = $1 AND (state <> 'waiting' OR next_at > $2)";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Notes how an attempt went, unless somebody else has noted one meanwhile.
pub(super) async fn note(
    tx: &Tx,
    before: &Delivery,
    attempt: &Attempt,
    state: DeliveryState,
    next_at: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE webhook_deliveries SET attempts = $3, tries = tries + 1, state = $4,
                   next_at = $5
               WHERE id = $1 AND attempts = $2";
    if !tx
        .touch(sql, params![before.id, before.attempts, attempt.number, state.as_str(), next_at])
        .await?
    {
        return Ok(false);
    }
    let sql = "INSERT INTO webhook_attempts
                   (delivery, number, at, status, latency_ms, answer, error)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    tx.execute(
        sql,
        params![
            attempt.delivery,
            attempt.number,
            attempt.at,
            attempt.status.map(i64::from),
            attempt.latency_ms,
            attempt.answer,
            attempt.error
        ],
    )
    .await?;
    Ok(true)
}

/// Endpoints with something overdue: what a lost wake-up would leave lying.
pub(super) async fn overdue(db: &impl Read, before: Timestamp) -> Result<Vec<Id<Webhook>>> {
    let sql = "SELECT DISTINCT webhook_deliveries.endpoint FROM webhook_deliveries
               JOIN webhook_endpoints ON webhook_endpoints.id = webhook_deliveries.endpoint
               WHERE webhook_deliveries.state = 'waiting' AND webhook_deliveries.next_at < $1
                   AND webhook_endpoints.state = 'enabled' AND webhook_endpoints.resume_at < $1";
    Ok(db.all(sql, params![before], |row| row.take()).await?)
}

/// Takes away what is old and does not wait; answers how many deliveries.
pub(super) async fn sweep(tx: &Tx, before: Timestamp) -> Result<u64> {
    let old = "SELECT id FROM webhook_deliveries WHERE id < $1 AND state <> 'waiting'
               ORDER BY id LIMIT $2";
    let first = Id::<DeliveryKind>::first_at(before);
    let sql = format!("DELETE FROM webhook_attempts WHERE delivery IN ({old})");
    tx.execute(&sql, params![first, SWEEP]).await?;
    let sql = format!("DELETE FROM webhook_deliveries WHERE id IN ({old})");
    Ok(tx.execute(&sql, params![first, SWEEP]).await?)
}

/// What an endpoint is when its patience has come to an end.
pub(super) const fn reason_of(is_gone: bool) -> &'static str {
    if is_gone { super::model::GONE } else { FAILING }
}

/// Whether an endpoint is one to be called.
pub(super) fn is_live(endpoint: &Endpoint) -> bool {
    endpoint.state == State::Enabled
}
