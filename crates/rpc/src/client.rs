//! Calling an RPC of another process by its name, with its messages as JSON: for tests, and for
//! people who want to look.

use std::net::SocketAddr;
use std::time::Duration;

use kernel::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::status::from_status;
use crate::streamfair;
use crate::wire::{orders, users};

/// A connection to a gRPC listener.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    bearer: Option<String>,
}

impl Client {
    /// Connects without TLS.
    ///
    /// # Errors
    /// `Unavailable`: nobody answers.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let failed = |error| {
            let message = format!("Nobody answers at {address}.");
            Error::unavailable("grpc_unreachable", message).because(error)
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(failed)?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(5));
        Ok(Self { channel: endpoint.connect().await.map_err(failed)?, bearer: None })
    }

    /// The same connection, with a token in the `authorization` metadata of every call.
    #[must_use]
    pub fn bearing(&self, token: &str) -> Self {
        Self { channel: self.channel.clone(), bearer: Some(token.to_owned()) }
    }

    /// Calls an RPC of the gateway system's user service (`RegUser`, `LogUser`, `ExtJWTData`,
    /// `DelUser`) or of its order service (`AddOrder`, `OrderInfo`, `DelOrder`).
    ///
    /// # Errors
    /// What the other side refuses, as it said it.
    pub async fn threel1(&self, rpc: &str, fields: Json) -> Result<Json> {
        let remote = Remote(self);
        match rpc {
            "RegUser" => {
                let path = "/users.UserService/RegUser";
                remote.unary::<users::RegReq, users::RegRes>(path, fields).await
            }
            "LogUser" => {
                let path = "/users.UserService/LogUser";
                remote.unary::<users::LogReq, users::LogRes>(path, fields).await
            }
            "ExtJWTData" => {
                let path = "/users.UserService/ExtJWTData";
                remote.unary::<users::ExtJwtDataReq, users::ExtJwtDataRes>(path, fields).await
            }
            "DelUser" => {
                let path = "/users.UserService/DelUser";
                remote.unary::<users::DelUserReq, users::DelUserRes>(path, fields).await
            }
            "AddOrder" => {
                let path = "/orders.OrderService/AddOrder";
                remote.unary::<orders::AddOrderReq, orders::AddOrderRes>(path, fields).await
            }
            "OrderInfo" => {
                let path = "/orders.OrderService/OrderInfo";
                remote.unary::<orders::OrderInfoReq, orders::OrderInfoRes>(path, fields).await
            }
            "DelOrder" => {
                let path = "/orders.OrderService/DelOrder";
                remote.unary::<orders::DelOrderReq, orders::DelOrderRes>(path, fields).await
            }
            _ => Err(Error::internal(format!("there is no RPC {rpc}"))),
        }
    }

    /// Whether a service says that it serves (grpc.health.v1).
    ///
    /// # Errors
    /// `NotFound`: a service that the listener does not know.
    pub async fn is_serving(&self, service: &str) -> Result<bool> {
        let request = HealthCheckRequest { service: service.to_owned() };
        let reply = HealthClient::new(self.channel.clone()).check(request).await;
        let status = reply.map_err(|status| from_status(&status))?.into_inner().status();
        Ok(status == ServingStatus::Serving)
    }

    /// The services that the listener describes (grpc.reflection.v1), in the order of the
    /// alphabet.
    ///
    /// # Errors
    /// What the other side refuses.
    pub async fn services(&self) -> Result<Vec<String>> {
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(self.channel.clone());
        let replies = client.server_reflection_info(futures_util::stream::iter([ask])).await;
        let mut replies = replies.map_err(|status| from_status(&status))?.into_inner();
        let reply = replies.message().await.map_err(|status| from_status(&status))?;
        let mut services = match reply.and_then(|reply| reply.message_response) {
            Some(MessageResponse::ListServicesResponse(list)) => {
                list.service.into_iter().map(|service| service.name).collect()
            }
            _ => Vec::new(),
        };
        services.sort_unstable();
        Ok(services)
    }

    /// Calls one of Streamfair's RPCs.
    ///
    /// # Errors
    /// What the other side refuses, as it said it.
    pub async fn streamfair(&self, rpc: &str, fields: Json) -> Result<Json> {
        streamfair::call_remote(&Remote(self), rpc, fields).await
    }
}

/// A connection as the tables use it.
pub(crate) struct Remote<'a>(&'a Client);

impl Remote<'_> {
    pub(crate) async fn unary<Q, A>(&self, path: &'static str, fields: Json) -> Result<Json>
    where
        Q: prost::Message + DeserializeOwned + Default + 'static,
        A: prost::Message + Serialize + Default + 'static,
    {
        let unreadable = |error: serde_json::Error| {
            Error::invalid("invalid_json", format!("The message cannot be read: {error}."))
        };
        let message: Q = serde_json::from_value(fields).map_err(unreadable)?;
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.0.bearer {
            let value = format!("Bearer {token}").parse().map_err(|_| {
                Error::invalid("invalid_token", "The token cannot stand in metadata.")
            })?;
            request.metadata_mut().insert("authorization", value);
        }
        let mut grpc = Grpc::new(self.0.channel.clone());
        grpc.ready().await.map_err(|error| {
            Error::unavailable("grpc_unreachable", "The connection is gone.").because(error)
        })?;
        let path = PathAndQuery::from_static(path);
        let reply = grpc.unary(request, path, ProstCodec::<Q, A>::default()).await;
        let reply = reply.map_err(|status| from_status(&status))?.into_inner();
        serde_json::to_value(reply).map_err(unreadable)
    }
}
