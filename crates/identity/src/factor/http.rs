//! Second factors: enrolling, removing, finishing a login, and showing who one is once more.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::{Error, Level, Result, Secret, Timestamp};
use platform::http::{Audience, By, Done, Json, Limit, Query, Reply, Route, get, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use webauthn_rs::prelude::PublicKeyCredential;

use super::passkey::http::Credential;
use super::service::{Evidence, Verified};
use super::{Code, FinishLogin, Service};
use crate::password::Password;
use crate::session::http::{LoginQuery, LoginReply, TokensReply, not_stored, set_cookie, welcome};
use crate::session::{self, Method, Proven, SignedIn};

// Named without its parameter, which has no schema of its own.
type SecretText = Secret<String>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/auth/mfa")
                .with_one_factor()
                .summary("Which factors the account has, and what the session has shown")
                .returns::<StandingBody>(200)
                .to(standing),
            post(Audience::Any, "/v1/auth/mfa/enroll")
                .with_one_factor()
                .summary("Get a secret for an authenticator app (TOTP, RFC 6238)")
                .describe(
                    "The app is enrolled when `POST /v1/auth/mfa/verify` has had a right code of \
                     it, within the hour; one that is enrolled already is replaced by then.",
                )
                .step_up()
                .returns::<EnrolmentBody>(200)
                .to(enroll),
            post(Audience::Any, "/v1/auth/mfa/verify")
                .with_one_factor()
                .summary("Confirm the authenticator app with its first code")
                .describe(
                    "Answers ten recovery codes, which are shown this once. The session has two \
                     factors from now on, and is renewed: its old tokens and cookie are dead, and \
                     the answer has new ones. Where no app waits to be confirmed, this is \
                     `POST /v1/auth/step-up` with the code.",
                )
                .limit(Limit::Login)
                .takes::<VerifyBody>()
                .returns::<VerifiedBody>(200)
                .to(verify),
            post(Audience::Any, "/v1/auth/mfa/disable")
                .summary("Remove the authenticator app and the recovery codes")
                .step_up()
                .returns::<Done>(200)
                .to(disable),
            post(Audience::Any, "/v1/auth/mfa/recovery-codes")
                .summary("Make new recovery codes; the old ones are void")
                .step_up()
                .returns::<RecoveryCodesBody>(200)
                .to(make_recovery_codes),
            post(Audience::Public, "/v1/auth/login/mfa")
                .summary("Finish a login that answered mfa_required")
                .describe(
                    "With a code of the app or a recovery code. A challenge is good for five \
                     minutes, five codes, and the client that got it.",
                )
                .limit(Limit::Login)
                .query::<LoginQuery>()
                .takes::<FinishBody>()
                .returns::<LoginReply>(200)
                .to(finish_login),
            post(Audience::Any, "/v1/auth/step-up")
                .with_one_factor()
                .summary("Show once more who you are")
                .describe(
                    "By one of the ways that `GET /v1/auth/mfa` lists; for a passkey get the \
                     options from `POST /v1/auth/step-up/passkey` first. Raises the level of the \
                     session where a second factor was shown. The session is renewed: its old \
                     tokens and cookie are dead, and the answer has new ones.",
                )
                .limit(Limit::Login)
                .takes::<StepUpBody>()
                .returns::<ProvenBody>(200)
                .to(step_up),
        ],
    )
}

/// The factors of an account, and the proof of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Factors)]
struct StandingBody {
    /// Whether an authenticator app is enrolled: a password alone signs nobody in.
    totp: bool,
    /// Recovery codes that are left.
    recovery_codes: i64,
    passkeys: i64,
    /// Whether the account's role is of no use without a second factor.
    required: bool,
    /// `aal1` one factor, `aal2` two.
    level: Level,
    /// When the person on this session last showed who they are.
    proven_at: Timestamp,
    /// With what they could do so again.
    step_up: Vec<Method>,
}

async fn standing(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Json<StandingBody>> {
    let standing = service.standing(&caller).await?;
    Ok(Json(StandingBody {
        totp: standing.enrolled.totp,
        recovery_codes: standing.enrolled.recovery_codes,
        passkeys: standing.enrolled.passkeys,
        required: standing.is_required,
        level: standing.level,
        proven_at: standing.proven_at,
        step_up: standing.ways,
    }))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TotpEnrolment)]
struct EnrolmentBody {
    /// In base32, for typing.
    #[schema(example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: String,
    /// For the app.
    #[schema(example = "otpauth://totp/Verza:anne%40example.org?secret=GEZD...")]
    otpauth_uri: String,
    /// The URI as a QR code: an SVG document.
    qr_svg: String,
    /// Until when a first code confirms it.
    expires_at: Timestamp,
}

