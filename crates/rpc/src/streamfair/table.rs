//! The table of the RPCs: name, messages, and who may call. HTTP verb and path are those that the
//! `.proto` files name by `google.api.http`. The gRPC services, the routes of the JSON gateway and its
//! dispatch are all made of it.

use std::future::Future;
use std::sync::Arc;

use kernel::{Caller, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use tonic::{Request, Response, Status};

use super::{Streamfair, unknown_rpc};
use crate::client::Remote;
use crate::server::{Door, Front};
use crate::wire::pb;

/// How an RPC is called over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One RPC.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub service: &'static str,
    pub rpc: &'static str,
    /// The RPC's name in snake case.
    pub name: &'static str,
    pub verb: Verb,
    /// With `{field}` for the fields of the message that stand in it.
    pub path: &'static str,
    pub door: Door,
}

impl Row {
    /// Whether nothing changes by the RPC.
    pub fn reads(&self) -> bool {
        reads(self.rpc)
    }
}

fn reads(rpc: &str) -> bool {
    ["Get", "List", "Verify"].iter().any(|verb| rpc.starts_with(verb))
}

/// What a request message asks of the services.
pub(super) trait Call: DeserializeOwned + Send + 'static {
    type Reply: Serialize + Send;

    fn call(
        self,
        services: &Streamfair,
        caller: &Caller,
    ) -> impl Future<Output = Result<Self::Reply>> + Send;
}

/// The services behind the listener.
pub(crate) struct Served {
    front: Arc<Front>,
    services: Streamfair,
}

impl Served {
    pub(crate) fn new(front: Arc<Front>, services: Streamfair) -> Self {
        Self { front, services }
    }

    async fn serve<C: Call>(
        &self,
        (path, rpc): (&'static str, &'static str),
        door: Door,
        request: Request<C>,
    ) -> Result<Response<C::Reply>, Status> {
        let call = async {
            let caller = self.front.admit((door, reads(rpc)), &request, None).await?;
            request.into_inner().call(&self.services, &caller).await
        };
        self.front.answer(path, call).await
    }
}

/// Answers a request message that came as JSON.
async fn answer<C: Call>(
    services: &Streamfair,
    caller: &Caller,
    fields: Map<String, Json>,
) -> Result<Json> {
    let message: C = serde_json::from_value(Json::Object(fields)).map_err(|error| {
        Error::invalid("invalid_json", format!("The message cannot be read: {error}."))
    })?;
    let reply = serde_json::to_value(message.call(services, caller).await?)
        .map_err(|error| Error::internal("a reply cannot be written").because(error))?;
    // google.protobuf.Empty is an object without fields.
    Ok(if reply.is_null() { Json::Object(Map::new()) } else { reply })
}

/// Verb and path of each RPC, as the `.proto` files have them.
#[allow(non_upper_case_globals, reason = "RPCs are written so")]
mod http {
    use super::Verb;

    include!(concat!(env!("OUT_DIR"), "/streamfair_http.rs"));
}

macro_rules! rpcs {
    ($($service:ident in $module:ident {
        $($rpc:ident $name:ident($request:ident) -> $reply:ty: $door:ident;)*
    })*) => {
        $(#[tonic::async_trait]
        impl pb::$module::$service for Served {
            $(async fn $name(
                &self,
                request: Request<pb::$request>,
            ) -> Result<Response<$reply>, Status> {
                const PATH: &str = concat!("pb.", stringify!($service), "/", stringify!($rpc));
                Box::pin(self.serve((PATH, stringify!($rpc)), Door::$door, request)).await
            })*
        })*

        /// Every RPC, in the order of its service.
        pub const ROWS: &[Row] = &[$($(Row {
            service: stringify!($service),
            rpc: stringify!($rpc),
            name: stringify!($name),
            verb: http::$rpc.0,
            path: http::$rpc.1,
            door: Door::$door,
        },)*)*];

        /// Calls an RPC with the fields of its request message as JSON (proto3's mapping; unknown
        /// fields are passed over); answers the reply message as JSON. That the caller may call
        /// it at all is the edge's to say, by the row's door.
        ///
        /// # Errors
        /// `Invalid` `invalid_json`; whatever the RPC refuses.
        pub async fn call(
            services: &Streamfair,
            rpc: &str,
            caller: &Caller,
            fields: Map<String, Json>,
        ) -> Result<Json> {
            match rpc {
                $($(stringify!($rpc) => {
                    Box::pin(answer::<pb::$request>(services, caller, fields)).await
                })*)*
                _ => Err(unknown_rpc(rpc)),
            }
        }

        /// Calls an RPC of another process.
        pub(crate) async fn call_remote(
            remote: &Remote<'_>,
            rpc: &str,
            fields: Json,
        ) -> Result<Json> {
            match rpc {
                $($(stringify!($rpc) => {
                    let path = concat!("/pb.", stringify!($service), "/", stringify!($rpc));
                    Box::pin(remote.unary::<pb::$request, $reply>(path, fields)).await
                })*)*
                _ => Err(unknown_rpc(rpc)),
            }
        }
    };
}

