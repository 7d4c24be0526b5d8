//! All SQL of verifications.

use kernel::id::kinds;
use kernel::{Asset, Cursor, Id, Money, Page, PageRequest, Result, Timestamp};
use platform::db::{Bind, DbError, Read, Row, Tx, Value};
use platform::params;
use uuid::Uuid;

use super::model::{Note, State, Verdict, Verification};
use crate::merged;

const COLUMNS: &str = "verifications.id, verifications.owner, verifications.credential, \
    verifications.kind, verifications.verifier, COALESCE(verifiers.name, ''), \
    verifications.service, \
    verifications.service_title, verifications.price, verifications.currency, \
    verifications.sla_hours, verifications.hold, verifications.state, verifications.version, \
    verifications.notes, verifications.requested_at, verifications.due_at, \
    verifications.board_until, verifications.jurisdiction, verifications.language, \
    verifications.accepted_at, verifications.started_at, verifications.ended_at, \
    verifications.info_asked, verifications.info_given, verifications.comments, \
    verifications.report_url, verifications.report_file, verifications.verdict, \
    verifications.fee, verifications.refunded, verifications.issued, verifications.reason";

const FROM: &str = "verifications LEFT JOIN verifiers ON verifiers.id = verifications.verifier";

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
        board_until: row.take()?,
        jurisdiction: row.take()?,
        language: row.take()?,
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
             service_title, price, currency, sla_hours, hold, state, was, version, notes,
             requested_at, due_at, board_until, jurisdiction, jurisdiction_key, language,
             refunded)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', $14, $15, $16, $17,
             $18, $19, $20, $21, 0)",
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
            new.due_at,
            new.board_until,
            new.jurisdiction,
            kind_key(&new.jurisdiction),
            new.language
        ],
    )
    .await?;
    Ok(())
}

/// Writes what has changed, on the version that it was decided on. When that version is gone,
/// the whole transaction is to be run again.
pub(super) async fn save(tx: &Tx, changed: &mut Verification) -> Result<()> {
    let sql =
        "UPDATE verifications SET version = version + 1, was = state, state = $3, due_at = $4,
                   accepted_at = $5, started_at = $6, ended_at = $7, info_asked = $8,
                   info_given = $9, comments = $10, report_url = $11, report_file = $12,
                   fee = $13, reason = $14, verdict = $15, refunded = $16, verifier = $17,
                   service = $18, service_title = $19, sla_hours = $20, issued = $21
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
        changed.refunded,
        changed.verifier,
        changed.service,
        changed.service_title,
        changed.sla_hours,
        changed.issued
    ];
    if !tx.touch(sql, params).await? {
        let lost = format!("{} is no longer at version {}", changed.id, changed.version);
        return Err(DbError::Serialization(lost).into());
    }
    changed.version += 1;
    Ok(())
}

/// Notes that a reader reads a file of something; `false` when that has been noted since `before`.
pub(super) async fn note_view(
    tx: &Tx,
    (subject, file, reader): (&str, Id<kinds::File>, Id<kinds::User>),
    before: Timestamp,
) -> Result<bool> {
    let sql = "INSERT INTO file_views (subject, file, reader, viewed_at) VALUES ($1, $2, $3, $4)
               ON CONFLICT (subject, file, reader) DO UPDATE SET viewed_at = excluded.viewed_at
               WHERE file_views.viewed_at <= $5";
    Ok(tx.touch(sql, params![subject, file, reader, tx.now(), before]).await?)
}

/// Remembers that a verifier has had a job from the board and not done it.
pub(super) async fn insert_pass(
    tx: &Tx,
    id: Id<kinds::Verification>,
    verifier: Id<kinds::Verifier>,
) -> Result<()> {
    let sql = "INSERT INTO verification_passes (verification, verifier, at) VALUES ($1, $2, $3)
               ON CONFLICT DO NOTHING";
    tx.execute(sql, params![id, verifier, tx.now()]).await?;
    Ok(())
}

