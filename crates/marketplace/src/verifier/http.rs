//! The marketplace's list, and a verifier's own profile and services.

use std::sync::Arc;

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
use platform::http::{
    At, Audience, By, Json, List, Paging, Query, Reply, Route, Versioned, get, put, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{
    self, AutoAccept, Availability, Away, Offer, OfferDraft, ProfileDraft, Search, Sort, Status,
    Verifier,
};
use super::rules;
use super::service::{Service, Shown};

type VerifierId = Id<kinds::Verifier>;
type ServiceId = Id<kinds::Service>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/marketplace/verifiers")
                .summary("Find verifiers")
                .describe("Amounts are minor units: 5000 with NGN is fifty naira.")
                .query::<SearchQuery>()
                .paged()
                .returns::<Vec<VerifierBody>>(200)
                .to(search),
            get(Audience::Any, "/v1/marketplace/verifiers/{id}")
                .summary("Read what a verifier offers")
                .returns::<VerifierBody>(200)
                .to(open),
            get(Audience::Verifier, "/v1/verifier/profile")
                .summary("Read my profile")
                .versioned()
                .returns::<ProfileBody>(200)
                .to(profile),
            put(Audience::Verifier, "/v1/verifier/profile")
                .summary("Replace my profile")
                .describe("What is left out becomes empty; the name stays when it is left out.")
                .takes::<NewProfile>()
                .versioned()
                .returns::<ProfileBody>(200)
                .to(replace_profile),
            get(Audience::Verifier, "/v1/verifier/services")
                .summary("List my services")
                .versioned()
                .returns::<Vec<ServiceBody>>(200)
                .to(services),
            put(Audience::Verifier, "/v1/verifier/services")
                .summary("Replace my services")
                .describe(
                    "The list takes the place of all services. One with the id of a service that \
                     is there changes it; one without an id is new. Requests that were made keep \
                     their price.",
                )
                .takes::<Vec<NewService>>()
                .versioned()
                .returns::<Vec<ServiceBody>>(200)
                .to(replace_services),
            get(Audience::Verifier, "/v1/verifier/availability")
                .summary("Read when I take work, and what of it by itself")
                .versioned()
                .returns::<AvailabilityBody>(200)
                .to(availability),
            put(Audience::Verifier, "/v1/verifier/availability")
                .summary("Replace when I take work, and what of it by itself")
                .describe(
                    "Who is away is offered to nobody, and takes nothing; what they have begun \
                     goes on. A request that the rules of `autoAccept` allow is accepted as it \
                     comes.",
                )
                .takes::<AvailabilityBody>()
                .versioned()
                .returns::<AvailabilityBody>(200)
                .to(replace_availability),
        ],
    )
}

/// What the marketplace's list is narrowed to.
#[derive(Debug, Default, Deserialize, IntoParams)]
struct SearchQuery {
    /// Words of the profile and of the services, all of them; accents and letter case make no
    /// difference, and the last may be the beginning of a word.
    search: Option<String>,
    /// A category of an offered service, or a part of its title.
    service: Option<String>,
    /// A category of the profile or of an offered service, such as `education`.
    category: Option<String>,
    /// The lowest mean rating, from 0 to 5.
    rating: Option<f64>,
    /// Only those with a service for this price or more, in minor units of the currency.
    #[serde(rename = "minPrice")]
    price_min: Option<i64>,
    /// Only those with a service for this price or less, in minor units of the currency.
    #[serde(rename = "maxPrice")]
    price_max: Option<i64>,
    /// Only those with a price in this currency. A list sorted by price is always in one.
    currency: Option<String>,
    /// Left out: `relevance` where words are searched, `rating` where none are.
    #[param(inline)]
    sort: Option<Sort>,
}

impl SearchQuery {
    fn parse(self) -> Result<Search> {
        let rating = self.rating.unwrap_or(0.0);
        if !(0.0..=5.0).contains(&rating) {
            return Err(Error::field("/rating", "out_of_range", "from 0 to 5"));
        }
        for (pointer, text) in
            [("/search", &self.search), ("/service", &self.service), ("/category", &self.category)]
        {
            if text.as_ref().is_some_and(|text| text.chars().count() > 100) {
                return Err(Error::field(pointer, "too_long", "at most 100 characters"));
            }
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return Err(Error::field(pointer, "invalid", "text without U+0000"));
            }
        }
        let stated = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let text = stated(self.search);
        let by_itself = if text.is_some() { Sort::Relevance } else { Sort::Rating };
        Ok(Search {
            price: price_range(self.price_min, self.price_max)?,
            sort: self.sort.unwrap_or(by_itself),
            text,
            service: stated(self.service),
            category: stated(self.category),
            rating_min: (rating * 1000.0).round() as i64,
            currency: self.currency.as_deref().map(str::parse::<Asset>).transpose()?,
        })
    }
}

