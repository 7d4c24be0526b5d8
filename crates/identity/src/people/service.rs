//! What admins do with people.

use std::sync::Arc;

use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{Caller, Error, Id, Page, PageRequest, Result, Role, Secret};
use platform::crypto::sha256;
use platform::db::{Db, Tx};
use platform::journal::Fact;

use super::model::NewPerson;
use super::rules::{self, Refusal};
use super::store;
use crate::account::{
    self, Account, Filter, ProfileChange, SET_PASSWORD, changed_meanwhile, store as accounts,
    token_spent,
};
use crate::password::{Hasher, Password};
use crate::session::{self, Reason, Session};
use crate::setup::{self, SetupLink};

/// The verbs of administering people.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) accounts: Arc<account::Service>,
    pub(crate) sessions: Arc<session::Service>,
    pub(crate) setup: Arc<setup::Service>,
}

impl Service {
    /// Accounts, as the filter orders them.
    pub async fn list(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Account>> {
        self.accounts.list(filter, page).await
    }

    /// Makes an account and mails its owner a link to set a password with.
    ///
    /// # Errors
    /// A field error `taken` on `/email`.
    pub async fn create(&self, caller: &Caller, new: &NewPerson) -> Result<Account> {
        let id = self
            .db
            .once(caller, "user.create", |tx| async move {
                let id = tx.world().id::<User>();
                let NewPerson { name, email, role, approved } = new;
                let row = accounts::New {
                    id,
                    email,
                    name,
                    role: *role,
                    approved: *approved,
                    email_verified_at: None,
                    password: None,
                };
                if !accounts::insert(&tx, &row).await? {
                    let message = "there is an account with this address";
                    return Err(Error::field("/email", "taken", message));
                }
                accounts::add_tags(&tx, id, &[accounts::INVITED]).await?;
                self.accounts.invite_in(&tx, id, email.shown()).await?;
                let fact = Fact::by(caller, "user.created").on(id).about(id);
                tx.record(fact.with("role", role).with("approved", approved));
                Ok(id)
            })
            .await?;
        self.accounts.get(id).await
    }

    /// Sends the link to set a password once more; the one before no longer works.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `has_password`, `wrong_state`.
    pub async fn invite(&self, caller: &Caller, id: Id<User>) -> Result<()> {
        self.db
            .run("user.invite", |tx| async move {
                let account = accounts::get(&tx, id).await?;
                rules::may_invite(&account)?;
                self.accounts.invite_in(&tx, id, account.email.shown()).await?;
                tx.record(Fact::by(caller, "user.invited").on(id).about(id));
                Ok(())
            })
            .await
    }

    /// Sets the first password with the token from the mail, which proves the address too.
    ///
    /// # Errors
    /// `Gone` `token_spent`; a field error on `/password`, with which the token still works.
    pub async fn set_password(
        &self,
        caller: &Caller,
        token: &str,
        password: Secret<String>,
    ) -> Result<()> {
        let hash = sha256(token);
        // Nobody makes us hash with a link that does not work.
        let now = self.db.world().now();
        let owner = store::token_owner(&self.db, &hash, SET_PASSWORD, now).await?;
        let account = accounts::get(&self.db, owner.ok_or_else(token_spent)?).await?;
        let password = Password::parse("/password", password, account.email.as_str())?;
        let password = &self.hasher.on_behalf_of(caller).hash(&password).await?;
        self.db
            .run("user.set_password", |tx| async move {
                let used = accounts::use_token(&tx, &hash, SET_PASSWORD).await?;
                let user = used.ok_or_else(token_spent)?;
                if !store::set_first_password(&tx, user, password).await? {
                    return Err(token_spent());
                }
                let account = accounts::get(&tx, user).await?;
                let fact = Fact::by(caller, "user.password_set").acted_by(user, account.role);
                tx.record(fact.on(user).about(user));
                self.sessions.forget_after(&tx, user);
                Ok(())
            })
            .await
    }

    /// An account, for its owner or an admin.
    ///
    /// # Errors
    /// `NotFound`, also for somebody else's.
    pub async fn get(&self, caller: &Caller, id: Id<User>) -> Result<Account> {
        self.check_sees(caller, id)?;
        self.accounts.get(id).await
    }

    pub(crate) fn check_sees(&self, caller: &Caller, id: Id<User>) -> Result<()> {
        caller.principal()?;
        if rules::may_see(caller, id) { Ok(()) } else { Err(Error::not_found("user")) }
    }

    /// Changes name, picture or preferences, for the account's owner or an admin.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `changed_meanwhile`, `wrong_state`.
    pub async fn change(
        &self,
        caller: &Caller,
        id: Id<User>,
        change: &ProfileChange,
    ) -> Result<Account> {
        let account = self.get(caller, id).await?;
        if account.status == rpc::users::Status::Closed {
            return Err(Refusal::WrongStatus(account.status).into());
        }
        self.accounts.change_profile_of(caller, id, change).await
    }

    /// The live sessions of an account, newest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn sessions(&self, id: Id<User>, page: &PageRequest) -> Result<Page<Session>> {
        self.accounts.get(id).await?;
        self.sessions.list(id, page).await
    }

