//! Signing in, staying signed in, and signing out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{Caller, Error, Id, Kind, Page, PageRequest, Principal, Result, Secret, Timestamp};
use platform::crypto::{MasterKey, Token, sha256};
use platform::db::{Db, Tx};
use platform::journal::Fact;
use platform::limits::{Limiter, Quota, Subject};
use rpc::users::Status;

use super::cache::{Cache, Live, Ticket};
use super::model::{Device, Policies, Proof, Reason, Refresh, Session, SignedIn, Tokens};
use super::rules::{self, Meaning};
use super::store::{self, Key};
use crate::account::{self, Account, Email};
use crate::password::{Hasher, Password};
use crate::token::{self, Claims};

/// Wrong passwords for one account, from anywhere. Wide enough that guessing by others does not
/// lock the owner out for long.
const GUESSES: (&str, Quota) =
    ("identity.login", Quota { burst: 30, every: Duration::from_secs(30) });
/// Wrong passwords for one account from one address.
const GUESSES_FROM: (&str, Quota) =
    ("identity.login_from", Quota { burst: 10, every: Duration::from_secs(60) });

/// The opaque token's length: 32 bytes in base64url.
const OPAQUE_LEN: usize = 43;

/// Sessions that are over are kept this long, for their owner's and an auditor's questions.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Times seen written in one transaction.
const SEEN_BATCH: usize = 500;

/// How an account is shown to its owner: the body of `GET /v1/me`.
pub(crate) type Show = fn(&Account, Id<SessionKind>) -> Result<Bytes>;

/// What the service is made of.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) tokens: Arc<token::Service>,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) policies: Policies,
    pub(crate) remembered_max: usize,
    pub(crate) master: MasterKey,
    pub(crate) show: Show,
    pub(crate) secure_cookie: bool,
}

/// The verbs of sessions.
pub struct Service {
    db: Db,
    cache: Arc<Cache>,
    tokens: Arc<token::Service>,
    hasher: Arc<Hasher>,
    limiter: Arc<Limiter>,
    policies: Policies,
    refresh_key: Secret<[u8; 32]>,
    show: Show,
    secure_cookie: bool,
}

/// A password login.
#[derive(Debug)]
pub struct Login {
    pub email: Email,
    pub password: Password,
    /// Whether the client wants the opaque token as well.
    pub cookie: bool,
}

/// What a token says of its session, to those who ask.
#[derive(Debug, Clone)]
pub struct Introspection {
    pub principal: Arc<Principal>,
    pub expires_at: Timestamp,
    /// What an access token claims; none of a cookie's token.
    pub claims: Option<Claims>,
}

impl Service {
    pub(crate) fn new(parts: Parts) -> Self {
        let shared = parts.db.is_shared();
        Self {
            db: parts.db,
            cache: Arc::new(Cache::new(parts.remembered_max, shared)),
            tokens: parts.tokens,
            hasher: parts.hasher,
            limiter: parts.limiter,
            policies: parts.policies,
            refresh_key: parts.master.derive("identity.refresh"),
            show: parts.show,
            secure_cookie: parts.secure_cookie,
        }
    }

    /// Whether the cookie is for https only: whenever the platform is reached by it.
    pub(crate) const fn secure_cookie(&self) -> bool {
        self.secure_cookie
    }

    /// Signs in by password.
    ///
    /// # Errors
    /// `Unauthenticated` `invalid_credentials`, the same for an unknown address and a wrong
    /// password, after the same work; with the right password `Forbidden` `email_not_verified`,
    /// `account_suspended`, `account_banned`; `Limited` after too many wrong ones; `Unavailable`
    /// when too many sign in at once.
    pub async fn login(&self, caller: &Caller, login: &Login) -> Result<SignedIn> {
        let outcome = self.check_and_start(caller, login).await;
        let outcome_name = match &outcome {
            Ok(_) => "ok",
            Err(error) if error.kind() == Kind::Unauthenticated => "refused",
            Err(error) if error.kind() == Kind::Limited => "limited",
            Err(_) => "other",
        };
        metrics::counter!("logins_total", "outcome" => outcome_name).increment(1);
        outcome
    }

