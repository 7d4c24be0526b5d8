//! `/api/users`, in both dialects.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use kernel::error::Fields;
use kernel::{Role, Secret, Timestamp};
use platform::http::{
    At, Audience, By, Created, ErrorShape, Json, Limit, NewToken, Query, Reply, Route, delete, get,
    post, table,
};
use rpc::users::{SESSION_COOKIE, SESSION_KEY_COOKIE};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Service;
use super::model::{OrderRole, parse_target};
use super::service::{Dialect, Extract};
use crate::account::{Account, Email, Registration};
use crate::password::Password;
use crate::session::http::{not_stored, set_cookie_named};
use crate::session::{Login, SignedIn};

// Named without its parameter, which has no schema of its own.
type SecretText = Secret<String>;

/// How long a browser keeps `session_key`, as the order API's document has it.
const COOKIE_AGE: Duration = Duration::from_secs(24 * 3600);

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    let mut routes = order_routes(service);
    routes.extend(delete_routes(service));
    routes.extend(file_routes(service));
    routes
}

fn order_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Public, "/api/users/reg")
                .summary("Register with name, address, role and password (order API)")
                .describe(
                    "Answers a token and sets the cookie `session_key`. Roles are `dev` and \
                     `guest`. Till the address is confirmed the session is good for `/api` only. \
                     Where the platform confirms first, the answer is 202 without a token.",
                )
                .limit(Limit::Register)
                .errors(ErrorShape::Plain)
                .takes::<RegBody>()
                .returns::<TokenReply>(201)
                .to(reg),
            post(Audience::Public, "/api/users/log")
                .summary("Sign in with name, address and password (order API)")
                .limit(Limit::Login)
                .errors(ErrorShape::Plain)
                .takes::<LogBody>()
                .returns::<TokenReply>(200)
                .to(log),
            post(Audience::Any, "/api/users/ext")
                .also_for_another()
                .summary("What the caller's token says (order API)")
                .describe(
                    "With a token that is over and the cookie of the same session, `token` is a \
                     new one; it is in the header `Authorization` of the answer as well.",
                )
                .limit(Limit::Read)
                .unproved()
                .errors(ErrorShape::Plain)
                .returns::<ExtReply>(200)
                .to(ext),
            get(Audience::Public, "/api/users/extUserId/{token}")
                .summary("Whose token this is (order API; off unless configured)")
                .errors(ErrorShape::Plain)
                .returns::<UserIdReply>(200)
                .to(ext_user_id),
        ],
    )
}

const CLOSING: &str = "As `DELETE /v1/me`: refused with 409 while something is open, and with 403 \
    where the caller signed in more than five minutes ago. Nobody names another admin.";

fn delete_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            delete(Audience::Any, "/api/users/del")
                .summary("Close one's own account; an admin names another's with `id` (order API)")
                .describe(CLOSING)
                .unproved()
                .limit(Limit::Login)
                .errors(ErrorShape::Plain)
                .query::<DelQuery>()
                .returns_nothing(204)
                .to(del),
            delete(Audience::Any, "/api/users/del/{id}")
                .summary("Close one's own account (`me`); an admin names another's (order API)")
                .describe(CLOSING)
                .unproved()
                .limit(Limit::Login)
                .errors(ErrorShape::Plain)
                .returns_nothing(204)
                .to(del_named),
        ],
    )
}

