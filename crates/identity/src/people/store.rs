//! All SQL of administering people.

use kernel::id::kinds::User;
use kernel::{Id, Result, Role, Timestamp};
use platform::db::{Read, Tx};
use platform::params;

use crate::account::Account;
use crate::password::Phc;

/// Waits until no other transaction is changing who is an admin.
pub(super) async fn touch_roster(tx: &Tx) -> Result<()> {
    tx.execute("UPDATE admin_roster SET version = version + 1 WHERE name = 'admins'", &[]).await?;
    Ok(())
}

/// Whether anybody but this account can administer the platform. Ask after [`touch_roster`].
pub(super) async fn has_other_admin(tx: &Tx, id: Id<User>) -> Result<bool> {
    let sql = "SELECT id FROM users WHERE role = 'admin' AND status = 'active' AND id <> $1
               LIMIT 1";
    Ok(tx.maybe(sql, params![id], |row| row.take::<Id<User>>()).await?.is_some())
}

/// Gives an account another role, unless it has changed meanwhile.
pub(super) async fn set_role(tx: &Tx, account: &Account, role: Role) -> Result<bool> {
    let sql = "UPDATE users SET role = $3, approved = TRUE, version = version + 1, updated_at = $4
               WHERE id = $1 AND version = $2";
    Ok(tx.touch(sql, params![account.id, account.version, role, tx.now()]).await?)
}

/// Sets the first password of an account, whose owner has shown by a mail that the address is
/// theirs; `false` when there is one already or the account is locked.
pub(super) async fn set_first_password(tx: &Tx, id: Id<User>, password: &Phc) -> Result<bool> {
    let sql = "UPDATE users SET password_hash = $2, version = version + 1, updated_at = $3,
                   email_verified_at = COALESCE(email_verified_at, $3)
               WHERE id = $1 AND status = 'active' AND password_hash IS NULL";
    Ok(tx.touch(sql, params![id, password.0, tx.now()]).await?)
}

/// Whose token this is, while it is good for a purpose; it stays so.
pub(super) async fn token_owner(
    db: &impl Read,
    hash: &[u8; 32],
    purpose: &str,
    now: Timestamp,
) -> Result<Option<Id<User>>> {
    let sql = "SELECT user_id FROM mail_tokens
               WHERE hash = $1 AND purpose = $2 AND expires_at > $3";
    Ok(db.maybe(sql, params![hash, purpose, now], |row| row.take()).await?)
}
