//! The nouns.

use std::str::FromStr;
use std::time::Duration;

use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Asset, Error, Id, Money, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::verifier::model::language_code;

/// Where a verification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerificationStatus)]
pub enum State {
    /// On the board, addressed to nobody; the price is held.
    Open,
    /// Asked for; the price is held; the verifier has not answered yet.
    Pending,
    /// The verifier is at work.
    InReview,
    /// The verifier waits for the owner to add something.
    NeedsInfo,
    /// Verdict: true. A signed credential was issued.
    Verified,
    /// Verdict: not true, or not provable.
    Rejected,
    /// The verifier did not take the job.
    Declined,
    /// The owner took the request back in time.
    Cancelled,
    /// Nobody acted in time.
    Expired,
    /// An admin ended it.
    ForceCancelled,
    /// The owner contests the verdict; what was earned by it is kept back.
    Disputed,
    /// The dispute is over, and the verdict stands.
    Upheld,
    /// The dispute is over, and the verdict does not stand: its signed credential is revoked.
    Overturned,
    /// The signed credential was revoked.
    Revoked,
}

impl State {
    pub const ALL: [Self; 14] = [
        Self::Open,
        Self::Pending,
        Self::InReview,
        Self::NeedsInfo,
        Self::Verified,
        Self::Rejected,
        Self::Declined,
        Self::Cancelled,
        Self::Expired,
        Self::ForceCancelled,
        Self::Disputed,
        Self::Upheld,
        Self::Overturned,
        Self::Revoked,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Pending => "pending",
            Self::InReview => "in_review",
            Self::NeedsInfo => "needs_info",
            Self::Verified => "verified",
            Self::Rejected => "rejected",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::ForceCancelled => "force_cancelled",
            Self::Disputed => "disputed",
            Self::Upheld => "upheld",
            Self::Overturned => "overturned",
            Self::Revoked => "revoked",
        }
    }

    /// Whether a verdict was given, whatever has become of it.
    pub const fn has_verdict(self) -> bool {
        match self {
            Self::Verified
            | Self::Rejected
            | Self::Disputed
            | Self::Upheld
            | Self::Overturned
            | Self::Revoked => true,
            Self::Open
            | Self::Pending
            | Self::InReview
            | Self::NeedsInfo
            | Self::Declined
            | Self::Cancelled
            | Self::Expired
            | Self::ForceCancelled => false,
        }
    }

    /// Whether it can still end in more than one way; its price is held that long.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Pending | Self::InReview | Self::NeedsInfo)
    }

    /// Whether the verifier has taken the job and not ended it: they may read the credential.
    pub const fn is_at_work(self) -> bool {
        matches!(self, Self::InReview | Self::NeedsInfo)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|state| state.as_str()).collect();
            Error::field("/status", "invalid", format!("one of {}", known.join(", ")))
        })
    }
}

/// What can be done to a verification that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    Accept,
    Decline,
    Release,
    Start,
    RequestInfo,
    ProvideInfo,
    Note,
    Verify,
    Reject,
    Cancel,
    ForceCancel,
    Lapse,
    Expire,
    Dispute,
    Uphold,
    Overturn,
    Revoke,
}

impl Command {
    pub const ALL: [Self; 17] = [
        Self::Accept,
        Self::Decline,
        Self::Release,
        Self::Start,
        Self::RequestInfo,
        Self::ProvideInfo,
        Self::Note,
        Self::Verify,
        Self::Reject,
        Self::Cancel,
        Self::ForceCancel,
        Self::Lapse,
        Self::Expire,
        Self::Dispute,
        Self::Uphold,
        Self::Overturn,
        Self::Revoke,
    ];