/// Whether a verifier has had this job before.
pub(super) async fn has_passed(
    db: &impl Read,
    id: Id<kinds::Verification>,
    verifier: Id<kinds::Verifier>,
) -> Result<bool> {
    let sql = "SELECT 1 FROM verification_passes WHERE verification = $1 AND verifier = $2";
    Ok(db.maybe(sql, params![id, verifier], |row| row.take::<i64>()).await?.is_some())
}

/// How many jobs a verifier is at work on.
pub(super) async fn at_work(db: &impl Read, verifier: Id<kinds::Verifier>) -> Result<i64> {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM verifications
               WHERE verifier = $1 AND state IN ('in_review', 'needs_info')";
    Ok(db.one(sql, params![verifier], |row| row.take()).await?)
}

/// The verification whose verdict a signed credential is.
pub(super) async fn of_issued(
    db: &impl Read,
    issued: Id<kinds::Issued>,
) -> Result<Option<Verification>> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE verifications.issued = $1");
    Ok(db.maybe(&sql, params![issued], read).await?)
}

/// The newest verdict of a verification's credential but its own, of those that were not overturned.
pub(super) async fn standing_verdict(
    db: &impl Read,
    besides: &Verification,
) -> Result<Option<Verdict>> {
    let sql = "SELECT verdict FROM verifications
               WHERE owner = $1 AND credential = $2 AND id <> $3 AND fee IS NOT NULL
                   AND verdict IS NOT NULL AND state <> 'overturned'
               ORDER BY ended_at DESC LIMIT 1";
    let Verification { owner, credential, id, .. } = besides;
    Ok(db.maybe(sql, params![owner, credential, id], verdict).await?.flatten())
}

/// Whose verifications a list holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    Owner(Id<kinds::User>),
    Verifier(Id<kinds::Verifier>),
    Everybody,
}

/// A verifier who looks at the board.
#[derive(Debug, Clone)]
pub(super) struct Seeker {
    pub(super) verifier: Id<kinds::Verifier>,
    /// What they verify, as [`kind_key`] writes it. The board offers nothing where it is empty.
    pub(super) kind_keys: Vec<String>,
    pub(super) jurisdiction: String,
    /// What they read, the empty text among it: where no language is asked for.
    pub(super) languages: Vec<String>,
}

/// What a list is narrowed to, besides whose it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Narrowed {
    /// Any state where this is empty.
    pub(super) states: Vec<State>,
    /// Those with a verdict only, whatever has become of it.
    pub(super) judged: bool,
    /// The credential's type, as [`kind_key`] writes it.
    pub(super) kind: Option<String>,
    pub(super) due_until: Option<Timestamp>,
    pub(super) due_after: Option<Timestamp>,
    pub(super) wanted: Wanted,
    /// An organization's own word for the case.
    pub(super) reference: Option<String>,
}

/// What a verifier looks for among the jobs that are to be had. A request that asks for no language
/// or jurisdiction suits any.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub(super) language: Option<String>,
    /// As [`kind_key`] writes it.
    pub(super) jurisdiction: Option<String>,
    pub(super) currency: Option<Asset>,
    pub(super) price_from: Option<i64>,
    pub(super) price_to: Option<i64>,
}

/// A query that grows by conditions.
struct Query<'a> {
    sql: String,
    params: Vec<Value<'a>>,
}

impl<'a> Query<'a> {
    /// Adds a condition about a value, which stands where `?` does.
    fn and(&mut self, condition: &str, value: Value<'a>) {
        self.params.push(value);
        let marker = format!("${}", self.params.len());
        self.sql.push_str(" AND ");
        self.sql.push_str(&condition.replace('?', &marker));
    }

