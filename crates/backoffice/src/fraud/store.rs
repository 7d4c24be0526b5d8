//! All SQL of signals and alerts.

use std::time::Duration;

use kernel::id::kinds::{self, User};
use kernel::{Cursor, Id, Page, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use uuid::Uuid;

use super::model::{Alert, AlertState, Finding, Rule};
use super::places::Place;
use super::rules::{self, Pair};

/// What the rules remember of a fact.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    pub(super) fact: Uuid,
    pub(super) kind: &'static str,
    pub(super) person: Id<User>,
    pub(super) other: Option<Id<User>>,
    pub(super) subject: String,
    pub(super) at: Timestamp,
    pub(super) address: Option<[u8; 32]>,
    pub(super) device: Option<[u8; 32]>,
    /// Of a sign-in: from where, as far as it is known.
    pub(super) place: Option<Place>,
    /// Of a sign-in: whether neither its network nor its device was seen before.
    pub(super) fresh: bool,
    /// Of a verdict: whether it is favourable.
    pub(super) verified: bool,
    /// Of a verdict: for how long it was worked on.
    pub(super) seconds: Option<i64>,
}

pub(super) async fn insert(tx: &Tx, new: &Signal) -> Result<()> {
    let sql = "INSERT INTO fraud_signals (fact, kind, person, other, subject, at, address, device,
                   fresh, verified, seconds, country, latitude, longitude, radius)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    let Signal { fact, kind, person, other, subject, at, .. } = new;
    let Signal { address, device, fresh, verified, seconds, place, .. } = new;
    let country = place.as_ref().map(|it| it.country.as_str());
    let [latitude, longitude, radius] = match place {
        Some(it) => [it.latitude, it.longitude, it.radius].map(Some),
        None => [None; 3],
    };
    let params = params![
        fact, *kind, person, other, subject, at, address, device, fresh, verified, seconds,
        country, latitude, longitude, radius
    ];
    tx.execute(sql, params).await?;
    Ok(())
}

/// The instant so long before.
fn before(at: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().saturating_sub(micros))
}

/// Adds to what somebody has made of a kind in a minute; answers how many they have made within
/// an hour up to its end.
pub(super) async fn made(
    tx: &Tx,
    person: Id<User>,
    kind: &str,
    minute: i64,
    more: i64,
) -> Result<i64> {
    let sql = "INSERT INTO fraud_counts (person, kind, minute, made) VALUES ($1, $2, $3, $4)
               ON CONFLICT (person, kind, minute) DO UPDATE SET made = fraud_counts.made + $4";
    tx.execute(sql, params![person, kind, minute, more]).await?;
    let sql = "SELECT CAST(SUM(made) AS BIGINT) FROM fraud_counts
               WHERE person = $1 AND kind = $2 AND minute > $3 AND minute <= $4";
    let since = minute - rules::HOUR_MINUTES;
    Ok(tx.one(sql, params![person, kind, since, minute], |row| row.take()).await?)
}

/// How many people have flagged a thing within a month up to `at`.
pub(super) async fn flaggers(tx: &Tx, subject: &str, at: Timestamp) -> Result<i64> {
    let sql = "SELECT COUNT(DISTINCT person) FROM fraud_signals
               WHERE subject = $1 AND kind = 'flag' AND at > $2";
    let since = before(at, rules::MONTH);
    Ok(tx.one(sql, params![subject, since], |row| row.take()).await?)
}

/// Whether somebody was seen before at all, on this network, and with this device.
pub(super) async fn seen_before(
    tx: &Tx,
    person: Id<User>,
    address: Option<&[u8; 32]>,
    device: Option<&[u8; 32]>,
) -> Result<(bool, bool, bool)> {
    let sql = "SELECT COUNT(*),
                   CAST(COALESCE(SUM(CASE WHEN address = $2 THEN 1 ELSE 0 END), 0) AS BIGINT),
                   CAST(COALESCE(SUM(CASE WHEN device = $3 THEN 1 ELSE 0 END), 0) AS BIGINT)
               FROM fraud_signals WHERE person = $1 AND kind = 'session'";
    let read = |row: &Row<'_>| {
        let (all, here, same): (i64, i64, i64) = (row.take()?, row.take()?, row.take()?);
        Ok((all > 0, here > 0, same > 0))
    };
    Ok(tx.one(sql, params![person, address, device], read).await?)
}

