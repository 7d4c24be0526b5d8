//! The verbs.

use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Cursor, Error, Id, Money, Page, PageRequest, Result, Timestamp};
use platform::db::Db;

use super::store::{self, Earned, Earning};
use crate::ledger::{self, Code};

/// The longest period that a summary covers, in days.
const DAYS_MAX: u64 = 3660;

/// What verifiers have earned. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    db: Db,
}

/// Earnings of a period, and what stands there now.
#[derive(Debug)]
pub(super) struct Summary {
    pub from: Timestamp,
    pub earned: Vec<Earned>,
    /// Still open to dispute.
    pub pending: Vec<Money>,
    /// Free to be paid out.
    pub available: Vec<Money>,
}

/// A period such as `30d`.
pub(super) fn parse_period(text: &str) -> Result<Duration> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    match days {
        Some(days @ 1..=DAYS_MAX) => Ok(Duration::from_secs(days * 24 * 3600)),
        _ => Err(Error::field("/period", "invalid", "days, such as 30d")),
    }
}

impl Service {
    pub(crate) const fn new(db: Db) -> Self {
        Self { db }
    }

    pub(super) async fn summary(&self, payee: Id<User>, period: Duration) -> Result<Summary> {
        let length = i64::try_from(period.as_micros()).unwrap_or(i64::MAX);
        let from = Timestamp::from_micros(self.db.world().now().micros() - length);
        let accounts = ledger::balances(&self.db, payee).await?;
        let of = |wanted: Code| {
            let own = accounts.iter().filter(|(code, money)| *code == wanted && money.minor > 0);
            own.map(|(_, money)| *money).collect()
        };
        Ok(Summary {
            from,
            earned: store::since(&self.db, payee, from).await?,
            pending: of(Code::EARN_PENDING),
            available: of(Code::EARN),
        })
    }

    /// A payee's earnings, the latest first.
    pub async fn list(&self, payee: Id<User>, page: &PageRequest) -> Result<Page<Earning>> {
        let rows = store::list(&self.db, payee, page).await?;
        Ok(page.page(rows, |it| Cursor::by_time(it.earned_at, it.hold)))
    }
}
