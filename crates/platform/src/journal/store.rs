//! All SQL of the journal.

use std::collections::HashMap;
use std::time::Duration;

use kernel::id::kinds::{ApiKey, User};
use kernel::{Error, Id, Page, PageRequest, Result, Timestamp};
use uuid::Uuid;

use super::{Fact, Recorded, RecordedOrigin};
use crate::db::{Bind, DbError, Read, Row, Tx, Value, together};
use crate::params;
use crate::privacy::seal_origin;

const COLUMNS: &str = "facts.id, facts.seq, facts.at, facts.verb, facts.actor, facts.actor_role, \
                       facts.subject, facts.data, facts.origin, facts.salt";

fn read(row: &Row<'_>) -> Result<Recorded, DbError> {
    let json = |error: serde_json::Error| DbError::Other(format!("a fact is no JSON: {error}"));
    Ok(Recorded {
        id: row.take()?,
        seq: row.take()?,
        at: row.take()?,
        verb: row.take()?,
        actor: row.take()?,
        role: row.take()?,
        subject: row.take()?,
        data: serde_json::from_str(&row.take::<String>()?).map_err(json)?,
        origin: serde_json::from_str(&row.take::<String>()?).map_err(json)?,
        salt: row.take()?,
        parties: None,
    })
}

/// Reads whom facts that follow each other concern, in one statement for all of them.
pub(super) async fn read_parties(db: &impl Read, facts: &mut [Recorded]) -> Result<()> {
    let place = |fact: Option<&Recorded>| fact.and_then(|fact| fact.seq);
    let (Some(first), Some(last)) = (place(facts.first()), place(facts.last())) else {
        return Ok(());
    };
    let mut parties: HashMap<i64, Vec<Id<User>>> = HashMap::with_capacity(facts.len());
    for (seq, party) in parties_between(db, first - 1, last).await? {
        parties.entry(seq).or_default().push(party);
    }
    for fact in facts {
        fact.parties = Some(fact.seq.and_then(|seq| parties.remove(&seq)).unwrap_or_default());
    }
    Ok(())
}

pub(crate) async fn insert(tx: &Tx, facts: &[Fact]) -> Result<()> {
    let mut origins = Vec::with_capacity(facts.len());
    for fact in facts {
        // Nobody's request is about somebody, as a rule: it goes when they go.
        let person = fact.actor.or(fact.about.first().copied());
        origins.push(seal_origin(tx, person, RecordedOrigin::from(&fact.origin)).await?);
    }
    together(facts.iter().zip(&origins).map(|(fact, origin)| insert_one(tx, fact, origin))).await?;
    Ok(())
}

async fn insert_one(tx: &Tx, fact: &Fact, origin: &RecordedOrigin) -> Result<()> {
    let id = tx.world().id::<kernel::id::kinds::Fact>();
    let json = |error| Error::internal("a fact cannot be written").because(error);
    let data = serde_json::to_string(&fact.data).map_err(json)?;
    let origin = serde_json::to_string(origin).map_err(json)?;
    tx.execute(
        "INSERT INTO facts (id, at, verb, actor, actor_role, subject, data, origin, salt)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![
            id,
            tx.now(),
            fact.verb,
            fact.actor,
            fact.role,
            fact.subject,
            data,
            origin,
            tx.world().random::<32>()
        ],
    )
    .await?;
    let mut parties: Vec<Uuid> =
        fact.actor.iter().chain(&fact.about).map(|user| user.uuid()).collect();
    parties.sort_unstable();
    parties.dedup();
    // Most facts concern two at most, and a statement costs more than a row of it.
    for few in parties.chunks(2) {
        match few {
            [one, other] => {
                let sql = "INSERT INTO fact_parties (party, fact) VALUES ($1, $3), ($2, $3)";
                tx.execute(sql, params![one, other, id]).await?;
            }
            few => {
                for party in few {
                    let sql = "INSERT INTO fact_parties (party, fact) VALUES ($1, $2)";
                    tx.execute(sql, params![party, id]).await?;
                }
            }
        }
    }
    Ok(())
}

/// Gives the next `limit` facts their places; answers these facts, in order.
pub(super) async fn sequence(tx: &Tx, limit: i64) -> Result<Vec<Recorded>> {
    let sql = format!(
        "UPDATE facts SET seq = placed.place FROM (
             SELECT id, (SELECT COALESCE(MAX(seq), 0) FROM facts)
                        + ROW_NUMBER() OVER (ORDER BY id) AS place
             FROM (SELECT id FROM facts WHERE seq IS NULL ORDER BY id LIMIT $1) AS waiting
         ) AS placed WHERE facts.id = placed.id
         RETURNING {COLUMNS}"
    );
    let mut placed = tx.all(&sql, params![limit], read).await?;
    placed.sort_unstable_by_key(|fact| fact.seq);
    if !placed.is_empty() {
        tx.facts_placed();
    }
    Ok(placed)
}

