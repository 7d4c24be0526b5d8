//! The verbs.

use std::sync::Arc;
use std::time::Duration;

use documents::credential::{Credential, Date, Outcome};
use kernel::id::kinds;
use kernel::{Caller, Error, Id, Kind, Money, Page, PageRequest, Result, Timestamp};
use platform::db::{Db, Tx};
use platform::journal::{self, Fact, Recorded};
use platform::live::Live;
use rpc::users::Users;
use serde_json::Value as Json;
use trust::casefile;
use trust::issuance::service::VerdictClaim;

use super::model::{Command, NewVerification, Note, Report, State, Text, Verdict, Verification};
use super::rules::{self, Refusal, Relation};
use super::store::{self, Narrowed, Whose};
use crate::verifier;

/// What a timeline does not show: a verifier's notes are their own.
const UNTOLD: &[&str] = &[Command::Note.fact()];
/// Notes that one verifier may write on one job.
const NOTES_MAX: i64 = 100;
/// How often a verifier may put a question to the owner, from the acceptance on.
const QUESTIONS_MAX: i64 = 20;
/// Verifications that the timer looks at in one go.
const DUE_BATCH: i64 = 100;

/// Requests, jobs and verdicts.
///
/// Transactions that go through other contexts are boxed: their futures are large, and would be
/// copied into each future around them.
pub struct Service {
    pub(crate) db: Db,
    pub(crate) users: Arc<dyn Users>,
    pub(crate) verifiers: Arc<verifier::Service>,
    pub(crate) wallets: money::wallet::Service,
    pub(crate) credentials: documents::credential::Service,
    pub(crate) files: documents::file::Service,
    pub(crate) issuance: trust::issuance::service::Service,
    pub(crate) bonds: money::staking::Service,
    pub(crate) terms: Terms,
}

/// What the platform takes and allows.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The platform's part of a price, in hundredths of a percent, as it is when the verdict is
    /// given.
    pub fee_bps: Live<u16>,
    /// How long a request waits for the verifier's answer, or on the board.
    pub acceptance_sla: Live<Duration>,
    /// How long a job that was claimed from the board may lie before it goes back there.
    pub claim_lease: Duration,
    pub bonding: crate::Bonding,
}

/// A job with what its verifier may see of it.
#[derive(Debug, Clone)]
pub struct Job {
    pub verification: Verification,
    /// While the verifier is at work, and not before or after.
    pub credential: Option<Credential>,
    /// The owner's name, as long as the credential is shown.
    pub owner_name: Option<String>,
    pub notes: Vec<Note>,
}

/// A verifier's work at a glance.
#[derive(Debug, Clone)]
pub struct Dashboard {
    pub waiting_jobs: i64,
    pub active_jobs: i64,
    pub completed_jobs: i64,
    /// After fees, the currency with the most jobs first.
    pub earnings: Vec<Money>,
    /// From 0 to 100.
    pub reputation: i64,
}

impl Service {
    /// Asks a verifier to judge one of the caller's credentials, and holds the price.
    ///
    /// # Errors
    /// `NotFound` for another's credential; `Invalid` at `/verifierId` or `/serviceId` where
    /// nothing fits; `Conflict` `wrong_state` while the credential is not free, `price_changed`
    /// where it is not the price that the caller has seen, `bond_required`, and
    /// `insufficient_funds`.
    pub async fn request(&self, caller: &Caller, asked: &NewVerification) -> Result<Verification> {
        self.db
            .once(caller, "verification.request", |tx| {
                Box::pin(async move { self.request_in(&tx, caller, asked).await })
            })
            .await
    }

