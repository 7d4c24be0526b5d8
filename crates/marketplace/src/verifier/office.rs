//! Verifiers as admins see them: all of them, with what the marketplace does not show.

use std::sync::Arc;

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Error, Id, Page, PageRequest, Result, Timestamp};
use platform::http::{At, Audience, Json, List, Paging, Query, Reply, Route, get, table};
use rpc::users::Profile;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::http::ServiceBody;
use super::model::{Status, Verifier};
use super::service::Service;
use super::store;

type VerifierId = Id<kinds::Verifier>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/verifiers")
                .summary("List verifiers, newest accounts first")
                .query::<OfficeQuery>()
                .paged()
                .returns::<Vec<OfficeBody>>(200)
                .to(admin_list),
            get(Audience::Admin, "/v1/admin/verifiers/{id}")
                .summary("Look at a verifier, with all of their services")
                .returns::<OfficeDetailBody>(200)
                .to(admin_show),
        ],
    )
}

/// Where a verifier stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = VerifierStanding)]
pub enum Standing {
    /// Not approved yet.
    Pending,
    /// Suspended, banned or gone.
    Suspended,
    /// Approved, and does not want to be found.
    Hidden,
    /// The marketplace shows them.
    Open,
}

impl Standing {
    fn of(verifier: &Verifier) -> Self {
        if verifier.suspended {
            Self::Suspended
        } else if !verifier.approved {
            Self::Pending
        } else if verifier.status == Status::Hidden {
            Self::Hidden
        } else {
            Self::Open
        }
    }

    /// SQL: which rows of `verifiers` stand so. The same as [`Standing::of`], which a test compares.
    pub(super) const fn condition(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::Pending => "NOT suspended AND NOT approved",
            Self::Hidden => "NOT suspended AND approved AND status = 'hidden'",
            Self::Open => "NOT suspended AND approved AND status = 'listed'",
        }
    }
}

/// A verifier with their account, which may be gone.
#[derive(Debug, Clone)]
pub struct Known {
    pub verifier: Verifier,
    pub account: Option<Profile>,
}

impl Service {
    /// All verifiers, newest accounts first: for admins. `text` is looked for in what they say of
    /// themselves.
    pub async fn known(
        &self,
        standing: Option<Standing>,
        text: Option<&str>,
        page: &PageRequest,
    ) -> Result<Page<Known>> {
        let page = store::known(self.db(), standing, text, page).await?;
        let ids: Vec<UserId> = page.items.iter().map(|one| one.id.same_as()).collect();
        let accounts = self.users().profiles(&ids).await?;
        Ok(page.map(|verifier| {
            let own = |profile: &&Profile| profile.id.uuid() == verifier.id.uuid();
            Known { account: accounts.iter().find(own).cloned(), verifier }
        }))
    }

    /// One of them, with all services.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn known_one(&self, id: VerifierId) -> Result<(Known, Vec<super::model::Offer>)> {
        let verifier = store::get(self.db(), id).await?;
        let verifier = verifier.ok_or_else(|| Error::not_found("verifier"))?;
        let account = self.users().profiles(&[id.same_as()]).await?.pop();
        let offers = store::offers(self.db(), id).await?;
        Ok((Known { verifier, account }, offers))
    }
}

#[derive(Debug, Deserialize, IntoParams)]
struct OfficeQuery {
    /// `pending`, `suspended`, `hidden`, `open`; empty or `all` for everybody.
    status: Option<String>,
    /// Words of the profile and the services, all of them; the last may be the beginning of one.
    q: Option<String>,
}

impl OfficeQuery {
    fn parse(self) -> Result<(Option<Standing>, Option<String>)> {
        let standing = match self.status.as_deref() {
            None | Some("" | "all") => None,
            Some("pending") => Some(Standing::Pending),
            Some("suspended") => Some(Standing::Suspended),
            Some("hidden") => Some(Standing::Hidden),
            Some("open") => Some(Standing::Open),
            Some(_) => {
                let words = "one of pending, suspended, hidden, open, all";
                return Err(Error::field("/status", "invalid", words));
            }
        };
        let text = self.q.filter(|text| !text.trim().is_empty());
        if text.as_ref().is_some_and(|text| text.len() > 200) {
            return Err(Error::field("/q", "too_long", "at most 200 bytes"));
        }
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(Error::field("/q", "invalid", "text without U+0000"));
        }
        Ok((standing, text))
    }
}

/// A verifier as admins see them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KnownVerifier)]
struct OfficeBody {
    id: VerifierId,
    /// The account, which has the same id.
    account_id: UserId,
    /// Of the profile, or of the account where no profile was saved yet.
    name: String,
    /// The account's mail address; absent where the account is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// The account's own state: `active`, `suspended`, `banned`, `closed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(inline)]
    account_status: Option<rpc::users::Status>,
    #[schema(inline)]
    status: Standing,
    approved: bool,
    headline: String,
    categories: Vec<String>,
    jurisdiction: String,
    licence: String,
    rating: f64,
    rating_count: i64,
    jobs_done: i64,
    since: Timestamp,
}

impl From<Known> for OfficeBody {
    fn from(Known { verifier, account }: Known) -> Self {
        let account_name = account.as_ref().map(|account| account.name.clone());
        let name = Some(verifier.name.clone()).filter(|name| !name.is_empty()).or(account_name);
        Self {
            id: verifier.id,
            account_id: verifier.id.same_as(),
            name: name.unwrap_or_default(),
            account_status: account.as_ref().map(|account| account.status),
            email: account.map(|account| account.email),
            status: Standing::of(&verifier),
            approved: verifier.approved,
            headline: verifier.headline,
            categories: verifier.categories,
            jurisdiction: verifier.jurisdiction,
            licence: verifier.licence,
            rating: verifier.rating.stars(),
            rating_count: verifier.rating.count,
            jobs_done: verifier.jobs_done,
            since: verifier.since,
        }
    }
}

/// A verifier as admins see them, with everything that they say of themselves.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = KnownVerifierDetail)]
struct OfficeDetailBody {
    #[serde(flatten)]
    verifier: OfficeBody,
    bio: String,
    /// Also those that are not active.
    services: Vec<ServiceBody>,
}

async fn admin_list(
    State(service): State<Arc<Service>>,
    Query(query): Query<OfficeQuery>,
    paging: Paging,
) -> Reply<List<OfficeBody>> {
    let (standing, text) = query.parse()?;
    let page = service.known(standing, text.as_deref(), &paging.page).await?;
    Ok(paging.reply(page.map(OfficeBody::from)))
}

async fn admin_show(
    State(service): State<Arc<Service>>,
    At(id): At<VerifierId>,
) -> Reply<Json<OfficeDetailBody>> {
    let (known, offers) = service.known_one(id).await?;
    let bio = known.verifier.bio.clone();
    let services = offers.into_iter().map(ServiceBody::from).collect();
    Ok(Json(OfficeDetailBody { verifier: known.into(), bio, services }))
}
