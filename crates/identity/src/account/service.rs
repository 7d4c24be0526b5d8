//! What is done with accounts.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Page, PageRequest, Result, Role};
use platform::crypto::{Token, sha256};
use platform::db::{Db, Tx};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;
use platform::limits::{Limiter, Quota, Subject};
use platform::mail::Mailer;
use rpc::users::{Profile, Status};

use super::jobs::ResendVerification;
use super::model::{Account, Email, Filter, ProfileChange, Registration};
use super::rules::{self, Command, Standing};
use super::{letters, store};
use crate::PublicUrl;
use crate::asked::Asked;
use crate::password::Hasher;
use crate::session::{self, Reason};

/// How long a link in a verification mail works.
const VERIFY_LIFETIME: Duration = Duration::from_secs(24 * 3600);
const VERIFY_EMAIL: &str = "verify_email";

/// Mails to one address that anybody can cause.
const MAILS: (&str, Quota) =
    ("identity.mail", Quota { burst: 4, every: Duration::from_secs(10 * 60) });

/// The verbs of accounts.
pub struct Service {
    db: Db,
    mailer: Mailer,
    limiter: Arc<Limiter>,
    hasher: Arc<Hasher>,
    sessions: Arc<session::Service>,
    public_url: PublicUrl,
}

impl Service {
    pub(crate) fn new(
        db: Db,
        mailer: Mailer,
        limiter: Arc<Limiter>,
        hasher: Arc<Hasher>,
        sessions: Arc<session::Service>,
        public_url: PublicUrl,
    ) -> Self {
        Self { db, mailer, limiter, hasher, sessions, public_url }
    }

    /// Registers an account and sends the mail that proves its address. Where the address has an
    /// account already, its owner is told by mail and the caller gets the same answer, after the
    /// same work.
    ///
    /// # Errors
    /// A field error on `/role` for a role that cannot register.
    pub async fn register(&self, caller: &Caller, registration: &Registration) -> Result<()> {
        if !rules::may_register_as(registration.role) {
            return Err(Error::field("/role", "not_allowed", "one of user, verifier, enterprise"));
        }
        let password = self.hasher.on_behalf_of(caller).hash(&registration.password).await?;
        if !self.may_mail(&registration.email) {
            return Ok(());
        }
        let Registration { name, email, role, .. } = registration;
        let (role, approved) = (*role, rules::starts_approved(*role));
        self.db
            .run("user.register", |tx| {
                let id = tx.world().id::<User>();
                let new = store::New {
                    id,
                    email,
                    name,
                    role,
                    approved,
                    email_verified_at: None,
                    password: &password,
                };
                async move { self.register_in(&tx, caller, new).await }
            })
            .await
    }

    async fn register_in(&self, tx: &Tx, caller: &Caller, mut new: store::New<'_>) -> Result<()> {
        if !store::insert(tx, &new).await? {
            let Some(account) = store::by_email(tx, new.email).await? else {
                return Err(Error::internal("an address is taken and has no account"));
            };
            new.id = account.id;
            if !store::take_over(tx, &new).await? {
                let letter = letters::address_taken(&self.public_url.link("/sign-in"));
                let to = account.email.shown();
                self.mailer.send(tx, to, letters::ADDRESS_TAKEN, &letter)?;
                return Ok(());
            }
            store::drop_tokens(tx, account.id, VERIFY_EMAIL).await?;
        }
        self.send_verification(tx, new.id, new.email).await?;
        tx.record(
            Fact::by(caller, "user.registered")
                .acted_by(new.id, new.role)
                .on(new.id)
                .about(new.id)
                .with("role", new.role)
                .with("approved", new.approved),
        );
        Ok(())
    }

    async fn send_verification(&self, tx: &Tx, id: Id<User>, email: &Email) -> Result<()> {
        let token = Token::new(tx.world());
        let expires_at = tx.now() + VERIFY_LIFETIME;
        store::insert_token(tx, &token.hash, id, VERIFY_EMAIL, expires_at).await?;
        let link = self.public_url.link_with_token("/verify-email", &token);
        let letter = letters::verify_email(&link);
        self.mailer.send(tx, email.shown(), letters::VERIFY_EMAIL, &letter)?;
        Ok(())
    }

    fn may_mail(&self, email: &Email) -> bool {
        let (class, quota) = MAILS;
        let now = self.db.world().now();
        self.limiter.take(class, Subject::Text(email.as_str()), quota, now).allowed
    }

    /// Proves an address with the token from the mail. The token works once.
    ///
    /// # Errors
    /// `Gone` `token_spent`: used, expired, or never given out.
    pub async fn verify_email(&self, caller: &Caller, token: &str) -> Result<()> {
        let hash = sha256(token);
        self.db
            .run("user.verify_email", |tx| async move {
                let user = store::use_token(&tx, &hash, VERIFY_EMAIL).await?;
                let user = user.ok_or_else(token_spent)?;
                if !store::set_email_verified(&tx, user).await? {
                    return Err(token_spent());
                }
                store::drop_tokens(&tx, user, VERIFY_EMAIL).await?;
                let account = store::get(&tx, user).await?;
                tx.record(
                    Fact::by(caller, "user.email_verified")
                        .acted_by(user, account.role)
                        .on(user)
                        .about(user)
                        .with("role", account.role),
                );
                self.sessions.forget_after(&tx, user);
                Ok(())
            })
            .await
    }

