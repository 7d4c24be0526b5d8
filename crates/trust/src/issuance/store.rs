//! All SQL of the issued credentials.

use kernel::id::kinds::{Credential, Issued as IssuedKind, Key, StatusList, User};
use kernel::{Error, Id, Result, Timestamp};
use platform::db::{DbError, Read, Row, Tx};
use platform::params;

use super::service::Issued;
use crate::status::service::Place;

const COLUMNS: &str = "id, verification, credential, holder, document, sha256, document_salt, \
                       list, place, valid_from, valid_until, revoked_at, revocation_reason, \
                       claims, supersedes, superseded_by, signed_by, signed_at, is_former";

/// A token made of a verdict.
pub(super) struct Token {
    pub(super) status: Place,
    pub(super) sha256: [u8; 32],
    /// SHA-256 over what the key has signed, without what is disclosed.
    pub(super) signed_sha256: [u8; 32],
    pub(super) signed_by: Id<Key>,
    /// The thumbprint of the key it is bound to.
    pub(super) holder_key: Option<String>,
}

fn read(row: &Row<'_>) -> Result<Issued, DbError> {
    let broken = |error| DbError::Other(format!("an issued credential is no JSON: {error}"));
    Ok(Issued {
        id: row.take()?,
        verification: row.take()?,
        credential: row.take()?,
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
        signed_by: row.take()?,
        signed_at: row.take()?,
        is_former: row.take()?,
    })
}

pub(super) async fn insert(tx: &Tx, issued: &Issued) -> Result<()> {
    let done = tx
        .execute(
            "INSERT INTO issued_credentials (id, verification, credential, holder, document,
                 sha256, document_salt, list, place, valid_from, valid_until, revoked_at,
                 revocation_reason, claims, supersedes, superseded_by, signed_by, signed_at,
                 is_former)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                 $18, $19)",
            params![
                issued.id,
                issued.verification,
                issued.credential,
                issued.holder,
                issued.document.to_string(),
                issued.sha256,
                issued.document_salt,
                issued.status.list,
                issued.status.place,
                issued.valid_from,
                issued.valid_until,
                issued.revoked_at,
                issued.revocation_reason,
                issued.claims.to_string(),
                issued.supersedes,
                issued.superseded_by,
                issued.signed_by,
                issued.signed_at,
                issued.is_former
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

pub(super) async fn insert_token(tx: &Tx, issued: &Issued, token: &Token) -> Result<()> {
    let id: Id<IssuedKind> = tx.world().id();
    tx.execute(
        "INSERT INTO issued_tokens (id, issued, holder, holder_key, sha256, list, place,
             valid_until, created_at, signed_by, signed_sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        params![
            id,
            issued.id,
            issued.holder,
            token.holder_key,
            token.sha256,
            token.status.list,
            token.status.place,
            issued.valid_until,
            tx.now(),
            token.signed_by,
            token.signed_sha256
        ],
    )
    .await?;
    Ok(())
}

/// Marks all tokens revoked that were made of a verdict; answers their places.
pub(super) async fn revoke_tokens(tx: &Tx, issued: Id<IssuedKind>) -> Result<Vec<Place>> {
    let sql = "UPDATE issued_tokens SET revoked_at = COALESCE(revoked_at, $2)
               WHERE issued = $1 RETURNING list, place";
    let read = |row: &Row<'_>| Ok(Place { list: row.take()?, place: row.take()? });
    Ok(tx.all(sql, params![issued, tx.now()], read).await?)
}

/// Puts a newly signed document in the place of one that a key signed; `false` when it was revoked
/// or signed anew before.
pub(super) async fn sign_anew(tx: &Tx, issued: &Issued, old_key: Id<Key>) -> Result<bool> {
    let sql = "UPDATE issued_credentials
               SET document = $2, sha256 = $3, list = $4, place = $5, supersedes = $6,
                   signed_by = $7, signed_at = $8
               WHERE id = $1 AND signed_by = $9 AND revoked_at IS NULL";
    let document = issued.document.to_string();
    let params = params![
        issued.id,
        document,
        issued.sha256,
        issued.status.list,
        issued.status.place,
        issued.supersedes,
        issued.signed_by,
        issued.signed_at,
        old_key
    ];
    Ok(tx.touch(sql, params).await?)
}

/// Some of what a key has signed since a time and that stands, oldest first.
pub(super) async fn standing_under(
    tx: &Tx,
    key: Id<Key>,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<Issued>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM issued_credentials
         WHERE signed_by = $1 AND signed_at >= $2 AND revoked_at IS NULL
         ORDER BY signed_at LIMIT $3"
    );
    Ok(tx.all(&sql, params![key, since, limit], read).await?)
}

