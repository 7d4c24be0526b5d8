//! All SQL of the issued credentials.

use kernel::id::kinds::{Issued as IssuedKind, StatusList};
use kernel::{Error, Id, Result};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::service::{Issued, VerdictClaim};
use crate::status::service::Place;

const COLUMNS: &str = "id, holder, document, sha256, document_salt, list, place, valid_from, \
                       valid_until, revoked_at, revocation_reason";

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
    })
}

pub(super) async fn insert(tx: &Tx, claim: &VerdictClaim, issued: &Issued) -> Result<()> {
    let done = tx
        .execute(
            "INSERT INTO issued_credentials (id, verification, credential, holder, document,
                 sha256, document_salt, list, place, valid_from, valid_until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
                issued.valid_until
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
