//! `SessionService`.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::caller::Origin;
use kernel::error::Fields;
use kernel::{Caller, Error, Id, Result, Secret, Timestamp};
use rpc::streamfair::{NewSession, Session, Sessions};
use uuid::Uuid;

use super::Service;
use crate::handle;
use crate::session::{self, Locator, Reason};

/// A session's UUID as it is written. What is none names nothing.
fn locator(text: &str) -> Result<Locator> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(Error::not_found("session"));
    }
    let uuid = Uuid::try_parse(text).map_err(|_| Error::not_found("session"))?;
    Ok(Locator::Id(Id::from_uuid(uuid)))
}

impl Service {
    /// A session as Streamfair knows it.
    pub(super) async fn session_of(
        &self,
        session: &session::Session,
        refresh: Option<Secret<String>>,
    ) -> Result<Session> {
        let handle = handle::store::of(&self.db, session.user).await?;
        let device = &session.device;
        Ok(Session {
            uuid: session.id.uuid().to_string(),
            username: handle.map(|h| h.username.shown().to_owned()).unwrap_or_default(),
            refresh_token: refresh,
            user_agent: device.user_agent.clone().unwrap_or_default(),
            client_ip: device.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            blocked: session.ended_at.is_some(),
            expires_at: session.expires_at,
            created_at: session.created_at,
        })
    }

    async fn create_session(&self, caller: &Caller, new: NewSession) -> Result<Session> {
        let mut fields = Fields::new();
        let chosen = "leave it empty: the server chooses";
        if !new.uuid.is_empty() {
            fields.add("/uuid", "not_allowed", chosen);
        }
        if !new.refresh_token.expose().is_empty() {
            fields.add("/refresh_token", "not_allowed", chosen);
        }
        if new.blocked {
            fields.add("/is_blocked", "not_allowed", "a session begins alive");
        }
        if !new.username.is_empty() {
            let named = self.by_name(&self.db, &new.username).await;
            let named = fields.take(named).flatten().map(|account| account.id);
            if named != Some(caller.user()?) {
                fields.add("/username", "not_allowed", "one begins sessions of one's own");
            }
        }
        fields.check()?;
        let mut caller = caller.clone();
        if !new.user_agent.is_empty() {
            let user_agent = Some(new.user_agent.as_str().into());
            caller.origin = Origin { user_agent, ..caller.origin };
        }
        let begun = self.sessions.begin_another(&caller, new.expires_at).await?;
        self.session_of(&begun.session, Some(begun.refresh)).await
    }

    async fn extend_session(
        &self,
        caller: &Caller,
        uuid: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<Session> {
        let missing = || Error::field("/expires_at", "missing", "say until when");
        let until = expires_at.ok_or_else(missing)?;
        let (session, _) = self.sessions.extend(caller, locator(uuid)?, until).await?;
        self.session_of(&session, None).await
    }
}

impl Sessions for Service {
    fn create<'a>(&'a self, caller: &'a Caller, new: NewSession) -> BoxFuture<'a, Result<Session>> {
        self.create_session(caller, new).boxed()
    }

    fn extend<'a>(
        &'a self,
        caller: &'a Caller,
        uuid: &'a str,
        expires_at: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<Session>> {
        self.extend_session(caller, uuid, expires_at).boxed()
    }

    fn get<'a>(&'a self, caller: &'a Caller, uuid: &'a str) -> BoxFuture<'a, Result<Session>> {
        async move {
            let (session, _) = self.sessions.find(caller, locator(uuid)?).await?;
            self.session_of(&session, None).await
        }
        .boxed()
    }

    fn delete<'a>(&'a self, caller: &'a Caller, uuid: &'a str) -> BoxFuture<'a, Result<()>> {
        async move { self.sessions.end_found(caller, locator(uuid)?, Reason::Deleted).await }
            .boxed()
    }

    fn revoke<'a>(&'a self, caller: &'a Caller, uuid: &'a str) -> BoxFuture<'a, Result<()>> {
        async move { self.sessions.end_found(caller, locator(uuid)?, Reason::Revoked).await }
            .boxed()
    }

    fn verify<'a>(&'a self, caller: &'a Caller, uuid: &'a str) -> BoxFuture<'a, Result<Session>> {
        async move {
            let (session, account) = self.sessions.find(caller, locator(uuid)?).await?;
            self.sessions.check(&session, &account)?;
            self.session_of(&session, None).await
        }
        .boxed()
    }
}
