//! Tables as JSON, read as they come: one array of objects, or one object a line.

use std::collections::BTreeMap;

use kernel::{Error, Result};
use serde_json::value::RawValue;

use super::model::{COLUMNS, Cells, Problem, ROW_BYTES_MAX, column};
use super::receive::Line;

/// The byte order mark, which has no place in JSON and is there all the same.
const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the array, or on the first line.
    Before,
    /// Between rows; `true` behind a comma, where a row has to follow.
    Between(bool),
    Row,
    /// Behind a row: a comma or the end.
    Behind,
    After,
}

/// The reader of one table.
pub(super) struct Reader {
    /// Whether rows stand in an array, or on lines of their own.
    in_array: bool,
    at: At,
    depth: usize,
    in_text: bool,
    escaped: bool,
    row: Vec<u8>,
    too_long: bool,
    place: i64,
}

impl Reader {
    pub(super) fn new(in_array: bool) -> Self {
        Self {
            in_array,
            at: At::Before,
            depth: 0,
            in_text: false,
            escaped: false,
            row: Vec::new(),
            too_long: false,
            place: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<()> {
        bytes.iter().try_for_each(|byte| {
            if self.in_array { self.step(*byte, lines) } else { self.step_line(*byte, lines) }
        })
    }

    pub(super) fn finish(&mut self, lines: &mut Vec<Line>) -> Result<()> {
        if !self.in_array {
            return self.step_line(b'\n', lines);
        }
        if self.at == At::After { Ok(()) } else { Err(wrong("the array does not end")) }
    }

    fn step_line(&mut self, byte: u8, lines: &mut Vec<Line>) -> Result<()> {
        if byte != b'\n' {
            self.keep(byte);
            return Ok(());
        }
        if self.at == At::Before && self.row.starts_with(&MARK) {
            self.row.drain(..MARK.len());
        }
        self.at = At::Between(false);
        if self.row.trim_ascii().is_empty() {
            self.row.clear();
        } else {
            self.end_row(lines);
        }
        Ok(())
    }

    fn step(&mut self, byte: u8, lines: &mut Vec<Line>) -> Result<()> {
        let is_space = byte.is_ascii_whitespace();
        match self.at {
            At::Before if is_space || MARK.contains(&byte) => {}
            At::Before if byte == b'[' => self.at = At::Between(false),
            At::Before => return Err(wrong("it begins with no array of rows")),
            At::Between(_) | At::Behind | At::After if is_space => {}
            At::Between(false) | At::Behind if byte == b']' => self.at = At::After,
            At::Behind if byte == b',' => self.at = At::Between(true),
            At::Between(_) if !matches!(byte, b',' | b']') => {
                self.at = At::Row;
                self.in_row(byte, lines);
            }
            At::Row => self.in_row(byte, lines),
            At::Between(_) | At::Behind | At::After => {
                let place = self.place;
                return Err(wrong(&format!("there is something unexpected behind row {place}")));
            }
        }
        Ok(())
    }

    fn in_row(&mut self, byte: u8, lines: &mut Vec<Line>) {
        let ends_bare = self.depth == 0 && !self.in_text && matches!(byte, b',' | b']');
        if ends_bare {
            // A row that is no object: a number, say.
            self.end_row(lines);
            self.at = if byte == b']' { At::After } else { At::Between(true) };
            return;
        }
        self.keep(byte);
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.end_row(lines);
                    self.at = At::Behind;
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.row.len() < ROW_BYTES_MAX {
            self.row.push(byte);
        } else {
            self.too_long = true;
        }
    }

    fn end_row(&mut self, lines: &mut Vec<Line>) {
        self.place += 1;
        let cells = if std::mem::take(&mut self.too_long) {
            let message = format!("the row is longer than {ROW_BYTES_MAX} bytes");
            Err(Problem::new("row_too_long", message))
        } else {
            read(&self.row)
        };
        self.row.clear();
        lines.push(Line { place: self.place, cells });
    }
}

fn wrong(what: &str) -> Error {
    Error::invalid("invalid_json", format!("The body is no table in JSON: {what}."))
}

/// Reads one row: an object of texts. Numbers are read as they are written: what becomes part of a
/// signed credential is never rounded.
fn read(row: &[u8]) -> Result<Cells, Problem> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(row).map_err(|error| {
        if error.is_data() {
            return Problem::new("invalid_json", "a row is an object with the columns as members");
        }
        not_json(&error)
    })?;
    let mut cells = Cells::default();
    for (name, value) in members {
        let Some(place) = column(&name) else {
            let name: String = name.chars().take(60).collect();
            let message = format!("none of {}", COLUMNS.join(", "));
            return Err(Problem { field: Some(name), ..Problem::new("unknown_column", message) });
        };
        let text = match value.get() {
            "null" => String::new(),
            text if text.starts_with('"') => {
                serde_json::from_str(text).map_err(|error| not_json(&error))?
            }
            number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                number.to_owned()
            }
            _ => {
                return Err(Problem { field: Some(name), ..Problem::new("invalid", "not a text") });
            }
        };
        if let Some(cell) = cells.0.get_mut(place) {
            *cell = text;
        }
    }
    Ok(cells)
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new("invalid_json", format!("not JSON: {error}"))
}