fn price_range(min: Option<i64>, max: Option<i64>) -> Result<Option<(i64, i64)>> {
    if min.is_none() && max.is_none() {
        return Ok(None);
    }
    let range = (min.unwrap_or(0), max.unwrap_or(Money::MAX_MINOR));
    if range.0 < 0 || range.1 > Money::MAX_MINOR || range.0 > range.1 {
        let message = format!("from 0 to {}, and no more than maxPrice", Money::MAX_MINOR);
        return Err(Error::field("/minPrice", "out_of_range", message));
    }
    Ok(Some(range))
}

/// A verifier as the marketplace shows them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Verifier)]
struct VerifierBody {
    id: VerifierId,
    name: String,
    headline: String,
    bio: String,
    jurisdiction: String,
    licence: String,
    /// The mean of all ratings to one decimal, 0 where there is none yet.
    rating: f64,
    rating_count: i64,
    /// Verdicts given.
    jobs_done: i64,
    /// From 0 to 100: seven tenths of what it was a week ago, and three of the part of the last 30
    /// days' verdicts that was not overturned; an overturned verdict takes three tenths at once.
    reputation: i64,
    /// The types of credential that can be verified here, each once.
    services: Vec<String>,
    /// For people: `$10-$50`.
    price_range: String,
    /// The range in minor units, one a currency.
    prices: Vec<PriceBody>,
    offers: Vec<ServiceBody>,
    /// Codes of languages that they read, such as `en`.
    languages: Vec<String>,
    /// When they take no requests; absent where they are there, and plan to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    away: Option<AwayBody>,
    since: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VerifierPriceRange)]
struct PriceBody {
    currency: Asset,
    /// Minor units.
    lowest: i64,
    /// Minor units.
    highest: i64,
}

impl From<Shown> for VerifierBody {
    fn from(Shown { verifier, offers }: Shown) -> Self {
        let ranges = rules::price_ranges(&offers);
        let mut services: Vec<String> = Vec::new();
        let categories = offers.iter().map(|offer| &offer.category);
        for category in categories.chain(&verifier.categories) {
            if !services.iter().any(|known| model::key(known) == model::key(category)) {
                services.push(category.clone());
            }
        }
        Self {
            id: verifier.id,
            rating: verifier.rating.stars(),
            rating_count: verifier.rating.count,
            name: verifier.name,
            headline: verifier.headline,
            bio: verifier.bio,
            jurisdiction: verifier.jurisdiction,
            licence: verifier.licence,
            jobs_done: verifier.jobs_done,
            reputation: verifier.reputation / 100,
            services,
            price_range: rules::price_range_text(&ranges),
            prices: ranges
                .iter()
                .map(|range| PriceBody {
                    currency: range.lowest.asset,
                    lowest: range.lowest.minor,
                    highest: range.highest.minor,
                })
                .collect(),
            offers: offers.into_iter().map(ServiceBody::from).collect(),
            languages: verifier.availability.languages,
            away: verifier.availability.away.map(|Away { from, until }| AwayBody { from, until }),
            since: verifier.since,
        }
    }
}

/// A verifier's own profile.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierProfile)]
struct ProfileBody {
    id: VerifierId,
    name: String,
    headline: String,
    bio: String,
    categories: Vec<String>,
    jurisdiction: String,
    licence: String,
    #[schema(inline)]
    status: Status,
    /// Whether the marketplace shows the profile now.
    open: bool,
    rating: f64,
    rating_count: i64,
    jobs_done: i64,
}

impl From<Verifier> for ProfileBody {
    fn from(verifier: Verifier) -> Self {
        Self {
            id: verifier.id,
            open: verifier.is_open(),
            rating: verifier.rating.stars(),
            rating_count: verifier.rating.count,
            jobs_done: verifier.jobs_done,
            name: verifier.name,
            headline: verifier.headline,
            bio: verifier.bio,
            categories: verifier.categories,
            jurisdiction: verifier.jurisdiction,
            licence: verifier.licence,
            status: verifier.status,
        }
    }
}

/// A profile to be saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewVerifierProfile)]
struct NewProfile {
    /// 2 to 100 characters; the account's name where none has been chosen.
    name: Option<String>,
    /// Up to 140 characters.
    #[serde(default)]
    headline: String,
    /// Up to 4000 characters.
    #[serde(default)]
    bio: String,
    /// Up to 20 fields of work, such as `Education`.
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    jurisdiction: String,
    #[serde(default)]
    licence: String,
    #[schema(inline)]
    status: Option<Status>,
}

impl From<NewProfile> for ProfileDraft {
    fn from(body: NewProfile) -> Self {
        Self {
            name: body.name,
            headline: body.headline,
            bio: body.bio,
            categories: body.categories,
            jurisdiction: body.jurisdiction,
            licence: body.licence,
            status: body.status,
        }
    }
}

