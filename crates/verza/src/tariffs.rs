//! What bonds and plans are here, as the operator configures them.

use std::time::Duration;

use kernel::{Asset, Error, Money, Result};
use money::{billing, staking};

use crate::config::{Billing, Staking};

/// # Errors
/// `invalid_configuration` (invalid): which key, and what it takes.
pub(crate) fn staking(config: &Staking, currency: Asset) -> Result<staking::Policy> {
    let tiers = config.tiers.iter().map(|text| tier(text)).collect::<Result<Vec<_>>>()?;
    if !tiers.is_sorted_by(|one, next| one.minimum < next.minimum) {
        return Err(wrong("staking.tiers", "is in ascending order of what the tiers take"));
    }
    if config.minimum < 1 || config.reward_pool < 0 {
        return Err(wrong("staking", "takes a minimum above 0, and no reward_pool below 0"));
    }
    if config.reward_days == 0 {
        return Err(wrong("staking.reward_days", "is at least 1"));
    }
    let pool = Money::new(config.reward_pool, currency);
    Ok(staking::Policy {
        cooling: days(config.cool_down_days),
        minimum: config.minimum,
        tiers,
        rewards: (pool.minor > 0)
            .then_some(staking::Rewards { pool, epoch: days(config.reward_days) }),
    })
}

/// # Errors
/// As [`staking`].
pub(crate) fn billing(config: &Billing) -> Result<billing::Policy> {
    let plans = config.plans.iter().map(|text| plan(text)).collect::<Result<Vec<_>>>()?;
    if !plans.is_sorted_by(|one, next| one.price <= next.price) {
        return Err(wrong("billing.plans", "is in ascending order of the prices"));
    }
    let is_twice = |at: usize| plans[..at].iter().any(|other| other.code == plans[at].code);
    if (0..plans.len()).any(is_twice) {
        return Err(wrong("billing.plans", "names each code once"));
    }
    if config.tax_basis_points > 10_000 || config.period_days == 0 {
        let what = "takes a tax_basis_points up to 10000, and a period_days of at least 1";
        return Err(wrong("billing", what));
    }
    Ok(billing::Policy {
        plans,
        tax_bps: config.tax_basis_points,
        period: days(config.period_days),
    })
}

fn tier(text: &str) -> Result<staking::Tier> {
    let [name, minimum] =
        parts::<2>(text).filter(|[name, _]| !name.is_empty()).ok_or_else(|| {
            wrong("staking.tiers", "has a name and an amount in each, such as gold:1000000")
        })?;
    let minimum = amount("staking.tiers", minimum)?;
    Ok(staking::Tier { name: name.to_owned(), minimum })
}

fn plan(text: &str) -> Result<billing::Plan> {
    let key = "billing.plans";
    let [code, name, price, included, overage] = parts::<5>(text)
        .filter(|[code, name, ..]| !code.is_empty() && !name.is_empty())
        .ok_or_else(|| wrong(key, "has five parts in each, such as team:Team:9900:200:50"))?;
    Ok(billing::Plan {
        code: code.to_owned(),
        name: name.to_owned(),
        price: amount(key, price)?,
        included: amount(key, included)?,
        overage: amount(key, overage)?,
    })
}

fn parts<const COUNT: usize>(text: &str) -> Option<[&str; COUNT]> {
    let parts: Vec<&str> = text.split(':').map(str::trim).collect();
    parts.try_into().ok()
}

fn amount(key: &str, text: &str) -> Result<i64> {
    let number = text.parse().ok().filter(|number: &i64| *number >= 0);
    number.ok_or_else(|| wrong(key, &format!("takes whole numbers, and {text:?} is none")))
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 24 * 3600)
}

fn wrong(key: &str, what: &str) -> Error {
    Error::invalid("invalid_configuration", format!("{key} {what}."))
}
