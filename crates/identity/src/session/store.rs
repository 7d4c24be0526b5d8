//! All SQL of sessions.

use kernel::caller::Origin;
use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{Cursor, Id, Level, Page, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use uuid::Uuid;

use super::model::{Device, Proof, Reason, Session, client_of};
use crate::account::{self, Account};

const COLUMNS: &str = "sessions.id, sessions.user_id, sessions.user_agent, sessions.ip, \
    sessions.created_at, sessions.last_seen_at, sessions.expires_at, sessions.ended_at, \
    sessions.refresh_salt, sessions.refresh_generation, sessions.refreshed_at, \
    sessions.epoch, \
    sessions.level, sessions.methods, sessions.proven_at, sessions.impersonator, \
    sessions.proven_ip, sessions.refreshed_by";

fn read(row: &Row<'_>) -> Result<Session, DbError> {
    let mut session = Session {
        id: row.take()?,
        user: row.take()?,
        device: Device {
            user_agent: row.take()?,
            ip: row.take::<Option<String>>()?.and_then(|ip| ip.parse().ok()),
        },
        created_at: row.take()?,
        last_seen_at: row.take()?,
        expires_at: row.take()?,
        ended_at: row.take()?,
        salt: row.take()?,
        generation: row.take()?,
        refreshed_at: row.take()?,
        refreshed_by: None,
        epoch: row.take()?,
        proof: Proof { level: Level::One, methods: Vec::new(), impersonator: None },
        proven_at: Timestamp::from_micros(0),
        proven_ip: None,
    };
    let level = row.take::<String>()?;
    let level = Level::ALL.into_iter().find(|known| known.as_str() == level);
    session.proof.level = level.ok_or_else(|| DbError::Other("no such level".to_owned()))?;
    session.proof.methods = Proof::methods_of(&row.take::<String>()?);
    session.proven_at = row.take()?;
    session.proof.impersonator = row.take()?;
    session.proven_ip = row.take::<Option<String>>()?.and_then(|ip| ip.parse().ok());
    session.refreshed_by = row.take()?;
    Ok(session)
}

/// How a session is found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Id(Id<SessionKind>),
    Cookie([u8; 32]),
}

/// A session and its account, in one statement.
pub(crate) async fn load(db: &impl Read, key: Key) -> Result<Option<(Session, Account)>> {
    let both = |row: &Row<'_>| Ok((read(row)?, account::store::read(row)?));
    let users = account::store::COLUMNS;
    let from = "FROM sessions JOIN users ON users.id = sessions.user_id";
    Ok(match key {
        Key::Id(id) => {
            let sql = format!("SELECT {COLUMNS}, {users} {from} WHERE sessions.id = $1");
            db.maybe(&sql, params![id], both).await?
        }
        Key::Cookie(hash) => {
            let sql = format!("SELECT {COLUMNS}, {users} {from} WHERE sessions.cookie_hash = $1");
            db.maybe(&sql, params![hash], both).await?
        }
    })
}

/// The one session from the first id to the last, its account, and why it ended.
pub(super) async fn find(
    db: &impl Read,
    (first, last): (Uuid, Uuid),
) -> Result<Option<(Session, Account, Option<String>)>> {
    let users = account::store::COLUMNS;
    let sql = format!(
        "SELECT {COLUMNS}, {users}, sessions.ended_reason
         FROM sessions JOIN users ON users.id = sessions.user_id
         WHERE sessions.id >= $1 AND sessions.id <= $2 LIMIT 2"
    );
    let all = |row: &Row<'_>| Ok((read(row)?, account::store::read(row)?, row.take()?));
    let mut found = db.all(&sql, params![first, last], all).await?;
    Ok(if found.len() == 1 { found.pop() } else { None })
}

/// Sessions of a user, or of everybody: the live ones, or those that were ended and not deleted;
/// newest first.
pub(super) async fn window(
    db: &impl Read,
    user: Option<Id<User>>,
    ended: bool,
    now: Timestamp,
    (limit, offset): (i64, i64),
) -> Result<Vec<Session>> {
    // Both name all parameters; the last condition of the first is always so.
    let which = if ended {
        "ended_at IS NOT NULL AND ended_reason <> 'deleted' AND created_at <= $1"
    } else {
        "ended_at IS NULL AND expires_at > $1"
    };
    let order = "ORDER BY id DESC LIMIT $2 OFFSET $3";
    Ok(match user {
        Some(user) => {
            let sql =
                format!("SELECT {COLUMNS} FROM sessions WHERE {which} AND user_id = $4 {order}");
            db.all(&sql, params![now, limit, offset, user], read).await?
        }
        None => {
            let sql = format!("SELECT {COLUMNS} FROM sessions WHERE {which} {order}");
            db.all(&sql, params![now, limit, offset], read).await?
        }
    })
}

