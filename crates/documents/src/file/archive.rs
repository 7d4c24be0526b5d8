//! The directory of a ZIP archive, as far as the last bytes of a file have it. Pure.

use std::ops::Range;

/// The record at the end of every ZIP archive, without the comment that may follow.
pub(super) const END_BYTES: usize = 22;
/// An entry of the directory, without its name.
const ENTRY_BYTES: usize = 46;
const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
/// In front of the end record of an archive whose numbers are too large for it.
const END_64: &[u8] = b"PK\x06\x07";
const END_64_BYTES: usize = 20;

/// One entry, as the directory declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    /// In bytes, when unpacked.
    pub(super) unpacked: u64,
}

/// Whether archive readers find a directory behind whatever these bytes are the end of. They look
/// for its end record from behind, and pass over bytes that follow it.
pub(super) fn is_hidden_in(tail: &[u8]) -> bool {
    ends(tail).any(|at| match directory(tail, at) {
        Some(found) => tail[found].starts_with(ENTRY),
        // It begins in front of what was kept: its end record has to speak for it.
        None => speaks_for_itself(tail, at),
    })
}

/// The entries of the archive that these bytes end as; nothing where they do not, or where its
/// directory is not all there.
pub(super) fn entries(tail: &[u8]) -> Option<Vec<Entry>> {
    let end = ends(tail).find(|at| {
        let comment = usize::from(number16(tail, at + 20));
        at + END_BYTES + comment == tail.len()
    })?;
    let mut rest = &tail[directory(tail, end)?];
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let name_len = usize::from(number16(rest.get(..ENTRY_BYTES)?, 28));
        let more = usize::from(number16(rest, 30)) + usize::from(number16(rest, 32));
        let name = rest.get(ENTRY_BYTES..ENTRY_BYTES + name_len)?.to_vec();
        if !rest.starts_with(ENTRY) {
            return None;
        }
        entries.push(Entry { name, unpacked: u64::from(number32(rest, 24)) });
        rest = rest.get(ENTRY_BYTES + name_len + more..)?;
    }
    (entries.len() == usize::from(number16(tail, end + 10))).then_some(entries)
}

/// Where end records may begin.
fn ends(tail: &[u8]) -> impl Iterator<Item = usize> {
    tail.windows(END_BYTES).enumerate().filter(|(_, it)| it.starts_with(END)).map(|(at, _)| at)
}

/// Where the directory lies that an end record tells of: right in front of it.
fn directory(tail: &[u8], end: usize) -> Option<Range<usize>> {
    let size = usize::try_from(number32(tail, end + 12)).ok()?;
    end.checked_sub(size).map(|start| start..end)
}

/// Four bytes are met by chance in one of some ten thousand files; a record whose numbers agree is
/// not.
fn speaks_for_itself(tail: &[u8], end: usize) -> bool {
    let is_64 = end.checked_sub(END_64_BYTES).is_some_and(|at| tail[at..].starts_with(END_64));
    let (here, all) = (number16(tail, end + 8), number16(tail, end + 10));
    let size = u64::from(number32(tail, end + 12));
    let disks = number32(tail, end + 4);
    is_64 || (disks == 0 && here == all && all > 0 && size >= u64::from(all) * ENTRY_BYTES as u64)
}

fn number16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |it| u16::from_le_bytes([it[0], it[1]]))
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]))
}