    /// Sends the verification mail once more, where there is an account to verify; tells the
    /// caller nothing either way. For every address alike this is one transaction that adds one
    /// job.
    pub async fn resend_verification(&self, caller: &Caller, email: &Email) -> Result<()> {
        if !self.may_mail(email) {
            return Ok(());
        }
        let job = NewJob::new(&ResendVerification(Asked::new(caller, email)))?;
        self.db
            .run("user.resend_verification", |tx| {
                let job = job.clone();
                async move {
                    tx.enqueue(job);
                    Ok(())
                }
            })
            .await
    }

    /// The job behind [`Service::resend_verification`].
    pub(super) async fn resend_now(&self, asked: &Asked, run: &Run) -> Result<()> {
        let email = &Email::parse(&asked.email)?;
        self.db
            .run("user.send_verification", |tx| async move {
                let account = store::by_email(&tx, email).await?;
                let waits = |account: &Account| {
                    account.email_verified_at.is_none() && account.status == Status::Active
                };
                if let Some(account) = account.filter(waits) {
                    self.send_verification(&tx, account.id, &account.email).await?;
                    tx.record(
                        Fact::by(&asked.caller(), "user.verification_resent")
                            .on(account.id)
                            .about(account.id),
                    );
                }
                run.done_in(&tx).await
            })
            .await
    }

    /// The body of `GET /v1/me`.
    pub async fn me(&self, caller: &Caller) -> Result<bytes::Bytes> {
        self.sessions.me(caller).await
    }

    /// An account, for its owner or an admin.
    pub async fn get(&self, id: Id<User>) -> Result<Account> {
        store::get(&self.db, id).await
    }

    /// What others may know of an account.
    pub async fn profile(&self, id: Id<User>) -> Result<Profile> {
        Ok(store::get(&self.db, id).await?.profile())
    }

    /// Several profiles, in the order asked for; those that do not exist are left out.
    pub async fn profiles(&self, ids: &[Id<User>]) -> Result<Vec<Profile>> {
        let found = store::many(&self.db, ids).await?;
        let by_id: std::collections::HashMap<_, _> =
            found.iter().map(|account| (account.id, account)).collect();
        Ok(ids.iter().filter_map(|id| by_id.get(id)).map(|account| account.profile()).collect())
    }

    /// Accounts for an admin, newest first.
    pub async fn list(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Account>> {
        store::list(&self.db, filter, page).await
    }

    /// What an admin decides about an account. Leaving `active` ends all of its sessions.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` `admin_protected`; `Conflict` `wrong_state`, `needs_no_approval`,
    /// `changed_meanwhile`.
    pub async fn command(
        &self,
        caller: &Caller,
        id: Id<User>,
        command: Command,
    ) -> Result<Account> {
        self.db
            .run("user.command", |tx| async move {
                let account = store::get(&tx, id).await?;
                let Account { role, status, approved, .. } = account;
                let standing = rules::step(Standing { role, status, approved }, command)?;
                if !store::set_standing(&tx, &account, standing).await? {
                    return Err(changed_meanwhile());
                }
                let mut fact = Fact::by(caller, command.fact())
                    .on(id)
                    .about(id)
                    .with("role", role)
                    .with("status", standing.status);
                if standing.status != Status::Active && status == Status::Active {
                    let ended = self.sessions.end_all_in(&tx, id, Reason::Locked, None).await?;
                    fact = fact.with("sessionsEnded", ended.len());
                }
                tx.record(fact);
                self.sessions.forget_after(&tx, id);
                store::get(&tx, id).await
            })
            .await
    }

    /// What an owner changes about their account.
    ///
    /// # Errors
    /// `Conflict` `changed_meanwhile`.
    pub async fn change_profile(&self, caller: &Caller, change: &ProfileChange) -> Result<Account> {
        let user = caller.user()?;
        self.db
            .run("user.change_profile", |tx| async move {
                let account = store::get(&tx, user).await?;
                if !store::set_profile(&tx, &account, change).await? {
                    return Err(changed_meanwhile());
                }
                let changed: Vec<&str> = [
                    (change.name.is_some(), "name"),
                    (change.avatar.is_some(), "avatar"),
                    (change.preferences.is_some(), "preferences"),
                ]
                .into_iter()
                .filter_map(|(changed, field)| changed.then_some(field))
                .collect();
                tx.record(
                    Fact::by(caller, "user.profile_changed")
                        .on(user)
                        .about(user)
                        .with("fields", changed),
                );
                self.sessions.forget_after(&tx, user);
                store::get(&tx, user).await
            })
            .await
    }

    /// Forgets mail tokens whose time is over.
    pub async fn sweep_tokens(&self) -> Result<()> {
        self.db
            .run("user.sweep_tokens", |tx| async move { store::sweep_tokens(&tx).await.map(drop) })
            .await
    }
}

/// Makes an account that needs no proof of its address: what a set-up link is for.
pub(crate) async fn create_admin(
    tx: &Tx,
    registration: &Registration,
    password: &crate::password::Phc,
) -> Result<Id<User>> {
    let id = tx.world().id::<User>();
    let new = store::New {
        id,
        email: &registration.email,
        name: &registration.name,
        role: Role::Admin,
        approved: true,
        email_verified_at: Some(tx.now()),
        password,
    };
    if store::insert(tx, &new).await? {
        return Ok(id);
    }
    Err(Error::field("/email", "taken", "there is an account with this address"))
}

fn token_spent() -> Error {
    Error::gone("token_spent", "This link was used or has expired. Ask for a new one.")
}

fn changed_meanwhile() -> Error {
    Error::conflict("changed_meanwhile", "The account was changed at the same time. Try again.")
}