    /// Signs a user out on one device.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn end_session(
        &self,
        caller: &Caller,
        id: Id<User>,
        session: Id<SessionKind>,
    ) -> Result<()> {
        self.db
            .run("session.end", |tx| async move {
                if !self.sessions.end_in(&tx, id, session, Reason::Admin).await? {
                    return Err(Error::not_found("session"));
                }
                let fact = Fact::by(caller, "session.ended").on(session).about(id);
                tx.record(fact.with("reason", Reason::Admin.as_str()));
                Ok(())
            })
            .await
    }

    /// Signs a user out everywhere; answers on how many devices that was.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn end_sessions(&self, caller: &Caller, id: Id<User>) -> Result<usize> {
        self.db
            .run("session.end_all", |tx| async move {
                accounts::get(&tx, id).await?;
                let ended = self.sessions.end_all_in(&tx, id, Reason::Admin, None).await?;
                let fact = Fact::by(caller, "session.ended").on(id).about(id);
                let fact = fact.with("reason", Reason::Admin.as_str());
                tx.record(fact.with("sessions", &ended));
                Ok(ended.len())
            })
            .await
    }

    /// A one-time link that makes another admin.
    pub async fn invite_admin(&self, caller: &Caller) -> Result<SetupLink> {
        self.setup.create_link(caller).await
    }

    /// Makes a user an admin. Their sessions end: they were of another role.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `already_admin`, `wrong_role`, `wrong_state`,
    /// `email_not_verified`, `changed_meanwhile`.
    pub async fn grant_admin(&self, caller: &Caller, id: Id<User>) -> Result<Account> {
        self.db
            .run("user.grant_admin", |tx| async move {
                store::touch_roster(&tx).await?;
                let account = accounts::get(&tx, id).await?;
                rules::may_become_admin(&account)?;
                self.change_role(&tx, caller, &account, Role::Admin, "user.admin_granted").await
            })
            .await
    }

    /// Makes an admin a user again.
    ///
    /// # Errors
    /// `NotFound` where there is no such admin; `Conflict` `last_admin`, `changed_meanwhile`.
    pub async fn revoke_admin(&self, caller: &Caller, id: Id<User>) -> Result<Account> {
        self.db
            .run("user.revoke_admin", |tx| async move {
                let account = accounts::get(&tx, id).await?;
                if account.role != Role::Admin {
                    return Err(Error::not_found("admin"));
                }
                leave_an_admin(&tx, id).await?;
                let verb = "user.admin_revoked";
                let account = self.change_role(&tx, caller, &account, Role::User, verb).await?;
                // One that begins meanwhile waits for the role, and is refused.
                self.sessions.end_impersonations_in(&tx, id, Reason::Locked).await?;
                Ok(account)
            })
            .await
    }

    async fn change_role(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        role: Role,
        verb: &'static str,
    ) -> Result<Account> {
        if !store::set_role(tx, account, role).await? {
            return Err(changed_meanwhile());
        }
        let ended = self.sessions.end_all_in(tx, account.id, Reason::Locked, None).await?;
        let fact = Fact::by(caller, verb).on(account.id).about(account.id);
        tx.record(fact.with("role", role).with("sessionsEnded", ended.len()));
        accounts::get(tx, account.id).await
    }
}

/// Sees to it that there is an admin besides this account. From here to the end of the
/// transaction nobody else changes who is one.
///
/// # Errors
/// `Conflict` `last_admin`.
pub(crate) async fn leave_an_admin(tx: &Tx, id: Id<User>) -> Result<()> {
    store::touch_roster(tx).await?;
    if store::has_other_admin(tx, id).await? { Ok(()) } else { Err(Refusal::LastAdmin.into()) }
}
