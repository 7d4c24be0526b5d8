//! Streamfair's five services over the same users, accounts and sessions as everything else: the
//! implementation of [`rpc::streamfair`]'s ports.
//!
//! - Ids are 64-bit numbers there and UUIDs here: a number is the time and the first bits of
//!   chance of its UUID, so that nothing has to be stored ([`number`]).
//! - A user is known by a username ([`crate::handle`]), or by the mail address.
//! - There is no table of tokens. A token shows a session: its id is the session's, to revoke it
//!   is to end the session, and its text is told once.
//! - One sees and changes one's own; admins see and change everybody's. What is somebody else's is
//!   not there.
//! - No reply shows how a password is kept, and nobody hands in a hash but an admin, who imports
//!   one in a form that is checked here.

mod accounts;
mod number;
mod provider;
mod sessions;
mod tokens;
mod users;

use std::sync::Arc;

use kernel::error::Fields;
use kernel::id::kinds::User;
use kernel::{Caller, Error, Id, PageRequest, Result};
use platform::db::{Db, Read};
use rpc::streamfair::{Streamfair, UserRef, Window};
use rpc::users::Status;

use crate::account::{self, Account, Email};
use crate::handle::{self, Handle, RoleNumber, Username};
use crate::password::Hasher;
use crate::{accounttype, closing, facade, holding, session};

#[cfg(test)]
mod tests;

/// The services that Streamfair's are made of.
#[derive(Clone)]
pub struct Service {
    pub(crate) db: Db,
    pub(crate) accounts: Arc<account::Service>,
    pub(crate) sessions: Arc<session::Service>,
    pub(crate) account_types: Arc<accounttype::Service>,
    pub(crate) holdings: Arc<holding::Service>,
    pub(crate) hasher: Arc<Hasher>,
    pub(crate) closing: Arc<closing::Service>,
    pub(crate) registration: facade::Registration,
}

impl Service {
    /// The five services, as they are served.
    pub fn ports(&self) -> Streamfair {
        let service = Arc::new(self.clone());
        Streamfair {
            users: service.clone(),
            accounts: service.clone(),
            sessions: service.clone(),
            tokens: service.clone(),
            identity_provider: service,
        }
    }

    /// The user of this number or name, when it is the caller's to know.
    async fn user(&self, db: &impl Read, caller: &Caller, named: &UserRef) -> Result<Account> {
        let asks = caller.user()?;
        let unknown = || Error::not_found("user");
        let found = match named {
            UserRef::Id(0) => Some(account::store::get(db, asks).await?),
            UserRef::Id(number) => {
                let range = number::range(*number).ok_or_else(unknown)?;
                account::store::between(db, range).await?
            }
            UserRef::Name(name) => self.by_name(db, name).await?,
        };
        let account = found.ok_or_else(unknown)?;
        if account.id == asks || caller.is_admin() { Ok(account) } else { Err(unknown()) }
    }

    /// The user of this username or mail address.
    async fn by_name(&self, db: &impl Read, name: &str) -> Result<Option<Account>> {
        if name.contains('@') {
            return account::store::by_email(db, &at("/username", Email::parse(name))?).await;
        }
        let username = Username::parse(name)?;
        match handle::store::by_username(db, &username).await? {
            Some(handle) => account::store::get(db, handle.user).await.map(Some),
            None => Ok(None),
        }
    }

    async fn show(&self, db: &impl Read, account: Account) -> Result<rpc::streamfair::User> {
        let handle = handle::store::of(db, account.id).await?;
        Ok(user_of(account, handle))
    }
}

/// A user as Streamfair knows them.
fn user_of(account: Account, handle: Option<Handle>) -> rpc::streamfair::User {
    let is_admin = account.role == kernel::Role::Admin;
    let role_id = match &handle {
        _ if is_admin => RoleNumber::ADMIN,
        Some(handle) => handle.role.get(),
        None => 1,
    };
    rpc::streamfair::User {
        id: number::of(account.id),
        username: handle.as_ref().map(|h| h.username.shown().to_owned()).unwrap_or_default(),
        email: account.email.shown().to_owned(),
        full_name: account.name,
        country_code: handle.as_ref().map(|h| h.country.as_str().to_owned()).unwrap_or_default(),
        role_id,
        active: account.status == Status::Active,
        last_login_at: account.last_login_at,
        username_changed_at: handle.and_then(|handle| handle.username_changed_at),
        created_at: account.created_at,
        updated_at: account.updated_at,
    }
}

/// Whom a request names by a number; nobody when there is none of it.
async fn owner_of(db: &impl Read, number: i64) -> Result<Option<Id<User>>> {
    let Some(range) = number::range(number) else { return Ok(None) };
    Ok(account::store::between(db, range).await?.map(|account| account.id))
}

const fn page(window: Window) -> PageRequest {
    PageRequest { limit: window.limit, after: None, offset: window.offset }
}

/// The same refusal under the name that the field has here.
fn at<T>(pointer: &str, parsed: Result<T>) -> Result<T> {
    parsed.map_err(|error| {
        let mut fields = Fields::new();
        for field in error.fields() {
            fields.add(pointer, &field.code, field.message.clone());
        }
        if error.fields().is_empty() { error } else { fields.into_error() }
    })
}

/// `active`, `inactive`, or nothing said, which is active.
fn parse_active(status: &str) -> Result<bool> {
    if status.is_empty() {
        return Ok(true);
    }
    holding::Status::parse(status).map(|status| status == holding::Status::Active)
}
