//! Sessions as their owner or an admin controls them from elsewhere: found, listed, begun anew,
//! made longer or shorter, and ended.
//!
//! No session outlives what its owner has proven: one that begins from another inherits when that
//! was, and none lasts longer after it than the policy of the role allows. A session that somebody
//! has stolen can therefore not be handed on for ever. One that Kratos vouches for begins no others
//! and is as long as Kratos says: what was made of it would outlive the identity.

use kernel::id::kinds::{Session as SessionKind, User};
use kernel::{Caller, Error, Id, Result, Secret, Timestamp};
use platform::crypto::Token;
use platform::journal::Fact;
use uuid::Uuid;

use super::model::{Reason, Refresh, Session};
use super::service::Service;
use super::{rules, store};
use crate::account::{self, Account};
use crate::kratos;

/// How a session is named.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Locator {
    Id(Id<SessionKind>),
    /// The one session from the first id to the last.
    Between(Uuid, Uuid),
}

/// A session that was begun, and what shows it.
pub(crate) struct Begun {
    pub(crate) session: Session,
    pub(crate) cookie: Secret<String>,
    pub(crate) refresh: Secret<String>,
}

impl Service {
    /// A session of the caller's, or of anybody's for an admin, live or over.
    ///
    /// # Errors
    /// `NotFound`: none, somebody else's, or deleted.
    pub(crate) async fn find(
        &self,
        caller: &Caller,
        locator: Locator,
    ) -> Result<(Session, Account)> {
        let found = match locator {
            Locator::Id(id) => store::find(&self.db, (id.uuid(), id.uuid())).await?,
            Locator::Between(first, last) => store::find(&self.db, (first, last)).await?,
        };
        let found = found.filter(|(_, _, reason)| reason.as_deref() != Some("deleted"));
        let (session, account, _) = found.ok_or_else(|| Error::not_found("session"))?;
        if caller.user()? != session.user && !caller.is_admin() {
            return Err(Error::not_found("session"));
        }
        Ok((session, account))
    }

    /// A session as it stands, for whoever has just been given it.
    pub(crate) async fn row(&self, id: Id<SessionKind>) -> Result<Session> {
        let found = store::find(&self.db, (id.uuid(), id.uuid())).await?;
        found.map(|(session, ..)| session).ok_or_else(|| Error::not_found("session"))
    }

    /// The caller's sessions, or everybody's for an admin: the live ones or those that were ended,
    /// newest first.
    pub(crate) async fn window(
        &self,
        caller: &Caller,
        ended: bool,
        limit: i64,
        offset: i64,
    ) -> Result<Vec<Session>> {
        let user = caller.user()?;
        let user = (!caller.is_admin()).then_some(user);
        store::window(&self.db, user, ended, self.db.world().now(), (limit, offset)).await
    }

    /// Whether a session may be used.
    ///
    /// # Errors
    /// `Unauthenticated`: `session_ended`, `session_expired`.
    pub(crate) fn check(&self, session: &Session, account: &Account) -> Result<()> {
        let (policy, now) = (self.policies.of(account.role), self.db.world().now());
        Ok(rules::usable(session, account.status, policy, now)?)
    }