    /// [`Self::request`] within a transaction that does more.
    pub(crate) async fn request_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        asked: &NewVerification,
    ) -> Result<Verification> {
        let owner = caller.user()?;
        if asked.verifier.same_as() == owner {
            return Err(Error::field("/verifierId", "yourself", "somebody else must judge"));
        }
        let credential = self.credentials.begin_verification(tx, owner, asked.credential).await?;
        let (offer, by_itself) =
            self.verifiers.choose(tx, asked.verifier, &credential.kind, asked.service).await?;
        let offer = if asked.expedited { verifier::rules::sooner(offer)? } else { offer };
        verifier::rules::costs_as_seen(&offer, asked.seen)?;
        self.can_be_asked(tx, asked.verifier).await?;
        let new = Verification {
            verifier: Some(asked.verifier),
            service: Some(offer.id),
            service_title: offer.title,
            sla_hours: offer.sla_hours,
            notes: asked.notes.as_str().to_owned(),
            ..self.blank(tx, State::Pending, credential, offer.price)
        };
        let made = self.insert(tx, caller, new).await?;
        match by_itself {
            Some(rules) => self.accept_by_itself(tx, made, &rules).await,
            None => Ok(made),
        }
    }

    /// A request as it is before anybody has looked at it; its price is still to be held.
    pub(super) fn blank(
        &self,
        tx: &Tx,
        state: State,
        credential: Credential,
        price: Money,
    ) -> Verification {
        let id: Id<kinds::Verification> = tx.world().id();
        Verification {
            id,
            owner: credential.owner,
            credential: credential.id,
            kind: credential.kind,
            verifier: None,
            verifier_name: String::new(),
            service: None,
            service_title: String::new(),
            price: price.minor,
            currency: price.asset,
            sla_hours: 0,
            // Given with the money.
            hold: id.same_as(),
            state,
            version: 1,
            notes: String::new(),
            requested_at: tx.now(),
            due_at: tx.now() + self.terms.acceptance_sla.get(),
            board_until: None,
            jurisdiction: String::new(),
            language: String::new(),
            accepted_at: None,
            started_at: None,
            ended_at: None,
            info_asked: None,
            info_given: None,
            comments: None,
            report_url: None,
            report_file: None,
            verdict: None,
            fee: None,
            refunded: 0,
            issued: None,
            reason: None,
        }
    }

    /// Holds the price of a request, and writes it down.
    pub(super) async fn insert(
        &self,
        tx: &Tx,
        caller: &Caller,
        mut new: Verification,
    ) -> Result<Verification> {
        let (owner, price, subject) = (new.owner, new.price(), new.id.to_string());
        new.hold = self.wallets.hold(tx, owner, price, "job", &subject).await?;
        store::insert(tx, &new).await?;
        tx.record(
            fact(caller, "verification.requested", &new)
                .with("service", new.service)
                .with("price", new.price)
                .with("currency", new.currency),
        );
        load(tx, new.id).await
    }

    /// The caller's verifications, newest first.
    pub async fn list(
        &self,
        caller: &Caller,
        state: Option<State>,
        page: &PageRequest,
    ) -> Result<Page<Verification>> {
        self.list_named(caller, state, None, page).await
    }

    /// [`Self::list`], of an organization and narrowed to its own word for a case.
    pub(crate) async fn list_named(
        &self,
        caller: &Caller,
        state: Option<State>,
        reference: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Verification>> {
        let reference = reference.map(str::to_owned);
        let states = state.into_iter().collect();
        let narrowed = Narrowed { states, reference, ..Narrowed::default() };
        store::list(&self.db, Whose::Owner(caller.user()?), &narrowed, page).await
    }

    /// One of the caller's verifications.
    pub async fn owned(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        self.seen_as(Relation::Owner, caller, id).await
    }

    /// What has happened to one of the caller's verifications, oldest first. A verifier's notes
    /// are their own.
    pub async fn events(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        page: &PageRequest,
    ) -> Result<Page<Recorded>> {
        self.owned(caller, id).await?;
        journal::of_subject(&self.db, &id.to_string(), UNTOLD, page).await
    }

    /// [`Self::events`] from the first to the last, however many there are.
    pub(super) async fn timeline(&self, id: Id<kinds::Verification>) -> Result<Vec<Recorded>> {
        let (subject, mut page) = (id.to_string(), PageRequest::first(PageRequest::MAX_LIMIT));
        let mut facts = Vec::new();
        loop {
            let part = journal::of_subject(&self.db, &subject, UNTOLD, &page).await?;
            facts.extend(part.items);
            page.after = part.next;
            if page.after.is_none() {
                return Ok(facts);
            }
        }
    }

    /// One of the caller's verifications whole, as a file that anybody can judge without asking.
    ///
    /// # Errors
    /// `Unavailable` `log_behind` while the log has not come to what happened last.
    pub async fn case_file(&self, caller: &Caller, id: Id<kinds::Verification>) -> Result<Json> {
        let verification = self.owned(caller, id).await?;
        let facts = self.timeline(id).await?;
        if self.owned(caller, id).await?.version != verification.version {
            let message = "The verification is changing right now. Try again.";
            return Err(Error::unavailable("busy", message).retry_after(1));
        }
        let report = self.report_hashes(&verification).await?;
        let parts = casefile::Parts {
            about: casefile::About {
                id: id.to_string(),
                credential: verification.credential.to_string(),
                verifier: verification.verifier.map(|id| id.to_string()).unwrap_or_default(),
                status: verification.state.as_str().to_owned(),
                verdict: verification.verdict.map(|verdict| match verdict {
                    Verdict::Verified => casefile::Verdict::Verified,
                    Verdict::Rejected => casefile::Verdict::Rejected,
                }),
            },
            receipt: verification.fee.map(|fee| casefile::Receipt {
                currency: verification.currency.code().to_owned(),
                price: verification.price,
                fee,
                refunded: verification.refunded,
                hold: verification.hold.to_string(),
            }),
            report,
            facts,
            // What a dispute has issued later is no part of this verdict.
            issued: verification.issued.filter(|_| verification.verdict == Some(Verdict::Verified)),
        };
        casefile::seal(&self.issuance, &self.db, parts).await
    }

    /// The report by its hashes; nothing where there is none.
    async fn report_hashes(
        &self,
        verification: &Verification,
    ) -> Result<Option<casefile::ReportHashes>> {
        if verification.verdict.is_none() {
            return Ok(None);
        }
        let digest = |bytes: &[u8]| hex::encode(platform::crypto::sha256(bytes));
        let mut report = casefile::ReportHashes {
            comments_sha256: verification.comments.as_ref().map(|text| digest(text.as_bytes())),
            file_sha256: None,
            url: verification.report_url.clone(),
        };
        if let Some(file) = verification.report_file {
            let author = verification.taken_by()?.same_as();
            match self.files.get(&self.db, author, file).await {
                Ok(file) => report.file_sha256 = Some(hex::encode(file.sha256)),
                // It goes with its author's account.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(report))
    }

    /// The owner takes the request back before it was accepted; the price is free again.
    pub async fn cancel(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        self.end(caller, id, Command::Cancel, None).await
    }

    /// The owner adds what the verifier has asked for.
    pub async fn provide_info(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        info: &Text,
    ) -> Result<Verification> {
        self.db
            .once(caller, "verification.provide_info", |tx| async move {
                let mut verification = act(&tx, caller, id, Command::ProvideInfo).await?;
                verification.info_given = Some(info.as_str().to_owned());
                store::save(&tx, &mut verification).await?;
                tx.record(fact(caller, Command::ProvideInfo.fact(), &verification));
                Ok(verification)
            })
            .await
    }

    /// Jobs that the calling verifier has taken and not ended, newest first.
    pub async fn active(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Verification>> {
        let states = vec![State::InReview, State::NeedsInfo];
        let narrowed = Narrowed { states, ..Narrowed::default() };
        let whose = Whose::Verifier(caller.user()?.same_as());
        store::list(&self.db, whose, &narrowed, page).await
    }

    /// Jobs that the calling verifier was paid for, newest first.
    pub async fn paid(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Verification>> {
        let narrowed = Narrowed { judged: true, ..Narrowed::default() };
        let whose = Whose::Verifier(caller.user()?.same_as());
        store::list(&self.db, whose, &narrowed, page).await
    }

    /// One job of the calling verifier, or one that the board offers them. While they are at work
    /// it comes with the credential.
    pub async fn job(&self, caller: &Caller, id: Id<kinds::Verification>) -> Result<Job> {
        let found = store::get(&self.db, id).await?.ok_or(Refusal::NoSuchThing)?;
        let verification = match Relation::of(caller, &found) {
            Relation::Verifier => found,
            Relation::Candidate if found.state == State::Open => {
                self.claimant(&self.db, caller, &found).await?;
                let (credential, owner_name, notes) = (None, None, Vec::new());
                return Ok(Job { verification: found, credential, owner_name, notes });
            }
            _ => return Err(Refusal::NoSuchThing.into()),
        };
        let verifier = verification.taken_by()?.same_as();
        let mut notes = self.notes(id).await?;
        // Whoever had the job before has written for themselves.
        notes.retain(|note| note.author == verifier);
        if !verification.state.is_at_work() {
            return Ok(Job { verification, credential: None, owner_name: None, notes });
        }
        let credential = self.credentials.get(&self.db, verifier, verification.credential).await?;
        let owner_name = self.users.profile(verification.owner).await?.name;
        let (credential, owner_name) = (Some(credential), Some(owner_name));
        Ok(Job { verification, credential, owner_name, notes })
    }

    /// The verifier takes the job, and may read the credential from here on.
    ///
    /// # Errors
    /// `NotFound` also where the board does not offer it to them; `Conflict` `wrong_state`, which
    /// is what all but one of those are told who want the same job, `away` and `bond_required`.
    pub async fn accept(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        self.db
            .once(caller, "verification.accept", |tx| async move {
                let mut verification = load(&tx, id).await?;
                let relation = Relation::of(caller, &verification);
                if relation == Relation::Candidate {
                    self.claim(&tx, caller, &mut verification).await?;
                } else {
                    take(&tx, caller, &mut verification, Command::Accept)?;
                    self.require_bond(&tx, verification.taken_by()?).await?;
                    store::save(&tx, &mut verification).await?;
                }
                self.begin_work(&tx, &verification).await?;
                tx.record(fact(caller, Command::Accept.fact(), &verification));
                Ok(verification)
            })
            .await
    }

    /// The verifier does not take the job; the price is free again.
    pub async fn decline(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        self.end(caller, id, Command::Decline, None).await
    }

    /// The verifier is at work, again or for the first time. Saying so twice changes nothing.
    pub async fn start(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        self.db
            .run("verification.start", |tx| async move {
                let before = load(&tx, id).await?;
                let mut verification = before.clone();
                take(&tx, caller, &mut verification, Command::Start)?;
                if verification == before {
                    return Ok(before);
                }
                store::save(&tx, &mut verification).await?;
                tx.record(fact(caller, Command::Start.fact(), &verification));
                Ok(verification)
            })
            .await
    }

    /// The verifier cannot go on until the owner has added something.
    ///
    /// # Errors
    /// Those of every step; `Conflict` `too_many_questions`.
    pub async fn request_info(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        question: &Text,
    ) -> Result<Verification> {
        self.db
            .run("verification.request_info", |tx| async move {
                let mut verification = act(&tx, caller, id, Command::RequestInfo).await?;
                let (verb, from) = (Command::RequestInfo.fact(), verification.accepted_at);
                let from = from.unwrap_or(verification.requested_at);
                if journal::count_of(&tx, &id.to_string(), verb, from).await? >= QUESTIONS_MAX {
                    return Err(too_many_questions());
                }
                verification.info_asked = Some(question.as_str().to_owned());
                store::save(&tx, &mut verification).await?;
                tx.record(fact(caller, Command::RequestInfo.fact(), &verification));
                Ok(verification)
            })
            .await
    }

    /// The verifier writes something down for themselves.
    ///
    /// # Errors
    /// Those of every step; `Conflict` `too_many_notes`.
    pub async fn note(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        text: &Text,
    ) -> Result<Verification> {
        self.db
            .once(caller, "verification.note", |tx| async move {
                let mut verification = act(&tx, caller, id, Command::Note).await?;
                let author = verification.taken_by()?.same_as();
                if store::count_notes(&tx, id, author).await? >= NOTES_MAX {
                    return Err(too_many_notes());
                }
                store::save(&tx, &mut verification).await?;
                // A note is never changed: whose credential it is about can still be erased.
                let sealed = tx.seal(verification.owner, store::NOTE, text.as_str()).await?;
                store::insert_note(&tx, &verification, author, &sealed).await?;
                tx.record(Fact::by(caller, Command::Note.fact()).on(id));
                Ok(verification)
            })
            .await
    }

    /// The verdict, with all that follows from it, as one transaction: the state, the money and
    /// the platform's fee, the signed credential where it is positive, the credential's status,
    /// the end of the verifier's access, and the facts.
    pub async fn complete(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        report: &Report,
    ) -> Result<Verification> {
        self.db
            .once(caller, "verification.complete", |tx| {
                Box::pin(async move {
                    let command = report.verdict.command();
                    let mut verification = act(&tx, caller, id, command).await?;
                    let verifier = verification.taken_by()?;
                    self.take_report(&tx, &verification, report).await?;
                    // A setting that was stored before there was a bound may be above it.
                    let fee_bps = self.terms.fee_bps.get().min(crate::Options::FEE_BPS_MAX);
                    let fee = rules::fee(verification.price(), fee_bps);
                    verification.comments = Some(report.comments.as_str().to_owned());
                    verification.report_url.clone_from(&report.url);
                    verification.report_file = report.file;
                    verification.verdict = Some(report.verdict);
                    verification.fee = Some(fee.minor);
                    // Its name stands before it is signed, so that the verdict is one write.
                    let is_positive = report.verdict == Verdict::Verified;
                    verification.issued = is_positive.then(|| tx.world().id());
                    store::save(&tx, &mut verification).await?;
                    self.wallets.capture(&tx, verification.hold, verifier.same_as(), fee).await?;
                    let outcome = self.settle(&tx, &verification).await?;
                    self.credentials
                        .settle_verification(&tx, verification.credential, outcome)
                        .await?;
                    self.close_file(&tx, &verification).await?;
                    self.pin_for_the_window(&tx, &verification).await?;
                    self.verifiers.count_job(&tx, verifier).await?;
                    tx.record(
                        fact(caller, command.fact(), &verification)
                            .with("price", verification.price)
                            .with("fee", fee.minor)
                            .with("currency", verification.currency)
                            .with("issued", verification.issued),
                    );
                    Ok(verification)
                })
            })
            .await
    }

    /// A positive verdict becomes a signed credential; a negative one becomes nothing portable.
    async fn settle(&self, tx: &Tx, verification: &Verification) -> Result<Outcome> {
        let Some(issued) = verification.issued else { return Ok(Outcome::Rejected) };
        let verifier = verification.taken_by()?.same_as();
        let credential = self.credentials.get(tx, verifier, verification.credential).await?;
        let claim = VerdictClaim {
            verification: verification.id,
            credential: verification.credential,
            holder: verification.owner,
            title: credential.title,
            kind: credential.kind,
            issuer_name: credential.issuer_name,
            verifier_name: verification.verifier_name.clone(),
            file_sha256: credential.file_sha256,
            verified_at: tx.now(),
            document_ends: credential.expiry_date.map(Date::end),
        };
        let issued = self.issuance.issue(tx, issued, &claim).await?;
        Ok(Outcome::Verified { issued: issued.id, valid_until: issued.valid_until })
    }

    /// An admin ends it, and the owner gets the price back. The reason is shown to both sides.
    pub async fn force_cancel(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        reason: &Text,
    ) -> Result<Verification> {
        self.end(caller, id, Command::ForceCancel, Some(reason)).await
    }

    /// Everybody's verifications, newest first; for admins.
    pub async fn search(
        &self,
        state: Option<State>,
        page: &PageRequest,
    ) -> Result<Page<Verification>> {
        let narrowed = Narrowed { states: state.into_iter().collect(), ..Narrowed::default() };
        store::list(&self.db, Whose::Everybody, &narrowed, page).await
    }

    /// Anybody's verification with the verifier's notes; for admins.
    pub async fn find(&self, id: Id<kinds::Verification>) -> Result<(Verification, Vec<Note>)> {
        let found = store::get(&self.db, id).await?;
        let verification = found.ok_or(Refusal::NoSuchThing)?;
        Ok((verification, self.notes(id).await?))
    }

    async fn notes(&self, id: Id<kinds::Verification>) -> Result<Vec<Note>> {
        let mut notes = store::notes(&self.db, id).await?;
        for note in &mut notes {
            note.text = self.db.unseal(store::NOTE, &note.text).await?.unwrap_or_default();
        }
        Ok(notes)
    }

    /// The calling verifier's work at a glance.
    pub async fn dashboard(&self, caller: &Caller) -> Result<Dashboard> {
        let verifier = caller.user()?.same_as();
        let tally = store::tally(&self.db, verifier).await?;
        let count = |wanted: fn(State) -> bool| {
            tally.iter().filter(|(state, _)| wanted(*state)).map(|(_, count)| count).sum()
        };
        let known = self.verifiers.find(&self.db, verifier).await?;
        let start = verifier::rules::REPUTATION_START;
        let reputation = known.map_or(start, |verifier| verifier.reputation);
        Ok(Dashboard {
            // What the board offers waits for everybody.
            waiting_jobs: count(|state| state == State::Pending),
            active_jobs: count(State::is_at_work),
            completed_jobs: count(|state| state.has_verdict()),
            earnings: store::earnings(&self.db, verifier).await?,
            reputation: reputation / 100,
        })
    }

    /// Ends verifications whose time has run out, and gives the prices back; a claim that lies still
    /// goes back to the board. Answers how many. Several workers may do this at once: each
    /// verification expires once.
    pub async fn expire_due(&self) -> Result<u64> {
        let mut expired = 0;
        loop {
            let due = store::due(&self.db, self.db.world().now(), DUE_BATCH).await?;
            let mut moved = 0;
            for id in &due {
                match self.expire(*id).await {
                    Ok(is_mine) => moved += u64::from(is_mine),
                    // Somebody has acted on it meanwhile.
                    Err(error) if error.kind() == Kind::Conflict => {}
                    // One that cannot be ended must not keep the others from it.
                    Err(error) => tracing::error!(%error, verification = %id, "expiry failed"),
                }
            }
            expired += moved;
            if moved == 0 {
                return Ok(expired);
            }
        }
    }

    async fn expire(&self, id: Id<kinds::Verification>) -> Result<bool> {
        let nobody = &Caller::nobody();
        self.db
            .run("verification.expire", |tx| {
                Box::pin(async move {
                    let due = load(&tx, id).await?;
                    let Some(command) = rules::overdue(&due, tx.now()) else {
                        return Ok(false);
                    };
                    let mut ended = due.clone();
                    rules::act(&mut ended, Relation::Timer, command, tx.now())?;
                    if command == Command::Lapse {
                        self.put_back(&tx, nobody, command, (&due, &mut ended)).await?;
                    } else {
                        self.give_back(&tx, nobody, &mut ended, command).await?;
                    }
                    Ok(true)
                })
            })
            .await
    }

    /// Ends a verification without a verdict.
    async fn end(
        &self,
        caller: &Caller,
        id: Id<kinds::Verification>,
        command: Command,
        reason: Option<&Text>,
    ) -> Result<Verification> {
        let name = command.fact();
        self.db
            .once(caller, name, |tx| {
                Box::pin(async move {
                    let mut verification = act(&tx, caller, id, command).await?;
                    verification.reason = reason.map(|reason| reason.as_str().to_owned());
                    self.give_back(&tx, caller, &mut verification, command).await?;
                    Ok(verification)
                })
            })
            .await
    }

    /// Writes an end without a verdict: the price is the owner's again, the credential is free,
    /// and the verifier's access is over.
    async fn give_back(
        &self,
        tx: &Tx,
        caller: &Caller,
        verification: &mut Verification,
        command: Command,
    ) -> Result<()> {
        store::save(tx, verification).await?;
        self.unpin(tx, verification.id).await?;
        self.wallets.release(tx, verification.hold).await?;
        let credential = verification.credential;
        self.credentials.settle_verification(tx, credential, Outcome::Withdrawn).await?;
        self.close_file(tx, verification).await?;
        // The reason is words of a person's, and stays with the verification.
        tx.record(
            fact(caller, command.fact(), verification)
                .with("refunded", verification.price)
                .with("currency", verification.currency),
        );
        Ok(())
    }

    /// From here on the verifier may read the credential, and answers for it.
    pub(super) async fn begin_work(&self, tx: &Tx, verification: &Verification) -> Result<()> {
        let verifier = verification.taken_by()?.same_as();
        self.pin(tx, verification, None).await?;
        self.credentials.grant(tx, verification.credential, verifier).await
    }

    /// Nobody has read it where nobody has taken it.
    pub(super) async fn close_file(&self, tx: &Tx, verification: &Verification) -> Result<()> {
        let Some(verifier) = verification.verifier_user() else { return Ok(()) };
        self.credentials.withdraw_grant(tx, verification.credential, verifier).await
    }

    pub(super) async fn seen_as(
        &self,
        relation: Relation,
        caller: &Caller,
        id: Id<kinds::Verification>,
    ) -> Result<Verification> {
        let found = store::get(&self.db, id).await?;
        let theirs = found.filter(|found| Relation::of(caller, found) == relation);
        Ok(theirs.ok_or(Refusal::NoSuchThing)?)
    }

    /// The instant by which a view tells what is urgent.
    pub fn now(&self) -> Timestamp {
        self.db.world().now()
    }
}

fn too_many_questions() -> Error {
    let message = format!(
        "You have asked {QUESTIONS_MAX} times. Judge by what is there, or let the time run out."
    );
    Error::conflict("too_many_questions", message)
}

fn too_many_notes() -> Error {
    let message = format!("At most {NOTES_MAX} notes can be written on one job.");
    Error::conflict("too_many_notes", message)
}

pub(super) async fn load(tx: &Tx, id: Id<kinds::Verification>) -> Result<Verification> {
    Ok(store::get(tx, id).await?.ok_or(Refusal::NoSuchThing)?)
}

/// Loads a verification and takes the caller's step; it is still to be saved.
pub(super) async fn act(
    tx: &Tx,
    caller: &Caller,
    id: Id<kinds::Verification>,
    command: Command,
) -> Result<Verification> {
    let mut verification = load(tx, id).await?;
    take(tx, caller, &mut verification, command)?;
    Ok(verification)
}

/// The caller's step. What they may not know of is still not told to whoever names versions of it,
/// and what they have not seen is told before what cannot be done to it.
pub(super) fn take(
    tx: &Tx,
    caller: &Caller,
    verification: &mut Verification,
    command: Command,
) -> Result<()> {
    let relation = Relation::of(caller, verification);
    let (is, version) = (verification.state, verification.version);
    let taken = rules::act(verification, relation, command, tx.now());
    if !matches!(taken, Err(Refusal::NoSuchThing | Refusal::NotTheirs)) {
        let tell = |stale: Error| stale.with_member("state", is.as_str());
        caller.expect(version).map_err(tell)?;
    }
    taken.map_err(|refusal| match refusal {
        Refusal::WrongState { is, wanted } => {
            rules::wrong_state(verification, relation, rules::cannot(is, wanted))
        }
        refusal => refusal.into(),
    })
}

/// A fact that concerns both sides.
pub(super) fn fact(caller: &Caller, verb: &'static str, verification: &Verification) -> Fact {
    let fact = Fact::by(caller, verb).on(verification.id).about(verification.owner);
    let fact = match verification.verifier_user() {
        Some(verifier) => fact.about(verifier),
        None => fact,
    };
    fact.with("status", verification.state)
        .with("credential", verification.credential)
        .with("verifier", verification.verifier)
}