    /// Adds a condition that one of several values is met.
    fn and_one_of(&mut self, what: &str, values: impl IntoIterator<Item = Value<'a>>) {
        let first = self.params.len() + 1;
        self.params.extend(values);
        let markers: Vec<_> = (first..=self.params.len()).map(|n| format!("${n}")).collect();
        self.sql.push_str(&format!(" AND {what} IN ({})", markers.join(", ")));
    }
}

/// Newest first.
pub(super) async fn list(
    db: &impl Read,
    whose: Whose,
    narrowed: &Narrowed,
    page: &PageRequest,
) -> Result<Page<Verification>> {
    let after = page.after_id();
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE verifications.id < $1");
    let mut query = Query { sql, params: vec![after.bind()] };
    whose.narrow(&mut query);
    narrowed.narrow(&mut query);
    if let (Whose::Owner(owner), Some(reference)) = (&whose, &narrowed.reference) {
        query.params.extend([owner.bind(), reference.bind()]);
        let (owner, reference) = (query.params.len() - 1, query.params.len());
        query.sql.push_str(&format!(
            " AND verifications.id IN (SELECT verification FROM commissions
                  WHERE organization = ${owner} AND reference = ${reference})"
        ));
    }
    let Query { mut sql, mut params } = query;
    params.extend([Value::Int(page.fetch()), Value::Int(page.offset)]);
    let (limit, offset) = (params.len() - 1, params.len());
    sql.push_str(&format!(" ORDER BY verifications.id DESC LIMIT ${limit} OFFSET ${offset}"));
    let rows = db.all(&sql, &params, read).await?;
    Ok(page.page(rows, |one| Cursor::by_id(one.id)))
}

/// What waits for a verifier's answer, and what the board offers them; newest first.
///
/// Each part is a walk along one index in the order of the page: one of the verifier's own, and one
/// of each type that they verify. So a page costs the same however many requests there are.
pub(super) async fn to_have(
    db: &impl Read,
    seeker: &Seeker,
    narrowed: &Narrowed,
    page: &PageRequest,
) -> Result<Page<Verification>> {
    let ids = async |after: Uuid, limit| {
        let mut ids = Vec::new();
        for Query { sql, params } in parts("verifications.id", &after, (seeker, narrowed), limit) {
            ids.extend(db.all(&sql, &params, |row| row.take::<Uuid>()).await?);
        }
        Ok(ids)
    };
    let mut rows = Vec::new();
    if let Some(after) = merged::begins_after(page, ids).await? {
        for Query { sql, params } in parts(COLUMNS, &after, (seeker, narrowed), page.fetch()) {
            rows.extend(db.all(&sql, &params, read).await?);
        }
    }
    Ok(merged::page(page, rows, |one| one.id))
}

/// The parts of what a verifier can have, each with so many rows behind an id.
fn parts<'a>(
    what: &str,
    after: &'a Uuid,
    (seeker, narrowed): (&'a Seeker, &'a Narrowed),
    limit: i64,
) -> Vec<Query<'a>> {
    let start = || {
        let sql = format!("SELECT {what} FROM {FROM} WHERE verifications.id < $1");
        Query { sql, params: vec![after.bind()] }
    };
    let mut own = start();
    own.and(
        "verifications.state = 'pending' AND verifications.verifier = ?",
        seeker.verifier.bind(),
    );
    let mut parts = vec![own];
    let is_wanted = |kind: &&String| narrowed.kind.as_ref().is_none_or(|wanted| wanted == *kind);
    for kind in seeker.kind_keys.iter().filter(is_wanted) {
        let mut offered = start();
        offered.and("verifications.state = 'open' AND verifications.kind_key = ?", kind.bind());
        seeker.narrow(&mut offered);
        parts.push(offered);
    }
    for query in &mut parts {
        narrowed.narrow(query);
        query.params.push(Value::Int(limit));
        let limit = query.params.len();
        query.sql.push_str(&format!(" ORDER BY verifications.id DESC LIMIT ${limit}"));
    }
    parts
}