/// Some of what was signed since a time by a key that nobody noted.
pub(super) async fn unnamed(tx: &Tx, since: Timestamp, limit: i64) -> Result<Vec<Issued>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM issued_credentials
         WHERE signed_by IS NULL AND revoked_at IS NULL AND id >= $1 ORDER BY id LIMIT $2"
    );
    let first: Id<IssuedKind> = Id::first_at(since);
    Ok(tx.all(&sql, params![first, limit], read).await?)
}

/// Notes which key signed, and when.
pub(super) async fn name(tx: &Tx, id: Id<IssuedKind>, key: Id<Key>, at: Timestamp) -> Result<()> {
    let sql = "UPDATE issued_credentials SET signed_by = $2, signed_at = $3
               WHERE id = $1 AND signed_by IS NULL";
    tx.execute(sql, params![id, key, at]).await?;
    Ok(())
}

/// A token that was handed out.
pub(super) struct Delivered {
    pub(super) id: Id<IssuedKind>,
    pub(super) issued: Id<IssuedKind>,
    pub(super) holder: Id<User>,
    pub(super) status: Place,
    pub(super) sha256: [u8; 32],
}

/// Some of the tokens that a key has signed since a time and that stand, oldest first.
pub(super) async fn tokens_under(
    tx: &Tx,
    key: Id<Key>,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<Delivered>> {
    let sql = "SELECT id, issued, holder, list, place, sha256 FROM issued_tokens
               WHERE signed_by = $1 AND created_at >= $2 AND revoked_at IS NULL
               ORDER BY created_at LIMIT $3";
    let read = |row: &Row<'_>| {
        Ok(Delivered {
            id: row.take()?,
            issued: row.take()?,
            holder: row.take()?,
            status: Place { list: row.take()?, place: row.take()? },
            sha256: row.take()?,
        })
    };
    Ok(tx.all(sql, params![key, since, limit], read).await?)
}

/// Notes of all tokens of a stretch of time that a key signed them, where nobody has.
pub(super) async fn name_tokens(
    tx: &Tx,
    key: Id<Key>,
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<u64> {
    let sql = "UPDATE issued_tokens SET signed_by = $1
               WHERE id IN (SELECT id FROM issued_tokens
                            WHERE signed_by IS NULL AND revoked_at IS NULL
                              AND created_at >= $2 AND created_at < $3 LIMIT $4)";
    Ok(tx.execute(sql, params![key, from, until, limit]).await?)
}

/// Marks a token revoked; `false` when it was before.
pub(super) async fn revoke_token(tx: &Tx, id: Id<IssuedKind>) -> Result<bool> {
    let sql = "UPDATE issued_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    Ok(tx.touch(sql, params![id, tx.now()]).await?)
}

/// When something with this digest was signed here: a document with its proofs, or a token without
/// its disclosures.
pub(crate) async fn signed_at(db: &impl Read, digest: &[u8; 32]) -> Result<Option<Timestamp>> {
    let sql = "SELECT COALESCE(signed_at, valid_from) FROM issued_credentials WHERE sha256 = $1
               UNION ALL
               SELECT created_at FROM issued_tokens WHERE signed_sha256 = $1";
    let found: Vec<Timestamp> = db.all(sql, params![digest], |row| row.take()).await?;
    Ok(found.into_iter().min())
}