/// Writes when a live session is over; `false` when it has ended.
pub(super) async fn set_expiry(
    tx: &Tx,
    id: Id<SessionKind>,
    expires_at: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE sessions SET expires_at = $2 WHERE id = $1 AND ended_at IS NULL";
    Ok(tx.touch(sql, params![id, expires_at]).await?)
}

/// Takes a session that has ended off the lists; `false` when it is off already.
pub(super) async fn hide(tx: &Tx, id: Id<SessionKind>) -> Result<bool> {
    let sql = "UPDATE sessions SET ended_reason = 'deleted'
               WHERE id = $1 AND ended_at IS NOT NULL AND ended_reason <> 'deleted'";
    Ok(tx.touch(sql, params![id]).await?)
}

pub(super) async fn insert(
    tx: &Tx,
    session: &Session,
    cookie_hash: Option<[u8; 32]>,
) -> Result<()> {
    let Session { id, user, device, created_at, expires_at, salt, generation, .. } = session;
    let ip = device.ip.map(|ip| ip.to_string());
    let sql = "INSERT INTO sessions (id, user_id, cookie_hash, refresh_salt, refresh_generation,
                   refreshed_at, user_agent, ip, created_at, last_seen_at, expires_at, level,
                   methods, proven_at, impersonator, proven_ip)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $6, $6, $9, $10, $11, $12, $13, $14)";
    tx.execute(
        sql,
        params![
            id,
            user,
            cookie_hash,
            salt,
            generation,
            created_at,
            device.user_agent,
            ip,
            expires_at,
            session.proof.level.as_str(),
            session.proof.methods_text(),
            session.proven_at,
            session.proof.impersonator,
            session.proven_ip.map(|ip| ip.to_string())
        ],
    )
    .await?;
    Ok(())
}

/// Begins the next generation of refresh tokens; `false` when the session is over or somebody
/// else has done so.
pub(super) async fn rotate(tx: &Tx, session: &Session, origin: &Origin) -> Result<bool> {
    let sql = "UPDATE sessions SET refresh_generation = refresh_generation + 1, refreshed_at = $3,
                   last_seen_at = $3, ip = COALESCE($4, ip), refreshed_by = $5
               WHERE id = $1 AND refresh_generation = $2 AND ended_at IS NULL";
    let (ip, client) = (origin.ip.map(|ip| ip.to_string()), client_of(origin));
    Ok(tx.touch(sql, params![session.id, session.generation, tx.now(), ip, client]).await?)
}

/// Gives a live session what [`super::Service::renew_in`] has made for it; whether it has a cookie,
/// or nothing when it is over or somebody else has renewed it.
pub(super) async fn renew(
    tx: &Tx,
    was: &Session,
    becomes: &Session,
    cookie_hash: &[u8; 32],
) -> Result<Option<bool>> {
    let sql = "UPDATE sessions
               SET cookie_hash = CASE WHEN cookie_hash IS NULL THEN cookie_hash ELSE $3 END,
                   refresh_salt = $4, refresh_generation = $5, refreshed_at = $6, epoch = $7,
                   level = $8, methods = $9, proven_at = $10, impersonator = $11,
                   proven_ip = $12
               WHERE id = $1 AND epoch = $2 AND ended_at IS NULL
               RETURNING cookie_hash";
    let hash = tx
        .maybe(
            sql,
            params![
                was.id,
                was.epoch,
                cookie_hash,
                becomes.salt,
                becomes.generation,
                becomes.refreshed_at,
                becomes.epoch,
                becomes.proof.level.as_str(),
                becomes.proof.methods_text(),
                becomes.proven_at,
                becomes.proof.impersonator,
                becomes.proven_ip.map(|ip| ip.to_string())
            ],
            |row| row.take::<Option<[u8; 32]>>(),
        )
        .await?;
    Ok(hash.map(|hash| hash.is_some()))
}

/// What was proven on the other sessions of a user counts no longer as fresh.
pub(super) async fn outdate_proofs(tx: &Tx, user: Id<User>, except: Id<SessionKind>) -> Result<()> {
    let sql = "UPDATE sessions SET proven_at = 0
               WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL";
    tx.execute(sql, params![user, except]).await?;
    Ok(())
}

