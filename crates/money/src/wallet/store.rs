//! All SQL of the holds.

use kernel::id::kinds::{Hold as HoldKind, User};
use kernel::{Error, Id, Money, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::model::{Captured, Earning, Freeze, Hold};

pub(super) async fn insert(tx: &Tx, hold: &Hold) -> Result<()> {
    let Hold { id, owner, amount, purpose, subject } = hold;
    let sql = "INSERT INTO ledger_hold (id, owner, asset, amount, captured, released, state,
                                        purpose, subject, fee, earning, created_at)
               VALUES ($1, $2, $3, $4, 0, 0, 'open', $5, $6, 0, 'none', $7)";
    tx.execute(sql, params![id, owner, amount.asset, amount.minor, purpose, subject, tx.now()])
        .await?;
    Ok(())
}

/// The hold for a purpose and subject, whatever has become of it.
pub(super) async fn of_subject(
    db: &impl Read,
    purpose: &str,
    subject: &str,
) -> Result<Option<Id<HoldKind>>> {
    let sql = "SELECT id FROM ledger_hold WHERE purpose = $1 AND subject = $2";
    Ok(db.maybe(sql, params![purpose, subject], |row| row.take()).await?)
}

/// Why an owner's wallet is frozen; none when it is not.
pub(super) async fn frozen(db: &impl Read, owner: Id<User>) -> Result<Option<String>> {
    let sql = "SELECT reason FROM wallet_freezes WHERE owner = $1";
    Ok(db.maybe(sql, params![owner], |row| row.take()).await?)
}

/// The freeze of an owner's wallet.
pub(super) async fn freeze_of(db: &impl Read, owner: Id<User>) -> Result<Option<Freeze>> {
    let sql = "SELECT reason, frozen_at FROM wallet_freezes WHERE owner = $1";
    let read = |row: &Row<'_>| Ok(Freeze { reason: row.take()?, since: row.take()? });
    Ok(db.maybe(sql, params![owner], read).await?)
}

/// Freezes a wallet; the first reason stands, and stays until this transaction ends: who is about
/// to thaw it looks afterwards at what it is frozen for.
pub(super) async fn freeze(tx: &Tx, owner: Id<User>, reason: &str) -> Result<bool> {
    if take_freeze(tx, owner).await? {
        return Ok(false);
    }
    let sql = "INSERT INTO wallet_freezes (owner, reason, frozen_at) VALUES ($1, $2, $3)
               ON CONFLICT DO NOTHING";
    let is_first = tx.touch(sql, params![owner, reason, tx.now()]).await?;
    // Who froze it at this moment is held to it as well. One that was thawed since is as if it had
    // never been: the caller comes again.
    if !is_first && !take_freeze(tx, owner).await? {
        let message = "The wallet was thawed at this moment. Try again.";
        return Err(Error::conflict("wallet_moved", message));
    }
    Ok(is_first)
}

/// Takes the freeze of a wallet for this transaction: nobody ends it meanwhile. False when it is not
/// frozen.
pub(super) async fn take_freeze(tx: &Tx, owner: Id<User>) -> Result<bool> {
    let sql = "UPDATE wallet_freezes SET reason = reason WHERE owner = $1";
    Ok(tx.touch(sql, params![owner]).await?)
}

/// Ends a freeze that was for a reason.
pub(super) async fn thaw_from(tx: &Tx, owner: Id<User>, reason: &str) -> Result<bool> {
    let sql = "DELETE FROM wallet_freezes WHERE owner = $1 AND reason = $2";
    Ok(tx.touch(sql, params![owner, reason]).await?)
}

pub(super) async fn open_chargebacks(db: &impl Read, owner: Id<User>) -> Result<i64> {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM chargebacks
               WHERE owner = $1 AND state = 'open'";
    Ok(db.one(sql, params![owner], |row| row.take()).await?)
}

pub(super) async fn thaw(tx: &Tx, owner: Id<User>) -> Result<bool> {
    Ok(tx.touch("DELETE FROM wallet_freezes WHERE owner = $1", params![owner]).await?)
}

/// A hold in any state.
pub(super) async fn hold(db: &impl Read, id: Id<HoldKind>) -> Result<Option<Hold>> {
    let sql = "SELECT id, owner, amount, asset, purpose, subject FROM ledger_hold WHERE id = $1";
    Ok(db.maybe(sql, params![id], read).await?)
}

fn read(row: &Row<'_>) -> Result<Hold, DbError> {
    Ok(Hold {
        id: row.take()?,
        owner: row.take()?,
        amount: Money::new(row.take()?, row.take()?),
        purpose: row.take()?,
        subject: row.take()?,
    })
}

