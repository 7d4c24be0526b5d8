//! Users as objects of their own, and what admins do with them.

use std::sync::Arc;

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Id, Role, Secret, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, Limit, List, Once, Paging, Query, Reply, Route, delete,
    get, patch, post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{NewPerson, Service};
use crate::account::http::{ChangeBody, ListQuery, UserBody};
use crate::account::{Filter, Sort};
use crate::session::http::SessionBody;

// Named without their parameters, which have no schemas of their own.
type UserId = Id<kinds::User>;
type OrganizationId = Id<kinds::Organization>;
type SessionId = Id<kinds::Session>;
type SecretText = Secret<String>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    let mut routes = table(
        service,
        [
            get(Audience::Admin, "/v1/users")
                .summary("List users")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<UserBody>>(200)
                .to(list),
            post(Audience::Admin, "/v1/users")
                .summary("Make an account for somebody")
                .describe("Its owner gets a mail with a link to set a password.")
                .limit(Limit::Mail)
                .once(Once::Accepted)
                .takes::<CreateBody>()
                .returns::<UserBody>(201)
                .to(create),
            get(Audience::Any, "/v1/users/{id}")
                .summary("An account: your own, or anybody's for admins")
                .returns::<UserBody>(200)
                .to(show),
            patch(Audience::Any, "/v1/users/{id}")
                .summary("Change an account: your own, or anybody's for admins")
                .takes::<ChangeBody>()
                .returns::<UserBody>(200)
                .to(change),
            delete(Audience::Admin, "/v1/users/{id}/sessions")
                .essential()
                .summary("Sign a user out everywhere")
                .returns::<EndedBody>(200)
                .to(end_sessions),
            post(Audience::Public, "/v1/auth/set-password")
                .summary("Set the first password with the token from the mail")
                .limit(Limit::Login)
                .takes::<SetPasswordBody>()
                .returns::<SaidBody>(200)
                .to(set_password),
        ],
    );
    routes.extend(admin_routes(service));
    routes
}

fn admin_routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Admin, "/v1/admin/users/{id}/sessions")
                .summary("The devices on which a user is signed in")
                .paged()
                .returns::<Vec<SessionBody>>(200)
                .to(sessions),
            delete(Audience::Admin, "/v1/admin/users/{id}/sessions")
                .essential()
                .summary("Sign a user out everywhere")
                .returns::<EndedBody>(200)
                .to(end_all_sessions),
            delete(Audience::Admin, "/v1/admin/users/{id}/sessions/{session}")
                .essential()
                .summary("Sign a user out on one device")
                .returns::<Done>(200)
                .to(end_session),
            post(Audience::Admin, "/v1/admin/users/{id}/invite")
                .summary("Send the link to set a password once more")
                .limit(Limit::Mail)
                .returns::<Done>(200)
                .to(invite),
            get(Audience::Admin, "/v1/admin/enterprises")
                .summary("List the accounts of enterprises, newest first")
                .query::<EnterpriseQuery>()
                .paged()
                .returns::<Vec<EnterpriseBody>>(200)
                .to(enterprises),
            get(Audience::Admin, "/v1/admin/admins")
                .summary("List the admins")
                .paged()
                .returns::<Vec<UserBody>>(200)
                .to(admins),
            post(Audience::Admin, "/v1/admin/admins")
                .summary("Make a user an admin")
                .step_up()
                .describe("Their sessions end; they sign in again as an admin.")
                .takes::<GrantBody>()
                .returns::<UserBody>(200)
                .to(grant_admin),
            post(Audience::Admin, "/v1/admin/admins/links")
                .summary("Make a one-time link by which somebody becomes an admin")
                .step_up()
                .returns::<LinkBody>(201)
                .to(invite_admin),
            delete(Audience::Admin, "/v1/admin/admins/{id}")
                .summary("Make an admin a user again; never the last one")
                .step_up()
                .returns::<UserBody>(200)
                .to(revoke_admin),
        ],
    )
}

#[derive(Debug, Deserialize, IntoParams)]
struct EnterpriseQuery {
    /// `pending` (not approved yet), `active`, `suspended`, `banned`, `closed` or `all`.
    status: Option<String>,
    /// Part of a name or an address.
    q: Option<String>,
}

impl EnterpriseQuery {
    fn parse(self) -> kernel::Result<Filter> {
        let is_pending = self.status.as_deref() == Some("pending");
        let query = ListQuery {
            role: Some(Role::Enterprise.to_string()),
            status: if is_pending { Some("active".to_owned()) } else { self.status },
            q: self.q,
            sort: Sort::Newest,
        };
        Ok(Filter { approved: is_pending.then_some(false), ..query.parse()? })
    }
}

