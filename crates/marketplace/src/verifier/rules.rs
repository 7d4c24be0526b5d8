//! Pure decisions: which service fits, what a price range reads like, what reputation is.

use kernel::id::kinds;
use kernel::{Error, Id, Money};

use super::model::{AutoAccept, Offer, Rating, key};

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
            Refusal::NothingFits { kind } => Self::field(
                "/verifierId",
                "no_fitting_service",
                format!("this verifier offers nothing for credentials of the type {kind}"),
            ),
        }
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

/// From 0 to 100; who has no rating yet starts in the middle.
pub const fn reputation(rating: Rating) -> i64 {
    if rating.count == 0 { 50 } else { rating.rank() / 50 }
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
    fn reputation_is_the_rating_out_of_a_hundred() {
        assert_eq!(reputation(Rating::default()), 50);
        assert_eq!(reputation(Rating { sum: 49, count: 10 }), 98);
        assert_eq!(Rating { sum: 29, count: 6 }.stars(), 4.8);
    }
}