fn file_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Public, "/api/users/register")
                .summary("Register with address and password (file API)")
                .describe(
                    "Answers the account and a token that lives for a day. Till the address is \
                     confirmed the session is good for `/api` only. Where the platform confirms \
                     first, the answer is 202 without a token.",
                )
                .limit(Limit::Register)
                .errors(ErrorShape::Text)
                .takes::<RegisterBody>()
                .returns::<UserAndToken>(201)
                .to(register),
            post(Audience::Public, "/api/users/login")
                .summary("Sign in with address and password (file API)")
                .limit(Limit::Login)
                .errors(ErrorShape::Text)
                .takes::<LoginBody>()
                .returns::<UserAndToken>(200)
                .to(login),
            get(Audience::Any, "/api/users/me")
                .summary("The signed-in account (file API)")
                .unproved()
                .errors(ErrorShape::Text)
                .returns::<UserBody>(200)
                .to(me),
        ],
    )
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrderApiRegistration)]
struct RegBody {
    /// 2 to 50 characters.
    #[schema(example = "Anne Cooper")]
    name: String,
    #[schema(example = "anne@example.org")]
    email: String,
    /// `dev` or `guest`.
    #[schema(example = "dev")]
    role: String,
    /// 8 to 256 bytes.
    password: SecretText,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OrderApiLogin)]
struct LogBody {
    name: String,
    #[schema(example = "anne@example.org")]
    email: String,
    password: SecretText,
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderApiToken)]
struct TokenReply {
    token: String,
}

/// 202: the account is there once its address is confirmed.
#[derive(Serialize)]
struct ConfirmFirst {
    message: &'static str,
}

fn confirm_first() -> Response {
    let message = "Registration successful. Please verify your email.";
    (StatusCode::ACCEPTED, Json(ConfirmFirst { message })).into_response()
}

async fn reg(
    State(service): State<Arc<Service>>,
    By(caller): By,
    headers: HeaderMap,
    Json(body): Json<RegBody>,
) -> Reply<Response> {
    let RegBody { name, email, role, password } = body;
    let mut fields = Fields::new();
    if !(2..=50).contains(&name.trim().chars().count()) {
        fields.add("/name", "invalid", "2 to 50 characters");
    }
    let role = fields.take(OrderRole::parse(&role));
    let registration = fields.take(Registration::parse(&name, &email, password, Role::User));
    let (Some(role), Some(registration)) = (role, registration) else {
        return Err(fields.into_error().into());
    };
    fields.check()?;
    let entered = service.register(&caller, &registration, Some(role), Dialect::Orders).await?;
    match entered {
        Some(entered) => with_cookie(&service, &headers, StatusCode::CREATED, entered),
        None => Ok(confirm_first()),
    }
}

async fn log(
    State(service): State<Arc<Service>>,
    By(caller): By,
    headers: HeaderMap,
    Json(body): Json<LogBody>,
) -> Reply<Response> {
    let email = Email::parse(&body.email)?;
    let password = Password::presented("/password", body.password)?;
    let name = Some(body.name.trim().to_owned());
    let login = Login { name, ..Login::new(email, password) };
    let signed_in = service.login(&caller, login, Dialect::Orders).await?;
    with_cookie(&service, &headers, StatusCode::OK, signed_in)
}

/// The token in the body, and the session's opaque one in `session_key`. A cookie of another
/// session under our own name would go before it, and is taken away.
fn with_cookie(
    service: &Service,
    headers: &HeaderMap,
    status: StatusCode,
    signed_in: SignedIn,
) -> Reply<Response> {
    let SignedIn { tokens, cookie, .. } = signed_in;
    let mut response = Json(TokenReply { token: tokens.access.expose().clone() }).into_response();
    *response.status_mut() = status;
    let secure = service.sessions().secure_cookie();
    if let Some((token, lifetime)) = cookie {
        let age = lifetime.min(COOKIE_AGE);
        set_cookie_named(SESSION_KEY_COOKIE, &mut response, token.expose(), age, secure)?;
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    if cookies.into_iter().any(|cookies| cookies.contains(SESSION_COOKIE)) {
        set_cookie_named(SESSION_COOKIE, &mut response, "", Duration::ZERO, secure)?;
    }
    Ok(not_stored(response))
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderApiClaims)]
struct ExtReply {
    role: String,
    #[schema(value_type = String)]
    user_id: Uuid,
    token: String,
}

