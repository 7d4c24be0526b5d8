//! Signing in, staying signed in, and signing out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{
    Caller, Error, Id, Kind, Level, Page, PageRequest, Principal, Result, Role, Secret, Timestamp,
};
use platform::crypto::{MasterKey, Token, sha256};
use platform::db::{Db, Read, Tx};
use platform::fleet::{Follower, Notice};
use platform::journal::Fact;
use platform::limits::{Ask, Limiter, Quota, Subject};
use rpc::users::{Reissued, Status};

use super::cache::{Cache, Live, Ticket};
use super::model::{
    self, Device, Method, Policies, Proof, Reason, Refresh, Renewed, Session, SignedIn, Tokens,
};
use super::rules::{self, Meaning, Refusal};
use super::store::{self, Key};
use crate::account::{self, Account, Email};
use crate::device::{self, Devices};
use crate::factor::{self, Code, Passed};
use crate::kratos;
use crate::password::{Hasher, Password, Phc};
use crate::token::{self, Actor, Claims, Format, Wish};

/// Wrong passwords for one account, from devices that are not known to be its owner's. Whoever
/// knows the password and comes from such a device waits for at most the time for one, unless
/// others go on guessing and are quicker; a known device does not wait for them.
const GUESSES: (&str, Quota) =
    ("identity.login", Quota { burst: 30, every: Duration::from_secs(30) });
/// Wrong passwords for one account from one address.
const GUESSES_FROM: (&str, Quota) =
    ("identity.login_from", Quota { burst: 10, every: Duration::from_secs(60) });
/// Wrong passwords for one account on one of its own devices.
const GUESSES_ON: (&str, Quota) =
    ("identity.login_on", Quota { burst: 10, every: Duration::from_secs(60) });

/// The opaque token's length: 32 bytes in base64url.
const OPAQUE_LEN: usize = 43;

/// Whether a text has the form of something that shows one of our sessions.
pub(crate) fn may_be_ours(presented: &str) -> bool {
    presented.len() == OPAQUE_LEN || presented.contains('.')
}

/// Sessions that are over are kept this long, for their owner's and an auditor's questions.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long an admin may look at the platform as somebody else before asking again.
pub(crate) const IMPERSONATION: Duration = Duration::from_secs(15 * 60);
/// Times seen written in one transaction.
const SEEN_BATCH: usize = 500;

/// How an account is shown to its owner: the body of `GET /v1/me`.
pub(crate) type Show = fn(&Account, &Principal) -> Result<Bytes>;

/// What the service is made of.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) tokens: Arc<token::Service>,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) factors: Arc<factor::Checker>,
    pub(crate) policies: Policies,
    pub(crate) remembered_max: usize,
    pub(crate) master: MasterKey,
    pub(crate) show: Show,
    pub(crate) secure_cookie: bool,
    /// Where people show who they are.
    pub(crate) source: kratos::Mode,
}

/// The verbs of sessions.
pub struct Service {
    pub(super) db: Db,
    cache: Arc<Cache>,
    tokens: Arc<token::Service>,
    hasher: Arc<Hasher>,
    limiter: Arc<Limiter>,
    factors: Arc<factor::Checker>,
    devices: Devices,
    pub(super) policies: Policies,
    pub(super) refresh_key: Secret<[u8; 32]>,
    show: Show,
    secure_cookie: bool,
    pub(super) source: kratos::Mode,
}

/// What comes with a presentation from which the session itself cannot be found.
#[derive(Debug, Clone, Copy)]
struct Word {
    user: Id<User>,
    /// When the presentation is over.
    until: Timestamp,
    /// The epoch that it is of, where it knows one.
    epoch: Option<i64>,
}

/// A password login.
#[derive(Debug)]
pub struct Login {
    pub email: Email,
    pub password: Password,
    /// Whether the client wants the opaque token as well.
    pub cookie: bool,
    /// What the access token shall be.
    pub token: Wish,
    /// The name that the account must have as well, where the door asks for one.
    pub name: Option<String>,
    /// Whether an account may come in whose address is not proved yet. It gets no further than
    /// the few routes that say so; see [`platform::http::Route::unproved`].
    pub unproved: bool,
}

impl Login {
    /// With address and password, for a JWT and no cookie.
    pub fn new(email: Email, password: Password) -> Self {
        let token = Wish::default();
        Self { email, password, cookie: false, token, name: None, unproved: false }
    }
}

/// What became of a right password.
enum Door {
    Open(Box<Session>),
    Asks(factor::Asked),
}

/// A session whose owner has just shown who they are once more.
#[derive(Debug)]
pub struct Proven {
    pub level: kernel::Level,
    /// All that was used on the session so far, in order.
    pub methods: Vec<Method>,
    pub proven_at: Timestamp,
    /// What shows the session from now on. What did before is worth nothing.
    pub signed_in: SignedIn,
}

