//! The nouns, and the parsing of what verifiers say of themselves.

use std::collections::HashSet;

use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Asset, Error, Id, Money, Result, Timestamp};

/// Services that one verifier may offer.
pub const OFFERS_MAX: usize = 50;
const CATEGORIES_MAX: usize = 20;
/// Hours that a verifier may give themselves for one verdict: three months.
const SLA_HOURS_MAX: u32 = 24 * 92;

/// Whether a verifier wants to be found.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerifierStatus)]
pub enum Status {
    Listed,
    Hidden,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Hidden => "hidden",
        }
    }
}

/// Stars given so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rating {
    pub sum: i64,
    pub count: i64,
}

impl Rating {
    /// The mean in thousandths of a star; zero where nobody has rated yet.
    pub const fn rank(self) -> i64 {
        if self.count == 0 { 0 } else { self.sum * 1000 / self.count }
    }

    /// The mean to one decimal, for people.
    pub fn stars(self) -> f64 {
        // At most 5000: every such number is exact in a float.
        ((self.rank() + 50) / 100) as f64 / 10.0
    }
}

/// A verifier as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    pub id: Id<kinds::Verifier>,
    /// Empty until the verifier has saved a profile or services.
    pub name: String,
    pub headline: String,
    pub bio: String,
    pub categories: Vec<String>,
    pub jurisdiction: String,
    pub licence: String,
    pub status: Status,
    pub approved: bool,
    pub suspended: bool,
    pub rating: Rating,
    /// Verdicts given.
    pub jobs_done: i64,
    /// Out of ten thousand: see [`super::rules::reputation`].
    pub reputation: i64,
    pub since: Timestamp,
    pub availability: Availability,
    /// How often profile, services or availability were replaced.
    pub version: i64,
}

/// When a verifier takes work, and what of it without being asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Availability {
    /// Codes of languages that they read, such as `en`.
    pub languages: Vec<String>,
    pub away: Option<Away>,
    pub auto_accept: Option<AutoAccept>,
}

/// A time in which a verifier is offered to nobody, and takes no jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Away {
    pub from: Timestamp,
    /// None: until they say so.
    pub until: Option<Timestamp>,
}

impl Availability {
    pub fn is_away(&self, now: Timestamp) -> bool {
        self.away.is_some_and(|away| away.from <= now && away.until.is_none_or(|until| now < until))
    }
}

/// Which requests a verifier accepts as they come. Kept as JSON.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = VerifierAutoAccept)]
pub struct AutoAccept {
    /// Types of credential, such as `Education`; any type when empty.
    #[serde(default)]
    pub types: Vec<String>,
    /// Jobs in work from which on nothing more is accepted: 1 to 1000.
    pub max_active: i64,
    /// Minor units of `currency`; with it, requests in another currency wait to be answered.
    #[serde(default)]
    pub min_price: Option<i64>,
    #[serde(default)]
    pub currency: Option<Asset>,
}

/// Languages that one verifier may name.
const LANGUAGES_MAX: usize = 30;

impl Availability {
    /// All that is wrong is named at once.
    pub fn parse(
        languages: &[String],
        away: Option<Away>,
        auto_accept: Option<AutoAccept>,
    ) -> Result<Self> {
        let mut fields = Fields::new();
        if languages.len() > LANGUAGES_MAX {
            fields.add("/languages", "too_many", format!("at most {LANGUAGES_MAX}"));
        }
        let mut codes: Vec<String> = Vec::new();
        for (index, code) in languages.iter().take(LANGUAGES_MAX).enumerate() {
            if let Some(code) = fields.take(language_code(&format!("/languages/{index}"), code))
                && !codes.contains(&code)
            {
                codes.push(code);
            }
        }
        if away.is_some_and(|away| away.until.is_some_and(|until| until <= away.from)) {
            fields.add("/away/until", "out_of_range", "after it has begun");
        }
        if let Some(rules) = &auto_accept {
            rules.check(&mut fields);
        }
        fields.check()?;
        Ok(Self { languages: codes, away, auto_accept })
    }
}

impl AutoAccept {
    fn check(&self, fields: &mut Fields) {
        if self.types.len() > CATEGORIES_MAX {
            fields.add("/autoAccept/types", "too_many", format!("at most {CATEGORIES_MAX}"));
        }
        for (index, kind) in self.types.iter().enumerate() {
            line(fields, &format!("/autoAccept/types/{index}"), kind, 2, 60);
        }
        if !(1..=1000).contains(&self.max_active) {
            fields.add("/autoAccept/maxActive", "out_of_range", "from 1 to 1000");
        }
        if self.min_price.is_some_and(|price| !(1..=Money::MAX_MINOR).contains(&price)) {
            fields.add("/autoAccept/minPrice", "out_of_range", "minor units, from 1");
        }
        if self.min_price.is_some() != self.currency.is_some() {
            fields.add("/autoAccept/currency", "required", "with the lowest price, and only then");
        }
    }
}

