//! All SQL of closing accounts.

use kernel::id::kinds::User;
use kernel::{Id, Result, Timestamp};
use platform::db::{Read, Tx};
use platform::params;

use super::rules::Policy;
use crate::account::Account;

/// What an erased account is called.
const TOMBSTONE_NAME: &str = "Closed account";

/// Shuts an account, unless it has changed meanwhile.
pub(super) async fn close(tx: &Tx, account: &Account) -> Result<bool> {
    let sql = "UPDATE users SET status = 'closed', version = version + 1, updated_at = $3
               WHERE id = $1 AND version = $2 AND status <> 'closed'";
    Ok(tx.touch(sql, params![account.id, account.version, tx.now()]).await?)
}

/// Opens a closed account that was not erased yet, as it stood before.
pub(super) async fn reopen(tx: &Tx, id: Id<User>) -> Result<bool> {
    let sql = "DELETE FROM closings WHERE person = $1 AND erased_at IS NULL
               RETURNING status_before";
    let Some(before) = tx.maybe(sql, params![id], |row| row.take::<String>()).await? else {
        return Ok(false);
    };
    let sql = "UPDATE users SET status = $2, version = version + 1, updated_at = $3
               WHERE id = $1 AND status = 'closed'";
    Ok(tx.touch(sql, params![id, before, tx.now()]).await?)
}

/// Has what is held of an account go when its time has come. The account as it was before it closed.
pub(crate) async fn insert(tx: &Tx, account: &Account, policy: Policy) -> Result<()> {
    let erase_at = tx.now() + policy.grace;
    let records_at = erase_at + policy.retention;
    let sql = "INSERT INTO closings (person, status_before, closed_at, erase_at, records_at)
               VALUES ($1, $2, $3, $4, $5)";
    let before = account.status.as_str();
    tx.execute(sql, params![account.id, before, tx.now(), erase_at, records_at]).await?;
    Ok(())
}

/// Those of whom nothing is held any more, in the order in which they went.
pub(super) async fn gone(db: &impl Read) -> Result<Vec<Id<User>>> {
    let sql = "SELECT person FROM closings WHERE erased_at IS NOT NULL ORDER BY erased_at, person";
    Ok(db.all(sql, &[], |row| row.take()).await?)
}

/// Marks the first step as done; `false` when it was.
pub(super) async fn erased(tx: &Tx, id: Id<User>) -> Result<bool> {
    let sql = "UPDATE closings SET erased_at = $2 WHERE person = $1 AND erased_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Marks the second step as done; `false` when it was, or the first is not.
pub(super) async fn records_erased(tx: &Tx, id: Id<User>) -> Result<bool> {
    let sql = "UPDATE closings SET records_erased_at = $2
               WHERE person = $1 AND erased_at IS NOT NULL AND records_erased_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Closed accounts whose time for a step has come, the longest overdue first.
pub(super) async fn due(db: &impl Read, now: Timestamp, limit: i64) -> Result<Vec<Id<User>>> {
    let sql = "SELECT person FROM closings WHERE erased_at IS NULL AND erase_at <= $1
               ORDER BY erase_at, person LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| row.take()).await?)
}

/// [`due`] of the second step.
pub(super) async fn records_due(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Id<User>>> {
    let sql = "SELECT person FROM closings WHERE records_erased_at IS NULL
                   AND erased_at IS NOT NULL AND records_at <= $1
               ORDER BY records_at, person LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| row.take()).await?)
}

/// Puts tombstones where the person's name and address were, and forgets their devices.
pub(super) async fn bury(tx: &Tx, id: Id<User>) -> Result<()> {
    // The name space is reserved for what is no address (RFC 2606 section 2).
    let address = format!("{}@closed.invalid", id.uuid().simple());
    let sql = "UPDATE users SET email = $2, email_shown = $2, name = $3, searchable = '',
                   avatar = NULL, preferences = '{}', password_hash = NULL,
                   email_verified_at = NULL, last_login_at = NULL, version = version + 1,
                   updated_at = $4
               WHERE id = $1 AND status = 'closed'";
    tx.touch(sql, params![id, address, TOMBSTONE_NAME, tx.now()]).await?;
    let sql = "UPDATE sessions SET user_agent = NULL, ip = NULL, proven_ip = NULL,
                   refreshed_by = NULL WHERE user_id = $1";
    tx.execute(sql, params![id]).await?;
    for sql in [
        "DELETE FROM mail_tokens WHERE user_id = $1",
        "DELETE FROM user_tags WHERE user_id = $1",
        "DELETE FROM totp_factors WHERE user_id = $1",
        "DELETE FROM totp_enrolments WHERE user_id = $1",
        "DELETE FROM recovery_codes WHERE user_id = $1",
        "DELETE FROM passkeys WHERE user_id = $1",
        "DELETE FROM challenges WHERE user_id = $1",
        "DELETE FROM imported_users WHERE user_id = $1",
        // Which sessions of Kratos have ended stays, by ids alone, till Kratos lets them end: else
        // one that it still believes would begin anew.
        "DELETE FROM kratos_identities WHERE user_id = $1",
    ] {
        tx.execute(sql, params![id]).await?;
    }
    let sql = "UPDATE impersonations SET reason = '' WHERE user_id = $1";
    tx.execute(sql, params![id]).await?;
    crate::privacy::store::forget(tx, id).await?;
    Ok(())
}
