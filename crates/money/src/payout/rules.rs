//! Pure decisions: what may leave, what an admin has to see, and what an observation means.

use std::time::Duration;

use kernel::id::kinds::Session;
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
use platform::live::Live;

use super::model::{NewDestination, State, Withdrawal};
use crate::provider::{DestinationKind, PayoutState, SeenPayout, finality};

/// What the platform takes for a withdrawal: so much, and a share of the amount.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fee {
    /// Minor units.
    pub flat: i64,
    /// Hundredths of a percent.
    pub bps: u16,
}

impl Fee {
    /// A share of every amount, in every asset.
    pub fn everywhere(bps: u16) -> Vec<(Asset, Self)> {
        Asset::ALL.iter().map(|asset| (*asset, Self { flat: 0, bps })).collect()
    }
}

/// What may leave the platform, and how fast. Amounts are minor units of their asset.
#[derive(Debug, Clone)]
pub struct Policy {
    /// From when a destination was saved until it may be used.
    pub cooling: Duration,
    /// Withdrawals of one owner in 24 hours.
    pub per_day: Live<i64>,
    /// The most that one owner may withdraw in 24 hours; without a word there is no such limit.
    pub daily_limit: Vec<(Asset, i64)>,
    /// Above this an admin looks first; without a word, at every withdrawal of the asset.
    pub review_above: Vec<(Asset, Live<i64>)>,
    /// On a session younger than this an admin looks first.
    pub new_session: Duration,
    pub minimum: i64,
    pub fees: Vec<(Asset, Fee)>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            cooling: Duration::from_secs(24 * 3600),
            per_day: 5.into(),
            daily_limit: Vec::new(),
            review_above: Vec::new(),
            new_session: Duration::from_secs(3600),
            minimum: 100,
            fees: Vec::new(),
        }
    }
}

impl Policy {
    /// What withdrawing an amount costs its owner.
    pub(super) fn fee(&self, amount: Money) -> Result<Money> {
        let fee = of(&self.fees, amount.asset).unwrap_or_default();
        amount.share(fee.bps).plus(Money::new(fee.flat, amount.asset))
    }

    /// Refuses what would be too much or too often, with this one counted in.
    pub(super) fn allow(&self, asset: Asset, count: i64, sum: i64) -> Result<()> {
        let per_day = self.per_day.get();
        if count > per_day {
            let message = format!("There may be {per_day} withdrawals in 24 hours.");
            return Err(Error::conflict("too_many_withdrawals", message));
        }
        match of(&self.daily_limit, asset) {
            Some(limit) if sum > limit => {
                let most = Money::new(limit, asset);
                let message = format!("At most {most} may be withdrawn in 24 hours.");
                Err(Error::conflict("daily_limit", message))
            }
            _ => Ok(()),
        }
    }

    /// Why an admin has to look first; none when nobody has to.
    pub(super) fn review(
        &self,
        amount: Money,
        session: Id<Session>,
        now: Timestamp,
    ) -> Option<&'static str> {
        let threshold =
            of(&self.review_above, amount.asset).map(|above| above.get()).unwrap_or_default();
        if amount.minor > threshold {
            return Some("large_amount");
        }
        (now.since(started(session)) < self.new_session).then_some("new_session")
    }
}

fn of<T: Clone>(list: &[(Asset, T)], asset: Asset) -> Option<T> {
    list.iter().find(|(own, _)| *own == asset).map(|(_, value)| value.clone())
}

/// When a session began: its id is a UUIDv7 and begins with that (RFC 9562 section 5.7).
fn started(session: Id<Session>) -> Timestamp {
    let millis = i64::try_from(session.uuid().as_u128() >> 80).unwrap_or_default();
    Timestamp::from_micros(millis.saturating_mul(1_000))
}

/// What is to be done about a withdrawal that a provider has told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// Ask for it, under its one reference.
    Send,
    Submitted,
    Settle {
        cost: Money,
    },
    Fail {
        reason: String,
    },
    Return {
        reason: String,
    },
}

