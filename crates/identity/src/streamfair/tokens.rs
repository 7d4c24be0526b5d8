//! `TokenService`: tokens and refresh tokens, both over sessions.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::{Caller, Error, Result, Secret, Timestamp};
use rpc::streamfair::{Form, Token, TokenRef, Tokens, Window};

use super::{Service, number};
use crate::session::{Introspection, Kind, Locator, Reason, Session};

fn unknown() -> Error {
    Error::not_found("token")
}

/// The kinds of text that a form stands for.
const fn is_of(form: Form, kind: Kind) -> bool {
    match form {
        Form::Access => matches!(kind, Kind::Access(_) | Kind::Cookie),
        Form::Refresh => matches!(kind, Kind::Refresh),
    }
}

/// A session as the token that shows it.
fn token_of(form: Form, session: &Session) -> Token {
    Token {
        id: number::of(session.id),
        user_id: number::of(session.user),
        token_type: match form {
            Form::Access => "session",
            Form::Refresh => "refresh",
        },
        token: None,
        session: session.id.uuid().to_string(),
        revoked: session.ended_at.is_some(),
        expires_at: session.expires_at,
        created_at: session.created_at,
        updated_at: session.ended_at.unwrap_or(session.last_seen_at),
    }
}

impl Service {
    async fn create_token(
        &self,
        caller: &Caller,
        form: Form,
        user_id: i64,
        expires_at: &str,
    ) -> Result<Token> {
        if user_id != 0 && user_id != number::of(caller.user()?) {
            let message = "One makes tokens of one's own.";
            return Err(Error::forbidden("forbidden", message));
        }
        let until = match expires_at {
            "" => None,
            text => Some(text.parse::<Timestamp>().map_err(|_| {
                Error::field("/expires_at", "invalid", "RFC 3339, such as 2026-11-22T06:25:15Z")
            })?),
        };
        let begun = self.sessions.begin_another(caller, until).await?;
        let text = match form {
            Form::Access => begun.cookie,
            Form::Refresh => begun.refresh,
        };
        Ok(Token { token: Some(text), ..token_of(form, &begun.session) })
    }

    /// What a text is worth; none when nothing, or when it is no business of the caller's.
    async fn worth(
        &self,
        caller: &Caller,
        form: Form,
        text: &Secret<String>,
    ) -> Result<Option<Introspection>> {
        let worth = self.sessions.introspect(caller, text.expose()).await?;
        Ok(worth.filter(|worth| is_of(form, worth.kind)))
    }

    async fn get_token(&self, caller: &Caller, form: Form, token: TokenRef) -> Result<Token> {
        match token {
            TokenRef::Id(id) => {
                let (first, last) = number::range(id).ok_or_else(unknown)?;
                let found = self.sessions.find(caller, Locator::Between(first, last)).await;
                Ok(token_of(form, &found.map_err(as_token)?.0))
            }
            TokenRef::Value(text) => {
                let worth = self.worth(caller, form, &text).await?.ok_or_else(unknown)?;
                Ok(shown(form, &worth))
            }
        }
    }

    async fn end_token(
        &self,
        caller: &Caller,
        form: Form,
        token: TokenRef,
        reason: Reason,
    ) -> Result<()> {
        let locator = match token {
            TokenRef::Id(id) => {
                let (first, last) = number::range(id).ok_or_else(unknown)?;
                Locator::Between(first, last)
            }
            TokenRef::Value(text) => {
                let worth = self.worth(caller, form, &text).await?.ok_or_else(unknown)?;
                Locator::Id(worth.session.id)
            }
        };
        self.sessions.end_found(caller, locator, reason).await.map_err(as_token)
    }

    async fn list_tokens(
        &self,
        caller: &Caller,
        form: Form,
        revoked: bool,
        window: Window,
    ) -> Result<Vec<Token>> {
        let found = self.sessions.window(caller, revoked, window.limit, window.offset).await?;
        Ok(found.iter().map(|session| token_of(form, session)).collect())
    }

    async fn verify_token(
        &self,
        caller: &Caller,
        form: Form,
        text: &Secret<String>,
    ) -> Result<Token> {
        if text.expose().is_empty() {
            return Err(Error::field("/token", "missing", "the token to look at"));
        }
        let worth = self.worth(caller, form, text).await?;
        let refused = || Error::unauthenticated("invalid_token", "The token is not valid.");
        worth.map(|worth| shown(form, &worth)).ok_or_else(refused)
    }
}

/// A session is named here by the token that shows it.
fn as_token(error: Error) -> Error {
    if error.kind() == kernel::Kind::NotFound { unknown() } else { error }
}

/// A token whose text was presented: an access token is over before its session is.
fn shown(form: Form, worth: &Introspection) -> Token {
    let token = token_of(form, &worth.session);
    let token_type = match worth.kind {
        Kind::Access(_) => "access",
        Kind::Cookie | Kind::Refresh => token.token_type,
    };
    Token { expires_at: worth.expires_at, token_type, ..token }
}

impl Tokens for Service {
    fn create<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        user_id: i64,
        expires_at: &'a str,
    ) -> BoxFuture<'a, Result<Token>> {
        self.create_token(caller, form, user_id, expires_at).boxed()
    }

    fn get<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        token: TokenRef,
    ) -> BoxFuture<'a, Result<Token>> {
        self.get_token(caller, form, token).boxed()
    }

    fn revoke<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        token: TokenRef,
    ) -> BoxFuture<'a, Result<()>> {
        self.end_token(caller, form, token, Reason::Revoked).boxed()
    }

    fn delete<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        token: TokenRef,
    ) -> BoxFuture<'a, Result<()>> {
        self.end_token(caller, form, token, Reason::Deleted).boxed()
    }

    fn list<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        revoked: bool,
        window: Window,
    ) -> BoxFuture<'a, Result<Vec<Token>>> {
        self.list_tokens(caller, form, revoked, window).boxed()
    }

    fn verify<'a>(
        &'a self,
        caller: &'a Caller,
        form: Form,
        token: Secret<String>,
    ) -> BoxFuture<'a, Result<Token>> {
        async move { self.verify_token(caller, form, &token).await }.boxed()
    }
}
