//! The verbs.

use std::sync::Arc;

use kernel::id::kinds;
use kernel::{Caller, Error, Id, Page, PageRequest, Result};
use platform::db::{Db, Tx};
use platform::journal::Fact;

use super::model::{NewReview, Review};
use super::store;
use crate::verification::model::Text;
use crate::{verification, verifier};

/// Reviews.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) verifiers: Arc<verifier::Service>,
    pub(crate) verifications: Arc<verification::Service>,
}

impl Service {
    /// The owner says what the verdict was worth.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state` before there is a verdict and while it is contested,
    /// `review_exists`.
    pub async fn write(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        new: &NewReview,
    ) -> Result<Review> {
        self.db
            .once(caller, "review.write", |tx| async move {
                let verification = self.verifications.judged(&tx, caller, id).await?;
                let review = Review {
                    id: tx.world().id(),
                    verification: id,
                    verifier: verification.taken_by()?,
                    author: verification.owner,
                    stars: new.stars.into(),
                    text: new.text.as_str().to_owned(),
                    at: tx.now(),
                    answer: None,
                    answered_at: None,
                };
                if !store::insert(&tx, &review).await? {
                    let message = "You have reviewed this verification before.";
                    return Err(Error::conflict("review_exists", message));
                }
                self.verifiers.rate(&tx, review.verifier, new.stars).await?;
                tx.record(
                    Fact::by(caller, "review.written")
                        .on(review.id)
                        .about(review.verifier.same_as())
                        .with("verification", id)
                        .with("rating", review.stars),
                );
                Ok(review)
            })
            .await
    }

    /// What was said of a verifier whom the marketplace shows, newest first.
    ///
    /// # Errors
    /// `NotFound`, also for who is hidden, suspended or not approved.
    pub async fn of(
        &self,
        verifier: Id<kinds::Verifier>,
        page: &PageRequest,
    ) -> Result<Page<Review>> {
        self.verifiers.open(verifier).await?;
        store::list(&self.db, verifier, page).await
    }

    /// What was said of the calling verifier, newest first.
    pub async fn own(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Review>> {
        store::list(&self.db, caller.user()?.same_as(), page).await
    }

    /// A review that anybody may read.
    ///
    /// # Errors
    /// `NotFound`, also where the marketplace does not show its verifier.
    pub async fn find(&self, id: Id<kinds::Review>) -> Result<Review> {
        let review = store::get(&self.db, id).await?.ok_or_else(|| Error::not_found("review"))?;
        self.verifiers.open(review.verifier).await?;
        Ok(review)
    }

    /// Takes a review away, and its stars with it, for an admin. Its author may write another.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_in(&self, tx: &Tx, caller: &Caller, id: Id<kinds::Review>) -> Result<()> {
        let review = store::get(tx, id).await?;
        let review = review.ok_or_else(|| Error::not_found("review"))?;
        if !store::remove(tx, id).await? {
            return Err(Error::not_found("review"));
        }
        self.verifiers.unrate(tx, review.verifier, review.stars).await?;
        tx.record(
            Fact::by(caller, "review.removed")
                .on(id)
                .about(review.author)
                .about(review.verifier.same_as())
                .with("verification", review.verification)
                .with("rating", review.stars),
        );
        Ok(())
    }

    /// The verifier answers, once.
    ///
    /// # Errors
    /// `NotFound` for a review of somebody else; `Conflict` `answer_exists`.
    pub async fn answer(
        &self,
        caller: &Caller,
        id: Id<kinds::Review>,
        text: &Text,
    ) -> Result<Review> {
        let me: Id<kinds::Verifier> = caller.user()?.same_as();
        let unknown = || Error::not_found("review");
        self.db
            .once(caller, "review.answer", |tx| async move {
                let review = store::get(&tx, id).await?.filter(|review| review.verifier == me);
                let review = review.ok_or_else(unknown)?;
                if !store::answer(&tx, id, text.as_str()).await? {
                    let message = "You have answered this review before.";
                    return Err(Error::conflict("answer_exists", message));
                }
                tx.record(Fact::by(caller, "review.answered").on(id).about(review.author));
                store::get(&tx, id).await?.ok_or_else(unknown)
            })
            .await
    }
}
