//! All SQL of the earnings.

use kernel::id::kinds::{Hold, User};
use kernel::{Asset, Id, Money, PageRequest, Result, Timestamp};
use platform::db::{DbError, Read, Row};
use platform::params;

/// What was earned of one asset in a period.
#[derive(Debug, Clone, Copy)]
pub struct Earned {
    pub net: Money,
    /// What the platform kept.
    pub fees: Money,
    pub jobs: i64,
}

/// One captured hold, from its payee's side.
#[derive(Debug, Clone)]
pub struct Earning {
    pub hold: Id<Hold>,
    pub subject: String,
    pub price: Money,
    pub fee: Money,
    pub net: Money,
    /// `pending`, `disputed` or `released`.
    pub status: &'static str,
    pub earned_at: Timestamp,
    pub available_at: Option<Timestamp>,
}

/// What a payee has earned since, by asset.
pub(super) async fn since(db: &impl Read, payee: Id<User>, from: Timestamp) -> Result<Vec<Earned>> {
    let sql = "SELECT asset, CAST(SUM(captured - fee) AS BIGINT), CAST(SUM(fee) AS BIGINT),
                      CAST(COUNT(*) AS BIGINT)
               FROM ledger_hold
               WHERE payee = $1 AND owner <> $1 AND captured > 0 AND closed_at >= $2
               GROUP BY asset ORDER BY asset";
    let read = |row: &Row<'_>| {
        let asset: Asset = row.take()?;
        Ok(Earned {
            net: Money::new(row.take()?, asset),
            fees: Money::new(row.take()?, asset),
            jobs: row.take()?,
        })
    };
    Ok(db.all(sql, params![payee, from], read).await?)
}

fn read(row: &Row<'_>) -> Result<Earning, DbError> {
    let (hold, subject, asset) = (row.take()?, row.take()?, row.take()?);
    let (captured, fee): (i64, i64) = (row.take()?, row.take()?);
    let (earning, frozen): (String, bool) = (row.take()?, row.take()?);
    Ok(Earning {
        hold,
        subject,
        price: Money::new(captured, asset),
        fee: Money::new(fee, asset),
        net: Money::new(captured - fee, asset),
        status: match earning.as_str() {
            _ if frozen => "disputed",
            "pending" => "pending",
            _ => "released",
        },
        earned_at: row.take()?,
        available_at: row.take()?,
    })
}

/// A payee's earnings, the latest first.
pub(super) async fn list(
    db: &impl Read,
    payee: Id<User>,
    page: &PageRequest,
) -> Result<Vec<Earning>> {
    let sql = "SELECT id, subject, asset, captured, fee, earning, frozen, closed_at, available_at
               FROM ledger_hold
               WHERE payee = $1 AND owner <> $1 AND captured > 0
                     AND (closed_at < $2 OR (closed_at = $2 AND id < $3))
               ORDER BY closed_at DESC, id DESC LIMIT $4 OFFSET $5";
    let (key, after, fetch) = (page.after_key(), page.after_id(), page.fetch());
    Ok(db.all(sql, params![payee, key, after, fetch, page.offset], read).await?)
}
