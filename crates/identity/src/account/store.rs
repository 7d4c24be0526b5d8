//! All SQL of accounts.

use kernel::id::kinds::User;
use kernel::{Cursor, Error, Id, Page, PageRequest, Result, Role, Timestamp};
use platform::db::{DbError, Read, Row, Tx, Value, like};
use platform::params;
use uuid::Uuid;

use super::model::{Account, Email, Filter, Name, ProfileChange, Sort};
use super::rules::Standing;
use crate::password::Phc;

/// The columns that [`read`] takes, in its order.
pub(crate) const COLUMNS: &str = "users.id, users.email, users.email_shown, users.name, \
    users.role, users.status, users.approved, users.email_verified_at, users.password_hash, \
    users.avatar, users.preferences, users.version, users.created_at, users.updated_at, \
    users.last_login_at";

pub(crate) fn read(row: &Row<'_>) -> Result<Account, DbError> {
    Ok(Account {
        id: row.take()?,
        email: Email::stored(row.take()?, row.take()?),
        name: row.take()?,
        role: row.take()?,
        status: {
            let status: String = row.take()?;
            let broken = |_| DbError::Other(format!("{status} is no status of an account"));
            status.parse().map_err(broken)?
        },
        approved: row.take()?,
        email_verified_at: row.take()?,
        password: row.take::<Option<String>>()?.map(Phc),
        avatar: row.take()?,
        preferences: row.take()?,
        version: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
        last_login_at: row.take()?,
    })
}

pub(crate) async fn get(db: &impl Read, id: Id<User>) -> Result<Account> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1");
    let found = db.maybe(&sql, params![id], read).await?;
    found.ok_or_else(|| Error::not_found("user"))
}

/// The one account from the first id to the last.
pub(crate) async fn between(
    db: &impl Read,
    (first, last): (Uuid, Uuid),
) -> Result<Option<Account>> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id >= $1 AND id <= $2 LIMIT 2");
    let mut found = db.all(&sql, params![first, last], read).await?;
    Ok(if found.len() == 1 { found.pop() } else { None })
}

/// Several at once, in no order. The number of markers grows in doublings, so that there are few
/// statements to prepare.
pub(crate) async fn many(db: &impl Read, ids: &[Id<User>]) -> Result<Vec<Account>> {
    let mut accounts = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(128) {
        let Some(last) = chunk.last() else { continue };
        let padded = chunk.len().next_power_of_two();
        let params: Vec<_> = (0..padded)
            .map(|index| platform::db::Value::Uuid(chunk.get(index).unwrap_or(last).uuid()))
            .collect();
        let markers: Vec<_> = (1..=padded).map(|number| format!("${number}")).collect();
        let sql = format!("SELECT {COLUMNS} FROM users WHERE id IN ({})", markers.join(", "));
        accounts.extend(db.all(&sql, &params, read).await?);
    }
    Ok(accounts)
}

pub(crate) async fn by_email(db: &impl Read, email: &Email) -> Result<Option<Account>> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE email = $1");
    Ok(db.maybe(&sql, params![email.as_str()], read).await?)
}

/// The tag of accounts that an admin has made: only who reads the mail sets the first password.
pub(crate) const INVITED: &str = "invited";

/// An account about to exist.
pub(crate) struct New<'a> {
    pub(crate) id: Id<User>,
    pub(crate) email: &'a Email,
    pub(crate) name: &'a Name,
    pub(crate) role: Role,
    pub(crate) approved: bool,
    pub(crate) email_verified_at: Option<Timestamp>,
    /// None where a link in a mail will set it.
    pub(crate) password: Option<&'a Phc>,
}

/// `false` when the address has an account already.
pub(crate) async fn insert(tx: &Tx, new: &New<'_>) -> Result<bool> {
    let New { id, email, name, role, approved, email_verified_at, password } = new;
    let sql = "INSERT INTO users (id, email, email_shown, name, role, status, approved,
                   email_verified_at, password_hash, preferences, searchable, version,
                   created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, 'active', $6, $7, $8, '{}', $9, 1, $10, $10)
               ON CONFLICT DO NOTHING";
    Ok(tx
        .touch(
            sql,
            params![
                id,
                email.as_str(),
                email.shown(),
                name.as_str(),
                role,
                approved,
                email_verified_at,
                password.map(|phc| phc.0.as_str()),
                searchable(email, name.as_str()),
                tx.now()
            ],
        )
        .await?)
}

