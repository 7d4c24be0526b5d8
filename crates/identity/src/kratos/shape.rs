//! Our sessions and accounts in the shapes of Kratos's API (`session` and `identity` of its
//! OpenAPI document). Ids are bare UUIDs: the session's own, and the user's as the identity's.

use kernel::{Error, Level, Result, Timestamp};
use serde::Serialize;
use serde_json::{Value as Json, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::PublicUrl;
use crate::account::Account;
use crate::session::{Method, Session};

/// The one identity schema there is.
pub(super) const SCHEMA_ID: &str = "default";

/// A session, as Kratos shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = KratosSession)]
pub(super) struct SessionBody<'a> {
    #[schema(value_type = String)]
    id: Uuid,
    active: bool,
    expires_at: Timestamp,
    /// When the person last showed who they are on it.
    authenticated_at: Timestamp,
    authenticator_assurance_level: Level,
    authentication_methods: Vec<MethodBody>,
    issued_at: Timestamp,
    identity: IdentityBody<'a>,
    devices: [DeviceBody<'a>; 1],
}

/// One way in which the person showed who they are.
#[derive(Serialize, ToSchema)]
#[schema(as = KratosMethod)]
struct MethodBody {
    method: &'static str,
    aal: Level,
    completed_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
}

/// The device of a session.
#[derive(Serialize, ToSchema)]
#[schema(as = KratosDevice)]
struct DeviceBody<'a> {
    #[schema(value_type = String)]
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    /// Nobody is looked up on a map: always empty.
    location: &'static str,
}

/// An account, as Kratos shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = KratosIdentity)]
struct IdentityBody<'a> {
    #[schema(value_type = String)]
    id: Uuid,
    schema_id: &'static str,
    schema_url: String,
    state: &'static str,
    state_changed_at: Timestamp,
    traits: TraitsBody<'a>,
    verifiable_addresses: [AddressBody<'a>; 1],
    recovery_addresses: [RecoveryBody<'a>; 1],
    /// Always null.
    #[schema(value_type = Object)]
    metadata_public: Json,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Always null.
    #[schema(value_type = Option<String>)]
    organization_id: Json,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KratosTraits)]
struct TraitsBody<'a> {
    email: &'a str,
    name: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KratosVerifiableAddress)]
struct AddressBody<'a> {
    #[schema(value_type = String)]
    id: Uuid,
    value: &'a str,
    verified: bool,
    via: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KratosRecoveryAddress)]
struct RecoveryBody<'a> {
    #[schema(value_type = String)]
    id: Uuid,
    value: &'a str,
    via: &'static str,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> SessionBody<'a> {
    /// A session that lives, and the account that it is of.
    pub(super) fn of(session: &'a Session, account: &'a Account, url: &PublicUrl) -> Self {
        Self {
            id: session.id.uuid(),
            active: true,
            expires_at: session.expires_at,
            authenticated_at: session.proven_at,
            authenticator_assurance_level: session.proof.level,
            authentication_methods: methods(session),
            issued_at: session.created_at,
            identity: identity(account, url),
            devices: [DeviceBody {
                id: session.id.uuid(),
                ip_address: session.device.ip.map(|ip| ip.to_string()),
                user_agent: session.device.user_agent.as_deref(),
                location: "",
            }],
        }
    }

    /// As it is sent.
    pub(super) fn bytes(&self) -> Result<bytes::Bytes> {
        serde_json::to_vec(self)
            .map(bytes::Bytes::from)
            .map_err(|error| Error::internal("a session cannot be shown").because(error))
    }
}

/// Kratos has no word for one of its own sessions, which is another provider's to us; looking
/// through somebody's eyes is no way to show who one is.
fn methods(session: &Session) -> Vec<MethodBody> {
    let (level, last) = (session.proof.level, session.proof.methods.len().saturating_sub(1));
    let body = |(place, method): (usize, &Method)| {
        let (method, aal, provider) = match method {
            Method::Password => ("password", Level::One, None),
            Method::Totp => ("totp", Level::Two, None),
            Method::RecoveryCode => ("lookup_secret", Level::Two, None),
            // Alone it holds both factors.
            Method::Passkey => ("passkey", if last == 0 { level } else { Level::Two }, None),
            Method::Kratos => ("oidc", level, Some("kratos")),
            Method::Impersonation => return None,
        };
        // When each of several was used is not kept: the first when it began, the others last.
        let first = place == 0 && last > 0;
        let completed_at = if first { session.created_at } else { session.proven_at };
        Some(MethodBody { method, aal, completed_at, provider })
    };
    session.proof.methods.iter().enumerate().filter_map(body).collect()
}

fn identity<'a>(account: &'a Account, url: &PublicUrl) -> IdentityBody<'a> {
    let Account { created_at, updated_at, email_verified_at, .. } = *account;
    let (id, value, via) = (account.id.uuid(), account.email.shown(), "email");
    IdentityBody {
        id,
        schema_id: SCHEMA_ID,
        schema_url: url.link("/schemas/default"),
        state: "active",
        state_changed_at: created_at,
        traits: TraitsBody { email: value, name: &account.name },
        verifiable_addresses: [AddressBody {
            id,
            value,
            verified: email_verified_at.is_some(),
            via,
            status: if email_verified_at.is_some() { "completed" } else { "sent" },
            verified_at: email_verified_at,
            created_at,
            updated_at,
        }],
        recovery_addresses: [RecoveryBody { id, value, via, created_at, updated_at }],
        metadata_public: Json::Null,
        created_at,
        updated_at,
        organization_id: Json::Null,
    }
}

/// The schema of the traits above.
pub(super) fn schema(url: &PublicUrl) -> Json {
    json!({
        "$id": url.link("/schemas/default"),
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Person",
        "type": "object",
        "properties": { "traits": {
            "type": "object",
            "properties": {
                "email": { "type": "string", "format": "email", "title": "E-Mail",
                    "ory.sh/kratos": {
                        "credentials": { "password": { "identifier": true } },
                        "verification": { "via": "email" },
                        "recovery": { "via": "email" },
                    } },
                "name": { "type": "string", "title": "Name", "minLength": 1, "maxLength": 100 },
            },
            "required": ["email", "name"],
            "additionalProperties": false,
        } },
    })
}