/// What a token is worth, to those who may ask.
#[derive(Debug, Clone)]
pub struct Introspection {
    pub kind: model::Kind,
    pub session: Session,
    pub principal: Principal,
    pub expires_at: Timestamp,
    /// What an access token claims.
    pub claims: Option<Claims>,
}

/// What may answer who somebody is.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// What is remembered, and the store where nothing is.
    Memory,
    Store,
}

impl Service {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            cache: Cache::new(parts.remembered_max, Arc::clone(parts.db.board())),
            db: parts.db,
            devices: Devices::new(&parts.master),
            tokens: parts.tokens,
            hasher: parts.hasher,
            limiter: parts.limiter,
            factors: parts.factors,
            policies: parts.policies,
            refresh_key: parts.master.derive("identity.refresh"),
            show: parts.show,
            secure_cookie: parts.secure_cookie,
            source: parts.source,
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
    /// password, after the same work; with the right password `Unauthenticated` `mfa_required`
    /// (see [`crate::factor`]), `Forbidden` `email_not_verified`, `account_suspended`,
    /// `account_banned`; `Limited` after too many wrong ones; `Unavailable` when too many sign in
    /// at once.
    pub async fn login(&self, caller: &Caller, login: &Login) -> Result<SignedIn> {
        self.login_with(caller, login, None).await
    }

    /// Signs in by password, and where the account asks for more, by a code as well.
    ///
    /// # Errors
    /// As [`Service::login`]; of a wrong password and a wrong code it is not told which was wrong.
    pub async fn login_with(
        &self,
        caller: &Caller,
        login: &Login,
        code: Option<&Code>,
    ) -> Result<SignedIn> {
        let outcome = self.check_and_start(caller, login, code).await;
        let outcome_name = match &outcome {
            Ok(_) => "ok",
            Err(error) if error.code() == factor::MFA_REQUIRED => "asked",
            Err(error) if error.kind() == Kind::Unauthenticated => "refused",
            Err(error) if error.kind() == Kind::Limited => "limited",
            Err(_) => "other",
        };
        metrics::counter!("logins_total", "outcome" => outcome_name).increment(1);
        outcome
    }

    async fn check_and_start(
        &self,
        caller: &Caller,
        login: &Login,
        code: Option<&Code>,
    ) -> Result<SignedIn> {
        let ip = caller.origin.ip;
        let (account, guess) = self.count_guess(caller, &login.email).await?;
        let account = account.filter(|account| account.status != Status::Closed);
        let stored = account.as_ref().and_then(|account| account.password.as_ref());
        let hasher = self.hasher.on_behalf_of(caller);
        let is_right = hasher.verify(&login.password, stored).await?;
        // Name and address are compared each with its own, after the password: a wrong name costs
        // what a wrong password costs, and no two pairs run together into one.
        let is_called =
            |account: &Account| login.name.as_ref().is_none_or(|name| *name == account.name);
        let Some(account) = account.filter(|account| is_right && is_called(account)) else {
            return Err(refused(code));
        };
        self.limiter.refund(&guess);
        may_sign_in(&account, login.unproved)?;
        if let Some(code) = code {
            self.count_code(&account, ip, code).await?;
        }

        let rehashed = match &account.password {
            Some(stored) => hasher.rehash(&login.password, stored).await?,
            None => None,
        };
        let cookie = login.cookie.then(|| Token::new(self.db.world()));
        let door = self
            .db
            .run("session.start", |tx| {
                let (account, rehashed, cookie) = (&account, rehashed.as_ref(), cookie.as_ref());
                async move {
                    // Before anything is made of the hash: a challenge is bound to the one stored.
                    let account = &rehash_in(&tx, account, rehashed).await?;
                    let used = [Method::Password];
                    let passed = self.factors.pass_in(&tx, caller, account, &used, code).await?;
                    let proof = match passed {
                        Passed::With(methods) => Proof::by(methods),
                        Passed::Asked(asked) => return Ok(Door::Asks(asked)),
                    };
                    if !account::store::log_in(&tx, account).await? {
                        return Err(invalid_credentials());
                    }
                    let session = self.start_in(&tx, caller, account, proof, cookie).await?;
                    Ok(Door::Open(Box::new(session)))
                }
            })
            .await?;
        match door {
            Door::Asks(asked) => Err(asked.into()),
            Door::Open(session) => {
                if let Some(code) = code {
                    self.factors.forget_guess(account.id, ip, code);
                }
                self.signed_in_as(account, &session, cookie, login.token).await
            }
        }
    }

