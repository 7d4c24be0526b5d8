//! The nouns.

use std::str::FromStr;

use documents::credential::Texts;
use kernel::id::kinds;
use kernel::{Asset, Error, Id, Kind, Money, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::commission::model::{Draft, NewCommission};

/// Rows of one batch.
pub const ROWS_MAX: i64 = 100_000;
/// Bytes of one row, as it is written.
pub const ROW_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a whole table.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The columns of a table, in the order of the template. A table may leave columns out, and have
/// them in another order.
pub const COLUMNS: [&str; 13] = [
    "reference",
    "subject",
    "title",
    "type",
    "issuer",
    "documentNumber",
    "issueDate",
    "expiryDate",
    "fileId",
    "credentialId",
    "verifierId",
    "serviceId",
    "notes",
];

/// Where a column stands: letter case, spaces and underscores in its name make no difference.
pub(super) fn column(name: &str) -> Option<usize> {
    let plain = |text: &str| {
        let letters = text.chars().filter(|c| !matches!(c, ' ' | '_' | '-'));
        letters.flat_map(char::to_lowercase).collect::<String>()
    };
    let name = plain(name.trim());
    COLUMNS.iter().position(|known| plain(known) == name)
}

/// The cells of a row, in the order of [`COLUMNS`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cells(pub(super) [String; COLUMNS.len()]);

impl Cells {
    fn get(&self, column: usize) -> Option<&str> {
        self.0.get(column).map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
    }

    pub fn reference(&self) -> &str {
        self.0[0].trim()
    }

    /// The type of the document, where the row describes one.
    pub(super) fn kind(&self) -> &str {
        self.0[3].trim()
    }

    /// A cell that a spreadsheet would compute, if there is one.
    pub(super) fn formula(&self) -> Option<&'static str> {
        let found = self.0.iter().position(|cell| is_formula(cell));
        found.and_then(|place| COLUMNS.get(place).copied())
    }

    /// What the row asks for. A column of ids that is empty is taken from what the whole batch says.
    pub fn commission(&self, defaults: &Defaults) -> Result<NewCommission, Problem> {
        let text = |column| self.get(column).unwrap_or_default();
        let credential = self.read(9)?;
        let describes = (2..=8).any(|column| self.get(column).is_some());
        let document = match credential {
            Some(_) if !describes => None,
            _ => Some(Texts {
                title: text(2),
                kind: text(3),
                issuer_name: text(4),
                document_number: self.get(5),
                issue_date: self.read(6)?,
                expiry_date: self.read(7)?,
                file: self.read(8)?,
            }),
        };
        let draft = Draft {
            credential,
            document,
            verifier: self.read(10)?.or(defaults.verifier),
            service: self.read(11)?.or(defaults.service),
            expedited: false,
            // What a batch may cost is its budget.
            seen: None,
            board: None,
            reference: text(0),
            subject: text(1),
            notes: text(12),
        };
        NewCommission::parse(&draft, "").map_err(|error| Problem::of(&error))
    }

    fn read<T: FromStr<Err: std::fmt::Display>>(
        &self,
        column: usize,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(column) else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| Problem {
            field: COLUMNS.get(column).map(|name| (*name).to_owned()),
            ..Problem::new("invalid", error.to_string())
        })
    }
}

/// Whether a spreadsheet would compute a cell rather than show it; also without the white space
/// around it, which is not kept.
pub fn is_formula(cell: &str) -> bool {
    cell.starts_with(['\t', '\r']) || cell.trim_start().starts_with(['=', '+', '-', '@'])
}

/// What is said of a column and is not for good.
const MAY_CHANGE: [&str; 4] = ["unknown", "not_found", "away", "no_fitting_service"];

/// Why a row is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// For programs.
    pub code: String,
    /// The column, where it is one.
    pub field: Option<String>,
    /// For people.
    pub message: String,
    /// Whether the same row may be done later.
    pub retryable: bool,
}

impl Problem {
    /// What no retry would cure.
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), field: None, message: message.into(), retryable: false }
    }

    /// A refusal. What is wrong with the row's own words stays so; what the state of things forbids
    /// (too little money, a verifier who takes no requests) may change.
    pub fn of(error: &Error) -> Self {
        let retryable = error.kind() != Kind::Invalid;
        match error.fields().first() {
            Some(field) => Self {
                code: field.code.clone(),
                field: Some(field.pointer.trim_start_matches('/').to_owned()),
                message: field.message.clone(),
                // Nothing is known at this address now; who is not there may come, who is away
                // comes back, and what nobody offers somebody may.
                retryable: retryable || MAY_CHANGE.contains(&&*field.code),
            },
            None if error.kind() == Kind::Internal => Self {
                retryable,
                ..Self::new("internal", "Something went wrong on our side. Try this row again.")
            },
            None => Self { retryable, ..Self::new(error.code(), error.message()) },
        }
    }
}

