//! Shares over HTTP: the owner's routes, and the public view as JSON or as a page.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use kernel::id::kinds::{Credential as CredentialKind, Share as ShareKind};
use kernel::{Id, Kind, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, JsonOrForm, Limit, List, Paging, Problem, Reply, Route,
    delete, get, post, problem_status, table,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{Field, Seen, Share, Shown, View};
use super::page;
use super::service::{NewShare, Opened, Service};

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
            post(Audience::Public, "/v1/share/{token}")
                .summary("What a link shows to who has its code")
                .describe("A link that asks for a code answers 403 `code_required` without it.")
                .limit(Limit::Login)
                .takes::<CodeBody>()
                .returns::<View>(200)
                .to(open_with_code),
            post(Audience::Public, "/v1/share/{token}/code")
                .summary("Send the recipient of a link a code")
                .limit(Limit::Mail)
                .returns::<Done>(200)
                .to(send_code),
            get(Audience::User, "/v1/user/credentials/{id}/shares/{shareId}/views")
                .summary("When a link was opened, and from where: the last 200 times")
                .returns::<Vec<SeenBody>>(200)
                .to(views),
        ],
    )
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ShareCode)]
struct CodeBody {
    #[schema(example = "123456")]
    code: String,
}

/// One opening of a link.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ShareView)]
struct SeenBody {
    /// Counted from 1.
    number: i64,
    /// `page` or `json`.
    form: String,
    /// Where it was asked from: the network, and not the machine in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    viewed_at: Timestamp,
}

impl From<Seen> for SeenBody {
    fn from(seen: Seen) -> Self {
        let Seen { number, form, network, viewed_at } = seen;
        Self { number, form, network, viewed_at }
    }
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
    /// Whether the link opens only with a code that its recipient is sent.
    #[serde(default)]
    require_code: bool,
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
    requires_code: bool,
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
            requires_code: share.asks_code,
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
    let NewShareBody { recipient_email, expires_in_days, fields, require_code } = body;
    let (to, fields) = (recipient_email.as_deref(), fields.as_deref());
    let new = NewShare::parse(to, expires_in_days, fields, require_code)?;
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

async fn views(
    State(shares): State<Service>,
    By(caller): By,
    At((id, share)): At<(CredentialId, ShareId)>,
) -> Reply<Json<Vec<SeenBody>>> {
    let views = shares.views(&caller, id, share).await?;
    Ok(Json(views.into_iter().map(SeenBody::from).collect()))
}

async fn open(
    State(shares): State<Service>,
    By(caller): By,
    At(token): At<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let form = wanted(&headers);
    let shown = (method != Method::HEAD).then_some(form);
    answer(form, &token, shares.open(&caller, &token, shown).await)
}

async fn open_with_code(
    State(shares): State<Service>,
    By(caller): By,
    At(token): At<String>,
    headers: HeaderMap,
    JsonOrForm(body): JsonOrForm<CodeBody>,
) -> Response {
    let form = wanted(&headers);
    answer(form, &token, shares.open_with_code(&caller, &token, &body.code, form).await)
}

async fn send_code(
    State(shares): State<Service>,
    At(token): At<String>,
    headers: HeaderMap,
) -> Response {
    let sent = shares.send_code(&token).await;
    match (wanted(&headers), sent) {
        (Shown::Page, Ok(())) => guarded(html(StatusCode::OK, &page::code(&token, Some(SENT)))),
        (Shown::Page, Err(error)) => {
            guarded(html(problem_status(&error), &page::code(&token, Some(error.message()))))
        }
        (Shown::Json, Ok(())) => guarded(Done::reply().into_response()),
        (Shown::Json, Err(error)) => guarded(Problem(error).into_response()),
    }
}

const SENT: &str = "A code is on its way to the recipient of this link.";

fn wanted(headers: &HeaderMap) -> Shown {
    if prefers_html(headers) { Shown::Page } else { Shown::Json }
}

fn answer(form: Shown, token: &str, opened: kernel::Result<Opened>) -> Response {
    let for_people = form == Shown::Page;
    guarded(match opened {
        Ok(opened) if for_people => html(StatusCode::OK, &page::view(&opened)),
        Ok(opened) => Json(opened.view).into_response(),
        Err(error) if for_people && error.code() == "code_required" => {
            html(StatusCode::OK, &page::code(token, None))
        }
        Err(error) if for_people && error.code() == "wrong_code" => {
            html(problem_status(&error), &page::code(token, Some(error.message())))
        }
        // What the holder of a link has to know, on a page; everything else is the edge's.
        Err(error) if for_people && matches!(error.kind(), Kind::NotFound | Kind::Gone) => {
            html(problem_status(&error), &page::refusal(error.message()))
        }
        Err(error) => Problem(error).into_response(),
    })
}

/// Whoever has the address is let in: it goes into no cache, no search engine, and on to nobody.
fn guarded(mut response: Response) -> Response {
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
