//! Tables as XLSX (ECMA-376 part 1, chapter 18): the first sheet of a workbook that is not hidden.
//!
//! Its directory stands at the end of the archive, so what comes in is kept as it is, packed, until
//! it is whole. Then the texts that cells share are read, and the sheet row by row: neither it nor
//! any other part is ever unpacked whole.
//!
//! - The first row that has anything in it names the columns. A row without a cell is no row.
//! - Numbers are read as they are written; in a column of dates they are days, as spreadsheets count
//!   them.
//! - A cell with a formula is refused, whatever it came to when the file was saved: what a row says
//!   must stand in it.
//! - What cells hold is bounded as the bytes of another table are: a text that is there once may be
//!   shared by each of a hundred thousand rows.

use std::io::{self, BufRead, BufReader, Read};

use axum::body::Bytes;
use kernel::{Error, Result};
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use super::archive::{Archive, PART_BYTES_MAX, Unpacked, wrong};
use super::csv::read_name;
use super::model::{BODY_BYTES_MAX, COLUMNS, Cells, Problem, ROW_BYTES_MAX};
use super::receive::Line;

/// Bytes of a workbook as it comes.
pub(super) const PACKED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the texts that cells share: they are held in memory.
const SHARED_BYTES_MAX: usize = 24 * 1024 * 1024;
/// How many they are at most.
const SHARED_MAX: usize = 2_000_000;
/// Bytes of one tag or text of the XML, which are held in memory.
const TOKEN_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the parts that say what else there is.
const INDEX_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Tags and texts that are read at once, before others have their turn.
const STEP: usize = 20_000;
/// Columns of a sheet.
const WIDTH_MAX: u32 = 16_384;

/// The reader of one table.
pub(super) struct Reader(Stage);

enum Stage {
    Coming(Vec<u8>),
    Shared(Box<Shared>),
    Rows(Box<Rows>),
    Ended,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self(Stage::Coming(Vec::new()))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let Stage::Coming(packed) = &mut self.0 else { return Ok(()) };
        if packed.len() + bytes.len() > PACKED_BYTES_MAX {
            let message = format!("A table in XLSX has at most {PACKED_BYTES_MAX} bytes.");
            return Err(Error::invalid("payload_too_large", message));
        }
        packed.extend_from_slice(bytes);
        Ok(())
    }

    /// The table has come in. Reads on in it, and adds rows, some at a time; whether there may be
    /// more.
    pub(super) fn more(&mut self, lines: &mut Vec<Line>) -> Result<bool> {
        self.0 = match std::mem::replace(&mut self.0, Stage::Ended) {
            Stage::Coming(packed) => Shared::open(packed.into())?,
            Stage::Shared(mut shared) => match shared.step()? {
                true => Stage::Shared(shared),
                false => shared.begin_rows()?,
            },
            Stage::Rows(mut rows) => match rows.step(lines)? {
                true => Stage::Rows(rows),
                false => Stage::Ended,
            },
            Stage::Ended => Stage::Ended,
        };
        Ok(!matches!(self.0, Stage::Ended))
    }
}

/// What the workbook says of itself.
struct Workbook {
    archive: Archive,
    /// The member that is the sheet.
    sheet: String,
    /// Whether days are counted from 1904, as on old Macintoshes.
    from_1904: bool,
}

impl Workbook {
    fn open(bytes: Bytes) -> Result<(Self, Option<Unpacked>)> {
        let archive = Archive::open(bytes)?;
        let (sheet, from_1904) = first_sheet(&archive)?;
        let (mut target, mut shared) = (None, None);
        let mut xml = Xml::of(&archive, "xl/_rels/workbook.xml.rels", INDEX_BYTES_MAX)?;
        while let Some(event) = xml.next()? {
            let Event::Start(tag) = event else { continue };
            if tag.local_name().as_ref() != b"Relationship" {
                continue;
            }
            let place = attribute(&tag, "Target")?.map(|path| in_archive(&path));
            if attribute(&tag, "Type")?.is_some_and(|kind| kind.ends_with("/sharedStrings")) {
                shared = place;
            } else if attribute(&tag, "Id")?.as_deref() == Some(sheet.as_str()) {
                target = place;
            }
        }
        let sheet = target.ok_or_else(|| wrong("its first sheet is not there"))?;
        let shared = match shared {
            Some(name) => archive.unpack(&name)?,
            None => None,
        };
        Ok((Self { archive, sheet, from_1904 }, shared))
    }
}

