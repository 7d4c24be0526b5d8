//! The trail over HTTP.

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Error, Id, Role, Timestamp};
use platform::http::{Audience, By, ErrorShape, List, Paging, Query, Reply, Route, get, table};
use platform::journal::Filter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::model::{Entry, Scope};
use super::service::Service;

// Names without parameters: the schema's derive looks no further than that.
type FactId = Id<kinds::Fact>;
type UserId = Id<kinds::User>;
type KeyId = Id<kinds::ApiKey>;

/// The routes of the audit trail.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/audit/logs")
                .summary("Your audit trail, newest first")
                .query::<OwnQuery>()
                .paged()
                .returns::<Vec<EntryBody>>(200)
                .to(own),
            get(Audience::Admin, "/v1/admin/audit-logs")
                .summary("Everybody's audit trail, newest first")
                .query::<AllQuery>()
                .paged()
                .returns::<Vec<EntryBody>>(200)
                .to(all),
            get(Audience::Enterprise, "/v1/enterprise/audit-logs")
                .summary("The organization's audit trail, newest first")
                .describe(
                    "What its members and API keys have done, and what has happened to what is \
                     its own. A line of a key's names it in `metadata.apiKey`.",
                )
                .query::<TeamQuery>()
                .paged()
                .returns::<Vec<EntryBody>>(200)
                .to(of_organization),
            get(Audience::Any, "/api/audit/logs")
                .summary("What one has done, newest first (file API)")
                .unproved()
                .errors(ErrorShape::Text)
                .paged()
                .returns::<Vec<LogBody>>(200)
                .to(compat_list),
            get(Audience::Any, "/v1/me/activity")
                .summary("What has happened lately around you, newest first")
                .paged()
                .returns::<Vec<ActivityBody>>(200)
                .to(activity),
            get(Audience::Any, "/v1/me/access-log")
                .summary("Who has looked at what is yours, newest first")
                .paged()
                .returns::<Vec<AccessBody>>(200)
                .to(access_log),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct OwnQuery {
    /// A verb (`verification.accepted`) or all of a noun (`verification`).
    action: Option<String>,
    /// The id of what it happened to.
    resource: Option<String>,
    /// From this time on, RFC 3339.
    from: Option<Timestamp>,
    /// Before this time, RFC 3339.
    to: Option<Timestamp>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct AllQuery {
    /// The id of the user who did it.
    actor: Option<UserId>,
    /// The id of a user whom it concerns, whoever did it.
    user: Option<UserId>,
    /// A verb (`verification.accepted`) or all of a noun (`verification`).
    action: Option<String>,
    /// The id of what it happened to.
    resource: Option<String>,
    /// From this time on, RFC 3339.
    from: Option<Timestamp>,
    /// Before this time, RFC 3339.
    to: Option<Timestamp>,
}

#[derive(Debug, Deserialize, IntoParams)]
struct TeamQuery {
    /// The id of the member or of the API key that did it; the organization's account for what its
    /// keys and it itself did.
    #[param(value_type = Option<String>)]
    actor: Option<TeamActor>,
    /// A verb (`verification.accepted`) or all of a noun (`verification`).
    action: Option<String>,
    /// The id of what it happened to.
    resource: Option<String>,
    /// From this time on, RFC 3339.
    from: Option<Timestamp>,
    /// Before this time, RFC 3339.
    to: Option<Timestamp>,
}

/// Who acts for an organization.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TeamActor {
    Person(UserId),
    Key(KeyId),
}

impl TeamQuery {
    fn filter(self) -> Result<Filter, Error> {
        let Self { actor, action, resource, from, to } = self;
        let (actor, key) = match actor {
            None => (None, None),
            Some(TeamActor::Person(person)) => (Some(person), None),
            Some(TeamActor::Key(key)) => (None, Some(key)),
        };
        let all = AllQuery { actor, user: None, action, resource, from, to };
        Ok(Filter { key, ..all.filter()? })
    }
}

impl From<OwnQuery> for AllQuery {
    fn from(OwnQuery { action, resource, from, to }: OwnQuery) -> Self {
        Self { actor: None, user: None, action, resource, from, to }
    }
}

impl AllQuery {
    fn filter(self) -> Result<Filter, Error> {
        let Self { actor, action, resource, from, to, .. } = self;
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            return Err(Error::field("/to", "out_of_range", "later than `from`"));
        }
        // `?action=` of an empty form field narrows nothing.
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (action, resource) = (filled(action), filled(resource));
        Ok(Filter { actor, action, resource, from, to, ..Filter::default() })
    }
}

