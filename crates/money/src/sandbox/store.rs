//! All SQL of the sandbox.

use kernel::{Asset, Money, Result, Timestamp};
use platform::db::{Column, DbError, FromColumn, Read, Row, Tx};
use platform::params;

use super::wire::{PayoutWire, Status};

/// A collection, as the server keeps it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub reference: String,
    pub amount: Money,
    pub status: Status,
    pub paid: Money,
    pub fee: Money,
    pub access_code: String,
    pub created_at: Timestamp,
    pub decided_at: Option<Timestamp>,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Declined => "declined",
        }
    }
}

impl FromColumn for Status {
    fn from_column(column: Column<'_>) -> Option<Self> {
        let Column::Text(text) = column else { return None };
        [Self::Pending, Self::Paid, Self::Declined].into_iter().find(|s| s.as_str() == text)
    }
}

fn read(row: &Row<'_>) -> Result<Kept, DbError> {
    let (reference, asset): (String, Asset) = (row.take()?, row.take()?);
    Ok(Kept {
        reference,
        amount: Money::new(row.take()?, asset),
        status: row.take()?,
        paid: Money::new(row.take()?, asset),
        fee: Money::new(row.take()?, asset),
        access_code: row.take()?,
        created_at: row.take()?,
        decided_at: row.take()?,
    })
}

/// Keeps a collection, unless there is one of this reference.
pub(super) async fn insert(
    tx: &Tx,
    reference: &str,
    amount: Money,
    access_code: &str,
) -> Result<()> {
    let sql = "INSERT INTO sandbox_collections (reference, asset, amount, state, paid, fee,
                                                access_code, created_at)
               VALUES ($1, $2, $3, 'pending', 0, 0, $4, $5) ON CONFLICT DO NOTHING";
    let now = tx.now();
    let row = params![reference, amount.asset, amount.minor, access_code, now];
    tx.execute(sql, row).await?;
    Ok(())
}

pub(super) async fn get(db: &impl Read, reference: &str) -> Result<Option<Kept>> {
    let sql = "SELECT reference, asset, amount, state, paid, fee, access_code, created_at,
                      decided_at
               FROM sandbox_collections WHERE reference = $1";
    Ok(db.maybe(sql, params![reference], read).await?)
}

/// Decides a collection; false when it was decided before.
pub(super) async fn decide(
    tx: &Tx,
    reference: &str,
    status: Status,
    paid: i64,
    fee: i64,
) -> Result<bool> {
    let sql = "UPDATE sandbox_collections SET state = $2, paid = $3, fee = $4, decided_at = $5
               WHERE reference = $1 AND state = 'pending'";
    Ok(tx.touch(sql, params![reference, status.as_str(), paid, fee, tx.now()]).await?)
}

/// Keeps a payout; the first of a reference is kept.
pub(super) async fn insert_payout(tx: &Tx, payout: &PayoutWire) -> Result<()> {
    let sql = "INSERT INTO sandbox_payouts (reference, asset, amount, created_at)
               VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let PayoutWire { reference, amount, currency } = payout;
    tx.execute(sql, params![reference, currency, amount, tx.now()]).await?;
    Ok(())
}

pub(super) async fn payout(db: &impl Read, reference: &str) -> Result<Option<PayoutWire>> {
    let sql = "SELECT reference, amount, asset FROM sandbox_payouts WHERE reference = $1";
    let read = |row: &Row<'_>| {
        Ok(PayoutWire { reference: row.take()?, amount: row.take()?, currency: row.take()? })
    };
    Ok(db.maybe(sql, params![reference], read).await?)
}