/// The sequence number of the newest placed fact; zero when there is none.
pub async fn head(db: &impl Read) -> Result<i64> {
    let sql = "SELECT COALESCE(MAX(seq), 0) FROM facts";
    Ok(db.one(sql, &[], |row| row.take()).await?)
}

/// How many facts of each verb were recorded from `from` on and before `to`, by verb.
pub async fn tally(db: &impl Read, from: Timestamp, to: Timestamp) -> Result<Vec<(String, i64)>> {
    // An id begins with a time near its fact's, and so bounds what has to be looked at.
    let sql = "SELECT verb, COUNT(*) FROM facts
               WHERE id >= $1 AND id < $2 AND at >= $3 AND at < $4 GROUP BY verb ORDER BY verb";
    let first = |at| Id::<kernel::id::kinds::Fact>::first_at(at);
    let (lowest, highest) = (first(from - ID_SLACK), first(to + ID_SLACK));
    Ok(db
        .all(sql, params![lowest, highest, from, to], |row| Ok((row.take()?, row.take()?)))
        .await?)
}

/// How far the journal's sequencer and its readers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub head: i64,
    /// When the oldest fact was written that has no place yet; none where all have one.
    pub waiting_since: Option<Timestamp>,
    /// Every reader that has read anything, by name, and the place up to which it has.
    pub readers: Vec<(String, i64)>,
}

/// How far everybody is.
pub async fn progress(db: &impl Read) -> Result<Progress> {
    let waiting = "SELECT at FROM facts WHERE seq IS NULL ORDER BY id LIMIT 1";
    let readers = "SELECT name, seq FROM journal_readers ORDER BY name";
    Ok(Progress {
        head: head(db).await?,
        waiting_since: db.maybe(waiting, &[], |row| row.take()).await?,
        readers: db.all(readers, &[], |row| Ok((row.take()?, row.take()?))).await?,
    })
}

/// Placed facts behind `seq`, in order.
pub async fn since(db: &impl Read, seq: i64, limit: i64) -> Result<Vec<Recorded>> {
    let sql = format!("SELECT {COLUMNS} FROM facts WHERE seq > $1 ORDER BY seq LIMIT $2");
    Ok(db.all(&sql, params![seq, limit], read).await?)
}

/// Whom the placed facts behind `after`, up to `upto`, concern: the place of each fact with each of
/// its parties, its actor among them.
pub async fn parties_between(
    db: &impl Read,
    after: i64,
    upto: i64,
) -> Result<Vec<(i64, Id<User>)>> {
    let sql = "SELECT facts.seq, fact_parties.party
               FROM facts JOIN fact_parties ON fact_parties.fact = facts.id
               WHERE facts.seq > $1 AND facts.seq <= $2";
    Ok(db.all(sql, params![after, upto], |row| Ok((row.take()?, row.take()?))).await?)
}

/// Placed facts that concern one user, behind `after` and up to `upto`, in order. Only what is not
/// much older than the fact at `after` is looked at, however long the user has been around.
pub async fn of_party_between(
    db: &impl Read,
    party: Id<User>,
    (after, upto): (i64, i64),
    limit: i64,
) -> Result<Vec<Recorded>> {
    let sql = "SELECT at FROM facts WHERE seq = $1";
    let from = db.maybe(sql, params![after], |row| row.take::<Timestamp>()).await?;
    let first_at = |at| Id::<kernel::id::kinds::Fact>::first_at(at).uuid();
    let lowest = from.map_or(Uuid::nil(), |at| first_at(at - ID_SLACK));
    let sql = format!(
        "SELECT {COLUMNS} FROM fact_parties JOIN facts ON facts.id = fact_parties.fact
         WHERE fact_parties.party = $1 AND fact_parties.fact >= $2
             AND facts.seq > $3 AND facts.seq <= $4
         ORDER BY facts.seq LIMIT $5"
    );
    Ok(db.all(&sql, params![party, lowest, after, upto, limit], read).await?)
}

pub(super) async fn cursor(tx: &Tx, reader: &str) -> Result<i64> {
    let sql = "SELECT seq FROM journal_readers WHERE name = $1";
    Ok(tx.maybe(sql, params![reader], |row| row.take()).await?.unwrap_or(0))
}

