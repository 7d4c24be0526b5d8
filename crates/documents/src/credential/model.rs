//! What a credential is made of. Nothing here can be built with a value that makes no sense.

use std::fmt;
use std::str::FromStr;

use kernel::error::Fields;
use kernel::id::kinds::{Credential as CredentialKind, File, Issued, User};
use kernel::{Error, Id, Result, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::judgement::Judgement;

const TITLE_CHARS_MAX: usize = 200;
const KIND_CHARS_MAX: usize = 60;
const ISSUER_CHARS_MAX: usize = 200;
const NUMBER_CHARS_MAX: usize = 100;

/// How a credential stands right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CredentialStatus)]
pub enum Status {
    /// Nobody has judged it.
    Draft,
    /// A verification runs.
    Pending,
    Verified,
    Rejected,
    /// Was verified, and that was taken back.
    Revoked,
    /// Was verified, and the time for which that holds is over.
    Expired,
}

impl Status {
    pub const ALL: [Self; 6] =
        [Self::Draft, Self::Pending, Self::Verified, Self::Rejected, Self::Revoked, Self::Expired];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Pending => "pending",
            Self::Verified => "verified",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::field("/status", "invalid", format!("one of {names}"))
        })
    }
}

/// A day of the calendar, as documents carry it: `2024-06-30`, without a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(time::Date);

impl Date {
    /// The day of an instant, in UTC.
    pub fn of(at: Timestamp) -> Self {
        let at = time::OffsetDateTime::from_unix_timestamp(at.seconds());
        Self(at.map_or(time::Date::MAX, time::OffsetDateTime::date))
    }

    /// When the day is over, in UTC.
    pub fn end(self) -> Timestamp {
        let next = self.0.next_day().unwrap_or(time::Date::MAX);
        Timestamp::from_seconds(next.midnight().assume_utc().unix_timestamp())
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

/// A text that is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotADate;

impl fmt::Display for NotADate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a day: write it as year-month-day, such as 2024-06-30")
    }
}

impl FromStr for Date {
    type Err = NotADate;

    /// ISO 8601, extended format, four digits for the year: its text sorts as its time does.
    fn from_str(text: &str) -> Result<Self, NotADate> {
        let bytes = text.as_bytes();
        let plain = bytes.len() == 10
            && bytes.iter().enumerate().all(|(place, byte)| match place {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !plain {
            return Err(NotADate);
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<u16>();
        let year = number(0..4).map_err(|_| NotADate)?;
        let month = number(5..7).ok().and_then(|month| u8::try_from(month).ok());
        let day = number(8..10).ok().and_then(|day| u8::try_from(day).ok());
        let month = month.and_then(|month| time::Month::try_from(month).ok()).ok_or(NotADate)?;
        let day = day.ok_or(NotADate)?;
        time::Date::from_calendar_date(year.into(), month, day).map(Self).map_err(|_| NotADate)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Date {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::Date,
            )))
            .into()
    }
}

impl utoipa::ToSchema for Date {
    fn name() -> std::borrow::Cow<'static, str> {
        "Date".into()
    }
}

/// A credential as it stands. Serialised only into remembered replies, never as is to a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub id: Id<CredentialKind>,
    pub owner: Id<User>,
    pub title: String,
    /// What sort of document it is, in the owner's words: "Education".
    pub kind: String,
    /// Who gave out the document: "University X".
    pub issuer_name: String,
    pub document_number: Option<String>,
    pub issue_date: Option<Date>,
    /// When the document itself ends, as printed on it.
    pub expiry_date: Option<Date>,
    /// At the instant at which it was read.
    pub status: Status,
    pub file: Option<Id<File>>,
    pub file_sha256: Option<[u8; 32]>,
    /// What the last positive verdict issued.
    pub issued: Option<Id<Issued>>,
    pub verified_at: Option<Timestamp>,
    /// Until when the last positive verdict holds.
    pub valid_until: Option<Timestamp>,
    /// What software has found out about a file that is itself a signed credential.
    #[serde(default)]
    pub judgement: Option<Judgement>,
    /// Grows by one with each change.
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Set on one that its owner has deleted; only admins see those.
    pub deleted_at: Option<Timestamp>,
}

/// How a verification ended, as the credential keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Verified {
        issued: Id<Issued>,
        valid_until: Timestamp,
    },
    Rejected,
    /// Cancelled or expired without a verdict.
    Withdrawn,
}

/// A credential about to be made: every text is trimmed and within its bounds.
#[derive(Debug, Clone)]
pub struct NewCredential {
    pub(crate) title: String,
    pub(crate) kind: String,
    pub(crate) issuer_name: String,
    pub(crate) document_number: Option<String>,
    pub(crate) issue_date: Option<Date>,
    pub(crate) expiry_date: Option<Date>,
    pub(crate) file: Option<Id<File>>,
}