/// Whether a user has a live session on which a second factor was last shown at an address. Where
/// sessions are refreshed from does not count: that takes a stolen token and nothing more.
pub(super) async fn is_known_address(
    db: &impl Read,
    user: Id<User>,
    ip: &str,
    now: Timestamp,
) -> Result<bool> {
    let sql = "SELECT id FROM sessions
               WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $3 AND proven_ip = $2 LIMIT 1";
    Ok(db.maybe(sql, params![user, ip, now], |row| row.take::<Id<SessionKind>>()).await?.is_some())
}

/// Takes over how and until when a session is vouched for; `false` when it is over.
pub(crate) async fn vouch(
    tx: &Tx,
    id: Id<SessionKind>,
    level: Level,
    proven_at: Timestamp,
    expires_at: Timestamp,
) -> Result<bool> {
    // Tokens from before the level rose are not raised with it.
    let sql = "UPDATE sessions SET level = $2, proven_at = $3, expires_at = $4,
                   epoch = CASE WHEN level = $2 THEN epoch ELSE epoch + 1 END
               WHERE id = $1 AND ended_at IS NULL";
    Ok(tx.touch(sql, params![id, level.as_str(), proven_at, expires_at]).await?)
}

/// Ends one session of a user; `false` when it is not theirs or is over already.
pub(crate) async fn end(
    tx: &Tx,
    user: Id<User>,
    id: Id<SessionKind>,
    reason: Reason,
) -> Result<bool> {
    let sql = "UPDATE sessions SET ended_at = $3, ended_reason = $4
               WHERE id = $1 AND user_id = $2 AND ended_at IS NULL";
    Ok(tx.touch(sql, params![id, user, tx.now(), reason.as_str()]).await?)
}

/// Ends all sessions of a user but one; answers which.
pub(super) async fn end_all(
    tx: &Tx,
    user: Id<User>,
    reason: Reason,
    except: Option<Id<SessionKind>>,
) -> Result<Vec<Id<SessionKind>>> {
    let sql = "UPDATE sessions SET ended_at = $2, ended_reason = $3
               WHERE user_id = $1 AND ended_at IS NULL
                   AND (CAST($4 AS UUID) IS NULL OR id <> $4)
               RETURNING id";
    Ok(tx.all(sql, params![user, tx.now(), reason.as_str(), except], |row| row.take()).await?)
}

/// Ends the oldest sessions of a user beyond a number; answers which.
pub(super) async fn end_beyond(
    tx: &Tx,
    user: Id<User>,
    keep: u32,
    reason: Reason,
) -> Result<Vec<Id<SessionKind>>> {
    let sql = "UPDATE sessions SET ended_at = $2, ended_reason = $3
               WHERE id IN (SELECT id FROM sessions
                            WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2
                                AND impersonator IS NULL
                            ORDER BY id DESC LIMIT 1000 OFFSET $4)
               RETURNING id";
    Ok(tx.all(sql, params![user, tx.now(), reason.as_str(), keep], |row| row.take()).await?)
}

/// Ends the sessions that an admin has in other people's names; answers which, and whose.
pub(super) async fn end_impersonations(
    tx: &Tx,
    admin: Id<User>,
    reason: Reason,
) -> Result<Vec<(Id<SessionKind>, Id<User>)>> {
    let sql = "UPDATE sessions SET ended_at = $2, ended_reason = $3
               WHERE impersonator = $1 AND ended_at IS NULL RETURNING id, user_id";
    let read = |row: &Row<'_>| Ok((row.take()?, row.take()?));
    Ok(tx.all(sql, params![admin, tx.now(), reason.as_str()], read).await?)
}

/// One page of a user's live sessions, newest first.
pub(super) async fn list(
    db: &impl Read,
    user: Id<User>,
    now: Timestamp,
    page: &PageRequest,
) -> Result<Page<Session>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions
         WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 AND id < $3
         ORDER BY id DESC LIMIT $4 OFFSET $5"
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let rows = db.all(&sql, params![user, now, after, fetch, page.offset], read).await?;
    Ok(page.page(rows, |session| Cursor::by_id(session.id)))
}

/// Notes when a session was last seen; an earlier time changes nothing.
pub(super) async fn see(tx: &Tx, id: Id<SessionKind>, at: Timestamp) -> Result<()> {
    let sql = "UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2";
    tx.execute(sql, params![id, at]).await?;
    Ok(())
}

/// Forgets sessions that have been over for a while, a batch at once; answers how many.
pub(super) async fn sweep(tx: &Tx, before: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM sessions WHERE id IN
                   (SELECT id FROM sessions WHERE expires_at <= $1 LIMIT 1000)";
    Ok(tx.execute(sql, params![before]).await?)
}
