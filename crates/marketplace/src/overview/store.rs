//! All SQL of overviews: they read the verifications and write nothing.

use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row};
use platform::params;

use super::model::{Line, Span};
use crate::verification::model::{State, Verdict};

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

/// Whose side is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Owner,
    Verifier,
}

impl Side {
    const fn column(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Verifier => "verifier",
        }
    }
}

/// Verdicts by day, oldest first.
pub(super) async fn verdicts(
    db: &impl Read,
    side: Side,
    user: Id<User>,
    span: Span,
) -> Result<Vec<Line>> {
    let who = side.column();
    let sql = format!(
        "SELECT ended_at / {DAY_MICROS}, verdict, currency, CAST(count(*) AS BIGINT),
             CAST(SUM(price - refunded) AS BIGINT), CAST(SUM(fee) AS BIGINT),
             CAST(SUM(refunded) AS BIGINT), CAST(SUM(ended_at - accepted_at) AS BIGINT)
         FROM verifications
         WHERE {who} = $1 AND fee IS NOT NULL AND ended_at >= $2 AND ended_at < $3
         GROUP BY ended_at / {DAY_MICROS}, verdict, currency
         ORDER BY 1, 2, 3"
    );
    Ok(db.all(&sql, params![user, span.from, span.to], read).await?)
}

fn read(row: &Row<'_>) -> Result<Line, DbError> {
    let day = Timestamp::from_micros(row.take::<i64>()? * DAY_MICROS);
    let text = row.take::<String>()?;
    let verdict = [Verdict::Verified, Verdict::Rejected].into_iter().find(|it| it.as_str() == text);
    Ok(Line {
        day,
        verdict: verdict.ok_or_else(|| DbError::Other(format!("{text:?} is no verdict")))?,
        currency: row.take()?,
        count: row.take()?,
        paid: row.take()?,
        fees: row.take()?,
        refunded: row.take()?,
        work: Duration::from_micros(row.take::<i64>()?.unsigned_abs()),
    })
}

/// How many of somebody's verifications stand in each state now.
pub(super) async fn tally(db: &impl Read, side: Side, user: Id<User>) -> Result<Vec<(State, i64)>> {
    let who = side.column();
    let sql = format!(
        "SELECT state, CAST(count(*) AS BIGINT) FROM verifications WHERE {who} = $1 GROUP BY state"
    );
    let read = |row: &Row<'_>| {
        let text = row.take::<String>()?;
        let state = text.parse().map_err(|_| DbError::Other(format!("{text:?} is no state")))?;
        Ok((state, row.take()?))
    };
    Ok(db.all(&sql, params![user], read).await?)
}

/// How many verifications an owner has asked for in a while.
pub(super) async fn requested(db: &impl Read, owner: Id<User>, span: Span) -> Result<i64> {
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM verifications
               WHERE owner = $1 AND requested_at >= $2 AND requested_at < $3";
    Ok(db.one(sql, params![owner, span.from, span.to], |row| row.take()).await?)
}
