//! Account types over HTTP.

use std::sync::Arc;

use axum::extract::State;
use kernel::error::Fields;
use kernel::id::kinds;
use kernel::{Id, Result, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, List, Paging, Reply, Route, delete, get, patch, post,
    table,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AccountType, Change, Description, New, Permissions, Service, TypeName, may_upload};

// Named without its parameter, which has no schema of its own.
type AccountTypeId = Id<kinds::AccountType>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Any, "/v1/account-types")
                .summary("List the kinds of account that one may hold, newest first")
                .paged()
                .returns::<Vec<AccountTypeBody>>(200)
                .to(list),
            post(Audience::Admin, "/v1/account-types")
                .summary("Add an account type")
                .takes::<NewBody>()
                .returns::<AccountTypeBody>(201)
                .to(create),
            get(Audience::Any, "/v1/account-types/{id}")
                .summary("One account type")
                .returns::<AccountTypeBody>(200)
                .to(show),
            patch(Audience::Admin, "/v1/account-types/{id}")
                .summary("Change an account type")
                .takes::<ChangeBody>()
                .returns::<AccountTypeBody>(200)
                .to(change),
            delete(Audience::Admin, "/v1/account-types/{id}")
                .summary("Delete an account type that no account uses")
                .returns::<Done>(200)
                .to(remove),
        ],
    )
}

/// A kind of account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccountType)]
struct AccountTypeBody {
    id: AccountTypeId,
    /// 1 user, 2 artist, 3 producer, 4 writer, 5 label; more as admins add them.
    number: i32,
    name: String,
    description: String,
    #[schema(example = json!(["Upload Songs"]))]
    permissions: Vec<String>,
    /// Whether any of the permissions is one to upload.
    may_upload: bool,
    /// Grows with every change.
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<AccountType> for AccountTypeBody {
    fn from(kind: AccountType) -> Self {
        Self {
            may_upload: may_upload(&kind),
            id: kind.id,
            number: kind.number.get(),
            name: kind.name,
            description: kind.description,
            permissions: kind.permissions.as_slice().to_vec(),
            version: kind.version,
            created_at: kind.created_at,
            updated_at: kind.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewAccountType)]
struct NewBody {
    /// 1 to 2147483647, and not taken.
    number: i64,
    /// 2 to 40 characters, and not taken.
    name: String,
    /// At most 500 characters.
    #[serde(default)]
    description: String,
    /// At most 50, each 1 to 64 characters.
    #[serde(default)]
    permissions: Vec<String>,
}

/// What stays out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AccountTypeChange)]
struct ChangeBody {
    name: Option<String>,
    description: Option<String>,
    permissions: Option<Vec<String>>,
    /// The version that was read: a type that has changed since is not changed (409).
    version: Option<i64>,
}

impl ChangeBody {
    fn parse(self) -> Result<Change> {
        let mut fields = Fields::new();
        let change = Change {
            name: self.name.and_then(|name| fields.take(TypeName::parse(&name))),
            description: self.description.and_then(|text| fields.take(Description::parse(&text))),
            permissions: self.permissions.and_then(|words| fields.take(Permissions::parse(words))),
            version: self.version,
        };
        fields.check()?;
        Ok(change)
    }
}

async fn list(State(service): State<Arc<Service>>, paging: Paging) -> Reply<List<AccountTypeBody>> {
    let page = service.list(&paging.page).await?;
    Ok(paging.reply(page.map(AccountTypeBody::from)))
}

async fn create(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<NewBody>,
) -> Reply<Created<AccountTypeBody>> {
    let new = New::parse(body.number, &body.name, &body.description, body.permissions)?;
    Ok(Created(service.create(&caller, &new).await?.into()))
}

async fn show(
    State(service): State<Arc<Service>>,
    At(id): At<AccountTypeId>,
) -> Reply<Json<AccountTypeBody>> {
    Ok(Json(service.get(id).await?.into()))
}

async fn change(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<AccountTypeId>,
    Json(body): Json<ChangeBody>,
) -> Reply<Json<AccountTypeBody>> {
    Ok(Json(service.change(&caller, id, &body.parse()?).await?.into()))
}

async fn remove(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<AccountTypeId>,
) -> Reply<Json<Done>> {
    service.delete(&caller, id).await?;
    Ok(Done::reply())
}
