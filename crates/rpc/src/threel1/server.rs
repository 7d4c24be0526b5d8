//! The service on gRPC.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{Login, NewUser, SignedIn, Users};
use crate::server::{Door, Front};
use crate::wire::users as wire;

/// The port behind the listener.
pub(crate) struct Served {
    front: Arc<Front>,
    users: Arc<dyn Users>,
}

impl Served {
    pub(crate) fn new(front: Arc<Front>, users: Arc<dyn Users>) -> Self {
        Self { front, users }
    }
}

fn shown(signed_in: &SignedIn) -> (String, String) {
    (signed_in.token.expose().clone(), signed_in.session_key.expose().clone())
}

#[tonic::async_trait]
impl wire::user_service_server::UserService for Served {
    async fn reg_user(
        &self,
        request: Request<wire::RegReq>,
    ) -> Result<Response<wire::RegRes>, Status> {
        let call = async {
            let caller = self.front.admit((Door::Register, false), &request, None).await?;
            let wire::RegReq { name, email, role, password } = request.into_inner();
            let new = NewUser { name, email, role, password: password.into() };
            let entered = self.users.register(&caller, new).await?;
            // Nothing to show where the address is confirmed first.
            let (token, session_key) = entered.as_ref().map(shown).unwrap_or_default();
            Ok(wire::RegRes { token, session_key })
        };
        self.front.answer("users.UserService/RegUser", call).await
    }

    async fn log_user(
        &self,
        request: Request<wire::LogReq>,
    ) -> Result<Response<wire::LogRes>, Status> {
        let call = async {
            let caller = self.front.admit((Door::Login, false), &request, None).await?;
            let wire::LogReq { name, email, password } = request.into_inner();
            let login = Login { name, email, password: password.into() };
            let (token, session_key) = shown(&self.users.log_in(&caller, login).await?);
            Ok(wire::LogRes { token, session_key })
        };
        self.front.answer("users.UserService/LogUser", call).await
    }

    async fn ext_jwt_data(
        &self,
        request: Request<wire::ExtJwtDataReq>,
    ) -> Result<Response<wire::ExtJwtDataRes>, Status> {
        let call = async {
            // The token is the message: what it says is for whoever has it.
            self.front.admit((Door::Login, false), &request, None).await?;
            let wire::ExtJwtDataReq { token, session_key } = request.into_inner();
            let claims = self.users.read_token(&token, &session_key).await?;
            Ok(wire::ExtJwtDataRes {
                role: claims.role,
                user_id: claims.user_id,
                token: claims.token.expose().clone(),
            })
        };
        self.front.answer("users.UserService/ExtJWTData", call).await
    }

    async fn del_user(
        &self,
        request: Request<wire::DelUserReq>,
    ) -> Result<Response<wire::DelUserRes>, Status> {
        let call = async {
            let key = Some(request.get_ref().session_key.as_str());
            let caller = self.front.admit((Door::Unproved, false), &request, key).await?;
            let wire::DelUserReq { user_id, del_user_id, .. } = request.into_inner();
            self.users.delete(&caller, &user_id, &del_user_id).await?;
            Ok(wire::DelUserRes {})
        };
        self.front.answer("users.UserService/DelUser", call).await
    }
}
