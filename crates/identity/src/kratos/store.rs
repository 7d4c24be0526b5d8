//! All SQL of what leads from Kratos's ids to ours.

use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use uuid::Uuid;

/// A session of Kratos that has one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) identity: Uuid,
    pub(super) user: Id<User>,
    pub(super) session: Id<SessionKind>,
    /// When Kratos last saw its owner show who they are, as far as that was taken over.
    pub(super) authenticated_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

const COLUMNS: &str = "kratos_sessions.id, kratos_sessions.identity_id, kratos_sessions.user_id, \
    kratos_sessions.session_id, kratos_sessions.authenticated_at, kratos_sessions.expires_at";

fn read(row: &Row<'_>) -> Result<Known, DbError> {
    Ok(Known {
        id: row.take()?,
        identity: row.take()?,
        user: row.take()?,
        session: row.take()?,
        authenticated_at: row.take()?,
        expires_at: row.take()?,
    })
}

/// Whose an identity is.
pub(super) async fn user_of(db: &impl Read, identity: Uuid) -> Result<Option<Id<User>>> {
    let sql = "SELECT user_id FROM kratos_identities WHERE id = $1";
    Ok(db.maybe(sql, params![identity], |row| row.take()).await?)
}

/// Whether an account is an identity's.
pub(crate) async fn is_linked(db: &impl Read, user: Id<User>) -> Result<bool> {
    let sql = "SELECT id FROM kratos_identities WHERE user_id = $1 LIMIT 1";
    Ok(db.maybe(sql, params![user], |row| row.take::<Uuid>()).await?.is_some())
}

/// `false` when the identity is somebody's already.
pub(super) async fn link(tx: &Tx, identity: Uuid, user: Id<User>) -> Result<bool> {
    let sql = "INSERT INTO kratos_identities (id, user_id, linked_at) VALUES ($1, $2, $3)
               ON CONFLICT DO NOTHING";
    Ok(tx.touch(sql, params![identity, user, tx.now()]).await?)
}

/// The account of the identity was closed: the identity is nobody's.
pub(super) async fn unlink(tx: &Tx, identity: Uuid) -> Result<()> {
    tx.execute("DELETE FROM kratos_identities WHERE id = $1", params![identity]).await?;
    Ok(())
}

pub(super) async fn session(db: &impl Read, id: Uuid) -> Result<Option<Known>> {
    let sql = format!("SELECT {COLUMNS} FROM kratos_sessions WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// `false` when the session is known already.
pub(super) async fn insert(tx: &Tx, known: &Known) -> Result<bool> {
    let Known { id, identity, user, session, authenticated_at, expires_at } = known;
    let sql = "INSERT INTO kratos_sessions
                   (id, identity_id, user_id, session_id, authenticated_at, expires_at)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    Ok(tx.touch(sql, params![id, identity, user, session, authenticated_at, expires_at]).await?)
}

/// Notes what was taken over from Kratos: when the owner was last seen there, and until when
/// Kratos may believe its session, of which an earlier time changes nothing.
pub(super) async fn follow(
    tx: &Tx,
    id: Uuid,
    authenticated_at: Timestamp,
    expires_at: Timestamp,
) -> Result<()> {
    let sql = "UPDATE kratos_sessions SET authenticated_at = $2,
                   expires_at = CASE WHEN expires_at < $3 THEN $3 ELSE expires_at END
               WHERE id = $1";
    tx.execute(sql, params![id, authenticated_at, expires_at]).await?;
    Ok(())
}

/// Every session of an identity that is known, ended ones included.
pub(super) async fn known_of(db: &impl Read, identity: Uuid) -> Result<Vec<Known>> {
    let sql = format!("SELECT {COLUMNS} FROM kratos_sessions WHERE identity_id = $1");
    Ok(db.all(&sql, params![identity], read).await?)
}

/// The sessions of an identity that live here and began before a time.
pub(super) async fn live_of(
    db: &impl Read,
    identity: Uuid,
    before: Timestamp,
) -> Result<Vec<Known>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM kratos_sessions
             JOIN sessions ON sessions.id = kratos_sessions.session_id
         WHERE kratos_sessions.identity_id = $1 AND sessions.ended_at IS NULL
             AND sessions.created_at < $2"
    );
    Ok(db.all(&sql, params![identity, before], read).await?)
}

/// Marks the sessions of a user that have ended here and not yet at Kratos; answers which.
pub(super) async fn take_ended(tx: &Tx, user: Id<User>) -> Result<Vec<Uuid>> {
    let sql = "UPDATE kratos_sessions SET revoking_at = $2
               WHERE user_id = $1 AND revoking_at IS NULL AND session_id IN
                   (SELECT id FROM sessions WHERE user_id = $1 AND ended_at IS NOT NULL)
               RETURNING id";
    Ok(tx.all(sql, params![user, tx.now()], |row| row.take()).await?)
}

/// The same for everybody's, a batch at once.
pub(super) async fn take_any_ended(tx: &Tx) -> Result<Vec<Uuid>> {
    let sql = "UPDATE kratos_sessions SET revoking_at = $1
               WHERE id IN (SELECT kratos_sessions.id FROM kratos_sessions
                                JOIN sessions ON sessions.id = kratos_sessions.session_id
                            WHERE kratos_sessions.revoking_at IS NULL
                                AND sessions.ended_at IS NOT NULL LIMIT 1000)
               RETURNING id";
    Ok(tx.all(sql, params![tx.now()], |row| row.take()).await?)
}

/// Marks one to be ended at Kratos; `false` when it is marked already.
pub(super) async fn take(tx: &Tx, id: Uuid) -> Result<bool> {
    let sql = "UPDATE kratos_sessions SET revoking_at = $2 WHERE id = $1 AND revoking_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Notes that Kratos does not believe its session any more.
pub(super) async fn set_revoked(tx: &Tx, id: Uuid) -> Result<()> {
    let sql = "UPDATE kratos_sessions
               SET revoking_at = COALESCE(revoking_at, $2), revoked_at = COALESCE(revoked_at, $2)
               WHERE id = $1";
    tx.execute(sql, params![id, tx.now()]).await?;
    Ok(())
}

/// Forgets sessions that Kratos itself has long let end, a batch at once.
pub(super) async fn sweep(tx: &Tx, before: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM kratos_sessions WHERE id IN
                   (SELECT id FROM kratos_sessions WHERE expires_at <= $1 LIMIT 1000)";
    Ok(tx.execute(sql, params![before]).await?)
}
