//! The passwords and words that are tried first everywhere.
//!
//! 35,000 of them in 353 KB of text that lies in the executable: read-only pages that all
//! processes of a machine share and of which a search touches a handful. It is searched where it
//! lies, in O(log n) and without an allocation; plain text, so that a change of it can be
//! reviewed. Where it comes from stands in `NOTICE` beside it.

/// One a line, in lower case, sorted by byte, 8 bytes and longer: what is shorter is refused
/// anyway.
const LIST: &[u8] = include_bytes!("common.txt");

/// Whether a password in lower case is one of them.
pub(super) fn is_common(folded: &str) -> bool {
    find(LIST, folded.as_bytes())
}

fn find(list: &[u8], wanted: &[u8]) -> bool {
    let is_end = |byte: &u8| *byte == b'\n';
    // Both stand at the first byte of a line, or at the end.
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = list[low..middle].iter().rposition(is_end).map_or(low, |at| low + at + 1);
        let end = list[middle..high].iter().position(is_end).map_or(high, |at| middle + at);
        match list[start..end].cmp(wanted) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<&'static str> {
        std::str::from_utf8(LIST).unwrap().lines().collect()
    }

    #[test]
    fn the_list_is_as_the_search_needs_it() {
        let lines = lines();
        assert!(lines.len() > 30_000);
        assert!(lines.windows(2).all(|pair| pair[0].as_bytes() < pair[1].as_bytes()));
        assert!(lines.iter().all(|line| line.len() >= 8 && *line == line.to_lowercase()));
    }

    #[test]
    fn every_line_is_found_and_nothing_beside_it() {
        let lines = lines();
        for line in &lines {
            assert!(is_common(line), "{line}");
            for other in [format!("{line}\u{1}"), format!("{line}\n"), format!("\u{1}{line}")] {
                assert!(!is_common(&other), "{other:?}");
            }
        }
        assert!(!is_common("") && !is_common("\n"));
        assert!(!find(b"", b"x") && find(b"x", b"x") && find(b"x\n", b"x"));
    }
}
