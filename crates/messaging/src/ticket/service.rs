//! Giving tickets out, and taking them in.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Caller, Error, Principal, Result, Secret};
use platform::crypto::{Token, sha256};
use platform::db::Db;
use rpc::users::Users;

use super::store;

/// How long a ticket is good for: a browser uses it at once.
pub(super) const LIFETIME: Duration = Duration::from_secs(30);

/// Longer than any ticket.
const TEXT_MAX: usize = 64;

/// The verbs of tickets. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    db: Db,
    users: Arc<dyn Users>,
}

impl Service {
    pub(crate) fn new(db: Db, users: Arc<dyn Users>) -> Self {
        Self { db, users }
    }

    /// A ticket for the calling session.
    pub async fn issue(&self, caller: &Caller) -> Result<Secret<String>> {
        let principal = caller.principal()?;
        let whose = (principal.user, principal.session);
        let token = Token::new(self.db.world());
        let hash = token.hash;
        self.db
            .run("ticket.issue", |tx| async move {
                store::insert(&tx, hash, whose, tx.now() + LIFETIME).await
            })
            .await?;
        Ok(token.text)
    }

    /// Uses a ticket up, and answers who is on the session that it was given to.
    ///
    /// # Errors
    /// `Unauthenticated` `invalid_ticket`, the same whether it never was one, was used or is too
    /// old; `session_ended`, `session_expired`.
    pub async fn redeem(&self, ticket: &str) -> Result<Arc<Principal>> {
        let invalid = || {
            let message = "The ticket is not one of ours, was used, or is older than 30 seconds. \
                           Ask for a new one with POST /v1/ws/ticket.";
            Error::unauthenticated("invalid_ticket", message)
        };
        if ticket.is_empty() || ticket.len() > TEXT_MAX {
            return Err(invalid());
        }
        let hash = sha256(ticket);
        let whose =
            self.db.run("ticket.redeem", |tx| async move { store::take(&tx, hash).await }).await?;
        let (user, session) = whose.ok_or_else(invalid)?;
        self.users.session(user, session).await
    }

    /// Forgets what nobody can use any more; answers how many.
    pub(super) async fn sweep(&self) -> Result<u64> {
        let mut swept = 0;
        loop {
            let batch = self.db.run("ticket.sweep", |tx| async move { store::sweep(&tx).await });
            match batch.await? {
                0 => return Ok(swept),
                some => swept += some,
            }
        }
    }
}
