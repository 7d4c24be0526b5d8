//! `AccountService`.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kernel::error::Fields;
use kernel::{Caller, Error, Result};
use platform::db::Read;
use rpc::streamfair::{
    Account, AccountType, Accounts, NewAccount, NewAccountType, UserRef, Window,
};

use super::{Service, at, number, owner_of, page, parse_active};
use crate::account::{Avatar, Name};
use crate::accounttype::{self, Number, Permissions};
use crate::holding::{self, Bio, Change, Holding, Plan, Status};

/// An account as Streamfair knows it.
pub(super) fn account_of(holding: Holding) -> Account {
    Account {
        id: number::of(holding.id),
        name: holding.name,
        account_type: holding.kind.number.get(),
        owner: number::of(holding.owner),
        bio: holding.bio,
        active: holding.status == Status::Active,
        plan: holding.plan,
        avatar_uri: holding.avatar.unwrap_or_default(),
        plays: holding.plays,
        likes: holding.likes,
        follows: holding.follows,
        shares: holding.shares,
        created_at: holding.created_at,
        updated_at: holding.updated_at,
    }
}

/// An account's type as Streamfair knows it.
pub(super) fn type_of(kind: &accounttype::AccountType) -> AccountType {
    AccountType {
        id: number::of(kind.id),
        number: kind.number.get(),
        permissions: kind.permissions.to_json(),
        created_at: kind.created_at,
        updated_at: kind.updated_at,
    }
}

/// An account as a request tells of it; `prefix` stands before the names of its fields.
pub(super) struct Told<'a> {
    pub(super) prefix: &'static str,
    pub(super) name: &'a str,
    pub(super) account_type: i32,
    pub(super) bio: &'a str,
    pub(super) plan: i32,
    pub(super) avatar_uri: &'a str,
}

impl Told<'_> {
    /// None when anything is wrong, which `fields` then names.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn parse(
        &self,
        db: &impl Read,
        fields: &mut Fields,
    ) -> Result<Option<holding::New>> {
        let pointer = |name: &str| format!("/{}{name}", self.prefix);
        let name = fields.take(at("/account_name", Name::parse(self.name)));
        let bio = fields.take(at(&pointer("bio"), Bio::parse(self.bio)));
        let plan = fields.take(at(&pointer("plan"), Plan::parse(self.plan.into())));
        let avatar = match self.avatar_uri {
            "" => Some(None),
            uri => fields.take(at(&pointer("avatar_uri"), Avatar::parse(uri))).map(Some),
        };
        let number = Number::parse(self.account_type.into());
        let kind = match fields.take(at("/account_type", number)) {
            Some(number) => {
                let found = accounttype::store::by_number(db, number).await?;
                let message = "there is no account type with this number";
                let wrong = || Error::field("/account_type", "unknown", message);
                fields.take(found.ok_or_else(wrong))
            }
            None => None,
        };
        let (Some(kind), Some(name), Some(bio), Some(plan), Some(avatar)) =
            (kind, name, bio, plan, avatar)
        else {
            return Ok(None);
        };
        Ok(Some(holding::New { kind: kind.id, name, bio, plan, avatar }))
    }
}

impl Service {
    async fn create_account(&self, caller: &Caller, new: NewAccount) -> Result<Account> {
        let mut fields = Fields::new();
        let told = Told {
            prefix: "",
            name: &new.name,
            account_type: new.account_type,
            bio: &new.bio,
            plan: new.plan,
            avatar_uri: &new.avatar_uri,
        };
        let parsed = told.parse(&self.db, &mut fields).await?;
        let active = fields.take(parse_active(&new.status));
        let owner = owner_of(&self.db, new.owner).await?;
        if new.owner != 0 && owner.is_none() {
            fields.add("/owner", "unknown", "there is no such user");
        }
        let (Some(parsed), Some(active)) = (parsed, active) else {
            return Err(fields.into_error());
        };
        fields.check()?;
        let mut made = self.holdings.create(caller, owner, &parsed).await?;
        if !active {
            let change = Change { status: Some(Status::Inactive), ..Change::default() };
            made = self.holdings.change(caller, made.id, &change).await?;
        }
        Ok(account_of(made))
    }

    async fn accounts_of(
        &self,
        caller: &Caller,
        owner: i64,
        window: Window,
    ) -> Result<Vec<Account>> {
        let owner = self.user(&self.db, caller, &UserRef::Id(owner)).await?.id;
        let page = holding::store::of_owner(&self.db, owner, &page(window)).await?;
        Ok(page.items.into_iter().map(account_of).collect())
    }

    async fn create_account_type(
        &self,
        caller: &Caller,
        new: NewAccountType,
    ) -> Result<AccountType> {
        if !caller.is_admin() {
            return Err(Error::forbidden("forbidden", "This is for accounts of the role admin."));
        }
        let mut fields = Fields::new();
        let number = fields.take(at("/type", Number::parse(new.number.into())));
        let permissions = match new.permissions.as_str() {
            "" => Some(Permissions::default()),
            list => fields.take(Permissions::from_json(list)),
        };
        if new.said_to_be.iter().any(|said| *said != new.number) {
            fields.add("/type", "contradicts", "not the type that is_user, is_artist ... say");
        }
        let (Some(number), Some(permissions)) = (number, permissions) else {
            return Err(fields.into_error());
        };
        fields.check()?;
        let name = accounttype::TypeName::parse(&format!("type {}", number.get()))?;
        let description = accounttype::Description::default();
        let new = accounttype::New { number, name, description, permissions };
        Ok(type_of(&self.account_types.create(caller, &new).await?))
    }
}

impl Accounts for Service {
    fn create<'a>(&'a self, caller: &'a Caller, new: NewAccount) -> BoxFuture<'a, Result<Account>> {
        self.create_account(caller, new).boxed()
    }

    fn of_owner<'a>(
        &'a self,
        caller: &'a Caller,
        owner: i64,
        window: Window,
    ) -> BoxFuture<'a, Result<Vec<Account>>> {
        self.accounts_of(caller, owner, window).boxed()
    }

    fn create_type<'a>(
        &'a self,
        caller: &'a Caller,
        new: NewAccountType,
    ) -> BoxFuture<'a, Result<AccountType>> {
        self.create_account_type(caller, new).boxed()
    }
}
