//! All SQL of notifications.

use kernel::id::kinds::{Notification as NotificationKind, User};
use kernel::{Cursor, Id, Page, PageRequest, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::journal::Recorded;
use platform::params;

use super::model::Notification;
use super::rules::Template;

const COLUMNS: &str = "id, kind, title, description, subject, created_at, read_at";

fn read(row: &Row<'_>) -> Result<Notification, DbError> {
    Ok(Notification {
        id: row.take()?,
        kind: row
            .take::<String>()?
            .parse()
            .map_err(|error: kernel::Error| DbError::Other(error.to_string()))?,
        title: row.take()?,
        description: row.take()?,
        subject: row.take()?,
        at: row.take()?,
        read_at: row.take()?,
    })
}

/// Tells a user of a fact, unless they have been told.
pub(super) async fn insert(
    tx: &Tx,
    user: Id<User>,
    fact: &Recorded,
    template: &Template,
) -> Result<()> {
    tx.execute(
        "INSERT INTO notifications
             (id, user_id, fact, kind, title, description, subject, created_at, seq)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (user_id, seq) DO NOTHING",
        params![
            tx.world().id::<NotificationKind>(),
            user,
            fact.id,
            template.kind.as_str(),
            template.title,
            template.description(fact),
            fact.subject,
            fact.at,
            fact.seq
        ],
    )
    .await?;
    Ok(())
}

/// A user's notifications, those of the newest facts first.
pub(super) async fn list(
    db: &impl Read,
    user: Id<User>,
    only_unread: bool,
    page: &PageRequest,
) -> Result<Page<Notification>> {
    let unread = if only_unread { "AND read_at IS NULL" } else { "" };
    let sql = format!(
        "SELECT {COLUMNS}, seq FROM notifications WHERE user_id = $1 AND seq < $2 {unread}
         ORDER BY seq DESC LIMIT $3 OFFSET $4"
    );
    let below = page.after.map_or(i64::MAX, |cursor| cursor.key);
    let placed = |row: &Row<'_>| Ok((read(row)?, row.take::<i64>()?));
    let rows = db.all(&sql, params![user, below, page.fetch(), page.offset], placed).await?;
    let page = page.page(rows, |(it, seq)| Cursor { key: *seq, id: it.id.uuid() });
    Ok(page.map(|(notification, _)| notification))
}

pub(super) async fn is_of(tx: &Tx, id: Id<NotificationKind>, user: Id<User>) -> Result<bool> {
    let sql = "SELECT id FROM notifications WHERE id = $1 AND user_id = $2";
    let found = tx.maybe(sql, params![id, user], |row| row.take::<Id<NotificationKind>>()).await?;
    Ok(found.is_some())
}

/// Answers whether it was unread.
pub(super) async fn mark_read(tx: &Tx, id: Id<NotificationKind>) -> Result<bool> {
    let sql = "UPDATE notifications SET read_at = $2 WHERE id = $1 AND read_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Answers how many were unread.
pub(super) async fn mark_all_read(tx: &Tx, user: Id<User>) -> Result<u64> {
    let sql = "UPDATE notifications SET read_at = $2 WHERE user_id = $1 AND read_at IS NULL";
    Ok(tx.execute(sql, params![user, tx.now()]).await?)
}

/// The place of the newest fact that anybody was told of; zero when there is none. The notifier
/// takes facts in order, so whatever is told later lies behind it.
pub(crate) async fn head(db: &impl Read) -> Result<i64> {
    let sql = "SELECT COALESCE(MAX(seq), 0) FROM notifications";
    Ok(db.one(sql, &[], |row| row.take()).await?)
}

/// What one user is told of facts behind a place, up to another, in order.
pub(crate) async fn of_user_between(
    db: &impl Read,
    user: Id<User>,
    (after, upto): (i64, i64),
    limit: i64,
) -> Result<Vec<(i64, Notification)>> {
    let sql = format!(
        "SELECT {COLUMNS}, seq FROM notifications
         WHERE user_id = $1 AND seq > $2 AND seq <= $3 ORDER BY seq LIMIT $4"
    );
    let both = |row: &Row<'_>| Ok((read(row)?, row.take()?));
    let rows = db.all(&sql, params![user, after, upto, limit], both).await?;
    Ok(rows.into_iter().map(|(notification, seq)| (seq, notification)).collect())
}

/// What everybody is told of the next facts behind a place, in order: all that is told of each of
/// them, and of about as many facts as `limit` says.
pub(crate) async fn since(
    db: &impl Read,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Id<User>, Notification)>> {
    let sql = format!(
        "SELECT {COLUMNS}, seq, user_id FROM notifications
         WHERE seq > $1 AND seq <= (SELECT MAX(seq) FROM (SELECT seq FROM notifications
                                    WHERE seq > $1 ORDER BY seq LIMIT $2) AS next)
         ORDER BY seq"
    );
    let all = |row: &Row<'_>| Ok((read(row)?, row.take()?, row.take()?));
    let rows = db.all(&sql, params![after, limit], all).await?;
    Ok(rows.into_iter().map(|(notification, seq, user)| (seq, user, notification)).collect())
}