/// The code of a language as BCP 47 writes the first part of it: two or three letters.
pub fn language_code(pointer: &str, text: &str) -> Result<String> {
    let code = text.trim().to_ascii_lowercase();
    if (2..=3).contains(&code.len()) && code.bytes().all(|letter| letter.is_ascii_lowercase()) {
        return Ok(code);
    }
    Err(Error::field(pointer, "invalid", "two or three letters, such as en"))
}

impl Verifier {
    /// Whether the marketplace shows this verifier, and requests may be sent to them.
    pub fn is_open(&self) -> bool {
        self.status == Status::Listed && self.approved && !self.suspended
    }

    /// A verifier of whom nothing is known yet but that they are one.
    pub fn unknown(id: Id<kinds::Verifier>, since: Timestamp) -> Self {
        Self {
            id,
            name: String::new(),
            headline: String::new(),
            bio: String::new(),
            categories: Vec::new(),
            jurisdiction: String::new(),
            licence: String::new(),
            status: Status::Listed,
            approved: false,
            suspended: false,
            rating: Rating::default(),
            jobs_done: 0,
            reputation: super::rules::REPUTATION_START,
            since,
            availability: Availability::default(),
            version: 0,
        }
    }
}

/// What a verifier says of themselves, parsed.
#[derive(Debug, Clone)]
pub struct Profile {
    /// `None` leaves the name as it is.
    pub name: Option<String>,
    pub headline: String,
    pub bio: String,
    pub categories: Vec<String>,
    pub jurisdiction: String,
    pub licence: String,
    pub status: Status,
}

/// A profile as it was sent.
#[derive(Debug, Clone, Default)]
pub struct ProfileDraft {
    pub name: Option<String>,
    pub headline: String,
    pub bio: String,
    pub categories: Vec<String>,
    pub jurisdiction: String,
    pub licence: String,
    pub status: Option<Status>,
}

impl ProfileDraft {
    pub fn parse(self) -> Result<Profile> {
        let mut fields = Fields::new();
        let name = self.name.map(|name| line(&mut fields, "/name", &name, 2, 100));
        let headline = line(&mut fields, "/headline", &self.headline, 0, 140);
        let bio = prose(&mut fields, "/bio", &self.bio, 4000);
        let jurisdiction = line(&mut fields, "/jurisdiction", &self.jurisdiction, 0, 100);
        let licence = line(&mut fields, "/licence", &self.licence, 0, 100);
        if self.categories.len() > CATEGORIES_MAX {
            fields.add("/categories", "too_many", format!("at most {CATEGORIES_MAX}"));
        }
        let mut categories: Vec<String> = Vec::new();
        for (index, category) in self.categories.iter().enumerate() {
            let category = line(&mut fields, &format!("/categories/{index}"), category, 2, 60);
            if !categories.iter().any(|known| key(known) == key(&category)) {
                categories.push(category);
            }
        }
        fields.check()?;
        let status = self.status.unwrap_or(Status::Listed);
        Ok(Profile { name, headline, bio, categories, jurisdiction, licence, status })
    }
}

/// A service that a verifier offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub id: Id<kinds::Service>,
    pub title: String,
    /// The type of credential that it is for, such as "Education".
    pub category: String,
    pub price: Money,
    /// Hours from the acceptance to the verdict.
    pub sla_hours: u32,
    /// What it costs sooner; none where it is not to be had.
    pub expedited: Option<Expedited>,
    pub active: bool,
}

/// The same work, sooner and for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expedited {
    /// Minor units, in the currency of the service.
    pub price: i64,
    /// Hours from the acceptance to the verdict, fewer than otherwise.
    pub hours: u32,
}

/// A service about to be saved; without an id it is a new one.
#[derive(Debug, Clone)]
pub struct NewOffer {
    pub id: Option<Id<kinds::Service>>,
    pub title: String,
    pub category: String,
    pub price: Money,
    pub sla_hours: u32,
    pub expedited: Option<Expedited>,
    pub active: bool,
}

