//! All SQL of disputes.

use std::str::FromStr;

use kernel::id::kinds;
use kernel::{Id, Page, PageRequest, Result, Timestamp};
use platform::db::{Bind, DbError, Read, Row, Tx, Value};
use platform::params;
use uuid::Uuid;

use super::model::{Dispute, Evidence, Ground, NewEvidence, Resolution, State};
use crate::merged;

const COLUMNS: &str = "id, verification, owner, verifier, ground, state, version, assignee, \
    resolution, refund_bps, reasoning, decided_by, decided_at, final_at, appealed_by, \
    appealed_at, opened_at, closed_at, opened_by";

fn read(row: &Row<'_>) -> Result<Dispute, DbError> {
    Ok(Dispute {
        id: row.take()?,
        verification: row.take()?,
        owner: row.take()?,
        verifier: row.take()?,
        ground: known(&row.take::<String>()?)?,
        state: known(&row.take::<String>()?)?,
        version: row.take()?,
        assignee: row.take()?,
        resolution: row.take::<Option<String>>()?.as_deref().map(known).transpose()?,
        refund_bps: row.take::<Option<i64>>()?.map(basis_points).transpose()?,
        reasoning: row.take()?,
        decided_by: row.take()?,
        decided_at: row.take()?,
        final_at: row.take()?,
        appealed_by: row.take()?,
        appealed_at: row.take()?,
        opened_at: row.take()?,
        closed_at: row.take()?,
        opened_by: row.take()?,
    })
}

fn known<T: FromStr>(text: &str) -> Result<T, DbError> {
    text.parse().map_err(|_| DbError::Other(format!("{text:?} is not known of a dispute")))
}

fn basis_points(bps: i64) -> Result<u16, DbError> {
    u16::try_from(bps).map_err(|_| DbError::Other(format!("{bps} basis points")))
}

pub(super) async fn get(db: &impl Read, id: Id<kinds::Dispute>) -> Result<Option<Dispute>> {
    let sql = format!("SELECT {COLUMNS} FROM disputes WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

pub(super) async fn insert(tx: &Tx, new: &Dispute) -> Result<()> {
    let sql = "INSERT INTO disputes (id, verification, owner, verifier, ground, state, version,
                   opened_at, opened_by)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let (ground, state) = (new.ground.as_str(), new.state.as_str());
    let params = params![
        new.id,
        new.verification,
        new.owner,
        new.verifier,
        ground,
        state,
        new.version,
        new.opened_at,
        new.opened_by
    ];
    tx.execute(sql, params).await?;
    Ok(())
}

/// Writes what has changed, on the version that it was decided on. When that version is gone,
/// the whole transaction is to be run again.
pub(super) async fn save(tx: &Tx, changed: &mut Dispute) -> Result<()> {
    let sql = "UPDATE disputes SET version = version + 1, state = $3, assignee = $4,
                   resolution = $5, refund_bps = $6, reasoning = $7, decided_by = $8,
                   decided_at = $9, final_at = $10, appealed_by = $11, appealed_at = $12,
                   closed_at = $13
               WHERE id = $1 AND version = $2";
    let state = changed.state.as_str();
    let resolution = changed.resolution.map(Resolution::as_str);
    let refund_bps = changed.refund_bps.map(i64::from);
    let params = params![
        changed.id,
        changed.version,
        state,
        changed.assignee,
        resolution,
        refund_bps,
        changed.reasoning,
        changed.decided_by,
        changed.decided_at,
        changed.final_at,
        changed.appealed_by,
        changed.appealed_at,
        changed.closed_at
    ];
    if !tx.touch(sql, params).await? {
        let lost = format!("{} is no longer at version {}", changed.id, changed.version);
        return Err(DbError::Serialization(lost).into());
    }
    changed.version += 1;
    Ok(())
}

/// Whose disputes a list holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    /// As the owner of the credential or as the verifier.
    Side(Id<kinds::User>),
    Everybody,
    One(Id<kinds::Dispute>),
    Of(Id<kinds::Verification>),
    Because(Ground),
}

