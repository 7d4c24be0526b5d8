//! The books' own audit. Each check of balances is one statement and so sees one consistent state,
//! and what seals cover is never changed: it works next to a running store and writes nothing.

use kernel::Result;
use platform::db::Read;
use serde::Serialize;

use super::seal;

/// What the books look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether every check holds.
    pub fn is_sound(&self) -> bool {
        self.checks.iter().all(|check| check.violations.is_empty())
    }
}

/// One invariant, and what contradicts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `L1`, for programs.
    pub name: &'static str,
    /// What must hold, for people.
    pub states: &'static str,
    /// The first few contradictions; none when it holds.
    pub violations: Vec<String>,
}

/// Each statement answers the contradictions, one text a row.
const CHECKS: &[(&str, &str, &str)] = &[
    (
        "L1",
        "of every asset, all debits equal all credits",
        "SELECT a.asset || ' is off by ' || CAST(SUM(b.debits - b.credits) AS TEXT)
         FROM ledger_balance AS b JOIN ledger_account AS a ON a.id = b.account_id
         GROUP BY a.asset HAVING SUM(b.debits - b.credits) <> 0",
    ),
    (
        "L2",
        "every balance is the sum of its postings",
        "SELECT COALESCE(MAX(a.code || ' ' || a.asset), 'an unopened account') || ' differs by '
                || CAST(SUM(f.debits) AS TEXT) || ' debited, ' || CAST(SUM(f.credits) AS TEXT)
                || ' credited'
         FROM (SELECT account_id AS account, debits, credits FROM ledger_balance
               UNION ALL SELECT debit_account, -amount, 0 FROM ledger_posting
               UNION ALL SELECT credit_account, 0, -amount FROM ledger_posting) AS f
         LEFT JOIN ledger_account AS a ON a.id = f.account
         GROUP BY f.account HAVING SUM(f.debits) <> 0 OR SUM(f.credits) <> 0 LIMIT 10",
    ),
    (
        "L3",
        "no guarded account is below zero",
        "SELECT a.code || ' ' || a.asset || ' is below zero'
         FROM ledger_balance AS b JOIN ledger_account AS a ON a.id = b.account_id
         WHERE (a.guard OR b.guard) AND (a.guard <> b.guard OR a.side <> b.side
            OR (a.side = 'C' AND b.credits < b.debits) OR (a.side = 'D' AND b.debits < b.credits))
         LIMIT 10",
    ),
    (
        "L4",
        "entries count without a gap, and each balance follows from the last",
        "SELECT 'entry ' || CAST(e.version AS TEXT) || ' of ' || a.code || ' ' || a.asset
                || ' does not follow from the one before'
         FROM ledger_entry AS e JOIN ledger_account AS a ON a.id = e.account_id
         LEFT JOIN ledger_entry AS p ON p.account_id = e.account_id AND p.shard = e.shard
                                    AND p.version = e.version - 1
         WHERE e.balance_after <> COALESCE(p.balance_after, 0) + e.delta
            OR (p.version IS NULL AND e.version <> 1) OR e.recorded_at < p.recorded_at
         LIMIT 10",
    ),
    (
        "L4.last",
        "the last entry of every account is its balance",
        "SELECT a.code || ' ' || a.asset || ' has version ' || CAST(b.version AS TEXT)
         FROM ledger_balance AS b JOIN ledger_account AS a ON a.id = b.account_id
         LEFT JOIN ledger_entry AS e ON e.account_id = b.account_id AND e.shard = b.shard
                                    AND e.version = b.version
         WHERE (b.version > 0 AND e.version IS NULL)
            OR e.balance_after <> CASE WHEN a.side = 'C' THEN b.credits - b.debits
                                       ELSE b.debits - b.credits END
            OR EXISTS (SELECT 1 FROM ledger_entry AS x WHERE x.account_id = b.account_id
                       AND x.shard = b.shard AND x.version > b.version)
         LIMIT 10",
    ),
    (
        "H1",
        "what is left of the open holds is what is held",
        "SELECT f.asset || ' is off by ' || CAST(SUM(f.amount) AS TEXT)
         FROM (SELECT owner, asset, amount - captured - released AS amount FROM ledger_hold
               WHERE state = 'open'
               UNION ALL
               SELECT a.owner, a.asset, b.debits - b.credits
               FROM ledger_account AS a JOIN ledger_balance AS b ON b.account_id = a.id
               WHERE a.code = 'li.held') AS f
         GROUP BY f.owner, f.asset HAVING SUM(f.amount) <> 0 LIMIT 10",
    ),
    (
        "H2",
        "a closed hold has given out exactly what it held",
        "SELECT purpose || ' ' || subject || ' is ' || state || ' with '
                || CAST(amount - captured - released AS TEXT) || ' left'
         FROM ledger_hold
         WHERE captured + released > amount OR fee > captured
            OR (state <> 'open' AND captured + released <> amount)
            OR (state = 'captured' AND payee IS NULL)
         LIMIT 10",
    ),
    (
        "W1",
        "what is on its way out is what withdrawals are open",
        "SELECT f.asset || ' is off by ' || CAST(SUM(f.amount) AS TEXT)
         FROM (SELECT owner, asset, amount + fee AS amount FROM withdrawals
               WHERE state IN ('requested', 'approved', 'submitting', 'unknown', 'submitted')
               UNION ALL
               SELECT a.owner, a.asset, b.debits - b.credits
               FROM ledger_account AS a JOIN ledger_balance AS b ON b.account_id = a.id
               WHERE a.code = 'li.withdraw') AS f
         GROUP BY f.owner, f.asset HAVING SUM(f.amount) <> 0 LIMIT 10",
    ),
    (
        "S1",
        "what is cooling down is what unstakings are open",
        "SELECT f.asset || ' is off by ' || CAST(SUM(f.amount) AS TEXT)
         FROM (SELECT owner, asset, remaining AS amount FROM unstakings WHERE state = 'cooling'
               UNION ALL
               SELECT a.owner, a.asset, b.debits - b.credits
               FROM ledger_account AS a JOIN ledger_balance AS b ON b.account_id = a.id
               WHERE a.code = 'li.unstake') AS f
         GROUP BY f.owner, f.asset HAVING SUM(f.amount) <> 0 LIMIT 10",
    ),
];

/// Checks the books: L1 to L4, H1 and H2, that what is on its way has its reasons, and C1 and C2.
/// Reads everything, so it takes a while on large ones.
pub async fn check(db: &impl Read) -> Result<Report> {
    let mut checks = Vec::with_capacity(CHECKS.len());
    for (name, states, sql) in CHECKS {
        let violations = db.all(sql, &[], |row| row.take()).await?;
        checks.push(Check { name, states, violations });
    }
    let (changed, broken) = seal::contradictions(db).await?;
    let states = "every transaction is what was booked, by its hash";
    checks.push(Check { name: "C1", states, violations: changed });
    let states = "every seal follows from the last one and what it covers";
    checks.push(Check { name: "C2", states, violations: broken });
    Ok(Report { checks })
}
