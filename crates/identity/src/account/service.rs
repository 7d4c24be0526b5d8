//! What is done with accounts.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Page, PageRequest, Result, Role};
use platform::crypto::{Token, sha256};
use platform::db::{Db, Tx};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;
use platform::limits::{Ask, Decision, Limiter, Quota, Subject};
use platform::live::Live;
use platform::mail::Mailer;
use rpc::users::{Profile, Status};

use super::jobs::ResendVerification;
use super::model::{Account, Email, Filter, Name, ProfileChange, Registration};
use super::rules::{self, Command, Standing};
use super::{letters, store};
use crate::asked::Asked;
use crate::closing;
use crate::password::{Hasher, Password, Phc};
use crate::people::letters as invitation;
use crate::session::{self, Proof, Proven, Reason, SignedIn};
use crate::token::Wish;
use crate::{PublicUrl, handle, holding};

/// How long a link in a verification mail works.
const VERIFY_LIFETIME: Duration = Duration::from_secs(24 * 3600);
const VERIFY_EMAIL: &str = "verify_email";
/// How long a link to set the first password works.
const SET_PASSWORD_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
pub(crate) const SET_PASSWORD: &str = "set_password";
/// The tag of accounts that were signed in before their address was proved.
const ENTERED: &str = "entered_unproved";
/// The tag of unproved accounts that were registered here more than once: nobody can tell whose the
/// password is.
const CONTESTED: &str = "registered_again";

/// Mails to one address that anybody can cause.
const MAILS: (&str, Quota) =
    ("identity.mail", Quota { burst: 4, every: Duration::from_secs(10 * 60) });

/// What came of a link that proves an address.
#[derive(Debug)]
pub struct EmailProved {
    /// Whether one can sign in with the password of the registration. It is void where the address
    /// was registered more than once and whoever came by the link has not shown it.
    pub has_password: bool,
    /// The calling session of the account, renewed.
    pub session: Option<Proven>,
}

/// The verbs of accounts.
pub struct Service {
    pub(super) db: Db,
    pub(super) mailer: Mailer,
    limiter: Arc<Limiter>,
    hasher: Arc<Hasher>,
    pub(super) sessions: Arc<session::Service>,
    pub(super) public_url: PublicUrl,
    policy: Policy,
}

/// How accounts behave.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How long what is held stays after an account was closed.
    pub closing: closing::Policy,
    /// Whether people may make accounts by themselves. Admins make them all the same.
    pub registration_open: Live<bool>,
}

impl Service {
    pub(crate) fn new(
        db: Db,
        mailer: Mailer,
        limiter: Arc<Limiter>,
        hasher: Arc<Hasher>,
        sessions: Arc<session::Service>,
        public_url: PublicUrl,
        policy: Policy,
    ) -> Self {
        Self { db, mailer, limiter, hasher, sessions, public_url, policy }
    }

    /// Registers an account and sends the mail that proves its address. Where the address has an
    /// account already, its owner is told by mail and the caller gets the same answer, after the
    /// same work.
    ///
    /// # Errors
    /// `Forbidden` `registration_closed`; a field error on `/role` for a role that cannot register.
    pub async fn register(&self, caller: &Caller, registration: &Registration) -> Result<()> {
        self.register_tagged(caller, registration, &[]).await
    }

