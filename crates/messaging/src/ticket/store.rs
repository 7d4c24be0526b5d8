//! All SQL of tickets.

use kernel::id::kinds::{Session, User};
use kernel::{Id, Result, Timestamp};
use platform::db::{Read, Row, Tx};
use platform::params;

pub(super) async fn insert(
    tx: &Tx,
    hash: [u8; 32],
    (user, session): (Id<User>, Id<Session>),
    expires_at: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO stream_tickets (hash, user_id, session_id, expires_at)
               VALUES ($1, $2, $3, $4)";
    tx.execute(sql, params![hash, user, session, expires_at]).await?;
    Ok(())
}

/// Takes a ticket away, and answers whose it was: of many at once, to one.
pub(super) async fn take(tx: &Tx, hash: [u8; 32]) -> Result<Option<(Id<User>, Id<Session>)>> {
    let sql = "DELETE FROM stream_tickets WHERE hash = $1 AND expires_at > $2
               RETURNING user_id, session_id";
    let whose = |row: &Row<'_>| Ok((row.take()?, row.take()?));
    Ok(tx.maybe(sql, params![hash, tx.now()], whose).await?)
}

/// Forgets tickets whose time is over, at most a thousand; answers how many.
pub(super) async fn sweep(tx: &Tx) -> Result<u64> {
    let sql = "DELETE FROM stream_tickets WHERE hash IN
                   (SELECT hash FROM stream_tickets WHERE expires_at <= $1 LIMIT 1000)";
    Ok(tx.execute(sql, params![tx.now()]).await?)
}
