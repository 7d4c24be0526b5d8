//! Kratos's hooks, and Kratos's session endpoints as we answer them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use kernel::{Error, Id, Result};
use platform::http::{
    At, Audience, By, ErrorShape, Json, Limit, Query, Raw, Reply, Route, delete, get, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Service;
use super::remote::Outcome;
use super::service::{Flow, From, Listed};
use super::shape::{self, SessionBody};

/// Where Kratos's hooks may show their key, besides `Authorization`.
const HOOK_KEY: HeaderName = HeaderName::from_static("x-verza-hook-key");
const IDENTITY_ID: HeaderName = HeaderName::from_static("x-kratos-authenticated-identity-id");
const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
/// Sessions a page, unless asked for fewer.
const PAGE_SIZE: usize = 250;
const PAGE_SIZE_MAX: usize = 1000;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    let mut routes = table(
        service,
        [post(Audience::Provider, "/v1/hooks/kratos/{flow}")
            .summary("Tell that a flow of Ory Kratos has changed an identity")
            .describe(
                "For `login`, `registration`, `settings`, `recovery` and `verification`. The key \
                 stands in `Authorization: Bearer ..` or `X-Verza-Hook-Key`. The identity is read \
                 from Kratos: what is said here besides its id changes nothing.",
            )
            .limit(Limit::Webhook)
            .takes::<HookBody>()
            .returns::<HookReply>(200)
            .to(hook)],
    );
    routes.extend(session_routes(service));
    routes
}

fn session_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/sessions/whoami")
                .with_one_factor()
                .summary("The calling session, as Ory Kratos shows it")
                .errors(ErrorShape::Kratos)
                .unproved()
                .query::<WhoamiQuery>()
                .returns::<SessionBody>(200)
                .to(whoami),
            get(Audience::Any, "/sessions")
                .with_one_factor()
                .summary("One's other sessions, as Ory Kratos shows them")
                .errors(ErrorShape::Kratos)
                .unproved()
                .query::<ListQuery>()
                .returns::<Vec<SessionBody>>(200)
                .to(list),
            delete(Audience::Any, "/sessions")
                .with_one_factor()
                .essential()
                .summary("End one's other sessions, as Ory Kratos does it")
                .errors(ErrorShape::Kratos)
                .unproved()
                .returns::<CountReply>(200)
                .to(end_others),
            delete(Audience::Any, "/sessions/{id}")
                .with_one_factor()
                .essential()
                .summary("End one of one's other sessions, as Ory Kratos does it")
                .errors(ErrorShape::Kratos)
                .unproved()
                .returns_nothing(204)
                .to(end),
            get(Audience::Public, "/schemas/{id}")
                .summary("The schema of an identity's traits, as Ory Kratos shows it")
                .errors(ErrorShape::Kratos)
                .returns_media(200, "application/json", "A JSON Schema.")
                .to(schema),
        ],
    )
}

/// What a hook says. The Jsonnet template in the guide makes it; more may stand in it.
#[derive(Deserialize, ToSchema)]
#[schema(as = KratosHook)]
struct HookBody {
    #[schema(value_type = String)]
    identity_id: Uuid,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KratosHookReply)]
struct HookReply {
    /// `created`, `linked`, `updated`, `unchanged`, `waiting` for the address to be confirmed, or
    /// `ended`.
    outcome: &'static str,
}

/// Kratos sends `api_key` as it is configured: with a scheme before it or without.
fn hook_key(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(key) = text(HOOK_KEY) {
        return Some(key);
    }
    let shown = text(header::AUTHORIZATION)?;
    Some(match shown.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ => shown,
    })
}

