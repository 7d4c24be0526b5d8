//! Starting and ending.

use std::sync::Arc;

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Level, Result, Role};
use platform::db::Db;
use platform::journal::Fact;
use rpc::users::Status;

use super::rules::{self, Reason};
use super::store;
use crate::account::store as accounts;
use crate::session::{self, Method, Proof, SignedIn};

/// The verbs of impersonation.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) sessions: Arc<session::Service>,
}

/// What the admin shows from now on to be seen as the user: the access token of it counts, the
/// refresh token is given to nobody.
#[derive(Debug)]
pub struct Started(pub SignedIn);

impl Service {
    /// Starts a session in a user's name.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `admin_protected`; `Conflict` `wrong_state`.
    pub async fn start(&self, caller: &Caller, user: Id<User>, reason: &Reason) -> Result<Started> {
        let admin = caller.principal()?;
        if !caller.is_admin() || admin.impersonator.is_some() {
            return Err(for_admins());
        }
        let proof = &Proof {
            level: Level::One,
            methods: vec![Method::Impersonation],
            impersonator: Some(admin.user),
        };
        let (account, session) = self
            .db
            .run("user.impersonate", |tx| async move {
                accounts::touch(&tx, admin.user).await?;
                let asking = accounts::get(&tx, admin.user).await?;
                if (asking.role, asking.status) != (Role::Admin, Status::Active) {
                    return Err(for_admins());
                }
                accounts::touch(&tx, user).await?;
                let account = accounts::get(&tx, user).await?;
                rules::may_be_looked_through(&account)?;
                let session =
                    self.sessions.start_in(&tx, caller, &account, proof.clone(), None).await?;
                store::insert(&tx, &session, reason).await?;
                let fact = Fact::by(caller, "user.impersonated").on(user).about(user);
                tx.record(fact.with("session", session.id));
                Ok((account, session))
            })
            .await?;
        Ok(Started(self.sessions.signed_in(account, &session, None).await?))
    }

    /// Ends the calling session, when it is one in somebody's name; for an admin on their own
    /// session, all that they have in other people's names. Answers how many ended.
    ///
    /// # Errors
    /// `Conflict` `not_impersonating`.
    pub async fn end(&self, caller: &Caller) -> Result<usize> {
        let principal = caller.principal()?;
        let reason = session::Reason::Logout;
        if principal.impersonator.is_some() {
            let ended = self.sessions.logout(caller).await;
            return ended.map(|()| 1);
        }
        if !caller.is_admin() {
            let message = "Nobody is looking at the platform through this session.";
            return Err(Error::conflict("not_impersonating", message));
        }
        let admin = principal.user;
        self.db
            .run("user.end_impersonation", |tx| async move {
                let ended = self.sessions.end_impersonations_in(&tx, admin, reason).await?;
                for (session, user) in &ended {
                    let fact = Fact::by(caller, "session.ended").on(session).about(*user);
                    tx.record(fact.with("reason", reason.as_str()));
                }
                Ok(ended.len())
            })
            .await
    }
}

fn for_admins() -> Error {
    Error::forbidden("forbidden", "This is for admins.")
}
