//! Enrolling and removing factors, finishing a login with one, and showing one once more.

use std::sync::Arc;
use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, Kind, Result, Role, Secret};
use platform::crypto::{Token, sha256};
use platform::db::{Db, Tx};
use platform::journal::Fact;
use platform::limits::{Ask, Limiter, Quota, Subject};
use webauthn_rs::prelude::PublicKeyCredential;

use super::check::{ATTEMPTS_MAX, Checker, Half};
use super::model::{Code, Enrolment, Standing};
use super::rules::{self, Refusal};
use super::store::{self, Purpose};
use super::{letters, passkey, totp};
use crate::account::{self, Account};
use crate::password::{Hasher, Password};
use crate::session::{self, Method, Proof, Proven, SignedIn};

/// How long a secret that was shown waits for its first code.
const ENROLMENT_LIFETIME: Duration = Duration::from_secs(3600);

/// Passwords tried on a session, of one account: whoever holds a session without the password
/// would guess here, and locks nobody out of signing in.
const PASSWORDS: (&str, Quota) =
    ("identity.step_up", Quota { burst: 10, every: Duration::from_secs(60) });

/// What the service is made of.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) checker: Arc<Checker>,
    pub(crate) sessions: Arc<session::Service>,
    pub(crate) passkeys: Arc<passkey::Service>,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) limiter: Arc<Limiter>,
    /// As authenticator apps show it.
    pub(crate) issuer: String,
    /// Whether admins are of no use without a second factor.
    pub(crate) admin_second_factor: bool,
}

/// The verbs of factors.
pub struct Service {
    db: Db,
    checker: Arc<Checker>,
    sessions: Arc<session::Service>,
    passkeys: Arc<passkey::Service>,
    hasher: Arc<Hasher>,
    limiter: Arc<Limiter>,
    issuer: String,
    admin_second_factor: bool,
}

/// The second half of a login.
#[derive(Debug)]
pub struct FinishLogin {
    /// What `mfa_required` came with.
    pub challenge: Secret<String>,
    pub code: Code,
    /// Whether the client wants the opaque token as well.
    pub cookie: bool,
}

/// Something that shows once more who is there.
#[derive(Debug)]
pub enum Evidence {
    Password(Password),
    Code(Code),
    Passkey(Box<PublicKeyCredential>),
}

impl Evidence {
    const fn method(&self) -> Method {
        match self {
            Self::Password(_) => Method::Password,
            Self::Code(code) => code.method(),
            Self::Passkey(_) => Method::Passkey,
        }
    }
}

/// What the first right code of an app has brought.
#[derive(Debug)]
pub enum Verified {
    /// The app is enrolled; these are the recovery codes, shown once.
    Enrolled { recovery_codes: Secret<Vec<String>>, proven: Proven },
    /// Nothing was waiting, so the code has renewed the session's proof.
    Proven(Proven),
}

