//! Pure decisions: who may send what, and how captured money is split.

use kernel::id::kinds::User;
use kernel::{Asset, Error, Id, Money, Result};

use super::model::{Balances, Captured, Hold, NewTransfer, Resolution, Whole};
use crate::ledger::{Account, Code, NewTransaction};

/// Refuses a transfer that makes no sense, whatever the state of the wallets.
pub(super) fn may_send(from: Id<User>, transfer: &NewTransfer, minimum: i64) -> Result<()> {
    if transfer.to == from {
        return Err(Error::field("/to", "yourself", "somebody else than yourself"));
    }
    at_least(transfer.amount, minimum)
}

/// The longest reason that anybody has to read.
const REASON_MAX: usize = 500;

/// Why an admin does something, in words.
///
/// # Errors
/// Invalid, at `/reason`.
pub(crate) fn reason(text: &str) -> Result<&str> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > REASON_MAX {
        return Err(Error::field("/reason", "invalid", "1 to 500 letters"));
    }
    Ok(text)
}

/// Refuses an amount below the least that an operation takes.
pub(crate) fn at_least(amount: Money, minimum: i64) -> Result<()> {
    if amount.minor < minimum {
        let least = Money::new(minimum, amount.asset);
        let message = format!("at least {minimum}, which is {least}");
        return Err(Error::field("/amount", "too_small", message));
    }
    Ok(())
}

/// What an owner's accounts come to in one asset.
pub(super) fn balances(accounts: &[(Code, Money)], asset: Asset) -> Result<Balances> {
    let of = |wanted: Code| {
        let found = accounts.iter().find(|(code, money)| *code == wanted && money.asset == asset);
        found.map_or(Money::new(0, asset), |(_, money)| *money)
    };
    let available = of(Code::WALLET);
    let (held, pending_withdrawal) = (of(Code::HELD), of(Code::WITHDRAW));
    let total = available.plus(held)?.plus(pending_withdrawal)?;
    Ok(Balances { available, held, pending_withdrawal, total })
}

/// Splits a held amount: nothing is lost and nothing is made.
pub(super) fn split(amount: Money, fee: Money) -> Result<Captured> {
    let net = amount.minus(fee)?;
    if fee.minor < 0 || net.minor < 0 {
        let message = format!("a fee of {} of {} held", fee.minor, amount.minor);
        return Err(Error::internal(message));
    }
    Ok(Captured { amount, fee, net })
}

/// The part of captured money that goes back, from the payee and from the platform alike.
pub(super) fn refund(captured: Captured, bps: u16) -> Result<Captured> {
    if bps > 10_000 {
        return Err(Error::internal(format!("a refund of {bps} of 10000")));
    }
    let (amount, fee) = (captured.amount.share(bps), captured.fee.share(bps));
    split(amount, fee)
}

/// What a payee keeps of a price when a dispute ends. The fee is taken from what is kept.
pub(super) fn kept(
    price: Money,
    how: Resolution,
    fee: impl FnOnce(Money) -> Money,
) -> Result<Captured> {
    let part = match how {
        Resolution::RefundOwner => Money::new(0, price.asset),
        Resolution::PayPayee => price,
        Resolution::Split { payee_bps } if payee_bps <= 10_000 => price.share(payee_bps),
        Resolution::Split { .. } => {
            return Err(Error::field("/share", "too_large", "at most 10000, which is all of it"));
        }
    };
    split(part, fee(part))
}

/// The share of a fee that goes with a part of the price, rounded down.
pub(super) fn share_of(fee: Money, part: Money, price: Money) -> Money {
    let share = i128::from(fee.minor) * i128::from(part.minor) / i128::from(price.minor.max(1));
    // No part is larger than the price, so the share is no larger than the fee.
    Money::new(i64::try_from(share).unwrap_or(fee.minor), fee.asset)
}

/// The postings when the money is still held.
pub(super) fn resolve_held(
    new: NewTransaction,
    hold: &Hold,
    payee: Id<User>,
    kept: &Captured,
) -> Result<Option<NewTransaction>> {
    let held = Account::of(hold.owner, Code::HELD);
    Ok(Some(
        new.post_some(held, Account::of(payee, Code::EARN_PENDING), kept.net)
            .post_some(held, Account::platform(Code::FEE_JOB), kept.fee)
            .post_some(
                held,
                Account::of(hold.owner, Code::WALLET),
                hold.amount.minus(kept.amount)?,
            ),
    ))
}

/// The postings when it was captured and is in the window.
pub(super) fn resolve_pending(
    new: NewTransaction,
    found: &Whole,
    payee: Id<User>,
    kept: &Captured,
) -> Result<Option<NewTransaction>> {
    let had = split(found.captured, found.fee)?;
    let pending = [(Account::of(payee, Code::EARN_PENDING), had.net)];
    take_back(new, found.hold.owner, &had, kept, &pending)
}

/// Takes back from a payee what they do not keep, out of accounts in order, and from the platform
/// its part of the fee and what the payee no longer has. None when nothing moves.
pub(super) fn take_back(
    mut new: NewTransaction,
    owner: Id<User>,
    had: &Captured,
    kept: &Captured,
    sources: &[(Account, Money)],
) -> Result<Option<NewTransaction>> {
    let wallet = Account::of(owner, Code::WALLET);
    let mut rest = had.net.minus(kept.net)?;
    let fee = had.fee.minus(kept.fee)?;
    if rest.minor < 0 || fee.minor < 0 {
        return Err(Error::internal("a resolution that gives more than there was"));
    }
    if rest.minor == 0 && fee.minor == 0 {
        return Ok(None);
    }
    for (account, available) in sources {
        let part = Money::new(available.minor.min(rest.minor), rest.asset);
        new = new.post_some(*account, wallet, part);
        rest = rest.minus(part)?;
    }
    Ok(Some(new.post_some(Account::platform(Code::GOODWILL_COST), wallet, rest).post_some(
        Account::platform(Code::FEE_JOB),
        wallet,
        fee,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_refund_takes_from_each_no_more_than_they_had(
            price in 1_i64..=1_000_000, fee_bps in 0_u16..=10_000, bps in 0_u16..=10_000
        ) {
            let price = Money::new(price, Asset::NGN);
            let captured = split(price, price.share(fee_bps)).unwrap();
            let back = refund(captured, bps).unwrap();
            proptest::prop_assert!(back.fee.minor <= captured.fee.minor);
            // Rounding may take a unit more from the payee than from the platform, never more
            // than the payee has.
            proptest::prop_assert!((0..=captured.net.minor).contains(&back.net.minor));
            proptest::prop_assert_eq!(back.fee.minor + back.net.minor, back.amount.minor);
            if bps == 10_000 {
                proptest::prop_assert_eq!(back, captured);
            }
        }

        #[test]
        fn h3_a_split_is_exact_for_every_price_and_fee(
            price in 1_i64..=1_000_000, bps in 0_u16..=10_000
        ) {
            let price = Money::new(price, Asset::NGN);
            let Captured { amount, fee, net } = split(price, price.share(bps)).unwrap();
            proptest::prop_assert!(fee.minor >= 0 && net.minor >= 0);
            proptest::prop_assert_eq!(amount, fee.plus(net).unwrap());
        }
    }

    #[test]
    fn a_fee_beyond_the_amount_is_refused() {
        let price = Money::new(100, Asset::NGN);
        for fee in [-1, 101, i64::MIN, i64::MAX] {
            assert!(split(price, Money::new(fee, Asset::NGN)).is_err(), "{fee}");
        }
        assert!(split(price, Money::new(1, Asset::USD)).is_err());
    }
}
