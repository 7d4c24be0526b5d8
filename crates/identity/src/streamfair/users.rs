//! `UserService`.

use std::collections::HashMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::error::Fields;
use kernel::id::kinds::User as UserKind;
use kernel::{Caller, Error, Id, Result, Role};
use platform::db::{Read, Tx};
use platform::journal::Fact;
use rpc::streamfair::{NewUser, User, UserChange, UserRef, Users, Window};
use rpc::users::Status;

use super::{Service, at, page, parse_active, user_of};
use crate::account::{self, Account, Command, Email, Filter, Name, ProfileChange};
use crate::handle::{self, Country, FullName, Handle, RoleNumber, Username};
use crate::password::Phc;

/// What is known of somebody about to exist.
pub(super) struct Person {
    pub(super) username: Username,
    pub(super) name: Name,
    pub(super) email: Email,
    pub(super) country: Country,
    pub(super) role: RoleNumber,
    pub(super) active: bool,
}

/// A person as a request tells of them.
pub(super) struct Told<'a> {
    pub(super) username: &'a str,
    pub(super) full_name: &'a str,
    pub(super) email: &'a str,
    pub(super) country_code: &'a str,
    pub(super) role_id: i64,
    pub(super) status: &'a str,
}

impl Told<'_> {
    /// None when anything is wrong, which `fields` then names.
    pub(super) fn parse(&self, fields: &mut Fields) -> Option<Person> {
        let username = fields.take(Username::parse(self.username));
        let name = fields.take(FullName::parse(self.full_name));
        let email = fields.take(Email::parse(self.email));
        let country = fields.take(Country::parse(self.country_code));
        let role = fields.take(RoleNumber::parse(self.role_id));
        let active = fields.take(parse_active(self.status));
        Some(Person {
            username: username?,
            name: name?.name().clone(),
            email: email?,
            country: country?,
            role: role?,
            active: active?,
        })
    }
}

/// A change that makes sense by itself.
#[derive(Default)]
struct Wanted {
    username: Option<Username>,
    name: Option<FullName>,
    country: Option<Country>,
    role: Option<RoleNumber>,
    active: Option<bool>,
}

impl Service {
    async fn create_user(&self, caller: &Caller, new: NewUser) -> Result<User> {
        // The doors say so as well; a hash that somebody hands in is worth a second look.
        if !caller.is_admin() {
            return Err(Error::forbidden("forbidden", "This is for accounts of the role admin."));
        }
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
        let hash = fields.take(imported(&new));
        let (Some(person), Some(hash)) = (person, hash) else { return Err(fields.into_error()) };
        let account = self
            .db
            .run("user.import", |tx| {
                let (person, hash) = (&person, &hash);
                async move {
                    let new = account::store::New {
                        id: tx.world().id::<UserKind>(),
                        email: &person.email,
                        name: &person.name,
                        role: Role::User,
                        approved: true,
                        email_verified_at: Some(tx.now()),
                        password: Some(hash),
                    };
                    self.accounts.import_in(&tx, caller, &new).await?;
                    self.settle_in(&tx, caller, new.id, person).await
                }
            })
            .await?;
        self.show(&self.db, account).await
    }