async fn hook(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(flow): At<String>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Reply<Json<HookReply>> {
    service.check_hook_key(hook_key(&headers))?;
    let flow = Flow::parse(&flow)?;
    let body: HookBody = serde_json::from_slice(&body).map_err(|error| {
        Error::field("/identity_id", "invalid", format!("the UUID of an identity: {error}"))
    })?;
    let outcome = match service.hook(&caller, flow, body.identity_id).await? {
        Outcome::Created => "created",
        Outcome::Linked => "linked",
        Outcome::Updated => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Waiting => "waiting",
        Outcome::Ended => "ended",
    };
    Ok(Json(HookReply { outcome }))
}

#[derive(Deserialize, IntoParams)]
struct WhoamiQuery {
    /// Adds the session as a signed JWT. There is one template, whatever name is given.
    tokenize_as: Option<String>,
}

async fn whoami(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<WhoamiQuery>,
) -> Reply<Response> {
    let mut body = service.whoami(&caller).await?;
    if query.tokenize_as.is_some_and(|template| !template.is_empty()) {
        let token = service.tokenize(&caller).await?;
        // Letters, digits, dots, dashes and underscores: nothing that JSON would escape.
        let open = body.strip_suffix(b"}").unwrap_or(&body);
        let tail = format!(",\"tokenized\":\"{}\"}}", token.expose());
        body = [open, tail.as_bytes()].concat().into();
    }
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    let id = caller.user()?.uuid();
    let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
    if let Ok(value) = HeaderValue::from_str(id.hyphenated().encode_lower(&mut buffer)) {
        response.headers_mut().insert(IDENTITY_ID, value);
    }
    Ok(response)
}

/// Texts, so that what is wrong is answered as Kratos would.
#[derive(Deserialize, IntoParams)]
struct ListQuery {
    /// Sessions a page, 1 to 1000; 250 when left out.
    page_size: Option<String>,
    /// Where the last page ended, from its `Link` header.
    page_token: Option<String>,
    /// The older name of `page_size`.
    per_page: Option<String>,
    /// A page's number, counted from 1.
    page: Option<String>,
}

impl ListQuery {
    fn parse(&self) -> Result<(From, usize)> {
        let wrong = |what: &'static str| move || Error::invalid("invalid_paging", what);
        let number = |text: &str| text.parse::<usize>().ok();
        let size = match self.page_size.as_deref().or(self.per_page.as_deref()) {
            Some(text) => number(text)
                .filter(|size| (1..=PAGE_SIZE_MAX).contains(size))
                .ok_or_else(wrong("A page has 1 to 1000 sessions."))?,
            None => PAGE_SIZE,
        };
        if let Some(token) = self.page_token.as_deref().filter(|token| !token.is_empty()) {
            let last = Uuid::parse_str(token)
                .map_err(|_| wrong("The page token is none that was given out.")())?;
            return Ok((From::After(Id::from_uuid(last)), size));
        }
        let page = match &self.page {
            // Older clients count from zero: their first page is the first one, too.
            Some(text) => number(text).ok_or_else(wrong("The page is a number from 1."))?.max(1),
            None => 1,
        };
        Ok((From::Offset((page - 1).saturating_mul(size)), size))
    }
}

async fn list(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<ListQuery>,
) -> Reply<Response> {
    let (from, size) = query.parse()?;
    let (listed, account) = service.list(&caller, from, size).await?;
    let Listed { sessions, total, next } = listed;
    let bodies: Vec<_> = sessions
        .iter()
        .map(|session| SessionBody::of(session, &account, &service.public_url))
        .collect();
    let mut response = Json(bodies).into_response();
    let headers = response.headers_mut();
    headers.insert(TOTAL_COUNT, HeaderValue::from(total));
    let link = next.map(|last| {
        format!("</sessions?page_size={size}&page_token={}>; rel=\"next\"", last.uuid())
    });
    if let Some(value) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        headers.insert(header::LINK, value);
    }
    Ok(response)
}

#[derive(Serialize, ToSchema)]
#[schema(as = KratosCount)]
struct CountReply {
    /// How many sessions ended.
    count: usize,
}

async fn end_others(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Json<CountReply>> {
    Ok(Json(CountReply { count: service.end_others(&caller).await? }))
}

async fn end(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<String>,
) -> Reply<StatusCode> {
    // Kratos answers 400 here; on this platform what is no id names nothing.
    let id = Uuid::parse_str(&id).map_err(|_| Error::not_found("session"))?;
    service.end(&caller, Id::from_uuid(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn schema(
    State(service): State<Arc<Service>>,
    At(id): At<String>,
) -> Reply<Json<serde_json::Value>> {
    service.stands_in()?;
    if id != shape::SCHEMA_ID {
        return Err(Error::not_found("schema").into());
    }
    Ok(Json(shape::schema(&service.public_url)))
}
