//! What is done with the accounts that users hold.

use kernel::id::kinds::{Holding as Kind, User};
use kernel::{Caller, Error, Id, Kind as ErrorKind, Page, PageRequest, Result};
use platform::db::{Db, Read, Tx};
use platform::journal::Fact;

use super::model::{Change, Filter, Holding, New};
use super::rules::{self, Refusal};
use super::store;
use crate::{account, accounttype};

/// The verbs of accounts.
pub struct Service {
    db: Db,
    /// Whether admins are admins with two factors only.
    admin_second_factor: bool,
}

impl Service {
    pub(crate) const fn new(db: Db, admin_second_factor: bool) -> Self {
        Self { db, admin_second_factor }
    }

    /// The caller's own accounts, newest first; to an admin, everybody's.
    ///
    /// # Errors
    /// `Unauthenticated`.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: Filter,
        page: &PageRequest,
    ) -> Result<Page<Holding>> {
        let user = caller.user()?;
        let administers = rules::administers(caller, self.admin_second_factor);
        let owner = if administers { filter.owner } else { Some(user) };
        match (owner, filter.kind) {
            (Some(owner), None) => store::of_owner(&self.db, owner, page).await,
            (owner, kind) => store::list(&self.db, Filter { owner, kind }, page).await,
        }
    }

    /// # Errors
    /// `NotFound`, also for somebody else's.
    pub async fn get(&self, caller: &Caller, id: Id<Kind>) -> Result<Holding> {
        self.seen(&self.db, caller, id).await
    }

    async fn seen(&self, db: &impl Read, caller: &Caller, id: Id<Kind>) -> Result<Holding> {
        let found = store::get(db, id).await?.ok_or(Refusal::Unknown)?;
        let may = rules::may(caller, found.owner, self.admin_second_factor)?;
        if may { Ok(found) } else { Err(Refusal::Unknown.into()) }
    }

    /// Makes an account of a type for the caller, or, by an admin, for somebody else.
    ///
    /// # Errors
    /// `Forbidden` for somebody else; a field error on `/type` or `/owner` that does not exist;
    /// `Conflict` `account_exists`.
    pub async fn create(
        &self,
        caller: &Caller,
        owner: Option<Id<User>>,
        new: &New,
    ) -> Result<Holding> {
        let owner = owner.map_or_else(|| caller.user(), Ok)?;
        if !rules::may(caller, owner, self.admin_second_factor)? {
            return Err(Refusal::NotYours.into());
        }
        self.db
            .run(
                "account.create",
                |tx| async move { self.create_in(&tx, caller, owner, new).await },
            )
            .await
    }

    /// Makes an account as part of something else.
    pub(crate) async fn create_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        owner: Id<User>,
        new: &New,
    ) -> Result<Holding> {
        account::store::get(tx, owner).await.map_err(|error| missing(error, "/owner", "user"))?;
        let kind = accounttype::store::get(tx, new.kind)
            .await
            .map_err(|error| missing(error, "/type", "account type"))?;
        let id = tx.world().id::<Kind>();
        store::insert(tx, id, owner, new).await?;
        tx.record(
            Fact::by(caller, "account.created")
                .on(id)
                .about(owner)
                .with("type", kind.id)
                .with("number", kind.number.get()),
        );
        store::get(tx, id).await?.ok_or_else(|| Error::internal("an account is not there"))
    }

    /// # Errors
    /// `NotFound`; `Conflict` `changed_meanwhile`.
    pub async fn change(&self, caller: &Caller, id: Id<Kind>, change: &Change) -> Result<Holding> {
        self.db
            .run("account.change", |tx| async move {
                let mut holding = self.seen(&tx, caller, id).await?;
                if change.version.is_some_and(|version| version != holding.version) {
                    return Err(Refusal::ChangedMeanwhile.into());
                }
                let fields = apply(&mut holding, change);
                if !store::update(&tx, &holding).await? {
                    return Err(Refusal::ChangedMeanwhile.into());
                }
                tx.record(
                    Fact::by(caller, "account.changed")
                        .on(id)
                        .about(holding.owner)
                        .with("fields", fields),
                );
                self.seen(&tx, caller, id).await
            })
            .await
    }

    /// Deletes an account and what ties it to its type.
    ///
    /// # Errors
    /// `NotFound`, also for somebody else's.
    pub async fn delete(&self, caller: &Caller, id: Id<Kind>) -> Result<()> {
        self.db
            .run("account.delete", |tx| async move {
                let holding = self.seen(&tx, caller, id).await?;
                if !store::delete(&tx, id).await? {
                    return Err(Refusal::Unknown.into());
                }
                tx.record(
                    Fact::by(caller, "account.deleted")
                        .on(id)
                        .about(holding.owner)
                        .with("number", holding.kind.number.get()),
                );
                Ok(())
            })
            .await
    }
}

/// What a request names and is not there is the request's error.
fn missing(error: Error, pointer: &str, noun: &str) -> Error {
    if error.kind() == ErrorKind::NotFound {
        return Error::field(pointer, "unknown", format!("there is no such {noun}"));
    }
    error
}

/// Carries a change out; answers which fields it named.
fn apply(holding: &mut Holding, change: &Change) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if let Some(name) = &change.name {
        name.as_str().clone_into(&mut holding.name);
        fields.push("name");
    }
    if let Some(bio) = &change.bio {
        bio.as_str().clone_into(&mut holding.bio);
        fields.push("bio");
    }
    if let Some(status) = change.status {
        holding.status = status;
        fields.push("status");
    }
    if let Some(plan) = change.plan {
        holding.plan = plan.get();
        fields.push("plan");
    }
    if let Some(avatar) = &change.avatar {
        holding.avatar = avatar.as_ref().map(|avatar| avatar.as_str().to_owned());
        fields.push("avatar");
    }
    fields
}
