//! Pure decisions: what may be refunded, and what an observation means.

use std::time::Duration;

use kernel::id::kinds::User;
use kernel::{Error, Id, Money, Result, Timestamp};

use super::model::{Refund, Source, State};
use crate::payment::{Payment, State as PaymentState};
use crate::provider::{RefundState, SeenRefund, finality};

/// Whose money a refund of a payment takes.
///
/// # Errors
/// `own_payment` (forbidden); `not_refundable` (conflict).
pub(super) fn source(payment: &Payment, admin: Id<User>) -> Result<Source> {
    if payment.owner == admin {
        let message = "Somebody else has to decide about your own payment.";
        return Err(Error::forbidden("own_payment", message));
    }
    match payment.state {
        PaymentState::Settled => Ok(Source::Wallet),
        PaymentState::Suspended if payment.is_undecided() => Ok(Source::Suspense),
        state => {
            let message = format!("This payment is {state}: there is nothing to refund.");
            Err(Error::conflict("not_refundable", message))
        }
    }
}

/// How much goes back, of what came less what has gone back before. Money that waits in suspense
/// goes back whole.
///
/// # Errors
/// Invalid, at `/amount`; `not_refundable` (conflict) when nothing is left.
pub(super) fn amount(
    source: Source,
    came: Money,
    before: Money,
    asked: Option<i64>,
) -> Result<Money> {
    let left = came.minus(before)?;
    if left.minor <= 0 {
        let message = "All of this payment was refunded before.";
        return Err(Error::conflict("not_refundable", message));
    }
    let amount = match asked {
        None => left,
        Some(minor) => Money::requested(minor, came.asset)?,
    };
    if amount.minor > left.minor {
        let message = format!("at most {}, which is {left}", left.minor);
        return Err(Error::field("/amount", "too_large", message));
    }
    if source == Source::Suspense && amount != left {
        let message = format!("all of it, which is {}", left.minor);
        return Err(Error::field("/amount", "not_whole", message));
    }
    Ok(amount)
}

/// What is to be done about a refund that a provider has told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// Ask for it, under its one reference.
    Send,
    Submitted,
    Settle,
    Fail {
        failure: String,
    },
}

/// Decides on what the provider answered about our reference; none when it does not know it.
///
/// # Errors
/// Internal when the answer is about another amount.
pub(super) fn decide(refund: &Refund, seen: Option<&SeenRefund>) -> Result<Step> {
    let Some(seen) = seen else {
        return Ok(match refund.state {
            State::Submitting | State::Unknown => Step::Send,
            _ => Step::Wait,
        });
    };
    if seen.amount != refund.amount {
        let asked = refund.reference();
        return Err(Error::internal(format!("asked for {asked}, and was answered {seen:?}")));
    }
    // A provider that calls a settled refund failed says that it came back.
    if refund.state == State::Settled && seen.state == RefundState::Failed {
        return Ok(Step::Fail { failure: "returned".to_owned() });
    }
    if !refund.state.is_in_flight() {
        return Ok(Step::Wait);
    }
    Ok(match (refund.state, seen.state) {
        (_, RefundState::Settled) => Step::Settle,
        (_, RefundState::Failed) => Step::Fail { failure: "declined".to_owned() },
        (State::Submitted, _) => Step::Wait,
        (_, RefundState::Pending | RefundState::NeedsAction) => Step::Submitted,
    })
}

/// How long a payer's bank may send a refund back: Stripe speaks of up to thirty days.
const RETURNABLE: Duration = Duration::from_secs(45 * 24 * 3600);

/// When the sweeper looks again at a refund that was settled; none when it cannot come back any more.
pub(super) fn next_look(settled_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    finality::next_look(settled_at, RETURNABLE, now)
}

/// When the sweeper looks again: after two minutes, then after twice as long each time, up to an
/// hour.
pub(super) fn next_check(now: Timestamp, checks: i64) -> Timestamp {
    let doublings = u32::try_from(checks.clamp(0, 5)).unwrap_or_default();
    now + Duration::from_secs((120 << doublings).min(3600))
}
