//! All SQL of the issued credentials.

use kernel::id::kinds::{Credential, Issued as IssuedKind, StatusList, User};
use kernel::{Error, Id, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::service::{Issued, VerdictClaim};
use crate::status::service::Place;

const COLUMNS: &str = "id, holder, document, sha256, document_salt, list, place, valid_from, \
                       valid_until, revoked_at, revocation_reason, claims, supersedes, \
                       superseded_by";

/// A token made of a verdict.
pub(super) struct Token {
    pub(super) status: Place,
    pub(super) sha256: [u8; 32],
    /// The thumbprint of the key it is bound to.
    pub(super) holder_key: Option<String>,
}

fn read(row: &Row<'_>) -> Result<Issued, DbError> {
    let broken = |error| DbError::Other(format!("an issued credential is no JSON: {error}"));
    Ok(Issued {
        id: row.take()?,
        holder: row.take()?,
        document: serde_json::from_str(&row.take::<String>()?).map_err(broken)?,
        sha256: row.take()?,
        document_salt: row.take()?,
        status: Place { list: row.take::<Id<StatusList>>()?, place: row.take()? },
        valid_from: row.take()?,
        valid_until: row.take()?,
        revoked_at: row.take()?,
        revocation_reason: row.take()?,
        claims: serde_json::from_str(&row.take::<String>()?).map_err(broken)?,
        supersedes: row.take()?,
        superseded_by: row.take()?,
    })
}

pub(super) async fn insert(tx: &Tx, claim: &VerdictClaim, issued: &Issued) -> Result<()> {
    let done = tx
        .execute(
            "INSERT INTO issued_credentials (id, verification, credential, holder, document,
                 sha256, document_salt, list, place, valid_from, valid_until, claims, supersedes)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            params![
                issued.id,
                claim.verification,
                claim.credential,
                claim.holder,
                issued.document.to_string(),
                issued.sha256,
                issued.document_salt,
                issued.status.list,
                issued.status.place,
                issued.valid_from,
                issued.valid_until,
                issued.claims.to_string(),
                issued.supersedes
            ],
        )
        .await;
    match done {
        Err(DbError::Unique(index)) if index == "issued_credentials_verification" => {
            Err(Error::conflict("already_issued", "This verdict has been issued already."))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok(()),
    }
}

pub(super) async fn get(db: &impl Read, id: Id<IssuedKind>) -> Result<Option<Issued>> {
    let sql = format!("SELECT {COLUMNS} FROM issued_credentials WHERE id = $1");
    Ok(db.maybe(&sql, params![id], read).await?)
}

/// Marks it revoked; `false` when it was before.
pub(super) async fn revoke(tx: &Tx, id: Id<IssuedKind>, reason: &str) -> Result<bool> {
    let sql = "UPDATE issued_credentials SET revoked_at = $2, revocation_reason = $3
               WHERE id = $1 AND revoked_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now(), reason]).await?)
}

/// Marks it revoked because another has taken its place; `false` when it was revoked before.
pub(super) async fn supersede(tx: &Tx, id: Id<IssuedKind>, by: Id<IssuedKind>) -> Result<bool> {
    let sql = "UPDATE issued_credentials
               SET revoked_at = $2, revocation_reason = 'superseded', superseded_by = $3
               WHERE id = $1 AND revoked_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now(), by]).await?)
}

/// What was signed of a holder's credential and stands, the newest first.
pub(super) async fn standing(
    tx: &Tx,
    credential: Id<Credential>,
    holder: Id<User>,
) -> Result<Vec<Issued>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM issued_credentials
         WHERE credential = $1 AND holder = $2 AND revoked_at IS NULL ORDER BY id DESC"
    );
    Ok(tx.all(&sql, params![credential, holder], read).await?)
}

/// Everything that was signed of a holder's credential, the newest first.
pub(super) async fn all_of(
    db: &impl Read,
    credential: Id<Credential>,
    holder: Id<User>,
) -> Result<Vec<Issued>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM issued_credentials
         WHERE credential = $1 AND holder = $2 ORDER BY id DESC LIMIT 100"
    );
    Ok(db.all(&sql, params![credential, holder], read).await?)
}

/// The newest of a holder's credential that is not revoked.
pub(super) async fn of_credential(
    db: &impl Read,
    credential: Id<Credential>,
    holder: Id<User>,
) -> Result<Option<Issued>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM issued_credentials
         WHERE credential = $1 AND holder = $2 AND revoked_at IS NULL ORDER BY id DESC LIMIT 1"
    );
    Ok(db.maybe(&sql, params![credential, holder], read).await?)
}

pub(super) async fn insert_token(tx: &Tx, issued: &Issued, token: &Token) -> Result<()> {
    let id: Id<IssuedKind> = tx.world().id();
    tx.execute(
        "INSERT INTO issued_tokens (id, issued, holder, holder_key, sha256, list, place,
             valid_until, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![
            id,
            issued.id,
            issued.holder,
            token.holder_key,
            token.sha256,
            token.status.list,
            token.status.place,
            issued.valid_until,
            tx.now()
        ],
    )
    .await?;
    Ok(())
}

/// The places of all tokens that were made of a verdict.
pub(super) async fn token_places(tx: &Tx, issued: Id<IssuedKind>) -> Result<Vec<Place>> {
    let sql = "SELECT list, place FROM issued_tokens WHERE issued = $1";
    let read = |row: &Row<'_>| Ok(Place { list: row.take()?, place: row.take()? });
    Ok(tx.all(sql, params![issued], read).await?)
}
