//! Looking into the trail.

use kernel::{Caller, Page, PageRequest, Result};
use platform::db::Db;
use platform::journal::{self, Filter};

use super::model::{Entry, Scope};

/// Facts by which somebody looked at what is a user's.
const ACCESSES: &[&str] = &[
    "document.viewed",
    "verification.attachment_viewed",
    "verification.report_viewed",
    "dispute.evidence_viewed",
    "user.impersonated",
];

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
