//! All SQL by which overviews are read; `rollup` has that by which their days are kept.

use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Id, Result};
use platform::db::{DbError, Read, Row};
use platform::params;
use serde::{Deserialize, Serialize};

use super::model::{Day, Line, Span};
use crate::verification::model::{State, Verdict};

/// Whose side is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Side {
    Owner,
    Verifier,
}

impl Side {
    /// The column of `verifications` with them, which is also what the side is called.
    pub(super) const fn column(self) -> &'static str {
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
    let sql = "SELECT day, verdict, currency, verdicts, paid, fees, refunded, work
               FROM verdict_days WHERE party = $1 AND side = $2 AND day >= $3 AND day <= $4
               ORDER BY day, verdict, currency";
    let (first, last) = (span.first.number(), span.last.number());
    Ok(db.all(sql, params![user, side.column(), first, last], read).await?)
}

fn read(row: &Row<'_>) -> Result<Line, DbError> {
    let day = Day::numbered(row.take()?).begins();
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
    let sql = "SELECT CAST(COALESCE(SUM(requests), 0) AS BIGINT) FROM request_days
               WHERE party = $1 AND day >= $2 AND day <= $3";
    let (first, last) = (span.first.number(), span.last.number());
    Ok(db.one(sql, params![owner, first, last], |row| row.take()).await?)
}