/// An account from elsewhere, with its own date; `false` when the address has an account.
pub(crate) async fn insert_imported(
    tx: &Tx,
    id: Id<User>,
    row: &crate::import::Row,
    approved: bool,
) -> Result<bool> {
    let sql = "INSERT INTO users (id, email, email_shown, name, role, status, approved,
                   email_verified_at, password_hash, preferences, searchable, version,
                   created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, 'active', $6, $7, $8, '{}', $9, 1, $10, $11)
               ON CONFLICT DO NOTHING";
    Ok(tx
        .touch(
            sql,
            params![
                id,
                row.email.as_str(),
                row.email.shown(),
                row.name.as_str(),
                row.role,
                approved,
                row.email_verified.then(|| tx.now()),
                row.password.as_ref().map(|password| password.0.as_str()),
                searchable(&row.email, row.name.as_str()),
                row.created_at,
                tx.now()
            ],
        )
        .await?)
}

/// That somebody has registered an account, here or at Kratos, and never proved its address: `$1` is
/// its id, `$2` [`INVITED`]. What an admin has made or imported is not for strangers.
const UNPROVED: &str = "id = $1 AND email_verified_at IS NULL AND status = 'active'
    AND NOT EXISTS (SELECT 1 FROM user_tags WHERE user_id = $1 AND tag = $2)
    AND NOT EXISTS (SELECT 1 FROM imported_users WHERE user_id = $1)";

/// Makes an account whose address was never proved the account of a new registration.
pub(super) async fn take_over(tx: &Tx, new: &New<'_>) -> Result<bool> {
    let New { id, email, name, role, approved, password, .. } = new;
    let sql = format!(
        "UPDATE users SET email_shown = $3, name = $4, role = $5, approved = $6,
             password_hash = $7, searchable = $8, version = version + 1, updated_at = $9
         WHERE {UNPROVED}"
    );
    Ok(tx
        .touch(
            &sql,
            params![
                id,
                INVITED,
                email.shown(),
                name.as_str(),
                role,
                approved,
                password.map(|phc| phc.0.as_str()),
                searchable(email, name.as_str()),
                tx.now()
            ],
        )
        .await?)
}

/// Whether somebody has registered the account and never proved its address: then it has no claim to
/// the address before whoever reads its mail.
pub(crate) async fn gives_way(db: &impl Read, id: Id<User>) -> Result<bool> {
    let sql = format!("SELECT id FROM users WHERE {UNPROVED}");
    Ok(db.maybe(&sql, params![id, INVITED], |row| row.take::<Id<User>>()).await?.is_some())
}

/// Closes an account whose address was never proved, and takes the address from it.
pub(super) async fn release(tx: &Tx, account: &Account) -> Result<bool> {
    // The top-level domain is one that never exists (RFC 2606).
    let gone = format!("{}@released.invalid", account.id);
    let sql = "UPDATE users SET status = 'closed', email = $3, email_shown = $3, searchable = '',
                   password_hash = NULL, version = version + 1, updated_at = $4
               WHERE id = $1 AND version = $2 AND email_verified_at IS NULL AND status = 'active'";
    Ok(tx.touch(sql, params![account.id, account.version, gone, tx.now()]).await?)
}

/// Gives an account tags; those that it has already stay.
pub(crate) async fn add_tags(tx: &Tx, user: Id<User>, tags: &[&str]) -> Result<()> {
    let sql = "INSERT INTO user_tags (user_id, tag) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    for tag in tags {
        tx.execute(sql, params![user, *tag]).await?;
    }
    Ok(())
}

/// Takes all tags from an account.
pub(super) async fn drop_tags(tx: &Tx, user: Id<User>) -> Result<()> {
    tx.execute("DELETE FROM user_tags WHERE user_id = $1", params![user]).await?;
    Ok(())
}

