//! The verbs.

use std::sync::Arc;

use kernel::id::kinds::{Payment as PaymentKind, Refund as RefundKind};
use kernel::{Caller, Cursor, Error, Id, Money, Page, PageRequest, Result};
use platform::db::{Db, Tx};
use platform::jobs::{NewJob, Run};
use platform::journal::Fact;

use super::jobs::Send;
use super::model::{NewRefund, Refund, Source, State};
use super::rules::{self, Step};
use super::store;
use crate::ledger::{self, Account, Code, NewTransaction};
use crate::payment::{self, Payment};
use crate::provider::asking::{self, Claim, Sent};
use crate::provider::{Failure, Known, Provider, ProviderName, SeenRefund};
use crate::{chargeback, wallet};

/// Refunds that one sweep asks about.
const SWEEP_MAX: i64 = 50;

/// Refunds. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    db: Db,
    providers: Vec<Arc<dyn Provider>>,
}

impl Service {
    pub(crate) fn new(db: Db, providers: Vec<Arc<dyn Provider>>) -> Self {
        Self(Arc::new(Inner { db, providers }))
    }

    fn adapter(&self, name: ProviderName) -> Result<&Arc<dyn Provider>> {
        let found = self.0.providers.iter().find(|provider| provider.name() == name);
        found.ok_or_else(|| {
            let message = format!("Refunds through {name} are switched off.");
            Error::unavailable("provider_unavailable", message)
        })
    }

    /// An admin has money of a payment sent back to where it came from. It is set aside at once;
    /// a job sends it.
    ///
    /// # Errors
    /// Not found; invalid fields; `own_payment` (forbidden); `not_refundable`,
    /// `payment_disputed` and `insufficient_funds` (conflict).
    pub async fn request(&self, admin: &Caller, new: NewRefund) -> Result<Refund> {
        let who = admin.user()?;
        let reason = wallet::reason(&new.reason)?;
        let payment = payment::load(&self.0.db, new.payment).await?;
        let capabilities = self.adapter(payment.provider)?.capabilities();
        if !capabilities.refunds {
            let message = format!("{} sends nothing back.", payment.provider);
            return Err(Error::conflict("not_refundable", message));
        }
        let asked = new.amount;
        let id = self
            .0
            .db
            .once(admin, "refund.request", |tx| async move {
                let payment = payment::load(&tx, new.payment).await?;
                let source = rules::source(&payment, who)?;
                // The payment's row is this transaction's from here on: of two refunds at once
                // the second one counts the first, and a charge-back comes before it or after.
                let next = (source == Source::Suspense).then_some(payment::REFUNDING);
                payment::take(&tx, &payment, next).await?;
                chargeback::refuse_disputed(&tx, payment.id).await?;
                let came = match source {
                    Source::Wallet => payment.amount,
                    Source::Suspense => payment::received(&tx, payment.id).await?,
                };
                let before = Money::new(store::sum(&tx, payment.id).await?, came.asset);
                let amount = rules::amount(source, came, before, asked)?;
                capabilities.represent(amount)?;
                let refund = Refund {
                    id: tx.world().id(),
                    payment: payment.id,
                    owner: payment.owner,
                    provider: payment.provider,
                    source,
                    amount,
                    state: State::Requested,
                    reason: reason.to_owned(),
                    failure: None,
                    requested_by: who,
                    provider_ref: None,
                    created_at: tx.now(),
                    updated_at: tx.now(),
                    version: 1,
                };
                let aside = NewTransaction::new("refund", key(&refund, "req"), refund.id);
                ledger::post(&tx, aside.post(own(&refund), away(&refund), amount)).await?;
                store::insert(&tx, &refund).await?;
                tx.record(fact(admin, "refund.requested", &refund).with("reason", reason));
                tx.enqueue(NewJob::new(&Send { id: refund.id })?);
                Ok(refund.id)
            })
            .await?;
        self.get(id).await
    }

    pub(super) async fn get(&self, id: Id<RefundKind>) -> Result<Refund> {
        store::get(&self.0.db, id).await?.ok_or_else(|| Error::not_found("refund"))
    }

    /// All refunds, or those of a state, the latest first.
    pub async fn list(&self, state: Option<State>, page: &PageRequest) -> Result<Page<Refund>> {
        let rows = store::list(&self.0.db, state, page).await?;
        Ok(page.page(rows, |it| Cursor::by_id(it.id)))
    }

