//! Names as people give them, made fit to be shown and offered for saving.

use super::model::MediaType;

/// The longest name that is kept, in bytes of UTF-8: what every file system takes.
const NAME_BYTES_MAX: usize = 200;
/// Names that Windows keeps for devices, with any ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A name without a path, without control characters and characters that turn the direction of
/// writing or are not seen, not too long, and with an ending that says what the file is:
/// `..\..\cv.exe` of a PDF is shown as `cv.exe.pdf`.
pub(super) fn tame(given: &str, media_type: MediaType) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let seen: String = last.chars().filter(|letter| !is_unseen(*letter)).map(replaced).collect();
    let seen = seen.trim_matches(|letter: char| letter == '.' || letter.is_whitespace());
    let (stem, ending) = split(seen, media_type);
    let stem = cut(stem, NAME_BYTES_MAX - ending.len() - 1);
    let stem = stem.trim_end_matches(|letter: char| letter == '.' || letter.is_whitespace());
    let stem = if stem.is_empty() { "document" } else { stem };
    let lead = if is_device(stem) { "_" } else { "" };
    format!("{lead}{stem}.{ending}")
}

/// The stem, and the ending: the given one where it fits the content, else the content's own.
fn split(name: &str, media_type: MediaType) -> (&str, String) {
    let endings = media_type.extensions();
    if let Some((stem, ending)) = name.rsplit_once('.') {
        let ending = ending.to_ascii_lowercase();
        if endings.contains(&ending.as_str()) {
            return (stem, ending);
        }
    }
    (name, endings.first().copied().unwrap_or_default().to_owned())
}

/// Cut at a character's border.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max.min(text.len()))]
}

fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            // Direction marks, embeddings, overrides and isolates (UAX #9): they can make
            // `fdp.exe` read `exe.pdf`.
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            // Line and paragraph separators, spaces of no width, byte order mark, tags.
            | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{00ad}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// What Windows and shells take amiss becomes an underscore.
const fn replaced(letter: char) -> char {
    match letter {
        '<' | '>' | ':' | '"' | '|' | '?' | '*' | '\u{fffd}' => '_',
        other => other,
    }
}

fn is_device(stem: &str) -> bool {
    let first = stem.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = ["com", "lpt"].iter().any(|device| {
        first.strip_prefix(device).is_some_and(|number| {
            number.len() == 1 && number.bytes().all(|digit| digit.is_ascii_digit())
        })
    });
    numbered || DEVICES.contains(&first.as_str())
}

/// `Content-Disposition` of a download (RFC 6266): `filename` in ASCII for old clients, and
/// `filename*` (RFC 8187) with the name itself.
pub(super) fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|letter| match letter {
            '"' | '\\' | '%' => '_',
            ' '..='~' => letter,
            _ => '_',
        })
        .collect();
    let mut out = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        out.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            // attr-char of RFC 8187 section 3.2.1.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}
