//! The sink: a table of the letters that would have been sent. All SQL of mail is here.

use kernel::id::kinds::Mail;
use kernel::{Id, Result, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::{Db, DbError, Read, Row, Tx};
use crate::params;

// Named without its parameter, which has no schema of its own.
type MailId = Id<Mail>;

/// A letter in the sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SunkMail)]
pub struct Sunk {
    pub id: MailId,
    pub to: String,
    /// The kind of letter, such as `account.verify_email`.
    pub template: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub created_at: Timestamp,
}

pub(super) struct Entry<'a> {
    pub(super) id: Id<Mail>,
    pub(super) to: &'a str,
    pub(super) template: &'a str,
    pub(super) subject: &'a str,
    pub(super) text: &'a str,
    pub(super) html: &'a str,
}

/// Keeps a letter; one that is there already stays as it is.
pub(super) async fn insert(tx: &Tx, entry: &Entry<'_>) -> Result<()> {
    let Entry { id, to, template, subject, text, html } = entry;
    tx.execute(
        "INSERT INTO mail_sink (id, recipient, template, subject, text, html, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        params![id, to, template, subject, text, html, tx.now()],
    )
    .await?;
    Ok(())
}

const COLUMNS: &str = "id, recipient, template, subject, text, html, created_at";

fn read(row: &Row<'_>) -> Result<Sunk, DbError> {
    Ok(Sunk {
        id: row.take()?,
        to: row.take()?,
        template: row.take()?,
        subject: row.take()?,
        text: row.take()?,
        html: row.take()?,
        created_at: row.take()?,
    })
}

/// The newest letters, to one address or to all.
pub async fn list(db: &impl Read, to: Option<&str>, limit: i64) -> Result<Vec<Sunk>> {
    let rows = match to {
        Some(to) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM mail_sink WHERE recipient = $1 ORDER BY id DESC LIMIT $2"
            );
            db.all(&sql, params![to, limit], read).await?
        }
        None => {
            let sql = format!("SELECT {COLUMNS} FROM mail_sink ORDER BY id DESC LIMIT $1");
            db.all(&sql, params![limit], read).await?
        }
    };
    Ok(rows)
}

/// One letter.
pub async fn one(db: &impl Read, id: Id<Mail>) -> Result<Option<Sunk>> {
    let sql = format!("SELECT {COLUMNS} FROM mail_sink WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Rows that one statement deletes: a sweep must not hold the writer for long.
const BATCH: u64 = 1000;

/// Forgets the letters from before a point in time, batch by batch; answers how many.
pub async fn sweep(db: &Db, before: Timestamp) -> Result<u64> {
    let mut swept = 0;
    loop {
        let gone = db.run("mail.sweep_sink", |tx| forget(tx, before)).await?;
        swept += gone;
        if gone < BATCH {
            return Ok(swept);
        }
    }
}

async fn forget(tx: Tx, before: Timestamp) -> Result<u64> {
    let sql = format!(
        "DELETE FROM mail_sink WHERE id IN
             (SELECT id FROM mail_sink WHERE created_at < $1 LIMIT {BATCH})"
    );
    Ok(tx.execute(&sql, params![before]).await?)
}
