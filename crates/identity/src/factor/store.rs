//! All SQL of authenticator apps, recovery codes and challenges.

use kernel::id::kinds::{Session, User};
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::Enrolled;

/// What an account has enrolled; of its password only the account knows.
pub(super) async fn enrolled(db: &impl Read, user: Id<User>, password: bool) -> Result<Enrolled> {
    let sql = "SELECT
            (SELECT CAST(COUNT(*) AS BIGINT) FROM totp_factors WHERE user_id = $1),
            (SELECT CAST(COUNT(*) AS BIGINT) FROM recovery_codes
                WHERE user_id = $1 AND used_at IS NULL),
            (SELECT CAST(COUNT(*) AS BIGINT) FROM passkeys WHERE user_id = $1)";
    let read = |row: &Row<'_>| {
        Ok(Enrolled {
            password,
            totp: row.take::<i64>()? > 0,
            recovery_codes: row.take()?,
            passkeys: row.take()?,
        })
    };
    Ok(db.one(sql, params![user], read).await?)
}

/// The sealed secret of the enrolled app.
pub(super) async fn secret(db: &impl Read, user: Id<User>) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT sealed_secret FROM totp_factors WHERE user_id = $1";
    Ok(db.maybe(sql, params![user], |row| row.take()).await?)
}

/// Uses a step up; `false` when it, or a later one, was used before.
pub(super) async fn use_step(tx: &Tx, user: Id<User>, step: i64) -> Result<bool> {
    let sql = "UPDATE totp_factors SET last_step = $2 WHERE user_id = $1 AND last_step < $2";
    Ok(tx.touch(sql, params![user, step]).await?)
}

/// Keeps a secret that is yet to be confirmed, in the place of one before.
pub(super) async fn insert_enrolment(
    tx: &Tx,
    user: Id<User>,
    sealed: &[u8],
    expires_at: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO totp_enrolments (user_id, sealed_secret, expires_at)
               VALUES ($1, $2, $3)
               ON CONFLICT (user_id) DO UPDATE
                   SET sealed_secret = excluded.sealed_secret, expires_at = excluded.expires_at";
    tx.execute(sql, params![user, sealed, expires_at]).await?;
    Ok(())
}

/// The sealed secret that is yet to be confirmed.
pub(super) async fn enrolment(
    db: &impl Read,
    user: Id<User>,
    now: Timestamp,
) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT sealed_secret FROM totp_enrolments WHERE user_id = $1 AND expires_at > $2";
    Ok(db.maybe(sql, params![user, now], |row| row.take()).await?)
}

/// Makes a confirmed secret the account's; `false` when it is no longer waiting.
pub(super) async fn confirm(tx: &Tx, user: Id<User>, sealed: &[u8], step: i64) -> Result<bool> {
    let sql = "DELETE FROM totp_enrolments WHERE user_id = $1 AND sealed_secret = $2";
    if !tx.touch(sql, params![user, sealed]).await? {
        return Ok(false);
    }
    let sql = "INSERT INTO totp_factors (user_id, sealed_secret, last_step, created_at)
               VALUES ($1, $2, $3, $4)
               ON CONFLICT (user_id) DO UPDATE
                   SET sealed_secret = excluded.sealed_secret, last_step = excluded.last_step,
                       created_at = excluded.created_at";
    tx.execute(sql, params![user, sealed, step, tx.now()]).await?;
    Ok(true)
}

/// Takes the app and its recovery codes from an account; `false` when there was none.
pub(super) async fn remove_totp(tx: &Tx, user: Id<User>) -> Result<bool> {
    tx.execute("DELETE FROM totp_enrolments WHERE user_id = $1", params![user]).await?;
    tx.execute("DELETE FROM recovery_codes WHERE user_id = $1", params![user]).await?;
    Ok(tx.touch("DELETE FROM totp_factors WHERE user_id = $1", params![user]).await?)
}

/// Replaces the recovery codes of an account.
pub(super) async fn replace_codes(tx: &Tx, user: Id<User>, hashes: &[[u8; 32]]) -> Result<()> {
    tx.execute("DELETE FROM recovery_codes WHERE user_id = $1", params![user]).await?;
    let sql = "INSERT INTO recovery_codes (user_id, hash, created_at) VALUES ($1, $2, $3)";
    for hash in hashes {
        tx.execute(sql, params![user, hash, tx.now()]).await?;
    }
    Ok(())
}