/// Where somebody signed in last of all that is known, and when.
pub(super) async fn last_place(tx: &Tx, person: Id<User>) -> Result<Option<(Place, Timestamp)>> {
    let sql = "SELECT country, latitude, longitude, radius, at FROM fraud_signals
               WHERE person = $1 AND kind = 'session' AND country IS NOT NULL
               ORDER BY at DESC LIMIT 1";
    let read = |row: &Row<'_>| {
        let (country, latitude, longitude) = (row.take()?, row.take()?, row.take()?);
        Ok((Place { country, latitude, longitude, radius: row.take()? }, row.take()?))
    };
    Ok(tx.maybe(sql, params![person], read).await?)
}

/// Whether somebody has signed in from nowhere known within a day up to `at`.
pub(super) async fn fresh_session(tx: &Tx, person: Id<User>, at: Timestamp) -> Result<bool> {
    let sql = "SELECT fact FROM fraud_signals
               WHERE person = $1 AND kind = 'session' AND fresh AND at > $2 LIMIT 1";
    let since = before(at, rules::TAKEOVER);
    Ok(tx.maybe(sql, params![person, since], |row| row.take::<Uuid>()).await?.is_some())
}

/// When a verification was accepted.
pub(super) async fn accepted_at(tx: &Tx, subject: &str) -> Result<Option<Timestamp>> {
    let sql = "SELECT at FROM fraud_signals WHERE subject = $1 AND kind = 'accepted'
               ORDER BY at DESC LIMIT 1";
    Ok(tx.maybe(sql, params![subject], |row| row.take()).await?)
}

/// Whether somebody is known to have asked for an organization within a day up to `at`.
pub(super) async fn is_member(
    tx: &Tx,
    person: Id<User>,
    organization: Id<User>,
    at: Timestamp,
) -> Result<bool> {
    let sql = "SELECT fact FROM fraud_signals
               WHERE person = $1 AND kind = 'member' AND other = $2 AND at > $3 LIMIT 1";
    let since = before(at, rules::DAY);
    let params = params![person, organization, since];
    Ok(tx.maybe(sql, params, |row| row.take::<Uuid>()).await?.is_some())
}

/// What a verifier and a user have had with each other within a month up to `at`.
pub(super) async fn pair(
    tx: &Tx,
    verifier: Id<User>,
    owner: Id<User>,
    at: Timestamp,
) -> Result<Pair> {
    let since = before(at, rules::MONTH);
    let haste = i64::try_from(rules::HASTE.as_secs()).unwrap_or(i64::MAX);
    let sql = "SELECT COUNT(*),
                   CAST(COALESCE(SUM(CASE WHEN verified THEN 1 ELSE 0 END), 0) AS BIGINT),
                   CAST(COALESCE(SUM(CASE WHEN seconds < $4 THEN 1 ELSE 0 END), 0) AS BIGINT)
               FROM fraud_signals
               WHERE person = $1 AND kind = 'verdict' AND other = $2 AND at > $3";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?));
    let (verdicts, verified, hasty) =
        tx.one(sql, params![verifier, owner, since, haste], read).await?;
    // Where the owner is an organization, what is seen of its people counts.
    let shares = |column: &str| {
        format!(
            "SELECT one.fact FROM fraud_signals AS one
             JOIN fraud_signals AS two ON two.{column} = one.{column}
                 AND two.kind = 'session' AND two.at > $3
                 AND (two.person = $2 OR two.person IN
                     (SELECT members.person FROM fraud_signals AS members
                      WHERE members.other = $2 AND members.kind = 'member' AND members.at > $3))
             WHERE one.person = $1 AND one.kind = 'session' AND one.at > $3 LIMIT 1"
        )
    };
    let mut shared = [false; 2];
    for (found, column) in shared.iter_mut().zip(["address", "device"]) {
        let sql = shares(column);
        let row = tx.maybe(&sql, params![verifier, owner, since], |row| row.take::<Uuid>()).await?;
        *found = row.is_some();
    }
    let [one_address, one_device] = shared;
    Ok(Pair { verdicts, verified, hasty, one_address, one_device })
}

/// Forgets signals that no rule looks at any more.
pub(super) async fn prune(tx: &Tx) -> Result<u64> {
    let old = before(tx.now(), rules::KEPT);
    let signals = tx.execute("DELETE FROM fraud_signals WHERE at < $1", params![old]).await?;
    let old = rules::minute_of(old);
    let counts = tx.execute("DELETE FROM fraud_counts WHERE minute < $1", params![old]).await?;
    Ok(signals + counts)
}

const COLUMNS: &str = "id, rule, subject, person, other, score, reasons, enforced, seen, state, \
                       note, decided_by, decided_at, created_at, updated_at";

