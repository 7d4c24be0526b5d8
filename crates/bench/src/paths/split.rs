//! Path 13b: an order asked for over HTTP at the gateway, which asks the order service in a process
//! of its own, beside the same question put to that service directly.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::bare;
use crate::bare::postgres::{Hand, Postgres};
use crate::bench::Bench;
use crate::failure::{Failure, Result};
use crate::load::{Always, Driven, Expect};
use crate::process::{Server, VerzaOptions, free_address};
use crate::verza::{self, Verza};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

use super::orders;
use super::postgres::MASTER_KEY;

const CONNECTIONS: usize = 32;
/// Chance, and no secret: it guards processes that go with the run.
const SECRET: &str = "5a1fd9b6c1c043e0a5c4d1b0a9a8c7e6";

pub const BESIDE_DIRECT: Declared = Declared {
    spec: Spec {
        name: "GET /v1/orders/{id} through gateway and order service, a process each, on PostgreSQL",
        reference: "the order service asked directly over gRPC, 32 calls at once",
        unit: "req/s",
        reference_unit: "calls/s",
        better: Better::Higher,
        floor: 0.40,
        goal: 0.65,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Split::prepare(bench)?)),
};

struct Split {
    ours: Driven,
    direct: Direct,
    /// Those who ask end before those who are asked.
    _gateway: Verza,
    _services: Vec<Server>,
    _postgres: Postgres,
}

impl Split {
    fn prepare(bench: &Bench) -> Result<Split> {
        let postgres = Postgres::start(bench)?;
        postgres.create("verza")?;
        let street =
            Street { users: free_address()?, orders: free_address()?, url: postgres.url("verza") };
        let folder = bench.folder("split")?;
        let mut services = Vec::new();
        for role in ["users", "orders", "worker"] {
            let grpc = match role {
                "users" => street.users,
                "orders" => street.orders,
                _ => free_address()?,
            };
            let ops = free_address()?;
            // Services answer for themselves on the operators' listener only.
            let options = street
                .settings(VerzaOptions::serve(ops).argument(role))
                .argument("--grpc-listen")
                .argument(grpc.to_string());
            let options = verza::measured(options, &folder.join(role), ops);
            services.push(bench.spawn_verza(&options)?);
        }
        let grpc = free_address()?.to_string();
        let gateway = Verza::start_with(bench, &folder.join("gateway"), |options| {
            street.settings(options.argument("gateway")).argument("--grpc-listen").argument(grpc)
        })?;
        let ours = Split::through(&gateway)?;
        let direct = Direct::prepare(&street)?;
        Ok(Split { ours, direct, _gateway: gateway, _services: services, _postgres: postgres })
    }

    /// An order, and 32 connections that ask for it.
    fn through(gateway: &Verza) -> Result<Driven> {
        let (request, first) = orders::order(gateway)?;
        let expect = Expect::body(200, Bytes::from(first.body));
        let scripts = Always::scripts(CONNECTIONS, &request, &expect);
        Driven::new(gateway.address(), scripts)
    }
}

impl Workload for Split {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        match side {
            Side::Ours => Ok(Slice::rate(self.ours.run(length)?)),
            Side::Reference => self.direct.slice(length),
        }
    }

    /// Every answer was compared already.
    fn check(&mut self) -> Result<Vec<Gauge>> {
        Ok(Vec::new())
    }
}

/// Where the services of one platform are.
struct Street {
    users: std::net::SocketAddr,
    orders: std::net::SocketAddr,
    url: String,
}

impl Street {
    fn settings(&self, options: VerzaOptions) -> VerzaOptions {
        options
            .argument("--users-url")
            .argument(format!("http://{}", self.users))
            .argument("--orders-url")
            .argument(format!("http://{}", self.orders))
            .env("VERZA_DATABASE_URL", &self.url)
            .env("VERZA_SECRETS_MASTER_KEY", MASTER_KEY)
            .env("VERZA_SERVICES_SECRET", SECRET)
    }
}

/// What the gateway asks of the order service, as `verza/orders.proto` and `verza/caller.proto` say,
/// as far as it is set here.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct OrderRequest {
        #[prost(message, optional, tag = "1")]
        pub(super) caller: Option<Caller>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) id: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Caller {
        #[prost(message, optional, tag = "1")]
        pub(super) principal: Option<Principal>,
        #[prost(message, optional, tag = "2")]
        pub(super) origin: Option<Origin>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Principal {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) user: Vec<u8>,
        #[prost(string, tag = "2")]
        pub(super) role: String,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) session: Vec<u8>,
        #[prost(bool, tag = "4")]
        pub(super) email_verified: bool,
        #[prost(bool, tag = "5")]
        pub(super) approved: bool,
        #[prost(string, tag = "6")]
        pub(super) level: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Origin {
        #[prost(string, tag = "1")]
        pub(super) request_id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct OrderReply {
        #[prost(message, optional, tag = "1")]
        pub(super) order: Option<Order>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Order {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) id: Vec<u8>,
    }
}

/// One connection to the order service, with many calls on it at once: as the gateway has it.
struct Direct {
    runtime: Runtime,
    channel: Channel,
    authorization: MetadataValue<Ascii>,
    question: wire::OrderRequest,
}

impl Direct {
    fn prepare(street: &Street) -> Result<Direct> {
        let hand = Hand::connect(&street.url, 1)?;
        let sql = "SELECT uuid_send(id), uuid_send(owner) FROM orders LIMIT 1";
        let row = hand.block_on(async |clients| Ok(clients[0].query_one(sql, &[]).await?))?;
        let (id, user): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
        let principal = wire::Principal {
            session: user.clone(),
            user,
            role: "user".to_owned(),
            email_verified: true,
            approved: true,
            level: "aal1".to_owned(),
        };
        let caller =
            wire::Caller { principal: Some(principal), origin: Some(wire::Origin::default()) };
        let question = wire::OrderRequest { caller: Some(caller), id };
        let wrong = |error: String| Failure::new(format!("gRPC: {error}"));
        let endpoint = Endpoint::from_shared(format!("http://{}", street.orders));
        let endpoint = endpoint.map_err(|error| wrong(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let channel = runtime.block_on(endpoint.connect());
        let channel = channel.map_err(|error| wrong(error.to_string()))?;
        let authorization = format!("Bearer {SECRET}").parse();
        let authorization = authorization.map_err(|_| Failure::new("no secret for a header"))?;
        Ok(Direct { runtime, channel, authorization, question })
    }

    async fn ask(&self) -> Result<()> {
        let mut client = Grpc::new(self.channel.clone());
        let wrong = |error: String| Failure::new(format!("the order service: {error}"));
        client.ready().await.map_err(|error| wrong(error.to_string()))?;
        let mut request = tonic::Request::new(self.question.clone());
        request.metadata_mut().insert("authorization", self.authorization.clone());
        let path = PathAndQuery::from_static("/verza.v1.Orders/Find");
        let codec = tonic_prost::ProstCodec::<wire::OrderRequest, wire::OrderReply>::default();
        let reply = client.unary(request, path, codec).await;
        let reply = reply.map_err(|status| wrong(status.to_string()))?.into_inner();
        match reply.order {
            Some(order) if order.id == self.question.id => Ok(()),
            _ => Err(wrong("another order was answered".to_owned())),
        }
    }

    fn slice(&self, length: Duration) -> Result<Slice> {
        let lanes = (0..CONNECTIONS).map(|_| || self.ask());
        Ok(Slice::of(bare::rate(&self.runtime, length, lanes)?))
    }
}