/// Uses a recovery code up; `false` when it is none of the account's, or was used.
pub(super) async fn use_code(tx: &Tx, user: Id<User>, hash: &[u8; 32]) -> Result<bool> {
    let sql = "UPDATE recovery_codes SET used_at = $3
               WHERE user_id = $1 AND hash = $2 AND used_at IS NULL";
    Ok(tx.touch(sql, params![user, hash, tx.now()]).await?)
}

/// What an unfinished thing is for. A challenge of one purpose is nothing to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A right password that waits for its code.
    Login,
    PasskeyLogin,
    PasskeyRegistration,
    /// A passkey shown once more on a session.
    PasskeyProof,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::PasskeyLogin => "passkey_login",
            Self::PasskeyRegistration => "passkey_registration",
            Self::PasskeyProof => "passkey_proof",
        }
    }
}

/// A login, a registration or a proof that is not finished yet.
#[derive(Debug, Clone)]
pub(super) struct Challenge {
    /// Of what the client presents.
    pub(super) hash: [u8; 32],
    pub(super) user: Option<Id<User>>,
    pub(super) session: Option<Id<Session>>,
    /// What is needed to finish it, as JSON.
    pub(super) state: String,
    pub(super) attempts: i64,
}

fn read(row: &Row<'_>) -> Result<Challenge, DbError> {
    Ok(Challenge {
        hash: row.take()?,
        user: row.take()?,
        session: row.take()?,
        state: row.take()?,
        attempts: row.take()?,
    })
}

pub(super) async fn insert_challenge(
    tx: &Tx,
    purpose: Purpose,
    challenge: &Challenge,
    expires_at: Timestamp,
) -> Result<()> {
    let Challenge { hash, user, session, state, attempts } = challenge;
    let sql = "INSERT INTO challenges (hash, purpose, user_id, session_id, state, attempts,
                   expires_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let purpose = purpose.as_str();
    tx.execute(sql, params![hash, purpose, user, session, state, attempts, expires_at]).await?;
    Ok(())
}

pub(super) async fn challenge(
    db: &impl Read,
    purpose: Purpose,
    hash: &[u8; 32],
    now: Timestamp,
) -> Result<Option<Challenge>> {
    let sql = "SELECT hash, user_id, session_id, state, attempts FROM challenges
               WHERE hash = $1 AND purpose = $2 AND expires_at > $3";
    Ok(db.maybe(sql, params![hash, purpose.as_str(), now], read).await?)
}

/// Uses a challenge up; it is good for one who asks, however many do.
pub(super) async fn take_challenge(
    tx: &Tx,
    purpose: Purpose,
    hash: &[u8; 32],
) -> Result<Option<Challenge>> {
    let sql = "DELETE FROM challenges WHERE hash = $1 AND purpose = $2 AND expires_at > $3
               RETURNING hash, user_id, session_id, state, attempts";
    Ok(tx.maybe(sql, params![hash, purpose.as_str(), tx.now()], read).await?)
}

/// Counts a try of a challenge before it is made, so that of many at once none goes uncounted;
/// nothing when there is none such, or there were as many as `max` already.
pub(super) async fn count_attempt(
    tx: &Tx,
    purpose: Purpose,
    hash: &[u8; 32],
    max: i64,
) -> Result<Option<Challenge>> {
    let sql = "UPDATE challenges SET attempts = attempts + 1
               WHERE hash = $1 AND purpose = $2 AND expires_at > $3 AND attempts < $4
               RETURNING hash, user_id, session_id, state, attempts";
    Ok(tx.maybe(sql, params![hash, purpose.as_str(), tx.now(), max], read).await?)
}

/// Forgets what was not finished in time, a batch of each at once.
pub(super) async fn sweep(tx: &Tx) -> Result<()> {
    let sql = "DELETE FROM challenges WHERE hash IN
                   (SELECT hash FROM challenges WHERE expires_at <= $1 LIMIT 1000)";
    tx.execute(sql, params![tx.now()]).await?;
    let sql = "DELETE FROM totp_enrolments WHERE user_id IN
                   (SELECT user_id FROM totp_enrolments WHERE expires_at <= $1 LIMIT 1000)";
    tx.execute(sql, params![tx.now()]).await?;
    Ok(())
}
