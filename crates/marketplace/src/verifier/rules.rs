//! Pure decisions: which service fits, what a price range reads like, what reputation is.

use std::time::Duration;

use kernel::id::kinds;
use kernel::{Error, Id, Money};

use super::model::{AutoAccept, Expedited, Offer, key};

/// Why none of a verifier's services can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The verifier is unknown, or takes no requests.
    NotOpen,
    /// The verifier takes nothing at present.
    Away,
    /// The named service is not among the verifier's active ones.
    NoSuchOffer,
    /// The named service is for another type of credential.
    OtherKind { wants: String },
    /// No active service is for this type of credential.
    NothingFits { kind: String },
    /// The service is not to be had sooner.
    NotSooner,
    /// The service has another price than the one that the asker has seen.
    PriceChanged { seen: Money, now: Money },
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotOpen => {
                Self::field("/verifierId", "unknown", "no verifier who takes requests")
            }
            Refusal::Away => Self::field("/verifierId", "away", "this verifier is away at present"),
            Refusal::NoSuchOffer => {
                Self::field("/serviceId", "unknown", "not a service that this verifier offers")
            }
            Refusal::OtherKind { wants } => Self::field(
                "/serviceId",
                "does_not_fit",
                format!("this service is for credentials of the type {wants}"),
            ),
            Refusal::NotSooner => Self::field(
                "/expedited",
                "not_offered",
                "this service is not to be had sooner than it says",
            ),
            Refusal::PriceChanged { seen, now } => {
                let message = format!(
                    "The price is {now} now, and not {seen}. Nothing is held. Ask with the price of \
                     now if you agree to it."
                );
                Self::conflict("price_changed", message)
                    .with_member("price", now.minor)
                    .with_member("currency", now.asset.code())
            }
            Refusal::NothingFits { kind } => Self::field(
                "/verifierId",
                "no_fitting_service",
                format!("this verifier offers nothing for credentials of the type {kind}"),
            ),
        }
    }
}

/// Refuses a service whose price is not the one that its asker has seen: a verifier may have changed
/// it between the look and the request. Lower is refused as well, since what was seen is not there.
pub fn costs_as_seen(offer: &Offer, seen: Option<Money>) -> Result<(), Refusal> {
    match seen {
        Some(seen) if seen != offer.price => Err(Refusal::PriceChanged { seen, now: offer.price }),
        _ => Ok(()),
    }
}

/// The service that a request for a credential of this type gets: the named one if it fits;
/// else the cheapest that fits, in the currency that the verifier put first.
pub fn choose<'a>(
    offers: &'a [Offer],
    kind: &str,
    wanted: Option<Id<kinds::Service>>,
) -> Result<&'a Offer, Refusal> {
    let mut active = offers.iter().filter(|offer| offer.active);
    let fits = |offer: &Offer| key(&offer.category) == key(kind);
    if let Some(id) = wanted {
        let offer = active.find(|offer| offer.id == id).ok_or(Refusal::NoSuchOffer)?;
        if fits(offer) {
            return Ok(offer);
        }
        return Err(Refusal::OtherKind { wants: offer.category.clone() });
    }
    let fitting: Vec<&Offer> = active.filter(|offer| fits(offer)).collect();
    let nothing = || Refusal::NothingFits { kind: kind.to_owned() };
    let currency = fitting.first().ok_or_else(nothing)?.price.asset;
    let alike = fitting.into_iter().filter(|offer| offer.price.asset == currency);
    alike.min_by_key(|offer| offer.price.minor).ok_or_else(nothing)
}

/// Whether a request is accepted as it comes, by a verifier with so many jobs in work.
pub fn accepts_by_itself(rules: &AutoAccept, kind: &str, price: Money, active: i64) -> bool {
    let is_wanted =
        rules.types.is_empty() || rules.types.iter().any(|wanted| key(wanted) == key(kind));
    let is_enough = match (rules.min_price, rules.currency) {
        (Some(least), Some(currency)) => price.asset == currency && price.minor >= least,
        _ => true,
    };
    is_wanted && is_enough && active < rules.max_active
}

