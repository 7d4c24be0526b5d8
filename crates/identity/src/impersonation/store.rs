//! All SQL of impersonations.

use kernel::Result;
use platform::db::Tx;
use platform::params;

use super::Reason;
use crate::session::Session;

/// Keeps why a session was started in its user's name.
pub(super) async fn insert(tx: &Tx, session: &Session, reason: &Reason) -> Result<()> {
    let sql = "INSERT INTO impersonations (session, admin, user_id, reason, started_at)
               VALUES ($1, $2, $3, $4, $5)";
    let (admin, user) = (session.proof.impersonator, session.user);
    tx.execute(sql, params![session.id, admin, user, reason.as_str(), tx.now()]).await?;
    Ok(())
}