/// The relation's name of the first sheet that is shown, and whether days count from 1904.
fn first_sheet(archive: &Archive) -> Result<(String, bool)> {
    let mut from_1904 = false;
    let mut xml = Xml::of(archive, "xl/workbook.xml", INDEX_BYTES_MAX)?;
    while let Some(event) = xml.next()? {
        let Event::Start(tag) = event else { continue };
        match tag.local_name().as_ref() {
            b"workbookPr" => {
                let says = attribute(&tag, "date1904")?;
                from_1904 = says.is_some_and(|says| says == "1" || says == "true");
            }
            b"sheet" if attribute(&tag, "state")?.is_none_or(|state| state == "visible") => {
                let id = attribute(&tag, "r:id")?;
                return Ok((id.ok_or_else(|| wrong("a sheet is nowhere"))?, from_1904));
            }
            _ => {}
        }
    }
    Err(wrong("it has no sheet"))
}

/// Where a relation of the workbook points to.
fn in_archive(target: &str) -> String {
    match target.strip_prefix('/') {
        Some(from_root) => from_root.to_owned(),
        None => format!("xl/{target}"),
    }
}

/// The texts that cells share, one behind the other.
#[derive(Default)]
struct Texts {
    all: String,
    ends: Vec<u32>,
}

impl Texts {
    fn get(&self, number: usize) -> Option<&str> {
        let end = usize::try_from(*self.ends.get(number)?).ok()?;
        let before = number.checked_sub(1).and_then(|before| self.ends.get(before));
        self.all.get(usize::try_from(before.copied().unwrap_or_default()).ok()?..end)
    }

    fn end(&mut self) -> Result<()> {
        let end = u32::try_from(self.all.len()).ok().filter(|_| self.ends.len() < SHARED_MAX);
        self.ends.push(end.ok_or_else(|| wrong("it has too many texts"))?);
        Ok(())
    }
}

/// The texts are being read.
struct Shared {
    book: Workbook,
    xml: Option<Xml>,
    texts: Texts,
    in_text: bool,
    /// How to read a text aloud stands in it as well, and is no part of it.
    aside: bool,
}

impl Shared {
    fn open(bytes: Bytes) -> Result<Stage> {
        let (book, shared) = Workbook::open(bytes)?;
        let (xml, texts) = (shared.map(Xml::over), Texts::default());
        Ok(Stage::Shared(Box::new(Self { book, xml, texts, in_text: false, aside: false })))
    }

    /// Whether there is more.
    fn step(&mut self) -> Result<bool> {
        let Some(xml) = &mut self.xml else { return Ok(false) };
        for _ in 0..STEP {
            let Some(event) = xml.next()? else { return Ok(false) };
            match &event {
                Event::Start(tag) => match tag.local_name().as_ref() {
                    b"t" => self.in_text = !self.aside,
                    b"rPh" => self.aside = true,
                    _ => {}
                },
                Event::End(tag) => match tag.local_name().as_ref() {
                    b"t" => self.in_text = false,
                    b"rPh" => self.aside = false,
                    b"si" => self.texts.end()?,
                    _ => {}
                },
                text if self.in_text => add_text(text, &mut self.texts.all)?,
                _ => {}
            }
            if self.texts.all.len() > SHARED_BYTES_MAX {
                let message = format!("its texts have more than {SHARED_BYTES_MAX} bytes");
                return Err(wrong(&message));
            }
        }
        Ok(true)
    }

