//! All SQL of person keys.

use kernel::id::kinds::User;
use kernel::{Id, Result};

use crate::db::{Read, Tx, like};
use crate::params;

/// What is known of a person's key.
pub(super) enum Held {
    /// Wrapped under the master key.
    Key(Vec<u8>),
    Destroyed,
    Never,
}

pub(super) async fn get(db: &impl Read, person: Id<User>) -> Result<Held> {
    let sql = "SELECT sealed_key FROM person_keys WHERE person = $1";
    let found = db.maybe(sql, params![person], |row| row.take::<Option<Vec<u8>>>()).await?;
    Ok(match found {
        Some(Some(key)) => Held::Key(key),
        Some(None) => Held::Destroyed,
        None => Held::Never,
    })
}

/// `false` when somebody else was quicker.
pub(super) async fn insert(tx: &Tx, person: Id<User>, sealed: &[u8]) -> Result<bool> {
    let sql = "INSERT INTO person_keys (person, sealed_key, created_at) VALUES ($1, $2, $3)
               ON CONFLICT (person) DO NOTHING";
    Ok(tx.touch(sql, params![person, sealed, tx.now()]).await?)
}

/// Forgets a key; also where there was none, so that none is made later.
pub(super) async fn destroy(tx: &Tx, person: Id<User>) -> Result<()> {
    let sql = "INSERT INTO person_keys (person, sealed_key, created_at, destroyed_at)
               VALUES ($1, NULL, $2, $2)
               ON CONFLICT (person) DO UPDATE SET sealed_key = NULL,
                   destroyed_at = COALESCE(person_keys.destroyed_at, excluded.destroyed_at)";
    tx.execute(sql, params![person, tx.now()]).await?;
    Ok(())
}

/// Takes a person's address out of what waits to be sent, and out of the sink.
pub(super) async fn forget_mails(tx: &Tx, email: &str) -> Result<()> {
    let sql = "DELETE FROM mail_sink WHERE recipient = $1";
    tx.execute(sql, params![email]).await?;
    let address = serde_json::Value::from(email).to_string();
    let pattern = format!("%\"to\":{}%", like(&address));
    let sql = "DELETE FROM jobs WHERE kind = 'mail.send' AND payload LIKE $1 ESCAPE '!'";
    tx.execute(sql, params![pattern]).await?;
    Ok(())
}