    /// [`Service::register`], for an account that gets tags.
    pub(crate) async fn register_tagged(
        &self,
        caller: &Caller,
        registration: &Registration,
        tags: &[&str],
    ) -> Result<()> {
        self.check_open(caller)?;
        if !rules::may_register_as(registration.role) {
            return Err(Error::field("/role", "not_allowed", "one of user, verifier, enterprise"));
        }
        let password = self.hasher.on_behalf_of(caller).hash(&registration.password).await?;
        // Without a mail it takes effect all the same: else whoever has used up the mails of an
        // address would have their own registration stand in the place of its owner's.
        let mails = self.may_mail(&registration.email).await?;
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
                    password: Some(&password),
                };
                async move { self.register_in(&tx, caller, new, tags, mails).await.map(drop) }
            })
            .await
    }

    pub(crate) fn session_service(&self) -> &session::Service {
        &self.sessions
    }

    /// Refuses who would make an account for themselves while nobody may.
    fn check_open(&self, caller: &Caller) -> Result<()> {
        if self.policy.registration_open.get() || caller.is_admin() {
            return Ok(());
        }
        let message = "Nobody can register here at the moment.";
        Err(Error::forbidden("registration_closed", message))
    }

    /// Answers whose account it has become; none where the address has an account, whose owner is
    /// told by mail, if one may be sent.
    async fn register_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        mut new: store::New<'_>,
        tags: &[&str],
        mails: bool,
    ) -> Result<Option<Id<User>>> {
        if !store::insert(tx, &new).await? {
            let Some(account) = store::by_email(tx, new.email).await? else {
                return Err(Error::internal("an address is taken and has no account"));
            };
            let released = self.release_in(tx, caller, &account).await?;
            new.id = if released { new.id } else { account.id };
            let is_free = released && store::insert(tx, &new).await?;
            if !is_free && !store::take_over(tx, &new).await? {
                if mails {
                    self.tell_owner(tx, &account).await?;
                }
                return Ok(None);
            }
            store::drop_tokens(tx, account.id, VERIFY_EMAIL).await?;
            store::drop_tags(tx, new.id).await?;
            if !is_free && account.password.is_some() {
                store::add_tags(tx, new.id, &[CONTESTED]).await?;
            }
        }
        self.registered_in(tx, caller, &new, tags, mails).await?;
        Ok(Some(new.id))
    }

    /// Tells by mail whose address somebody has registered that they have an account; whoever has
    /// yet to set its first password gets the link for that once more.
    pub(super) async fn tell_owner(&self, tx: &Tx, account: &Account) -> Result<()> {
        let is_invited = store::tags(tx, account.id).await?.iter().any(|tag| tag == store::INVITED);
        let waits = account.status == Status::Active && account.password.is_none();
        if is_invited && waits {
            return self.invite_in(tx, account.id, account.email.shown()).await;
        }
        let letter = letters::address_taken(&self.public_url.link("/sign-in"));
        self.mailer.send(tx, account.email.shown(), letters::ADDRESS_TAKEN, &letter).map(drop)
    }

    /// Sends a link to set the first password with; the one before no longer works.
    pub(crate) async fn invite_in(&self, tx: &Tx, id: Id<User>, to: &str) -> Result<()> {
        store::drop_tokens(tx, id, SET_PASSWORD).await?;
        let token = Token::new(tx.world());
        let expires_at = tx.now() + SET_PASSWORD_LIFETIME;
        store::insert_token(tx, &token.hash, id, SET_PASSWORD, expires_at).await?;
        let link = self.public_url.link_with_token("/set-password", &token);
        let letter = invitation::set_password(&link);
        self.mailer.send(tx, to, invitation::SET_PASSWORD, &letter).map(drop)
    }

    /// Registers an account as part of something that hands it more than an address and a
    /// password: should its address never be proved, all of it gives way to a new registration.
    /// Where the address is taken, `tells` says whether the caller learns of it; if not, the
    /// answer is none, and the address's owner is told by mail.
    ///
    /// # Errors
    /// `Conflict` `email_taken`.
    pub(crate) async fn enrol_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        new: store::New<'_>,
        tells: bool,
    ) -> Result<Option<Id<User>>> {
        self.check_open(caller)?;
        if !tells {
            return self.register_in(tx, caller, new, &[ENTERED], true).await;
        }
        if !store::insert(tx, &new).await? {
            return Err(email_taken());
        }
        self.registered_in(tx, caller, &new, &[ENTERED], true).await?;
        Ok(Some(new.id))
    }

    /// Whether one more mail may go to an address that the caller names.
    ///
    /// # Errors
    /// `Limited`.
    pub(crate) async fn check_mails(&self, email: &Email) -> Result<()> {
        self.count_mail(email).await?.check().map(drop)
    }

    /// Makes an account whose address an admin vouches for.
    ///
    /// # Errors
    /// `Conflict` `email_taken`.
    pub(crate) async fn import_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        new: &store::New<'_>,
    ) -> Result<()> {
        if !store::insert(tx, new).await? {
            return Err(email_taken());
        }
        tx.record(
            Fact::by(caller, "user.imported")
                .on(new.id)
                .about(new.id)
                .with("role", new.role)
                .with("approved", new.approved),
        );
        Ok(())
    }

    async fn registered_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        new: &store::New<'_>,
        tags: &[&str],
        mails: bool,
    ) -> Result<()> {
        store::add_tags(tx, new.id, tags).await?;
        if mails {
            self.send_verification(tx, new.id, new.email).await?;
        }
        tx.record(registered(caller, new));
        Ok(())
    }

    /// An account that was signed in without its address being proved gives way to a new
    /// registration: what it holds may be a squatter's, and so may its sessions.
    pub(crate) async fn release_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
    ) -> Result<bool> {
        let tags = store::tags(tx, account.id).await?;
        if !tags.iter().any(|tag| tag == ENTERED) {
            return Ok(false);
        }
        self.close_unproved_in(tx, caller, account).await
    }

    /// Gives whoever reads the mail of an address an account of their own with this password, where
    /// somebody was let in on the one that it has without proof; `false` where nobody was.
    pub(crate) async fn begin_anew_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        password: &Phc,
    ) -> Result<bool> {
        let is_proved = account.email_verified_at.is_some();
        if is_proved || !self.release_in(tx, caller, account).await? {
            return Ok(false);
        }
        store::drop_all_tokens(tx, account.id).await?;
        let (id, email) = (tx.world().id::<User>(), &account.email);
        // The name and the role that there were are whoever's who was let in.
        let local = email.shown().split('@').next().unwrap_or_default();
        let name = &Name::parse(local).unwrap_or_else(|_| Name::unknown());
        let new = store::New {
            id,
            email,
            name,
            role: Role::User,
            approved: rules::starts_approved(Role::User),
            email_verified_at: Some(tx.now()),
            password: Some(password),
        };
        if !store::insert(tx, &new).await? {
            return Err(changed_meanwhile());
        }
        tx.record(registered(caller, &new));
        Ok(true)
    }

    /// Closes an account whose address was never proved, and takes the address from it; `false` where
    /// it was proved meanwhile.
    pub(super) async fn close_unproved_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
    ) -> Result<bool> {
        if !store::release(tx, account).await? {
            return Ok(false);
        }
        handle::store::delete(tx, account.id).await?;
        holding::store::delete_of(tx, account.id).await?;
        // What it holds is erased as of every closed account.
        closing::begin_in(tx, account, self.policy.closing).await?;
        let ended = self.sessions.end_all_in(tx, account.id, Reason::Locked, None).await?;
        tx.record(
            Fact::by(caller, "user.closed")
                .on(account.id)
                .about(account.id)
                .with("role", account.role)
                .with("reason", "address_released")
                .with("sessionsEnded", ended.len()),
        );
        Ok(true)
    }

    /// Registers a user and signs them in before they have proved their address: what the older
    /// APIs promise. The session says so, and most routes do not serve it. Unlike
    /// [`Service::register`] this cannot but tell whether the address has an account.
    ///
    /// # Errors
    /// `Conflict` `email_taken`; `Limited` when too many mails went to the address.
    pub(crate) async fn enter(
        &self,
        caller: &Caller,
        registration: &Registration,
        tags: &[&str],
        has_cookie: bool,
        token: Wish,
    ) -> Result<SignedIn> {
        self.check_open(caller)?;
        let password = self.hasher.on_behalf_of(caller).hash(&registration.password).await?;
        let Registration { name, email, role, .. } = registration;
        self.check_mails(email).await?;
        let cookie = has_cookie.then(|| Token::new(self.db.world()));
        let (role, approved) = (*role, rules::starts_approved(*role));
        let (account, session) = self
            .db
            .run("user.enter", |tx| {
                let (id, cookie) = (tx.world().id::<User>(), cookie.as_ref());
                let password = Some(&password);
                let email_verified_at = None;
                let new =
                    store::New { id, email, name, role, approved, email_verified_at, password };
                async move {
                    if !store::insert(&tx, &new).await? {
                        return Err(email_taken());
                    }
                    store::add_tags(&tx, id, &[ENTERED]).await?;
                    self.registered_in(&tx, caller, &new, tags, true).await?;
                    let account = store::get(&tx, id).await?;
                    let proof = Proof::password();
                    let session =
                        self.sessions.start_in(&tx, caller, &account, proof, cookie).await?;
                    Ok((account, session))
                }
            })
            .await?;
        self.sessions.signed_in_as(account, &session, cookie, token).await
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

    async fn may_mail(&self, email: &Email) -> Result<bool> {
        Ok(self.count_mail(email).await?.allowed)
    }

    async fn count_mail(&self, email: &Email) -> Result<Decision> {
        let (class, quota) = MAILS;
        let ask = Ask { class, subject: Subject::Text(email.as_str()), quota };
        self.limiter.charge(&[ask], self.db.world().now()).await
    }

    /// Proves an address with the token from the mail. The token works once. Sessions that began
    /// before end, but the one that calls, which is renewed: whoever started the others may not be
    /// who reads the mail. Where the address was registered more than once, the password stands only
    /// if whoever reads the mail shows it, by `password` or by a session of the account.
    ///
    /// # Errors
    /// `Gone` `token_spent`: used, expired, or never given out; a field error on `/password`, with
    /// which the token still works.
    pub async fn verify_email(
        &self,
        caller: &Caller,
        token: &str,
        password: Option<&Password>,
    ) -> Result<EmailProved> {
        let hash = sha256(token);
        let shown = match password {
            Some(password) => Some(self.check_shown(caller, &hash, password).await?),
            None => None,
        };
        let (has_password, renewed) = self
            .db
            .run("user.verify_email", |tx| {
                let shown = shown.as_ref();
                async move { self.verify_email_in(&tx, caller, &hash, shown).await }
            })
            .await?;
        let session = match renewed {
            Some(renewed) => Some(self.sessions.proven(renewed).await?),
            None => None,
        };
        Ok(EmailProved { has_password, session })
    }

    /// The password of the registration that a link is of, where this is the one. Nobody makes us
    /// check with a link that does not work.
    async fn check_shown(
        &self,
        caller: &Caller,
        hash: &[u8; 32],
        password: &Password,
    ) -> Result<Phc> {
        let now = self.db.world().now();
        let holder = store::token_holder(&self.db, hash, VERIFY_EMAIL, now).await?;
        let stored = holder.ok_or_else(token_spent)?.password;
        let is_right = self.hasher.on_behalf_of(caller).verify(password, stored.as_ref()).await?;
        let wrong = || Error::field("/password", "wrong", "not the password of the registration");
        stored.filter(|_| is_right).ok_or_else(wrong)
    }

    async fn verify_email_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        hash: &[u8; 32],
        shown: Option<&Phc>,
    ) -> Result<(bool, Option<(Account, session::Renewed)>)> {
        let user = store::use_token(tx, hash, VERIFY_EMAIL).await?;
        let user = user.ok_or_else(token_spent)?;
        if !store::set_email_verified(tx, user).await? {
            return Err(token_spent());
        }
        store::drop_tokens(tx, user, VERIFY_EMAIL).await?;
        let account = store::get(tx, user).await?;
        let own = caller.principal.as_ref().filter(|principal| principal.user == user);
        let own = own.map(|principal| principal.session);
        let is_contested = store::drop_tag(tx, user, CONTESTED).await?;
        let is_shown = shown.is_some() && shown == account.password.as_ref();
        let has_password = !is_contested || own.is_some() || is_shown;
        if !has_password {
            store::drop_password(tx, user).await?;
        }
        let ended = self.sessions.end_all_in(tx, user, Reason::Revoked, own).await?;
        let fact = Fact::by(caller, "user.email_verified")
            .acted_by(user, account.role)
            .on(user)
            .about(user)
            .with("role", account.role);
        tx.record(match ended.len() {
            0 => fact,
            ended => fact.with("sessionsEnded", ended),
        });
        let renewed = match own {
            Some(_) => Some(self.sessions.renew_current_in(tx, caller).await?),
            None => None,
        };
        Ok((has_password && account.password.is_some(), renewed))
    }

    /// Sends the verification mail once more, where there is an account to verify; tells the
    /// caller nothing either way. For every address alike this is one transaction that adds one
    /// job.
    pub async fn resend_verification(&self, caller: &Caller, email: &Email) -> Result<()> {
        if !self.may_mail(email).await? {
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

    /// An account's live sessions, the newest first, for its owner or an admin.
    pub async fn sessions(
        &self,
        id: Id<User>,
        page: &PageRequest,
    ) -> Result<Page<session::Session>> {
        self.sessions.list(id, page).await
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
            .run(
                "user.command",
                |tx| async move { self.command_in(&tx, caller, id, command).await },
            )
            .await
    }

    /// [`Service::command`] as part of something else.
    pub async fn command_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<User>,
        command: Command,
    ) -> Result<Account> {
        let account = store::get(tx, id).await?;
        let Account { role, status, approved, .. } = account;
        let standing = rules::step(Standing { role, status, approved }, command)?;
        if !store::set_standing(tx, &account, standing).await? {
            return Err(changed_meanwhile());
        }
        let mut fact = Fact::by(caller, command.fact())
            .on(id)
            .about(id)
            .with("role", role)
            .with("status", standing.status);
        if standing.status != Status::Active && status == Status::Active {
            let ended = self.sessions.end_all_in(tx, id, Reason::Locked, None).await?;
            fact = fact.with("sessionsEnded", ended.len());
        }
        tx.record(fact);
        self.sessions.forget_after(tx, id);
        store::get(tx, id).await
    }

    /// What an owner changes about their account.
    ///
    /// # Errors
    /// `Conflict` `changed_meanwhile`.
    pub async fn change_profile(&self, caller: &Caller, change: &ProfileChange) -> Result<Account> {
        self.change_profile_of(caller, caller.user()?, change).await
    }

    /// [`Self::change_profile`] of any account; the caller has seen to who may.
    pub(crate) async fn change_profile_of(
        &self,
        caller: &Caller,
        user: Id<User>,
        change: &ProfileChange,
    ) -> Result<Account> {
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
        password: Some(password),
    };
    if store::insert(tx, &new).await? {
        return Ok(id);
    }
    Err(Error::field("/email", "taken", "there is an account with this address"))
}

fn registered(caller: &Caller, new: &store::New<'_>) -> Fact {
    Fact::by(caller, "user.registered")
        .acted_by(new.id, new.role)
        .on(new.id)
        .about(new.id)
        .with("role", new.role)
        .with("approved", new.approved)
}

pub(super) fn email_taken() -> Error {
    Error::conflict("email_taken", "There is an account with this address already.")
}

pub(crate) fn token_spent() -> Error {
    Error::gone("token_spent", "This link was used or has expired. Ask for a new one.")
}

pub(crate) fn changed_meanwhile() -> Error {
    Error::conflict("changed_meanwhile", "The account was changed at the same time. Try again.")
}
