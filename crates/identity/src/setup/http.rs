//! `POST /v1/setup`.

use std::sync::Arc;

use axum::extract::State;
use kernel::id::kinds::User;
use kernel::{Id, Role, Secret};
use platform::http::{Audience, By, Created, Json, Limit, Reply, Route, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Service;
use crate::account::Registration;

// Named without their parameters, which have no schemas of their own.
type UserId = Id<User>;
type SecretText = Secret<String>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [post(Audience::Public, "/v1/setup")
            .summary("Make an admin with a one-time set-up link")
            .limit(Limit::Login)
            .takes::<SetupBody>()
            .returns::<SetupReply>(201)
            .to(complete)],
    )
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetupBody {
    /// From the link.
    token: SecretText,
    name: String,
    email: String,
    /// 8 to 256 bytes.
    password: SecretText,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SetupReply {
    id: UserId,
    role: Role,
    message: &'static str,
}

async fn complete(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<SetupBody>,
) -> Reply<Created<SetupReply>> {
    let SetupBody { token, name, email, password } = body;
    let registration = Registration::parse(&name, &email, password, Role::Admin)?;
    let id = service.complete(&caller, token.expose(), &registration).await?;
    let message = "The account is ready. Sign in.";
    Ok(Created(SetupReply { id, role: Role::Admin, message }))
}
