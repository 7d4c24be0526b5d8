//! `IdentityProvider`: a user, an account and its type as one.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::error::Fields;
use kernel::id::kinds::User as UserKind;
use kernel::{Caller, Error, Result, Role, Secret};
use platform::db::{Read, Tx};
use rpc::streamfair::{IdentityProvider, NewUserAccount, SignedIn, UserAccount, UserRef};

use super::users::{Person, Told};
use super::{Service, accounts, at};
use crate::account::{self, Account, Email};
use crate::facade::Registration;
use crate::handle::{self, Username};
use crate::holding;
use crate::password::{Password, Phc};
use crate::session::Login;
use crate::token::Format;

/// The longest password that Streamfair's clients may choose, in characters.
const PASSWORD_MAX: usize = 64;

impl Service {
    async fn log_in_user(
        &self,
        caller: &Caller,
        username: &str,
        password: Secret<String>,
    ) -> Result<SignedIn> {
        let email = self.address_of(username).await?;
        let password = Password::presented("/password", password)?;
        let login = Login {
            // As Streamfair's tokens are: a PASETO that tells its bearer nothing.
            token: Format::PasetoLocal.into(),
            unproved: self.registration == Registration::Immediate,
            ..Login::new(email, password)
        };
        let signed_in = self.sessions.login(caller, &login).await?;
        let session = self.sessions.row(signed_in.session).await?;
        let session = self.session_of(&session, Some(signed_in.tokens.refresh)).await?;
        Ok(SignedIn {
            user_account: self.both(&self.db, signed_in.account).await?,
            session,
            access_token_expires_at: self.db.world().now() + signed_in.tokens.expires_in,
            access_token: signed_in.tokens.access,
        })
    }

    /// The address with which a user signs in. Of a name that nobody has, an address that nobody
    /// has: what follows is the same, for as long, and counts as a guess at that name.
    async fn address_of(&self, username: &str) -> Result<Email> {
        if username.contains('@') {
            return at("/username", Email::parse(username));
        }
        let username = Username::parse(username)?;
        let account = match handle::store::by_username(&self.db, &username).await? {
            Some(handle) => Some(account::store::get(&self.db, handle.user).await?),
            None => None,
        };
        match account {
            Some(account) => Ok(account.email),
            // The top-level domain is one that never exists (RFC 2606).
            None => {
                Email::parse(&format!("x{}@unknown.invalid", username.normal().replace('.', "_")))
            }
        }
    }

    async fn register_both(
        &self,
        caller: &Caller,
        new: NewUserAccount,
    ) -> Result<Option<UserAccount>> {
        let (person, holding, password) = self.parse(caller, &new).await?;
        self.accounts.check_mails(&person.email).await?;
        let hash = self.hasher.on_behalf_of(caller).hash(&password).await?;
        self.db
            .run("user.register_account", |tx| {
                let (person, holding, hash) = (&person, &holding, &hash);
                async move { self.register_in(&tx, caller, person, holding, hash).await }
            })
            .await
    }

    /// Everything about the request that is wrong, at once.
    async fn parse(
        &self,
        caller: &Caller,
        new: &NewUserAccount,
    ) -> Result<(Person, holding::New, Password)> {
        let mut fields = Fields::new();
        let told = Told {
            username: &new.username,
            full_name: &new.full_name,
            email: &new.email,
            country_code: &new.country_code,
            role_id: new.role_id,
            status: &new.status,
        };
        let person = told.parse(&mut fields);
        // What begins locked is locked for good: a stranger would keep an address from its owner.
        if person.as_ref().is_some_and(|person| !person.active) && !caller.is_admin() {
            fields.add("/status", "not_allowed", "only an admin has somebody begin inactive");
        }
        let address = person.as_ref().map_or("", |person| person.email.as_str());
        let password = Password::parse("/password", new.password.clone(), address);
        let mut password = fields.take(password);
        if new.password.expose().chars().count() > PASSWORD_MAX {
            fields.add("/password", "too_long", "at most 64 characters");
            password = None;
        }
        let name = if new.account_name.is_empty() { &new.username } else { &new.account_name };
        let told = accounts::Told {
            prefix: "account_",
            name,
            account_type: new.account_type,
            bio: &new.account_bio,
            plan: new.account_plan,
            avatar_uri: &new.account_avatar_uri,
        };
        let holding = told.parse(&self.db, &mut fields).await?;
        match (person, holding, password) {
            (Some(person), Some(holding), Some(password)) => {
                fields.check()?;
                Ok((person, holding, password))
            }
            _ => Err(fields.into_error()),
        }
    }

    /// User, handle, account and the row that ties it to its type: all of it or nothing.
    async fn register_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        person: &Person,
        holding: &holding::New,
        hash: &Phc,
    ) -> Result<Option<UserAccount>> {
        let new = account::store::New {
            id: tx.world().id::<UserKind>(),
            email: &person.email,
            name: &person.name,
            role: Role::User,
            approved: true,
            email_verified_at: None,
            password: Some(hash),
        };
        let tells = self.registration == Registration::Immediate;
        // Before the address is looked at, so that a taken name is answered the same with any.
        if handle::store::by_username(tx, &person.username).await?.is_some() {
            return Err(username_taken());
        }
        let Some(id) = self.accounts.enrol_in(tx, caller, new, tells).await? else {
            return Ok(None);
        };
        let account = self.settle_in(tx, caller, id, person).await?;
        let held = self.holdings.create_in(tx, caller, id, holding).await?;
        if !tells {
            return Ok(None);
        }
        let handle = handle::store::of(tx, id).await?;
        let kind = accounts::type_of(&held.kind);
        Ok(Some(UserAccount {
            user: super::user_of(account, handle),
            account: Some((accounts::account_of(held), kind)),
        }))
    }

    /// A user and the account that was opened first.
    async fn both(&self, db: &impl Read, account: Account) -> Result<UserAccount> {
        let held = holding::store::first_of(db, account.id).await?;
        let held = held.map(|held| {
            let kind = accounts::type_of(&held.kind);
            (accounts::account_of(held), kind)
        });
        Ok(UserAccount { user: self.show(db, account).await?, account: held })
    }
}

fn username_taken() -> Error {
    Error::conflict("username_taken", "Somebody has this username already.").with_field(
        "/username",
        "taken",
        "choose another one",
    )
}

impl IdentityProvider for Service {
    fn log_in<'a>(
        &'a self,
        caller: &'a Caller,
        username: String,
        password: Secret<String>,
    ) -> BoxFuture<'a, Result<SignedIn>> {
        async move { self.log_in_user(caller, &username, password).await }.boxed()
    }

    fn register<'a>(
        &'a self,
        caller: &'a Caller,
        new: NewUserAccount,
    ) -> BoxFuture<'a, Result<Option<UserAccount>>> {
        self.register_both(caller, new).boxed()
    }

    fn by_username<'a>(
        &'a self,
        caller: &'a Caller,
        username: String,
    ) -> BoxFuture<'a, Result<UserAccount>> {
        async move {
            let account = self.user(&self.db, caller, &UserRef::Name(username)).await?;
            self.both(&self.db, account).await
        }
        .boxed()
    }
}