/// How far every reader is.
pub(super) async fn cursors(tx: &Tx) -> Result<HashMap<String, i64>> {
    let sql = "SELECT name, seq FROM journal_readers";
    let cursors = tx.all(sql, &[], |row| Ok((row.take()?, row.take()?))).await?;
    Ok(cursors.into_iter().collect())
}

pub(super) async fn set_cursor(tx: &Tx, reader: &str, seq: i64) -> Result<()> {
    let sql = "INSERT INTO journal_readers (name, seq) VALUES ($1, $2)
               ON CONFLICT (name) DO UPDATE SET seq = excluded.seq";
    tx.execute(sql, params![reader, seq]).await?;
    Ok(())
}

/// The users whom a fact concerns, its actor among them.
pub(super) async fn parties(db: &impl Read, fact: Uuid) -> Result<Vec<Id<User>>> {
    let sql = "SELECT party FROM fact_parties WHERE fact = $1";
    Ok(db.all(sql, params![fact], |row| row.take()).await?)
}

/// What a list of facts is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub actor: Option<Id<User>>,
    /// What this API key did.
    pub key: Option<Id<ApiKey>>,
    /// Everybody but this user, and what nobody in particular did.
    pub not_by: Option<Id<User>>,
    /// A verb (`verification.accepted`) or everything of a noun (`verification`).
    pub action: Option<String>,
    /// One of these verbs; any, where there are none.
    pub among: &'static [&'static str],
    /// A subject, by its id's text.
    pub resource: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// Collects conditions and their parameters for a statement whose shape depends on the filter.
struct Conditions<'a> {
    sql: String,
    params: Vec<Value<'a>>,
}

impl<'a> Conditions<'a> {
    fn add(&mut self, condition: &str, value: Value<'a>) {
        self.params.push(value);
        let marker = format!("${}", self.params.len());
        self.sql.push_str(" AND ");
        self.sql.push_str(&condition.replace('?', &marker));
    }

    fn filter(&mut self, filter: &'a Filter, noun: &'a str, key: &'a str) {
        if filter.key.is_some() {
            self.add("facts.data LIKE ?", key.bind());
        }
        if let Some(actor) = &filter.actor {
            self.add("facts.actor = ?", actor.bind());
        }
        if let Some(actor) = &filter.not_by {
            self.add("(facts.actor IS NULL OR facts.actor <> ?)", actor.bind());
        }
        match &filter.action {
            Some(action) if action.contains('.') => self.add("facts.verb = ?", action.bind()),
            Some(_) => self.add("substr(facts.verb, 1, length(?)) = ?", noun.bind()),
            None => {}
        }
        if !filter.among.is_empty() {
            // Ours to write, and no reader's: there is nothing to escape.
            let verbs = filter.among.join("', '");
            self.sql.push_str(&format!(" AND facts.verb IN ('{verbs}')"));
        }
        if let Some(resource) = &filter.resource {
            self.add("facts.subject = ?", resource.bind());
        }
        if let Some(from) = &filter.from {
            self.add("facts.at >= ?", from.bind());
        }
        if let Some(to) = &filter.to {
            self.add("facts.at < ?", to.bind());
        }
    }
}

/// How far a fact's id may lie behind or ahead of its time: a transaction writes its facts some
/// time after it has read the clock, and ids grow on while a clock is set back.
const ID_SLACK: Duration = Duration::from_secs(24 * 3600);

/// The ids between which a filter's facts lie, so that a search of last year's does not walk
/// through this year's.
fn bounds(filter: &Filter, page: &PageRequest) -> (Uuid, Uuid) {
    let first_at = |at| Id::<kernel::id::kinds::Fact>::first_at(at).uuid();
    let lowest = filter.from.map_or(Uuid::nil(), |from| first_at(from - ID_SLACK));
    let highest = filter.to.map_or(Uuid::max(), |to| first_at(to + ID_SLACK));
    (lowest, highest.min(page.after_id()))
}

