//! The verbs.

use std::sync::Arc;

use documents::credential::Service as Credentials;
use kernel::id::kinds;
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::db::{Db, Tx};

use super::model::{Commission, Document, NewCommission, To};
use super::store::{self, Beside, Place};
use crate::verification::model::{NewPosting, NewVerification, State, Text, Verification};
use crate::verification::{self};

/// Verifications for organizations.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) credentials: Credentials,
    pub(crate) verifications: Arc<verification::Service>,
    pub(crate) billing: money::billing::Service,
}

impl Service {
    /// Asks a verifier, or whoever claims it from the board, to judge a document, and holds the price in the organization's wallet.
    ///
    /// # Errors
    /// As of [`verification::Service::request`]; a field error at `/fileId` for a file
    /// that is not the organization's; `Forbidden` `plan_suspended` while a bill is not paid.
    pub async fn request(&self, caller: &Caller, asked: &NewCommission) -> Result<Commission> {
        self.db
            .once(caller, "commission.request", |tx| {
                Box::pin(async move { self.request_in(&tx, caller, asked, None).await })
            })
            .await
    }

    /// [`Self::request`] within a transaction that does more: of a batch's row.
    pub(crate) async fn request_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        asked: &NewCommission,
        place: Option<Place>,
    ) -> Result<Commission> {
        let organization = caller.user()?;
        if !self.billing.may_use(organization).await? {
            let message = "The plan is suspended until its invoice is paid.";
            return Err(Error::forbidden("plan_suspended", message));
        }
        let credential = match &asked.document {
            Document::Credential(id) => *id,
            Document::New(new) => self.credentials.create_in(tx, caller, new).await?.id,
        };
        let notes = asked.notes.clone();
        let verification = match &asked.to {
            &To::Verifier { verifier, service, expedited, seen } => {
                let wanted =
                    NewVerification { credential, verifier, service, expedited, seen, notes };
                self.verifications.request_in(tx, caller, &wanted).await?
            }
            To::Board(terms) => {
                let wanted = NewPosting { credential, terms: terms.clone(), notes };
                self.verifications.post_in(tx, caller, &wanted).await?
            }
        };
        let words = (asked.reference.as_str(), asked.subject.as_str());
        store::insert(tx, verification.id, verification.owner, words, place).await?;
        self.billing.record_usage(tx, organization, 1).await?;
        Ok(Commission {
            verification,
            reference: asked.reference.clone(),
            subject: asked.subject.clone(),
            batch: place.map(|(batch, _)| batch),
        })
    }

    /// The organization's commissions, newest first.
    pub async fn list(
        &self,
        caller: &Caller,
        state: Option<State>,
        reference: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Commission>> {
        let page = self.verifications.list_named(caller, state, reference, page).await?;
        let ids: Vec<_> = page.items.iter().map(|one| one.id).collect();
        let mut beside = store::beside(&self.db, caller.user()?, &ids).await?;
        Ok(page.map(|one| {
            let beside = beside.remove(&one.id).unwrap_or_default();
            commission(one, beside)
        }))
    }

    /// One of the organization's commissions.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn owned(&self, caller: &Caller, id: Id<kinds::Verification>) -> Result<Commission> {
        let verification = self.verifications.owned(caller, id).await?;
        self.shown(caller, verification).await
    }

    /// Takes a commission back before it was accepted; the price is free again.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state`.
    pub async fn cancel(&self, caller: &Caller, id: Id<kinds::Verification>) -> Result<Commission> {
        let verification = self.verifications.cancel(caller, id).await?;
        self.shown(caller, verification).await
    }

    /// Adds what the verifier has asked for.
    ///
    /// # Errors
    /// As of [`Self::cancel`].
    pub async fn provide_info(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        info: &Text,
    ) -> Result<Commission> {
        let verification = self.verifications.provide_info(caller, id, info).await?;
        self.shown(caller, verification).await
    }

    async fn shown(&self, caller: &Caller, verification: Verification) -> Result<Commission> {
        let ids = [verification.id];
        let mut beside = store::beside(&self.db, caller.user()?, &ids).await?;
        let beside = beside.remove(&verification.id).unwrap_or_default();
        Ok(commission(verification, beside))
    }
}

fn commission(verification: Verification, beside: Beside) -> Commission {
    let Beside { reference, subject, batch } = beside;
    Commission { verification, reference, subject, batch }
}