/// Takes a tag from an account; `false` when it had none of that name.
pub(super) async fn drop_tag(tx: &Tx, user: Id<User>, tag: &str) -> Result<bool> {
    let sql = "DELETE FROM user_tags WHERE user_id = $1 AND tag = $2";
    Ok(tx.touch(sql, params![user, tag]).await?)
}

/// The tags of an account, in the order of the alphabet.
pub(crate) async fn tags(db: &impl Read, user: Id<User>) -> Result<Vec<String>> {
    let sql = "SELECT tag FROM user_tags WHERE user_id = $1 ORDER BY tag";
    Ok(db.all(sql, params![user], |row| row.take()).await?)
}

fn searchable(email: &Email, name: &str) -> String {
    format!("{} {}", email.as_str(), name.to_lowercase())
}

/// Marks the address as proved; `false` when it was already.
pub(crate) async fn set_email_verified(tx: &Tx, id: Id<User>) -> Result<bool> {
    let sql = "UPDATE users SET email_verified_at = $2, version = version + 1, updated_at = $2
               WHERE id = $1 AND email_verified_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Voids a password that may not be its owner's.
pub(super) async fn drop_password(tx: &Tx, id: Id<User>) -> Result<()> {
    let sql = "UPDATE users SET password_hash = NULL, version = version + 1, updated_at = $2
               WHERE id = $1";
    tx.execute(sql, params![id, tx.now()]).await?;
    Ok(())
}

/// Sets the password, unless the account has changed meanwhile.
pub(crate) async fn set_password(tx: &Tx, account: &Account, password: &Phc) -> Result<bool> {
    let sql = "UPDATE users SET password_hash = $3, version = version + 1, updated_at = $4
               WHERE id = $1 AND version = $2";
    Ok(tx.touch(sql, params![account.id, account.version, password.0, tx.now()]).await?)
}

/// Changes what an admin decides on, unless the account has changed meanwhile.
pub(super) async fn set_standing(tx: &Tx, account: &Account, standing: Standing) -> Result<bool> {
    let Standing { status, approved, .. } = standing;
    let sql = "UPDATE users SET status = $3, approved = $4, version = version + 1, updated_at = $5
               WHERE id = $1 AND version = $2";
    Ok(tx
        .touch(sql, params![account.id, account.version, status.as_str(), approved, tx.now()])
        .await?)
}

/// Changes what an owner decides on, unless the account has changed meanwhile.
pub(crate) async fn set_profile(
    tx: &Tx,
    account: &Account,
    change: &ProfileChange,
) -> Result<bool> {
    let name = change.name.as_ref().map_or(account.name.as_str(), |name| name.as_str());
    let avatar = match &change.avatar {
        Some(avatar) => avatar.as_ref().map(|avatar| avatar.as_str()),
        None => account.avatar.as_deref(),
    };
    let preferences = change.preferences.as_ref().map(|preferences| preferences.as_str());
    let preferences = preferences.unwrap_or(&account.preferences);
    let sql = "UPDATE users SET name = $3, avatar = $4, preferences = $5, searchable = $6,
                   version = version + 1, updated_at = $7
               WHERE id = $1 AND version = $2";
    Ok(tx
        .touch(
            sql,
            params![
                account.id,
                account.version,
                name,
                avatar,
                preferences,
                searchable(&account.email, name),
                tx.now()
            ],
        )
        .await?)
}

/// Makes the transactions that begin and end sessions of an account go one after another from here
/// on: else one that ends them all would not see the one that another is about to begin.
pub(crate) async fn touch(tx: &Tx, id: Id<User>) -> Result<()> {
    tx.execute("UPDATE users SET version = version WHERE id = $1", params![id]).await?;
    Ok(())
}

/// Notes a login; `false` when the account is no longer the one whose password was checked. Logins
/// of one account go one after another from here on.
pub(crate) async fn log_in(tx: &Tx, account: &Account) -> Result<bool> {
    let was = account.password.as_ref().map(|phc| phc.0.as_str());
    let sql = "UPDATE users SET last_login_at = $2
               WHERE id = $1 AND status = 'active' AND password_hash = $3";
    Ok(tx.touch(sql, params![account.id, tx.now(), was]).await?)
}

/// Keeps a password hash made anew; `false` when another one has taken its place.
pub(crate) async fn rehash(tx: &Tx, account: &Account, rehashed: &Phc) -> Result<bool> {
    let was = account.password.as_ref().map(|phc| phc.0.as_str());
    let sql = "UPDATE users SET password_hash = $2 WHERE id = $1 AND password_hash = $3";
    Ok(tx.touch(sql, params![account.id, rehashed.0, was]).await?)
}

/// Notes a login by other means than a password; `false` when the account may not sign in.
pub(crate) async fn note_login(tx: &Tx, id: Id<User>) -> Result<bool> {
    let sql = "UPDATE users SET last_login_at = $2 WHERE id = $1 AND status = 'active'";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Makes an account whose address was never proved the account of whoever has proved it elsewhere.
/// A password that somebody has set before, and the mails that are on their way, are worth nothing
/// from here on. `false` when the address is proved, or the account locked.
pub(crate) async fn claim(tx: &Tx, account: &Account, name: &Name) -> Result<bool> {
    let sql = "UPDATE users SET name = $3, role = 'user', approved = TRUE, password_hash = NULL,
                   email_verified_at = $4, searchable = $5, version = version + 1, updated_at = $4
               WHERE id = $1 AND version = $2 AND email_verified_at IS NULL
                   AND status = 'active'";
    let Account { id, version, email, .. } = account;
    let searchable = searchable(email, name.as_str());
    let claimed = tx.touch(sql, params![id, version, name.as_str(), tx.now(), searchable]).await?;
    drop_all_tokens(tx, *id).await?;
    drop_tags(tx, *id).await?;
    Ok(claimed)
}

/// Takes over name and proved address from elsewhere; `false` when the account was changed
/// meanwhile, or the address is another account's.
pub(crate) async fn follow(tx: &Tx, account: &Account, name: &str, email: &Email) -> Result<bool> {
    let sql = "UPDATE users SET email = $3, email_shown = $4, name = $5, searchable = $6,
                   version = version + 1, updated_at = $7
               WHERE id = $1 AND version = $2
                   AND NOT EXISTS (SELECT 1 FROM users AS others
                                   WHERE others.email = $3 AND others.id <> $1)";
    Ok(tx
        .touch(
            sql,
            params![
                account.id,
                account.version,
                email.as_str(),
                email.shown(),
                name,
                searchable(email, name),
                tx.now()
            ],
        )
        .await?)
}

/// One page of accounts in the filter's order.
pub(super) async fn list(
    db: &impl Read,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Account>> {
    let pattern = filter.text.as_ref().map(|text| format!("%{}%", like(&text.to_lowercase())));
    let (place, order) = match filter.sort {
        Sort::Newest => ("id < $1", "id DESC"),
        Sort::Oldest => ("id > $1", "id"),
        Sort::LastLogin => (
            "(COALESCE(last_login_at, 0), id) < ($7, $1)",
            "COALESCE(last_login_at, 0) DESC, id DESC",
        ),
    };
    let approved = match filter.approved {
        None => "TRUE",
        Some(true) => "approved",
        Some(false) => "NOT approved",
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM users WHERE {place} AND {approved}
             AND (CAST($2 AS TEXT) IS NULL OR role = $2)
             AND (CAST($3 AS TEXT) IS NULL OR status = $3)
             AND (CAST($4 AS TEXT) IS NULL OR searchable LIKE $4 ESCAPE '!')
         ORDER BY {order} LIMIT $5 OFFSET $6"
    );
    let (role, status) = (filter.role, filter.status.map(|status| status.as_str()));
    let after = match (page.after, filter.sort) {
        (Some(cursor), _) => cursor.id,
        (None, Sort::Oldest) => Uuid::nil(),
        (None, Sort::Newest | Sort::LastLogin) => Uuid::max(),
    };
    let (fetch, after_key) = (page.fetch(), page.after_key());
    let all: &[Value<'_>] = params![after, role, status, pattern, fetch, page.offset, after_key];
    // A parameter that no marker names is one too many.
    let used = if filter.sort == Sort::LastLogin { 7 } else { 6 };
    let rows = db.all(&sql, &all[..used], read).await?;
    Ok(page.page(rows, |account| match filter.sort {
        Sort::Newest | Sort::Oldest => Cursor::by_id(account.id),
        Sort::LastLogin => {
            let key = account.last_login_at.map_or(0, Timestamp::micros);
            Cursor { key, id: account.id.uuid() }
        }
    }))
}

/// Whether there is anybody who can administer the platform.
pub(crate) async fn has_admin(db: &impl Read) -> Result<bool> {
    let sql = "SELECT id FROM users WHERE role = 'admin' AND status = 'active' LIMIT 1";
    Ok(db.maybe(sql, &[], |row| row.take::<Id<User>>()).await?.is_some())
}

/// Keeps the hash of a token that goes out by mail.
pub(crate) async fn insert_token(
    tx: &Tx,
    hash: &[u8; 32],
    user: Id<User>,
    purpose: &str,
    expires_at: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO mail_tokens (hash, user_id, purpose, created_at, expires_at)
               VALUES ($1, $2, $3, $4, $5)";
    tx.execute(sql, params![hash, user, purpose, tx.now(), expires_at]).await?;
    Ok(())
}

/// Uses a token up; whose it was, when it was good for this.
pub(crate) async fn use_token(tx: &Tx, hash: &[u8; 32], purpose: &str) -> Result<Option<Id<User>>> {
    let sql = "DELETE FROM mail_tokens WHERE hash = $1 AND purpose = $2 AND expires_at > $3
               RETURNING user_id";
    Ok(tx.maybe(sql, params![hash, purpose, tx.now()], |row| row.take()).await?)
}

/// Whose token it is, when it would be good for this.
pub(crate) async fn token_holder(
    db: &impl Read,
    hash: &[u8; 32],
    purpose: &str,
    now: Timestamp,
) -> Result<Option<Account>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM mail_tokens JOIN users ON users.id = mail_tokens.user_id
         WHERE mail_tokens.hash = $1 AND mail_tokens.purpose = $2 AND mail_tokens.expires_at > $3"
    );
    Ok(db.maybe(&sql, params![hash, purpose, now], read).await?)
}

/// Takes all tokens of a purpose from a user.
pub(crate) async fn drop_tokens(tx: &Tx, user: Id<User>, purpose: &str) -> Result<()> {
    let sql = "DELETE FROM mail_tokens WHERE user_id = $1 AND purpose = $2";
    tx.execute(sql, params![user, purpose]).await?;
    Ok(())
}

/// Names the address that a token gives to the account.
pub(super) async fn set_token_email(tx: &Tx, hash: &[u8; 32], email: &Email) -> Result<()> {
    let sql = "UPDATE mail_tokens SET email = $2, email_shown = $3 WHERE hash = $1";
    tx.execute(sql, params![hash, email.as_str(), email.shown()]).await?;
    Ok(())
}

/// Uses a token up that gives an address to an account; which to whose, when it was good for this.
pub(super) async fn use_token_with_email(
    tx: &Tx,
    hash: &[u8; 32],
    purpose: &str,
) -> Result<Option<(Id<User>, Email)>> {
    let sql = "DELETE FROM mail_tokens
               WHERE hash = $1 AND purpose = $2 AND expires_at > $3 AND email IS NOT NULL
               RETURNING user_id, email, email_shown";
    let read = |row: &Row<'_>| Ok((row.take()?, Email::stored(row.take()?, row.take()?)));
    Ok(tx.maybe(sql, params![hash, purpose, tx.now()], read).await?)
}

/// Takes all tokens from a user.
pub(super) async fn drop_all_tokens(tx: &Tx, user: Id<User>) -> Result<()> {
    tx.execute("DELETE FROM mail_tokens WHERE user_id = $1", params![user]).await?;
    Ok(())
}

pub(super) async fn sweep_tokens(tx: &Tx) -> Result<u64> {
    let sql = "DELETE FROM mail_tokens WHERE hash IN
                   (SELECT hash FROM mail_tokens WHERE expires_at <= $1 LIMIT 1000)";
    Ok(tx.execute(sql, params![tx.now()]).await?)
}