async fn list(
    db: &impl Read,
    from: &str,
    party: Option<Id<User>>,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Recorded>> {
    let noun = filter.action.as_ref().map(|noun| format!("{noun}.")).unwrap_or_default();
    // As a fact by a key says so. An id holds nothing that LIKE takes for a wildcard but the line
    // that all ids of a kind have at one place.
    let key = filter.key.map(|key| format!("%\"apiKey\":\"{key}\"%")).unwrap_or_default();
    let mut where_ = Conditions { sql: String::new(), params: Vec::new() };
    if let Some(party) = &party {
        where_.add("fact_parties.party = ?", party.bind());
    }
    let (lowest, below) = bounds(filter, page);
    let id = if party.is_some() { "fact_parties.fact" } else { "facts.id" };
    where_.add(&format!("{id} >= ?"), lowest.bind());
    where_.add(&format!("{id} < ?"), below.bind());
    where_.filter(filter, &noun, &key);
    let mut params = where_.params;
    params.extend([Value::Int(page.fetch()), Value::Int(page.offset)]);
    let sql = format!(
        "SELECT {COLUMNS} FROM {from} WHERE TRUE{} ORDER BY {id} DESC LIMIT ${} OFFSET ${}",
        where_.sql,
        params.len() - 1,
        params.len()
    );
    let rows = db.all(&sql, &params, read).await?;
    Ok(page.page(rows, |fact| kernel::Cursor::by_id(fact.id)))
}

/// Facts that concern one user, newest first.
pub async fn of_party(
    db: &impl Read,
    party: Id<User>,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Recorded>> {
    let from = "fact_parties JOIN facts ON facts.id = fact_parties.fact";
    list(db, from, Some(party), filter, page).await
}

/// How often each verb was done of what concerns one user, between two times: from the first on,
/// and before the second.
pub async fn tally_of_party(
    db: &impl Read,
    party: Id<User>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(String, i64)>> {
    let filter = Filter { from: Some(from), to: Some(to), ..Filter::default() };
    let (lowest, below) = bounds(&filter, &PageRequest::default());
    let sql = "SELECT facts.verb, CAST(COUNT(*) AS BIGINT)
               FROM fact_parties JOIN facts ON facts.id = fact_parties.fact
               WHERE fact_parties.party = $1 AND fact_parties.fact >= $2 AND fact_parties.fact < $3
                   AND facts.at >= $4 AND facts.at < $5
               GROUP BY facts.verb ORDER BY facts.verb";
    let params = params![party, lowest, below, from, to];
    Ok(db.all(sql, params, |row| Ok((row.take()?, row.take()?))).await?)
}

/// All facts, newest first.
pub async fn search(db: &impl Read, filter: &Filter, page: &PageRequest) -> Result<Page<Recorded>> {
    list(db, "facts", None, filter, page).await
}

/// What happened to one thing, oldest first: its timeline, without what happened by some verbs.
pub async fn of_subject(
    db: &impl Read,
    subject: &str,
    without: &'static [&'static str],
    page: &PageRequest,
) -> Result<Page<Recorded>> {
    let after = page.after.map_or(Uuid::nil(), |cursor| cursor.id);
    // Ours to write, and no reader's: there is nothing to escape.
    let without = without.join("', '");
    let sql = format!(
        "SELECT {COLUMNS} FROM facts WHERE subject = $1 AND id > $2 AND verb NOT IN ('{without}')
         ORDER BY id LIMIT $3 OFFSET $4"
    );
    let rows = db.all(&sql, params![subject, after, page.fetch(), page.offset], read).await?;
    Ok(page.page(rows, |fact| kernel::Cursor::by_id(fact.id)))
}

/// How often something has happened to a thing, from a time on.
pub async fn count_of(db: &impl Read, subject: &str, verb: &str, from: Timestamp) -> Result<i64> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM facts
               WHERE subject = $1 AND verb = $2 AND at >= $3";
    Ok(db.one(sql, params![subject, verb, from], |row| row.take()).await?)
}

/// The last time that something happened to a thing.
pub async fn newest_of(db: &impl Read, subject: &str, verb: &str) -> Result<Option<Recorded>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM facts WHERE subject = $1 AND verb = $2 ORDER BY id DESC LIMIT 1"
    );
    Ok(db.maybe(&sql, params![subject, verb], read).await?)
}

/// The fact of an id.
pub async fn by_id(db: &impl Read, id: Id<kernel::id::kinds::Fact>) -> Result<Option<Recorded>> {
    let sql = format!("SELECT {COLUMNS} FROM facts WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Whether a fact concerns a user.
pub async fn concerns(
    db: &impl Read,
    fact: Id<kernel::id::kinds::Fact>,
    user: Id<User>,
) -> Result<bool> {
    let sql = "SELECT fact FROM fact_parties WHERE party = $1 AND fact = $2";
    Ok(db.maybe(sql, params![user, fact], |_| Ok(())).await?.is_some())
}
