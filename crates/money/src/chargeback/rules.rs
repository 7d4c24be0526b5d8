//! Pure decisions: how much of a payment a bank can want back.

use kernel::{Money, Result};

/// What a charge-back is about, in the currency of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// Of what came for the payment.
    pub amount: Money,
    /// Beyond that: with what the bank charges, say, or at another rate.
    pub excess: Money,
    /// Whether the provider named an amount that can be understood.
    pub is_clear: bool,
}

/// What a bank wants of what came for a payment. Where the provider names another currency, or
/// nothing at all, it is the whole payment until a person has looked: too much is held rather than
/// too little.
///
/// # Errors
/// Internal when it does not fit.
pub(super) fn claim(came: Money, named: Money) -> Result<Claim> {
    let zero = Money::new(0, came.asset);
    if named.asset != came.asset || named.minor <= 0 {
        return Ok(Claim { amount: came, excess: zero, is_clear: false });
    }
    let amount = Money::new(named.minor.min(came.minor), came.asset);
    Ok(Claim { amount, excess: named.minus(amount)?, is_clear: true })
}
