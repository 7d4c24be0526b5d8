//! Pure decisions: what an observation at the provider means for a payment.

use std::time::Duration;

use kernel::{Error, Money, Result, Timestamp};

use super::model::{INACTIVE_OWNER, NewDeposit, Payment, State, WRONG_AMOUNT, parse_email};
use crate::provider::{Capabilities, Seen, SeenState, finality};
use crate::wallet::at_least;

/// What is to be done about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: it is over, or the payer still has time.
    Wait,
    /// The provider knows it: the payer can pay.
    Open,
    /// The payer has agreed: take the money.
    Complete,
    /// Credit the wallet; the fee is ours to bear.
    Settle {
        fee: Money,
    },
    /// Money came that nobody asked for in this way: set it aside.
    Suspend {
        received: Money,
        fee: Money,
        reason: &'static str,
    },
    Fail {
        reason: String,
    },
    Expire,
}

/// Decides on what the provider answered; `seen` is none when it does not know the payment.
///
/// # Errors
/// Internal when the answer is about another payment.
pub(super) fn decide(payment: &Payment, seen: Option<&Seen>, now: Timestamp) -> Result<Step> {
    if let Some(seen) = seen
        && seen.reference != payment.reference()
    {
        let (asked, got) = (payment.reference(), &seen.reference);
        return Err(Error::internal(format!("asked for {asked}, and was answered {got}")));
    }
    let is_over = now >= payment.expires_at;
    let state = seen.map(|seen| &seen.state);
    Ok(match (payment.state, state) {
        (State::Settled | State::Suspended, _) => Step::Wait,
        (_, Some(SeenState::Paid { received, fee })) if *received == payment.amount => {
            Step::Settle { fee: *fee }
        }
        (_, Some(SeenState::Paid { received, fee })) => {
            Step::Suspend { received: *received, fee: *fee, reason: WRONG_AMOUNT }
        }
        (_, Some(SeenState::Approved)) => Step::Complete,
        (State::Failed | State::Expired, _) => Step::Wait,
        (State::Created | State::Pending, Some(SeenState::Failed { reason })) => {
            Step::Fail { reason: reason.clone() }
        }
        (State::Created | State::Pending, Some(SeenState::Open) | None) if is_over => Step::Expire,
        (State::Created, Some(SeenState::Open)) => Step::Open,
        (State::Created, None) | (State::Pending, Some(SeenState::Open) | None) => Step::Wait,
    })
}

/// What is done where the payment's owner may not be paid: what would be credited is set aside.
pub(super) fn without_owner(step: Step, payment: &Payment) -> Step {
    match step {
        Step::Settle { fee } => {
            Step::Suspend { received: payment.amount, fee, reason: INACTIVE_OWNER }
        }
        step => step,
    }
}

/// When the sweeper looks again: after two minutes, then after twice as long each time, up to an
/// hour.
pub(super) fn next_check(now: Timestamp, checks: i64) -> Timestamp {
    let doublings = u32::try_from(checks.clamp(0, 5)).unwrap_or_default();
    now + Duration::from_secs((120 << doublings).min(3600))
}

/// How long money may take that was on its way when the payment expired here: a bank's transfer, or a
/// review at the provider.
const LATE: Duration = Duration::from_secs(14 * 24 * 3600);

/// When the sweeper looks again at a payment that has expired; none when nothing comes any more.
pub(super) fn next_late_look(expired_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    finality::next_look(expired_at, LATE, now)
}

/// How long a payer's bank may want a payment back: the longest that card schemes give it is 120
/// days from a service that may be rendered later.
const REVERSIBLE: Duration = Duration::from_secs(180 * 24 * 3600);
/// An open charge-back is decided within weeks, and the wallet is frozen until then.
const OPEN_CHARGEBACK: Duration = Duration::from_secs(6 * 3600);

/// When the sweeper looks again at a payment whose money has come; none when nobody can want it
/// back any more.
pub(super) fn next_look(payment: &Payment, is_disputed: bool, now: Timestamp) -> Option<Timestamp> {
    if is_disputed {
        return Some(now + OPEN_CHARGEBACK);
    }
    finality::next_look(payment.updated_at, REVERSIBLE, now)
}

/// The amount and method of a deposit, if the provider can collect it.
pub(super) fn check(
    deposit: &NewDeposit,
    amount: Money,
    minimum: i64,
    provider: &Capabilities,
) -> Result<()> {
    at_least(amount, minimum)?;
    if !provider.currencies.contains(&amount.asset) {
        let known: Vec<_> = provider.currencies.iter().map(|asset| asset.code()).collect();
        let message = format!("one that the provider collects: {}", known.join(", "));
        return Err(Error::field("/currency", "not_collected", message));
    }
    provider.represent(amount)?;
    if provider.needs_email && deposit.email.is_none() {
        return Err(Error::field("/email", "required", "where this provider sends its receipt"));
    }
    if let Some(method) = &deposit.method
        && !provider.methods.contains(&method.as_str())
    {
        let message = format!("one of {}", provider.methods.join(", "));
        return Err(Error::field("/method", "unknown", message));
    }
    deposit.email.as_deref().map(parse_email).transpose().map(|_| ())
}
