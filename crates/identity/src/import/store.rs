//! All SQL of imports.

use kernel::Id;
use kernel::Result;
use kernel::id::kinds::User;
use platform::db::{Read, Tx};
use platform::params;

use super::model::Row;
use super::rules::{Found, Holder};

/// What is known of a row.
pub(super) async fn find(db: &impl Read, row: &Row) -> Result<Found> {
    let by_external_id = match &row.external_id {
        None => false,
        Some(external_id) => {
            let sql = "SELECT user_id FROM imported_users WHERE external_id = $1";
            db.maybe(sql, params![external_id], |row| row.take::<Id<User>>()).await?.is_some()
        }
    };
    let sql = "SELECT imported_users.user_id, imported_users.external_id FROM users
               LEFT JOIN imported_users ON imported_users.user_id = users.id
               WHERE users.email = $1";
    let by_email = db
        .maybe(sql, params![row.email.as_str()], |row| {
            let imported: Option<Id<User>> = row.take()?;
            let external_id = row.take()?;
            Ok(imported.map_or(Holder::Native, |_| Holder::Imported { external_id }))
        })
        .await?;
    Ok(Found { by_external_id, by_email })
}

/// Notes where an account came from; `false` when its external id is known.
pub(super) async fn insert(tx: &Tx, user: Id<User>, row: &Row) -> Result<bool> {
    let sql = "INSERT INTO imported_users (user_id, external_id, imported_at) VALUES ($1, $2, $3)
               ON CONFLICT DO NOTHING";
    Ok(tx.touch(sql, params![user, row.external_id, tx.now()]).await?)
}
