//! Shares over HTTP: the owner's routes, and the public view as JSON or as a page.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use kernel::id::kinds::{Credential as CredentialKind, Share as ShareKind};
use kernel::{Id, Kind, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, Limit, List, Paging, Problem, Reply, Route, delete, get,
    post, problem_status, table,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{Field, Share, View};
use super::page;
use super::service::{NewShare, Service};

// Named without their parameters, which have no schemas of their own.
type ShareId = Id<ShareKind>;
type CredentialId = Id<CredentialKind>;

pub fn routes(shares: &Service) -> Vec<Route> {
    table(
        shares,
        [
            post(Audience::User, "/v1/user/credentials/{id}/share")
                .summary("Make a link that shows a credential to whoever has it")
                .describe("The link is answered once and cannot be asked for again.")
                .limit(Limit::Mail)
                .takes::<NewShareBody>()
                .returns::<MadeBody>(201)
                .to(create),
            get(Audience::User, "/v1/user/credentials/{id}/shares")
                .summary("The links to one of your credentials, newest first")
                .paged()
                .returns::<Vec<ShareBody>>(200)
                .to(list),
            delete(Audience::User, "/v1/user/credentials/{id}/shares/{shareId}")
                .summary("Take a link back")
                .returns::<Done>(200)
                .to(revoke),
            get(Audience::Public, "/v1/share/{token}")
                .summary("What a link shows")
                .describe("JSON, or a page for people when `Accept` prefers `text/html`.")
                .returns::<View>(200)
                .to(open),
        ],
    )
}

/// A link to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewShare)]
struct NewShareBody {
    /// Who is sent the link.
    recipient_email: Option<String>,
    /// 30 when left out.
    #[schema(minimum = 1, maximum = 365)]
    expires_in_days: Option<u16>,
    /// What is shown besides title, type, issuer and status; dates and the signed credential
    /// when left out.
    fields: Option<Vec<Field>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MadeShare)]
struct MadeBody {
    /// Shown now and never again.
    share_link: String,
    id: ShareId,
    expires_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Share)]
struct ShareBody {
    id: ShareId,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient_email: Option<String>,
    fields: Vec<Field>,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    /// How often the link has been opened.
    views: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_viewed_at: Option<Timestamp>,
}

impl From<Share> for ShareBody {
    fn from(share: Share) -> Self {
        Self {
            id: share.id,
            recipient_email: share.recipient_email,
            fields: share.fields,
            created_at: share.created_at,
            expires_at: share.expires_at,
            revoked_at: share.revoked_at,
            views: share.views,
            last_viewed_at: share.last_viewed_at,
        }
    }
}

async fn create(
    State(shares): State<Service>,
    By(caller): By,
    At(id): At<CredentialId>,
    Json(body): Json<NewShareBody>,
) -> Reply<Response> {
    let NewShareBody { recipient_email, expires_in_days, fields } = body;
    let new = NewShare::parse(recipient_email.as_deref(), expires_in_days, fields.as_deref())?;
    let made = shares.create(&caller, id, &new).await?;
    let body =
        MadeBody { share_link: made.link, id: made.share.id, expires_at: made.share.expires_at };
    let mut response = Created(body).into_response();
    // The link lets its holder in: no cache keeps it.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

async fn list(
    State(shares): State<Service>,
    By(caller): By,
    At(id): At<CredentialId>,
    paging: Paging,
) -> Reply<List<ShareBody>> {
    let page = shares.list(&caller, id, &paging.page).await?;
    Ok(paging.reply(page.map(ShareBody::from)))
}

async fn revoke(
    State(shares): State<Service>,
    By(caller): By,
    At((id, share)): At<(CredentialId, ShareId)>,
) -> Reply<Json<Done>> {
    shares.revoke(&caller, id, share).await?;
    Ok(Done::reply())
}

async fn open(
    State(shares): State<Service>,
    At(token): At<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let for_people = prefers_html(&headers);
    let mut response = match shares.open(&token, method == Method::HEAD).await {
        Ok(view) if for_people => html(StatusCode::OK, &page::view(&view)),
        Ok(view) => Json(view).into_response(),
        // What the holder of a link has to know, on a page; everything else is the edge's.
        Err(error) if for_people && matches!(error.kind(), Kind::NotFound | Kind::Gone) => {
            html(problem_status(&error), &page::refusal(error.message()))
        }
        Err(error) => Problem(error).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "Accept"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn html(status: StatusCode, page: &page::Page) -> Response {
    let mut response = (status, page.html.clone()).into_response();
    let headers = response.headers_mut();
    let media = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, media);
    if let Ok(policy) = HeaderValue::from_str(&page.policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Whether `Accept` (RFC 9110 section 12.5.1) names HTML, and weighs it no less than JSON.
fn prefers_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let weight = |wanted: &str| {
        accept.unwrap_or_default().split(',').find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            Some(weight.map_or(1000, |weight| {
                weight.parse::<f32>().map_or(0, |weight| (weight.clamp(0.0, 1.0) * 1000.0) as u32)
            }))
        })
    };
    let html = weight("text/html").unwrap_or(0);
    html > 0 && html >= weight("application/json").unwrap_or(0)
}
