//! Login, refresh, logout, and one's own sessions.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use kernel::id::kinds;
use kernel::{Error, Id, Level, Result, Role, Secret, Timestamp};
use platform::http::{
    At, Audience, By, Done, Json, JsonOrForm, Limit, List, Paging, Query, Reply, Route, delete,
    get, post, table,
};
use rpc::users::{DEVICE_COOKIE, SESSION_COOKIE};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Introspection, Kind, Login, Method, Reason, Service, Session, SignedIn, Tokens};
use crate::account::{Account, Email};
use crate::factor::Code;
use crate::password::Password;
use crate::token::Format;

// Named without their parameters, which have no schemas of their own.
type UserId = Id<kinds::User>;
type SecretText = Secret<String>;
type SessionId = Id<kinds::Session>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Public, "/v1/auth/login")
                .summary("Sign in with address and password")
                .describe(
                    "Answers an access token for 15 minutes and a refresh token. With \
                     `?cookie=true` it also sets the cookie of the session, for browsers. \
                     `tokenFormat` says in which form the access token comes. An account with a \
                     second factor needs a code as well, here or afterwards: without one the \
                     answer is 401 `mfa_required` with a `challenge` for \
                     `POST /v1/auth/login/mfa` and the `methods`. The cookie `verza_device` makes \
                     the device known: when strangers guess at the account's password, its owner \
                     can still sign in from there.",
                )
                .limit(Limit::Login)
                .query::<LoginQuery>()
                .takes::<LoginBody>()
                .returns::<LoginReply>(200)
                .to(login),
            post(Audience::Public, "/v1/auth/refresh")
                .summary("Exchange a refresh token for new tokens")
                .describe(
                    "Every refresh token works once. For ten seconds the one before is answered \
                     with the same new one; after that, reuse ends the session.",
                )
                .limit(Limit::Refresh)
                .takes::<RefreshBody>()
                .returns::<TokensReply>(200)
                .to(refresh),
            post(Audience::Any, "/v1/auth/logout")
                .with_one_factor()
                .essential()
                .summary("End the calling session")
                .unproved()
                .also_for_another()
                .returns::<Done>(200)
                .to(logout),
            post(Audience::Any, "/v1/auth/introspect")
                .summary("What a token of any kind is worth right now (RFC 7662)")
                .describe(
                    "Takes cookie tokens, access tokens in every form and refresh tokens, as JSON \
                     or as a form. One may ask for one's own tokens, an admin for everybody's; \
                     of any other token, and of one that is over, the answer is \
                     `{\"active\": false}`. To ask is not to use: nothing is refreshed by it, and \
                     no session is kept awake.",
                )
                .also_for_another()
                .limit(Limit::Read)
                .unproved()
                .takes::<IntrospectBody>()
                .returns::<IntrospectReply>(200)
                .to(introspect),
            get(Audience::Any, "/v1/me/sessions")
                .with_one_factor()
                .summary("List the devices on which one is signed in")
                .unproved()
                .paged()
                .returns::<Vec<SessionBody>>(200)
                .to(list),
            delete(Audience::Any, "/v1/me/sessions")
                .with_one_factor()
                .essential()
                .summary("Sign out everywhere, or everywhere else")
                .unproved()
                .query::<EndAllQuery>()
                .returns::<EndedReply>(200)
                .to(end_all),
            delete(Audience::Any, "/v1/me/sessions/{id}")
                .with_one_factor()
                .essential()
                .summary("Sign out one device")
                .unproved()
                .returns::<Done>(200)
                .to(end),
        ],
    )
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct LoginQuery {
    /// Whether to set the session's cookie.
    #[serde(default)]
    pub(crate) cookie: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LoginBody {
    #[schema(example = "anne@example.org")]
    email: String,
    password: SecretText,
    /// The form of the access token; a JWT where nothing is said.
    #[serde(default)]
    token_format: Format,
    /// Six digits of the authenticator app.
    #[schema(example = "492039")]
    totp: Option<SecretText>,
    /// One of the recovery codes instead.
    recovery_code: Option<SecretText>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoginReply {
    /// The access token: `Authorization: Bearer ...`.
    access_token: String,
    /// The access token once more, under its older name.
    token: String,
    refresh_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token lives.
    expires_in: u64,
    user: UserCard,
}

/// The signed-in user in short.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UserCard {
    id: UserId,
    name: String,
    email: String,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
}

impl From<&Account> for UserCard {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id,
            name: account.name.clone(),
            email: account.email.shown().to_owned(),
            role: account.role,
            avatar: account.avatar.clone(),
        }
    }
}

