//! All SQL of the accounts that users hold, and of the rows that tie them to their types.

use kernel::id::kinds::{Holding as Kind, User};
use kernel::{Cursor, Id, Page, PageRequest, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Filter, Holding, New, Status};
use super::rules::Refusal;
use crate::accounttype;

const COLUMNS: &str = "holdings.id, holdings.owner_id, holdings.name, holdings.bio, \
    holdings.status, holdings.plan, holdings.avatar, holdings.plays, holdings.likes, \
    holdings.follows, holdings.shares, holdings.version, holdings.created_at, holdings.updated_at";

/// An account and its type: one row of each.
const FROM: &str = "FROM holdings
    JOIN holding_types ON holding_types.holding_id = holdings.id
    JOIN account_types ON account_types.id = holding_types.type_id";

fn read(row: &Row<'_>) -> Result<Holding, DbError> {
    let kind = accounttype::store::read(row)?;
    Ok(Holding {
        kind,
        id: row.take()?,
        owner: row.take()?,
        name: row.take()?,
        bio: row.take()?,
        status: {
            let status: String = row.take()?;
            Status::parse(&status)
                .map_err(|_| DbError::Other(format!("{status} is no status of an account")))?
        },
        plan: i32::try_from(row.take::<i64>()?).unwrap_or(i32::MAX),
        avatar: row.take()?,
        plays: row.take()?,
        likes: row.take()?,
        follows: row.take()?,
        shares: row.take()?,
        version: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}

fn select() -> String {
    format!("SELECT {}, {COLUMNS} {FROM}", accounttype::store::COLUMNS)
}

pub(super) async fn get(db: &impl Read, id: Id<Kind>) -> Result<Option<Holding>> {
    let sql = format!("{} WHERE holdings.id = $1", select());
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// The account of a user that was made first.
pub(crate) async fn first_of(db: &impl Read, owner: Id<User>) -> Result<Option<Holding>> {
    let sql = format!("{} WHERE holdings.owner_id = $1 ORDER BY holdings.id LIMIT 1", select());
    Ok(db.maybe(&sql, params![owner], read).await?)
}

/// One page of accounts, newest first.
pub(super) async fn list(
    db: &impl Read,
    filter: Filter,
    page: &PageRequest,
) -> Result<Page<Holding>> {
    let sql = format!(
        "{} WHERE holdings.id < $1
             AND (CAST($2 AS UUID) IS NULL OR holdings.owner_id = $2)
             AND (CAST($3 AS UUID) IS NULL OR holding_types.type_id = $3)
         ORDER BY holdings.id DESC LIMIT $4 OFFSET $5",
        select()
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let rows =
        db.all(&sql, params![after, filter.owner, filter.kind, fetch, page.offset], read).await?;
    Ok(page.page(rows, |holding| Cursor::by_id(holding.id)))
}

/// One page of a user's accounts, newest first: by the index on owners.
pub(crate) async fn of_owner(
    db: &impl Read,
    owner: Id<User>,
    page: &PageRequest,
) -> Result<Page<Holding>> {
    let sql = format!(
        "{} WHERE holdings.owner_id = $1 AND holdings.id < $2
         ORDER BY holdings.id DESC LIMIT $3 OFFSET $4",
        select()
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let rows = db.all(&sql, params![owner, after, fetch, page.offset], read).await?;
    Ok(page.page(rows, |holding| Cursor::by_id(holding.id)))
}

/// Makes the account and ties it to its type. A second account of a type is refused, and so is a
/// type that is being deleted at this moment.
pub(super) async fn insert(tx: &Tx, id: Id<Kind>, owner: Id<User>, new: &New) -> Result<()> {
    let sql = "INSERT INTO holdings (id, owner_id, name, bio, status, plan, avatar, plays, likes,
                   follows, shares, version, created_at, updated_at)
               VALUES ($1, $2, $3, $4, 'active', $5, $6, 0, 0, 0, 0, 1, $7, $7)";
    let avatar = new.avatar.as_ref().map(|avatar| avatar.as_str());
    let plan = i64::from(new.plan.get());
    tx.execute(
        sql,
        params![id, owner, new.name.as_str(), new.bio.as_str(), plan, avatar, tx.now()],
    )
    .await?;
    let sql = "INSERT INTO holding_types (holding_id, type_id, owner_id) VALUES ($1, $2, $3)
               ON CONFLICT DO NOTHING";
    match tx.touch(sql, params![id, new.kind, owner]).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::TypeTaken.into()),
        Err(DbError::Refused(_)) => Err(kernel::Error::not_found("account type")),
        Err(error) => Err(error.into()),
    }
}

/// Writes a changed account, unless it has changed meanwhile.
pub(super) async fn update(tx: &Tx, holding: &Holding) -> Result<bool> {
    let sql = "UPDATE holdings SET name = $3, bio = $4, status = $5, plan = $6, avatar = $7,
                   version = version + 1, updated_at = $8
               WHERE id = $1 AND version = $2";
    let Holding { id, version, name, bio, status, plan, avatar, .. } = holding;
    let (status, plan) = (status.as_str(), i64::from(*plan));
    Ok(tx.touch(sql, params![id, version, name, bio, status, plan, avatar, tx.now()]).await?)
}

/// Deletes an account and what ties it to its type; `false` when there is none.
pub(super) async fn delete(tx: &Tx, id: Id<Kind>) -> Result<bool> {
    tx.execute("DELETE FROM holding_types WHERE holding_id = $1", params![id]).await?;
    Ok(tx.touch("DELETE FROM holdings WHERE id = $1", params![id]).await?)
}

/// Deletes all accounts of a user, who holds at most one of each type; answers how many.
pub(crate) async fn delete_of(tx: &Tx, owner: Id<User>) -> Result<u64> {
    tx.execute("DELETE FROM holding_types WHERE owner_id = $1", params![owner]).await?;
    Ok(tx.execute("DELETE FROM holdings WHERE owner_id = $1", params![owner]).await?)
}
