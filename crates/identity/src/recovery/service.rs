//! Links for lost passwords, and passwords set anew.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Caller, Result, Secret};
use platform::crypto::{Token, sha256};
use platform::db::{Db, Tx};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;
use platform::limits::{Ask, Limiter, Quota, Subject};
use platform::mail::{Letter, Mailer};

use super::jobs::ForgotPassword;
use super::letters;
use super::rules::{self, Refusal};
use crate::PublicUrl;
use crate::account::{self, Account, Email};
use crate::asked::Asked;
use crate::password::{Hasher, Password};
use crate::session::{self, Proven, Reason};

/// How long a link works.
const LIFETIME: Duration = Duration::from_secs(3600);
const PURPOSE: &str = "reset_password";

/// Links to one address. It counts requests, not accounts, so that it tells nothing either.
const LINKS: (&str, Quota) =
    ("identity.forgot_password", Quota { burst: 4, every: Duration::from_secs(10 * 60) });
/// Guesses at the current password by whoever holds a session.
const GUESSES: (&str, Quota) =
    ("identity.change_password", Quota { burst: 10, every: Duration::from_secs(60) });

/// The verbs of recovery.
pub struct Service {
    db: Db,
    mailer: Mailer,
    limiter: Arc<Limiter>,
    hasher: Arc<Hasher>,
    accounts: Arc<account::Service>,
    sessions: Arc<session::Service>,
    public_url: PublicUrl,
}

impl Service {
    pub(crate) fn new(
        db: Db,
        mailer: Mailer,
        limiter: Arc<Limiter>,
        hasher: Arc<Hasher>,
        accounts: Arc<account::Service>,
        sessions: Arc<session::Service>,
        public_url: PublicUrl,
    ) -> Self {
        Self { db, mailer, limiter, hasher, accounts, sessions, public_url }
    }

    /// Sends a link with which a new password can be set, where the address has an account; tells
    /// the caller nothing either way. For every address alike this is one transaction that adds
    /// one job.
    pub async fn forgot_password(&self, caller: &Caller, email: &Email) -> Result<()> {
        let (class, quota) = LINKS;
        let link = Ask { class, subject: Subject::Text(email.as_str()), quota };
        if !self.limiter.charge(&[link], self.db.world().now()).await?.allowed {
            return Ok(());
        }
        let job = NewJob::new(&ForgotPassword(Asked::new(caller, email)))?;
        self.db
            .run("user.forgot_password", |tx| {
                let job = job.clone();
                async move {
                    tx.enqueue(job);
                    Ok(())
                }
            })
            .await
    }

    /// The job behind [`Service::forgot_password`].
    pub(super) async fn send_link(&self, asked: &Asked, run: &Run) -> Result<()> {
        let email = &Email::parse(&asked.email)?;
        self.db
            .run("user.send_reset_link", |tx| async move {
                let account = account::store::by_email(&tx, email).await?;
                if let Some(account) = account.filter(|found| rules::may_recover(found.status)) {
                    let token = Token::new(tx.world());
                    let until = tx.now() + LIFETIME;
                    account::store::insert_token(&tx, &token.hash, account.id, PURPOSE, until)
                        .await?;
                    let link = self.public_url.link_with_token("/reset-password", &token);
                    let letter = letters::reset_password(&link);
                    self.write(&tx, &account, letters::RESET_PASSWORD, &letter)?;
                    tx.record(
                        Fact::by(&asked.caller(), "user.password_forgotten")
                            .on(account.id)
                            .about(account.id),
                    );
                }
                run.done_in(&tx).await
            })
            .await
    }

