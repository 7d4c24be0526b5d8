//! All SQL of verifications.

use kernel::id::kinds;
use kernel::{Asset, Cursor, Id, Money, Page, PageRequest, Result, Timestamp};
use platform::db::{Bind, DbError, Read, Row, Tx, Value};
use platform::params;

use super::model::{Note, State, Verdict, Verification};

const COLUMNS: &str = "verifications.id, verifications.owner, verifications.credential, \
    verifications.kind, verifications.verifier, verifiers.name, verifications.service, \
    verifications.service_title, verifications.price, verifications.currency, \
    verifications.sla_hours, verifications.hold, verifications.state, verifications.version, \
    verifications.notes, verifications.requested_at, verifications.due_at, \
    verifications.accepted_at, verifications.started_at, verifications.ended_at, \
    verifications.info_asked, verifications.info_given, verifications.comments, \
    verifications.report_url, verifications.report_file, verifications.verdict, \
    verifications.fee, verifications.refunded, verifications.issued, verifications.reason";

const FROM: &str = "verifications JOIN verifiers ON verifiers.id = verifications.verifier";

fn read(row: &Row<'_>) -> Result<Verification, DbError> {
    Ok(Verification {
        id: row.take()?,
        owner: row.take()?,
        credential: row.take()?,
        kind: row.take()?,
        verifier: row.take()?,
        verifier_name: row.take()?,
        service: row.take()?,
        service_title: row.take()?,
        price: row.take()?,
        currency: row.take()?,
        sla_hours: row.take()?,
        hold: row.take()?,
        state: state(row)?,
        version: row.take()?,
        notes: row.take()?,
        requested_at: row.take()?,
        due_at: row.take()?,
        accepted_at: row.take()?,
        started_at: row.take()?,
        ended_at: row.take()?,
        info_asked: row.take()?,
        info_given: row.take()?,
        comments: row.take()?,
        report_url: row.take()?,
        report_file: row.take()?,
        verdict: verdict(row)?,
        fee: row.take()?,
        refunded: row.take()?,
        issued: row.take()?,
        reason: row.take()?,
    })
}

fn state(row: &Row<'_>) -> Result<State, DbError> {
    let text = row.take::<String>()?;
    text.parse().map_err(|_| DbError::Other(format!("{text:?} is no state of a verification")))
}

fn verdict(row: &Row<'_>) -> Result<Option<Verdict>, DbError> {
    match row.take::<Option<String>>()?.as_deref() {
        None => Ok(None),
        Some("verified") => Ok(Some(Verdict::Verified)),
        Some("rejected") => Ok(Some(Verdict::Rejected)),
        Some(text) => Err(DbError::Other(format!("{text:?} is no verdict"))),
    }
}

pub(super) async fn get(
    db: &impl Read,
    id: Id<kinds::Verification>,
) -> Result<Option<Verification>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE verifications.id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// The form of a credential's type by which it is found: letter case does not matter.
pub(super) fn kind_key(kind: &str) -> String {
    kind.trim().to_lowercase()
}

/// Adds one as it was just requested: what comes with later states is not written here.
pub(super) async fn insert(tx: &Tx, new: &Verification) -> Result<()> {
    tx.execute(
        "INSERT INTO verifications (id, owner, credential, kind, kind_key, verifier, service,
             service_title, price, currency, sla_hours, hold, state, version, notes, requested_at,
             due_at, refunded)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 0)",
        params![
            new.id,
            new.owner,
            new.credential,
            new.kind,
            kind_key(&new.kind),
            new.verifier,
            new.service,
            new.service_title,
            new.price,
            new.currency,
            new.sla_hours,
            new.hold,
            new.state.as_str(),
            new.version,
            new.notes,
            new.requested_at,
            new.due_at
        ],
    )
    .await?;
    Ok(())
}

/// Writes what has changed, on the version that it was decided on. When that version is gone,
/// the whole transaction is to be run again.
pub(super) async fn save(tx: &Tx, changed: &mut Verification) -> Result<()> {
    let sql = "UPDATE verifications SET version = version + 1, state = $3, due_at = $4,
                   accepted_at = $5, started_at = $6, ended_at = $7, info_asked = $8,
                   info_given = $9, comments = $10, report_url = $11, report_file = $12,
                   fee = $13, reason = $14, verdict = $15, refunded = $16
               WHERE id = $1 AND version = $2";
    let state = changed.state.as_str();
    let verdict = changed.verdict.map(Verdict::as_str);
    let params = params![
        changed.id,
        changed.version,
        state,
        changed.due_at,
        changed.accepted_at,
        changed.started_at,
        changed.ended_at,
        changed.info_asked,
        changed.info_given,
        changed.comments,
        changed.report_url,
        changed.report_file,
        changed.fee,
        changed.reason,
        verdict,
        changed.refunded
    ];
    if !tx.touch(sql, params).await? {
        let lost = format!("{} is no longer at version {}", changed.id, changed.version);
        return Err(DbError::Serialization(lost).into());
    }
    changed.version += 1;
    Ok(())
}

/// Notes which signed credential the verdict has become.
pub(super) async fn set_issued(
    tx: &Tx,
    id: Id<kinds::Verification>,
    issued: Id<kinds::Issued>,
) -> Result<()> {
    let sql = "UPDATE verifications SET issued = $2 WHERE id = $1";
    tx.touch(sql, params![id, issued]).await?;
    Ok(())
}