    /// Begins one more session of the caller, proven as the calling one and ending no later.
    ///
    /// # Errors
    /// A field error `out_of_range` on `/expires_at`; `Conflict` `session_kept_elsewhere` where
    /// Kratos vouches for the calling one; `Forbidden` for somebody who looks through another's eyes.
    pub(crate) async fn begin_another(
        &self,
        caller: &Caller,
        until: Option<Timestamp>,
    ) -> Result<Begun> {
        if caller.principal()?.impersonator.is_some() {
            let message = "Whoever looks through somebody's eyes begins no sessions.";
            return Err(Error::forbidden("impersonated", message));
        }
        let cookie = Token::new(self.db.world());
        let session = self
            .db
            .run("session.begin_another", |tx| {
                let cookie = &cookie;
                async move {
                    account::store::touch(&tx, caller.user()?).await?;
                    let (current, account) = self.current_in(&tx, caller).await?;
                    let until = within(until, (tx.now(), current.expires_at))?;
                    if current.proof.is_vouched() {
                        let message = "This session rests on the identity provider's and begins no \
                                       others. Sign in there once more.";
                        return Err(kept_elsewhere(message));
                    }
                    kratos::may_start(self.source, &current.proof)?;
                    let session = Session {
                        proven_at: current.proven_at,
                        // Nothing was shown here: whoever holds the token may be anywhere.
                        proven_ip: None,
                        expires_at: until,
                        ..self.draft(&tx, caller, &account, current.proof)
                    };
                    self.enter_in(&tx, caller, &account, session, Some(cookie)).await
                }
            })
            .await?;
        let refresh = Refresh::text(self.refresh_key.expose(), &session, session.generation);
        Ok(Begun { session, cookie: cookie.text, refresh })
    }

    /// Sets when a session is over, whatever happens.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `session_over`, `session_kept_elsewhere` where Kratos vouches for it;
    /// a field error `out_of_range` on `/expires_at`; `Forbidden` `impersonated` for the session of
    /// an admin who looks through somebody's eyes.
    pub(crate) async fn extend(
        &self,
        caller: &Caller,
        locator: Locator,
        until: Timestamp,
    ) -> Result<(Session, Account)> {
        let (session, account) = self.find(caller, locator).await?;
        self.check(&session, &account)
            .map_err(|refusal| Error::conflict("session_over", refusal.message().to_owned()))?;
        if session.proof.impersonator.is_some() {
            let message = "A look through somebody's eyes is over when its time is.";
            return Err(Error::forbidden("impersonated", message));
        }
        if session.proof.is_vouched() {
            let message = "This session is as long as the identity provider's. Extend that one.";
            return Err(kept_elsewhere(message));
        }
        let latest = session.proven_at + self.policies.of(account.role).lifetime;
        let (session, user) = (&session, account.id);
        self.db
            .run("session.extend", |tx| async move {
                let mut extended = session.clone();
                extended.expires_at = within(Some(until), (tx.now(), latest))?;
                if !store::set_expiry(&tx, extended.id, extended.expires_at).await? {
                    return Err(Error::conflict("session_over", "The session has ended."));
                }
                tx.record(
                    Fact::by(caller, "session.extended")
                        .on(extended.id)
                        .about(user)
                        .with("expiresAt", extended.expires_at),
                );
                self.forget_one_after(&tx, user, extended.id);
                Ok(extended)
            })
            .await
            .map(|extended| (extended, account))
    }

    /// Ends a session of the caller's, or of anybody's by an admin. One that is over already stays
    /// so; a deleted one is not found any more.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn end_found(
        &self,
        caller: &Caller,
        locator: Locator,
        reason: Reason,
    ) -> Result<()> {
        let (session, _) = self.find(caller, locator).await?;
        let (user, id): (Id<User>, _) = (session.user, session.id);
        self.db
            .run("session.end", |tx| async move {
                let ended = store::end(&tx, user, id, reason).await?;
                let deleted = reason == Reason::Deleted && store::hide(&tx, id).await?;
                if !ended && !deleted {
                    return Ok(());
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
}

fn kept_elsewhere(message: &'static str) -> Error {
    Error::conflict("session_kept_elsewhere", message)
}

/// A point in time after now and no later than the last one that is allowed, which it is when
/// nothing is said.
fn within(until: Option<Timestamp>, (now, latest): (Timestamp, Timestamp)) -> Result<Timestamp> {
    let until = until.unwrap_or(latest);
    if now < until && until <= latest {
        return Ok(until);
    }
    let message = format!("after now, and no later than {}", latest.to_second_text());
    Err(Error::field("/expires_at", "out_of_range", message))
}