    fn begin_rows(self: Box<Self>) -> Result<Stage> {
        let Self { book, texts, .. } = *self;
        let xml = Xml::of(&book.archive, &book.sheet, PART_BYTES_MAX)?;
        Ok(Stage::Rows(Box::new(Rows {
            xml,
            texts,
            from_1904: book.from_1904,
            header: None,
            place: 0,
            unfolded: 0,
            row: Row::default(),
            cell: Cell::default(),
            in_text: false,
            aside: false,
        })))
    }
}

/// The sheet is being read.
struct Rows {
    xml: Xml,
    texts: Texts,
    from_1904: bool,
    /// Which column stands where; of an errors.csv what is beside is none.
    header: Option<Vec<(u32, Option<usize>)>>,
    place: i64,
    /// Bytes that all cells had so far.
    unfolded: usize,
    row: Row,
    cell: Cell,
    in_text: bool,
    aside: bool,
}

#[derive(Default)]
struct Row {
    /// Those with something in them.
    cells: Vec<Cell>,
    length: usize,
    /// The column of the last cell.
    column: u32,
}

#[derive(Default)]
struct Cell {
    /// Counted from one.
    column: u32,
    kind: Kind,
    is_formula: bool,
    text: String,
}

/// What `c/@t` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Number,
    Shared,
    Text,
    Date,
    /// Truth, or what has become of a formula that failed.
    Other,
}

impl Rows {
    /// Whether there is more.
    fn step(&mut self, lines: &mut Vec<Line>) -> Result<bool> {
        for _ in 0..STEP {
            let Some(event) = self.xml.next()? else { return Ok(false) };
            match &event {
                Event::Start(tag) => match tag.local_name().as_ref() {
                    b"row" => self.row = Row::default(),
                    b"c" => self.cell = begin_cell(tag, &mut self.row)?,
                    b"v" => self.in_text = true,
                    b"t" => self.in_text = !self.aside,
                    b"rPh" => self.aside = true,
                    b"f" => self.cell.is_formula = true,
                    _ => {}
                },
                Event::End(tag) => match tag.local_name().as_ref() {
                    b"v" | b"t" => self.in_text = false,
                    b"rPh" => self.aside = false,
                    b"c" => self.end_cell()?,
                    b"row" => self.end_row(lines)?,
                    b"sheetData" => return Ok(false),
                    _ => {}
                },
                text if self.in_text && self.cell.text.len() <= ROW_BYTES_MAX => {
                    add_text(text, &mut self.cell.text)?;
                }
                _ => {}
            }
        }
        Ok(true)
    }

    fn end_cell(&mut self) -> Result<()> {
        let mut cell = std::mem::take(&mut self.cell);
        if cell.kind == Kind::Shared && !cell.text.is_empty() {
            let number = cell.text.parse().ok();
            let shared = number.and_then(|number| self.texts.get(number));
            let shared = shared.ok_or_else(|| wrong("a cell's text is not there"))?;
            cell.text.clear();
            // A row that is too long is refused; there is no need to have it.
            if self.row.length + shared.len() <= ROW_BYTES_MAX {
                cell.text.push_str(shared);
            }
            self.row.length += shared.len();
        } else {
            self.row.length += cell.text.len();
        }
        let is_short = self.row.length <= ROW_BYTES_MAX;
        if is_short && (cell.is_formula || !cell.text.trim().is_empty()) {
            self.unfolded += cell.text.len();
            self.row.cells.push(cell);
        }
        if self.unfolded > BODY_BYTES_MAX {
            let message = format!("The cells of a table have at most {BODY_BYTES_MAX} bytes.");
            return Err(Error::invalid("payload_too_large", message));
        }
        Ok(())
    }

    fn end_row(&mut self, lines: &mut Vec<Line>) -> Result<()> {
        let row = std::mem::take(&mut self.row);
        let is_long = row.length > ROW_BYTES_MAX;
        if row.cells.is_empty() && !is_long {
            return Ok(());
        }
        let Some(header) = &self.header else {
            self.header = Some(read_header(row)?);
            return Ok(());
        };
        self.place += 1;
        let cells = if is_long {
            let message = format!("the row is longer than {ROW_BYTES_MAX} bytes");
            Err(Problem::new("row_too_long", message))
        } else {
            read_cells(row, header, self.from_1904)
        };
        lines.push(Line { place: self.place, cells });
        Ok(())
    }
}

