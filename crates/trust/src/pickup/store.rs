//! All SQL of offers and spent nonces.

use kernel::id::kinds::{Issued, Offer as OfferKind, User};
use kernel::{Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

/// An offer as far as redeeming it needs to know.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) id: Id<OfferKind>,
    pub(super) issued: Id<Issued>,
    pub(super) holder: Id<User>,
    pub(super) tx_code_mac: [u8; 32],
    pub(super) tries: i64,
    pub(super) expires_at: Timestamp,
    pub(super) redeemed_at: Option<Timestamp>,
    pub(super) access_until: Option<Timestamp>,
    pub(super) collected_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, issued, holder, tx_code_mac, tries, expires_at, redeemed_at, \
                       access_until, collected_at";

fn read(row: &Row<'_>) -> Result<Offer, DbError> {
    Ok(Offer {
        id: row.take()?,
        issued: row.take()?,
        holder: row.take()?,
        tx_code_mac: row.take()?,
        tries: row.take()?,
        expires_at: row.take()?,
        redeemed_at: row.take()?,
        access_until: row.take()?,
        collected_at: row.take()?,
    })
}

/// Writes down a new offer under the hashes of its link and of its code.
pub(super) async fn insert(
    tx: &Tx,
    offer: &Offer,
    link_sha256: &[u8; 32],
    code_sha256: &[u8; 32],
) -> Result<()> {
    tx.execute(
        "INSERT INTO credential_offers (id, issued, holder, link_sha256, code_sha256, tx_code_mac,
             tries, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)",
        params![
            offer.id,
            offer.issued,
            offer.holder,
            link_sha256,
            code_sha256,
            offer.tx_code_mac,
            tx.now(),
            offer.expires_at
        ],
    )
    .await?;
    Ok(())
}

pub(super) async fn by_link(db: &impl Read, link_sha256: &[u8; 32]) -> Result<Option<Offer>> {
    let sql = format!("SELECT {COLUMNS} FROM credential_offers WHERE link_sha256 = $1");
    Ok(db.maybe(&sql, params![link_sha256], read).await?)
}

pub(super) async fn by_code(db: &impl Read, code_sha256: &[u8; 32]) -> Result<Option<Offer>> {
    let sql = format!("SELECT {COLUMNS} FROM credential_offers WHERE code_sha256 = $1");
    Ok(db.maybe(&sql, params![code_sha256], read).await?)
}

pub(super) async fn by_access(db: &impl Read, access_sha256: &[u8; 32]) -> Result<Option<Offer>> {
    let sql = format!("SELECT {COLUMNS} FROM credential_offers WHERE access_sha256 = $1");
    Ok(db.maybe(&sql, params![access_sha256], read).await?)
}

/// Counts a wrong transaction code, up to the number that burns the offer.
pub(super) async fn count_try(tx: &Tx, id: Id<OfferKind>, tries_max: i64) -> Result<bool> {
    let sql = "UPDATE credential_offers SET tries = tries + 1 WHERE id = $1 AND tries < $2";
    Ok(tx.touch(sql, params![id, tries_max]).await?)
}

/// Redeems an offer; `false` when somebody was faster, or it is burnt or too old.
pub(super) async fn redeem(
    tx: &Tx,
    id: Id<OfferKind>,
    tries_max: i64,
    access_sha256: &[u8; 32],
    access_until: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE credential_offers
               SET redeemed_at = $2, access_sha256 = $3, access_until = $4
               WHERE id = $1 AND redeemed_at IS NULL AND tries < $5 AND expires_at > $2";
    let now = tx.now();
    Ok(tx.touch(sql, params![id, now, access_sha256, access_until, tries_max]).await?)
}

/// Marks the one credential of an access token as collected.
pub(super) async fn collect(tx: &Tx, id: Id<OfferKind>) -> Result<bool> {
    let sql = "UPDATE credential_offers SET collected_at = $2
               WHERE id = $1 AND collected_at IS NULL AND access_until > $2";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// Spends a nonce; `false` when it was spent before. Those whose time is over go.
pub(super) async fn spend(tx: &Tx, nonce: &[u8; 32], expires_at: Timestamp) -> Result<bool> {
    tx.execute("DELETE FROM spent_nonces WHERE expires_at < $1", params![tx.now()]).await?;
    let sql = "INSERT INTO spent_nonces (nonce, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    Ok(tx.touch(sql, params![nonce, expires_at]).await?)
}
