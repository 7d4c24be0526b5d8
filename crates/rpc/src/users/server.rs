//! The port on the wire: any implementation of it, for the other processes of the platform.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::id::kinds::{Session, User};
use kernel::{Error, Id, Result};
use tonic::{Request, Response, Status};

use super::Users;
use crate::server::Inside;
use crate::wire::{unreadable, v1};

/// The port behind the listener.
pub(crate) struct Served {
    inside: Arc<Inside>,
    users: Arc<dyn Users>,
}

impl Served {
    pub(crate) fn new(inside: Arc<Inside>, users: Arc<dyn Users>) -> Self {
        Self { inside, users }
    }

    async fn answer<'a, Q, A>(
        &'a self,
        rpc: &'static str,
        request: &'a Request<Q>,
        call: impl FnOnce(&'a Q) -> BoxFuture<'a, Result<A>>,
    ) -> Result<Response<A>, Status> {
        self.inside.answer(rpc, request.metadata(), call(request.get_ref())).await
    }
}

fn session(bytes: &[u8]) -> Result<Id<Session>> {
    let uuid = uuid::Uuid::from_slice(bytes);
    let wrong = |_| Error::field("/session", "invalid", "the 16 bytes of a UUID");
    uuid.map(Id::from_uuid).map_err(wrong)
}

fn user(bytes: &[u8]) -> Result<Id<User>> {
    let uuid = uuid::Uuid::from_slice(bytes);
    uuid.map(Id::from_uuid).map_err(|_| Error::field("/user", "invalid", "the 16 bytes of a UUID"))
}

#[tonic::async_trait]
impl v1::users_server::Users for Served {
    async fn authenticate(
        &self,
        request: Request<v1::Presented>,
    ) -> Result<Response<v1::Principal>, Status> {
        self.answer("Authenticate", &request, |question| {
            Box::pin(async move {
                let principal = self.users.authenticate(&question.text).await?;
                // What memory holds by now, which is no older.
                let believable = self.users.believable(&question.text);
                let (principal, long) = believable.unwrap_or((principal, Duration::ZERO));
                let believable_ms = u32::try_from(long.as_millis()).unwrap_or_default();
                Ok(v1::Principal { believable_ms, ..v1::Principal::from(&*principal) })
            })
        })
        .await
    }

    async fn confirm(
        &self,
        request: Request<v1::Presented>,
    ) -> Result<Response<v1::Principal>, Status> {
        self.answer("Confirm", &request, |question| {
            Box::pin(async move {
                let principal = self.users.confirm(&question.text).await?;
                Ok(v1::Principal::from(&*principal))
            })
        })
        .await
    }

    async fn session(
        &self,
        request: Request<v1::SessionRequest>,
    ) -> Result<Response<v1::Principal>, Status> {
        self.answer("Session", &request, |question| {
            Box::pin(async move {
                let (user, session) = (user(&question.user)?, session(&question.session)?);
                let principal = self.users.session(user, session).await?;
                Ok(v1::Principal::from(&*principal))
            })
        })
        .await
    }

    async fn reissue(
        &self,
        request: Request<v1::ReissueRequest>,
    ) -> Result<Response<v1::Reissued>, Status> {
        self.answer("Reissue", &request, |question| {
            Box::pin(async move {
                let issued = self.users.reissue(&question.expired, &question.cookie).await?;
                let principal = Some(v1::Principal::from(&*issued.principal));
                Ok(v1::Reissued { principal, token: issued.token.expose().clone() })
            })
        })
        .await
    }

    async fn profiles(
        &self,
        request: Request<v1::ProfilesRequest>,
    ) -> Result<Response<v1::ProfilesReply>, Status> {
        self.answer("Profiles", &request, |question| {
            Box::pin(async move {
                let ids: Vec<_> =
                    question.users.iter().map(|id| user(id)).collect::<Result<_>>()?;
                let profiles = self.users.profiles(&ids).await?;
                let profiles = profiles.into_iter().map(v1::Profile::from).collect();
                Ok(v1::ProfilesReply { profiles })
            })
        })
        .await
    }

    async fn ways_to_prove(
        &self,
        request: Request<v1::UserRequest>,
    ) -> Result<Response<v1::Ways>, Status> {
        self.answer("WaysToProve", &request, |question| {
            Box::pin(async move {
                let ways = self.users.ways_to_prove(user(&question.user)?).await?;
                Ok(v1::Ways { ways })
            })
        })
        .await
    }

    async fn order_role(
        &self,
        request: Request<v1::Principal>,
    ) -> Result<Response<v1::OrderRoleReply>, Status> {
        self.answer("OrderRole", &request, |principal| {
            Box::pin(async move {
                let read = principal.clone().read();
                let principal = read.ok_or_else(|| unreadable("principal"))?;
                let role = self.users.order_role(&principal).await?;
                Ok(v1::OrderRoleReply { role })
            })
        })
        .await
    }
}
