//! Registering passkeys, signing in with them, and one's own list of them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::id::kinds;
use kernel::{Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Done, Json, Limit, Query, Reply, Route, delete, get, patch, post,
    table,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use webauthn_rs::prelude::{PublicKeyCredential, RegisterPublicKeyCredential};

use super::{Passkey, Service};
use crate::account::Name;
use crate::factor::http::{ProvenBody, proof, renewed};
use crate::session::http::{LoginQuery, LoginReply, not_stored, welcome};

// Named without its parameter, which has no schema of its own.
type PasskeyId = Id<kinds::Passkey>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Any, "/v1/auth/passkeys/register/start")
                .with_one_factor()
                .summary("Begin to add a passkey (Web Authentication Level 3)")
                .describe("Answers the options for `navigator.credentials.create`, as JSON.")
                .step_up()
                .returns::<OptionsBody>(200)
                .to(start_registration),
            post(Audience::Any, "/v1/auth/passkeys/register/finish")
                .with_one_factor()
                .summary("Add the passkey that the authenticator has made")
                .describe(
                    "With what `navigator.credentials.create` brought, as its `toJSON()` writes \
                     it, within five minutes and on the same session. The session has two factors \
                     from now on, and is renewed: its old tokens and cookie are dead, and the \
                     answer has new ones.",
                )
                .takes::<RegisterBody>()
                .returns::<RegisteredBody>(201)
                .to(register),
            post(Audience::Public, "/v1/auth/passkeys/login/start")
                .summary("Begin to sign in by passkey")
                .describe("Answers the options for `navigator.credentials.get`, as JSON.")
                .limit(Limit::Login)
                .returns::<OptionsBody>(200)
                .to(start_login),
            post(Audience::Public, "/v1/auth/passkeys/login/finish")
                .summary("Sign in by passkey: no name, no password, no code")
                .describe(
                    "With what `navigator.credentials.get` brought, as its `toJSON()` writes it, \
                     within five minutes. The session has two factors.",
                )
                .limit(Limit::Login)
                .query::<LoginQuery>()
                .takes::<LoginBody>()
                .returns::<LoginReply>(200)
                .to(login),
            post(Audience::Any, "/v1/auth/step-up/passkey")
                .with_one_factor()
                .summary("Begin to show a passkey once more")
                .describe(
                    "Answers the options for `navigator.credentials.get`, as JSON; what it brings \
                     goes to `POST /v1/auth/step-up`.",
                )
                .limit(Limit::Login)
                .returns::<OptionsBody>(200)
                .to(start_proof),
            get(Audience::Any, "/v1/auth/passkeys")
                .with_one_factor()
                .summary("List one's passkeys")
                .returns::<Vec<PasskeyBody>>(200)
                .to(list),
            patch(Audience::Any, "/v1/auth/passkeys/{id}")
                .summary("Rename a passkey")
                .takes::<RenameBody>()
                .returns::<Done>(200)
                .to(rename),
            delete(Audience::Any, "/v1/auth/passkeys/{id}")
                .summary("Remove a passkey")
                .step_up()
                .returns::<Done>(200)
                .to(remove),
        ],
    )
}

/// What an authenticator has made or signed, in the JSON of Web Authentication Level 3, sections
/// 5.1.8 and 5.1.9. It is large, and its members are the standard's.
#[derive(Debug)]
pub(in crate::factor) struct Credential<T>(pub(in crate::factor) Box<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Credential<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|credential| Self(Box::new(credential)))
    }
}

/// The options of a ceremony, as browsers take them.
#[derive(Serialize, ToSchema)]
#[schema(as = PasskeyOptions)]
struct OptionsBody {
    /// For `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`.
    #[serde(rename = "publicKey")]
    #[schema(value_type = Object)]
    public_key: Value,
}

fn options(mut options: Value) -> Response {
    let public_key = options["publicKey"].take();
    not_stored(Json(OptionsBody { public_key }).into_response())
}

async fn start_registration(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Response> {
    Ok(options(service.start_registration(&caller).await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegisterBody {
    /// What its owner calls it, 1 to 100 characters.
    #[serde(default = "unnamed")]
    #[schema(example = "My phone")]
    name: String,
    /// A `RegistrationResponseJSON`.
    #[schema(value_type = Object)]
    credential: Credential<RegisterPublicKeyCredential>,
}

fn unnamed() -> String {
    "Passkey".to_owned()
}

/// A passkey of the caller's.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Passkey)]
struct PasskeyBody {
    id: PasskeyId,
    name: String,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
}

/// A new passkey, and what shows the session from now on.
#[derive(Serialize, ToSchema)]
#[schema(as = RegisteredPasskey)]
struct RegisteredBody {
    #[serde(flatten)]
    passkey: PasskeyBody,
    #[serde(flatten)]
    proof: ProvenBody,
}

impl From<Passkey> for PasskeyBody {
    fn from(passkey: Passkey) -> Self {
        let Passkey { id, name, created_at, last_used_at, .. } = passkey;
        Self { id, name, created_at, last_used_at }
    }
}

async fn register(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<RegisterBody>,
) -> Reply<Response> {
    let name = Name::parse(&body.name)?;
    let (passkey, proven) = service.register(&caller, &name, &body.credential.0).await?;
    let (proof, cookie) = proof(proven);
    let body = RegisteredBody { passkey: passkey.into(), proof };
    Ok(renewed(service.sessions(), Created(body).into_response(), cookie)?)
}

async fn start_login(State(service): State<Arc<Service>>) -> Reply<Response> {
    Ok(options(service.start_login().await?))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LoginBody {
    /// An `AuthenticationResponseJSON`.
    #[schema(value_type = Object)]
    credential: Credential<PublicKeyCredential>,
}

async fn login(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Query(query): Query<LoginQuery>,
    Json(body): Json<LoginBody>,
) -> Reply<Response> {
    let signed_in = service.login(&caller, &body.credential.0, query.cookie).await?;
    Ok(welcome(service.sessions(), signed_in)?)
}

async fn start_proof(State(service): State<Arc<Service>>, By(caller): By) -> Reply<Response> {
    Ok(options(service.start_proof(&caller).await?))
}

async fn list(
    State(service): State<Arc<Service>>,
    By(caller): By,
) -> Reply<Json<Vec<PasskeyBody>>> {
    let passkeys = service.list(caller.user()?).await?;
    Ok(Json(passkeys.into_iter().map(PasskeyBody::from).collect()))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenameBody {
    /// 1 to 100 characters.
    #[schema(example = "My phone")]
    name: String,
}

async fn rename(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<PasskeyId>,
    Json(body): Json<RenameBody>,
) -> Reply<Json<Done>> {
    service.rename(&caller, id, &Name::parse(&body.name)?).await?;
    Ok(Done::reply())
}

async fn remove(
    State(service): State<Arc<Service>>,
    By(caller): By,
    At(id): At<PasskeyId>,
) -> Reply<Json<Done>> {
    service.remove(&caller, id).await?;
    Ok(Done::reply())
}
