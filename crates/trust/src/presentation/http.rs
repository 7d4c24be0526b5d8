//! Requests for enterprises, and what their wallets fetch and post.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use kernel::id::kinds::Presentation;
use kernel::{Error, Id, Permission, Timestamp};
use platform::http::{
    At, Audience, By, Created, ErrorShape, Form, Json, Limit, Problem, Reply, Route, get, post,
    table,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::Query;
use super::service::{Asked, Posted, REQUEST_TYPE, Request, Service};
use crate::pickup::http::render;

type RequestId = Id<Presentation>;

/// The largest answer of a wallet.
const ANSWER_MAX: usize = 1 << 20;
const PURPOSE_CHARS_MAX: usize = 200;

pub fn routes(presentations: &Service) -> Vec<Route> {
    table(
        presentations,
        [
            post(Audience::Key, "/v1/oid4vp/requests")
                .summary("Ask a wallet for a credential (OpenID4VP)")
                .needs(Permission::PresentationsWrite)
                .takes::<AskBody>()
                .returns::<AskedBody>(201)
                .to(create),
            get(Audience::Key, "/v1/oid4vp/requests/{id}")
                .summary("What came of a request to a wallet")
                .needs(Permission::PresentationsRead)
                .returns::<RequestBody>(200)
                .to(show),
            get(Audience::Public, "/v1/oid4vp/request/{id}")
                .summary("The signed request object, for the wallet")
                .returns_media(200, "application/oauth-authz-req+jwt", "A signed request.")
                .to(signed),
            post(Audience::Public, "/v1/oid4vp/response/{id}")
                .summary("A wallet's answer (direct_post, direct_post.jwt)")
                .limit(Limit::Login)
                .body_max(ANSWER_MAX)
                .errors(ErrorShape::Own(render))
                .takes_media(
                    "application/x-www-form-urlencoded",
                    "vp_token and state, or response.",
                )
                .returns_media(200, "application/json", "An empty object.")
                .to(answer),
        ],
    )
}

/// A request to be made.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewPresentationRequest)]
struct AskBody {
    /// Shown to the wallet's owner, behind the organization's name.
    #[schema(max_length = 200)]
    purpose: String,
    /// `vct` of the types that will do; verdicts of this platform when left out.
    types: Option<Vec<String>>,
    /// The claims to be shown, such as `title`, `kind` and `verified_at`.
    claims: Vec<String>,
    /// Whether the wallet encrypts its answer; yes when left out.
    encrypted: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MadePresentationRequest)]
struct AskedBody {
    #[schema(value_type = String)]
    id: RequestId,
    /// Opens a wallet on the same device.
    link: String,
    /// The same as a QR code, an SVG image.
    qr: String,
    expires_at: Timestamp,
}

/// A request and what came of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PresentationRequest)]
struct RequestBody {
    #[schema(value_type = String)]
    id: RequestId,
    /// `waiting`, `accepted`, or `expired`.
    status: &'static str,
    purpose: String,
    /// What was shown, once it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<serde_json::Value>,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<Timestamp>,
}

impl RequestBody {
    fn new(request: Request, now: Timestamp) -> Self {
        let status = match request.answered_at {
            Some(_) => "accepted",
            None if request.expires_at <= now => "expired",
            None => "waiting",
        };
        Self {
            id: request.id,
            status,
            purpose: request.purpose,
            claims: request.claims,
            created_at: request.created_at,
            expires_at: request.expires_at,
            answered_at: request.answered_at,
        }
    }
}

async fn create(
    State(presentations): State<Service>,
    By(caller): By,
    Json(body): Json<AskBody>,
) -> Reply<Created<AskedBody>> {
    let purpose = body.purpose.trim().to_owned();
    if purpose.is_empty() || purpose.chars().count() > PURPOSE_CHARS_MAX {
        return Err(Error::field("/purpose", "out_of_range", "1 to 200 letters").into());
    }
    let types = body.types.unwrap_or_else(|| vec![presentations.own_type()]);
    let query = Query::parse(types, body.claims)?;
    let asked = Asked { purpose, query, encrypted: body.encrypted.unwrap_or(true) };
    let request = presentations.create(&caller, &asked).await?;
    let signer = presentations.signer()?;
    let link = presentations.link(request.id, &signer);
    let qr = platform::qr::svg(&link)?;
    Ok(Created(AskedBody { id: request.id, link, qr, expires_at: request.expires_at }))
}

async fn show(
    State(presentations): State<Service>,
    By(caller): By,
    At(id): At<RequestId>,
) -> Reply<Json<RequestBody>> {
    let request = presentations.get(&caller, id).await?;
    Ok(Json(RequestBody::new(request, presentations.now())))
}

async fn signed(
    State(presentations): State<Service>,
    At(id): At<RequestId>,
) -> Result<Response, Problem> {
    let text = presentations.signed(id).await?;
    let media = format!("application/{REQUEST_TYPE}");
    let headers = [(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((headers, text).into_response())
}

#[derive(Deserialize)]
struct AnswerForm {
    vp_token: Option<String>,
    state: Option<String>,
    response: Option<String>,
}

async fn answer(
    State(presentations): State<Service>,
    At(id): At<RequestId>,
    Form(form): Form<AnswerForm>,
) -> Result<Response, Problem> {
    let AnswerForm { vp_token, state, response } = form;
    presentations.answer(id, &Posted { vp_token, state, response }).await?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, "{}").into_response())
}
