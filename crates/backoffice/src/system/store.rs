//! All SQL of log lines.

use std::time::Duration;

use kernel::id::kinds::LogLine;
use kernel::{Cursor, Id, Page, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;
use uuid::Uuid;

use super::model::{Level, Line, LogFilter, NewLine};

/// A line gets its id when it is stored, which is a moment after it was said.
const ID_SLACK: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn insert(tx: &Tx, service: &str, line: &NewLine) -> Result<()> {
    let id: Id<LogLine> = tx.world().id();
    let fields = serde_json::Value::Object(line.fields.clone()).to_string();
    let sql = "INSERT INTO log_lines (id, at, service, level, target, message, fields)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let level = line.level.as_str();
    tx.execute(sql, params![id, line.at, service, level, line.target, line.message, fields])
        .await?;
    Ok(())
}

/// Newest first.
pub(super) async fn list(
    db: &impl Read,
    filter: &LogFilter,
    page: &PageRequest,
) -> Result<Page<Line>> {
    // By their ids alone: an index of times would find them, and then they would have to be sorted.
    let sql = "SELECT id, at, service, level, target, message, fields FROM log_lines
               WHERE id < $1 AND id >= $2 AND (CAST($3 AS TEXT) IS NULL OR service = $3)
                   AND (CAST($4 AS TEXT) IS NULL OR level = $4) AND +at >= $5 AND +at < $6
               ORDER BY id DESC LIMIT $7 OFFSET $8";
    let first_at = |at| Id::<LogLine>::first_at(at).uuid();
    let lowest = filter.from.map_or(Uuid::nil(), |from| first_at(from - ID_SLACK));
    let after =
        filter.to.map_or(page.after_id(), |to| page.after_id().min(first_at(to + ID_SLACK)));
    let level = filter.level.map(Level::as_str);
    let from = filter.from.map_or(i64::MIN, Timestamp::micros);
    let to = filter.to.map_or(i64::MAX, Timestamp::micros);
    let fetch = page.fetch();
    let params = params![after, lowest, filter.service, level, from, to, fetch, page.offset];
    let rows = db.all(sql, params, read).await?;
    Ok(page.page(rows, |line| Cursor::by_id(line.id)))
}

fn read(row: &Row<'_>) -> Result<Line, DbError> {
    Ok(Line {
        id: row.take()?,
        at: row.take()?,
        service: row.take()?,
        level: match row.take::<String>()?.as_str() {
            "error" => Level::Error,
            _ => Level::Warn,
        },
        target: row.take()?,
        message: row.take()?,
        fields: serde_json::from_str(&row.take::<String>()?)
            .map_err(|error| DbError::Other(format!("log_lines.fields: {error}")))?,
    })
}

/// Forgets what is older than `before`, and what is more than the newest `most`.
pub(super) async fn prune(tx: &Tx, before: Timestamp, most: i64) -> Result<u64> {
    let old = tx.execute("DELETE FROM log_lines WHERE at < $1", params![before]).await?;
    let sql = "DELETE FROM log_lines
               WHERE id <= (SELECT id FROM log_lines ORDER BY id DESC LIMIT 1 OFFSET $1)";
    Ok(old + tx.execute(sql, params![most]).await?)
}
