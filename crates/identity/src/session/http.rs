//! Login, refresh, logout, and one's own sessions.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use kernel::id::kinds;
use kernel::{Error, Id, Result, Role, Secret, Timestamp};
use platform::http::{
    At, Audience, By, Done, Json, Limit, List, Paging, Query, Reply, Route, delete, get, post,
    table,
};
use rpc::users::SESSION_COOKIE;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Introspection, Login, Reason, Service, Session, SignedIn, Tokens};
use crate::account::{Account, Email};
use crate::password::Password;

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
                     `?cookie=true` it also sets the cookie of the session, for browsers.",
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
                .summary("End the calling session")
                .also_for_another()
                .returns::<Done>(200)
                .to(logout),
            post(Audience::Any, "/v1/auth/introspect")
                .summary("What a token is worth right now (after RFC 7662)")
                .also_for_another()
                .limit(Limit::Read)
                .takes::<IntrospectBody>()
                .returns::<IntrospectReply>(200)
                .to(introspect),
            get(Audience::Any, "/v1/me/sessions")
                .summary("List the devices on which one is signed in")
                .paged()
                .returns::<Vec<SessionBody>>(200)
                .to(list),
            delete(Audience::Any, "/v1/me/sessions")
                .summary("Sign out everywhere, or everywhere else")
                .query::<EndAllQuery>()
                .returns::<EndedReply>(200)
                .to(end_all),
            delete(Audience::Any, "/v1/me/sessions/{id}")
                .summary("Sign out one device")
                .returns::<Done>(200)
                .to(end),
        ],
    )
}

#[derive(Deserialize, IntoParams)]
struct LoginQuery {
    /// Whether to set the session's cookie.
    #[serde(default)]
    cookie: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LoginBody {
    #[schema(example = "anne@example.org")]
    email: String,
    password: SecretText,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LoginReply {
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
    let login = Login {
        email: Email::parse(&body.email)?,
        password: Password::presented("/password", body.password)?,
        cookie: query.cookie,
    };
    let SignedIn { account, tokens, cookie, .. } = service.login(&caller, &login).await?;
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
    if let Some((token, lifetime)) = cookie {
        set_cookie(&mut response, token.expose(), lifetime, service.secure_cookie())?;
    }
    Ok(not_stored(response))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefreshBody {
    refresh_token: SecretText,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokensReply {
    access_token: String,
    /// The access token once more, under its older name.
    token: String,
    refresh_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token lives.
    expires_in: u64,
}

async fn refresh(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<RefreshBody>,
) -> Reply<Response> {
    let Tokens { access, refresh, expires_in } =
        service.refresh(&caller, body.refresh_token.expose()).await?;
    let reply = TokensReply {
        access_token: access.expose().clone(),
        token: access.expose().clone(),
        refresh_token: refresh.expose().clone(),
        token_type: "Bearer",
        expires_in: expires_in.as_secs(),
    };
    Ok(not_stored(Json(reply).into_response()))
}

async fn logout(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Response> {
    service.logout(&caller).await?;
    let mut response = Done::reply().into_response();
    set_cookie(&mut response, "", Duration::ZERO, service.secure_cookie())?;
    Ok(response)
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IntrospectBody {
    /// An access token, or the token of a cookie.
    token: SecretText,
}

/// RFC 7662 section 2.2; of a token that is worth nothing, only `active` is said.
#[derive(Serialize, Default, ToSchema)]
struct IntrospectReply {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "access_token")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

async fn introspect(
    State(service): State<Arc<Service>>,
    Json(body): Json<IntrospectBody>,
) -> Reply<Json<IntrospectReply>> {
    let Some(found) = service.introspect(body.token.expose()).await? else {
        return Ok(Json(IntrospectReply::default()));
    };
    let Introspection { principal, expires_at, claims } = found;
    let mut reply = IntrospectReply {
        active: true,
        token_type: Some(if claims.is_some() { "access_token" } else { "session" }),
        sub: Some(principal.user),
        sid: Some(principal.session),
        role: Some(principal.role),
        exp: Some(expires_at.seconds()),
        ..IntrospectReply::default()
    };
    if let Some(claims) = claims {
        (reply.iss, reply.aud, reply.iat) = (Some(claims.iss), Some(claims.aud), Some(claims.iat));
    }
    Ok(Json(reply))
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

/// Sets the session's cookie, or takes it away with an age of zero (RFC 6265 section 4.1).
fn set_cookie(response: &mut Response, token: &str, age: Duration, secure: bool) -> Result<()> {
    let age = age.as_secs();
    let secure = if secure { "; Secure" } else { "" };
    let cookie =
        format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
    let mut value = HeaderValue::try_from(cookie)
        .map_err(|error| Error::internal("a cookie cannot be written").because(error))?;
    value.set_sensitive(true);
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(())
}

/// Replies with tokens are kept by nobody on the way.
fn not_stored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