impl Whose {
    /// Each side is a walk along an index of its own, in the order of the page: so a page costs the
    /// same however many disputes there are. Nobody is on both sides of one.
    const fn sides(&self) -> &'static [&'static str] {
        match self {
            Self::Side(_) => &["owner = $3", "verifier = $3"],
            Self::Everybody => &["TRUE"],
            Self::One(_) => &["id = $3"],
            Self::Of(_) => &["verification = $3"],
            Self::Because(_) => &["ground = $3"],
        }
    }
}

/// Newest first.
pub(super) async fn list(
    db: &impl Read,
    whose: Whose,
    state: Option<State>,
    page: &PageRequest,
) -> Result<Page<Dispute>> {
    let ids = async |after, limit| {
        let id = |row: &Row<'_>| row.take::<Uuid>();
        walk(db, "id", (&whose, state), (after, limit), id).await
    };
    let mut rows = Vec::new();
    if let Some(after) = merged::begins_after(page, ids).await? {
        rows = walk(db, COLUMNS, (&whose, state), (after, page.fetch()), read).await?;
    }
    Ok(merged::page(page, rows, |one| one.id))
}

/// So many rows of each side behind an id.
async fn walk<T: Send + 'static>(
    db: &impl Read,
    what: &str,
    (whose, state): (&Whose, Option<State>),
    (after, limit): (Uuid, i64),
    read: fn(&Row<'_>) -> Result<T, DbError>,
) -> Result<Vec<T>> {
    let ground = if let Whose::Because(ground) = whose { ground.as_str() } else { "" };
    let state = state.map(State::as_str);
    let mut rows = Vec::new();
    for side in whose.sides() {
        let mut sql = format!("SELECT {what} FROM disputes WHERE id < $1 AND {side}");
        let mut params: Vec<Value<'_>> = vec![after.bind(), Value::Int(limit)];
        match whose {
            Whose::Everybody => {}
            Whose::Side(user) => params.push(user.bind()),
            Whose::One(dispute) => params.push(dispute.bind()),
            Whose::Of(verification) => params.push(verification.bind()),
            Whose::Because(_) => params.push(Value::Text(ground)),
        }
        if let Some(state) = &state {
            params.push(state.bind());
            // One side's are not to be looked for among everybody's in this state.
            let state = if *side == "TRUE" { "state" } else { "state || ''" };
            sql.push_str(&format!(" AND {state} = ${}", params.len()));
        }
        sql.push_str(" ORDER BY id DESC LIMIT $2");
        rows.extend(db.all(&sql, &params, read).await?);
    }
    Ok(rows)
}

/// Decisions that nobody has appealed in time, the longest due first.
pub(super) async fn due(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Id<kinds::Dispute>>> {
    let sql = "SELECT id FROM disputes WHERE state = 'resolved' AND final_at <= $1
               ORDER BY final_at, id LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| row.take()).await?)
}

/// Adds evidence, numbered by the version of the dispute that it has made.
pub(super) async fn insert_evidence(
    tx: &Tx,
    dispute: &Dispute,
    author: Id<kinds::User>,
    new: &NewEvidence,
) -> Result<()> {
    let sql = "INSERT INTO dispute_evidence (dispute, number, author, text, file, at)
               VALUES ($1, $2, $3, $4, $5, $6)";
    let (id, number, text) = (dispute.id, dispute.version, new.text.as_str());
    tx.execute(sql, params![id, number, author, text, new.file, tx.now()]).await?;
    Ok(())
}

/// Oldest first.
pub(super) async fn evidence(db: &impl Read, id: Id<kinds::Dispute>) -> Result<Vec<Evidence>> {
    let sql = "SELECT author, text, file, at FROM dispute_evidence
               WHERE dispute = $1 ORDER BY number LIMIT 1000";
    let read = |row: &Row<'_>| {
        Ok(Evidence { author: row.take()?, text: row.take()?, file: row.take()?, at: row.take()? })
    };
    Ok(db.all(sql, params![id], read).await?)
}

/// How much a party has said so far.
pub(super) async fn count_evidence(
    tx: &Tx,
    id: Id<kinds::Dispute>,
    author: Id<kinds::User>,
) -> Result<i64> {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM dispute_evidence
               WHERE dispute = $1 AND author = $2";
    Ok(tx.one(sql, params![id, author], |row| row.take()).await?)
}
