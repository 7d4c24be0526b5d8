//! Reading rows, one line at a time.
//!
//! A line is a record in both forms: names have no line ends, so a quoted one is a mistake, and a
//! quote that nobody closes spoils its line and not the rest of the file.

use std::io::{self, BufRead};

use kernel::{Error, Result};
use serde_json::Value as Json;

use super::model::{COLUMNS, Policy, Raw, Row};

/// No row is near this long. What is longer is passed over without being kept.
const LINE_LEN_MAX: usize = 64 * 1024;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a first line that names the columns.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// The rows of a file, each with its line. Reading fails as a whole where the file cannot be read,
/// and row by row where a row is wrong.
pub struct Rows<R> {
    input: R,
    format: Format,
    policy: Policy,
    columns: Vec<String>,
    line: u64,
    buffer: Vec<u8>,
}

/// What came of reading a line.
enum Line {
    Read,
    TooLong,
    End,
}

impl<R: BufRead> Rows<R> {
    /// # Errors
    /// `Unavailable`: the file cannot be read. `Invalid`: the first line of a CSV does not name
    /// columns that are known.
    pub fn new(input: R, format: Format, policy: Policy) -> Result<Self> {
        let (columns, buffer) = (Vec::new(), Vec::new());
        let mut rows = Self { input, format, policy, columns, line: 0, buffer };
        if format == Format::Csv {
            rows.read_columns()?;
        }
        Ok(rows)
    }

    fn read_columns(&mut self) -> Result<()> {
        let wrong = |what: String| Err(Error::invalid("invalid_columns", what));
        let Line::Read = self.read_line()? else {
            return wrong("The file has no first line that names the columns.".to_owned());
        };
        let Some(columns) = fields_of(&self.buffer) else {
            return wrong("The first line is no CSV in UTF-8.".to_owned());
        };
        let mut raw = Raw::default();
        for name in &columns {
            let Some(column) = raw.column(name) else {
                let known = COLUMNS.join(", ");
                return wrong(format!("The column {name:?} is not known. Known are: {known}."));
            };
            if column.replace(String::new()).is_some() {
                return wrong(format!("The column {name:?} stands there twice."));
            }
        }
        if raw.email.is_none() {
            return wrong("There is no column email.".to_owned());
        }
        self.columns = columns;
        Ok(())
    }

    /// The next row with its line; `None` at the end.
    ///
    /// # Errors
    /// `Unavailable`: the file cannot be read.
    pub fn next_row(&mut self) -> Result<Option<(u64, Result<Row>)>> {
        loop {
            let row = match self.read_line()? {
                Line::End => return Ok(None),
                Line::TooLong => Err(unreadable("the line is longer than 64 KB")),
                Line::Read if self.buffer.iter().all(u8::is_ascii_whitespace) => continue,
                Line::Read => self.parse(),
            };
            return Ok(Some((self.line, row)));
        }
    }

    fn parse(&self) -> Result<Row> {
        let raw = match self.format {
            Format::Csv => self.parse_csv(),
            Format::Jsonl => parse_json(&self.buffer),
        }?;
        Row::parse(raw, &self.policy)
    }

    fn parse_csv(&self) -> Result<Raw> {
        let values = fields_of(&self.buffer).ok_or_else(|| unreadable("no CSV in UTF-8"))?;
        if values.len() != self.columns.len() {
            let (is, should) = (values.len(), self.columns.len());
            return Err(unreadable(&format!("{is} columns instead of {should}")));
        }
        let mut raw = Raw::default();
        for (name, value) in self.columns.iter().zip(values) {
            if let Some(column) = raw.column(name).filter(|_| !value.is_empty()) {
                *column = Some(value);
            }
        }
        Ok(raw)
    }

    /// Reads a line into the buffer, without its end; of one that is too long, nothing.
    fn read_line(&mut self) -> Result<Line> {
        self.buffer.clear();
        self.line += 1;
        let mut kept = true;
        loop {
            let input = match self.input.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let message = format!("The file cannot be read behind line {}.", self.line);
                    return Err(Error::unavailable("file_unreadable", message).because(error));
                }
            };
            if input.is_empty() {
                let empty = self.buffer.is_empty() && kept;
                return Ok(if empty { Line::End } else { self.whole(kept) });
            }
            let end = input.iter().position(|byte| *byte == b'\n');
            let part = &input[..end.unwrap_or(input.len())];
            kept &= self.buffer.len() + part.len() <= LINE_LEN_MAX;
            if kept {
                self.buffer.extend_from_slice(part);
            }
            let used = end.map_or(input.len(), |end| end + 1);
            self.input.consume(used);
            if end.is_some() {
                return Ok(self.whole(kept));
            }
        }
    }

    fn whole(&mut self, kept: bool) -> Line {
        if !kept {
            return Line::TooLong;
        }
        if self.buffer.ends_with(b"\r") {
            self.buffer.pop();
        }
        // The mark that some programs put before UTF-8.
        if self.line == 1 && self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.drain(..3);
        }
        Line::Read
    }
}

fn unreadable(what: &str) -> Error {
    Error::field("", "unreadable", what)
}

/// The values of one line of CSV, without the spaces around them.
fn fields_of(line: &[u8]) -> Option<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .buffer_capacity(line.len().max(64))
        .from_reader(line);
    let mut record = csv::StringRecord::new();
    let read = reader.read_record(&mut record).ok()?;
    read.then(|| record.iter().map(str::to_owned).collect())
}

/// What the parser says of a wrong line may repeat a part of it, so it is not handed on.
fn parse_json(line: &[u8]) -> Result<Raw> {
    let Ok(Json::Object(object)) = serde_json::from_slice(line) else {
        return Err(unreadable("no JSON object"));
    };
    let mut raw = Raw::default();
    for (name, value) in object {
        let Some(column) = raw.column(&name) else {
            let known = COLUMNS.join(", ");
            return Err(Error::field("", "unknown_field", format!("known are: {known}")));
        };
        let text = match value {
            Json::Null => continue,
            Json::String(text) if text.is_empty() => continue,
            Json::String(text) => text,
            Json::Bool(truth) if name == "emailVerified" => truth.to_string(),
            Json::Number(number) if matches!(name.as_str(), "externalId" | "id") => {
                number.to_string()
            }
            _ => return Err(Error::field(format!("/{name}"), "wrong_type", "a text")),
        };
        if column.replace(text).is_some() {
            return Err(Error::field("/id", "ambiguous", "either id or externalId"));
        }
    }
    Ok(raw)
}
