//! The offer for the owner, and OpenID4VCI for the wallet.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use kernel::id::kinds::{Credential, Offer};
use kernel::{Error, Id, Kind, Timestamp};
use platform::http::{
    At, Audience, By, Created, ErrorShape, Form, Json, Limit, Problem, Rendered, Reply, Route, get,
    post, problem_status, table,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::service::{CONFIGURATION, GRANT, Service};

type CredentialId = Id<Credential>;
type OfferId = Id<Offer>;

/// What the routes need.
#[derive(Clone)]
pub struct Pages {
    pub pickup: Service,
    pub issuer_name: String,
}

pub fn routes(pages: &Pages) -> Vec<Route> {
    let public = |path, summary: &'static str| {
        get(Audience::Public, path).summary(summary).returns_media(
            200,
            "application/json",
            "As the standard has it.",
        )
    };
    let wallet = |path, summary: &'static str| {
        post(Audience::Public, path)
            .summary(summary)
            .limit(Limit::Login)
            .errors(ErrorShape::Own(render))
    };
    table(
        pages,
        [
            post(Audience::User, "/v1/user/credentials/{id}/offer")
                .summary("Offer the signed verdict to a wallet (OpenID4VCI)")
                .describe(
                    "Scan the QR code with the wallet and type the transaction code there. Both \
                     are answered once and good for ten minutes.",
                )
                .returns::<OfferBody>(201)
                .to(offer),
            public("/v1/oid4vci/offers/{link}", "A credential offer, for the wallet").to(offered),
            public("/.well-known/openid-credential-issuer", "OpenID4VCI issuer metadata")
                .to(issuer_metadata),
            public("/.well-known/oauth-authorization-server", "Token endpoint metadata (RFC 8414)")
                .to(server_metadata),
            public("/v1/credential-types/verified-document", "Type metadata of SD-JWT credentials")
                .to(type_metadata),
            wallet("/v1/oid4vci/token", "Redeem a pre-authorized code")
                .takes_media("application/x-www-form-urlencoded", "Grant, code, tx_code.")
                .returns_media(200, "application/json", "A token for one credential.")
                .to(token),
            wallet("/v1/oid4vci/nonce", "A nonce for the proof of a key")
                .returns_media(200, "application/json", "`{\"c_nonce\": ..}`")
                .to(nonce),
            wallet("/v1/oid4vci/credential", "Collect the credential for a proved key")
                .takes_media("application/json", "A configuration and one JWT proof.")
                .returns_media(200, "application/json", "`{\"credentials\": [..]}`")
                .to(credential),
        ],
    )
}

/// OAuth's shape: `{"error", "error_description"}`.
pub(crate) fn render(error: &Error) -> Rendered {
    let inside = matches!(error.kind(), Kind::Internal | Kind::Unavailable);
    let known = !inside && error.kind() != Kind::Limited;
    let status = match error.kind() {
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::Internal | Kind::Unavailable | Kind::Limited => problem_status(error),
        _ => StatusCode::BAD_REQUEST,
    };
    let code = match error.code() {
        _ if !known => "temporarily_unavailable",
        // Not of the standard's words: what cannot be read, and what names nothing.
        "invalid_fields" | "invalid_json" | "not_found" => "invalid_request",
        "impersonated" => "access_denied",
        code => code,
    };
    let detail = if inside { "Try again in a while." } else { error.message() };
    let body = json!({ "error": code, "error_description": detail }).to_string().into_bytes();
    Rendered { status, content_type: "application/json", body, retry_after: None }
}

/// An offer, shown once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CredentialOffer)]
struct OfferBody {
    #[schema(value_type = String)]
    id: OfferId,
    /// Opens a wallet on the same device.
    link: String,
    /// The same as a QR code, an SVG image.
    qr: String,
    /// What the wallet asks for; keep it to yourself until then.
    tx_code: String,
    expires_at: Timestamp,
}

async fn offer(
    State(pages): State<Pages>,
    By(caller): By,
    At(id): At<CredentialId>,
) -> Reply<Created<OfferBody>> {
    let offered = pages.pickup.offer(&caller, id).await?;
    Ok(Created(OfferBody {
        id: offered.id,
        qr: platform::qr::svg(offered.link.expose())?,
        link: offered.link.expose().clone(),
        tx_code: offered.tx_code.expose().clone(),
        expires_at: offered.expires_at,
    }))
}

fn open(value: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, value.to_string()).into_response()
}

fn unstored(value: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, value.to_string()).into_response()
}

async fn offered(State(pages): State<Pages>, At(link): At<String>) -> Result<Response, Problem> {
    Ok(unstored(&pages.pickup.offered(&link).await?))
}

async fn issuer_metadata(State(pages): State<Pages>) -> Response {
    open(&pages.pickup.issuer_metadata(&pages.issuer_name))
}

async fn server_metadata(State(pages): State<Pages>) -> Response {
    open(&pages.pickup.server_metadata())
}

async fn type_metadata(State(pages): State<Pages>) -> Response {
    open(&pages.pickup.type_metadata())
}

#[derive(Deserialize)]
struct TokenForm {
    grant_type: Option<String>,
    #[serde(rename = "pre-authorized_code")]
    code: Option<String>,
    tx_code: Option<String>,
}

async fn token(
    State(pages): State<Pages>,
    Form(form): Form<TokenForm>,
) -> Result<Response, Problem> {
    if form.grant_type.as_deref() != Some(GRANT) {
        let message = "Only the pre-authorized code is a grant here.";
        return Err(Error::invalid("unsupported_grant_type", message).into());
    }
    let missing = || Error::invalid("invalid_request", "Send the code as pre-authorized_code.");
    let code = form.code.ok_or_else(missing)?;
    let access = pages.pickup.redeem(&code, form.tx_code.as_deref()).await?;
    Ok(unstored(&json!({
        "access_token": access.token.expose(),
        "token_type": "Bearer",
        "expires_in": access.expires_in.as_secs(),
    })))
}

async fn nonce(State(pages): State<Pages>) -> Response {
    unstored(&json!({ "c_nonce": pages.pickup.nonce() }))
}

/// Wallets send members of their own besides, which are passed over.
#[derive(Deserialize)]
struct CredentialBody {
    credential_configuration_id: Option<String>,
    proofs: Option<Proofs>,
    credential_response_encryption: Option<Value>,
}

#[derive(Deserialize)]
struct Proofs {
    #[serde(default)]
    jwt: Vec<String>,
}

async fn credential(
    State(pages): State<Pages>,
    headers: HeaderMap,
    Json(body): Json<CredentialBody>,
) -> Result<Response, Problem> {
    if body.credential_configuration_id.as_deref() != Some(CONFIGURATION) {
        let message = "There is no such credential configuration.";
        return Err(Error::invalid("unknown_credential_configuration", message).into());
    }
    if body.credential_response_encryption.is_some() {
        let message = "Responses are not encrypted beyond TLS.";
        return Err(Error::invalid("invalid_encryption_parameters", message).into());
    }
    let proofs = body.proofs.map(|proofs| proofs.jwt).unwrap_or_default();
    let [proof] = proofs.as_slice() else {
        return Err(Error::invalid("invalid_proof", "Send exactly one JWT proof.").into());
    };
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.split_once(' '));
    let access = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let text = pages.pickup.collect(access.map(|(_, token)| token.trim()), proof).await?;
    Ok(unstored(&json!({ "credentials": [{ "credential": text }] })))
}