fn begin_cell(tag: &BytesStart<'_>, row: &mut Row) -> Result<Cell> {
    let column = match attribute(tag, "r")? {
        Some(place) => column_of(&place)?,
        None => row.column + 1,
    };
    if column > WIDTH_MAX || column <= row.column {
        return Err(wrong("the cells of a row are not in their order"));
    }
    row.column = column;
    let kind = match attribute(tag, "t")?.as_deref() {
        None | Some("n") => Kind::Number,
        Some("s") => Kind::Shared,
        Some("str" | "inlineStr") => Kind::Text,
        Some("d") => Kind::Date,
        Some(_) => Kind::Other,
    };
    Ok(Cell { column, kind, ..Cell::default() })
}

/// The column of a place such as `AB12`, counted from one.
fn column_of(place: &str) -> Result<u32> {
    let letters = place.bytes().take_while(u8::is_ascii_uppercase);
    let column = letters.take(4).fold(0, |sum, letter| sum * 26 + u32::from(letter - b'A') + 1);
    if column == 0 { Err(wrong("a cell is nowhere")) } else { Ok(column) }
}

fn read_header(row: Row) -> Result<Vec<(u32, Option<usize>)>> {
    let mut header: Vec<(u32, Option<usize>)> = Vec::new();
    if row.length > ROW_BYTES_MAX {
        return Err(Error::invalid("no_header", "The first row does not name the columns."));
    }
    for cell in row.cells {
        let known: Vec<Option<usize>> = header.iter().map(|(_, place)| *place).collect();
        header.push((cell.column, read_name(cell.text.trim(), &known)?));
    }
    Ok(header)
}

fn read_cells(
    row: Row,
    header: &[(u32, Option<usize>)],
    from_1904: bool,
) -> Result<Cells, Problem> {
    let mut cells = Cells::default();
    for cell in row.cells {
        let Some((_, place)) = header.iter().find(|(column, _)| *column == cell.column) else {
            let message = "a cell stands where the first row names no column";
            return Err(Problem::new("wrong_columns", message));
        };
        let Some(place) = *place else { continue };
        let name = COLUMNS.get(place).copied().unwrap_or_default();
        let in_column = |problem| Problem { field: Some(name.to_owned()), ..problem };
        if cell.is_formula {
            let message = "a formula: paste what it comes to as a value";
            return Err(in_column(Problem::new("formula", message)));
        }
        let is_date = matches!(name, "issueDate" | "expiryDate");
        let text = match cell.kind {
            Kind::Other => return Err(in_column(Problem::new("invalid", "not a text"))),
            // As a document's own program writes it: 2020-05-31T00:00:00.
            Kind::Date => cell.text.split('T').next().unwrap_or_default().to_owned(),
            Kind::Number if is_date => day(&cell.text, from_1904).unwrap_or(cell.text),
            _ => cell.text,
        };
        if let Some(cell) = cells.0.get_mut(place) {
            *cell = text;
        }
    }
    Ok(cells)
}

/// The date of a day's number. Spreadsheets take 1900 for a leap year, for the sake of a program that
/// did; the day that never was is none.
fn day(number: &str, from_1904: bool) -> Option<String> {
    let number = number.parse::<f64>().ok().filter(|day| (0.0..3_000_000.0).contains(day))?;
    let number = number as i64;
    // Days from 1970-01-01 to what is counted from.
    let since = match (from_1904, number) {
        (true, _) => number - 24_107,
        (false, 61..) => number - 25_569,
        (false, 1..=59) => number - 25_568,
        (false, _) => return None,
    };
    Some(civil(since))
}

/// `YYYY-MM-DD` of a day counted from 1970-01-01, in the Gregorian calendar: eras of 400 years, that
/// begin with March so that the odd day is their last.
fn civil(since: i64) -> String {
    let days = since + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{of_month:02}")
}

