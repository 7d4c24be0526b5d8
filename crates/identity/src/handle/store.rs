//! All SQL of handles.

use kernel::id::kinds::User;
use kernel::{Error, Id, Result};
use platform::db::{DbError, Read, Row, Tx, Value};
use platform::params;

use super::model::{Country, Handle, RoleNumber, Username};

const COLUMNS: &str = "user_id, username_shown, country, role_number, username_changed_at, version";

fn read(row: &Row<'_>) -> Result<Handle, DbError> {
    Ok(Handle {
        user: row.take()?,
        username: Username::stored(row.take()?),
        country: Country::stored(row.take()?),
        role: RoleNumber::stored(row.take()?),
        username_changed_at: row.take()?,
        version: row.take()?,
    })
}

pub(crate) async fn of(db: &impl Read, user: Id<User>) -> Result<Option<Handle>> {
    let sql = format!("SELECT {COLUMNS} FROM handles WHERE user_id = $1");
    Ok(db.maybe(&sql, params![user], read).await?)
}

/// Several at once, in no order; at most a page of them.
pub(crate) async fn many(db: &impl Read, users: &[Id<User>]) -> Result<Vec<Handle>> {
    let Some(last) = users.last() else { return Ok(Vec::new()) };
    let padded = users.len().next_power_of_two();
    let params: Vec<_> =
        (0..padded).map(|index| Value::Uuid(users.get(index).unwrap_or(last).uuid())).collect();
    let markers: Vec<_> = (1..=padded).map(|number| format!("${number}")).collect();
    let sql = format!("SELECT {COLUMNS} FROM handles WHERE user_id IN ({})", markers.join(", "));
    Ok(db.all(&sql, &params, read).await?)
}

pub(crate) async fn by_username(db: &impl Read, name: &Username) -> Result<Option<Handle>> {
    let sql = format!("SELECT {COLUMNS} FROM handles WHERE username = $1");
    Ok(db.maybe(&sql, params![name.normal()], read).await?)
}

/// # Errors
/// `Conflict` `username_taken`.
pub(crate) async fn insert(
    tx: &Tx,
    user: Id<User>,
    username: &Username,
    country: &Country,
    role: RoleNumber,
) -> Result<()> {
    let sql = "INSERT INTO handles (user_id, username, username_shown, country, role_number,
                   version, created_at)
               VALUES ($1, $2, $3, $4, $5, 1, $6)";
    let (normal, shown) = (username.normal(), username.shown());
    tx.execute(sql, params![user, normal, shown, country.as_str(), role.get(), tx.now()])
        .await
        .map(drop)
        .map_err(taken)
}

/// Writes a changed handle, unless it has changed meanwhile.
///
/// # Errors
/// `Conflict` `username_taken`.
pub(crate) async fn update(tx: &Tx, handle: &Handle, renamed: bool) -> Result<bool> {
    let sql = "UPDATE handles SET username = $3, username_shown = $4, country = $5,
                   role_number = $6, username_changed_at = $7, version = version + 1
               WHERE user_id = $1 AND version = $2";
    let Handle { user, username, country, role, username_changed_at, version } = handle;
    let changed_at = if renamed { Some(tx.now()) } else { *username_changed_at };
    let (normal, shown) = (username.normal(), username.shown());
    let (country, role) = (country.as_str(), role.get());
    tx.touch(sql, params![user, version, normal, shown, country, role, changed_at])
        .await
        .map_err(taken)
}

/// Takes the handle from a user.
pub(crate) async fn delete(tx: &Tx, user: Id<User>) -> Result<()> {
    tx.execute("DELETE FROM handles WHERE user_id = $1", params![user]).await?;
    Ok(())
}

fn taken(error: DbError) -> Error {
    match &error {
        DbError::Unique(index) if index == "handles_username" => Error::conflict(
            "username_taken",
            "Somebody has this username already.",
        )
        .with_field("/username", "taken", "choose another one"),
        _ => error.into(),
    }
}