    /// Counts a guess before it is checked, so that many at once are counted as many. Answers the
    /// account of the address, and what was counted.
    async fn count_guess<'a>(
        &self,
        caller: &Caller,
        email: &'a Email,
    ) -> Result<(Option<Account>, Vec<Ask<'a>>)> {
        let now = self.db.world().now();
        // Without a device's cookie nothing is read before the guess is counted.
        let Some(shown) = caller.origin.device.as_deref().and_then(device::Shown::parse) else {
            let guess = guess(email, caller.origin.ip, None);
            self.limiter.charge(&guess, now).await?.check()?;
            return Ok((account::store::by_email(&self.db, email).await?, guess));
        };
        let account = account::store::by_email(&self.db, email).await?;
        let known = account.as_ref().and_then(|account| {
            let device = self.devices.known(&shown, account.id, now)?;
            Some(Subject::Device(account.id.uuid(), device))
        });
        let guess = guess(email, caller.origin.ip, known);
        self.limiter.charge(&guess, now).await?.check()?;
        Ok((account, guess))
    }

    /// Counts a code before it is checked. At an address where the owner has shown a second factor
    /// on a session that still lives, what others guess elsewhere does not count.
    pub(crate) async fn count_code(
        &self,
        account: &Account,
        ip: Option<IpAddr>,
        code: &Code,
    ) -> Result<()> {
        let is_known = match ip {
            Some(ip) => {
                let now = self.db.world().now();
                store::is_known_address(&self.db, account.id, &ip.to_string(), now).await?
            }
            None => false,
        };
        self.factors.count_guess(account.id, ip, code, is_known).await
    }

    /// What is handed to whoever has just been given this session, or has had it renewed: the
    /// access token as a JWT.
    pub async fn signed_in(
        &self,
        account: Account,
        session: &Session,
        cookie: Option<Token>,
    ) -> Result<SignedIn> {
        self.signed_in_as(account, session, cookie, Wish::default()).await
    }

    /// [`Service::signed_in`], with the access token as the client wants it.
    pub(crate) async fn signed_in_as(
        &self,
        account: Account,
        session: &Session,
        cookie: Option<Token>,
        token: Wish,
    ) -> Result<SignedIn> {
        let left = session.expires_at.since(self.db.world().now());
        Ok(SignedIn {
            tokens: self.tokens(&account, session, token).await?,
            session: session.id,
            device: self.devices.issue(account.id, self.db.world()),
            account,
            cookie: cookie.map(|token| (token.text, left)),
        })
    }

    /// Starts a session of an account that has shown who it is.
    ///
    /// # Errors
    /// `Forbidden` `sign_in_elsewhere`: people sign in at Kratos only.
    pub(crate) async fn start_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        proof: Proof,
        cookie: Option<&Token>,
    ) -> Result<Session> {
        kratos::may_start(self.source, &proof)?;
        let session = self.draft(tx, caller, account, proof);
        self.enter_in(tx, caller, account, session, cookie).await
    }

    /// A session as one of the account begins now, to be entered.
    pub(crate) fn draft(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        proof: Proof,
    ) -> Session {
        let policy = self.policies.of(account.role);
        let impersonator = proof.impersonator;
        let lifetime = match impersonator {
            Some(_) => policy.lifetime.min(IMPERSONATION),
            None => policy.lifetime,
        };
        let proven_ip = (proof.level == Level::Two).then_some(caller.origin.ip).flatten();
        Session {
            id: tx.world().id(),
            user: account.id,
            // Where the admin sits is not for the owner to see among their devices.
            device: impersonator
                .map_or_else(|| Device::from(&caller.origin), |_| Device::default()),
            proof,
            proven_at: tx.now(),
            proven_ip,
            created_at: tx.now(),
            last_seen_at: tx.now(),
            expires_at: tx.now() + lifetime,
            ended_at: None,
            epoch: 0,
            salt: tx.world().random(),
            generation: 0,
            refreshed_at: tx.now(),
            refreshed_by: None,
        }
    }

    /// How long sessions of a role may live.
    pub(crate) const fn lifetime(&self, role: Role) -> Duration {
        self.policies.of(role).lifetime
    }

    /// How many more sessions an account may have before the oldest gives way.
    pub(crate) async fn room(&self, account: &Account) -> Result<usize> {
        let most = self.policies.of(account.role).sessions_max.max(1);
        let page = PageRequest { limit: most.into(), ..PageRequest::default() };
        let live = self.list(account.id, &page).await?.items.len();
        Ok(usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(live))
    }

    /// Enters a drafted session.
    pub(crate) async fn enter_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        session: Session,
        cookie: Option<&Token>,
    ) -> Result<Session> {
        let policy = self.policies.of(account.role);
        store::insert(tx, &session, cookie.map(|token| token.hash)).await?;
        if let Some(admin) = session.proof.impersonator {
            // The admin has done this, not the owner; nor does it cost the owner a session.
            let fact = Fact::by(caller, "session.started").on(session.id).about(account.id);
            tx.record(fact.with("role", account.role).with("impersonator", admin));
            return Ok(session);
        }
        let by = |verb| Fact::by(caller, verb).acted_by(account.id, account.role).about(account.id);
        tx.record(by("session.started").on(session.id).with("role", account.role));
        let keep = policy.sessions_max.max(1);
        let displaced = store::end_beyond(tx, account.id, keep, Reason::Displaced).await?;
        for id in displaced {
            tx.record(by("session.ended").on(id).with("reason", Reason::Displaced.as_str()));
            self.forget_one_after(tx, account.id, id);
            self.end_elsewhere(tx, account.id).await?;
        }
        Ok(session)
    }

    /// Renews the calling session, whose owner has just shown who they are once more, by `method`:
    /// the level rises where the methods of the session are together worth more.
    ///
    /// # Errors
    /// `Unauthenticated`: it is over; `Forbidden` `impersonated`; `Conflict` `changed_meanwhile`.
    pub(crate) async fn prove_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        method: Method,
    ) -> Result<(Account, Renewed)> {
        if caller.principal()?.impersonator.is_some() {
            let message = "Whoever looks through somebody's eyes cannot do this in their name.";
            return Err(Error::forbidden("impersonated", message));
        }
        let (mut session, account) = self.current_in(tx, caller).await?;
        if factor::is_second(method) {
            session.proven_ip = caller.origin.ip;
        }
        let proof = session.proof.clone().and(method);
        let fact = Fact::by(caller, "session.proven").on(session.id).about(session.user);
        tx.record(fact.with("method", method).with("level", proof.level));
        let renewed = self.renew_in(tx, caller, &session, proof).await?;
        Ok((account, renewed))
    }

    /// Renews the calling session as it is, since how its owner signs in has changed: no level rises,
    /// and no proof gets any younger.
    ///
    /// # Errors
    /// As of [`Service::prove_in`].
    pub(crate) async fn renew_current_in(
        &self,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<(Account, Renewed)> {
        let (session, account) = self.current_in(tx, caller).await?;
        let stays = (session.proof.clone(), session.proven_at);
        let renewed = self.renew_as_in(tx, caller, &session, stays).await?;
        Ok((account, renewed))
    }

    /// What is handed to whoever has had their session renewed by a proof.
    pub(crate) async fn proven(&self, (account, renewed): (Account, Renewed)) -> Result<Proven> {
        let Renewed { session, cookie } = renewed;
        let signed_in = self.signed_in(account, &session, cookie).await?;
        let Session { proof, proven_at, .. } = session;
        Ok(Proven { level: proof.level, methods: proof.methods, proven_at, signed_in })
    }

    /// Refuses to add a factor to an account on a session that has shown too little; answers which
    /// ones there are.
    ///
    /// # Errors
    /// `Forbidden` `second_factor_required`.
    pub(crate) async fn check_may_add(
        &self,
        db: &impl Read,
        caller: &Caller,
        account: &Account,
        is_required: bool,
    ) -> Result<factor::Enrolled> {
        let principal = caller.principal()?;
        let enrolled = self.factors.enrolled(db, account).await?;
        let found = store::load(db, Key::Id(principal.session)).await?;
        let is_vouched = found.is_some_and(|(session, _)| session.proof.is_vouched());
        factor::may_add(&enrolled, is_required, principal.level, is_vouched)?;
        Ok(enrolled)
    }

    /// Whether a login at Kratos, of this level, shows once more who an account is.
    pub(crate) async fn is_proof(
        &self,
        db: &impl Read,
        account: &Account,
        level: Level,
    ) -> Result<bool> {
        Ok(factor::is_proof(level, &self.factors.enrolled(db, account).await?))
    }

    /// What was proven on the other sessions of the caller counts no longer as fresh.
    pub(crate) async fn outdate_proofs_in(&self, tx: &Tx, caller: &Caller) -> Result<()> {
        let principal = caller.principal()?;
        store::outdate_proofs(tx, principal.user, principal.session).await?;
        self.forget_after(tx, principal.user);
        Ok(())
    }

    async fn tokens(&self, account: &Account, session: &Session, token: Wish) -> Result<Tokens> {
        let now = self.db.world().now();
        let (of, shows) = ((account.id, account.role), (session.id, session.epoch));
        let claims = Claims {
            act: session.proof.impersonator.map(|sub| Actor { sub }),
            ..self.tokens.claims(of, shows, token.lifetime, session.expires_at)
        };
        Ok(Tokens {
            expires_in: Duration::from_secs(claims.expires_at().seconds().abs_diff(now.seconds())),
            access: self.tokens.sign(claims, token.format).await?,
            refresh: Refresh::text(self.refresh_key.expose(), session, session.generation),
        })
    }

    /// A new access token for the calling session.
    pub(crate) async fn token_for(&self, caller: &Caller, token: Wish) -> Result<Secret<String>> {
        let id = caller.principal()?.session;
        let found = store::load(&self.db, Key::Id(id)).await?;
        let (session, account) = found.ok_or(Refusal::Ended)?;
        Ok(self.tokens(&account, &session, token).await?.access)
    }

    /// The calling session as it stands, for verbs that change what it is.
    ///
    /// # Errors
    /// `Unauthenticated`: it is over.
    pub async fn current_in(&self, tx: &Tx, caller: &Caller) -> Result<(Session, Account)> {
        let id = caller.principal()?.session;
        let found = store::load(tx, Key::Id(id)).await?;
        let (session, account) = found.ok_or(Refusal::Ended)?;
        rules::usable(&session, account.status, self.policies.of(account.role), tx.now())?;
        Ok((session, account))
    }

    /// Renews a session whose owner has just shown more of who they are, or has changed how they
    /// show it: from the commit on, its old cookie, its refresh token and all of its access tokens
    /// are worth nothing here, and on other replicas within a second. Hand out what
    /// [`Service::signed_in`] makes of the renewed one.
    ///
    /// An old refresh token is refused and ends nothing: who holds one may be the owner's other
    /// tab. The session's age goes on: its absolute lifetime is not moved.
    ///
    /// # Errors
    /// `Conflict` `changed_meanwhile`.
    pub async fn renew_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        session: &Session,
        proof: Proof,
    ) -> Result<Renewed> {
        self.renew_as_in(tx, caller, session, (proof, tx.now())).await
    }

    async fn renew_as_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        session: &Session,
        (proof, proven_at): (Proof, Timestamp),
    ) -> Result<Renewed> {
        let becomes = Session {
            proof,
            proven_at,
            epoch: session.epoch + 1,
            salt: tx.world().random(),
            generation: session.generation + 1,
            refreshed_at: tx.now(),
            ..session.clone()
        };
        let cookie = Token::new(tx.world());
        let Some(had_cookie) = store::renew(tx, session, &becomes, &cookie.hash).await? else {
            let message = "The session was changed at the same time. Try again.";
            return Err(Error::conflict("changed_meanwhile", message));
        };
        tx.record(
            Fact::by(caller, "session.renewed")
                .on(session.id)
                .about(session.user)
                .with("level", becomes.proof.level.as_str()),
        );
        self.forget_one_after(tx, session.user, session.id);
        Ok(Renewed { session: becomes, cookie: had_cookie.then_some(cookie) })
    }

    /// Brings new tokens for the current refresh token.
    ///
    /// The token before the current one is answered with the current one for ten seconds after
    /// the change, to the client that made it: the first answer may have been lost, and two tabs may
    /// have asked at once. Any later, from another client, or with an older one, somebody else holds
    /// a token of this session, and it ends.
    ///
    /// # Errors
    /// `Unauthenticated`: `invalid_refresh`, `reused_refresh`, `session_ended`,
    /// `session_expired`.
    pub async fn refresh(&self, caller: &Caller, presented: &str) -> Result<Tokens> {
        self.refresh_as(caller, presented, Wish::default()).await
    }

    /// [`Service::refresh`], with the access token as the client wants it.
    pub async fn refresh_as(
        &self,
        caller: &Caller,
        presented: &str,
        token: Wish,
    ) -> Result<Tokens> {
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
        self.tokens(&account, &session, token).await
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
            // Looked at again as it stands now: it may have been renewed since.
            if !refresh.is_of(&session, self.refresh_key.expose()) {
                return Err(invalid_refresh());
            }
            let policy = self.policies.of(account.role);
            rules::usable(&session, account.status, policy, tx.now())?;
            let client = Some(model::client_of(&caller.origin));
            match rules::meaning(&session, refresh.generation, client, tx.now()) {
                Meaning::Current => {
                    if store::rotate(tx, &session, &caller.origin).await? {
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
        if !store::end(tx, session.user, session.id, Reason::Reuse).await? {
            // Somebody else has noticed, and has said so.
            return Ok(());
        }
        for verb in ["session.reuse_detected", "session.ended"] {
            let fact = Fact::by(caller, verb)
                .on(session.id)
                .about(session.user)
                .with("role", account.role)
                .with("reason", Reason::Reuse.as_str());
            tx.record(fact);
        }
        self.forget_one_after(tx, session.user, session.id);
        self.end_elsewhere(tx, session.user).await
    }

    /// Sessions of a user that have ended here and rest on one of Kratos end there too.
    async fn end_elsewhere(&self, tx: &Tx, user: Id<User>) -> Result<()> {
        if self.source.asks_kratos() { kratos::revoke_ended_in(tx, user).await } else { Ok(()) }
    }

    /// Who presents this, when it is remembered: no statement, no allocation.
    pub fn cached(&self, presented: &str, now: Timestamp) -> Option<Arc<Principal>> {
        if presented.len() > token::jws::LEN_MAX {
            return None;
        }
        let live = self.cache.get(&sha256(presented), now)?;
        Some(Arc::clone(&live.principal))
    }

    /// The same, and for how long from now on another process may believe it; see
    /// [`Users::believable`](rpc::users::Users::believable).
    pub fn believable(&self, presented: &str) -> Option<(Arc<Principal>, Duration)> {
        let (live, long) = self.cache.believable(&sha256(presented), self.db.world().now())?;
        Some((Arc::clone(&live.principal), long))
    }

    /// Who presents this: a cookie's token or an access token in any form. What is refused is not
    /// remembered: to be asked for junk costs time, and no memory.
    ///
    /// # Errors
    /// `Unauthenticated`: `invalid_token`, `expired_token`, `superseded_token`, `session_ended`,
    /// `session_expired`.
    pub async fn authenticate(&self, presented: &str) -> Result<Arc<Principal>> {
        // Before anything is made of it.
        if presented.len() > token::jws::LEN_MAX {
            return Err(invalid_token());
        }
        let now = self.db.world().now();
        if let Some(live) = self.cache.get(&sha256(presented), now) {
            return Ok(Arc::clone(&live.principal));
        }
        self.read(presented, now, Source::Memory).await
    }

    /// Who presents this, as the store has it at this moment, whatever is remembered.
    ///
    /// # Errors
    /// As of [`Service::authenticate`].
    pub async fn confirm(&self, presented: &str) -> Result<Arc<Principal>> {
        if presented.len() > token::jws::LEN_MAX {
            return Err(invalid_token());
        }
        self.read(presented, self.db.world().now(), Source::Store).await
    }

    /// Who is on a session, as the store has it at this moment. To look is not to use: the session
    /// is no less idle for it.
    ///
    /// # Errors
    /// `Unauthenticated`: `session_ended`, `session_expired`.
    pub async fn look_up(
        &self,
        user: Id<User>,
        session: Id<SessionKind>,
    ) -> Result<Arc<Principal>> {
        let found = store::load(&self.db, Key::Id(session)).await?;
        let found = found.filter(|(session, _)| session.user == user);
        let (mut session, account) = found.ok_or(Refusal::Ended)?;
        // When it was last seen is written with a delay, and remembered here without.
        if let Some(live) = self.cache.peek(user, session.id) {
            session.last_seen_at = session.last_seen_at.max(live.seen());
        }
        let policy = self.policies.of(account.role);
        rules::usable(&session, account.status, policy, self.db.world().now())?;
        Ok(Arc::new(account.principal(&session)))
    }

    async fn read(
        &self,
        presented: &str,
        now: Timestamp,
        source: Source,
    ) -> Result<Arc<Principal>> {
        let key = sha256(presented);
        let live = if presented.contains('.') {
            let claims = self.tokens.verify(presented).await?;
            self.by_claims(key, &claims, now, source).await?
        } else {
            self.by_cookie(presented, now, source).await?
        };
        Ok(Arc::clone(&live.principal))
    }

    async fn by_claims(
        &self,
        key: [u8; 32],
        claims: &Claims,
        now: Timestamp,
        source: Source,
    ) -> Result<Arc<Live>> {
        let word = Word { user: claims.sub, until: claims.expires_at(), epoch: Some(claims.epoch) };
        self.by_word(key, claims.sid, word, now, source).await
    }

    /// A session of which somebody who is believed says that this shows it.
    async fn by_word(
        &self,
        key: [u8; 32],
        session: Id<SessionKind>,
        word: Word,
        now: Timestamp,
        source: Source,
    ) -> Result<Arc<Live>> {
        let known = match source {
            Source::Memory => self.cache.find(word.user, session, now),
            Source::Store => None,
        };
        if let Some(live) = known.filter(|live| word.epoch.is_none_or(|epoch| epoch == live.epoch))
        {
            // The same session under a new token: what is known of it holds.
            return Ok(self.cache.present(key, word.until, live, now));
        }
        let live = self.load(Key::Id(session), key, Some(word), now).await?;
        live.ok_or_else(|| Refusal::Ended.into())
    }

    async fn by_cookie(
        &self,
        presented: &str,
        now: Timestamp,
        source: Source,
    ) -> Result<Arc<Live>> {
        if presented.len() != OPAQUE_LEN {
            return Err(invalid_token());
        }
        let key = sha256(presented);
        if matches!(source, Source::Memory)
            && let Some(live) = self.cache.get(&key, now)
        {
            return Ok(live);
        }
        self.load(Key::Cookie(key), key, None, now).await?.ok_or_else(invalid_token)
    }

    /// A new access token in the form of one that is over, where the cookie of the same session
    /// stands beside it. Nothing is written: the session is as old as before, and its refresh
    /// token is the same.
    ///
    /// # Errors
    /// `Unauthenticated`: `expired_token` where the cookie is worth nothing either,
    /// `session_mismatch`, `superseded_token`; `invalid_token` where the access token is not ours
    /// or not over.
    pub async fn reissue(&self, expired: &str, cookie: &str) -> Result<Reissued> {
        let claims = self.tokens.verify_expired(expired).await?;
        let live = match self.by_cookie(cookie, self.db.world().now(), Source::Memory).await {
            Ok(live) => live,
            Err(error) if error.kind() == Kind::Unauthenticated => {
                return Err(token::Refusal::Expired.into());
            }
            Err(error) => return Err(error),
        };
        let principal = Arc::clone(&live.principal);
        if (principal.user, principal.session) != (claims.sub, claims.sid) {
            return Err(Refusal::Mismatch.into());
        }
        if live.epoch != claims.epoch {
            return Err(Refusal::Superseded.into());
        }
        let (of, shows) = ((principal.user, principal.role), (principal.session, live.epoch));
        let claims = self.tokens.claims(of, shows, None, live.expires_at);
        let token = self.tokens.sign(claims, Format::of(expired)).await?;
        metrics::counter!("tokens_reissued_total").increment(1);
        Ok(Reissued { principal, token })
    }

    /// Who is on a session that Kratos vouches for until then, under what was presented; where
    /// `strict`, as the store has it at this moment.
    ///
    /// # Errors
    /// `Unauthenticated`: `session_ended`, `session_expired`.
    pub(crate) async fn vouched(
        &self,
        presented: &str,
        whose: (Id<User>, Id<SessionKind>),
        until: Timestamp,
        strict: bool,
    ) -> Result<Arc<Principal>> {
        let now = self.db.world().now();
        let (user, session) = whose;
        let word = Word { user, until, epoch: None };
        let source = if strict { Source::Store } else { Source::Memory };
        let live = self.by_word(sha256(presented), session, word, now, source).await?;
        Ok(Arc::clone(&live.principal))
    }

    /// Something made of a session and its account, kept with what is remembered of them: made
    /// once, and made anew when either has changed.
    ///
    /// # Errors
    /// `Unauthenticated` `session_ended`; what `make` complains of.
    pub(crate) async fn kept(
        &self,
        principal: &Principal,
        make: impl Fn(&Session, &Account) -> Result<Bytes>,
    ) -> Result<Bytes> {
        // Looked up before the store is read: what is read later than a change never ends up in
        // what was remembered before it.
        let live = self.cache.peek(principal.user, principal.session);
        if let Some(kept) = live.as_ref().and_then(|live| live.kept.get()) {
            return Ok(Bytes::clone(kept));
        }
        let found = store::load(&self.db, Key::Id(principal.session)).await?;
        let (session, account) = found.ok_or(Refusal::Ended)?;
        let made = make(&session, &account)?;
        if let Some(live) = live {
            // Of two at once either's will do.
            let _ = live.kept.set(Box::new(made.clone()));
        }
        Ok(made)
    }

    /// Reads a session from the store and remembers it under what was presented. Where a word came
    /// with it, it must speak of the session's user, and holds until then.
    async fn load(
        &self,
        by: Key,
        key: [u8; 32],
        word: Option<Word>,
        now: Timestamp,
    ) -> Result<Option<Arc<Live>>> {
        let ticket: Ticket = self.cache.ticket();
        let Some((session, account)) = store::load(&self.db, by).await? else { return Ok(None) };
        if word.is_some_and(|word| word.user != session.user) {
            return Ok(None);
        }
        let policy = self.policies.of(account.role);
        rules::usable(&session, account.status, policy, now)?;
        if word.and_then(|word| word.epoch).is_some_and(|epoch| epoch != session.epoch) {
            return Err(Refusal::Superseded.into());
        }
        let principal = account.principal(&session);
        let me = (self.show)(&account, &principal)?;
        let live = Live::new(
            principal,
            me,
            (account.version, session.epoch),
            (session.expires_at, policy.idle),
            session.last_seen_at,
            now,
        );
        let until = word.map_or(session.expires_at, |word| word.until);
        Ok(Some(self.cache.remember(ticket, key, until, live, now)))
    }

    /// The body of `GET /v1/me`; from memory after an authentication.
    pub async fn me(&self, caller: &Caller) -> Result<Bytes> {
        let principal = caller.principal()?;
        if let Some(live) = self.cache.peek(principal.user, principal.session) {
            return Ok(live.me.clone());
        }
        let account = account::store::get(&self.db, principal.user).await?;
        (self.show)(&account, principal)
    }

    /// What a token of any kind is worth; `None` when nothing, or when it is no business of the
    /// caller's, who may ask for their own tokens and, as an admin, for everybody's. To ask is
    /// not to use: the session is no less idle for it, and no refresh token is used up.
    pub async fn introspect(
        &self,
        caller: &Caller,
        presented: &str,
    ) -> Result<Option<Introspection>> {
        let asks = caller.principal()?;
        let worth = match self.worth(presented).await {
            Ok(worth) => worth,
            Err(error) if error.kind() == Kind::Unauthenticated => return Ok(None),
            Err(error) => return Err(error),
        };
        let may_know = worth.session.user == asks.user || caller.is_admin();
        Ok(may_know.then_some(worth))
    }

    async fn worth(&self, presented: &str) -> Result<Introspection> {
        if presented.len() > token::jws::LEN_MAX {
            return Err(invalid_token());
        }
        let (mut claims, mut refresh) = (None, None);
        let (kind, by) = if presented.contains('.') {
            let said = claims.insert(self.tokens.verify(presented).await?);
            (model::Kind::Access(Format::of(presented)), Key::Id(said.sid))
        } else if let Some(parsed) = Refresh::parse(presented) {
            let parsed = refresh.insert(parsed);
            (model::Kind::Refresh, Key::Id(parsed.session))
        } else {
            (model::Kind::Cookie, Key::Cookie(sha256(presented)))
        };
        let found = store::load(&self.db, by).await?;
        let (mut session, account) = found.ok_or_else(invalid_token)?;
        let now = self.db.world().now();
        if let Some(live) = self.cache.peek(session.user, session.id) {
            session.last_seen_at = session.last_seen_at.max(live.seen());
        }
        rules::usable(&session, account.status, self.policies.of(account.role), now)?;
        let stands = match (&claims, &refresh) {
            (Some(said), _) => said.sub == session.user && said.epoch == session.epoch,
            (_, Some(refresh)) => {
                refresh.is_of(&session, self.refresh_key.expose())
                    && rules::meaning(&session, refresh.generation, None, now) != Meaning::Reused
            }
            (None, None) => true,
        };
        if !stands {
            return Err(invalid_token());
        }
        let expires_at = claims.as_ref().map_or(session.expires_at, Claims::expires_at);
        let principal = account.principal(&session);
        Ok(Introspection { kind, session, principal, expires_at, claims })
    }

    /// How many presentations of sessions this process remembers. What was refused is not among
    /// them.
    pub fn remembered(&self) -> usize {
        self.cache.presentations()
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
        let Principal { user, session, .. } = *caller.principal()?;
        match self.end(caller, session, Reason::Logout).await {
            // Over already, which is what was asked for. Another process has ended it, and its
            // notice may still be on its way.
            Err(error) if error.kind() == Kind::NotFound => {
                self.cache.forget(&Notice::part_of(user.uuid(), session.uuid()));
                Ok(())
            }
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
                self.end_elsewhere(&tx, user).await
            })
            .await
    }

    /// Ends one session of a user, as part of something else, which records it; `false` when it
    /// is not theirs or is over.
    pub(crate) async fn end_in(
        &self,
        tx: &Tx,
        user: Id<User>,
        id: Id<SessionKind>,
        reason: Reason,
    ) -> Result<bool> {
        let ended = store::end(tx, user, id, reason).await?;
        self.forget_one_after(tx, user, id);
        self.end_elsewhere(tx, user).await?;
        Ok(ended)
    }

    /// Ends all sessions in which an admin looks at the platform as somebody else; answers which,
    /// and as whom.
    pub(crate) async fn end_impersonations_in(
        &self,
        tx: &Tx,
        admin: Id<User>,
        reason: Reason,
    ) -> Result<Vec<(Id<SessionKind>, Id<User>)>> {
        let ended = store::end_impersonations(tx, admin, reason).await?;
        for (session, user) in &ended {
            self.forget_one_after(tx, *user, *session);
        }
        Ok(ended)
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
        account::store::touch(tx, user).await?;
        let ended = store::end_all(tx, user, reason, except).await?;
        self.forget_after(tx, user);
        self.end_elsewhere(tx, user).await?;
        Ok(ended)
    }

    /// Once the transaction has committed, what is remembered of a user is read again, here and
    /// in every other process.
    pub(crate) fn forget_after(&self, tx: &Tx, user: Id<User>) {
        tx.tell(Notice::all_of(user.uuid()));
    }

    pub(crate) fn forget_one_after(&self, tx: &Tx, user: Id<User>, session: Id<SessionKind>) {
        tx.tell(Notice::part_of(user.uuid(), session.uuid()));
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

/// Keeps a password hash made anew; the account as it is stored from here on.
async fn rehash_in(tx: &Tx, account: &Account, rehashed: Option<&Phc>) -> Result<Account> {
    let mut account = account.clone();
    if let Some(rehashed) = rehashed
        && account::store::rehash(tx, &account, rehashed).await?
    {
        account.password = Some(rehashed.clone());
    }
    Ok(account)
}

/// What a guess is counted against: on a known device that alone, so that nobody else can use up
/// what its owner needs.
fn guess<'a>(email: &'a Email, ip: Option<IpAddr>, known: Option<Subject<'a>>) -> Vec<Ask<'a>> {
    let ask = |(class, quota), subject| Ask { class, subject, quota };
    if let Some(device) = known {
        return vec![ask(GUESSES_ON, device)];
    }
    let from = ip.map(|ip| ask(GUESSES_FROM, Subject::pair(email.as_str(), ip)));
    from.into_iter().chain([ask(GUESSES, Subject::Text(email.as_str()))]).collect()
}

/// Said only to whoever has shown who they are.
pub(crate) fn may_sign_in(account: &Account, unproved: bool) -> Result<()> {
    match account.status {
        Status::Active if unproved || account.email_verified_at.is_some() => Ok(()),
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

/// The same with a code beside it, whichever of the two was wrong.
fn refused(code: Option<&Code>) -> Error {
    if code.is_some() { factor::invalid_credentials() } else { invalid_credentials() }
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
