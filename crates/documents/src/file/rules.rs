//! What is taken, and which part of it is answered with. Pure decisions.

use std::ops::Range;

use http::StatusCode;
use kernel::{Error, Result};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use verify::credential::baked;

use super::archive::{self, Entry};
use super::model::MediaType;

/// How many of the first bytes are needed to tell what a file is.
pub(super) const HEAD_BYTES: usize = 8 * 1024;
/// How many of the last bytes are kept for the same: a ZIP archive's directory ends at most this
/// far from its end.
pub(super) const TAIL_BYTES: usize = archive::END_BYTES + u16::MAX as usize;
/// What the parts of a Word file may unpack to, in bytes.
const UNPACKED_MAX: u64 = 512 * 1024 * 1024;
/// How many times its size they may be, beyond what is harmless. Text is packed to a twentieth.
const UNPACKED_RATIO_MAX: u64 = 100;
const UNPACKED_FREE: u64 = 16 * 1024 * 1024;
/// A sheet of A1 scanned at 600 dots an inch has 280 million.
const PIXELS_MAX: u64 = 300_000_000;
/// Browsers that guess at types look at this much of a file.
const GUESS_BYTES: usize = 1024;
/// PDF readers look for the header this far into a file.
const PDF_SEARCH_BYTES: usize = 1024;

const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The last chunk of every PNG: no data, its name, and its checksum.
const PNG_END: [u8; 12] = *b"\0\0\0\0IEND\xaeB`\x82";

/// What a file is by its first bytes (all of them, up to [`HEAD_BYTES`]). The client's
/// `Content-Type` and the name's ending are not asked: they prove nothing.
pub(super) fn sniff(head: &[u8]) -> Result<MediaType> {
    if head.starts_with(b"%PDF-") {
        return Ok(MediaType::Pdf);
    }
    let start = &head[..head.len().min(PDF_SEARCH_BYTES)];
    if start.windows(5).any(|window| window == b"%PDF-") {
        let message = "There is something in front of the PDF in this file. Save it anew as a PDF.";
        return Err(refused(message));
    }
    let known = if head.starts_with(PNG_SIGNATURE) {
        Some(MediaType::Png)
    } else if head.starts_with(b"RIFF") && infer::image::is_webp(head) {
        Some(MediaType::WebP)
    } else if infer::image::is_jpeg(head) {
        Some(MediaType::Jpeg)
    } else if is_docx(head) {
        Some(MediaType::Docx)
    } else {
        credential(head)
    };
    known.ok_or_else(|| {
        let found = infer::get(head).map(|kind| kind.mime_type());
        let found = found.map(|found| format!(" This is {found}.")).unwrap_or_default();
        refused(&format!(
            "Only PDF, PNG, JPEG, WebP and DOCX files and signed credentials are taken.{found}"
        ))
    })
}

/// Whether this is the beginning of an Office Open XML text: a ZIP archive whose first entry is
/// one that such files begin with, and that soon has one below `word/`. Word processors order
/// the entries differently, so all of those in sight are looked at.
fn is_docx(head: &[u8]) -> bool {
    const ENTRY: &[u8] = b"PK\x03\x04";
    const NAME_AT: usize = 30;
    let first = head.get(NAME_AT..).unwrap_or_default();
    let opens = ["[Content_Types].xml", "_rels/.rels", "docProps/", "word/"];
    head.starts_with(ENTRY)
        && opens.iter().any(|name| first.starts_with(name.as_bytes()))
        && head
            .windows(NAME_AT + 5)
            .any(|entry| entry.starts_with(ENTRY) && entry[NAME_AT..] == *b"word/")
}

/// What kind of signed credential begins like this. Text is taken only where it says of itself
/// that it is one.
fn credential(head: &[u8]) -> Option<MediaType> {
    let is_cut = head.len() >= HEAD_BYTES;
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may go on behind the head.
        Err(error) if is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let text = text.strip_suffix('\n').unwrap_or(text);
    if baked::is_svg(text) {
        return Some(MediaType::SvgBadge);
    }
    if text.trim_start().starts_with('{') {
        // A bundle or a case file of ours holds a credential and is none.
        let is_ours = ["\"verza-bundle/", "\"verza-case/"].iter().any(|mark| text.contains(mark));
        let says = text.contains("\"VerifiableCredential\"") && !is_ours;
        return says.then_some(MediaType::Credential);
    }
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    // The base64url of `{"`.
    if !text.starts_with("eyJ") || !text.bytes().all(letter) {
        return None;
    }
    let header = text.split_once('.').map(|(header, _)| URL_SAFE_NO_PAD.decode(header).ok());
    let header: serde_json::Value = serde_json::from_slice(&header??).ok()?;
    let typ = header["typ"].as_str().unwrap_or_default();
    let typ = typ.strip_prefix("application/").unwrap_or(typ);
    Some(match typ {
        "dc+sd-jwt" | "vc+sd-jwt" => MediaType::SdJwt,
        _ => MediaType::VcJwt,
    })
}