/// The tags and texts of one part, which is unpacked on the way.
struct Xml {
    reader: quick_xml::Reader<Meter>,
    buffer: Vec<u8>,
}

impl Xml {
    fn of(archive: &Archive, name: &str, most: u64) -> Result<Self> {
        let part = archive.unpack(name)?;
        let part = part.filter(|part| part.left() <= most);
        Ok(Self::over(part.ok_or_else(|| wrong(&format!("{name} is not there, or too large")))?))
    }

    fn over(part: Unpacked) -> Self {
        let mut reader = quick_xml::Reader::from_reader(Meter::new(part));
        reader.config_mut().expand_empty_elements = true;
        Self { reader, buffer: Vec::new() }
    }

    /// The next one; none behind the last.
    fn next(&mut self) -> Result<Option<Event<'_>>> {
        self.buffer.clear();
        self.reader.get_mut().of_token = 0;
        match self.reader.read_event_into(&mut self.buffer) {
            Ok(Event::Eof) => Ok(None),
            // It could say what names stand for, and a billion of it.
            Ok(Event::DocType(_)) => Err(wrong("it declares a document type")),
            Ok(event) => Ok(Some(event)),
            Err(error) => Err(wrong(&format!("a part cannot be read: {error}"))),
        }
    }
}

/// Adds what a text, or a name that stands for a letter, says.
fn add_text(event: &Event<'_>, to: &mut String) -> Result<()> {
    let damaged = |_| wrong("it is not UTF-8");
    match event {
        Event::Text(text) => to.push_str(&text.xml10_content().map_err(damaged)?),
        Event::CData(text) => to.push_str(&text.xml10_content().map_err(damaged)?),
        Event::GeneralRef(name) => {
            let letter = name.resolve_char_ref().map_err(|_| wrong("a letter is none"))?;
            match letter {
                Some(letter) => to.push(letter),
                None => {
                    let name = name.decode().map_err(damaged)?;
                    let stands_for = resolve_predefined_entity(&name);
                    to.push_str(stands_for.ok_or_else(|| wrong("a name stands for nothing"))?);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
    let damaged = || wrong("a tag is damaged");
    let Some(found) = tag.try_get_attribute(name).map_err(|_| damaged())? else { return Ok(None) };
    let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(|_| damaged())?;
    Ok(Some(value.into_owned()))
}

/// Refuses what would have to be held in memory whole, and is too large for it.
struct Meter {
    inner: BufReader<Unpacked>,
    of_token: usize,
}

impl Meter {
    fn new(part: Unpacked) -> Self {
        Self { inner: BufReader::with_capacity(32 * 1024, part), of_token: 0 }
    }
}

impl Read for Meter {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read(into)
    }
}

impl BufRead for Meter {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.of_token > TOKEN_BYTES_MAX {
            let message = "a tag or a text is too long";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, read: usize) {
        self.of_token += read;
        self.inner.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates_as_spreadsheets_count_them() {
        for (number, date) in [
            ("1", Some("1900-01-01")),
            ("59", Some("1900-02-28")),
            ("60", None),
            ("61", Some("1900-03-01")),
            ("36526", Some("2000-01-01")),
            ("36585", Some("2000-02-29")),
            ("45292.75", Some("2024-01-01")),
            ("2958465", Some("9999-12-31")),
            ("0", None),
            ("-1", None),
            ("1e300", None),
            ("x", None),
        ] {
            assert_eq!(day(number, false).as_deref(), date, "{number}");
        }
        assert_eq!(day("0", true).as_deref(), Some("1904-01-01"));
        assert_eq!(day("43830", true).as_deref(), Some("2024-01-01"));
        assert_eq!(civil(-1), "1969-12-31");
    }

    #[test]
    fn columns_are_letters() {
        for (place, column) in [("A1", 1), ("Z9", 26), ("AA10", 27), ("XFD1", 16_384)] {
            assert_eq!(column_of(place).unwrap(), column);
        }
        assert!(column_of("7").is_err());
        assert!(column_of("").is_err());
    }
}
