//! Organizations and their teams over HTTP.

use std::sync::Arc;

use axum::extract::State;
use kernel::id::kinds;
use kernel::{Error, Id, Permission, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, Limit, List, Paging, Reply, Route, delete, get, patch,
    post, table,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model::{self, Change, Invitation, MemberRole};
use super::rules;
use super::service::{Colleague, Inspected, Service, View};

// Named without their parameters, which have no schemas of their own.
type OrganizationId = Id<kinds::Organization>;
type InvitationId = Id<kinds::Invitation>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Enterprise, "/v1/enterprise/me")
                .summary("Read my organization, and what I am in it")
                .returns::<OrganizationBody>(200)
                .to(me),
            patch(Audience::Enterprise, "/v1/enterprise/me")
                .summary("Change what the organization says of itself")
                .takes::<ChangeBody>()
                .returns::<OrganizationBody>(200)
                .to(edit),
            get(Audience::Admin, "/v1/admin/enterprises/{id}")
                .summary("Look at an enterprise: its account, what it says of itself, its team")
                .returns::<InspectedBody>(200)
                .to(inspect),
            get(Audience::Enterprise, "/v1/enterprise/team")
                .summary("List the team")
                .paged()
                .returns::<Vec<MemberBody>>(200)
                .to(list),
            post(Audience::Enterprise, "/v1/enterprise/team/invite")
                .summary("Ask somebody to join the team, by mail")
                .describe(
                    "The link works once, for seven days, and for an account with this address. \
                     Inviting the same address again sends another one in its place. `editor` is \
                     read as `member`.",
                )
                .limit(Limit::Mail)
                .takes::<InviteBody>()
                .returns::<InvitationBody>(201)
                .to(invite),
            get(Audience::Enterprise, "/v1/enterprise/team/invitations")
                .summary("List invitations that nobody has accepted")
                .paged()
                .returns::<Vec<InvitationBody>>(200)
                .to(invitations),
            delete(Audience::Enterprise, "/v1/enterprise/team/invitations/{id}")
                .summary("Take an invitation back")
                .returns::<Done>(200)
                .to(withdraw),
            post(Audience::Any, "/v1/enterprise/team/join")
                .summary("Accept an invitation into a team")
                .describe(
                    "For accounts of the roles user and enterprise with the address that the \
                     invitation was sent to. An enterprise that is approved itself joins no other.",
                )
                .limit(Limit::Login)
                .in_person()
                .takes::<JoinBody>()
                .returns::<OrganizationBody>(200)
                .to(join),
            post(Audience::Any, "/v1/invitations/{token}/accept")
                .summary("Accept an invitation by its link")
                .describe("The same as `POST /v1/enterprise/team/join`.")
                .in_person()
                .returns::<OrganizationBody>(200)
                .to(accept),
            patch(Audience::Enterprise, "/v1/enterprise/team/{id}")
                .summary("Change what somebody is in the team")
                .takes::<RoleBody>()
                .returns::<MemberBody>(200)
                .to(set_role),
            delete(Audience::Enterprise, "/v1/enterprise/team/{id}")
                .summary("Take somebody out of the team, or leave it")
                .describe("Everybody may leave; others are for admins and owners to remove.")
                .needs(Permission::OrganizationRead)
                .returns::<Done>(200)
                .to(remove),
        ],
    )
}

/// An organization, and what the caller is in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Organization)]
struct OrganizationBody {
    id: OrganizationId,
    /// The account that the organization is.
    account_id: UserId,
    name: String,
    website: String,
    /// ISO 3166-1, two letters.
    country: String,
    registration_number: String,
    created_at: Timestamp,
    /// What I am in the team.
    #[schema(inline)]
    role: MemberRole,
    #[schema(inline)]
    permissions: Vec<Permission>,
}

impl From<View> for OrganizationBody {
    fn from(view: View) -> Self {
        let View { organization, role, .. } = view;
        Self {
            id: organization.id,
            account_id: organization.account(),
            name: organization.name,
            website: organization.website,
            country: organization.country,
            registration_number: organization.registration_number,
            created_at: organization.created_at,
            role,
            permissions: rules::permissions(role).iter().collect(),
        }
    }
}

/// An enterprise as admins see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Enterprise)]
struct InspectedBody {
    id: OrganizationId,
    account_id: UserId,
    /// Of the account.
    email: String,
    #[schema(inline)]
    status: rpc::users::Status,
    approved: bool,
    /// As the organization calls itself; the account's name until it has looked at itself.
    name: String,
    website: String,
    /// ISO 3166-1, two letters.
    country: String,
    registration_number: String,
    /// People in the team; the account is not counted.
    members: i64,
    /// API keys that are not revoked.
    api_keys: i64,
}

