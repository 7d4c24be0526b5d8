//! All SQL of privacy requests.

use kernel::id::kinds::{PrivacyRequest, User};
use kernel::{Cursor, Id, Page, PageRequest, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Asked, Kind, Request, State};

const COLUMNS: &str = "id, person, kind, state, reason, requested_by, decided_by, note, \
                       created_at, decided_at";

fn read(row: &Row<'_>) -> Result<Request, DbError> {
    Ok(Request {
        id: row.take()?,
        person: row.take()?,
        kind: match row.take::<String>()?.as_str() {
            "erasure" => Kind::Erasure,
            _ => Kind::Export,
        },
        state: row.take::<String>().and_then(|text| {
            let wrong = || DbError::Other(format!("{text:?} is no state of a privacy request"));
            State::of(&text).ok_or_else(wrong)
        })?,
        reason: row.take()?,
        requested_by: row.take()?,
        decided_by: row.take()?,
        note: row.take()?,
        created_at: row.take()?,
        decided_at: row.take()?,
    })
}

/// Begins a request; none where one of the kind is pending for the person.
pub(super) async fn begin(
    tx: &Tx,
    asked: &Asked,
    by: Id<User>,
) -> Result<Option<Id<PrivacyRequest>>> {
    let id: Id<PrivacyRequest> = tx.world().id();
    let sql = "INSERT INTO privacy_requests (id, person, kind, state, reason, requested_by, note,
                   created_at)
               VALUES ($1, $2, $3, 'pending', $4, $5, '', $6)
               ON CONFLICT (person, kind) WHERE state = 'pending' DO NOTHING";
    let Asked { person, kind, reason } = asked;
    let is_new = tx.touch(sql, params![id, person, kind.as_str(), reason, by, tx.now()]).await?;
    Ok(is_new.then_some(id))
}

/// Notes what was asked for and done at once.
pub(crate) async fn note(tx: &Tx, person: Id<User>, kind: Kind, by: Id<User>) -> Result<()> {
    let sql = "INSERT INTO privacy_requests (id, person, kind, state, reason, requested_by, note,
                   created_at, decided_at)
               VALUES ($1, $2, $3, 'done', '', $4, '', $5, $5)";
    let id: Id<PrivacyRequest> = tx.world().id();
    tx.execute(sql, params![id, person, kind.as_str(), by, tx.now()]).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, id: Id<PrivacyRequest>) -> Result<Option<Request>> {
    let sql = format!("SELECT {COLUMNS} FROM privacy_requests WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// What a list of requests is narrowed to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub state: Option<State>,
    pub kind: Option<Kind>,
    pub person: Option<Id<User>>,
}

/// Newest first.
pub(super) async fn list(
    db: &impl Read,
    filter: &Filter,
    page: &PageRequest,
) -> Result<Page<Request>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM privacy_requests
         WHERE id < $1 AND (CAST($2 AS TEXT) IS NULL OR state = $2)
             AND (CAST($3 AS TEXT) IS NULL OR kind = $3)
             AND (CAST($4 AS UUID) IS NULL OR person = $4)
         ORDER BY id DESC LIMIT $5 OFFSET $6"
    );
    let (state, kind) = (filter.state.map(State::as_str), filter.kind.map(Kind::as_str));
    let (after, fetch) = (page.after_id(), page.fetch());
    let params = params![after, state, kind, filter.person, fetch, page.offset];
    let rows = db.all(&sql, params, read).await?;
    Ok(page.page(rows, |request| Cursor::by_id(request.id)))
}

/// Decides about a pending request; `false` where somebody was quicker.
pub(super) async fn decide(
    tx: &Tx,
    id: Id<PrivacyRequest>,
    to: State,
    by: Id<User>,
    note: &str,
) -> Result<bool> {
    let sql = "UPDATE privacy_requests SET state = $2, decided_by = $3, decided_at = $4, note = $5
               WHERE id = $1 AND state = 'pending'";
    Ok(tx.touch(sql, params![id, to.as_str(), by, tx.now(), note]).await?)
}

/// Takes the words out of what is about somebody who goes.
pub(crate) async fn forget(tx: &Tx, person: Id<User>) -> Result<()> {
    let sql = "UPDATE privacy_requests SET reason = '', note = '' WHERE person = $1";
    tx.execute(sql, params![person]).await?;
    Ok(())
}
