//! Pages of a list, newest first, that is put together from several walks along indexes.
//!
//! Each walk gives as many rows behind an id as the page may need. Of what a far page passes over,
//! nothing but the ids is held.

use std::cmp::Reverse;

use kernel::{Cursor, Id, Page, PageRequest, Result};
use uuid::Uuid;

/// The id behind which a page begins; none where the list is shorter. `ids` gives so many of each walk
/// behind an id.
pub(crate) async fn begins_after(
    page: &PageRequest,
    ids: impl AsyncFnOnce(Uuid, i64) -> Result<Vec<Uuid>>,
) -> Result<Option<Uuid>> {
    let after = page.after_id();
    let Some(last) = usize::try_from(page.offset).ok().and_then(|offset| offset.checked_sub(1))
    else {
        return Ok(Some(after));
    };
    let mut ids = ids(after, page.offset).await?;
    ids.sort_unstable_by_key(|id| Reverse(*id));
    Ok(ids.get(last).copied())
}

/// The page of what all walks have given.
pub(crate) fn page<T, K>(request: &PageRequest, mut rows: Vec<T>, id: fn(&T) -> Id<K>) -> Page<T> {
    rows.sort_unstable_by_key(|row| Reverse(id(row).uuid()));
    rows.truncate(usize::try_from(request.fetch()).unwrap_or_default());
    request.page(rows, |row| Cursor::by_id(id(row)))
}
