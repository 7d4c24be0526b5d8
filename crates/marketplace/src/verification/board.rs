//! Requests that are addressed to nobody: the board, and how a job is claimed from it.
//!
//! Whoever fits may claim a job, and exactly one does. A claim is a lease: who does not begin in
//! time loses it, as does who gives it back, and neither is offered the same job again. While the
//! price is held it does not matter how often a job changes hands.

use kernel::id::kinds;
use kernel::{Asset, Caller, Error, Id, Page, PageRequest, Result};
use platform::db::{Read, Tx};

use super::model::{Command, NewPosting, State, Verification};
use super::rules::{self, Refusal, Relation, Urgency};
use super::service::{Service, fact, load, take};
use super::store::{self, Narrowed, Seeker, Wanted};
use crate::verifier::model::AutoAccept;
use crate::verifier::service::Shown;
use crate::verifier::{self, Offer};

#[cfg(test)]
mod tests;

/// What a verifier looks for among the jobs that are to be had.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The credential's type.
    pub kind: Option<String>,
    pub urgency: Option<Urgency>,
    /// Only requests that ask for this language.
    pub language: Option<String>,
    /// Only requests that ask for this jurisdiction.
    pub jurisdiction: Option<String>,
    pub currency: Option<Asset>,
    /// Minor units.
    pub price_from: Option<i64>,
    pub price_to: Option<i64>,
}

impl Service {
    /// Puts a request on the board, and holds the price that the caller names.
    ///
    /// # Errors
    /// `NotFound` for another's credential; `Conflict` `wrong_state` while the credential is not
    /// free, and `insufficient_funds`.
    pub async fn post(&self, caller: &Caller, asked: &NewPosting) -> Result<Verification> {
        self.db
            .once(caller, "verification.post", |tx| {
                Box::pin(async move { self.post_in(&tx, caller, asked).await })
            })
            .await
    }