/// Decides on what the provider answered about our reference; none when it does not know it.
///
/// # Errors
/// Internal when the answer is about another payout, or another amount.
pub(super) fn decide(withdrawal: &Withdrawal, seen: Option<&SeenPayout>) -> Result<Step> {
    let Some(seen) = seen else {
        return Ok(match withdrawal.state {
            State::Submitting | State::Unknown => Step::Send,
            _ => Step::Wait,
        });
    };
    if seen.reference != withdrawal.reference() || seen.amount != withdrawal.amount {
        let asked = withdrawal.reference();
        return Err(Error::internal(format!("asked for {asked}, and was answered {seen:?}")));
    }
    Ok(match (withdrawal.state, &seen.state) {
        (State::Submitting | State::Unknown, PayoutState::Pending) => Step::Submitted,
        (state, PayoutState::Settled { cost }) if state.is_in_flight() => {
            Step::Settle { cost: *cost }
        }
        (state, PayoutState::Failed { reason } | PayoutState::Returned { reason })
            if state.is_in_flight() =>
        {
            Step::Fail { reason: reason.clone() }
        }
        // A provider that calls a settled payout failed says that it came back.
        (State::Settled, PayoutState::Failed { reason } | PayoutState::Returned { reason }) => {
            Step::Return { reason: reason.clone() }
        }
        _ => Step::Wait,
    })
}

/// When the sweeper looks again: after a minute, then after twice as long each time, up to an
/// hour.
pub(super) fn next_check(now: Timestamp, checks: i64) -> Timestamp {
    let doublings = u32::try_from(checks.clamp(0, 6)).unwrap_or_default();
    now + Duration::from_secs((60 << doublings).min(3600))
}

/// How long a bank or a payee may send a payout back: what nobody collects comes back from PayPal
/// after thirty days.
const RETURNABLE: Duration = Duration::from_secs(45 * 24 * 3600);

/// When the sweeper looks again at a withdrawal that was settled; none when it cannot come back any
/// more.
pub(super) fn next_look(settled_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    finality::next_look(settled_at, RETURNABLE, now)
}

/// The longest account that anybody has.
const ACCOUNT_MAX: usize = 120;
const NAME_MAX: usize = 120;

/// Refuses a destination that cannot be one.
pub(super) fn check_destination(new: &NewDestination) -> Result<()> {
    let plain = |text: &str, max: usize| {
        !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control)
    };
    if !plain(&new.account, ACCOUNT_MAX) || new.account.contains(char::is_whitespace) {
        return Err(Error::field("/account", "invalid", "an account without spaces"));
    }
    if let Some(name) = &new.name
        && !plain(name, NAME_MAX)
    {
        return Err(Error::field("/name", "invalid", "up to 120 letters"));
    }
    let is_bank = new.kind == DestinationKind::Bank;
    match &new.bank {
        None if is_bank => Err(Error::field("/bank", "required", "the code of the bank")),
        Some(bank) if !is_bank || !plain(bank, 20) => {
            Err(Error::field("/bank", "invalid", "the code of a bank, for bank accounts only"))
        }
        _ => Ok(()),
    }
}

/// What tells a destination from others without telling it.
pub(super) fn mask(kind: DestinationKind, account: &str) -> String {
    let tail = |count: usize| {
        let letters: Vec<char> = account.chars().collect();
        letters[letters.len().saturating_sub(count)..].iter().collect::<String>()
    };
    match kind {
        DestinationKind::Paypal => match account.split_once('@') {
            Some((local, domain)) => {
                format!("{}…@{domain}", local.chars().take(1).collect::<String>())
            }
            None => "…".to_owned(),
        },
        DestinationKind::Bank | DestinationKind::Crypto => format!("…{}", tail(4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_tells_a_destination_from_others_and_does_not_tell_it() {
        assert_eq!(mask(DestinationKind::Bank, "0123456789"), "…6789");
        assert_eq!(mask(DestinationKind::Paypal, "ada@example.com"), "a…@example.com");
        assert_eq!(mask(DestinationKind::Bank, "äöü"), "…äöü");
    }

    #[test]
    fn a_fee_is_flat_and_a_share_and_rounds_down() {
        let fees = vec![(Asset::NGN, Fee { flat: 50, bps: 33 })];
        let policy = Policy { fees, ..Policy::default() };
        assert_eq!(policy.fee(Money::new(999, Asset::NGN)).unwrap().minor, 53);
        assert_eq!(policy.fee(Money::new(999, Asset::USD)).unwrap().minor, 0);
    }
}