/// Whether a file is one thing only, from its first bytes to its last. What follows after an
/// image's end, an archive behind a PDF, a page in front of one: each would be another file in
/// hiding, which other readers than ours see. After a JPEG's end cameras do write, so there it is
/// only asked that it is no archive.
pub(super) fn check_end(media: MediaType, head: &[u8], tail: &[u8], size: u64) -> Result<()> {
    let whole = match media {
        MediaType::Png => tail.ends_with(&PNG_END),
        // The size in the header counts from byte 8.
        MediaType::WebP => match head.get(4..8).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => u64::from(u32::from_le_bytes(bytes)) + 8 == size,
            None => false,
        },
        MediaType::Docx => match archive::entries(tail) {
            Some(entries) => {
                check_parts(&entries, size)?;
                true
            }
            None => false,
        },
        // The last of a JSON object, or of an element.
        MediaType::Credential => tail.trim_ascii_end().ends_with(b"}"),
        MediaType::SvgBadge => tail.trim_ascii_end().ends_with(b"</svg>"),
        MediaType::Pdf | MediaType::Jpeg | MediaType::SdJwt | MediaType::VcJwt => true,
    };
    if !whole {
        let message = "The file is cut off, or something follows after its end. Save it anew.";
        return Err(refused(message));
    }
    if media != MediaType::Docx && archive::is_hidden_in(tail) {
        return Err(refused("There is an archive in hiding in this file. Save it anew."));
    }
    // A badge in SVG is a page by its nature, and is handed out as text.
    if media != MediaType::SvgBadge && reads_as_page(head) {
        return Err(refused("There is a web page in hiding in this file. Save it anew."));
    }
    Ok(())
}

/// Whether all of what a Word file unpacks to may be taken: no macros, and no more of it than a
/// reader can be asked to hold. The directory declares it, and unpackers hold archives to it.
fn check_parts(entries: &[Entry], size: u64) -> Result<()> {
    let is_macro = |entry: &Entry| {
        let name = entry.name.to_ascii_lowercase();
        name.ends_with(b"vbaproject.bin") || name.ends_with(b"vbadata.xml")
    };
    if entries.iter().any(is_macro) {
        return Err(refused("This document holds macros. Save it without them, as DOCX or PDF."));
    }
    let unpacked = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.unpacked));
    let is_bomb = unpacked > UNPACKED_FREE && unpacked / size.max(1) > UNPACKED_RATIO_MAX;
    if unpacked > UNPACKED_MAX || is_bomb {
        let message = "This document unpacks to far more than its size. Save it as a PDF.";
        return Err(refused(message));
    }
    Ok(())
}

/// Whether a picture of this size may be taken: whoever looks at it has to hold all of it.
pub(super) fn check_pixels(size: Option<(u32, u32)>) -> Result<()> {
    match size {
        Some((width, height)) if u64::from(width) * u64::from(height) > PIXELS_MAX => {
            Err(refused(&format!(
                "This picture is {width} by {height} pixels large; at most {} million are taken. \
                 Save it smaller.",
                PIXELS_MAX / 1_000_000
            )))
        }
        _ => Ok(()),
    }
}

/// Whether a browser that guesses would take these first bytes for a page.
fn reads_as_page(head: &[u8]) -> bool {
    let start = head[..head.len().min(GUESS_BYTES)].to_ascii_lowercase();
    let marks: [&[u8]; 5] = [b"<!doctype html", b"<html", b"<script", b"<svg", b"<iframe"];
    marks.iter().any(|mark| start.windows(mark.len()).any(|window| window == *mark))
}

fn refused(message: &str) -> Error {
    Error::invalid("unsupported_media_type", message.to_owned())
}

/// What a request for a file's content is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Whole,
    Part(Range<u64>),
    NotModified,
    /// It is not what the client has.
    Failed,
    /// No byte of what was asked for exists.
    Unsatisfiable,
}

/// The headers that decide about the answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Conditions<'a> {
    pub(super) if_match: Option<&'a str>,
    pub(super) if_none_match: Option<&'a str>,
    pub(super) if_range: Option<&'a str>,
    pub(super) range: Option<&'a str>,
}

/// RFC 9110 sections 13.2.2 and 14.2, for a file that never changes under its `etag`.
pub(super) fn answer(asked: Conditions<'_>, etag: &str, size: u64) -> Answer {
    // Section 13.1.1: the comparison is strong, so that a weak tag never matches.
    if asked.if_match.is_some_and(|list| !names(list, etag)) {
        return Answer::Failed;
    }
    if asked.if_none_match.is_some_and(|list| is_listed(list, etag)) {
        return Answer::NotModified;
    }
    // Only the strong tag itself proves that the client holds parts of the same bytes.
    let same = asked.if_range.is_none_or(|held| held.trim() == etag);
    match asked.range {
        Some(range) if same => part(range, size),
        _ => Answer::Whole,
    }
}

/// Whether an answer is a download: of one in parts the first counts.
pub(super) fn is_downloaded(status: StatusCode, content_range: Option<&str>) -> bool {
    status.is_success() && content_range.is_none_or(|range| range.starts_with("bytes 0-"))
}

/// Whether a list of tags names exactly this one, or any.
fn names(list: &str, etag: &str) -> bool {
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag == etag)
}

/// Section 13.1.2: the comparison is weak.
fn is_listed(list: &str, etag: &str) -> bool {
    let same = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag;
    list.split(',').map(str::trim).any(same)
}

/// One range is served; several ranges, another unit, or what is no range at all are passed
/// over and answered whole, as section 14.2 lets a server do.
fn part(range: &str, size: u64) -> Answer {
    let Some((unit, ranges)) = range.split_once('=') else { return Answer::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Answer::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else { return Answer::Whole };
    let (first, last) = (first.trim(), last.trim());
    let range = match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => first..size,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (None, Some(last)) if first.is_empty() => size.saturating_sub(last)..size,
        _ => return Answer::Whole,
    };
    if range.is_empty() { Answer::Unsatisfiable } else { Answer::Part(range) }
}

/// Digits and nothing else; a number beyond every file is the largest there is.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}
