//! What one verification has in the days of its parties.
//!
//! What it had when it was counted last is kept beside it (`verification_days`), so that the days
//! change by the difference, whatever has become of it meanwhile and however often it is looked at.

use std::collections::{BTreeMap, HashMap};

use kernel::id::kinds::{User, Verification};
use kernel::{Id, Result};
use platform::db::{Bind, DbError, Read, Row, Tx};
use platform::params;

use super::model::DAY_MICROS;
use super::store::Side;

/// Verifications that one statement is about.
const TOGETHER: usize = 500;

/// What a verification counts as.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    verification: Id<Verification>,
    owner: Id<User>,
    /// The day on which it was asked for.
    requested: i64,
    verifier: Option<Id<User>>,
    /// The day of its verdict; none where nobody was paid for one.
    judged: Option<i64>,
    verdict: Option<String>,
    currency: String,
    sums: Sums,
}

/// Paid, fees, refunded, and microseconds of work.
type Sums = [i64; 4];

/// One row of the verdicts: whose, which day, what, in which currency.
type Line = (Id<User>, Side, i64, String, String);

fn read(row: &Row<'_>) -> Result<Part, DbError> {
    Ok(Part {
        verification: row.take()?,
        owner: row.take()?,
        requested: row.take()?,
        verifier: row.take()?,
        judged: row.take()?,
        verdict: row.take()?,
        currency: row.take()?,
        sums: [row.take()?, row.take()?, row.take()?, row.take()?],
    })
}

async fn parts(tx: &Tx, select: &str, key: &str, ids: &[Id<Verification>]) -> Result<Vec<Part>> {
    let marks: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
    let sql = format!("{select} WHERE {key} IN ({}) ORDER BY {key}", marks.join(", "));
    let ids: Vec<_> = ids.iter().map(Bind::bind).collect();
    Ok(tx.all(&sql, &ids, read).await?)
}

/// What the verifications count as now.
async fn now(tx: &Tx, ids: &[Id<Verification>]) -> Result<Vec<Part>> {
    let select = format!(
        "SELECT id, owner, requested_at / {DAY_MICROS}, verifier,
             CASE WHEN fee IS NOT NULL THEN ended_at / {DAY_MICROS} END, verdict, currency,
             price - refunded, COALESCE(fee, 0), refunded, COALESCE(ended_at - accepted_at, 0)
         FROM verifications"
    );
    parts(tx, &select, "id", ids).await
}

/// What they counted as the last time.
async fn before(tx: &Tx, ids: &[Id<Verification>]) -> Result<Vec<Part>> {
    let select = "SELECT verification, owner, requested, verifier, judged, verdict, currency, paid,
                      fees, refunded, work FROM verification_days";
    parts(tx, select, "verification", ids).await
}

/// What days change by.
#[derive(Debug, Default)]
struct Change {
    verdicts: BTreeMap<Line, (i64, Sums)>,
    requests: BTreeMap<(Id<User>, i64), i64>,
}

impl Change {
    fn count(&mut self, part: &Part, times: i64) {
        *self.requests.entry((part.owner, part.requested)).or_default() += times;
        let (Some(judged), Some(verdict)) = (part.judged, &part.verdict) else { return };
        let sides = [(Some(part.owner), Side::Owner), (part.verifier, Side::Verifier)];
        for (party, side) in sides {
            let Some(party) = party else { continue };
            let line = (party, side, judged, verdict.clone(), part.currency.clone());
            let (count, sums) = self.verdicts.entry(line).or_default();
            *count += times;
            sums.iter_mut().zip(part.sums).for_each(|(sum, own)| *sum += times * own);
        }
    }

