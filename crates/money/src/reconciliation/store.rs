//! What may explain a difference.

use kernel::Result;
use platform::db::Read;
use serde::Serialize;
use utoipa::ToSchema;

/// Counts of what is open at a provider, or does not fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ReconciliationOpen)]
pub struct Open {
    /// Payments that may yet be paid.
    pub payments: i64,
    /// Payments for which something else came than was asked for.
    pub suspended: i64,
    /// Withdrawals that are on their way.
    pub withdrawals: i64,
    /// Withdrawals of which nobody knows whether the provider has them.
    pub unknown: i64,
    /// Events that fit nothing of ours.
    pub unmatched_events: i64,
}

pub(super) async fn open(db: &impl Read, provider: &str) -> Result<Open> {
    let sql = "SELECT
        (SELECT COUNT(*) FROM payments WHERE provider = $1 AND state IN ('created', 'pending')),
        (SELECT COUNT(*) FROM payments WHERE provider = $1 AND state = 'suspended'),
        (SELECT COUNT(*) FROM withdrawals
         WHERE provider = $1 AND state IN ('submitting', 'submitted')),
        (SELECT COUNT(*) FROM withdrawals WHERE provider = $1 AND state = 'unknown'),
        (SELECT COUNT(*) FROM provider_events WHERE provider = $1 AND state = 'unmatched')";
    let row = platform::params![provider];
    Ok(db
        .one(sql, row, |row| {
            Ok(Open {
                payments: row.take()?,
                suspended: row.take()?,
                withdrawals: row.take()?,
                unknown: row.take()?,
                unmatched_events: row.take()?,
            })
        })
        .await?)
}
