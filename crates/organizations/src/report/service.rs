//! Making a report.

use kernel::{Caller, PageRequest, Result};
use platform::db::Db;
use platform::journal::{self, Filter};

use super::model::{Access, Period, Report};

/// Facts by which somebody looked at what is the organization's.
const ACCESSES: &[&str] = &[
    "document.viewed",
    "verification.attachment_viewed",
    "verification.report_viewed",
    "dispute.evidence_viewed",
    "user.impersonated",
];
/// Accesses that one report lists.
const ACCESSES_MAX: i64 = 1000;

/// Compliance reports.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) retention_days: u32,
}

impl Service {
    /// What happened for the caller's organization.
    pub(super) async fn make(&self, caller: &Caller, period: Period) -> Result<Report> {
        let account = caller.user()?;
        let now = self.db.world().now();
        let (from, to) = period.bounds(now);
        let actions = journal::tally_of_party(&self.db, account, from, to).await?;
        let filter =
            Filter { from: Some(from), to: Some(to), among: ACCESSES, ..Filter::default() };
        let page = PageRequest { limit: ACCESSES_MAX, after: None, offset: 0 };
        let page = journal::of_party(&self.db, account, &filter, &page).await?;
        Ok(Report {
            organization: account.same_as(),
            from,
            to,
            made_at: now,
            actions,
            has_more_accesses: page.next.is_some(),
            accesses: page.items.into_iter().map(Access::from).collect(),
            retention_days: self.retention_days,
        })
    }
}
