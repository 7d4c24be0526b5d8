//! Which codings of an answer a client takes (RFC 9110 section 12.5.3).

use http::{HeaderMap, header};

/// What answers are compressed with.
const OFFERED: [&str; 3] = ["gzip", "br", "zstd"];

/// Whether a client takes any of the codings that we have. One that takes none, and does not even
/// take the answer as it is, gets it as it is: what was asked for is done by then.
pub(super) fn is_compression_wanted(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ACCEPT_ENCODING)
        && OFFERED.iter().any(|coding| {
            is_wanted(headers, coding).or_else(|| is_wanted(headers, "*")).unwrap_or(false)
        })
}

/// Whether a coding is wanted. None where nothing is said of it.
fn is_wanted(headers: &HeaderMap, coding: &str) -> Option<bool> {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut entries = values.filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    entries.find_map(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
        if name.trim().eq_ignore_ascii_case(coding) { is_positive(weight.trim()) } else { None }
    })
}

/// Whether a weight, such as `q=0.5`, is more than nothing. None where it is no weight.
fn is_positive(weight: &str) -> Option<bool> {
    let number = weight.strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_part = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_zero = part.bytes().all(|byte| byte == b'0');
    match whole {
        "0" if is_part => Some(!is_zero),
        "1" if is_zero && is_part => Some(true),
        _ => None,
    }
}