/// The verification whose verdict a signed credential is.
pub(super) async fn of_issued(
    db: &impl Read,
    issued: Id<kinds::Issued>,
) -> Result<Option<Verification>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE verifications.issued = $1");
    Ok(db.maybe(&sql, params![issued], read).await?)
}

/// Whose verifications a list holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    Owner(Id<kinds::User>),
    Verifier(Id<kinds::Verifier>),
    Everybody,
}

/// What a list is narrowed to, besides whose it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Narrowed {
    /// Any state where this is empty.
    pub(super) states: Vec<State>,
    /// The credential's type, as [`kind_key`] writes it.
    pub(super) kind: Option<String>,
    pub(super) due_until: Option<Timestamp>,
    pub(super) due_after: Option<Timestamp>,
    /// An organization's own word for the case.
    pub(super) reference: Option<String>,
}

/// Newest first.
pub(super) async fn list(
    db: &impl Read,
    whose: Whose,
    narrowed: &Narrowed,
    page: &PageRequest,
) -> Result<Page<Verification>> {
    let after = page.after_id();
    let mut sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE verifications.id < $1");
    let mut params: Vec<Value<'_>> = vec![after.bind()];
    let mut and = |condition: &str, value| {
        params.push(value);
        sql.push_str(&format!(" AND {condition} ${}", params.len()));
    };
    match &whose {
        Whose::Owner(owner) => and("verifications.owner =", owner.bind()),
        Whose::Verifier(verifier) => and("verifications.verifier =", verifier.bind()),
        Whose::Everybody => {}
    }
    if let Some(kind) = &narrowed.kind {
        and("verifications.kind_key =", kind.bind());
    }
    if let Some(until) = &narrowed.due_until {
        and("verifications.due_at <=", until.bind());
    }
    if let Some(after) = &narrowed.due_after {
        and("verifications.due_at >", after.bind());
    }
    if let (Whose::Owner(owner), Some(reference)) = (&whose, &narrowed.reference) {
        params.extend([owner.bind(), reference.bind()]);
        sql.push_str(&format!(
            " AND verifications.id IN (SELECT verification FROM commissions
                  WHERE organization = ${} AND reference = ${})",
            params.len() - 1,
            params.len()
        ));
    }
    if !narrowed.states.is_empty() {
        let states: Vec<_> = narrowed.states.iter().map(|s| format!("'{s}'")).collect();
        sql.push_str(&format!(" AND verifications.state IN ({})", states.join(", ")));
    }
    params.extend([Value::Int(page.fetch()), Value::Int(page.offset)]);
    let (limit, offset) = (params.len() - 1, params.len());
    sql.push_str(&format!(" ORDER BY verifications.id DESC LIMIT ${limit} OFFSET ${offset}"));
    let rows = db.all(&sql, &params, read).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

/// Open verifications whose time has run out, the longest overdue first.
pub(super) async fn due(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Id<kinds::Verification>>> {
    let sql = "SELECT id FROM verifications
               WHERE state IN ('pending', 'in_review', 'needs_info') AND due_at <= $1
               ORDER BY due_at, id LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| row.take()).await?)
}

/// Where a note's text stands; it is sealed for the credential's owner.
pub(super) const NOTE: &str = "verification_notes.text";

/// Adds a note, numbered by the version that it has made.
pub(super) async fn insert_note(
    tx: &Tx,
    verification: &Verification,
    author: Id<kinds::User>,
    text: &str,
) -> Result<()> {
    let sql = "INSERT INTO verification_notes (verification, number, author, text, at)
               VALUES ($1, $2, $3, $4, $5)";
    let (id, number, now) = (verification.id, verification.version, tx.now());
    tx.execute(sql, params![id, number, author, text, now]).await?;
    Ok(())
}

/// Oldest first.
pub(super) async fn notes(db: &impl Read, id: Id<kinds::Verification>) -> Result<Vec<Note>> {
    let sql = "SELECT author, text, at FROM verification_notes
               WHERE verification = $1 ORDER BY number LIMIT 1000";
    let read = |row: &Row<'_>| Ok(Note { author: row.take()?, text: row.take()?, at: row.take()? });
    Ok(db.all(sql, params![id], read).await?)
}

/// How many of a verifier's jobs stand in each state.
pub(super) async fn tally(
    db: &impl Read,
    verifier: Id<kinds::Verifier>,
) -> Result<Vec<(State, i64)>> {
    let sql = "SELECT state, CAST(count(*) AS BIGINT) FROM verifications
               WHERE verifier = $1 GROUP BY state";
    Ok(db.all(sql, params![verifier], |row| Ok((state(row)?, row.take()?))).await?)
}

/// What a verifier has earned in each currency, after fees; most jobs first.
pub(super) async fn earnings(db: &impl Read, verifier: Id<kinds::Verifier>) -> Result<Vec<Money>> {
    let sql = "SELECT CAST(SUM(price - fee - refunded) AS BIGINT), currency FROM verifications
               WHERE verifier = $1 AND fee IS NOT NULL
               GROUP BY currency ORDER BY count(*) DESC, currency";
    let read = |row: &Row<'_>| Ok(Money::new(row.take()?, row.take::<Asset>()?));
    Ok(db.all(sql, params![verifier], read).await?)
}
