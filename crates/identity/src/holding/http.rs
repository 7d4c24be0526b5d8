//! The accounts that users hold, over HTTP.

use std::sync::Arc;

use axum::extract::State;
use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Id, Result, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, List, Paging, Query, Reply, Route, delete, get, patch,
    post, table,
};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Bio, Change, Filter, Holding, New, Plan, Service, Status};
use crate::account::{Avatar, Name};
use crate::accounttype::may_upload;

// Named without their parameters, which have no schemas of their own.
type AccountId = Id<kinds::Holding>;
type AccountTypeId = Id<kinds::AccountType>;
type UserId = Id<kinds::User>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/accounts")
                .summary("List one's accounts, newest first; as an admin, everybody's")
                .query::<ListQuery>()
                .paged()
                .returns::<Vec<AccountBody>>(200)
                .to(list),
            post(Audience::Any, "/v1/accounts")
                .summary("Open an account of a type")
                .describe("One account of a type for each owner: a second one is refused (409).")
                .takes::<NewBody>()
                .returns::<AccountBody>(201)
                .to(create),
            get(Audience::Any, "/v1/accounts/{id}")
                .summary("One account")
                .returns::<AccountBody>(200)
                .to(show),
            patch(Audience::Any, "/v1/accounts/{id}")
                .summary("Change an account")
                .takes::<ChangeBody>()
                .returns::<AccountBody>(200)
                .to(change),
            delete(Audience::Any, "/v1/accounts/{id}")
                .summary("Delete an account")
                .returns::<Done>(200)
                .to(remove),
        ],
    )
}

#[derive(Deserialize, IntoParams)]
struct ListQuery {
    /// Accounts of this type only.
    #[param(value_type = Option<String>)]
    r#type: Option<AccountTypeId>,
    /// For admins: accounts of this user only.
    #[param(value_type = Option<String>)]
    owner: Option<UserId>,
}

/// An account of some type.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HeldAccount)]
struct AccountBody {
    id: AccountId,
    owner: UserId,
    r#type: AccountTypeId,
    /// The type's number and name, as in `/v1/account-types`.
    type_number: i32,
    type_name: String,
    name: String,
    bio: String,
    status: Status,
    plan: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
    /// Whether its type lets it upload.
    may_upload: bool,
    plays: i64,
    likes: i64,
    follows: i64,
    shares: i64,
    /// Grows with every change.
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Holding> for AccountBody {
    fn from(holding: Holding) -> Self {
        Self {
            id: holding.id,
            owner: holding.owner,
            r#type: holding.kind.id,
            type_number: holding.kind.number.get(),
            may_upload: may_upload(&holding.kind),
            type_name: holding.kind.name,
            name: holding.name,
            bio: holding.bio,
            status: holding.status,
            plan: holding.plan,
            avatar: holding.avatar,
            plays: holding.plays,
            likes: holding.likes,
            follows: holding.follows,
            shares: holding.shares,
            version: holding.version,
            created_at: holding.created_at,
            updated_at: holding.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewHeldAccount)]
struct NewBody {
    r#type: AccountTypeId,
    /// 1 to 100 characters.
    name: String,
    /// At most 1000 characters.
    #[serde(default)]
    bio: String,
    /// 0 to 100, where 0 costs nothing.
    #[serde(default)]
    plan: i64,
    /// An https URL of at most 2048 bytes.
    avatar: Option<String>,
    /// For admins: whose account it becomes. The caller's own when left out.
    owner: Option<UserId>,
}

impl NewBody {
    fn parse(self) -> Result<New> {
        let mut fields = Fields::new();
        let name = fields.take(Name::parse(&self.name));
        let bio = fields.take(Bio::parse(&self.bio));
        let plan = fields.take(Plan::parse(self.plan));
        let avatar = self.avatar.and_then(|avatar| fields.take(Avatar::parse(&avatar)));
        match (name, bio, plan) {
            (Some(name), Some(bio), Some(plan)) => {
                fields.check()?;
                Ok(New { kind: self.r#type, name, bio, plan, avatar })
            }
            _ => Err(fields.into_error()),
        }
    }
}

/// What stays out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = HeldAccountChange)]
struct ChangeBody {
    name: Option<String>,
    bio: Option<String>,
    status: Option<Status>,
    plan: Option<i64>,
    /// An https URL of at most 2048 bytes; null takes the picture away.
    #[serde(default, deserialize_with = "some")]
    #[schema(value_type = Option<String>)]
    avatar: Option<Option<String>>,
    /// The version that was read: an account that has changed since is not changed (409).
    version: Option<i64>,
}

/// Tells a null from what is not there.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl ChangeBody {
    fn parse(self) -> Result<Change> {
        let mut fields = Fields::new();
        let change = Change {
            name: self.name.and_then(|name| fields.take(Name::parse(&name))),
            bio: self.bio.and_then(|bio| fields.take(Bio::parse(&bio))),
            status: self.status,
            plan: self.plan.and_then(|plan| fields.take(Plan::parse(plan))),
            avatar: self
                .avatar
                .map(|avatar| avatar.and_then(|avatar| fields.take(Avatar::parse(&avatar)))),
            version: self.version,
        };
        fields.check()?;
        Ok(change)
    }
}

async fn list(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<ListQuery>,
    paging: Paging,
) -> Reply<List<AccountBody>> {
    let filter = Filter { owner: query.owner, kind: query.r#type };
    let page = service.list(&caller, filter, &paging.page).await?;
    Ok(paging.reply(page.map(AccountBody::from)))
}

async fn create(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<AccountBody>> {
    let owner = body.owner;
    Ok(Created(service.create(&caller, owner, &body.parse()?).await?.into()))
}

async fn show(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<AccountId>,
) -> Reply<Json<AccountBody>> {
    Ok(Json(service.get(&caller, id).await?.into()))
}

async fn change(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<AccountId>,
    Json(body): Json<ChangeBody>,
) -> Reply<Json<AccountBody>> {
    Ok(Json(service.change(&caller, id, &body.parse()?).await?.into()))
}

async fn remove(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<AccountId>,
) -> Reply<Json<Done>> {
    service.delete(&caller, id).await?;
    Ok(Done::reply())
}
