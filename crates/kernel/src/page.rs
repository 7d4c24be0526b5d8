//! Lists come in pages: a limit, and an opaque cursor that names the last row seen.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::{Error, Id, Result, Timestamp};

/// Where a page ended: the sort key of its last row and that row's id, which breaks ties.
/// A list sorted by id alone leaves the key at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub key: i64,
    pub id: Uuid,
}

impl Cursor {
    pub const fn by_id<K>(id: Id<K>) -> Self {
        Self { key: 0, id: id.uuid() }
    }

    pub const fn by_time<K>(at: Timestamp, id: Id<K>) -> Self {
        Self { key: at.micros(), id: id.uuid() }
    }

    pub fn encode(self) -> String {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.key.to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn decode(text: &str) -> Result<Self> {
        let bytes: [u8; 24] = URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| {
                Error::invalid("invalid_cursor", "The cursor is not one that this list gave out.")
                    .with_field("/cursor", "invalid", "take it from the Link header")
            })?;
        let (key, id) = bytes.split_at(8);
        Ok(Self {
            key: i64::from_be_bytes(key.try_into().unwrap_or_default()),
            id: Uuid::from_slice(id).unwrap_or_default(),
        })
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows a page, 1 to 100.
    pub limit: i64,
    pub after: Option<Cursor>,
    /// Rows to pass over, from `?page=`: kept for clients that count pages. Its cost grows with
    /// the page's number, which is why the cursor is what `Link` offers.
    pub offset: i64,
}

impl PageRequest {
    pub const DEFAULT_LIMIT: i64 = 20;
    pub const MAX_LIMIT: i64 = 100;
    /// The furthest page that `?page=` reaches; beyond it, follow the cursor.
    pub const MAX_PAGE: i64 = 1000;

    pub const fn first(limit: i64) -> Self {
        Self { limit, after: None, offset: 0 }
    }

    /// The sort key to start after; the far end of the order where there is no cursor.
    pub fn after_key(&self) -> i64 {
        self.after.map_or(i64::MAX, |cursor| cursor.key)
    }

    /// The id to start after in a newest-first list; the greatest id where there is no cursor.
    pub fn after_id(&self) -> Uuid {
        self.after.map_or(Uuid::max(), |cursor| cursor.id)
    }

    /// How many rows a store asks for: one more than is shown tells whether a page follows.
    pub const fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// Makes the page of the rows that were fetched, at most [`Self::fetch`] of them.
    pub fn page<T>(&self, mut rows: Vec<T>, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(cursor) } else { None };
        Page { items: rows, next }
    }
}

impl Default for PageRequest {
    fn default() -> Self {
        Self::first(Self::DEFAULT_LIMIT)
    }
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page starts; none after the last one.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    pub fn map<U>(self, show: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(show).collect(), next: self.next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn every_cursor_survives_the_text(key: i64, id: u128) {
            let cursor = Cursor { key, id: Uuid::from_u128(id) };
            proptest::prop_assert_eq!(Cursor::decode(&cursor.encode()).unwrap(), cursor);
        }

        #[test]
        fn no_text_breaks_the_reader(text: String) {
            let _ = Cursor::decode(&text);
        }
    }

    #[test]
    fn the_last_page_names_no_next_one() {
        let request = PageRequest::first(2);
        let cursor = |n: &i64| Cursor { key: *n, id: Uuid::nil() };
        assert_eq!(request.page(vec![1, 2], cursor).next, None);
        let page = request.page(vec![1, 2, 3], cursor);
        assert_eq!((page.items, page.next.unwrap().key), (vec![1, 2], 2));
    }
}