/// The account of an enterprise, as admins see it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EnterpriseAccount)]
struct EnterpriseBody {
    /// The organization's id. `GET /v1/admin/enterprises/{id}` shows its team and its keys.
    id: OrganizationId,
    account: UserBody,
}

async fn enterprises(
    State(service): State<Arc<Service>>,
    Query(query): Query<EnterpriseQuery>,
    paging: Paging,
) -> Reply<List<EnterpriseBody>> {
    let page = service.list(&query.parse()?, &paging.page).await?;
    Ok(paging.reply(
        page.map(|account| EnterpriseBody { id: account.id.same_as(), account: account.into() }),
    ))
}

async fn list(
    State(service): State<Arc<Service>>,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<UserBody>> {
    let page = service.list(&query.parse()?, &paging.page).await?;
    Ok(paging.reply(page.map(UserBody::from)))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = CreateUser)]
struct CreateBody {
    /// 1 to 100 characters.
    #[schema(example = "Anne Cooper")]
    name: String,
    #[schema(example = "anne@example.org")]
    email: String,
    /// `user`, `verifier` or `enterprise`.
    #[serde(default = "user")]
    role: Role,
    /// Whether a verifier or an enterprise may act for others at once.
    #[serde(default)]
    approved: bool,
}

const fn user() -> Role {
    Role::User
}

async fn create(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<CreateBody>,
) -> Reply<Created<UserBody>> {
    let CreateBody { name, email, role, approved } = body;
    let new = NewPerson::parse(&name, &email, role, approved)?;
    Ok(Created(service.create(&caller, &new).await?.into()))
}

async fn show(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
) -> Reply<Json<UserBody>> {
    Ok(Json(service.get(&caller, id).await?.into()))
}

async fn change(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
    Json(body): Json<ChangeBody>,
) -> Reply<Json<UserBody>> {
    Ok(Json(service.change(&caller, id, &body.parse()?).await?.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SetPassword)]
struct SetPasswordBody {
    /// From the link in the mail.
    token: SecretText,
    /// 8 to 256 bytes.
    password: SecretText,
}

/// What happened, for people.
#[derive(Serialize, ToSchema)]
#[schema(as = PasswordSet)]
struct SaidBody {
    message: &'static str,
}

async fn set_password(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<SetPasswordBody>,
) -> Reply<Json<SaidBody>> {
    service.set_password(&caller, body.token.expose(), body.password).await?;
    Ok(Json(SaidBody { message: "Your password is set. You can sign in now." }))
}

async fn sessions(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
    paging: Paging,
) -> Reply<List<SessionBody>> {
    let current = caller.principal()?.session;
    let page = service.sessions(id, &paging.page).await?;
    Ok(paging.reply(page.map(|session| SessionBody::of(session, current))))
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EndedSessions)]
struct EndedBody {
    success: bool,
    /// How many sessions ended.
    ended: usize,
}

async fn end_sessions(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
) -> Reply<Json<EndedBody>> {
    let ended = service.end_sessions(&caller, id).await?;
    Ok(Json(EndedBody { success: true, ended }))
}

async fn end_all_sessions(
    state: State<Arc<Service>>,
    by: By,
    at: At<UserId>,
) -> Reply<Json<EndedBody>> {
    end_sessions(state, by, at).await
}

async fn end_session(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At((id, session)): At<(UserId, SessionId)>,
) -> Reply<Json<Done>> {
    service.end_session(&caller, id, session).await?;
    Ok(Done::reply())
}

async fn invite(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
) -> Reply<Json<Done>> {
    service.invite(&caller, id).await?;
    Ok(Done::reply())
}

async fn admins(State(service): State<Arc<Service>>, paging: Paging) -> Reply<List<UserBody>> {
    let filter = Filter { role: Some(Role::Admin), ..Filter::default() };
    let page = service.list(&filter, &paging.page).await?;
    Ok(paging.reply(page.map(UserBody::from)))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = GrantAdmin)]
struct GrantBody {
    user_id: UserId,
}

async fn grant_admin(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<GrantBody>,
) -> Reply<Json<UserBody>> {
    Ok(Json(service.grant_admin(&caller, body.user_id).await?.into()))
}

/// A link that makes an admin, shown once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminLink)]
struct LinkBody {
    url: String,
    expires_at: Timestamp,
}

async fn invite_admin(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Created<LinkBody>> {
    let link = service.invite_admin(&caller).await?;
    Ok(Created(LinkBody { url: link.url.expose().clone(), expires_at: link.expires_at }))
}

async fn revoke_admin(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<UserId>,
) -> Reply<Json<UserBody>> {
    Ok(Json(service.revoke_admin(&caller, id).await?.into()))
}
