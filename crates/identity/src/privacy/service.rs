//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use kernel::id::kinds::{PrivacyRequest, User};
use kernel::{Caller, Error, Id, Page, PageRequest, Result, Role};
use platform::db::Db;
use platform::journal::Fact;
use rpc::users::Status;

use super::model::{Asked, Kind, Request, State};
use super::store::{self, Filter};
use crate::account::store as accounts;
use crate::closing;

/// How long an approved export may be fetched.
const FETCHABLE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Privacy requests.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) closing: Arc<closing::Service>,
}

impl Service {
    /// Newest first.
    pub async fn list(&self, filter: &Filter, page: &PageRequest) -> Result<Page<Request>> {
        store::list(&self.db, filter, page).await
    }

    /// An admin begins a request in somebody's place.
    ///
    /// # Errors
    /// `NotFound` for a user who is not there; `Forbidden` `admin_protected`, `own_account`;
    /// `Conflict` `wrong_state` for a closed account, `request_exists`.
    pub async fn begin(&self, caller: &Caller, asked: &Asked) -> Result<Request> {
        let admin = caller.user()?;
        if asked.person == admin {
            let message = "Export or close your own account as everybody does.";
            return Err(Error::forbidden("own_account", message));
        }
        self.db
            .run("privacy_request.create", |tx| async move {
                let account = accounts::get(&tx, asked.person).await?;
                if account.status == Status::Closed {
                    let message = "The account is closed already.";
                    return Err(Error::conflict("wrong_state", message));
                }
                if account.role == Role::Admin {
                    let message = "Take the role of admin from this account first.";
                    return Err(Error::forbidden("admin_protected", message));
                }
                let Some(id) = store::begin(&tx, asked, admin).await? else {
                    let message = "There is a pending request of this kind for them.";
                    return Err(Error::conflict("request_exists", message));
                };
                tx.record(fact(caller, "privacy_request.created", id, asked.person, asked.kind));
                store::get(&tx, id).await?.ok_or_else(unknown)
            })
            .await
    }

    /// Another admin approves a request. An erasure closes the account, with the refusals of
    /// [`closing::Service::close_own`].
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state`; `Forbidden` `second_admin_needed`.
    pub async fn approve(&self, caller: &Caller, id: Id<PrivacyRequest>) -> Result<Request> {
        let admin = caller.user()?;
        let request = self
            .db
            .run("privacy_request.approve", |tx| {
                Box::pin(async move {
                    let request = store::get(&tx, id).await?.ok_or_else(unknown)?;
                    if request.requested_by == admin || request.person == admin {
                        let message = "Another admin than the one who has begun it approves it.";
                        return Err(Error::forbidden("second_admin_needed", message));
                    }
                    let to = match request.kind {
                        Kind::Export => State::Approved,
                        Kind::Erasure => State::Done,
                    };
                    // First, so that of two admins at once the second finds it decided.
                    if !store::decide(&tx, id, to, admin, "").await? {
                        return Err(decided());
                    }
                    let Request { person, kind, .. } = request;
                    tx.record(fact(caller, "privacy_request.approved", id, person, kind));
                    if kind == Kind::Erasure {
                        self.closing.close_in(&tx, caller, person).await?;
                    }
                    store::get(&tx, id).await?.ok_or_else(unknown)
                })
            })
            .await?;
        if request.kind == Kind::Erasure {
            self.closing.erase_if_due(request.person).await;
        }
        Ok(request)
    }

    /// An admin rejects a request, or takes back their own.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state`.
    pub async fn reject(
        &self,
        caller: &Caller,
        id: Id<PrivacyRequest>,
        why: &str,
    ) -> Result<Request> {
        let admin = caller.user()?;
        self.db
            .run("privacy_request.reject", |tx| async move {
                let request = store::get(&tx, id).await?.ok_or_else(unknown)?;
                if !store::decide(&tx, id, State::Rejected, admin, why).await? {
                    return Err(decided());
                }
                let Request { person, kind, .. } = request;
                tx.record(fact(caller, "privacy_request.rejected", id, person, kind));
                store::get(&tx, id).await?.ok_or_else(unknown)
            })
            .await
    }

    /// The document of an approved export, to be handed to the person.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` for what is no approved export; `Gone` `export_over`
    /// a week after the approval.
    pub async fn export(
        &self,
        caller: &Caller,
        id: Id<PrivacyRequest>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        let request = store::get(&self.db, id).await?.ok_or_else(unknown)?;
        let approved = request
            .decided_at
            .filter(|_| request.kind == Kind::Export && request.state == State::Approved);
        let Some(approved) = approved else {
            let message = "This is no export that was approved.";
            return Err(Error::conflict("wrong_state", message));
        };
        if self.db.world().now() > approved + FETCHABLE {
            return Err(Error::gone("export_over", "The week to fetch it is over."));
        }
        self.closing.export_of(caller, request.person).await
    }
}

fn fact(
    caller: &Caller,
    verb: &'static str,
    id: Id<PrivacyRequest>,
    person: Id<User>,
    kind: Kind,
) -> Fact {
    Fact::by(caller, verb).on(id).about(person).with("kind", kind)
}

fn unknown() -> Error {
    Error::not_found("privacy request")
}

fn decided() -> Error {
    Error::conflict("wrong_state", "This request has been decided about.")
}