    /// Sets a new password with the token of a link. All sessions end, and the address is proved.
    /// Where somebody was let in on the account before that, the password is of a new account.
    ///
    /// # Errors
    /// `Gone` `token_spent`; a field error on `/newPassword`, in which case the link still works;
    /// `Unavailable` when too many passwords are hashed at once.
    pub async fn reset_password(
        &self,
        caller: &Caller,
        token: &str,
        password: Secret<String>,
    ) -> Result<()> {
        let hash = sha256(token);
        // Nobody makes us hash with a link that does not work.
        let now = self.db.world().now();
        let holder = account::store::token_holder(&self.db, &hash, PURPOSE, now).await?;
        let holder = holder.filter(|holder| rules::may_recover(holder.status));
        let holder = holder.ok_or(Refusal::LinkSpent)?;
        let password = Password::parse("/newPassword", password, holder.email.as_str())?;
        let stored = &self.hasher.on_behalf_of(caller).hash(&password).await?;
        self.db
            .run("user.reset_password", |tx| async move {
                let user = account::store::use_token(&tx, &hash, PURPOSE).await?;
                let account = account::store::get(&tx, user.ok_or(Refusal::LinkSpent)?).await?;
                if !rules::may_recover(account.status) {
                    return Err(Refusal::LinkSpent.into());
                }
                if self.accounts.begin_anew_in(&tx, caller, &account, stored).await? {
                    return self.close(&tx, &account).await;
                }
                if !account::store::set_password(&tx, &account, stored).await? {
                    return Err(Refusal::ChangedMeanwhile.into());
                }
                let by = |verb| {
                    Fact::by(caller, verb)
                        .acted_by(account.id, account.role)
                        .on(account.id)
                        .about(account.id)
                        .with("role", account.role)
                };
                if account::store::set_email_verified(&tx, account.id).await? {
                    tx.record(by("user.email_verified"));
                }
                let ended = self
                    .sessions
                    .end_all_in(&tx, account.id, Reason::PasswordChanged, None)
                    .await?;
                tx.record(by("user.password_reset").with("sessionsEnded", ended.len()));
                self.close(&tx, &account).await
            })
            .await
    }

    /// Sets a new password for whoever knows the current one; all other sessions end, and the calling
    /// one is renewed: what has shown it so far may be in hands that knew the old one.
    ///
    /// # Errors
    /// Field errors on `/currentPassword` and `/newPassword`; `Conflict` `no_password`,
    /// `changed_meanwhile`; `Forbidden` `impersonating`; `Limited` after too many wrong ones;
    /// `Unavailable` when too many passwords are hashed at once.
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: &Password,
        password: Secret<String>,
    ) -> Result<Proven> {
        let principal = caller.principal()?;
        if principal.impersonator.is_some() {
            return Err(Refusal::Impersonating.into());
        }
        let account = &account::store::get(&self.db, principal.user).await?;
        let password = Password::parse("/newPassword", password, account.email.as_str())?;
        self.check_current(caller, current, account).await?;
        let stored = &self.hasher.on_behalf_of(caller).hash(&password).await?;
        let session = principal.session;
        let renewed = self
            .db
            .run("user.change_password", |tx| async move {
                if !account::store::set_password(&tx, account, stored).await? {
                    return Err(Refusal::ChangedMeanwhile.into());
                }
                let ended = self
                    .sessions
                    .end_all_in(&tx, account.id, Reason::PasswordChanged, Some(session))
                    .await?;
                tx.record(
                    Fact::by(caller, "user.password_changed")
                        .on(account.id)
                        .about(account.id)
                        .with("sessionsEnded", ended.len()),
                );
                self.close(&tx, account).await?;
                self.sessions.renew_current_in(&tx, caller).await
            })
            .await?;
        self.sessions.proven(renewed).await
    }

    pub(super) fn sessions(&self) -> &session::Service {
        &self.sessions
    }

    /// Counted before it is checked, so that many guesses at once are counted as many.
    async fn check_current(
        &self,
        caller: &Caller,
        current: &Password,
        account: &Account,
    ) -> Result<()> {
        let (class, quota) = GUESSES;
        let guess = [Ask { class, subject: Subject::Id(account.id.uuid()), quota }];
        self.limiter.charge(&guess, self.db.world().now()).await?.check()?;
        let stored = account.password.as_ref().ok_or(Refusal::NoPassword)?;
        if !self.hasher.on_behalf_of(caller).verify(current, Some(stored)).await? {
            return Err(Refusal::WrongPassword.into());
        }
        self.limiter.refund(&guess);
        Ok(())
    }

    /// What every new password brings with it: no link outlives it, and its owner is told.
    async fn close(&self, tx: &Tx, account: &Account) -> Result<()> {
        account::store::drop_tokens(tx, account.id, PURPOSE).await?;
        account::store::drop_tokens(tx, account.id, account::CHANGE_EMAIL).await?;
        let letter = letters::password_changed(&self.public_url.link("/forgot-password"));
        self.write(tx, account, letters::PASSWORD_CHANGED, &letter)
    }

    fn write(
        &self,
        tx: &Tx,
        account: &Account,
        template: &'static str,
        letter: &Letter,
    ) -> Result<()> {
        self.mailer.send(tx, account.email.shown(), template, letter).map(drop)
    }
}
