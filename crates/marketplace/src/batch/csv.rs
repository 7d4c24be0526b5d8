//! Tables as CSV (RFC 4180), read as they come and strictly: what a lenient reader would guess at is
//! said to be wrong, row by row.
//!
//! UTF-8, with or without its byte order mark. The first line names the columns and shows what is
//! between them: a comma, a semicolon or a tab. Lines end with LF or CR LF. An empty line is no row.

use kernel::{Error, Result};

use super::model::{COLUMNS, Cells, Problem, ROW_BYTES_MAX, column, is_formula};
use super::receive::Line;

/// What stands before the columns in the rows that have failed. A table that was mended may keep it.
pub(super) const BESIDE: [&str; 4] = ["row", "code", "field", "error"];
/// A header is not longer than this.
const HEADER_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the first byte of a cell.
    Start,
    Bare,
    Quoted,
    /// Behind a quote in a quoted cell: the end, or half of a doubled one.
    Quote,
    /// Behind what is wrong beyond reading: the next line is a row again.
    Lost,
}

/// The reader of one table.
pub(super) struct Reader {
    /// What has come in before the first line was whole.
    head: Option<Vec<u8>>,
    separator: u8,
    /// For each cell of a line the column that it is; none of what an errors.csv has beside.
    header: Vec<Option<usize>>,
    at: At,
    cell: Vec<u8>,
    cells: Vec<Vec<u8>>,
    /// Bytes of the row so far.
    length: usize,
    problem: Option<Problem>,
    place: i64,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            head: Some(Vec::new()),
            separator: b',',
            header: Vec::new(),
            at: At::Start,
            cell: Vec::new(),
            cells: Vec::new(),
            length: 0,
            problem: None,
            place: 0,
        }
    }

    /// Reads on, and adds the rows that are whole.
    pub(super) fn push(&mut self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<()> {
        let Some(mut head) = self.head.take() else {
            bytes.iter().for_each(|byte| self.step(*byte, lines));
            return Ok(());
        };
        head.extend_from_slice(bytes);
        let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
            if head.len() > HEADER_BYTES_MAX {
                let message = "The first line, which names the columns, does not end.";
                return Err(Error::invalid("no_header", message));
            }
            self.head = Some(head);
            return Ok(());
        };
        self.read_header(&head[..end])?;
        head[end + 1..].iter().for_each(|byte| self.step(*byte, lines));
        Ok(())
    }

    /// The table has ended.
    pub(super) fn finish(&mut self, lines: &mut Vec<Line>) -> Result<()> {
        if let Some(head) = self.head.take() {
            return self.read_header(&head);
        }
        if self.at == At::Quoted {
            self.wrong("open_quote", "a quote is opened in this row and never closed");
        }
        if self.at != At::Lost && (self.length > 0 || self.problem.is_some()) {
            self.end_row(lines);
        }
        Ok(())
    }

    fn read_header(&mut self, line: &[u8]) -> Result<()> {
        if line.starts_with(&[0xFF, 0xFE]) || line.starts_with(&[0xFE, 0xFF]) || line.contains(&0) {
            let message = "The table is not UTF-8. Save it as \"CSV UTF-8\".";
            return Err(Error::invalid("unsupported_encoding", message));
        }
        let line = line.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| {
            let message = "The first line is not UTF-8. Save the table as \"CSV UTF-8\".";
            Error::invalid("unsupported_encoding", message)
        })?;
        if text.trim().is_empty() {
            let message = "The table is empty: its first line names no columns.";
            return Err(Error::invalid("empty_table", message));
        }
        let count = |separator: &u8| line.iter().filter(|byte| *byte == separator).count();
        let candidates = [b',', b';', b'\t'];
        self.separator =
            candidates.into_iter().max_by_key(|one| (count(one), *one == b',')).unwrap_or(b',');
        for name in text.trim_end_matches('\r').split(char::from(self.separator)) {
            let place = read_name(name.trim().trim_matches('"'), &self.header)?;
            self.header.push(place);
        }
        Ok(())
    }

    fn step(&mut self, byte: u8, lines: &mut Vec<Line>) {
        if self.at == At::Lost {
            if byte == b'\n' {
                self.begin_row();
            }
            return;
        }
        let quoted = self.at == At::Quoted;
        if byte == b'\n' && !quoted {
            return self.end_row(lines);
        }
        self.length += 1;
        if self.length > ROW_BYTES_MAX {
            return self.give_up(lines);
        }
        match (self.at, byte) {
            (At::Start, b'"') => self.at = At::Quoted,
            (At::Quoted, b'"') => self.at = At::Quote,
            (At::Quote, b'"') => {
                self.cell.push(b'"');
                self.at = At::Quoted;
            }
            (At::Start | At::Bare | At::Quote, byte) if byte == self.separator => self.end_cell(),
            (At::Quote, b'\r') => {}
            (At::Quote, byte) => {
                self.wrong("stray_quote", "text follows a closing quote: double quotes in a cell");
                self.cell.push(byte);
                self.at = At::Bare;
            }
            (At::Bare, b'"') => {
                self.wrong("stray_quote", "a quote in a cell that does not begin with one");
            }
            (At::Start | At::Bare, byte) => {
                self.cell.push(byte);
                self.at = At::Bare;
            }
            (At::Quoted | At::Lost, byte) => self.cell.push(byte),
        }
    }

    fn end_cell(&mut self) {
        self.cells.push(std::mem::take(&mut self.cell));
        self.at = At::Start;
    }

    /// A row that does not end: a quote that is never closed takes in the lines below it.
    fn give_up(&mut self, lines: &mut Vec<Line>) {
        let message = format!(
            "the row is longer than {ROW_BYTES_MAX} bytes; is a quote in it never closed? What \
             follows up to here, {} lines, is taken for this row",
            self.cell.iter().filter(|byte| **byte == b'\n').count() + 1
        );
        self.wrong("row_too_long", message);
        self.end_row(lines);
        self.at = At::Lost;
    }

    fn wrong(&mut self, code: &str, message: impl Into<String>) {
        let problem = || Problem::new(code, message.into());
        if self.problem.is_none() {
            self.problem = Some(problem());
        }
    }

    fn begin_row(&mut self) {
        self.at = At::Start;
        self.length = 0;
        self.problem = None;
        self.cell.clear();
        self.cells.clear();
    }

    fn end_row(&mut self, lines: &mut Vec<Line>) {
        // The end of a line as Windows writes it belongs to no cell, unless a quote says so.
        if self.at == At::Bare && self.cell.last() == Some(&b'\r') {
            self.cell.pop();
        }
        let is_empty = self.cells.is_empty() && self.cell.is_empty() && self.at != At::Quote;
        if is_empty && self.problem.is_none() {
            return self.begin_row();
        }
        self.end_cell();
        self.place += 1;
        let cells = self.read_cells();
        lines.push(Line { place: self.place, cells });
        self.begin_row();
    }

    fn read_cells(&mut self) -> Result<Cells, Problem> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let (found, expected) = (self.cells.len(), self.header.len());
        if found != expected {
            let message = format!("{found} cells where the first line names {expected} columns");
            return Err(Problem::new("wrong_columns", message));
        }
        let mut cells = Cells::default();
        for (place, bytes) in self.header.iter().zip(self.cells.drain(..)) {
            let Some(place) = *place else { continue };
            let Ok(text) = String::from_utf8(bytes) else {
                let problem = Problem::new("invalid_encoding", "not UTF-8");
                let field = COLUMNS.get(place).map(|name| (*name).to_owned());
                return Err(Problem { field, ..problem });
            };
            if let Some(cell) = cells.0.get_mut(place) {
                *cell = text;
            }
        }
        Ok(cells)
    }
}

/// The column that a name in the first row means, and none for one of those of an errors.csv.
pub(super) fn read_name(name: &str, known: &[Option<usize>]) -> Result<Option<usize>> {
    let place = column(name);
    if place.is_none() && !BESIDE.contains(&name) {
        return Err(unknown_column(name));
    }
    if place.is_some() && known.contains(&place) {
        let message = format!("{name:?} is there twice");
        return Err(Error::field("/columns", "repeated", message));
    }
    Ok(place)
}

fn unknown_column(name: &str) -> Error {
    let shown: String = name.chars().take(60).collect();
    let message = format!("{shown:?} is none of {}", COLUMNS.join(", "));
    Error::field("/columns", "unknown", message)
}

/// One line of CSV. A cell that a spreadsheet would compute begins with an apostrophe, which makes it
/// text there.
pub fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (place, cell) in cells.into_iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        let cell = if is_formula(cell) { format!("'{cell}") } else { cell.to_owned() };
        if cell.contains(['"', ',', '\n', '\r', ';', '\t']) {
            line.push('"');
            line.push_str(&cell.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(&cell);
        }
    }
    line.push_str("\r\n");
    line
}