async fn enroll(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Response> {
    let enrolment = service.enroll(&caller).await?;
    let body = EnrolmentBody {
        secret: enrolment.secret.expose().clone(),
        otpauth_uri: enrolment.uri.expose().clone(),
        qr_svg: enrolment.qr.expose().clone(),
        expires_at: enrolment.expires_at,
    };
    Ok(not_stored(Json(body).into_response()))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VerifyBody {
    /// Six digits of the app.
    #[serde(alias = "code")]
    #[schema(example = "492039")]
    totp: SecretText,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Verified)]
struct VerifiedBody {
    /// Shown once, when the app is enrolled by this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["7k2mq-x9c4t"]))]
    recovery_codes: Option<Vec<String>>,
    #[serde(flatten)]
    proof: ProvenBody,
}

async fn verify(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<VerifyBody>,
) -> Reply<Response> {
    let code = Code::parse(Some(body.totp), None)?.ok_or_else(none)?;
    let (recovery_codes, proven) = match service.verify(&caller, &code).await? {
        Verified::Enrolled { recovery_codes, proven } => {
            (Some(recovery_codes.expose().clone()), proven)
        }
        Verified::Proven(proven) => (None, proven),
    };
    let (proof, cookie) = proof(proven);
    let response = Json(VerifiedBody { recovery_codes, proof }).into_response();
    Ok(renewed(service.sessions(), response, cookie)?)
}

async fn disable(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Json<Done>> {
    service.disable(&caller).await?;
    Ok(Done::reply())
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecoveryCodes)]
struct RecoveryCodesBody {
    /// Shown once. Each works once.
    #[schema(example = json!(["7k2mq-x9c4t"]))]
    recovery_codes: Vec<String>,
}

async fn make_recovery_codes(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Response> {
    let recovery_codes = service.make_recovery_codes(&caller).await?.expose().clone();
    Ok(not_stored(Json(RecoveryCodesBody { recovery_codes }).into_response()))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FinishBody {
    /// From the answer `mfa_required`.
    challenge: SecretText,
    /// Six digits of the app.
    #[serde(alias = "code")]
    #[schema(example = "492039")]
    totp: Option<SecretText>,
    /// One of the recovery codes instead.
    recovery_code: Option<SecretText>,
}

async fn finish_login(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<LoginQuery>,
    Json(body): Json<FinishBody>,
) -> Reply<Response> {
    let code = Code::parse(body.totp, body.recovery_code)?.ok_or_else(none)?;
    let finish = FinishLogin { challenge: body.challenge, code, cookie: query.cookie };
    let signed_in = service.finish_login(&caller, &finish).await?;
    Ok(welcome(service.sessions(), signed_in)?)
}

/// One of them.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StepUpBody {
    password: Option<SecretText>,
    /// Six digits of the app.
    #[serde(alias = "code")]
    #[schema(example = "492039")]
    totp: Option<SecretText>,
    recovery_code: Option<SecretText>,
    /// What the browser's `navigator.credentials.get` brought, as JSON.
    #[schema(value_type = Option<Object>)]
    passkey: Option<Credential<PublicKeyCredential>>,
}

impl StepUpBody {
    fn parse(self) -> Result<Evidence> {
        let password =
            self.password.map(|text| Password::presented("/password", text)).transpose()?;
        let code = Code::parse(self.totp, self.recovery_code)?;
        match (password, code, self.passkey) {
            (Some(password), None, None) => Ok(Evidence::Password(password)),
            (None, Some(code), None) => Ok(Evidence::Code(code)),
            (None, None, Some(Credential(credential))) => Ok(Evidence::Passkey(credential)),
            _ => Err(none()),
        }
    }
}

fn none() -> Error {
    let message = "one of the ways to show who you are, and only one";
    Error::field("", "one_of", message)
}

/// What a session has shown by now, and what shows it from now on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Proof)]
pub(crate) struct ProvenBody {
    /// `aal1` one factor, `aal2` two.
    level: Level,
    /// All that was used on the session, in order.
    methods: Vec<Method>,
    proven_at: Timestamp,
    #[serde(flatten)]
    tokens: TokensReply,
}

/// The new cookie of a session that had one, and its age.
pub(crate) type Cookie = Option<(SecretText, Duration)>;

pub(crate) fn proof(proven: Proven) -> (ProvenBody, Cookie) {
    let Proven { level, methods, proven_at, signed_in } = proven;
    let SignedIn { tokens, cookie, .. } = signed_in;
    (ProvenBody { level, methods, proven_at, tokens: tokens.into() }, cookie)
}

pub(crate) fn renewed(
    sessions: &session::Service,
    mut response: Response,
    cookie: Cookie,
) -> Result<Response> {
    if let Some((token, age)) = cookie {
        set_cookie(&mut response, token.expose(), age, sessions.secure_cookie())?;
    }
    Ok(not_stored(response))
}

async fn step_up(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<StepUpBody>,
) -> Reply<Response> {
    let (proof, cookie) = proof(service.step_up(&caller, &body.parse()?).await?);
    Ok(renewed(service.sessions(), Json(proof).into_response(), cookie)?)
}
