//! The older APIs' verbs, each one of ours.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Principal, Result, Secret};
use platform::db::Db;

use super::model::{OrderRole, Policy, Registration};
use crate::account::{self, Account};
use crate::closing;
use crate::session::{self, Login, SignedIn};
use crate::token::Wish;

/// How long the file API's tokens live. It knows of no refresh, and says a day; as all tokens
/// they are worth something only while their session lives.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Which of the two APIs is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Orders,
    Files,
}

impl Dialect {
    const fn wish(self) -> Wish {
        match self {
            Self::Orders => Wish { format: crate::token::Format::Jwt, lifetime: None },
            Self::Files => Wish { format: crate::token::Format::Jwt, lifetime: Some(DAY) },
        }
    }

    /// The order API hands out the session's opaque token as well.
    const fn has_cookie(self) -> bool {
        matches!(self, Self::Orders)
    }
}

/// The older APIs.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) accounts: Arc<account::Service>,
    pub(crate) sessions: Arc<session::Service>,
    pub(crate) closing: Arc<closing::Service>,
    pub(crate) policy: Policy,
}

/// What `/api/users/ext` tells.
pub(super) struct Extract {
    pub(super) user: Id<User>,
    pub(super) role: String,
    pub(super) token: Secret<String>,
}

impl Service {
    pub(super) fn sessions(&self) -> &session::Service {
        &self.sessions
    }

    /// Registers; whoever registered, signed in, or nothing where they have to look into their
    /// mail first.
    ///
    /// # Errors
    /// `Conflict` `email_taken`, of who would be signed in at once; `Limited`.
    pub(super) async fn register(
        &self,
        caller: &Caller,
        registration: &account::Registration,
        role: Option<OrderRole>,
        dialect: Dialect,
    ) -> Result<Option<SignedIn>> {
        let role: Vec<&str> = role.iter().map(|role| role.as_str()).collect();
        match self.policy.registration {
            Registration::Confirmed => {
                self.accounts.register_tagged(caller, registration, &role).await?;
                Ok(None)
            }
            Registration::Immediate => {
                let (has_cookie, wish) = (dialect.has_cookie(), dialect.wish());
                let entered =
                    self.accounts.enter(caller, registration, &role, has_cookie, wish).await?;
                Ok(Some(entered))
            }
        }
    }

    /// Signs in, as at `/v1/auth/login`.
    pub(super) async fn login(
        &self,
        caller: &Caller,
        login: Login,
        dialect: Dialect,
    ) -> Result<SignedIn> {
        let login = Login {
            cookie: dialect.has_cookie(),
            token: dialect.wish(),
            unproved: self.policy.registration == Registration::Immediate,
            ..login
        };
        self.sessions.login(caller, &login).await
    }

    /// What the caller's token says, and the token: the one that was presented or issued in its
    /// place, or a new one for whoever showed a cookie only.
    pub(super) async fn extract(
        &self,
        caller: &Caller,
        token: Option<Secret<String>>,
    ) -> Result<Extract> {
        let principal = caller.principal()?;
        let token = match token {
            Some(token) => token,
            None => self.sessions.token_for(caller, Dialect::Orders.wish()).await?,
        };
        let role = self.role_of(principal).await?;
        Ok(Extract { user: principal.user, role, token })
    }

    /// What the order API calls somebody.
    pub(crate) async fn role_of(&self, principal: &Principal) -> Result<String> {
        let tags = account::store::tags(&self.db, principal.user).await?;
        let role = OrderRole::ALL.into_iter().map(OrderRole::as_str);
        let role = role.into_iter().find(|role| tags.iter().any(|tag| tag == role));
        Ok(role.unwrap_or(principal.role.as_str()).to_owned())
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// `NotFound` where tokens in addresses are not taken; `Unauthenticated`.
    pub(super) async fn user_of(&self, token: &str) -> Result<Id<User>> {
        if !self.policy.token_in_path {
            return Err(Error::not_found("page"));
        }
        Ok(self.sessions.authenticate(token).await?.user)
    }

    /// The caller's account.
    pub(super) async fn me(&self, caller: &Caller) -> Result<Account> {
        self.accounts.get(caller.user()?).await
    }

    /// Closes an account, as `DELETE /v1/me` and `DELETE /v1/users/{id}` do. There is no room for
    /// a password here: one's own account is closed by a session that was proved a moment ago.
    ///
    /// # Errors
    /// `NotFound`: not the caller's, who is no admin; else as [`closing::Service`] refuses. A
    /// refused caller stays signed in.
    pub(super) async fn delete(&self, caller: &Caller, user: Id<User>) -> Result<()> {
        if caller.user()? == user {
            self.closing.close_own(caller, None).await?;
        } else if caller.is_admin() {
            self.closing.close_other(caller, user).await?;
        } else {
            return Err(Error::not_found("user"));
        }
        Ok(())
    }
}
