//! All SQL of account types.

use kernel::id::kinds::AccountType as Kind;
use kernel::{Cursor, Error, Id, Page, PageRequest, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{AccountType, New, Number, Permissions};
use super::rules::Refusal;

/// The columns that [`read`] takes, in its order.
pub(crate) const COLUMNS: &str = "account_types.id, account_types.number, account_types.name, \
    account_types.description, account_types.permissions, account_types.version, \
    account_types.created_at, account_types.updated_at";

pub(crate) fn read(row: &Row<'_>) -> Result<AccountType, DbError> {
    let broken = |what: &str| DbError::Other(format!("an account type has no {what}"));
    Ok(AccountType {
        id: row.take()?,
        number: Number::stored(row.take()?).ok_or_else(|| broken("number"))?,
        name: row.take()?,
        description: row.take()?,
        permissions: Permissions::from_json(&row.take::<String>()?)
            .map_err(|_| broken("permissions"))?,
        version: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
    })
}

pub(crate) async fn get(db: &impl Read, id: Id<Kind>) -> Result<AccountType> {
    let sql = format!("SELECT {COLUMNS} FROM account_types WHERE id = $1");
    let found = db.maybe(&sql, params![id], read).await?;
    found.ok_or_else(|| Error::not_found("account type"))
}

pub(crate) async fn by_number(db: &impl Read, number: Number) -> Result<Option<AccountType>> {
    let sql = format!("SELECT {COLUMNS} FROM account_types WHERE number = $1");
    Ok(db.maybe(&sql, params![i64::from(number.get())], read).await?)
}

/// One page of types, newest first; those that come with the platform stand last.
pub(super) async fn list(db: &impl Read, page: &PageRequest) -> Result<Page<AccountType>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM account_types WHERE id < $1 ORDER BY id DESC LIMIT $2 OFFSET $3"
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let rows = db.all(&sql, params![after, fetch, page.offset], read).await?;
    Ok(page.page(rows, |kind| Cursor::by_id(kind.id)))
}

/// A number or a name that is taken is refused as such.
pub(super) async fn insert(tx: &Tx, id: Id<Kind>, new: &New) -> Result<()> {
    let sql = "INSERT INTO account_types
                   (id, number, name, description, permissions, version, created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, 1, $6, $6)";
    let New { number, name, description, permissions } = new;
    // Where both are taken the number is told, whichever index the engine looks at first.
    if by_number(tx, *number).await?.is_some() {
        return Err(Refusal::NumberTaken.into());
    }
    let inserted = tx
        .execute(
            sql,
            params![
                id,
                i64::from(number.get()),
                name.as_str(),
                description.as_str(),
                permissions.to_json(),
                tx.now()
            ],
        )
        .await;
    inserted.map(drop).map_err(taken)
}

/// Writes a changed type, unless it has changed meanwhile.
pub(super) async fn update(tx: &Tx, kind: &AccountType) -> Result<bool> {
    let sql = "UPDATE account_types SET name = $3, description = $4, permissions = $5,
                   version = version + 1, updated_at = $6
               WHERE id = $1 AND version = $2";
    let AccountType { id, name, description, permissions, version, .. } = kind;
    tx.touch(sql, params![id, version, name, description, permissions.to_json(), tx.now()])
        .await
        .map_err(taken)
}

fn taken(error: DbError) -> Error {
    match &error {
        DbError::Unique(index) if index == "account_types_number" => Refusal::NumberTaken.into(),
        DbError::Unique(index) if index == "account_types_name" => Refusal::NameTaken.into(),
        _ => error.into(),
    }
}

/// Whether any account is of a type.
pub(super) async fn is_used(db: &impl Read, id: Id<Kind>) -> Result<bool> {
    let sql = "SELECT holding_id FROM holding_types WHERE type_id = $1 LIMIT 1";
    let found: Option<uuid::Uuid> = db.maybe(sql, params![id], |row| row.take()).await?;
    Ok(found.is_some())
}

/// `false` when there is none. An account that is being made of it at this moment refuses.
pub(super) async fn delete(tx: &Tx, id: Id<Kind>) -> Result<bool> {
    let sql = "DELETE FROM account_types WHERE id = $1";
    tx.touch(sql, params![id]).await.map_err(|error| match error {
        DbError::Refused(_) => Refusal::InUse.into(),
        other => other.into(),
    })
}
