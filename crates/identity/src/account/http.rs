//! Registration, one's own account, and what admins do with accounts.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use kernel::id::kinds;
use kernel::{Error, Id, PageRequest, Principal, Result, Role, Secret, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, Limit, List, Paging, Query, Reply, Route, get, patch, post,
    table,
};
use rpc::users::Status;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::{
    Account, Avatar, Command, Email, Filter, Name, Preferences, ProfileChange, Registration,
    Service, Sort,
};
use crate::factor::http::{ProvenBody, proof, renewed};
use crate::password::Password;
use crate::session::http::SessionBody;

// Named without their parameters, which have no schemas of their own.
type UserId = Id<kinds::User>;
type SecretText = Secret<String>;
type SessionId = Id<kinds::Session>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    let mut routes = table(
        service,
        [
            post(Audience::Public, "/v1/auth/register")
                .summary("Register an account")
                .describe(
                    "Sends a mail to confirm the address. A taken address is answered the same, \
                     and its owner is told by mail. Verifiers and enterprises wait for approval.",
                )
                .limit(Limit::Register)
                .takes::<RegisterBody>()
                .returns::<Said>(201)
                .to(register),
            post(Audience::Public, "/v1/auth/verify-email")
                .summary("Confirm a mail address with the token from the mail")
                .describe(
                    "Where the address was registered more than once before, the password is void \
                     unless `password` shows it, and `hasPassword` is false. Whoever is signed in \
                     to the account has their session renewed: its old tokens and cookie are dead, \
                     and `session` has new ones.",
                )
                .limit(Limit::Login)
                .takes::<VerifyEmailBody>()
                .returns::<EmailProvedBody>(200)
                .to(verify_email),
            post(Audience::Public, "/v1/auth/resend-verification")
                .summary("Send the confirmation mail again")
                .describe("The answer is the same whether or not there is such an account.")
                .limit(Limit::Mail)
                .takes::<ResendBody>()
                .returns::<Said>(200)
                .to(resend_verification),
            get(Audience::Any, "/v1/me")
                .with_one_factor()
                .summary("The signed-in account")
                .unproved()
                .returns::<MeBody>(200)
                .to(me),
            patch(Audience::Any, "/v1/me")
                .summary("Change name, picture or preferences")
                .takes::<ChangeBody>()
                .returns::<MeBody>(200)
                .to(change_profile),
            post(Audience::Any, "/v1/me/email")
                .summary("Ask for another mail address")
                .describe(
                    "Sends a link to it; the address becomes the account's when the link is \
                     followed. The answer is the same where the address has an account, whose \
                     owner is told by mail. A new password takes the link away.",
                )
                .limit(Limit::Mail)
                .step_up()
                .takes::<EmailChangeBody>()
                .returns::<Said>(200)
                .to(request_email_change),
            post(Audience::Public, "/v1/auth/confirm-email-change")
                .summary("Take another mail address with the token from the mail")
                .limit(Limit::Login)
                .takes::<ConfirmEmailChangeBody>()
                .returns::<Said>(200)
                .to(confirm_email_change),
        ],
    );
    routes.extend(admin_routes(service));
    routes
}

fn admin_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/users")
                .summary("List accounts")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<UserBody>>(200)
                .to(list),
            get(Audience::Admin, "/v1/admin/users/{id}")
                .summary("One account and its newest sessions")
                .returns::<UserDetailBody>(200)
                .to(show),
            post(Audience::Admin, "/v1/admin/users/{id}/approve")
                .summary("Approve a verifier or an enterprise")
                .returns::<UserBody>(200)
                .to(approve),
            post(Audience::Admin, "/v1/admin/users/{id}/suspend")
                .summary("Lock an account for a while; its sessions end at once")
                .step_up()
                .returns::<UserBody>(200)
                .to(suspend),
            post(Audience::Admin, "/v1/admin/users/{id}/unsuspend")
                .summary("Open a suspended account again")
                .returns::<UserBody>(200)
                .to(unsuspend),
            post(Audience::Admin, "/v1/admin/users/{id}/ban")
                .summary("Lock an account for good; its sessions end at once")
                .step_up()
                .returns::<UserBody>(200)
                .to(ban),
            post(Audience::Admin, "/v1/admin/users/{id}/unban")
                .summary("Open a banned account again")
                .returns::<UserBody>(200)
                .to(unban),
        ],
    )
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegisterBody {
    /// 1 to 100 characters.
    #[schema(example = "Anne Cooper")]
    name: String,
    #[schema(example = "anne@example.org")]
    email: String,
    /// 8 to 256 bytes.
    password: SecretText,
    /// `user`, `verifier` or `enterprise`.
    #[serde(default = "user")]
    role: Role,
}

