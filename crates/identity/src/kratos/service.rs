//! Both directions behind one door: who presents a credential of Kratos, what its hooks cause, and
//! what its session endpoints answer here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kernel::id::kinds::Session as SessionKind;
use kernel::{Caller, Error, Id, Level, PageRequest, Principal, Result, Secret, Timestamp};
use platform::crypto::{base64url, sha256};
use platform::db::Db;
use serde::Serialize;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::model::{self, Mode, Options};
use super::remote::{Follow, Outcome, Remote};
use super::rules::Refusal;
use super::shape::SessionBody;
use crate::PublicUrl;
use crate::account;
use crate::session::{self, Reason, Session};
use crate::token;

/// Sessions of one user that are looked at; policies keep them far below.
const SESSIONS_MAX: i64 = 1000;
/// How long a tokenised session may be shown around.
const STATEMENT_LIFETIME: Duration = Duration::from_secs(60);

/// What the service is made of.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) accounts: Arc<account::Service>,
    pub(crate) sessions: Arc<session::Service>,
    pub(crate) tokens: Arc<token::Service>,
    pub(crate) public_url: PublicUrl,
    pub(crate) options: Options,
}

/// The verbs of Kratos.
pub struct Service {
    db: Db,
    sessions: Arc<session::Service>,
    tokens: Arc<token::Service>,
    pub(super) public_url: PublicUrl,
    mode: Mode,
    hook_key: Option<Secret<String>>,
    whoami_level: Level,
    remote: Option<Arc<Remote>>,
}

/// A flow of Kratos that may end with a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Login,
    Registration,
    Settings,
    Recovery,
    Verification,
}

impl Flow {
    /// # Errors
    /// `NotFound`.
    pub(super) fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "login" => Self::Login,
            "registration" => Self::Registration,
            "settings" => Self::Settings,
            "recovery" => Self::Recovery,
            "verification" => Self::Verification,
            _ => return Err(Error::not_found("hook")),
        })
    }

    const fn follow(self) -> Follow {
        match self {
            Self::Login | Self::Registration => Follow::Nothing,
            // What was chosen there holds here; who only proves an address has chosen nothing.
            Self::Settings => Follow::AddressAndName,
            Self::Recovery | Self::Verification => Follow::Address,
        }
    }
}

/// The claims of a tokenised session, as Kratos's own have them.
#[derive(Serialize)]
struct Statement<'a> {
    iss: &'a str,
    sub: Uuid,
    sid: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
}

/// One page of sessions, and how many there are in all.
pub(super) struct Listed {
    pub(super) sessions: Vec<Session>,
    pub(super) total: usize,
    /// Where the next page begins, when there is one.
    pub(super) next: Option<Id<SessionKind>>,
}

/// Where a page of Kratos's begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum From {
    /// So many sessions from the start.
    Offset(usize),
    After(Id<SessionKind>),
}

impl Service {
    /// # Errors
    /// `Invalid` `invalid_address`: an address of Kratos that is none, where it is needed.
    pub(crate) fn new(parts: Parts) -> Result<Self> {
        let Parts { db, accounts, sessions, tokens, public_url, options } = parts;
        let remote = if options.mode.asks_kratos() {
            Some(Remote::new(db.clone(), accounts, Arc::clone(&sessions), &options)?)
        } else {
            None
        };
        Ok(Self {
            db,
            sessions,
            tokens,
            public_url,
            mode: options.mode,
            hook_key: options.hook_key,
            whoami_level: options.whoami_level,
            remote,
        })
    }

    pub(super) const fn remote(&self) -> Option<&Arc<Remote>> {
        self.remote.as_ref()
    }

    /// Who presents what only Kratos can judge, or something of ours in Kratos's cookie.
    ///
    /// # Errors
    /// See [`rpc::users::Users::authenticate`].
    pub(crate) async fn authenticate(&self, presented: &str) -> Result<Arc<Principal>> {
        match (ours(presented), &self.remote) {
            (Some(ours), _) => self.sessions.authenticate(ours).await,
            (None, Some(remote)) => remote.authenticate(presented, false).await,
            (None, None) => self.sessions.authenticate(presented).await,
        }
    }

    /// The same, of the store and not of memory.
    ///
    /// # Errors
    /// See [`rpc::users::Users::confirm`].
    pub(crate) async fn confirm(&self, presented: &str) -> Result<Arc<Principal>> {
        match (ours(presented), &self.remote) {
            (Some(ours), _) => self.sessions.confirm(ours).await,
            (None, Some(remote)) => remote.authenticate(presented, true).await,
            (None, None) => self.sessions.confirm(presented).await,
        }
    }

