//! All SQL of proposals.

use kernel::id::kinds;
use kernel::{Cursor, Id, Page, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Among, Proposal, Tally, Vote};

const COLUMNS: &str = "id, title, description, changes, proposer, quorum, closes_at, \
     settings_version, executed_by, executed_at, created_at, \
     (SELECT COUNT(*) FROM proposal_votes WHERE proposal = id AND vote = 'for'), \
     (SELECT COUNT(*) FROM proposal_votes WHERE proposal = id AND vote = 'against'), \
     (SELECT COUNT(*) FROM proposal_votes WHERE proposal = id AND vote = 'abstain')";

fn read(row: &Row<'_>) -> Result<Proposal, DbError> {
    Ok(Proposal {
        id: row.take()?,
        title: row.take()?,
        description: row.take()?,
        changes: serde_json::from_str(&row.take::<String>()?)
            .map_err(|error| DbError::Other(format!("proposals.changes: {error}")))?,
        proposer: row.take()?,
        quorum: row.take()?,
        closes_at: row.take()?,
        settings_version: row.take()?,
        executed_by: row.take()?,
        executed_at: row.take()?,
        created_at: row.take()?,
        tally: Tally { r#for: row.take()?, against: row.take()?, abstain: row.take()? },
    })
}

pub(super) async fn insert(tx: &Tx, new: &Proposal) -> Result<()> {
    let sql = "INSERT INTO proposals (id, title, description, changes, proposer, quorum, closes_at,
                   state, touched, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, 'open', 0, $8)";
    let changes = serde_json::to_string(&new.changes)
        .map_err(|error| DbError::Other(format!("proposals.changes: {error}")))?;
    let Proposal { id, title, description, proposer, quorum, closes_at, created_at, .. } = new;
    let params = params![id, title, description, changes, proposer, quorum, closes_at, created_at];
    tx.execute(sql, params).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<kinds::Proposal>) -> Result<Option<Proposal>> {
    let sql = format!("SELECT {COLUMNS} FROM proposals WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Newest first.
pub(super) async fn list(
    db: &impl Read,
    among: Among,
    now: Timestamp,
    page: &PageRequest,
) -> Result<Page<Proposal>> {
    let narrowed = match among {
        Among::All => "CAST($2 AS BIGINT) IS NOT NULL",
        Among::Open => "state = 'open' AND closes_at > $2",
        Among::Closed => "state = 'open' AND closes_at <= $2",
        Among::Executed => "state = 'executed' AND CAST($2 AS BIGINT) IS NOT NULL",
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM proposals WHERE id < $1 AND {narrowed}
         ORDER BY id DESC LIMIT $3 OFFSET $4"
    );
    let (after, fetch, now) = (page.after_id(), page.fetch(), now.micros());
    let rows = db.all(&sql, params![after, now, fetch, page.offset], read).await?;
    Ok(page.page(rows, |proposal| Cursor::by_id(proposal.id)))
}

/// Takes the proposal's row while it is voted on; `false` when it no longer is.
pub(super) async fn touch_open(tx: &Tx, id: Id<kinds::Proposal>) -> Result<bool> {
    let sql = "UPDATE proposals SET touched = touched + 1
               WHERE id = $1 AND state = 'open' AND closes_at > $2";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Gives somebody's one vote, in the place of the one before.
pub(super) async fn vote(
    tx: &Tx,
    id: Id<kinds::Proposal>,
    voter: Id<kinds::User>,
    vote: Vote,
) -> Result<()> {
    let sql = "INSERT INTO proposal_votes (proposal, voter, vote, at) VALUES ($1, $2, $3, $4)
               ON CONFLICT (proposal, voter) DO UPDATE SET vote = excluded.vote, at = excluded.at";
    tx.execute(sql, params![id, voter, vote.as_str(), tx.now()]).await?;
    Ok(())
}

pub(super) async fn vote_of(
    db: &impl Read,
    id: Id<kinds::Proposal>,
    voter: Id<kinds::User>,
) -> Result<Option<Vote>> {
    let sql = "SELECT vote FROM proposal_votes WHERE proposal = $1 AND voter = $2";
    let vote = db.maybe(sql, params![id, voter], |row| row.take::<String>()).await?;
    Ok(vote.and_then(|text| Vote::of(&text)))
}

/// Marks a proposal as executed; `false` when it was.
pub(super) async fn execute(tx: &Tx, id: Id<kinds::Proposal>, by: Id<kinds::User>) -> Result<bool> {
    let sql = "UPDATE proposals SET state = 'executed', executed_by = $2, executed_at = $3
               WHERE id = $1 AND state = 'open'";
    Ok(tx.touch(sql, params![id, by, tx.now()]).await?)
}

pub(super) async fn set_version(tx: &Tx, id: Id<kinds::Proposal>, version: i64) -> Result<()> {
    let sql = "UPDATE proposals SET settings_version = $2 WHERE id = $1";
    tx.execute(sql, params![id, version]).await?;
    Ok(())
}
