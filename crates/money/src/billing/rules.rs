//! Pure decisions: what a period costs, and how much of it was served.

use std::time::Duration;

use kernel::{Error, Money, Result, Timestamp};

use super::model::{Invoice, Line};

/// A plan that enterprises can have.
#[derive(Debug, Clone)]
pub struct Plan {
    pub code: String,
    pub name: String,
    /// For a period, in minor units of the default currency.
    pub price: i64,
    /// Verifications that are in the price.
    pub included: i64,
    /// For each one more.
    pub overage: i64,
}

/// How enterprises are billed.
#[derive(Debug, Clone)]
pub struct Policy {
    /// In ascending order of their prices.
    pub plans: Vec<Plan>,
    /// Added to the price, in hundredths of a percent.
    pub tax_bps: u16,
    pub period: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        let plan = |code: &str, name: &str, price, included, overage| Plan {
            code: code.to_owned(),
            name: name.to_owned(),
            price,
            included,
            overage,
        };
        Self {
            plans: vec![
                plan("free", "Free", 0, 10, 0),
                plan("team", "Team", 9_900, 200, 50),
                plan("business", "Business", 49_900, 2_000, 25),
            ],
            tax_bps: 0,
            period: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

impl Policy {
    /// # Errors
    /// Invalid, at `/plan`.
    pub(super) fn plan(&self, code: &str) -> Result<&Plan> {
        self.find(code).ok_or_else(|| {
            let codes: Vec<_> = self.plans.iter().map(|plan| plan.code.as_str()).collect();
            Error::field("/plan", "unknown", format!("one of {}", codes.join(", ")))
        })
    }

    /// The plan that a subscription names: none when it is configured no more.
    pub(super) fn find(&self, code: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.code == code)
    }
}

/// What a period's invoice is about. The plan ahead is served as time goes by; what was used beyond
/// the last one has been served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Charges {
    pub plan: Option<Line>,
    pub used: Option<Line>,
}

pub(super) fn charges(plan: &Plan, before: Option<(&Plan, i64)>) -> Charges {
    let ahead =
        Line { description: format!("Plan {}", plan.name), quantity: 1, amount: plan.price };
    let used = before.map(|(last, used)| {
        let more = used.saturating_sub(last.included).max(0);
        let amount = more.saturating_mul(last.overage);
        let description = format!("Verifications beyond plan {}", last.name);
        Line { description, quantity: more, amount }
    });
    let is_some = |line: &Line| line.amount > 0;
    Charges { plan: Some(ahead).filter(is_some), used: used.filter(is_some) }
}

/// What of an invoice was served by now: all that was used before it, and the plan's part of the
/// time that has passed.
pub(super) fn served(it: &Invoice, now: Timestamp) -> Result<Money> {
    let plan = it.net.minus(it.used)?;
    it.used.plus(passed(plan, it.period_start, it.period_end, now))
}

/// When the period begins that has come at `now`, after one that ended. Those that a platform slept
/// through were not served and are not billed.
pub(super) fn next_start(ended: Timestamp, period: Duration, now: Timestamp) -> Timestamp {
    let whole = period.as_micros().max(1);
    let missed = now.since(ended).as_micros() / whole;
    let missed = u64::try_from(missed * whole).unwrap_or_default();
    ended + Duration::from_micros(missed)
}

/// The part of an amount that belongs to the time from the start of a period until now: rounded
/// half to even once, all of it at the end.
pub(super) fn passed(amount: Money, start: Timestamp, end: Timestamp, now: Timestamp) -> Money {
    let whole = i128::from((end.micros() - start.micros()).max(1));
    let past = i128::from((now.micros() - start.micros()).max(0)).min(whole);
    let product = i128::from(amount.minor) * past;
    let (part, rest) = (product / whole, product % whole);
    let is_up = rest * 2 > whole || (rest * 2 == whole && part % 2 == 1);
    let part = part + i128::from(is_up);
    // A part of what fits fits.
    Money::new(i64::try_from(part).unwrap_or(amount.minor), amount.asset)
}

/// The tax that goes with a part of the net.
pub(super) fn tax_of(tax: Money, part: Money, net: Money) -> Money {
    let share = i128::from(tax.minor) * i128::from(part.minor) / i128::from(net.minor.max(1));
    Money::new(i64::try_from(share).unwrap_or(tax.minor), tax.asset)
}

/// The tax in what was credited of an invoice: a part of the net and [`tax_of`] that part together have
/// as much of it as of the whole.
fn tax_in(credited: Money, it: &Invoice) -> Result<Money> {
    Ok(tax_of(it.tax, credited, it.total()?))
}

