//! The order service of the gateway system on gRPC: package `orders`, three RPCs over
//! [`crate::orders::Orders`].
//!
//! Ids are bare UUIDs. Who asks is whose token stands in the metadata: what a message says of its
//! sender (`user_id`) may be left out and must not differ, and roles in messages decide nothing.

use std::sync::Arc;

use kernel::id::kinds;
use kernel::{Caller, Error, Id, Result};
use tonic::{Request, Response, Status};

use crate::orders::{NewOrder, Order, Orders, Spelling};
use crate::server::{Door, Front};
use crate::wire::orders as wire;

/// The port behind the listener.
pub(crate) struct ServedOrders {
    front: Arc<Front>,
    orders: Arc<dyn Orders>,
}

impl ServedOrders {
    pub(crate) fn new(front: Arc<Front>, orders: Arc<dyn Orders>) -> Self {
        Self { front, orders }
    }
}

/// Refuses a message whose sender is not who the token says.
fn sent_by(caller: &Caller, claimed: &str) -> Result<()> {
    if claimed.is_empty() || claimed == caller.user()?.uuid().to_string() {
        return Ok(());
    }
    Err(Error::forbidden("forbidden", "The token is of somebody else than user_id says."))
}

/// What is no id names nothing.
fn id_of(text: &str) -> Result<Id<kinds::Order>> {
    Order::id_in(text).ok_or_else(|| Error::not_found("order"))
}

impl From<Order> for wire::OrderInfoRes {
    fn from(order: Order) -> Self {
        Self {
            user_id: order.owner.uuid().to_string(),
            user_role: order.role,
            status: order.status.as_str().to_owned(),
            target_url: order.target.as_str().to_owned(),
            service_url: order.service.as_str().to_owned(),
            order_type: order.kind.as_str().to_owned(),
            created_at: Some(order.created_at.into()),
            updated_at: Some(order.updated_at.into()),
            quantity: order.quantity,
        }
    }
}

#[tonic::async_trait]
impl wire::order_service_server::OrderService for ServedOrders {
    async fn add_order(
        &self,
        request: Request<wire::AddOrderReq>,
    ) -> Result<Response<wire::AddOrderRes>, Status> {
        let call = async {
            let caller = self.front.admit((Door::Unproved, false), &request, None).await?;
            let asked = request.into_inner();
            sent_by(&caller, &asked.user_id)?;
            let (target, service) = (&asked.target_url, &asked.service_url);
            let quantity = asked.quantity.into();
            let (kind, spelling) = (&asked.order_type, Spelling::Snake);
            let new = NewOrder::parse(spelling, target, service, kind, quantity)?;
            let order = self.orders.create(&caller, &new).await?;
            Ok(wire::AddOrderRes { id: order.id.uuid().to_string() })
        };
        self.front.answer("orders.OrderService/AddOrder", call).await
    }

    async fn order_info(
        &self,
        request: Request<wire::OrderInfoReq>,
    ) -> Result<Response<wire::OrderInfoRes>, Status> {
        let call = async {
            let caller = self.front.admit((Door::Unproved, true), &request, None).await?;
            let asked = request.into_inner();
            sent_by(&caller, &asked.user_id)?;
            self.orders.find(&caller, id_of(&asked.id)?).await.map(wire::OrderInfoRes::from)
        };
        self.front.answer("orders.OrderService/OrderInfo", call).await
    }

    async fn del_order(
        &self,
        request: Request<wire::DelOrderReq>,
    ) -> Result<Response<wire::DelOrderRes>, Status> {
        let call = async {
            let caller = self.front.admit((Door::Unproved, false), &request, None).await?;
            let asked = request.into_inner();
            sent_by(&caller, &asked.user_id)?;
            self.orders.delete(&caller, id_of(&asked.id)?).await?;
            Ok(wire::DelOrderRes {})
        };
        self.front.answer("orders.OrderService/DelOrder", call).await
    }
}