/// The lowest and highest active price in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceRange {
    pub lowest: Money,
    pub highest: Money,
}

/// One range a currency, in the order in which the verifier names the currencies.
pub fn price_ranges<'a>(offers: impl IntoIterator<Item = &'a Offer>) -> Vec<PriceRange> {
    let mut ranges: Vec<PriceRange> = Vec::new();
    for price in offers.into_iter().filter(|offer| offer.active).map(|offer| offer.price) {
        match ranges.iter_mut().find(|range| range.lowest.asset == price.asset) {
            Some(range) if price.minor < range.lowest.minor => range.lowest = price,
            Some(range) if price.minor > range.highest.minor => range.highest = price,
            Some(_) => {}
            None => ranges.push(PriceRange { lowest: price, highest: price }),
        }
    }
    ranges
}

/// The ranges for people: `$10-$50`, or `$10-$50, ₦5,000`.
pub fn price_range_text(ranges: &[PriceRange]) -> String {
    let texts = ranges.iter().map(|range| {
        if range.lowest == range.highest {
            return short(range.lowest);
        }
        format!("{}-{}", short(range.lowest), short(range.highest))
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// An amount without a fraction of nothing but zeros.
fn short(price: Money) -> String {
    let text = price.to_string();
    match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole.to_owned(),
        _ => text,
    }
}

/// What reputation is out of.
pub const REPUTATION_MAX: i64 = 10_000;
/// Where everybody begins.
pub const REPUTATION_START: i64 = 5_000;
/// Below which nobody falls: from there one can still rise.
pub const REPUTATION_FLOOR: i64 = 1_000;
/// How often a reputation is gone over.
pub const REPUTATION_EVERY: Duration = Duration::from_secs(7 * 24 * 3600);
/// Which verdicts are recent then.
pub const RECENT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The recent work of a verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recent {
    pub verdicts: i64,
    /// Of these.
    pub overturned: i64,
}

/// A reputation gone over: seven tenths of what it was, and three of the part of the recent verdicts
/// that was not overturned. Without a recent verdict, what is above the start decays towards it in the
/// same way, and what is below stays: to do nothing is no way to rise.
pub fn reputation(was: i64, recent: Recent) -> i64 {
    let success = match recent.verdicts {
        0 => was.min(REPUTATION_START),
        verdicts => (verdicts - recent.overturned) * REPUTATION_MAX / verdicts,
    };
    ((7 * was + 3 * success) / 10).clamp(REPUTATION_FLOOR, REPUTATION_MAX)
}

/// What is left when a verdict is overturned: seven tenths, at once.
pub fn overturned(was: i64) -> i64 {
    (was * 7 / 10).max(REPUTATION_FLOOR)
}

/// The offer as it is to be had sooner.
pub fn sooner(offer: Offer) -> Result<Offer, Refusal> {
    let Expedited { price, hours } = offer.expedited.ok_or(Refusal::NotSooner)?;
    Ok(Offer { price: Money::new(price, offer.price.asset), sla_hours: hours, ..offer })
}

#[cfg(test)]
mod tests {
    use kernel::Asset;
    use uuid::Uuid;

    use super::*;

    fn offer(n: u128, category: &str, minor: i64, asset: Asset) -> Offer {
        Offer {
            id: Id::from_uuid(Uuid::from_u128(n)),
            title: format!("service {n}"),
            category: category.to_owned(),
            price: Money::new(minor, asset),
            sla_hours: 24,
            expedited: None,
            active: true,
        }
    }

    #[test]
    fn the_cheapest_fitting_service_is_chosen_in_the_verifier_s_first_currency() {
        let offers = [
            offer(1, "Employment", 1, Asset::USD),
            offer(2, "Education", 5000, Asset::USD),
            offer(3, "education", 3000, Asset::USD),
            offer(4, "Education", 10, Asset::JPY),
        ];
        assert_eq!(choose(&offers, "Education", None).unwrap().id, offers[2].id);
        assert_eq!(choose(&offers, "EDUCATION", Some(offers[3].id)).unwrap().id, offers[3].id);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_reason() {
        let mut offers = [offer(1, "Employment", 1, Asset::USD), offer(2, "Health", 1, Asset::USD)];
        offers[1].active = false;
        let other = Refusal::OtherKind { wants: "Employment".to_owned() };
        assert_eq!(choose(&offers, "Education", Some(offers[0].id)), Err(other));
        assert_eq!(choose(&offers, "Health", Some(offers[1].id)), Err(Refusal::NoSuchOffer));
        let nothing = Refusal::NothingFits { kind: "Health".to_owned() };
        assert_eq!(choose(&offers, "Health", None), Err(nothing));
    }

    #[test]
    fn a_request_is_accepted_by_itself_when_every_rule_says_so() {
        let any = AutoAccept { types: vec![], max_active: 2, min_price: None, currency: None };
        let some = AutoAccept {
            types: vec!["Education".to_owned()],
            min_price: Some(5_000),
            currency: Some(Asset::USD),
            ..any.clone()
        };
        let usd = |minor| Money::new(minor, Asset::USD);
        assert!(accepts_by_itself(&any, "Health", Money::new(1, Asset::JPY), 1));
        assert!(!accepts_by_itself(&any, "Health", usd(1), 2), "enough to do");
        assert!(accepts_by_itself(&some, "education", usd(5_000), 0));
        assert!(!accepts_by_itself(&some, "Health", usd(5_000), 0));
        assert!(!accepts_by_itself(&some, "Education", usd(4_999), 0));
        assert!(!accepts_by_itself(&some, "Education", Money::new(9_999, Asset::NGN), 0));
    }

    #[test]
    fn a_price_range_reads_as_people_write_it() {
        let offers = [
            offer(1, "a", 2550, Asset::USD),
            offer(2, "b", 1000, Asset::USD),
            offer(3, "c", 5000, Asset::USD),
            offer(4, "d", 500_000, Asset::NGN),
        ];
        assert_eq!(price_range_text(&price_ranges(&offers)), "$10-$50, ₦5,000");
        assert_eq!(price_range_text(&price_ranges(&offers[..1])), "$25.50");
        assert_eq!(price_range_text(&[]), "");
    }

    #[test]
    fn reputation_is_seven_tenths_old_and_three_tenths_recent_success() {
        let after = |was, verdicts, overturned| reputation(was, Recent { verdicts, overturned });
        assert_eq!(after(5_000, 10, 0), 6_500);
        assert_eq!(after(5_000, 10, 5), 5_000);
        assert_eq!(after(5_000, 1, 1), 3_500);
        assert_eq!(after(10_000, 3, 0), 10_000);
        assert_eq!(after(1_100, 4, 4), REPUTATION_FLOOR);
        // Whoever does nothing comes back to the start from above, and stays where they are below.
        assert_eq!(after(9_000, 0, 0), 7_800);
        assert_eq!(after(5_000, 0, 0), 5_000);
        assert_eq!(after(2_000, 0, 0), 2_000);
        let idle = (0..60).fold(10_000, |was, _| after(was, 0, 0));
        assert!((5_000..5_004).contains(&idle), "{idle}");
        assert_eq!((overturned(5_000), overturned(1_001)), (3_500, REPUTATION_FLOOR));
    }

    #[test]
    fn sooner_is_another_price_and_fewer_hours() {
        let plain = offer(1, "Education", 5_000, Asset::USD);
        assert_eq!(sooner(plain.clone()), Err(Refusal::NotSooner));
        let expedited = Some(Expedited { price: 9_000, hours: 4 });
        let soon = sooner(Offer { expedited, ..plain.clone() }).unwrap();
        assert_eq!((soon.price, soon.sla_hours), (Money::new(9_000, Asset::USD), 4));
        assert_eq!(soon.id, plain.id);
    }

    #[test]
    fn stars_are_the_mean_to_one_decimal() {
        assert_eq!(super::super::model::Rating { sum: 29, count: 6 }.stars(), 4.8);
    }
}
