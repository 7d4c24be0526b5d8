//! Looking into the trail.

use futures_util::Stream;
use futures_util::stream::try_unfold;
use kernel::{Caller, Cursor, Page, PageRequest, Result};
use platform::db::Db;
use platform::journal::{self, Filter};

use super::model::{Entry, Scope};

/// Lines read at once for an export.
const EXPORT_PAGE: i64 = 500;
/// Lines of one export, at most: about a hundred megabytes of JSON.
pub(super) const EXPORT_MAX: i64 = 200_000;

/// Facts by which somebody looked at what is a user's.
const ACCESSES: &[&str] = &["document.viewed", "user.impersonated"];

/// Facts that say only what a reader has looked at themselves.
const NOISE: &str = "notification.";

/// The verbs of the trail. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    db: Db,
}

impl Service {
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }

    /// One page of a trail, newest first.
    pub async fn list(
        &self,
        scope: Scope,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Page<Entry>> {
        let party = match scope {
            Scope::Own(user) | Scope::Of(user) => Some(user),
            // An actor is a party of their facts, and only parties have an index of their facts.
            Scope::All => filter.actor,
        };
        let facts = match party {
            Some(party) => journal::of_party(&self.db, party, filter, page).await?,
            None => journal::search(&self.db, filter, page).await?,
        };
        let mut entries = facts.map(|fact| Entry::of(fact, scope));
        for entry in &mut entries.items {
            entry.origin = entry.origin.open(&self.db).await?;
        }
        Ok(entries)
    }

    /// A whole trail from a place on, newest first, page by page as it is asked for: at most
    /// [`EXPORT_MAX`] lines. The cursor that comes with a page says where an export that ended
    /// at that bound goes on; it is there on the last page of such an export only.
    pub fn export(
        &self,
        scope: Scope,
        filter: Filter,
        after: Option<Cursor>,
    ) -> impl Stream<Item = Result<Page<Entry>>> + Send + use<> {
        self.export_at_most(EXPORT_MAX, scope, filter, after)
    }

    pub(super) fn export_at_most(
        &self,
        lines_max: i64,
        scope: Scope,
        filter: Filter,
        after: Option<Cursor>,
    ) -> impl Stream<Item = Result<Page<Entry>>> + Send + use<> {
        let start = Some((self.clone(), filter, after, lines_max));
        try_unfold(start, move |place| async move {
            let Some((service, filter, after, left)) = place else { return Ok(None) };
            let request = PageRequest { limit: left.min(EXPORT_PAGE), after, offset: 0 };
            let mut page = service.list(scope, &filter, &request).await?;
            let left = left - request.limit;
            let rest = if left > 0 { page.next.take() } else { None };
            Ok(Some((page, rest.map(|next| (service, filter, Some(next), left)))))
        })
    }

    /// What has happened lately around the caller, for a dashboard: their trail without noise.
    /// A page may be shorter than asked for although another one follows.
    pub async fn activity(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Entry>> {
        let scope = Scope::Own(caller.user()?);
        let mut page = self.list(scope, &Filter::default(), page).await?;
        page.items.retain(|entry| !entry.action.starts_with(NOISE));
        Ok(page)
    }

    /// Who else has looked at the caller's documents, or at the platform in their name.
    pub async fn access_log(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Entry>> {
        let user = caller.user()?;
        let filter = Filter { among: ACCESSES, not_by: Some(user), ..Filter::default() };
        self.list(Scope::Own(user), &filter, page).await
    }
}