/// A service as it was sent.
#[derive(Debug, Clone)]
pub struct OfferDraft {
    pub id: Option<Id<kinds::Service>>,
    pub title: String,
    pub category: String,
    pub price: i64,
    pub currency: Asset,
    pub sla_hours: u32,
    pub expedited_price: Option<i64>,
    pub expedited_hours: Option<u32>,
    pub active: bool,
}

/// Parses the whole set that replaces a verifier's services.
pub fn parse_offers(drafts: Vec<OfferDraft>) -> Result<Vec<NewOffer>> {
    let mut fields = Fields::new();
    if drafts.len() > OFFERS_MAX {
        return Err(Error::field("", "too_many", format!("at most {OFFERS_MAX} services")));
    }
    let mut seen = HashSet::new();
    let mut offers = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let title = line(&mut fields, &format!("/{index}/title"), &draft.title, 2, 120);
        let category = line(&mut fields, &format!("/{index}/category"), &draft.category, 2, 60);
        if !(1..=Money::MAX_MINOR).contains(&draft.price) {
            let message = format!("minor units, from 1 to {}", Money::MAX_MINOR);
            fields.add(&format!("/{index}/price"), "out_of_range", message);
        }
        if !(1..=SLA_HOURS_MAX).contains(&draft.sla_hours) {
            let message = format!("from 1 to {SLA_HOURS_MAX}");
            fields.add(&format!("/{index}/slaHours"), "out_of_range", message);
        }
        let expedited = expedited(&mut fields, index, &draft);
        if draft.id.is_some_and(|id| !seen.insert(id)) {
            fields.add(&format!("/{index}/id"), "repeated", "each service once");
        }
        offers.push(NewOffer {
            id: draft.id,
            title,
            category,
            price: Money::new(draft.price, draft.currency),
            sla_hours: draft.sla_hours,
            expedited,
            active: draft.active,
        });
    }
    fields.check()?;
    Ok(offers)
}

/// Sooner is for no less, and sooner.
fn expedited(fields: &mut Fields, index: usize, draft: &OfferDraft) -> Option<Expedited> {
    let (price, hours) = match (draft.expedited_price, draft.expedited_hours) {
        (None, None) => return None,
        (Some(price), Some(hours)) => (price, hours),
        _ => {
            let message = "a price and the hours for it go together";
            fields.add(&format!("/{index}/expeditedPrice"), "required", message);
            return None;
        }
    };
    if !(draft.price..=Money::MAX_MINOR).contains(&price) {
        let message = "minor units, no fewer than those of the price";
        fields.add(&format!("/{index}/expeditedPrice"), "out_of_range", message);
    }
    if !(1..draft.sla_hours).contains(&hours) {
        let message = "from 1 to fewer than slaHours";
        fields.add(&format!("/{index}/expeditedHours"), "out_of_range", message);
    }
    Some(Expedited { price, hours })
}

/// The form of a text by which texts are compared: letter case does not matter.
pub fn key(text: &str) -> String {
    text.trim().to_lowercase()
}

/// One trimmed line of text.
fn line(fields: &mut Fields, pointer: &str, text: &str, min: usize, max: usize) -> String {
    let text = text.trim();
    let length = text.chars().count();
    if !(min..=max).contains(&length) || text.chars().any(char::is_control) {
        fields.add(pointer, "invalid", format!("one line of {min} to {max} characters"));
    }
    text.to_owned()
}

/// Text that may run over several lines.
fn prose(fields: &mut Fields, pointer: &str, text: &str, max: usize) -> String {
    let text = text.trim();
    if text.chars().count() > max || text.contains('\0') {
        fields.add(pointer, "invalid", format!("text of at most {max} characters"));
    }
    text.to_owned()
}

/// What the order of a list goes by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerifierSort)]
pub enum Sort {
    /// What the search fits best first, which is whose name has most of its words; alike, the best
    /// first.
    Relevance,
    /// Best first.
    #[default]
    Rating,
    /// Cheapest first, in one currency: amounts of two currencies have no order.
    Price,
    Newest,
}

/// What the marketplace's list is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Words of the profile and of the services, all of them; the last may be the beginning of one.
    pub text: Option<String>,
    /// A category of an offered service, or a part of its title.
    pub service: Option<String>,
    /// A category of the profile or of an offered service.
    pub category: Option<String>,
    /// The lowest mean rating, in thousandths of a star.
    pub rating_min: i64,
    /// From which price to which a service is looked for, in minor units.
    pub price: Option<(i64, i64)>,
    pub currency: Option<Asset>,
    pub sort: Sort,
}