impl From<Inspected> for InspectedBody {
    fn from(Inspected { account, organization, members, keys }: Inspected) -> Self {
        let body = Self {
            id: account.id.same_as(),
            account_id: account.id,
            email: account.email,
            status: account.status,
            approved: account.approved,
            name: account.name,
            website: String::new(),
            country: String::new(),
            registration_number: String::new(),
            members,
            api_keys: keys,
        };
        let Some(organization) = organization else { return body };
        Self {
            name: organization.name,
            website: organization.website,
            country: organization.country,
            registration_number: organization.registration_number,
            ..body
        }
    }
}

async fn inspect(
    State(service): State<Arc<Service>>,
    At(id): At<OrganizationId>,
) -> Reply<Json<InspectedBody>> {
    Ok(Json(service.inspect(id).await?.into()))
}

/// What changes; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = OrganizationChange)]
struct ChangeBody {
    name: Option<String>,
    /// An https address; empty for none.
    website: Option<String>,
    /// ISO 3166-1, two capital letters; empty for none.
    country: Option<String>,
    registration_number: Option<String>,
}

impl ChangeBody {
    fn parse(&self) -> kernel::Result<Change> {
        let Self { name, website, country, registration_number } = self;
        let number = registration_number.as_deref();
        Change::parse(name.as_deref(), website.as_deref(), country.as_deref(), number)
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TeamMember)]
struct MemberBody {
    id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[schema(inline)]
    role: MemberRole,
    #[serde(skip_serializing_if = "Option::is_none")]
    invited_by: Option<UserId>,
    joined_at: Timestamp,
}

impl From<Colleague> for MemberBody {
    fn from(of: Colleague) -> Self {
        let (name, email) = of.profile.map(|profile| (profile.name, profile.email)).unzip();
        Self {
            id: of.member.person,
            name,
            email,
            role: of.member.role,
            invited_by: of.member.invited_by,
            joined_at: of.member.joined_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TeamInvite)]
struct InviteBody {
    email: String,
    #[schema(inline)]
    role: MemberRole,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TeamInvitation)]
struct InvitationBody {
    id: InvitationId,
    email: String,
    #[schema(inline)]
    role: MemberRole,
    invited_by: UserId,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl From<Invitation> for InvitationBody {
    fn from(one: Invitation) -> Self {
        Self {
            id: one.id,
            email: one.email,
            role: one.role,
            invited_by: one.invited_by,
            created_at: one.created_at,
            expires_at: one.expires_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TeamJoin)]
struct JoinBody {
    /// From the mail.
    token: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = TeamRoleChange)]
struct RoleBody {
    #[schema(inline)]
    role: MemberRole,
}

type On = State<Arc<Service>>;

async fn me(State(service): On, By(caller): By) -> Reply<Json<OrganizationBody>> {
    Ok(Json(service.me(&caller).await?.into()))
}

async fn edit(
    State(service): On,
    By(caller): By,
    Json(body): Json<ChangeBody>,
) -> Reply<Json<OrganizationBody>> {
    Ok(Json(service.edit(&caller, &body.parse()?).await?.into()))
}

async fn list(State(service): On, By(caller): By, paging: Paging) -> Reply<List<MemberBody>> {
    let page = service.list(&caller, &paging.page).await?;
    Ok(paging.reply(page.map(MemberBody::from)))
}

async fn invite(
    State(service): On,
    By(caller): By,
    Json(body): Json<InviteBody>,
) -> Reply<Created<InvitationBody>> {
    let email = model::email(&body.email)?;
    Ok(Created(service.invite(&caller, &email, body.role).await?.into()))
}

async fn invitations(
    State(service): On,
    By(caller): By,
    paging: Paging,
) -> Reply<List<InvitationBody>> {
    let page = service.invitations(&caller, &paging.page).await?;
    Ok(paging.reply(page.map(InvitationBody::from)))
}

async fn withdraw(
    State(service): On,
    By(caller): By,
    At(id): At<InvitationId>,
) -> Reply<Json<Done>> {
    service.withdraw(&caller, id).await?;
    Ok(Done::reply())
}

async fn join(
    State(service): On,
    By(caller): By,
    Json(body): Json<JoinBody>,
) -> Reply<Json<OrganizationBody>> {
    if body.token.len() > 100 {
        return Err(Error::field("/token", "invalid", "not a token from a mail").into());
    }
    Ok(Json(service.join(&caller, &body.token).await?.into()))
}

async fn accept(
    State(service): On,
    By(caller): By,
    At(token): At<String>,
) -> Reply<Json<OrganizationBody>> {
    Ok(Json(service.accept(&caller, &token).await?.into()))
}

async fn set_role(
    State(service): On,
    By(caller): By,
    At(id): At<UserId>,
    Json(body): Json<RoleBody>,
) -> Reply<Json<MemberBody>> {
    Ok(Json(service.set_role(&caller, id, body.role).await?.into()))
}

async fn remove(State(service): On, By(caller): By, At(id): At<UserId>) -> Reply<Json<Done>> {
    service.remove(&caller, id).await?;
    Ok(Done::reply())
}
