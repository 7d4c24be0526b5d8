//! All SQL of the statements.

use kernel::id::kinds::{Solvency, User};
use kernel::{Asset, Error, Id, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use uuid::Uuid;

use super::model::{Balance, Stated};
use super::rules::{Name, Tile};
use crate::ledger::{Code, Side};

/// All balances that are not zero, as of one moment.
pub(super) async fn balances(db: &impl Read) -> Result<Vec<Balance>> {
    let sql = "SELECT a.owner, a.code, a.asset, CAST(SUM(b.credits - b.debits) AS BIGINT)
               FROM ledger_account AS a JOIN ledger_balance AS b ON b.account_id = a.id
               GROUP BY a.owner, a.code, a.asset HAVING SUM(b.credits - b.debits) <> 0";
    let rows = db
        .all(sql, &[], |row| {
            Ok((
                row.take::<Uuid>()?,
                row.take::<String>()?,
                row.take::<Asset>()?,
                row.take::<i64>()?,
            ))
        })
        .await?;
    let balance = |(owner, code, asset, grown): (Uuid, String, Asset, i64)| {
        let known = Code::ALL.iter().find(|known| known.as_str() == code);
        let code = *known.ok_or_else(|| Error::internal(format!("the account code {code}")))?;
        let owner: Option<Id<User>> = (!owner.is_nil()).then(|| Id::from_uuid(owner));
        let minor = if code.side() == Side::Credit { grown } else { -grown };
        Ok(Balance { owner, code, asset, minor })
    };
    rows.into_iter().map(balance).collect()
}

pub(super) async fn insert_tile(
    tx: &Tx,
    statement: Id<Solvency>,
    asset: Asset,
    tile: &Tile,
) -> Result<()> {
    let sql = "INSERT INTO solvency_tiles (statement, asset, level, place, first_name, nodes)
               VALUES ($1, $2, $3, $4, $5, $6)";
    let Tile { level, place, first_name, nodes } = tile;
    tx.execute(sql, params![statement, asset, level, place, first_name, nodes]).await?;
    Ok(())
}

pub(super) async fn insert(tx: &Tx, stated: &Stated) -> Result<()> {
    let sql = "INSERT INTO solvency_statements (id, note, stated_at) VALUES ($1, $2, $3)";
    tx.execute(sql, params![stated.id, stated.note, stated.at]).await?;
    Ok(())
}

/// Throws away the tiles of all statements before the last ones. What is newer than those belongs to
/// a statement that somebody else is about to publish.
pub(super) async fn drop_tiles(tx: &Tx, kept: i64) -> Result<()> {
    let sql = "DELETE FROM solvency_tiles WHERE statement <
                   (SELECT id FROM (SELECT id FROM solvency_statements ORDER BY id DESC LIMIT $1)
                       AS kept ORDER BY id LIMIT 1)";
    tx.execute(sql, params![kept]).await?;
    Ok(())
}

fn stated(row: &Row<'_>) -> Result<Stated, DbError> {
    Ok(Stated { id: row.take()?, note: row.take()?, at: row.take()? })
}

pub(super) async fn get(db: &impl Read, id: Id<Solvency>) -> Result<Option<Stated>> {
    let sql = "SELECT id, note, stated_at FROM solvency_statements WHERE id = $1";
    Ok(db.maybe(sql, params![id], stated).await?)
}

/// The newest statement.
pub(super) async fn last(db: &impl Read) -> Result<Option<Stated>> {
    let sql = "SELECT id, note, stated_at FROM solvency_statements ORDER BY id DESC LIMIT 1";
    Ok(db.maybe(sql, &[], stated).await?)
}

/// The place and bytes of the tile in which a leaf of this name stands, if it is in the tree.
pub(super) async fn tile_of(
    db: &impl Read,
    statement: Id<Solvency>,
    asset: Asset,
    name: &Name,
) -> Result<Option<(i64, Vec<u8>)>> {
    let sql = "SELECT place, nodes FROM solvency_tiles
               WHERE statement = $1 AND asset = $2 AND level = 0 AND first_name <= $3
               ORDER BY first_name DESC LIMIT 1";
    let name = name.as_slice();
    let row = params![statement, asset, name];
    Ok(db.maybe(sql, row, |row| Ok((row.take()?, row.take()?))).await?)
}

pub(super) async fn tile(
    db: &impl Read,
    statement: Id<Solvency>,
    asset: Asset,
    level: u32,
    place: i64,
) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT nodes FROM solvency_tiles
               WHERE statement = $1 AND asset = $2 AND level = $3 AND place = $4";
    Ok(db.maybe(sql, params![statement, asset, level, place], |row| row.take()).await?)
}