    /// Gives somebody who was just registered their handle, and locks them out if they are to
    /// begin inactive.
    pub(super) async fn settle_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<UserKind>,
        person: &Person,
    ) -> Result<Account> {
        let Person { username, country, role, active, .. } = person;
        handle::store::insert(tx, id, username, country, *role).await?;
        if !active {
            return self.accounts.command_in(tx, caller, id, Command::Suspend).await;
        }
        account::store::get(tx, id).await
    }

    async fn list_users(&self, caller: &Caller, window: Window) -> Result<Vec<User>> {
        if !caller.is_admin() {
            return Err(Error::forbidden("forbidden", "This is for accounts of the role admin."));
        }
        let accounts = self.accounts.list(&Filter::default(), &page(window)).await?.items;
        let ids: Vec<_> = accounts.iter().map(|account| account.id).collect();
        let handles = handle::store::many(&self.db, &ids).await?;
        let mut handles: HashMap<_, _> =
            handles.into_iter().map(|handle| (handle.user, handle)).collect();
        let shown = accounts.into_iter().map(|account| {
            let handle = handles.remove(&account.id);
            user_of(account, handle)
        });
        Ok(shown.collect())
    }

    async fn update_user(&self, caller: &Caller, change: &UserChange) -> Result<User> {
        self.db
            .run("user.update", |tx| async move {
                let account = self.named(&tx, caller, &UserRef::Id(change.id)).await?;
                let handle = handle::store::of(&tx, account.id).await?;
                let wanted = wanted(caller, change, &account, handle.as_ref())?;
                self.update_in(&tx, caller, &account, handle, wanted).await?;
                let account = account::store::get(&tx, account.id).await?;
                self.show(&tx, account).await
            })
            .await
    }

    async fn update_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        account: &Account,
        handle: Option<Handle>,
        wanted: Wanted,
    ) -> Result<()> {
        let mut fields = Vec::new();
        if let Some(name) = &wanted.name {
            let name = Some(name.name().clone());
            let change = ProfileChange { name, ..ProfileChange::default() };
            if !account::store::set_profile(tx, account, &change).await? {
                return Err(changed_meanwhile());
            }
            fields.push("name");
        }
        for (is_wanted, field) in [
            (wanted.username.is_some(), "username"),
            (wanted.country.is_some(), "country"),
            (wanted.role.is_some(), "roleNumber"),
        ] {
            fields.extend(is_wanted.then_some(field));
        }
        if wanted.username.is_some() || wanted.country.is_some() || wanted.role.is_some() {
            set_handle(tx, account.id, handle, &wanted).await?;
        }
        if !fields.is_empty() {
            tx.record(
                Fact::by(caller, "user.profile_changed")
                    .on(account.id)
                    .about(account.id)
                    .with("fields", fields),
            );
            self.sessions.forget_after(tx, account.id);
        }
        match (wanted.active, account.status) {
            (Some(false), Status::Active) => {
                self.accounts.command_in(tx, caller, account.id, Command::Suspend).await.map(drop)
            }
            (Some(true), Status::Suspended | Status::Banned | Status::Closed) => {
                self.accounts.command_in(tx, caller, account.id, Command::Unsuspend).await.map(drop)
            }
            (Some(true), Status::Active) | (None, _) | (Some(false), _) => Ok(()),
        }
    }
}

/// The hash that an admin hands in, when it is one that we check.
fn imported(new: &NewUser) -> Result<Phc> {
    if !new.password_salt.expose().is_empty() {
        let message = "leave it empty: the salt is part of the hash's text";
        return Err(Error::field("/password_salt", "not_allowed", message));
    }
    Phc::from_elsewhere("/password_hash", new.password_hash.expose())
}

/// Reads a change against what is there. What is empty, or as it is, stays.
fn wanted(
    caller: &Caller,
    change: &UserChange,
    account: &Account,
    handle: Option<&Handle>,
) -> Result<Wanted> {
    let mut fields = Fields::new();
    let mut wanted = Wanted::default();
    let is_new = |text: &str, current: &str| !text.is_empty() && text != current;
    if is_new(&change.username, handle.map_or("", |handle| handle.username.shown())) {
        wanted.username = fields.take(Username::parse(&change.username));
    }
    if is_new(&change.full_name, &account.name) {
        wanted.name = fields.take(FullName::parse(&change.full_name));
    }
    if is_new(&change.country_code, handle.map_or("", |handle| handle.country.as_str())) {
        wanted.country = fields.take(Country::parse(&change.country_code));
    }
    if is_new(&change.email, account.email.shown()) {
        let message = "an address is changed by its owner, who proves the new one";
        fields.add("/email", "not_allowed", message);
    }
    for (pointer, secret) in
        [("/password_hash", &change.password_hash), ("/password_salt", &change.password_salt)]
    {
        if !secret.expose().is_empty() {
            fields.add(pointer, "not_allowed", "a password is changed by its owner, who knows it");
        }
    }
    let shown = if account.role == Role::Admin { Some(RoleNumber::ADMIN) } else { None };
    let shown = shown.or(handle.map(|handle| handle.role.get())).unwrap_or(1);
    if change.role_id != 0 && change.role_id != shown {
        wanted.role = fields.take(RoleNumber::parse(change.role_id));
        if wanted.role.is_some() && !caller.is_admin() {
            fields.add("/role_id", "not_allowed", "only an admin changes it");
        }
    }
    if !change.status.is_empty() {
        let active = fields.take(parse_active(&change.status));
        wanted.active = active.filter(|active| *active != (account.status == Status::Active));
        if wanted.active.is_some() && !caller.is_admin() {
            fields.add("/status", "not_allowed", "only an admin changes it");
        }
    }
    fields.check()?;
    Ok(wanted)
}