    async fn apply(&self, tx: &Tx) -> Result<()> {
        for ((party, day), requests) in self.requests.iter().filter(|(_, count)| **count != 0) {
            let sql = "INSERT INTO request_days (party, day, requests) VALUES ($1, $2, $3)
                       ON CONFLICT (party, day)
                       DO UPDATE SET requests = request_days.requests + excluded.requests";
            tx.execute(sql, params![party, day, requests]).await?;
        }
        for ((party, side, day, verdict, currency), (count, sums)) in &self.verdicts {
            if (*count, *sums) == (0, [0; 4]) {
                continue;
            }
            let sql = "INSERT INTO verdict_days (party, side, day, verdict, currency, verdicts,
                           paid, fees, refunded, work)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                       ON CONFLICT (party, side, day, verdict, currency) DO UPDATE SET
                           verdicts = verdict_days.verdicts + excluded.verdicts,
                           paid = verdict_days.paid + excluded.paid,
                           fees = verdict_days.fees + excluded.fees,
                           refunded = verdict_days.refunded + excluded.refunded,
                           work = verdict_days.work + excluded.work";
            let [paid, fees, refunded, work] = sums;
            let name = side.column();
            let row =
                params![party, name, day, verdict, currency, count, paid, fees, refunded, work];
            tx.execute(sql, row).await?;
            if *count < 0 {
                let empty = "DELETE FROM verdict_days WHERE party = $1 AND side = $2 AND day = $3
                                 AND verdict = $4 AND currency = $5 AND verdicts <= 0";
                tx.execute(empty, params![party, name, day, verdict, currency]).await?;
            }
        }
        Ok(())
    }
}

async fn keep(tx: &Tx, part: &Part) -> Result<()> {
    let sql = "INSERT INTO verification_days (verification, owner, requested, verifier, judged,
                   verdict, currency, paid, fees, refunded, work)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               ON CONFLICT (verification) DO UPDATE SET owner = excluded.owner,
                   requested = excluded.requested, verifier = excluded.verifier,
                   judged = excluded.judged, verdict = excluded.verdict,
                   currency = excluded.currency, paid = excluded.paid, fees = excluded.fees,
                   refunded = excluded.refunded, work = excluded.work";
    let Part { verification, owner, requested, verifier, judged, verdict, currency, sums } = part;
    let [paid, fees, refunded, work] = sums;
    let row = params![
        verification,
        owner,
        requested,
        verifier,
        judged,
        verdict,
        currency,
        paid,
        fees,
        refunded,
        work
    ];
    tx.execute(sql, row).await?;
    Ok(())
}

/// Counts these verifications as what they are now.
pub(super) async fn count(tx: &Tx, verifications: &[Id<Verification>]) -> Result<()> {
    for ids in verifications.chunks(TOGETHER) {
        let before = before(tx, ids).await?;
        let before: HashMap<_, _> =
            before.into_iter().map(|part| (part.verification, part)).collect();
        let mut change = Change::default();
        for part in now(tx, ids).await? {
            let was = before.get(&part.verification);
            if was == Some(&part) {
                continue;
            }
            if let Some(was) = was {
                change.count(was, -1);
            }
            change.count(&part, 1);
            keep(tx, &part).await?;
        }
        change.apply(tx).await?;
    }
    Ok(())
}

/// Makes the days of a party's side anew, of its verifications as they are now.
pub(super) async fn recount(tx: &Tx, party: Id<User>, side: Side) -> Result<()> {
    let (who, name) = (side.column(), side.column());
    let sql = format!("SELECT id FROM verifications WHERE {who} = $1");
    let own: Vec<Id<Verification>> = tx.all(&sql, params![party], |row| row.take()).await?;
    count(tx, &own).await?;
    let of_party = format!("verification IN (SELECT id FROM verifications WHERE {who} = $1)");
    tx.execute("DELETE FROM verdict_days WHERE party = $1 AND side = $2", params![party, name])
        .await?;
    let sql = format!(
        "INSERT INTO verdict_days (party, side, day, verdict, currency, verdicts, paid, fees,
             refunded, work)
         SELECT {who}, '{name}', judged, verdict, currency, CAST(COUNT(*) AS BIGINT),
             CAST(SUM(paid) AS BIGINT), CAST(SUM(fees) AS BIGINT),
             CAST(SUM(refunded) AS BIGINT), CAST(SUM(work) AS BIGINT)
         FROM verification_days WHERE {of_party} AND judged IS NOT NULL
         GROUP BY {who}, judged, verdict, currency"
    );
    tx.execute(&sql, params![party]).await?;
    if side == Side::Owner {
        tx.execute("DELETE FROM request_days WHERE party = $1", params![party]).await?;
        let sql = format!(
            "INSERT INTO request_days (party, day, requests)
             SELECT owner, requested, CAST(COUNT(*) AS BIGINT) FROM verification_days
             WHERE {of_party} GROUP BY owner, requested"
        );
        tx.execute(&sql, params![party]).await?;
    }
    Ok(())
}