    async fn check_and_start(&self, caller: &Caller, login: &Login) -> Result<SignedIn> {
        let ip = caller.origin.ip;
        self.count_guess(&login.email, ip)?;
        let account = account::store::by_email(&self.db, &login.email).await?;
        let account = account.filter(|account| account.status != Status::Closed);
        let stored = account.as_ref().and_then(|account| account.password.as_ref());
        let hasher = self.hasher.on_behalf_of(caller);
        let is_right = hasher.verify(&login.password, stored).await?;
        let Some(account) = account.filter(|_| is_right) else {
            return Err(invalid_credentials());
        };
        self.forget_guess(&login.email, ip);
        may_sign_in(&account)?;

        let rehashed = match &account.password {
            Some(stored) => hasher.rehash(&login.password, stored).await?,
            None => None,
        };
        let cookie = login.cookie.then(|| Token::new(self.db.world()));
        let session = self
            .db
            .run("session.start", |tx| {
                let (account, rehashed, cookie) = (&account, rehashed.as_ref(), cookie.as_ref());
                async move {
                    if !account::store::log_in(&tx, account, rehashed).await? {
                        return Err(invalid_credentials());
                    }
                    self.start_in(&tx, caller, account, Proof::password(), cookie).await
                }
            })
            .await?;
        self.signed_in(account, &session, cookie).await
    }

    /// What is handed to whoever has just been given this session.
    pub(crate) async fn signed_in(
        &self,
        account: Account,
        session: &Session,
        cookie: Option<Token>,
    ) -> Result<SignedIn> {
        let lifetime = self.policies.of(account.role).lifetime;
        Ok(SignedIn {
            tokens: self.tokens(&account, session).await?,
            session: session.id,
            account,
            cookie: cookie.map(|token| (token.text, lifetime)),
        })
    }

    /// Counts before it is checked, so that many guesses at once are counted as many.
    fn count_guess(&self, email: &Email, ip: Option<IpAddr>) -> Result<()> {
        let now = self.db.world().now();
        if let Some(ip) = ip {
            let (class, quota) = GUESSES_FROM;
            self.limiter.take(class, Subject::pair(email.as_str(), ip), quota, now).check()?;
        }
        let (class, quota) = GUESSES;
        self.limiter.take(class, Subject::Text(email.as_str()), quota, now).check()?;
        Ok(())
    }

    fn forget_guess(&self, email: &Email, ip: Option<IpAddr>) {
        if let Some(ip) = ip {
            let (class, quota) = GUESSES_FROM;
            self.limiter.give_back(class, Subject::pair(email.as_str(), ip), quota);
        }
        let (class, quota) = GUESSES;
        self.limiter.give_back(class, Subject::Text(email.as_str()), quota);
    }

