//! Who asks a provider for money to be sent is alone with it for a while: not every provider knows
//! one request from its repetition, and one that is asked twice may send twice.

use std::time::Duration;

use kernel::{Id, Result, Timestamp};
use platform::db::{Read, Row, Tx};
use platform::params;

/// For so long nobody else asks for the same: longer than the requests of any verb take one after
/// the other.
pub(crate) const ASKING: Duration = Duration::from_secs(120);

/// What is sent. Both are rows with a state, a version and who asks until when.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sent {
    Refund,
    Withdrawal,
}

impl Sent {
    const fn table(self) -> &'static str {
        match self {
            Self::Refund => "refunds",
            Self::Withdrawal => "withdrawals",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody has asked before, so that a refusal is the answer.
    First,
    /// Somebody has, and nobody knows what became of it: what is refused now may have been granted
    /// then.
    Again,
    /// Somebody else asks at this moment, or has moved it.
    Taken,
}

/// Takes the asking for what was last seen in this version and has not been asked for since.
pub(crate) async fn claim<K>(tx: &Tx, what: Sent, id: Id<K>, version: i64) -> Result<Claim> {
    let table = what.table();
    let sql = format!("SELECT state, asked_until FROM {table} WHERE id = $1 AND version = $2");
    let read = |row: &Row<'_>| Ok((row.take::<String>()?, row.take::<Option<Timestamp>>()?));
    let Some((state, asked_until)) = tx.maybe(&sql, params![id, version], read).await? else {
        return Ok(Claim::Taken);
    };
    let sql = format!(
        "UPDATE {table} SET asked_until = $4, version = version + 1
         WHERE id = $1 AND version = $2 AND state IN ('submitting', 'unknown')
           AND (asked_until IS NULL OR asked_until <= $3)"
    );
    let now = tx.now();
    Ok(match tx.touch(&sql, params![id, version, now, now + ASKING]).await? {
        true if state == "submitting" && asked_until.is_none() => Claim::First,
        true => Claim::Again,
        false => Claim::Taken,
    })
}

/// Lets others ask: the provider has certainly not been reached.
pub(crate) async fn release<K>(tx: &Tx, what: Sent, id: Id<K>) -> Result<()> {
    let sql = format!("UPDATE {} SET asked_until = NULL WHERE id = $1", what.table());
    tx.execute(&sql, params![id]).await?;
    Ok(())
}