    /// The past participle: "it cannot be accepted now".
    pub const fn done(self) -> &'static str {
        match self {
            Self::Accept => "accepted",
            Self::Decline => "declined",
            Self::Release => "given back",
            Self::Start => "started",
            Self::RequestInfo => "sent back for information",
            Self::ProvideInfo => "added to",
            Self::Note => "noted on",
            Self::Verify => "verified",
            Self::Reject => "rejected",
            Self::Cancel => "cancelled",
            Self::ForceCancel => "cancelled by force",
            Self::Lapse => "put back on the board",
            Self::Expire => "expired",
            Self::Dispute => "disputed",
            Self::Uphold => "upheld",
            Self::Overturn => "overturned",
            Self::Revoke => "revoked",
        }
    }

    /// What a client asks for, where one does. A verdict is one word, whichever it is.
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Accept => Some("accept"),
            Self::Decline => Some("decline"),
            Self::Release => Some("release"),
            Self::Start => Some("start"),
            Self::RequestInfo => Some("request_info"),
            Self::ProvideInfo => Some("provide_info"),
            Self::Note => Some("note"),
            Self::Verify | Self::Reject => Some("complete"),
            Self::Cancel => Some("cancel"),
            Self::ForceCancel => Some("force_cancel"),
            Self::Dispute => Some("dispute"),
            Self::Lapse | Self::Expire | Self::Uphold | Self::Overturn | Self::Revoke => None,
        }
    }

    /// What the journal calls it.
    pub const fn fact(self) -> &'static str {
        match self {
            Self::Accept => "verification.accepted",
            Self::Decline => "verification.declined",
            Self::Release => "verification.released",
            Self::Start => "verification.started",
            Self::RequestInfo => "verification.info_requested",
            Self::ProvideInfo => "verification.info_provided",
            Self::Note => "verification.noted",
            Self::Verify => "verification.verified",
            Self::Reject => "verification.rejected",
            Self::Cancel => "verification.cancelled",
            Self::ForceCancel => "verification.force_cancelled",
            Self::Lapse => "verification.lapsed",
            Self::Expire => "verification.expired",
            Self::Dispute => "verification.disputed",
            Self::Uphold => "verification.upheld",
            Self::Overturn => "verification.overturned",
            Self::Revoke => "verification.revoked",
        }
    }
}

/// A verification as stored. It is also what an idempotent request remembers, hence the derives;
/// what clients see stands in `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    pub id: Id<kinds::Verification>,
    pub owner: Id<kinds::User>,
    pub credential: Id<kinds::Credential>,
    /// The credential's type when it was requested, such as "Education".
    pub kind: String,
    /// Nobody while it stands on the board.
    pub verifier: Option<Id<kinds::Verifier>>,
    pub verifier_name: String,
    pub service: Option<Id<kinds::Service>>,
    /// The service's title when it was requested or claimed.
    pub service_title: String,
    /// Minor units of `currency`; fixed when it was requested.
    pub price: i64,
    pub currency: Asset,
    pub sla_hours: u32,
    pub hold: Id<kinds::Hold>,
    pub state: State,
    /// Grows by one with every change.
    pub version: i64,
    /// What the owner wrote for the verifier.
    pub notes: String,
    pub requested_at: Timestamp,
    /// When it expires, or goes back to the board, unless somebody acts.
    pub due_at: Timestamp,
    /// Until when the board offers it; none where it was addressed to a verifier.
    #[serde(default)]
    pub board_until: Option<Timestamp>,
    /// Where its verifier is to be at home; anywhere when empty. Of requests on the board.
    #[serde(default)]
    pub jurisdiction: String,
    /// What its verifier is to read; any language when empty. Of requests on the board.
    #[serde(default)]
    pub language: String,
    pub accepted_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub info_asked: Option<String>,
    pub info_given: Option<String>,
    pub comments: Option<String>,
    pub report_url: Option<String>,
    pub report_file: Option<Id<kinds::File>>,
    /// What the verifier found, whatever has become of it.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// The platform's part of the price, in minor units; set with the verdict.
    pub fee: Option<i64>,
    /// What the owner has got back by a dispute, in minor units.
    #[serde(default)]
    pub refunded: i64,
    pub issued: Option<Id<kinds::Issued>>,
    /// Why an admin ended it.
    pub reason: Option<String>,
}

impl Verification {
    pub const fn price(&self) -> Money {
        Money::new(self.price, self.currency)
    }

    /// The user behind the verifier; nobody while it stands on the board.
    pub fn verifier_user(&self) -> Option<Id<kinds::User>> {
        self.verifier.map(Id::same_as)
    }

    /// [`Self::verifier`] of one that has been taken: a defect where nobody has.
    pub(crate) fn taken_by(&self) -> Result<Id<kinds::Verifier>> {
        self.verifier.ok_or_else(|| Error::internal("a verification in work without a verifier"))
    }

    /// Whether it was offered to everybody who fits.
    pub const fn is_of_board(&self) -> bool {
        self.board_until.is_some()
    }

    /// How long the verifier has, from the acceptance.
    pub const fn sla(&self) -> Duration {
        Duration::from_secs(self.sla_hours as u64 * 3600)
    }
}

/// A request, parsed.
#[derive(Debug, Clone)]
pub struct NewVerification {
    pub credential: Id<kinds::Credential>,
    pub verifier: Id<kinds::Verifier>,
    pub service: Option<Id<kinds::Service>>,
    /// Sooner, for the price that the service has for it.
    pub expedited: bool,
    /// The price that the asker has seen, where they say it: another one is not taken.
    pub seen: Option<Money>,
    pub notes: Text,
}