async fn ext(
    State(service): State<Arc<Service>>,
    By(caller): By,
    new: Option<Extension<NewToken>>,
    headers: HeaderMap,
) -> Reply<Response> {
    let token = match new {
        Some(Extension(NewToken(token))) => Some(token),
        None => bearer(&headers),
    };
    let Extract { user, role, token } = service.extract(&caller, token).await?;
    let reply = ExtReply { role, user_id: user.uuid(), token: token.expose().clone() };
    Ok(not_stored(Json(reply).into_response()))
}

fn bearer(headers: &HeaderMap) -> Option<Secret<String>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.split_once(' ').map(|(_, token)| Secret::new(token.trim().to_owned()))
}

#[derive(Serialize, ToSchema)]
#[schema(as = OrderApiUserId)]
struct UserIdReply {
    #[schema(value_type = String)]
    user_id: Uuid,
}

async fn ext_user_id(
    State(service): State<Arc<Service>>,
    At(token): At<String>,
) -> Reply<Json<UserIdReply>> {
    let user = service.user_of(&token).await?;
    Ok(Json(UserIdReply { user_id: user.uuid() }))
}

#[derive(Deserialize, IntoParams)]
struct DelQuery {
    /// Whose account: a UUID, or `me`. One's own where nothing is said.
    id: Option<String>,
}

async fn del(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<DelQuery>,
) -> Reply<Response> {
    close(&service, &caller, query.id.as_deref().unwrap_or("me")).await
}

async fn del_named(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(target): At<String>,
) -> Reply<Response> {
    close(&service, &caller, &target).await
}

async fn close(service: &Service, caller: &kernel::Caller, target: &str) -> Reply<Response> {
    let me = caller.user()?;
    let user = parse_target(target, me)?;
    service.delete(caller, user).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if user == me {
        let secure = service.sessions().secure_cookie();
        set_cookie_named(SESSION_KEY_COOKIE, &mut response, "", Duration::ZERO, secure)?;
    }
    Ok(response)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileApiRegistration)]
struct RegisterBody {
    #[schema(example = "user@example.com")]
    email: String,
    /// 8 to 256 bytes.
    password: SecretText,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FileApiLogin)]
struct LoginBody {
    #[schema(example = "user@example.com")]
    email: String,
    password: SecretText,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FileApiUser)]
struct UserBody {
    #[schema(value_type = String)]
    id: Uuid,
    email: String,
    created: Timestamp,
}

impl From<&Account> for UserBody {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.uuid(),
            email: account.email.shown().to_owned(),
            created: account.created_at,
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = FileApiSignedIn)]
struct UserAndToken {
    user: UserBody,
    token: String,
}

impl From<SignedIn> for UserAndToken {
    fn from(signed_in: SignedIn) -> Self {
        let SignedIn { account, tokens, .. } = signed_in;
        Self { user: UserBody::from(&account), token: tokens.access.expose().clone() }
    }
}

async fn register(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<RegisterBody>,
) -> Reply<Response> {
    let RegisterBody { email, password } = body;
    // This API asks for no name, and every account has one.
    let name = email.split('@').next().unwrap_or_default().to_owned();
    let name = if name.is_empty() { "user".to_owned() } else { name };
    let registration = Registration::parse(&name, &email, password, Role::User)?;
    match service.register(&caller, &registration, None, Dialect::Files).await? {
        Some(entered) => Ok(not_stored(Created(UserAndToken::from(entered)).into_response())),
        None => Ok(confirm_first()),
    }
}

async fn login(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<LoginBody>,
) -> Reply<Response> {
    let email = Email::parse(&body.email)?;
    let password = Password::presented("/password", body.password)?;
    let signed_in = service.login(&caller, Login::new(email, password), Dialect::Files).await?;
    Ok(not_stored(Json(UserAndToken::from(signed_in)).into_response()))
}

async fn me(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Json<UserBody>> {
    Ok(Json(UserBody::from(&service.me(&caller).await?)))
}