fn read(row: &Row<'_>) -> Result<Alert, DbError> {
    let other = |what: String| DbError::Other(format!("fraud_alerts: {what}"));
    Ok(Alert {
        id: row.take()?,
        rule: row.take::<String>().and_then(|text| Rule::of(&text).ok_or_else(|| other(text)))?,
        subject: row.take()?,
        person: row.take()?,
        other: row.take()?,
        score: row.take()?,
        reasons: serde_json::from_str(&row.take::<String>()?)
            .map_err(|error| other(error.to_string()))?,
        enforced: row.take()?,
        seen: row.take()?,
        state: row
            .take::<String>()
            .and_then(|text| AlertState::of(&text).ok_or_else(|| other(text)))?,
        note: row.take()?,
        decided_by: row.take()?,
        decided_at: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}

/// Whether the same was dismissed lately.
pub(super) async fn is_quiet(tx: &Tx, found: &Finding) -> Result<bool> {
    let sql = "SELECT id FROM fraud_alerts
               WHERE rule = $1 AND key = $2 AND state = 'dismissed' AND decided_at > $3 LIMIT 1";
    let since = before(tx.now(), rules::QUIET);
    let (rule, key) = (found.rule.as_str(), &found.key);
    Ok(tx.maybe(sql, params![rule, key, since], |row| row.take::<Uuid>()).await?.is_some())
}

/// Raises an alert, or adds to the one that is undecided; answers its id and whether it is new.
pub(super) async fn raise(
    tx: &Tx,
    found: &Finding,
    enforced: bool,
) -> Result<(Id<kinds::Alert>, bool)> {
    let id: Id<kinds::Alert> = tx.world().id();
    let sql = "INSERT INTO fraud_alerts (id, rule, key, subject, person, other, score, reasons,
                   enforced, seen, state, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, 'open', $10, $10)
               ON CONFLICT (rule, key) WHERE state IN ('open', 'escalated')
               DO UPDATE SET seen = fraud_alerts.seen + 1, reasons = excluded.reasons,
                   score = CASE WHEN excluded.score > fraud_alerts.score
                           THEN excluded.score ELSE fraud_alerts.score END,
                   enforced = fraud_alerts.enforced OR excluded.enforced,
                   updated_at = excluded.updated_at
               RETURNING id, seen";
    let reasons = serde_json::Value::from(found.reasons.clone()).to_string();
    let Finding { rule, key, subject, person, other, score, .. } = found;
    let rule = rule.as_str();
    let now = tx.now();
    let params = params![id, rule, key, subject, person, other, score, reasons, enforced, now];
    let (id, seen): (_, i64) = tx.one(sql, params, |row| Ok((row.take()?, row.take()?))).await?;
    Ok((id, seen == 1))
}

/// Says whose the thing of an alert is, once that is known.
pub(super) async fn name(tx: &Tx, subject: &str, person: Id<User>) -> Result<()> {
    let sql = "UPDATE fraud_alerts SET person = $2 WHERE subject = $1 AND person IS NULL";
    tx.execute(sql, params![subject, person]).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<kinds::Alert>) -> Result<Option<Alert>> {
    let sql = format!("SELECT {COLUMNS} FROM fraud_alerts WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Newest first.
pub(super) async fn list(
    db: &impl Read,
    state: Option<AlertState>,
    rule: Option<Rule>,
    page: &PageRequest,
) -> Result<Page<Alert>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM fraud_alerts
         WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR state = $2)
             AND (CAST($3 AS TEXT) IS NULL OR rule = $3)
         ORDER BY id DESC LIMIT $4 OFFSET $5"
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let (state, rule) = (state.map(AlertState::as_str), rule.map(Rule::as_str));
    let rows = db.all(&sql, params![after, state, rule, fetch, page.offset], read).await?;
    Ok(page.page(rows, |alert| Cursor::by_id(alert.id)))
}

/// Decides about an alert that stands in `from`; `false` where somebody was quicker.
pub(super) async fn decide(
    tx: &Tx,
    id: Id<kinds::Alert>,
    from: AlertState,
    to: AlertState,
    note: &str,
    by: Id<User>,
) -> Result<bool> {
    let sql = "UPDATE fraud_alerts SET state = $3, note = $4, decided_by = $5, decided_at = $6,
                   updated_at = $6
               WHERE id = $1 AND state = $2";
    let (from, to) = (from.as_str(), to.as_str());
    Ok(tx.touch(sql, params![id, from, to, note, by, tx.now()]).await?)
}
