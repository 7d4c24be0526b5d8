//! All SQL of the payments and of what providers told us.

use kernel::id::kinds::{Invoice as InvoiceKind, Payment as PaymentKind, User};
use kernel::{Asset, Id, Money, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Payment, State, UNDECIDED};
use super::rules;
use crate::provider::asking::ASKING;
use crate::provider::{Arrival, Checkout, Event, ProviderName};

const COLUMNS: &str = "id, owner, provider, amount, asset, invoice, method, state, reason,
                       provider_ref, access_code, checkout_url, expires_at, created_at,
                       updated_at, version";

fn read(row: &Row<'_>) -> Result<Payment, DbError> {
    Ok(Payment {
        id: row.take()?,
        owner: row.take()?,
        provider: row.take()?,
        amount: Money::new(row.take()?, row.take()?),
        invoice: row.take()?,
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
    let Payment { id, owner, amount, invoice, method, expires_at, created_at, .. } = payment;
    let sql = "INSERT INTO payments (id, owner, provider, amount, asset, invoice, method, state,
                                     version, checks, next_check_at, expires_at, created_at,
                                     updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 0, $9, $10, $11, $11)";
    let (provider, state) = (payment.provider.as_str(), payment.state.as_str());
    let (minor, asset) = (amount.minor, amount.asset);
    let row = params![
        id, owner, provider, minor, asset, invoice, method, state, next_check, expires_at,
        created_at
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

/// The payment of an invoice that can still be paid at a provider, for this amount.
pub(super) async fn open_of_invoice(
    db: &impl Read,
    invoice: Id<InvoiceKind>,
    provider: ProviderName,
    amount: Money,
    now: Timestamp,
) -> Result<Option<Id<PaymentKind>>> {
    let sql = "SELECT id FROM payments
               WHERE invoice = $1 AND provider = $2 AND amount = $3 AND asset = $4
                   AND state IN ('created', 'pending') AND expires_at > $5
               ORDER BY id DESC LIMIT 1";
    let (provider, Money { minor, asset }) = (provider.as_str(), amount);
    let row = params![invoice, provider, minor, asset, now];
    Ok(db.maybe(sql, row, |row| row.take()).await?)
}

/// Takes the asking for a page to pay on; false when there is one, or somebody else asks.
pub(super) async fn claim(tx: &Tx, id: Id<PaymentKind>) -> Result<bool> {
    let sql = "UPDATE payments SET asked_until = $3
               WHERE id = $1 AND state = 'created' AND checkout_url IS NULL
                   AND (asked_until IS NULL OR asked_until <= $2)";
    Ok(tx.touch(sql, params![id, tx.now(), tx.now() + ASKING]).await?)
}

/// Lets others ask: this one has asked, and has no page.
pub(super) async fn release(tx: &Tx, id: Id<PaymentKind>) -> Result<()> {
    let sql = "UPDATE payments SET asked_until = NULL WHERE id = $1";
    tx.execute(sql, params![id]).await?;
    Ok(())
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

/// Moves a payment on from the version that was decided about. What can still change is looked at
/// again: also what is settled, which the payer's bank may want back.
pub(super) async fn move_to(
    tx: &Tx,
    payment: &Payment,
    state: State,
    reason: Option<&str>,
) -> Result<bool> {
    let sql = "UPDATE payments SET state = $3, reason = $4, version = version + 1, updated_at = $5,
                      next_check_at = CASE WHEN $6 THEN next_check_at ELSE $7 END
               WHERE id = $1 AND version = $2";
    let is_open = matches!(state, State::Created | State::Pending);
    let moved = Payment { updated_at: tx.now(), ..payment.clone() };
    let look = match state {
        State::Expired => rules::next_late_look(tx.now(), tx.now()),
        state => rules::next_look(&moved, false, tx.now()).filter(|_| state.has_money()),
    };
    let (id, version, state) = (payment.id, payment.version, state.as_str());
    Ok(tx.touch(sql, params![id, version, state, reason, tx.now(), is_open, look]).await?)
}

/// Payments of a state, or all, the latest first. Suspended ones are those that wait.
pub(super) async fn list(
    db: &impl Read,
    state: Option<State>,
    page: &PageRequest,
) -> Result<Vec<Payment>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM payments
         WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) AND id < $2
             AND (CAST($1 AS TEXT) IS NULL OR state <> 'suspended' OR reason IN ($5, $6))
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let (state, after, fetch) = (state.map(State::as_str), page.after_id(), page.fetch());
    let [amount, owner] = UNDECIDED;
    let row = params![state, after, fetch, page.offset, amount, owner];
    Ok(db.all(&sql, row, read).await?)
}

/// Takes a payment from the version that was decided about, with another reason where there is one.
pub(super) async fn take(tx: &Tx, payment: &Payment, reason: Option<&str>) -> Result<bool> {
    let sql = "UPDATE payments SET reason = COALESCE($3, reason), version = version + 1,
                      updated_at = $4 WHERE id = $1 AND version = $2";
    Ok(tx.touch(sql, params![payment.id, payment.version, reason, tx.now()]).await?)
}

/// Keeps a payment's row for this transaction.
pub(super) async fn lock(tx: &Tx, id: Id<PaymentKind>) -> Result<()> {
    tx.execute("UPDATE payments SET version = version WHERE id = $1", params![id]).await?;
    Ok(())
}

/// Settles a suspended payment with what came.
pub(super) async fn credited(tx: &Tx, payment: &Payment, came: Money) -> Result<bool> {
    let sql = "UPDATE payments SET state = 'settled', amount = $3, asset = $4,
                      version = version + 1, updated_at = $5 WHERE id = $1 AND version = $2";
    let (Payment { id, version, .. }, Money { minor, asset }) = (payment, came);
    Ok(tx.touch(sql, params![id, version, minor, asset, tx.now()]).await?)
}

/// Payments that it is time to ask the provider about: those whose money has come, or the others.
/// With them how often they were asked about, and since when they are expired, where they are.
pub(super) async fn due(
    db: &impl Read,
    has_money: bool,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(Id<PaymentKind>, i64, Option<Timestamp>)>> {
    let sql = "SELECT id, checks, CASE WHEN state = 'expired' THEN updated_at END FROM payments
               WHERE next_check_at <= $1 AND (state IN ('settled', 'suspended')) = $3
               ORDER BY next_check_at LIMIT $2";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?));
    Ok(db.all(sql, params![now, limit, has_money], read).await?)
}

/// Notes that a payment is being asked about, and when it is to be next.
pub(super) async fn checked(tx: &Tx, id: Id<PaymentKind>, next: Option<Timestamp>) -> Result<()> {
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

pub(super) async fn event_unmatched(
    tx: &Tx,
    provider: ProviderName,
    dedupe_key: &str,
) -> Result<()> {
    // What somebody has acted on stays so, whoever found nothing meanwhile.
    let sql = "UPDATE provider_events SET state = 'unmatched'
               WHERE provider = $1 AND dedupe_key = $2 AND state <> 'done'";
    tx.execute(sql, params![provider.as_str(), dedupe_key]).await?;
    Ok(())
}

pub(super) async fn event_done(
    tx: &Tx,
    provider: ProviderName,
    dedupe_key: &str,
    reference: &str,
) -> Result<()> {
    let sql = "UPDATE provider_events SET state = 'done', reference = $3
               WHERE provider = $1 AND dedupe_key = $2";
    tx.execute(sql, params![provider.as_str(), dedupe_key, reference]).await?;
    Ok(())
}

/// Keeps whose an address is; it is theirs for ever.
pub(super) async fn keep_address(tx: &Tx, payment: &Payment, address: &str) -> Result<()> {
    let sql = "INSERT INTO deposit_addresses (provider, asset, address, owner, created_at)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let (provider, asset, now) = (payment.provider.as_str(), payment.amount.asset, tx.now());
    tx.execute(sql, params![provider, asset, address, payment.owner, now]).await?;
    Ok(())
}

/// Whose an address is, whatever asset it was given out for: one coin sent to the address of another
/// is the commonest mistake on a chain, and is still its owner's.
pub(super) async fn owner_of(
    db: &impl Read,
    provider: ProviderName,
    asset: Asset,
    address: &str,
) -> Result<Option<Id<User>>> {
    let sql = "SELECT owner FROM deposit_addresses
               WHERE provider = $1 AND asset = $2 AND address = $3";
    let provider = provider.as_str();
    let own = db.maybe(sql, params![provider, asset, address], |row| row.take()).await?;
    if own.is_some() {
        return Ok(own);
    }
    let sql = "SELECT owner FROM deposit_addresses WHERE provider = $1 AND address = $2
               ORDER BY created_at LIMIT 1";
    Ok(db.maybe(sql, params![provider, address], |row| row.take()).await?)
}

/// The oldest payment of an owner that waits for money to arrive, and for which none has.
pub(super) async fn waiting(
    db: &impl Read,
    owner: Id<User>,
    provider: ProviderName,
    asset: Asset,
) -> Result<Option<Id<PaymentKind>>> {
    let sql = "SELECT id FROM payments
               WHERE owner = $1 AND provider = $2 AND asset = $3
                   AND state IN ('created', 'pending') AND checkout_url IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM arrivals WHERE arrivals.payment = payments.id)
               ORDER BY id LIMIT 1";
    Ok(db.maybe(sql, params![owner, provider.as_str(), asset], |row| row.take()).await?)
}

/// Keeps an arrival; false when it is here already.
pub(super) async fn insert_arrival(
    tx: &Tx,
    provider: ProviderName,
    arrival: &Arrival,
    payment: Option<Id<PaymentKind>>,
) -> Result<bool> {
    let sql = "INSERT INTO arrivals (provider, provider_ref, payment, asset, raw_amount, raw_rest,
                                     seen_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let Arrival { provider_ref, asset, raw, rest, .. } = arrival;
    let (provider, now) = (provider.as_str(), tx.now());
    Ok(tx.touch(sql, params![provider, provider_ref, payment, asset, raw, rest, now]).await?)
}

/// The payment that an arrival became.
pub(super) async fn of_arrival(
    db: &impl Read,
    provider: ProviderName,
    provider_ref: &str,
) -> Result<Option<Id<PaymentKind>>> {
    let sql = "SELECT payment FROM arrivals
               WHERE provider = $1 AND provider_ref = $2 AND payment IS NOT NULL";
    Ok(db.maybe(sql, params![provider.as_str(), provider_ref], |row| row.take()).await?)
}

/// Money is on its way to a payment: what was sent is what it is about from here on. False when the
/// payment is over.
pub(super) async fn seen(tx: &Tx, payment: &Payment) -> Result<bool> {
    let sql = "UPDATE payments SET amount = $2, provider_ref = $3, expires_at = $4,
                      state = 'pending', next_check_at = $5, checks = 0, version = version + 1,
                      updated_at = $5
               WHERE id = $1 AND state IN ('created', 'pending')";
    let Payment { id, amount, provider_ref, expires_at, .. } = payment;
    Ok(tx.touch(sql, params![id, amount.minor, provider_ref, expires_at, tx.now()]).await?)
}

/// How far a provider's arrivals were read; none when they never were.
pub(super) async fn place(db: &impl Read, provider: ProviderName) -> Result<Option<String>> {
    let sql = "SELECT place FROM arrival_cursors WHERE provider = $1";
    Ok(db.maybe(sql, params![provider.as_str()], |row| row.take()).await?)
}

/// Moves that on; false when somebody else has.
pub(super) async fn move_place(
    tx: &Tx,
    provider: ProviderName,
    from: Option<&str>,
    to: &str,
) -> Result<bool> {
    let provider = provider.as_str();
    let Some(from) = from else {
        let sql = "INSERT INTO arrival_cursors (provider, place) VALUES ($1, $2)
                   ON CONFLICT DO NOTHING";
        return Ok(tx.touch(sql, params![provider, to]).await?);
    };
    let sql = "UPDATE arrival_cursors SET place = $3 WHERE provider = $1 AND place = $2";
    Ok(tx.touch(sql, params![provider, from, to]).await?)
}