async fn login(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<LoginQuery>,
    Json(body): Json<LoginBody>,
) -> Reply<Response> {
    let email = Email::parse(&body.email)?;
    let password = Password::presented("/password", body.password)?;
    let (cookie, token) = (query.cookie, body.token_format.into());
    let login = Login { cookie, token, ..Login::new(email, password) };
    let code = Code::parse(body.totp, body.recovery_code)?;
    let signed_in = service.login_with(&caller, &login, code.as_ref()).await?;
    Ok(welcome(&service, signed_in)?)
}

/// What whoever has just signed in is answered, whichever way they came.
pub(crate) fn welcome(service: &Service, signed_in: SignedIn) -> Result<Response> {
    let SignedIn { account, tokens, cookie, device, .. } = signed_in;
    let access = tokens.access.expose();
    let mut response = Json(LoginReply {
        access_token: access.clone(),
        token: access.clone(),
        refresh_token: tokens.refresh.expose().clone(),
        token_type: "Bearer",
        expires_in: tokens.expires_in.as_secs(),
        user: UserCard::from(&account),
    })
    .into_response();
    let secure = service.secure_cookie();
    if let Some((token, lifetime)) = cookie {
        set_cookie(&mut response, token.expose(), lifetime, secure)?;
    }
    let (device, lifetime) = device;
    set_cookie_named(DEVICE_COOKIE, &mut response, device.expose(), lifetime, secure)?;
    Ok(not_stored(response))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefreshBody {
    refresh_token: SecretText,
    /// The form of the new access token; a JWT where nothing is said.
    #[serde(default)]
    token_format: Format,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokensReply {
    access_token: String,
    /// The access token once more, under its older name.
    token: String,
    refresh_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token lives.
    expires_in: u64,
}

impl From<Tokens> for TokensReply {
    fn from(tokens: Tokens) -> Self {
        let Tokens { access, refresh, expires_in } = tokens;
        Self {
            access_token: access.expose().clone(),
            token: access.expose().clone(),
            refresh_token: refresh.expose().clone(),
            token_type: "Bearer",
            expires_in: expires_in.as_secs(),
        }
    }
}

async fn refresh(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<RefreshBody>,
) -> Reply<Response> {
    let RefreshBody { refresh_token, token_format } = body;
    let tokens = service.refresh_as(&caller, refresh_token.expose(), token_format.into()).await?;
    Ok(not_stored(Json(TokensReply::from(tokens)).into_response()))
}

async fn logout(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Response> {
    service.logout(&caller).await?;
    let mut response = Done::reply().into_response();
    set_cookie(&mut response, "", Duration::ZERO, service.secure_cookie())?;
    Ok(response)
}

// The names are RFC 7662's, in the body and in the reply.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IntrospectBody {
    /// A token of any kind.
    token: SecretText,
    /// Not needed: kinds of tokens are told apart by their look.
    #[serde(default, rename = "token_type_hint")]
    _token_type_hint: Option<String>,
}

/// RFC 7662 section 2.2; of a token that is worth nothing, only `active` is said.
#[derive(Serialize, Default, ToSchema)]
struct IntrospectReply {
    active: bool,
    /// How the token is sent, where it is an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Bearer")]
    token_type: Option<&'static str>,
    /// `cookie`, `jwt`, `paseto_public`, `paseto_local` or `refresh_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "jwt")]
    token_kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// The assurance level that the session has reached (RFC 9470 section 6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "aal1")]
    acr: Option<&'static str>,
    /// How its owner has shown who they are, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["password"]))]
    amr: Option<Vec<&'static str>>,
    /// When they last did: seconds since 1970 (RFC 9470 section 6.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    /// The admin who acts as this user (RFC 8693 section 4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<ActorBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// Seconds since 1970: of an access token its own time, else when the session began.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Seconds since 1970: of an access token its own end, else the session's.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Actor)]
struct ActorBody {
    sub: UserId,
}

impl From<Introspection> for IntrospectReply {
    fn from(found: Introspection) -> Self {
        let Introspection { kind, session, principal, expires_at, claims } = found;
        let mut reply = Self {
            active: true,
            token_type: matches!(kind, Kind::Access(_)).then_some("Bearer"),
            token_kind: Some(kind.as_str()),
            sub: Some(principal.user),
            sid: Some(principal.session),
            role: Some(principal.role),
            acr: Some(session.proof.level.as_str()),
            amr: Some(session.proof.methods.iter().map(|method| method.as_str()).collect()),
            auth_time: Some(session.proven_at.seconds()),
            act: session.proof.impersonator.map(|sub| ActorBody { sub }),
            iat: Some(session.created_at.seconds()),
            exp: Some(expires_at.seconds()),
            ..Self::default()
        };
        if let Some(claims) = claims {
            reply.iat = Some(claims.iat);
            reply.iss = Some(claims.iss);
            reply.aud = Some(claims.aud);
            reply.jti = Some(claims.jti);
        }
        reply
    }
}

async fn introspect(
    State(service): State<Arc<Service>>,
    By(caller): By,
    JsonOrForm(body): JsonOrForm<IntrospectBody>,
) -> Reply<Response> {
    let found = service.introspect(&caller, body.token.expose()).await?;
    let reply = found.map_or_else(IntrospectReply::default, IntrospectReply::from);
    Ok(not_stored(Json(reply).into_response()))
}

/// A device on which one is signed in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
pub(crate) struct SessionBody {
    id: SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    /// How sure its owner's proof makes us: `aal1` one factor, `aal2` two.
    level: Level,
    /// How its owner has shown who they are, in order.
    methods: Vec<Method>,
    /// When they last did.
    proven_at: Timestamp,
    /// Whether this is the session that asks.
    current: bool,
    /// The admin who looks at the platform as this user on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonator: Option<UserId>,
}

impl SessionBody {
    pub(crate) fn of(session: Session, current: SessionId) -> Self {
        Self {
            current: session.id == current,
            impersonator: session.proof.impersonator,
            id: session.id,
            user_agent: session.device.user_agent,
            ip: session.device.ip.map(|ip| ip.to_string()),
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            expires_at: session.expires_at,
            level: session.proof.level,
            methods: session.proof.methods,
            proven_at: session.proven_at,
        }
    }
}

async fn list(
    State(service): State<Arc<Service>>,
    By(caller): By,
    paging: Paging,
) -> Reply<List<SessionBody>> {
    let principal = caller.principal()?;
    let page = service.list(principal.user, &paging.page).await?;
    Ok(paging.reply(page.map(|session| SessionBody::of(session, principal.session))))
}

#[derive(Deserialize, IntoParams)]
struct EndAllQuery {
    /// `current` keeps the session that asks.
    #[param(inline)]
    except: Option<Except>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Except {
    Current,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EndedReply {
    success: bool,
    /// How many sessions ended.
    ended: usize,
}

async fn end_all(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<EndAllQuery>,
) -> Reply<Response> {
    let keeps_current = matches!(query.except, Some(Except::Current));
    let ended = service.end_all(&caller, keeps_current).await?;
    let mut response = Json(EndedReply { success: true, ended }).into_response();
    if !keeps_current {
        set_cookie(&mut response, "", Duration::ZERO, service.secure_cookie())?;
    }
    Ok(response)
}

async fn end(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<SessionId>,
) -> Reply<Json<Done>> {
    service.end(&caller, id, Reason::Revoked).await?;
    Ok(Done::reply())
}

/// Sets the session's cookie, or takes it away with an age of zero.
pub(crate) fn set_cookie(
    response: &mut Response,
    token: &str,
    age: Duration,
    secure: bool,
) -> Result<()> {
    set_cookie_named(SESSION_COOKIE, response, token, age, secure)
}

/// Sets a cookie, or takes it away with an age of zero (RFC 6265 section 4.1).
pub(crate) fn set_cookie_named(
    name: &str,
    response: &mut Response,
    token: &str,
    age: Duration,
    secure: bool,
) -> Result<()> {
    let age = age.as_secs();
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
    let mut value = HeaderValue::try_from(cookie)
        .map_err(|error| Error::internal("a cookie cannot be written").because(error))?;
    value.set_sensitive(true);
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}

/// Replies with tokens are kept by nobody on the way.
pub(crate) fn not_stored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
