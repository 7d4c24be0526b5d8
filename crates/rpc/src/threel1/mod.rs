//! The user service of the gateway system, as its document has it: package `users`, four RPCs.
//! Its order service (package `orders`, three RPCs) is served over [`crate::orders::Orders`].
//!
//! A user is found by the mail address alone, and must be called as the request says. The role is
//! `admin`, `dev` or `guest`: admins are made elsewhere, and dev and guest are words that nothing
//! depends on. A session key is the session's opaque token, and a secret.

mod orders;
mod server;

use futures_util::future::BoxFuture;
use kernel::{Caller, Result, Secret};

pub(crate) use orders::ServedOrders;
pub(crate) use server::Served;

/// Somebody who registers.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// 2 to 50 characters.
    pub name: String,
    pub email: String,
    /// `dev` or `guest`; empty is `guest`.
    pub role: String,
    /// At least 8 characters.
    pub password: Secret<String>,
}

/// Somebody who signs in.
#[derive(Debug, Clone)]
pub struct Login {
    pub name: String,
    pub email: String,
    pub password: Secret<String>,
}

/// What a client presents from now on.
#[derive(Debug)]
pub struct SignedIn {
    /// An access token.
    pub token: Secret<String>,
    /// The session's opaque token.
    pub session_key: Secret<String>,
}

/// What a token says.
#[derive(Debug)]
pub struct Claims {
    pub role: String,
    /// A bare UUID.
    pub user_id: String,
    /// The token itself, or a new one where it had expired.
    pub token: Secret<String>,
}

/// The user service.
pub trait Users: Send + Sync {
    /// Registers an account, sends the mail that proves its address, and signs it in; none where
    /// the platform confirms addresses first.
    ///
    /// # Errors
    /// Field errors, among them `not_allowed` on `/role` for `admin`; `Conflict` `email_taken`.
    fn register<'a>(
        &'a self,
        caller: &'a Caller,
        new: NewUser,
    ) -> BoxFuture<'a, Result<Option<SignedIn>>>;

    /// # Errors
    /// `Unauthenticated` `invalid_credentials`, the same for an unknown address and a wrong
    /// password; `Forbidden` for an account that may not sign in.
    fn log_in<'a>(&'a self, caller: &'a Caller, login: Login) -> BoxFuture<'a, Result<SignedIn>>;

    /// What a token says. A live session key brings a new token for one that has expired.
    ///
    /// # Errors
    /// `Unauthenticated`: `invalid_token`, `expired_token`, `session_ended`, `session_expired`.
    fn read_token<'a>(
        &'a self,
        token: &'a str,
        session_key: &'a str,
    ) -> BoxFuture<'a, Result<Claims>>;

    /// Closes an account: `target` is a UUID, or empty or `me` for the caller's own. `claimed` is
    /// whom the request says to be from; empty when it does not say.
    ///
    /// # Errors
    /// `Forbidden`: somebody else's by who is no admin, or an admin's; `NotFound`.
    fn delete<'a>(
        &'a self,
        caller: &'a Caller,
        claimed: &'a str,
        target: &'a str,
    ) -> BoxFuture<'a, Result<()>>;
}
