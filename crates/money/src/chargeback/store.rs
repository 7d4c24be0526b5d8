//! All SQL of the charge-backs.

use kernel::id::kinds::{Chargeback as ChargebackKind, Hold, Payment as PaymentKind, User};
use kernel::{Id, Money, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::rules::Claim;
use crate::payment::Payment;
use crate::provider::ProviderName;

/// A charge-back, as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Chargeback {
    pub id: Id<ChargebackKind>,
    pub owner: Id<User>,
    pub provider: ProviderName,
    /// Of what came for the payment.
    pub amount: Money,
    /// What the bank wants beyond that.
    pub excess: Money,
    /// None where there was nothing left to hold.
    pub hold: Option<Id<Hold>>,
    pub shortfall: Money,
    pub state: String,
    pub version: i64,
}

fn read(row: &Row<'_>) -> Result<Chargeback, DbError> {
    let (id, owner, provider) = (row.take()?, row.take()?, row.take()?);
    let amount = Money::new(row.take()?, row.take()?);
    Ok(Chargeback {
        id,
        owner,
        provider,
        amount,
        excess: Money::new(row.take()?, amount.asset),
        hold: row.take()?,
        shortfall: Money::new(row.take()?, amount.asset),
        state: row.take()?,
        version: row.take()?,
    })
}

pub(super) async fn get(
    db: &impl Read,
    provider: ProviderName,
    provider_ref: &str,
) -> Result<Option<Chargeback>> {
    let sql = "SELECT id, owner, provider, amount, asset, excess, hold, shortfall, state, version
               FROM chargebacks WHERE provider = $1 AND provider_ref = $2";
    Ok(db.maybe(sql, params![provider.as_str(), provider_ref], read).await?)
}

/// Whether a payment's bank wants it back, or has it.
pub(super) async fn is_disputed(db: &impl Read, payment: Id<PaymentKind>) -> Result<bool> {
    let sql = "SELECT 1 FROM chargebacks WHERE payment = $1 AND state <> 'won' LIMIT 1";
    Ok(db.maybe(sql, params![payment], |_| Ok(())).await?.is_some())
}

/// Whether nobody has decided yet whose a payment is.
pub(super) async fn is_open(db: &impl Read, payment: Id<PaymentKind>) -> Result<bool> {
    let sql = "SELECT 1 FROM chargebacks WHERE payment = $1 AND state = 'open' LIMIT 1";
    Ok(db.maybe(sql, params![payment], |_| Ok(())).await?.is_some())
}

/// What other charge-backs have taken of the payment that this one is about.
pub(super) async fn lost_to_others(db: &impl Read, of: &Chargeback) -> Result<i64> {
    let sql = "SELECT CAST(COALESCE(SUM(other.amount - other.shortfall), 0) AS BIGINT)
               FROM chargebacks own JOIN chargebacks other ON other.payment = own.payment
               WHERE own.id = $1 AND other.id <> own.id AND other.state = 'lost'";
    Ok(db.one(sql, params![of.id], |row| row.take()).await?)
}

/// Keeps a charge-back; false when it is there already.
pub(super) async fn insert(
    tx: &Tx,
    id: Id<ChargebackKind>,
    payment: &Payment,
    provider_ref: &str,
    claim: &Claim,
) -> Result<bool> {
    let sql = "INSERT INTO chargebacks (id, payment, owner, provider, provider_ref, asset, amount,
                                        excess, held, shortfall, state, version, created_at,
                                        updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 'open', 1, $9, $9)
               ON CONFLICT DO NOTHING";
    let Money { minor, asset } = claim.amount;
    let (of, provider, owner) = (payment.id, payment.provider.as_str(), payment.owner);
    let (excess, now) = (claim.excess.minor, tx.now());
    let row = params![id, of, owner, provider, provider_ref, asset, minor, excess, now];
    Ok(tx.touch(sql, row).await?)
}

/// Keeps what an open charge-back is about now; nothing is held for it until that is said.
pub(super) async fn claim(tx: &Tx, of: &Chargeback, claim: &Claim) -> Result<bool> {
    let sql = "UPDATE chargebacks SET amount = $3, excess = $4, hold = NULL, held = 0,
                      version = version + 1, updated_at = $5 WHERE id = $1 AND version = $2";
    let (amount, excess, now) = (claim.amount.minor, claim.excess.minor, tx.now());
    Ok(tx.touch(sql, params![of.id, of.version, amount, excess, now]).await?)
}

pub(super) async fn held(
    tx: &Tx,
    id: Id<ChargebackKind>,
    hold: Id<Hold>,
    amount: Money,
) -> Result<()> {
    let sql = "UPDATE chargebacks SET hold = $2, held = $3 WHERE id = $1";
    tx.execute(sql, params![id, hold, amount.minor]).await?;
    Ok(())
}

/// Moves a charge-back on from the version that was decided about.
pub(super) async fn move_to(
    tx: &Tx,
    chargeback: &Chargeback,
    state: &str,
    shortfall: i64,
) -> Result<bool> {
    let sql = "UPDATE chargebacks SET state = $3, shortfall = $4, version = version + 1,
                      updated_at = $5 WHERE id = $1 AND version = $2";
    let (Chargeback { id, version, .. }, now) = (chargeback, tx.now());
    let row = params![id, version, state, shortfall, now];
    Ok(tx.touch(sql, row).await?)
}