/// The price that an asker has seen, where they name one.
///
/// # Errors
/// Field errors at `/price` and `/currency`.
pub fn seen_price(price: Option<i64>, currency: Option<Asset>) -> Result<Option<Money>> {
    match (price, currency) {
        (None, None) => Ok(None),
        (Some(minor), Some(asset)) if (1..=Money::MAX_MINOR).contains(&minor) => {
            Ok(Some(Money::new(minor, asset)))
        }
        (Some(_), Some(_)) => {
            let message = format!("minor units, from 1 to {}", Money::MAX_MINOR);
            Err(Error::field("/price", "out_of_range", message))
        }
        (Some(_), None) => Err(Error::field("/currency", "required", "say what the price is in")),
        (None, Some(_)) => Err(Error::field("/price", "required", "a currency needs a price")),
    }
}

/// A request that is addressed to nobody, parsed.
#[derive(Debug, Clone)]
pub struct NewPosting {
    pub credential: Id<kinds::Credential>,
    pub terms: BoardTerms,
    pub notes: Text,
}

/// What whoever takes a request from the board gets, and has to be.
#[derive(Debug, Clone)]
pub struct BoardTerms {
    /// What the owner pays, whoever takes it.
    pub price: Money,
    /// Where its verifier is to be at home; anywhere when empty.
    pub jurisdiction: String,
    /// What its verifier is to read; any language when empty.
    pub language: String,
}

impl BoardTerms {
    /// # Errors
    /// Field errors at `/price`, `/currency`, `/jurisdiction` and `/language`.
    pub fn parse(
        (price, currency): (Option<i64>, Option<Asset>),
        (jurisdiction, language): (&str, &str),
    ) -> Result<Self> {
        let mut fields = Fields::new();
        if currency.is_none() {
            fields.add("/currency", "required", "say what the price is in, or name a verifier");
        }
        let price = price.filter(|price| (1..=Money::MAX_MINOR).contains(price));
        if price.is_none() {
            let message = "minor units, from 1: what you pay whoever takes it; or name a verifier";
            fields.add("/price", "required", message);
        }
        let jurisdiction = jurisdiction.trim();
        if jurisdiction.chars().count() > 100 || jurisdiction.chars().any(char::is_control) {
            fields.add("/jurisdiction", "invalid", "one line of at most 100 characters");
        }
        let language = match language.trim() {
            "" => Some(String::new()),
            code => fields.take(language_code("/language", code)),
        };
        let (Some(price), Some(currency), Some(language)) = (price, currency, language) else {
            return Err(fields.into_error());
        };
        fields.check()?;
        let price = Money::new(price, currency);
        Ok(Self { price, jurisdiction: jurisdiction.to_owned(), language })
    }
}

/// Text of a person, trimmed, at most [`Text::MAX`] characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    pub const MAX: usize = 2000;

    /// Text that may be empty.
    pub fn any(pointer: &str, text: &str) -> Result<Self> {
        let text = text.trim();
        if text.chars().count() > Self::MAX || text.contains('\0') {
            let message = format!("text of at most {} characters", Self::MAX);
            return Err(Error::field(pointer, "invalid", message));
        }
        Ok(Self(text.to_owned()))
    }

    /// Text that says something.
    pub fn some(pointer: &str, text: &str) -> Result<Self> {
        let text = Self::any(pointer, text)?;
        if text.0.is_empty() {
            return Err(Error::field(pointer, "required", "say something"));
        }
        Ok(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a verifier found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Verified,
    Rejected,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Rejected => "rejected",
        }
    }

    pub const fn command(self) -> Command {
        match self {
            Self::Verified => Command::Verify,
            Self::Rejected => Command::Reject,
        }
    }
}

/// A verdict with what it rests on, parsed.
#[derive(Debug, Clone)]
pub struct Report {
    pub verdict: Verdict,
    pub comments: Text,
    pub url: Option<String>,
    pub file: Option<Id<kinds::File>>,
}

impl Report {
    const URL_MAX: usize = 2048;

    /// The address of a report is kept and shown, never fetched.
    pub fn parse(
        verdict: Verdict,
        comments: Option<&str>,
        url: Option<String>,
        file: Option<Id<kinds::File>>,
    ) -> Result<Self> {
        let mut fields = Fields::new();
        let comments = fields.take(Text::any("/comments", comments.unwrap_or_default()));
        if url.as_deref().is_some_and(|url| !is_web_address(url)) {
            fields.add("/reportUrl", "invalid", "an address that begins with https://");
        }
        fields.check()?;
        Ok(Self { verdict, comments: comments.unwrap_or_default(), url, file })
    }
}

fn is_web_address(url: &str) -> bool {
    let plain = url.len() <= Report::URL_MAX && url.chars().all(|c| c.is_ascii_graphic());
    plain
        && url.parse::<http::Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty())
        })
}

/// What a verifier wrote down while working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub author: Id<kinds::User>,
    pub text: String,
    pub at: Timestamp,
}
