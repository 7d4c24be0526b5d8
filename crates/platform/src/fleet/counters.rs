//! All SQL of the fleet.

use kernel::Result;

use super::board::{Notice, SHARDS, Told};
use crate::db::{Db, Read, Tx};
use crate::params;

/// Counts what a transaction tells, shard by shard. Its last statements: the rows stay locked
/// until the commit, and since everybody takes them in the same order nobody waits in a circle.
pub(crate) async fn tick(tx: &Tx, notices: Vec<Notice>) -> Result<Vec<Told>> {
    let mut told = Told::by_shard(notices);
    for told in &mut told {
        let sql = "INSERT INTO fleet_counters (shard, number) VALUES ($1, 1)
                   ON CONFLICT (shard) DO UPDATE SET number = fleet_counters.number + 1
                   RETURNING number";
        let shard = i64::try_from(told.shard).unwrap_or_default();
        told.number = tx.one(sql, params![shard], |row| row.take()).await?;
    }
    Ok(told)
}

/// The counters of all shards: one that has no row yet has never been told anything.
pub(super) async fn read(db: &Db) -> Result<[i64; SHARDS]> {
    let sql = "SELECT shard, number FROM fleet_counters";
    let rows = db.all(sql, &[], |row| Ok((row.take::<i64>()?, row.take::<i64>()?))).await?;
    let mut counted = [0; SHARDS];
    for (shard, number) in rows {
        if let Some(place) = usize::try_from(shard).ok().and_then(|at| counted.get_mut(at)) {
            *place = number;
        }
    }
    Ok(counted)
}