/// One line of the trail.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
struct EntryBody {
    id: FactId,
    timestamp: Timestamp,
    /// Who did it; absent where the platform did it by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_role: Option<Role>,
    /// What was done: noun and past tense.
    action: String,
    /// The id of what it happened to.
    resource: String,
    /// Where the request came from; only in your own lines, and for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
}

impl From<Entry> for EntryBody {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            timestamp: entry.at,
            actor: entry.actor,
            actor_role: entry.role,
            action: entry.action,
            resource: entry.resource,
            ip: entry.origin.ip,
            user_agent: entry.origin.user_agent,
            request_id: entry.origin.request_id,
            metadata: entry.metadata,
        }
    }
}

/// One line of the trail as the file API has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FileApiLog)]
struct LogBody {
    /// A bare UUID, as is `user_id`.
    id: String,
    user_id: String,
    /// `USER_REGISTER`, `USER_LOGIN`, `FILE_UPLOAD`, `FILE_LIST`, `FILE_DOWNLOAD`; else our own name
    /// in capitals.
    action: String,
    /// The bare id of what it happened to.
    resource: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    timestamp: Timestamp,
}

impl LogBody {
    fn of(entry: Entry, user: UserId) -> Self {
        let bare = kernel::id::uuid_in(&entry.resource).map(|uuid| uuid.to_string());
        Self {
            id: entry.id.uuid().to_string(),
            user_id: user.uuid().to_string(),
            action: entry.file_api_action(),
            resource: bare.unwrap_or(entry.resource),
            ip: entry.origin.ip,
            user_agent: entry.origin.user_agent,
            metadata: entry.metadata,
            timestamp: entry.at,
        }
    }
}

/// Something that has happened around you.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Activity)]
struct ActivityBody {
    id: FactId,
    timestamp: Timestamp,
    /// The action as a heading.
    title: String,
    action: String,
    resource: String,
    /// Whether it was you.
    by_me: bool,
}

/// Somebody else looked at a document of yours.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Access)]
struct AccessBody {
    id: FactId,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_role: Option<Role>,
    /// What they did, such as `document.viewed` or `user.impersonated`.
    action: String,
    /// The id of the credential, verification or dispute, or yours.
    resource: String,
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
}

async fn own(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<OwnQuery>,
    paging: Paging,
) -> Reply<List<EntryBody>> {
    let scope = Scope::Own(caller.user()?);
    show(&service, scope, AllQuery::from(query).filter()?, &paging).await
}

async fn of_organization(
    State(service): State<Service>,
    By(caller): By,
    Query(query): Query<TeamQuery>,
    paging: Paging,
) -> Reply<List<EntryBody>> {
    let scope = Scope::Own(caller.user()?);
    show(&service, scope, query.filter()?, &paging).await
}

async fn all(
    State(service): State<Service>,
    Query(query): Query<AllQuery>,
    paging: Paging,
) -> Reply<List<EntryBody>> {
    let scope = query.user.map_or(Scope::All, Scope::Of);
    show(&service, scope, query.filter()?, &paging).await
}

async fn show(
    service: &Service,
    scope: Scope,
    filter: Filter,
    paging: &Paging,
) -> Reply<List<EntryBody>> {
    let page = service.list(scope, &filter, &paging.page).await?;
    Ok(paging.reply(page.map(EntryBody::from)))
}

async fn compat_list(
    State(service): State<Service>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<LogBody>> {
    let user = caller.user()?;
    let filter = Filter { actor: Some(user), ..Filter::default() };
    let page = service.list(Scope::Own(user), &filter, &paging.page).await?;
    Ok(paging.reply(page.map(|entry| LogBody::of(entry, user))))
}

async fn activity(
    State(service): State<Service>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<ActivityBody>> {
    let user = caller.user()?;
    let page = service.activity(&caller, &paging.page).await?;
    Ok(paging.reply(page.map(|entry| ActivityBody {
        title: entry.title(),
        id: entry.id,
        timestamp: entry.at,
        action: entry.action,
        resource: entry.resource,
        by_me: entry.actor == Some(user),
    })))
}

async fn access_log(
    State(service): State<Service>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<AccessBody>> {
    let page = service.access_log(&caller, &paging.page).await?;
    Ok(paging.reply(page.map(|entry| AccessBody {
        id: entry.id,
        timestamp: entry.at,
        actor: entry.actor,
        actor_role: entry.role,
        action: entry.action,
        resource: entry.resource,
        metadata: entry.metadata,
    })))
}