/// What becomes of each part of an open invoice that is not asked for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Deferred, and served by now.
    pub served: Money,
    /// Deferred, and not to be served.
    pub unserved: Money,
    /// Income that is taken back.
    pub income: Money,
    /// Tax that is not owed.
    pub tax: Money,
    /// Served, and not paid.
    pub lost: Money,
    /// Taken off the invoice in all, tax included.
    pub credited: Money,
}

/// All that an invoice still asks for is taken back.
pub(super) fn voided(it: &Invoice) -> Result<End> {
    let nothing = Money::new(0, it.net.asset);
    let unserved = it.net.minus(it.recognised)?;
    let tax = it.tax.minus(tax_in(it.credited, it)?)?;
    let income = it.due()?.minus(unserved)?.minus(tax)?;
    let credited = it.total()?;
    Ok(End { served: nothing, unserved, income, tax, lost: nothing, credited })
}

/// What was served by now is lost, and the rest taken back.
pub(super) fn written_off(it: &Invoice, now: Timestamp) -> Result<End> {
    let nothing = Money::new(0, it.net.asset);
    // A period that was ended by a credit has no rest.
    let deferred = it.net.minus(it.recognised)?;
    let unserved = match deferred.minor {
        0 => nothing,
        _ => it.net.minus(served(it, now)?)?,
    };
    let tax = tax_of(it.tax, unserved, it.net);
    let lost = it.due()?.minus(unserved)?.minus(tax)?;
    let credited = it.credited.plus(unserved)?.plus(tax)?;
    Ok(End { served: deferred.minus(unserved)?, unserved, income: nothing, tax, lost, credited })
}

/// When an unpaid invoice is tried again; none when it was tried often enough.
pub(super) fn next_attempt(now: Timestamp, attempts: i64) -> Option<Timestamp> {
    let days = match attempts {
        1 => 1,
        2 => 2,
        3 | 4 => 2,
        _ => return None,
    };
    Some(now + Duration::from_secs(days * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use kernel::Asset;

    use super::*;

    proptest::proptest! {
        #[test]
        fn m4_any_partition_of_a_period_sums_to_the_whole(
            net in 0_i64..1_000_000_000,
            mut cuts in proptest::collection::vec(0_i64..1_000_000, 0..20),
        ) {
            let at = Timestamp::from_micros;
            let net = Money::new(net, Asset::NGN);
            cuts.push(1_000_000);
            cuts.sort_unstable();
            let mut recognised = 0;
            for cut in cuts {
                let now = passed(net, at(0), at(1_000_000), at(cut)).minor;
                proptest::prop_assert!(now >= recognised, "nothing is taken back");
                recognised = now;
            }
            proptest::prop_assert_eq!(recognised, net.minor);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_a_credit_has_of_the_tax_is_told_from_the_credit(
            net in 1_i64..1_000_000_000,
            tax in 0_i64..1_000_000_000,
            part in 0_i64..1_000_000_000,
        ) {
            let of = |minor| Money::new(minor, Asset::NGN);
            let (net, tax, part) = (of(net), of(tax), of(part.min(net)));
            let taxed = tax_of(tax, part, net);
            let credited = part.plus(taxed).unwrap();
            proptest::prop_assert_eq!(tax_of(tax, credited, net.plus(tax).unwrap()), taxed);
        }
    }

    #[test]
    fn a_half_is_rounded_to_even() {
        let half = |minor| {
            let at = Timestamp::from_micros;
            passed(Money::new(minor, Asset::NGN), at(0), at(2), at(1)).minor
        };
        assert_eq!([half(1), half(3), half(5), half(7)], [0, 2, 2, 4]);
    }

    #[test]
    fn periods_that_were_slept_through_are_left_out() {
        let at = Timestamp::from_seconds;
        let next = |now| next_start(at(100), Duration::from_secs(30), at(now));
        assert_eq!([100, 129, 130, 195].map(next), [at(100), at(100), at(130), at(190)]);
    }

    #[test]
    fn only_what_is_beyond_the_plan_is_billed_on_top() {
        let policy = Policy::default();
        let (free, team) = (policy.plan("free").unwrap(), policy.plan("team").unwrap());
        assert_eq!(charges(free, Some((free, 1_000))), Charges::default());
        let billed = charges(team, Some((team, 203)));
        let line = |it: Option<Line>| it.map(|it| (it.quantity, it.amount));
        assert_eq!((line(billed.plan), line(billed.used)), (Some((1, 9_900)), Some((3, 150))));
        assert!(policy.plan("gold").is_err());
    }
}
