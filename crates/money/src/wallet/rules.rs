//! Pure decisions: who may send what, and how captured money is split.

use kernel::id::kinds::User;
use kernel::{Asset, Caller, Error, Id, Money, Result};

use super::model::{Balances, Captured, NewTransfer};
use crate::ledger::Code;

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

/// Refuses an admin's decision about their own money.
///
/// # Errors
/// `own_wallet` (forbidden).
pub(super) fn not_own(admin: &Caller, owner: Id<User>) -> Result<()> {
    if admin.user()? != owner {
        return Ok(());
    }
    let message = "Somebody else has to decide about your own wallet.";
    Err(Error::forbidden("own_wallet", message))
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