    /// Sends a refund: the job.
    pub(super) async fn send(&self, job: &Send, run: &Run) -> Result<()> {
        self.push(job.id).await?;
        self.0.db.run("refund.sent", |tx| async move { run.done_in(&tx).await }).await
    }

    /// Takes a refund as far as it comes: persisted first, then asked for, or looked for when it
    /// may have been asked for before.
    async fn push(&self, id: Id<RefundKind>) -> Result<()> {
        let refund = self.get(id).await?;
        match refund.state {
            State::Requested => {
                let first = &refund;
                let is_ours = self
                    .0
                    .db
                    .run("refund.submit", |tx| async move {
                        store::move_to(&tx, first, State::Submitting, None).await
                    })
                    .await?;
                if is_ours { self.ask(&self.get(id).await?).await } else { Ok(()) }
            }
            // What was settled may have come back.
            state if state.is_in_flight() || state == State::Settled => self.refresh(id).await,
            _ => Ok(()),
        }
    }

    /// Looks at the open refunds of a payment, of which its provider has told something.
    pub(crate) async fn refresh_of(&self, payment: Id<PaymentKind>) -> Result<()> {
        for id in store::open_of(&self.0.db, payment).await? {
            self.refresh(id).await?;
        }
        Ok(())
    }

    /// Looks a refund up at its provider and does what follows.
    async fn refresh(&self, id: Id<RefundKind>) -> Result<()> {
        let refund = self.get(id).await?;
        let payment = payment::load(&self.0.db, refund.payment).await?;
        let adapter = self.adapter(refund.provider)?;
        let seen = look_up(adapter, &refund, &payment).await?;
        match rules::decide(&refund, seen.as_ref())? {
            Step::Send => self.ask(&refund).await,
            _ => self.observe(id, seen.as_ref()).await,
        }
    }

    /// Asks the provider for a refund that is stored as submitting, unless somebody else has asked
    /// since it was read: there are providers that pay what they are asked for twice.
    async fn ask(&self, refund: &Refund) -> Result<()> {
        let id = refund.id;
        let claim =
            |tx: Tx| async move { asking::claim(&tx, Sent::Refund, id, refund.version).await };
        if self.0.db.run("refund.claim", claim).await? == Claim::Taken {
            return Ok(());
        }
        let payment = payment::load(&self.0.db, refund.payment).await?;
        let reference = payment.reference();
        let known = Known::by(&reference, payment.provider_ref.as_deref());
        let adapter = self.adapter(refund.provider)?;
        match adapter.create_refund(known, &refund.reference(), refund.amount).await {
            Ok(seen) => self.observe(id, Some(&seen)).await,
            Err(Failure::Declined { reason }) => {
                self.refused(adapter, refund, &payment, reason).await
            }
            Err(Failure::Invalid(what)) => {
                tracing::error!(what, refund = %id, "a refund was refused as senseless");
                self.refused(adapter, refund, &payment, "refused".into()).await
            }
            Err(Failure::Unknown(what)) => {
                tracing::warn!(what, refund = %id, "nobody knows what became of a refund");
                self.unknown(id).await
            }
            Err(failure @ Failure::Retryable(_)) => {
                let release = |tx: Tx| async move { asking::release(&tx, Sent::Refund, id).await };
                self.0.db.run("refund.release", release).await?;
                Err(failure.into())
            }
        }
    }

    /// What was refused may be the second asking for one that was paid: it has failed only when
    /// the provider does not know it.
    async fn refused(
        &self,
        adapter: &Arc<dyn Provider>,
        refund: &Refund,
        payment: &Payment,
        failure: String,
    ) -> Result<()> {
        match look_up(adapter, refund, payment).await {
            Ok(None) => self.take(refund.id, &Step::Fail { failure }).await,
            Ok(seen) => self.observe(refund.id, seen.as_ref()).await,
            Err(unclear) => {
                tracing::warn!(?unclear, refund = %refund.id, "a refused refund cannot be looked up");
                self.unknown(refund.id).await
            }
        }
    }

    async fn unknown(&self, id: Id<RefundKind>) -> Result<()> {
        self.0
            .db
            .run("refund.unknown", |tx| async move {
                let refund = found(&tx, id).await?;
                if refund.state == State::Submitting {
                    store::move_to(&tx, &refund, State::Unknown, None).await?;
                }
                Ok(())
            })
            .await
    }

