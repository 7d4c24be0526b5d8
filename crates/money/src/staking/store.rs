//! All SQL of the bonds.

use kernel::id::kinds::{Unstaking as UnstakingKind, User};
use kernel::{Asset, Id, Money, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::Unstaking;

const COLUMNS: &str = "id, owner, asset, amount, remaining, unlock_at, created_at";

fn read(row: &Row<'_>) -> Result<Unstaking, DbError> {
    let (id, owner, asset) = (row.take()?, row.take()?, row.take()?);
    Ok(Unstaking {
        id,
        owner,
        amount: Money::new(row.take()?, asset),
        remaining: Money::new(row.take()?, asset),
        unlock_at: row.take()?,
        created_at: row.take()?,
    })
}

pub(super) async fn insert(tx: &Tx, unstaking: &Unstaking) -> Result<()> {
    let sql = "INSERT INTO unstakings (id, owner, asset, amount, remaining, state, unlock_at,
                                       created_at)
               VALUES ($1, $2, $3, $4, $4, 'cooling', $5, $6)";
    let Unstaking { id, owner, amount, unlock_at, created_at, .. } = unstaking;
    tx.execute(sql, params![id, owner, amount.asset, amount.minor, unlock_at, created_at]).await?;
    Ok(())
}

/// What of an owner's is cooling down, the last to be free first.
pub(super) async fn cooling(db: &impl Read, owner: Id<User>) -> Result<Vec<Unstaking>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM unstakings WHERE owner = $1 AND state = 'cooling'
         ORDER BY unlock_at DESC, id DESC"
    );
    Ok(db.all(&sql, params![owner], read).await?)
}

/// An unstaking, whatever has become of it.
pub(super) async fn get(db: &impl Read, id: Id<UnstakingKind>) -> Result<Option<Unstaking>> {
    let sql = format!("SELECT {COLUMNS} FROM unstakings WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// What has cooled down and is not pinned, with whose it is and of which asset; longest first.
pub(super) async fn due(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(Id<UnstakingKind>, Id<User>, Asset)>> {
    let sql = "SELECT id, owner, asset FROM unstakings
               WHERE state = 'cooling' AND unlock_at <= $1
                     AND NOT EXISTS (SELECT 1 FROM bond_pins
                                     WHERE bond_pins.owner = unstakings.owner
                                           AND (until IS NULL OR until > $1))
               ORDER BY unlock_at, id LIMIT $2";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?, row.take()?));
    Ok(db.all(sql, params![now, limit], read).await?)
}

/// Keeps an owner's bond where it is because of a subject: until an instant, or until it is said
/// otherwise.
pub(super) async fn pin(
    tx: &Tx,
    owner: Id<User>,
    subject: &str,
    until: Option<Timestamp>,
) -> Result<()> {
    let sql = "INSERT INTO bond_pins (subject, owner, until) VALUES ($1, $2, $3)
               ON CONFLICT (subject) DO UPDATE SET owner = $2, until = $3";
    tx.execute(sql, params![subject, owner, until]).await?;
    Ok(())
}

pub(super) async fn unpin(tx: &Tx, subject: &str) -> Result<()> {
    tx.execute("DELETE FROM bond_pins WHERE subject = $1", params![subject]).await?;
    Ok(())
}

/// Lets go of an owner's pins that are over. One that is made longer at this moment is waited for,
/// and stays.
pub(super) async fn drop_pins(tx: &Tx, owner: Id<User>) -> Result<()> {
    let sql = "DELETE FROM bond_pins WHERE owner = $1 AND until <= $2";
    tx.execute(sql, params![owner, tx.now()]).await?;
    Ok(())
}

/// Ends an unstaking that is cooling down; none when it is not. `done` only when it is due and not
/// pinned, of anybody's where no owner is named.
pub(super) async fn end(
    tx: &Tx,
    id: Id<UnstakingKind>,
    owner: Option<Id<User>>,
    state: &str,
) -> Result<Option<Unstaking>> {
    let sql = format!(
        "UPDATE unstakings SET state = $2, ended_at = $3
         WHERE id = $1 AND state = 'cooling' AND (CAST($4 AS UUID) IS NULL OR owner = $4)
               AND ($2 <> 'done'
                    OR (unlock_at <= $3
                        AND NOT EXISTS (SELECT 1 FROM bond_pins
                                        WHERE bond_pins.owner = unstakings.owner)))
         RETURNING {COLUMNS}"
    );
    Ok(tx.maybe(&sql, params![id, state, tx.now(), owner], read).await?)
}

/// Takes a part of what is cooling down; all of it ends it.
pub(super) async fn slash(tx: &Tx, id: Id<UnstakingKind>, remaining: i64) -> Result<bool> {
    let sql = "UPDATE unstakings SET remaining = $2,
                      ended_at = CASE WHEN $2 = 0 THEN CAST($3 AS BIGINT) END,
                      state = CASE WHEN $2 = 0 THEN 'slashed' ELSE state END
               WHERE id = $1 AND state = 'cooling' AND remaining > $2";
    Ok(tx.touch(sql, params![id, remaining, tx.now()]).await?)
}

/// The last epoch of an asset that was closed, and what it left over.
pub(super) async fn last_epoch(db: &impl Read, asset: Asset) -> Result<Option<(i64, i64)>> {
    let sql = "SELECT epoch, pool - paid FROM reward_epochs WHERE asset = $1
               ORDER BY epoch DESC LIMIT 1";
    Ok(db.maybe(sql, params![asset], |row| Ok((row.take()?, row.take()?))).await?)
}

/// Closes an epoch; false when it is closed already.
pub(super) async fn close_epoch(tx: &Tx, epoch: i64, pool: Money, paid: i64) -> Result<bool> {
    let sql = "INSERT INTO reward_epochs (asset, epoch, pool, paid, closed_at)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    Ok(tx.touch(sql, params![pool.asset, epoch, pool.minor, paid, tx.now()]).await?)
}
