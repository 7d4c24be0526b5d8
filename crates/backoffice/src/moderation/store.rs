//! All SQL of flags.

use kernel::id::kinds;
use kernel::{Cursor, Id, Page, PageRequest, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Action, Flag, Kind, Reason, State};

const COLUMNS: &str = "id, subject, kind, holder, excerpt, reporter, reason, details, state, \
                       action, resolution, resolved_by, created_at, resolved_at";

fn read(row: &Row<'_>) -> Result<Flag, DbError> {
    fn word<T>(text: &str, of: fn(&str) -> Option<T>) -> Result<T, DbError> {
        of(text).ok_or_else(|| DbError::Other(format!("{text:?} is no word of flags")))
    }
    Ok(Flag {
        id: row.take()?,
        subject: row.take()?,
        kind: word(&row.take::<String>()?, Kind::of)?,
        holder: row.take()?,
        excerpt: row.take()?,
        reporter: row.take()?,
        reason: word(&row.take::<String>()?, Reason::of)?,
        details: row.take()?,
        state: word(&row.take::<String>()?, State::of)?,
        action: row.take::<Option<String>>()?.map(|text| word(&text, Action::of)).transpose()?,
        resolution: row.take()?,
        resolved_by: row.take()?,
        created_at: row.take()?,
        resolved_at: row.take()?,
    })
}

/// Answers whether its reporter had none of the subject open.
pub(super) async fn insert(tx: &Tx, new: &Flag) -> Result<bool> {
    let sql = "INSERT INTO flags (id, subject, kind, holder, excerpt, reporter, reason, details,
                   state, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9)
               ON CONFLICT (subject, reporter) WHERE state = 'open' DO NOTHING";
    let (kind, reason) = (new.kind.as_str(), new.reason.as_str());
    let Flag { id, subject, holder, excerpt, reporter, details, created_at, .. } = new;
    let params = params![id, subject, kind, holder, excerpt, reporter, reason, details, created_at];
    Ok(tx.touch(sql, params).await?)
}

pub(super) async fn open_of(db: &impl Read, reporter: Id<kinds::User>) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM flags WHERE reporter = $1 AND state = 'open'";
    Ok(db.one(sql, params![reporter], |row| row.take()).await?)
}

pub(super) async fn get(db: &impl Read, id: Id<kinds::Flag>) -> Result<Option<Flag>> {
    let sql = format!("SELECT {COLUMNS} FROM flags WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// What a list of flags is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub state: Option<State>,
    pub kind: Option<Kind>,
    pub subject: Option<String>,
}

/// Newest first, each with how many are open about its subject.
pub(super) async fn list(
    db: &impl Read,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<(Flag, i64)>> {
    let sql = format!(
        "SELECT {COLUMNS},
             (SELECT COUNT(*) FROM flags AS others
              WHERE others.subject = flags.subject AND others.state = 'open')
         FROM flags
         WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR state = $2)
             AND (CAST($3 AS TEXT) IS NULL OR kind = $3)
             AND (CAST($4 AS TEXT) IS NULL OR subject = $4)
         ORDER BY id DESC LIMIT $5 OFFSET $6"
    );
    let (after, fetch) = (page.after_id(), page.fetch());
    let (state, kind) = (filter.state.map(State::as_str), filter.kind.map(Kind::as_str));
    let params = params![after, state, kind, filter.subject, fetch, page.offset];
    let rows = db.all(&sql, params, |row| Ok((read(row)?, row.take()?))).await?;
    Ok(page.page(rows, |(flag, _)| Cursor::by_id(flag.id)))
}

/// Resolves all open flags of a subject; answers who had raised them.
pub(super) async fn resolve(
    tx: &Tx,
    subject: &str,
    state: State,
    action: Action,
    resolution: &str,
    by: Id<kinds::User>,
) -> Result<Vec<Id<kinds::User>>> {
    let sql = "UPDATE flags SET state = $2, action = $3, resolution = $4, resolved_by = $5,
                   resolved_at = $6
               WHERE subject = $1 AND state = 'open' RETURNING reporter";
    let (state, action) = (state.as_str(), action.as_str());
    let now = tx.now();
    let params = params![subject, state, action, resolution, by, now];
    Ok(tx.all(sql, params, |row| row.take()).await?)
}