/// When a verifier takes work, and what of it without being asked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = VerifierAvailability)]
struct AvailabilityBody {
    /// Codes of languages that they read, such as `en`; up to 30.
    #[serde(default)]
    languages: Vec<String>,
    /// Absent where they are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    away: Option<AwayBody>,
    /// Absent where they answer every request themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auto_accept: Option<AutoAccept>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = VerifierAway)]
struct AwayBody {
    from: Timestamp,
    /// Left out: until they say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl From<Availability> for AvailabilityBody {
    fn from(availability: Availability) -> Self {
        let Availability { languages, away, auto_accept } = availability;
        let away = away.map(|Away { from, until }| AwayBody { from, until });
        Self { languages, away, auto_accept }
    }
}

/// A service that a verifier offers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = VerifierService)]
pub(super) struct ServiceBody {
    id: ServiceId,
    title: String,
    /// The type of credential that it is for.
    category: String,
    /// Minor units.
    price: i64,
    currency: Asset,
    /// The price for people.
    display: String,
    /// Hours from the acceptance to the verdict.
    sla_hours: u32,
    /// What it costs sooner, in minor units; absent where it is not to be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    expedited_price: Option<i64>,
    /// How soon that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    expedited_hours: Option<u32>,
    active: bool,
}

impl From<Offer> for ServiceBody {
    fn from(offer: Offer) -> Self {
        let Money { minor: price, asset: currency } = offer.price;
        Self {
            id: offer.id,
            title: offer.title,
            category: offer.category,
            price,
            currency,
            display: offer.price.to_string(),
            sla_hours: offer.sla_hours,
            expedited_price: offer.expedited.map(|it| it.price),
            expedited_hours: offer.expedited.map(|it| it.hours),
            active: offer.active,
        }
    }
}

/// A service to be saved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewVerifierService)]
struct NewService {
    /// Of the service that this changes; left out for a new one.
    id: Option<ServiceId>,
    title: String,
    /// The type of credential that it is for, such as `Education`.
    category: String,
    /// Minor units.
    price: i64,
    currency: Asset,
    /// Hours from the acceptance to the verdict; 72 when left out.
    #[serde(default = "default_sla_hours")]
    sla_hours: u32,
    /// What it costs sooner, in minor units; with `expeditedHours`.
    expedited_price: Option<i64>,
    /// Fewer than `slaHours`.
    expedited_hours: Option<u32>,
    #[serde(default = "active")]
    active: bool,
}

const fn default_sla_hours() -> u32 {
    72
}

const fn active() -> bool {
    true
}

impl From<NewService> for OfferDraft {
    fn from(body: NewService) -> Self {
        Self {
            id: body.id,
            title: body.title,
            category: body.category,
            price: body.price,
            currency: body.currency,
            sla_hours: body.sla_hours,
            expedited_price: body.expedited_price,
            expedited_hours: body.expedited_hours,
            active: body.active,
        }
    }
}

async fn search(
    State(service): State<Arc<Service>>,
    Query(query): Query<SearchQuery>,
    paging: Paging,
) -> Reply<List<VerifierBody>> {
    let page = service.search(&query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(VerifierBody::from)))
}

async fn open(
    State(service): State<Arc<Service>>,
    At(id): At<VerifierId>,
) -> Reply<Json<VerifierBody>> {
    Ok(Json(service.open(id).await?.into()))
}

async fn profile(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Versioned<Json<ProfileBody>>> {
    let mine = service.profile(&caller).await?;
    Ok(Versioned(mine.version, Json(mine.into())))
}

async fn replace_profile(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<NewProfile>,
) -> Reply<Versioned<Json<ProfileBody>>> {
    let profile = ProfileDraft::from(body).parse()?;
    let mine = service.replace_profile(&caller, &profile).await?;
    Ok(Versioned(mine.version, Json(mine.into())))
}

async fn services(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Versioned<Json<Vec<ServiceBody>>>> {
    let (version, offers) = service.offers(&caller).await?;
    Ok(Versioned(version, Json(offers.into_iter().map(ServiceBody::from).collect())))
}

async fn replace_services(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<Vec<NewService>>,
) -> Reply<Versioned<Json<Vec<ServiceBody>>>> {
    let offers = model::parse_offers(body.into_iter().map(OfferDraft::from).collect())?;
    let (version, offers) = service.replace_offers(&caller, &offers).await?;
    Ok(Versioned(version, Json(offers.into_iter().map(ServiceBody::from).collect())))
}

async fn availability(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Versioned<Json<AvailabilityBody>>> {
    let (version, availability) = service.availability(&caller).await?;
    Ok(Versioned(version, Json(availability.into())))
}

async fn replace_availability(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<AvailabilityBody>,
) -> Reply<Versioned<Json<AvailabilityBody>>> {
    let away = body.away.map(|AwayBody { from, until }| Away { from, until });
    let availability = Availability::parse(&body.languages, away, body.auto_accept)?;
    let (version, availability) = service.replace_availability(&caller, &availability).await?;
    Ok(Versioned(version, Json(availability.into())))
}