    /// Starts a session of an account that has shown who it is.
    pub(crate) async fn start_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        proof: Proof,
        cookie: Option<&Token>,
    ) -> Result<Session> {
        let policy = self.policies.of(account.role);
        let session = Session {
            id: tx.world().id(),
            user: account.id,
            device: Device::from(&caller.origin),
            proof,
            proven_at: tx.now(),
            created_at: tx.now(),
            last_seen_at: tx.now(),
            expires_at: tx.now() + policy.lifetime,
            ended_at: None,
            salt: tx.world().random(),
            generation: 0,
            refreshed_at: tx.now(),
        };
        store::insert(tx, &session, cookie.map(|token| token.hash)).await?;
        let by = |verb| Fact::by(caller, verb).acted_by(account.id, account.role).about(account.id);
        tx.record(by("session.started").on(session.id).with("role", account.role));
        let keep = policy.sessions_max.max(1);
        let displaced = store::end_beyond(tx, account.id, keep, Reason::Displaced).await?;
        for id in displaced {
            tx.record(by("session.ended").on(id).with("reason", Reason::Displaced.as_str()));
            self.forget_one_after(tx, account.id, id);
        }
        Ok(session)
    }

    async fn tokens(&self, account: &Account, session: &Session) -> Result<Tokens> {
        let (user, role, until) = (account.id, account.role, session.expires_at);
        let left = until.since(self.db.world().now());
        Ok(Tokens {
            access: self.tokens.issue(user, role, session.id, until).await?,
            refresh: Refresh::text(self.refresh_key.expose(), session, session.generation),
            expires_in: self.tokens.lifetime().min(left),
        })
    }

    /// Brings new tokens for the current refresh token.
    ///
    /// The token before the current one is answered with the current one for ten seconds after
    /// the change: the first answer may have been lost, and two tabs may have asked at once. Any
    /// later, or with an older one, somebody else holds a token of this session, and it ends.
    ///
    /// # Errors
    /// `Unauthenticated`: `invalid_refresh`, `reused_refresh`, `session_ended`,
    /// `session_expired`.
    pub async fn refresh(&self, caller: &Caller, presented: &str) -> Result<Tokens> {
        let refresh = Refresh::parse(presented).ok_or_else(invalid_refresh)?;
        let found = store::load(&self.db, Key::Id(refresh.session)).await?;
        // Before the MAC is seen to be ours, nobody gets at the one writer.
        if !found.is_some_and(|(found, _)| refresh.is_of(&found, self.refresh_key.expose())) {
            return Err(invalid_refresh());
        }
        let refreshed = self
            .db
            .run("session.refresh", |tx| {
                let refresh = &refresh;
                async move { self.refresh_in(&tx, caller, refresh).await }
            })
            .await?;
        let Some((session, account)) = refreshed else {
            metrics::counter!("refresh_reuse_total").increment(1);
            let message = "This refresh token was used before. The session has ended.";
            return Err(Error::unauthenticated("reused_refresh", message));
        };
        self.tokens(&account, &session).await
    }

    /// `None` when the session was ended for reuse, which must be committed all the same.
    async fn refresh_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        refresh: &Refresh,
    ) -> Result<Option<(Session, Account)>> {
        // A second round, when another request has begun the next generation in between.
        for _ in 0..2 {
            let Some((mut session, account)) = store::load(tx, Key::Id(refresh.session)).await?
            else {
                return Err(invalid_refresh());
            };
            let policy = self.policies.of(account.role);
            rules::usable(&session, account.status, policy, tx.now())?;
            match rules::meaning(&session, refresh.generation, tx.now()) {
                Meaning::Current => {
                    let ip = caller.origin.ip.map(|ip| ip.to_string());
                    if store::rotate(tx, &session, ip).await? {
                        session.generation += 1;
                        return Ok(Some((session, account)));
                    }
                }
                Meaning::Repeated => return Ok(Some((session, account))),
                Meaning::Reused => {
                    self.end_for_reuse(tx, caller, &session, &account).await?;
                    return Ok(None);
                }
            }
        }
        Err(Error::unavailable("busy", "Too many refreshes at once. Try again.").retry_after(1))
    }

    async fn end_for_reuse(
        &self,
        tx: &Tx,
        caller: &Caller,
        session: &Session,
        account: &Account,
    ) -> Result<()> {
        store::end(tx, session.user, session.id, Reason::Reuse).await?;
        for verb in ["session.reuse_detected", "session.ended"] {
            let fact = Fact::by(caller, verb)
                .on(session.id)
                .about(session.user)
                .with("role", account.role)
                .with("reason", Reason::Reuse.as_str());
            tx.record(fact);
        }
        self.forget_one_after(tx, session.user, session.id);
        Ok(())
    }

    /// Who presents this, when it is remembered: no statement, no allocation.
    pub fn cached(&self, presented: &str, now: Timestamp) -> Option<Arc<Principal>> {
        if presented.len() > token::jws::LEN_MAX {
            return None;
        }
        let live = self.cache.get(&sha256(presented), now)?;
        Some(Arc::clone(&live.principal))
    }

    /// Who presents this: a cookie's token or an access token.
    ///
    /// # Errors
    /// `Unauthenticated`: `invalid_token`, `expired_token`, `session_ended`, `session_expired`.
    pub async fn authenticate(&self, presented: &str) -> Result<Arc<Principal>> {
        let now = self.db.world().now();
        if let Some(principal) = self.cached(presented, now) {
            return Ok(principal);
        }
        let key = sha256(presented);
        let live = if presented.contains('.') {
            let claims = self.tokens.verify(presented).await?;
            self.by_claims(key, &claims, now).await?
        } else if presented.len() == OPAQUE_LEN {
            self.load(Key::Cookie(key), key, None, now).await?.ok_or_else(invalid_token)?
        } else {
            return Err(invalid_token());
        };
        Ok(Arc::clone(&live.principal))
    }

    async fn by_claims(&self, key: [u8; 32], claims: &Claims, now: Timestamp) -> Result<Arc<Live>> {
        let until = claims.expires_at();
        if let Some(live) = self.cache.find(claims.sub, claims.sid, now) {
            // The same session under a new token: what is known of it holds.
            return Ok(self.cache.present(key, until, live, now));
        }
        let live = self.load(Key::Id(claims.sid), key, Some(claims), now).await?;
        live.ok_or_else(|| rules::Refusal::Ended.into())
    }

    /// Reads a session from the store and remembers it under what was presented; claims that
    /// came with it must be of its user.
    async fn load(
        &self,
        by: Key,
        key: [u8; 32],
        claims: Option<&Claims>,
        now: Timestamp,
    ) -> Result<Option<Arc<Live>>> {
        let ticket: Ticket = self.cache.ticket();
        let Some((session, account)) = store::load(&self.db, by).await? else { return Ok(None) };
        if claims.is_some_and(|claims| claims.sub != session.user) {
            return Ok(None);
        }
        let policy = self.policies.of(account.role);
        rules::usable(&session, account.status, policy, now)?;
        let live = Live::new(
            account.principal(&session),
            (self.show)(&account, session.id)?,
            account.version,
            (session.expires_at, policy.idle),
            session.last_seen_at,
            now,
        );
        let until = claims.map_or(session.expires_at, Claims::expires_at);
        Ok(Some(self.cache.remember(ticket, key, until, live, now)))
    }

    /// The body of `GET /v1/me`; from memory after an authentication.
    pub async fn me(&self, caller: &Caller) -> Result<Bytes> {
        let principal = caller.principal()?;
        if let Some(live) = self.cache.peek(principal.user, principal.session) {
            return Ok(live.me.clone());
        }
        let account = account::store::get(&self.db, principal.user).await?;
        (self.show)(&account, principal.session)
    }

    /// What a token is worth; `None` when nothing.
    pub async fn introspect(&self, presented: &str) -> Result<Option<Introspection>> {
        let principal = match self.authenticate(presented).await {
            Ok(principal) => principal,
            Err(error) if error.kind() == Kind::Unauthenticated => return Ok(None),
            Err(error) => return Err(error),
        };
        let claims =
            if presented.contains('.') { Some(self.tokens.verify(presented).await?) } else { None };
        let expires_at = match &claims {
            Some(claims) => claims.expires_at(),
            None => match store::load(&self.db, Key::Id(principal.session)).await? {
                Some((session, _)) => session.expires_at,
                None => return Ok(None),
            },
        };
        Ok(Some(Introspection { principal, expires_at, claims }))
    }

    /// A user's live sessions, newest first.
    pub async fn list(&self, user: Id<User>, page: &PageRequest) -> Result<Page<Session>> {
        let now = self.db.world().now();
        let sessions = store::list(&self.db, user, now, page).await?;
        Ok(sessions.map(|mut session| {
            if let Some(live) = self.cache.peek(user, session.id) {
                session.last_seen_at = session.last_seen_at.max(live.seen());
            }
            session
        }))
    }

    /// Signs out: ends the calling session.
    pub async fn logout(&self, caller: &Caller) -> Result<()> {
        let session = caller.principal()?.session;
        match self.end(caller, session, Reason::Logout).await {
            // Over already, which is what was asked for.
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// Ends one of the caller's sessions.
    ///
    /// # Errors
    /// `NotFound`: not theirs, or over.
    pub async fn end(&self, caller: &Caller, id: Id<SessionKind>, reason: Reason) -> Result<()> {
        let user = caller.user()?;
        self.db
            .run("session.end", |tx| async move {
                if !store::end(&tx, user, id, reason).await? {
                    return Err(Error::not_found("session"));
                }
                tx.record(
                    Fact::by(caller, "session.ended")
                        .on(id)
                        .about(user)
                        .with("reason", reason.as_str()),
                );
                self.forget_one_after(&tx, user, id);
                Ok(())
            })
            .await
    }

    /// Ends all of the caller's sessions, but the calling one where `except_current`; answers how
    /// many.
    pub async fn end_all(&self, caller: &Caller, except_current: bool) -> Result<usize> {
        let principal = caller.principal()?;
        let (user, except) = (principal.user, except_current.then_some(principal.session));
        self.db
            .run("session.end_all", |tx| async move {
                let ended = self.end_all_in(&tx, user, Reason::Revoked, except).await?;
                if !ended.is_empty() {
                    tx.record(
                        Fact::by(caller, "session.ended")
                            .on(user)
                            .about(user)
                            .with("reason", Reason::Revoked.as_str())
                            .with("sessions", &ended),
                    );
                }
                Ok(ended.len())
            })
            .await
    }

    /// Ends all sessions of a user but one, as part of something else, which records it.
    pub async fn end_all_in(
        &self,
        tx: &Tx,
        user: Id<User>,
        reason: Reason,
        except: Option<Id<SessionKind>>,
    ) -> Result<Vec<Id<SessionKind>>> {
        let ended = store::end_all(tx, user, reason, except).await?;
        self.forget_after(tx, user);
        Ok(ended)
    }

    /// Once the transaction has committed, what is remembered of a user is read again.
    pub(crate) fn forget_after(&self, tx: &Tx, user: Id<User>) {
        let cache = Arc::clone(&self.cache);
        tx.after_commit(move || cache.forget_user(user));
    }

    fn forget_one_after(&self, tx: &Tx, user: Id<User>, session: Id<SessionKind>) {
        let cache = Arc::clone(&self.cache);
        tx.after_commit(move || cache.forget(user, session));
    }

    /// Writes when sessions were last seen, as far as the store does not know; answers how many.
    pub async fn write_seen(&self) -> Result<usize> {
        let times = self.cache.take_unwritten();
        for batch in times.chunks(SEEN_BATCH) {
            self.db
                .run("session.seen", |tx| async move {
                    let writes = batch.iter().map(|(id, at)| store::see(&tx, *id, *at));
                    futures_util::future::try_join_all(writes).await.map(drop)
                })
                .await?;
        }
        Ok(times.len())
    }

    /// Forgets sessions that have long been over.
    pub async fn sweep(&self) -> Result<u64> {
        let before = self.db.world().now() - KEPT;
        self.db.run("session.sweep", |tx| async move { store::sweep(&tx, before).await }).await
    }
}

/// Said only to whoever knows the password.
fn may_sign_in(account: &Account) -> Result<()> {
    match account.status {
        Status::Active if account.email_verified_at.is_some() => Ok(()),
        Status::Active => Err(Error::forbidden(
            "email_not_verified",
            "Confirm your mail address first, with the link that we sent to it.",
        )),
        Status::Suspended => {
            Err(Error::forbidden("account_suspended", "This account is suspended."))
        }
        Status::Banned => Err(Error::forbidden("account_banned", "This account is banned.")),
        Status::Closed => Err(invalid_credentials()),
    }
}

fn invalid_credentials() -> Error {
    Error::unauthenticated("invalid_credentials", "The address or the password is not right.")
}

fn invalid_token() -> Error {
    Error::unauthenticated("invalid_token", "The token is not valid.")
}

fn invalid_refresh() -> Error {
    Error::unauthenticated("invalid_refresh", "The refresh token is not valid. Sign in again.")
}