impl Seeker {
    /// What the board does not offer them is their own, what they have had, and what asks for
    /// another jurisdiction or language.
    fn narrow<'a>(&'a self, query: &mut Query<'a>) {
        query.and("verifications.owner <> ?", self.verifier.bind());
        query.and(
            "NOT EXISTS (SELECT 1 FROM verification_passes AS passed
                 WHERE passed.verification = verifications.id AND passed.verifier = ?)",
            self.verifier.bind(),
        );
        query.and(
            "(verifications.jurisdiction_key = '' OR verifications.jurisdiction_key = ?)",
            self.jurisdiction.bind(),
        );
        let languages = self.languages.iter().map(Bind::bind);
        query.and_one_of("verifications.language", languages);
    }
}

impl Whose {
    fn narrow<'a>(&'a self, query: &mut Query<'a>) {
        match self {
            Self::Owner(owner) => query.and("verifications.owner = ?", owner.bind()),
            Self::Verifier(verifier) => query.and("verifications.verifier = ?", verifier.bind()),
            Self::Everybody => {}
        }
    }
}

impl Narrowed {
    fn narrow<'a>(&'a self, query: &mut Query<'a>) {
        if let Some(kind) = &self.kind {
            query.and("verifications.kind_key = ?", kind.bind());
        }
        if let Some(until) = &self.due_until {
            query.and("verifications.due_at <= ?", until.bind());
        }
        if let Some(after) = &self.due_after {
            query.and("verifications.due_at > ?", after.bind());
        }
        let Wanted { language, jurisdiction, currency, price_from, price_to } = &self.wanted;
        if let Some(language) = language {
            query.and("verifications.language = ?", language.bind());
        }
        if let Some(jurisdiction) = jurisdiction {
            query.and("verifications.jurisdiction_key = ?", jurisdiction.bind());
        }
        if let Some(currency) = currency {
            query.and("verifications.currency = ?", currency.bind());
        }
        if let Some(from) = price_from {
            query.and("verifications.price >= ?", from.bind());
        }
        if let Some(to) = price_to {
            query.and("verifications.price <= ?", to.bind());
        }
        if self.judged {
            query.sql.push_str(" AND verifications.fee IS NOT NULL");
        }
        if !self.states.is_empty() {
            let states: Vec<_> = self.states.iter().map(|s| format!("'{s}'")).collect();
            query.sql.push_str(&format!(" AND verifications.state IN ({})", states.join(", ")));
        }
    }
}

/// Open verifications whose time has run out, the longest overdue first.
pub(super) async fn due(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Id<kinds::Verification>>> {
    let sql = "SELECT id FROM verifications
               WHERE state IN ('open', 'pending', 'in_review', 'needs_info') AND due_at <= $1
               ORDER BY due_at, id LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| row.take()).await?)
}

/// What a verifier was asked for and has not ended is due then, where it was due later: the timer
/// does the rest.
pub(crate) async fn hurry(tx: &Tx, verifier: Id<kinds::Verifier>, by: Timestamp) -> Result<()> {
    let sql = "UPDATE verifications SET due_at = $2, version = version + 1
               WHERE verifier = $1 AND state IN ('pending', 'in_review', 'needs_info')
                   AND due_at > $2";
    tx.execute(sql, params![verifier, by]).await?;
    Ok(())
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
               WHERE verification = $1 ORDER BY number LIMIT 10000";
    let read = |row: &Row<'_>| Ok(Note { author: row.take()?, text: row.take()?, at: row.take()? });
    Ok(db.all(sql, params![id], read).await?)
}

/// How many notes a verifier has written.
pub(super) async fn count_notes(
    db: &impl Read,
    id: Id<kinds::Verification>,
    author: Id<kinds::User>,
) -> Result<i64> {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM verification_notes
               WHERE verification = $1 AND author = $2";
    Ok(db.one(sql, params![id, author], |row| row.take()).await?)
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
