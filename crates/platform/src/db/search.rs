//! Words that are searched: one interface over the full-text indexes of both engines.
//!
//! A table keeps a column of words, written by [`fold`] in the same statement as what they are
//! made of; `FULL TEXT table (column)` in a migration makes the engine's index over it (FTS5 on
//! SQLite, kept by triggers; GIN over `to_tsvector` on PostgreSQL). What a word is, and that accents
//! and letter case make no difference, is decided here and not by the engines: both are handed plain
//! words, and so both find the same rows.
//!
//! The index is made of the column, and is no data of its own: whatever writes the table, a copy
//! from another store included, makes it anew.

use unicode_normalization::UnicodeNormalization;

/// Words of one search that are looked at.
const WORDS_MAX: usize = 8;
/// Letters of a word by which it is searched; PostgreSQL refuses words of 2 KiB.
const LETTERS_MAX: usize = 64;

/// The words of a text as they are stored and compared: letters and digits only, lower case, without
/// accents, a space between two.
///
/// Scripts that put no spaces between words are not taken apart: a run of them is one word, found by
/// how it begins.
pub fn fold(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for letter in text.nfkd().flat_map(char::to_lowercase) {
        match letter {
            // Accents that stood on the letter before.
            '\u{300}'..='\u{36f}' => {}
            // Letters that are no others with something on them, and are typed as others all the
            // same.
            'ß' => words.push_str("ss"),
            'æ' => words.push_str("ae"),
            'œ' => words.push_str("oe"),
            'ø' => words.push('o'),
            'ł' => words.push('l'),
            'đ' | 'ð' => words.push('d'),
            'ı' => words.push('i'),
            letter if letter.is_alphanumeric() => words.push(letter),
            _ if words.is_empty() || words.ends_with(' ') => {}
            _ => words.push(' '),
        }
    }
    words.truncate(words.trim_end().len());
    words
}

/// What is searched for: all of these words, the last of which may be the beginning of one, as while
/// it is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// The first eight words of a text; a text without any finds nothing.
    pub fn parse(text: &str) -> Self {
        let cut = |word: &str| word.chars().take(LETTERS_MAX).collect();
        Self(fold(text).split_whitespace().take(WORDS_MAX).map(cut).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// SQL that is true of the rows of `table` whose `column` has the words. `marker`, such as `$1`,
    /// is bound to [`Self::bound`].
    pub fn condition(&self, shared: bool, table: &str, column: &str, marker: &str) -> String {
        match (self.is_empty(), shared) {
            // The parameter is named all the same: one that is nowhere has no type.
            (true, _) => format!("CAST({marker} AS TEXT) IS NULL AND FALSE"),
            (false, true) => {
                format!("to_tsvector('simple', {table}.{column}) @@ to_tsquery('simple', {marker})")
            }
            (false, false) => format!(
                "{table}.id IN (SELECT id FROM {table}_search WHERE {table}_search MATCH {marker})"
            ),
        }
    }

    /// The parameter of [`Self::condition`]: the words in the engine's own language of queries. They
    /// are letters and digits, so nothing in them is of that language.
    pub fn bound(&self, shared: bool) -> String {
        let Some((last, whole)) = self.0.split_last() else { return String::new() };
        let mut query = String::new();
        for word in whole {
            query.push_str(&if shared {
                format!("'{word}' & ")
            } else {
                format!("\"{word}\" AND ")
            });
        }
        query.push_str(&if shared { format!("'{last}':*") } else { format!("\"{last}\" *") });
        if shared { query } else { format!("words : ({query})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_case_and_what_stands_between_words_make_no_difference() {
        for (text, words) in [
            ("  Québec — D'Ivoire ", "quebec d ivoire"),
            ("QUE\u{301}BEC", "quebec"),
            ("Łódź, Straße; Ærø", "lodz strasse aero"),
            ("İstanbul ISPARTA ısparta", "istanbul isparta isparta"),
            ("100% (ﬁne)", "100 fine"),
            ("Ελλάδα НОВЫЙ 東京都", "ελλαδα новыи 東京都"),
            ("%_!'\"&|:*()", ""),
        ] {
            assert_eq!(fold(text), words, "{text}");
            assert_eq!(fold(&fold(text)), words, "{text}: folding twice changes nothing");
        }
    }

    #[test]
    fn nothing_of_the_engines_languages_gets_into_a_query() {
        let words = Words::parse("Ada\" OR id:* NEAR('x') & !b");
        assert_eq!(
            words.bound(false),
            "words : (\"ada\" AND \"or\" AND \"id\" AND \"near\" AND \"x\" AND \"b\" *)"
        );
        assert_eq!(words.bound(true), "'ada' & 'or' & 'id' & 'near' & 'x' & 'b':*");
        assert_eq!(Words::parse(&"a ".repeat(100)).iter().len(), WORDS_MAX);
        assert_eq!(Words::parse(&"a".repeat(5000)).bound(true).len(), LETTERS_MAX + 4);
        assert!(Words::parse("%").is_empty());
    }
}