    /// [`Self::post`] within a transaction that does more.
    pub(crate) async fn post_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        asked: &NewPosting,
    ) -> Result<Verification> {
        let owner = caller.user()?;
        let credential = self.credentials.begin_verification(tx, owner, asked.credential).await?;
        let new = self.blank(tx, State::Open, credential, asked.terms.price);
        let posted = Verification {
            notes: asked.notes.as_str().to_owned(),
            board_until: Some(new.due_at),
            jurisdiction: asked.terms.jurisdiction.clone(),
            language: asked.terms.language.clone(),
            ..new
        };
        self.insert(tx, caller, posted).await
    }

    /// Requests that wait for the calling verifier's answer, and those that the board offers them;
    /// newest first. Who is away, or not shown in the marketplace, is offered nothing new.
    pub async fn available(
        &self,
        caller: &Caller,
        search: &Search,
        page: &PageRequest,
    ) -> Result<Page<Verification>> {
        let verifier = caller.user()?.same_as();
        let now = self.now();
        let urgent_until = rules::urgent_until(now);
        let narrowed = Narrowed {
            kind: search.kind.as_deref().map(store::kind_key),
            due_until: (search.urgency == Some(Urgency::High)).then_some(urgent_until),
            due_after: (search.urgency == Some(Urgency::Normal)).then_some(urgent_until),
            wanted: Wanted {
                language: search.language.clone(),
                jurisdiction: search.jurisdiction.as_deref().map(store::kind_key),
                currency: search.currency,
                price_from: search.price_from,
                price_to: search.price_to,
            },
            ..Narrowed::default()
        };
        let standing = self.verifiers.standing(&self.db, verifier).await?;
        let seeker = match standing.filter(|it| !it.verifier.availability.is_away(now)) {
            Some(shown) => seeker(shown),
            None => Seeker {
                verifier,
                kind_keys: Vec::new(),
                jurisdiction: String::new(),
                languages: Vec::new(),
            },
        };
        store::to_have(&self.db, &seeker, &narrowed, page).await
    }

    /// The service as which the calling verifier would do a job of the board's.
    ///
    /// # Errors
    /// `NotFound` where the board does not offer it to them; `Conflict` `away`.
    pub(super) async fn claimant(
        &self,
        db: &impl Read,
        caller: &Caller,
        job: &Verification,
    ) -> Result<Offer> {
        let me: Id<kinds::Verifier> = caller.user()?.same_as();
        let standing = self.verifiers.standing(db, me).await?.ok_or(Refusal::NoSuchThing)?;
        let offer = verifier::rules::choose(&standing.offers, &job.kind, None);
        let offer = offer.cloned().map_err(|_| Refusal::NoSuchThing)?;
        let known = &standing.verifier;
        let is_at_home = job.jurisdiction.is_empty()
            || store::kind_key(&job.jurisdiction) == store::kind_key(&known.jurisdiction);
        let reads_it =
            job.language.is_empty() || known.availability.languages.contains(&job.language);
        if !is_at_home || !reads_it || store::has_passed(db, job.id, me).await? {
            return Err(Refusal::NoSuchThing.into());
        }
        if known.availability.is_away(self.now()) {
            let message = "You are away: say that you are back before you take a job.";
            return Err(Error::conflict("away", message));
        }
        Ok(offer)
    }

    /// The caller claims a job from the board; it is saved. Of many who do at once, the first one
    /// to commit has it, and the others are run again on what that one has left.
    pub(super) async fn claim(
        &self,
        tx: &Tx,
        caller: &Caller,
        job: &mut Verification,
    ) -> Result<()> {
        let offer = self.claimant(tx, caller, job).await?;
        take(tx, caller, job, Command::Accept)?;
        self.require_bond(tx, caller.user()?.same_as()).await?;
        job.verifier = Some(caller.user()?.same_as());
        job.service = Some(offer.id);
        job.service_title = offer.title;
        job.sla_hours = offer.sla_hours;
        job.due_at = tx.now() + self.terms.claim_lease.min(job.sla());
        store::save(tx, job).await?;
        *job = load(tx, job.id).await?;
        Ok(())
    }

    /// The verifier gives a job back to the board.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` `wrong_state`, also for a job that was never on the board.
    pub async fn release(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        self.db
            .once(caller, "verification.release", |tx| async move {
                let held = load(&tx, id).await?;
                let mut job = held.clone();
                take(&tx, caller, &mut job, Command::Release)?;
                self.put_back(&tx, caller, Command::Release, (&held, &mut job)).await?;
                Ok(job)
            })
            .await
    }

    /// Writes that whoever held the job has it no more, and others may.
    pub(super) async fn put_back(
        &self,
        tx: &Tx,
        caller: &Caller,
        command: Command,
        (held, job): (&Verification, &mut Verification),
    ) -> Result<()> {
        store::save(tx, job).await?;
        let verifier = held.taken_by()?;
        store::insert_pass(tx, job.id, verifier).await?;
        self.unpin(tx, job.id).await?;
        self.close_file(tx, held).await?;
        let told = fact(caller, command.fact(), job).about(verifier.same_as());
        tx.record(told.with("verifier", verifier));
        Ok(())
    }

    /// Accepts a request in the transaction that makes it, where its verifier's rules say so. The
    /// verifier has set the rules: it is they who act.
    pub(super) async fn accept_by_itself(
        &self,
        tx: &Tx,
        mut made: Verification,
        wanted: &AutoAccept,
    ) -> Result<Verification> {
        let verifier = made.taken_by()?;
        self.verifiers.hold_still(tx, verifier).await?;
        let active = store::at_work(tx, verifier).await?;
        let wants_it = verifier::rules::accepts_by_itself(wanted, &made.kind, made.price(), active);
        if !wants_it || !self.has_bond(tx, verifier).await? {
            return Ok(made);
        }
        rules::act(&mut made, Relation::Verifier, Command::Accept, tx.now())?;
        store::save(tx, &mut made).await?;
        self.begin_work(tx, &made).await?;
        let told = fact(&Caller::nobody(), Command::Accept.fact(), &made);
        tx.record(told.with("byItself", true));
        Ok(made)
    }
}

fn seeker(Shown { verifier, offers }: Shown) -> Seeker {
    let mut kind_keys: Vec<_> =
        offers.iter().map(|offer| store::kind_key(&offer.category)).collect();
    kind_keys.sort_unstable();
    kind_keys.dedup();
    let mut languages = verifier.availability.languages;
    languages.push(String::new());
    let jurisdiction = store::kind_key(&verifier.jurisdiction);
    Seeker { verifier: verifier.id, kind_keys, jurisdiction, languages }
}