/// Changes a handle, or makes the first one, for which username and country are needed.
async fn set_handle(
    tx: &Tx,
    user: Id<UserKind>,
    handle: Option<Handle>,
    wanted: &Wanted,
) -> Result<()> {
    if let Some(mut handle) = handle {
        let renamed = wanted.username.is_some();
        handle.username = wanted.username.clone().unwrap_or(handle.username);
        handle.country = wanted.country.clone().unwrap_or(handle.country);
        handle.role = wanted.role.unwrap_or(handle.role);
        if handle::store::update(tx, &handle, renamed).await? {
            return Ok(());
        }
        return Err(changed_meanwhile());
    }
    let mut fields = Fields::new();
    let missing = "needed when there is none yet";
    if wanted.username.is_none() {
        fields.add("/username", "missing", missing);
    }
    if wanted.country.is_none() {
        fields.add("/country_code", "missing", missing);
    }
    let (Some(username), Some(country)) = (&wanted.username, &wanted.country) else {
        return Err(fields.into_error());
    };
    let role = wanted.role.map_or_else(|| RoleNumber::parse(0), Ok)?;
    handle::store::insert(tx, user, username, country, role).await
}

fn changed_meanwhile() -> Error {
    Error::conflict("changed_meanwhile", "The user was changed at the same time. Try again.")
}

impl Users for Service {
    fn create<'a>(&'a self, caller: &'a Caller, new: NewUser) -> BoxFuture<'a, Result<User>> {
        self.create_user(caller, new).boxed()
    }

    fn delete<'a>(&'a self, caller: &'a Caller, user: UserRef) -> BoxFuture<'a, Result<()>> {
        async move {
            let account = self.named(&self.db, caller, &user).await?;
            if account.id == caller.user()? {
                self.closing.close_own(caller, None).await.map(drop)
            } else {
                self.closing.close_other(caller, account.id).await.map(drop)
            }
        }
        .boxed()
    }

    fn get<'a>(&'a self, caller: &'a Caller, user: UserRef) -> BoxFuture<'a, Result<User>> {
        async move {
            let account = self.named(&self.db, caller, &user).await?;
            self.show(&self.db, account).await
        }
        .boxed()
    }

    fn list<'a>(&'a self, caller: &'a Caller, window: Window) -> BoxFuture<'a, Result<Vec<User>>> {
        self.list_users(caller, window).boxed()
    }

    fn update<'a>(&'a self, caller: &'a Caller, change: UserChange) -> BoxFuture<'a, Result<User>> {
        async move { self.update_user(caller, &change).await }.boxed()
    }
}

impl Service {
    /// The user whom a request names: nothing said is an error here.
    async fn named(&self, db: &impl Read, caller: &Caller, user: &UserRef) -> Result<Account> {
        if matches!(user, UserRef::Id(0)) {
            return at("/id", Err(Error::field("/id", "missing", "say whose")));
        }
        self.user(db, caller, user).await
    }
}