/// What holds for rows that do not say otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Defaults {
    pub verifier: Option<Id<kinds::Verifier>>,
    pub service: Option<Id<kinds::Service>>,
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    /// One array of objects.
    Json,
    /// One object a line.
    JsonLines,
    /// The first sheet of a workbook.
    Xlsx,
}

impl Format {
    /// # Errors
    /// 415 `unsupported_media_type`.
    pub fn of(content_type: &str) -> Result<Self> {
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media.as_str() {
            "text/csv" | "application/csv" => Ok(Self::Csv),
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/jsonl" => Ok(Self::JsonLines),
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => Ok(Self::Xlsx),
            _ => {
                let message = "Send the table as text/csv, application/json, \
                               application/x-ndjson, or as a workbook (.xlsx).";
                Err(Error::invalid("unsupported_media_type", message))
            }
        }
    }
}

/// A batch about to be received.
#[derive(Debug, Clone)]
pub struct NewBatch {
    pub format: Format,
    pub name: String,
    pub defaults: Defaults,
    pub budget: Option<Money>,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BatchStatus)]
pub enum State {
    /// Its table is coming in.
    Receiving,
    /// Its table did not come in whole, or was none.
    Broken,
    Running,
    /// No row waits.
    Completed,
    /// The rows that waited were called off.
    Cancelled,
}

impl State {
    const ALL: [Self; 5] =
        [Self::Receiving, Self::Broken, Self::Running, Self::Completed, Self::Cancelled];

    /// What its organization may do to it.
    pub fn allowed(self) -> Vec<&'static str> {
        match self {
            Self::Running => vec!["cancel"],
            Self::Completed => vec!["retry"],
            Self::Receiving | Self::Broken | Self::Cancelled => Vec::new(),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Broken => "broken",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::internal(format!("{text:?} is no state of a batch")))
    }
}

/// A batch as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub id: Id<kinds::Batch>,
    pub organization: Id<kinds::User>,
    pub name: String,
    pub state: State,
    /// Who has sent it; the organization where a key has.
    pub person: Id<kinds::User>,
    pub api_key: Option<Id<kinds::ApiKey>>,
    pub defaults: Defaults,
    pub budget: Option<Money>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

/// What has become of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BatchRowStatus)]
pub enum RowState {
    Queued,
    Done,
    Failed,
    Cancelled,
}

impl RowState {
    pub const ALL: [Self; 4] = [Self::Queued, Self::Done, Self::Failed, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl FromStr for RowState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            Error::field("/state", "invalid", "one of queued, done, failed, cancelled")
        })
    }
}

/// A row of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Counted from one, without the header.
    pub place: i64,
    pub state: RowState,
    pub reference: String,
    /// None of a row that could not be read, and of one that is done.
    pub cells: Option<Cells>,
    pub verification: Option<Id<kinds::Verification>>,
    pub price: Option<Money>,
    pub problem: Option<Problem>,
}

/// How many rows stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub queued: i64,
    pub done: i64,
    pub failed: i64,
    pub cancelled: i64,
}

impl Counts {
    pub const fn total(&self) -> i64 {
        self.queued + self.done + self.failed + self.cancelled
    }

    pub(super) const fn of(&mut self, state: RowState) -> &mut i64 {
        match state {
            RowState::Queued => &mut self.queued,
            RowState::Done => &mut self.done,
            RowState::Failed => &mut self.failed,
            RowState::Cancelled => &mut self.cancelled,
        }
    }
}

/// A batch at a glance.
#[derive(Debug, Clone)]
pub struct View {
    pub batch: Batch,
    pub counts: Counts,
    /// What is held or paid for the rows that are done, a sum each currency.
    pub spent: Vec<Money>,
}

/// What a table comes to before anything is done.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    /// Rows that would be done.
    pub good: i64,
    pub bad: i64,
    /// What the good rows cost, a sum each currency.
    pub price: Vec<Money>,
    /// The first rows that are not good, and why.
    pub problems: Vec<(i64, Problem)>,
}

impl Estimate {
    /// Problems that are shown; the others are in the batch's rows.
    pub const PROBLEMS_MAX: usize = 100;

    pub(super) fn note(&mut self, place: i64, problem: &Problem) {
        self.bad += 1;
        if self.problems.len() < Self::PROBLEMS_MAX {
            self.problems.push((place, problem.clone()));
        }
    }

    pub(super) fn add(&mut self, price: Money) {
        self.good += 1;
        match self.price.iter_mut().find(|sum| sum.asset == price.asset) {
            Some(sum) => sum.minor = sum.minor.saturating_add(price.minor),
            None => self.price.push(price),
        }
    }
}

/// A sum that is shown: assets are few.
pub fn currency(text: &str) -> Result<Asset> {
    text.parse().map_err(|_| Error::field("/currency", "invalid", "a currency such as USD"))
}