/// The texts of a credential as a client sends them.
#[derive(Debug, Clone, Default)]
pub struct Texts<'a> {
    pub title: &'a str,
    pub kind: &'a str,
    pub issuer_name: &'a str,
    pub document_number: Option<&'a str>,
    pub issue_date: Option<Date>,
    pub expiry_date: Option<Date>,
    pub file: Option<Id<File>>,
}

impl NewCredential {
    /// All that is wrong is named at once: `/title`, `/type`, `/issuer`, `/documentNumber`,
    /// `/expiryDate`.
    pub fn parse(texts: &Texts<'_>) -> Result<Self> {
        let mut fields = Fields::new();
        let title = fields.take(line("/title", texts.title, TITLE_CHARS_MAX));
        let kind = fields.take(line("/type", texts.kind, KIND_CHARS_MAX));
        let issuer_name = fields.take(line("/issuer", texts.issuer_name, ISSUER_CHARS_MAX));
        let number = texts.document_number.map(number).transpose();
        let number = fields.take(number);
        fields.take(in_order(texts.issue_date, texts.expiry_date));
        match (title, kind, issuer_name, number) {
            (Some(title), Some(kind), Some(issuer_name), Some(document_number)) => {
                fields.check()?;
                Ok(Self {
                    title,
                    kind,
                    issuer_name,
                    document_number,
                    issue_date: texts.issue_date,
                    expiry_date: texts.expiry_date,
                    file: texts.file,
                })
            }
            _ => Err(fields.into_error()),
        }
    }
}

/// What changes of a draft. `None` leaves a value as it is; `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    pub(crate) title: Option<String>,
    pub(crate) issuer_name: Option<String>,
    pub(crate) document_number: Option<Option<String>>,
    pub(crate) issue_date: Option<Option<Date>>,
    pub(crate) expiry_date: Option<Option<Date>>,
    /// The version that the client has seen; a newer one refuses the edit.
    pub(crate) expected_version: Option<i64>,
}

/// An edit as a client sends it.
#[derive(Debug, Clone, Default)]
pub struct EditTexts<'a> {
    pub title: Option<&'a str>,
    pub issuer_name: Option<&'a str>,
    pub document_number: Option<Option<&'a str>>,
    pub issue_date: Option<Option<Date>>,
    pub expiry_date: Option<Option<Date>>,
    pub expected_version: Option<i64>,
}

impl Edit {
    pub fn parse(texts: &EditTexts<'_>) -> Result<Self> {
        let mut fields = Fields::new();
        let title = texts.title.map(|text| line("/title", text, TITLE_CHARS_MAX)).transpose();
        let issuer = texts.issuer_name.map(|text| line("/issuer", text, ISSUER_CHARS_MAX));
        let number = texts.document_number.map(|text| text.map(number).transpose()).transpose();
        let edit = Self {
            title: fields.take(title).flatten(),
            issuer_name: fields.take(issuer.transpose()).flatten(),
            document_number: fields.take(number).flatten(),
            issue_date: texts.issue_date,
            expiry_date: texts.expiry_date,
            expected_version: texts.expected_version,
        };
        fields.check()?;
        Ok(edit)
    }

    /// The credential with the edit made.
    pub(crate) fn apply(&self, mut credential: Credential) -> Result<Credential> {
        if let Some(title) = &self.title {
            credential.title.clone_from(title);
        }
        if let Some(issuer_name) = &self.issuer_name {
            credential.issuer_name.clone_from(issuer_name);
        }
        if let Some(number) = &self.document_number {
            credential.document_number.clone_from(number);
        }
        credential.issue_date = self.issue_date.unwrap_or(credential.issue_date);
        credential.expiry_date = self.expiry_date.unwrap_or(credential.expiry_date);
        in_order(credential.issue_date, credential.expiry_date)?;
        Ok(credential)
    }
}

/// What a list of credentials is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub status: Option<Status>,
    pub kind: Option<String>,
    /// Words of title, issuer or kind.
    pub text: Option<String>,
}

fn number(text: &str) -> Result<String> {
    line("/documentNumber", text, NUMBER_CHARS_MAX)
}

/// One line of text: trimmed, not empty, no control characters.
pub(super) fn line(pointer: &str, text: &str, chars_max: usize) -> Result<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::field(pointer, "required", "must not be empty"));
    }
    if text.chars().count() > chars_max {
        let message = format!("at most {chars_max} characters");
        return Err(Error::field(pointer, "too_long", message));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::field(pointer, "invalid", "one line, without control characters"));
    }
    Ok(text.to_owned())
}

fn in_order(issued: Option<Date>, expires: Option<Date>) -> Result<()> {
    match (issued, expires) {
        (Some(issued), Some(expires)) if expires < issued => {
            Err(Error::field("/expiryDate", "out_of_order", "must not be before the issue date"))
        }
        _ => Ok(()),
    }
}