rpcs! {
    UserService in user_service_server {
        CreateUser create_user(CreateUserRequest) -> pb::CreateUserResponse: Admin;
        DeleteUserById delete_user_by_id(DeleteUserByIdRequest) -> (): Any;
        DeleteUserByValue delete_user_by_value(DeleteUserByValueRequest) -> (): Any;
        GetUserById get_user_by_id(GetUserByIdRequest) -> pb::GetUserByIdResponse: Any;
        GetUserByValue get_user_by_value(GetUserByValueRequest) -> pb::GetUserByValueResponse: Any;
        ListUsers list_users(ListUsersRequest) -> pb::ListUsersResponse: Admin;
        UpdateUser update_user(UpdateUserRequest) -> pb::UpdateUserResponse: Any;
    }
    AccountService in account_service_server {
        CreateAccount create_account(CreateAccountRequest) -> pb::CreateAccountResponse: Any;
        ListAccountByOwner list_account_by_owner(ListAccountByOwnerRequest) -> pb::ListAccountByOwnerResponse: Any;
        CreateAccountType create_account_type(CreateAccountTypeRequest) -> pb::CreateAccountTypeResponse: Admin;
    }
    SessionService in session_service_server {
        CreateSession create_session(CreateSessionRequest) -> pb::CreateSessionResponse: Any;
        ExtendSession extend_session(ExtendSessionRequest) -> pb::ExtendSessionResponse: Any;
        GetSession get_session(GetSessionRequest) -> pb::GetSessionResponse: Unproved;
        DeleteSession delete_session(DeleteSessionRequest) -> (): Unproved;
        RevokeSession revoke_session(RevokeSessionRequest) -> (): Unproved;
        VerifySession verify_session(VerifySessionRequest) -> pb::VerifySessionResponse: Unproved;
    }
    TokenService in token_service_server {
        CreateToken create_token(CreateTokenRequest) -> pb::CreateTokenResponse: Any;
        GetTokenById get_token_by_id(GetTokenByIdRequest) -> pb::GetTokenByIdResponse: Any;
        GetTokenByValue get_token_by_value(GetTokenByValueRequest) -> pb::GetTokenByValueResponse: Any;
        RevokeTokenByValue revoke_token_by_value(RevokeTokenByValueRequest) -> (): Any;
        RevokeTokenById revoke_token_by_id(RevokeTokenByIdRequest) -> (): Any;
        DeleteTokenById delete_token_by_id(DeleteTokenByIdRequest) -> (): Any;
        DeleteTokenByValue delete_token_by_value(DeleteTokenByValueRequest) -> (): Any;
        ListRevokedTokens list_revoked_tokens(ListRevokedTokensRequest) -> pb::ListRevokedTokensResponse: Any;
        ListTokens list_tokens(ListTokensRequest) -> pb::ListTokensResponse: Any;
        VerifyToken verify_token(VerifyTokenRequest) -> pb::VerifyTokenResponse: Any;
        CreateRefreshToken create_refresh_token(CreateRefreshTokenRequest) -> pb::CreateRefreshTokenResponse: Any;
        GetRefreshTokenById get_refresh_token_by_id(GetRefreshTokenByIdRequest) -> pb::GetRefreshTokenByIdResponse: Any;
        GetRefreshTokenByValue get_refresh_token_by_value(GetRefreshTokenByValueRequest) -> pb::GetRefreshTokenByValueResponse: Any;
        RevokeRefreshTokenByValue revoke_refresh_token_by_value(RevokeRefreshTokenByValueRequest) -> (): Any;
        RevokeRefreshTokenById revoke_refresh_token_by_id(RevokeRefreshTokenByIdRequest) -> (): Any;
        DeleteRefreshTokenById delete_refresh_token_by_id(DeleteRefreshTokenByIdRequest) -> (): Any;
        DeleteRefreshTokenByValue delete_refresh_token_by_value(DeleteRefreshTokenByValueRequest) -> (): Any;
        ListRevokedRefreshTokens list_revoked_refresh_tokens(ListRevokedRefreshTokensRequest) -> pb::ListRevokedRefreshTokensResponse: Any;
        ListRefreshTokens list_refresh_tokens(ListRefreshTokensRequest) -> pb::ListRefreshTokensResponse: Any;
        VerifyRefreshToken verify_refresh_token(VerifyRefreshTokenRequest) -> pb::VerifyRefreshTokenResponse: Any;
    }
    IdentityProvider in identity_provider_server {
        LoginUserAccount login_user_account(LoginUserAccountRequest) -> pb::LoginUserAccountResponse: Login;
        RegisterUserAccount register_user_account(RegisterUserAccountRequest) -> pb::RegisterUserAccountResponse: Register;
        GetUserAccountByUsername get_user_account_by_username(GetUserAccountByUsernameRequest) -> pb::GetUserAccountByUsernameResponse: Any;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_thirty_nine_rpcs() {
        let of = |service| ROWS.iter().filter(|row| row.service == service).count();
        assert_eq!(of("UserService"), 7);
        assert_eq!(of("AccountService"), 3);
        assert_eq!(of("SessionService"), 6);
        assert_eq!(of("TokenService"), 20);
        assert_eq!(of("IdentityProvider"), 3);
        assert_eq!(ROWS.len(), 39);
        let paths: HashSet<_> = ROWS.iter().map(|row| row.path).collect();
        assert_eq!(paths.len(), 39);
    }

    #[test]
    fn every_path_is_named_after_its_rpc() {
        for row in ROWS {
            let start = format!("/streamfair/v1/{}", row.name);
            assert!(row.path == start || row.path.starts_with(&format!("{start}/{{")), "{row:?}");
        }
    }
}
