//! Lost passwords and new ones.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use kernel::Secret;
use platform::http::{Audience, By, Json, Limit, Reply, Route, patch, post, table};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Service;
use crate::account::Email;
use crate::account::http::Said;
use crate::factor::http::{ProvenBody, proof, renewed};
use crate::password::Password;

// Named without its parameter, which has no schema of its own.
type SecretText = Secret<String>;

pub fn routes(service: &Arc<Service>) -> Vec<Route> {
    table(
        service,
        [
            post(Audience::Public, "/v1/auth/forgot-password")
                .summary("Send a link with which a new password can be set")
                .describe(
                    "The answer is the same, after the same time, whether or not there is such an \
                     account. The link works once and for an hour.",
                )
                .limit(Limit::Mail)
                .takes::<ForgotBody>()
                .returns::<Said>(200)
                .to(forgot_password),
            post(Audience::Public, "/v1/auth/reset-password")
                .summary("Set a new password with the token from the mail; ends all sessions")
                .limit(Limit::Login)
                .takes::<ResetBody>()
                .returns::<Said>(200)
                .to(reset_password),
            patch(Audience::Any, "/v1/me/security")
                .summary("Change the password; ends all other sessions")
                .describe(
                    "The calling session is renewed: its old tokens and cookie are dead, and the \
                     answer has new ones.",
                )
                .limit(Limit::Login)
                .step_up()
                .takes::<SecurityBody>()
                .returns::<SecurityChangedBody>(200)
                .to(change_password),
        ],
    )
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ForgotPassword)]
struct ForgotBody {
    #[schema(example = "anne@example.org")]
    email: String,
}

async fn forgot_password(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<ForgotBody>,
) -> Reply<Json<Said>> {
    service.forgot_password(&caller, &Email::parse(&body.email)?).await?;
    Ok(Json(Said { message: "If there is an account with the address, a mail is on its way." }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ResetPassword)]
struct ResetBody {
    /// From the link in the mail.
    token: SecretText,
    /// 8 to 256 bytes.
    new_password: SecretText,
}

async fn reset_password(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<ResetBody>,
) -> Reply<Json<Said>> {
    service.reset_password(&caller, body.token.expose(), body.new_password).await?;
    Ok(Json(Said { message: "The new password is set. You can sign in with it now." }))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SecurityChange)]
struct SecurityBody {
    current_password: SecretText,
    /// 8 to 256 bytes.
    new_password: SecretText,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SecurityChanged)]
struct SecurityChangedBody {
    success: bool,
    #[serde(flatten)]
    proof: ProvenBody,
}

async fn change_password(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Json(body): Json<SecurityBody>,
) -> Reply<Response> {
    let current = Password::presented("/currentPassword", body.current_password)?;
    let proven = service.change_password(&caller, &current, body.new_password).await?;
    let (proof, cookie) = proof(proven);
    let response = Json(SecurityChangedBody { success: true, proof }).into_response();
    Ok(renewed(service.sessions(), response, cookie)?)
}
