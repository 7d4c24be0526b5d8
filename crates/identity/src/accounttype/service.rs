//! What is done with account types.

use kernel::id::kinds::AccountType as Kind;
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::db::{Db, Tx};
use platform::journal::Fact;

use super::model::{AccountType, Change, New};
use super::rules::{self, Refusal};
use super::store;

/// The verbs of account types. That only admins change them is the routes' to say.
pub struct Service {
    db: Db,
}

impl Service {
    pub(crate) const fn new(db: Db) -> Self {
        Self { db }
    }

    /// Newest first.
    pub async fn list(&self, page: &PageRequest) -> Result<Page<AccountType>> {
        store::list(&self.db, page).await
    }

    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: Id<Kind>) -> Result<AccountType> {
        store::get(&self.db, id).await
    }

    /// # Errors
    /// A field error `not_allowed` on `/permissions`; `Conflict` `number_taken`, `name_taken`.
    pub async fn create(&self, caller: &Caller, new: &New) -> Result<AccountType> {
        rules::check(new.number, &new.permissions)?;
        self.db
            .run("account_type.create", |tx| async move {
                let id = tx.world().id::<Kind>();
                store::insert(&tx, id, new).await?;
                tx.record(
                    Fact::by(caller, "account_type.created")
                        .on(id)
                        .with("number", new.number.get())
                        .with("permissions", new.permissions.as_slice()),
                );
                store::get(&tx, id).await
            })
            .await
    }

    /// # Errors
    /// `NotFound`; a field error `not_allowed` on `/permissions`; `Conflict` `name_taken`,
    /// `changed_meanwhile`.
    pub async fn change(
        &self,
        caller: &Caller,
        id: Id<Kind>,
        change: &Change,
    ) -> Result<AccountType> {
        self.db
            .run("account_type.change", |tx| async move {
                self.change_in(&tx, caller, id, change).await
            })
            .await
    }

    async fn change_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        id: Id<Kind>,
        change: &Change,
    ) -> Result<AccountType> {
        let mut kind = store::get(tx, id).await?;
        if change.version.is_some_and(|version| version != kind.version) {
            return Err(Refusal::ChangedMeanwhile.into());
        }
        if let Some(name) = &change.name {
            name.as_str().clone_into(&mut kind.name);
        }
        if let Some(description) = &change.description {
            description.as_str().clone_into(&mut kind.description);
        }
        if let Some(permissions) = &change.permissions {
            kind.permissions.clone_from(permissions);
        }
        rules::check(kind.number, &kind.permissions)?;
        if !store::update(tx, &kind).await? {
            return Err(Refusal::ChangedMeanwhile.into());
        }
        tx.record(
            Fact::by(caller, "account_type.changed")
                .on(id)
                .with("number", kind.number.get())
                .with("permissions", kind.permissions.as_slice()),
        );
        store::get(tx, id).await
    }

    /// # Errors
    /// `NotFound`; `Conflict` `account_type_in_use`.
    pub async fn delete(&self, caller: &Caller, id: Id<Kind>) -> Result<()> {
        self.db
            .run("account_type.delete", |tx| async move {
                if store::is_used(&tx, id).await? {
                    return Err(Refusal::InUse.into());
                }
                if !store::delete(&tx, id).await? {
                    return Err(Error::not_found("account type"));
                }
                tx.record(Fact::by(caller, "account_type.deleted").on(id));
                Ok(())
            })
            .await
    }
}