    async fn observe(&self, id: Id<RefundKind>, seen: Option<&SeenRefund>) -> Result<()> {
        self.0
            .db
            .run("refund.observe", |tx| async move {
                let refund = found(&tx, id).await?;
                apply(&tx, &refund, &rules::decide(&refund, seen)?).await?;
                match seen {
                    Some(seen) => store::heard(&tx, id, &seen.provider_ref).await,
                    None => Ok(()),
                }
            })
            .await
    }

    async fn take(&self, id: Id<RefundKind>, step: &Step) -> Result<()> {
        self.0
            .db
            .run("refund.step", |tx| async move {
                let refund = found(&tx, id).await?;
                if refund.state.is_in_flight() {
                    apply(&tx, &refund, step).await?;
                }
                Ok(())
            })
            .await
    }

    /// Asks about refunds that should have become something by now.
    pub(crate) async fn sweep(&self) -> Result<()> {
        let now = self.0.db.world().now();
        for (id, checks, settled_at) in store::due(&self.0.db, now, SWEEP_MAX).await? {
            let next = match settled_at {
                Some(settled_at) => rules::next_look(settled_at, now),
                None => Some(rules::next_check(now, checks + 1)),
            };
            let note = |tx: Tx| async move { store::checked(&tx, id, next).await };
            self.0.db.run("refund.check", note).await?;
            if let Err(error) = self.push(id).await {
                tracing::warn!(%error, refund = %id, "a refund cannot be checked");
            }
        }
        Ok(())
    }
}

async fn found(tx: &Tx, id: Id<RefundKind>) -> Result<Refund> {
    store::get(tx, id).await?.ok_or_else(|| Error::not_found("refund"))
}

async fn look_up(
    adapter: &Arc<dyn Provider>,
    refund: &Refund,
    payment: &Payment,
) -> Result<Option<SeenRefund>, Failure> {
    let reference = payment.reference();
    let known = Known::by(&reference, payment.provider_ref.as_deref());
    adapter.fetch_refund(known, &refund.reference()).await
}

/// Where the money came from.
fn own(refund: &Refund) -> Account {
    match refund.source {
        Source::Wallet => Account::of(refund.owner, Code::WALLET),
        Source::Suspense => Account::platform(Code::suspense(refund.provider)),
    }
}

/// Where it stands until the outcome is conclusive.
fn away(refund: &Refund) -> Account {
    Account::of(refund.owner, Code::REFUND)
}

fn key(refund: &Refund, step: &str) -> String {
    format!("rf:{}:{step}", refund.id)
}

/// Does what was decided, unless somebody else has decided meanwhile.
async fn apply(tx: &Tx, refund: &Refund, step: &Step) -> Result<()> {
    let (state, failure) = match step {
        Step::Wait | Step::Send => return Ok(()),
        Step::Submitted => (State::Submitted, None),
        Step::Settle => (State::Settled, None),
        Step::Fail { failure } => (State::Failed, Some(failure.as_str())),
    };
    if !store::move_to(tx, refund, state, failure).await? {
        return Ok(());
    }
    let clearing = Account::platform(Code::clearing(refund.provider));
    let (verb, kind, step, from, to) = match (refund.state, state) {
        (_, State::Settled) => ("refund.settled", "refund_paid", "settle", away(refund), clearing),
        (State::Settled, State::Failed) => {
            ("refund.failed", "refund_back", "return", clearing, own(refund))
        }
        (_, State::Failed) => ("refund.failed", "refund_back", "fail", away(refund), own(refund)),
        _ => return Ok(()),
    };
    let moved = NewTransaction::new(kind, key(refund, step), refund.id);
    ledger::post(tx, moved.post(from, to, refund.amount)).await?;
    if refund.source == Source::Suspense {
        let payment: Payment = payment::load(tx, refund.payment).await?;
        let next = match state {
            State::Settled => "refunded",
            _ => payment.why_undecided(refund.amount),
        };
        payment::take(tx, &payment, Some(next)).await?;
    }
    tx.record(fact(&Caller::nobody(), verb, refund).with("failure", failure));
    Ok(())
}

fn fact(caller: &Caller, verb: &'static str, refund: &Refund) -> Fact {
    Fact::by(caller, verb)
        .on(refund.id)
        .about(refund.owner)
        .with("payment", refund.payment)
        .with("provider", refund.provider)
        .with("source", refund.source.as_str())
        .with("amount", refund.amount.minor)
        .with("currency", refund.amount.asset)
}
