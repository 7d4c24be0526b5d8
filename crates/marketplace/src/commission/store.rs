//! All SQL of commissions.

use std::collections::HashMap;

use kernel::id::kinds;
use kernel::{Id, Result};
use platform::db::{Bind, Read, Row, Tx, Value};
use platform::params;

/// What stands beside a verification.
#[derive(Debug, Clone, Default)]
pub(super) struct Beside {
    pub(super) reference: String,
    pub(super) subject: String,
    pub(super) batch: Option<Id<kinds::Batch>>,
}

/// A row of a batch.
pub(crate) type Place = (Id<kinds::Batch>, i64);

pub(super) async fn insert(
    tx: &Tx,
    verification: Id<kinds::Verification>,
    organization: Id<kinds::User>,
    (reference, subject): (&str, &str),
    place: Option<Place>,
) -> Result<()> {
    let sql = "INSERT INTO commissions
                   (verification, organization, reference, subject, batch, place, at)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let ((batch, place), now) = (place.unzip(), tx.now());
    let params = params![verification, organization, reference, subject, batch, place, now];
    tx.execute(sql, params).await?;
    Ok(())
}

/// What stands beside some verifications of an organization's; as many as a page has.
pub(super) async fn beside(
    db: &impl Read,
    organization: Id<kinds::User>,
    verifications: &[Id<kinds::Verification>],
) -> Result<HashMap<Id<kinds::Verification>, Beside>> {
    if verifications.is_empty() {
        return Ok(HashMap::new());
    }
    let marks: Vec<_> = (2..verifications.len() + 2).map(|place| format!("${place}")).collect();
    let sql = format!(
        "SELECT verification, reference, subject, batch FROM commissions
         WHERE organization = $1 AND verification IN ({})",
        marks.join(", ")
    );
    let mut params: Vec<Value<'_>> = vec![organization.bind()];
    params.extend(verifications.iter().map(Bind::bind));
    let read = |row: &Row<'_>| {
        let verification = row.take()?;
        let (reference, subject, batch) = (row.take()?, row.take()?, row.take()?);
        Ok((verification, Beside { reference, subject, batch }))
    };
    Ok(db.all(&sql, &params, read).await?.into_iter().collect())
}
