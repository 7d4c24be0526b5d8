//! The ZIP archive that a spreadsheet is (PKWARE APPNOTE 6.3), as far as spreadsheets use it: its
//! directory, and members stored or deflated, unpacked while they are read.
//!
//! Nothing is believed that the archive says of itself. A member gives no more bytes than it says, no
//! more than [`PART_BYTES_MAX`], and only those of which the checksum is right.

use std::io::{self, Cursor, Read};

use axum::body::Bytes;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use kernel::{Error, Result};

/// Bytes that one member may unpack to: a hundred thousand rows take some eighty million.
pub(super) const PART_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Members of one archive; a spreadsheet has some ten.
const MEMBERS_MAX: usize = 4096;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
const END_BYTES: usize = 22;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// A comment of 64 KiB may stand behind the end of the directory.
const END_WITHIN: usize = END_BYTES + 0xFFFF;

/// An archive that is in memory, as it came.
pub(super) struct Archive {
    bytes: Bytes,
    members: Vec<Member>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    deflated: bool,
    crc: u32,
    packed: usize,
    unpacked: u64,
    local: usize,
}

/// What a member unpacks to. Reading fails where the archive has said something else of it.
pub(super) struct Unpacked {
    source: Source,
    crc: Crc,
    left: u64,
    expected: u32,
}

enum Source {
    Stored(Cursor<Bytes>),
    Deflated(DeflateDecoder<Cursor<Bytes>>),
}

impl Archive {
    /// Reads the directory.
    ///
    /// # Errors
    /// `Invalid` `invalid_xlsx` for what is no such archive.
    pub(super) fn open(bytes: Bytes) -> Result<Self> {
        if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) {
            return Err(wrong(
                "it is an .xls, or locked with a password; save it as an open .xlsx",
            ));
        }
        let from = bytes.len().saturating_sub(END_WITHIN);
        let tail = bytes.get(from..).unwrap_or_default();
        let end = tail.windows(END.len()).rposition(|window| window == END);
        let end = end.ok_or_else(|| wrong("it has no directory, or was cut off"))? + from;
        let (count, start) = (u16_at(&bytes, end + 10)?, u32_at(&bytes, end + 16)?);
        let mut members = Vec::new();
        let mut at = size(start)?;
        for _ in 0..count {
            let (member, next) = member(&bytes, at)?;
            members.push(member);
            at = next;
            if members.len() > MEMBERS_MAX {
                return Err(wrong("it has too many members"));
            }
        }
        Ok(Self { bytes, members })
    }

    /// Begins to unpack a member; none where there is none of this name.
    ///
    /// # Errors
    /// `Invalid` `invalid_xlsx` for one that is packed in another way, or too large.
    pub(super) fn unpack(&self, name: &str) -> Result<Option<Unpacked>> {
        let Some(member) = self.members.iter().find(|member| member.name == name) else {
            return Ok(None);
        };
        if member.unpacked > PART_BYTES_MAX {
            let message = format!("{name} would unpack to more than {PART_BYTES_MAX} bytes");
            return Err(wrong(&message));
        }
        if !self.bytes.get(member.local..).is_some_and(|rest| rest.starts_with(LOCAL)) {
            return Err(wrong("its directory points to nowhere"));
        }
        // The names and extras of the two places may differ in length.
        let beside = usize::from(u16_at(&self.bytes, member.local + 26)?)
            + usize::from(u16_at(&self.bytes, member.local + 28)?);
        let start = member.local + LOCAL_BYTES + beside;
        let end = start.checked_add(member.packed).filter(|end| *end <= self.bytes.len());
        let packed = self.bytes.slice(start..end.ok_or_else(|| wrong("it was cut off"))?);
        let source = match member.deflated {
            true => Source::Deflated(DeflateDecoder::new(Cursor::new(packed))),
            false => Source::Stored(Cursor::new(packed)),
        };
        let (left, expected) = (member.unpacked, member.crc);
        Ok(Some(Unpacked { source, crc: Crc::new(), left, expected }))
    }
}

/// One entry of the directory, and where the next one stands.
fn member(bytes: &[u8], at: usize) -> Result<(Member, usize)> {
    if !bytes.get(at..).is_some_and(|rest| rest.starts_with(ENTRY)) {
        return Err(wrong("its directory is damaged"));
    }
    if u16_at(bytes, at + 8)? & 1 != 0 {
        return Err(wrong("it is locked with a password"));
    }
    let method = u16_at(bytes, at + 10)?;
    if !matches!(method, 0 | 8) {
        return Err(wrong("it is packed in a way that spreadsheets are not"));
    }
    let name_length = usize::from(u16_at(bytes, at + 28)?);
    let (start, end) = (at + ENTRY_BYTES, at + ENTRY_BYTES + name_length);
    let name = bytes.get(start..end).ok_or_else(|| wrong("its directory is damaged"))?;
    let member = Member {
        name: String::from_utf8_lossy(name).into_owned(),
        deflated: method == 8,
        crc: u32_at(bytes, at + 16)?,
        packed: size(u32_at(bytes, at + 20)?)?,
        unpacked: u32_at(bytes, at + 24)?.into(),
        local: size(u32_at(bytes, at + 42)?)?,
    };
    let beside = usize::from(u16_at(bytes, at + 30)?) + usize::from(u16_at(bytes, at + 32)?);
    Ok((member, end + beside))
}

impl Unpacked {
    /// Bytes that are still to come, as the archive says.
    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::Stored(source) => source.read(into)?,
            Source::Deflated(source) => source.read(into)?,
        };
        let new = into.get(..read).unwrap_or_default();
        self.crc.update(new);
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| damaged("a member is longer than it says"))?;
        if read == 0 && !into.is_empty() && (self.left > 0 || self.crc.sum() != self.expected) {
            return Err(damaged("a member is not what it says"));
        }
        Ok(read)
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A table that is no spreadsheet.
pub(super) fn wrong(what: &str) -> Error {
    Error::invalid("invalid_xlsx", format!("The body is no table in XLSX: {what}."))
}

fn size(number: u32) -> Result<usize> {
    usize::try_from(number).map_err(|_| wrong("it is too large"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().map(u16::from_le_bytes).ok_or_else(|| wrong("it was cut off"))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.copied().map(u32::from_le_bytes).ok_or_else(|| wrong("it was cut off"))
}