    /// Whether a hook shows the key that is configured.
    ///
    /// # Errors
    /// `NotFound` where there are no hooks; `Unauthenticated` `invalid_hook_key`.
    pub(super) fn check_hook_key(&self, shown: Option<&str>) -> Result<()> {
        let (Some(key), true) = (&self.hook_key, self.mode.asks_kratos()) else {
            return Err(Error::not_found("hook"));
        };
        // Of equal length whatever was sent, so that the time tells nothing.
        let is_right = shown.is_some_and(|shown| sha256(shown).ct_eq(&sha256(key.expose())).into());
        if is_right {
            return Ok(());
        }
        Err(Error::unauthenticated("invalid_hook_key", "The key of the hook is not right."))
    }

    /// Takes up what a flow has changed about an identity; sent again, it changes nothing more.
    ///
    /// # Errors
    /// `NotFound`: Kratos knows no such identity; `Unavailable` `kratos_unavailable`.
    pub(super) async fn hook(
        &self,
        caller: &Caller,
        flow: Flow,
        identity: Uuid,
    ) -> Result<Outcome> {
        let remote = self.remote.as_ref().ok_or_else(|| Error::not_found("hook"))?;
        remote.take_up(caller, identity, flow.follow()).await
    }

    /// Whether Kratos's endpoints are answered here.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn stands_in(&self) -> Result<()> {
        if self.mode.stands_in() { Ok(()) } else { Err(Error::not_found("page")) }
    }

    /// The calling session, as `GET /sessions/whoami` answers it. No statement where it is
    /// remembered.
    ///
    /// # Errors
    /// `Forbidden` `second_factor_required`: not at the level that is demanded.
    pub(super) async fn whoami(&self, caller: &Caller) -> Result<Bytes> {
        self.stands_in()?;
        let principal = caller.principal()?;
        self.is_enough(principal)?;
        self.sessions
            .kept(principal, |session, account| {
                SessionBody::of(session, account, &self.public_url).bytes()
            })
            .await
    }

    fn is_enough(&self, principal: &Principal) -> Result<()> {
        if principal.level >= self.whoami_level {
            return Ok(());
        }
        Err(Refusal::SecondFactorDue.into())
    }

    /// The calling session as a signed statement for a minute, which anybody can check with the
    /// published keys and nobody can sign in with.
    ///
    /// # Errors
    /// `Forbidden` `impersonated`: it would say that somebody else is the user.
    pub(super) async fn tokenize(&self, caller: &Caller) -> Result<Secret<String>> {
        let principal = caller.principal()?;
        if principal.impersonator.is_some() {
            let message = "Whoever looks through somebody's eyes gets no statement that they are \
                           that person. Ask without tokenize_as.";
            return Err(Error::forbidden("impersonated", message));
        }
        let now = self.now();
        self.tokens
            .state(&Statement {
                iss: self.tokens.issuer(),
                sub: principal.user.uuid(),
                sid: principal.session.uuid(),
                iat: now.seconds(),
                nbf: now.seconds(),
                exp: (now + STATEMENT_LIFETIME).seconds(),
                jti: base64url(self.db.world().random::<12>()),
            })
            .await
    }

    fn now(&self) -> Timestamp {
        self.db.world().now()
    }

    /// The caller's other sessions, newest first, and the account.
    ///
    /// # Errors
    /// As [`Service::whoami`]: who may not see the one may not see the others.
    pub(super) async fn list(
        &self,
        caller: &Caller,
        from: From,
        size: usize,
    ) -> Result<(Listed, account::Account)> {
        self.stands_in()?;
        let principal = caller.principal()?;
        self.is_enough(principal)?;
        let page = PageRequest { limit: SESSIONS_MAX, ..PageRequest::default() };
        let mut sessions = self.sessions.list(principal.user, &page).await?.items;
        sessions.retain(|session| session.id != principal.session);
        let total = sessions.len();
        match from {
            From::Offset(offset) => drop(sessions.drain(..offset.min(total))),
            // Newest first: what follows began earlier.
            From::After(last) => sessions.retain(|session| session.id < last),
        }
        let more = sessions.len() > size;
        sessions.truncate(size);
        let next = sessions.last().filter(|_| more).map(|session| session.id);
        let account = account::store::get(&self.db, principal.user).await?;
        Ok((Listed { sessions, total, next }, account))
    }

    /// Ends the caller's other sessions; answers how many.
    pub(super) async fn end_others(&self, caller: &Caller) -> Result<usize> {
        self.stands_in()?;
        self.sessions.end_all(caller, true).await
    }

    /// Ends one of the caller's other sessions.
    ///
    /// # Errors
    /// `Invalid` `current_session`; `NotFound`: not theirs, or over.
    pub(super) async fn end(&self, caller: &Caller, id: Id<SessionKind>) -> Result<()> {
        self.stands_in()?;
        if caller.principal()?.session == id {
            let message = "The current session cannot be revoked here. Sign out instead.";
            return Err(Error::invalid("current_session", message));
        }
        self.sessions.end(caller, id, Reason::Revoked).await
    }
}

/// Something of ours in Kratos's cookie: software that was written for Kratos sends what it was
/// given under the name it knows.
fn ours(presented: &str) -> Option<&str> {
    model::cookie_value(presented).filter(|value| session::may_be_ours(value))
}