impl Service {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { db, checker, sessions, passkeys, hasher, limiter, issuer, .. } = parts;
        let admin_second_factor = parts.admin_second_factor;
        Self { db, checker, sessions, passkeys, hasher, limiter, issuer, admin_second_factor }
    }

    pub(crate) fn sessions(&self) -> &session::Service {
        &self.sessions
    }

    /// What the caller has enrolled, and what their session has shown.
    pub async fn standing(&self, caller: &Caller) -> Result<Standing> {
        let principal = caller.principal()?;
        let account = account::store::get(&self.db, principal.user).await?;
        let enrolled = self.checker.enrolled(&self.db, &account).await?;
        Ok(Standing {
            enrolled,
            is_required: self.is_required(account.role),
            level: principal.level,
            proven_at: principal.proven_at,
            ways: rules::ways_to_prove(&enrolled),
        })
    }

    /// With what a user could show once more who they are.
    pub async fn ways_to_prove(&self, user: Id<User>) -> Result<Vec<Method>> {
        let account = account::store::get(&self.db, user).await?;
        Ok(rules::ways_to_prove(&self.checker.enrolled(&self.db, &account).await?))
    }

    fn is_required(&self, role: Role) -> bool {
        self.admin_second_factor && role == Role::Admin
    }

    async fn check_may_add(&self, caller: &Caller, account: &Account) -> Result<()> {
        let is_required = self.is_required(account.role);
        self.sessions.check_may_add(&self.db, caller, account, is_required).await.map(drop)
    }

    /// A secret for an authenticator app, in the place of one that was shown before and not
    /// confirmed. An app that is enrolled already stays so until this one is confirmed.
    ///
    /// # Errors
    /// `Forbidden` `second_factor_required`.
    pub async fn enroll(&self, caller: &Caller) -> Result<Enrolment> {
        let account = account::store::get(&self.db, caller.user()?).await?;
        self.check_may_add(caller, &account).await?;
        let random = Secret::new(self.db.world().random::<{ totp::SECRET_LEN }>());
        let sealed = &self.checker.seal(account.id, random.expose())?;
        let user = account.id;
        let expires_at = self
            .db
            .run("factor.enroll", |tx| async move {
                let expires_at = tx.now() + ENROLMENT_LIFETIME;
                store::insert_enrolment(&tx, user, sealed, expires_at).await?;
                Ok(expires_at)
            })
            .await?;
        let secret = totp::base32(random.expose());
        let uri = totp::uri(&self.issuer, account.email.shown(), &secret);
        Ok(Enrolment { qr: totp::qr(&uri)?, secret, uri, expires_at })
    }

    /// Confirms the app that waits with its first code, which brings recovery codes, raises the
    /// session and makes proofs on other sessions stale. Where none waits, the code is one of
    /// the enrolled app and renews the session's proof.
    ///
    /// # Errors
    /// `Forbidden`: `wrong_proof`, `second_factor_required`; `Conflict` `nothing_pending`;
    /// `Limited`.
    pub async fn verify(&self, caller: &Caller, code: &Code) -> Result<Verified> {
        let user = caller.user()?;
        let account = &account::store::get(&self.db, user).await?;
        let waits = store::enrolment(&self.db, user, self.db.world().now()).await?;
        let Some(sealed) = &waits else {
            if !self.checker.enrolled(&self.db, account).await?.totp {
                return Err(Refusal::NothingPending.into());
            }
            return self.step_up(caller, &Evidence::Code(code.clone())).await.map(Verified::Proven);
        };
        // One that was begun before there was another factor.
        self.check_may_add(caller, account).await?;
        let Code::Totp(digits) = code else { return Err(Refusal::Wrong.into()) };
        self.sessions.count_code(account, caller.origin.ip, code).await?;
        let secret = self.checker.open(user, sealed)?;
        let now = self.db.world().now();
        let step = totp::matched(secret.expose(), digits.expose(), now)?.ok_or(Refusal::Wrong)?;
        let (recovery_codes, renewed) = self
            .db
            .run("factor.verify", |tx| async move {
                if !store::confirm(&tx, user, sealed, step).await? {
                    return Err(Refusal::NothingPending.into());
                }
                tx.record(Fact::by(caller, "factor.totp_enrolled").on(user).about(user));
                let recovery_codes = self.checker.replace_codes_in(&tx, caller, user).await?;
                self.checker.tell(&tx, account, letters::enrolled())?;
                self.sessions.outdate_proofs_in(&tx, caller).await?;
                let renewed = self.sessions.prove_in(&tx, caller, Method::Totp).await?;
                Ok((recovery_codes, renewed))
            })
            .await?;
        self.checker.forget_guess(user, caller.origin.ip, code);
        let proven = self.sessions.proven(renewed).await?;
        Ok(Verified::Enrolled { recovery_codes, proven })
    }

    /// Takes the authenticator app and the recovery codes from the caller's account.
    ///
    /// # Errors
    /// `Conflict`: `not_enrolled`, `second_factor_needed`.
    pub async fn disable(&self, caller: &Caller) -> Result<()> {
        let user = caller.user()?;
        self.db
            .run("factor.disable", |tx| async move {
                let account = account::store::get(&tx, user).await?;
                let enrolled = self.checker.enrolled(&tx, &account).await?;
                rules::may_remove_totp(&enrolled, self.is_required(account.role))?;
                if !store::remove_totp(&tx, user).await? {
                    return Err(Refusal::NotEnrolled.into());
                }
                tx.record(Fact::by(caller, "factor.totp_removed").on(user).about(user));
                self.checker.tell(&tx, &account, letters::removed())
            })
            .await
    }

    /// New recovery codes; the old ones are void.
    ///
    /// # Errors
    /// `Conflict` `not_enrolled`.
    pub async fn make_recovery_codes(&self, caller: &Caller) -> Result<Secret<Vec<String>>> {
        let user = caller.user()?;
        self.db
            .run("factor.make_recovery_codes", |tx| async move {
                let account = account::store::get(&tx, user).await?;
                if !self.checker.enrolled(&tx, &account).await?.totp {
                    return Err(Refusal::NotEnrolled.into());
                }
                let codes = self.checker.replace_codes_in(&tx, caller, user).await?;
                self.checker.tell(&tx, &account, letters::codes_made())?;
                Ok(codes)
            })
            .await
    }

    /// Finishes a login whose password was right.
    ///
    /// # Errors
    /// `Unauthenticated`: `wrong_code`, `challenge_spent`; `Forbidden` as of a login; `Limited`.
    pub async fn finish_login(&self, caller: &Caller, finish: &FinishLogin) -> Result<SignedIn> {
        let outcome = self.check_and_start(caller, finish).await;
        let outcome_name = match &outcome {
            Ok(_) => "ok",
            Err(error) if error.kind() == Kind::Unauthenticated => "refused",
            Err(error) if error.kind() == Kind::Limited => "limited",
            Err(_) => "other",
        };
        metrics::counter!("logins_finished_total", "outcome" => outcome_name).increment(1);
        outcome
    }

    async fn check_and_start(&self, caller: &Caller, finish: &FinishLogin) -> Result<SignedIn> {
        let hash = &sha256(finish.challenge.expose());
        let now = self.db.world().now();
        let found = store::challenge(&self.db, Purpose::Login, hash, now).await?;
        let user = found.and_then(|challenge| challenge.user).ok_or(Refusal::Spent)?;
        let account = account::store::get(&self.db, user).await?;
        let ip = caller.origin.ip;
        self.sessions.count_code(&account, ip, &finish.code).await?;
        let cookie = finish.cookie.then(|| Token::new(self.db.world()));
        let started = self
            .db
            .run("session.start", |tx| {
                let (code, cookie) = (&finish.code, cookie.as_ref());
                async move { self.finish_in(&tx, caller, hash, code, cookie).await }
            })
            .await?;
        let Some((account, session)) = started else {
            let message = "The code is not right, or it was used before.";
            return Err(Error::unauthenticated("wrong_code", message));
        };
        self.checker.forget_guess(user, ip, &finish.code);
        self.sessions.signed_in(account, &session, cookie).await
    }

    /// `None` when the code is wrong, which is counted and must be committed all the same.
    async fn finish_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        hash: &[u8; 32],
        code: &Code,
        cookie: Option<&Token>,
    ) -> Result<Option<(Account, session::Session)>> {
        let counted = store::count_attempt(tx, Purpose::Login, hash, ATTEMPTS_MAX).await?;
        let challenge = counted.ok_or(Refusal::Spent)?;
        let user = challenge.user.ok_or(Refusal::Spent)?;
        let account = account::store::get(tx, user).await?;
        if !Half::read(&challenge.state)?.continues(&account, caller) {
            return Err(Refusal::Spent.into());
        }
        if !self.checker.check_in(tx, caller, &account, code).await? {
            if challenge.attempts == ATTEMPTS_MAX {
                self.checker.warn_in(tx, caller, &account)?;
            }
            return Ok(None);
        }
        if store::take_challenge(tx, Purpose::Login, hash).await?.is_none() {
            return Err(Refusal::Spent.into());
        }
        session::may_sign_in(&account, false)?;
        if !account::store::log_in(tx, &account).await? {
            return Err(Refusal::Spent.into());
        }
        let proof = Proof::by(vec![Method::Password, code.method()]);
        let session = self.sessions.start_in(tx, caller, &account, proof, cookie).await?;
        Ok(Some((account, session)))
    }

    /// Renews the calling session by a proof of who is there, and raises its level where the
    /// methods that were used on it are together worth more.
    ///
    /// # Errors
    /// `Forbidden`: `wrong_proof`, `proof_not_enough`, `impersonated`; `Limited`; `Unavailable`
    /// when too many passwords are checked at once.
    pub async fn step_up(&self, caller: &Caller, evidence: &Evidence) -> Result<Proven> {
        let account = account::store::get(&self.db, caller.user()?).await?;
        let enrolled = self.checker.enrolled(&self.db, &account).await?;
        let method = evidence.method();
        if !rules::ways_to_prove(&enrolled).contains(&method) {
            // What is not enrolled at all is as wrong as any.
            let better = method == Method::Password && enrolled.password;
            return Err(if better { Refusal::NotEnough } else { Refusal::Wrong }.into());
        }
        match evidence {
            Evidence::Password(password) => self.check_password(caller, &account, password).await?,
            Evidence::Code(code) => {
                self.sessions.count_code(&account, caller.origin.ip, code).await?;
            }
            Evidence::Passkey(credential) => self.passkeys.prove(caller, credential).await?,
        }
        let renewed = self
            .db
            .run("session.prove", |tx| {
                let account = &account;
                async move {
                    if let Evidence::Code(code) = evidence
                        && !self.checker.check_in(&tx, caller, account, code).await?
                    {
                        return Err(Refusal::Wrong.into());
                    }
                    self.sessions.prove_in(&tx, caller, method).await
                }
            })
            .await?;
        if let Evidence::Code(code) = evidence {
            self.checker.forget_guess(account.id, caller.origin.ip, code);
        }
        self.sessions.proven(renewed).await
    }

    async fn check_password(
        &self,
        caller: &Caller,
        account: &Account,
        password: &Password,
    ) -> Result<()> {
        let (class, quota) = PASSWORDS;
        let guess = [Ask { class, subject: Subject::Id(account.id.uuid()), quota }];
        self.limiter.charge(&guess, self.db.world().now()).await?.check()?;
        let hasher = self.hasher.on_behalf_of(caller);
        if !hasher.verify(password, account.password.as_ref()).await? {
            return Err(Refusal::Wrong.into());
        }
        self.limiter.refund(&guess);
        Ok(())
    }

    /// Forgets what was not finished in time.
    pub async fn sweep(&self) -> Result<()> {
        self.db.run("factor.sweep", |tx| async move { store::sweep(&tx).await }).await
    }
}