/// Pays an open hold out, of which the fee is the platform's; none when it is not open.
pub(super) async fn capture(
    tx: &Tx,
    id: Id<HoldKind>,
    payee: Id<User>,
    fee: Money,
    available_at: Timestamp,
) -> Result<Option<Hold>> {
    let sql = "UPDATE ledger_hold SET state = 'captured', captured = amount, payee = $3, fee = $4,
                      earning = CASE WHEN amount = $4 THEN 'none' ELSE 'pending' END,
                      available_at = $5, closed_at = $2
               WHERE id = $1 AND state = 'open'
               RETURNING id, owner, amount, asset, purpose, subject";
    Ok(tx.maybe(sql, params![id, tx.now(), payee, fee.minor, available_at], read).await?)
}

/// Closes an open hold whose money goes elsewhere than to a payee: the owner has spent it.
pub(super) async fn take(tx: &Tx, id: Id<HoldKind>) -> Result<Option<Hold>> {
    let sql = "UPDATE ledger_hold SET state = 'captured', captured = amount, payee = owner,
                      closed_at = $2
               WHERE id = $1 AND state = 'open'
               RETURNING id, owner, amount, asset, purpose, subject";
    Ok(tx.maybe(sql, params![id, tx.now()], read).await?)
}

/// Closes an open hold whose owner gets it back.
pub(super) async fn release(tx: &Tx, id: Id<HoldKind>) -> Result<Option<Hold>> {
    let sql = "UPDATE ledger_hold SET state = 'released', released = amount, closed_at = $2
               WHERE id = $1 AND state = 'open'
               RETURNING id, owner, amount, asset, purpose, subject";
    Ok(tx.maybe(sql, params![id, tx.now()], read).await?)
}

/// Earnings whose dispute window is over, longest first.
pub(super) async fn due_earnings(
    db: &impl Read,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Id<HoldKind>>> {
    let sql = "SELECT id FROM ledger_hold WHERE earning = 'pending' AND available_at <= $1
               ORDER BY available_at LIMIT $2";
    Ok(db.all(sql, params![now, limit], |row| row.take()).await?)
}

/// Takes a pending earning for its release; none when there is none.
pub(super) async fn take_earning(tx: &Tx, id: Id<HoldKind>) -> Result<Option<Earning>> {
    let sql = "UPDATE ledger_hold SET earning = 'released'
               WHERE id = $1 AND earning = 'pending' AND available_at IS NOT NULL
               RETURNING id, payee, captured - fee, asset, purpose, subject";
    let read = |row: &Row<'_>| -> Result<Earning, DbError> {
        Ok(Earning {
            hold: row.take()?,
            payee: row.take()?,
            net: Money::new(row.take()?, row.take()?),
            purpose: row.take()?,
            subject: row.take()?,
        })
    };
    Ok(tx.maybe(sql, params![id], read).await?)
}

/// Takes the time from an earning at which it would be released; answers whether it had not come
/// yet.
pub(super) async fn hold_back(tx: &Tx, id: Id<HoldKind>) -> Result<bool> {
    let sql = "UPDATE ledger_hold SET available_at = NULL
               WHERE id = $1 AND earning = 'pending' AND available_at > $2";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// A captured hold whose earning is frozen.
pub(super) struct Contested {
    pub(super) owner: Id<User>,
    pub(super) payee: Id<User>,
    pub(super) captured: Captured,
    pub(super) purpose: String,
    pub(super) subject: String,
}

/// Takes a frozen earning for its settlement; none when it is not frozen. It may be released from
/// here on.
pub(super) async fn take_frozen(tx: &Tx, id: Id<HoldKind>) -> Result<Option<Contested>> {
    let sql = "UPDATE ledger_hold SET available_at = $2
               WHERE id = $1 AND earning = 'pending' AND available_at IS NULL
               RETURNING owner, payee, captured, fee, asset, purpose, subject";
    let read = |row: &Row<'_>| -> Result<Contested, DbError> {
        let (owner, payee) = (row.take()?, row.take()?);
        let (captured, fee) = (row.take::<i64>()?, row.take::<i64>()?);
        let asset = row.take()?;
        let money = |minor| Money::new(minor, asset);
        let captured =
            Captured { amount: money(captured), fee: money(fee), net: money(captured - fee) };
        Ok(Contested { owner, payee, captured, purpose: row.take()?, subject: row.take()? })
    };
    Ok(tx.maybe(sql, params![id, tx.now()], read).await?)
}

/// Writes down what is left of a capture after a part of it went back.
pub(super) async fn refunded(tx: &Tx, id: Id<HoldKind>, left: &Captured) -> Result<()> {
    let sql = "UPDATE ledger_hold SET captured = $2, released = amount - $2, fee = $3, earning = $4
               WHERE id = $1";
    let earning = if left.net.minor == 0 { "none" } else { "pending" };
    tx.execute(sql, params![id, left.amount.minor, left.fee.minor, earning]).await?;
    Ok(())
}