const fn user() -> Role {
    Role::User
}

/// What happened, for people.
#[derive(Serialize, ToSchema)]
pub(crate) struct Said {
    pub(crate) message: &'static str,
}

async fn register(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<RegisterBody>,
) -> Reply<Created<Said>> {
    let RegisterBody { name, email, password, role } = body;
    let registration = Registration::parse(&name, &email, password, role)?;
    service.register(&caller, &registration).await?;
    Ok(Created(Said { message: "Registration successful. Please verify your email." }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VerifyEmailBody {
    /// From the link in the mail.
    token: SecretText,
    /// The password of the registration. Where the address was registered more than once, it stands
    /// only if it is shown here.
    password: Option<SecretText>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EmailProvedBody {
    message: &'static str,
    /// Whether one can sign in with the password of the registration.
    has_password: bool,
    /// Of whoever is signed in to the account: the session is renewed by this.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<ProvenBody>,
}

async fn verify_email(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<VerifyEmailBody>,
) -> Reply<Response> {
    let password = body.password.map(|text| Password::presented("/password", text)).transpose()?;
    let token = body.token.expose();
    let proved = service.verify_email(&caller, token, password.as_ref()).await?;
    let message = if proved.has_password {
        "Your address is confirmed. You can sign in now."
    } else {
        "Your address is confirmed. It was registered more than once: set a new password with \
         POST /v1/auth/forgot-password."
    };
    let (session, cookie) = proved.session.map(proof).unzip();
    let body = EmailProvedBody { message, has_password: proved.has_password, session };
    Ok(renewed(service.session_service(), Json(body).into_response(), cookie.flatten())?)
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResendBody {
    email: String,
}

async fn resend_verification(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<ResendBody>,
) -> Reply<Json<Said>> {
    service.resend_verification(&caller, &Email::parse(&body.email)?).await?;
    let message = "If the address waits for confirmation, a mail is on its way.";
    Ok(Json(Said { message }))
}

/// The signed-in account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Me)]
struct MeBody<'a> {
    id: UserId,
    name: &'a str,
    email: &'a str,
    role: Role,
    email_verified: bool,
    /// Verifiers and enterprises act for others only after an admin has approved them.
    approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<&'a str>,
    /// Whatever the front end has put there.
    #[schema(value_type = Object)]
    preferences: &'a RawValue,
    created_at: Timestamp,
    /// The session that asks.
    session_id: SessionId,
    /// The admin who looks at the platform as this user; absent on everybody's own sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonator: Option<UserId>,
}

/// The body of `GET /v1/me`, which sessions keep ready.
pub(crate) fn show_me(account: &Account, principal: &Principal) -> Result<Bytes> {
    let broken = |error| Error::internal("an account cannot be shown").because(error);
    let body = MeBody {
        id: account.id,
        name: &account.name,
        email: account.email.shown(),
        role: account.role,
        email_verified: account.email_verified_at.is_some(),
        approved: account.approved,
        avatar: account.avatar.as_deref(),
        preferences: serde_json::from_str(&account.preferences).map_err(broken)?,
        created_at: account.created_at,
        session_id: principal.session,
        impersonator: principal.impersonator,
    };
    serde_json::to_vec(&body).map(Bytes::from).map_err(broken)
}

fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn me(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Response> {
    Ok(json(service.me(&caller).await?))
}

/// What stays out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChangeBody {
    /// 1 to 100 characters.
    name: Option<String>,
    /// An https URL of at most 2048 bytes; null takes the picture away.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>)]
    avatar: Option<Option<String>>,
    /// A JSON object of at most 8 KB, which takes the place of the one before.
    #[schema(value_type = Option<Object>)]
    preferences: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Tells a null from what is not there.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl ChangeBody {
    pub(crate) fn parse(self) -> Result<ProfileChange> {
        let mut fields = kernel::error::Fields::new();
        let change = ProfileChange {
            name: self.name.and_then(|name| fields.take(Name::parse(&name))),
            avatar: self
                .avatar
                .map(|avatar| avatar.and_then(|avatar| fields.take(Avatar::parse(&avatar)))),
            preferences: self
                .preferences
                .and_then(|preferences| fields.take(Preferences::parse(&preferences))),
        };
        fields.check()?;
        Ok(change)
    }
}

async fn change_profile(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<ChangeBody>,
) -> Reply<Response> {
    let account = service.change_profile(&caller, &body.parse()?).await?;
    Ok(json(show_me(&account, caller.principal()?)?))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = EmailChange)]
struct EmailChangeBody {
    #[schema(example = "anne@example.net")]
    email: String,
}

async fn request_email_change(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<EmailChangeBody>,
) -> Reply<Json<Said>> {
    service.request_email_change(&caller, &Email::parse(&body.email)?).await?;
    Ok(Json(Said { message: "A mail is on its way to the address. Follow its link." }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = EmailChangeConfirmation)]
struct ConfirmEmailChangeBody {
    /// From the link in the mail.
    token: SecretText,
}

async fn confirm_email_change(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<ConfirmEmailChangeBody>,
) -> Reply<Json<Said>> {
    service.change_email(&caller, body.token.expose()).await?;
    Ok(Json(Said { message: "The address is your account's now. Sign in with it." }))
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct ListQuery {
    /// `user`, `verifier`, `enterprise`, `admin` or `all`.
    pub(crate) role: Option<String>,
    /// `active`, `suspended`, `banned`, `closed` or `all`.
    pub(crate) status: Option<String>,
    /// Part of a name or an address.
    pub(crate) q: Option<String>,
    /// `newest` (the default), `oldest` or `lastLogin`.
    #[serde(default)]
    #[param(inline)]
    pub(crate) sort: Sort,
}

impl ListQuery {
    pub(crate) fn parse(self) -> Result<Filter> {
        let chosen = |text: Option<String>| text.filter(|text| !text.is_empty() && text != "all");
        let text = self.q.filter(|text| !text.is_empty());
        if text.as_ref().is_some_and(|text| text.len() > 200) {
            return Err(Error::field("/q", "too_long", "at most 200 bytes"));
        }
        Ok(Filter {
            role: chosen(self.role).map(|role| role.parse()).transpose()?,
            status: chosen(self.status).map(|status| status.parse()).transpose()?,
            approved: None,
            text,
            sort: self.sort,
        })
    }
}

/// An account as admins see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(crate) struct UserBody {
    id: UserId,
    name: String,
    email: String,
    role: Role,
    status: Status,
    approved: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login_at: Option<Timestamp>,
}

impl From<Account> for UserBody {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            email: account.email.shown().to_owned(),
            name: account.name,
            role: account.role,
            status: account.status,
            approved: account.approved,
            email_verified_at: account.email_verified_at,
            avatar: account.avatar,
            created_at: account.created_at,
            updated_at: account.updated_at,
            last_login_at: account.last_login_at,
        }
    }
}

async fn list(
    State(service): State<Arc<Service>>,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<UserBody>> {
    let page = service.list(&query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(UserBody::from)))
}

/// An account with the devices on which it is signed in.
#[derive(Serialize, ToSchema)]
#[schema(as = UserDetail)]
struct UserDetailBody {
    #[serde(flatten)]
    user: UserBody,
    /// The newest twenty.
    sessions: Vec<SessionBody>,
}

async fn show(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
) -> Reply<Json<UserDetailBody>> {
    let account = service.get(id).await?;
    let current = caller.principal()?.session;
    let sessions = service.sessions(id, &PageRequest::default()).await?;
    let sessions = sessions.map(|session| SessionBody::of(session, current)).items;
    Ok(Json(UserDetailBody { user: account.into(), sessions }))
}

macro_rules! commands {
    ($($handler:ident = $command:ident),*) => {
        $(async fn $handler(
            State(service): State<Arc<Service>>,
            By(caller): By,
            At(id): At<UserId>,
        ) -> Reply<Json<UserBody>> {
            Ok(Json(service.command(&caller, id, Command::$command).await?.into()))
        })*
    };
}
commands! {
    approve = Approve, suspend = Suspend, unsuspend = Unsuspend, ban = Ban, unban = Unban
}
