//! The days that overviews are read from, and who keeps them.
//!
//! Whenever a fact says that a verification has changed, it is counted as what it is now in the place
//! of what it was counted as before ([`part`]). So it does not matter how often it is counted, or that
//! it may have gone on since the fact, and it costs the same on a day of one as of a hundred thousand.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use kernel::id::kinds::{User, Verification};
use kernel::{Id, Result};
use platform::db::{Db, Read, Row, Tx};
use platform::jobs::{Job, NewJob, Registry};
use platform::journal::{Reader, Recorded};
use platform::params;
use serde::{Deserialize, Serialize};

use super::part;
use super::store::Side;

/// How often all days are counted anew: what a hand in the database has put out of order mends.
const PERIOD: Duration = Duration::from_secs(7 * 24 * 3600);
/// Parties whose days one job counts anew.
const TOGETHER: i64 = 100;

/// Whoever counts days waits for whoever else does, among replicas: what two counted at once would be
/// counted twice.
const COUNTING: &str = "marketplace.days";

/// Keeps the days.
pub struct Keeper;

impl Reader for Keeper {
    fn name(&self) -> &'static str {
        "marketplace.days"
    }

    fn read<'a>(&'a self, tx: &'a Tx, facts: &'a [Recorded]) -> BoxFuture<'a, Result<()>> {
        async move {
            let changed = facts.iter().filter(|fact| is_counted(&fact.verb));
            let changed: BTreeSet<Id<Verification>> =
                changed.filter_map(|fact| fact.subject.parse().ok()).collect();
            let changed: Vec<_> = changed.into_iter().collect();
            if !changed.is_empty() {
                tx.exclusively(COUNTING).await?;
                part::count(tx, &changed).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// Whether a fact may change what has been asked for, or what has come of it.
fn is_counted(verb: &str) -> bool {
    matches!(
        verb,
        "verification.requested"
            | "verification.verified"
            | "verification.rejected"
            | "verification.upheld"
            | "verification.overturned"
    )
}

/// Count the days of the next parties anew, and leave a job for those behind them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recount {
    side: Side,
    /// Behind whom; the first where there is nobody.
    after: Option<Id<User>>,
}

impl Job for Recount {
    const KIND: &'static str = "overview.recount";
}

pub fn register(db: &Db, registry: &mut Registry) {
    let own = db.clone();
    registry.on(move |job: Recount, run| {
        let db = own.clone();
        async move {
            let counted = db.run("overview.recount", |tx| {
                let (job, run) = (&job, &run);
                async move {
                    let counted = recount(&tx, job).await?;
                    if let Some(next) = &counted.next {
                        tx.enqueue(NewJob::new(next)?);
                    }
                    run.done_in(&tx).await?;
                    Ok(counted.rebuilt)
                }
            });
            match counted.await?.mended {
                0 => Ok(()),
                mended => {
                    tracing::warn!(mended, "days of overviews were not what is counted");
                    Ok(())
                }
            }
        }
    });
    let own = db.clone();
    registry.every("overview.recount_all", PERIOD, move || {
        let db = own.clone();
        async move { recount_all(&db).await }
    });
}

/// Begins to count all days anew, in the background.
pub(super) async fn recount_all(db: &Db) -> Result<()> {
    db.run("overview.recount_all", |tx| async move {
        for side in [Side::Owner, Side::Verifier] {
            tx.enqueue(NewJob::new(&Recount { side, after: None })?);
        }
        Ok(())
    })
    .await
}

/// What counting anew has come to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Owners and verifiers whose days were counted; who is both counts twice.
    pub parties: u64,
    /// Rows that were missing, too many, or not what is counted now.
    pub mended: u64,
}

/// Counts all days anew, now: some parties at a time, beside whatever else goes on.
pub(super) async fn rebuild(db: &Db) -> Result<Rebuilt> {
    let mut rebuilt = Rebuilt::default();
    for side in [Side::Owner, Side::Verifier] {
        let mut next = Some(Recount { side, after: None });
        while let Some(job) = &next {
            let counted =
                db.run("overview.rebuild", |tx| async move { recount(&tx, job).await }).await?;
            rebuilt.parties += counted.rebuilt.parties;
            rebuilt.mended += counted.rebuilt.mended;
            next = counted.next;
        }
    }
    Ok(rebuilt)
}

struct Recounted {
    rebuilt: Rebuilt,
    /// Where to go on.
    next: Option<Recount>,
}

/// Every row of a party's, to be compared: of what is counted of one side, each as one text.
async fn kept(tx: &Tx, party: Id<User>, side: Side) -> Result<BTreeSet<String>> {
    let verdicts = "SELECT day, verdict, currency, verdicts, paid, fees, refunded, work
                    FROM verdict_days WHERE party = $1 AND side = $2";
    let read = |row: &Row<'_>| {
        let mut text = row.take::<i64>()?.to_string();
        for _ in 0..2 {
            text += &format!(" {}", row.take::<String>()?);
        }
        for _ in 0..5 {
            text += &format!(" {}", row.take::<i64>()?);
        }
        Ok(text)
    };
    let mut rows = tx.all(verdicts, params![party, side.column()], read).await?;
    if side == Side::Owner {
        let requests = "SELECT day, requests FROM request_days WHERE party = $1";
        let read = |row: &Row<'_>| Ok(format!("{} {}", row.take::<i64>()?, row.take::<i64>()?));
        rows.extend(tx.all(requests, params![party], read).await?);
    }
    Ok(rows.into_iter().collect())
}

/// How many days of a party are otherwise in one of two.
fn differing(before: &BTreeSet<String>, after: &BTreeSet<String>) -> usize {
    // A row that has changed is in both, with one text each.
    before.difference(after).count().max(after.difference(before).count())
}

/// Counts the days of some parties anew.
async fn recount(tx: &Tx, job: &Recount) -> Result<Recounted> {
    tx.exclusively(COUNTING).await?;
    let who = job.side.column();
    // Whoever has days, and whoever should: neither has to be in the other.
    let asked = match job.side {
        Side::Owner => "UNION SELECT party FROM request_days WHERE party > $1",
        Side::Verifier => "",
    };
    let sql = format!(
        "SELECT party FROM verdict_days WHERE side = '{who}' AND party > $1 {asked}
         UNION SELECT {who} FROM verifications WHERE {who} > $1
         ORDER BY 1 LIMIT $2"
    );
    let after = job.after.map_or(uuid::Uuid::nil(), |after| after.uuid());
    let parties: Vec<Id<User>> = tx.all(&sql, params![after, TOGETHER], |row| row.take()).await?;
    let mut rebuilt = Rebuilt { parties: parties.len() as u64, mended: 0 };
    for party in &parties {
        let before = kept(tx, *party, job.side).await?;
        part::recount(tx, *party, job.side).await?;
        rebuilt.mended += differing(&before, &kept(tx, *party, job.side).await?) as u64;
    }
    let is_full = i64::try_from(parties.len()).is_ok_and(|count| count == TOGETHER);
    let last = parties.last().filter(|_| is_full);
    let next = last.map(|last| Recount { side: job.side, after: Some(*last) });
    Ok(Recounted { rebuilt, next })
}
